/* test_bank_desk.c - what the bank does through the secure channel, against a played card that
 * holds the keys and says what no honest card would. The real card is in test_bank_issue.c. */
#include "tests/unit/unit.h"

#include "bank/desk.h"
#include "bank/issuer_channel.h"
#include "bank/scp03_openssl.h"
#include "reader/backend.h"

#include <string.h>

static const struct scp03_keys keys = {.enc = {1}, .mac = {2}, .dek = {3}};

struct turn {
    uint8_t ins, p1, p2;
    const char *answer; /* data, then the status word as its last two bytes */
    size_t len;
};

struct played {
    struct scp03 scp;
    const struct turn *turns; /* NULL: for ever the same */
    size_t count, at;
};

/* The command in clear; writes data and returns the status word. */
static uint16_t turn(struct played *p, const struct apdu_command *cmd, struct buf_writer *w)
{
    static const struct turn working = {INS_GENERATE_KEY, LINK_GENERATE_SLICE, LINK_KEY_TLS_RSA,
                                        "\x01\x00\x10\x90\x00", 5};
    const struct turn *t = &working;
    if (p->turns != NULL) {
        assert_true(p->at < p->count);
        t = &p->turns[p->at];
    }
    p->at++;
    assert_int_equal(cmd->ins, t->ins);
    assert_int_equal(cmd->p1, t->p1);
    assert_int_equal(cmd->p2, t->p2);
    buf_put_bytes(w, t->answer, t->len - 2);
    return (uint16_t)((uint8_t)t->answer[t->len - 2] << 8 | (uint8_t)t->answer[t->len - 1]);
}

static enum cw_err play(void *self, const uint8_t *command, size_t len, uint8_t *response,
                        size_t cap, size_t *response_len, struct say *why)
{
    struct played *p = self;
    uint8_t data[256];
    struct apdu_command cmd;
    struct buf_writer w;
    uint16_t sw = SW_OK;
    (void)why;
    assert_int_equal(apdu_parse(command, len, &cmd), CW_OK);
    buf_writer_init(&w, response, cap);
    if (cmd.ins == SCP03_INS_INITIALIZE_UPDATE) {
        struct scp03_update update = {.version = DESK_KEYSET, .i = SCP03_I_FULL};
        assert_int_equal(scp03_card_begin(&p->scp, &scp03_openssl, &keys, cmd.data, &update),
                         CW_OK);
        scp03_update_write(&update, &w);
    } else if (cmd.ins == SCP03_INS_EXTERNAL_AUTHENTICATE) {
        assert_int_equal(scp03_card_authenticate(&p->scp, &cmd, SCP03_LEVEL_FULL), CW_OK);
    } else {
        assert_int_equal(scp03_command_unwrap(&p->scp, &cmd, data, sizeof data), CW_OK);
        sw = turn(p, &cmd, &w);
        assert_int_equal(scp03_response_wrap(&p->scp, sw, &w), CW_OK);
    }
    buf_put_u16(&w, sw);
    *response_len = w.len;
    return CW_OK;
}

static void no_free(void *self)
{
    (void)self;
}

static struct desk start(struct played *p, const struct turn *turns, size_t count)
{
    static const struct reader_ops ops = {play, NULL, no_free};
    struct reader_backend backend = {.ops = &ops, .self = p};
    struct desk d = {.info = {.response_max = 1024}};
    struct say why = {""};
    *p = (struct played){.turns = turns, .count = count};
    assert_int_equal(reader_new(&backend, &d.reader), CW_OK);
    if (channel_open(d.reader, &keys, DESK_KEYSET, SCP03_LEVEL_FULL, &d.channel, &why) != CW_OK)
        fail_msg("%s", why.text);
    return d;
}

static void finish(struct played *p, struct desk *d)
{
    assert_int_equal(p->at, p->count);
    channel_free(&d->channel);
    reader_free(&d->reader);
}

struct seen {
    unsigned permille[8];
    size_t count;
};

static void see(void *ctx, unsigned permille)
{
    struct seen *s = ctx;
    assert_true(s->count < sizeof s->permille / sizeof *s->permille);
    s->permille[s->count++] = permille;
}

/* The command is sent until the card says that the key is there. */
static void test_key_in_slices(void **state)
{
    static const struct turn turns[] = {{INS_GENERATE_KEY, 1, 2, "\x01\x00\x00\x90\x00", 5},
                                        {INS_GENERATE_KEY, 1, 2, "\x01\x01\xF4\x90\x00", 5},
                                        {INS_GENERATE_KEY, 1, 2, "\x00\x03\xE8\x90\x00", 5}};
    static const struct turn once[] = {{INS_GENERATE_KEY, 1, 1, "\x00\x03\xE8\x90\x00", 5}};
    struct played p;
    struct seen seen = {.count = 0};
    (void)state;
    struct desk d = start(&p, turns, 3);
    assert_int_equal(desk_key_generate(&d, LINK_KEY_TLS_RSA, see, &seen, NULL), CW_OK);
    finish(&p, &d);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.permille[0], 0);
    assert_int_equal(seen.permille[1], 500);
    assert_int_equal(seen.permille[2], 1000);
    d = start(&p, once, 1);
    assert_int_equal(desk_key_generate(&d, LINK_KEY_TLS_P256, NULL, NULL, NULL), CW_OK);
    finish(&p, &d);
}

/* What is no answer to it, and what fails in the middle, ends it. */
static void test_key_in_slices_fails(void **state)
{
    static const struct {
        const char *answer;
        size_t len;
        enum cw_err err;
    } last[] = {
        {"\x90\x00", 2, CW_ERR_FORMAT},
        {"\x00\x01\x90\x00", 4, CW_ERR_FORMAT},
        {"\x00\x00\x01\x00\x90\x00", 6, CW_ERR_SPACE},
        {"\x02\x00\x10\x90\x00", 5, CW_ERR_FORMAT}, /* neither state */
        {"\x01\x03\xE9\x90\x00", 5, CW_ERR_FORMAT}, /* more than all */
        {"\x65\x81", 2, CW_ERR_IO},
        {"\x6A\x84", 2, CW_ERR_SPACE},
        {"\x6A\x89", 2, CW_ERR_EXISTS},
    };
    struct played p;
    (void)state;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        const struct turn turns[] = {{INS_GENERATE_KEY, 1, 4, "\x01\x00\x10\x90\x00", 5},
                                     {INS_GENERATE_KEY, 1, 4, last[i].answer, last[i].len}};
        struct seen seen = {.count = 0};
        struct say why = {""};
        struct desk d = start(&p, turns, 2);
        assert_int_equal(desk_key_generate(&d, LINK_KEY_ORDER_RSA, see, &seen, &why), last[i].err);
        finish(&p, &d);
        assert_int_equal(seen.count, 1);
        assert_true(why.text[0] != '\0');
    }
}

/* A card that works for ever is given up; not before one that draws a number a slice for two primes
 * can be done. */
static void test_key_without_end(void **state)
{
    struct played p;
    struct say why = {""};
    (void)state;
    struct desk d = start(&p, NULL, 0);
    assert_int_equal(desk_key_generate(&d, LINK_KEY_TLS_RSA, NULL, NULL, &why), CW_ERR_FORMAT);
    assert_true(p.at > 2 * 16384 + 10);
    assert_non_null(strstr(why.text, "without an end"));
    p.count = p.at;
    finish(&p, &d);
}

/* What comes back must be what was written, where an answer can hold it. */
static void test_written_is_read_back(void **state)
{
    static const struct turn same[] = {{INS_PUT_DATA, 3, 1, "\x90\x00", 2},
                                       {INS_GET_DATA, 3, 1, "ab\x90\x00", 4}};
    static const struct turn other[] = {{INS_PUT_DATA, 3, 1, "\x90\x00", 2},
                                        {INS_GET_DATA, 3, 1, "ac\x90\x00", 4}};
    static const struct turn longer[] = {{INS_PUT_DATA, 3, 1, "\x90\x00", 2},
                                         {INS_GET_DATA, 3, 1, "abc\x90\x00", 5}};
    static const struct turn refused[] = {{INS_PUT_DATA, 3, 1, "\x6A\x80", 2}};
    static const struct turn alone[] = {{INS_PUT_DATA, 9, 0, "\x90\x00", 2}};
    static const struct {
        const struct turn *turns;
        size_t count;
        enum cw_err err;
    } cases[] = {{same, 2, CW_OK},
                 {other, 2, CW_ERR_IO},
                 {longer, 2, CW_ERR_IO},
                 {refused, 1, CW_ERR_FORMAT}};
    struct played p;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct desk d = start(&p, cases[i].turns, cases[i].count);
        assert_int_equal(desk_object_put(&d, LINK_DO_NAME | 1, (const uint8_t *)"ab", 2, NULL),
                         cases[i].err);
        finish(&p, &d);
    }
    struct desk d = start(&p, alone, 1);
    d.info.response_max = 1 + SCP03_OVERHEAD;
    assert_int_equal(desk_object_put(&d, LINK_DO_PAYEES, (const uint8_t *)"ab", 2, NULL), CW_OK);
    finish(&p, &d);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_in_slices),
        cmocka_unit_test(test_key_in_slices_fails),
        cmocka_unit_test(test_key_without_end),
        cmocka_unit_test(test_written_is_read_back),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
