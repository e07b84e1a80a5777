#include "proto/issuer.h"

#include "base/cal.h"
#include "proto/ber.h"

#include <string.h>

#define TAG_KIND      0x80u
#define TAG_SERIAL    0x81u
#define TAG_SEQUENCE  0x82u
#define TAG_CHALLENGE 0x83u
#define TAG_TIME      0x84u
#define TAG_OBJECT    0x85u
#define TAG_VALUE     0x86u
#define TAG_WRITE     0x30u
#define TAG_SIGNATURE 0x9Eu

static size_t header_len(size_t len)
{
    return len < 0x80 ? 2 : len < 0x100 ? 3 : 4;
}

static void put_write(struct buf_writer *w, const struct issuer_write *write)
{
    ber_put_header(w, TAG_WRITE, 4 + header_len(write->len) + write->len);
    ber_put_header(w, TAG_OBJECT, 2);
    buf_put_u16(w, write->object);
    ber_put(w, TAG_VALUE, write->value, write->len);
}

enum cw_err issuer_encode(const struct issuer_message *m, struct buf_writer *w)
{
    ber_put_u8(w, TAG_KIND, (uint8_t)m->kind);
    ber_put(w, TAG_SERIAL, m->serial, sizeof m->serial);
    if (m->kind == ISSUER_TIME) {
        if (m->time < 1 || m->time > CAL_MAX)
            return CW_ERR_FORMAT;
        ber_put(w, TAG_CHALLENGE, m->challenge, sizeof m->challenge);
        ber_put_u64(w, TAG_TIME, (uint64_t)m->time);
    } else if (m->kind == ISSUER_UPDATE) {
        if (m->sequence == 0 || m->write_count == 0 || m->write_count > ISSUER_WRITES_MAX)
            return CW_ERR_FORMAT;
        ber_put_header(w, TAG_SEQUENCE, 4);
        buf_put_u32(w, m->sequence);
        for (size_t i = 0; i < m->write_count; i++)
            put_write(w, &m->writes[i]);
    } else {
        return CW_ERR_FORMAT;
    }
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

enum cw_err issuer_seal(struct buf_writer *w, const uint8_t signature[ISSUER_SIGNATURE_LEN])
{
    ber_put(w, TAG_SIGNATURE, signature, ISSUER_SIGNATURE_LEN);
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

/* The next object, which must have this tag and length; NULL, with r->bad set, otherwise. */
static const uint8_t *take(struct buf_reader *r, uint16_t tag, size_t len)
{
    struct ber_object o;
    if (!ber_next(r, &o) || o.tag != tag || o.len != len) {
        r->bad = true;
        return NULL;
    }
    return o.value;
}

static void take_copy(struct buf_reader *r, uint16_t tag, uint8_t *out, size_t len)
{
    const uint8_t *value = take(r, tag, len);
    if (value != NULL)
        memcpy(out, value, len);
}

static uint64_t take_number(struct buf_reader *r, uint16_t tag, size_t len)
{
    const uint8_t *value = take(r, tag, len);
    uint64_t v = 0;
    for (size_t i = 0; value != NULL && i < len; i++)
        v = v << 8 | value[i];
    return v;
}

static void take_write(struct buf_reader *r, const struct ber_object *o, struct issuer_message *m)
{
    struct buf_reader inner;
    struct ber_object value;
    if (m->write_count == ISSUER_WRITES_MAX) {
        r->bad = true;
        return;
    }
    struct issuer_write *write = &m->writes[m->write_count++];
    buf_reader_init(&inner, o->value, o->len);
    write->object = (uint16_t)take_number(&inner, TAG_OBJECT, 2);
    if (!ber_next(&inner, &value) || value.tag != TAG_VALUE || inner.left != 0) {
        r->bad = true;
        return;
    }
    write->value = value.value;
    write->len = value.len;
}

enum cw_err issuer_decode(const uint8_t *data, size_t len, struct issuer_message *out,
                          size_t *signed_len, const uint8_t **signature)
{
    struct issuer_message m;
    struct ber_object o = {0};
    struct buf_reader r;
    memset(&m, 0, sizeof m);
    buf_reader_init(&r, data, len);
    m.kind = (enum issuer_kind)take_number(&r, TAG_KIND, 1);
    take_copy(&r, TAG_SERIAL, m.serial, sizeof m.serial);
    if (m.kind == ISSUER_TIME) {
        take_copy(&r, TAG_CHALLENGE, m.challenge, sizeof m.challenge);
        uint64_t time = take_number(&r, TAG_TIME, 8);
        if (time < 1 || time > (uint64_t)CAL_MAX)
            r.bad = true;
        m.time = (int64_t)(time & (uint64_t)INT64_MAX);
    } else if (m.kind == ISSUER_UPDATE) {
        m.sequence = (uint32_t)take_number(&r, TAG_SEQUENCE, 4);
    } else {
        return CW_ERR_FORMAT;
    }
    size_t before = r.left;
    while (!r.bad && ber_next(&r, &o) && o.tag == TAG_WRITE && m.kind == ISSUER_UPDATE) {
        take_write(&r, &o, &m);
        before = r.left;
    }
    if (r.bad || o.tag != TAG_SIGNATURE || o.len != ISSUER_SIGNATURE_LEN || r.left != 0)
        return CW_ERR_FORMAT;
    if (m.kind == ISSUER_UPDATE && (m.sequence == 0 || m.write_count == 0))
        return CW_ERR_FORMAT;
    memcpy(out, &m, sizeof m); /* its padding too: the card compares two as bytes */
    *signed_len = len - before;
    *signature = o.value;
    return CW_OK;
}
