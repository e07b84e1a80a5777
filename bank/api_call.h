/* api_call.h - a request on its way to its handler. Not for anybody outside api*.c. */
#ifndef CARDWIRE_BANK_API_CALL_H
#define CARDWIRE_BANK_API_CALL_H

#include "bank/api_json.h"

#define API_PAGE_MAX   100 /* items in one answer */
#define API_PAGE_USUAL 20

struct call {
    struct api *api;
    struct api_line *line;
    const struct api_request *request;
    char segment[API_PATH_MAX]; /* what stood in the place of '*' */
    const char *query;          /* after '?', "" if none */
    struct api_reply *reply;
    void *owner; /* of the reply, when it comes later */
    bool failed; /* out of memory */
};

/* The account named in the path, if it is the customer's. Otherwise *done, with the reply made: one
 * problem for "none" and "not yours", so that nobody learns which accounts there are. */
CW_MUST_USE enum cw_err api_own_account(struct call *c, struct ledger_account *out, bool *done);

json_t *api_transaction_json(const struct ledger_transaction *t, const char currency[4]);
json_t *api_transactions_json(const struct ledger_transaction *list, size_t count,
                              const char currency[4]);

/* Handlers: rows of the table in api.c. CW_ERR_SPACE is the one failure, as api_serve's. */
CW_MUST_USE enum cw_err api_accounts_get(struct call *c);
CW_MUST_USE enum cw_err api_balance_get(struct call *c);
CW_MUST_USE enum cw_err api_transactions_get(struct call *c);
CW_MUST_USE enum cw_err api_payee_get(struct call *c);
CW_MUST_USE enum cw_err api_payee_requests_get(struct call *c);
CW_MUST_USE enum cw_err api_payee_requests_post(struct call *c);
CW_MUST_USE enum cw_err api_payee_request_get(struct call *c);
CW_MUST_USE enum cw_err api_notifications_get(struct call *c);
CW_MUST_USE enum cw_err api_statement_json(struct call *c);
CW_MUST_USE enum cw_err api_statement_csv(struct call *c);
CW_MUST_USE enum cw_err api_statement_camt(struct call *c);

#endif
