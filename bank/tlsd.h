/* tlsd.h - the bank's server: connections, TLS and HTTP around api.h, in one event loop. */
#ifndef CARDWIRE_BANK_TLSD_H
#define CARDWIRE_BANK_TLSD_H

#include "bank/ocspd.h"
#include "bank/ops.h"

#define TLSD_LINES_MAX 4096u
#define TLSD_WAITING_PER_SOURCE                                                                    \
    256u                      /* unfinished handshakes of one address; a branch's many cards */
#define TLSD_BYTE_SECONDS  5  /* to the first byte */
#define TLSD_HELLO_SECONDS 15 /* to the end of ClientHello */
#define TLSD_HANDSHAKE_SECONDS                                                                     \
    60 /* to the end of the handshake: cards are slow between flights                              \
        */

struct tlsd_options {
    const char *listen;           /* "127.0.0.1:8443", "[::1]:0"; port 0: one that is free */
    const char *port_file;        /* NULL, or where to write the port once it listens */
    const char *insecure_keylog;  /* NULL, or where to write the secrets of all lines */
    size_t lines_max;             /* 0: TLSD_LINES_MAX, or what the limit of open files leaves */
    size_t waiting_per_source;    /* 0: TLSD_WAITING_PER_SOURCE */
    unsigned requests_per_minute; /* of one card; 0: no limit */
    unsigned payments_per_minute; /* likewise, apart from the others */
    unsigned drain_seconds;       /* how long open requests may take at the end; 0: no time */
    struct ops_options ops;       /* ops.listen NULL: no such listener */
    struct ocspd_options ocsp;    /* likewise */
    /* At SIGHUP, unless NULL: puts what is to hold from now on into *out, which holds what held. Of
     * that, the numbers above are taken. */
    enum cw_err (*reload)(void *ctx, struct tlsd_options *out, struct say *why);
    void *ctx;
};

/* Serves until SIGTERM or SIGINT; then lets nobody in, answers the requests that have begun, and
 * ends the lines in good order. A second signal ends it at once. One log line for each handshake
 * and request, without secrets (log.h). CW_ERR_BUSY when the port is taken. */
CW_MUST_USE enum cw_err tlsd_run(struct bank *bank, const struct tlsd_options *options,
                                 struct say *why);

#endif
