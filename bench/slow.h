/* slow.h - a slow line in virtual time: a reader whose card is reached through both ends of a link
 * (proto/), with the time counted that each character and each pause takes by the standard. Nothing
 * waits, so the numbers are the same on every machine. The card's own work takes no time here. */
#ifndef CARDWIRE_BENCH_SLOW_H
#define CARDWIRE_BENCH_SLOW_H

#include "reader/reader.h"

struct slow_times {
    uint64_t ns;         /* on the line since the reader was opened, activation included */
    uint64_t activation; /* of it: ATR and PPS, or RATS, ATS and PPS */
    uint64_t byte_ps;    /* least time of one byte at the speed of the exchanges, picoseconds */
    uint32_t blocks;
    uint32_t bytes; /* of blocks, frames, all of it */
};

struct slow_speed {
    const char *link;
    unsigned rate; /* bits per second, as the standards name it */
    uint8_t di;    /* T=1: over 512 cycles; 0: the default */
};

#define SLOW_SPEEDS 5u
extern const struct slow_speed slow_speeds[SLOW_SPEEDS];

/* In front of `inner`, which it owns from then on. T=1 at 3.5712 MHz: `di` over 512 (Di of TA1 from
 * 1 to 64), or 0 for the default speed of 372 cycles. */
CW_MUST_USE enum cw_err slow_t1_open(struct reader *inner, uint8_t di, struct reader **out,
                                     const struct slow_times **times, struct say *why);

#endif
