/* reach.h - which cards could reach the bank if its server changed its root now. */
#ifndef CARDWIRE_BANK_REACH_H
#define CARDWIRE_BANK_REACH_H

#include "bank/bank.h"

/* How many cards, active or on their way to the holder, are not known to hold the server's next
 * root: neither issued with it, nor said to have taken an update with it. There must be a next
 * root. */
CW_MUST_USE enum cw_err reach_count(struct bank *bank, size_t *without, struct say *why);

#endif
