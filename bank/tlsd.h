/* tlsd.h - the bank's server: connections, TLS and HTTP around api.h, in one event loop. */
#ifndef CARDWIRE_BANK_TLSD_H
#define CARDWIRE_BANK_TLSD_H

#include "bank/bank.h"

#define TLSD_LINES_MAX           4096u
#define TLSD_REQUESTS_PER_MINUTE 600 /* what `cardwired serve` uses when nothing is said */
#define TLSD_PAYMENTS_PER_MINUTE 120
#define TLSD_WAITING_PER_SOURCE                                                                    \
    256u                      /* unfinished handshakes of one address; a branch's many cards */
#define TLSD_BYTE_SECONDS  5  /* to the first byte */
#define TLSD_HELLO_SECONDS 15 /* to the end of ClientHello */
#define TLSD_HANDSHAKE_SECONDS                                                                     \
    60 /* to the end of the handshake: cards are slow between flights                              \
        */

struct tlsd_options {
    const char *listen;          /* "127.0.0.1:8443", "[::1]:0"; port 0: one that is free */
    const char *port_file;       /* NULL, or where to write the port once it listens */
    const char *insecure_keylog; /* NULL, or where to write the secrets of all lines */
    size_t lines_max;            /* 0: TLSD_LINES_MAX, or what the limit of open files leaves */
    size_t waiting_per_source;   /* 0: TLSD_WAITING_PER_SOURCE */
    int requests_per_minute;     /* of one card; 0: no limit */
    int payments_per_minute;     /* likewise, apart from the others */
};

/* Serves until SIGTERM or SIGINT; then ends the lines in good order. One log line on stderr for
 * each handshake and request, without secrets. CW_ERR_BUSY when the port is taken. */
CW_MUST_USE enum cw_err tlsd_run(struct bank *bank, const struct tlsd_options *options,
                                 struct say *why);

#endif
