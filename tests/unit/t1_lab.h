/* t1_lab.h - both ends of T=1 joined by a wire that can be told to do wrong, with an application
 * behind the card of which every answer tells which command it answers and how often one was done.
 */
#ifndef CARDWIRE_TESTS_UNIT_T1_LAB_H
#define CARDWIRE_TESTS_UNIT_T1_LAB_H

#include "tests/unit/unit.h"

#include "proto/t1_card.h"
#include "proto/t1_reader.h"

#include <stdbool.h>
#include <string.h>

#define T1_LAB_COMMAND_MAX  1500u
#define T1_LAB_RESPONSE_MAX 1500u

enum t1_fault {
    T1_FAULT_NONE,
    T1_FAULT_PARITY, /* one byte with a parity error */
    T1_FAULT_EDC,    /* one byte another, of good parity */
    T1_FAULT_BURST,  /* CRC only: up to 16 bits in a row, of good parity */
    T1_FAULT_LOST,   /* nothing arrives */
    T1_FAULT_TRUNCATED,
    T1_FAULT_DOUBLED,  /* arrives twice */
    T1_FAULT_DELAYED,  /* arrives after the other side has given up waiting */
    T1_FAULT_NOISE,    /* one byte before it, with a parity error */
    T1_FAULT_SEQUENCE, /* another N(S) or N(R), of good EDC: what no line does, but a program might
                        */
    T1_FAULTS,
};

struct t1_lab_block {
    uint8_t bytes[T1_BLOCK_MAX + 1];
    size_t len, bad_at; /* bad_at: index of the byte with the parity error, or SIZE_MAX */
    bool late;          /* the receiver times out first */
};

struct t1_lab {
    uint64_t random;
    struct t1_reader reader;
    struct t1_card card;
    struct t1_params card_params;
    struct t1_reader_params reader_params;
    uint8_t command[T1_LAB_COMMAND_MAX], at_card[T1_LAB_COMMAND_MAX];
    uint8_t response[T1_LAB_RESPONSE_MAX], got[T1_LAB_RESPONSE_MAX];
    size_t command_len, response_len;
    uint32_t done;                           /* commands that the card did since power up */
    unsigned waits;                          /* WTX requests in the next command */
    struct t1_lab_block to_reader[64], held; /* held: on its way to the card, late */
    unsigned queued;
    bool holding;
    uint64_t blocks; /* that were sent, by either end, since the exchange began */
    /* Asked for each block with its index in the exchange. */
    enum t1_fault (*fault)(struct t1_lab *lab, uint64_t index);
    void *fault_ctx;
    uint64_t faults[T1_FAULTS];
};

static inline uint32_t t1_lab_random(struct t1_lab *lab)
{
    lab->random ^= lab->random << 13;
    lab->random ^= lab->random >> 7;
    lab->random ^= lab->random << 17;
    return (uint32_t)(lab->random >> 16);
}

static inline void t1_lab_power(struct t1_lab *lab)
{
    lab->queued = 0;
    lab->holding = false;
    t1_card_start(&lab->card, &lab->card_params, lab->at_card, sizeof lab->at_card);
    t1_reader_start(&lab->reader, &lab->reader_params);
}

/* Byte i of the answer to `command`, when it is the done-th that the card did. */
static inline uint8_t t1_lab_answer(const uint8_t *command, size_t len, uint32_t done, size_t i)
{
    uint32_t x = done * 2654435761u + (uint32_t)i * 40503u + (uint32_t)len;
    return (uint8_t)((len > 0 ? command[i % len] : 0) + (x >> 11));
}

static inline void t1_lab_hurt(struct t1_lab *lab, struct t1_lab_block *b, enum t1_fault fault)
{
    size_t at = t1_lab_random(lab) % b->len;
    if (fault == T1_FAULT_PARITY) {
        b->bad_at = at;
        b->bytes[at] ^= (uint8_t)(1u << t1_lab_random(lab) % 8);
    } else if (fault == T1_FAULT_EDC) {
        if (at == 2 && !lab->card_params.crc)
            at = 1; /* another LEN makes another block, and one in 256 has a good LRC */
        b->bytes[at] ^= (uint8_t)(1 + t1_lab_random(lab) % 255);
    } else if (fault == T1_FAULT_BURST) {
        at = t1_lab_random(lab) % (b->len - 1);
        uint32_t bits = 1 + t1_lab_random(lab) % 0xFFFF;
        b->bytes[at] ^= (uint8_t)bits;
        b->bytes[at + 1] ^= (uint8_t)(bits >> 8);
    } else if (fault == T1_FAULT_TRUNCATED) {
        b->len = at > 0 ? at : 1;
    } else if (fault == T1_FAULT_NOISE) {
        memmove(b->bytes + 1, b->bytes, b->len);
        b->bytes[0] = (uint8_t)t1_lab_random(lab);
        b->len++;
        b->bad_at = 0; /* of good parity it would make another block: as above */
    } else if (fault == T1_FAULT_SEQUENCE) {
        bool crc = lab->card_params.crc;
        uint8_t len = b->bytes[2], inf[T1_INF_MAX];
        uint8_t bit = t1_kind(b->bytes[1]) == T1_BLOCK_I ? T1_I_SEQ : T1_R_SEQ;
        if (t1_kind(b->bytes[1]) == T1_BLOCK_S)
            return;
        memcpy(inf, b->bytes + T1_PROLOGUE, len);
        (void)t1_write(b->bytes[0], b->bytes[1] ^ bit, inf, len, crc, b->bytes);
    }
}

/* What is put on the wire; returns how many copies arrive. */
static inline unsigned t1_lab_wire(struct t1_lab *lab, const uint8_t *bytes, size_t len,
                                   struct t1_lab_block *b)
{
    enum t1_fault fault = lab->fault != NULL ? lab->fault(lab, lab->blocks) : T1_FAULT_NONE;
    lab->blocks++;
    lab->faults[fault]++;
    memcpy(b->bytes, bytes, len);
    b->len = len;
    b->bad_at = SIZE_MAX;
    b->late = fault == T1_FAULT_DELAYED;
    t1_lab_hurt(lab, b, fault);
    return fault == T1_FAULT_LOST ? 0 : fault == T1_FAULT_DOUBLED ? 2 : 1;
}

static inline void t1_lab_from_card(struct t1_lab *lab, enum t1_do what);

/* The application: checks that it has the command as it was sent, then answers. */
static inline enum t1_do t1_lab_run(struct t1_lab *lab)
{
    enum t1_do what = T1_RESUME;
    assert_int_equal(lab->card.command_len, lab->command_len);
    assert_memory_equal(lab->at_card, lab->command, lab->command_len);
    if (lab->waits > 0) {
        lab->waits--;
        what = t1_card_more_time(&lab->card, (uint8_t)(1 + t1_lab_random(lab) % 9));
    }
    if (what != T1_RESUME)
        return what;
    lab->done++;
    for (size_t i = 0; i < lab->response_len; i++)
        lab->response[i] = t1_lab_answer(lab->command, lab->command_len, lab->done, i);
    return t1_card_answer(&lab->card, lab->response, lab->response_len);
}

static inline void t1_lab_from_card(struct t1_lab *lab, enum t1_do what)
{
    while (what == T1_COMMAND || what == T1_RESUME)
        what = t1_lab_run(lab);
    if (what != T1_SEND)
        return;
    struct t1_lab_block b;
    unsigned copies = t1_lab_wire(lab, lab->card.out, lab->card.out_len, &b);
    for (; copies > 0; copies--) {
        assert_true(lab->queued < 64);
        lab->to_reader[lab->queued++] = b;
    }
}

static inline void t1_lab_to_card(struct t1_lab *lab, const struct t1_lab_block *b)
{
    for (size_t i = 0; i < b->len; i++)
        t1_lab_from_card(lab, t1_card_byte(&lab->card, b->bytes[i], i != b->bad_at));
    t1_lab_from_card(lab, t1_card_silence(&lab->card));
}

static inline enum t1_reader_do t1_lab_to_reader(struct t1_lab *lab)
{
    if (lab->queued == 0)
        return t1_reader_silence(&lab->reader);
    if (lab->to_reader[0].late) {
        lab->to_reader[0].late = false;
        return t1_reader_silence(&lab->reader);
    }
    struct t1_lab_block b = lab->to_reader[0];
    memmove(lab->to_reader, lab->to_reader + 1, --lab->queued * sizeof b);
    enum t1_reader_do what = T1R_RECEIVE;
    for (size_t i = 0; i < b.len && what == T1R_RECEIVE; i++)
        what = t1_reader_byte(&lab->reader, b.bytes[i], i != b.bad_at);
    return what == T1R_RECEIVE && lab->reader.in_len > 0 ? t1_reader_silence(&lab->reader) : what;
}

/* One exchange of lab->command for an answer of lab->response_len bytes. Returns true when it
 * completed, with the right answer; false when the reader gave up, and card and reader were reset.
 * Anything else ends the test. */
static inline bool t1_lab_exchange(struct t1_lab *lab)
{
    uint32_t before = lab->done;
    lab->blocks = 0;
    enum t1_reader_do what =
        t1_reader_command(&lab->reader, lab->command, lab->command_len, lab->got, sizeof lab->got);
    for (unsigned steps = 0; what == T1R_SEND || what == T1R_RECEIVE; steps++) {
        assert_true(steps < 10000);
        if (what == T1R_RECEIVE) {
            what = t1_lab_to_reader(lab);
            continue;
        }
        struct t1_lab_block b, held = lab->held;
        bool holding = lab->holding;
        unsigned copies = t1_lab_wire(lab, lab->reader.out, lab->reader.out_len, &b);
        lab->holding = false;
        if (holding)
            t1_lab_to_card(lab, &held);
        if (copies > 0 && b.late) {
            lab->held = b;
            lab->holding = true;
            copies = 0;
        }
        for (; copies > 0; copies--)
            t1_lab_to_card(lab, &b);
        what = T1R_RECEIVE;
    }
    assert_in_range(lab->done - before, what == T1R_DONE ? 1 : 0, 1);
    if (what == T1R_FAILED) {
        t1_lab_power(lab);
        return false;
    }
    assert_int_equal(lab->reader.response_len, lab->response_len);
    for (size_t i = 0; i < lab->response_len; i++)
        assert_int_equal(lab->got[i], t1_lab_answer(lab->command, lab->command_len, lab->done, i));
    return true;
}

/* Sizes and wishes of a new exchange, the command's bytes among them. */
static inline void t1_lab_prepare(struct t1_lab *lab, size_t command_len, size_t response_len,
                                  unsigned waits)
{
    lab->command_len = command_len;
    lab->response_len = response_len;
    lab->waits = waits;
    for (size_t i = 0; i < command_len; i++)
        lab->command[i] = (uint8_t)t1_lab_random(lab);
}

static inline void t1_lab_init(struct t1_lab *lab, uint64_t seed, uint8_t ifsc, uint8_t ifsd,
                               bool crc)
{
    memset(lab, 0, sizeof *lab);
    lab->random = seed;
    lab->card_params = (struct t1_params){.ifsc = ifsc, .ta1 = 0x97, .crc = crc};
    lab->reader_params = (struct t1_reader_params){
        .ifsc = ifsc, .ifsd = ifsd, .crc = crc, .cwt_etu = 43, .bwt_etu = 15371};
    t1_lab_power(lab);
}

#endif
