#include "world.h"

#include "bank/ca.h"
#include "bank/terms.h"
#include "bench/folder.h"
#include "engine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGINNING INT64_C(1800000000) /* of simulated time */
#define DEPOSIT   20000

static int64_t clock_now(void *ctx)
{
    return ((struct world *)ctx)->now;
}

/* ---- cards ---- */

static enum cw_err certify(struct world *w, const char *cn, EVP_PKEY *key,
                           struct ledger_certificate *out, struct say *why)
{
    X509 *root = NULL, *cert = NULL;
    EVP_PKEY *root_key = NULL;
    struct bank *b = w->processes[0].bank;
    enum cw_err err = bank_pair_load(b, b->card_issuer, &root, &root_key, why);
    const struct ca_order order = {.profile = CA_CARD_ORDER,
                                   .cn = cn,
                                   .key = key,
                                   .days = 1826,
                                   .issuer = root,
                                   .issuer_key = root_key};
    if (err == CW_OK)
        err = ca_certificate_make(&order, w->now, &cert, why);
    if (err == CW_OK)
        err = bank_certificate_record(cert, LEDGER_CERT_ORDER, 3, out, why);
    X509_free(cert);
    X509_free(root);
    EVP_PKEY_free(root_key);
    return err;
}

static void make_lines(struct world *w, struct world_card *c)
{
    for (unsigned i = 0; i < WORLD_LINES; i++) {
        struct api_line *l = &c->lines[i];
        *l = (struct api_line){.logged_in = true,
                               .bound = true,
                               .profile = "tls13",
                               .tls = "1.3",
                               .suite = "TLS_AES_128_GCM_SHA256"};
        memcpy(l->card, c->serial, sizeof l->card);
        dice_fill(&w->dice, l->binding, sizeof l->binding);
    }
}

static enum cw_err make_card(struct world *w, unsigned i, int64_t customer, struct say *why)
{
    char text[2 * ORDER_SERIAL_LEN + 1];
    struct world_card *c = &w->cards[i];
    struct ledger *l = w->processes[0].bank->ledger;
    struct ledger_terms terms = {.keyset = 1};
    struct ledger_certificate *cert = calloc(1, sizeof *cert);
    if (cert == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    dice_fill(&w->dice, c->serial, sizeof c->serial);
    make_lines(w, c);
    bank_serial_text(c->serial, text);
    terms_default(&terms.policy);
    enum cw_err err = ca_key_make(false, &c->key, why);
    if (err == CW_OK)
        err = certify(w, text, c->key, cert, why);
    if (err == CW_OK)
        err = ledger_card_begin(l, c->serial, customer, cert, 1, &terms, why);
    if (err == CW_OK)
        err = ledger_card_activate(l, c->serial, why);
    free(cert);
    return err;
}

/* ---- the bank ---- */

static enum cw_err make_people(struct world *w, struct say *why)
{
    static const char *const names[MODEL_CUSTOMERS] = {"Ada Lovelace", "Bob Bäcker", "Chen Wei"};
    int64_t ids[MODEL_CUSTOMERS];
    enum cw_err err = CW_OK;
    struct ledger *l = w->processes[0].bank->ledger;
    for (unsigned i = 0; i < MODEL_CUSTOMERS && err == CW_OK; i++) {
        snprintf(w->model.names[i], sizeof w->model.names[i], "%s", names[i]);
        err = ledger_customer_add(l, names[i], &ids[i], why);
    }
    for (unsigned i = 0; i < MODEL_ACCOUNTS && err == CW_OK; i++) {
        struct ledger_account a;
        struct model_account *m = &w->model.accounts[i];
        m->customer = i % MODEL_CUSTOMERS;
        m->balance = DEPOSIT;
        err = ledger_account_open(l, ids[m->customer], "EUR", DEPOSIT, &a, why);
        if (err == CW_OK)
            memcpy(m->number, a.number, sizeof a.number);
    }
    for (unsigned i = 0; i < MODEL_CARDS && err == CW_OK; i++) {
        w->model.holder[i] = i % MODEL_CUSTOMERS;
        err = make_card(w, i, ids[w->model.holder[i]], why);
    }
    return err;
}

static enum cw_err open_process(struct world *w, struct world_process *p, struct say *why)
{
    const struct ledger_clock clock = {clock_now, w};
    p->count = 0;
    enum cw_err err = bank_open(w->dir, &clock, &p->bank, why);
    if (err == CW_OK)
        api_init(&p->api, p->bank);
    return err;
}

static void close_process(struct world_process *p)
{
    if (p->bank == NULL)
        return;
    api_clear(&p->api);
    bank_free(&p->bank);
}

enum cw_err world_restart(struct world *w, unsigned process, struct say *why)
{
    struct world_process *p = &w->processes[process];
    close_process(p);
    engine_calm();
    enum cw_err err = open_process(w, p, why);
    if (err == CW_OK)
        engine_take(p->bank->ledger);
    return err;
}

static enum cw_err open_books(struct world *w, struct say *why)
{
    char path[BANK_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", w->dir, BANK_FILE_LEDGER);
    if (sqlite3_open_v2(path, &w->books, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return say_fail(why, CW_ERR_IO, "cannot read %s", path);
    w->read = MODEL_ACCOUNTS; /* the deposits */
    return CW_OK;
}

enum cw_err world_make(struct world *w, uint64_t seed, struct say *why)
{
    static const char *const hosts[] = {BANK_SERVER_NAME};
    const struct ledger_clock clock = {clock_now, w};
    const struct bank_options options = {
        .name = "Simulated Bank", .hosts = hosts, .host_count = 1, .server_days = 90};
    memset(w, 0, sizeof *w);
    w->now = BEGINNING;
    w->dice.state = seed;
    w->digest = EVP_MD_CTX_new();
    if (w->digest == NULL || EVP_DigestInit_ex(w->digest, EVP_sha256(), NULL) != 1)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    if (!dice_rule_openssl(seed))
        return say_fail(why, CW_ERR_CRYPTO, "OpenSSL does not take its randomness from a seed");
    enum cw_err err = folder_make(w->dir, sizeof w->dir, why);
    if (err == CW_OK)
        err = bank_init(w->dir, &options, &clock, why);
    if (err == CW_OK)
        err = open_process(w, &w->processes[0], why);
    if (err == CW_OK)
        err = make_people(w, why);
    for (unsigned i = 0; i < WORLD_PROCESSES && err == CW_OK; i++)
        err = world_restart(w, i, why);
    return err == CW_OK ? open_books(w, why) : err;
}

void world_free(struct world *w)
{
    engine_calm();
    for (unsigned i = 0; i < WORLD_PROCESSES; i++)
        close_process(&w->processes[i]);
    sqlite3_close(w->books);
    for (unsigned i = 0; i < MODEL_CARDS; i++)
        EVP_PKEY_free(w->cards[i].key);
    for (size_t i = 0; i < w->model.count; i++)
        free(w->model.sheets[i].body);
    free(w->model.sheets);
    EVP_MD_CTX_free(w->digest);
    folder_strike(w->dir);
}

/* ---- what happened ---- */

void world_trace(struct world *w, const char *format, ...)
{
    char *line = w->last[w->lines++ % WORLD_LAST];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof w->last[0], format, args);
    va_end(args);
    (void)EVP_DigestUpdate(w->digest, line, strlen(line) + 1);
}

void world_wrong(struct world *w, const char *format, ...)
{
    va_list args;
    if (w->broken)
        return;
    w->broken = true;
    va_start(args, format);
    vsnprintf(w->wrong.text, sizeof w->wrong.text, format, args);
    va_end(args);
}
