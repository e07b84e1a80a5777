#include "card/ports/cortexm/noise.h"

#include "base/ct.h"
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/chip.h"
#include "card/ports/cortexm/timer.h"

#include <mbedtls/sha256.h>
#include <string.h>

#define START_SAMPLES 1024u
#define SAMPLES       64u /* to one block of output */
#define BLOCK         32u
#define TIMEOUT_TICKS (2u * BOARD_CLOCK_HZ) /* a source that says nothing has failed */

/* For a chance of 2^-30 that a good source fails, at NOISE_ENTROPY bits a sample: */
#define REPEAT_CUTOFF (1u + 30u / NOISE_ENTROPY) /* repetition count test, §4.4.1 */
#define WINDOW        512u                       /* adaptive proportion test, §4.4.2 */
#define WINDOW_CUTOFF 46u                        /* 1 + CRITBINOM(512, 2^-5, 1 - 2^-30) */

static struct {
    bool failed;
    uint8_t last, repeats;  /* repetition count */
    uint8_t first;          /* of the window, */
    uint16_t count, window; /* how often it came, and how many samples are in it */
} noise;

static bool noise_sample(uint8_t *out)
{
    uint32_t begin = timer_count();
    while (!chip_noise(out))
        if (timer_count() - begin > TIMEOUT_TICKS)
            return false;
    return true;
}

static bool healthy(uint8_t sample)
{
    if (sample != noise.last)
        noise.repeats = 0;
    noise.last = sample;
    noise.repeats++;
    if (noise.window == 0) {
        noise.first = sample;
        noise.count = 0;
    }
    if (sample == noise.first)
        noise.count++;
    noise.window = (uint16_t)((noise.window + 1u) % WINDOW);
    return noise.repeats < REPEAT_CUTOFF && noise.count < WINDOW_CUTOFF;
}

static bool take(uint8_t *out)
{
    if (!noise.failed && !(noise_sample(out) && healthy(*out)))
        noise.failed = true;
    return !noise.failed;
}

enum cw_err noise_start(void)
{
    uint8_t sample = 0;
    for (unsigned i = 0; i < START_SAMPLES; i++)
        if (!take(&sample))
            return CW_ERR_IO;
    return CW_OK;
}

enum cw_err noise_random(void *ctx, uint8_t *out, size_t len)
{
    uint8_t samples[SAMPLES];
    uint8_t block[BLOCK];
    enum cw_err err = CW_OK;
    (void)ctx;
    while (len > 0 && err == CW_OK) {
        for (unsigned i = 0; i < SAMPLES; i++)
            if (!take(&samples[i]))
                err = CW_ERR_IO;
        if (err == CW_OK && mbedtls_sha256(samples, sizeof samples, block, 0) != 0)
            err = CW_ERR_IO;
        size_t n = len < sizeof block ? len : sizeof block;
        if (err == CW_OK) {
            memcpy(out, block, n);
            out += n;
            len -= n;
        }
    }
    ct_wipe(samples, sizeof samples);
    ct_wipe(block, sizeof block);
    return err;
}
