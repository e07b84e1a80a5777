#include "bank/audit.h"

#include "bank/journal.h"
#include "bank/keycache.h"
#include "bank/ledger_work.h"
#include "receipt/cert.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_EVERY 1024 /* entries */
#define CURRENCIES_MAX 256u
#define SLACK          60 /* seconds between a check and the booking */

/* An account as the entries make it. */
struct tally {
    int64_t row, stored, made, customer; /* 0: the bank's own */
    char number[ACCOUNT_NUMBER_LEN + 1], currency[4];
};

struct audit {
    struct bank *bank;
    const struct audit_options *options;
    struct audit_result result;
    struct tally *tallies; /* by row */
    size_t count, cap;
    struct ledger_rows rows;
    int64_t postings, grounds;                /* that entries led to */
    X509 *card_root, *card_issuer, *piv_root; /* piv_root: NULL when there is none */
    struct keycache keys;
    enum cw_err err; /* of a pass that cannot be stopped */
    struct say *why;
};

enum cw_err audit_head_parse(const char *text, struct audit_head *out, struct say *why)
{
    struct audit_head h = {0};
    char *end = NULL;
    size_t len = 0;
    errno = 0;
    h.entry = strtoll(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != ':' || h.entry < 1 ||
        OPENSSL_hexstr2buf_ex(h.hash, sizeof h.hash, &len, end + 1, '\0') != 1 ||
        len != sizeof h.hash || strlen(end + 1) != 2 * sizeof h.hash) {
        ERR_clear_error();
        return say_fail(why, CW_ERR_ARG,
                        "a head is ENTRY:HASH, as an audit prints it, with 64 hexadecimal digits");
    }
    *out = h;
    return CW_OK;
}

void audit_head_text(const struct audit_head *head, char out[AUDIT_HEAD_TEXT_LEN])
{
    int n = snprintf(out, AUDIT_HEAD_TEXT_LEN, "%lld:", (long long)head->entry);
    for (size_t i = 0; i < sizeof head->hash; i++)
        n += snprintf(out + n, AUDIT_HEAD_TEXT_LEN - (size_t)n, "%02x", head->hash[i]);
}

/* ---- accounts ---- */

static void take_account(void *ctx, const struct ledger_account *account)
{
    struct audit *a = ctx;
    if (a->err != CW_OK)
        return;
    if (a->count == a->cap) {
        size_t cap = a->cap == 0 ? 64 : 2 * a->cap;
        struct tally *more = realloc(a->tallies, cap * sizeof *more);
        if (more == NULL) {
            a->err = say_fail(a->why, CW_ERR_SPACE, "out of memory");
            return;
        }
        a->tallies = more;
        a->cap = cap;
    }
    struct tally t = {
        .row = account->row, .stored = account->balance, .customer = account->customer};
    memcpy(t.number, account->number, sizeof t.number);
    memcpy(t.currency, account->currency, sizeof t.currency);
    a->tallies[a->count++] = t;
    a->result.accounts++;
}

static int by_row(const void *x, const void *y)
{
    const struct tally *s = x, *t = y;
    return (s->row > t->row) - (s->row < t->row);
}

static struct tally *tally_of(struct audit *a, int64_t row)
{
    const struct tally key = {.row = row};
    return a->count > 0 ? bsearch(&key, a->tallies, a->count, sizeof key, by_row) : NULL;
}

static enum cw_err load_accounts(struct audit *a, struct say *why)
{
    enum cw_err err = ledger_account_each(a->bank->ledger, -1, take_account, a, why);
    return err == CW_OK ? a->err : err;
}

/* What the entries made of each account is what it is said to hold; the currencies sum to zero. */
static enum cw_err check_accounts(const struct audit *a, struct say *why)
{
    struct {
        char currency[4];
        int64_t sum;
    } sums[CURRENCIES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct tally *t = &a->tallies[i];
        size_t k = 0;
        char cash[ACCOUNT_NUMBER_LEN + 1];
        snprintf(cash, sizeof cash, "CASH-%s", t->currency);
        if ((t->customer == 0) != (strcmp(t->number, cash) == 0))
            return say_fail(why, CW_ERR_FORMAT,
                            "account %s: only the bank's own cash belongs to nobody, and that does",
                            t->number);
        if (t->stored != t->made)
            return say_fail(why, CW_ERR_FORMAT,
                            "account %s holds %lld minor units, and its entries make %lld",
                            t->number, (long long)t->stored, (long long)t->made);
        while (k < n && memcmp(sums[k].currency, t->currency, sizeof t->currency) != 0)
            k++;
        if (k == CURRENCIES_MAX)
            return say_fail(why, CW_ERR_FORMAT, "the accounts are in more than %u currencies",
                            CURRENCIES_MAX);
        if (k == n) {
            memcpy(sums[n].currency, t->currency, sizeof t->currency);
            sums[n++].sum = 0;
        }
        if (__builtin_add_overflow(sums[k].sum, t->stored, &sums[k].sum))
            return say_fail(why, CW_ERR_FORMAT, "the accounts in %s hold more than can be counted",
                            t->currency);
    }
    for (size_t k = 0; k < n; k++)
        if (sums[k].sum != 0)
            return say_fail(why, CW_ERR_FORMAT, "the accounts in %s do not sum to zero",
                            sums[k].currency);
    return CW_OK;
}

/* ---- certificates ---- */

/* Subject and use are those that issuance gives it (docs/bank.md, Certificates). */
static bool made_for(X509 *cert, enum ledger_cert_kind kind, const char *serial)
{
    if (kind == LEDGER_CERT_ORDER)
        return cert_is_order(cert, serial);
    return cert_subject_is(X509_get_subject_name(cert), serial) &&
           (kind == LEDGER_CERT_PIV || X509_get_extended_key_usage(cert) == XKU_SSL_CLIENT);
}

static void take_certificate(void *ctx, const struct ledger_certificate *c)
{
    struct audit *a = ctx;
    uint8_t sha256[32];
    char serial[2 * ORDER_SERIAL_LEN + 1];
    if (a->err != CW_OK)
        return;
    a->result.certificates++;
    bank_serial_text(c->card, serial);
    X509 *issuer = c->kind == LEDGER_CERT_PIV ? a->piv_root : a->card_issuer;
    const unsigned char *der = c->der;
    X509 *cert = d2i_X509(NULL, &der, (long)c->der_len);
    SHA256(c->der, c->der_len, sha256);
    if (memcmp(sha256, c->sha256, sizeof sha256) != 0)
        a->err = say_fail(a->why, CW_ERR_FORMAT,
                          "a certificate of card %s (slot %u) is not the one that was issued",
                          serial, c->slot);
    else if (cert == NULL || issuer == NULL || X509_verify(cert, X509_get0_pubkey(issuer)) != 1)
        a->err = say_fail(a->why, CW_ERR_FORMAT,
                          "a certificate of card %s (slot %u) is not by the bank's root", serial,
                          c->slot);
    else if (!made_for(cert, c->kind, serial))
        a->err = say_fail(a->why, CW_ERR_FORMAT,
                          "a certificate of card %s (slot %u) is for another card, or another use",
                          serial, c->slot);
    X509_free(cert);
    ERR_clear_error();
}

/* What certifies cards is itself by their root, as a CA. */
static enum cw_err load_card_issuer(struct audit *a, struct say *why)
{
    enum cw_err err = bank_certificate_load(a->bank, BANK_FILE_CARD_ROOT, &a->card_root, why);
    if (err == CW_OK)
        err = bank_certificate_load(a->bank, a->bank->card_issuer, &a->card_issuer, why);
    if (err == CW_OK && (X509_check_ca(a->card_issuer) != 1 ||
                         X509_verify(a->card_issuer, X509_get0_pubkey(a->card_root)) != 1))
        err = say_fail(why, CW_ERR_FORMAT, "%s.pem is no certificate of a CA by %s.pem",
                       a->bank->card_issuer, BANK_FILE_CARD_ROOT);
    ERR_clear_error();
    return err;
}

static enum cw_err check_certificates(struct audit *a, struct say *why)
{
    bool piv = false;
    enum cw_err err = load_card_issuer(a, why);
    if (err == CW_OK)
        err = ledger_certificates_any(a->bank->ledger, LEDGER_CERT_PIV, &piv, why);
    if (err == CW_OK && piv)
        err = bank_certificate_load(a->bank, BANK_FILE_PIV_ROOT, &a->piv_root, why);
    if (err == CW_OK)
        err = ledger_certificate_each(a->bank->ledger, take_certificate, a, why);
    return err == CW_OK ? a->err : err;
}

/* ---- entries ---- */

static enum cw_err wrong(const struct ledger_entry *e, const char *what, struct say *why)
{
    return say_fail(why, CW_ERR_FORMAT, "entry %lld: %s", (long long)e->id, what);
}

static enum cw_err check_chain(struct audit *a, const struct ledger_entry *e, struct say *why)
{
    const struct audit_head *noted = a->options->noted;
    if (e->id != a->result.head.entry + 1)
        return say_fail(why, CW_ERR_FORMAT, "entry %lld is missing",
                        (long long)a->result.head.entry + 1);
    if (!e->chained)
        return wrong(e, "it has no hash in the chain", why);
    if (memcmp(e->stored, e->hash, sizeof e->hash) != 0)
        return wrong(e, "its hash does not fit: something of it was changed", why);
    if (noted != NULL && noted->entry == e->id && memcmp(noted->hash, e->hash, sizeof e->hash) != 0)
        return wrong(e, "its hash is not the one that was noted: the chain was written anew", why);
    a->result.head.entry = e->id;
    memcpy(a->result.head.hash, e->hash, sizeof e->hash);
    return CW_OK;
}

static enum cw_err check_leg(struct audit *a, const struct ledger_entry *e,
                             const struct ledger_leg *leg, struct say *why)
{
    struct tally *t = tally_of(a, leg->account);
    if (t == NULL)
        return wrong(e, "it moves an account that there is not", why);
    if (leg->amount == 0 || strcmp(leg->currency, e->legs[0].currency) != 0)
        return wrong(e, "it moves nothing, or between currencies", why);
    if (__builtin_add_overflow(t->made, leg->amount, &t->made) || t->made != leg->balance)
        return wrong(e, "a balance after it is not what the entries before make it", why);
    if (t->customer != 0 && t->made < 0)
        return wrong(e, "it takes a customer's account below zero", why);
    return CW_OK;
}

static enum cw_err check_legs(struct audit *a, const struct ledger_entry *e, struct say *why)
{
    int64_t sum = 0;
    bool over = false;
    a->postings += (int64_t)e->leg_count;
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < e->leg_count && err == CW_OK; i++) {
        over = __builtin_add_overflow(sum, e->legs[i].amount, &sum) || over;
        err = check_leg(a, e, &e->legs[i], why);
    }
    /* Whether an entry of its kind may move nothing is seen to below. */
    if (err == CW_OK && (e->leg_count == 1 || over || sum != 0))
        err = wrong(e, "its postings do not sum to zero", why);
    return err;
}

/* Is what was booked what the card's text says? */
static bool says_so(const struct ledger_entry *e)
{
    const struct ledger_payment *p = e->payment;
    struct order_fields f;
    struct order_seal seal;
    return order_text_parse(p->text, p->text_len, &f, &seal) == CW_OK && e->leg_count == 2 &&
           memcmp(f.id, p->order, sizeof f.id) == 0 &&
           memcmp(seal.serial, p->card, sizeof seal.serial) == 0 &&
           (int64_t)seal.counter == p->counter && strcmp(f.payer, e->legs[0].number) == 0 &&
           strcmp(f.payee, e->legs[1].number) == 0 && f.amount == e->legs[1].amount &&
           strcmp(f.currency, e->legs[0].currency) == 0 && strcmp(f.reference, e->reference) == 0 &&
           f.expiry + SLACK >= e->time;
}

static enum cw_err check_signature(struct bank *b, struct keycache *keys,
                                   const struct ledger_entry *e, struct say *why)
{
    const struct ledger_payment *p = e->payment;
    struct ledger_certificate cert;
    X509 *parsed;
    enum cw_err err = ledger_certificate_find(b->ledger, p->certificate, &cert, why);
    if (err == CW_ERR_NOT_FOUND || (err == CW_OK && (cert.kind != LEDGER_CERT_ORDER ||
                                                     memcmp(cert.card, p->card, sizeof cert.card))))
        return wrong(e, "its certificate is not one for orders of its card", why);
    if (err != CW_OK)
        return err;
    if (keycache_get(keys, &cert, &parsed) != CW_OK ||
        !signature_good(X509_get0_pubkey(parsed), p->text, p->text_len, p->signature,
                        p->signature_len))
        return wrong(e, "the card's signature does not fit the order", why);
    return CW_OK;
}

/* What the bank books by itself gives to customers; it takes nothing without an order, or a ground.
 */
static enum cw_err check_bank_entry(struct bank *b, const struct ledger_entry *e, struct say *why)
{
    enum cw_err err = ledger_work_entry_check(b->ledger, e, why);
    if (err != CW_OK || e->ground != NULL)
        return err;
    for (size_t i = 0; i < e->leg_count; i++)
        if (e->legs[i].customer != 0 && e->legs[i].amount < 0)
            return wrong(e, "it takes from a customer's account without an order", why);
    return CW_OK;
}

/* The card's holder pays from an account of his, to one of a customer. */
static enum cw_err check_parties(struct bank *b, const struct ledger_entry *e, struct say *why)
{
    struct ledger_card card;
    const struct ledger_payment *p = e->payment;
    enum cw_err err = ledger_card_get(b->ledger, p->card, &card, why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    if (err == CW_ERR_NOT_FOUND || card.customer != p->customer ||
        e->legs[0].customer != p->customer || e->legs[1].customer == 0)
        return wrong(e, "it is not from an account of the card's holder to a customer's", why);
    return CW_OK;
}

enum cw_err audit_entry_check(struct bank *b, struct keycache *keys, const struct ledger_entry *e,
                              struct say *why)
{
    uint8_t request[32];
    const struct ledger_payment *p = e->payment;
    if ((strcmp(e->kind, "payment") == 0) != (p != NULL) || (p != NULL && e->ground != NULL))
        return wrong(e, "it is a payment without an order, or an order without a payment", why);
    if (p == NULL)
        return check_bank_entry(b, e, why);
    if (!says_so(e))
        return wrong(e, "it is not what the card's order says", why);
    enum cw_err err = check_parties(b, e, why);
    if (err != CW_OK)
        return err;
    entry_request_hash(p->text, p->text_len, p->signature, p->signature_len, request);
    if (memcmp(request, p->request, sizeof request) != 0)
        return wrong(e, "the hash of its request is another", why);
    return check_signature(b, keys, e, why);
}

static enum cw_err check_entry(void *ctx, const struct ledger_entry *e, struct say *why)
{
    struct audit *a = ctx;
    enum cw_err err = check_chain(a, e, why);
    if (err == CW_OK)
        err = check_legs(a, e, why);
    if (err == CW_OK)
        err = audit_entry_check(a->bank, &a->keys, e, why);
    a->result.payments += e->payment != NULL;
    a->grounds += e->ground != NULL;
    a->result.entries++;
    if (a->options->progress != NULL && a->result.entries % PROGRESS_EVERY == 0)
        a->options->progress(a->options->ctx, a->result.entries, a->rows.entries);
    return err;
}

/* Nothing lies beside the entries, and nothing was booked twice. */
static enum cw_err check_rows(const struct audit *a, struct say *why)
{
    const struct ledger_rows *r = &a->rows;
    const struct audit_head *noted = a->options->noted;
    if (r->hashes != a->result.entries || r->entries != a->result.entries ||
        r->postings != a->postings || r->payments != a->result.payments)
        return say_fail(
            why, CW_ERR_FORMAT,
            "there are %lld hashes, %lld postings and %lld payments for %lld entries that "
            "have %lld postings and %lld payments",
            (long long)r->hashes, (long long)r->postings, (long long)r->payments,
            (long long)a->result.entries, (long long)a->postings, (long long)a->result.payments);
    if (r->grounds != a->grounds)
        return say_fail(why, CW_ERR_FORMAT, "the log has %lld lines, and entries have %lld",
                        (long long)r->grounds, (long long)a->grounds);
    if (r->orders_twice != 0 || r->counters_twice != 0)
        return say_fail(why, CW_ERR_FORMAT,
                        "%lld orders and %lld counters of cards were booked more than once",
                        (long long)r->orders_twice, (long long)r->counters_twice);
    if (noted != NULL && noted->entry > a->result.head.entry)
        return say_fail(why, CW_ERR_FORMAT, "entry %lld, whose hash was noted, is missing",
                        (long long)noted->entry);
    return CW_OK;
}

static enum cw_err check_all(void *ctx, struct say *why)
{
    struct audit *a = ctx;
    a->why = why;
    enum cw_err err = ledger_rows_get(a->bank->ledger, &a->rows, why);
    if (err == CW_OK)
        err = check_certificates(a, why);
    if (err == CW_OK)
        err = load_accounts(a, why);
    if (err == CW_OK)
        err = ledger_entry_each(a->bank->ledger, check_entry, a, why);
    if (err == CW_OK)
        err = journal_audit(a->bank, a->card_root, &a->result.heads, why);
    if (err == CW_OK)
        err = check_rows(a, why);
    if (err == CW_OK)
        err = check_accounts(a, why);
    if (err == CW_OK)
        err = ledger_work_check(a->bank->ledger, why);
    return err == CW_OK ? ledger_schema_check(a->bank->ledger, why) : err;
}

enum cw_err audit_run(struct bank *b, const struct audit_options *options, struct audit_result *out,
                      struct say *why)
{
    struct audit *a = calloc(1, sizeof *a);
    if (a == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    a->bank = b;
    a->options = options;
    enum cw_err err = ledger_snapshot(b->ledger, check_all, a, why);
    if (err == CW_OK)
        *out = a->result;
    keycache_clear(&a->keys);
    X509_free(a->card_root);
    X509_free(a->card_issuer);
    X509_free(a->piv_root);
    free(a->tallies);
    free(a);
    return err;
}
