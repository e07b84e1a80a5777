#include "bank/renew.h"

#include "bank/ca.h"
#include "bank/keystore.h"
#include "host/file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <unistd.h>

#define DAY 86400

static enum cw_err replace(const struct bank *b, const char *stem, X509 *cert, struct say *why)
{
    char path[BANK_PATH_MAX], *pem = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    long len = bio != NULL && PEM_write_bio_X509(bio, cert) == 1 ? BIO_get_mem_data(bio, &pem) : 0;
    enum cw_err err = len > 0 ? bank_path(b->dir, stem, ".pem", path, why)
                              : ca_fail(why, "cannot write a certificate");
    if (err == CW_OK)
        err = file_write(path, pem, (size_t)len, 0644, why);
    BIO_free(bio);
    return err;
}

/* `order` lacks keys and issuer, which are those of the stems. */
static enum cw_err make_anew(struct bank *b, const char *root_stem, const char *stem,
                             struct ca_order order, struct say *why)
{
    X509 *root = NULL, *cert = NULL;
    EVP_PKEY *root_key = NULL, *key = NULL;
    int64_t now = ledger_now(b->ledger);
    enum cw_err err = bank_pair_load(b, root_stem, &root, &root_key, why);
    if (err == CW_OK)
        err = bank_key_load(b, stem, &key, why);
    if (err == CW_OK && ca_seconds(X509_get0_notAfter(root)) < now + (int64_t)order.days * DAY)
        err =
            say_fail(why, CW_ERR_STATE,
                     "the root %s.pem ends before a certificate by it would; 'cardwired root roll' "
                     "makes the next",
                     root_stem);
    if (err == CW_OK) {
        order.key = key;
        order.issuer = root;
        order.issuer_key = root_key;
        err = ca_certificate_make(&order, now, &cert, why);
    }
    if (err == CW_OK)
        err = replace(b, stem, cert, why);
    X509_free(root);
    X509_free(cert);
    EVP_PKEY_free(root_key);
    EVP_PKEY_free(key);
    return err;
}

static enum cw_err make_server(struct bank *b, const char *root_stem, const char *stem,
                               enum ca_profile profile, int days, struct say *why)
{
    struct bank_hosts hosts;
    enum cw_err err = bank_hosts_read(b, stem, &hosts, why);
    if (err != CW_OK)
        return err;
    const struct ca_order order = {.profile = profile,
                                   .cn = hosts.list[0],
                                   .hosts = hosts.list,
                                   .host_count = hosts.count,
                                   .days = days};
    return make_anew(b, root_stem, stem, order, why);
}

/* A third of its time is left, or less; or it has not begun, by a clock that was wrong when it was
 * made. Only what is by the bank's own root: what an operator has put there is his. */
static enum cw_err is_due(const struct bank *b, const char *root_stem, const char *stem, bool *due,
                          int *days, struct say *why)
{
    X509 *cert = NULL, *root = NULL;
    enum cw_err err = bank_certificate_load(b, stem, &cert, why);
    if (err == CW_OK)
        err = bank_certificate_load(b, root_stem, &root, why);
    if (err == CW_OK) {
        int64_t begin = ca_seconds(X509_get0_notBefore(cert)),
                end = ca_seconds(X509_get0_notAfter(cert));
        int64_t now = ledger_now(b->ledger);
        *due = X509_verify(cert, X509_get0_pubkey(root)) == 1 &&
               (end - now <= (end - begin) / 3 || begin > now);
        *days = end - begin > DAY ? (int)((end - begin) / DAY) : 1;
    }
    ERR_clear_error();
    X509_free(cert);
    X509_free(root);
    return err;
}

/* Whatever became of the ones before: one that fails keeps no other from being renewed. */
static void renew_one(struct bank *b, const char *root, const char *stem, enum ca_profile profile,
                      unsigned *count, enum cw_err *first, struct say *why)
{
    struct say here = {""};
    bool due = false;
    int days = 0;
    enum cw_err err = is_due(b, root, stem, &due, &days, &here);
    if (err == CW_OK && due)
        err = make_server(b, root, stem, profile, days, &here);
    if (err == CW_OK && due)
        ++*count;
    if (err != CW_OK && *first == CW_OK)
        *first = say_fail(why, err, "%s", here.text);
}

enum cw_err renew_server(struct bank *b, unsigned *count, struct say *why)
{
    const struct bank_server *const servers[] = {&b->server, &b->server_next};
    enum cw_err first = CW_OK;
    *count = 0;
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
        const struct bank_server *s = servers[i];
        if (s->generation == 0)
            continue;
        renew_one(b, s->root, s->ec, CA_SERVER_EC, count, &first, why);
        renew_one(b, s->root, s->rsa, CA_SERVER_RSA, count, &first, why);
    }
    return first;
}

/* ---- the OCSP responder ---- */

static enum cw_err have_key(const struct bank *b, struct say *why)
{
    char path[BANK_PATH_MAX];
    EVP_PKEY *key = NULL;
    enum cw_err err = bank_path(b->dir, BANK_FILE_OCSP, ".key", path, why);
    if (err != CW_OK || access(path, F_OK) == 0)
        return err;
    err = keystore_make(path, false, NULL, &key, why);
    EVP_PKEY_free(key);
    return err;
}

enum cw_err renew_ocsp(struct bank *b, bool *renewed, struct say *why)
{
    char path[BANK_PATH_MAX], cn[BANK_NAME_MAX + 16];
    bool due = true;
    int days = RENEW_OCSP_DAYS;
    *renewed = false;
    enum cw_err err = have_key(b, why);
    if (err == CW_OK)
        err = bank_path(b->dir, BANK_FILE_OCSP, ".pem", path, why);
    if (err == CW_OK && access(path, F_OK) == 0)
        err = is_due(b, b->card_issuer, BANK_FILE_OCSP, &due, &days, why);
    if (err != CW_OK || !due)
        return err;
    snprintf(cn, sizeof cn, "%s OCSP", b->name);
    const struct ca_order order = {.profile = CA_OCSP, .cn = cn, .days = days};
    err = make_anew(b, b->card_issuer, BANK_FILE_OCSP, order, why);
    *renewed = err == CW_OK;
    return err;
}
