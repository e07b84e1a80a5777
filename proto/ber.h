/* ber.h - BER-TLV data objects with tags of one or two bytes and definite lengths up to 65,535
 * (ISO/IEC 7816-4:2020 §6.3). Not a general ASN.1 codec: certificates are not read with it. */
#ifndef CARDWIRE_PROTO_BER_H
#define CARDWIRE_PROTO_BER_H

#include "base/buf.h"
#include "base/err.h"

struct ber_object {
    uint16_t tag; /* 0x0001..0x00FF for one byte, otherwise both bytes */
    const uint8_t *value;
    size_t len;
};

/* Takes the next object from `r`; lengths must be minimal. Returns false at the end or when the
 * bytes are malformed: then r->bad tells the two apart. */
bool ber_next(struct buf_reader *r, struct ber_object *out);

/* Finds the first object with `tag` among the objects in data[0..len).
 * CW_ERR_NOT_FOUND, or CW_ERR_FORMAT when the bytes before it are malformed. */
CW_MUST_USE enum cw_err ber_find(const uint8_t *data, size_t len, uint16_t tag,
                                 struct ber_object *out);

void ber_put_header(struct buf_writer *w, uint16_t tag, size_t len);
void ber_put(struct buf_writer *w, uint16_t tag, const void *value, size_t len);
void ber_put_u8(struct buf_writer *w, uint16_t tag, uint8_t value);
void ber_put_u64(struct buf_writer *w, uint16_t tag, uint64_t value); /* always 8 bytes */

#endif
