/* hard.h - decisions that one glitch must not change: an instruction skipped, a branch that goes
 * the other way, a load that brings zeros or ones. Not against two glitches at well chosen moments,
 * nor inside a library: docs/hardware-security.md says what that leaves, tests/glitch tries it.
 *
 * Two means. A right that was won is kept as HARD_YES, not as `true`: it is made by computing, not
 * by a branch, and looked at twice. And what decides is asked twice, with a branch after each. With
 * HARD_OFF all of it is left out, to show that the tests notice. */
#ifndef CARDWIRE_BASE_HARD_H
#define CARDWIRE_BASE_HARD_H

#include <stdbool.h>
#include <stdint.h>

/* Anything else is no; so is memory that was wiped. 16 bits away from all zeros and from all ones.
 */
#define HARD_YES 0xA5A5A5A5u

/* A function that decides: each call is made, and none is merged with another. */
#if defined(__clang__)
#define HARD_DECIDES __attribute__((noinline))
#else
#define HARD_DECIDES __attribute__((noipa))
#endif

#ifdef HARD_OFF
#define HARD_PASSES             1u
#define HARD_SAYS_NO(err, call) (((err) = (call)) != CW_OK)
#else
#define HARD_PASSES             2u /* of what decides by what it finds */
/* Did `call`, made twice, say no at least once? `err` is then what it said. */
#define HARD_SAYS_NO(err, call) (((err) = (call)) != CW_OK || ((err) = (call)) != CW_OK)
#endif

/* Is it HARD_YES? Read twice, with a branch after each. */
static inline __attribute__((always_inline)) bool hard_is_yes(const volatile uint32_t *right)
{
#ifndef HARD_OFF
    if (*right != HARD_YES)
        return false;
#endif
    return *right == HARD_YES;
}

/* HARD_YES when both are, by computing alone. */
static inline uint32_t hard_both(uint32_t a, uint32_t b)
{
#ifdef HARD_OFF
    (void)b;
    return a;
#else
    return a & b;
#endif
}

/* Takes a right away; a skipped instruction does not keep it. */
static inline __attribute__((always_inline)) void hard_clear(volatile uint32_t *right)
{
#ifndef HARD_OFF
    *right = 0;
#endif
    *right = 0;
}

#endif
