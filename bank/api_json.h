/* api_json.h - JSON pieces of the API: problems, money, times. Not for anybody outside api*.c and
 * pay.c. */
#ifndef CARDWIRE_BANK_API_JSON_H
#define CARDWIRE_BANK_API_JSON_H

#include "bank/api.h"

#include <jansson.h>

/* Makes the reply out of `body`, whose reference is taken (NULL: out of memory). */
CW_MUST_USE enum cw_err api_reply_json(struct api_reply *reply, int status, json_t *body);
/* RFC 9457. NAME is one of docs/api.md; its status and title come from the table here. */
CW_MUST_USE enum cw_err api_reply_problem(struct api_reply *reply, const char *name,
                                          const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The ledger failed to be read: CW_ERR_BUSY and its like. Says nothing about any order. */
CW_MUST_USE enum cw_err api_reply_store(struct api_reply *reply, const struct say *why);
/* The ledger failed, and an order may or may not be in it. */
CW_MUST_USE enum cw_err api_reply_unknown(struct api_reply *reply, const struct say *why);
/* Makes the reply out of JSON text, which it then owns. Cannot fail. */
void api_reply_text(struct api_reply *reply, int status, char *text);

json_t *api_money(int64_t amount, const char currency[4]);
json_t *api_time(int64_t seconds);
json_t *api_hex(const uint8_t *data, size_t len);

/* Parses a body: one JSON object in UTF-8 without doubled names. NULL when it is not. */
json_t *api_body_parse(const struct api_request *request);

#endif
