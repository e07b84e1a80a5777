/* ledger_work_db.h - what holds and proposals share. Not for anybody outside ledger*.c. */
#ifndef CARDWIRE_BANK_LEDGER_WORK_DB_H
#define CARDWIRE_BANK_LEDGER_WORK_DB_H

#include "bank/ledger_booking.h"
#include "bank/ledger_work.h"

#define WORK_CLOCK "clock" /* who does what time alone does */

/* The texts of a ground, each checked and copied. `approver` and `key` may be "". CW_ERR_ARG. */
CW_MUST_USE enum cw_err work_ground(struct ledger_ground *out, const char *who,
                                    const char *approver, const char *what, const char *key,
                                    struct say *why);
/* Inside a transaction: whether an entry has that key, and is of the very same ground.
 * CW_ERR_EXISTS when it is of another. */
CW_MUST_USE enum cw_err work_known(struct ledger *l, const struct ledger_ground *g, bool *out,
                                   struct say *why);
/* An account by its number, for booking. CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err work_account(struct ledger *l, const char *number,
                                     struct booking_account *out, struct say *why);
/* Two accounts between which money can go. */
CW_MUST_USE enum cw_err work_pair(struct ledger *l, const char *from, const char *to,
                                  struct booking_account *payer, struct booking_account *payee,
                                  struct say *why);
CW_MUST_USE enum cw_err work_reference_check(const char *reference, struct say *why);
/* "12.34 EUR from A to B", and how it goes on. */
void work_subject(char out[LEDGER_SUBJECT_MAX + 1], int64_t amount, const char *currency,
                  const char *from, const char *to, const char *more);
/* Runs it for each number that the query finds, up to 256 of them at a time; the query must not
 * find again what was done. Inside a transaction. */
CW_MUST_USE enum cw_err work_sweep(struct ledger *l, const char *sql,
                                   enum cw_err (*one)(struct ledger *l, int64_t id,
                                                      struct say *why),
                                   int64_t *count, struct say *why);

CW_MUST_USE enum cw_err hold_expire_one(struct ledger *l, int64_t id, struct say *why);
CW_MUST_USE enum cw_err proposal_expire_one(struct ledger *l, int64_t id, struct say *why);
CW_MUST_USE enum cw_err hold_entry_check(struct ledger *l, const struct ledger_entry *e,
                                         struct say *why);
CW_MUST_USE enum cw_err proposal_entry_check(struct ledger *l, const struct ledger_entry *e,
                                             struct say *why);

#endif
