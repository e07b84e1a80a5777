/* timer.c - STM32L5: TIM2 (RM0438 §34) in milliseconds, and the independent watchdog (§39), which
 * resets without asking. */
#include "card/ports/cortexm/timer.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"

#define CR1  REG32(BOARD_TIMER_LINK + 0x00u)
#define DIER REG32(BOARD_TIMER_LINK + 0x0Cu)
#define SR   REG32(BOARD_TIMER_LINK + 0x10u)
#define EGR  REG32(BOARD_TIMER_LINK + 0x14u)
#define PSC  REG32(BOARD_TIMER_LINK + 0x28u)
#define ARR  REG32(BOARD_TIMER_LINK + 0x2Cu)

#define IWDG_KR    REG32(0x40003000u)
#define IWDG_PR    REG32(0x40003004u)
#define IWDG_RLR   REG32(0x40003008u)
#define IWDG_SR    REG32(0x4000300Cu)
#define IWDG_TICKS (BOARD_WATCHDOG_MS / 8u) /* of 32 kHz, by 256 */

_Static_assert(IWDG_TICKS <= 0xFFFu, "its counter has 12 bits");

void timer_every(uint32_t ms)
{
    CR1 = 0;
    PSC = BOARD_CLOCK_HZ / 1000u - 1u;
    ARR = ms - 1u;
    EGR = 1u; /* takes both over, and counts as an end */
    SR = 0;
    DIER = 1u;
    CR1 = 1u;
}

void timer_clear(void)
{
    SR = 0;
    (void)SR; /* the write has arrived before the interrupt ends */
}

void watchdog_start(void)
{
    IWDG_KR = 0xCCCCu;
    IWDG_KR = 0x5555u;
    IWDG_PR = 6u;
    IWDG_RLR = IWDG_TICKS;
    while (IWDG_SR != 0)
        continue;
    IWDG_KR = 0xAAAAu;
}

void watchdog_feed(void)
{
    IWDG_KR = 0xAAAAu;
}
