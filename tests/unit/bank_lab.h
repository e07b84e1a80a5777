/* bank_lab.h - a bank in a temporary folder, with customers and a card in software whose keys the
 * test holds, for the tests of bank/. Not for tests of the card itself. */
#ifndef CARDWIRE_TESTS_UNIT_BANK_LAB_H
#define CARDWIRE_TESTS_UNIT_BANK_LAB_H

#include "tests/unit/unit.h"

#include "bank/bank.h"
#include "bank/ca.h"
#include "bank/ledger_db.h"
#include "bank/terms.h"

#include <libpq-fe.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A card in software: both kinds of keys of one sort. */
struct lab_card {
    uint8_t serial[ORDER_SERIAL_LEN];
    EVP_PKEY *tls_key, *order_key;
    X509 *tls_cert, *order_cert;
    uint32_t counter;
};

/* Takes from a ledger what the steps after the third have made (bank/ledger_schema.c). */
#define LAB_SCHEMA_3                                                                               \
    "DROP TRIGGER IF EXISTS journal_chained;"                                                      \
    "DROP TABLE admin_log; DROP TABLE hold; DROP TABLE proposal;"                                  \
    "DROP TABLE head; DROP TABLE head_signer; DROP TABLE chain;"                                   \
    "DROP TABLE revocation; DELETE FROM setting WHERE name = 'crl-number';"                        \
    "ALTER TABLE account DROP COLUMN kind; ALTER TABLE account DROP COLUMN held;"                  \
    "ALTER TABLE account DROP COLUMN floor; ALTER TABLE account DROP COLUMN frozen;"               \
    "DROP TABLE event; DROP TABLE payee_request; PRAGMA user_version = 3;"

/* CARDWIRE_TEST_STORE is the address of a PostgreSQL server: each lab then has a database of its
 * own there. */
static inline const char *lab_store(char out[BANK_PATH_MAX])
{
    static unsigned count;
    const char *server = getenv("CARDWIRE_TEST_STORE");
    if (server == NULL)
        return NULL;
    char sql[96];
    PGconn *conn = PQconnectdb(server);
    snprintf(sql, sizeof sql, "CREATE DATABASE lab_%d_%u", (int)getpid(), ++count);
    PGresult *res = PQexec(conn, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQclear(res);
    PQfinish(conn);
    /* What comes later in an address wins. */
    snprintf(out, BANK_PATH_MAX, "%s&dbname=lab_%d_%u", server, (int)getpid(), count);
    return out;
}

struct bank_lab {
    char dir[512];
    struct bank *bank;
    int64_t now;
    int card_days; /* validity of the next card's certificates */
    int64_t ada, bob;
    struct ledger_account payer, payee; /* Ada's with 100.00 EUR, Bob's with nothing */
};

static inline int64_t lab_now(void *ctx)
{
    return ((struct bank_lab *)ctx)->now;
}

/* cmocka says where; this says why. */
static inline void lab_ok(enum cw_err err, const struct say *why)
{
    if (err != CW_OK)
        fail_msg("%s: %s", cw_err_name(err), why->text);
}

static inline struct bank_lab *lab_new(void)
{
    static const char *const hosts[] = {"bank.cardwire.test"};
    struct say why = {""};
    struct bank_lab *lab = calloc(1, sizeof *lab);
    assert_non_null(lab);
    const char *folder = getenv("TMPDIR");
    snprintf(lab->dir, sizeof lab->dir, "%s/cardwire-bank-XXXXXX",
             folder != NULL ? folder : P_tmpdir);
    assert_non_null(mkdtemp(lab->dir));
    lab->now = (int64_t)time(NULL);
    lab->card_days = 30;
    const struct ledger_clock clock = {lab_now, lab};
    char store[BANK_PATH_MAX];
    const struct bank_options options = {.name = "Test Bank",
                                         .hosts = hosts,
                                         .host_count = 1,
                                         .server_days = 90,
                                         .store = lab_store(store)};
    lab_ok(bank_init(lab->dir, &options, &clock, &why), &why);
    lab_ok(bank_open(lab->dir, &clock, &lab->bank, &why), &why);
    struct ledger *l = lab->bank->ledger;
    lab_ok(ledger_customer_add(l, "Ada Lovelace", &lab->ada, &why), &why);
    lab_ok(ledger_customer_add(l, "Bob Bäcker", &lab->bob, &why), &why);
    lab_ok(ledger_account_open(l, lab->ada, "EUR", 10000, &lab->payer, &why), &why);
    lab_ok(ledger_account_open(l, lab->bob, "EUR", 0, &lab->payee, &why), &why);
    return lab;
}

/* The books as somebody else opens them. */
static inline struct ledger *lab_other(const char *dir)
{
    char where[BANK_PATH_MAX];
    struct say why = {""};
    struct ledger *l = NULL;
    lab_ok(bank_store_find(dir, where, &why), &why);
    lab_ok(ledger_open(where, &ledger_clock_system, &l, &why), &why);
    return l;
}

/* Statements past the ledger's own code; whether the database took them. */
static inline bool lab_raw(const char *dir, const char *sql)
{
    struct say why;
    struct ledger *l = lab_other(dir);
    bool good = db_exec(l, sql, &why) == CW_OK;
    ledger_free(&l);
    return good;
}

static inline bool lab_on_sqlite(void)
{
    return getenv("CARDWIRE_TEST_STORE") == NULL;
}

static inline void lab_free(struct bank_lab **lab)
{
    char command[600];
    bank_free(&(*lab)->bank);
    snprintf(command, sizeof command, "rm -rf '%s'", (*lab)->dir);
    assert_int_equal(system(command), 0);
    free(*lab);
    *lab = NULL;
}

static inline X509 *lab_certify(struct bank_lab *lab, enum ca_profile profile, const char *cn,
                                EVP_PKEY *key)
{
    struct say why = {""};
    X509 *issuer = NULL, *cert = NULL;
    EVP_PKEY *issuer_key = NULL;
    lab_ok(bank_pair_load(lab->bank, lab->bank->card_issuer, &issuer, &issuer_key, &why), &why);
    const struct ca_order order = {.profile = profile,
                                   .cn = cn,
                                   .key = key,
                                   .days = lab->card_days,
                                   .issuer = issuer,
                                   .issuer_key = issuer_key};
    lab_ok(ca_certificate_make(&order, lab->now, &cert, &why), &why);
    X509_free(issuer);
    EVP_PKEY_free(issuer_key);
    return cert;
}

static inline void lab_record(struct ledger_certificate *c, enum ledger_cert_kind kind, bool rsa,
                              X509 *cert)
{
    unsigned char *at = c->der;
    int len = i2d_X509(cert, &at);
    assert_true(len > 0 && (size_t)len <= sizeof c->der);
    c->der_len = (size_t)len;
    c->kind = kind;
    c->slot = (kind == LEDGER_CERT_TLS ? 1u : 3u) + (rsa ? 1u : 0u);
}

/* Issues a card in software to `customer`, active, on the bank's usual terms. */
static inline struct lab_card *lab_card_new(struct bank_lab *lab, int64_t customer, uint8_t first,
                                            bool rsa)
{
    char text[2 * ORDER_SERIAL_LEN + 1];
    struct say why = {""};
    struct lab_card *c = calloc(1, sizeof *c);
    struct ledger_certificate *certs = calloc(2, sizeof *certs);
    struct ledger_terms terms = {.keyset = 1};
    assert_non_null(c);
    assert_non_null(certs);
    memset(c->serial, 0x5A, sizeof c->serial);
    c->serial[0] = first;
    bank_serial_text(c->serial, text);
    lab_ok(ca_key_make(rsa, &c->tls_key, &why), &why);
    lab_ok(ca_key_make(rsa, &c->order_key, &why), &why);
    c->tls_cert = lab_certify(lab, CA_CARD_TLS, text, c->tls_key);
    c->order_cert = lab_certify(lab, CA_CARD_ORDER, text, c->order_key);
    lab_record(&certs[0], LEDGER_CERT_TLS, rsa, c->tls_cert);
    lab_record(&certs[1], LEDGER_CERT_ORDER, rsa, c->order_cert);
    terms_default(&terms.policy);
    lab_ok(ledger_card_begin(lab->bank->ledger, c->serial, customer, certs, 2, &terms, &why), &why);
    lab_ok(ledger_card_activate(lab->bank->ledger, c->serial, &why), &why);
    free(certs);
    return c;
}

static inline void lab_card_free(struct lab_card **card)
{
    EVP_PKEY_free((*card)->tls_key);
    EVP_PKEY_free((*card)->order_key);
    X509_free((*card)->tls_cert);
    X509_free((*card)->order_cert);
    free(*card);
    *card = NULL;
}

/* An order from Ada to Bob, as the card would be asked to sign it. `id` is its first byte. */
static inline struct order_fields lab_order(const struct bank_lab *lab, uint8_t id, int64_t amount)
{
    struct order_fields f = {
        .amount = amount, .currency = "EUR", .reference = "Invoice 7", .expiry = lab->now + 600};
    strcpy(f.payer, lab->payer.number);
    strcpy(f.payee, lab->payee.number);
    strcpy(f.payee_name, lab->payee.name);
    memset(f.id, 0x11, sizeof f.id);
    f.id[0] = id;
    return f;
}

struct lab_signed {
    uint8_t text[ORDER_TEXT_MAX], signature[LEDGER_SIGNATURE_MAX];
    size_t text_len, signature_len;
    struct order_seal seal;
};

/* Signs as the card does: adds its serial, the next counter and the binding. */
static inline struct lab_signed lab_sign(struct lab_card *card, const struct order_fields *f,
                                         const uint8_t binding[ORDER_BINDING_LEN])
{
    struct lab_signed s = {.signature_len = sizeof s.signature};
    struct buf_writer w;
    s.seal.counter = ++card->counter;
    memcpy(s.seal.serial, card->serial, sizeof s.seal.serial);
    memcpy(s.seal.binding, binding, sizeof s.seal.binding);
    buf_writer_init(&w, s.text, sizeof s.text);
    assert_int_equal(order_text_write(f, &s.seal, &w), CW_OK);
    s.text_len = w.len;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, card->order_key), 1);
    assert_int_equal(EVP_DigestSign(ctx, s.signature, &s.signature_len, s.text, s.text_len), 1);
    EVP_MD_CTX_free(ctx);
    return s;
}

/* Around each test: *state is a new lab. */
static inline int lab_setup(void **state)
{
    *state = lab_new();
    return 0;
}

static inline int lab_teardown(void **state)
{
    struct bank_lab *lab = *state;
    lab_free(&lab);
    return 0;
}

/* The caller's to X509_free. */
static inline X509 *lab_certificate(struct bank_lab *lab, const char *stem)
{
    struct say why = {""};
    X509 *cert = NULL;
    lab_ok(bank_certificate_load(lab->bank, stem, &cert, &why), &why);
    return cert;
}

/* What the server makes of a signed order, but for the hash of its request. It points into `s`. */
static inline struct ledger_order lab_signed_order(const struct lab_card *card,
                                                   const struct order_fields *f,
                                                   const struct lab_signed *s)
{
    unsigned char *der = NULL;
    struct ledger_order o = {.fields = *f,
                             .seal = s->seal,
                             .text = s->text,
                             .text_len = s->text_len,
                             .signature = s->signature,
                             .signature_len = s->signature_len};
    int len = i2d_X509(card->order_cert, &der);
    SHA256(der, (size_t)len, o.certificate);
    OPENSSL_free(der);
    return o;
}

static inline char *lab_reply(void *ctx, const struct ledger_order *o,
                              const struct ledger_booking *b)
{
    (void)ctx, (void)o, (void)b;
    return strdup("{}");
}

/* Ada pays Bob, as the server books it. */
static inline void lab_pay(struct bank_lab *lab, struct lab_card *card, uint8_t id, int64_t amount)
{
    static const uint8_t binding[ORDER_BINDING_LEN];
    struct say why = {""};
    enum ledger_verdict verdict;
    const struct order_fields fields = lab_order(lab, id, amount);
    const struct lab_signed s = lab_sign(card, &fields, binding);
    struct ledger_order o = lab_signed_order(card, &fields, &s);
    entry_request_hash(s.text, s.text_len, s.signature, s.signature_len, o.request);
    lab_ok(ledger_payment_book(lab->bank->ledger, &o, lab_reply, NULL, &verdict, &why), &why);
    assert_int_equal(verdict, LEDGER_BOOKED);
}

#endif
