#include "bank/issue.h"

#include "bank/ca.h"
#include "base/ct.h"
#include "host/file.h"
#include "host/pin.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIN_DIGITS 6u

struct issue {
    struct bank *bank;
    const struct issue_options *o;
    struct reader *reader;
    struct applet_info info;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    struct applet_name names[LINK_NAME_MAX];
    size_t name_count;
    struct ledger_certificate certs[LEDGER_CERTS_PER_CARD];
    size_t cert_count;
    uint8_t roots[LINK_ROOT_MAX][APPLET_CERT_MAX];
    size_t root_len[LINK_ROOT_MAX];
    int64_t time;
    struct pin pin;
    char mailer[BANK_PATH_MAX];
};

static const struct slot {
    enum link_key key;
    bool rsa;
    enum ledger_cert_kind kind;
    enum ca_profile profile;
} slots[] = {
    {LINK_KEY_TLS_P256, false, LEDGER_CERT_TLS, CA_CARD_TLS},
    {LINK_KEY_TLS_RSA, true, LEDGER_CERT_TLS, CA_CARD_TLS},
    {LINK_KEY_ORDER_P256, false, LEDGER_CERT_ORDER, CA_CARD_ORDER},
    {LINK_KEY_ORDER_RSA, true, LEDGER_CERT_ORDER, CA_CARD_ORDER},
};
#define SLOTS (sizeof slots / sizeof slots[0])

static void progress_percent(const struct issue *s, const char *step, int percent)
{
    if (s->o->progress != NULL)
        s->o->progress(s->o->progress_ctx, step, percent);
}

static void progress(const struct issue *s, const char *step)
{
    progress_percent(s, step, ISSUE_NO_PERCENT);
}

/* A key that an earlier try left in the card is used: slots are never overwritten, and a card with
 * a key but no certificate for it would be incomplete. */
static bool wanted(const struct issue *s, const struct slot *slot)
{
    bool have = (s->info.keys >> (slot->key - 1) & 1) != 0;
    return have || (slot->rsa ? s->o->rsa : s->o->p256);
}

/* ---- before anything is written ---- */

static enum cw_err load_root(struct issue *s, size_t index, const char *path, struct say *why)
{
    BIO *bio = BIO_new_file(path, "r");
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    unsigned char *der = NULL;
    int len = cert != NULL ? i2d_X509(cert, &der) : -1;
    enum cw_err err = CW_OK;
    if (len <= 0) {
        say_fail(why, CW_ERR_FORMAT, "%s holds no certificate in PEM", path);
        err = CW_ERR_FORMAT;
    } else if ((size_t)len > APPLET_CERT_MAX) {
        err = say_fail(why, CW_ERR_LENGTH, "the certificate in %s is too large for a card", path);
    } else {
        memcpy(s->roots[index], der, (size_t)len);
        s->root_len[index] = (size_t)len;
    }
    OPENSSL_free(der);
    X509_free(cert);
    BIO_free(bio);
    return err;
}

static enum cw_err prepare(struct issue *s, struct say *why)
{
    char path[BANK_PATH_MAX];
    struct ledger_customer customer;
    enum cw_err err = ledger_customer_get(s->bank->ledger, s->o->customer, &customer, why);
    if (err == CW_OK)
        err = bank_path(s->bank->dir, BANK_FILE_SERVER_ROOT, ".pem", path, why);
    if (err == CW_OK)
        err = load_root(s, 0, path, why);
    if (err == CW_OK && s->o->root_file != NULL)
        err = load_root(s, 1, s->o->root_file, why);
    if (err == CW_OK && s->o->pin_file != NULL)
        err = pin_read(s->o->pin_file, &s->pin, why);
    s->time = s->o->time >= 0 ? s->o->time : ledger_now(s->bank->ledger);
    s->name_count = s->o->name_count;
    memcpy(s->names, s->o->names, sizeof s->names);
    if (s->name_count == 0) {
        s->name_count = 1;
        s->names[0] = (struct applet_name){.profiles = (1u << LINK_PROFILE_COUNT) - 1};
        memcpy(s->names[0].host, s->bank->server_name, sizeof s->names[0].host);
    }
    for (size_t i = 0; i < s->name_count && err == CW_OK; i++)
        if (ca_host_check(s->names[i].host) != CW_OK)
            err =
                say_fail(why, CW_ERR_FORMAT,
                         "'%.64s' is no server name: lower-case letters, digits, hyphens and dots",
                         s->names[i].host);
    return err;
}

/* ---- keys and certificates ---- */

struct making {
    const struct issue *issue;
    char step[64];
};

static void key_goes_on(void *ctx, unsigned permille)
{
    const struct making *m = ctx;
    progress_percent(m->issue, m->step, (int)(permille / 10));
}

static enum cw_err make_key(struct issue *s, const struct slot *slot, struct say *why)
{
    struct making m = {.issue = s};
    if ((s->info.keys >> (slot->key - 1) & 1) != 0)
        return CW_OK;
    snprintf(m.step, sizeof m.step, "the card makes its key %s", link_key_name(slot->key));
    progress(s, m.step);
    return applet_key_generate(s->reader, slot->key, key_goes_on, &m, why);
}

static enum cw_err certify(struct issue *s, const struct slot *slot, X509 *root, EVP_PKEY *root_key,
                           struct say *why)
{
    uint8_t request[APPLET_CERT_MAX];
    size_t len;
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    struct ledger_certificate *c = &s->certs[s->cert_count];
    enum cw_err err = applet_request(s->reader, slot->key, request, sizeof request, &len, why);
    if (err == CW_OK)
        err = ca_request_verify(request, len, s->serial, slot->rsa, &key, why);
    if (err == CW_OK) {
        struct ca_order order = {.profile = slot->profile,
                                 .cn = s->serial,
                                 .key = key,
                                 .days = s->o->days,
                                 .issuer = root,
                                 .issuer_key = root_key};
        err = ca_certificate_make(&order, ledger_now(s->bank->ledger), &cert, why);
    }
    if (err == CW_OK) {
        unsigned char *at = c->der;
        int n = i2d_X509(cert, NULL);
        if (n <= 0 || (size_t)n > sizeof c->der || i2d_X509(cert, &at) != n)
            err = ca_fail(why, "cannot write a certificate");
        c->der_len = n > 0 ? (size_t)n : 0;
        c->kind = slot->kind;
        c->slot = slot->key;
        s->cert_count++;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

static enum cw_err make_certificates(struct issue *s, struct say *why)
{
    X509 *root = NULL;
    EVP_PKEY *root_key = NULL;
    enum cw_err err = bank_certificate_load(s->bank, BANK_FILE_CARD_ROOT, &root, why);
    if (err == CW_OK)
        err = bank_key_load(s->bank, BANK_FILE_CARD_ROOT, &root_key, why);
    for (size_t i = 0; i < SLOTS && err == CW_OK; i++) {
        if (!wanted(s, &slots[i]))
            continue;
        err = make_key(s, &slots[i], why);
        if (err == CW_OK)
            err = certify(s, &slots[i], root, root_key, why);
    }
    EVP_PKEY_free(root_key);
    X509_free(root);
    return err;
}

/* ---- the PIN ---- */

/* Uniform digits: bytes of 250 and above are thrown away. */
static enum cw_err make_pin(struct pin *pin, struct say *why)
{
    uint8_t random;
    pin->len = 0;
    while (pin->len < PIN_DIGITS) {
        if (RAND_bytes(&random, 1) != 1)
            return ca_fail(why, "this machine gives no random numbers");
        if (random < 250)
            pin->digits[pin->len++] = (uint8_t)('0' + random % 10);
    }
    ct_wipe(&random, sizeof random);
    return CW_OK;
}

static enum cw_err name_mailer(struct issue *s, struct say *why)
{
    char stem[64];
    snprintf(stem, sizeof stem, "%s/%s", BANK_DIR_MAILERS, s->serial);
    return bank_path(s->bank->dir, stem, ".txt", s->mailer, why);
}

/* Writes the file that is printed and mailed. Only here, and only the owner may read it. */
static enum cw_err write_mailer(struct issue *s, struct say *why)
{
    char text[96];
    if (s->o->pin_file != NULL)
        return CW_OK;
    enum cw_err err = name_mailer(s, why);
    if (err == CW_OK)
        err = make_pin(&s->pin, why);
    if (err != CW_OK)
        return err;
    int n = snprintf(text, sizeof text, "card %s\nPIN %.*s\n", s->serial, (int)s->pin.len,
                     (const char *)s->pin.digits);
    unlink(s->mailer); /* of a try that was cut short: that PIN is in no card */
    err = bank_file_make(s->mailer, text, (size_t)n, 0600, why);
    ct_wipe(text, sizeof text);
    return err;
}

/* ---- writing, and reading back ---- */

static enum cw_err put_and_compare(struct issue *s, uint16_t object, const uint8_t *data,
                                   size_t len, struct say *why)
{
    uint8_t back[APPLET_CERT_MAX];
    size_t back_len = 0;
    enum cw_err err = applet_data_put(s->reader, object, data, len, why);
    if (err == CW_OK)
        err = applet_data_get(s->reader, object, back, sizeof back, &back_len, why);
    if (err == CW_OK && (back_len != len || memcmp(back, data, len) != 0))
        err = say_fail(why, CW_ERR_IO,
                       "the card does not give back what was written to it (object %04X); use "
                       "another card",
                       object);
    return err;
}

static enum cw_err put_name(struct issue *s, unsigned index, struct say *why)
{
    struct applet_name back = {0};
    const struct applet_name *name = &s->names[index];
    enum cw_err err = applet_name_put(s->reader, index, name, why);
    if (err == CW_OK)
        err = applet_name_get(s->reader, index, &back, why);
    if (err == CW_OK && (strcmp(back.host, name->host) != 0 || back.profiles != name->profiles ||
                         strcmp(back.alpn, name->alpn) != 0))
        err = say_fail(why, CW_ERR_IO,
                       "the card does not give back the server name that was written to it");
    return err;
}

static enum cw_err personalise(struct issue *s, struct say *why)
{
    uint8_t time[8];
    struct buf_writer w;
    enum cw_err err = CW_OK;
    progress(s, "writing certificates, roots and names");
    for (size_t i = 0; i < s->cert_count && err == CW_OK; i++)
        err = put_and_compare(s, (uint16_t)(LINK_DO_CERT | s->certs[i].slot), s->certs[i].der,
                              s->certs[i].der_len, why);
    for (size_t i = 0; i < LINK_ROOT_MAX && err == CW_OK; i++)
        if (s->root_len[i] > 0)
            err =
                put_and_compare(s, (uint16_t)(LINK_DO_ROOT | i), s->roots[i], s->root_len[i], why);
    for (unsigned i = 0; i < s->name_count && err == CW_OK; i++)
        err = put_name(s, i, why);
    buf_writer_init(&w, time, sizeof time);
    buf_put_u64(&w, (uint64_t)s->time);
    if (err == CW_OK)
        err = put_and_compare(s, LINK_DO_TIME, time, sizeof time, why);
    if (err == CW_OK)
        err = applet_data_put(s->reader, LINK_DO_PIN, s->pin.digits, s->pin.len, why);
    return err;
}

/* ---- the whole ---- */

/* An issuance that was cut between the card's ACTIVATE and the ledger: the card must hold exactly
 * the certificates that the ledger has for it. */
static enum cw_err resume(struct issue *s, struct say *why)
{
    struct ledger_card card;
    size_t count = 0, len = 0;
    uint8_t back[APPLET_CERT_MAX];
    struct say ignored;
    enum cw_err err = ledger_card_get(s->bank->ledger, s->info.serial, &card, &ignored);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return say_fail(why, err, "%s", ignored.text);
    if (err == CW_ERR_NOT_FOUND || card.status != LEDGER_CARD_ISSUING)
        return say_fail(why, CW_ERR_STATE,
                        "the card %s is not blank: it was issued already%s; use a new card",
                        s->serial, err == CW_OK ? " by this bank" : " by another bank");
    if (card.customer != s->o->customer)
        return say_fail(why, CW_ERR_STATE,
                        "the card %s was being issued to customer %lld; name that one", s->serial,
                        (long long)card.customer);
    for (int kind = LEDGER_CERT_TLS; kind <= LEDGER_CERT_ORDER; kind++) {
        err = ledger_certificates_get(s->bank->ledger, s->info.serial, (enum ledger_cert_kind)kind,
                                      s->certs, &count, why);
        for (size_t i = 0; i < count && err == CW_OK; i++) {
            err = applet_data_get(s->reader, (uint16_t)(LINK_DO_CERT | s->certs[i].slot), back,
                                  sizeof back, &len, why);
            if (err == CW_OK &&
                (len != s->certs[i].der_len || memcmp(back, s->certs[i].der, len) != 0))
                err = say_fail(why, CW_ERR_STATE,
                               "the card %s holds another certificate than this bank made for it; "
                               "use a new card",
                               s->serial);
        }
        if (err != CW_OK)
            return err;
    }
    err = name_mailer(s, why);
    if (err == CW_OK && access(s->mailer, F_OK) != 0)
        s->mailer[0] = '\0'; /* its PIN came from a file */
    return err != CW_OK ? err : ledger_card_activate(s->bank->ledger, s->info.serial, why);
}

/* The ledger knows the card and its certificates, as `issuing`, before the card can be active; it
 * calls it active only after the card is. */
static enum cw_err issue_blank(struct issue *s, struct say *why)
{
    enum cw_err err = make_certificates(s, why);
    if (err == CW_OK)
        err = ledger_card_begin(s->bank->ledger, s->info.serial, s->o->customer, s->certs,
                                s->cert_count, why);
    if (err == CW_OK)
        err = write_mailer(s, why);
    if (err == CW_OK)
        err = personalise(s, why);
    if (err == CW_OK) {
        progress(s, "activating");
        err = applet_activate(s->reader, why);
    }
    if (err == CW_OK)
        err = ledger_card_activate(s->bank->ledger, s->info.serial, why);
    return err;
}

enum cw_err issue_card(struct bank *bank, const struct issue_options *options,
                       struct issue_result *out, struct say *why)
{
    struct issue *s = calloc(1, sizeof *s);
    bool blank = true;
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    s->bank = bank;
    s->o = options;
    enum cw_err err = prepare(s, why);
    if (err == CW_OK)
        err = reader_open(options->reader, &s->reader, why);
    if (err == CW_OK)
        err = applet_select(s->reader, why);
    if (err == CW_OK)
        err = applet_info_get(s->reader, &s->info, why);
    if (err == CW_OK) {
        bank_serial_text(s->info.serial, s->serial);
        blank = s->info.life == LINK_LIFE_BLANK;
        err = blank ? issue_blank(s, why) : resume(s, why);
    }
    if (err == CW_OK)
        err = applet_info_get(s->reader, &s->info, why);
    if (err == CW_OK) {
        *out = (struct issue_result){
            .keys = s->info.keys, .resumed = !blank, .spent = reader_stats(s->reader)};
        memcpy(out->serial, s->info.serial, sizeof out->serial);
        memcpy(out->mailer, s->mailer, sizeof out->mailer);
    }
    reader_free(&s->reader);
    pin_wipe(&s->pin);
    ct_wipe(s, sizeof *s);
    free(s);
    return err;
}
