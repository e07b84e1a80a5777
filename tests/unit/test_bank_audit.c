/* test_bank_audit.c - the audit of the books: it takes good ones, and of books in which anything
 * was changed, by somebody who can write every table, it names the first entry that is wrong. */
#include "tests/unit/bank_lab.h"

#include "bank/audit.h"
#include "bank/journal.h"

#include <sqlite3.h>

#define PAYMENTS 6 /* entries 2 to 7; entry 1 is the opening deposit */
#define LAST     (PAYMENTS + 1)

struct fixture {
    struct bank_lab *lab;
    struct lab_card *cards[2]; /* P-256, RSA-2048 */
    char ledger[BANK_PATH_MAX], copy[BANK_PATH_MAX + 8];
    struct audit_head head;
};

static void pay(struct fixture *f, unsigned n)
{
    lab_pay(f->lab, f->cards[n % 2], (uint8_t)n, 100 + (int64_t)n);
}

static enum cw_err audit(struct fixture *f, const struct audit_head *noted, struct audit_result *r,
                         struct say *why)
{
    const struct audit_options o = {.noted = noted};
    return audit_run(f->lab->bank, &o, r, why);
}

static void open_again(struct fixture *f)
{
    const struct ledger_clock clock = {lab_now, f->lab};
    struct say why = {""};
    lab_ok(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), &why);
}

static void copy_file(const char *from, const char *to)
{
    char command[5 * BANK_PATH_MAX + 64];
    snprintf(command, sizeof command, "rm -f '%s' '%s-wal' '%s-shm' && cp '%s' '%s'", to, to, to,
             from, to);
    assert_int_equal(system(command), 0);
}

/* A head that the bank has signed, for the receipt of the payment of that number. */
static void sign_head(struct fixture *f, unsigned n)
{
    struct journal *j = NULL;
    struct ledger_payment *p = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    struct say why = {""};
    const struct order_fields fields = lab_order(f->lab, (uint8_t)n, 1);
    lab_ok(journal_open(f->lab->bank, &j, &why), &why);
    lab_ok(ledger_payment_find(f->lab->bank->ledger, fields.id, &p, &why), &why);
    lab_ok(journal_receipt(f->lab->bank, j, p, &der, &len, &why), &why);
    ledger_payment_free(&p);
    journal_free(&j);
    free(der);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct audit_result r;
    struct say why = {""};
    assert_non_null(f);
    f->lab = lab_new();
    f->cards[0] = lab_card_new(f->lab, f->lab->ada, 1, false);
    f->cards[1] = lab_card_new(f->lab, f->lab->ada, 2, true);
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", f->ledger, NULL), CW_OK);
    for (unsigned n = 1; n <= PAYMENTS; n++) {
        pay(f, n);
        if (n % 3 == 0) /* entries 4 and 7 */
            sign_head(f, n);
    }
    lab_ok(audit(f, NULL, &r, &why), &why);
    f->head = r.head;
    bank_free(&f->lab->bank); /* which brings the log into the file */
    snprintf(f->copy, sizeof f->copy, "%s.good", f->ledger);
    copy_file(f->ledger, f->copy);
    open_again(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_card_free(&f->cards[0]);
    lab_card_free(&f->cards[1]);
    lab_free(&f->lab);
    free(f);
    return 0;
}

/* What takes every trigger away, and what puts them back: whoever can write the file can do both.
 */
static void trigger_texts(sqlite3 *db, char *drop, char *create, size_t cap)
{
    sqlite3_stmt *st = NULL;
    drop[0] = create[0] = '\0';
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'", -1,
                           &st, NULL),
        SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW) {
        size_t d = strlen(drop), c = strlen(create);
        snprintf(drop + d, cap - d, "DROP TRIGGER %s;", sqlite3_column_text(st, 0));
        snprintf(create + c, cap - c, "%s;", sqlite3_column_text(st, 1));
    }
    sqlite3_finalize(st);
}

static void run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

/* Good books again, in which `sql` was done. `anew`: and the chain written anew over it. */
static void tamper(struct fixture *f, const char *sql, bool anew)
{
    static char drop[16384], create[16384];
    sqlite3 *db = NULL;
    bank_free(&f->lab->bank);
    copy_file(f->copy, f->ledger);
    assert_int_equal(sqlite3_open(f->ledger, &db), SQLITE_OK);
    trigger_texts(db, drop, create, sizeof create);
    run(db, "PRAGMA foreign_keys = OFF");
    run(db, drop);
    run(db, sql);
    run(db, create);
    /* As a ledger of the time before: opening it makes the chain. */
    if (anew)
        run(db, LAB_SCHEMA_3);
    sqlite3_close(db);
    open_again(f);
}

static void finds(struct fixture *f, const struct audit_head *noted, const char *what)
{
    struct audit_result r = {0};
    struct say why = {""};
    enum cw_err err = audit(f, noted, &r, &why);
    if (err != CW_ERR_FORMAT || strstr(why.text, what) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", cw_err_name(err), why.text, what);
}

/* ---- good books ---- */

static void test_good_books(void **state)
{
    struct fixture *f = *state;
    struct audit_result r;
    struct audit_head head;
    struct say why = {""};
    char text[AUDIT_HEAD_TEXT_LEN];
    lab_ok(audit(f, NULL, &r, &why), &why);
    assert_int_equal(r.entries, LAST);
    assert_int_equal(r.payments, PAYMENTS);
    assert_int_equal(r.accounts, 3); /* Ada's, Bob's, the bank's cash */
    assert_int_equal(r.certificates, 4);
    assert_int_equal(r.head.entry, LAST);
    assert_int_equal(r.heads, 2);
    audit_head_text(&r.head, text);
    assert_int_equal(audit_head_parse(text, &head, &why), CW_OK);
    assert_memory_equal(&head, &r.head, sizeof head);
    /* What was noted stays true when the books go on. */
    pay(f, PAYMENTS + 1);
    lab_ok(audit(f, &head, &r, &why), &why);
    assert_int_equal(r.head.entry, LAST + 1);
    assert_memory_not_equal(r.head.hash, head.hash, sizeof head.hash);
}

static void test_empty_books(void **state)
{
    struct audit_result r;
    struct say why = {""};
    struct fixture f = {.lab = calloc(1, sizeof *f.lab)};
    static const char *const hosts[] = {"bank.cardwire.test"};
    const struct bank_options options = {
        .name = "Empty", .hosts = hosts, .host_count = 1, .server_days = 90};
    (void)state;
    assert_non_null(f.lab);
    snprintf(f.lab->dir, sizeof f.lab->dir, "%s/cardwire-bank-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : P_tmpdir);
    assert_non_null(mkdtemp(f.lab->dir));
    f.lab->now = (int64_t)time(NULL);
    const struct ledger_clock clock = {lab_now, f.lab};
    lab_ok(bank_init(f.lab->dir, &options, &clock, &why), &why);
    open_again(&f);
    lab_ok(audit(&f, NULL, &r, &why), &why);
    assert_int_equal(r.entries, 0);
    assert_int_equal(r.head.entry, 0);
    const struct audit_head noted = {.entry = 1};
    finds(&f, &noted, "entry 1, whose hash was noted, is missing");
    lab_free(&f.lab);
}

/* A ledger that had no chain gets one when it is opened: another, because its salts are. */
static void test_chain_of_older_books(void **state)
{
    struct fixture *f = *state;
    struct audit_result r;
    struct say why = {""};
    tamper(f, "", true);
    lab_ok(audit(f, NULL, &r, &why), &why);
    assert_int_equal(r.head.entry, LAST);
    assert_memory_not_equal(r.head.hash, f->head.hash, sizeof f->head.hash);
}

static void test_heads(void **state)
{
    static const char *const bad[] = {
        "",
        "7",
        "7:",
        ":00",
        "-1:0000000000000000000000000000000000000000000000000000000000000000",
        "7:00000000000000000000000000000000000000000000000000000000000000",
        "7:000000000000000000000000000000000000000000000000000000000000000000",
        "7:000000000000000000000000000000000000000000000000000000000000000g",
        "99999999999999999999:0000000000000000000000000000000000000000000000000000000000000000"};
    struct audit_head head;
    struct say why;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(audit_head_parse(bad[i], &head, &why), CW_ERR_ARG);
}

/* ---- changed books ---- */

static void test_any_change_breaks_the_chain(void **state)
{
    static const char *const changes[] = {
        "UPDATE journal SET reference = 'Invoice 8' WHERE id = 3",
        "UPDATE journal SET time = time + 1 WHERE id = 3",
        "UPDATE journal SET kind = 'deposit' WHERE id = 3",
        "UPDATE posting SET amount = -amount WHERE journal = 3",
        "UPDATE posting SET balance = balance + 1 WHERE journal = 3 AND line = 1",
        "UPDATE posting SET account = (SELECT id FROM account WHERE customer IS NULL) WHERE "
        "  journal = 3 AND line = 1",
        "DELETE FROM posting WHERE journal = 3 AND line = 1",
        "UPDATE payment SET order_id = randomblob(16) WHERE journal = 3",
        "UPDATE payment SET request = randomblob(32) WHERE journal = 3",
        "UPDATE payment SET customer = 2 WHERE journal = 3",
        "UPDATE payment SET card = (SELECT card FROM payment WHERE journal = 2), counter = 77 "
        "  WHERE journal = 3",
        "UPDATE payment SET counter = counter + 70 WHERE journal = 3",
        "UPDATE payment SET text = CAST(text || ' ' AS BLOB) WHERE journal = 3",
        "UPDATE payment SET signature = randomblob(256) WHERE journal = 3",
        "UPDATE payment SET reply = '{ }' WHERE journal = 3",
        "DELETE FROM payment WHERE journal = 3",
        "UPDATE chain SET hash = randomblob(32) WHERE journal = 3",
        "UPDATE chain SET salt = randomblob(16) WHERE journal = 3",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        tamper(f, changes[i], false);
        finds(f, NULL, "entry 3: its hash does not fit");
    }
    /* The chain sees the account's number; whose balance it is comes last. */
    tamper(f,
           "UPDATE account SET number = 'GB00' WHERE id = (SELECT account FROM posting WHERE "
           "journal = 2 AND line = 1)",
           false);
    finds(f, NULL, "entry 2: its hash does not fit");
}

static void test_what_is_missing(void **state)
{
    struct fixture *f = *state;
    char sql[500];
    tamper(f, "DELETE FROM chain WHERE journal = 4", false);
    finds(f, NULL, "entry 4: it has no hash");
    tamper(f,
           "DELETE FROM chain WHERE journal = 5; DELETE FROM payment WHERE journal = 5;"
           "DELETE FROM posting WHERE journal = 5; DELETE FROM journal WHERE id = 5",
           false);
    finds(f, NULL, "entry 5 is missing");
    tamper(f,
           "DELETE FROM chain WHERE journal = 1; DELETE FROM posting WHERE journal = 1;"
           "DELETE FROM journal WHERE id = 1",
           false);
    finds(f, NULL, "entry 1 is missing");
    tamper(f, "INSERT INTO chain VALUES (99, zeroblob(16), zeroblob(32))", false);
    finds(f, NULL, "8 hashes, 14 postings and 6 payments for 7 entries");
    /* The end, with every trace of it: only a balance, or who has noted the head, can tell. */
    snprintf(sql, sizeof sql,
             "DELETE FROM chain WHERE journal = %d; DELETE FROM payment WHERE journal = %d;"
             "DELETE FROM posting WHERE journal = %d; DELETE FROM journal WHERE id = %d;",
             LAST, LAST, LAST, LAST);
    tamper(f, sql, false);
    finds(f, NULL, "the head of entry 7: it has another hash than the chain");
    snprintf(sql + strlen(sql), sizeof sql - strlen(sql), "DELETE FROM head WHERE journal = %d;",
             LAST);
    tamper(f, sql, false);
    finds(f, NULL, "minor units, and its entries make");
    strcat(sql,
           "UPDATE account SET balance = (SELECT sum(amount) FROM posting WHERE account = id)");
    tamper(f, sql, false);
    finds(f, &f->head, "entry 7, whose hash was noted, is missing");
}

static void test_balances(void **state)
{
    struct fixture *f = *state;
    tamper(f, "UPDATE account SET balance = balance + 1 WHERE number LIKE 'CASH%'", false);
    finds(f, NULL, "account CASH-EUR holds");
    tamper(
        f,
        "INSERT INTO account (number, currency, balance, since) VALUES ('CASH-USD', 'USD', 5, 0)",
        false);
    finds(f, NULL, "account CASH-USD holds 5 minor units");
}

/* Whoever also writes the chain anew has the cards' signatures against him. */
static void test_chain_written_anew(void **state)
{
    static const struct {
        const char *sql, *what;
    } attacks[] = {
        {"UPDATE posting SET amount = amount - 1 WHERE journal = 3", "entry 3: a balance after it"},
        {"UPDATE posting SET amount = amount - 1, balance = balance - 1 WHERE journal = 3 AND line "
         "= 0",
         "entry 3: its postings do not sum to zero"},
        /* one more from Ada, one more to Bob, all the way down */
        {"UPDATE posting SET amount = amount - 1 WHERE journal = 3 AND line = 0;"
         "UPDATE posting SET amount = amount + 1 WHERE journal = 3 AND line = 1;"
         "UPDATE posting SET balance = balance - 1 WHERE journal >= 3 AND line = 0;"
         "UPDATE posting SET balance = balance + 1 WHERE journal >= 3 AND line = 1",
         "entry 3: it is not what the card's order says"},
        {"UPDATE journal SET reference = 'A gift' WHERE id = 3",
         "entry 3: it is not what the card's order says"},
        {"UPDATE payment SET text = CAST(replace(CAST(text AS TEXT), 'Invoice 7', 'Invoice 8') AS "
         "BLOB) "
         "WHERE journal = 3; UPDATE journal SET reference = 'Invoice 8' WHERE id = 3",
         "entry 3: the hash of its request is another"},
        {"UPDATE payment SET request = randomblob(32) WHERE journal = 3",
         "entry 3: the hash of its request is another"},
        {"UPDATE payment SET certificate = (SELECT certificate FROM payment WHERE journal = 2) "
         "WHERE "
         "journal = 3",
         "entry 3: its certificate is not one for orders of its card"},
        {"UPDATE payment SET certificate = (SELECT sha256 FROM certificate c WHERE c.card = "
         "payment.card AND kind = 'tls') WHERE journal = 3",
         "entry 3: its certificate is not one for orders of its card"},
        {"UPDATE payment SET counter = 99 WHERE journal = 3",
         "entry 3: it is not what the card's order says"},
        {"DELETE FROM payment WHERE journal = 3", "entry 3: it is a payment without an order"},
        {"DELETE FROM payment WHERE journal = 3; UPDATE journal SET kind = 'deposit' WHERE id = 3",
         "entry 3: it takes from a customer's account without an order"},
        {"UPDATE journal SET kind = 'deposit' WHERE id = 3",
         "entry 3: it is a payment without an order, or an order without a payment"},
        {"UPDATE certificate SET der = (SELECT der FROM certificate WHERE kind = 'tls' LIMIT 1) "
         "WHERE "
         "kind = 'order'",
         "is not the one that was issued"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        tamper(f, attacks[i].sql, true);
        finds(f, NULL, attacks[i].what);
    }
}

/* What lies beside the entries, or was booked twice, or belongs to somebody else. */
static void test_what_no_entry_tells(void **state)
{
    static const struct {
        const char *sql, *what;
        bool anew;
    } attacks[] = {
        {"INSERT INTO posting VALUES (999, 0, 1, 5, 5)", "15 postings", false},
        {"INSERT INTO payment SELECT 999, randomblob(16), request, customer, card, 999, "
         "certificate, "
         "text, signature, reply FROM payment WHERE journal = 3",
         "7 payments for", false},
        {"INSERT INTO journal VALUES (-9223372036854775808, 0, 'deposit', 'ghost')",
         "entry 1 is missing", false},
        /* without its constraints a table takes an order twice */
        {"CREATE TABLE p2 AS SELECT * FROM payment; DROP TABLE payment; ALTER TABLE p2 RENAME TO "
         "payment;"
         "INSERT INTO journal SELECT 8, time, kind, reference FROM journal WHERE id = 7;"
         "INSERT INTO payment SELECT 8, order_id, request, customer, card, counter, certificate, "
         "text, "
         "  signature, reply FROM payment WHERE journal = 7;"
         "INSERT INTO posting SELECT 8, line, account, amount, balance + amount FROM posting WHERE "
         "  journal = 7;"
         "UPDATE account SET balance = (SELECT sum(amount) FROM posting WHERE account = "
         "account.id)",
         "1 orders and 1 counters of cards were booked more than once", true},
        {"UPDATE account SET customer = 3 - customer WHERE customer IS NOT NULL",
         "it is not from an account of the card's holder", true},
        {"UPDATE card SET customer = 2", "it is not from an account of the card's holder", true},
        {"UPDATE payment SET customer = 2", "it is not from an account of the card's holder", true},
        {"UPDATE account SET customer = 2 WHERE customer = 1", "entry 1: its hash does not fit",
         false},
        {"DROP INDEX account_cash; UPDATE account SET customer = NULL WHERE customer = 2",
         "it is not from an account of the card's holder", true},
        {"DROP INDEX account_cash; INSERT INTO account (number, currency, since) VALUES ('ZZ00', "
         "'EUR', 0)",
         "account ZZ00: only the bank's own cash", false},
        {"UPDATE certificate SET card = (SELECT max(serial) FROM card), slot = 77 WHERE slot = 3",
         "is for another card, or another use", false},
        {"UPDATE certificate SET kind = 'order' WHERE slot = 1",
         "is for another card, or another use", false},
        {"DROP INDEX posting_account", "tables, indexes and triggers are not those", false},
        {"CREATE TRIGGER mine AFTER INSERT ON posting BEGIN SELECT 1; END",
         "tables, indexes and triggers are not those", false},
        {"UPDATE posting SET account = 99 WHERE journal = 7 AND line = 1",
         "entry 7: its hash does not fit", false},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        tamper(f, attacks[i].sql, attacks[i].anew);
        finds(f, NULL, attacks[i].what);
    }
}

/* An older program that still has the file open when it is taken to the new schema. */
static void test_older_program_at_work(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct ledger_account account;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->ledger, &db), SQLITE_OK);
    run(db, "INSERT INTO journal (time, kind, reference) VALUES (0, 'deposit', 'by an older one')");
    assert_int_equal(
        sqlite3_exec(db,
                     "INSERT INTO journal (time, kind, reference) VALUES (0, 'deposit', "
                     "'by an older one')",
                     NULL, NULL, NULL),
        SQLITE_CONSTRAINT);
    sqlite3_close(db);
    assert_int_not_equal(
        ledger_account_open(f->lab->bank->ledger, f->lab->ada, "EUR", 100, &account, &why), CW_OK);
    assert_non_null(strstr(why.text, "is an older cardwired at work"));
    finds(f, NULL, "entry 8: it has no hash");
}

/* A signature by a key that the attacker has, whose certificate no root of the bank signed; and one
 * of a good certificate over other bytes. */
static void test_forged_signatures(void **state)
{
    struct fixture *f = *state;
    char sql[4 * LEDGER_CERT_MAX], der_hex[2 * LEDGER_CERT_MAX + 1], sha_hex[65];
    struct say why = {""};
    X509 *forged = NULL;
    EVP_PKEY *key = NULL;
    uint8_t sha256[32];
    unsigned char *der = NULL;
    lab_ok(ca_key_make(false, &key, &why), &why);
    const struct ca_order order = {.profile = CA_ROOT, .cn = "Mallory", .key = key, .days = 10};
    lab_ok(ca_certificate_make(&order, f->lab->now, &forged, &why), &why);
    int len = i2d_X509(forged, &der);
    assert_true(len > 0);
    SHA256(der, (size_t)len, sha256);
    for (int i = 0; i < len; i++)
        snprintf(der_hex + 2 * i, 3, "%02x", der[i]);
    for (int i = 0; i < 32; i++)
        snprintf(sha_hex + 2 * i, 3, "%02x", sha256[i]);
    snprintf(sql, sizeof sql,
             "UPDATE payment SET certificate = x'%s' WHERE certificate = (SELECT sha256 FROM "
             "certificate WHERE kind = 'order' AND slot = 4);"
             "UPDATE certificate SET der = x'%s', sha256 = x'%s' WHERE kind = 'order' AND slot = 4",
             sha_hex, der_hex, sha_hex);
    tamper(f, sql, true);
    finds(f, NULL, "is not by the bank's root");
    /* The hash of the request is made to fit the other signature as well. */
    struct ledger_payment *p = NULL;
    const struct order_fields fields = lab_order(f->lab, 2, 102);
    tamper(f, "", false);
    lab_ok(ledger_payment_find(f->lab->bank->ledger, fields.id, &p, &why), &why);
    uint8_t request[32], bent[LEDGER_SIGNATURE_MAX];
    memcpy(bent, p->signature, p->signature_len);
    bent[p->signature_len - 1] ^= 1;
    entry_request_hash(p->text, p->text_len, bent, p->signature_len, request);
    for (size_t i = 0; i < p->signature_len; i++)
        snprintf(der_hex + 2 * i, 3, "%02x", bent[i]);
    for (int i = 0; i < 32; i++)
        snprintf(sha_hex + 2 * i, 3, "%02x", request[i]);
    snprintf(sql, sizeof sql,
             "UPDATE payment SET signature = x'%s', request = x'%s' WHERE journal = %lld", der_hex,
             sha_hex, (long long)p->id);
    tamper(f, sql, true);
    finds(f, NULL, "entry 3: the card's signature does not fit the order");
    ledger_payment_free(&p);
    OPENSSL_free(der);
    X509_free(forged);
    EVP_PKEY_free(key);
}

/* Good throughout and another history: only who has noted a head can tell. */
static void test_another_history(void **state)
{
    struct fixture *f = *state;
    struct audit_result r;
    struct say why = {""};
    tamper(f, "UPDATE journal SET time = time - 86400 WHERE id = 2", true);
    lab_ok(audit(f, NULL, &r, &why), &why);
    finds(f, &f->head, "entry 7: its hash is not the one that was noted");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* What the bank has signed convicts it: a chain that was written anew has other hashes. */
static void test_signed_heads(void **state)
{
    static const struct {
        const char *sql, *what;
    } changes[] = {
        {"UPDATE head SET signature = zeroblob(70) WHERE journal = 4",
         "the head of entry 4: the signature does not fit"},
        {"UPDATE head SET signature = (SELECT signature FROM head WHERE journal = 4) WHERE journal "
         "= 7",
         "the head of entry 7: the signature does not fit"},
        {"UPDATE head SET text = CAST(replace(CAST(text AS TEXT), 'Signed: 2', 'Signed: 3') AS "
         "BLOB) WHERE journal = 4",
         "the head of entry 4: "},
        {"UPDATE head SET text = CAST(CAST(text AS TEXT) || ' ' AS BLOB) WHERE journal = 4",
         "the head of entry 4: its text"},
        {"DELETE FROM head WHERE journal = 4; UPDATE head SET journal = 4",
         "the head of entry 4: its text"},
        {"UPDATE head_signer SET der = (SELECT der FROM certificate WHERE kind = 'order' AND slot "
         "= 3)",
         "the head of entry 4: its certificate"},
        {"UPDATE head SET journal = 99 WHERE journal = 7; "
         "UPDATE head SET text = CAST(replace(CAST(text AS TEXT), 'Entry: 7', 'Entry: 99') AS "
         "BLOB) WHERE journal = 99",
         "the head of entry 99: it has another hash than the chain"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        tamper(f, changes[i].sql, false);
        finds(f, NULL, changes[i].what);
    }
    /* Good history and another one: the chain fits, what the cards signed as well. */
    tamper(f, "", true);
    struct audit_result r;
    struct say why = {""};
    lab_ok(audit(f, NULL, &r, &why), &why);
    assert_int_equal(r.heads, 0);
    tamper(f,
           "CREATE TABLE kept AS SELECT * FROM head; CREATE TABLE signer AS SELECT * FROM "
           "head_signer",
           true);
    bank_free(&f->lab->bank);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->ledger, &db), SQLITE_OK);
    run(db, "INSERT INTO head_signer SELECT * FROM signer; INSERT INTO head SELECT * FROM kept;"
            "DROP TABLE kept; DROP TABLE signer");
    sqlite3_close(db);
    open_again(f);
    finds(f, NULL, "the head of entry 4: it has another hash than the chain");
}

/* The file that signs them is seen to as well. */
static void test_journal_certificate(void **state)
{
    struct fixture *f = *state;
    char from[BANK_PATH_MAX], to[BANK_PATH_MAX];
    assert_int_equal(bank_path(f->lab->dir, "card-root", ".pem", from, NULL), CW_OK);
    assert_int_equal(bank_path(f->lab->dir, "journal", ".pem", to, NULL), CW_OK);
    copy_file(from, to);
    finds(f, NULL, "journal.pem is not a certificate for this bank's journal");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_good_books),
        cmocka_unit_test(test_empty_books),
        TEST(test_chain_of_older_books),
        cmocka_unit_test(test_heads),
        TEST(test_any_change_breaks_the_chain),
        TEST(test_what_is_missing),
        TEST(test_balances),
        TEST(test_chain_written_anew),
        TEST(test_forged_signatures),
        TEST(test_what_no_entry_tells),
        TEST(test_older_program_at_work),
        TEST(test_another_history),
        TEST(test_signed_heads),
        TEST(test_journal_certificate),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
