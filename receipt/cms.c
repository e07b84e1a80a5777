/* cms.c - a receipt as a file. OpenSSL writes and reads the CMS; that every byte of a file is one
 * that we would have written is seen to by writing it again. */
#include "receipt/receipt.h"

#include <openssl/asn1t.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* The attribute's value (docs/bank.md):
 *
 *     Proof ::= SEQUENCE {
 *         entry INTEGER, time INTEGER,
 *         booked OCTET STRING (SIZE (32)), before OCTET STRING (SIZE (32)),
 *         entries OCTET STRING,               -- 32 bytes each
 *         head UTF8String, signature OCTET STRING,
 *         certificate OCTET STRING }          -- DER */
struct proof {
    int64_t entry, time;
    ASN1_OCTET_STRING *booked, *before, *entries;
    ASN1_UTF8STRING *head;
    ASN1_OCTET_STRING *signature, *certificate;
};

/* clang-format off */
ASN1_SEQUENCE(PROOF) = {
    ASN1_EMBED(struct proof, entry, INT64),
    ASN1_EMBED(struct proof, time, INT64),
    ASN1_SIMPLE(struct proof, booked, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct proof, before, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct proof, entries, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct proof, head, ASN1_UTF8STRING),
    ASN1_SIMPLE(struct proof, signature, ASN1_OCTET_STRING),
    ASN1_SIMPLE(struct proof, certificate, ASN1_OCTET_STRING),
} static_ASN1_SEQUENCE_END_name(struct proof, PROOF)
    /* clang-format on */

    static bool put(ASN1_STRING * s, const uint8_t *data, size_t len)
{
    return s != NULL && ASN1_STRING_set(s, data, (int)len) == 1;
}

static bool take(const ASN1_STRING *s, uint8_t *out, size_t cap, size_t *len)
{
    if (s == NULL || ASN1_STRING_length(s) < 0 || (size_t)ASN1_STRING_length(s) > cap)
        return false;
    *len = (size_t)ASN1_STRING_length(s);
    if (*len > 0)
        memcpy(out, ASN1_STRING_get0_data(s), *len);
    return true;
}

static bool take_exact(const ASN1_STRING *s, uint8_t *out, size_t cap)
{
    size_t len;
    return take(s, out, cap, &len) && len == cap;
}

/* ---- writing ---- */

/* The signature was made in the card over the bare text, hence no signed attributes (RFC 5652 §5.4:
 * then the content itself is what is signed). OpenSSL fills in the algorithms from the public key.
 */
static bool add_order(CMS_ContentInfo *cms, CMS_SignerInfo *signer, const struct receipt *r)
{
    ASN1_OCTET_STRING **content = CMS_get0_content(cms);
    if (signer == NULL || content == NULL)
        return false;
    ASN1_OCTET_STRING_free(*content);
    *content = ASN1_OCTET_STRING_new();
    return put(*content, r->text, r->text_len) &&
           put(CMS_SignerInfo_get0_signature(signer), r->signature, r->signature_len);
}

static bool add_proof(CMS_SignerInfo *signer, const struct receipt_proof *p)
{
    unsigned char *der = NULL;
    int len = -1;
    ASN1_OBJECT *name = OBJ_txt2obj(RECEIPT_OID_PROOF, 1);
    struct proof *value = (struct proof *)ASN1_item_new(ASN1_ITEM_rptr(PROOF));
    if (name != NULL && value != NULL) {
        value->entry = p->id;
        value->time = p->time;
        if (put(value->booked, p->booked, sizeof p->booked) &&
            put(value->before, p->before, sizeof p->before) &&
            put(value->entries, p->entries[0], p->entry_count * DIGEST_LEN) &&
            put(value->head, p->head, p->head_len) &&
            put(value->signature, p->signature, p->signature_len) &&
            put(value->certificate, p->certificate, p->certificate_len))
            len = ASN1_item_i2d((ASN1_VALUE *)value, &der, ASN1_ITEM_rptr(PROOF));
    }
    bool good =
        len > 0 && CMS_unsigned_add1_attr_by_OBJ(signer, name, V_ASN1_SEQUENCE, der, len) == 1;
    OPENSSL_free(der);
    ASN1_item_free((ASN1_VALUE *)value, ASN1_ITEM_rptr(PROOF));
    ASN1_OBJECT_free(name);
    return good;
}

static bool add_issuer(CMS_ContentInfo *cms, const struct receipt *r)
{
    const unsigned char *at = r->issuer;
    if (r->issuer_len == 0)
        return true;
    X509 *cert = d2i_X509(NULL, &at, (long)r->issuer_len);
    bool good = cert != NULL && CMS_add1_cert(cms, cert) == 1;
    X509_free(cert);
    return good;
}

static CMS_ContentInfo *assemble(const struct receipt *r)
{
    const unsigned char *at = r->certificate;
    X509 *cert = d2i_X509(NULL, &at, (long)r->certificate_len);
    EVP_PKEY *key = cert != NULL ? X509_get0_pubkey(cert) : NULL;
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_BINARY);
    CMS_SignerInfo *signer =
        cms != NULL && key != NULL
            ? CMS_add1_signer(cms, cert, key, EVP_sha256(),
                              CMS_PARTIAL | CMS_BINARY | CMS_NOATTR | CMS_NOSMIMECAP)
            : NULL;
    if (signer == NULL || !add_order(cms, signer, r) || !add_proof(signer, &r->proof) ||
        !add_issuer(cms, r)) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    X509_free(cert);
    return cms;
}

enum cw_err receipt_write(const struct receipt *r, uint8_t **out, size_t *len, struct say *why)
{
    unsigned char *der = NULL;
    CMS_ContentInfo *cms = assemble(r);
    int n = cms != NULL ? i2d_CMS_ContentInfo(cms, &der) : -1;
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    if (n <= 0)
        return say_fail(why, CW_ERR_CRYPTO, "cannot make the receipt of these parts");
    uint8_t *copy = malloc((size_t)n);
    if (copy != NULL)
        memcpy(copy, der, (size_t)n);
    OPENSSL_free(der);
    if (copy == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    *out = copy;
    *len = (size_t)n;
    return CW_OK;
}

/* ---- reading ---- */

static bool take_proof(const ASN1_STRING *value, struct receipt_proof *out)
{
    size_t entries = 0;
    const unsigned char *at = ASN1_STRING_get0_data(value);
    struct proof *p =
        (struct proof *)ASN1_item_d2i(NULL, &at, ASN1_STRING_length(value), ASN1_ITEM_rptr(PROOF));
    bool good =
        p != NULL && take_exact(p->booked, out->booked, sizeof out->booked) &&
        take_exact(p->before, out->before, sizeof out->before) &&
        take(p->entries, out->entries[0], sizeof out->entries, &entries) &&
        entries % DIGEST_LEN == 0 && take(p->head, out->head, sizeof out->head, &out->head_len) &&
        take(p->signature, out->signature, sizeof out->signature, &out->signature_len) &&
        take(p->certificate, out->certificate, sizeof out->certificate, &out->certificate_len);
    if (good) {
        out->id = p->entry;
        out->time = p->time;
        out->entry_count = entries / DIGEST_LEN;
    }
    ASN1_item_free((ASN1_VALUE *)p, ASN1_ITEM_rptr(PROOF));
    return good;
}

/* The one signer's parts. *proved says whether there is anything that may be a proof. */
static bool take_signer(CMS_ContentInfo *cms, struct receipt *out, bool *proved)
{
    const STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);
    CMS_SignerInfo *signer =
        sk_CMS_SignerInfo_num(signers) == 1 ? sk_CMS_SignerInfo_value(signers, 0) : NULL;
    if (signer == NULL || !take(CMS_SignerInfo_get0_signature(signer), out->signature,
                                sizeof out->signature, &out->signature_len))
        return false;
    *proved = CMS_unsigned_get_attr_count(signer) > 0;
    if (!*proved)
        return false;
    ASN1_OBJECT *name = OBJ_txt2obj(RECEIPT_OID_PROOF, 1);
    ASN1_STRING *value =
        name != NULL ? CMS_unsigned_get0_data_by_OBJ(signer, name, -3, V_ASN1_SEQUENCE) : NULL;
    ASN1_OBJECT_free(name);
    return value != NULL && take_proof(value, &out->proof);
}

static bool take_certificate(X509 *cert, uint8_t out[RECEIPT_CERT_MAX], size_t *len)
{
    unsigned char *at = out;
    int n = *len == 0 ? i2d_X509(cert, NULL) : -1; /* twice is once too often */
    if (n <= 0 || (size_t)n > RECEIPT_CERT_MAX || i2d_X509(cert, &at) != n)
        return false;
    *len = (size_t)n;
    return true;
}

/* The card's, and that of the CA, when there is one; in whichever order they come. */
static bool take_certificates(CMS_ContentInfo *cms, struct receipt *out)
{
    STACK_OF(X509) *certs = CMS_get1_certs(cms);
    int count = sk_X509_num(certs);
    bool good = count == 1 || count == 2;
    for (int i = 0; i < count && good; i++) {
        X509 *cert = sk_X509_value(certs, i);
        good = count == 2 && X509_check_ca(cert) != 0
                   ? take_certificate(cert, out->issuer, &out->issuer_len)
                   : take_certificate(cert, out->certificate, &out->certificate_len);
    }
    sk_X509_pop_free(certs, X509_free);
    return good && out->certificate_len > 0;
}

static bool take_apart(const uint8_t *der, size_t len, struct receipt *out, bool *proved)
{
    const unsigned char *at = der;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)len);
    bool good = cms != NULL && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed;
    ASN1_OCTET_STRING **content = good ? CMS_get0_content(cms) : NULL;
    good = content != NULL && take(*content, out->text, sizeof out->text, &out->text_len) &&
           take_signer(cms, out, proved) && take_certificates(cms, out);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();
    return good;
}

static bool same(const struct receipt *r, const uint8_t *der, size_t len)
{
    uint8_t *again = NULL;
    size_t n = 0;
    bool good =
        receipt_write(r, &again, &n, NULL) == CW_OK && n == len && memcmp(again, der, len) == 0;
    free(again);
    return good;
}

enum cw_err receipt_read(const uint8_t *der, size_t len, struct receipt *out, struct say *why)
{
    bool proved = true;
    struct receipt *r = calloc(1, sizeof *r);
    if (r == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = CW_OK;
    if (len > RECEIPT_MAX || !take_apart(der, len, r, &proved) || !same(r, der, len))
        err = proved ? say_fail(why, CW_ERR_FORMAT,
                                "this is no receipt of a Cardwire bank, or something of it was "
                                "changed")
                     : say_fail(why, CW_ERR_NOT_FOUND,
                                "this receipt shows what a card signed and holds no proof that "
                                "the bank has booked it; 'cardwire receipt' fetches one that does");
    else
        *out = *r;
    free(r);
    return err;
}
