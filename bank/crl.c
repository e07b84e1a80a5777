#include "bank/crl.h"

#include "bank/ca.h"
#include "bank/ledger_revoke.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DAY        86400
#define CRL_NUMBER "crl-number"

struct listing {
    X509_CRL *crl;
    struct crl_made made;
};

/* Each list has a number of its own, also one that then fails. */
static enum cw_err next_number(struct bank *b, int64_t *out, struct say *why)
{
    char from[24], to[24];
    enum cw_err err = ledger_setting_get(b->ledger, CRL_NUMBER, from, sizeof from, why);
    if (err != CW_OK)
        return err;
    int64_t n = strtoll(from, NULL, 10) + 1;
    snprintf(to, sizeof to, "%lld", (long long)n);
    err = ledger_setting_change(b->ledger, CRL_NUMBER, from, to, why);
    if (err == CW_ERR_STATE)
        return say_fail(why, CW_ERR_BUSY, "another CRL is being made; try again");
    if (err == CW_OK)
        *out = n;
    return err;
}

/* "Unspecified" is said by leaving it out (§5.3.1). */
static bool set_reason(X509_REVOKED *entry, enum ledger_reason reason)
{
    if (reason == LEDGER_REASON_UNSPECIFIED)
        return true;
    ASN1_ENUMERATED *value = ASN1_ENUMERATED_new();
    bool good = value != NULL && ASN1_ENUMERATED_set(value, (long)reason) == 1 &&
                X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, value, 0, 0) == 1;
    ASN1_ENUMERATED_free(value);
    return good;
}

static bool add_entry(X509_CRL *crl, X509 *cert, const struct ledger_revocation *r)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)r->time);
    bool good = entry != NULL && time != NULL &&
                X509_REVOKED_set_revocationDate(entry, time) == 1 &&
                X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert)) == 1 &&
                set_reason(entry, r->reason) && X509_CRL_add0_revoked(crl, entry) == 1;
    if (!good)
        X509_REVOKED_free(entry);
    ASN1_TIME_free(time);
    return good;
}

static enum cw_err take(void *ctx, const struct ledger_certificate *c,
                        const struct ledger_revocation *r, struct say *why)
{
    struct listing *list = ctx;
    const unsigned char *der = c->der;
    time_t now = (time_t)list->made.time;
    X509 *cert = d2i_X509(NULL, &der, (long)c->der_len);
    bool ended = cert != NULL && X509_cmp_time(X509_get0_notAfter(cert), &now) < 0;
    bool good = cert != NULL && (ended || add_entry(list->crl, cert, r));
    list->made.count += !ended;
    X509_free(cert);
    return good ? CW_OK : ca_fail(why, "cannot put a certificate onto the CRL");
}

static bool add_extensions(X509_CRL *crl, X509 *issuer, int64_t number)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *key = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid");
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    bool good = key != NULL && n != NULL && X509_CRL_add_ext(crl, key, -1) == 1 &&
                ASN1_INTEGER_set_int64(n, number) == 1 &&
                X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1;
    X509_EXTENSION_free(key);
    ASN1_INTEGER_free(n);
    return good;
}

static bool set_times(X509_CRL *crl, const struct crl_made *made)
{
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)made->time);
    ASN1_TIME *next = ASN1_TIME_set(NULL, (time_t)made->next);
    bool good = now != NULL && next != NULL && X509_CRL_set1_lastUpdate(crl, now) == 1 &&
                X509_CRL_set1_nextUpdate(crl, next) == 1;
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    return good;
}

static enum cw_err fill(struct bank *b, const struct crl_options *o, X509 *issuer, EVP_PKEY *key,
                        struct listing *list, struct say *why)
{
    list->made.time = ledger_now(b->ledger);
    list->made.next = list->made.time + (int64_t)o->days * DAY;
    enum cw_err err = next_number(b, &list->made.number, why);
    if (err == CW_OK && (X509_CRL_set_version(list->crl, X509_CRL_VERSION_2) != 1 ||
                         X509_CRL_set_issuer_name(list->crl, X509_get_subject_name(issuer)) != 1 ||
                         !set_times(list->crl, &list->made) ||
                         !add_extensions(list->crl, issuer, list->made.number)))
        err = ca_fail(why, "cannot make a CRL");
    if (err == CW_OK)
        err = ledger_revoked_each(b->ledger, o->piv, take, list, why);
    if (err == CW_OK &&
        (X509_CRL_sort(list->crl) != 1 || X509_CRL_sign(list->crl, key, EVP_sha256()) <= 0))
        err = ca_fail(why, "cannot sign the CRL");
    return err;
}

enum cw_err crl_make(struct bank *b, const struct crl_options *o, X509_CRL **out,
                     struct crl_made *made, struct say *why)
{
    X509 *issuer = NULL;
    EVP_PKEY *key = NULL;
    struct listing list = {.crl = X509_CRL_new()};
    enum cw_err err = list.crl != NULL ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK)
        err = bank_pair_load(b, o->piv ? BANK_FILE_PIV_ROOT : b->card_issuer, &issuer, &key, why);
    if (err == CW_OK)
        err = fill(b, o, issuer, key, &list, why);
    X509_free(issuer);
    EVP_PKEY_free(key);
    if (err != CW_OK) {
        X509_CRL_free(list.crl);
        return err;
    }
    *out = list.crl;
    *made = list.made;
    return CW_OK;
}
