#include "bench/books.h"

#include "bank/ca.h"
#include "bank/terms.h"
#include "bench/folder.h"
#include "receipt/entry.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cw_err make_card(struct books *s, bool rsa, struct say *why)
{
    char text[2 * ORDER_SERIAL_LEN + 1];
    X509 *issuer = NULL, *cert = NULL;
    EVP_PKEY *issuer_key = NULL;
    struct ledger_terms terms = {.keyset = 1};
    struct ledger_certificate *record = calloc(1, sizeof *record);
    if (record == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    memset(s->serial, 0xB5, sizeof s->serial);
    bank_serial_text(s->serial, text);
    enum cw_err err = ca_key_make(rsa, &s->key, why);
    if (err == CW_OK)
        err = bank_pair_load(s->bank, s->bank->card_issuer, &issuer, &issuer_key, why);
    const struct ca_order order = {.profile = CA_CARD_ORDER,
                                   .cn = text,
                                   .key = s->key,
                                   .days = 30,
                                   .issuer = issuer,
                                   .issuer_key = issuer_key};
    if (err == CW_OK)
        err = ca_certificate_make(&order, ledger_now(s->bank->ledger), &cert, why);
    if (err == CW_OK)
        err = bank_certificate_record(cert, LEDGER_CERT_ORDER, 3, record, why);
    terms_default(&terms.policy);
    if (err == CW_OK)
        err = ledger_card_begin(s->bank->ledger, s->serial, s->customer, record, 1, &terms, why);
    if (err == CW_OK)
        err = ledger_card_activate(s->bank->ledger, s->serial, why);
    SHA256(record->der, record->der_len, s->certificate);
    free(record);
    X509_free(cert);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    return err;
}

enum cw_err books_make(struct books *s, const char *store, bool rsa, struct say *why)
{
    static const char *const hosts[] = {"bank.cardwire.test"};
    const struct bank_options options = {
        .name = "Bench", .hosts = hosts, .host_count = 1, .server_days = 90, .store = store};
    int64_t ben = 0;
    enum cw_err err = folder_make(s->dir, sizeof s->dir, why);
    if (err != CW_OK)
        return err;
    snprintf(s->bank_dir, sizeof s->bank_dir, "%s/bank", s->dir);
    err = bank_init(s->bank_dir, &options, &ledger_clock_system, why);
    if (err == CW_OK)
        err = bank_open(s->bank_dir, &ledger_clock_system, &s->bank, why);
    if (err == CW_OK)
        err = ledger_customer_add(s->bank->ledger, "Ada", &s->customer, why);
    if (err == CW_OK)
        err = ledger_customer_add(s->bank->ledger, "Ben", &ben, why);
    if (err == CW_OK)
        err = ledger_account_open(s->bank->ledger, s->customer, "EUR", ORDER_AMOUNT_MAX, &s->from,
                                  why);
    if (err == CW_OK)
        err = ledger_account_open(s->bank->ledger, ben, "EUR", 0, &s->to, why);
    return err == CW_OK ? make_card(s, rsa, why) : err;
}

void books_strike(struct books *s)
{
    bank_free(&s->bank);
    EVP_PKEY_free(s->key);
    folder_strike(s->dir);
}

char *books_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    char text[120];
    (void)ctx, (void)o;
    snprintf(text, sizeof text, "{\"payment\":{\"id\":%lld},\"balance\":%lld}", (long long)b->id,
             (long long)b->balance);
    return strdup(text);
}

enum cw_err books_order_sign(const struct books *s, struct books_order *b, struct say *why)
{
    struct ledger_order *o = &b->order;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    o->signature_len = sizeof b->signature;
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
                EVP_DigestSign(ctx, b->signature, &o->signature_len, b->text, o->text_len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!good)
        return say_fail(why, CW_ERR_CRYPTO, "cannot sign");
    entry_request_hash(b->text, o->text_len, b->signature, o->signature_len, o->request);
    return CW_OK;
}

enum cw_err books_order_make(const struct books *s, uint32_t n, const struct ledger_account *from,
                             const struct ledger_account *to, struct books_order *b,
                             struct say *why)
{
    struct ledger_order *o = &b->order;
    struct buf_writer w;
    *o = (struct ledger_order){
        .fields = {.amount = 1, .currency = "EUR", .reference = "Bench", .expiry = INT64_C(4e9)},
        .seal = {.counter = n},
        .text = b->text,
        .signature = b->signature};
    memcpy(o->fields.payer, from->number, sizeof from->number);
    memcpy(o->fields.payee, to->number, sizeof to->number);
    memcpy(o->fields.payee_name, to->name, sizeof to->name);
    memcpy(o->fields.id, &n, sizeof n);
    memcpy(o->seal.serial, s->serial, sizeof s->serial);
    memcpy(o->certificate, s->certificate, sizeof s->certificate);
    buf_writer_init(&w, b->text, sizeof b->text);
    enum cw_err err = order_text_write(&o->fields, &o->seal, &w);
    o->text_len = w.len;
    return err == CW_OK ? CW_OK : say_fail(why, err, "cannot write an order");
}
