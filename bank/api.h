/* api.h - what the bank answers to a card's holder, as requests and answers without a network:
 * docs/api.md. tlsd.c carries them. Who speaks is known from the line, never from a request. */
#ifndef CARDWIRE_BANK_API_H
#define CARDWIRE_BANK_API_H

#include "bank/bank.h"
#include "bank/keycache.h"
#include "bank/limiter.h"

#include <stdbool.h>

#define API_BODY_MAX 8192u /* bytes of a request's body; the longest order needs under 2,000 */
#define API_PATH_MAX 256u

/* The TLS line that a request came in by. Lives as long as the connection. */
struct api_line {
    uint8_t card[ORDER_SERIAL_LEN]; /* from the certificate that was verified */
    int64_t customer;
    bool logged_in; /* the terminal has reported the key agreement */
    bool bound;     /* `binding` is good: TLS 1.3, or 1.2 with extended master secret */
    uint8_t binding[ORDER_BINDING_LEN];
    bool signed_before; /* `signer` is the certificate (SHA-256) that verified the last order */
    uint8_t signer[32];
    const char *profile; /* "tls13", "ecdhe", "rsa" */
    const char *tls;     /* "1.2", "1.3" */
    const char *suite;   /* RFC name */
};

enum api_method { API_GET, API_POST, API_OTHER };

struct api_request {
    enum api_method method;
    const char *target; /* path and query as sent */
    const uint8_t *body;
    size_t body_len;
};

struct api_reply {
    int status;
    const char *type; /* media type, static */
    uint8_t *body;    /* malloc'd */
    size_t body_len;
    const char *route;   /* for the log: the pattern of the path, static */
    int64_t retry_after; /* seconds, for the field of that name; 0: none */
    bool later;          /* no reply yet: it comes with api_commit */
    const char *problem; /* for the log: NAME of the problem, NULL when there is none */
};

struct metrics;

/* Orders that were found good and wait to be booked together. */
struct pay_queue {
    struct pay_waiting *waiting[LEDGER_BATCH_MAX];
    size_t count;
};

/* The reply that somebody waits for, which lives until this returns; NULL: out of memory. */
typedef void api_answer(void *owner, const struct api_reply *reply);

struct api {
    struct bank *bank;
    struct metrics *metrics; /* NULL: nobody counts */
    struct keycache keys;
    struct limiter limiter;  /* its rates are set after api_init */
    struct journal *journal; /* signs what receipts rest on; NULL: not needed yet */
    struct pay_queue queue;
    EVP_PKEY *update_key; /* signs messages to cards; NULL: not needed yet */
};

void api_init(struct api *api, struct bank *bank);
void api_clear(struct api *api);

/* Always makes a reply; a store that fails becomes a problem `store`. CW_ERR_SPACE is the one
 * failure: out of memory. */
CW_MUST_USE enum cw_err api_serve(struct api *api, struct api_line *line,
                                  const struct api_request *request, struct api_reply *reply);
/* The same, but a payment that was found good may wait for others (reply->later): api_commit books
 * all that wait in one transaction, and has each answered to its `owner`. When api_full, it must be
 * called before the next. Not to be mixed with api_serve while any wait. */
CW_MUST_USE enum cw_err api_take(struct api *api, struct api_line *line,
                                 const struct api_request *request, void *owner,
                                 struct api_reply *reply);
void api_commit(struct api *api, api_answer *answer);
bool api_full(const struct api *api);
/* `owner` is not there any more. Its order is booked all the same, unless the server ends before.
 */
void api_leave(struct api *api, const void *owner);
void api_reply_clear(struct api_reply *reply);
/* Whether the path of `len` bytes is of that pattern, in which '*' stands for one segment: that is
 * written to `segment`. */
bool api_path_match(const char *pattern, const char *path, size_t len, char segment[API_PATH_MAX]);

#endif
