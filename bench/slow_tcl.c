/* slow_tcl.c - ISO/IEC 14443-4 in a field of a given rate, in virtual time. Before each frame is
 * the least frame delay time of ISO/IEC 14443-3 (1172/fc). */
#include "bench/slow.h"

#include "proto/tcl_card.h"
#include "proto/tcl_reader.h"

struct slow {
    struct slow_line line; /* first */
    struct tcl_card card;
    struct tcl_reader reader;
    uint8_t ds, dr; /* rates from now on */
};

static uint64_t fc_ps(uint64_t fc)
{
    return fc * UINT64_C(1000000000) / (TCL_FC_HZ / 1000);
}

static void pass(struct slow *s, size_t len, uint8_t rate)
{
    s->line.times.ns += fc_ps(tcl_frame_fc(len, rate) + TCL_FRAME_DELAY_FC) / 1000;
    s->line.times.blocks++;
    s->line.times.bytes += (uint32_t)len;
}

/* From what the reader says first until it has what it wants. */
static enum cw_err exchange(struct slow *s, enum tcl_reader_do what, struct say *why)
{
    while (what == TCLR_SEND) {
        pass(s, s->reader.out_len, s->dr);
        enum tcl_do card = tcl_card_frame(&s->card, s->reader.out, s->reader.out_len, true);
        if (card == TCL_COMMAND) {
            enum cw_err err = slow_run(&s->line, s->card.command_len, why);
            if (err != CW_OK)
                return err;
            card = tcl_card_answer(&s->card, s->line.response, s->line.response_len);
        }
        if (card != TCL_SEND)
            return say_fail(why, CW_ERR_INTERNAL, "the card says nothing");
        pass(s, s->card.out_len, s->ds);
        s->ds = s->card.dsi;
        s->dr = s->card.dri;
        what = tcl_reader_frame(&s->reader, s->card.out, s->card.out_len, true);
    }
    return what == TCLR_DONE ? CW_OK
                             : say_fail(why, CW_ERR_IO, "the field broke, which it must not here");
}

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct slow *s = self;
    enum cw_err err = exchange(s, tcl_reader_command(&s->reader, command, len, response, cap), why);
    if (err != CW_OK)
        return err;
    if (s->reader.response_len > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with too many bytes");
    *response_len = s->reader.response_len;
    return CW_OK;
}

static const struct reader_ops ops = {transceive, slow_no_reset, slow_free};

static enum cw_err activate(struct slow *s, uint8_t rate, struct say *why)
{
    size_t len;
    const uint8_t *ats = card_ats(&len);
    enum cw_err err = tcl_card_start(&s->card, ats, len, s->line.command, sizeof s->line.command);
    if (err != CW_OK)
        return err;
    tcl_reader_start(&s->reader, &(struct tcl_reader_params){
                                     .fsdi = 8, .no_cid = true, .dsi = rate, .dri = rate});
    err = exchange(s, tcl_reader_activate(&s->reader), why);
    if (err == CW_OK && (s->ds != rate || s->dr != rate))
        err = CW_ERR_REFUSED;
    s->line.times.byte_ps = fc_ps(9u * 128u >> rate);
    return err;
}

enum cw_err slow_tcl_open(struct reader *inner, uint8_t rate, struct reader **out,
                          const struct slow_times **times, struct say *why)
{
    struct slow *s = slow_make(sizeof *s, inner, why);
    if (s == NULL)
        return CW_ERR_SPACE;
    return slow_front(&s->line, &ops, activate(s, rate, why), out, times, why);
}
