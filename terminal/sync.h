/* sync.h - brings a card up to date over its own line: the bank's updates, and its time. The bank
 * signs, the card checks and decides; this only carries, and refuses to carry what cannot be meant
 * for this card. docs/time.md, docs/card.md. */
#ifndef CARDWIRE_TERMINAL_SYNC_H
#define CARDWIRE_TERMINAL_SYNC_H

#include "terminal/bank.h"

#define SYNC_STEPS_MAX 100u /* updates in one go */
#define SYNC_AGE       3600 /* a floor younger than this many seconds is young enough */

/* What the bank is asked: its API (docs/api.md), or a test's. */
struct sync_bank {
    enum cw_err (*card)(void *ctx, json_t **reply, struct say *why);
    enum cw_err (*time)(void *ctx, const uint8_t challenge[ISSUER_CHALLENGE_LEN], json_t **reply,
                        struct say *why);
    enum cw_err (*updates)(void *ctx, uint32_t after, json_t **reply, struct say *why);
    enum cw_err (*applied)(void *ctx, uint32_t sequence, json_t **reply, struct say *why);
    void *ctx;
};
/* The bank at the end of an open line, logged in. */
struct sync_bank sync_bank_of(struct bank *b);

struct sync {
    unsigned updates;    /* how many the card took */
    uint32_t sequence;   /* of its last */
    bool timed;          /* its floor of time was moved, to `floor` */
    int64_t floor;       /* seconds since 1970 */
    enum link_life life; /* an update may have locked or terminated it: then the line is gone */
};

/* Updates first, then one message of time, unless the floor is younger than `age` seconds at `now`,
 * the bank's own time (-1: not known). `card` is what the card says of itself before it. *out tells
 * what was done in any case, also when something failed: the first failure is returned, and `why`
 * says it. CW_ERR_FORMAT when bank or card make no sense; otherwise as applet.h and bank.h. */
CW_MUST_USE enum cw_err sync_run(struct reader *r, const struct sync_bank *bank,
                                 const struct applet_info *card, int64_t now, int64_t age,
                                 struct sync *out, struct say *why);

#endif
