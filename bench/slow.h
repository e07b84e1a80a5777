/* slow.h - a slow line in virtual time: a reader whose card is reached through both ends of a link
 * (proto/), with the time counted that each byte and each pause takes by the standard. Nothing
 * waits, so the numbers are the same on every machine. The card's own work takes no time here. */
#ifndef CARDWIRE_BENCH_SLOW_H
#define CARDWIRE_BENCH_SLOW_H

#include "card/card.h"
#include "reader/backend.h"

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
    uint8_t speed; /* for slow_t1_open, or slow_tcl_open */
};

#define SLOW_SPEEDS  9u
#define SLOW_CONTACT 5u /* of them, the first */
extern const struct slow_speed slow_speeds[SLOW_SPEEDS];

/* In front of `inner`, which it owns from then on. T=1 at 3.5712 MHz: `di` over 512 (Di of TA1 from
 * 1 to 64), or 0 for the default speed of 372 cycles. */
CW_MUST_USE enum cw_err slow_t1_open(struct reader *inner, uint8_t di, struct reader **out,
                                     const struct slow_times **times, struct say *why);
/* Likewise ISO/IEC 14443-4, type A: 106 kbit/s << `rate` (0..3) both ways, after a PPS. */
CW_MUST_USE enum cw_err slow_tcl_open(struct reader *inner, uint8_t rate, struct reader **out,
                                      const struct slow_times **times, struct say *why);

/* What the links share; the first member of theirs, which slow_make made. */
struct slow_line {
    struct reader *inner;
    struct slow_times times;
    size_t response_len;
    uint8_t command[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_MAX];
};

/* A line of `size` bytes, zeros, with a slow_line at its beginning that owns `inner`. NULL: no
 * memory, and `inner` is freed. */
void *slow_make(size_t size, struct reader *inner, struct say *why);
/* The command in `command`: its answer is in `response` afterwards. */
CW_MUST_USE enum cw_err slow_run(struct slow_line *l, size_t len, struct say *why);
/* The reader in front of the line, which was activated with `err`: *out, or all is freed. */
CW_MUST_USE enum cw_err slow_front(struct slow_line *l, const struct reader_ops *ops,
                                   enum cw_err err, struct reader **out,
                                   const struct slow_times **times, struct say *why);
/* For reader_ops */
enum cw_err slow_no_reset(void *self, struct say *why);
void slow_free(void *self);

#endif
