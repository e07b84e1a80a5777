/* test_bank_receipt.c - a receipt proves that the card signed the order and that the bank booked
 * it; nothing that is not exactly that is taken for one. */
#include "tests/unit/bank_lab.h"

#include "bank/audit.h"
#include "bank/backup.h"
#include "bank/journal.h"
#include "receipt/cert.h"
#include "receipt/verify.h"

#include <openssl/cms.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>

struct fixture {
    struct bank_lab *lab;
    struct lab_card *cards[2]; /* P-256, RSA-2048 */
    struct journal *journal;
    X509 *root;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct say why = {""};
    assert_non_null(f);
    f->lab = lab_new();
    f->cards[0] = lab_card_new(f->lab, f->lab->ada, 1, false);
    f->cards[1] = lab_card_new(f->lab, f->lab->ada, 2, true);
    f->root = lab_certificate(f->lab, BANK_FILE_CARD_ROOT);
    lab_ok(journal_open(f->lab->bank, &f->journal, &why), &why);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_card_free(&f->cards[0]);
    lab_card_free(&f->cards[1]);
    journal_free(&f->journal);
    X509_free(f->root);
    lab_free(&f->lab);
    free(f);
    return 0;
}

struct file {
    uint8_t *der;
    size_t len;
};

/* The bank's receipt of the order whose id begins so. */
static struct file fetch(struct fixture *f, uint8_t id)
{
    struct say why = {""};
    struct file file = {NULL, 0};
    struct ledger_payment *p = NULL;
    const struct order_fields fields = lab_order(f->lab, id, 1);
    lab_ok(ledger_payment_find(f->lab->bank->ledger, fields.id, &p, &why), &why);
    lab_ok(journal_receipt(f->lab->bank, f->journal, p, &file.der, &file.len, &why), &why);
    ledger_payment_free(&p);
    return file;
}

/* In its parts. */
static struct receipt *parts_of(struct fixture *f, uint8_t id)
{
    struct say why = {""};
    struct file file = fetch(f, id);
    struct receipt *r = malloc(sizeof *r);
    assert_non_null(r);
    lab_ok(receipt_read(file.der, file.len, r, &why), &why);
    free(file.der);
    return r;
}

/* What is said of a file under that root. */
static enum cw_err verify(X509 *root, const uint8_t *der, size_t len, struct receipt_facts *facts,
                          struct say *why)
{
    char *pem;
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, root), 1);
    size_t pem_len = (size_t)BIO_get_mem_data(bio, &pem);
    enum cw_err err = receipt_verify_file(der, len, (const uint8_t *)pem, pem_len, facts, why);
    BIO_free(bio);
    assert_int_equal(ERR_peek_error(), 0);
    return err;
}

/* Parts that were put together by somebody, as a file: refused, for that reason. */
static void refused(struct fixture *f, const struct receipt *r, const char *what)
{
    struct say why = {""};
    struct receipt_facts facts;
    uint8_t *der = NULL;
    size_t len = 0;
    lab_ok(receipt_write(r, &der, &len, &why), &why);
    enum cw_err err = verify(f->root, der, len, &facts, &why);
    if (err != CW_ERR_CRYPTO || strstr(why.text, what) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", cw_err_name(err), why.text, what);
    free(der);
}

/* ---- good ones ---- */

/* As `openssl cms -verify` does it, which knows nothing of the proof. */
static void check_by_openssl(struct fixture *f, const struct file *file, const char *reference)
{
    const unsigned char *at = file->der;
    char *content;
    X509_STORE *store = X509_STORE_new();
    BIO *out = BIO_new(BIO_s_mem());
    X509_STORE_add_cert(store, f->root);
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)file->len);
    assert_non_null(cms);
    assert_int_equal(CMS_verify(cms, NULL, store, NULL, out, 0), 1);
    long len = BIO_get_mem_data(out, &content);
    assert_non_null(memmem(content, (size_t)len, reference, strlen(reference)));
    CMS_ContentInfo_free(cms);
    BIO_free(out);
    X509_STORE_free(store);
}

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    for (unsigned n = 0; n < 2; n++) {
        lab_pay(f->lab, f->cards[n], (uint8_t)(n + 1), 1234 + n);
        const struct file file = fetch(f, (uint8_t)(n + 1));
        check_by_openssl(f, &file, "Reference: Invoice 7\n");
        lab_ok(verify(f->root, file.der, file.len, &facts, &why), &why);
        assert_int_equal(facts.entry, n + 2); /* the first is the deposit */
        assert_int_equal(facts.time, f->lab->now);
        assert_int_equal(facts.order.amount, 1234 + n);
        assert_string_equal(facts.order.payee_name, "Bob Bäcker");
        assert_memory_equal(facts.seal.serial, f->cards[n]->serial, sizeof facts.seal.serial);
        assert_string_equal(facts.head.bank, "Test Bank");
        assert_int_equal(facts.head.entry, n + 2);
        assert_int_equal(facts.head.time, f->lab->now);
        free(file.der);
    }
}

/* The card's certificate has ended by then, and the head is signed by then. */
static void test_years_later(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    lab_pay(f->lab, f->cards[0], 1, 1);
    const int64_t booked = f->lab->now;
    f->lab->now += 10ll * 366 * 86400;
    const struct file file = fetch(f, 1);
    lab_ok(verify(f->root, file.der, file.len, &facts, &why), &why);
    assert_int_equal(facts.time, booked);
    assert_int_equal(facts.head.time, f->lab->now);
    free(file.der);
}

static int64_t count_heads(struct fixture *f)
{
    static const struct audit_options options;
    struct audit_result r = {0};
    struct say why = {""};
    lab_ok(audit_run(f->lab->bank, &options, &r, &why), &why);
    return r.heads;
}

/* One head for many receipts, and a bound on how far it is: entries 2 to 201 are payments. */
static void test_heads_are_shared(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint8_t id; /* entry - 1 */
        int64_t head, heads;
    } asked[] = {
        {200, 201, 1}, {199, 201, 1}, {137, 201, 1}, /* 63 before it */
        {136, 192, 2}, {135, 192, 2}, {128, 192, 2}, {64, 128, 3},
        {1, 64, 4},    {63, 64, 4},   {64, 128, 4},  {200, 201, 4},
    };
    for (unsigned n = 1; n <= 200; n++)
        lab_pay(f->lab, f->cards[0], (uint8_t)n, 1);
    assert_int_equal(count_heads(f), 0); /* none with a payment */
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct receipt_facts facts;
        struct say why = {""};
        struct receipt *r = parts_of(f, asked[i].id);
        lab_ok(receipt_verify(r, f->root, &facts, &why), &why);
        assert_int_equal(facts.entry, asked[i].id + 1);
        assert_int_equal(facts.head.entry, asked[i].head);
        assert_int_equal(count_heads(f), asked[i].heads);
        free(r);
    }
    /* The longest that there can be of an order of that length stays small. */
    const struct file file = fetch(f, 1);
    assert_in_range(file.len, 2000, 5000);
    free(file.der);
}

/* ---- changed ones ---- */

static void test_every_byte(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    for (unsigned n = 1; n <= 5; n++)
        lab_pay(f->lab, f->cards[n % 2], (uint8_t)n, 1);
    free(fetch(f, 5).der); /* so that the way from the others is not empty */
    for (uint8_t n = 3; n <= 4; n++) {
        struct file file = fetch(f, n);
        uint8_t *longer = malloc(file.len + 1);
        assert_non_null(longer);
        for (size_t i = 0; i < file.len; i++)
            for (unsigned all = 0; all < 2; all++) {
                const uint8_t change = all ? 0xFF : (uint8_t)(1u << i % 8);
                file.der[i] ^= change;
                if (verify(f->root, file.der, file.len, &facts, &why) == CW_OK)
                    fail_msg("byte %zu changed by %02x, and it is taken", i, change);
                file.der[i] ^= change;
            }
        for (size_t len = 0; len < file.len; len++)
            assert_int_equal(verify(f->root, file.der, len, &facts, &why), CW_ERR_FORMAT);
        memcpy(longer, file.der, file.len);
        for (unsigned byte = 0; byte < 256; byte++) {
            longer[file.len] = (uint8_t)byte;
            assert_int_equal(verify(f->root, longer, file.len + 1, &facts, &why), CW_ERR_FORMAT);
        }
        lab_ok(verify(f->root, file.der, file.len, &facts, &why), &why);
        free(longer);
        free(file.der);
    }
}

/* (r, s) to (r, n - s): it verifies as well, and nobody has signed it. */
static void twist(uint8_t *signature, size_t *len, size_t cap)
{
    const uint8_t *at = signature;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)*len);
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *r = BN_dup(ECDSA_SIG_get0_r(sig)), *s = BN_new();
    assert_int_equal(BN_sub(s, EC_GROUP_get0_order(group), ECDSA_SIG_get0_s(sig)), 1);
    assert_int_equal(ECDSA_SIG_set0(sig, r, s), 1);
    int n = i2d_ECDSA_SIG(sig, NULL);
    assert_true(n > 0 && (size_t)n <= cap);
    *len = (size_t)i2d_ECDSA_SIG(sig, &signature);
    ECDSA_SIG_free(sig);
    EC_GROUP_free(group);
}

static void test_other_signatures_that_verify(void **state)
{
    struct fixture *f = *state;
    lab_pay(f->lab, f->cards[0], 1, 1);
    struct receipt *r = parts_of(f, 1);
    X509 *journal = lab_certificate(f->lab, BANK_FILE_JOURNAL);
    twist(r->proof.signature, &r->proof.signature_len, sizeof r->proof.signature);
    assert_true(signature_good(X509_get0_pubkey(journal), r->proof.head, r->proof.head_len,
                               r->proof.signature, r->proof.signature_len));
    X509_free(journal);
    refused(f, r, "the bank did not sign this head");
    twist(r->proof.signature, &r->proof.signature_len, sizeof r->proof.signature);
    twist(r->signature, &r->signature_len, sizeof r->signature);
    refused(f, r, "does not lead to the head");
    free(r);
}

/* ---- parts of others ---- */

static void test_parts_of_another_receipt(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n <= 4; n++)
        lab_pay(f->lab, f->cards[n % 2], (uint8_t)n, n);
    struct receipt *a = parts_of(f, 4), *b = parts_of(f, 2), *mixed = malloc(sizeof *mixed);
    assert_non_null(mixed);
    *mixed = *b; /* an order that was never booked, in the place of one that was */
    mixed->proof = a->proof;
    refused(f, mixed, "does not lead to the head");
    *mixed = *b;
    mixed->proof.id = a->proof.id;
    refused(f, mixed, "does not lead to the head");
    *mixed = *b;
    mixed->proof.time += 1;
    refused(f, mixed, "does not lead to the head");
    *mixed = *b;
    mixed->proof.entry_count--;
    refused(f, mixed, "does not lead to the head");
    *mixed = *b;
    memcpy(mixed->signature, a->signature, mixed->signature_len = a->signature_len);
    refused(f, mixed, "the card did not sign this order");
    struct receipt *c = parts_of(f, 3); /* by the other card */
    *mixed = *a;
    memcpy(mixed->certificate, c->certificate, mixed->certificate_len = c->certificate_len);
    refused(f, mixed, "not one for orders of the card that the order names");
    free(a);
    free(b);
    free(c);
    free(mixed);
}

/* Signs this head with that key, under that certificate. */
static void sign_head(struct receipt_proof *p, struct head h, EVP_PKEY *key, X509 *cert)
{
    struct say why = {""};
    struct buf_writer w;
    unsigned char *at = p->certificate;
    p->certificate_len = (size_t)i2d_X509(cert, &at);
    SHA256(p->certificate, p->certificate_len, h.certificate);
    buf_writer_init(&w, p->head, sizeof p->head);
    assert_int_equal(head_write(&h, &w), CW_OK);
    p->head_len = w.len;
    lab_ok(signature_make_low(key, p->head, p->head_len, p->signature, &p->signature_len, &why),
           &why);
}

/* Heads that are signed as they should be, or nearly, and are not the journal's. */
static void test_heads_of_others(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct head h, other;
    EVP_PKEY *key = NULL, *stray = NULL;
    X509 *cert = lab_certificate(f->lab, BANK_FILE_JOURNAL);
    lab_pay(f->lab, f->cards[0], 1, 1);
    struct receipt *r = parts_of(f, 1);
    assert_int_equal(head_parse(r->proof.head, r->proof.head_len, &h), CW_OK);
    lab_ok(bank_key_load(f->lab->bank, BANK_FILE_JOURNAL, &key, &why), &why);
    lab_ok(ca_key_make(false, &stray, &why), &why);

    other = h; /* of another chain, by the bank's own key */
    other.hash[0] ^= 1;
    sign_head(&r->proof, other, key, cert);
    refused(f, r, "does not lead to the head");
    other = h;
    other.entry++;
    sign_head(&r->proof, other, key, cert);
    refused(f, r, "does not lead to the head");
    other = h; /* of a bank of another name */
    strcpy(other.bank, "Best Bank");
    sign_head(&r->proof, other, key, cert);
    refused(f, r, "not one for the journal of the bank");
    other = h; /* signed before there was such a key, and after */
    other.time -= 86400;
    sign_head(&r->proof, other, key, cert);
    refused(f, r, "was not valid when it was signed");
    other.time += 40ll * 366 * 86400;
    sign_head(&r->proof, other, key, cert);
    refused(f, r, "was not valid when it was signed");
    sign_head(&r->proof, h, stray, cert); /* by another key */
    refused(f, r, "the bank did not sign this head");
    /* By a card, with the certificates that it has. */
    sign_head(&r->proof, h, f->cards[0]->order_key, f->cards[0]->order_cert);
    refused(f, r, "the certificate of the bank's journal is not by this root");
    sign_head(&r->proof, h, f->cards[0]->tls_key, f->cards[0]->tls_cert);
    refused(f, r, "the certificate of the bank's journal is not by this root");
    sign_head(&r->proof, h, key, cert);
    struct receipt_facts facts;
    lab_ok(receipt_verify(r, f->root, &facts, &why), &why);
    /* The head names its certificate: another one of the same key is another file. */
    X509 *twin = lab_certify(f->lab, CA_JOURNAL, "Test Bank Journal", key);
    unsigned char *at = r->proof.certificate;
    r->proof.certificate_len = (size_t)i2d_X509(twin, &at);
    refused(f, r, "not the one that the head names");
    X509_free(twin);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(stray);
    free(r);
}

/* The other s that verifies as well, in the place of a certificate's. */
static void turn_signature(X509 *cert)
{
    const ASN1_BIT_STRING *have;
    unsigned char *der = NULL;
    X509_get0_signature(&have, NULL, cert);
    const unsigned char *at = have->data;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, have->length);
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *r = BN_dup(ECDSA_SIG_get0_r(sig)), *s = BN_new();
    assert_int_equal(BN_sub(s, EC_GROUP_get0_order(group), ECDSA_SIG_get0_s(sig)), 1);
    assert_int_equal(ECDSA_SIG_set0(sig, r, s), 1);
    int len = i2d_ECDSA_SIG(sig, &der);
    ASN1_BIT_STRING *to;
    memcpy(&to, &have, sizeof to); /* the setter of OpenSSL signs */
    assert_int_equal(ASN1_STRING_set(to, der, len), 1);
    OPENSSL_free(der);
    EC_GROUP_free(group);
    ECDSA_SIG_free(sig);
}

/* What stands between card and root is in no hash: it must be the one certificate that it can be.
 */
static void test_ca_between(void **state)
{
    struct fixture *f = *state;
    lab_pay(f->lab, f->cards[0], 1, 1);
    struct receipt *r = parts_of(f, 1);
    const size_t len = r->issuer_len;
    assert_true(len > 0);
    X509 *issuer = lab_certificate(f->lab, BANK_FILE_CARD_ISSUER);
    assert_true(cert_is_low(issuer, X509_get0_pubkey(f->root)));
    r->issuer_len = 0;
    refused(f, r, "the card's certificate is not by this root");
    turn_signature(issuer);
    assert_int_equal(X509_verify(issuer, X509_get0_pubkey(f->root)), 1);
    unsigned char *at = r->issuer;
    r->issuer_len = (size_t)i2d_X509(issuer, &at);
    refused(f, r, "the CA that issues cards is not by this root");
    at = r->issuer;
    r->issuer_len = (size_t)i2d_X509(f->root, &at);
    struct receipt_facts facts;
    struct say why = {""};
    assert_int_equal(receipt_verify(r, f->root, &facts, &why), CW_ERR_CRYPTO);
    X509_free(issuer);
    free(r);
}

static void test_another_bank(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    struct fixture *other = NULL;
    assert_int_equal(setup((void **)&other), 0); /* of the same name */
    lab_pay(f->lab, f->cards[0], 1, 1);
    lab_pay(other->lab, other->cards[0], 1, 1);
    const struct file file = fetch(f, 1);
    assert_int_equal(verify(other->root, file.der, file.len, &facts, &why), CW_ERR_CRYPTO);
    assert_non_null(strstr(why.text, "is not by this root"));
    /* Ours, with the other's proof, and the other way round. */
    struct receipt *a = parts_of(f, 1), *b = parts_of(other, 1);
    b->proof = a->proof;
    refused(f, b, "the CA that issues cards is not by this root");
    refused(other, b, "the certificate of the bank's journal is not by this root");
    free(file.der);
    free(a);
    free(b);
    assert_int_equal(teardown((void **)&other), 0);
}

/* The server's root is none for receipts, nor is a file with two. */
static void test_what_is_no_root(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    char path[BANK_PATH_MAX], pem[4096];
    lab_pay(f->lab, f->cards[0], 1, 1);
    const struct file file = fetch(f, 1);
    X509 *server = lab_certificate(f->lab, BANK_FILE_SERVER_ROOT);
    assert_int_equal(verify(server, file.der, file.len, &facts, &why), CW_ERR_CRYPTO);
    assert_int_equal(verify(f->cards[0]->order_cert, file.der, file.len, &facts, &why),
                     CW_ERR_CRYPTO);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_CARD_ROOT, ".pem", path, &why), &why);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    size_t n = fread(pem, 1, sizeof pem / 2, in);
    fclose(in);
    memcpy(pem + n, pem, n);
    assert_int_equal(receipt_verify_file(file.der, file.len, (uint8_t *)pem, n, &facts, &why),
                     CW_OK);
    assert_int_equal(receipt_verify_file(file.der, file.len, (uint8_t *)pem, 2 * n, &facts, &why),
                     CW_ERR_ARG);
    assert_int_equal(receipt_verify_file(file.der, file.len, (uint8_t *)pem, n / 2, &facts, &why),
                     CW_ERR_ARG);
    X509_free(server);
    free(file.der);
}

/* As an older bank gave them. */
static void test_without_a_proof(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    unsigned char *der = NULL;
    lab_pay(f->lab, f->cards[0], 1, 1);
    struct file file = fetch(f, 1);
    const unsigned char *at = file.der;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)file.len);
    CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    X509_ATTRIBUTE *proof = CMS_unsigned_delete_attr(signer, 0);
    int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    assert_int_equal(verify(f->root, der, (size_t)len, &facts, &why), CW_ERR_NOT_FOUND);
    OPENSSL_free(der);
    der = NULL;
    /* With something beside it: no byte too many. */
    assert_int_equal(CMS_unsigned_add1_attr(signer, proof), 1);
    assert_int_equal(
        CMS_unsigned_add1_attr_by_NID(signer, NID_pkcs9_unstructuredName, MBSTRING_ASC, "x", 1), 1);
    len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    assert_int_equal(verify(f->root, der, (size_t)len, &facts, &why), CW_ERR_FORMAT);
    OPENSSL_free(der);
    X509_ATTRIBUTE_free(proof);
    CMS_ContentInfo_free(cms);
    free(file.der);
}

/* ---- the key ---- */

static void strike(struct fixture *f, const char *name)
{
    char path[BANK_PATH_MAX];
    struct say why = {""};
    lab_ok(bank_path(f->lab->dir, name, "", path, &why), &why);
    assert_int_equal(unlink(path), 0);
}

static void test_key_of_an_older_bank(void **state)
{
    struct fixture *f = *state;
    struct receipt_facts facts;
    struct say why = {""};
    lab_pay(f->lab, f->cards[0], 1, 1);
    lab_pay(f->lab, f->cards[1], 2, 1);
    const struct file before = fetch(f, 1);
    /* Lost, and not simply made anew. */
    journal_free(&f->journal);
    strike(f, "journal.key");
    assert_int_equal(journal_open(f->lab->bank, &f->journal, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "journal.key is gone"));
    /* There never was one; cut short after the key, it goes on from that. */
    strike(f, "journal.pem");
    lab_ok(journal_open(f->lab->bank, &f->journal, &why), &why);
    journal_free(&f->journal);
    strike(f, "journal.pem");
    lab_ok(journal_open(f->lab->bank, &f->journal, &why), &why);
    lab_pay(f->lab, f->cards[0], 3, 1);
    const struct file after = fetch(f, 3);
    lab_ok(verify(f->root, before.der, before.len, &facts, &why), &why);
    lab_ok(verify(f->root, after.der, after.len, &facts, &why), &why);
    assert_int_equal(count_heads(f), 2); /* by two keys */
    /* Its certificate is by card-root. */
    journal_free(&f->journal);
    strike(f, "journal.key");
    strike(f, "journal.pem");
    strike(f, "card-root.key");
    assert_int_not_equal(journal_open(f->lab->bank, &f->journal, &why), CW_OK);
    assert_non_null(strstr(why.text, "card-root.key"));
    assert_int_equal(count_heads(f), 2);
    free(before.der);
    free(after.der);
}

static void test_backup_has_the_heads(void **state)
{
    static const struct audit_options options;
    struct fixture *f = *state;
    struct audit_result r = {0};
    struct say why = {""};
    char dir[BANK_PATH_MAX], command[BANK_PATH_MAX + 16];
    for (unsigned n = 1; n <= 3; n++) {
        lab_pay(f->lab, f->cards[0], (uint8_t)n, 1);
        free(fetch(f, (uint8_t)n).der);
    }
    snprintf(dir, sizeof dir, "%s-copy", f->lab->dir);
    lab_ok(backup_run(f->lab->bank, dir, &options, &r, &why), &why);
    assert_int_equal(r.heads, 3);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Entries that may yet be taken back are under no head. */
static enum cw_err fetch_inside(void *ctx, struct say *why)
{
    struct fixture *f = ctx;
    uint8_t *der = NULL;
    size_t len = 0;
    struct ledger_payment *p = NULL;
    const struct order_fields fields = lab_order(f->lab, 1, 1);
    enum cw_err err = ledger_payment_find(f->lab->bank->ledger, fields.id, &p, why);
    if (err == CW_OK)
        err = journal_receipt(f->lab->bank, f->journal, p, &der, &len, why);
    ledger_payment_free(&p);
    free(der);
    return err;
}

static void test_no_head_within_a_transaction(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    lab_pay(f->lab, f->cards[0], 1, 1);
    assert_int_not_equal(ledger_together(f->lab->bank->ledger, fetch_inside, f, &why), CW_OK);
    assert_int_equal(count_heads(f), 0);
    lab_ok(fetch_inside(f, &why), &why);
    lab_ok(ledger_together(f->lab->bank->ledger, fetch_inside, f, &why), &why);
}

int main(int argc, char **argv)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_good),
        TEST(test_years_later),
        TEST(test_heads_are_shared),
        TEST(test_every_byte),
        TEST(test_other_signatures_that_verify),
        TEST(test_parts_of_another_receipt),
        TEST(test_heads_of_others),
        TEST(test_ca_between),
        TEST(test_another_bank),
        TEST(test_what_is_no_root),
        TEST(test_without_a_proof),
        TEST(test_key_of_an_older_bank),
        TEST(test_backup_has_the_heads),
        TEST(test_no_head_within_a_transaction),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
