/* clock.h - the clock for durations: monotonic, in nanoseconds. Not the time of day. */
#ifndef CARDWIRE_HOST_CLOCK_H
#define CARDWIRE_HOST_CLOCK_H

#include <stdint.h>

uint64_t clock_ns(void);

#endif
