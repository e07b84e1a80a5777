/* cycles.c - the count of timer.h by the core's own counter (ARM DDI 0553B §D1.2.54), for chips
 * whose core has one. It stands still while the core sleeps: nothing is timed then. */
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/timer.h"

#define DEMCR      REG32(0xE000EDFCu)
#define DWT_CTRL   REG32(0xE0001000u)
#define DWT_CYCCNT REG32(0xE0001004u)

void timer_count_start(void)
{
    DEMCR |= 1u << 24; /* TRCENA */
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
}

uint32_t timer_count(void)
{
    return DWT_CYCCNT;
}
