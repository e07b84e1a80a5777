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

#endif
