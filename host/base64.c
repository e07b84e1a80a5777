#include "host/base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum cw_err base64_encode(const uint8_t *data, size_t len, char *out, size_t cap)
{
    if (cap < 1 || len > (cap - 1) / 4 * 3)
        return CW_ERR_SPACE;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)data[i] << 16;
        if (n > 1)
            v |= (uint32_t)data[i + 1] << 8;
        if (n > 2)
            v |= data[i + 2];
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
        *out++ = n > 2 ? alphabet[v & 63] : '=';
    }
    *out = '\0';
    return CW_OK;
}

/* 0..63, or 64 for a character outside the alphabet. */
static uint32_t value_of(char c)
{
    const char *p = c != '\0' ? strchr(alphabet, c) : NULL;
    return p != NULL ? (uint32_t)(p - alphabet) : 64;
}

enum cw_err base64_decode(const char *text, size_t text_len, uint8_t *out, size_t cap, size_t *len)
{
    if (text_len % 4 != 0)
        return CW_ERR_FORMAT;
    size_t pad = 0;
    while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=')
        pad++;
    size_t total = text_len / 4 * 3 - pad;
    if (total > cap)
        return CW_ERR_SPACE;
    size_t at = 0;
    for (size_t i = 0; i < text_len; i += 4) {
        size_t count = i + 4 == text_len ? 4 - pad : 4;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            uint32_t six = k < count ? value_of(text[i + k]) : 0;
            if (six > 63)
                return CW_ERR_FORMAT;
            v = v << 6 | six;
        }
        if ((count == 2 && (v & 0xFFFF) != 0) || (count == 3 && (v & 0xFF) != 0))
            return CW_ERR_FORMAT;
        for (size_t k = 0; k < count - 1; k++)
            out[at++] = (uint8_t)(v >> (16 - 8 * k));
    }
    *len = total;
    return CW_OK;
}
