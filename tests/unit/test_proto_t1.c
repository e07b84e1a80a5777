/* ATR, PPS and T=1 block by block: what each end says to what, with the rule of ISO/IEC 7816-3:2006
 * §11.6.3 that asks for it. The line that does wrong is in test_proto_t1_errors.c. */
#include "tests/unit/unit.h"

#include "tests/unit/card_lab.h"

#include "proto/atr.h"
#include "proto/t1_card.h"
#include "proto/t1_reader.h"

#include <string.h>

/* ---- ATR ---- */

static void test_atr_fields(void **state)
{
    /* EMV's own card, a German health card, an OpenPGP card, T=0 and T=1 with TA2, inverse */
    static const struct {
        uint8_t bytes[33];
        size_t len;
        uint16_t protocols;
        uint8_t first, ta1, ifsc, bwi, cwi, n, historical;
        bool crc, specific, inverse;
    } cases[] = {
        {{0x3B, 0x65, 0x00, 0x00, 0x20, 0x63, 0xCB, 0x6A, 0x00},
         9,
         1,
         0,
         0x11,
         32,
         4,
         13,
         0,
         5,
         false,
         false,
         false},
        {{0x3B, 0xE5, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45, 0x20, 0x63, 0xCB, 0x6A, 0x00, 0x0C},
         14,
         2,
         1,
         0x11,
         254,
         4,
         5,
         0,
         5,
         false,
         false,
         false},
        {{0x3B, 0xDA, 0x18, 0xFF, 0x81, 0xB1, 0xFE, 0x75, 0x1F, 0x03, 0x00,
          0x31, 0xC5, 0x73, 0xC0, 0x01, 0x40, 0x00, 0x90, 0x00, 0x0C},
         21,
         2,
         1,
         0x18,
         254,
         7,
         5,
         255,
         10,
         false,
         false,
         false},
        {{0x3F, 0x00}, 2, 1, 0, 0x11, 32, 4, 13, 0, 0, false, false, true},
        {{0x3B, 0x80, 0x81, 0x11, 0x40, 0x50},
         6,
         2,
         1,
         0x11,
         0x40,
         4,
         13,
         0,
         0,
         false,
         false,
         false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct atr atr;
        struct atr_meaning m;
        uint8_t again[ATR_MAX];
        size_t len;
        assert_int_equal(atr_parse(cases[i].bytes, cases[i].len, &atr), CW_OK);
        assert_int_equal(atr_read(&atr, &m), CW_OK);
        assert_int_equal(m.protocols, cases[i].protocols);
        assert_int_equal(m.first, cases[i].first);
        assert_int_equal(m.ta1, cases[i].ta1);
        assert_int_equal(m.ifsc, cases[i].ifsc);
        assert_int_equal(m.bwi, cases[i].bwi);
        assert_int_equal(m.cwi, cases[i].cwi);
        assert_int_equal(m.n, cases[i].n);
        assert_int_equal(m.crc, cases[i].crc);
        assert_int_equal(m.specific, cases[i].specific);
        assert_int_equal(atr.historical_len, cases[i].historical);
        assert_int_equal(atr.inverse, cases[i].inverse);
        assert_int_equal(atr_build(&atr, again, sizeof again, &len), CW_OK);
        assert_int_equal(len, cases[i].len);
        assert_memory_equal(again, cases[i].bytes, len);
        assert_int_equal(atr_build(&atr, again, len - 1, &len), CW_ERR_SPACE);
        for (size_t cut = 0; cut < cases[i].len; cut++) {
            size_t expected = atr_expected(cases[i].bytes, cut);
            assert_int_not_equal(atr_parse(cases[i].bytes, cut, &atr), CW_OK);
            assert_true(expected == 0 || expected == cases[i].len);
        }
        assert_int_equal(atr_expected(cases[i].bytes, cases[i].len), cases[i].len);
    }
}

static void test_atr_wrong(void **state)
{
    struct atr atr;
    struct atr_meaning m;
    uint8_t bytes[ATR_MAX + 1] = {0x3B, 0xE5, 0x00, 0x00, 0x81, 0x31, 0xFE,
                                  0x45, 0x20, 0x63, 0xCB, 0x6A, 0x00, 0x0C};
    (void)state;
    for (size_t bit = 8; bit < 14 * 8; bit++) { /* TCK finds each, whatever it makes of the rest */
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(atr_parse(bytes, 14, &atr), CW_OK);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(atr_parse((const uint8_t[]){0x03, 0x00}, 2, &atr), CW_ERR_FORMAT);
    /* protocols that go down; T=15 first */
    assert_int_equal(atr_parse((const uint8_t[]){0x3B, 0x80, 0x81, 0x80, 0x00, 0x81}, 6, &atr),
                     CW_ERR_FORMAT);
    assert_int_equal(atr_parse((const uint8_t[]){0x3B, 0x80, 0x0F, 0x8F}, 4, &atr), CW_ERR_FORMAT);
    /* IFSC 0 and 255, BWI 10, Fi reserved, TA2 with a protocol that is not offered */
    static const uint8_t bad[][8] = {{0x3B, 0x80, 0x81, 0x11, 0x00, 0x10},
                                     {0x3B, 0x80, 0x81, 0x11, 0xFF, 0xEF},
                                     {0x3B, 0x80, 0x81, 0x21, 0xA0, 0x80},
                                     {0x3B, 0x90, 0x71, 0x81, 0x01, 0x61},
                                     {0x3B, 0x80, 0x91, 0x00, 0x01, 0x10}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(atr_parse(bad[i], 6, &atr), CW_OK);
        assert_int_equal(atr_read(&atr, &m), CW_ERR_FORMAT);
    }
}

static void test_pps(void **state)
{
    uint8_t out[PPS_MAX];
    struct pps pps = {.protocol = 1, .has_pps1 = true, .pps1 = 0x97}, got;
    (void)state;
    assert_int_equal(pps_write(&pps, out), 4);
    assert_memory_equal(out, ((uint8_t[]){0xFF, 0x11, 0x97, 0x79}), 4);
    assert_int_equal(pps_expected(out, 1), 0);
    assert_int_equal(pps_expected(out, 2), 4);
    assert_int_equal(pps_parse(out, 4, &got), CW_OK);
    assert_int_equal(got.pps1, 0x97);
    out[3] ^= 1;
    assert_int_equal(pps_parse(out, 4, &got), CW_ERR_FORMAT);
    assert_int_equal(pps_parse((const uint8_t[]){0xFF, 0x01, 0xFE}, 3, &got), CW_OK);
    assert_int_equal(got.pps1, ATR_FI_DI_DEFAULT);
    assert_int_equal(pps_parse((const uint8_t[]){0xFF, 0x01, 0xFE}, 2, &got), CW_ERR_LENGTH);
}

/* What our own card says, made from its fields. */
static void test_atr_of_the_card(void **state)
{
    const struct atr fields = {
        .group_count = 3,
        .groups = {{ATR_TA | ATR_TB | ATR_TC | ATR_TD, 0x97, 0x00, 0xFF, 1},
                   {ATR_TD, 0, 0, 0, 1},
                   {ATR_TA | ATR_TB, 254, 4 << 4 | 5, 0, 0}},
        .historical = {0x80, 0x73, 0x80, 0x01, 0xC0},
        .historical_len = 5,
    };
    uint8_t built[ATR_MAX];
    size_t built_len, len;
    struct atr_meaning m;
    struct atr atr;
    static struct lab lab;
    (void)state;
    lab_init(&lab);
    const uint8_t *bytes = card_atr(lab.card, &len);
    assert_int_equal(atr_build(&fields, built, sizeof built, &built_len), CW_OK);
    assert_int_equal(len, built_len);
    assert_memory_equal(bytes, built, len);
    assert_int_equal(atr_parse(bytes, len, &atr), CW_OK);
    assert_int_equal(atr_read(&atr, &m), CW_OK);
    assert_int_equal(m.fi, 512);
    assert_int_equal(m.di, 64); /* 3.5712 MHz * 64 / 512 = 446,400 baud */
    lab_free(&lab);
}

/* ---- blocks ---- */

static void test_blocks(void **state)
{
    struct t1_block b;
    uint8_t out[T1_BLOCK_MAX];
    (void)state;
    /* S(IFS request) of 254 as every EMV reader begins: EMV Book 1 §9.2.4.4 */
    assert_int_equal(t1_write(0, T1_S | T1_IFS, (const uint8_t[]){0xFE}, 1, false, out), 5);
    assert_memory_equal(out, ((uint8_t[]){0x00, 0xC1, 0x01, 0xFE, 0x3E}), 5);
    /* CRC: ISO/IEC 13239, check value of "123456789" is 906E */
    assert_int_equal(t1_write(0x31, 0x32, (const uint8_t *)"456789", 6, true, out), 11);
    assert_int_equal(t1_parse(out, 11, true, &b), CW_ERR_FORMAT); /* no PCB, but intact */
    out[10] ^= 1;
    assert_int_equal(t1_parse(out, 11, true, &b), CW_ERR_IO);

    static const uint8_t wrong[][6] = {
        {0x00, 0x01, 0x00},       {0x00, 0x84, 0x00}, {0x00, 0x83, 0x00}, {0x00, 0xA0, 0x00},
        {0x00, 0x80, 0x01, 0x55}, {0x00, 0xC4, 0x00}, {0x00, 0xC1, 0x00}, {0x00, 0xC0, 0x01, 0x01},
        {0x00, 0xC1, 0x01, 0x00}, {0x88, 0x00, 0x00}, {0x11, 0x00, 0x00}, {0x00, 0xC1, 0x01, 0xFF}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t block[T1_BLOCK_MAX];
        size_t len = t1_write(wrong[i][0], wrong[i][1], wrong[i] + 3, wrong[i][2], false, block);
        assert_int_equal(t1_parse(block, len, false, &b), CW_ERR_FORMAT);
        assert_int_equal(t1_parse(block, len - 1, false, &b), CW_ERR_LENGTH);
    }
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(t1_character_etu(0), 12);
    assert_int_equal(t1_character_etu(255), 11);
    assert_int_equal(t1_cwt_etu(5), 43);
    assert_int_equal(t1_cwt_etu(13), 8203);
    assert_int_equal(t1_bwt_etu(4, 372, 1), 15371); /* EMV Book 1 §9.2.4.2.2: 2^BWI * 960 + 11 */
    assert_int_equal(t1_bwt_etu(4, 512, 64), 11 + 714240);
    assert_int_equal(t1_bwt_etu(9, 372, 64), 11 + 512u * 960 * 64);
}

/* ---- the card's end ---- */

struct end {
    struct t1_card card;
    uint8_t command[100];
};

static void power(struct end *e, uint8_t ta1)
{
    t1_card_start(&e->card, &(struct t1_params){.ifsc = 32, .ta1 = ta1}, e->command,
                  sizeof e->command);
}

static enum t1_do feed(struct end *e, const uint8_t *bytes, size_t len)
{
    enum t1_do what = T1_WAIT;
    for (size_t i = 0; i < len; i++)
        what = t1_card_byte(&e->card, bytes[i], true);
    return what;
}

static enum t1_do block(struct end *e, uint8_t nad, uint8_t pcb, const void *inf, size_t len)
{
    uint8_t out[T1_BLOCK_MAX];
    return feed(e, out, t1_write(nad, pcb, inf, (uint8_t)len, false, out));
}

/* The card says one block: PCB and INF. */
static void says(const struct end *e, enum t1_do what, uint8_t pcb, const char *inf)
{
    struct t1_block b;
    assert_int_equal(what, T1_SEND);
    assert_int_equal(t1_parse(e->card.out, e->card.out_len, false, &b), CW_OK);
    assert_int_equal(b.pcb, pcb);
    assert_int_equal(b.len, strlen(inf));
    assert_memory_equal(b.inf, inf, b.len);
}

static void test_card_plain(void **state)
{
    struct end e;
    (void)state;
    power(&e, 0x11);
    says(&e, block(&e, 0, 0xC1, "\x28", 1), 0xE1, "\x28"); /* rule 4 */
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    assert_int_equal(e.card.command_len, 3);
    assert_true(t1_card_working(&e.card));
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_WAIT); /* not the reader's turn */
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"tell", 4), 0x00, "tell");
    says(&e, block(&e, 0, 0x80, "", 0), 0x00, "tell"); /* 7.6: again */
    says(&e, block(&e, 0, 0x90, "", 0), 0x90, "");     /* it has lost its own I(1): say so */
    assert_int_equal(block(&e, 0, 0x40, "two", 3), T1_COMMAND);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"2", 1), 0x40, "2");
    says(&e, block(&e, 0, 0x40, "two", 3), 0x82, ""); /* the same again: not a command */
    says(&e, block(&e, 0, 0xC0, "", 0), 0xE0, "");    /* rule 6: numbers begin anew */
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"x", 1), 0x00, "x");
}

static void test_card_chains(void **state)
{
    struct end e;
    (void)state;
    power(&e, 0x11);
    says(&e, block(&e, 0, 0x20, "one ", 4), 0x90, ""); /* rule 5 */
    says(&e, block(&e, 0, 0x20, "one ", 4), 0x92, ""); /* doubled */
    says(&e, block(&e, 0, 0x80, "", 0), 0x90, "");     /* our R was lost */
    says(&e, block(&e, 0, 0x60, "two ", 4), 0x80, "");
    assert_int_equal(block(&e, 0, 0x00, "three", 5), T1_COMMAND);
    assert_int_equal(e.card.command_len, 13);
    assert_memory_equal(e.command, "one two three", 13);
    says(&e,
         block(&e, 0, 0x00, "", 0) == T1_WAIT
             ? t1_card_answer(&e.card, (const uint8_t *)"abcdefghijklmnopqrstuvwxyzabcdefghi", 35)
             : T1_WAIT,
         0x20, "abcdefghijklmnopqrstuvwxyzabcdef");
    says(&e, block(&e, 0, 0x80, "", 0), 0x20, "abcdefghijklmnopqrstuvwxyzabcdef");
    says(&e, block(&e, 0, 0x40, "no", 2), 0x92, ""); /* in the middle of our chain */
    says(&e, block(&e, 0, 0x90, "", 0), 0x40, "ghi");
    says(&e, block(&e, 0, 0xC2, "", 0), 0xE2, ""); /* rule 9 */
    /* Longer than the buffer: counted to its end, and no byte beyond it */
    power(&e, 0x11);
    char inf[32];
    memset(inf, 'x', sizeof inf);
    for (unsigned i = 0; i < 4; i++)
        says(&e, block(&e, 0, i % 2 != 0 ? 0x60 : 0x20, inf, 32), i % 2 != 0 ? 0x80 : 0x90, "");
    assert_int_equal(block(&e, 0, 0x00, inf, 32), T1_COMMAND);
    assert_int_equal(e.card.command_len, 160);
    /* S(ABORT) of the reader's own chain */
    power(&e, 0x11);
    says(&e, block(&e, 0, 0x20, "old", 3), 0x90, "");
    says(&e, block(&e, 0, 0xC2, "", 0), 0xE2, "");
    assert_int_equal(block(&e, 0, 0x40, "new", 3), T1_COMMAND);
    assert_int_equal(e.card.command_len, 3);
}

static void test_card_wrong_blocks(void **state)
{
    struct end e;
    (void)state;
    /* 7.1 and 7.4: three times R, then silence until something good comes */
    power(&e, 0x11);
    for (unsigned n = 0; n < 8; n++) {
        assert_int_equal(feed(&e, (const uint8_t[]){0x00, 0x00, 0x01, 0x55, 0x00}, 5), T1_WAIT);
        enum t1_do what = t1_card_silence(&e.card);
        if (n < 3)
            says(&e, what, 0x81, "");
        else
            assert_int_equal(what, T1_WAIT);
    }
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"x", 1), 0x00, "x");
    /* a LEN that is too small: what is left of the block is no new one */
    power(&e, 0x11);
    assert_int_equal(feed(&e, (const uint8_t[]){0x00, 0x00, 0x02, 'a', 's', 'k', 0x50}, 7),
                     T1_WAIT);
    says(&e, t1_card_silence(&e.card), 0x81, "");
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    /* one byte, half a block, LEN = FF, a parity error: each ends with silence */
    power(&e, 0x11);
    assert_int_equal(feed(&e, (const uint8_t[]){0x55}, 1), T1_WAIT);
    says(&e, t1_card_silence(&e.card), 0x81, "");
    assert_int_equal(t1_card_silence(&e.card), T1_WAIT); /* in between it means nothing */
    assert_int_equal(feed(&e, (const uint8_t[]){0x00, 0x00, 0x05, 0x01}, 4), T1_WAIT);
    says(&e, t1_card_silence(&e.card), 0x81, "");
    power(&e, 0x11);
    for (unsigned n = 0; n < 400; n++)
        assert_int_equal(feed(&e, (const uint8_t[]){n == 0 ? 0x00 : 0xFF}, 1), T1_WAIT);
    says(&e, t1_card_silence(&e.card), 0x81, "");
    assert_int_equal(t1_card_byte(&e.card, 0x00, false), T1_WAIT);
    assert_int_equal(feed(&e, (const uint8_t[]){0x00, 0x00, 0x00}, 3), T1_WAIT);
    says(&e, t1_card_silence(&e.card), 0x81, "");
    /* WTX asked for by the reader, a response to nothing, RFU */
    power(&e, 0x11);
    says(&e, block(&e, 0, 0xC3, "\x01", 1), 0x82, "");
    says(&e, block(&e, 0, 0xE1, "\x20", 1), 0x82, "");
    says(&e, block(&e, 0, 0xC9, "", 0), 0x82, "");
}

static void test_card_more_time(void **state)
{
    struct end e;
    (void)state;
    power(&e, 0x11);
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    says(&e, t1_card_more_time(&e.card, 3), 0xC3, "\x03");
    says(&e, block(&e, 0, 0x80, "", 0), 0xC3, "\x03");     /* 7.3: again */
    says(&e, block(&e, 0, 0xE3, "\x04", 1), 0xC3, "\x03"); /* another number is no grant */
    assert_int_equal(block(&e, 0, 0xE3, "\x03", 1), T1_RESUME);
    /* nobody grants it: goes on by itself */
    says(&e, t1_card_more_time(&e.card, 3), 0xC3, "\x03");
    for (unsigned n = 0; n < 3; n++)
        says(&e, block(&e, 0, 0x80, "", 0), 0xC3, "\x03");
    assert_int_equal(block(&e, 0, 0x80, "", 0), T1_RESUME);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"x", 1), 0x00, "x");
    /* a reader that resynchronises meanwhile is answered after the work */
    assert_int_equal(block(&e, 0, 0x40, "ask", 3), T1_COMMAND);
    says(&e, t1_card_more_time(&e.card, 1), 0xC3, "\x01");
    assert_int_equal(block(&e, 0, 0xC0, "", 0), T1_RESUME);
    assert_int_equal(t1_card_more_time(&e.card, 1), T1_RESUME);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"x", 1), 0xE0, "");
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
}

static void test_card_addresses(void **state)
{
    struct end e;
    (void)state;
    power(&e, 0x11);
    assert_int_equal(block(&e, 0x21, 0x00, "ask", 3), T1_COMMAND);
    says(&e, t1_card_answer(&e.card, (const uint8_t *)"x", 1), 0x00, "x");
    assert_int_equal(e.card.out[0], 0x12); /* §11.3.2.1: source and destination exchanged */
}

static void test_card_pps(void **state)
{
    static const struct {
        uint8_t ask[5], ask_len, answer[5], answer_len, speed;
    } cases[] = {
        {{0xFF, 0x11, 0x97, 0x79}, 4, {0xFF, 0x11, 0x97, 0x79}, 4, 0x97},
        {{0xFF, 0x11, 0x94, 0x7A}, 4, {0xFF, 0x11, 0x94, 0x7A}, 4, 0x94}, /* slower than we can */
        {{0xFF, 0x11, 0x18, 0xF6}, 4, {0xFF, 0x01, 0xFE}, 3, 0x11},       /* we cannot: default */
        {{0xFF, 0x01, 0xFE}, 3, {0xFF, 0x01, 0xFE}, 3, 0x11},
        {{0xFF, 0x00, 0xFF}, 3, {0}, 0, 0x11},       /* T=0: silence */
        {{0xFF, 0x11, 0x97, 0x78}, 4, {0}, 0, 0x11}, /* PCK */
    };
    struct end e;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        power(&e, 0x97);
        enum t1_do what = feed(&e, cases[i].ask, cases[i].ask_len);
        assert_int_equal(what, cases[i].answer_len > 0 ? T1_SEND : T1_WAIT);
        if (what == T1_SEND) {
            assert_int_equal(e.card.out_len, cases[i].answer_len);
            assert_memory_equal(e.card.out, cases[i].answer, cases[i].answer_len);
        }
        assert_int_equal(e.card.pps1, cases[i].speed);
        assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
    }
    power(&e, 0x97);
    assert_int_equal(feed(&e, (const uint8_t[]){0xFF, 0x11}, 2), T1_WAIT);
    assert_int_equal(t1_card_silence(&e.card), T1_WAIT); /* half a PPS: silence */
    assert_int_equal(block(&e, 0, 0x00, "ask", 3), T1_COMMAND);
}

/* ---- the reader's end ---- */

struct other {
    struct t1_reader reader;
    uint8_t response[64];
};

static enum t1_reader_do answer(struct other *o, uint8_t pcb, const char *inf)
{
    uint8_t out[T1_BLOCK_MAX];
    enum t1_reader_do what = T1R_RECEIVE;
    size_t len = t1_write(0, pcb, (const uint8_t *)inf, (uint8_t)strlen(inf), false, out);
    for (size_t i = 0; i < len; i++)
        what = t1_reader_byte(&o->reader, out[i], true);
    return what;
}

static void asks(const struct other *o, enum t1_reader_do what, uint8_t pcb, const char *inf)
{
    struct t1_block b;
    assert_int_equal(what, T1R_SEND);
    assert_int_equal(t1_parse(o->reader.out, o->reader.out_len, false, &b), CW_OK);
    assert_int_equal(b.pcb, pcb);
    assert_int_equal(b.len, strlen(inf));
    assert_memory_equal(b.inf, inf, b.len);
}

static enum t1_reader_do begin(struct other *o, const char *command)
{
    return t1_reader_command(&o->reader, (const uint8_t *)command, strlen(command), o->response,
                             sizeof o->response);
}

static void start(struct other *o)
{
    t1_reader_start(&o->reader, &(struct t1_reader_params){
                                    .ifsc = 4, .ifsd = 0x28, .cwt_etu = 43, .bwt_etu = 15371});
}

static void test_reader(void **state)
{
    struct other o;
    (void)state;
    start(&o);
    asks(&o, begin(&o, "eightlet"), 0xC1, "\x28");
    asks(&o, answer(&o, 0xE1, "\x28"), 0x20, "eigh");
    asks(&o, answer(&o, 0x81, ""), 0x20, "eigh");
    asks(&o, answer(&o, 0x90, ""), 0x40, "tlet");
    asks(&o, answer(&o, 0xC3, "\x02"), 0xE3, "\x02");
    assert_int_equal(o.reader.wait_etu, 2 * 15371);
    asks(&o, answer(&o, 0x20, "a long "), 0x90, "");
    asks(&o, t1_reader_silence(&o.reader), 0x90, ""); /* 7.2 */
    asks(&o, answer(&o, 0x20, "a long "), 0x90, "");  /* doubled */
    assert_int_equal(answer(&o, 0x40, "word"), T1R_DONE);
    assert_int_equal(o.reader.response_len, 11);
    assert_memory_equal(o.response, "a long word", 11);
    /* IFS of the card, then the limit of tries */
    asks(&o, begin(&o, "six"), 0x00, "six");
    asks(&o, answer(&o, 0xC1, "\x08"), 0xE1, "\x08");
    assert_int_equal(answer(&o, 0x00, "y"), T1R_DONE);
    asks(&o, begin(&o, "eightlet"), 0x40, "eightlet");
    asks(&o, t1_reader_silence(&o.reader), 0x91, "");
    asks(&o, t1_reader_silence(&o.reader), 0x91, "");
    assert_int_equal(t1_reader_silence(&o.reader),
                     T1R_FAILED); /* it may have been done: no resync */
}

static void test_reader_resync(void **state)
{
    struct other o;
    (void)state;
    start(&o);
    asks(&o, begin(&o, "eightlet"), 0xC1, "\x28");
    asks(&o, answer(&o, 0xE1, "\x28"), 0x20, "eigh");
    (void)t1_reader_silence(&o.reader);
    (void)t1_reader_silence(&o.reader);
    asks(&o, t1_reader_silence(&o.reader), 0xC0, ""); /* the card cannot have done it: 7.4, 6 */
    asks(&o, answer(&o, 0x81, ""), 0xC0, "");
    asks(&o, answer(&o, 0xE0, ""), 0xC1, "\x28");
    asks(&o, answer(&o, 0xE1, "\x28"), 0x20, "eigh");
    asks(&o, answer(&o, 0x90, ""), 0x40, "tlet");
    assert_int_equal(answer(&o, 0xC2, ""), T1R_FAILED);
    /* never a word since the ATR */
    start(&o);
    (void)begin(&o, "x");
    (void)t1_reader_silence(&o.reader);
    (void)t1_reader_silence(&o.reader);
    assert_int_equal(t1_reader_silence(&o.reader), T1R_FAILED);
    /* too long for the caller: counted, not written */
    start(&o);
    (void)begin(&o, "x");
    (void)answer(&o, 0xE1, "\x28");
    asks(&o, answer(&o, 0x20, "0123456789012345678901234567890123456789"), 0x90, "");
    assert_int_equal(answer(&o, 0x40, "0123456789012345678901234567890123456789"), T1R_DONE);
    assert_int_equal(o.reader.response_len, 80);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_atr_fields),
        cmocka_unit_test(test_atr_wrong),
        cmocka_unit_test(test_pps),
        cmocka_unit_test(test_atr_of_the_card),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_card_plain),
        cmocka_unit_test(test_card_chains),
        cmocka_unit_test(test_card_wrong_blocks),
        cmocka_unit_test(test_card_more_time),
        cmocka_unit_test(test_card_addresses),
        cmocka_unit_test(test_card_pps),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_reader_resync),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
