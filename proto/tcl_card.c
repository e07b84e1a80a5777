/* tcl_card.c - the card's end of ISO/IEC 14443-4. The rules in comments are those of §7.5.3
 * (letters) and §7.5.4 (numbers). */
#include "proto/tcl_card.h"

#include "base/buf.h"
#include "base/ct.h"

#include <string.h>

enum state {
    FRESH,     /* selected: RATS is waited for, §5.6.1.2 */
    ACTIVATED, /* the ATS is out, and nothing came yet: PPS may */
    IDLE,
    CHAINED,   /* a part of a command is there, R(ACK) is out */
    WORKING,   /* on a command: it is our turn */
    ASKING,    /* for more time, while working */
    ANSWERING, /* an I-block that another follows is out */
    ANSWERED,  /* the last I-block of a response is out */
    LOST,      /* the two ends count differently: nothing is answered but S(DESELECT) */
    HALTED,
};

enum cw_err tcl_card_start(struct tcl_card *c, const uint8_t *ats, size_t ats_len, uint8_t *command,
                           size_t cap)
{
    struct ats parsed;
    enum cw_err err = ats_parse(ats, ats_len, &parsed);
    if (err != CW_OK)
        return err;
    ct_wipe(c, sizeof *c);
    ats_read(&parsed, &c->can);
    c->ats = ats;
    c->ats_len = (uint16_t)ats_len;
    c->command = command;
    c->command_cap = cap;
    c->number = 1; /* rule C */
    return CW_OK;
}

bool tcl_card_working(const struct tcl_card *c)
{
    return c->state == WORKING;
}

static enum tcl_do send(struct tcl_card *c, uint8_t pcb, const uint8_t *inf, size_t len)
{
    struct tcl_block b = {.pcb = pcb | c->has_cid,
                          .cid = c->cid,
                          .power = c->power,
                          .nad = c->nad,
                          .inf = inf,
                          .len = (uint16_t)len};
    c->out_len = (uint16_t)tcl_write(&b, c->out);
    return TCL_SEND;
}

/* The I-block that begins at response_at. */
static enum tcl_do send_i(struct tcl_card *c)
{
    uint8_t pcb = TCL_I | c->number;
    if (c->nad_in && c->response_at == 0) /* only the first of a chain has it, §7.1.2.4 */
        pcb |= TCL_NAD;
    size_t room = c->fsd - tcl_overhead(pcb | c->has_cid);
    size_t left = c->response_len - c->response_at;
    bool more = left > room;
    c->state = more ? ANSWERING : ANSWERED;
    c->response_sent = more ? room : left;
    return send(c, pcb | (more ? TCL_I_MORE : 0), c->response + c->response_at, c->response_sent);
}

static enum tcl_do send_wtx(struct tcl_card *c)
{
    uint8_t inf = (uint8_t)(c->power << 6 | c->asked);
    return send(c, TCL_WTX, &inf, 1);
}

static enum tcl_do on_rats(struct tcl_card *c, const uint8_t *frame, size_t len)
{
    uint8_t fsdi, cid;
    if (tcl_rats_parse(frame, len, &fsdi, &cid) != CW_OK)
        return TCL_WAIT;
    c->fsd = ats_frame_size(fsdi);
    if (c->ats_len + TCL_CRC_LEN > c->fsd) /* §5.2.2 */
        return TCL_WAIT;
    c->cid = cid;
    c->state = ACTIVATED;
    memcpy(c->out, c->ats, c->ats_len);
    c->out_len = (uint16_t)tcl_seal(c->out, c->ats_len);
    return TCL_SEND;
}

static bool offered(uint8_t rates, uint8_t rate)
{
    return rate == 0 || (rates >> (rate - 1) & 1u) != 0;
}

static enum tcl_do on_pps(struct tcl_card *c, const struct tcl_pps *pps)
{
    if (!offered(c->can.ds, pps->dsi) || !offered(c->can.dr, pps->dri) ||
        (c->can.same && pps->dsi != pps->dri))
        return TCL_WAIT;
    c->dsi = pps->dsi;
    c->dri = pps->dri;
    c->out[0] = TCL_PPSS | pps->cid;
    c->out_len = (uint16_t)tcl_seal(c->out, 1);
    return TCL_SEND;
}

/* An I-block whose number is that of the last one. Rule D lets a card not answer what breaks the
 * reader's rules. The same bytes are the same block, come twice. Other bytes mean that an
 * acknowledgement was misread: to go on would lose a piece of a command, or answer this one with
 * the answer to the last. */
static enum tcl_do again(struct tcl_card *c, uint16_t crc)
{
    if (!c->has_last || crc != c->last_crc)
        c->state = LOST;
    return TCL_WAIT;
}

static enum tcl_do on_i(struct tcl_card *c, const struct tcl_block *b, uint16_t crc)
{
    bool first = c->state != CHAINED;
    bool nad = (b->pcb & TCL_NAD) != 0;
    if (c->state == ASKING || c->state == ANSWERING)
        return TCL_WAIT;
    if ((b->pcb & TCL_NUMBER) == c->number)
        return again(c, crc);
    if (nad && (!first || !c->can.nad))
        return TCL_WAIT;
    if (first) {
        c->command_len = 0;
        c->nad_in = nad;
        c->nad = (uint8_t)(b->nad << 4 | b->nad >> 4);
    }
    c->number ^= 1; /* rule D */
    c->has_last = true;
    c->last_crc = crc;
    buf_collect(c->command, c->command_cap, &c->command_len, b->inf, b->len);
    if ((b->pcb & TCL_I_MORE) != 0) { /* rule 2 */
        c->state = CHAINED;
        return send(c, TCL_R_ACK | c->number, NULL, 0);
    }
    c->state = WORKING;
    if (c->command_len > 0)
        return TCL_COMMAND;
    return tcl_card_answer(c, c->command, 0); /* presence check, method 1 */
}

/* Rule 11 */
static enum tcl_do repeat(struct tcl_card *c)
{
    switch (c->state) {
    case CHAINED:
        return send(c, TCL_R_ACK | c->number, NULL, 0);
    case ASKING:
        return send_wtx(c);
    case ANSWERING:
    case ANSWERED:
        return send_i(c);
    default:
        return TCL_WAIT;
    }
}

static enum tcl_do on_r(struct tcl_card *c, const struct tcl_block *b)
{
    if ((b->pcb & TCL_NUMBER) == c->number)
        return repeat(c);
    if ((b->pcb & TCL_R_NAK) == TCL_R_NAK) /* rule 12 */
        return send(c, TCL_R_ACK | c->number, NULL, 0);
    if (c->state != ANSWERING)
        return TCL_WAIT;
    c->number ^= 1; /* rules E and 13 */
    c->response_at += c->response_sent;
    return send_i(c);
}

static enum tcl_do on_s(struct tcl_card *c, const struct tcl_block *b)
{
    uint8_t type = (uint8_t)(b->pcb & ~TCL_CID);
    if (type == TCL_DESELECT) {
        send(c, TCL_DESELECT, NULL, 0);
        c->state = HALTED;
        return TCL_HALT;
    }
    if (type == TCL_WTX && c->state == ASKING && b->inf[0] == c->asked) {
        c->state = WORKING;
        return TCL_RESUME;
    }
    return TCL_WAIT; /* S(PARAMETERS) as well: a card that has none does not answer */
}

/* §7.1.2.3: a card with a CID other than 0 hears nothing without one, a card that has none nothing
 * with one. */
static bool for_us(const struct tcl_card *c, const struct tcl_block *b)
{
    if ((b->pcb & TCL_CID) != 0)
        return c->can.cid && b->cid == c->cid;
    return !c->can.cid || c->cid == 0;
}

enum tcl_do tcl_card_frame(struct tcl_card *c, const uint8_t *frame, size_t len, bool intact)
{
    struct tcl_block b;
    struct tcl_pps pps;
    if (c->state == WORKING || c->state == HALTED)
        return TCL_WAIT;
    if (c->state == FRESH)
        return intact ? on_rats(c, frame, len) : TCL_WAIT;
    bool may_pps = c->state == ACTIVATED;
    if (may_pps)
        c->state = IDLE; /* whatever came: §5.6.2.2 */
    if (!intact || len > c->can.fsc)
        return TCL_WAIT;
    if (may_pps && tcl_pps_parse(frame, len, &pps) == CW_OK && pps.cid == c->cid)
        return on_pps(c, &pps);
    if (tcl_parse(frame, len, &b) != CW_OK || !for_us(c, &b))
        return TCL_WAIT;
    if (c->state == LOST && (b.pcb & ~TCL_CID) != TCL_DESELECT)
        return TCL_WAIT;
    c->has_cid = b.pcb & TCL_CID;
    switch (tcl_kind(b.pcb)) {
    case TCL_BLOCK_I:
        return on_i(c, &b, (uint16_t)(frame[len - 2] | frame[len - 1] << 8));
    case TCL_BLOCK_R:
        return on_r(c, &b);
    default:
        return on_s(c, &b);
    }
}

enum tcl_do tcl_card_answer(struct tcl_card *c, const uint8_t *response, size_t len)
{
    if (c->state != WORKING)
        return TCL_WAIT;
    c->response = response;
    c->response_len = len;
    c->response_at = 0;
    return send_i(c);
}

enum tcl_do tcl_card_more_time(struct tcl_card *c, uint8_t wtxm)
{
    if (c->state != WORKING)
        return TCL_WAIT;
    c->state = ASKING;
    c->asked = wtxm;
    return send_wtx(c);
}
