/* timer.c - RP2350: TIMER0 (§12.8) and the watchdog (§12.9), both in microseconds (chip.c). */
#include "card/ports/cortexm/timer.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"

#define ALARM0   REG32(BOARD_TIMER_LINK + 0x10u)
#define TIMERAWL REG32(BOARD_TIMER_LINK + 0x28u)
#define INTR     REG32(BOARD_TIMER_LINK + 0x3Cu)
#define INTE     REG32(BOARD_TIMER_LINK + 0x40u)

#define WDOG_CTRL  REG32(0x400D8000u)
#define WDOG_LOAD  REG32(0x400D8004u)
#define PSM_WDSEL  REG32(0x40018008u) /* §7.4.2: what the watchdog resets */
#define PSM_ALL    0x01FFFFF3u        /* but for the two oscillators */
#define WDOG_ON    (1u << 30)
#define WDOG_TICKS (BOARD_WATCHDOG_MS * 1000u)

static uint32_t period; /* us */

void timer_every(uint32_t ms)
{
    period = ms * 1000u;
    INTE = 1u;
    ALARM0 = TIMERAWL + period;
    INTR = 1u;
}

void timer_clear(void)
{
    INTR = 1u;
    ALARM0 = TIMERAWL + period; /* an alarm comes once */
}

void watchdog_start(void)
{
    PSM_WDSEL = PSM_ALL;
    WDOG_LOAD = WDOG_TICKS;
    WDOG_CTRL = WDOG_ON; /* nor does a debugger stop it */
}

void watchdog_feed(void)
{
    WDOG_LOAD = WDOG_TICKS;
}
