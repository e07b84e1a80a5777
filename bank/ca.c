#include "bank/ca.h"

#include "proto/link.h"
#include "receipt/cert.h"
#include "receipt/receipt.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BACKDATE 600 /* seconds */

enum cw_err ca_fail(struct say *why, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    say_fail(why, CW_ERR_CRYPTO, "%s: %s", what, reason != NULL ? reason : "OpenSSL refused it");
    ERR_clear_error();
    return CW_ERR_CRYPTO;
}

int64_t ca_seconds(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

enum cw_err ca_key_make(bool rsa, EVP_PKEY **out, struct say *why)
{
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    if (key == NULL)
        return ca_fail(why, "cannot make a key");
    *out = key;
    return CW_OK;
}

enum cw_err ca_host_check(const char *host)
{
    size_t label = 0, len = strlen(host);
    if (len == 0 || len > LINK_HOST_MAX)
        return CW_ERR_FORMAT;
    for (size_t i = 0; i <= len; i++) {
        char c = host[i];
        if (c == '.' || c == '\0') {
            if (label == 0 || label > 63 || host[i - 1] == '-')
                return CW_ERR_FORMAT;
            label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && label > 0)) {
            label++;
        } else {
            return CW_ERR_FORMAT;
        }
    }
    return CW_OK;
}

static bool add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* RFC 5280 §4.2.1.2, method 2: eight bytes are enough to tell the bank's keys apart. */
static bool add_key_id(X509 *cert)
{
    uint8_t hash[SHA_DIGEST_LENGTH];
    ASN1_BIT_STRING *bits = X509_get0_pubkey_bitstr(cert);
    ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
    bool ok = bits != NULL && id != NULL;
    if (ok) {
        SHA1(bits->data, (size_t)bits->length, hash);
        uint8_t *tail = hash + SHA_DIGEST_LENGTH - 8;
        tail[0] = (uint8_t)(0x40 | (tail[0] & 0x0F));
        ok = ASN1_OCTET_STRING_set(id, tail, 8) == 1 &&
             X509_add1_ext_i2d(cert, NID_subject_key_identifier, id, 0, 0) == 1;
    }
    ASN1_OCTET_STRING_free(id);
    return ok;
}

static bool add_hosts(X509 *cert, const struct ca_order *o)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool ok = names != NULL && o->host_count > 0;
    for (size_t i = 0; i < o->host_count && ok; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        ok = name != NULL && text != NULL && ASN1_STRING_set(text, o->hosts[i], -1) == 1;
        if (ok) {
            GENERAL_NAME_set0_value(name, GEN_DNS, text);
            text = NULL;
            ok = sk_GENERAL_NAME_push(names, name) > 0;
        }
        if (!ok)
            GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(text);
    }
    ok = ok && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static const struct {
    const char *key_usage, *extended;
} usages[] = {
    [CA_ROOT] = {"critical,keyCertSign,cRLSign", NULL},
    [CA_ISSUER_ROOT] = {"critical,keyCertSign,cRLSign", NULL},
    [CA_ISSUER] = {"critical,keyCertSign,cRLSign", NULL},
    [CA_SERVER_EC] = {"critical,digitalSignature", "serverAuth"},
    [CA_SERVER_RSA] = {"critical,keyEncipherment", "serverAuth"},
    [CA_CARD_TLS] = {"critical,digitalSignature", "clientAuth"},
    [CA_CARD_ORDER] = {"critical,digitalSignature,nonRepudiation", "emailProtection"},
    [CA_OCSP] = {"critical,digitalSignature", "OCSPSigning"},
    [CA_JOURNAL] = {"critical,digitalSignature", "critical," RECEIPT_OID_JOURNAL},
    [CA_PIV_AUTH] = {"critical,digitalSignature", "clientAuth"},
    [CA_PIV_SIGNATURE] = {"critical,digitalSignature,nonRepudiation", "emailProtection"},
    [CA_PIV_AGREEMENT] = {"critical,keyAgreement", "emailProtection"},
    [CA_PIV_TRANSPORT] = {"critical,keyEncipherment", "emailProtection"},
    /* id-PIV-cardAuth, FIPS 201-2 §4.2.2.2 */
    [CA_PIV_CARD] = {"critical,digitalSignature", "critical,2.16.840.1.101.3.6.8"},
};

static bool add_extensions(X509 *cert, const struct ca_order *o)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, o->issuer != NULL ? o->issuer : cert, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    if (!add_extension(cert, &ctx, NID_key_usage, usages[o->profile].key_usage))
        return false;
    if (o->profile <= CA_ISSUER)
        return add_extension(cert, &ctx, NID_basic_constraints,
                             o->profile == CA_ISSUER_ROOT ? "critical,CA:TRUE,pathlen:1"
                                                          : "critical,CA:TRUE,pathlen:0") &&
               add_key_id(cert) &&
               (o->profile != CA_ISSUER ||
                add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always"));
    if (!add_extension(cert, &ctx, NID_ext_key_usage, usages[o->profile].extended) ||
        !add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always"))
        return false;
    /* RFC 6960 §4.2.2.2.1: it is short-lived instead. */
    if (o->profile == CA_OCSP)
        return add_extension(cert, &ctx, NID_id_pkix_OCSP_noCheck, "NULL");
    bool server = o->profile == CA_SERVER_EC || o->profile == CA_SERVER_RSA;
    return !server || add_hosts(cert, o);
}

/* 70 random bits, positive: RFC 5280 §4.1.2.2 */
static bool set_serial(X509 *cert)
{
    uint8_t random[9];
    if (RAND_bytes(random, sizeof random) != 1)
        return false;
    random[0] = (uint8_t)(0x40 | (random[0] & 0x3F));
    BIGNUM *n = BN_bin2bn(random, sizeof random, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

static bool fill(X509 *cert, const struct ca_order *o, int64_t now)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)o->cn, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, o->issuer != NULL ? X509_get_subject_name(o->issuer)
                                                        : subject) == 1 &&
           ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now - BACKDATE)) != NULL &&
           ASN1_TIME_adj(X509_getm_notAfter(cert), (time_t)now, o->days, 0) != NULL &&
           X509_set_pubkey(cert, o->key) == 1 && add_extensions(cert, o) &&
           X509_sign(cert, o->issuer_key != NULL ? o->issuer_key : o->key, EVP_sha256()) > 0;
}

enum cw_err ca_certificate_make(const struct ca_order *order, int64_t now, X509 **out,
                                struct say *why)
{
    for (size_t i = 0; i < order->host_count; i++)
        if (ca_host_check(order->hosts[i]) != CW_OK)
            return say_fail(why, CW_ERR_FORMAT,
                            "'%.80s' is no server name: lower-case letters, digits, hyphens and "
                            "dots, at most %u",
                            order->hosts[i], LINK_HOST_MAX);
    X509 *cert = NULL;
    do { /* every second time it is */
        X509_free(cert);
        cert = X509_new();
        if (cert == NULL || !fill(cert, order, now)) {
            X509_free(cert);
            return ca_fail(why, "cannot make a certificate");
        }
    } while (order->profile == CA_ISSUER && !cert_is_low(cert, X509_get0_pubkey(order->issuer)));
    *out = cert;
    return CW_OK;
}

bool ca_key_is(EVP_PKEY *key, bool rsa)
{
    return rsa ? EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == 2048
               : signature_key_is_p256(key);
}

enum cw_err ca_request_verify(const uint8_t *der, size_t len, const char *cn, bool rsa,
                              EVP_PKEY **out, struct say *why)
{
    const unsigned char *at = der;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)len);
    EVP_PKEY *key = request != NULL ? X509_REQ_get_pubkey(request) : NULL;
    enum cw_err err = CW_OK;
    if (request == NULL || key == NULL || at != der + len)
        err = say_fail(why, CW_ERR_FORMAT, "the card's certification request is malformed");
    else if (X509_REQ_verify(request, key) != 1)
        err = say_fail(why, CW_ERR_CRYPTO,
                       "the card's certification request is not signed by its own key");
    else if (!cert_subject_is(X509_REQ_get_subject_name(request), cn))
        err = say_fail(why, CW_ERR_FORMAT,
                       "the card's certification request does not name the card's serial %s", cn);
    else if (!ca_key_is(key, rsa))
        err = say_fail(why, CW_ERR_FORMAT, "the card made another kind of key than was asked for");
    X509_REQ_free(request);
    ERR_clear_error();
    if (err != CW_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    *out = key;
    return CW_OK;
}
