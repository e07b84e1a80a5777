/* slip.c - SLIP (RFC 1055). */
#include "proto/slip.h"

void slip_start(struct slip *s, uint8_t *frame, size_t cap)
{
    *s = (struct slip){.frame = frame, .cap = cap};
}

bool slip_inside(const struct slip *s)
{
    return !s->ended && (s->len > 0 || s->broken || s->escaped);
}

bool slip_byte(struct slip *s, uint8_t byte)
{
    if (s->ended)
        slip_start(s, s->frame, s->cap);
    if (byte == SLIP_END) {
        s->broken = s->broken || s->escaped;
        s->ended = s->len > 0 || s->broken;
        return s->ended;
    }
    if (s->escaped) {
        s->escaped = false;
        if (byte == SLIP_ESC_END)
            byte = SLIP_END;
        else if (byte == SLIP_ESC_ESC)
            byte = SLIP_ESC;
        else
            s->broken = true;
    } else if (byte == SLIP_ESC) {
        s->escaped = true;
        return false;
    }
    if (s->len < s->cap)
        s->frame[s->len++] = byte;
    else
        s->broken = true;
    return false;
}

size_t slip_write(const uint8_t *frame, size_t len, uint8_t *out)
{
    size_t n = 0;
    out[n++] = SLIP_END;
    for (size_t i = 0; i < len; i++) {
        bool escape = frame[i] == SLIP_END || frame[i] == SLIP_ESC;
        if (escape)
            out[n++] = SLIP_ESC;
        if (escape)
            out[n++] = frame[i] == SLIP_END ? SLIP_ESC_END : SLIP_ESC_ESC;
        else
            out[n++] = frame[i];
    }
    out[n++] = SLIP_END;
    return n;
}
