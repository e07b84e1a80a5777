/* api_query.h - what stands after '?': NAME=VALUE, joined by '&', values percent-encoded (RFC 3986
 * §2.1; '+' stands for itself). Parameters are taken one by one; the first that is wrong is kept,
 * and what nobody took is wrong as well. Not for anybody outside api*.c. */
#ifndef CARDWIRE_BANK_API_QUERY_H
#define CARDWIRE_BANK_API_QUERY_H

#include "bank/api_json.h"

#define API_QUERY_MAX      1024u
#define API_PARAMETERS_MAX 12u
#define API_CURSOR_TAG_LEN 8u
#define API_PLACES_MAX     2u

struct api_query {
    char text[API_QUERY_MAX];
    struct {
        const char *name, *value;
        bool taken;
    } items[API_PARAMETERS_MAX];
    size_t count;
    char wrong[256]; /* a sentence about the first parameter that is not good; "" so far */
};

void api_query_parse(struct api_query *q, const char *query);

/* Each leaves *out as it is when the parameter is not there, or is wrong. */
void api_query_number(struct api_query *q, const char *name, int64_t min, int64_t max,
                      int64_t *out);
/* 2026-11-24T10:00:00Z, or a day alone for its first second. */
void api_query_time(struct api_query *q, const char *name, int64_t *out);
void api_query_money(struct api_query *q, const char *name, const char currency[4], int64_t *out);
/* A clean text (proto/text.h) of at most cap - 1 bytes. */
void api_query_text(struct api_query *q, const char *name, char *out, size_t cap);
/* The index of the word among `words`, which ends with NULL; `says` lists them. */
void api_query_word(struct api_query *q, const char *name, const char *const *words,
                    const char *says, int *out);
/* `cursor`: the places that api_cursor_json wrote under the same tag; at most API_PLACES_MAX. */
void api_query_cursor(struct api_query *q, const uint8_t tag[API_CURSOR_TAG_LEN],
                      struct ledger_place *out, size_t count);
json_t *api_cursor_json(const struct ledger_place *places, size_t count,
                        const uint8_t tag[API_CURSOR_TAG_LEN]);
/* The tag of a question: a place in the answer to another one would mean something else. */
void api_cursor_tag(const char *what, const void *data, size_t len,
                    uint8_t tag[API_CURSOR_TAG_LEN]);
/* Something that several parameters together are not. */
void api_query_wrong(struct api_query *q, const char *sentence);

/* After all were taken: false when one was wrong or unknown. */
bool api_query_good(struct api_query *q);
/* The problem `parameter` with what was wrong. */
CW_MUST_USE enum cw_err api_query_refuse(const struct api_query *q, struct api_reply *reply);

#endif
