/* test_bank_migrate.c - a bank that an older cardwired made: it opens, what is in it stays, its
 * cards stay as they are, and new ones are managed. */
#include "tests/unit/bank_lab.h"

#include "bank/issue.h"
#include "bank/tls.h"
#include "bank/update.h"
#include "tests/unit/bank_schema_1.h"

#include <sqlite3.h>
#include <sys/wait.h>

struct fixture {
    struct bank_lab *lab;
    struct lab_card *card; /* issued by the older program */
    uint8_t order[ORDER_ID_LEN];
    char ledger[BANK_PATH_MAX];
};

static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    (void)ctx, (void)o, (void)b;
    return strdup("{}");
}

static void pay(struct fixture *f)
{
    static const uint8_t binding[ORDER_BINDING_LEN];
    struct say why = {""};
    enum ledger_verdict verdict;
    const struct order_fields fields = lab_order(f->lab, 1, 1234);
    const struct lab_signed s = lab_sign(f->card, &fields, binding);
    struct ledger_order o = lab_signed_order(f->card, &fields, &s);
    lab_ok(ledger_payment_book(f->lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), &why);
    assert_int_equal(verdict, LEDGER_BOOKED);
    memcpy(f->order, fields.id, sizeof f->order);
}

static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    sqlite3_close(db);
}

/* Makes what the bank has into what the older program would have: its tables, no issuer's keys. */
static void make_older(struct fixture *f)
{
    static const char copy[] =
        "PRAGMA journal_mode = WAL;"
        "ATTACH '%s' AS new;"
        "INSERT INTO setting SELECT * FROM new.setting WHERE name NOT LIKE 'server-next' AND "
        "  name NOT IN ('server', 'card-issuer', 'crl-number');"
        "INSERT INTO customer SELECT * FROM new.customer;"
        "INSERT INTO account SELECT id, number, customer, currency, balance, since FROM "
        "  new.account;"
        "INSERT INTO journal SELECT * FROM new.journal;"
        "INSERT INTO posting SELECT * FROM new.posting;"
        "INSERT INTO card SELECT * FROM new.card;"
        "INSERT INTO certificate SELECT sha256, card, kind, slot, der FROM new.certificate;"
        "INSERT INTO payment SELECT * FROM new.payment;"
        "PRAGMA application_id = 1129794626; PRAGMA user_version = 1;";
    char older[BANK_PATH_MAX + 8], sql[sizeof copy + BANK_PATH_MAX], command[2 * BANK_PATH_MAX];
    bank_free(&f->lab->bank);
    snprintf(older, sizeof older, "%s.older", f->ledger);
    run_sql(older, bank_schema_1);
    snprintf(sql, sizeof sql, copy, f->ledger);
    run_sql(older, sql);
    snprintf(command, sizeof command,
             "cd '%s' && rm -f bank.db-* && mv bank.db.older bank.db && "
             "rm issuer.key card-update.key",
             f->lab->dir);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    f->card = lab_card_new(f->lab, f->lab->ada, 1, false);
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", f->ledger, NULL), CW_OK);
    pay(f);
    make_older(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_card_free(&f->card);
    lab_free(&f->lab);
    free(f);
    return 0;
}

static void open_again(struct fixture *f)
{
    const struct ledger_clock clock = {lab_now, f->lab};
    struct say why = {""};
    lab_ok(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), &why);
}

static int64_t number(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    int64_t n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static void test_what_was_there_stays(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct ledger_card card;
    struct ledger_totals t;
    struct ledger_payment *p = NULL;
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), 1);
    open_again(f);
    struct ledger *l = f->lab->bank->ledger;
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), LEDGER_SCHEMA);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    lab_ok(ledger_totals_get(l, &t, &why), &why);
    assert_int_equal(t.cards, 1);
    assert_int_equal(t.payments, 1);
    assert_int_equal(t.unbalanced + t.wrong_balance + t.currencies_off, 0);
    lab_ok(ledger_payment_find(l, f->order, &p, &why), &why);
    ledger_payment_free(&p);
    /* its certificates speak for the card as before, each for its own use */
    lab_ok(tls_card_find(l, f->card->tls_cert, &card, &why), &why);
    assert_int_equal(card.status, LEDGER_CARD_ACTIVE);
    assert_int_equal(tls_card_find(l, f->card->order_cert, &card, &why), CW_ERR_DENIED);
    /* once is enough */
    bank_free(&f->lab->bank);
    open_again(f);
}

/* A migrated ledger is the same as a new one, to the last word. */
static void test_same_as_new(void **state)
{
    struct fixture *f = *state;
    char sql[BANK_PATH_MAX + 400];
    struct bank_lab *fresh = lab_new();
    open_again(f);
    snprintf(sql, sizeof sql,
             "ATTACH '%s/bank.db' AS fresh;"
             "CREATE TEMP TABLE t (n INTEGER CHECK (n = 0));"
             "INSERT INTO t SELECT count(*) FROM (SELECT type, name, tbl_name, sql FROM "
             "main.sqlite_schema EXCEPT SELECT type, name, tbl_name, sql FROM fresh.sqlite_schema);"
             "INSERT INTO t SELECT count(*) FROM (SELECT type, name, tbl_name, sql FROM "
             "fresh.sqlite_schema EXCEPT SELECT type, name, tbl_name, sql FROM main.sqlite_schema)",
             fresh->dir);
    run_sql(f->ledger, sql);
    lab_free(&fresh);
}

static void test_its_cards_take_no_updates(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct policy policy;
    struct update_plan plan = {.policy = &policy};
    open_again(f);
    terms_default(&policy);
    memcpy(plan.card, f->card->serial, sizeof plan.card);
    lab_ok(bank_issuer_keys_make(f->lab->bank, &why), &why);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "older"));
}

/* The first card makes the keys; once there is one, they are not made anew. */
static void test_new_cards_are_managed(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    char reader[600], command[600];
    struct issue_result result;
    struct ledger_management m;
    open_again(f);
    snprintf(reader, sizeof reader, "inproc:%s/card", f->lab->dir);
    struct issue_options o = {
        .customer = f->lab->bob, .reader = reader, .p256 = true, .days = 30, .time = -1};
    terms_default(&o.policy);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    lab_ok(ledger_management_get(f->lab->bank->ledger, result.serial, &m, &why), &why);
    assert_int_equal(m.keyset, 1);
    snprintf(command, sizeof command, "rm '%s/issuer.key'", f->lab->dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "issuer.key is gone"));
}

/* Of the cards that have keys of this bank the ledger knows so; of older ones, that they have none.
 */
static void test_keys_that_were_given(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    open_again(f);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM card_keys"), 0);
    struct lab_card *card = lab_card_new(f->lab, f->lab->ada, 2, false);
    bank_free(&f->lab->bank);
    run_sql(f->ledger, LAB_SCHEMA_3 "DROP TABLE card_keys; PRAGMA user_version = 2");
    open_again(f);
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), LEDGER_SCHEMA);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM card_keys WHERE "
                                       "serial = x'025A5A5A5A5A5A5A' AND given > 0"),
                     1);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM card_keys"), 1);
    assert_int_equal(ledger_card_keys_give(f->lab->bank->ledger, card->serial, true, &why),
                     CW_ERR_EXISTS);
    lab_card_free(&card);
}

/* A step that fails half-way leaves the older ledger, whole. */
static void test_failed_step_leaves_it_as_it_was(void **state)
{
    struct fixture *f = *state;
    const struct ledger_clock clock = {lab_now, f->lab};
    struct say why = {""};
    run_sql(f->ledger, "CREATE TABLE card_update (n INTEGER)"); /* in the way of the last steps */
    assert_int_not_equal(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), CW_OK);
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), 1);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM card"), 1);
    assert_int_equal(number(f->ledger, "SELECT count(*) FROM setting"), 2);
    run_sql(f->ledger, "DROP TABLE card_update");
    open_again(f);
}

/* Another program, a newer one, migrates it while this one waits for the lock. */
static void test_newer_program_is_faster(void **state)
{
    struct fixture *f = *state;
    const struct ledger_clock clock = {lab_now, f->lab};
    struct say why = {""};
    sqlite3 *db = NULL;
    int pipes[2], status = 0;
    char ready = 0;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool held = sqlite3_open(f->ledger, &db) == SQLITE_OK &&
                    sqlite3_exec(db, "BEGIN IMMEDIATE; PRAGMA user_version = 99", NULL, NULL,
                                 NULL) == SQLITE_OK &&
                    write(pipes[1], "", 1) == 1;
        usleep(500000); /* in which the other reads the version that is still there */
        _exit(held && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : 1);
    }
    assert_int_equal(read(pipes[0], &ready, 1), 1);
    assert_int_equal(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), CW_ERR_NEWER);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), 99);
    close(pipes[0]);
    close(pipes[1]);
}

/* A reference to what is not there is damage, and is not carried over in silence. */
static void test_damage_is_noticed(void **state)
{
    struct fixture *f = *state;
    const struct ledger_clock clock = {lab_now, f->lab};
    struct say why = {""};
    run_sql(f->ledger, "DELETE FROM card");
    assert_int_equal(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), CW_ERR_FORMAT);
    assert_int_equal(number(f->ledger, "PRAGMA user_version"), 1);
    assert_null(f->lab->bank);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_there_stays),      TEST(test_same_as_new),
        TEST(test_its_cards_take_no_updates), TEST(test_new_cards_are_managed),
        TEST(test_keys_that_were_given),      TEST(test_failed_step_leaves_it_as_it_was),
        TEST(test_newer_program_is_faster),   TEST(test_damage_is_noticed),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
