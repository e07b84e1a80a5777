#include "card/ports/cortexm/timer.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"

#define CTRL(base)   REG32((base) + 0x0u)
#define VALUE(base)  REG32((base) + 0x4u)
#define RELOAD(base) REG32((base) + 0x8u)
#define CLEAR(base)  REG32((base) + 0xCu)
#define CTRL_ON      1u
#define CTRL_IRQ     8u

#define WDOG_LOAD    REG32(BOARD_WATCHDOG + 0x000u)
#define WDOG_CONTROL REG32(BOARD_WATCHDOG + 0x008u)
#define WDOG_CLEAR   REG32(BOARD_WATCHDOG + 0x00Cu)
#define WDOG_LOCK    REG32(BOARD_WATCHDOG + 0xC00u)
#define WDOG_KEY     0x1ACCE551u

#define TICKS_PER_MS (BOARD_CLOCK_HZ / 1000u)

void timer_every(uint32_t ms)
{
    const uintptr_t base = BOARD_TIMER_LINK;
    CTRL(base) = 0;
    RELOAD(base) = ms * TICKS_PER_MS - 1u;
    VALUE(base) = ms * TICKS_PER_MS - 1u;
    CLEAR(base) = 1u;
    CTRL(base) = CTRL_ON | CTRL_IRQ;
}

void timer_clear(void)
{
    CLEAR(BOARD_TIMER_LINK) = 1u;
}

void timer_count_start(void)
{
    const uintptr_t base = BOARD_TIMER_COUNT;
    RELOAD(base) = UINT32_MAX;
    VALUE(base) = UINT32_MAX;
    CTRL(base) = CTRL_ON;
}

uint32_t timer_count(void)
{
    return UINT32_MAX - VALUE(BOARD_TIMER_COUNT);
}

void watchdog_start(void)
{
    WDOG_LOCK = WDOG_KEY;
    WDOG_LOAD = BOARD_WATCHDOG_MS * TICKS_PER_MS;
    WDOG_CONTROL = 3u; /* NMI at the end of one period, reset at the end of the next */
    WDOG_LOCK = 0;     /* what runs wild does not turn it off */
}

void watchdog_feed(void)
{
    WDOG_LOCK = WDOG_KEY;
    WDOG_CLEAR = 1u;
    WDOG_LOCK = 0;
}
