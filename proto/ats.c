/* ats.c - answer to select, and the ATR that PC/SC makes of it. */
#include "proto/ats.h"

#include "base/buf.h"
#include "base/check.h"

#include <string.h>

#define RATES 7u /* three of them */

enum cw_err ats_parse(const uint8_t *bytes, size_t len, struct ats *out)
{
    struct buf_reader in;
    struct ats ats = {0};
    buf_reader_init(&in, bytes, len);
    if (buf_get_u8(&in) != len || len > ATS_MAX)
        return CW_ERR_LENGTH;
    if (len > 1) {
        uint8_t t0 = buf_get_u8(&in);
        ats.has_t0 = true;
        ats.fsci = t0 & 0x0F;
        ats.present = t0 >> 4 & 7u; /* b8 says nothing yet */
        if ((ats.present & ATS_TA) != 0)
            ats.ta = buf_get_u8(&in);
        if ((ats.present & ATS_TB) != 0)
            ats.tb = buf_get_u8(&in);
        if ((ats.present & ATS_TC) != 0)
            ats.tc = buf_get_u8(&in);
        ats.historical_len = (uint8_t)in.left;
        ats.historical = buf_get_bytes(&in, in.left);
    }
    if (in.bad)
        return CW_ERR_LENGTH;
    *out = ats;
    return CW_OK;
}

enum cw_err ats_build(const struct ats *ats, uint8_t *out, size_t cap, size_t *len)
{
    struct buf_writer w;
    if (ats->fsci > 15 || ats->present > 7 ||
        (!ats->has_t0 && (ats->present != 0 || ats->historical_len != 0)))
        return CW_ERR_ARG;
    buf_writer_init(&w, out, cap < ATS_MAX ? cap : ATS_MAX);
    buf_put_u8(&w, 0);
    if (ats->has_t0)
        buf_put_u8(&w, (uint8_t)(ats->present << 4 | ats->fsci));
    if ((ats->present & ATS_TA) != 0)
        buf_put_u8(&w, ats->ta);
    if ((ats->present & ATS_TB) != 0)
        buf_put_u8(&w, ats->tb);
    if ((ats->present & ATS_TC) != 0)
        buf_put_u8(&w, ats->tc);
    if (ats->historical_len > 0)
        buf_put_bytes(&w, ats->historical, ats->historical_len);
    if (w.bad)
        return CW_ERR_SPACE;
    out[0] = (uint8_t)w.len;
    *len = w.len;
    return CW_OK;
}

void ats_read(const struct ats *ats, struct ats_meaning *out)
{
    *out = (struct ats_meaning){
        .fsc = ats_frame_size(ats->has_t0 ? ats->fsci : 2), .fwi = 4, .cid = true};
    /* TA with the reserved b4 set is to be read as 106 kbit/s alone. */
    if ((ats->present & ATS_TA) != 0 && (ats->ta & 0x08u) == 0) {
        out->same = (ats->ta & 0x80u) != 0;
        out->ds = ats->ta >> 4 & RATES;
        out->dr = ats->ta & RATES;
    }
    if ((ats->present & ATS_TB) != 0) {
        out->fwi = ats->tb >> 4 == 15 ? 4 : ats->tb >> 4;
        out->sfgi = (ats->tb & 0x0Fu) == 15 ? 0 : ats->tb & 0x0F;
    }
    if ((ats->present & ATS_TC) != 0) {
        out->cid = (ats->tc & 2u) != 0;
        out->nad = (ats->tc & 1u) != 0;
    }
}

enum cw_err ats_atr(const struct ats *ats, uint8_t *out, size_t *len)
{
    size_t n = ats->historical_len;
    if (n > ATS_HISTORICAL_MAX)
        return CW_ERR_LENGTH;
    out[0] = 0x3B;
    out[1] = (uint8_t)(0x80u | n);
    out[2] = 0x80;
    out[3] = 0x01;
    if (n > 0)
        memcpy(out + 4, ats->historical, n);
    out[4 + n] = check_xor(out + 1, 3 + n); /* TCK */
    *len = 5 + n;
    return CW_OK;
}

static const uint16_t sizes[] = {16, 24, 32, 40, 48, 64, 96, 128, 256};

uint16_t ats_frame_size(uint8_t index)
{
    return sizes[index < 8 ? index : 8];
}

uint8_t ats_frame_index(uint16_t size)
{
    uint8_t i = 8;
    while (i > 0 && sizes[i] > size)
        i--;
    return i;
}
