/* listen.h - a listening TCP socket from HOST:PORT, for the servers of the bank. */
#ifndef CARDWIRE_BANK_LISTEN_H
#define CARDWIRE_BANK_LISTEN_H

#include "host/say.h"

#include <stdbool.h>

struct listen_at {
    const char *address; /* "127.0.0.1:8443", "[::1]:0"; port 0: one that is free */
    const char *option;  /* what says it, for sentences: "listen" */
    bool loopback_only;  /* CW_ERR_DENIED for every other address */
};

/* The socket that a service manager holds for us (manager.h), if it does: CW_ERR_NOT_FOUND, without
 * a sentence, when there is none, CW_ERR_ARG when it is no TCP socket that listens. */
CW_MUST_USE enum cw_err listen_inherited(int *fd, unsigned *port, struct say *why);
/* *fd listens, non-blocking and close-on-exec, and is the caller's; *port is what it listens on.
 * CW_ERR_ARG for what is no address, CW_ERR_BUSY when the port is taken, CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err listen_on(const struct listen_at *at, int *fd, unsigned *port,
                                  struct say *why);
/* Writes the port as a line into `path`; nothing when that is NULL. */
CW_MUST_USE enum cw_err listen_port_tell(const char *path, unsigned port, struct say *why);

#endif
