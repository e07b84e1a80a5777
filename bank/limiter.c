#include "bank/limiter.h"

#include <string.h>

#define TOKEN  60 /* filled by per_minute a second */
#define PLACES 8  /* where a card may be kept */

static void begin(const struct limiter *l, struct limiter_bucket *b,
                  const uint8_t card[ORDER_SERIAL_LEN], int64_t now)
{
    memcpy(b->card, card, sizeof b->card);
    b->used = true;
    b->at = now;
    for (int k = 0; k < LIMITER_KINDS; k++)
        b->level[k] = l->per_minute[k] * TOKEN;
}

/* Serials are the bank's own choice of cards: nobody can look for ones that collide. */
static struct limiter_bucket *find(struct limiter *l, const uint8_t card[ORDER_SERIAL_LEN],
                                   int64_t now)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    struct limiter_bucket *oldest = NULL;
    for (size_t i = 0; i < ORDER_SERIAL_LEN; i++)
        hash = (hash ^ card[i]) * 16777619u;
    for (uint32_t i = 0; i < PLACES; i++) {
        struct limiter_bucket *b = &l->buckets[(hash + i) % LIMITER_CARDS];
        if (b->used && memcmp(b->card, card, sizeof b->card) == 0)
            return b;
        if (oldest == NULL || (oldest->used && (!b->used || b->at < oldest->at)))
            oldest = b;
    }
    begin(l, oldest, card, now);
    return oldest;
}

static void fill(const struct limiter *l, struct limiter_bucket *b, int64_t now)
{
    int64_t passed = now - b->at;
    if (passed > 60)
        passed = 60; /* it is full by then */
    for (int k = 0; k < LIMITER_KINDS && passed > 0; k++) {
        int64_t full = l->per_minute[k] * TOKEN;
        b->level[k] += passed * l->per_minute[k];
        if (b->level[k] > full)
            b->level[k] = full;
    }
    b->at = now;
}

int64_t limiter_take(struct limiter *l, enum limiter_kind kind,
                     const uint8_t card[ORDER_SERIAL_LEN], int64_t now)
{
    int64_t rate = l->per_minute[kind];
    if (rate == 0)
        return 0;
    struct limiter_bucket *b = find(l, card, now);
    fill(l, b, now);
    if (b->level[kind] < TOKEN)
        return (TOKEN - b->level[kind] + rate - 1) / rate;
    b->level[kind] -= TOKEN;
    return 0;
}
