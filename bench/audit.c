/* audit.c - what an audit of the books costs: payments a second, beside what the same processor
 * verifies of the cards' signatures alone, and the memory that it takes. Makes a bank in a
 * temporary folder (TMPDIR) with a card in software that pays so many times, one after the other,
 * through the ledger as the server does.
 *
 * Fails when the memory is beyond the budget, so that it can stand in a test. */
#include "bank/audit.h"
#include "bank/ca.h"
#include "bank/pay.h"
#include "bank/terms.h"
#include "bench/folder.h"
#include "host/clock.h"

#include <getopt.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RSS_MAX_KB (256L * 1024)
#define VERIFIES   2000

struct scene {
    char dir[200], bank_dir[240];
    struct bank *bank;
    EVP_PKEY *key;
    uint8_t serial[ORDER_SERIAL_LEN], certificate[32];
    struct ledger_account from, to;
    struct ledger_order order; /* the last, for the bound */
    uint8_t text[ORDER_TEXT_MAX], signature[LEDGER_SIGNATURE_MAX];
};

static enum cw_err make_card(struct scene *s, int64_t customer, struct say *why)
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
    enum cw_err err = ca_key_make(false, &s->key, why);
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
        err = ledger_card_begin(s->bank->ledger, s->serial, customer, record, 1, &terms, why);
    if (err == CW_OK)
        err = ledger_card_activate(s->bank->ledger, s->serial, why);
    SHA256(record->der, record->der_len, s->certificate);
    free(record);
    X509_free(cert);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    return err;
}

static enum cw_err make_bank(struct scene *s, struct say *why)
{
    static const char *const hosts[] = {"bank.cardwire.test"};
    const struct bank_options options = {
        .name = "Bench", .hosts = hosts, .host_count = 1, .server_days = 90};
    int64_t ada = 0, ben = 0;
    enum cw_err err = folder_make(s->dir, sizeof s->dir, why);
    if (err != CW_OK)
        return err;
    snprintf(s->bank_dir, sizeof s->bank_dir, "%s/bank", s->dir);
    err = bank_init(s->bank_dir, &options, &ledger_clock_system, why);
    if (err == CW_OK)
        err = bank_open(s->bank_dir, &ledger_clock_system, &s->bank, why);
    if (err == CW_OK)
        err = ledger_customer_add(s->bank->ledger, "Ada", &ada, why);
    if (err == CW_OK)
        err = ledger_customer_add(s->bank->ledger, "Ben", &ben, why);
    if (err == CW_OK)
        err = ledger_account_open(s->bank->ledger, ada, "EUR", ORDER_AMOUNT_MAX, &s->from, why);
    if (err == CW_OK)
        err = ledger_account_open(s->bank->ledger, ben, "EUR", 0, &s->to, why);
    return err == CW_OK ? make_card(s, ada, why) : err;
}

static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    char text[120];
    (void)ctx, (void)o;
    snprintf(text, sizeof text, "{\"payment\":{\"id\":%lld},\"balance\":%lld}", (long long)b->id,
             (long long)b->balance);
    return strdup(text);
}

static enum cw_err sign(struct scene *s, struct say *why)
{
    struct ledger_order *o = &s->order;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    o->signature_len = sizeof s->signature;
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
                EVP_DigestSign(ctx, s->signature, &o->signature_len, s->text, o->text_len) == 1;
    EVP_MD_CTX_free(ctx);
    return good ? CW_OK : say_fail(why, CW_ERR_CRYPTO, "cannot sign");
}

static enum cw_err pay(struct scene *s, uint32_t n, struct say *why)
{
    struct ledger_order *o = &s->order;
    struct buf_writer w;
    enum ledger_verdict verdict;
    *o = (struct ledger_order){
        .fields = {.amount = 1, .currency = "EUR", .reference = "Bench", .expiry = INT64_C(4e9)},
        .seal = {.counter = n},
        .text = s->text,
        .signature = s->signature};
    memcpy(o->fields.payer, s->from.number, sizeof s->from.number);
    memcpy(o->fields.payee, s->to.number, sizeof s->to.number);
    memcpy(o->fields.payee_name, s->to.name, sizeof s->to.name);
    memcpy(o->fields.id, &n, sizeof n);
    memcpy(o->seal.serial, s->serial, sizeof s->serial);
    memcpy(o->certificate, s->certificate, sizeof s->certificate);
    buf_writer_init(&w, s->text, sizeof s->text);
    enum cw_err err = order_text_write(&o->fields, &o->seal, &w);
    o->text_len = w.len;
    if (err == CW_OK)
        err = sign(s, why);
    if (err != CW_OK)
        return err;
    pay_request_hash(s->text, o->text_len, s->signature, o->signature_len, o->request);
    err = ledger_payment_book(s->bank->ledger, o, make_reply, NULL, &verdict, why);
    return err == CW_OK && verdict != LEDGER_BOOKED
               ? say_fail(why, CW_ERR_STATE, "payment %u was refused (%d)", n, verdict)
               : err;
}

static double seconds_since(uint64_t begun)
{
    return (double)(clock_ns() - begun) / 1e9;
}

/* Signatures a second that this processor verifies, and does nothing else. */
static double bound(const struct scene *s)
{
    uint64_t begun = clock_ns();
    for (int i = 0; i < VERIFIES; i++)
        if (!pay_signature_good(s->key, s->text, s->order.text_len, s->signature,
                                s->order.signature_len))
            return 0;
    return VERIFIES / seconds_since(begun);
}

/* In a process of its own, whose memory is the audit's. The value is its exit code. */
static int audit_alone(const struct scene *s, long payments)
{
    struct bank *bank = NULL;
    struct audit_result r = {0};
    struct say why = {""};
    const struct audit_options options = {0};
    enum cw_err err = bank_open(s->bank_dir, &ledger_clock_system, &bank, &why);
    if (err == CW_OK)
        err = audit_run(bank, &options, &r, &why);
    bank_free(&bank);
    if (err == CW_OK && r.payments != payments)
        err = say_fail(&why, CW_ERR_STATE, "it saw %lld payments", (long long)r.payments);
    if (err != CW_OK)
        fprintf(stderr, "audit: %s\n", why.text);
    return err == CW_OK ? 0 : 1;
}

static enum cw_err measure(struct scene *s, long payments, bool json, bool *good, struct say *why)
{
    struct rusage use;
    int status = 1;
    double verify = bound(s);
    fflush(NULL);
    uint64_t begun = clock_ns();
    pid_t child = fork();
    if (child == 0)
        _exit(audit_alone(s, payments));
    if (child < 0 || wait4(child, &status, 0, &use) != child || status != 0)
        return say_fail(why, CW_ERR_STATE, "the audit failed");
    double took = seconds_since(begun);
    printf(
        json ? "{\"payments\":%ld,\"seconds\":%.2f,\"per_s\":%.0f,\"verify_per_s\":%.0f,"
               "\"ratio\":%.2f,\"rss_kb\":%ld}\n"
             : "%ld payments in %.2f s: %.0f/s, of %.0f/s that one core verifies (%.2f); %ld KB\n",
        payments, took, (double)payments / took, verify,
        verify > 0 ? (double)payments / took / verify : 0, use.ru_maxrss);
    *good = use.ru_maxrss <= RSS_MAX_KB;
    return CW_OK;
}

static void strike(struct scene *s)
{
    bank_free(&s->bank);
    EVP_PKEY_free(s->key);
    folder_strike(s->dir);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct scene s = {0};
    struct say why = {""};
    bool json = false, good = true;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'j') {
            fprintf(c == 'h' ? stdout : stderr,
                    "Usage: audit [--json] [PAYMENTS]\nMakes books of so many payments (10000) and "
                    "audits them. Exit 1 above 256 MB.\n");
            return c == 'h' ? 0 : 2;
        }
        json = true;
    }
    long payments = optind < argc ? strtol(argv[optind], NULL, 10) : 10000;
    if (payments < 1 || payments > 100000000) {
        fputs("audit: PAYMENTS is a number from 1 to 100000000\n", stderr);
        return 2;
    }
    enum cw_err err = make_bank(&s, &why);
    for (long n = 1; n <= payments && err == CW_OK; n++)
        err = pay(&s, (uint32_t)n, &why);
    if (err == CW_OK)
        err = measure(&s, payments, json, &good, &why);
    strike(&s);
    if (err != CW_OK)
        fprintf(stderr, "audit: %s\n", why.text);
    return err == CW_OK && good ? 0 : 1;
}
