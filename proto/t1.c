/* t1.c - blocks of T=1 as bytes, and the times of its line. */
#include "proto/t1.h"

#include <string.h>

static uint8_t lrc(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum ^= bytes[i];
    return sum;
}

/* ISO/IEC 13239: x^16 + x^12 + x^5 + 1, lowest bit first, begins with FFFF, complemented */
static uint16_t crc16(const uint8_t *bytes, size_t len)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 1u) != 0 ? crc >> 1 ^ 0x8408u : crc >> 1);
    }
    return (uint16_t)~crc;
}

/* Writes the epilogue behind `len` bytes; returns its length. §11.3.4 */
static size_t epilogue(uint8_t *bytes, size_t len, bool crc)
{
    if (!crc) {
        bytes[len] = lrc(bytes, len);
        return 1;
    }
    uint16_t sum = crc16(bytes, len);
    bytes[len] = (uint8_t)(sum >> 8);
    bytes[len + 1] = (uint8_t)sum;
    return 2;
}

size_t t1_expected(const uint8_t *bytes, size_t len, bool crc)
{
    if (len < T1_PROLOGUE)
        return 0;
    return bytes[2] > T1_INF_MAX ? SIZE_MAX : T1_PROLOGUE + bytes[2] + (crc ? 2u : 1u);
}

static bool intact(const uint8_t *bytes, size_t len, bool crc)
{
    if (!crc)
        return lrc(bytes, len) == 0;
    uint16_t sum = crc16(bytes, len - 2);
    return bytes[len - 2] == sum >> 8 && bytes[len - 1] == (sum & 0xFFu);
}

static bool well_formed(const struct t1_block *b)
{
    switch (t1_kind(b->pcb)) {
    case T1_BLOCK_I:
        return (b->pcb & 0x1Fu) == 0;
    case T1_BLOCK_R:
        return (b->pcb & 0x2Cu) == 0 && (b->pcb & 3u) != 3 && b->len == 0;
    case T1_BLOCK_S:
        break;
    }
    switch (b->pcb & 0x1Fu) {
    case T1_RESYNCH:
    case T1_ABORT:
        return b->len == 0;
    case T1_IFS:
        return b->len == 1 && b->inf[0] != 0 && b->inf[0] != 0xFF;
    case T1_WTX:
        return b->len == 1;
    default:
        return false;
    }
}

enum cw_err t1_parse(const uint8_t *bytes, size_t len, bool crc, struct t1_block *out)
{
    if (len < T1_PROLOGUE || len != t1_expected(bytes, len, crc))
        return CW_ERR_LENGTH;
    if (!intact(bytes, len, crc))
        return CW_ERR_IO;
    out->nad = bytes[0];
    out->pcb = bytes[1];
    out->len = bytes[2];
    out->inf = bytes + T1_PROLOGUE;
    /* b8 and b4 of NAD were for VPP; the two addresses differ unless both are 0: §11.3.2.1 */
    bool addressed = (out->nad & 7u) != (out->nad >> 4 & 7u) || out->nad == 0;
    return (out->nad & 0x88u) == 0 && addressed && well_formed(out) ? CW_OK : CW_ERR_FORMAT;
}

size_t t1_write(uint8_t nad, uint8_t pcb, const uint8_t *inf, uint8_t len, bool crc, uint8_t *out)
{
    out[0] = nad;
    out[1] = pcb;
    out[2] = len;
    if (len > 0)
        memmove(out + T1_PROLOGUE, inf, len);
    return T1_PROLOGUE + len + epilogue(out, T1_PROLOGUE + (size_t)len, crc);
}

uint32_t t1_character_etu(uint8_t n)
{
    return n == 255 ? 11u : 12u + n;
}

uint32_t t1_cwt_etu(uint8_t cwi)
{
    return 11u + (1u << cwi);
}

uint32_t t1_bwt_etu(uint8_t bwi, uint16_t fi, uint8_t di)
{
    /* One etu is fi / di cycles. */
    uint32_t cycles = (1u << bwi) * 960u * 372u;
    return 11u + (cycles / fi) * di + (cycles % fi * di + fi - 1) / fi;
}
