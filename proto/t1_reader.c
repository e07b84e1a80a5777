/* t1_reader.c - the reader's end of T=1. The rules in comments are those of §11.6.3. */
#include "proto/t1_reader.h"

#include <string.h>

enum state {
    IDLE,
    TELLING,  /* S(IFS request) is out */
    CHAINING, /* an I-block that another follows is out */
    ASKED,    /* the last I-block of the command is out, or an R-block for the next of the answer */
    RESYNC,   /* S(RESYNCH request) is out */
};

void t1_reader_start(struct t1_reader *r, const struct t1_reader_params *params)
{
    memset(r, 0, sizeof *r);
    r->params = *params;
    r->ifsc = params->ifsc;
}

static enum t1_reader_do send(struct t1_reader *r, uint8_t pcb, const uint8_t *inf, uint8_t len)
{
    r->last_pcb = pcb;
    r->out_len = (uint16_t)t1_write(0, pcb, inf, len, r->params.crc, r->out);
    r->wait_etu = r->params.bwt_etu;
    r->counts.blocks_sent++;
    return T1R_SEND;
}

static enum t1_reader_do send_r(struct t1_reader *r, uint8_t error)
{
    return send(r, (uint8_t)(T1_R | (r->expected != 0 ? T1_R_SEQ : 0) | error), NULL, 0);
}

static enum t1_reader_do send_ifs(struct t1_reader *r)
{
    r->state = TELLING;
    return send(r, T1_S | T1_IFS, &r->params.ifsd, 1);
}

/* The I-block that begins at command_at; `sequence` is its number. */
static enum t1_reader_do send_i(struct t1_reader *r)
{
    size_t left = r->command_len - r->command_at;
    bool more = left > r->ifsc;
    r->state = more ? CHAINING : ASKED;
    r->command_sent = more ? r->ifsc : left;
    return send(r, (uint8_t)((r->sequence != 0 ? T1_I_SEQ : 0) | (more ? T1_I_MORE : 0)),
                r->command + r->command_at, (uint8_t)r->command_sent);
}

static enum t1_reader_do begin(struct t1_reader *r)
{
    r->command_at = 0;
    r->response_len = 0;
    r->tries = 0;
    return r->ifs_told ? send_i(r) : send_ifs(r);
}

/* Rules 6 and 7.4. A command that the card may have had whole is not sent again: whether it was
 * done would be unknown, and doing it twice is worse. */
static enum t1_reader_do resync_or_fail(struct t1_reader *r)
{
    bool had = r->state == ASKED;
    if (had || !r->any || r->state == RESYNC || r->resyncs == T1_RETRIES) {
        r->state = IDLE;
        return T1R_FAILED;
    }
    r->resyncs++;
    r->counts.resyncs++;
    r->state = RESYNC;
    r->tries = 0;
    return send(r, T1_S | T1_RESYNCH, NULL, 0);
}

/* Rule 7 */
static enum t1_reader_do invalid(struct t1_reader *r, uint8_t error)
{
    r->counts.errors++;
    if (++r->tries >= T1_RETRIES)
        return resync_or_fail(r);
    if (r->state == TELLING)
        return send_ifs(r); /* 7.3 */
    if (r->state == RESYNC)
        return send(r, T1_S | T1_RESYNCH, NULL, 0);
    if (t1_kind(r->last_pcb) == T1_BLOCK_R)
        error = r->last_pcb & 3u; /* 7.2: the same again */
    return send_r(r, error);
}

static enum t1_reader_do on_i(struct t1_reader *r, const struct t1_block *b)
{
    if (r->state != ASKED || ((b->pcb & T1_I_SEQ) != 0) != (r->expected != 0))
        return invalid(r, T1_R_OTHER);
    if (r->response_len < r->response_cap) {
        size_t room = r->response_cap - r->response_len;
        memcpy(r->response + r->response_len, b->inf, b->len < room ? b->len : room);
    }
    r->response_len += b->len;
    r->expected ^= 1;
    r->answering = true;
    r->tries = r->resyncs = 0;
    if ((b->pcb & T1_I_MORE) != 0)
        return send_r(r, T1_R_OK);
    r->sequence ^= 1;
    r->state = IDLE;
    return T1R_DONE;
}

/* 7.6: the card does not have the I-block that is out, it has said or shown so. */
static enum t1_reader_do send_i_again(struct t1_reader *r)
{
    r->counts.errors++;
    return ++r->tries >= T1_RETRIES ? resync_or_fail(r) : send_i(r);
}

static enum t1_reader_do on_r(struct t1_reader *r, const struct t1_block *b)
{
    bool ours = ((b->pcb & T1_R_SEQ) != 0) == (r->sequence != 0); /* asks for our last I-block */
    if (r->state == CHAINING && !ours) {                          /* rule 5: confirmed */
        r->tries = 0;
        r->command_at += r->command_sent;
        r->sequence ^= 1;
        return send_i(r);
    }
    if (r->state == CHAINING || (r->state == ASKED && ours && !r->answering))
        return send_i_again(r);
    return invalid(r, T1_R_OTHER);
}

static enum t1_reader_do on_s(struct t1_reader *r, const struct t1_block *b)
{
    switch (b->pcb) {
    case T1_S | T1_S_REPLY | T1_IFS:
        if (r->state == CHAINING || (r->state == ASKED && !r->answering))
            return send_i_again(r); /* its last block once more: nothing came after it */
        if (r->state != TELLING || b->inf[0] != r->params.ifsd)
            break;
        r->ifs_told = true;
        r->tries = 0;
        return send_i(r);
    case T1_S | T1_S_REPLY | T1_RESYNCH:
        if (r->state != RESYNC)
            break;
        r->sequence = r->expected = 0;
        r->ifsc = r->params.ifsc;
        r->ifs_told = false;
        return begin(r);
    case T1_S | T1_IFS:
        if (r->state != ASKED && r->state != CHAINING)
            break;
        r->ifsc = b->inf[0];
        return send(r, T1_S | T1_S_REPLY | T1_IFS, b->inf, 1);
    case T1_S | T1_WTX: /* rule 3 */
        if (r->state != ASKED)
            break;
        r->counts.waits++;
        (void)send(r, T1_S | T1_S_REPLY | T1_WTX, b->inf, 1);
        r->wait_etu = r->params.bwt_etu * (b->inf[0] != 0 ? b->inf[0] : 1u);
        return T1R_SEND;
    case T1_S | T1_ABORT: /* our chain; we have nothing else to say to that card */
        r->state = IDLE;
        return T1R_FAILED;
    default:
        break;
    }
    return invalid(r, T1_R_OTHER);
}

enum t1_reader_do t1_reader_command(struct t1_reader *r, const uint8_t *command, size_t len,
                                    uint8_t *response, size_t cap)
{
    r->command = command;
    r->command_len = len;
    r->response = response;
    r->response_cap = cap;
    r->in_len = 0;
    r->bad = false;
    r->answering = false;
    r->resyncs = 0;
    return begin(r);
}

static enum t1_reader_do on_block(struct t1_reader *r)
{
    struct t1_block b;
    enum cw_err err = r->bad ? CW_ERR_IO : t1_parse(r->in, r->in_len, r->params.crc, &b);
    r->in_len = 0;
    r->bad = false;
    if (err == CW_OK && b.nad != 0)
        err = CW_ERR_FORMAT; /* our blocks carry none */
    if (err != CW_OK)
        return invalid(r, err == CW_ERR_FORMAT ? T1_R_OTHER : T1_R_EDC);
    r->counts.blocks_received++;
    r->any = true;
    switch (t1_kind(b.pcb)) {
    case T1_BLOCK_I:
        return on_i(r, &b);
    case T1_BLOCK_R:
        return on_r(r, &b);
    default:
        return on_s(r, &b);
    }
}

enum t1_reader_do t1_reader_byte(struct t1_reader *r, uint8_t byte, bool parity_ok)
{
    if (r->state == IDLE)
        return T1R_RECEIVE; /* nothing was asked: late blocks of before */
    if (r->in_len < sizeof r->in)
        r->in[r->in_len++] = byte;
    r->bad = r->bad || !parity_ok;
    r->wait_etu = r->params.cwt_etu;
    size_t expected = t1_expected(r->in, r->in_len, r->params.crc);
    if (r->bad || expected == 0 || expected > sizeof r->in || r->in_len < expected)
        return T1R_RECEIVE;
    return on_block(r);
}

enum t1_reader_do t1_reader_silence(struct t1_reader *r)
{
    if (r->state == IDLE)
        return T1R_RECEIVE;
    r->bad = true;
    return on_block(r);
}
