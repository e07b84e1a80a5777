#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_set_rand_method: else it takes a provider */
#include "dice.h"

#include <openssl/rand.h>
#include <string.h>

/* SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
uint64_t dice_next(struct dice *d)
{
    uint64_t z = d->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint32_t dice_below(struct dice *d, uint32_t n)
{
    return (uint32_t)((dice_next(d) >> 32) * n >> 32);
}

bool dice_once_in(struct dice *d, uint32_t n)
{
    return dice_below(d, n) == 0;
}

void dice_fill(struct dice *d, void *out, size_t len)
{
    uint8_t *at = out;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(dice_next(d) >> 56);
}

/* ---- OpenSSL's ---- */

static struct dice openssl;

static int give(unsigned char *out, int len)
{
    dice_fill(&openssl, out, (size_t)len);
    return 1;
}

static int ready(void)
{
    return 1;
}

bool dice_rule_openssl(uint64_t seed)
{
    static const RAND_METHOD method = {.bytes = give, .pseudorand = give, .status = ready};
    openssl.state = ~seed;
    return RAND_set_rand_method(&method) == 1;
}
