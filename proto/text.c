/* text.c - see text.h. */
#include "proto/text.h"

/* Takes one code point of well-formed UTF-8 (RFC 3629 §4), or returns 0. */
static uint32_t next_code_point(struct buf_reader *r)
{
    uint8_t first = buf_get_u8(r);
    size_t more = first < 0x80 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if ((first >= 0x80 && first < 0xC2) || first > 0xF4)
        return 0;
    uint32_t c = more == 0 ? first : first & (0x3Fu >> more);
    for (size_t i = 0; i < more; i++) {
        uint8_t b = buf_get_u8(r);
        if ((b & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (b & 0x3Fu);
    }
    if (r->bad || c < least[more] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    return c;
}

/* What would let a text look like another text: controls, line breaks, zero-width and
 * direction-changing characters (Unicode TR #36 §2), tags, variation selectors, unassigned
 * non-characters. */
static bool misleading(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x0000, 0x001F},   {0x007F, 0x00A0},   {0x00AD, 0x00AD},   {0x034F, 0x034F},
        {0x061C, 0x061C},   {0x115F, 0x1160},   {0x17B4, 0x17B5},   {0x180B, 0x180F},
        {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x2800, 0x2800},
        {0x3000, 0x3000},   {0x3164, 0x3164},   {0xE000, 0xF8FF},   {0xFDD0, 0xFDEF},
        {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0},   {0xFFF0, 0xFFFF},
        {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return (c & 0xFFFE) == 0xFFFE;
}

bool text_is_clean(const char *text, size_t len)
{
    struct buf_reader r;
    buf_reader_init(&r, (const uint8_t *)text, len);
    while (r.left > 0) {
        uint32_t c = next_code_point(&r);
        if (c == 0 || misleading(c))
            return false;
    }
    return true;
}

void text_put_clean(struct buf_writer *w, const char *text, size_t len)
{
    struct buf_reader r;
    buf_reader_init(&r, (const uint8_t *)text, len);
    while (r.left > 0) {
        struct buf_reader before = r;
        uint32_t c = next_code_point(&r);
        if (c != 0 && !misleading(c)) {
            buf_put_bytes(w, before.at, before.left - r.left);
            continue;
        }
        buf_put_str(w, "\xEF\xBF\xBD");
        if (c == 0) { /* malformed: go on after its first byte */
            r = before;
            (void)buf_get_u8(&r);
        }
    }
}
