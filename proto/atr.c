/* atr.c - answer to reset and PPS. */
#include "proto/atr.h"

#include "base/buf.h"

#include <string.h>

#define TS_DIRECT  0x3B
#define TS_INVERSE 0x3F

static uint8_t xor_of(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum ^= bytes[i];
    return sum;
}

size_t atr_expected(const uint8_t *bytes, size_t len)
{
    size_t at = 1; /* T0, then each TDi */
    size_t groups = 0;
    bool tck = false;
    if (len < 2)
        return 0;
    uint8_t y = bytes[1];
    for (;;) {
        size_t next = at + (y >> 4 & 1u) + (y >> 5 & 1u) + (y >> 6 & 1u) + (y >> 7);
        if ((y & 0x80u) == 0 || ++groups == ATR_GROUPS_MAX)
            return next + (bytes[1] & 0x0Fu) + (tck ? 1u : 0u) + 1u;
        if (next >= len)
            return 0;
        at = next;
        y = bytes[at];
        tck = tck || (y & 0x0Fu) != 0;
    }
}

/* The interface bytes from T0's or TDi's nibble y on; the last group has no TD. */
static void get_groups(struct buf_reader *in, uint8_t y, struct atr *out)
{
    while (y != 0 && !in->bad) {
        if (out->group_count == ATR_GROUPS_MAX) {
            in->bad = true;
            return;
        }
        struct atr_group *g = &out->groups[out->group_count++];
        g->present = y;
        if ((y & ATR_TA) != 0)
            g->ta = buf_get_u8(in);
        if ((y & ATR_TB) != 0)
            g->tb = buf_get_u8(in);
        if ((y & ATR_TC) != 0)
            g->tc = buf_get_u8(in);
        if ((y & ATR_TD) != 0)
            g->td = buf_get_u8(in);
        y = g->td >> 4;
    }
}

/* Protocols in ascending order, T=15 last and never first; §8.2.3 */
static bool ordered(const struct atr *atr, bool *tck)
{
    int last = -1;
    *tck = false;
    for (unsigned i = 0; i < atr->group_count; i++) {
        if ((atr->groups[i].present & ATR_TD) == 0)
            continue;
        int t = atr->groups[i].td & 0x0F;
        if (t < last || (last < 0 && t == 15))
            return false;
        last = t;
        *tck = *tck || t != 0;
    }
    return true;
}

enum cw_err atr_parse(const uint8_t *bytes, size_t len, struct atr *out)
{
    struct buf_reader in;
    bool tck;
    memset(out, 0, sizeof *out);
    if (len < 2 || len > ATR_MAX)
        return CW_ERR_LENGTH;
    if (bytes[0] != TS_DIRECT && bytes[0] != TS_INVERSE)
        return CW_ERR_FORMAT;
    out->inverse = bytes[0] == TS_INVERSE;
    buf_reader_init(&in, bytes + 2, len - 2);
    get_groups(&in, bytes[1] >> 4, out);
    out->historical_len = bytes[1] & 0x0F;
    const uint8_t *historical = buf_get_bytes(&in, out->historical_len);
    if (in.bad)
        return CW_ERR_LENGTH;
    if (out->historical_len > 0)
        memcpy(out->historical, historical, out->historical_len);
    if (!ordered(out, &tck))
        return CW_ERR_FORMAT;
    if (in.left != (tck ? 1u : 0u))
        return CW_ERR_LENGTH;
    return tck && xor_of(bytes + 1, len - 1) != 0 ? CW_ERR_FORMAT : CW_OK;
}

enum cw_err atr_build(const struct atr *atr, uint8_t *out, size_t cap, size_t *len)
{
    struct buf_writer w;
    bool tck;
    if (atr->historical_len > ATR_HISTORICAL_MAX || atr->group_count > ATR_GROUPS_MAX ||
        !ordered(atr, &tck))
        return CW_ERR_ARG;
    buf_writer_init(&w, out, cap < ATR_MAX ? cap : ATR_MAX);
    buf_put_u8(&w, atr->inverse ? TS_INVERSE : TS_DIRECT);
    uint8_t y = atr->group_count > 0 ? atr->groups[0].present : 0;
    buf_put_u8(&w, (uint8_t)(y << 4 | atr->historical_len));
    for (unsigned i = 0; i < atr->group_count; i++) {
        const struct atr_group *g = &atr->groups[i];
        bool last = i + 1 == atr->group_count;
        if (g->present > 0x0F || ((g->present & ATR_TD) == 0) != last) {
            if (!last || g->present > 0x0F)
                return CW_ERR_ARG;
        }
        if ((g->present & ATR_TA) != 0)
            buf_put_u8(&w, g->ta);
        if ((g->present & ATR_TB) != 0)
            buf_put_u8(&w, g->tb);
        if ((g->present & ATR_TC) != 0)
            buf_put_u8(&w, g->tc);
        if ((g->present & ATR_TD) != 0)
            buf_put_u8(&w,
                       (uint8_t)((last ? 0 : atr->groups[i + 1].present) << 4 | (g->td & 0x0F)));
    }
    buf_put_bytes(&w, atr->historical, atr->historical_len);
    if (tck && !w.bad)
        buf_put_u8(&w, xor_of(out + 1, w.len - 1));
    if (w.bad)
        return CW_ERR_SPACE;
    *len = w.len;
    return CW_OK;
}

enum cw_err atr_fi_di(uint8_t ta1, uint16_t *fi, uint8_t *di)
{
    static const uint16_t f[16] = {372, 372, 558, 744,  1116, 1488, 1860, 0,
                                   0,   512, 768, 1024, 1536, 2048, 0,    0};
    static const uint8_t d[16] = {0, 1, 2, 4, 8, 16, 32, 64, 12, 20};
    *fi = f[ta1 >> 4];
    *di = d[ta1 & 0x0F];
    return *fi == 0 || *di == 0 ? CW_ERR_FORMAT : CW_OK;
}

/* The specific bytes of protocol `t`: they follow the first TDi, from i = 2 on, that names it. */
static void read_specific(const struct atr_group *g, uint8_t t, bool *t1_done,
                          struct atr_meaning *out)
{
    if (t == 15 && (g->present & ATR_TA) != 0)
        out->class_indicator = g->ta;
    if (t != 1 || *t1_done)
        return;
    *t1_done = true;
    if ((g->present & ATR_TA) != 0)
        out->ifsc = g->ta;
    if ((g->present & ATR_TB) != 0) {
        out->bwi = g->tb >> 4;
        out->cwi = g->tb & 0x0F;
    }
    if ((g->present & ATR_TC) != 0)
        out->crc = (g->tc & 1u) != 0;
}

enum cw_err atr_read(const struct atr *atr, struct atr_meaning *out)
{
    bool t1_done = false;
    *out = (struct atr_meaning){
        .ta1 = ATR_FI_DI_DEFAULT, .ifsc = 32, .bwi = 4, .cwi = 13, .wi = 10, .class_indicator = 1};
    for (unsigned i = 0; i < atr->group_count; i++) {
        const struct atr_group *g = &atr->groups[i];
        if (i == 0) {
            if ((g->present & ATR_TA) != 0)
                out->ta1 = g->ta;
            if ((g->present & ATR_TC) != 0)
                out->n = g->tc;
        } else if (i == 1) {
            if ((g->present & ATR_TA) != 0) {
                out->specific = true;
                out->implicit = (g->ta & 0x10u) != 0;
                out->specific_protocol = g->ta & 0x0F;
            }
            if ((g->present & ATR_TC) != 0)
                out->wi = g->tc;
        } else {
            read_specific(g, atr->groups[i - 1].td & 0x0F, &t1_done, out);
        }
        uint8_t t = g->td & 0x0F;
        if ((g->present & ATR_TD) != 0 && t != 15) {
            if (out->protocols == 0)
                out->first = t;
            out->protocols |= (uint16_t)(1u << t);
        }
    }
    if (out->protocols == 0)
        out->protocols = 1;
    if (out->ifsc == 0 || out->ifsc == 255 || out->bwi > 9 ||
        (out->specific && (out->protocols >> out->specific_protocol & 1u) == 0))
        return CW_ERR_FORMAT;
    return atr_fi_di(out->ta1, &out->fi, &out->di);
}

size_t pps_expected(const uint8_t *bytes, size_t len)
{
    return len < 2 ? 0 : 3u + (bytes[1] >> 4 & 1u) + (bytes[1] >> 5 & 1u) + (bytes[1] >> 6 & 1u);
}

enum cw_err pps_parse(const uint8_t *bytes, size_t len, struct pps *out)
{
    if (len < 3 || len != pps_expected(bytes, len))
        return CW_ERR_LENGTH;
    if (bytes[0] != PPS_PPSS || xor_of(bytes, len) != 0 || (bytes[1] & 0x80u) != 0 ||
        (bytes[1] & 0x0Fu) == 15)
        return CW_ERR_FORMAT;
    out->protocol = bytes[1] & 0x0F;
    out->has_pps1 = (bytes[1] & 0x10u) != 0;
    out->pps1 = out->has_pps1 ? bytes[2] : ATR_FI_DI_DEFAULT;
    return CW_OK;
}

size_t pps_write(const struct pps *pps, uint8_t *out)
{
    size_t len = 0;
    out[len++] = PPS_PPSS;
    out[len++] = (uint8_t)(pps->protocol | (pps->has_pps1 ? 0x10u : 0u));
    if (pps->has_pps1)
        out[len++] = pps->pps1;
    out[len] = xor_of(out, len);
    return len + 1;
}
