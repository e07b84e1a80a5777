/* buf.h - bounded cursors for every byte that is parsed or built. A cursor that would run over its
 * end turns bad and stays bad; the caller checks once, at the end. Not a growing buffer. */
#ifndef CARDWIRE_BASE_BUF_H
#define CARDWIRE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads from memory that the caller owns and keeps alive. */
struct buf_reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

/* Writes into memory that the caller owns. `len` is what has been written. */
struct buf_writer {
    uint8_t *start;
    size_t cap;
    size_t len;
    bool bad;
};

void buf_reader_init(struct buf_reader *r, const uint8_t *data, size_t len);
/* The getters return 0 or NULL once the cursor is bad. Integers are big-endian. */
uint8_t buf_get_u8(struct buf_reader *r);
uint16_t buf_get_u16(struct buf_reader *r);
uint32_t buf_get_u32(struct buf_reader *r);
uint64_t buf_get_u64(struct buf_reader *r);
/* A view of the next `len` bytes, inside the reader's memory. */
const uint8_t *buf_get_bytes(struct buf_reader *r, size_t len);

/* Appends `n` bytes to the *len that are in memory[0..cap), as far as they fit; *len counts all of
 * them, so that it tells afterwards whether they did. */
void buf_collect(uint8_t *memory, size_t cap, size_t *len, const uint8_t *data, size_t n);

void buf_writer_init(struct buf_writer *w, uint8_t *memory, size_t cap);
void buf_put_u8(struct buf_writer *w, uint8_t v);
void buf_put_u16(struct buf_writer *w, uint16_t v);
void buf_put_u32(struct buf_writer *w, uint32_t v);
void buf_put_u64(struct buf_writer *w, uint64_t v);
void buf_put_bytes(struct buf_writer *w, const void *data, size_t len);
void buf_put_str(struct buf_writer *w, const char *text); /* without the final NUL */
/* `digits` in lower-case hexadecimal, two characters a byte. */
void buf_put_hex(struct buf_writer *w, const uint8_t *data, size_t len);
/* Decimal, no sign, no leading zeros. */
void buf_put_dec(struct buf_writer *w, uint64_t v);
/* What is still free. */
size_t buf_room(const struct buf_writer *w);

#endif
