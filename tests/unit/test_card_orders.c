/* test_card_orders.c - SIGN ORDER under the issuer's policy: limits of one order, of a day and of a
 * currency, payees, orders without a PIN of their own; counted in memory that loses power. The
 * signature itself is in test_card_line.c. */
#include "unit.h"

#include "card_lab.h"

#include <string.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define DAY  INT64_C(86400)

static struct lab lab;
static struct lab_identity root, card_ca, server;
static SSL_CTX *ctx;
static struct lab_line line;
static struct policy policy;
static uint8_t order_number;

static int setup(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    server = lab_server_new(&root, &(struct lab_server_spec){0});
    ctx = lab_server_context(&server, &card_ca);
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    memset(&line, 0, sizeof line);
    policy = lab_policy();
    policy.limits[0] = (struct policy_limit){"EUR", 10000, 25000, 500, 1200};
    policy.limits[1] = (struct policy_limit){"JPY", 9000, 9000, 0, 0};
    policy.limit_count = 2;
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
    lab_identity_free(&root);
    return 0;
}

static void set_policy(void)
{
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
}

static void open_line(void)
{
    lab_line_free(&line);
    memset(&line, 0, sizeof line);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
}

static enum link_refusal refused(void)
{
    return (enum link_refusal)lab_info(&lab, LINK_TAG_REFUSED);
}

static unsigned counter(void)
{
    return (unsigned)lab_info(&lab, LINK_TAG_COUNTER);
}

static uint16_t sign_for(int64_t amount, const char *currency, const char *payee, const char *name)
{
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    struct order_fields f = {.payer = "ZZ67000000000001",
                             .amount = amount,
                             .id = {++order_number},
                             .expiry = LAB_TIME + 900 * DAY};
    memcpy(f.currency, currency, 4);
    strcpy(f.payee, payee);
    strcpy(f.payee_name, name);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    return lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, NULL, NULL);
}

static uint16_t sign(int64_t amount)
{
    return sign_for(amount, "EUR", "ZZ40000000000002", "Grace Hopper");
}

static uint16_t sign_with_pin(int64_t amount)
{
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    return sign(amount);
}

static void test_order_limit(void **state)
{
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(sign_with_pin(10001), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_ORDER);
    assert_int_equal(counter(), 0);
    /* What was refused costs neither PIN nor limit. */
    assert_int_equal(sign(10000), SW_OK);
    assert_int_equal(refused(), LINK_REFUSAL_NONE);
    assert_int_equal(counter(), 1);
}

static void test_currency(void **state)
{
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(sign_for(1, "USD", "ZZ40000000000002", "Grace Hopper"), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_CURRENCY);
    assert_int_equal(sign_for(9001, "JPY", "ZZ40000000000002", "Grace Hopper"), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_ORDER);
    /* Each currency has its own sums. */
    assert_int_equal(sign_for(9000, "JPY", "ZZ40000000000002", "Grace Hopper"), SW_OK);
    assert_int_equal(sign_with_pin(10000), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(sign_for(1, "JPY", "ZZ40000000000002", "Grace Hopper"), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_DAY);
}

/* The day is that of the floor: withholding the time gives nothing back. */
static void test_day_limit(void **state)
{
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(sign_with_pin(10000), SW_OK);
    assert_int_equal(sign_with_pin(10000), SW_OK);
    assert_int_equal(sign_with_pin(5001), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_DAY);
    assert_int_equal(sign(5000), SW_OK);
    assert_int_equal(sign_with_pin(1), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_DAY);
    /* Neither power nor a new line, nor a later hour of the same day, gives it back. */
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(lab_time_set(&lab, LAB_TIME / DAY * DAY + DAY - 1), SW_OK);
    open_line();
    assert_int_equal(sign_with_pin(1), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_DAY);
    assert_int_equal(lab_time_set(&lab, LAB_TIME / DAY * DAY + DAY), SW_OK);
    assert_int_equal(sign_with_pin(10000), SW_OK);
    assert_int_equal(counter(), 4);
}

static void put_payees(const char *const (*payees)[2], size_t count)
{
    uint8_t list[POLICY_PAYEES_LENMAX];
    struct buf_writer w;
    buf_writer_init(&w, list, sizeof list);
    for (size_t i = 0; i < count; i++) {
        struct policy_payee p = {{0}, {0}};
        strcpy(p.account, payees[i][0]);
        strcpy(p.name, payees[i][1]);
        assert_int_equal(policy_payee_put(&w, &p), CW_OK);
    }
    const struct issuer_write write = {LINK_DO_PAYEES, list, w.len};
    assert_int_equal(lab_update(&lab, &write, 1), SW_OK);
}

static void test_payees(void **state)
{
    static const char *const one[][2] = {{"ZZ40000000000002", "Grace Hopper"}};
    static const char *const two[][2] = {{"ZZ13000000000003", "Ada Lovelace"},
                                         {"ZZ40000000000002", "Grace Hopper"}};
    (void)state;
    policy.flags |= POLICY_LISTED_PAYEES;
    set_policy();
    open_line();
    assert_int_equal(sign_with_pin(1000), SW_CONDITIONS); /* no list at all */
    assert_int_equal(refused(), LINK_REFUSAL_PAYEE);
    put_payees(one, 1);
    assert_int_equal(sign(1000), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(sign_for(1000, "EUR", "ZZ13000000000003", "Ada Lovelace"), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_PAYEE);
    /* The account of one with the name of another */
    assert_int_equal(sign_for(1000, "EUR", "ZZ40000000000002", "Grace Hoppe"), SW_CONDITIONS);
    assert_int_equal(sign_for(1000, "EUR", "ZZ40000000000002", "Ada Lovelace"), SW_CONDITIONS);
    put_payees(two, 2);
    assert_int_equal(sign_for(1000, "EUR", "ZZ40000000000002", "Ada Lovelace"), SW_CONDITIONS);
    assert_int_equal(sign_for(1000, "EUR", "ZZ13000000000003", "Ada Lovelace"), SW_OK);
    put_payees(one, 1);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(sign_for(1000, "EUR", "ZZ13000000000003", "Ada Lovelace"), SW_CONDITIONS);
    assert_int_equal(counter(), 2);
}

/* Whom the holder pays is told to the holder. */
static void test_payees_are_private(void **state)
{
    static const char *const one[][2] = {{"ZZ40000000000002", "Grace Hopper"}};
    (void)state;
    open_line();
    put_payees(one, 1);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 9, 0, NULL, 0, 256, NULL, NULL), SW_OK);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 9, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 9, 0, NULL, 0, 256, NULL, NULL), SW_OK);
}

static void test_small_amounts(void **state)
{
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(sign(501), SW_SECURITY_STATUS);
    assert_int_equal(sign(500), SW_OK);
    assert_int_equal(sign(500), SW_OK);
    assert_int_equal(sign(201), SW_SECURITY_STATUS); /* 1,200 in all */
    assert_int_equal(sign(200), SW_OK);
    assert_int_equal(sign(1), SW_SECURITY_STATUS);
    /* Power gives none of it back; an order with its PIN does. */
    assert_true(lab_power_cycle(&lab));
    open_line();
    assert_int_equal(sign(1), SW_SECURITY_STATUS);
    assert_int_equal(sign_with_pin(600), SW_OK);
    assert_int_equal(sign(500), SW_OK);
    assert_int_equal(counter(), 5);
}

/* A blocked PIN ends orders without one too, though their line is open. */
static void test_small_amounts_end_with_the_pin(void **state)
{
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(sign(100), SW_OK);
    for (unsigned left = LINK_PIN_TRIES; left > 0; left--)
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, "000000"), SW_PIN_TRIES | (left - 1));
    assert_int_equal(sign(100), SW_PIN_BLOCKED);
    assert_int_equal(counter(), 1);
}

static void test_small_amounts_are_off_by_default(void **state)
{
    (void)state;
    open_line(); /* the lab's policy: no limits */
    assert_int_equal(sign(1), SW_SECURITY_STATUS);
    policy.limits[0].small = policy.limits[0].small_total = 0;
    set_policy();
    open_line();
    assert_int_equal(sign(1), SW_SECURITY_STATUS);
}

/* A limit that was changed counts what was spent; one that went and came again does not give it
 * back on the same day either, as long as its place was not needed. */
static void test_limit_is_changed(void **state)
{
    uint8_t value[POLICY_LEN_MAX];
    struct buf_writer w;
    (void)state;
    set_policy();
    open_line();
    assert_int_equal(sign_with_pin(10000), SW_OK);
    policy.limits[0].day = 10000;
    buf_writer_init(&w, value, sizeof value);
    assert_int_equal(policy_encode(&policy, &w), CW_OK);
    const struct issuer_write write = {LINK_DO_POLICY, value, w.len};
    assert_int_equal(lab_update(&lab, &write, 1), SW_OK);
    assert_int_equal(sign_with_pin(1), SW_CONDITIONS);
    assert_int_equal(refused(), LINK_REFUSAL_DAY);
    /* Four others take every place but that of EUR. */
    static const char *const names[] = {"USD", "GBP", "CHF", "SEK"};
    policy.limit_count = 4;
    for (size_t i = 0; i < 4; i++) {
        policy.limits[i] = (struct policy_limit){"", 100, 100, 0, 0};
        memcpy(policy.limits[i].currency, names[i], 4);
    }
    set_policy();
    open_line();
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
        assert_int_equal(sign_for(100, names[i], "ZZ40000000000002", "Grace Hopper"), SW_OK);
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
        assert_int_equal(sign_for(100, names[i], "ZZ40000000000002", "Grace Hopper"),
                         SW_CONDITIONS);
        assert_int_equal(refused(), LINK_REFUSAL_DAY);
    }
}

/* Power fails at every byte of the write before the signature: never two signatures with one
 * number, and never a limit that gives back what was signed. */
static void test_torn(void **state)
{
    static struct lab_flash start;
    unsigned cuts = 0;
    (void)state;
    policy.limits[0].small = policy.limits[0].small_total = 10000;
    set_policy();
    start = lab.flash;
    for (long budget = 0;; budget++) {
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        open_line();
        lab.flash.budget = budget;
        bool signed_once = sign(10000) == SW_OK;
        assert_true(lab_power_cycle(&lab));
        unsigned after = counter();
        assert_in_range(after, signed_once ? 1 : 0, 1);
        open_line();
        uint16_t again = sign(10000);
        if (after == 1)
            assert_int_equal(again, SW_SECURITY_STATUS); /* the small amounts are used up */
        else
            assert_int_equal(again, SW_OK);
        assert_int_equal(counter(), 1);
        if (signed_once)
            break;
        cuts++;
    }
    print_message("%u power cuts in SIGN ORDER: one number, one signature\n", cuts);
    assert_true(cuts > 100);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_order_limit),
        T(test_currency),
        T(test_day_limit),
        T(test_payees),
        T(test_payees_are_private),
        T(test_small_amounts),
        T(test_small_amounts_end_with_the_pin),
        T(test_small_amounts_are_off_by_default),
        T(test_limit_is_changed),
        T(test_torn),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
