/* test_card_torn_line.c - the power fails in every flash operation of what a card does in a line
 * and over it: full and resumed logins, orders under limits, the issuer's signed updates. */
#include "unit.h"

#include "card/state.h"
#include "proto/ber.h"
#include "torn_lab.h"

#include <openssl/core_names.h>
#include <string.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define DAY  INT64_C(86400)

static struct lab lab;
static struct lab_identity root, next_root, card_ca, server, rsa_server, next_server;
static SSL_CTX *contexts[LINK_PROFILE_COUNT + 1], *next_context;
static struct lab_line line;
static EVP_PKEY *update_keys[2]; /* now, and after the roll-over */

static int setup(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    next_root = lab_ca_new("N");
    card_ca = lab_ca_new("C");
    server = lab_server_new(&root, &(struct lab_server_spec){0});
    rsa_server = lab_server_new(&root, &(struct lab_server_spec){.rsa = true});
    next_server = lab_server_new(&next_root, &(struct lab_server_spec){0});
    for (int p = 1; p <= LINK_PROFILE_COUNT; p++)
        contexts[p] = lab_server_context(p == LINK_PROFILE_RSA ? &rsa_server : &server, &card_ca);
    next_context = lab_server_context(&next_server, &card_ca);
    lab_init(&lab);
    torn_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    update_keys[0] = lab.update_key;
    update_keys[1] = EVP_EC_gen("P-256");
    memset(&line, 0, sizeof line);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_line_free(&line);
    for (int p = 1; p <= LINK_PROFILE_COUNT; p++)
        SSL_CTX_free(contexts[p]);
    SSL_CTX_free(next_context);
    lab.update_key = update_keys[0];
    EVP_PKEY_free(update_keys[1]);
    lab_free(&lab);
    lab_identity_free(&server);
    lab_identity_free(&rsa_server);
    lab_identity_free(&next_server);
    lab_identity_free(&card_ca);
    lab_identity_free(&next_root);
    lab_identity_free(&root);
    return 0;
}

/* --- logins --------------------------------------------------------------------------------------
 */

static void give_pin(unsigned arg)
{
    (void)arg;
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
}

static uint16_t login(SSL_CTX *ctx, unsigned profile, bool resume)
{
    lab_line_free(&line);
    memset(&line, 0, sizeof line);
    line.resume = resume;
    lab_line_begin(&lab, ctx, (enum link_profile)profile, LINK_KEY_AUTO, &line);
    if (line.sw != SW_OK)
        return line.sw;
    return line.state & LINK_STATE_OPEN ? SW_OK : SW_CONDITIONS;
}

static uint16_t login_full(unsigned profile)
{
    return login(contexts[profile], profile, false);
}

/* From the session there is; without one, a full handshake. */
static uint16_t login_again(unsigned profile)
{
    return login(contexts[profile], profile, true);
}

#define NO_SESSION                                                                                 \
    {                                                                                              \
        NVM_SESSION, NULL, 0                                                                       \
    }
static const char taken_out[] = "the session is taken out, to be offered once";

/* What the old and the new session are is in test_card_resume_attacked.c. */
#define LOGIN(profile)                                                                             \
    {.name = "login, full",                                                                        \
     .prepare = give_pin,                                                                          \
     .run = login_full,                                                                            \
     .arg = (profile),                                                                             \
     .loses = true},                                                                               \
    {                                                                                              \
        .name = "login, resumed", .prepare = give_pin, .run = login_again, .arg = (profile),       \
        .between = {{taken_out, NO_SESSION}}, .loses = true                                        \
    }

static const struct torn_scenario logins[] = {
    {.name = "login tls13", .steps = {LOGIN(LINK_PROFILE_TLS13)}, .growth = 400},
    {.name = "login ecdhe", .steps = {LOGIN(LINK_PROFILE_ECDHE)}, .growth = 400},
    {.name = "login rsa", .steps = {LOGIN(LINK_PROFILE_RSA)}, .growth = 400},
};

static void test_logins(void **state)
{
    static struct lab_flash start;
    (void)state;
    start = lab.flash;
    for (size_t i = 0; i < sizeof logins / sizeof logins[0]; i++) {
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        torn_run(&lab, &logins[i], TORN_PLAIN);
    }
}

static void test_login_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &logins[0], TORN_FULL);
}

static uint16_t verify_wrong(unsigned arg)
{
    (void)arg;
    return lab_verify(&lab, LINK_PIN_LINE, "000000");
}

/* With the last try the sessions go; when the power fails in between, the card forgets them as it
 * starts: there is nothing between. */
static const struct torn_scenario blocked = {
    .name = "PIN blocked, with a session",
    .steps =
        {
            {.name = "login, full",
             .prepare = give_pin,
             .run = login_full,
             .arg = 1,
             .loses = true},
            {.name = "VERIFY, wrong", .run = verify_wrong, .sw = SW_PIN_TRIES | 2},
            {.name = "VERIFY, wrong", .run = verify_wrong, .sw = SW_PIN_TRIES | 1},
            {.name = "VERIFY, wrong", .run = verify_wrong, .sw = SW_PIN_TRIES | 0, .loses = true},
        },
};

static void test_blocked(void **state)
{
    (void)state;
    torn_run(&lab, &blocked, TORN_PLAIN);
}

/* --- orders --------------------------------------------------------------------------------------
 */

static void open_line(unsigned arg)
{
    give_pin(arg);
    assert_int_equal(login_full(LINK_PROFILE_TLS13), SW_OK);
}

static void open_line_and_pin(unsigned arg)
{
    open_line(arg);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
}

static uint16_t sign(int64_t amount, const char *currency)
{
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    struct order_fields f = {.payer = "ZZ67000000000001",
                             .payee = "ZZ40000000000002",
                             .payee_name = "Grace Hopper",
                             .amount = amount,
                             .id = {1},
                             .expiry = LAB_TIME + 900 * DAY};
    memcpy(f.currency, currency, 4);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    return lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, NULL, NULL);
}

static uint16_t sign_euro(unsigned amount)
{
    return sign(amount, "EUR");
}

static uint16_t sign_yen(unsigned amount)
{
    return sign(amount, "JPY");
}

/* No sessions, so that the line that each order wants writes nothing. */
static void put_limits(void)
{
    struct policy policy = lab_policy();
    policy.flags = POLICY_LINE_CONTACTLESS;
    policy.limits[0] = (struct policy_limit){"EUR", 10000, 20000, 500, 900};
    policy.limits[1] = (struct policy_limit){"JPY", 9000, 9000, 0, 0};
    policy.limit_count = 2;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
}

/* Counter and sums are one value: the number is used, and the sums are taken, or neither. Whether
 * the limits hold after a cut, the orders say that come after it: of those without a PIN of their
 * own, one is refused, and of the day the last one takes all that is left. */
#define ORDER(first, function, amount, answer)                                                     \
    {                                                                                              \
        .name = "SIGN ORDER", .prepare = (first), .run = (function), .arg = (amount),              \
        .sw = (answer)                                                                             \
    }

static const struct torn_scenario orders = {
    .name = "orders under limits",
    .steps =
        {
            ORDER(open_line_and_pin, sign_euro, 10000, SW_OK),
            ORDER(open_line, sign_euro, 500, SW_OK),
            ORDER(open_line, sign_euro, 400, SW_OK),
            ORDER(open_line, sign_euro, 1, SW_SECURITY_STATUS),
            ORDER(open_line_and_pin, sign_yen, 9000, SW_OK),
            ORDER(open_line_and_pin, sign_euro, 9101, SW_CONDITIONS),
            ORDER(open_line_and_pin, sign_euro, 9100, SW_OK),
        },
};

static const struct torn_scenario few_orders = {
    .name = "two orders under limits",
    .steps = {ORDER(open_line_and_pin, sign_euro, 10000, SW_OK),
              ORDER(open_line, sign_euro, 500, SW_OK)},
    .growth = 300,
};

static void test_orders(void **state)
{
    (void)state;
    put_limits();
    torn_run(&lab, &orders, TORN_PLAIN);
}

static void test_orders_nearly_full(void **state)
{
    (void)state;
    put_limits();
    torn_run(&lab, &few_orders, TORN_FULL);
}

/* --- the issuer's messages -----------------------------------------------------------------------
 */

static void open_next_line(unsigned arg)
{
    give_pin(arg);
    assert_int_equal(login(next_context, LINK_PROFILE_TLS13, false), SW_OK);
}

/* An update with this sequence, signed by the first or the second key. */
static uint16_t update(uint32_t sequence, size_t key, const struct issuer_write *writes,
                       size_t count)
{
    lab.sequence = sequence - 1;
    lab.update_key = update_keys[key];
    return lab_update(&lab, writes, count);
}

static struct issuer_write write_root(uint16_t index, const struct lab_identity *ca,
                                      uint8_t out[1024])
{
    uint8_t *p = out;
    assert_in_range(i2d_X509(ca->certificate, NULL), 1, 1024);
    return (struct issuer_write){(uint16_t)(LINK_DO_ROOT | index), out,
                                 (size_t)i2d_X509(ca->certificate, &p)};
}

/* The next root beside the old one, a name more, another policy, a payee: in one message. */
static uint16_t add_all(unsigned sequence)
{
    static const uint8_t name[] = "\x80\x09"
                                  "next.test\x81\x01\x07";
    uint8_t der[1024], encoded[POLICY_LEN_MAX], list[256];
    struct policy policy = lab_policy();
    struct policy_payee payee = {"ZZ40000000000002", "Grace Hopper"};
    struct buf_writer p, l;
    policy.flags |= POLICY_LISTED_PAYEES;
    policy.limits[0] = (struct policy_limit){"EUR", 10000, 20000, 500, 900};
    policy.limit_count = 1;
    buf_writer_init(&p, encoded, sizeof encoded);
    assert_int_equal(policy_encode(&policy, &p), CW_OK);
    buf_writer_init(&l, list, sizeof list);
    assert_int_equal(policy_payee_put(&l, &payee), CW_OK);
    const struct issuer_write writes[] = {
        write_root(1, &next_root, der),
        {LINK_DO_NAME | 1, name, sizeof name - 1},
        {LINK_DO_POLICY, encoded, p.len},
        {LINK_DO_PAYEES, list, l.len},
    };
    return update(sequence, 0, writes, 4);
}

/* The next root in the place of the old one, and what was added taken away. */
static uint16_t swap_roots(unsigned sequence)
{
    uint8_t der[1024];
    const struct issuer_write writes[] = {
        write_root(0, &next_root, der),
        {LINK_DO_ROOT | 1, NULL, 0},
        {LINK_DO_NAME | 1, NULL, 0},
        {LINK_DO_PAYEES, NULL, 0},
    };
    return update(sequence, 0, writes, 4);
}

static uint16_t next_update_key(unsigned sequence)
{
    uint8_t point[ISSUER_POINT_LEN];
    size_t n = 0;
    assert_int_equal(EVP_PKEY_get_octet_string_param(update_keys[1], OSSL_PKEY_PARAM_PUB_KEY, point,
                                                     sizeof point, &n),
                     1);
    const struct issuer_write write = {LINK_DO_ISSUER, point, n};
    return update(sequence, 0, &write, 1);
}

/* The next key is the card's now. */
static uint16_t by_next_key(unsigned days)
{
    lab.update_key = update_keys[1];
    return lab_time_set(&lab, LAB_TIME + days * DAY);
}

static const char forgotten[] = "sessions are forgotten before what they rest on changes";

static const struct torn_scenario roll_over = {
    .name = "roll-over of root, names, policy, payees, update key",
    .steps =
        {
            {.name = "APPLY root, name, policy, payees",
             .prepare = open_line,
             .run = add_all,
             .arg = 1,
             .between = {{forgotten, NO_SESSION}}},
            {.name = "APPLY root in its place",
             .prepare = open_line,
             .run = swap_roots,
             .arg = 2,
             .between = {{forgotten, NO_SESSION}}},
            {.name = "APPLY update key",
             .prepare = open_next_line,
             .run = next_update_key,
             .arg = 3},
            {.name = "APPLY time by the next key", .run = by_next_key, .arg = 1},
        },
    .growth = 2200,
};

static void test_roll_over(void **state)
{
    (void)state;
    torn_run(&lab, &roll_over, TORN_PLAIN);
}

static void test_roll_over_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &roll_over, TORN_FULL);
}

static uint16_t set_life(uint32_t sequence, uint8_t life)
{
    const struct issuer_write write = {LINK_DO_LIFE, &life, 1};
    return update(sequence, 0, &write, 1);
}

static uint16_t lock(unsigned sequence)
{
    return set_life(sequence, LINK_LIFE_LOCKED);
}

static uint16_t terminate(unsigned sequence)
{
    return set_life(sequence, LINK_LIFE_TERMINATED);
}

static void channel(unsigned arg)
{
    (void)arg;
    assert_true(lab_channel_open(&lab));
}

static uint16_t unlock(unsigned life)
{
    return lab_set_status(&lab, (enum link_life)life);
}

/* Over the air; the issuer unlocks it at its own reader. */
static const struct torn_scenario end_of_life = {
    .name = "locked and terminated over the air",
    .steps =
        {
            {.name = "APPLY locked", .prepare = open_line, .run = lock, .arg = 1},
            {.name = "SET STATUS active",
             .prepare = channel,
             .run = unlock,
             .arg = LINK_LIFE_ACTIVE},
            {.name = "APPLY terminated", .prepare = open_line, .run = terminate, .arg = 2},
        },
    .growth = 700,
};

static void secrets(void)
{
    torn_secret(LAB_PIN, sizeof LAB_PIN - 1);
    torn_secret(LAB_PUK, sizeof LAB_PUK - 1);
    torn_secret(lab.keys.enc, sizeof lab.keys.enc);
    torn_secret_value(&lab, NVM_PSA | LINK_KEY_TLS_P256, 32);
    torn_secret_value(&lab, NVM_PSA | LINK_KEY_ORDER_P256, 32);
}

static void test_end_of_life(void **state)
{
    (void)state;
    secrets();
    torn_run(&lab, &end_of_life, TORN_PLAIN);
}

static void test_end_of_life_nearly_full(void **state)
{
    (void)state;
    secrets();
    torn_run(&lab, &end_of_life, TORN_FULL);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_logins),
        T(test_login_nearly_full),
        T(test_blocked),
        T(test_orders),
        T(test_orders_nearly_full),
        T(test_roll_over),
        T(test_roll_over_nearly_full),
        T(test_end_of_life),
        T(test_end_of_life_nearly_full),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
