#include "bank/objects.h"

#include "bank/ca.h"
#include "proto/ber.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool fits_card(X509 *cert)
{
    char group[32] = "";
    size_t len = 0;
    EVP_PKEY *key = X509_get0_pubkey(cert);
    if (key == NULL || X509_check_ca(cert) != 1) /* 1: by its basic constraints */
        return false;
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 4096;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
           strcmp(group, SN_X9_62_prime256v1) == 0;
}

enum cw_err objects_root_load(const char *path, struct objects_root *out, struct say *why)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    unsigned char *der = NULL;
    int len = cert != NULL ? i2d_X509(cert, &der) : -1;
    enum cw_err err = CW_OK;
    if (len <= 0) {
        err = say_fail(why, CW_ERR_FORMAT, "%s holds no certificate in PEM", path);
    } else if (!fits_card(cert)) {
        err = say_fail(why, CW_ERR_FORMAT,
                       "the certificate in %s is no root that a card takes: a CA's, with a key on "
                       "P-256 or of RSA with 2048 to 4096 bits",
                       path);
    } else if ((size_t)len > sizeof out->der) {
        err = say_fail(
            why, CW_ERR_LENGTH,
            "the certificate in %s has %d bytes, and a card takes %zu: a key of RSA-2048 or "
            "on P-256, and a short name, fit",
            path, len, sizeof out->der);
    } else {
        memcpy(out->der, der, (size_t)len);
        out->len = (size_t)len;
    }
    OPENSSL_free(der);
    X509_free(cert);
    BIO_free(bio);
    return err;
}

enum cw_err objects_name_put(const struct applet_name *name, struct buf_writer *w, struct say *why)
{
    if (ca_host_check(name->host) != CW_OK)
        return say_fail(why, CW_ERR_FORMAT,
                        "'%.64s' is no server name: lower-case letters, digits, hyphens and dots",
                        name->host);
    ber_put(w, LINK_TAG_NAME, name->host, strlen(name->host));
    ber_put_u8(w, LINK_TAG_NAME_PROFILES, name->profiles);
    if (name->alpn[0] != '\0')
        ber_put(w, LINK_TAG_NAME_ALPN, name->alpn, strlen(name->alpn));
    return w->bad ? say_fail(why, CW_ERR_SPACE, "the server name %s is too long", name->host)
                  : CW_OK;
}

enum cw_err objects_payees_find(struct ledger *l, const char *const *accounts, size_t count,
                                struct policy_payee *out, struct say *why)
{
    for (size_t i = 0; i < count; i++) {
        struct ledger_account a;
        enum cw_err err = ledger_account_get(l, accounts[i], &a, why);
        if (err != CW_OK)
            return err;
        if (a.customer == 0)
            return say_fail(why, CW_ERR_ARG,
                            "%s is the bank's own account, and no card pays to that; name a "
                            "customer's",
                            a.number);
        memset(&out[i], 0, sizeof out[i]);
        memcpy(out[i].account, a.number, sizeof a.number);
        memcpy(out[i].name, a.name, sizeof a.name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(out[k].account, out[i].account) == 0)
                return say_fail(why, CW_ERR_EXISTS, "the payee %s is named twice", a.number);
    }
    return CW_OK;
}

enum cw_err objects_payees_put(const struct policy_payee *payees, size_t count,
                               struct buf_writer *w, struct say *why)
{
    const size_t before = w->len;
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++)
        err = policy_payee_put(w, &payees[i]);
    if (err == CW_OK && w->len - before > POLICY_PAYEES_LENMAX)
        err = CW_ERR_SPACE;
    return err == CW_OK
               ? CW_OK
               : say_fail(why, err,
                          "the payees with their names take more than the %u bytes of a card's "
                          "list; name fewer, or remove one with 'payee remove'",
                          POLICY_PAYEES_LENMAX);
}
