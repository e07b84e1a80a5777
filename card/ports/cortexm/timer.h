/* timer.h - two CMSDK APB timers (Arm DDI 0479D §4.2) and the watchdog (§4.5). */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_TIMER_H
#define CARDWIRE_CARD_PORTS_CORTEXM_TIMER_H

#include <stdint.h>

/* Interrupts every `ms` from now on, at most 100,000, until it is set anew. */
void timer_every(uint32_t ms);
void timer_clear(void); /* its interrupt */

void timer_count_start(void);
/* Ticks of BOARD_CLOCK_HZ; wraps. */
uint32_t timer_count(void);

/* The first period that passes without watchdog_feed is an NMI, which wipes RAM and resets
 * (startup.S); if that comes to nothing, the end of the next resets the chip. */
#define WATCHDOG_MS 30000u
void watchdog_start(void);
void watchdog_feed(void);

#endif
