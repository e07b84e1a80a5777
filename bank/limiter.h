/* limiter.h - how often a card may ask: token buckets in memory, one pair a card, for requests and
 * for payments apart. A bucket holds a minute's worth and fills evenly. Several server processes
 * each count for themselves. No clock and no I/O of its own. */
#ifndef CARDWIRE_BANK_LIMITER_H
#define CARDWIRE_BANK_LIMITER_H

#include "base/err.h"
#include "proto/order.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITER_CARDS 4096u /* that are remembered */

enum limiter_kind { LIMITER_REQUEST, LIMITER_PAYMENT, LIMITER_KINDS };

struct limiter_bucket {
    uint8_t card[ORDER_SERIAL_LEN];
    bool used;
    int64_t at;                   /* seconds, when it was filled last */
    int64_t level[LIMITER_KINDS]; /* in sixtieths of a token */
};

/* Zero-initialise: no limits. */
struct limiter {
    int64_t per_minute[LIMITER_KINDS]; /* 0: no limit; at most INT32_MAX */
    struct limiter_bucket buckets[LIMITER_CARDS];
};

/* Takes one token of the card's; 0, or the seconds after which there will be one. `now` in seconds;
 * a clock that is set back only stops the filling. When more cards ask than are remembered, the one
 * that was silent for longest is forgotten: it begins with a full bucket. */
int64_t limiter_take(struct limiter *l, enum limiter_kind kind,
                     const uint8_t card[ORDER_SERIAL_LEN], int64_t now);

#endif
