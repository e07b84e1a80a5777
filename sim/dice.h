/* dice.h - all that is random in a simulation, from its seed. */
#ifndef CARDWIRE_SIM_DICE_H
#define CARDWIRE_SIM_DICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

uint64_t dice_next(struct dice *d);
/* 0 to n - 1. */
uint32_t dice_below(struct dice *d, uint32_t n);
/* True once in `n`. */
bool dice_once_in(struct dice *d, uint32_t n);
void dice_fill(struct dice *d, void *out, size_t len);

/* From now on OpenSSL's randomness is that of `seed`, in the whole process: keys, certificates,
 * signatures, the ledger's salts and account numbers. Only ever for a simulation. False: refused.
 */
bool dice_rule_openssl(uint64_t seed);

#endif
