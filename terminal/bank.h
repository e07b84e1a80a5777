/* bank.h - the bank's API (docs/api.md), one function a request, over an open line. Replies stay
 * JSON; of what the bank says nothing is changed but what could command a screen (proto/text.h). */
#ifndef CARDWIRE_TERMINAL_BANK_H
#define CARDWIRE_TERMINAL_BANK_H

#include "proto/order.h"
#include "terminal/pump.h"

#include <jansson.h>

/* One conversation. Zero-initialise, then set line and host. */
struct bank {
    struct pump *line;
    const char *host;   /* for the Host field */
    bool broken;        /* a reply is missing, or was no HTTP: what comes next is anybody's guess */
    char problem[48];   /* NAME of the last refusal (docs/api.md), "" if none */
    int problem_status; /* HTTP status of it */
};

/* All functions: the reply in *reply, freed by the caller with json_decref. CW_ERR_REFUSED when the
 * bank answers with a problem: then b->problem names it and `why` is the bank's own sentence.
 * Otherwise what http_exchange fails with; after that the conversation is broken, and every further
 * request fails (CW_ERR_IO): a late reply must not be taken for another one. */

/* Reports the key agreement back to the bank (claim 2): from then on the line is logged in. */
CW_MUST_USE enum cw_err bank_login(struct bank *b, json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_accounts(struct bank *b, json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_balance(struct bank *b, const char *account, json_t **reply,
                                     struct say *why);
CW_MUST_USE enum cw_err bank_statement(struct bank *b, const char *account, unsigned limit,
                                       json_t **reply, struct say *why);
/* A statement from `from` on and before `to`, times as bank_time_good wants them; NULL: as the bank
 * chooses. */
CW_MUST_USE enum cw_err bank_period(struct bank *b, const char *account, const char *from,
                                    const char *to, json_t **reply, struct say *why);
/* The same as a document, in a `format` of docs/api.md; *memory as of bank_receipt. */
CW_MUST_USE enum cw_err bank_document(struct bank *b, const char *account, const char *format,
                                      const char *from, const char *to, uint8_t **memory,
                                      const uint8_t **data, size_t *len, struct say *why);
/* 2026-11-24, or 2026-11-24T10:00:00Z. */
bool bank_time_good(const char *text);
CW_MUST_USE enum cw_err bank_payee(struct bank *b, const char *account, json_t **reply,
                                   struct say *why);
/* The list that the bank has for the card; what was asked of it; asking: "add" with the name that
 * the bank knows the account by, or "remove" with NULL. */
CW_MUST_USE enum cw_err bank_payees(struct bank *b, json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_payee_requests(struct bank *b, json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_payee_ask(struct bank *b, const char *action, const char *account,
                                       const char *name, json_t **reply, struct say *why);
/* `since`: the cursor of an answer before, hexadecimal; NULL: from the beginning. */
CW_MUST_USE enum cw_err bank_notifications(struct bank *b, const char *since, unsigned limit,
                                           json_t **reply, struct say *why);
/* Whether it may stand in a path: letters and digits. */
bool bank_account_good(const char *account);
CW_MUST_USE enum cw_err bank_pay(struct bank *b, const uint8_t *text, size_t text_len,
                                 const uint8_t *signature, size_t signature_len, json_t **reply,
                                 struct say *why);
/* What the bank has for the card: GET /v1/card, POST /v1/card/time, GET and POST /v1/card/updates.
 */
CW_MUST_USE enum cw_err bank_card(struct bank *b, json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_card_time(struct bank *b,
                                       const uint8_t challenge[ISSUER_CHALLENGE_LEN],
                                       json_t **reply, struct say *why);
CW_MUST_USE enum cw_err bank_card_updates(struct bank *b, uint32_t after, json_t **reply,
                                          struct say *why);
CW_MUST_USE enum cw_err bank_card_applied(struct bank *b, uint32_t sequence, json_t **reply,
                                          struct say *why);
/* Receipt in DER; *memory is freed by the caller with free(3), *der points into it. */
CW_MUST_USE enum cw_err bank_receipt(struct bank *b, const uint8_t order[ORDER_ID_LEN],
                                     uint8_t **memory, const uint8_t **der, size_t *len,
                                     struct say *why);

#endif
