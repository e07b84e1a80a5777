/* noise.h - random numbers of the chip: a noise source (NIST SP 800-90B), watched by the health
 * tests of its §4.4 and conditioned by SHA-256, a vetted component (§3.1.5.1.1). In QEMU the source
 * is a UART that is fed with /dev/urandom. On a real chip it is the TRNG: chip_noise() of that
 * chip and an assessed NOISE_ENTROPY are all that changes. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_NOISE_H
#define CARDWIRE_CARD_PORTS_CORTEXM_NOISE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Bits of min-entropy that each sample of 8 is claimed to have: 64 samples carry 320, which make 32
 * bytes of full entropy (SP 800-90C: 64 more than come out). */
#define NOISE_ENTROPY 5u

/* Start-up test on the first samples (§4.3: 1,024). CW_ERR_IO. */
CW_MUST_USE enum cw_err noise_start(void);
/* CW_ERR_IO once the source has failed a test, until the chip is reset: nothing comes of it then.
 */
CW_MUST_USE enum cw_err noise_random(void *ctx, uint8_t *out, size_t len);

#endif
