/* fuzz_receipt.c - files that are said to be receipts: what is taken is written again as the same
 * bytes, what is written is taken, and nothing is proved under a root that certified nobody. */
#include "receipt/verify.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A root of this moment, and its certificate as bytes: one that can be parsed. */
static X509 *root;
static uint8_t root_der[RECEIPT_CERT_MAX];
static size_t root_len;

static void make_root(void)
{
    unsigned char *at = root_der;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    root = X509_new();
    if (key == NULL || root == NULL || X509_set_version(root, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(root), 1) != 1 ||
        X509_NAME_add_entry_by_txt(X509_get_subject_name(root), "CN", MBSTRING_ASC,
                                   (const unsigned char *)"Root", -1, -1, 0) != 1 ||
        X509_set_issuer_name(root, X509_get_subject_name(root)) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(root), 0) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(root), 86400) == NULL ||
        X509_set_pubkey(root, key) != 1 || X509_sign(root, key, EVP_sha256()) <= 0)
        abort();
    EVP_PKEY_free(key);
    int n = i2d_X509(root, &at);
    if (n <= 0)
        abort();
    root_len = (size_t)n;
}

static void head(const uint8_t *data, size_t size)
{
    struct head h;
    uint8_t text[HEAD_TEXT_MAX];
    struct buf_writer w;
    if (head_parse(data, size, &h) != CW_OK)
        return;
    buf_writer_init(&w, text, sizeof text);
    if (head_write(&h, &w) != CW_OK || w.len != size || memcmp(text, data, size) != 0)
        abort();
}

static void file(const uint8_t *data, size_t size)
{
    static struct receipt r;
    struct receipt_facts facts;
    uint8_t *again = NULL;
    size_t len = 0;
    if (receipt_read(data, size, &r, NULL) != CW_OK)
        return;
    if (receipt_write(&r, &again, &len, NULL) != CW_OK || len != size ||
        memcmp(again, data, size) != 0)
        abort();
    free(again);
    if (receipt_verify(&r, root, &facts, NULL) == CW_OK)
        abort();
}

/* The next bytes, at most `max` of them and as many as the byte before them says. */
static size_t take(struct buf_reader *in, uint8_t *out, size_t max)
{
    size_t n = buf_get_u16(in) % (max + 1);
    if (n > in->left)
        n = in->left;
    const uint8_t *bytes = buf_get_bytes(in, n);
    if (bytes == NULL)
        return 0;
    memcpy(out, bytes, n);
    return n;
}

static void parts(const uint8_t *data, size_t size)
{
    static struct receipt r, again;
    struct receipt_facts facts;
    struct buf_reader in;
    uint8_t *der = NULL;
    size_t len = 0;
    memset(&r, 0, sizeof r);
    buf_reader_init(&in, data, size);
    r.proof.id = (int64_t)buf_get_u64(&in);
    r.proof.time = (int64_t)buf_get_u64(&in);
    r.text_len = take(&in, r.text, sizeof r.text);
    r.signature_len = take(&in, r.signature, sizeof r.signature);
    r.proof.entry_count =
        take(&in, r.proof.entries[0], sizeof r.proof.entries) / sizeof r.proof.entries[0];
    r.proof.head_len = take(&in, r.proof.head, sizeof r.proof.head);
    r.proof.signature_len = take(&in, r.proof.signature, sizeof r.proof.signature);
    r.proof.certificate_len = take(&in, r.proof.certificate, sizeof r.proof.certificate);
    memcpy(r.certificate, root_der, r.certificate_len = root_len);
    if (receipt_write(&r, &der, &len, NULL) != CW_OK ||
        receipt_read(der, len, &again, NULL) != CW_OK || again.proof.id != r.proof.id ||
        again.proof.time != r.proof.time || again.text_len != r.text_len ||
        memcmp(again.text, r.text, r.text_len) != 0 ||
        again.proof.entry_count != r.proof.entry_count ||
        memcmp(again.proof.entries, r.proof.entries,
               r.proof.entry_count * sizeof r.proof.entries[0]) != 0 ||
        again.proof.head_len != r.proof.head_len ||
        memcmp(again.proof.head, r.proof.head, r.proof.head_len) != 0)
        abort();
    free(der);
    if (receipt_verify(&r, root, &facts, NULL) == CW_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (root == NULL)
        make_root();
    head(data, size);
    file(data, size);
    parts(data, size);
    return 0;
}
