/* t1_card.c - the card's end of T=1. The rules in comments are those of §11.6.3. */
#include "proto/t1_card.h"

#include "base/ct.h"
#include "proto/atr.h"

#include <string.h>

enum state {
    RECEIVING, /* a command, or nothing yet; no response of ours is unconfirmed */
    WORKING,   /* on a command: it is our turn */
    ASKING,    /* for more time, while working */
    ANSWERING, /* an I-block that another follows is out */
    ANSWERED,  /* the last I-block of a response is out */
};

void t1_card_start(struct t1_card *c, const struct t1_params *params, uint8_t *command, size_t cap)
{
    ct_wipe(c, sizeof *c);
    c->params = *params;
    c->command = command;
    c->command_cap = cap;
    c->ifsd = T1_INF_DEFAULT;
    c->pps1 = ATR_FI_DI_DEFAULT;
    c->first = true;
}

bool t1_card_working(const struct t1_card *c)
{
    return c->state == WORKING;
}

static enum t1_do send(struct t1_card *c, uint8_t pcb, const uint8_t *inf, uint8_t len)
{
    c->last_pcb = pcb;
    c->out_len = (uint16_t)t1_write(c->nad, pcb, inf, len, c->params.crc, c->out);
    return T1_SEND;
}

static enum t1_do send_r(struct t1_card *c, uint8_t error)
{
    return send(c, (uint8_t)(T1_R | (c->expected != 0 ? T1_R_SEQ : 0) | error), NULL, 0);
}

/* The I-block that begins at response_at; `sequence` is its number. */
static enum t1_do send_i(struct t1_card *c)
{
    size_t left = c->response_len - c->response_at;
    bool more = left > c->ifsd;
    c->state = more ? ANSWERING : ANSWERED;
    c->response_sent = more ? c->ifsd : left;
    return send(c, (uint8_t)((c->sequence != 0 ? T1_I_SEQ : 0) | (more ? T1_I_MORE : 0)),
                c->response + c->response_at, (uint8_t)c->response_sent);
}

/* Rule 7: says what is expected, three times; after that only a good block is answered. */
static enum t1_do invalid(struct t1_card *c, uint8_t error)
{
    if (c->tries == T1_RETRIES)
        return T1_WAIT;
    c->tries++;
    if (c->state == ASKING)
        return T1_SEND; /* 7.3: the request again, which is still in out */
    return send_r(c, error);
}

static enum t1_do on_i(struct t1_card *c, const struct t1_block *b)
{
    if (c->state == ASKING || c->state == ANSWERING ||
        ((b->pcb & T1_I_SEQ) != 0) != (c->expected != 0))
        return invalid(c, T1_R_OTHER);
    if (c->state == ANSWERED) {
        c->state = RECEIVING;
        c->sequence ^= 1;
        c->command_len = 0;
    }
    c->tries = 0;
    if (c->command_len < c->command_cap) {
        size_t room = c->command_cap - c->command_len;
        memcpy(c->command + c->command_len, b->inf, b->len < room ? b->len : room);
    }
    c->command_len += b->len;
    c->expected ^= 1;
    if ((b->pcb & T1_I_MORE) != 0)
        return send_r(c, T1_R_OK);
    c->state = WORKING;
    return T1_COMMAND;
}

static enum t1_do on_r(struct t1_card *c, const struct t1_block *b)
{
    bool ours = ((b->pcb & T1_R_SEQ) != 0) == (c->sequence != 0); /* asks for our last I-block */
    if (c->state == ASKING)
        return invalid(c, T1_R_OTHER);
    if ((c->last_pcb & (T1_S | T1_S_REPLY)) == (T1_S | T1_S_REPLY))
        return T1_SEND; /* it has not understood our S-block, which is still in out */
    if (c->state == ANSWERING && !ours) { /* rule 5: confirmed */
        c->tries = 0;
        c->response_at += c->response_sent;
        c->sequence ^= 1;
        return send_i(c);
    }
    if ((c->state == ANSWERING || c->state == ANSWERED) && ours)
        return send_i(c); /* 7.6 */
    return send_r(c, T1_R_OK);
}

/* Rule 6: as after the reset, but for the speed. */
static void resynchronise(struct t1_card *c)
{
    c->state = RECEIVING;
    c->command_len = 0;
    c->sequence = c->expected = 0;
    c->ifsd = T1_INF_DEFAULT;
}

static enum t1_do on_s(struct t1_card *c, const struct t1_block *b)
{
    if (c->state == ASKING) {
        if (b->pcb == (T1_S | T1_S_REPLY | T1_WTX) && b->inf[0] == c->asked) {
            c->tries = 0;
            c->state = WORKING;
            return T1_RESUME;
        }
        if (b->pcb == (T1_S | T1_RESYNCH)) { /* answered when the work is done */
            c->resync = true;
            c->state = WORKING;
            return T1_RESUME;
        }
        return invalid(c, T1_R_OTHER);
    }
    switch (b->pcb) {
    case T1_S | T1_RESYNCH:
        resynchronise(c);
        break;
    case T1_S | T1_IFS:
        c->ifsd = b->inf[0];
        break;
    case T1_S | T1_ABORT: /* rule 9: what was chained is dropped, on either side */
        if (c->state == ANSWERING) {
            c->state = ANSWERED;
            c->response_at = c->response_len;
        } else if (c->state == RECEIVING) {
            c->command_len = 0;
        }
        break;
    default: /* a response to nothing; WTX is the card's to ask */
        return invalid(c, T1_R_OTHER);
    }
    c->tries = 0;
    return send(c, b->pcb | T1_S_REPLY, b->inf, b->len);
}

/* §9.3: what we can do is confirmed, another speed is answered without PPS1, which means the
 * default; anything else is no PPS for us, and gets silence. */
static enum t1_do on_pps(struct t1_card *c)
{
    struct pps pps;
    uint16_t fi, best_fi;
    uint8_t di, best_di;
    enum cw_err err = pps_parse(c->in, c->in_len, &pps);
    c->in_len = 0;
    if (err != CW_OK || pps.protocol != 1)
        return T1_WAIT;
    if (pps.has_pps1 && pps.pps1 != ATR_FI_DI_DEFAULT) {
        pps.has_pps1 = atr_fi_di(pps.pps1, &fi, &di) == CW_OK &&
                       atr_fi_di(c->params.ta1, &best_fi, &best_di) == CW_OK && fi == best_fi &&
                       di <= best_di;
    }
    c->pps1 = pps.has_pps1 ? pps.pps1 : ATR_FI_DI_DEFAULT;
    c->first = false;
    c->out_len = (uint16_t)pps_write(&pps, c->out);
    return T1_SEND;
}

static enum t1_do on_block(struct t1_card *c)
{
    struct t1_block b;
    enum cw_err err = c->bad ? CW_ERR_IO : t1_parse(c->in, c->in_len, c->params.crc, &b);
    c->in_len = 0;
    c->bad = false;
    if (err != CW_OK)
        return invalid(c, err == CW_ERR_FORMAT ? T1_R_OTHER : T1_R_EDC);
    c->first = false;
    c->nad = (uint8_t)(b.nad << 4 | b.nad >> 4);
    switch (t1_kind(b.pcb)) {
    case T1_BLOCK_I:
        return on_i(c, &b);
    case T1_BLOCK_R:
        return on_r(c, &b);
    default:
        return on_s(c, &b);
    }
}

/* A request for time that nobody grants ends by itself: the answer is worth more than the rule. */
static enum t1_do or_resume(struct t1_card *c, enum t1_do what)
{
    if (what != T1_WAIT || c->state != ASKING || c->tries < T1_RETRIES || c->in_len > 0)
        return what;
    c->state = WORKING;
    c->tries = 0;
    return T1_RESUME;
}

enum t1_do t1_card_byte(struct t1_card *c, uint8_t byte, bool parity_ok)
{
    struct t1_block block;
    if (c->state == WORKING)
        return T1_WAIT; /* it is not the reader's turn */
    if (c->in_len < sizeof c->in)
        c->in[c->in_len++] = byte;
    c->bad = c->bad || !parity_ok;
    bool pps = c->first && c->in[0] == PPS_PPSS;
    size_t expected =
        pps ? pps_expected(c->in, c->in_len) : t1_expected(c->in, c->in_len, c->params.crc);
    /* A block with a bad byte, or with LEN = FF, may be of any length: it ends with silence. So
     * does one with a wrong EDC, for its LEN may be what is wrong. */
    if (c->bad || expected == 0 || expected > sizeof c->in || c->in_len < expected)
        return T1_WAIT;
    if (!pps && t1_parse(c->in, c->in_len, c->params.crc, &block) == CW_ERR_IO) {
        c->bad = true;
        return T1_WAIT;
    }
    return pps ? on_pps(c) : or_resume(c, on_block(c));
}

enum t1_do t1_card_silence(struct t1_card *c)
{
    if (c->state == WORKING)
        return T1_WAIT;
    if (c->in_len > 0 && !(c->first && c->in[0] == PPS_PPSS)) {
        c->bad = true;
        return or_resume(c, on_block(c));
    }
    if (c->in_len > 0) { /* half a PPS */
        c->in_len = 0;
        c->bad = false;
    }
    return T1_WAIT;
}

enum t1_do t1_card_answer(struct t1_card *c, const uint8_t *response, size_t len)
{
    c->in_len = 0;
    c->bad = false;
    if (c->resync) {
        c->resync = false;
        resynchronise(c);
        return send(c, T1_S | T1_S_REPLY | T1_RESYNCH, NULL, 0);
    }
    c->response = response;
    c->response_len = len;
    c->response_at = 0;
    return send_i(c);
}

enum t1_do t1_card_more_time(struct t1_card *c, uint8_t multiplier)
{
    if (c->resync)
        return T1_RESUME;
    c->state = ASKING;
    c->tries = 0;
    c->in_len = 0;
    c->bad = false;
    c->asked = multiplier;
    return send(c, T1_S | T1_WTX, &multiplier, 1);
}
