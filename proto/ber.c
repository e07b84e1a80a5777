#include "proto/ber.h"

bool ber_next(struct buf_reader *r, struct ber_object *out)
{
    if (r->bad || r->left == 0)
        return false;
    struct ber_object o = {0};
    o.tag = buf_get_u8(r);
    if ((o.tag & 0x1F) == 0x1F) { /* a second tag byte follows; a third is not ours */
        uint8_t second = buf_get_u8(r);
        if (second & 0x80)
            r->bad = true;
        o.tag = (uint16_t)(o.tag << 8 | second);
    }
    if (o.tag == 0)
        r->bad = true;
    uint8_t first = buf_get_u8(r);
    if (first < 0x80) {
        o.len = first;
    } else if (first == 0x81) {
        o.len = buf_get_u8(r);
        if (o.len < 0x80)
            r->bad = true;
    } else if (first == 0x82) {
        o.len = buf_get_u16(r);
        if (o.len < 0x100)
            r->bad = true;
    } else {
        r->bad = true;
    }
    o.value = buf_get_bytes(r, o.len);
    if (r->bad)
        return false;
    *out = o;
    return true;
}

enum cw_err ber_find(const uint8_t *data, size_t len, uint16_t tag, struct ber_object *out)
{
    struct buf_reader r;
    struct ber_object o;
    buf_reader_init(&r, data, len);
    while (ber_next(&r, &o)) {
        if (o.tag == tag) {
            *out = o;
            return CW_OK;
        }
    }
    return r.bad ? CW_ERR_FORMAT : CW_ERR_NOT_FOUND;
}

void ber_put_header(struct buf_writer *w, uint16_t tag, size_t len)
{
    if (tag > 0xFF)
        buf_put_u16(w, tag);
    else
        buf_put_u8(w, (uint8_t)tag);
    if (len < 0x80) {
        buf_put_u8(w, (uint8_t)len);
    } else if (len < 0x100) {
        buf_put_u8(w, 0x81);
        buf_put_u8(w, (uint8_t)len);
    } else if (len <= 0xFFFF) {
        buf_put_u8(w, 0x82);
        buf_put_u16(w, (uint16_t)len);
    } else {
        w->bad = true;
    }
}

void ber_put(struct buf_writer *w, uint16_t tag, const void *value, size_t len)
{
    ber_put_header(w, tag, len);
    buf_put_bytes(w, value, len);
}

void ber_put_u8(struct buf_writer *w, uint16_t tag, uint8_t value)
{
    ber_put_header(w, tag, 1);
    buf_put_u8(w, value);
}

void ber_put_u64(struct buf_writer *w, uint16_t tag, uint64_t value)
{
    ber_put_header(w, tag, 8);
    buf_put_u64(w, value);
}
