/* test_card_piv_admin.c - the administration key of the PIV application, the lives of the card and
 * the interfaces in which PIV works, and that PIV and the link application do not reach into each
 * other. */
#include "unit.h"

#include "piv_lab.h"

#include <string.h>

#define AUTHENTICATE 0x87
#define GET_METADATA 0xF7
#define SET_ADMIN    0xFF

static const uint8_t algorithms[] = {PIV_ALG_3DES, PIV_ALG_AES128, PIV_ALG_AES192, PIV_ALG_AES256};
#define ALGORITHMS (sizeof algorithms)

static struct lab lab;

static int setup(void **state)
{
    (void)state;
    piv_lab_init(&lab, PIV_ALG_3DES);
    return 0;
}

static int setup_blank(void **state)
{
    (void)state;
    lab_init(&lab);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_free(&lab);
    return 0;
}

static uint16_t authenticate(uint8_t algorithm, const void *data, size_t n, uint8_t *out,
                             size_t *len)
{
    return piv_lab_apdu(&lab, AUTHENTICATE, algorithm, PIV_REF_ADMIN, data, n, out, len);
}

static bool is_admin(void)
{
    uint16_t sw = piv_lab_put(&lab, PIV_LAB_CERT_9A, "x", 1);
    assert_true(sw == SW_OK || sw == SW_SECURITY_STATUS);
    return sw == SW_OK;
}

/* 7C { tag value } */
static size_t wrapped(uint8_t tag, const uint8_t *value, size_t n, uint8_t out[64])
{
    struct buf_writer w;
    buf_writer_init(&w, out, 64);
    ber_put_header(&w, PIV_TAG_AUTH, 2 + n);
    ber_put(&w, tag, value, n);
    assert_false(w.bad);
    return w.len;
}

/* Asks for a challenge; checks its form. */
static void challenge_get(uint8_t p1, size_t block, uint8_t out[16])
{
    static const uint8_t ask[] = {PIV_TAG_AUTH, 2, PIV_TAG_CHALLENGE, 0};
    uint8_t answer[CARD_RESPONSE_MAX];
    size_t n = 0;
    assert_int_equal(authenticate(p1, ask, sizeof ask, answer, &n), SW_OK);
    assert_int_equal(n, 4 + block);
    const uint8_t head[] = {PIV_TAG_AUTH, (uint8_t)(2 + block), PIV_TAG_CHALLENGE, (uint8_t)block};
    assert_memory_equal(answer, head, sizeof head);
    memcpy(out, answer + 4, block);
}

static void test_every_algorithm(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALGORITHMS; i++) {
        uint8_t a = algorithms[i];
        size_t block = piv_lab_block(a);
        size_t key_len = 0;
        const uint8_t *key = piv_lab_key(a, &key_len);
        uint8_t challenge[16], sealed[16], data[64], out[CARD_RESPONSE_MAX];
        size_t n = 0;
        piv_lab_issue(&lab, a);
        assert_int_equal(piv_lab_select(&lab), SW_OK);
        /* Both sides. */
        assert_false(is_admin());
        assert_int_equal(piv_lab_admin(&lab, a), SW_OK);
        assert_true(is_admin());
        /* One side; to ask again is to begin again. */
        challenge_get(a, block, challenge);
        assert_false(is_admin());
        piv_lab_crypt(a, key, true, challenge, sealed);
        n = wrapped(PIV_TAG_RESPONSE, sealed, block, data);
        assert_int_equal(authenticate(a, data, n, out, &n), SW_OK);
        assert_int_equal(n, 0);
        assert_true(is_admin());
        /* 00 is whichever there is; another algorithm than the key's is none. */
        challenge_get(PIV_ALG_DEFAULT, block, challenge);
        for (size_t j = 0; j < ALGORITHMS; j++)
            if (j != i)
                assert_int_equal(piv_lab_admin(&lab, algorithms[j]), SW_WRONG_P1P2);
        assert_int_equal(piv_lab_admin(&lab, PIV_ALG_P256), SW_WRONG_P1P2);
        assert_false(is_admin());
    }
}

static void test_wrong_answers(void **state)
{
    uint8_t challenge[16], sealed[16], data[64];
    size_t key_len = 0, n = 0;
    const uint8_t *key = piv_lab_key(PIV_ALG_3DES, &key_len);
    (void)state;
    /* The challenge itself; all zero; a bit off; too short; the right one, a second time. */
    challenge_get(PIV_ALG_3DES, 8, challenge);
    n = wrapped(PIV_TAG_RESPONSE, challenge, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    assert_false(is_admin());
    challenge_get(PIV_ALG_3DES, 8, challenge);
    memset(sealed, 0, sizeof sealed);
    n = wrapped(PIV_TAG_RESPONSE, sealed, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    challenge_get(PIV_ALG_3DES, 8, challenge);
    piv_lab_crypt(PIV_ALG_3DES, key, true, challenge, sealed);
    sealed[7] ^= 1;
    n = wrapped(PIV_TAG_RESPONSE, sealed, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    sealed[7] ^= 1;
    n = wrapped(PIV_TAG_RESPONSE, sealed, 8, data);
    /* One question, one answer. */
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    challenge_get(PIV_ALG_3DES, 8, challenge);
    piv_lab_crypt(PIV_ALG_3DES, key, true, challenge, sealed);
    n = wrapped(PIV_TAG_RESPONSE, sealed, 7, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    assert_false(is_admin());
    challenge_get(PIV_ALG_3DES, 8, challenge);
    piv_lab_crypt(PIV_ALG_3DES, key, true, challenge, sealed);
    n = wrapped(PIV_TAG_RESPONSE, sealed, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_OK);
    assert_true(is_admin());
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    assert_false(is_admin());
}

/* What was asked for as a challenge is not answered as a witness, nor the other way round. */
static void test_kinds_do_not_mix(void **state)
{
    static const uint8_t ask[] = {PIV_TAG_AUTH, 2, PIV_TAG_WITNESS, 0};
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t plain[16], sealed[16], data[64];
    size_t key_len = 0, n = 0;
    struct buf_writer w;
    const uint8_t *key = piv_lab_key(PIV_ALG_3DES, &key_len);
    (void)state;
    assert_int_equal(authenticate(PIV_ALG_3DES, ask, sizeof ask, out, &n), SW_OK);
    piv_lab_crypt(PIV_ALG_3DES, key, false, out + 4, plain);
    n = wrapped(PIV_TAG_RESPONSE, plain, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    /* A witness given back as it came is no proof, and the card proves nothing for it. */
    assert_int_equal(authenticate(PIV_ALG_3DES, ask, sizeof ask, out, &n), SW_OK);
    buf_writer_init(&w, data, sizeof data);
    ber_put_header(&w, PIV_TAG_AUTH, 20);
    ber_put(&w, PIV_TAG_WITNESS, out + 4, 8);
    ber_put(&w, PIV_TAG_CHALLENGE, "abcdefgh", 8);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, w.len, out, &n), SW_SECURITY_STATUS);
    assert_int_equal(n, 0);
    challenge_get(PIV_ALG_3DES, 8, plain);
    piv_lab_crypt(PIV_ALG_3DES, key, true, plain, sealed);
    buf_writer_init(&w, data, sizeof data);
    ber_put_header(&w, PIV_TAG_AUTH, 20);
    ber_put(&w, PIV_TAG_WITNESS, sealed, 8);
    ber_put(&w, PIV_TAG_CHALLENGE, "abcdefgh", 8);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, w.len, out, &n), SW_SECURITY_STATUS);
    /* Nothing was ever asked. */
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    memset(plain, 0, sizeof plain);
    n = wrapped(PIV_TAG_RESPONSE, plain, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
    assert_false(is_admin());
}

/* The key encrypts nothing that the other side chose, before it has proved itself. */
static void test_no_oracle(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } wrong[] = {
        {"\x7C\x0A\x81\x08"
         "abcdefgh",
         12},
        {"\x7C\x0C\x81\x08"
         "abcdefgh\x82\x00",
         14},
        {"\x7C\x0A\x80\x08"
         "abcdefgh",
         12},
        {"\x7C\x00", 2},
        {"\x7C\x02\x82\x00", 4},
        {"\x7C\x02\x85\x00", 4},
        {"\x7C\x02\x83\x00", 4},
        {"\x7C\x04\x81\x00\x81\x00", 6},
        {"\x7C\x03\x81\x00", 4},
        {"\x7C\x02\x81\x00\x00", 5},
        {"\x7D\x02\x81\x00", 4},
        {"\x7C\x81\x02\x81\x00", 5},
    };
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(authenticate(PIV_ALG_3DES, wrong[i].data, wrong[i].len, out, &n),
                         SW_WRONG_DATA);
        assert_int_equal(n, 0);
    }
}

static void test_set_the_key(void **state)
{
    uint8_t data[3 + 32] = {PIV_ALG_AES128, PIV_REF_ADMIN, 16};
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    size_t len = 0;
    (void)state;
    const uint8_t *key = piv_lab_key(PIV_ALG_AES256, &len);
    memcpy(data + 3, key, len);
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 19, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFE, data, 19, NULL, NULL),
                     SW_WRONG_P1P2);
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 18, NULL, NULL),
                     SW_WRONG_DATA);
    data[1] = PIV_REF_AUTH;
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 19, NULL, NULL),
                     SW_WRONG_DATA);
    data[1] = PIV_REF_ADMIN;
    data[0] = PIV_ALG_AES192; /* of another length */
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 19, NULL, NULL),
                     SW_WRONG_LENGTH);
    data[0] = PIV_ALG_RSA2048;
    assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 19, NULL, NULL),
                     SW_WRONG_DATA);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK); /* it is still the old one */
    static const uint8_t order[] = {PIV_ALG_AES192, PIV_ALG_AES256, PIV_ALG_3DES, PIV_ALG_AES128};
    for (size_t i = 0; i < sizeof order; i++) {
        piv_lab_key(order[i], &len);
        data[0] = order[i];
        data[2] = (uint8_t)len;
        assert_int_equal(piv_lab_apdu(&lab, SET_ADMIN, 0xFF, 0xFF, data, 3 + len, NULL, NULL),
                         SW_OK);
        piv_lab_power(&lab, false);
        assert_int_equal(piv_lab_apdu(&lab, GET_METADATA, 0, PIV_REF_ADMIN, NULL, 0, out, &n),
                         SW_OK);
        const uint8_t metadata[] = {0x01, 0x01, order[i]};
        assert_int_equal(n, sizeof metadata);
        assert_memory_equal(out, metadata, n);
        assert_int_equal(piv_lab_admin(&lab, order[i]), SW_OK);
    }
    assert_int_equal(piv_lab_apdu(&lab, GET_METADATA, 0, PIV_REF_AUTH, NULL, 0, out, &n),
                     SW_REFERENCE_NOT_FOUND);
}

static void test_without_randomness(void **state)
{
    static const uint8_t ask[] = {PIV_TAG_AUTH, 2, PIV_TAG_CHALLENGE, 0};
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    lab.random_fails = true;
    assert_int_equal(authenticate(PIV_ALG_3DES, ask, sizeof ask, out, &n), SW_MEMORY_FAILURE);
    assert_int_equal(n, 0);
    lab.random_fails = false;
    uint8_t zero[8] = {0};
    uint8_t data[64];
    n = wrapped(PIV_TAG_RESPONSE, zero, 8, data);
    assert_int_equal(authenticate(PIV_ALG_3DES, data, n, NULL, NULL), SW_SECURITY_STATUS);
}

/* --- lives and interfaces ---
 */

static uint16_t authenticate_with(uint8_t ref)
{
    static const uint8_t hash[32] = {1};
    return piv_lab_use(&lab, ref, PIV_ALG_P256, PIV_TAG_CHALLENGE, hash, sizeof hash, NULL, NULL);
}

static void issuer(void)
{
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_true(lab_channel_open(&lab));
}

/* The issuer may finish personalisation through PIV; the holder may do nothing yet. */
static void test_blank(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
    for (size_t i = 0; i < ALGORITHMS; i++) /* no key, no administration */
        assert_int_equal(piv_lab_admin(&lab, algorithms[i]), SW_WRONG_P1P2);
    assert_int_equal(piv_lab_apdu(&lab, GET_METADATA, 0, PIV_REF_ADMIN, NULL, 0, out, &n),
                     SW_REFERENCE_NOT_FOUND);
    piv_lab_issue(&lab, PIV_ALG_AES128);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_CARD, PIV_ALG_P256, NULL), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_CARD, PIV_ALG_P256, NULL), SW_OK);
    assert_int_equal(piv_lab_put(&lab, 0x01, "cert", 4), SW_OK);
    assert_int_equal(authenticate_with(PIV_REF_CARD), SW_CONDITIONS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_CONDITIONS);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, "123456"),
                     SW_CONDITIONS);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "123456"),
                     SW_CONDITIONS);
}

/* Is the administration key or the PIN anywhere in the flash? */
static bool has_secrets(void)
{
    size_t key_len = 0;
    const uint8_t *key = piv_lab_key(PIV_ALG_AES128, &key_len);
    return memmem(lab.flash.bytes, sizeof lab.flash.bytes, key, key_len) != NULL ||
           memmem(lab.flash.bytes, sizeof lab.flash.bytes, PIV_LAB_PIN, 6) != NULL;
}

static void test_lives(void **state)
{
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    (void)state;
    lab_personalise(&lab, 1 << (LINK_KEY_TLS_P256 - 1), &card_ca, &root, 7);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    /* An active card without a PIV application of its own. */
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "123456"),
                     SW_REFERENCE_NOT_FOUND);
    assert_int_equal(authenticate_with(PIV_REF_CARD), SW_WRONG_P1P2);
    piv_lab_issue(&lab, PIV_ALG_AES128);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_CARD, PIV_ALG_P256, NULL), SW_OK);
    assert_int_equal(authenticate_with(PIV_REF_CARD), SW_OK);
    assert_true(has_secrets());
    /* Locked: PIV is not there. */
    issuer();
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_LOCKED), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_NOT_FOUND);
    issuer();
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_ACTIVE), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(authenticate_with(PIV_REF_CARD), SW_OK);
    /* Terminated: nothing of it is left. */
    issuer();
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_TERMINATED), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_NOT_FOUND);
    assert_false(has_secrets());
}

static void test_contactless(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    static const uint8_t refs[] = {PIV_REF_AUTH, PIV_REF_SIGNATURE};
    (void)state;
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    for (size_t i = 0; i < sizeof refs; i++)
        assert_int_equal(piv_lab_generate(&lab, refs[i], PIV_ALG_P256, NULL), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_CARD, PIV_ALG_P256, NULL), SW_OK);
    for (unsigned permitted = 0; permitted < 2; permitted++) {
        struct policy policy = lab_policy();
        if (permitted)
            policy.flags |= POLICY_PIV_CONTACTLESS;
        piv_lab_power(&lab, false);
        issuer();
        assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
        piv_lab_power(&lab, true);
        /* Free objects and 9E: always. Administration, PUK and the PIN's reset: never. */
        assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
        assert_int_equal(authenticate_with(PIV_REF_CARD), SW_OK);
        assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_SECURITY_STATUS);
        assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "x", 1), SW_SECURITY_STATUS);
        assert_int_equal(piv_lab_generate(&lab, PIV_REF_AUTH, PIV_ALG_P256, NULL),
                         SW_SECURITY_STATUS);
        assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "123456"),
                         SW_SECURITY_STATUS);
        assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, PIV_LAB_PUK, "12345678"),
                         SW_SECURITY_STATUS);
        /* The PIN and what it guards: as the issuer says. */
        uint16_t sw = permitted ? SW_OK : SW_SECURITY_STATUS;
        assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), sw);
        assert_int_equal(authenticate_with(PIV_REF_SIGNATURE), sw);
        assert_int_equal(authenticate_with(PIV_REF_AUTH), sw);
        assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, PIV_LAB_PIN),
                         sw);
        assert_int_equal(piv_lab_status(&lab), sw);
    }
    /* No try was lost to what was refused. */
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, "00000000", "123456"),
                     SW_PIN_TRIES | 2);
}

/* --- PIV and link ---
 */

static unsigned link_tries(uint16_t tag)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, tag, &o), CW_OK);
    return o.value[0];
}

static void test_tries_are_apart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        piv_lab_verify(&lab, "000000");
        piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, "00000000", "123456");
    }
    assert_int_equal(piv_lab_status(&lab), SW_PIN_BLOCKED);
    assert_int_equal(link_tries(LINK_TAG_TRIES), 3);
    assert_int_equal(link_tries(LINK_TAG_PUK), 3);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    for (unsigned i = 0; i < 4; i++)
        lab_verify(&lab, LINK_PIN_LINE, "000000");
    assert_int_equal(link_tries(LINK_TAG_TRIES), 0);
    piv_lab_issue(&lab, PIV_ALG_3DES);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(link_tries(LINK_TAG_TRIES), 0);
}

/* Neither PIN is good for the other application, under whichever reference. */
static void test_status_is_apart(void **state)
{
    (void)state;
    assert_int_equal(piv_lab_verify(&lab, LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_LINE, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, PIV_LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, PIV_REF_PIN, NULL, 0, 0, NULL, NULL),
                     SW_REFERENCE_NOT_FOUND);
    /* Selecting PIV, with or without an answer, takes back what link was given. */
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_LINE, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
}

/* The keys of link have numbers that PIV does not know, and its commands are not there. */
static void test_keys_are_apart(void **state)
{
    static const uint8_t hash[32] = {1};
    uint8_t before[CARD_RESPONSE_MAX], after[CARD_RESPONSE_MAX];
    size_t n = 0, m = 0;
    (void)state;
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_GET_DATA, 0x01, 0x01, NULL, 0, 1024, before, &n),
                     SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    for (unsigned ref = 0; ref < 256; ref++) {
        uint8_t r = (uint8_t)ref;
        if (r == PIV_REF_ADMIN)
            continue;
        bool own = r == PIV_REF_AUTH || r == PIV_REF_SIGNATURE || r == PIV_REF_MANAGEMENT ||
                   r == PIV_REF_CARD;
        uint16_t sw =
            piv_lab_use(&lab, r, PIV_ALG_P256, PIV_TAG_CHALLENGE, hash, sizeof hash, NULL, NULL);
        assert_int_equal(sw, r == PIV_REF_SIGNATURE ? SW_SECURITY_STATUS : SW_WRONG_P1P2);
        if (!own)
            assert_int_equal(piv_lab_generate(&lab, r, PIV_ALG_P256, NULL), SW_WRONG_P1P2);
    }
    static const uint8_t link_only[] = {INS_GET_CHALLENGE, INS_GET_DATA, INS_PUT_DATA};
    for (size_t i = 0; i < sizeof link_only; i++)
        assert_int_equal(lab_apdu(&lab, 0x00, link_only[i], 0, 0, NULL, 0, 256, NULL, NULL),
                         SW_INS);
    static const uint8_t proprietary[] = {INS_OPEN,      INS_SIGN_ORDER,
                                          INS_INFO,      INS_REQUEST,
                                          INS_APPLY,     SCP03_INS_INITIALIZE_UPDATE,
                                          INS_SET_STATUS};
    for (size_t i = 0; i < sizeof proprietary; i++)
        assert_int_equal(lab_apdu(&lab, 0x80, proprietary[i], 0, 0, NULL, 0, 256, NULL, NULL),
                         SW_INS);
    /* There is no way to bring a key in. */
    assert_int_equal(
        lab_apdu(&lab, 0x00, 0xFE, PIV_ALG_P256, PIV_REF_AUTH, hash, sizeof hash, 0, NULL, NULL),
        SW_INS);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_GET_DATA, 0x01, 0x01, NULL, 0, 1024, after, &m),
                     SW_OK);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_algorithm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_oracle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_randomness, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blank, setup_blank, teardown),
        cmocka_unit_test_setup_teardown(test_lives, setup_blank, teardown),
        cmocka_unit_test_setup_teardown(test_contactless, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tries_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_is_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_apart, setup, teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
