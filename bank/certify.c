#include "bank/certify.h"

#include <openssl/err.h>
#include <time.h>

#define DAY 86400

const struct certify_slot certify_slots[CERTIFY_SLOTS] = {
    {LINK_KEY_TLS_P256, false, LEDGER_CERT_TLS, CA_CARD_TLS},
    {LINK_KEY_TLS_RSA, true, LEDGER_CERT_TLS, CA_CARD_TLS},
    {LINK_KEY_ORDER_P256, false, LEDGER_CERT_ORDER, CA_CARD_ORDER},
    {LINK_KEY_ORDER_RSA, true, LEDGER_CERT_ORDER, CA_CARD_ORDER},
};

enum cw_err certify_open(const struct bank *b, int days, struct certify_ca *out, struct say *why)
{
    *out = (struct certify_ca){NULL, NULL};
    enum cw_err err = bank_pair_load(b, b->card_issuer, &out->cert, &out->key, why);
    if (err != CW_OK)
        return err;
    time_t last = (time_t)(ledger_now(b->ledger) + (int64_t)days * DAY);
    return X509_cmp_time(X509_get0_notAfter(out->cert), &last) > 0
               ? CW_OK
               : say_fail(why, CW_ERR_STATE,
                          "%s.pem ends before certificates of %d days by it would; name fewer by "
                          "--days",
                          b->card_issuer, days);
}

void certify_close(struct certify_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
    *ca = (struct certify_ca){NULL, NULL};
}

static enum cw_err check_same(const struct desk *d, const struct certify_slot *slot, EVP_PKEY *key,
                              const struct ledger_certificate *same, struct say *why)
{
    const unsigned char *der = same->der;
    X509 *cert = d2i_X509(NULL, &der, (long)same->der_len);
    bool good = cert != NULL && EVP_PKEY_eq(X509_get0_pubkey(cert), key) == 1;
    X509_free(cert);
    ERR_clear_error();
    return good ? CW_OK
                : say_fail(why, CW_ERR_STATE,
                           "the card %s has another key %s than the one that was certified; use a "
                           "new card",
                           d->serial, link_key_name(slot->key));
}

enum cw_err certify_key(struct desk *d, const struct certify_slot *slot,
                        const struct certify_ca *ca, int days,
                        const struct ledger_certificate *same, struct ledger_certificate *out,
                        struct say *why)
{
    uint8_t request[APPLET_CERT_MAX];
    size_t len;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    enum cw_err err = desk_request_get(d, slot->key, request, sizeof request, &len, why);
    if (err == CW_OK)
        err = ca_request_verify(request, len, d->serial, slot->rsa, &key, why);
    if (err == CW_OK && same != NULL)
        err = check_same(d, slot, key, same, why);
    if (err == CW_OK) {
        const struct ca_order order = {.profile = slot->profile,
                                       .cn = d->serial,
                                       .key = key,
                                       .days = days,
                                       .issuer = ca->cert,
                                       .issuer_key = ca->key};
        err = ca_certificate_make(&order, ledger_now(d->bank->ledger), &cert, why);
    }
    if (err == CW_OK)
        err = bank_certificate_record(cert, slot->kind, slot->key, out, why);
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}
