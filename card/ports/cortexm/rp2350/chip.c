/* chip.c - RP2350: clocks (§8), pins (§9), noise source (§12.12), unique id (§13.10). */
#include "card/ports/cortexm/chip.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"

#include <string.h>

/* Writes to base + SET and base + CLR set and clear bits (§2.1.3). */
#define SET 0x2000u
#define CLR 0x3000u

#define RESETS      0x40020000u /* §7.5 */
#define RESETS_DONE 0x40020008u
#define USED_RESETS                                                                                \
    (1u << 6 | 1u << 9 | 1u << 15 | 1u << 23 | 1u << 25 | 1u << 26) /* IO_BANK0, PADS_BANK0,       \
                                                                       PLL_USB, TIMER0, TRNG,      \
                                                                       UART0 */

#define CLK_REF_CTRL     REG32(0x40010030u) /* §8.1.7 */
#define CLK_REF_SELECTED REG32(0x40010038u)
#define CLK_SYS_CTRL     REG32(0x4001003Cu)
#define CLK_SYS_SELECTED REG32(0x40010044u)
#define CLK_PERI_CTRL    REG32(0x40010048u)
#define XOSC_CTRL        REG32(0x40048000u) /* §8.2.8 */
#define XOSC_STATUS      REG32(0x40048004u)
#define XOSC_STARTUP     REG32(0x4004800Cu)
#define PLL_CS           REG32(0x40058000u) /* PLL_USB, §8.6.5 */
#define PLL_FBDIV        REG32(0x40058008u)
#define PLL_PRIM         REG32(0x4005800Cu)
#define PLL_PWR_CLR      REG32(0x40058004u + CLR)
#define TICKS            0x40108000u /* §8.5.2: CTRL and CYCLES of each, 12 bytes apart */
#define TICKS_TIMER0     (TICKS + 2u * 12u)
#define TICKS_WATCHDOG   (TICKS + 4u * 12u)

#define GPIO_CTRL(n)  REG32(0x40028004u + 8u * (n)) /* §9.11.1 */
#define PAD(n)        REG32(0x40038004u + 4u * (n)) /* §9.11.3 */
#define PAD_IO        0x5Au /* input, pulled up, 4 mA, Schmitt trigger; not isolated */
#define FUNCTION_UART 2u

#define TRNG_ICR           REG32(0x400F0108u) /* §12.12.5 */
#define TRNG_VALID         REG32(0x400F0110u)
#define TRNG_EHR(n)        REG32(0x400F0114u + 4u * (n))
#define TRNG_SOURCE_ENABLE REG32(0x400F012Cu)
#define TRNG_SAMPLE_COUNT  REG32(0x400F0130u)
#define TRNG_DEBUG         REG32(0x400F0138u)
#define TRNG_SWRESET       REG32(0x400F0140u)
#define EHR_BYTES          24u
/* The ring oscillator as it is, for our health tests and our conditioning: without the three of its
 * own (von Neumann, CRNGT, autocorrelation), which hide what it is worth. */
#define TRNG_RAW 0x0Eu
/* Clocks between two bits: long against the period of the oscillator, of a few ns. Not assessed. */
#define TRNG_CLOCKS 1000u

#define GLITCH_ARM  REG32(0x40158000u) /* §10.9.3 */
#define GLITCH_LOCK REG32(0x4015800Cu)
#define CHIPID      ((const volatile uint16_t *)0x40130000u) /* OTP rows 0 to 3 */
#define VTOR        REG32(0xE000ED08u)

extern const uint32_t vectors[];
extern uint32_t __routines_start[], __routines_end[], __routines_load[];

static struct {
    uint8_t bytes[EHR_BYTES];
    uint8_t left;
} noise;

static void clocks_start(void)
{
    XOSC_STARTUP = 0x00C4u;            /* 1 ms */
    XOSC_CTRL = 0xFABu << 12 | 0xAA0u; /* enable, 1 to 15 MHz */
    while (!(XOSC_STATUS & 1u << 31))
        continue;
    CLK_REF_CTRL = 2u; /* the crystal */
    while (!(CLK_REF_SELECTED & 1u << 2))
        continue;
    PLL_CS = 1u;
    PLL_FBDIV = 100u;               /* 1,200 MHz */
    PLL_PRIM = 5u << 16 | 5u << 12; /* by 25: 48 MHz */
    PLL_PWR_CLR = 1u | 1u << 5;     /* on, and its oscillator */
    while (!(PLL_CS & 1u << 31))
        continue;
    PLL_PWR_CLR = 1u << 3;  /* its dividers */
    CLK_SYS_CTRL = 1u << 5; /* auxiliary: PLL_USB; not chosen yet */
    CLK_SYS_CTRL = 1u << 5 | 1u;
    while (!(CLK_SYS_SELECTED & 1u << 1))
        continue;
    CLK_PERI_CTRL = 1u << 11; /* clk_sys */
    REG32(TICKS_TIMER0 + 4u) = 12u;
    REG32(TICKS_TIMER0) = 1u;
    REG32(TICKS_WATCHDOG + 4u) = 12u;
    REG32(TICKS_WATCHDOG) = 1u;
}

void chip_start(void)
{
    VTOR = (uint32_t)vectors;
    GLITCH_ARM = 0; /* a detector that fires resets the chip */
    GLITCH_LOCK = 1u;
    REG32(RESETS + CLR) = USED_RESETS;
    while ((REG32(RESETS_DONE) & USED_RESETS) != USED_RESETS)
        continue;
    clocks_start();
    for (uint32_t n = 0; n < 2; n++) { /* GPIO 0 and 1: TX and RX */
        PAD(n) = PAD_IO;
        GPIO_CTRL(n) = FUNCTION_UART;
    }
    TRNG_SWRESET = 1u;
    TRNG_SAMPLE_COUNT = TRNG_CLOCKS;
    TRNG_DEBUG = TRNG_RAW;
    TRNG_SOURCE_ENABLE = 1u;
    memcpy(__routines_start, __routines_load,
           (size_t)((uintptr_t)__routines_end - (uintptr_t)__routines_start));
}

void chip_unique_id(uint8_t id[CARD_UNIQUE_ID_LEN])
{
    for (unsigned i = 0; i < CARD_UNIQUE_ID_LEN / 2; i++) {
        id[2 * i] = (uint8_t)(CHIPID[i] >> 8);
        id[2 * i + 1] = (uint8_t)CHIPID[i];
    }
}

bool chip_noise(uint8_t *sample)
{
    if (noise.left == 0) {
        if (!(TRNG_VALID & 1u))
            return false;
        for (unsigned i = 0; i < EHR_BYTES / 4; i++) { /* the last one read starts the next */
            uint32_t bits = TRNG_EHR(i);
            memcpy(noise.bytes + 4 * i, &bits, sizeof bits);
        }
        TRNG_ICR = 1u;
        noise.left = EHR_BYTES;
    }
    *sample = noise.bytes[--noise.left];
    noise.bytes[noise.left] = 0;
    return true;
}
