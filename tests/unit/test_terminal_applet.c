/* test_terminal_applet.c - the card's commands against a played card: continuation, chaining,
 * status words, and answers that no honest card gives. */
#include "unit.h"

#include "reader/backend.h"
#include "terminal/applet.h"

#include <string.h>

struct turn {
    const char *command; /* bytes that must come, hexadecimal; a trailing '*': and any others */
    const char *answer;  /* bytes to give, status word included */
};

struct script {
    const struct turn *turns;
    size_t count, at;
};

static size_t bytes_of(const char *hex, uint8_t *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; hex[0] != '\0' && hex[0] != '*'; hex += 2)
        out[n++] =
            (uint8_t)((strchr(digits, hex[0]) - digits) << 4 | (strchr(digits, hex[1]) - digits));
    return n;
}

static enum cw_err play(void *self, const uint8_t *command, size_t len, uint8_t *response,
                        size_t cap, size_t *response_len, struct say *why)
{
    struct script *s = self;
    uint8_t expected[64];
    (void)why;
    assert_true(s->at < s->count);
    const struct turn *t = &s->turns[s->at++];
    size_t n = bytes_of(t->command, expected);
    if (strchr(t->command, '*') == NULL)
        assert_int_equal(len, n);
    assert_true(len >= n);
    assert_memory_equal(command, expected, n);
    assert_true(strlen(t->answer) / 2 <= cap);
    *response_len = bytes_of(t->answer, response);
    return CW_OK;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {play, NULL, no_free};

static struct reader *start(struct script *s, const struct turn *turns, size_t count)
{
    struct reader_backend backend = {.ops = &ops, .self = s};
    struct reader *r = NULL;
    *s = (struct script){.turns = turns, .count = count};
    assert_int_equal(reader_new(&backend, &r), CW_OK);
    return r;
}

static void finish(struct script *s, struct reader *r)
{
    assert_int_equal(s->at, s->count);
    reader_free(&r);
}

/* ISO/IEC 7816-3:2006 §12.2.1: 6Cxx asks for the right Le, 61xx for GET RESPONSE. */
static void test_continues_answers(void **state)
{
    static const struct turn turns[] = {
        {"00CA010100", "6C03"}, {"00CA010103", "AABB6101"}, {"00C0000001", "CC9000"}};
    struct script s;
    uint8_t out[8];
    size_t len = 0;
    (void)state;
    struct reader *r = start(&s, turns, 3);
    assert_int_equal(applet_data_get(r, LINK_DO_CERT | 1, out, sizeof out, &len, NULL), CW_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(out, "\xAA\xBB\xCC", 3);
    finish(&s, r);
}

/* A card that promises for ever and gives nothing, or gives more than there is room for. */
static void test_endless_answers(void **state)
{
    static const struct turn none[] = {{"00CA010100", "6110"}, {"00C0000010", "6110"}};
    static const struct turn much[] = {{"00CA010100", "0102039000"}};
    struct script s;
    uint8_t out[2] = {7, 7};
    size_t len = 99;
    (void)state;
    struct reader *r = start(&s, none, 2);
    assert_int_equal(applet_data_get(r, LINK_DO_CERT | 1, out, sizeof out, &len, NULL),
                     CW_ERR_FORMAT);
    finish(&s, r);
    r = start(&s, much, 1);
    assert_int_equal(applet_data_get(r, LINK_DO_CERT | 1, out, sizeof out, &len, NULL),
                     CW_ERR_SPACE);
    finish(&s, r);
    assert_int_equal(len, 99);
    assert_int_equal(out[0], 7);
}

/* ISO/IEC 7816-4:2020 §5.4.1: class bit 10 on all parts but the last; a refusal ends the chain. */
static void test_chains_commands(void **state)
{
    static const struct turn good[] = {{"10DA0200FF*", "9000"}, {"00DA020001EE", "9000"}};
    static const struct turn bad[] = {{"10DA0200FF*", "6A84"}};
    static uint8_t data[256];
    struct script s;
    uint8_t out[8];
    size_t len = 9;
    uint16_t sw = 0;
    (void)state;
    data[255] = 0xEE;
    struct reader *r = start(&s, good, 2);
    assert_int_equal(applet_command(r, APDU_CLA_ISO, INS_PUT_DATA, 0x02, 0x00, data, sizeof data, 0,
                                    out, sizeof out, &len, &sw, NULL),
                     CW_OK);
    finish(&s, r);
    assert_int_equal(sw, SW_OK);
    assert_int_equal(len, 0);
    r = start(&s, bad, 1);
    assert_int_equal(applet_command(r, APDU_CLA_ISO, INS_PUT_DATA, 0x02, 0x00, data, sizeof data, 0,
                                    out, sizeof out, &len, &sw, NULL),
                     CW_OK);
    finish(&s, r);
    assert_int_equal(sw, SW_NOT_ENOUGH_MEMORY);
}

static void test_pin(void **state)
{
    static const struct turn turns[] = {{"002000810431323334", "63C2"},
                                        {"002000820431323334", "6983"},
                                        {"002000810431323334", "9000"}};
    struct script s;
    struct say why;
    unsigned left = 9;
    const uint8_t *pin = (const uint8_t *)"1234";
    (void)state;
    struct reader *r = start(&s, turns, 3);
    assert_int_equal(applet_verify(r, LINK_PIN_LINE, pin, 4, &left, &why), CW_ERR_AUTH);
    assert_int_equal(left, 2);
    assert_non_null(strstr(why.text, "2 more tries"));
    assert_int_equal(applet_verify(r, LINK_PIN_ORDER, pin, 4, &left, &why), CW_ERR_BLOCKED);
    assert_int_equal(left, 2); /* untouched */
    assert_int_equal(applet_verify(r, LINK_PIN_LINE, pin, 4, &left, &why), CW_OK);
    assert_int_equal(left, 2);
    /* What is no PIN does not reach the card, and costs no try. */
    assert_int_equal(applet_verify(r, LINK_PIN_LINE, pin, 3, &left, &why), CW_ERR_LENGTH);
    finish(&s, r);
}

static void test_status_words(void **state)
{
    static const struct {
        uint16_t sw;
        enum cw_err err;
    } cases[] = {{0x9000, CW_OK},
                 {0x6581, CW_ERR_IO},
                 {0x6700, CW_ERR_LENGTH},
                 {0x6982, CW_ERR_DENIED},
                 {0x6983, CW_ERR_BLOCKED},
                 {0x6985, CW_ERR_STATE},
                 {0x6A80, CW_ERR_FORMAT},
                 {0x6A82, CW_ERR_NOT_FOUND},
                 {0x6A84, CW_ERR_SPACE},
                 {0x6A88, CW_ERR_NOT_FOUND},
                 {0x6A89, CW_ERR_EXISTS},
                 {0x6D00, CW_ERR_UNSUPPORTED},
                 {0x6E00, CW_ERR_UNSUPPORTED},
                 {0x63C0, CW_ERR_AUTH},
                 {0x6F00, CW_ERR_IO},
                 {0x0000, CW_ERR_IO}};
    struct say why;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(applet_status(cases[i].sw, "do it", &why), cases[i].err);
}

/* INFO with an object missing, of a wrong length, or cut. */
static void test_info_must_be_whole(void **state)
{
    static const struct turn turns[] = {{"801A000000", "9000"},
                                        {"801A000000", "81070000000000000082019000"},
                                        {"801A000000", "81FF9000"},
                                        {"801A010000", "9000"},
                                        {"801A020000", "01020304059000"}};
    struct script s;
    struct applet_info info;
    struct applet_session session;
    struct applet_event events[4];
    size_t count = 99;
    (void)state;
    struct reader *r = start(&s, turns, 5);
    for (int i = 0; i < 3; i++)
        assert_int_equal(applet_info_get(r, &info, NULL), CW_ERR_FORMAT);
    assert_int_equal(applet_session_get(r, &session, NULL), CW_ERR_FORMAT);
    assert_int_equal(applet_events_get(r, 0, events, 4, &count, NULL), CW_ERR_FORMAT);
    assert_int_equal(count, 99);
    finish(&s, r);
}

/* An answer without even a status word is the reader's or the card's failure, not a crash. */
static void test_no_status_word(void **state)
{
    static const struct turn turns[] = {{"00A4040C05F043574C01", "90"}};
    struct script s;
    struct say why;
    (void)state;
    struct reader *r = start(&s, turns, 1);
    assert_int_equal(applet_select(r, &why), CW_ERR_IO);
    finish(&s, r);
}

/* Policy and payees that no issuer wrote, and answers of the wrong length: said, never believed. */
static void test_answers_for_the_holder(void **state)
{
    static const struct turn turns[] = {
        {"00CA060000", "9000"},
        {"00CA060000", "800100810404010003009000"}, /* more PIN digits at least than at most */
        {"00CA090000", "300281009000"},
        {"00CA090000", "6A88"}, /* no list at all is an empty one */
        {"0084000008", "010203040506079000"},
        {"8022000001AA08", "0000000000009000"},
        {"8022000001AA08", "7FFFFFFFFFFFFFFF9000"},
        {"8022000001AA08", "6982"},
        {"8022000001AA04", "00000001009000"},
        {"8022000001AA04", "000000079000"},
    };
    static const uint8_t message[] = {0xAA};
    struct script s;
    struct say why;
    struct policy policy;
    struct policy_payee payees[POLICY_PAYEES_MAX];
    uint8_t challenge[ISSUER_CHALLENGE_LEN];
    size_t count = 99;
    int64_t floor = 99;
    uint32_t sequence = 99;
    (void)state;
    struct reader *r = start(&s, turns, sizeof turns / sizeof turns[0]);
    assert_int_equal(applet_policy_get(r, &policy, &why), CW_ERR_FORMAT);
    assert_int_equal(applet_policy_get(r, &policy, &why), CW_ERR_FORMAT);
    assert_int_equal(applet_payees_get(r, payees, &count, &why), CW_ERR_FORMAT);
    assert_int_equal(count, 99);
    assert_int_equal(applet_payees_get(r, payees, &count, &why), CW_OK);
    assert_int_equal(count, 0);
    assert_int_equal(applet_challenge(r, challenge, &why), CW_ERR_FORMAT);
    assert_int_equal(applet_apply_time(r, message, 1, &floor, &why), CW_ERR_FORMAT);
    assert_int_equal(applet_apply_time(r, message, 1, &floor, &why), CW_ERR_FORMAT);
    assert_int_equal(applet_apply_time(r, message, 1, &floor, &why), CW_ERR_DENIED);
    assert_non_null(strstr(why.text, "not signed by the bank"));
    assert_int_equal(floor, 99);
    assert_int_equal(applet_apply_update(r, message, 1, &sequence, &why), CW_ERR_FORMAT);
    assert_int_equal(sequence, 99);
    assert_int_equal(applet_apply_update(r, message, 1, &sequence, &why), CW_OK);
    assert_int_equal(sequence, 7);
    finish(&s, r);
}

/* The PUK is no PIN: what the card says of it is said of it. */
static void test_puk(void **state)
{
    static const struct turn turns[] = {{"002C008109043030303031323334", "63C1"},
                                        {"002C008109043030303031323334", "63C0"},
                                        {"002C008109043030303031323334", "6983"},
                                        {"002C008109043030303031323334", "6A80"},
                                        {"002C008109043030303031323334", "9000"}};
    const uint8_t *puk = (const uint8_t *)"0000";
    const uint8_t *pin = (const uint8_t *)"1234";
    struct script s;
    struct say why;
    unsigned left = 9;
    (void)state;
    struct reader *r = start(&s, turns, sizeof turns / sizeof turns[0]);
    assert_int_equal(applet_pin_unblock(r, puk, 4, pin, 4, &left, &why), CW_ERR_AUTH);
    assert_int_equal(left, 1);
    assert_non_null(strstr(why.text, "the PUK is wrong; 1 more try before"));
    assert_int_equal(applet_pin_unblock(r, puk, 4, pin, 4, &left, &why), CW_ERR_AUTH);
    assert_int_equal(left, 0);
    assert_non_null(strstr(why.text, "your bank"));
    assert_int_equal(applet_pin_unblock(r, puk, 4, pin, 4, NULL, &why), CW_ERR_BLOCKED);
    assert_non_null(strstr(why.text, "PUK of this card is blocked"));
    assert_int_equal(applet_pin_unblock(r, puk, 4, pin, 4, NULL, &why), CW_ERR_FORMAT);
    assert_non_null(strstr(why.text, "new PIN"));
    assert_int_equal(applet_pin_unblock(r, puk, 4, pin, 4, NULL, &why), CW_OK);
    /* What is none does not reach the card, and costs no try. */
    assert_int_equal(applet_pin_unblock(r, puk, 3, pin, 4, NULL, &why), CW_ERR_LENGTH);
    assert_int_equal(applet_pin_change(r, puk, 4, pin, 13, NULL, &why), CW_ERR_LENGTH);
    finish(&s, r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continues_answers),
        cmocka_unit_test(test_endless_answers),
        cmocka_unit_test(test_chains_commands),
        cmocka_unit_test(test_pin),
        cmocka_unit_test(test_status_words),
        cmocka_unit_test(test_info_must_be_whole),
        cmocka_unit_test(test_no_status_word),
        cmocka_unit_test(test_answers_for_the_holder),
        cmocka_unit_test(test_puk),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
