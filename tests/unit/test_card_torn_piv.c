/* test_card_torn_piv.c - the power fails in every flash operation of what the PIV application
 * writes: its PIN and PUK, objects, keys with their certificates, its administration key. */
#include "unit.h"

#include "card/state.h"
#include "piv_lab.h"
#include "torn_lab.h"

#include <openssl/evp.h>
#include <string.h>

#define NEW_PIN       "951413"
#define NEW_PUK       "82818172"
#define CERT_9E       0x01
#define INS_SET_ADMIN 0xFF
#define OBJECT_LEN    300
#define OTHER_OBJECT  0x0B

static struct lab lab;
static EVP_PKEY *made[2]; /* public keys of 9E, one after the other */

static int setup(void **state)
{
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    (void)state;
    lab_init(&lab);
    torn_init(&lab);
    lab_personalise(&lab, 1 << (LINK_KEY_TLS_P256 - 1), &card_ca, &root, 7);
    piv_lab_issue(&lab, PIV_ALG_AES128);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_free(made[i]);
        made[i] = NULL;
    }
    lab_free(&lab);
    return 0;
}

/* --- what is seen --------------------------------------------------------------------------------
 */

static void again(void)
{
    torn_again(&lab);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
}

/* Which of the keys that were made it is that signs as 9E. */
static uint8_t key_in_use(void)
{
    static const uint8_t hash[32] = {"a hash"};
    uint8_t signature[512];
    uint8_t mask = 0;
    size_t len = 0;
    if (piv_lab_use(&lab, PIV_REF_CARD, PIV_ALG_P256, PIV_TAG_CHALLENGE, hash, sizeof hash,
                    signature, &len) != SW_OK)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        EVP_PKEY_CTX *ctx = made[i] != NULL ? EVP_PKEY_CTX_new(made[i], NULL) : NULL;
        if (ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
            EVP_PKEY_verify(ctx, signature, len, hash, sizeof hash) == 1)
            mask |= (uint8_t)(1u << i);
        EVP_PKEY_CTX_free(ctx);
    }
    assert_int_not_equal(mask, 0);
    return mask;
}

/* First byte of an object's value and whether it is there. */
static uint8_t object(uint8_t number)
{
    uint8_t value[2 * OBJECT_LEN];
    size_t len = 0;
    uint16_t sw = piv_lab_get(&lab, number, value, sizeof value, &len);
    assert_true(sw == SW_OK || sw == SW_NOT_FOUND);
    if (sw != SW_OK)
        return 0;
    assert_int_equal(len, 4 + OBJECT_LEN);
    return value[4];
}

static void probe(struct lab *card, uint8_t out[TORN_PROBES])
{
    static const char *const pins[] = {PIV_LAB_PIN, NEW_PIN};
    static const char *const puks[] = {PIV_LAB_PUK, NEW_PUK};
    static const uint8_t algorithms[] = {PIV_ALG_AES128, PIV_ALG_AES256};
    (void)card;
    again();
    out[0] = (uint8_t)piv_lab_status(&lab);
    out[1] = key_in_use();
    out[2] = object(CERT_9E);
    out[3] = object(OTHER_OBJECT);
    for (unsigned i = 0; i < 2; i++) {
        again();
        out[4] |= (uint8_t)((piv_lab_verify(&lab, pins[i]) == SW_OK) << i);
        again();
        out[5] |=
            (uint8_t)((piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, puks[i], puks[i]) == SW_OK)
                      << i);
        again();
        out[6] |= (uint8_t)((piv_lab_admin(&lab, algorithms[i]) == SW_OK) << i);
    }
    assert_true(out[6] == 1 || out[6] == 2);
    assert_true(out[4] == 0 ? out[0] == (SW_PIN_BLOCKED & 0xFF) : out[4] == 1 || out[4] == 2);
    assert_true(out[5] == 1 || out[5] == 2);
}

/* --- PIN and PUK ---------------------------------------------------------------------------------
 */

static void piv(unsigned arg)
{
    (void)arg;
    assert_int_equal(piv_lab_select(&lab), SW_OK);
}

static uint16_t verify(unsigned right)
{
    return piv_lab_verify(&lab, right ? PIV_LAB_PIN : "000000");
}

static uint16_t change_pin(unsigned right)
{
    return piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, right ? PIV_LAB_PIN : "000000", NEW_PIN);
}

static uint16_t change_puk(unsigned right)
{
    return piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, right ? PIV_LAB_PUK : "00000000",
                       NEW_PUK);
}

static uint16_t reset_pin(unsigned right)
{
    return piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, right ? NEW_PUK : "00000000", PIV_LAB_PIN);
}

#define PIN_TRIES(left)                                                                            \
    {                                                                                              \
        NVM_TRIES | LINK_PIN_PIV, left "\x03", 2                                                   \
    }
#define PUK_TRIES(left)                                                                            \
    {                                                                                              \
        NVM_TRIES | LINK_PIN_PIV_PUK, left "\x03", 2                                               \
    }
#define STEP(what, function, argument, answer)                                                     \
    .name = (what), .prepare = piv, .run = (function), .arg = (argument), .sw = (answer)

static const char try_taken[] = "the try is taken, the number not yet compared";
static const char try_back[] = "the old number was right: its tries are full, nothing is set";

static const struct torn_scenario numbers = {
    .name = "PIV: PIN and PUK",
    .steps =
        {
            {STEP("VERIFY, wrong", verify, 0, SW_PIN_TRIES | 2)},
            {STEP("VERIFY", verify, 1, 0), .between = {{try_taken, PIN_TRIES("\x01")}}},
            {STEP("CHANGE 80, wrong", change_pin, 0, SW_PIN_TRIES | 2)},
            {STEP("CHANGE 80", change_pin, 1, 0),
             .between = {{try_taken, PIN_TRIES("\x01")}, {try_back, PIN_TRIES("\x03")}}},
            {STEP("CHANGE 81, wrong", change_puk, 0, SW_PIN_TRIES | 2)},
            {STEP("CHANGE 81", change_puk, 1, 0),
             .between = {{try_taken, PUK_TRIES("\x01")}, {try_back, PUK_TRIES("\x03")}}},
            {STEP("VERIFY, wrong", verify, 0, SW_PIN_TRIES | 2)},
            {STEP("VERIFY, wrong", verify, 0, SW_PIN_TRIES | 1)},
            {STEP("VERIFY, wrong", verify, 0, SW_PIN_TRIES | 0)},
            {STEP("RESET, wrong", reset_pin, 0, SW_PIN_TRIES | 2)},
            {STEP("RESET", reset_pin, 1, 0),
             .between = {{try_taken, PUK_TRIES("\x01")}, {try_back, PUK_TRIES("\x03")}}},
        },
    .probe = probe,
};

static void test_numbers(void **state)
{
    (void)state;
    torn_run(&lab, &numbers, TORN_PLAIN);
}

static void test_numbers_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &numbers, TORN_FULL);
}

/* --- objects and keys ----------------------------------------------------------------------------
 */

static void admin(unsigned arg)
{
    piv(arg);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
}

static void next_admin(unsigned arg)
{
    piv(arg);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES256), SW_OK);
}

/* Object in the high byte, what is in it in the low one; 0 removes it. */
static uint16_t put(unsigned arg)
{
    uint8_t value[OBJECT_LEN];
    memset(value, (int)(arg & 0xFF), sizeof value);
    return piv_lab_put(&lab, (uint8_t)(arg >> 8), value, (arg & 0xFF) != 0 ? sizeof value : 0);
}

static uint16_t generate(unsigned number)
{
    EVP_PKEY *key = NULL;
    uint16_t sw = piv_lab_generate(&lab, PIV_REF_CARD, PIV_ALG_P256, &key);
    if (made[number] == NULL)
        made[number] = key;
    else
        EVP_PKEY_free(key);
    return sw;
}

static uint16_t set_admin(unsigned algorithm)
{
    uint8_t data[3 + 32] = {(uint8_t)algorithm, PIV_REF_ADMIN};
    size_t len = 0;
    const uint8_t *key = piv_lab_key((uint8_t)algorithm, &len);
    data[2] = (uint8_t)len;
    memcpy(data + 3, key, len);
    return piv_lab_apdu(&lab, INS_SET_ADMIN, 0xFF, 0xFF, data, 3 + len, NULL, NULL);
}

#define ADMIN(what, function, argument)                                                            \
    {                                                                                              \
        .name = (what), .prepare = admin, .run = (function), .arg = (argument)                     \
    }

/* A new key and the end of the old one's certificate are one step: they never stand together. */
static const struct torn_scenario management = {
    .name = "PIV: objects, keys, administration key",
    .steps =
        {
            ADMIN("PUT DATA", put, OTHER_OBJECT << 8 | 0x21),
            ADMIN("GENERATE 9E", generate, 0),
            ADMIN("PUT DATA certificate", put, CERT_9E << 8 | 0x22),
            ADMIN("PUT DATA again", put, OTHER_OBJECT << 8 | 0x23),
            ADMIN("GENERATE 9E again", generate, 1),
            ADMIN("PUT DATA certificate", put, CERT_9E << 8 | 0x24),
            ADMIN("PUT DATA, empty", put, OTHER_OBJECT << 8),
            ADMIN("SET MANAGEMENT KEY", set_admin, PIV_ALG_AES256),
            {.name = "SET MANAGEMENT KEY back",
             .prepare = next_admin,
             .run = set_admin,
             .arg = PIV_ALG_AES128},
        },
    .probe = probe,
    .growth = 1200 + ISSUER_MESSAGE_MAX + 256, /* objects leave room for the issuer's message */
};

static void test_management(void **state)
{
    (void)state;
    torn_run(&lab, &management, TORN_PLAIN);
}

static void test_management_nearly_full(void **state)
{
    (void)state;
    torn_run(&lab, &management, TORN_FULL);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_numbers),
        T(test_numbers_nearly_full),
        T(test_management),
        T(test_management_nearly_full),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
