/* ledger_work.h - what the bank books without a card's order, and how it is kept from doing so
 * alone: holds, which one person places and another captures; postings and reversals, which one
 * proposes and another approves. Each step is an entry of the journal with who did it. Not for
 * orders of cards (ledger.h).
 *
 * Common errors, besides those of ledger.h: CW_ERR_ARG (a name or text that is none), CW_ERR_STATE
 * (it was decided, or has run out), CW_ERR_DENIED (money is not there, or the same person). */
#ifndef CARDWIRE_BANK_LEDGER_WORK_H
#define CARDWIRE_BANK_LEDGER_WORK_H

#include "bank/ledger.h"

/* ---- holds ---- */

struct ledger_hold {
    int64_t entry;                /* that placed it */
    char id[LEDGER_KEY_MAX + 1];  /* the caller's */
    char who[LEDGER_WHO_MAX + 1]; /* placed it */
    char account[ACCOUNT_NUMBER_LEN + 1], payee[ACCOUNT_NUMBER_LEN + 1];
    char currency[4];
    int64_t amount, captured; /* minor units */
    int64_t expiry;           /* seconds since 1970: from then on nothing can be captured */
    char state[16];           /* open, captured, voided, expired */
};

struct ledger_hold_order {
    const char *id; /* the same once more, with all else the same, is the same hold */
    const char *account, *payee;
    int64_t amount, expiry;
    const char *reference, *who;
};

/* Reserves the amount: it can be neither spent nor held again. CW_ERR_EXISTS when the id is of
 * something else. */
CW_MUST_USE enum cw_err ledger_hold_place(struct ledger *l, const struct ledger_hold_order *o,
                                          struct ledger_hold *out, struct say *why);

struct ledger_capture {
    const char *hold, *id; /* of the hold; of this capture, which repeated is the same one */
    int64_t amount;        /* 0: all that is left */
    bool final;            /* what remains is released; of itself when nothing does */
    const char *who;       /* not who placed the hold */
};

/* Books from the account to the payee. */
CW_MUST_USE enum cw_err ledger_hold_capture(struct ledger *l, const struct ledger_capture *c,
                                            struct ledger_hold *out, struct say *why);
/* Releases what is left. A hold that was voided is no error. */
CW_MUST_USE enum cw_err ledger_hold_void(struct ledger *l, const char *id, const char *who,
                                         struct ledger_hold *out, struct say *why);
CW_MUST_USE enum cw_err ledger_hold_get(struct ledger *l, const char *id, struct ledger_hold *out,
                                        struct say *why);
/* In the order in which they were placed. */
CW_MUST_USE enum cw_err ledger_hold_each(struct ledger *l,
                                         void (*each)(void *ctx, const struct ledger_hold *h),
                                         void *ctx, struct say *why);

/* ---- postings and reversals ---- */

struct ledger_proposal {
    int64_t id; /* the entry that made it */
    int64_t made, expiry;
    char who[LEDGER_WHO_MAX + 1];
    char payer[ACCOUNT_NUMBER_LEN + 1], payee[ACCOUNT_NUMBER_LEN + 1];
    char currency[4];
    int64_t amount;   /* minor units */
    int64_t reverses; /* entry; 0: it is a posting */
    char reference[ORDER_REFERENCE_MAX + 1];
    char state[16]; /* pending, approved, rejected, expired */
};

#define LEDGER_PROPOSAL_DAYS 7 /* then it has run out */

/* From one account to another of the same currency; the bank's own as well. */
CW_MUST_USE enum cw_err ledger_posting_propose(struct ledger *l, const char *from, const char *to,
                                               int64_t amount, const char *reference,
                                               const char *who, struct ledger_proposal *out,
                                               struct say *why);
/* Back what an entry has moved, or a part (0: all that was not reversed yet). CW_ERR_STATE for an
 * entry that cannot be reversed, CW_ERR_DENIED for more than it moved. */
CW_MUST_USE enum cw_err ledger_reversal_propose(struct ledger *l, int64_t entry, int64_t amount,
                                                const char *reference, const char *who,
                                                struct ledger_proposal *out, struct say *why);
/* Books it. `who` must be another than who proposed it. */
CW_MUST_USE enum cw_err ledger_proposal_approve(struct ledger *l, int64_t id, const char *who,
                                                int64_t *entry, struct say *why);
CW_MUST_USE enum cw_err ledger_proposal_reject(struct ledger *l, int64_t id, const char *who,
                                               struct say *why);
CW_MUST_USE enum cw_err ledger_proposal_get(struct ledger *l, int64_t id,
                                            struct ledger_proposal *out, struct say *why);
CW_MUST_USE enum cw_err
ledger_proposal_each(struct ledger *l, void (*each)(void *ctx, const struct ledger_proposal *p),
                     void *ctx, struct say *why);

/* ---- the log ---- */

/* A line of the log: any entry with a ground. */
struct ledger_log_line {
    int64_t entry, time;
    char kind[16];
    struct ledger_ground ground;
};

CW_MUST_USE enum cw_err ledger_log_each(struct ledger *l,
                                        void (*each)(void *ctx, const struct ledger_log_line *line),
                                        void *ctx, struct say *why);

/* ---- all of it ---- */

/* Releases holds, and closes proposals, whose time has run out. */
CW_MUST_USE enum cw_err ledger_work_expire(struct ledger *l, int64_t *holds, int64_t *proposals,
                                           struct say *why);
/* What the tables say is what the entries say: holds, what is held of each account, proposals.
 * CW_ERR_FORMAT names the first that is wrong. */
CW_MUST_USE enum cw_err ledger_work_check(struct ledger *l, struct say *why);
/* Whether what an entry without an order moves is what its ground allows; CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err ledger_work_entry_check(struct ledger *l, const struct ledger_entry *e,
                                                struct say *why);

#endif
