/* ops.h - the listener for those who run the bank: plain HTTP, GET alone, on a port of its own that
 * only this machine reaches. Nothing here changes anything, and no card comes here.
 *
 * A route is one line of the table in ops.c and a function that fills in a reply, as an API handler
 * does: status, media type, body. CW_ERR_SPACE is its one failure. */
#ifndef CARDWIRE_BANK_OPS_H
#define CARDWIRE_BANK_OPS_H

#include "bank/api.h"

struct event_base;
struct ops;

/* A request on its way to its handler. */
struct ops_call {
    struct ops *ops;
    struct bank *bank;
    struct metrics *metrics;
    const char *path;           /* as sent, without the query */
    char segment[API_PATH_MAX]; /* what stood in the place of '*' */
    const char *query;          /* after '?', as sent; "" if none */
};

struct ops_options {
    const char *listen;    /* HOST:PORT */
    const char *port_file; /* NULL, or where to write the port */
    bool anywhere;         /* takes an address that others reach as well */
};

/* Listens, and answers while `base` runs. Bank and metrics stay the caller's, who calls
 * ops_free before the base goes. Fails as listen_on. */
CW_MUST_USE enum cw_err ops_new(struct event_base *base, struct bank *bank, struct metrics *metrics,
                                const struct ops_options *options, struct ops **out,
                                struct say *why);
void ops_free(struct ops **ops);
/* From now on /readyz says no. Nothing happens when it is NULL. */
void ops_drain(struct ops *ops);

/* A reply of text; copies it. */
CW_MUST_USE enum cw_err ops_reply(struct api_reply *reply, int status, const char *type,
                                  const char *text);

#endif
