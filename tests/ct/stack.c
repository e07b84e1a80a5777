/* stack.c - see stack.h. */
#include "stack.h"

#include <stdbool.h>
#include <string.h>
#include <valgrind/valgrind.h>

#define DEPTH     32768
#define NOTED_MAX 8

struct stack_seen stack_seen;

static uint8_t noted[NOTED_MAX][32];
static unsigned noted_count;

/* The order of P-256 (FIPS 186-4 D.1.2.3), least significant byte first. */
static const uint8_t order[32] = {0x51, 0x25, 0x63, 0xFC, 0xC2, 0xCA, 0xB9, 0xF3, 0x84, 0x9E, 0x17,
                                  0xA7, 0xAD, 0xFA, 0xE6, 0xBC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                  0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF};

void stack_note(const uint8_t scalar[32])
{
    memcpy(noted[noted_count++ % NOTED_MAX], scalar, 32);
    stack_seen.scalars++;
}

/* The scalar as it was given, as p256-m has it in words, and what it makes of an even one: the
 * order less the scalar. */
static bool is_left(const uint8_t *below, const uint8_t scalar[32])
{
    uint8_t words[32];
    uint8_t negated[32];
    int borrow = 0;
    for (int i = 0; i < 32; i++) {
        words[i] = scalar[31 - i];
        int digit = order[i] - words[i] - borrow;
        borrow = digit < 0;
        negated[i] = (uint8_t)digit;
    }
    return memmem(below, DEPTH, scalar, 32) != NULL || memmem(below, DEPTH, words, 32) != NULL ||
           memmem(below, DEPTH, negated, 32) != NULL;
}

__attribute__((noinline)) void stack_look(void)
{
    static uint8_t below[DEPTH];
    const volatile uint8_t *from = (const volatile uint8_t *)__builtin_frame_address(0) - DEPTH;
    if (RUNNING_ON_VALGRIND)
        return;
    /* Byte by byte: a call would write where it looks. */
    for (int i = 0; i < DEPTH; i++)
        below[i] = from[i];
    for (unsigned i = 0; i < noted_count && i < NOTED_MAX; i++)
        stack_seen.left += is_left(below, noted[i]);
    noted_count = 0;
}
