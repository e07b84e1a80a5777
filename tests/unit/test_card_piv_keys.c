/* test_card_piv_keys.c - the key pairs of the PIV application: who may use which, for what, and
 * when; signatures, decryption and agreement against OpenSSL; and keys that are replaced while the
 * power fails. */
#include "unit.h"

#include "piv_lab.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#define GET_DATA     0xCB
#define AUTHENTICATE 0x87

static struct lab lab;
static EVP_PKEY *key;

static int setup(void **state)
{
    (void)state;
    piv_lab_init(&lab, PIV_ALG_AES128);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    key = NULL;
    lab_free(&lab);
    return 0;
}

static void generate(uint8_t ref, uint8_t algorithm)
{
    EVP_PKEY_free(key);
    key = NULL;
    assert_int_equal(piv_lab_generate(&lab, ref, algorithm, &key), SW_OK);
}

static bool signature_fits(EVP_PKEY *k, const uint8_t *hash, size_t hash_len, const uint8_t *sig,
                           size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k, NULL);
    assert_true(EVP_PKEY_verify_init(ctx) == 1);
    bool good = EVP_PKEY_verify(ctx, sig, len, hash, hash_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static uint16_t sign(uint8_t ref, const uint8_t *hash, size_t hash_len, uint8_t *sig, size_t *len)
{
    return piv_lab_use(&lab, ref, PIV_ALG_P256, PIV_TAG_CHALLENGE, hash, hash_len, sig, len);
}

/* Signs with the P-256 key of `ref`; the signature is that of `key`. */
static uint16_t sign_and_check(uint8_t ref, const uint8_t *hash, size_t hash_len)
{
    uint8_t sig[512];
    size_t len = 0;
    uint16_t sw = sign(ref, hash, hash_len, sig, &len);
    if (sw == SW_OK)
        assert_true(signature_fits(key, hash, hash_len, sig, len));
    return sw;
}

static const uint8_t hash[64] = {0x9F, 2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
                                 17,   18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32};

static void test_pin_once(void **state)
{
    static const uint8_t lengths[] = {20, 28, 32};
    (void)state;
    generate(PIV_REF_AUTH, PIV_ALG_P256);
    assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, 32), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    for (size_t i = 0; i < sizeof lengths; i++)
        assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, lengths[i]), SW_OK);
    for (size_t len = 0; len <= sizeof hash; len++)
        if (len < 20 || len > 32)
            assert_int_equal(sign(PIV_REF_AUTH, hash, len, NULL, NULL), SW_WRONG_DATA);
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_AUTH, PIV_ALG_RSA2048, PIV_TAG_CHALLENGE, hash, 32, NULL, NULL),
        SW_WRONG_P1P2);
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_AUTH, PIV_ALG_DEFAULT, PIV_TAG_CHALLENGE, hash, 32, NULL, NULL),
        SW_WRONG_P1P2);
    /* It ends with a wrong one, with P1 FF, with the reset. */
    assert_int_equal(piv_lab_verify(&lab, "000000"), SW_PIN_TRIES | 2);
    assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, 32), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0xFF, PIV_REF_PIN, NULL, 0, 0, NULL, NULL),
                     SW_OK);
    assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, 32), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    piv_lab_power(&lab, false);
    assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, 32), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(sign_and_check(PIV_REF_AUTH, hash, 32), SW_OK);
}

static void test_card_authentication_wants_no_pin(void **state)
{
    (void)state;
    generate(PIV_REF_CARD, PIV_ALG_P256);
    piv_lab_power(&lab, false);
    assert_int_equal(sign_and_check(PIV_REF_CARD, hash, 32), SW_OK);
}

/* What may come between VERIFY and a signature by 9C: nothing (part 1 §3.2.2, "PIN always"). */
enum between {
    NOTHING,
    USE_9C,
    USE_9A,
    STATUS,
    SELECT,
    READ,
    REST,
    UNKNOWN,
    GARBAGE,
    CHANGE,
    PIECE
};

static void go_between(enum between what)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    switch (what) {
    case NOTHING:
        break;
    case USE_9C:
        assert_int_equal(sign(PIV_REF_SIGNATURE, hash, 32, out, &n), SW_OK);
        break;
    case USE_9A:
        assert_int_equal(sign(PIV_REF_AUTH, hash, 32, out, &n), SW_OK);
        break;
    case STATUS:
        assert_int_equal(piv_lab_status(&lab), SW_OK);
        break;
    case SELECT:
        assert_int_equal(piv_lab_select(&lab), SW_OK);
        break;
    case READ:
        assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
        break;
    case REST:
        lab_apdu(&lab, 0x00, INS_GET_RESPONSE, 0, 0, NULL, 0, 256, out, &n);
        break;
    case UNKNOWN:
        assert_int_equal(lab_apdu(&lab, 0x00, 0xFE, 0, 0, NULL, 0, 0, NULL, NULL), SW_INS);
        break;
    case GARBAGE:
        n = card_process(lab.card, (const uint8_t *)"\x00", 1, out, sizeof out);
        assert_int_equal(n, 2);
        break;
    case CHANGE:
        assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, PIV_LAB_PIN),
                         SW_OK);
        break;
    case PIECE: /* the beginning of a chain, which is then broken */
        assert_int_equal(lab_apdu(&lab, APDU_CLA_CHAIN, AUTHENTICATE, PIV_ALG_P256,
                                  PIV_REF_SIGNATURE, hash, 4, 0, NULL, NULL),
                         SW_OK);
        assert_int_equal(lab_apdu(&lab, 0x00, 0xFE, 0, 0, NULL, 0, 0, NULL, NULL),
                         SW_LAST_OF_CHAIN);
        break;
    }
}

static void test_pin_always(void **state)
{
    (void)state;
    generate(PIV_REF_AUTH, PIV_ALG_P256);
    generate(PIV_REF_SIGNATURE, PIV_ALG_P256);
    assert_int_equal(sign_and_check(PIV_REF_SIGNATURE, hash, 32), SW_SECURITY_STATUS);
    for (int what = NOTHING; what <= PIECE; what++) {
        assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
        go_between((enum between)what);
        assert_int_equal(sign_and_check(PIV_REF_SIGNATURE, hash, 32),
                         what == NOTHING ? SW_OK : SW_SECURITY_STATUS);
        /* The other keys are not concerned. */
        assert_int_equal(sign(PIV_REF_AUTH, hash, 32, NULL, NULL), SW_OK);
    }
    /* Once and no more, also when it failed. */
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(sign(PIV_REF_SIGNATURE, hash, 7, NULL, NULL), SW_WRONG_DATA);
    assert_int_equal(sign_and_check(PIV_REF_SIGNATURE, hash, 32), SW_SECURITY_STATUS);
    /* A chain of two is one command. */
    uint8_t command[5 + 36] = {PIV_TAG_AUTH, 36, PIV_TAG_RESPONSE, 0, PIV_TAG_CHALLENGE, 32};
    memcpy(command + 6, hash, 32);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, APDU_CLA_CHAIN, AUTHENTICATE, PIV_ALG_P256, PIV_REF_SIGNATURE,
                              command, 10, 0, NULL, NULL),
                     SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, AUTHENTICATE, PIV_ALG_P256, PIV_REF_SIGNATURE,
                              command + 10, 28, 256, NULL, NULL),
                     SW_OK);
}

static size_t point_of(EVP_PKEY *k, uint8_t out[65])
{
    size_t n = 0;
    assert_true(EVP_PKEY_get_octet_string_param(k, OSSL_PKEY_PARAM_PUB_KEY, out, 65, &n) == 1);
    return n;
}

static void test_agreement(void **state)
{
    EVP_PKEY *other = EVP_EC_gen("P-256");
    uint8_t point[65], bad[66] = {0};
    uint8_t shared[512], expected[64];
    size_t n = 0, m = sizeof expected;
    (void)state;
    generate(PIV_REF_MANAGEMENT, PIV_ALG_P256);
    assert_int_equal(point_of(other, point), 65);
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, point, 65, shared, &n),
        SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, point, 65, shared, &n),
        SW_OK);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(other, NULL);
    assert_true(EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, key) == 1 &&
                EVP_PKEY_derive(ctx, expected, &m) == 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    assert_int_equal(n, 32);
    assert_int_equal(m, 32);
    assert_memory_equal(shared, expected, 32);
    /* Points that are none, or in another form. */
    memcpy(bad, point, 65);
    bad[64] ^= 1;
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, bad, 65, NULL, NULL),
        SW_WRONG_DATA);
    memcpy(bad, point, 65);
    for (unsigned form = 0; form < 256; form++) {
        bad[0] = (uint8_t)form;
        assert_int_equal(
            piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, bad, 65, NULL, NULL),
            form == 4 ? SW_OK : SW_WRONG_DATA);
    }
    bad[0] = 2;
    static const size_t lengths[] = {0, 1, 33, 64, 66};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, bad,
                                     lengths[i], NULL, NULL),
                         SW_WRONG_DATA);
    memset(bad, 0, sizeof bad);
    bad[0] = 4;
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, bad, 65, NULL, NULL),
        SW_WRONG_DATA);
    memset(bad + 1, 0xFF, 64);
    assert_int_equal(
        piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, bad, 65, NULL, NULL),
        SW_WRONG_DATA);
}

/* One key, one use: the agreement key signs nothing, the others agree on nothing. */
static void test_uses_do_not_mix(void **state)
{
    EVP_PKEY *other = EVP_EC_gen("P-256");
    uint8_t point[65];
    static const uint8_t signing[] = {PIV_REF_AUTH, PIV_REF_SIGNATURE, PIV_REF_CARD};
    (void)state;
    point_of(other, point);
    EVP_PKEY_free(other);
    generate(PIV_REF_MANAGEMENT, PIV_ALG_P256);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(sign(PIV_REF_MANAGEMENT, hash, 32, NULL, NULL), SW_WRONG_DATA);
    for (size_t i = 0; i < sizeof signing; i++) {
        generate(signing[i], PIV_ALG_P256);
        assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
        assert_int_equal(
            piv_lab_use(&lab, signing[i], PIV_ALG_P256, PIV_TAG_POINT, point, 65, NULL, NULL),
            SW_WRONG_DATA);
        assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
        assert_int_equal(
            piv_lab_use(&lab, signing[i], PIV_ALG_P256, PIV_TAG_WITNESS, hash, 32, NULL, NULL),
            SW_WRONG_DATA);
    }
}

static void test_malformed_templates(void **state)
{
    static const struct {
        const char *head;
        size_t len;
    } wrong[] = {
        {"\x7C\x22\x81\x20", 4},                 /* no response wanted: taken all the same, below */
        {"\x7C\x26\x82\x00\x81\x20", 6},         /* too long */
        {"\x7C\x23\x82\x00\x81\x20", 6},         /* too short */
        {"\x7B\x24\x82\x00\x81\x20", 6},         /* another template */
        {"\x7C\x24\x82\x00\x86\x20", 6},         /* an unknown tag */
        {"\x7C\x26\x81\x00\x82\x00\x81\x20", 8}, /* the challenge twice */
        {"\x7C\x26\x85\x00\x82\x00\x81\x20", 8}, /* a point as well */
        {"\x7C\x26\x80\x00\x82\x00\x81\x20", 8}, /* a witness as well */
    };
    uint8_t data[64];
    (void)state;
    generate(PIV_REF_CARD, PIV_ALG_P256);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(data, wrong[i].head, wrong[i].len);
        memcpy(data + wrong[i].len, hash, 32);
        assert_int_equal(piv_lab_apdu(&lab, AUTHENTICATE, PIV_ALG_P256, PIV_REF_CARD, data,
                                      wrong[i].len + 32, NULL, NULL),
                         i == 0 ? SW_OK : SW_WRONG_DATA);
    }
}

/* --- RSA ---
 */

/* x^e mod n */
static void rsa_public(const uint8_t in[256], uint8_t out[256])
{
    BIGNUM *n = NULL, *e = NULL;
    BIGNUM *x = BN_bin2bn(in, 256, NULL);
    BN_CTX *ctx = BN_CTX_new();
    assert_true(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
                EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1);
    assert_int_equal(BN_get_word(e), 65537);
    assert_int_equal(BN_num_bits(n), 2048);
    assert_true(BN_mod_exp(x, x, e, n, ctx) == 1);
    assert_int_equal(BN_bn2binpad(x, out, 256), 256);
    BN_free(n);
    BN_free(e);
    BN_free(x);
    BN_CTX_free(ctx);
}

static void modulus_plus(int add, uint8_t out[256])
{
    BIGNUM *n = NULL;
    assert_true(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1);
    assert_true(add < 0 ? BN_sub_word(n, (BN_ULONG)-add) : BN_add_word(n, (BN_ULONG)add));
    assert_int_equal(BN_bn2binpad(n, out, 256), 256);
    BN_free(n);
}

static uint16_t rsa(uint8_t ref, const uint8_t *in, size_t n, uint8_t *out, size_t *len)
{
    return piv_lab_use(&lab, ref, PIV_ALG_RSA2048, PIV_TAG_CHALLENGE, in, n, out, len);
}

static unsigned works;

static void working(void *ctx)
{
    (void)ctx;
    works++;
}

/* Whatever block the client has padded, PKCS #1 v1.5, PSS or a cryptogram: the card raises it. */
static void test_rsa(void **state)
{
    uint8_t block[257], out[512], back[256];
    size_t n = 0;
    (void)state;
    works = 0;
    lab.port.working = working;
    generate(PIV_REF_MANAGEMENT, PIV_ALG_RSA2048);
    lab.port.working = NULL;
    assert_true(works > 0); /* a transport could ask for more time */
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 5 + 1);
    block[0] = 0;
    assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, 256, out, &n), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, 256, out, &n), SW_OK);
    assert_int_equal(n, 256);
    rsa_public(out, back);
    assert_memory_equal(back, block, 256);
    /* The largest block there is, and what is no block. */
    modulus_plus(-1, block);
    assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, 256, out, &n), SW_OK);
    assert_memory_equal(out, block, 256); /* -1 to an odd power */
    for (int add = 0; add < 3; add++) {
        modulus_plus(add, block);
        assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, 256, out, &n), SW_WRONG_DATA);
    }
    memset(block, 0xFF, sizeof block);
    assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, 256, out, &n), SW_WRONG_DATA);
    memset(block, 0, sizeof block);
    static const size_t lengths[] = {0, 1, 32, 255, 257};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(rsa(PIV_REF_MANAGEMENT, block, lengths[i], out, &n), SW_WRONG_DATA);
    assert_int_equal(piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_RSA2048, PIV_TAG_POINT, block,
                                 256, NULL, NULL),
                     SW_WRONG_DATA);
}

static void test_rsa_signature_wants_the_pin_each_time(void **state)
{
    uint8_t block[256] = {0, 1}, out[512], back[256];
    size_t n = 0;
    (void)state;
    memset(block + 2, 0xFF, 200);
    generate(PIV_REF_SIGNATURE, PIV_ALG_RSA2048);
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(rsa(PIV_REF_SIGNATURE, block, 256, out, &n), SW_OK);
    rsa_public(out, back);
    assert_memory_equal(back, block, 256);
    /* The answer was fetched by GET RESPONSE; that, too, is over. */
    assert_int_equal(rsa(PIV_REF_SIGNATURE, block, 256, out, &n), SW_SECURITY_STATUS);
}

/* --- making keys ---
 */

static void test_generate_wants_the_key(void **state)
{
    static const struct {
        const char *data;
        size_t len;
    } wrong[] = {
        {"\xAC\x03\x80\x01\x06", 5},             /* RSA-1024 */
        {"\xAC\x03\x80\x01\x14", 5},             /* P-384 */
        {"\xAC\x03\x80\x01\x03", 5},             /* 3DES */
        {"\xAC\x04\x80\x02\x11\x11", 6},         /* two of them */
        {"\xAC\x03\x81\x01\x11", 5},             /* another tag */
        {"\xAB\x03\x80\x01\x11", 5},             /* another template */
        {"\xAC\x03\x80\x01\x11\x00", 6},         /* too long */
        {"\xAC\x06\x80\x01\x11\xAA\x01\x01", 8}, /* with a PIN policy of its own */
        {"\xAC\x04\x80\x01\x11", 5},             /* too short */
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(piv_lab_apdu(&lab, INS_GENERATE_KEY, 0, PIV_REF_AUTH, wrong[i].data,
                                      wrong[i].len, NULL, NULL),
                         SW_WRONG_DATA);
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK); /* the PIN is not it */
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_AUTH, PIV_ALG_P256, NULL), SW_SECURITY_STATUS);
    assert_int_equal(sign(PIV_REF_AUTH, hash, 32, NULL, NULL), SW_WRONG_P1P2);
}

static bool certificate_there(void)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint16_t sw = piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n);
    assert_true(sw == SW_OK || sw == SW_NOT_FOUND);
    return sw == SW_OK;
}

/* Is the key in 9A this one? */
static bool key_is(EVP_PKEY *k)
{
    uint8_t sig[512];
    size_t len = 0;
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(sign(PIV_REF_AUTH, hash, 32, sig, &len), SW_OK);
    return signature_fits(k, hash, 32, sig, len);
}

static void test_new_key_takes_the_certificate_away(void **state)
{
    static const struct {
        uint8_t ref, object;
    } slots[] = {{PIV_REF_AUTH, 0x05},
                 {PIV_REF_SIGNATURE, 0x0A},
                 {PIV_REF_MANAGEMENT, 0x0B},
                 {PIV_REF_CARD, 0x01}};
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(piv_lab_put(&lab, slots[i].object, "cert", 4), SW_OK);
    for (size_t i = 0; i < 4; i++) {
        generate(slots[i].ref, PIV_ALG_P256);
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(piv_lab_get(&lab, slots[j].object, out, sizeof out, &n),
                             j <= i ? SW_NOT_FOUND : SW_OK);
    }
}

static void test_failed_generation_changes_nothing(void **state)
{
    static const uint8_t kinds[] = {PIV_ALG_P256, PIV_ALG_RSA2048};
    (void)state;
    generate(PIV_REF_AUTH, PIV_ALG_P256);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "cert", 4), SW_OK);
    for (size_t i = 0; i < sizeof kinds; i++) {
        lab.random_fails = true;
        uint16_t sw = piv_lab_generate(&lab, PIV_REF_AUTH, kinds[i], NULL);
        lab.random_fails = false;
        assert_int_not_equal(sw, SW_OK);
        assert_true(certificate_there());
        assert_true(key_is(key));
    }
}

/* Power fails at every byte: the old key with its certificate, or a new one without. */
static void test_torn_generation(void **state)
{
    static struct lab_flash before;
    unsigned done = 0, kept = 0;
    (void)state;
    generate(PIV_REF_AUTH, PIV_ALG_P256);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "cert", 4), SW_OK);
    piv_lab_power(&lab, false);
    before = lab.flash;
    for (long budget = 0; done == 0; budget++) {
        lab.flash = before;
        piv_lab_power(&lab, false);
        assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
        lab.flash.budget = budget;
        uint16_t sw = piv_lab_generate(&lab, PIV_REF_AUTH, PIV_ALG_P256, NULL);
        bool cut = lab.flash.dead;
        assert_true(cut || sw == SW_OK);
        piv_lab_power(&lab, false);
        bool old = key_is(key);
        assert_true(old == certificate_there());
        if (sw == SW_OK)
            assert_false(old);
        kept += old;
        done += !cut;
    }
    assert_true(kept > 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pin_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_card_authentication_wants_no_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pin_always, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agreement, setup, teardown),
        cmocka_unit_test_setup_teardown(test_uses_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_templates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rsa, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rsa_signature_wants_the_pin_each_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_generate_wants_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_key_takes_the_certificate_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_generation_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_generation, setup, teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
