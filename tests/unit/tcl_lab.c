/* tcl_lab.c - see tcl_lab.h. */
#include "tests/unit/tcl_lab.h"

#include <string.h>

uint32_t tcl_lab_random(struct tcl_lab *l, uint32_t below)
{
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return below == 0 ? 0 : (uint32_t)((l->random >> 16) % below);
}

static void push(struct tcl_lab *l, struct tcl_lab_queue *q, const struct tcl_lab_frame *f)
{
    if (q->n == TCL_LAB_QUEUE)
        l->wrong = "the queue of the test is full";
    else
        q->frames[q->n++] = *f;
}

static struct tcl_lab_frame pop(struct tcl_lab_queue *q)
{
    struct tcl_lab_frame f = q->frames[0];
    memmove(q->frames, q->frames + 1, --q->n * sizeof f);
    return f;
}

static enum tcl_fault choose(struct tcl_lab *l)
{
    uint64_t at = l->frame_no++;
    l->counts.frames++;
    for (int i = 0; i < 2; i++)
        if (l->fault_at[i] == at)
            return l->fault_kind[i];
    if (tcl_lab_random(l, 1000) >= l->rate)
        return FAULT_NONE;
    enum tcl_fault kind = FAULT_CRC + tcl_lab_random(l, FAULT_KINDS - 1);
    return kind == FAULT_NUMBER ? FAULT_LOSS : kind;
}

/* What arrives at once goes to `soon`, what arrives after FWT to `late`. */
static void cross(struct tcl_lab *l, struct tcl_lab_frame f, struct tcl_lab_queue *soon,
                  struct tcl_lab_queue *late)
{
    enum tcl_fault kind = choose(l);
    l->counts.faults[kind]++;
    if (late->n > 0) /* no frame overtakes another on the air */
        soon = late;
    switch (kind) {
    case FAULT_CRC:
        for (uint32_t i = tcl_lab_random(l, 3) + 1, first = tcl_lab_random(l, (uint32_t)f.len * 8);
             i > 0; i--) {
            uint32_t bit = (first + i) % (uint32_t)(f.len * 8);
            f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        break;
    case FAULT_NOISE:
        f.intact = false;
        f.bytes[tcl_lab_random(l, (uint32_t)f.len)] ^= (uint8_t)tcl_lab_random(l, 256);
        break;
    case FAULT_LOSS:
        return;
    case FAULT_DOUBLE:
        push(l, soon, &f);
        break;
    case FAULT_DELAY:
        push(l, late, &f);
        return;
    case FAULT_NUMBER:
        f.bytes[0] ^= TCL_NUMBER;
        tcl_seal(f.bytes, f.len - TCL_CRC_LEN);
        break;
    case FAULT_CUT:
        f.len = 1 + tcl_lab_random(l, (uint32_t)f.len - 1);
        while (tcl_intact(f.bytes, f.len))
            f.len--;
        break;
    default:
        break;
    }
    push(l, soon, &f);
}

static void card_sends(struct tcl_lab *l)
{
    struct tcl_lab_frame f = {.len = l->card.out_len, .rate = l->card_dsi, .intact = true};
    memcpy(f.bytes, l->card.out, f.len);
    cross(l, f, &l->to_reader, &l->late_to_reader);
    l->card_dsi = l->card.dsi;
    l->card_dri = l->card.dri;
}

static void make_answer(const uint8_t *command, size_t len, uint32_t executed, uint8_t *out,
                        size_t na)
{
    uint32_t h = 2166136261u ^ executed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ command[i]) * 16777619u;
    for (size_t i = 0; i < na; i++) {
        h = h * 1664525u + 1013904223u;
        out[i] = (uint8_t)(h >> 24);
    }
}

static void card_answers(struct tcl_lab *l);

static void card_did(struct tcl_lab *l, enum tcl_do what)
{
    switch (what) {
    case TCL_WAIT:
        return;
    case TCL_SEND:
    case TCL_HALT:
        card_sends(l);
        return;
    case TCL_COMMAND:
        if (l->card.command_len != l->command_len ||
            memcmp(l->card.command, l->command, l->command_len) != 0)
            l->wrong = "the card has got another command than was sent";
        if (l->done_now++ != 0)
            l->wrong = "a command was executed twice";
        l->executed++;
        if (l->busy == 0)
            card_answers(l);
        return;
    case TCL_RESUME:
        card_answers(l);
        return;
    }
}

static void card_answers(struct tcl_lab *l)
{
    if (l->waits > 0) {
        l->waits--;
        card_did(l, tcl_card_more_time(&l->card, (uint8_t)(1 + tcl_lab_random(l, TCL_WTXM_MAX))));
        return;
    }
    size_t na = (size_t)l->buffer[0] << 8 | l->buffer[1];
    make_answer(l->buffer, l->card.command_len, l->executed, l->answer, na);
    card_did(l, tcl_card_answer(&l->card, l->answer, na));
}

static void card_hears(struct tcl_lab *l, const struct tcl_lab_frame *f)
{
    if (f->rate == l->card_dri)
        card_did(l, tcl_card_frame(&l->card, f->bytes, f->len, f->intact));
}

/* One step of the reader: what it sends crosses, then it hears one frame, or silence. */
static enum tcl_reader_do step(struct tcl_lab *l)
{
    struct tcl_lab_queue to_card = l->late_to_card;
    struct tcl_lab_frame f = {.len = l->reader.out_len, .rate = l->reader_dri, .intact = true};
    memcpy(f.bytes, l->reader.out, f.len);
    l->late_to_card.n = 0;
    if (l->drop)
        l->to_reader.n = 0;
    while (l->late_to_reader.n > 0) { /* just after the reader has begun to send */
        struct tcl_lab_frame late = pop(&l->late_to_reader);
        push(l, &l->to_reader, &late);
    }
    cross(l, f, &to_card, &l->late_to_card);
    while (to_card.n > 0) {
        f = pop(&to_card);
        card_hears(l, &f);
    }
    if (tcl_card_working(&l->card) && l->busy > 0 && --l->busy == 0)
        card_answers(l);
    while (l->to_reader.n > 0) {
        f = pop(&l->to_reader);
        if (f.rate == l->reader_dsi)
            return tcl_reader_frame(&l->reader, f.bytes, f.len, f.intact);
    }
    return tcl_reader_silence(&l->reader);
}

static enum tcl_reader_do run(struct tcl_lab *l, enum tcl_reader_do what)
{
    for (unsigned i = 0; what == TCLR_SEND; i++) {
        if (i > 20000) {
            l->wrong = "it does not end";
            return TCLR_FAILED;
        }
        if (l->reader.wait_fc == 0 || l->reader.out_len > l->card.can.fsc ||
            (l->card.fsd != 0 && l->card.out_len > l->card.fsd))
            l->wrong = "a frame is too long";
        what = step(l);
    }
    return what;
}

bool tcl_lab_activate(struct tcl_lab *l)
{
    for (unsigned i = 0; i < 200 && l->wrong == NULL; i++) {
        l->to_reader.n = l->late_to_reader.n = l->late_to_card.n = 0;
        l->reader_dsi = l->reader_dri = l->card_dsi = l->card_dri = 0;
        l->executed = 0;
        struct tcl_reader_counts counts = l->reader.counts;
        if (tcl_card_start(&l->card, l->ats, l->ats_len, l->buffer, sizeof l->buffer) != CW_OK)
            return false;
        tcl_reader_start(&l->reader, &l->params);
        l->reader.counts = counts;
        if (run(l, tcl_reader_activate(&l->reader)) == TCLR_DONE) {
            l->reader_dsi = l->reader.dsi;
            l->reader_dri = l->reader.dri;
            l->active = true;
            return true;
        }
        l->counts.resets++;
    }
    return false;
}

bool tcl_lab_exchange(struct tcl_lab *l, size_t nc, size_t na)
{
    uint32_t before = l->executed, errors = l->reader.counts.retransmissions;
    l->serial++;
    l->done_now = 0;
    l->command_len = nc;
    for (size_t i = 0; i < nc; i++)
        l->command[i] = (uint8_t)tcl_lab_random(l, 256);
    if (nc > 0) {
        l->command[0] = (uint8_t)(na >> 8);
        l->command[1] = (uint8_t)na;
        memcpy(l->command + 2, &l->serial, 6);
    } else {
        na = 0;
    }
    l->counts.exchanges++;
    memset(l->response, 0, sizeof l->response);
    if (run(l, tcl_reader_command(&l->reader, l->command, nc, l->response, sizeof l->response)) !=
        TCLR_DONE) {
        l->counts.resets++;
        l->counts.executed_then_reset += l->executed != before;
        l->active = false;
        return false;
    }
    l->counts.completed++;
    l->counts.recovered += l->reader.counts.retransmissions != errors;
    make_answer(l->command, nc, before + 1, l->expected, na);
    if (l->executed != before + (nc > 0 ? 1 : 0))
        l->wrong = "an answer without a command";
    if (l->reader.response_len != na || memcmp(l->response, l->expected, na) != 0)
        l->wrong = "a wrong answer was taken for right";
    return true;
}

bool tcl_lab_deselect(struct tcl_lab *l)
{
    l->active = false;
    l->to_reader.n = l->late_to_reader.n = 0;
    return run(l, tcl_reader_deselect(&l->reader)) == TCLR_DONE;
}
