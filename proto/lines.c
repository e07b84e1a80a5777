#include "proto/lines.h"

#include <string.h>

void lines_get(struct buf_reader *r, const char *label, char *out, size_t max)
{
    size_t skip = strlen(label);
    const uint8_t *end = r->bad || r->left == 0 ? NULL : memchr(r->at, '\n', r->left);
    size_t line = end != NULL ? (size_t)(end - r->at) : 0;
    out[0] = '\0';
    if (end == NULL || line < skip || line - skip > max || memcmp(r->at, label, skip) != 0 ||
        memchr(r->at, '\0', line) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(out, r->at + skip, line - skip);
    out[line - skip] = '\0';
    (void)buf_get_bytes(r, line + 1);
}

static uint8_t get_digit(struct buf_reader *r)
{
    uint8_t c = buf_get_u8(r);
    if (c >= '0' && c <= '9')
        return (uint8_t)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (uint8_t)(c - 'a' + 10);
    r->bad = true;
    return 0;
}

void lines_get_hex(struct buf_reader *r, const char *label, uint8_t *out, size_t len)
{
    size_t skip = strlen(label);
    const uint8_t *have = buf_get_bytes(r, skip);
    if (have == NULL || memcmp(have, label, skip) != 0)
        r->bad = true;
    for (size_t i = 0; i < len; i++) {
        uint8_t high = get_digit(r);
        out[i] = (uint8_t)(high << 4 | get_digit(r));
    }
    if (buf_get_u8(r) != '\n')
        r->bad = true;
}

void lines_get_dec(struct buf_reader *r, const char *label, uint64_t max, uint64_t *out)
{
    char text[20];
    lines_get(r, label, text, sizeof text - 1);
    uint64_t v = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            r->bad = true;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v == 0 || v > max)
        r->bad = true;
    *out = v;
}
