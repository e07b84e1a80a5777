/* tcl_reader.c - the reader's end of ISO/IEC 14443-4. The rules in comments are those of §7.5.3
 * (letters) and §7.5.4 (numbers). */
#include "proto/tcl_reader.h"

#include "base/buf.h"
#include "base/ct.h"

#include <string.h>

enum state {
    OFF,         /* not activated, or given up */
    RATS,        /* sent */
    PPS,         /* sent */
    READY,       /* for a command */
    COMMANDING,  /* an I-block of the command is out */
    ANSWERING,   /* a part of the answer is there, R(ACK) is out */
    DESELECTING, /* S(DESELECT) is out */
};

void tcl_reader_start(struct tcl_reader *r, const struct tcl_reader_params *params)
{
    ct_wipe(r, sizeof *r);
    r->params = *params;
    r->guard_fc = TCL_FRAME_DELAY_FC;
}

static uint8_t cid_flag(const struct tcl_reader *r)
{
    return r->card.cid && !r->params.no_cid ? TCL_CID : 0;
}

static bool with_nad(const struct tcl_reader *r)
{
    return r->card.nad && r->params.with_nad;
}

/* What is in out */
static enum tcl_reader_do send_out(struct tcl_reader *r)
{
    r->counts.frames_sent++;
    r->pause_fc = r->guard_fc;
    r->guard_fc = TCL_FRAME_DELAY_FC;
    return TCLR_SEND;
}

static enum tcl_reader_do send(struct tcl_reader *r, uint8_t pcb, const uint8_t *inf, size_t len)
{
    struct tcl_block b = {.pcb = pcb | cid_flag(r),
                          .cid = r->params.cid,
                          .nad = r->params.nad,
                          .inf = inf,
                          .len = (uint16_t)len};
    r->out_len = (uint16_t)tcl_write(&b, r->out);
    return send_out(r);
}

static void wait_fwt(struct tcl_reader *r)
{
    r->wait_fc = tcl_fwt_fc(r->card.fwi) + TCL_FWT_DELTA_FC;
}

static enum tcl_reader_do fail(struct tcl_reader *r)
{
    r->state = OFF;
    return TCLR_FAILED;
}

/* The I-block that begins at command_at. */
static enum tcl_reader_do send_i(struct tcl_reader *r)
{
    uint8_t pcb = TCL_I | r->number;
    if (with_nad(r) && r->command_at == 0) /* only the first of a chain has it, §7.1.2.4 */
        pcb |= TCL_NAD;
    size_t room = r->card.fsc - tcl_overhead(pcb | cid_flag(r));
    size_t left = r->command_len - r->command_at;
    bool more = left > room;
    r->command_sent = more ? room : left;
    return send(r, pcb | (more ? TCL_I_MORE : 0), r->command + r->command_at, r->command_sent);
}

static bool chaining(const struct tcl_reader *r)
{
    return r->command_at + r->command_sent < r->command_len;
}

/* Nothing came, or nothing that fits: rules 4, 5 and 8. */
static enum tcl_reader_do recover(struct tcl_reader *r)
{
    r->counts.errors++;
    if (r->tries++ == TCL_RETRIES)
        return fail(r);
    r->counts.retransmissions++;
    if (r->state == COMMANDING)
        return send(r, TCL_R_NAK | r->number, NULL, 0);
    if (r->state == ANSWERING)
        return send(r, TCL_R_ACK | r->number, NULL, 0);
    return send_out(r); /* RATS, PPS or S(DESELECT) again, §5.6 */
}

enum tcl_reader_do tcl_reader_activate(struct tcl_reader *r)
{
    r->card = (struct ats_meaning){0};
    r->state = RATS;
    r->tries = 0;
    r->number = 0; /* rule A */
    r->dsi = r->dri = r->power = 0;
    r->guard_fc = TCL_FRAME_DELAY_FC;
    r->wait_fc = TCL_ACTIVATION_FC;
    r->out_len = (uint16_t)tcl_rats_write(r->params.fsdi, r->params.cid, r->out);
    return send_out(r);
}

/* The fastest of the rates in the set that is not above `wanted` */
static uint8_t choose(uint8_t rates, uint8_t wanted)
{
    while (wanted > 0 && (rates >> (wanted - 1) & 1u) == 0)
        wanted--;
    return wanted;
}

static enum tcl_reader_do on_ats(struct tcl_reader *r, const uint8_t *frame, size_t len)
{
    struct ats ats;
    struct tcl_pps pps = {.cid = r->params.cid};
    if (!tcl_intact(frame, len) || ats_parse(frame, len - TCL_CRC_LEN, &ats) != CW_OK)
        return recover(r);
    ats_read(&ats, &r->card);
    r->ats_len = (uint16_t)(len - TCL_CRC_LEN);
    memcpy(r->ats, frame, r->ats_len);
    r->guard_fc = tcl_sfgt_fc(r->card.sfgi);
    wait_fwt(r);
    r->tries = 0;
    if (r->card.same) {
        uint8_t most = r->params.dsi < r->params.dri ? r->params.dsi : r->params.dri;
        pps.dsi = pps.dri = choose(r->card.ds & r->card.dr, most);
    } else {
        pps.dsi = choose(r->card.ds, r->params.dsi);
        pps.dri = choose(r->card.dr, r->params.dri);
    }
    if (pps.dsi == 0 && pps.dri == 0) {
        r->state = READY;
        return TCLR_DONE;
    }
    r->dsi = pps.dsi;
    r->dri = pps.dri;
    r->state = PPS;
    r->out_len = (uint16_t)tcl_pps_write(&pps, r->out);
    return send_out(r);
}

static enum tcl_reader_do on_pps(struct tcl_reader *r, const uint8_t *frame, size_t len)
{
    if (!tcl_intact(frame, len) || len != 1 + TCL_CRC_LEN || frame[0] != (TCL_PPSS | r->params.cid))
        return recover(r);
    r->state = READY;
    return TCLR_DONE;
}

enum tcl_reader_do tcl_reader_command(struct tcl_reader *r, const uint8_t *command, size_t len,
                                      uint8_t *response, size_t cap)
{
    if (r->state != READY)
        return fail(r);
    r->command = command;
    r->command_len = len;
    r->command_at = 0;
    r->response = response;
    r->response_cap = cap;
    r->response_len = 0;
    r->tries = 0;
    r->state = COMMANDING;
    wait_fwt(r);
    return send_i(r);
}

enum tcl_reader_do tcl_reader_deselect(struct tcl_reader *r)
{
    r->state = DESELECTING;
    r->tries = 0;
    r->wait_fc = TCL_ACTIVATION_FC;
    return send(r, TCL_DESELECT, NULL, 0);
}

static enum tcl_reader_do on_i(struct tcl_reader *r, const struct tcl_block *b, uint16_t crc)
{
    bool first = r->state == COMMANDING;
    bool nad = (b->pcb & TCL_NAD) != 0;
    uint8_t ours = (uint8_t)(r->params.nad << 4 | r->params.nad >> 4);
    if (nad != (first && with_nad(r)) || (nad && b->nad != ours) || (first && chaining(r)))
        return recover(r);
    if ((b->pcb & TCL_NUMBER) != r->number) {
        /* The block before once more is a repetition. Any other says that the card has gone on
         * without us, and a piece of the answer is lost. */
        return first || crc == r->last_crc ? recover(r) : fail(r);
    }
    r->number ^= 1; /* rule B */
    r->last_crc = crc;
    r->tries = 0;
    buf_collect(r->response, r->response_cap, &r->response_len, b->inf, b->len);
    if ((b->pcb & TCL_I_MORE) != 0) { /* rule 2 */
        r->state = ANSWERING;
        return send(r, TCL_R_ACK | r->number, NULL, 0);
    }
    r->state = READY;
    return TCLR_DONE;
}

static enum tcl_reader_do on_r(struct tcl_reader *r, const struct tcl_block *b)
{
    if ((b->pcb & TCL_R_NAK) == TCL_R_NAK || r->state != COMMANDING)
        return recover(r);
    if ((b->pcb & TCL_NUMBER) != r->number) { /* rule 6 */
        if (r->tries++ == TCL_RETRIES)
            return fail(r);
        r->counts.retransmissions++;
        return send_i(r);
    }
    if (!chaining(r))
        return recover(r);
    r->number ^= 1; /* rules B and 7 */
    r->tries = 0;
    r->command_at += r->command_sent;
    return send_i(r);
}

static enum tcl_reader_do on_s(struct tcl_reader *r, const struct tcl_block *b)
{
    uint8_t type = (uint8_t)(b->pcb & ~TCL_CID);
    if (type == TCL_DESELECT && r->state == DESELECTING) {
        r->state = OFF;
        return TCLR_DONE;
    }
    if (type != TCL_WTX || r->state == DESELECTING)
        return recover(r);
    /* §7.3: the time that was asked for, without the power level */
    uint8_t wtxm = b->inf[0] & 0x3F;
    r->counts.waits++;
    r->tries = 0;
    r->wait_fc = tcl_fwt_temp_fc(r->card.fwi, wtxm) + TCL_FWT_DELTA_FC;
    return send(r, TCL_WTX, &wtxm, 1);
}

static enum tcl_reader_do on_block(struct tcl_reader *r, const uint8_t *frame, size_t len)
{
    struct tcl_block b;
    if (r->state != DESELECTING)
        wait_fwt(r); /* a longer one was for this block */
    if (len > ats_frame_size(r->params.fsdi) || tcl_parse(frame, len, &b) != CW_OK ||
        (b.pcb & TCL_CID) != cid_flag(r) || b.cid != (cid_flag(r) != 0 ? r->params.cid : 0))
        return recover(r);
    if (cid_flag(r) != 0)
        r->power = b.power;
    switch (tcl_kind(b.pcb)) {
    case TCL_BLOCK_I:
        return r->state == DESELECTING
                   ? recover(r)
                   : on_i(r, &b, (uint16_t)(frame[len - 2] | frame[len - 1] << 8));
    case TCL_BLOCK_R:
        return on_r(r, &b);
    default:
        return on_s(r, &b);
    }
}

enum tcl_reader_do tcl_reader_frame(struct tcl_reader *r, const uint8_t *frame, size_t len,
                                    bool intact)
{
    if (r->state == OFF || r->state == READY)
        return fail(r);
    r->counts.frames_received++;
    if (!intact)
        return recover(r);
    switch (r->state) {
    case RATS:
        return on_ats(r, frame, len);
    case PPS:
        return on_pps(r, frame, len);
    default:
        return on_block(r, frame, len);
    }
}

enum tcl_reader_do tcl_reader_silence(struct tcl_reader *r)
{
    return r->state == OFF || r->state == READY ? fail(r) : recover(r);
}
