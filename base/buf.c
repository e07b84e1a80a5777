#include "base/buf.h"

#include <string.h>

void buf_reader_init(struct buf_reader *r, const uint8_t *data, size_t len)
{
    r->at = data;
    r->left = len;
    r->bad = false;
}

const uint8_t *buf_get_bytes(struct buf_reader *r, size_t len)
{
    if (r->bad || len > r->left) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    if (len > 0)
        r->at += len;
    r->left -= len;
    return p;
}

static uint64_t get_be(struct buf_reader *r, size_t bytes)
{
    const uint8_t *p = buf_get_bytes(r, bytes);
    if (p == NULL)
        return 0;
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t buf_get_u8(struct buf_reader *r)
{
    return (uint8_t)get_be(r, 1);
}

uint16_t buf_get_u16(struct buf_reader *r)
{
    return (uint16_t)get_be(r, 2);
}

uint32_t buf_get_u32(struct buf_reader *r)
{
    return (uint32_t)get_be(r, 4);
}

uint64_t buf_get_u64(struct buf_reader *r)
{
    return get_be(r, 8);
}

void buf_collect(uint8_t *memory, size_t cap, size_t *len, const uint8_t *data, size_t n)
{
    if (*len < cap && n > 0)
        memcpy(memory + *len, data, n < cap - *len ? n : cap - *len);
    *len += n;
}

void buf_writer_init(struct buf_writer *w, uint8_t *memory, size_t cap)
{
    w->start = memory;
    w->cap = cap;
    w->len = 0;
    w->bad = false;
}

size_t buf_room(const struct buf_writer *w)
{
    return w->bad ? 0 : w->cap - w->len;
}

void buf_put_bytes(struct buf_writer *w, const void *data, size_t len)
{
    if (w->bad || len > w->cap - w->len) {
        w->bad = true;
        return;
    }
    if (len > 0)
        memcpy(w->start + w->len, data, len);
    w->len += len;
}

static void put_be(struct buf_writer *w, uint64_t v, size_t bytes)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++)
        b[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    buf_put_bytes(w, b, bytes);
}

void buf_put_u8(struct buf_writer *w, uint8_t v)
{
    put_be(w, v, 1);
}

void buf_put_u16(struct buf_writer *w, uint16_t v)
{
    put_be(w, v, 2);
}

void buf_put_u32(struct buf_writer *w, uint32_t v)
{
    put_be(w, v, 4);
}

void buf_put_u64(struct buf_writer *w, uint64_t v)
{
    put_be(w, v, 8);
}

void buf_put_str(struct buf_writer *w, const char *text)
{
    buf_put_bytes(w, text, strlen(text));
}

void buf_put_hex(struct buf_writer *w, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        buf_put_u8(w, (uint8_t)digits[data[i] >> 4]);
        buf_put_u8(w, (uint8_t)digits[data[i] & 15]);
    }
}

void buf_put_dec(struct buf_writer *w, uint64_t v)
{
    char text[20];
    size_t n = 0;
    do {
        text[sizeof text - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buf_put_bytes(w, text + sizeof text - n, n);
}
