/* stats.h - what the chip tells of its own use, by a command that the card itself does not know:
 * 80 FE P1 00 00, in any life of the card; it leaves everything else as it is. P1 = 01: the marks
 * begin anew after the answer. Lengths and offsets are fixed: docs/firmware.md.
 *
 *     81 08  flash that the image takes, and its window (4 + 4 bytes, big-endian)
 *     82 08  RAM that is taken for good, without the stack, and the window
 *     83 08  stack: deepest use, and size
 *     84 0C  ticks a second (4), ticks spent in commands (8)
 *
 * The heap is in INFO (docs/card.md): 8A. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_STATS_H
#define CARDWIRE_CARD_PORTS_CORTEXM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_CLA 0x80u
#define STATS_INS 0xFEu

/* A command begins, and has ended. */
void stats_begin(void);
void stats_end(void);
/* Answers the command if it is ours: true, and the response with its status word in its place,
 * which has `cap` bytes. */
bool stats_answer(uint8_t *command, size_t len, size_t cap, size_t *response_len);

#endif
