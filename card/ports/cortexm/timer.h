/* timer.h - a timer that interrupts, one that counts, and the watchdog. timer.c: CMSDK APB (Arm DDI
 * 0479D §4.2, §4.5). */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_TIMER_H
#define CARDWIRE_CARD_PORTS_CORTEXM_TIMER_H

#include <stdint.h>

/* Interrupts every `ms` from now on, at most 100,000, until it is set anew. */
void timer_every(uint32_t ms);
void timer_clear(void); /* its interrupt */

void timer_count_start(void);
/* Ticks of BOARD_CLOCK_HZ; wraps. */
uint32_t timer_count(void);

/* The first period of BOARD_WATCHDOG_MS that passes without watchdog_feed resets the chip. Where it
 * can it is an NMI, which wipes RAM first (startup.S); if that comes to nothing, the end of the
 * next resets. */
void watchdog_start(void);
void watchdog_feed(void);

#endif
