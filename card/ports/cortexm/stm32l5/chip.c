/* chip.c - STM32L5: clocks (RM0438 §9), pins (§11), random numbers (§29), unique id (§57.1). */
#include "card/ports/cortexm/chip.h"

#include "base/ct.h"
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"

#include <mbedtls/sha256.h>
#include <string.h>

#define RCC_CR       REG32(0x40021000u)
#define RCC_CFGR     REG32(0x40021008u)
#define RCC_PLLCFGR  REG32(0x4002100Cu)
#define RCC_AHB2ENR  REG32(0x4002104Cu)
#define RCC_APB1ENR1 REG32(0x40021058u)
#define RCC_APB2ENR  REG32(0x40021060u)
#define RCC_CRRCR    REG32(0x40021098u)
#define PWR_CR1      REG32(0x40007000u)
#define PWR_SR2      REG32(0x40007014u)
#define FLASH_ACR    REG32(0x40022000u)

#define HSE_BYPASS  (1u << 18)
#define HSE_ON      (1u << 16)
#define HSE_READY   (1u << 17)
#define PLL_ON      (1u << 24)
#define PLL_READY   (1u << 25)
#define PLL_VCO     20u /* times; halved: BOARD_LINE_MULTIPLE */
#define RANGE_1     (1u << 9)
#define VOS_PENDING (1u << 10)

#define GPIOA_MODER  REG32(0x42020000u)
#define GPIOA_OTYPER REG32(0x42020004u)
#define GPIOA_PUPDR  REG32(0x4202000Cu)
#define GPIOA_AFRH   REG32(0x42020024u)

#define RNG_CR      REG32(0x420C0800u)
#define RNG_SR      REG32(0x420C0804u)
#define RNG_DR      REG32(0x420C0808u)
#define RNG_READY   1u
#define RNG_ERRORS  0x66u /* clock or seed: now, and since it was cleared */
#define RNG_ENABLED 4u

#define UID  ((const volatile uint32_t *)0x0BFA0590u) /* 96 bits */
#define VTOR REG32(0xE000ED08u)

extern const uint32_t vectors[];

static struct {
    uint8_t bytes[4];
    uint8_t left;
} noise;

static void clocks_start(void)
{
    RCC_APB1ENR1 |= 1u << 28; /* PWR */
    PWR_CR1 = (PWR_CR1 & ~(3u << 9)) | RANGE_1;
    while (PWR_SR2 & VOS_PENDING)
        continue;
    FLASH_ACR = 3u;  /* wait states, for up to 80 MHz */
    RCC_CRRCR |= 1u; /* HSI48, for the random numbers */
    while (!(RCC_CRRCR & 2u))
        continue;
    RCC_CR |= HSE_BYPASS;
    RCC_CR |= HSE_ON;
    while (!(RCC_CR & HSE_READY))
        continue;
    RCC_PLLCFGR = 1u << 24 | PLL_VCO << 8 | 3u; /* output R, by 2; from HSE, by 1 */
    RCC_CR |= PLL_ON;
    while (!(RCC_CR & PLL_READY))
        continue;
    RCC_CFGR = 3u;
    while ((RCC_CFGR >> 2 & 3u) != 3u)
        continue;
}

void chip_start(void)
{
    VTOR = (uint32_t)vectors;
    clocks_start();
    RCC_AHB2ENR |= 1u | 1u << 18; /* GPIOA, RNG */
    RCC_APB1ENR1 |= 1u;           /* TIM2 */
    RCC_APB2ENR |= 1u << 14;      /* USART1 */
    (void)RCC_APB2ENR;            /* two clocks pass before the first access */
    /* PA9, the I/O contact: USART1_TX (AF7), open drain, pulled up. */
    GPIOA_AFRH = (GPIOA_AFRH & ~(15u << 4)) | 7u << 4;
    GPIOA_OTYPER |= 1u << 9;
    GPIOA_PUPDR = (GPIOA_PUPDR & ~(3u << 18)) | 1u << 18;
    GPIOA_MODER = (GPIOA_MODER & ~(3u << 18)) | 2u << 18;
    RNG_CR |= RNG_ENABLED; /* tests itself (§29.3.5) */
}

/* Lot, wafer and place on it are 96 bits, of which no 64 tell two chips apart. */
void chip_unique_id(uint8_t id[CARD_UNIQUE_ID_LEN])
{
    uint32_t uid[3] = {UID[0], UID[1], UID[2]};
    uint8_t digest[32];
    if (mbedtls_sha256((const uint8_t *)uid, sizeof uid, digest, 0) == 0)
        memcpy(id, digest, CARD_UNIQUE_ID_LEN);
}

/* What comes out is conditioned already: our tests see only a source that is dead, its own see
 * more, and end it. */
bool chip_noise(uint8_t *sample)
{
    if (RNG_SR & RNG_ERRORS)
        return false;
    if (noise.left == 0) {
        if (!(RNG_SR & RNG_READY))
            return false;
        uint32_t bits = RNG_DR;
        if (bits == 0) /* what is read while an error comes up (§29.3.5) */
            return false;
        memcpy(noise.bytes, &bits, sizeof bits);
        ct_wipe(&bits, sizeof bits);
        noise.left = sizeof noise.bytes;
    }
    *sample = noise.bytes[--noise.left];
    noise.bytes[noise.left] = 0;
    return true;
}
