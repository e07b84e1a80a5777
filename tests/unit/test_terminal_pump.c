/* test_terminal_pump.c - the pump against a card that is played: a script of commands that must
 * come and answers that are given, so that odd state bytes, partial counts and lies can be had at
 * will. */
#include "unit.h"

#include "reader/backend.h"
#include "terminal/pump.h"

#include <string.h>

#define DATA_MAX 300

struct turn {
    uint8_t ins, p1;
    size_t nc; /* bytes of data that the command must carry */
    uint8_t answer[DATA_MAX];
    size_t answer_len; /* without the status word */
    uint16_t sw;       /* 0: 9000 */
    bool silent;       /* the reader fails */
};

struct script {
    const struct turn *turns;
    size_t count, at;
    uint8_t last[DATA_MAX]; /* data of the last command */
};

static enum cw_err play(void *self, const uint8_t *command, size_t len, uint8_t *response,
                        size_t cap, size_t *response_len, struct say *why)
{
    struct script *s = self;
    struct apdu_command cmd;
    assert_true(s->at < s->count); /* the pump asked for more than it should */
    const struct turn *t = &s->turns[s->at++];
    assert_int_equal(apdu_parse(command, len, &cmd), CW_OK);
    assert_int_equal(cmd.ins, t->ins);
    assert_int_equal(cmd.p1, t->p1);
    assert_int_equal(cmd.nc, t->nc);
    assert_true(t->answer_len + 2 <= cap);
    if (cmd.nc > 0)
        memcpy(s->last, cmd.data, cmd.nc);
    if (t->silent)
        return say_fail(why, CW_ERR_GONE, "torn out");
    memcpy(response, t->answer, t->answer_len);
    uint16_t sw = t->sw != 0 ? t->sw : SW_OK;
    response[t->answer_len] = (uint8_t)(sw >> 8);
    response[t->answer_len + 1] = (uint8_t)sw;
    *response_len = t->answer_len + 2;
    return CW_OK;
}

static enum cw_err no_reset(void *self, struct say *why)
{
    (void)self;
    (void)why;
    return CW_OK;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {play, no_reset, no_free};

struct stage {
    struct script script;
    struct reader *reader;
    struct pump *pump;
    struct say why;
};

/* The first turn must be OPEN. */
static void open_stage(struct stage *s, const struct turn *turns, size_t count)
{
    struct reader_backend backend = {.ops = &ops, .self = &s->script};
    s->script = (struct script){.turns = turns, .count = count};
    assert_int_equal(reader_new(&backend, &s->reader), CW_OK);
    struct pump_config config = {.reader = s->reader, .fd = -1, .name = "a", .cancel_fd = -1};
    assert_int_equal(pump_new(&config, &s->pump, &s->why), CW_OK);
    assert_int_equal(pump_start(s->pump, &s->why), CW_OK);
}

static void close_stage(struct stage *s)
{
    assert_int_equal(s->script.at, s->script.count); /* everything that must come has come */
    pump_free(&s->pump);
    reader_free(&s->reader);
}

static void give(struct stage *s, const uint8_t *data, size_t len)
{
    size_t room;
    uint8_t *space = pump_net_space(s->pump, &room);
    assert_true(room >= len);
    memcpy(space, data, len);
    pump_net_received(s->pump, len);
}

static void turn(struct stage *s, bool expected)
{
    bool did = !expected;
    assert_int_equal(pump_turn(s->pump, &did, &s->why), CW_OK);
    assert_int_equal(did, expected);
}

#define WANT LINK_STATE_WANT_IN
#define OPENED                                                                                     \
    {                                                                                              \
        .ins = INS_OPEN, .nc = 1, .answer = {WANT, 0x16, 3, 1, 0, 1, 0xAA}, .answer_len = 7        \
    }

/* A handshake record of `len` bytes in all. */
static size_t record(uint8_t *out, size_t len)
{
    memset(out, 0x55, len);
    out[0] = 0x16;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)((len - 5) >> 8);
    out[4] = (uint8_t)(len - 5);
    return len;
}

/* While the net is silent the card is not asked; a fragment of a record waits for its rest. */
static void test_waits_for_whole_records(void **state)
{
    static const struct turn turns[] = {
        OPENED, {.ins = INS_STEP, .nc = 100, .answer = {WANT}, .answer_len = 1}};
    struct stage s;
    uint8_t data[100];
    (void)state;
    open_stage(&s, turns, 2);
    turn(&s, false);
    record(data, 100);
    give(&s, data, 4);
    turn(&s, false);
    give(&s, data + 4, 95);
    turn(&s, false);
    give(&s, data + 99, 1);
    turn(&s, true);
    turn(&s, false);
    close_stage(&s);
}

/* Full commands go at once, the rest of the flight with the end of its last record. */
static void test_fills_commands(void **state)
{
    static const struct turn turns[] = {
        OPENED,
        {.ins = INS_STEP, .nc = 255, .answer = {WANT}, .answer_len = 1},
        {.ins = INS_STEP, .nc = 45, .answer = {WANT}, .answer_len = 1}};
    struct stage s;
    uint8_t data[300];
    (void)state;
    open_stage(&s, turns, 3);
    record(data, 100);
    record(data + 100, 200);
    give(&s, data, 280);
    turn(&s, true);
    turn(&s, false);
    give(&s, data + 280, 20);
    turn(&s, true);
    turn(&s, false);
    close_stage(&s);
}

static void test_obeys_partial(void **state)
{
    static const struct turn turns[] = {
        OPENED,
        {.ins = INS_STEP, .nc = 100, .answer = {WANT | LINK_STATE_PARTIAL, 0, 60}, .answer_len = 3},
        {.ins = INS_STEP,
         .nc = 40,
         .answer = {WANT | LINK_STATE_PARTIAL | LINK_STATE_OUT, 0, 40, 1, 2},
         .answer_len = 5},
        {.ins = INS_STEP, .nc = 0, .answer = {WANT, 3}, .answer_len = 2}};
    struct stage s;
    uint8_t data[100];
    size_t len;
    (void)state;
    open_stage(&s, turns, 4);
    record(data, 100);
    data[60] = 0x77;
    give(&s, data, 100);
    turn(&s, true);
    turn(&s, true);
    assert_int_equal(s.script.last[0], 0x77);
    turn(&s, true);
    turn(&s, false);
    const uint8_t *out = pump_net_output(s.pump, &len);
    assert_int_equal(len, 6 + 3);
    assert_memory_equal(out + 6, "\1\2\3", 3);
    close_stage(&s);
}

static void test_obeys_again(void **state)
{
    static const struct turn turns[] = {
        OPENED,
        {.ins = INS_STEP, .nc = 10, .answer = {WANT | LINK_STATE_AGAIN}, .answer_len = 1},
        {.ins = INS_STEP, .nc = 0, .answer = {WANT | LINK_STATE_OPEN}, .answer_len = 1}};
    struct stage s;
    uint8_t data[10];
    (void)state;
    open_stage(&s, turns, 3);
    give(&s, data, record(data, 10));
    turn(&s, true);
    turn(&s, true);
    turn(&s, false);
    assert_true(pump_is_open(s.pump));
    close_stage(&s);
}

static void test_reads_and_writes(void **state)
{
    static const struct turn turns[] = {
        {.ins = INS_OPEN, .nc = 1, .answer = {LINK_STATE_OPEN | LINK_STATE_DATA}, .answer_len = 1},
        {.ins = INS_READ, .answer = {LINK_STATE_OPEN, 'h', 'i'}, .answer_len = 3},
        {.ins = INS_WRITE, .nc = 224, .answer = {LINK_STATE_OPEN, 9}, .answer_len = 2},
        {.ins = INS_WRITE,
         .nc = 3,
         .answer = {LINK_STATE_OPEN | LINK_STATE_PARTIAL, 0, 1},
         .answer_len = 3},
        {.ins = INS_CLOSE, .answer = {LINK_STATE_CLOSED, 8}, .answer_len = 2}};
    struct stage s;
    uint8_t data[256] = {0};
    size_t taken = 0;
    (void)state;
    open_stage(&s, turns, 5);
    turn(&s, true);
    assert_int_equal(pump_take(s.pump, data, 1), 1);
    assert_int_equal(data[0], 'h');
    assert_int_equal(pump_take(s.pump, data, sizeof data), 1);
    assert_int_equal(pump_put(s.pump, data, sizeof data, &taken, &s.why), CW_OK);
    assert_int_equal(taken, 224);
    assert_int_equal(pump_put(s.pump, data, 3, &taken, &s.why), CW_OK);
    assert_int_equal(taken, 1);
    assert_int_equal(pump_shut(s.pump, &s.why), CW_OK);
    assert_true(pump_is_over(s.pump));
    assert_false(pump_is_dead(s.pump));
    assert_int_equal(pump_put(s.pump, data, 3, &taken, &s.why), CW_ERR_STATE);
    close_stage(&s);
}

/* The net's end: what is left goes in, then P1=01, once. */
static void test_net_ends(void **state)
{
    static const struct turn turns[] = {
        OPENED,
        {.ins = INS_STEP, .nc = 7, .answer = {WANT}, .answer_len = 1},
        {.ins = INS_STEP, .p1 = 1, .answer = {LINK_STATE_ERROR}, .answer_len = 1}};
    struct stage s;
    uint8_t data[20];
    (void)state;
    open_stage(&s, turns, 3);
    record(data, 20);
    give(&s, data, 7);
    pump_net_ended(s.pump);
    turn(&s, true);
    turn(&s, true);
    turn(&s, false);
    assert_true(pump_is_dead(s.pump));
    close_stage(&s);
}

/* Not TLS at all: the card shall say so, the pump does not wait for 20,527 bytes of "record". */
static void test_foreign_bytes_go_through(void **state)
{
    static const struct turn turns[] = {
        OPENED, {.ins = INS_STEP, .nc = 12, .answer = {LINK_STATE_ERROR}, .answer_len = 1}};
    struct stage s;
    (void)state;
    open_stage(&s, turns, 2);
    give(&s, (const uint8_t *)"HTTP/1.1 400", 12);
    turn(&s, true);
    assert_true(pump_is_dead(s.pump));
    close_stage(&s);
}

static void fails(const struct turn *turns, size_t count, enum cw_err expected)
{
    struct stage s;
    uint8_t data[50];
    bool did = true;
    enum cw_err err = CW_OK;
    open_stage(&s, turns, count);
    give(&s, data, record(data, 50));
    for (int i = 0; err == CW_OK && did && i < 50; i++)
        err = pump_turn(s.pump, &did, &s.why);
    assert_int_equal(err, expected);
    assert_true(pump_failure(s.pump).card);
    close_stage(&s);
}

static void test_card_lies(void **state)
{
    static const struct turn empty[] = {OPENED, {.ins = INS_STEP, .nc = 50}};
    static const struct turn cut[] = {
        OPENED, {.ins = INS_STEP, .nc = 50, .answer = {LINK_STATE_PARTIAL, 0}, .answer_len = 2}};
    static const struct turn more[] = {
        OPENED,
        {.ins = INS_STEP, .nc = 50, .answer = {LINK_STATE_PARTIAL, 0, 51}, .answer_len = 3}};
    static const struct turn refuses[] = {OPENED, {.ins = INS_STEP, .nc = 50, .sw = 0x6985}};
    static const struct turn torn[] = {OPENED, {.ins = INS_STEP, .nc = 50, .silent = true}};
    (void)state;
    fails(empty, 2, CW_ERR_FORMAT);
    fails(cut, 2, CW_ERR_FORMAT);
    fails(more, 2, CW_ERR_FORMAT);
    fails(refuses, 2, CW_ERR_STATE);
    fails(torn, 2, CW_ERR_GONE);
}

/* A card that always has work to do and never does any must not hold the terminal for ever. */
static void test_no_progress(void **state)
{
    struct turn turns[12] = {OPENED};
    (void)state;
    for (size_t i = 1; i < 12; i++)
        turns[i] = (struct turn){.ins = INS_STEP,
                                 .nc = i == 1 ? 50 : 0,
                                 .answer = {WANT | LINK_STATE_AGAIN},
                                 .answer_len = 1};
    fails(turns, 11, CW_ERR_FORMAT);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_whole_records),
        cmocka_unit_test(test_fills_commands),
        cmocka_unit_test(test_obeys_partial),
        cmocka_unit_test(test_obeys_again),
        cmocka_unit_test(test_reads_and_writes),
        cmocka_unit_test(test_net_ends),
        cmocka_unit_test(test_foreign_bytes_go_through),
        cmocka_unit_test(test_card_lies),
        cmocka_unit_test(test_no_progress),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
