/* lines.h - reading texts that a person reads as well, line by line: "Label: value\n". Whoever
 * parses such a text writes it again from its values and compares, so that there is one form of it.
 * Bad turns the cursor (base/buf.h). */
#ifndef CARDWIRE_PROTO_LINES_H
#define CARDWIRE_PROTO_LINES_H

#include "base/buf.h"

/* What the next line has after `label`, which it must begin with: NUL-terminated into out[0..max],
 * "" when it is bad. */
void lines_get(struct buf_reader *r, const char *label, char *out, size_t max);
/* Exactly `len` bytes in lower-case hexadecimal. */
void lines_get_hex(struct buf_reader *r, const char *label, uint8_t *out, size_t len);
/* A decimal number from 1 to `max`, which is below 10^19. */
void lines_get_dec(struct buf_reader *r, const char *label, uint64_t max, uint64_t *out);

#endif
