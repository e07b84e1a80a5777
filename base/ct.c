#include "base/ct.h"

#include <string.h>

bool ct_equal(const void *a, const void *b, size_t len)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < len; i++)
        diff |= (uint8_t)(x[i] ^ y[i]);
    return diff == 0;
}

void ct_wipe(void *p, size_t len)
{
    if (len == 0)
        return;
    memset(p, 0, len);
    /* The memory is declared as read after this, so that the memset above is not a dead store. */
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

__attribute__((noinline)) void ct_wipe_stack(void)
{
    uint8_t below[CT_STACK_DEPTH];
    ct_wipe(below, sizeof below);
}
