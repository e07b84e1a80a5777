/* check.h - the books, read past the bank's own code, against the model; and answers against both.
 */
#ifndef CARDWIRE_SIM_CHECK_H
#define CARDWIRE_SIM_CHECK_H

#include "world.h"

/* What was answered: "booked", "booked-before" or the problem. */
const char *check_answer_name(const struct world_wait *a);
/* Takes up what was booked since. `out` says what may be: the orders that are "booked", in their
 * turn, all of them or none; all when `sure`. */
void check_new(struct world *w, const struct world_wait *waits, const char *const *out,
               size_t count, bool sure);
/* Nothing was booked since. */
void check_nothing(struct world *w);
/* The answer is `expected`, or, after a fault, that the bank cannot say; and it is true. */
void check_answer(struct world *w, const struct world_wait *a, const char *expected, bool fault);
void check_balances(struct world *w);
/* Every order that is known to be booked is in the books, once, and nothing else; and the bank's
 * own audit. */
void check_all(struct world *w);
/* What the books say of a card. */
bool check_card_blocked(struct world *w, unsigned card);

#endif
