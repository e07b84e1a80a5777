/* test_bank_ca.c - what the bank certifies, and what it refuses to: profiles, requests. */
#include "tests/unit/bank_lab.h"

#include "receipt/cert.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* ---- profiles ---- */

/* `between`: NULL, or a CA between root and leaf. */
static bool chains(X509 *root, X509 *between, X509 *leaf, int purpose)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    X509_STORE_add_cert(store, root);
    if (between != NULL)
        sk_X509_push(others, between);
    X509_STORE_CTX_init(ctx, store, leaf, others);
    X509_STORE_CTX_set_purpose(ctx, purpose);
    X509_STORE_set_flags(store, X509_V_FLAG_X509_STRICT);
    bool good = X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_free(others);
    ERR_clear_error();
    return good;
}

static void test_roots(void **state)
{
    static const struct {
        const char *stem, *by;
        int below; /* CAs that it permits */
    } authorities[] = {
        {BANK_FILE_SERVER_ROOT, BANK_FILE_SERVER_ROOT, 0},
        {BANK_FILE_CARD_ROOT, BANK_FILE_CARD_ROOT, 1},
        {BANK_FILE_CARD_ISSUER, BANK_FILE_CARD_ROOT, 0},
    };
    for (size_t i = 0; i < sizeof authorities / sizeof authorities[0]; i++) {
        X509 *ca = lab_certificate(*state, authorities[i].stem);
        X509 *by = lab_certificate(*state, authorities[i].by);
        assert_true(X509_check_ca(ca) == 1);
        assert_int_equal(X509_get_pathlen(ca), authorities[i].below);
        assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
        assert_true(X509_verify(ca, X509_get0_pubkey(by)) == 1);
        X509_free(ca);
        X509_free(by);
    }
}

/* What issues cards can make no CA, and its leaves are by it, not by the root. */
static void test_issuer_is_apart_from_the_root(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    X509 *root = lab_certificate(lab, BANK_FILE_CARD_ROOT), *issuer = NULL, *below = NULL;
    EVP_PKEY *key = NULL, *other = NULL;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    lab_ok(bank_pair_load(lab->bank, lab->bank->card_issuer, &issuer, &key, &why), &why);
    assert_string_equal(lab->bank->card_issuer, BANK_FILE_CARD_ISSUER);
    assert_int_equal(X509_verify(card->tls_cert, X509_get0_pubkey(issuer)), 1);
    assert_int_not_equal(X509_verify(card->tls_cert, X509_get0_pubkey(root)), 1);
    lab_ok(ca_key_make(false, &other, &why), &why);
    const struct ca_order order = {.profile = CA_ISSUER,
                                   .cn = "Below",
                                   .key = other,
                                   .days = 30,
                                   .issuer = issuer,
                                   .issuer_key = key};
    lab_ok(ca_certificate_make(&order, lab->now, &below, &why), &why);
    const struct ca_order leaf = {.profile = CA_CARD_TLS,
                                  .cn = "5A",
                                  .key = other,
                                  .days = 30,
                                  .issuer = below,
                                  .issuer_key = other};
    X509 *bad = NULL;
    lab_ok(ca_certificate_make(&leaf, lab->now, &bad, &why), &why);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, root);
    STACK_OF(X509) *between = sk_X509_new_null();
    sk_X509_push(between, issuer);
    sk_X509_push(between, below);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_CTX_init(ctx, store, bad, between);
    assert_int_not_equal(X509_verify_cert(ctx), 1);
    assert_int_equal(X509_STORE_CTX_get_error(ctx), X509_V_ERR_PATH_LENGTH_EXCEEDED);
    X509_STORE_CTX_free(ctx);
    sk_X509_free(between);
    X509_STORE_free(store);
    X509_free(bad);
    X509_free(below);
    X509_free(issuer);
    X509_free(root);
    EVP_PKEY_free(other);
    EVP_PKEY_free(key);
    lab_card_free(&card);
}

static void test_server_certificates(void **state)
{
    struct bank_lab *lab = *state;
    X509 *root = lab_certificate(lab, BANK_FILE_SERVER_ROOT),
         *cards = lab_certificate(lab, BANK_FILE_CARD_ROOT);
    X509 *ec = lab_certificate(lab, BANK_FILE_SERVER_EC),
         *rsa = lab_certificate(lab, BANK_FILE_SERVER_RSA);
    assert_int_equal(X509_get_key_usage(ec), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_key_usage(rsa), KU_KEY_ENCIPHERMENT); /* and so never a signature */
    X509 *const both[] = {ec, rsa};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(X509_get_extended_key_usage(both[i]), XKU_SSL_SERVER);
        assert_int_equal(X509_check_host(both[i], "bank.cardwire.test", 0, 0, NULL), 1);
        assert_int_equal(X509_check_host(both[i], "other.test", 0, 0, NULL), 0);
        assert_true(chains(root, NULL, both[i], X509_PURPOSE_SSL_SERVER));
        assert_false(chains(root, NULL, both[i], X509_PURPOSE_SSL_CLIENT));
        assert_false(chains(cards, NULL, both[i], X509_PURPOSE_SSL_SERVER));
        assert_int_equal(X509_get_ext_by_NID(both[i], NID_basic_constraints, -1), -1);
        assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(both[i])), 9);
    }
    /* every byte crosses a slow wire */
    assert_true(i2d_X509(ec, NULL) < 450);
    X509_free(root);
    X509_free(cards);
    X509_free(ec);
    X509_free(rsa);
}

/* The card's two certificates stand for two uses, and neither for the other's. */
static void test_card_certificates(void **state)
{
    struct bank_lab *lab = *state;
    X509 *root = lab_certificate(lab, BANK_FILE_CARD_ROOT);
    X509 *issuer = lab_certificate(lab, BANK_FILE_CARD_ISSUER);
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    assert_false(chains(root, NULL, card->tls_cert, X509_PURPOSE_SSL_CLIENT));
    assert_true(chains(root, issuer, card->tls_cert, X509_PURPOSE_SSL_CLIENT));
    assert_false(chains(root, issuer, card->tls_cert, X509_PURPOSE_SMIME_SIGN));
    assert_false(chains(root, issuer, card->tls_cert, X509_PURPOSE_SSL_SERVER));
    assert_true(chains(root, issuer, card->order_cert, X509_PURPOSE_SMIME_SIGN));
    assert_false(chains(root, issuer, card->order_cert, X509_PURPOSE_SSL_CLIENT));
    assert_int_equal(X509_get_key_usage(card->order_cert),
                     KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION);
    lab_card_free(&card);
    X509_free(issuer);
    X509_free(root);
}

/* What signs heads of the journal is no card's, no server's, and signs no order. */
static void test_journal_certificate(void **state)
{
    struct bank_lab *lab = *state;
    X509 *root = lab_certificate(lab, BANK_FILE_CARD_ROOT),
         *journal = lab_certificate(lab, BANK_FILE_JOURNAL);
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    assert_true(cert_is_journal(journal, "Test Bank"));
    assert_true(cert_is_by(journal, NULL, root, lab->now));
    assert_false(cert_is_by(journal, NULL, root, lab->now - 3600));
    assert_false(cert_is_by(journal, NULL, root, lab->now + 30ll * 366 * 86400));
    assert_false(cert_is_journal(journal, "Other Bank"));
    assert_false(cert_is_journal(card->order_cert, "Test Bank"));
    assert_false(cert_is_order(journal, "Test Bank Journal"));
    assert_false(cert_is_order(card->tls_cert, "015a5a5a5a5a5a5a"));
    assert_true(cert_is_order(card->order_cert, "015a5a5a5a5a5a5a"));
    assert_int_equal(X509_get_key_usage(journal), KU_DIGITAL_SIGNATURE);
    assert_true(X509_EXTENSION_get_critical(
        X509_get_ext(journal, X509_get_ext_by_NID(journal, NID_ext_key_usage, -1))));
    static const int purposes[] = {X509_PURPOSE_SSL_CLIENT, X509_PURPOSE_SSL_SERVER,
                                   X509_PURPOSE_SMIME_SIGN};
    for (size_t i = 0; i < 3; i++)
        assert_false(chains(root, NULL, journal, purposes[i]));
    lab_card_free(&card);
    X509_free(journal);
    X509_free(root);
}

static void test_key_files_are_private(void **state)
{
    struct bank_lab *lab = *state;
    char command[2000];
    /* no file of mode other than 0600 that holds a private key, and nobody else in the folder */
    snprintf(command, sizeof command,
             "test -z \"$(find '%s' -name '*.key' ! -perm 0600)\" && "
             "test $(find '%s' -name '*.key' | wc -l) -eq 8 && "
             "test $(stat -c %%a '%s') = 700",
             lab->dir, lab->dir, lab->dir);
    assert_int_equal(system(command), 0);
}

/* ---- the next root ---- */

/* Made beside the one that serves, for the same names; used when it is switched to. */
static void test_next_root(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    char path[BANK_PATH_MAX];
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(bank_server_switch(lab->bank, &why), CW_ERR_STATE);
    lab_ok(bank_server_roll(lab->bank, 90, NULL, &why), &why);
    assert_string_equal(lab->bank->server.root, "server-root");
    assert_string_equal(lab->bank->server_next.root, "server-root-2");
    assert_int_equal(bank_server_roll(lab->bank, 90, NULL, &why), CW_ERR_STATE);
    X509 *root = lab_certificate(lab, "server-root-2"),
         *old = lab_certificate(lab, BANK_FILE_SERVER_ROOT);
    X509 *ec = lab_certificate(lab, "server-p256-2");
    assert_int_not_equal(X509_NAME_cmp(X509_get_subject_name(root), X509_get_subject_name(old)), 0);
    X509_STORE_add_cert(store, root);
    X509_STORE_CTX_init(ctx, store, ec, NULL);
    assert_int_equal(X509_verify_cert(ctx), 1);
    assert_int_equal(X509_check_host(ec, "bank.cardwire.test", 0, 0, NULL), 1);
    lab_ok(bank_server_switch(lab->bank, &why), &why);
    assert_string_equal(lab->bank->server.ec, "server-p256-2");
    assert_int_equal(lab->bank->server_next.generation, 0);
    assert_int_equal(bank_server_switch(lab->bank, &why), CW_ERR_STATE);
    /* what a roll that was cut short has left is neither used nor in the way */
    lab_ok(bank_path(lab->dir, "server-root-3", ".key", path, &why), &why);
    lab_ok(bank_file_make(path, "x", 1, 0600, &why), &why);
    lab_ok(bank_server_roll(lab->bank, 90, NULL, &why), &why);
    assert_string_equal(lab->bank->server_next.root, "server-root-4");
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(root);
    X509_free(old);
    X509_free(ec);
}

/* Two programs that switch: one does. */
static void test_switch_is_once(void **state)
{
    struct bank_lab *lab = *state;
    const struct ledger_clock clock = {lab_now, lab};
    struct say why = {""};
    struct bank *other = NULL;
    lab_ok(bank_server_roll(lab->bank, 90, NULL, &why), &why);
    lab_ok(bank_open(lab->dir, &clock, &other, &why), &why);
    lab_ok(bank_server_switch(other, &why), &why);
    assert_int_equal(bank_server_switch(lab->bank, &why), CW_ERR_STATE);
    bank_free(&other);
}

/* ---- certification requests ---- */

static int make_request(EVP_PKEY *key, EVP_PKEY *signer, const char *cn, uint8_t **out)
{
    unsigned char *der = NULL;
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = X509_REQ_get_subject_name(request);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    assert_int_equal(X509_REQ_set_pubkey(request, key), 1);
    assert_true(X509_REQ_sign(request, signer, EVP_sha256()) > 0);
    int len = i2d_X509_REQ(request, &der);
    X509_REQ_free(request);
    assert_true(len > 0);
    *out = der;
    return len;
}

static enum cw_err try_request(EVP_PKEY *key, EVP_PKEY *signer, const char *cn, bool rsa, int extra)
{
    struct say why = {""};
    uint8_t *der, bytes[2048];
    EVP_PKEY *found = NULL;
    int len = make_request(key, signer, cn, &der);
    memcpy(bytes, der, (size_t)len);
    memset(bytes + len, 0, 8);
    OPENSSL_free(der);
    enum cw_err err =
        ca_request_verify(bytes, (size_t)(len + extra), "0123456789abcdef", rsa, &found, &why);
    if (err == CW_OK)
        assert_int_equal(EVP_PKEY_eq(found, key), 1);
    else
        assert_null(found);
    EVP_PKEY_free(found);
    return err;
}

static void test_requests(void **state)
{
    struct say why = {""};
    EVP_PKEY *ec = NULL, *other = NULL, *rsa = NULL, *p384 = EVP_EC_gen("P-384");
    (void)state;
    lab_ok(ca_key_make(false, &ec, &why), &why);
    lab_ok(ca_key_make(false, &other, &why), &why);
    lab_ok(ca_key_make(true, &rsa, &why), &why);
    const char *cn = "0123456789abcdef";
    assert_int_equal(try_request(ec, ec, cn, false, 0), CW_OK);
    assert_int_equal(try_request(rsa, rsa, cn, true, 0), CW_OK);
    assert_int_equal(try_request(ec, other, cn, false, 0), CW_ERR_CRYPTO);
    assert_int_equal(try_request(ec, ec, "0123456789abcdee", false, 0), CW_ERR_FORMAT);
    assert_int_equal(try_request(ec, ec, cn, true, 0), CW_ERR_FORMAT);
    assert_int_equal(try_request(rsa, rsa, cn, false, 0), CW_ERR_FORMAT);
    assert_int_equal(try_request(p384, p384, cn, false, 0), CW_ERR_FORMAT);
    assert_int_equal(try_request(ec, ec, cn, false, 1), CW_ERR_FORMAT);
    assert_int_equal(try_request(ec, ec, cn, false, -1), CW_ERR_FORMAT);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(other);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p384);
}

static void test_host_names(void **state)
{
    static const char *const good[] = {"a", "bank.cardwire.test", "x-1.y2", "127.0.0.1"};
    static const char *const bad[] = {
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "-a",
        "a-",
        "A.b",
        "a_b",
        "a b",
        "*.b",
        "a,DNS:b",
        "b\xc3\xa4",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ".b"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(ca_host_check(good[i]), CW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ca_host_check(bad[i]), CW_ERR_FORMAT);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_roots),
        TEST(test_issuer_is_apart_from_the_root),
        TEST(test_server_certificates),
        TEST(test_card_certificates),
        TEST(test_journal_certificate),
        TEST(test_key_files_are_private),
        TEST(test_next_root),
        TEST(test_switch_is_once),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_host_names),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
