/* ct.c - the card with its secrets marked (secret.h), for valgrind: `ct NAME` runs one test, `ct
 * --list` names them. leak_*: must be reported; stack_*: run without valgrind; all others must not
 * be reported. test_constant_time.py holds them to it; docs/constant-time.md says what is covered.
 */
#include "tests/unit/unit.h"

#include "base/ct.h"
#include "base/hard.h"
#include "card/scp03_mbedtls.h"
#include "proto/order.h"
#include "secret.h"
#include "stack.h"
#include "tests/unit/piv_lab.h"

#include <mbedtls/aes.h>
#include <mbedtls/des.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <psa/crypto.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))

static struct lab lab;
static struct lab_identity root, card_ca, ec_server, rsa_server;
static enum cw_err (*lab_random)(void *ctx, uint8_t *buf, size_t len);

/* --- secrets in the card's memory ------------------------------------------------------------- */

/* Runs of bytes in the card's flash that are secret; found before the first is marked. */
static struct {
    const uint8_t *at;
    size_t len;
} secrets[16];
static size_t secret_count;

static void secret_add(const uint8_t *at, size_t len)
{
    assert_true(secret_count < sizeof secrets / sizeof *secrets);
    secrets[secret_count].at = at;
    secrets[secret_count++].len = len;
}

/* The next place in flash, after `at`, where `what` is; NULL: none. */
static const uint8_t *next_in_flash(const uint8_t *at, const void *what, size_t len)
{
    at = at == NULL ? lab.flash.bytes : at + 1;
    return memmem(at, (size_t)(lab.flash.bytes + sizeof lab.flash.bytes - at), what, len);
}

/* Every copy of a PIN: its length, its digits, and what pads them. */
static void find_pin(const char *digits)
{
    size_t before = secret_count;
    const uint8_t *at = NULL;
    while ((at = next_in_flash(at, digits, strlen(digits))) != NULL) {
        assert_int_equal(at[-1], strlen(digits));
        secret_add(at - 1, 1 + LINK_PIN_MAX);
    }
    assert_true(secret_count > before);
}

/* The set of keys of the issuer's channel. */
static void find_channel_keys(void)
{
    const uint8_t *const keys[] = {lab.keys.enc, lab.keys.mac, lab.keys.dek};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const uint8_t *at = next_in_flash(NULL, keys[i], SCP03_KEY_LEN);
        assert_non_null(at);
        secret_add(at, SCP03_KEY_LEN);
    }
}

/* The P-256 keys, as PSA stores them: magic (8 bytes), version (4), lifetime (4), type (2), bits
 * (2), policy (12), length (4), key. */
static void find_keys(void)
{
    static const char magic[8] = "PSA\0KEY";
    size_t before = secret_count;
    const uint8_t *at = NULL;
    while ((at = next_in_flash(at, magic, sizeof magic)) != NULL) {
        assert_int_equal(at[32], 32);
        secret_add(at + 36, 32);
    }
    assert_int_equal(secret_count - before, 2);
}

static enum cw_err secret_random(void *ctx, uint8_t *buf, size_t len)
{
    enum cw_err err = lab_random(ctx, buf, len);
    secret_mark(buf, len);
    return err;
}

/* From here on the PIN, the keys and every random number that the card takes are secret. */
static void mark_all(void)
{
    for (size_t i = 0; i < secret_count; i++)
        secret_mark(secrets[i].at, secrets[i].len);
    lab_random = lab.port.random;
    lab.port.random = secret_random;
}

/* --- the card ---------------------------------------------------------------------------------
 */

/* Under valgrind OpenSSL takes most of a minute to make an RSA key: a server's is read from the
 * file that CT_RSA_KEY names. */
EVP_PKEY *__real_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *query, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *query, const char *type, ...);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *ctx, const char *query, const char *type, ...)
{
    if (strcmp(type, "RSA") != 0)
        return __real_EVP_PKEY_Q_keygen(ctx, query, type, "P-256");
    const char *path = getenv("CT_RSA_KEY");
    assert_non_null(path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    assert_non_null(key);
    return key;
}

static int make_card(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    ec_server = lab_server_new(&root, &(struct lab_server_spec){0});
    rsa_server = lab_server_new(&root, &(struct lab_server_spec){.rsa = true});
    lab_init(&lab);
    lab_personalise(&lab, SLOTS, &card_ca, &root, 7);
    /* Nothing of the secrets is in the card's RAM when they are marked. */
    assert_true(lab_power_cycle(&lab));
    secret_count = 0;
    find_pin(LAB_PIN);
    find_pin(LAB_PUK);
    find_channel_keys();
    find_keys();
    memset(&secret_seen, 0, sizeof secret_seen);
    return 0;
}

static int free_card(void **state)
{
    (void)state;
    lab_free(&lab);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    lab_identity_free(&ec_server);
    lab_identity_free(&rsa_server);
    return 0;
}

/* --- PIN -------------------------------------------------------------------------------------- */

static void test_equal(void **state)
{
    uint8_t a[64];
    uint8_t b[64];
    (void)state;
    memset(a, 0x5A, sizeof a);
    for (size_t differs = 0; differs <= sizeof a; differs++) {
        memcpy(b, a, sizeof b);
        if (differs < sizeof b)
            b[differs] ^= 0x80;
        secret_mark(b, sizeof b);
        assert_int_equal(ct_equal(a, b, sizeof a), differs == sizeof a);
    }
    assert_int_equal(secret_seen.compared, sizeof a + 1);
}

static void verify_all(void)
{
    static const char *const wrong[] = {"000000", "271829", "2718280", "2718", "999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, wrong[i]), SW_PIN_TRIES | 2);
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    }
    assert_int_equal(secret_seen.compared, 10 * HARD_PASSES);
    assert_int_equal(secret_seen.answered, 0);
}

static void test_pin(void **state)
{
    (void)state;
    mark_all();
    verify_all();
}

/* CHANGE REFERENCE DATA, RESET RETRY COUNTER: length of the first number, it, the new PIN. */
static uint16_t give_two(uint8_t ins, const char *first, const char *pin)
{
    uint8_t data[1 + 2 * LINK_PIN_MAX];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_u8(&w, (uint8_t)strlen(first));
    buf_put_str(&w, first);
    buf_put_str(&w, pin);
    return lab_apdu(&lab, 0x00, ins, 0, LINK_PIN_LINE, data, w.len, 0, NULL, NULL);
}

/* The old PIN and the PUK are the card's; the new PIN the terminal knows. */
static void test_pin_change(void **state)
{
    (void)state;
    mark_all();
    assert_int_equal(give_two(INS_CHANGE_PIN, "271829", "1379"), SW_PIN_TRIES | 2);
    assert_int_equal(give_two(INS_CHANGE_PIN, LAB_PIN, "1379"), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, "1379"), SW_OK);
    assert_int_equal(give_two(INS_RESET_PIN, "31415927", "2468"), SW_PIN_TRIES | 2);
    assert_int_equal(give_two(INS_RESET_PIN, LAB_PUK, "2468"), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, "2468"), SW_OK);
    assert_int_equal(secret_seen.compared, 4 * HARD_PASSES);
}

/* The issuer's channel: its keys, and those of the session. */
static void test_issuer_channel(void **state)
{
    const struct policy policy = lab_policy();
    (void)state;
    mark_all();
    assert_true(lab_channel_open(&lab));
    secret_commands = 1;
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    /* The issuer's cryptogram, and the MACs of two commands. */
    assert_int_equal(secret_seen.compared, 3 * HARD_PASSES);
    assert_true(secret_seen.decrypted > 0 && secret_seen.answered > 0);
    /* New keys come encrypted in a command that is encrypted: they stay secret. */
    secret_commands = 1;
    assert_int_equal(lab_put_keys(&lab), SW_OK);
    assert_int_equal(secret_seen.compared,
                     4 * HARD_PASSES + 3 + 1); /* MAC, check values, CRC of the record */
}

/* --- PIV -------------------------------------------------------------------------------------- */

static EVP_PKEY *piv_signer, *piv_agreer;

/* The two keys are made where they are then found: this is not for valgrind. */
static void make_piv_keys(void)
{
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_SIGNATURE, PIV_ALG_P256, &piv_signer), SW_OK);
    assert_int_equal(piv_lab_generate(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, &piv_agreer), SW_OK);
}

/* Are these 32 bytes the private half? */
static bool is_private_half(const uint8_t *scalar, EVP_PKEY *public)
{
    uint8_t made[65], wanted[65];
    size_t n = 0;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *k = BN_bin2bn(scalar, 32, NULL);
    assert_true(EC_POINT_mul(group, point, k, NULL, NULL, NULL) == 1);
    memset(made, 0, sizeof made);
    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, made, sizeof made, NULL);
    assert_true(EVP_PKEY_get_octet_string_param(public, "pub", wanted, sizeof wanted, &n) == 1);
    BN_free(k);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return memcmp(made, wanted, sizeof wanted) == 0;
}

/* Stored as the algorithm's number, then the scalar. */
static void find_piv_key(EVP_PKEY *public)
{
    static const uint8_t algorithm[] = {PIV_ALG_P256};
    const uint8_t *const end = lab.flash.bytes + sizeof lab.flash.bytes;
    size_t before = secret_count;
    const uint8_t *at = NULL;
    while ((at = next_in_flash(at, algorithm, 1)) != NULL)
        if (end - at > 32 && is_private_half(at + 1, public))
            secret_add(at + 1, 32);
    assert_true(secret_count > before);
}

/* Administration, and both uses of a key. */
static void use_piv(void)
{
    const uint8_t hash[32] = {1};
    uint8_t out[512], point[65];
    size_t n = 0;
    assert_true(EVP_PKEY_get_octet_string_param(ec_server.key, "pub", point, sizeof point, &n) ==
                1);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_AES128), SW_OK);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(piv_lab_use(&lab, PIV_REF_SIGNATURE, PIV_ALG_P256, PIV_TAG_CHALLENGE, hash,
                                 sizeof hash, out, &n),
                     SW_OK);
    assert_int_equal(piv_lab_use(&lab, PIV_REF_MANAGEMENT, PIV_ALG_P256, PIV_TAG_POINT, point,
                                 sizeof point, out, &n),
                     SW_OK);
}

static int make_piv_card(void **state)
{
    size_t len = 0;
    const uint8_t *key = piv_lab_key(PIV_ALG_AES128, &len);
    make_card(state);
    piv_lab_issue(&lab, PIV_ALG_AES128);
    make_piv_keys();
    assert_true(lab_power_cycle(&lab));
    find_pin(PIV_LAB_PIN);
    find_pin(PIV_LAB_PUK);
    find_piv_key(piv_signer);
    find_piv_key(piv_agreer);
    size_t before = secret_count;
    for (const uint8_t *at = NULL; (at = next_in_flash(at, key, len)) != NULL;)
        secret_add(at, len);
    assert_true(secret_count > before);
    memset(&secret_seen, 0, sizeof secret_seen);
    return 0;
}

static int free_piv_card(void **state)
{
    EVP_PKEY_free(piv_signer);
    EVP_PKEY_free(piv_agreer);
    return free_card(state);
}

static void test_piv(void **state)
{
    (void)state;
    mark_all();
    use_piv();
    assert_int_equal(secret_seen.signatures, 1);
    assert_int_equal(secret_seen.compared, 2 * HARD_PASSES); /* the witness, the PIN */
    assert_int_equal(secret_seen.answered, 3); /* witness, response, what was agreed on */
    assert_int_equal(piv_lab_verify(&lab, "577216"), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, "16180339"),
                     SW_OK);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, "69314719", "141421"),
                     SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "141421"), SW_OK);
    assert_int_equal(secret_seen.compared, 6 * HARD_PASSES);
}

/* The same commands with a comparison that stops at the first difference. */
static void leak_pin(void **state)
{
    (void)state;
    mark_all();
    secret_leaky_equal = true;
    verify_all();
    secret_leaky_equal = false;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void sign_order(void)
{
    uint8_t data[ORDER_TLV_MAX];
    uint8_t out[CARD_RESPONSE_MAX];
    struct buf_writer w;
    size_t n = 0;
    const struct order_fields f = {.payer = "ZZ12000000000001",
                                   .payee = "ZZ34000000000002",
                                   .payee_name = "Ben Example",
                                   .amount = 1234,
                                   .currency = "EUR",
                                   .reference = "Lunch",
                                   .id = {1},
                                   .expiry = LAB_TIME + 600};
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n), SW_OK);
}

/* A whole line: key share, handshake, CertificateVerify, records both ways, an order. */
static void whole_line(enum link_profile profile, const struct lab_identity *server)
{
    struct lab_line line = {0};
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    SSL_CTX *ctx = lab_server_context(server, &card_ca);
    mark_all();
    lab_line_open(&lab, ctx, profile, LINK_KEY_AUTO, &line);
    assert_int_equal(lab_reason(&lab), LINK_REASON_NONE);
    assert_true(line.state & LINK_STATE_OPEN);
    assert_int_equal(secret_seen.signatures, 1);
    sign_order();
    assert_int_equal(secret_seen.signatures, 2);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_WRITE, 0, 0, "ping", 4, 256, out, &n), SW_OK);
    line.state = out[0];
    assert_int_equal(SSL_write(line.ssl, "pong!", 5), 5);
    lab_line_pump(&lab, &line);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_READ, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_memory_equal(out + 1, "pong!", 5);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_CLOSE, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_true(secret_seen.decrypted > 0 && secret_seen.answered > 0);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
}

static void test_line_tls13(void **state)
{
    (void)state;
    whole_line(LINK_PROFILE_TLS13, &ec_server);
}

static void test_line_ecdhe(void **state)
{
    (void)state;
    whole_line(LINK_PROFILE_ECDHE, &ec_server);
}

static void test_line_rsa(void **state)
{
    (void)state;
    whole_line(LINK_PROFILE_RSA, &rsa_server);
}

/* RSA-2048, with the key where GENERATE KEY puts it; what is secret of it, and where, declassify.c
 * says. */
static void test_rsa(void **state)
{
    static const psa_algorithm_t algorithms[] = {PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256),
                                                 PSA_ALG_RSA_PSS(PSA_ALG_SHA_256)};
    const uint8_t hash[32] = {1};
    uint8_t signature[256];
    uint8_t *der = NULL;
    size_t n = 0;
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    (void)state;
    lab_init(&lab);
    EVP_PKEY *key = EVP_RSA_gen(2048);
    int len = i2d_PrivateKey(key, &der);
    assert_true(len > 0);
    psa_set_key_id(&a, LINK_KEY_TLS_RSA);
    psa_set_key_lifetime(&a, PSA_KEY_LIFETIME_PERSISTENT);
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_SIGN_HASH);
    psa_set_key_type(&a, PSA_KEY_TYPE_RSA_KEY_PAIR);
    psa_set_key_algorithm(&a, algorithms[0]);
    psa_set_key_enrollment_algorithm(&a, algorithms[1]);
    assert_int_equal(psa_import_key(&a, der, (size_t)len, &id), PSA_SUCCESS);
    for (unsigned i = 0; i < 2; i++) {
        memset(&secret_seen, 0, sizeof secret_seen);
        assert_int_equal(
            psa_sign_hash(id, algorithms[i], hash, sizeof hash, signature, sizeof signature, &n),
            PSA_SUCCESS);
        /* Modulo P and modulo Q by the secret exponents; modulo N by the public one, to blind and
         * to check the result. */
        assert_int_equal(secret_seen.powers, 4);
        assert_true(secret_seen.inverses > 0);
    }
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    lab_free(&lab);
}

/* --- ciphers ---------------------------------------------------------------------------------- */

static psa_key_id_t key_new(psa_key_type_t type, psa_algorithm_t alg, psa_key_usage_t usage,
                            size_t len)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    uint8_t key[32] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    secret_mark(key, sizeof key); /* all of it, and it is secret in PSA's hands as well */
    psa_set_key_type(&a, type);
    psa_set_key_algorithm(&a, alg);
    psa_set_key_usage_flags(&a, usage);
    assert_int_equal(psa_import_key(&a, key, len, &id), PSA_SUCCESS);
    return id;
}

/* SCP03 as the card has it: there and back, and a MAC. What comes of it stays secret. */
static void scp03_ciphers(const uint8_t key[SCP03_KEY_LEN])
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 32};
    static const uint8_t iv[16];
    uint8_t text[32] = {7};
    uint8_t mac[16];
    secret_mark(text, sizeof text);
    assert_int_equal(scp03_mbedtls.cbc(NULL, true, key, iv, text, sizeof text), CW_OK);
    assert_true(secret_is(text, 16) && secret_is(text + 16, 16));
    assert_int_equal(scp03_mbedtls.cbc(NULL, false, key, iv, text, sizeof text), CW_OK);
    assert_true(secret_is(text, 16) && secret_is(text + 16, 16));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const struct scp03_part part = {text, lengths[i]};
        assert_int_equal(scp03_mbedtls.cmac(NULL, key, &part, 1, mac), CW_OK);
        assert_true(secret_is(mac, sizeof mac));
    }
}

/* What the card calls of the engine's AES and 3DES by itself, without PSA: SCP03's, and for PIV's
 * key 9B one block there. */
static void test_ciphers(void **state)
{
    uint8_t key[24] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    uint8_t block[16] = {7};
    mbedtls_aes_context aes;
    mbedtls_des3_context des;
    (void)state;
    secret_mark(key, sizeof key);
    scp03_ciphers(key);
    secret_mark(block, sizeof block);
    for (unsigned bits = 128; bits <= 192; bits += 64) {
        mbedtls_aes_init(&aes);
        assert_int_equal(mbedtls_aes_setkey_enc(&aes, key, bits), 0);
        assert_int_equal(mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, block, block), 0);
        assert_true(secret_is(block, sizeof block));
        mbedtls_aes_free(&aes);
    }
    mbedtls_des3_init(&des);
    assert_int_equal(mbedtls_des3_set3key_enc(&des, key), 0);
    assert_int_equal(mbedtls_des3_crypt_ecb(&des, block, block), 0);
    assert_true(secret_is(block, 8));
    mbedtls_des3_free(&des);
    assert_int_equal(secret_seen.decrypted, 0); /* secret_commands is 0: nothing became public */
}

/* --- what is left behind ---------------------------------------------------------------------- */

/* Personalisation, a line and PIV, without valgrind: every command's stack is looked at (stack.h).
 */
static void stack_holds_no_key(void **state)
{
    struct lab_line line = {0};
    (void)state;
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
    sign_order();
    assert_true(stack_seen.scalars > 6);
    unsigned before = stack_seen.scalars;
    make_piv_keys();
    use_piv();
    assert_true(stack_seen.scalars >= before + 4);
    assert_int_equal(stack_seen.left, 0);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
}

/* The same engine called by nobody who wipes: if nothing is found here, nothing was looked for. */
static void stack_leak_is_found(void **state)
{
    uint8_t public[65];
    size_t n = 0;
    (void)state;
    lab_init(&lab);
    psa_key_id_t key = key_new(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDH,
                               PSA_KEY_USAGE_DERIVE, 32);
    memset(&stack_seen, 0, sizeof stack_seen);
    assert_int_equal(psa_export_public_key(key, public, sizeof public, &n), PSA_SUCCESS);
    stack_look();
    assert_int_equal(stack_seen.scalars, 1);
    assert_int_equal(stack_seen.left, 1);
    assert_int_equal(psa_destroy_key(key), PSA_SUCCESS);
    lab_free(&lab);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_card, free_card)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stack_holds_no_key, make_piv_card, free_piv_card),
        cmocka_unit_test(stack_leak_is_found),
        cmocka_unit_test(test_equal),
        T(test_pin),
        T(test_pin_change),
        T(test_issuer_channel),
        cmocka_unit_test_setup_teardown(test_piv, make_piv_card, free_piv_card),
        T(leak_pin),
        T(test_line_tls13),
        T(test_line_ecdhe),
        T(test_line_rsa),
        cmocka_unit_test(test_rsa),
        cmocka_unit_test(test_ciphers),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
