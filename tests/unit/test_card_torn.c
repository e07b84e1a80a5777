/* test_card_torn.c - the power fails in every flash operation of what an issuer and a holder do
 * with the card at a reader: personalisation, PINs, keys, the steps of its life, the time. Lines
 * and what comes over them are in test_card_torn_line.c, PIV is in test_card_torn_piv.c; the store
 * itself is cut at every byte in test_card_nvm*.c. */
#include "unit.h"

#include "card/state.h"
#include "torn_lab.h"

#include <openssl/core_names.h>
#include <string.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define DAY  INT64_C(86400)

static struct lab lab;
static struct lab_identity root, card_ca;
static uint8_t certificate[LINK_KEY_COUNT + 1][1024];
static size_t certificate_len[LINK_KEY_COUNT + 1];

static int blank(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    memset(certificate_len, 0, sizeof certificate_len);
    lab_init(&lab);
    torn_init(&lab);
    return 0;
}

static int complete(void **state)
{
    (void)blank(state);
    lab_personalise_only(&lab, P256, &card_ca, &root, 7);
    return 0;
}

static int active(void **state)
{
    (void)complete(state);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_PERSONALISED), SW_OK);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_ACTIVE), SW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_free(&lab);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

/* --- what the issuer does ------------------------------------------------------------------------
 */

static void channel(unsigned arg)
{
    (void)arg;
    assert_true(lab_channel_open(&lab));
}

static uint16_t put_keys(unsigned number)
{
    return torn_put_keys(&lab, number);
}

static uint16_t generate(unsigned slot)
{
    return lab_secure(&lab, 0x00, INS_GENERATE_KEY, 0, (uint8_t)slot, NULL, 0, 0, NULL, NULL);
}

/* One certificate for each key: it is the same key, whenever it is made again. */
static uint16_t request(unsigned slot)
{
    uint8_t der[CARD_RESPONSE_MAX];
    uint8_t *out = certificate[slot];
    size_t len = 0;
    uint16_t sw = lab_secure(&lab, 0x80, INS_REQUEST, 0, (uint8_t)slot, NULL, 0, 1024, der, &len);
    if (sw == SW_OK && certificate_len[slot] == 0) {
        X509 *x = lab_card_certificate(der, len, (uint8_t)slot, &card_ca);
        int n = i2d_X509(x, NULL);
        assert_in_range(n, 1, sizeof certificate[slot]);
        certificate_len[slot] = (size_t)i2d_X509(x, &out);
        X509_free(x);
    }
    return sw;
}

static uint16_t put_certificate(unsigned slot)
{
    return lab_put(&lab, (uint16_t)(LINK_DO_CERT | slot), certificate[slot], certificate_len[slot]);
}

static uint16_t put_root(unsigned index)
{
    uint8_t *der = NULL;
    int n = i2d_X509(root.certificate, &der);
    assert_true(n > 0);
    uint16_t sw = lab_put(&lab, (uint16_t)(LINK_DO_ROOT | index), der, (size_t)n);
    OPENSSL_free(der);
    return sw;
}

static uint16_t put_name(unsigned index)
{
    static const uint8_t name[] = "\x80\x09" LAB_HOST "\x81\x01\x07";
    return lab_put(&lab, (uint16_t)(LINK_DO_NAME | index), name, sizeof name - 1);
}

static uint16_t put_time(unsigned days)
{
    uint8_t b[8];
    struct buf_writer w;
    buf_writer_init(&w, b, sizeof b);
    buf_put_u64(&w, (uint64_t)(LAB_TIME + days * DAY));
    return lab_put(&lab, LINK_DO_TIME, b, sizeof b);
}

static uint16_t put_policy(unsigned flags)
{
    struct policy policy = lab_policy();
    policy.flags = (uint8_t)flags;
    policy.limits[0] = (struct policy_limit){"EUR", 10000, 25000, 500, 1200};
    policy.limit_count = 1;
    return lab_put_policy(&lab, &policy);
}

static uint16_t put_update_key(unsigned arg)
{
    (void)arg;
    return lab_put_update_key(&lab);
}

static uint16_t put_payees(unsigned arg)
{
    uint8_t list[POLICY_PAYEES_LENMAX];
    struct buf_writer w;
    const struct policy_payee p = {"ZZ40000000000002", "Grace Hopper"};
    (void)arg;
    buf_writer_init(&w, list, sizeof list);
    assert_int_equal(policy_payee_put(&w, &p), CW_OK);
    return lab_put(&lab, LINK_DO_PAYEES, list, w.len);
}

static uint16_t put_number(unsigned pin)
{
    static const char *const digits[LINK_PIN_COUNT] = {LAB_PIN, LAB_PUK, "314159", "27182818"};
    return lab_put_pin(&lab, (enum link_pin)pin, 0, digits[pin]);
}

static uint16_t put_admin(unsigned algorithm)
{
    uint8_t data[17] = {(uint8_t)algorithm, 1, 2, 3};
    return lab_put(&lab, LINK_DO_ADMIN, data, sizeof data);
}

static uint16_t set_status(unsigned life)
{
    return lab_set_status(&lab, (enum link_life)life);
}

#define ISSUER(what, function, argument)                                                           \
    {                                                                                              \
        .name = (what), .prepare = channel, .run = (function), .arg = (argument)                   \
    }

/* Everything that a bank does with a blank card. */
static const struct torn_scenario personalisation = {
    .name = "personalisation",
    .steps =
        {
            ISSUER("PUT KEY", put_keys, 1),
            ISSUER("GENERATE KEY 01", generate, LINK_KEY_TLS_P256),
            ISSUER("REQUEST 01", request, LINK_KEY_TLS_P256),
            ISSUER("PUT DATA certificate 01", put_certificate, LINK_KEY_TLS_P256),
            ISSUER("GENERATE KEY 03", generate, LINK_KEY_ORDER_P256),
            ISSUER("REQUEST 03", request, LINK_KEY_ORDER_P256),
            ISSUER("PUT DATA certificate 03", put_certificate, LINK_KEY_ORDER_P256),
            ISSUER("PUT DATA root", put_root, 0),
            ISSUER("PUT DATA name", put_name, 0),
            ISSUER("PUT DATA time", put_time, 0),
            ISSUER("PUT DATA policy", put_policy, POLICY_SESSIONS_NVM),
            ISSUER("PUT DATA PIN", put_number, LINK_PIN_HOLDER),
            ISSUER("PUT DATA PUK", put_number, LINK_PIN_PUK),
            ISSUER("PUT DATA PIV PIN", put_number, LINK_PIN_PIV),
            ISSUER("PUT DATA PIV PUK", put_number, LINK_PIN_PIV_PUK),
            ISSUER("PUT DATA PIV key", put_admin, PIV_ALG_AES128),
            ISSUER("PUT DATA update key", put_update_key, 0),
            ISSUER("PUT DATA payees", put_payees, 0),
            ISSUER("SET STATUS personalised", set_status, LINK_LIFE_PERSONALISED),
            ISSUER("SET STATUS active", set_status, LINK_LIFE_ACTIVE),
        },
    .growth = 3800,
};

static void test_personalisation(void **state)
{
    (void)state;
    torn_run(&lab, &personalisation, TORN_PLAIN);
}

/* From PUT KEY on: that one empties a blank card, and is torn in test_card_life.c. */
static void test_personalisation_nearly_full(void **state)
{
    struct torn_scenario rest = personalisation;
    (void)state;
    memmove(&rest.steps[0], &rest.steps[1], sizeof rest.steps - sizeof rest.steps[0]);
    memset(&rest.steps[sizeof rest.steps / sizeof rest.steps[0] - 1], 0, sizeof rest.steps[0]);
    channel(0);
    assert_int_equal(put_keys(1), SW_OK);
    torn_run(&lab, &rest, TORN_FULL);
}

/* A key for an active card, and its certificate. */
static const struct torn_scenario key_generation = {
    .name = "key generation",
    .steps =
        {
            ISSUER("GENERATE KEY 03", generate, LINK_KEY_ORDER_P256),
            ISSUER("REQUEST 03", request, LINK_KEY_ORDER_P256),
            ISSUER("PUT DATA certificate 03", put_certificate, LINK_KEY_ORDER_P256),
        },
    .growth = 800,
};

static int active_without_order_key(void **state)
{
    (void)blank(state);
    lab_personalise(&lab, 1 << (LINK_KEY_TLS_P256 - 1), &card_ca, &root, 7);
    return 0;
}

static void test_key_generation(void **state)
{
    (void)state;
    torn_run(&lab, &key_generation, TORN_PLAIN);
}

static void test_key_generation_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &key_generation, TORN_FULL);
}

/* The issuer's key set: one of the two opens the channel at any time, which torn_lab.c looks at. */
static const struct torn_scenario put_key = {
    .name = "issuer's key set",
    .steps = {ISSUER("PUT KEY 2", put_keys, 2), ISSUER("PUT KEY 1", put_keys, 1)},
};

static void test_put_key(void **state)
{
    (void)state;
    torn_run(&lab, &put_key, TORN_PLAIN);
}

static void test_put_key_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &put_key, TORN_FULL);
}

/* Each step of the card's life. What a terminated card knew is in its flash no more once it has
 * started, wherever the wiping was cut: torn_lab.c looks for it. */
static const struct torn_scenario life = {
    .name = "life",
    .steps =
        {
            ISSUER("SET STATUS personalised", set_status, LINK_LIFE_PERSONALISED),
            ISSUER("SET STATUS active", set_status, LINK_LIFE_ACTIVE),
            ISSUER("SET STATUS locked", set_status, LINK_LIFE_LOCKED),
            ISSUER("SET STATUS active again", set_status, LINK_LIFE_ACTIVE),
            ISSUER("SET STATUS terminated", set_status, LINK_LIFE_TERMINATED),
        },
    .growth = 300,
};

static void secrets(void)
{
    torn_secret(LAB_PIN, sizeof LAB_PIN - 1);
    torn_secret(LAB_PUK, sizeof LAB_PUK - 1);
    torn_secret(lab.keys.enc, sizeof lab.keys.enc);
    torn_secret(lab.keys.mac, sizeof lab.keys.mac);
    torn_secret(lab.keys.dek, sizeof lab.keys.dek);
    torn_secret_value(&lab, NVM_PSA | LINK_KEY_TLS_P256, 32);
    torn_secret_value(&lab, NVM_PSA | LINK_KEY_ORDER_P256, 32);
}

static void test_life(void **state)
{
    (void)state;
    secrets();
    torn_run(&lab, &life, TORN_PLAIN);
}

static void test_life_nearly_full(void **state)
{
    (void)state;
    secrets();
    torn_run(&lab, &life, TORN_FULL);
}

/* --- what the holder does ------------------------------------------------------------------------
 */

static uint16_t verify(unsigned right)
{
    return lab_verify(&lab, LINK_PIN_LINE, right ? LAB_PIN : "000000");
}

static uint16_t change(unsigned right)
{
    return torn_two(&lab, INS_CHANGE_PIN, right ? LAB_PIN : "000000", TORN_PIN);
}

static uint16_t unblock(unsigned right)
{
    return torn_two(&lab, INS_RESET_PIN, right ? LAB_PUK : "00000000", TORN_PIN);
}

#define PIN_TRIES(left)                                                                            \
    {                                                                                              \
        NVM_TRIES | LINK_PIN_HOLDER, left "\x03", 2                                                \
    }
#define PUK_TRIES(left)                                                                            \
    {                                                                                              \
        NVM_TRIES | LINK_PIN_PUK, left "\x03", 2                                                   \
    }
static const char try_taken[] = "the try is taken, the PIN not yet compared";
static const char try_back[] =
    "the old PIN was right: its tries are full, the new one is not there";

static const struct torn_scenario change_pin = {
    .name = "PIN change",
    .steps =
        {
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 2},
            {.name = "VERIFY",
             .run = verify,
             .arg = 1,
             .between = {{try_taken, PIN_TRIES("\x01")}}},
            {.name = "CHANGE, wrong", .run = change, .sw = SW_PIN_TRIES | 2},
            {.name = "CHANGE",
             .run = change,
             .arg = 1,
             .between = {{try_taken, PIN_TRIES("\x01")}, {try_back, PIN_TRIES("\x03")}}},
        },
};

static void test_pin_change(void **state)
{
    (void)state;
    torn_run(&lab, &change_pin, TORN_PLAIN);
}

static void test_pin_change_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &change_pin, TORN_FULL);
}

static uint16_t unblock_to_old(void)
{
    return torn_two(&lab, INS_RESET_PIN, LAB_PUK, LAB_PIN);
}

/* The price of taking the try down first: the right PIN, given with the last try, is blocked when
 * the card is torn out of the reader just then. The PUK is what helps. */
static const struct torn_scenario last_try = {
    .name = "PIN change with the last try",
    .steps =
        {
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 2},
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 1},
            {.name = "CHANGE",
             .run = change,
             .arg = 1,
             .between = {{try_taken, PIN_TRIES("\0"), unblock_to_old},
                         {try_back, PIN_TRIES("\x03")}}},
        },
};

static void test_last_try(void **state)
{
    (void)state;
    torn_run(&lab, &last_try, TORN_PLAIN);
}

static const struct torn_scenario unblock_pin = {
    .name = "PIN unblock",
    .steps =
        {
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 2},
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 1},
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 0},
            {.name = "RESET, wrong", .run = unblock, .sw = SW_PIN_TRIES | 2},
            {.name = "RESET",
             .run = unblock,
             .arg = 1,
             .between = {{try_taken, PUK_TRIES("\x01")}, {try_back, PUK_TRIES("\x03")}}},
        },
};

static void test_pin_unblock(void **state)
{
    (void)state;
    torn_run(&lab, &unblock_pin, TORN_PLAIN);
}

static void test_pin_unblock_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &unblock_pin, TORN_FULL);
}

static uint16_t put_other_pin(unsigned arg)
{
    (void)arg;
    return lab_put_pin(&lab, LINK_PIN_HOLDER, 0, TORN_PIN);
}

static uint16_t put_transport_pin(unsigned arg)
{
    (void)arg;
    return lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, LAB_PIN);
}

/* By the issuer; a transport PIN, which the holder then changes. */
static const struct torn_scenario set_pin = {
    .name = "PIN set by the issuer",
    .steps =
        {
            {.name = "VERIFY, wrong", .run = verify, .sw = SW_PIN_TRIES | 2},
            ISSUER("PUT DATA PIN", put_other_pin, 0),
            {.name = "RESET, wrong", .run = unblock, .sw = SW_PIN_TRIES | 2},
            ISSUER("PUT DATA PUK", put_number, LINK_PIN_PUK),
            ISSUER("PUT DATA transport PIN", put_transport_pin, 0),
            {.name = "CHANGE of a transport PIN",
             .run = change,
             .arg = 1,
             .between = {{try_taken, PIN_TRIES("\x02")}}},
            ISSUER("PUT DATA PIN", put_number, LINK_PIN_HOLDER),
        },
};

static void test_pin_set(void **state)
{
    (void)state;
    torn_run(&lab, &set_pin, TORN_PLAIN);
}

static void test_pin_set_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &set_pin, TORN_FULL);
}

static uint16_t time_message(unsigned days)
{
    return lab_time_set(&lab, LAB_TIME + days * DAY);
}

static const struct torn_scenario time_floor = {
    .name = "signed time",
    .steps = {{.name = "APPLY, a day", .run = time_message, .arg = 1},
              {.name = "APPLY, capped", .run = time_message, .arg = 3660},
              {.name = "APPLY, earlier", .run = time_message, .arg = 2},
              ISSUER("PUT DATA time", put_time, 400)},
};

/* docs/time.md names it: the floor is the old or the new one. */
static void test_time(void **state)
{
    (void)state;
    torn_run(&lab, &time_floor, TORN_PLAIN);
    lab_free(&lab);
    lab_init(&lab);
    torn_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    torn_run(&lab, &time_floor, TORN_FULL);
}

/* --- the engine itself ---------------------------------------------------------------------------
 */

/* What no command of the card does: two values that belong together, one after the other. */
static uint16_t two_writes(unsigned arg)
{
    const uint8_t value[2] = {1, 5};
    (void)arg;
    if (nvm_write(&lab.card->nvm, NVM_TRIES | LINK_PIN_PUK, value, 2) != CW_OK)
        return SW_MEMORY_FAILURE;
    return nvm_write(&lab.card->nvm, NVM_TRIES | LINK_PIN_HOLDER, value, 2) == CW_OK
               ? SW_OK
               : SW_MEMORY_FAILURE;
}

/* A success that is told before it is one. */
static uint16_t too_early(unsigned arg)
{
    (void)change(arg);
    return SW_OK;
}

static void test_what_should_not_be_is_noticed(void **state)
{
    static const struct torn_scenario bad[] = {
        {.name = "two writes", .steps = {{.name = "two writes", .run = two_writes}}},
        {.name = "too early", .steps = {{.name = "CHANGE", .run = too_early, .arg = 1}}},
        {.name = "a state that is not listed",
         .steps = {{.name = "VERIFY", .run = verify, .arg = 1}}},
    };
    static struct lab_flash start;
    (void)state;
    start = lab.flash;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        assert_true(torn_run(&lab, &bad[i], TORN_WRONG).wrong > 0);
    }
}

int main(int argc, char **argv)
{
#define T(f, from) cmocka_unit_test_setup_teardown(f, from, teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_should_not_be_is_noticed, active),
        T(test_personalisation, blank),
        T(test_personalisation_nearly_full, blank),
        T(test_key_generation, active_without_order_key),
        T(test_key_generation_nearly_full, active_without_order_key),
        T(test_put_key, active),
        T(test_put_key_nearly_full, active),
        T(test_life, complete),
        T(test_life_nearly_full, complete),
        T(test_pin_change, active),
        T(test_pin_change_nearly_full, active),
        T(test_last_try, active),
        T(test_pin_unblock, active),
        T(test_pin_unblock_nearly_full, active),
        T(test_pin_set, active),
        T(test_pin_set_nearly_full, active),
        T(test_time, active),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
