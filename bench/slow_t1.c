/* slow_t1.c - T=1 (ISO/IEC 7816-3) over a line of a given speed, in virtual time. */
#include "bench/slow.h"

#include "proto/atr.h"
#include "proto/t1_card.h"
#include "proto/t1_reader.h"

#include <string.h>

#define CLOCK_HZ 3571200u /* 9,600 baud at 372 cycles */

struct slow {
    struct slow_line line; /* first */
    struct t1_card card;
    struct t1_reader reader;
    uint64_t etu_ps;
    uint32_t character_etu;
};

/* A block of `len` characters after one of the other direction: the guard time of the block is
 * counted from the last leading edge, so that it costs what it has more than a character. */
static void pass(struct slow *s, size_t len)
{
    uint64_t etu = len * s->character_etu + (T1_BGT - s->character_etu);
    s->line.times.ns += etu * s->etu_ps / 1000;
    s->line.times.blocks++;
    s->line.times.bytes += (uint32_t)len;
}

/* The card does what came in and says something; at the end of this its block is in card.out. */
static enum cw_err card_turn(struct slow *s, enum t1_do what, struct say *why)
{
    if (what == T1_COMMAND) {
        enum cw_err err = slow_run(&s->line, s->card.command_len, why);
        if (err != CW_OK)
            return err;
        what = t1_card_answer(&s->card, s->line.response, s->line.response_len);
    }
    return what == T1_SEND ? CW_OK : say_fail(why, CW_ERR_INTERNAL, "the card says nothing");
}

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct slow *s = self;
    enum t1_reader_do what = t1_reader_command(&s->reader, command, len, response, cap);
    while (what == T1R_SEND) {
        enum t1_do card = T1_WAIT;
        pass(s, s->reader.out_len);
        for (size_t i = 0; i < s->reader.out_len; i++)
            card = t1_card_byte(&s->card, s->reader.out[i], true);
        enum cw_err err = card_turn(s, card, why);
        if (err != CW_OK)
            return err;
        pass(s, s->card.out_len);
        for (size_t i = 0; i < s->card.out_len; i++)
            what = t1_reader_byte(&s->reader, s->card.out[i], true);
    }
    if (what != T1R_DONE || s->reader.response_len > cap)
        return say_fail(why, CW_ERR_IO, "the line broke, which it must not here");
    *response_len = s->reader.response_len;
    return CW_OK;
}

static const struct reader_ops ops = {transceive, slow_no_reset, slow_free};

/* ATR and PPS at the default speed; afterwards the line has the other one. */
static enum cw_err activate(struct slow *s, uint8_t di)
{
    struct atr atr;
    struct atr_meaning m;
    uint8_t request[PPS_MAX], ta1 = ATR_FI_DI_DEFAULT;
    uint16_t fi = 372;
    size_t len;
    const uint8_t *bytes = reader_atr(s->line.inner, &len);
    if (atr_parse(bytes, len, &atr) != CW_OK || atr_read(&atr, &m) != CW_OK)
        return CW_ERR_FORMAT;
    s->character_etu = 12;
    s->etu_ps = UINT64_C(372) * 1000000000000u / CLOCK_HZ;
    t1_card_start(&s->card, &(struct t1_params){.ifsc = m.ifsc, .ta1 = m.ta1, .crc = m.crc},
                  s->line.command, sizeof s->line.command);
    pass(s, len);
    if (di != 0) {
        uint8_t d = 0;
        for (ta1 = m.ta1 & 0xF0u; ta1 <= m.ta1; ta1++)
            if (atr_fi_di(ta1, &fi, &d) == CW_OK && d == di)
                break;
        if (d != di)
            return CW_ERR_ARG;
        size_t n = pps_write(&(struct pps){.protocol = 1, .has_pps1 = true, .pps1 = ta1}, request);
        for (size_t i = 0; i < n; i++)
            (void)t1_card_byte(&s->card, request[i], true);
        if (s->card.out_len != n || memcmp(s->card.out, request, n) != 0)
            return CW_ERR_REFUSED;
        pass(s, n);
        pass(s, n);
        s->etu_ps = UINT64_C(1000000000000) * fi / di / CLOCK_HZ;
    }
    s->character_etu = t1_character_etu(m.n);
    s->line.times.byte_ps = s->etu_ps * s->character_etu;
    t1_reader_start(&s->reader,
                    &(struct t1_reader_params){.ifsc = m.ifsc,
                                               .ifsd = T1_INF_MAX,
                                               .crc = m.crc,
                                               .cwt_etu = t1_cwt_etu(m.cwi),
                                               .bwt_etu = t1_bwt_etu(m.bwi, fi, di != 0 ? di : 1)});
    return CW_OK;
}

enum cw_err slow_t1_open(struct reader *inner, uint8_t di, struct reader **out,
                         const struct slow_times **times, struct say *why)
{
    struct slow *s = slow_make(sizeof *s, inner, why);
    if (s == NULL)
        return CW_ERR_SPACE;
    return slow_front(&s->line, &ops, activate(s, di), out, times, why);
}
