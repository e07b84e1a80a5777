#include "receipt/cert.h"

#include "proto/order.h"
#include "receipt/receipt.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

bool cert_subject_is(const X509_NAME *name, const char *cn)
{
    const X509_NAME_ENTRY *e =
        X509_NAME_entry_count(name) == 1 ? X509_NAME_get_entry(name, 0) : NULL;
    const ASN1_STRING *value = e != NULL ? X509_NAME_ENTRY_get_data(e) : NULL;
    return value != NULL && OBJ_obj2nid(X509_NAME_ENTRY_get_object(e)) == NID_commonName &&
           (size_t)ASN1_STRING_length(value) == strlen(cn) &&
           memcmp(ASN1_STRING_get0_data(value), cn, strlen(cn)) == 0;
}

/* Whether it has one extended key usage, and that is it. */
static bool only_use_is(X509 *cert, const char *oid)
{
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    ASN1_OBJECT *wanted = OBJ_txt2obj(oid, 1);
    bool good = wanted != NULL && sk_ASN1_OBJECT_num(uses) == 1 &&
                OBJ_cmp(sk_ASN1_OBJECT_value(uses, 0), wanted) == 0;
    ASN1_OBJECT_free(wanted);
    EXTENDED_KEY_USAGE_free(uses);
    ERR_clear_error();
    return good;
}

bool cert_is_order(X509 *cert, const char *serial)
{
    uint32_t usage = X509_get_key_usage(cert); /* all bits when it says nothing */
    return cert_subject_is(X509_get_subject_name(cert), serial) && usage != UINT32_MAX &&
           (usage & KU_NON_REPUDIATION) != 0 && only_use_is(cert, "1.3.6.1.5.5.7.3.4");
}

bool cert_is_journal(X509 *cert, const char *bank)
{
    char cn[HEAD_BANK_MAX + 16];
    snprintf(cn, sizeof cn, "%s" RECEIPT_JOURNAL_CN, bank);
    return cert_subject_is(X509_get_subject_name(cert), cn) &&
           only_use_is(cert, RECEIPT_OID_JOURNAL);
}

bool cert_is_by(X509 *cert, X509 *between, X509 *root, int64_t time)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    bool good = store != NULL && ctx != NULL && others != NULL &&
                X509_STORE_add_cert(store, root) == 1 &&
                (between == NULL || sk_X509_push(others, between) > 0) &&
                X509_STORE_CTX_init(ctx, store, cert, others) == 1;
    if (good) {
        X509_STORE_CTX_set_time(ctx, 0, (time_t)time);
        good = X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    sk_X509_free(others);
    ERR_clear_error();
    return good;
}

bool cert_is_low(X509 *cert, EVP_PKEY *key)
{
    const ASN1_BIT_STRING *signature;
    unsigned char *signed_part = NULL;
    X509_get0_signature(&signature, NULL, cert);
    int len = i2d_re_X509_tbs(cert, &signed_part);
    bool good = len > 0 && signature != NULL &&
                signature_good_low(key, signed_part, (size_t)len, ASN1_STRING_get0_data(signature),
                                   (size_t)ASN1_STRING_length(signature));
    OPENSSL_free(signed_part);
    return good;
}
