/* ct.h - what touches secrets: comparison in constant time and wiping that the compiler keeps. */
#ifndef CARDWIRE_BASE_CT_H
#define CARDWIRE_BASE_CT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Time depends on `len` only. */
bool ct_equal(const void *a, const void *b, size_t len);

/* Overwrites with zeros; never optimised away. */
void ct_wipe(void *p, size_t len);

/* Overwrites what calls before this one have left on the stack below their caller, CT_STACK_DEPTH
 * bytes deep: code that is not ours does not always wipe its own. */
#ifndef CT_STACK_DEPTH
#define CT_STACK_DEPTH (1024u * sizeof(void *)) /* frames grow with the words in them */
#endif
void ct_wipe_stack(void);

#endif
