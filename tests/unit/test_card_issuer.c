/* test_card_issuer.c - the issuer's signed messages, from the side of whoever carries them: what is
 * changed, old, another's or out of place is refused and changes nothing. docs/time.md names these
 * tests. */
#include "unit.h"

#include "base/cal.h"
#include "card_lab.h"

#include <string.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define DAY  INT64_C(86400)
#define JUMP (31 * DAY)

static struct lab lab;
static struct lab_identity root, next_root, card_ca, server;
static SSL_CTX *ctx;
static struct lab_line line;

static int setup(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    next_root = lab_ca_new("N");
    card_ca = lab_ca_new("C");
    server = lab_server_new(&root, &(struct lab_server_spec){0});
    ctx = lab_server_context(&server, &card_ca);
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    memset(&line, 0, sizeof line);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    lab_free(&lab);
    lab_identity_free(&server);
    lab_identity_free(&card_ca);
    lab_identity_free(&next_root);
    lab_identity_free(&root);
    return 0;
}

static void open_line(void)
{
    lab_line_free(&line);
    memset(&line, 0, sizeof line);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
}

static int64_t floor_now(void)
{
    return (int64_t)lab_info(&lab, LINK_TAG_TIME);
}

static uint16_t apply(const uint8_t *message, size_t len)
{
    return lab_apdu(&lab, 0x80, INS_APPLY, 0, 0, message, len, 256, NULL, NULL);
}

static void challenge(struct issuer_message *m)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    assert_int_equal(lab_apdu(&lab, 0x00, INS_GET_CHALLENGE, 0, 0, NULL, 0, 8, out, &n), SW_OK);
    assert_int_equal(n, sizeof m->challenge);
    memcpy(m->challenge, out, n);
}

static size_t time_message(int64_t time, uint8_t out[ISSUER_MESSAGE_MAX])
{
    struct issuer_message m = {.kind = ISSUER_TIME, .time = time};
    challenge(&m);
    return lab_message(&lab, &m, out);
}

static void test_time_moves_the_floor(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(floor_now(), LAB_TIME);
    /* No line is needed, and no PIN. */
    size_t len = time_message(LAB_TIME + DAY, message);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_APPLY, 0, 0, message, len, 256, out, &n), SW_OK);
    assert_int_equal(n, 8);
    assert_int_equal(floor_now(), LAB_TIME + DAY);
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(floor_now(), LAB_TIME + DAY);
}

static void test_time_never_goes_back(void **state)
{
    (void)state;
    assert_int_equal(lab_time_set(&lab, LAB_TIME + DAY), SW_OK);
    assert_int_equal(lab_time_set(&lab, LAB_TIME), SW_OK);
    assert_int_equal(lab_time_set(&lab, 1), SW_OK);
    assert_int_equal(floor_now(), LAB_TIME + DAY);
}

static void test_jump_is_capped(void **state)
{
    (void)state;
    assert_int_equal(lab_time_set(&lab, CAL_MAX), SW_OK);
    assert_int_equal(floor_now(), LAB_TIME + JUMP);
    assert_int_equal(lab_time_set(&lab, LAB_TIME + JUMP + 1), SW_OK);
    assert_int_equal(floor_now(), LAB_TIME + JUMP + 1);
    /* A card that lay in a drawer for three years is told the time in many messages. */
    for (int i = 0; i < 36; i++)
        assert_int_equal(lab_time_set(&lab, LAB_TIME + 1100 * DAY), SW_OK);
    assert_int_equal(floor_now(), LAB_TIME + 1100 * DAY);
}

static void test_time_is_fresh(void **state)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    uint8_t other[ISSUER_MESSAGE_MAX];
    (void)state;
    size_t len = time_message(LAB_TIME + DAY, message);
    assert_int_equal(apply(message, len), SW_OK);
    assert_int_equal(apply(message, len), SW_CONDITIONS); /* again */
    len = time_message(LAB_TIME + 2 * DAY, message);
    size_t n = time_message(LAB_TIME + 3 * DAY, other); /* a newer challenge */
    assert_int_equal(apply(message, len), SW_CONDITIONS);
    assert_int_equal(apply(other, n), SW_CONDITIONS); /* the try before has used it up */
    len = time_message(LAB_TIME + 2 * DAY, message);
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(apply(message, len), SW_CONDITIONS);
    len = time_message(LAB_TIME + 2 * DAY, message);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(apply(message, len), SW_CONDITIONS);
    /* A challenge of zeros is none that the card gave. */
    struct issuer_message zero = {.kind = ISSUER_TIME, .time = LAB_TIME + 2 * DAY};
    len = lab_message(&lab, &zero, message);
    assert_int_equal(apply(message, len), SW_CONDITIONS);
    assert_int_equal(floor_now(), LAB_TIME + DAY);
}

static void test_nobody_else_sets_the_time(void **state)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    uint8_t value[8] = {0, 0, 0, 0, 0x7F, 0, 0, 0};
    (void)state;
    assert_int_equal(lab_apdu(&lab, 0x00, INS_PUT_DATA, 5, 0, value, sizeof value, 0, NULL, NULL),
                     SW_SECURITY_STATUS);
    /* Signed by another key */
    EVP_PKEY *good = lab.update_key;
    lab.update_key = EVP_EC_gen("P-256");
    size_t len = time_message(LAB_TIME + DAY, message);
    assert_int_equal(apply(message, len), SW_SECURITY_STATUS);
    EVP_PKEY_free(lab.update_key);
    lab.update_key = good;
    /* A time in the place of an update's objects, without the challenge */
    open_line();
    const struct issuer_write write = {LINK_DO_TIME, value, sizeof value};
    assert_int_equal(lab_update(&lab, &write, 1), SW_WRONG_DATA);
    assert_int_equal(floor_now(), LAB_TIME);
}

static void test_message_of_another_card(void **state)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    struct issuer_message m = {.kind = ISSUER_TIME, .time = LAB_TIME + DAY};
    (void)state;
    challenge(&m);
    lab.port.unique_id[7] ^= 1;
    size_t len = lab_message(&lab, &m, message);
    lab.port.unique_id[7] ^= 1;
    assert_int_equal(apply(message, len), SW_SECURITY_STATUS);
    assert_int_equal(floor_now(), LAB_TIME);
}

/* Every bit of a time and of an update: none passes, none changes anything. */
static void test_flipped_bits(void **state)
{
    static struct lab_flash before;
    uint8_t message[ISSUER_MESSAGE_MAX];
    unsigned refused = 0;
    (void)state;
    open_line();
    const uint8_t name[] = "\x80\x09other.tes\x81\x01\x01";
    const struct issuer_write write = {LINK_DO_NAME | 1, name, sizeof name - 1};
    for (int kind = ISSUER_TIME; kind <= ISSUER_UPDATE; kind++) {
        struct issuer_message m = {.kind = (enum issuer_kind)kind,
                                   .time = LAB_TIME + DAY,
                                   .sequence = 1,
                                   .writes = {write},
                                   .write_count = 1};
        size_t len = lab_message(&lab, &m, message);
        before = lab.flash;
        for (size_t bit = 0; bit < 8 * len; bit++) {
            if (kind == ISSUER_TIME) {
                challenge(&m);
                len = lab_message(&lab, &m, message);
            }
            message[bit / 8] ^= (uint8_t)(1u << bit % 8);
            uint16_t sw = apply(message, len);
            message[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(sw == SW_SECURITY_STATUS || sw == SW_WRONG_DATA);
            refused++;
        }
        /* Cut short at every byte, and one byte too many */
        for (size_t n = 1; n < len; n++)
            assert_int_equal(apply(message, n), SW_WRONG_DATA);
        message[len] = 0;
        assert_int_equal(apply(message, len + 1), SW_WRONG_DATA);
        assert_memory_equal(before.bytes, lab.flash.bytes, sizeof before.bytes);
        if (kind == ISSUER_UPDATE)
            assert_int_equal(apply(message, len), SW_OK); /* the control */
    }
    print_message("%u flipped bits refused\n", refused);
}

static void test_update_wants_a_line(void **state)
{
    const uint8_t name[] = "\x80\x09other.tes\x81\x01\x01";
    const struct issuer_write write = {LINK_DO_NAME | 1, name, sizeof name - 1};
    (void)state;
    assert_int_equal(lab_update(&lab, &write, 1), SW_CONDITIONS);
    open_line();
    assert_int_equal(lab_apdu(&lab, 0x80, INS_CLOSE, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
    assert_int_equal(lab_update(&lab, &write, 1), SW_CONDITIONS);
    open_line();
    assert_int_equal(lab_update(&lab, &write, 1), SW_OK);
    assert_int_equal(lab_info(&lab, LINK_TAG_SEQUENCE), 3);
}

/* A card that trusts the server's root no more: at the issuer's reader it takes what it missed, by
 * the same rules, and what it took does not come again over a line. */
static void test_update_through_the_channel(void **state)
{
    const uint8_t name[] = "\x80\x09other.tes\x81\x01\x01";
    uint8_t first[ISSUER_MESSAGE_MAX], second[ISSUER_MESSAGE_MAX], other[ISSUER_MESSAGE_MAX];
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct issuer_message m = {.kind = ISSUER_UPDATE,
                               .sequence = 1,
                               .writes = {{LINK_DO_NAME | 1, name, sizeof name - 1}},
                               .write_count = 1};
    (void)state;
    size_t first_len = lab_message(&lab, &m, first);
    m.sequence = 2;
    m.writes[0].len = 0;
    size_t second_len = lab_message(&lab, &m, second);
    m.sequence = 3;
    size_t other_len = lab_message(&lab, &m, other);
    other[other_len - 1] ^= 1;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_secure(&lab, 0x80, INS_APPLY, 0, 0, first, first_len, 256, out, &n),
                     SW_OK);
    assert_int_equal(n, 4);
    assert_int_equal(out[3], 1);
    assert_int_equal(lab_secure(&lab, 0x80, INS_APPLY, 0, 0, second, second_len, 256, out, &n),
                     SW_OK);
    assert_int_equal(lab_secure(&lab, 0x80, INS_APPLY, 0, 0, first, first_len, 256, out, &n),
                     SW_CONDITIONS);
    assert_int_equal(lab_secure(&lab, 0x80, INS_APPLY, 0, 0, other, other_len, 256, out, &n),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_info(&lab, LINK_TAG_SEQUENCE), 2);
    /* the channel is over: in clear it wants a line, and there the old one is old */
    assert_int_equal(apply(second, second_len), SW_CONDITIONS);
    open_line();
    assert_int_equal(apply(first, first_len), SW_CONDITIONS);
    assert_int_equal(lab_info(&lab, LINK_TAG_SEQUENCE), 2);
}

static void test_sequence_only_grows(void **state)
{
    const uint8_t name[] = "\x80\x09other.tes\x81\x01\x01";
    const struct issuer_write write = {LINK_DO_NAME | 1, name, sizeof name - 1};
    const struct issuer_write none = {LINK_DO_NAME | 1, NULL, 0};
    (void)state;
    open_line();
    lab.sequence = 6;
    assert_int_equal(lab_update(&lab, &write, 1), SW_OK); /* 7; gaps are no harm */
    lab.sequence = 6;
    assert_int_equal(lab_update(&lab, &none, 1), SW_CONDITIONS);
    lab.sequence = 5;
    assert_int_equal(lab_update(&lab, &none, 1), SW_CONDITIONS);
    assert_true(lab_power_cycle(&lab));
    open_line();
    lab.sequence = 6;
    assert_int_equal(lab_update(&lab, &none, 1), SW_CONDITIONS);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 3, 1, NULL, 0, 256, NULL, NULL), SW_OK);
    assert_int_equal(lab_update(&lab, &none, 1), SW_OK); /* 8 */
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 3, 1, NULL, 0, 256, NULL, NULL),
                     SW_REFERENCE_NOT_FOUND);
}

static void test_what_an_update_may_not_write(void **state)
{
    static struct lab_flash before;
    static const uint8_t value[65] = {4};
    const struct issuer_write wrong[] = {
        {LINK_DO_PIN,
         (const uint8_t *)"\x03\0"
                          "111111",
         8},
        {LINK_DO_ADMIN, value, 17},
        {LINK_DO_TIME, (const uint8_t *)"\0\0\0\0\x7F\0\0\0", 8},
        {LINK_DO_CERT | 1, value, 65},
        {LINK_DO_ISSUER, value, 65}, /* no point of the curve */
        {LINK_DO_ISSUER, NULL, 0},
        {LINK_DO_POLICY, NULL, 0},
        {LINK_DO_POLICY, value, 8},
        {LINK_DO_ROOT, value, 65},
        {LINK_DO_NAME, value, 8},
        {LINK_DO_PAYEES, value, 8},
        {LINK_DO_LIFE, (const uint8_t *)"\x01", 1},
        {LINK_DO_LIFE, (const uint8_t *)"\x03", 1},
        {LINK_DO_LIFE, (const uint8_t *)"\x06", 1},
        {LINK_DO_LIFE, NULL, 0},
        {0x0013, value, 49}, /* the key set, by its number in memory */
        {0x0011, value, 4},
        {0x4001, value, 4},
        {0x0801, NULL, 0},
    };
    (void)state;
    open_line();
    before = lab.flash;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint8_t name[] = "\x80\x09other.tes\x81\x01\x01";
        const struct issuer_write both[] = {{LINK_DO_NAME | 1, name, sizeof name - 1}, wrong[i]};
        if (lab_update(&lab, both, 2) != SW_WRONG_DATA)
            fail_msg("write %zu (%04X) was not refused", i, wrong[i].object);
    }
    /* The same object twice */
    const uint8_t third[] = "\x80\x09third.tes\x81\x01\x01";
    const struct issuer_write twice[] = {{LINK_DO_NAME | 1, third, sizeof third - 1},
                                         {LINK_DO_NAME | 1, NULL, 0}};
    assert_int_equal(lab_update(&lab, twice, 2), SW_WRONG_DATA);
    /* Nothing of it: not the good half either. */
    assert_memory_equal(before.bytes, lab.flash.bytes, sizeof before.bytes);
    /* The last root and the last name stay. */
    const struct issuer_write no_root = {LINK_DO_ROOT, NULL, 0};
    const struct issuer_write no_name = {LINK_DO_NAME, NULL, 0};
    assert_int_equal(lab_update(&lab, &no_root, 1), SW_CONDITIONS);
    assert_int_equal(lab_update(&lab, &no_name, 1), SW_CONDITIONS);
    assert_memory_equal(before.bytes, lab.flash.bytes, sizeof before.bytes);
}

/* The new root beside the old one, then alone: lines open under either in between, and under the
 * new one only afterwards. */
static void test_root_roll_over(void **state)
{
    uint8_t *der = NULL;
    int n = i2d_X509(next_root.certificate, &der);
    struct lab_identity next_server = lab_server_new(&next_root, &(struct lab_server_spec){0});
    SSL_CTX *next_ctx = lab_server_context(&next_server, &card_ca);
    SSL_CTX *old_ctx = ctx;
    (void)state;
    open_line();
    const struct issuer_write add = {LINK_DO_ROOT | 1, der, (size_t)n};
    assert_int_equal(lab_update(&lab, &add, 1), SW_OK);
    open_line();
    ctx = next_ctx;
    open_line();
    const struct issuer_write swap[] = {{LINK_DO_ROOT, der, (size_t)n},
                                        {LINK_DO_ROOT | 1, NULL, 0}};
    assert_int_equal(lab_update(&lab, swap, 2), SW_OK);
    open_line();
    ctx = old_ctx;
    lab_line_free(&line);
    memset(&line, 0, sizeof line);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_ERROR);
    assert_int_equal(lab_reason(&lab), LINK_REASON_UNTRUSTED);
    SSL_CTX_free(next_ctx);
    lab_identity_free(&next_server);
    OPENSSL_free(der);
}

/* The update key itself: what the old one signs is worth nothing afterwards. */
static void test_update_key_roll_over(void **state)
{
    EVP_PKEY *old = lab.update_key;
    EVP_PKEY *next = EVP_EC_gen("P-256");
    uint8_t point[ISSUER_POINT_LEN];
    size_t n = 0;
    (void)state;
    assert_int_equal(EVP_PKEY_get_octet_string_param(next, "pub", point, sizeof point, &n), 1);
    open_line();
    const struct issuer_write write = {LINK_DO_ISSUER, point, sizeof point};
    assert_int_equal(lab_update(&lab, &write, 1), SW_OK);
    assert_int_equal(lab_time_set(&lab, LAB_TIME + DAY), SW_SECURITY_STATUS);
    lab.update_key = next;
    assert_int_equal(lab_time_set(&lab, LAB_TIME + DAY), SW_OK);
    EVP_PKEY_free(old);
}

static void test_locked_over_the_air(void **state)
{
    const struct issuer_write lock = {LINK_DO_LIFE, (const uint8_t *)"\x04", 1};
    (void)state;
    open_line();
    assert_int_equal(lab_update(&lab, &lock, 1), SW_OK);
    assert_int_equal(lab_info(&lab, LINK_TAG_LIFE), LINK_LIFE_LOCKED);
    /* The line is gone with it, and nothing of the holder's works. */
    assert_int_equal(lab_apdu(&lab, 0x80, INS_READ, 0, 0, NULL, 0, 256, NULL, NULL), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    /* The issuer unlocks it, at its own reader. */
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_ACTIVE), SW_OK);
    open_line();
}

/* Terminated: what it knew is not in its flash any more. */
static void test_terminated_over_the_air(void **state)
{
    const struct issuer_write end = {LINK_DO_LIFE, (const uint8_t *)"\x05", 1};
    (void)state;
    open_line();
    assert_int_equal(lab_update(&lab, &end, 1), SW_OK);
    assert_int_equal(lab_info(&lab, LINK_TAG_LIFE), LINK_LIFE_TERMINATED);
    assert_int_equal(lab_info(&lab, LINK_TAG_KEYS), 0);
    assert_int_equal(lab_info(&lab, LINK_TAG_TRIES), 0);
    for (size_t i = 0; i + sizeof LAB_PIN <= sizeof lab.flash.bytes; i++)
        if (memcmp(lab.flash.bytes + i, LAB_PIN, sizeof LAB_PIN - 1) == 0 ||
            memcmp(lab.flash.bytes + i, lab.keys.enc, sizeof lab.keys.enc) == 0)
            fail_msg("a secret is still in the flash, at %zu", i);
    assert_false(lab_channel_open(&lab));
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(lab_info(&lab, LINK_TAG_LIFE), LINK_LIFE_TERMINATED);
    assert_false(lab_channel_open(&lab));
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_time_moves_the_floor),
        T(test_time_never_goes_back),
        T(test_jump_is_capped),
        T(test_time_is_fresh),
        T(test_nobody_else_sets_the_time),
        T(test_message_of_another_card),
        T(test_flipped_bits),
        T(test_update_wants_a_line),
        T(test_update_through_the_channel),
        T(test_sequence_only_grows),
        T(test_what_an_update_may_not_write),
        T(test_root_roll_over),
        T(test_update_key_roll_over),
        T(test_locked_over_the_air),
        T(test_terminated_over_the_air),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
