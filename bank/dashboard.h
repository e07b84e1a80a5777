/* dashboard.h - the books and the cards as web pages, for those who run the bank: requests and
 * answers without a network (dashboard_http.c carries them). Nothing here changes anything. */
#ifndef CARDWIRE_BANK_DASHBOARD_H
#define CARDWIRE_BANK_DASHBOARD_H

#include "bank/api.h"

struct dashboard;

/* The bank stays the caller's, and outlives it; its ledger may only be read from then on. */
CW_MUST_USE enum cw_err dashboard_new(struct bank *bank, struct dashboard **out, struct say *why);
void dashboard_free(struct dashboard **dashboard);

/* The page of `target`, path and query as sent. Always makes a reply: what is not there, or cannot
 * be read, is a page that says so. CW_ERR_SPACE is the one failure. */
CW_MUST_USE enum cw_err dashboard_serve(struct dashboard *d, const char *target,
                                        struct api_reply *reply);

/* What goes with every answer; ends with a name that is NULL. */
struct dashboard_header {
    const char *name, *value;
};
extern const struct dashboard_header dashboard_headers[];

struct dashboard_options {
    const char *listen;    /* HOST:PORT, of this machine alone */
    const char *port_file; /* NULL, or where to write the port */
};
/* Serves until SIGTERM or SIGINT. Fails as listen_on. */
CW_MUST_USE enum cw_err dashboard_run(struct bank *bank, const struct dashboard_options *options,
                                      struct say *why);

#endif
