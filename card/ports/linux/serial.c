/* serial.c - a pseudo terminal as the wire of a contact card: T=1 by proto/t1_card, and the time
 * that bytes take on a line of a given rate. */
#include "card/ports/linux/serial.h"

#include "card/ports/linux/wire.h"
#include "proto/atr.h"
#include "proto/t1_card.h"

#include <stdlib.h>

/* CWT is 43 etu, 5 ms at the default speed; a program on a busy machine may be scheduled later. */
#define SILENCE_MS 300
/* Half of BWT (BWI 4: 1.6 s at 3.5712 MHz): when a request for more time goes out. */
#define WORKING_NS UINT64_C(800000000)

struct serial {
    struct wire wire;
    struct serial_etu etu;
    uint32_t fi, di, guard; /* speed and etu a character */
    uint32_t heard;         /* characters since the card last spoke */
    struct t1_params params;
    struct t1_card link;
};

enum cw_err serial_etu_parse(const char *text, struct serial_etu *out, struct say *why)
{
    char *slash, *end;
    unsigned long n = strtoul(text, &slash, 10);
    unsigned long d = *slash == '/' ? strtoul(slash + 1, &end, 10) : 0;
    if (n == 0 || n > 1000000 || d < n || d > 1000000000 || *end != '\0' || d / n > 446400)
        return say_fail(why, CW_ERR_FORMAT,
                        "write one etu in seconds as a fraction, from 1/446400 to 1/1, for "
                        "example 1/9600");
    *out = (struct serial_etu){(uint32_t)n, (uint32_t)d};
    return CW_OK;
}

/* What `etu` elementary time units take at the speed of now. */
static uint64_t etu_ns(const struct serial *s, uint64_t etu)
{
    return etu * 1000000000u * s->etu.numerator / s->etu.denominator * s->fi / 372 / s->di;
}

/* After as long as the characters heard and these would have taken. */
static void say_bytes(struct serial *s, const uint8_t *data, size_t len)
{
    uint64_t etu = (uint64_t)(s->heard + len) * s->guard + T1_BGT;
    s->heard = 0;
    wire_say(&s->wire, etu_ns(s, etu), data, len);
}

/* What the link wants said. A PPS response is the last at the old speed. */
static void say_block(struct serial *s)
{
    uint8_t di = 1;
    uint16_t fi = 372;
    say_bytes(s, s->link.out, s->link.out_len);
    if (atr_fi_di(s->link.pps1, &fi, &di) == CW_OK) {
        s->fi = fi;
        s->di = di;
    }
}

static enum cw_err on(void *ctx)
{
    struct serial *s = ctx;
    struct atr atr;
    struct atr_meaning m;
    size_t len;
    const uint8_t *bytes = card_atr(s->wire.card, &len);
    if (atr_parse(bytes, len, &atr) != CW_OK || atr_read(&atr, &m) != CW_OK)
        return CW_ERR_INTERNAL;
    s->params = (struct t1_params){.ifsc = m.ifsc, .ta1 = m.ta1, .crc = m.crc};
    s->fi = 372;
    s->di = 1;
    s->heard = 0;
    s->guard = 12;
    t1_card_start(&s->link, &s->params, s->wire.command, sizeof s->wire.command);
    say_bytes(s, bytes, len);
    s->guard = t1_character_etu(m.n);
    return CW_OK;
}

static void run(struct serial *s)
{
    wire_run(&s->wire, s->link.command_len);
    if (t1_card_answer(&s->link, s->wire.response, s->wire.response_len) == T1_SEND)
        say_block(s);
}

static void more_time(void *ctx)
{
    struct serial *s = ctx;
    uint8_t data[64];
    size_t len = 0;
    if (t1_card_more_time(&s->link, 1) != T1_SEND)
        return;
    say_block(s);
    while (!t1_card_working(&s->link)) {
        enum t1_do what = T1_WAIT;
        if (pty_wait(&s->wire.line, WIRE_GRANT_MS, data, sizeof data, &len) != PTY_BYTES)
            break; /* gone, or silent: the work goes on, the main loop sees to the rest */
        for (size_t i = 0; i < len && what != T1_RESUME; i++) {
            s->heard++;
            what = t1_card_byte(&s->link, data[i], true);
            if (what == T1_SEND)
                say_block(s);
        }
    }
}

static void hear(void *ctx, const uint8_t *data, size_t len)
{
    struct serial *s = ctx;
    for (size_t i = 0; i < len; i++) {
        s->heard++;
        enum t1_do what = t1_card_byte(&s->link, data[i], true);
        if (what == T1_SEND)
            say_block(s);
        else if (what == T1_COMMAND)
            run(s);
    }
}

static bool inside(const void *ctx)
{
    const struct serial *s = ctx;
    return s->link.in_len > 0;
}

static void silence(void *ctx)
{
    struct serial *s = ctx;
    if (t1_card_silence(&s->link) == T1_SEND)
        say_block(s);
}

static const struct wire_link t1 = {.working_ns = WORKING_NS,
                                    .silence_ms = SILENCE_MS,
                                    .on = on,
                                    .hear = hear,
                                    .inside = inside,
                                    .silence = silence,
                                    .more_time = more_time};

enum cw_err serial_serve(const char *path, const struct serial_etu *etu,
                         const struct card_port *port, int signals, struct say *why)
{
    static struct serial s;
    s = (struct serial){.wire = {.link = &t1, .ctx = &s}, .etu = *etu};
    return wire_serve(&s.wire, path, port, signals, why);
}
