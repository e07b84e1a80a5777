/* slip.h - frames on a line of bytes (RFC 1055, SLIP): where a frame of the air, which has a start
 * and an end, goes over a pseudo terminal, which has neither. A frame is sent between two ENDs, so
 * that what a line or a reader left unfinished ends before it. No I/O. */
#ifndef CARDWIRE_PROTO_SLIP_H
#define CARDWIRE_PROTO_SLIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLIP_END     0xC0u
#define SLIP_ESC     0xDBu
#define SLIP_ESC_END 0xDCu
#define SLIP_ESC_ESC 0xDDu

#define SLIP_MAX(len) (2u * (len) + 2u) /* bytes on the line, at most */

/* What takes a line apart. */
struct slip {
    uint8_t *frame; /* the caller's */
    size_t cap, len;
    bool broken; /* longer than cap, or an ESC before what cannot follow it */
    bool escaped, ended;
};

void slip_start(struct slip *s, uint8_t *frame, size_t cap);
/* True at the end of a frame: frame[0..len), which hold until the next byte, is all of it unless it
 * is broken. Between two ENDs that follow each other there is no frame. */
bool slip_byte(struct slip *s, uint8_t byte);
/* True in the middle of a frame. */
bool slip_inside(const struct slip *s);
/* Writes the frame as it goes over the line. out must hold SLIP_MAX(len). Returns its length. */
size_t slip_write(const uint8_t *frame, size_t len, uint8_t *out);

#endif
