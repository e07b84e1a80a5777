/* test_bank_work.c - what the bank books without a card's order: holds, postings and reversals.
 * Nothing of it is done by one person alone, and the audit knows what allowed each. */
#include "tests/unit/bank_lab.h"

#include "bank/audit.h"
#include "bank/ledger_work.h"

#include <sqlite3.h>

#define DAY 86400

static struct ledger *books(struct bank_lab *lab)
{
    return lab->bank->ledger;
}

static int64_t number(struct bank_lab *lab, const char *sql)
{
    struct say why = {""};
    struct db_stmt *st;
    int64_t n = -1;
    enum cw_err err = db_prepare(books(lab), &st, &why, sql, "");
    lab_ok(db_number(books(lab), err, st, &n, &why), &why);
    return n;
}

static int64_t balance(struct bank_lab *lab, const char *account)
{
    struct say why = {""};
    struct ledger_account a;
    lab_ok(ledger_account_get(books(lab), account, &a, &why), &why);
    return a.balance;
}

static void in_order(struct bank_lab *lab)
{
    struct say why = {""};
    struct audit_result r;
    struct ledger_totals t;
    const struct audit_options o = {0};
    lab_ok(audit_run(lab->bank, &o, &r, &why), &why);
    lab_ok(ledger_totals_get(books(lab), &t, &why), &why);
    assert_int_equal(t.unbalanced + t.wrong_balance + t.currencies_off, 0);
}

static enum cw_err place(struct bank_lab *lab, const char *id, int64_t amount, struct say *why)
{
    struct ledger_hold h;
    const struct ledger_hold_order o = {.id = id,
                                        .account = lab->payer.number,
                                        .payee = lab->payee.number,
                                        .amount = amount,
                                        .expiry = lab->now + DAY - lab->now % DAY + DAY,
                                        .reference = "Hotel",
                                        .who = "clara"};
    return ledger_hold_place(books(lab), &o, &h, why);
}

static enum cw_err capture(struct bank_lab *lab, const char *hold, const char *id, int64_t amount,
                           bool final, const char *who, struct say *why)
{
    struct ledger_hold h;
    const struct ledger_capture c = {hold, id, amount, final, who};
    return ledger_hold_capture(books(lab), &c, &h, why);
}

static enum ledger_verdict pay(struct bank_lab *lab, struct lab_card *card, uint8_t id,
                               int64_t amount)
{
    static const uint8_t binding[ORDER_BINDING_LEN];
    struct say why = {""};
    enum ledger_verdict verdict = 0;
    const struct order_fields fields = lab_order(lab, id, amount);
    const struct lab_signed s = lab_sign(card, &fields, binding);
    struct ledger_order o = lab_signed_order(card, &fields, &s);
    entry_request_hash(s.text, s.text_len, s.signature, s.signature_len, o.request);
    lab_ok(ledger_payment_book(books(lab), &o, lab_reply, NULL, &verdict, &why), &why);
    return verdict;
}

/* ---- holds ---- */

static void test_hold_cannot_be_spent(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_hold h;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    lab_ok(place(lab, "h1", 6000, &why), &why);
    assert_int_equal(number(lab, "SELECT held FROM account WHERE number LIKE 'ZZ%' AND held > 0"),
                     6000);
    assert_int_equal(pay(lab, card, 1, 4001), LEDGER_FUNDS);
    assert_int_equal(place(lab, "h2", 4001, &why), CW_ERR_DENIED);
    assert_int_equal(pay(lab, card, 2, 4000), LEDGER_BOOKED);
    in_order(lab);
    lab_ok(ledger_hold_void(books(lab), "h1", "clara", &h, &why), &why);
    assert_string_equal(h.state, "voided");
    lab_ok(ledger_hold_void(books(lab), "h1", "clara", &h, &why), &why); /* again */
    assert_int_equal(number(lab, "SELECT CAST(sum(held) AS BIGINT) FROM account"), 0);
    assert_int_equal(pay(lab, card, 3, 6000), LEDGER_BOOKED);
    assert_int_equal(capture(lab, "h1", "c1", 1, false, "dirk", &why), CW_ERR_STATE);
    in_order(lab);
    lab_card_free(&card);
}

static void test_hold_is_captured_in_parts(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_hold h;
    lab_ok(place(lab, "h1", 6000, &why), &why);
    assert_int_equal(capture(lab, "h1", "c1", 1000, false, "clara", &why), CW_ERR_DENIED);
    for (int i = 0; i < 2; i++) /* the second is the same one */
        lab_ok(capture(lab, "h1", "c1", 1000, false, "dirk", &why), &why);
    assert_int_equal(capture(lab, "h1", "c1", 1001, false, "dirk", &why), CW_ERR_EXISTS);
    assert_int_equal(capture(lab, "h1", "c2", 5001, false, "dirk", &why), CW_ERR_DENIED);
    assert_int_equal(balance(lab, lab->payee.number), 1000);
    in_order(lab);
    lab_ok(capture(lab, "h1", "c2", 2000, true, "dirk", &why), &why);
    lab_ok(ledger_hold_get(books(lab), "h1", &h, &why), &why);
    assert_string_equal(h.state, "captured");
    assert_int_equal(h.captured, 3000);
    assert_int_equal(number(lab, "SELECT CAST(sum(held) AS BIGINT) FROM account"), 0);
    assert_int_equal(balance(lab, lab->payer.number), 7000);
    lab_ok(place(lab, "h2", 7000, &why), &why);
    lab_ok(capture(lab, "h2", "c3", 0, false, "dirk", &why), &why); /* all of it */
    lab_ok(capture(lab, "h2", "c3", 0, false, "dirk", &why), &why);
    assert_int_equal(balance(lab, lab->payee.number), 10000);
    in_order(lab);
}

static void test_hold_is_placed_once(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    for (int i = 0; i < 3; i++)
        lab_ok(place(lab, "h1", 6000, &why), &why);
    assert_int_equal(place(lab, "h1", 6001, &why), CW_ERR_EXISTS);
    assert_int_equal(place(lab, "two words", 1, &why), CW_ERR_ARG);
    assert_int_equal(place(lab, "", 1, &why), CW_ERR_ARG);
    assert_int_equal(place(lab, "h3", 0, &why), CW_ERR_ARG);
    assert_int_equal(number(lab, "SELECT count(*) FROM hold"), 1);
    assert_int_equal(number(lab, "SELECT CAST(sum(held) AS BIGINT) FROM account"), 6000);
    in_order(lab);
}

static void test_hold_runs_out(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    int64_t holds = 0, proposals = 0;
    lab_ok(place(lab, "h1", 6000, &why), &why);
    lab_ok(ledger_work_expire(books(lab), &holds, &proposals, &why), &why);
    assert_int_equal(holds, 0);
    lab->now += 3 * DAY;
    assert_int_equal(capture(lab, "h1", "c1", 1, false, "dirk", &why), CW_ERR_STATE);
    lab_ok(ledger_work_expire(books(lab), &holds, &proposals, &why), &why);
    assert_int_equal(holds, 1);
    assert_int_equal(number(lab, "SELECT CAST(sum(held) AS BIGINT) FROM account"), 0);
    in_order(lab);
}

/* ---- postings and reversals ---- */

static void test_posting_wants_two(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_proposal p;
    int64_t entry = 0;
    lab_ok(ledger_posting_propose(books(lab), lab->payer.number, "CASH-EUR", 500, "Paid out",
                                  "clara", &p, &why),
           &why);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    assert_int_equal(ledger_proposal_approve(books(lab), p.id, "clara", &entry, &why),
                     CW_ERR_DENIED);
    assert_int_equal(ledger_proposal_approve(books(lab), p.id, "", &entry, &why), CW_ERR_ARG);
    assert_int_equal(ledger_proposal_approve(books(lab), 1, "dirk", &entry, &why),
                     CW_ERR_NOT_FOUND);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    lab_ok(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), &why);
    assert_int_equal(entry, p.id + 1);
    assert_int_equal(balance(lab, lab->payer.number), 9500);
    assert_int_equal(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), CW_ERR_STATE);
    assert_int_equal(ledger_proposal_reject(books(lab), p.id, "dirk", &why), CW_ERR_STATE);
    in_order(lab);
    lab_ok(ledger_posting_propose(books(lab), lab->payer.number, lab->payee.number, 9501, "",
                                  "clara", &p, &why),
           &why);
    assert_int_equal(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why),
                     CW_ERR_DENIED); /* there is not that much */
    lab_ok(ledger_proposal_reject(books(lab), p.id, "clara", &why), &why);
    lab_ok(ledger_proposal_get(books(lab), p.id, &p, &why), &why);
    assert_string_equal(p.state, "rejected");
    in_order(lab);
}

static void test_proposal_runs_out(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_proposal p;
    int64_t entry, holds, proposals = 0;
    lab_ok(ledger_posting_propose(books(lab), "CASH-EUR", lab->payer.number, 500, "", "clara", &p,
                                  &why),
           &why);
    lab->now = p.expiry;
    assert_int_equal(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), CW_ERR_STATE);
    lab_ok(ledger_work_expire(books(lab), &holds, &proposals, &why), &why);
    assert_int_equal(proposals, 1);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    in_order(lab);
}

static enum cw_err reverse(struct bank_lab *lab, int64_t of, int64_t amount, struct say *why)
{
    struct ledger_proposal p;
    int64_t entry = 0;
    enum cw_err err = ledger_reversal_propose(books(lab), of, amount, "Mistake", "clara", &p, why);
    return err == CW_OK ? ledger_proposal_approve(books(lab), p.id, "dirk", &entry, why) : err;
}

static void test_reversal_is_bounded(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_proposal p, q;
    int64_t entry = 0, of;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    assert_int_equal(pay(lab, card, 1, 3000), LEDGER_BOOKED);
    of = number(lab, "SELECT max(id) FROM journal");
    assert_int_equal(reverse(lab, of, 3001, &why), CW_ERR_DENIED);
    assert_int_equal(reverse(lab, of + 5, 0, &why), CW_ERR_STATE);
    lab_ok(reverse(lab, of, 1000, &why), &why);
    assert_int_equal(balance(lab, lab->payer.number), 8000);
    in_order(lab);
    /* Two that are fine by themselves: the second has no room any more. */
    lab_ok(ledger_reversal_propose(books(lab), of, 0, "", "clara", &p, &why), &why);
    lab_ok(ledger_reversal_propose(books(lab), of, 1, "", "clara", &q, &why), &why);
    assert_int_equal(p.amount, 2000);
    lab_ok(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), &why);
    assert_int_equal(ledger_proposal_approve(books(lab), q.id, "dirk", &entry, &why),
                     CW_ERR_DENIED);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    assert_int_equal(reverse(lab, entry, 0, &why), CW_ERR_STATE); /* a reversal of a reversal */
    assert_int_equal(reverse(lab, of, 0, &why), CW_ERR_DENIED);
    /* What the payee has not any more stays with whom it went to. */
    assert_int_equal(pay(lab, card, 2, 3000), LEDGER_BOOKED);
    of = number(lab, "SELECT max(id) FROM journal");
    lab_ok(
        ledger_posting_propose(books(lab), lab->payee.number, "CASH-EUR", 1, "", "clara", &p, &why),
        &why);
    lab_ok(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), &why);
    assert_int_equal(reverse(lab, of, 0, &why), CW_ERR_DENIED);
    in_order(lab);
    lab_card_free(&card);
}

/* ---- books that somebody changed ---- */

static void changed(struct bank_lab *lab, const char *sql, const char *what)
{
    char drop[16384] = "", path[BANK_PATH_MAX];
    struct say why = {""};
    struct audit_result r;
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    const struct audit_options o = {0};
    assert_int_equal(bank_path(lab->dir, BANK_FILE_LEDGER, "", path, NULL), CW_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'trigger'",
                                        -1, &st, NULL),
                     SQLITE_OK);
    while (sqlite3_step(st) == SQLITE_ROW)
        snprintf(drop + strlen(drop), sizeof drop - strlen(drop), "DROP TRIGGER %s;",
                 sqlite3_column_text(st, 0));
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_exec(db, drop, NULL, NULL, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    enum cw_err err = audit_run(lab->bank, &o, &r, &why);
    if (err != CW_ERR_FORMAT || strstr(why.text, what) == NULL)
        fail_msg("%s: %s: \"%s\"", sql, cw_err_name(err), why.text);
}

static void lab_work(struct bank_lab *lab)
{
    struct say why = {""};
    struct ledger_proposal p;
    int64_t entry;
    lab_ok(place(lab, "h1", 6000, &why), &why);                        /* 2 */
    lab_ok(capture(lab, "h1", "c1", 1000, false, "dirk", &why), &why); /* 3 */
    lab_ok(ledger_posting_propose(books(lab), lab->payer.number, "CASH-EUR", 500, "", "clara", &p,
                                  &why),
           &why);                                                                  /* 4 */
    lab_ok(ledger_proposal_approve(books(lab), p.id, "dirk", &entry, &why), &why); /* 5 */
    lab_ok(reverse(lab, 5, 200, &why), &why);                                      /* 6, 7 */
    in_order(lab);
}

static void test_changes_are_found(void **state)
{
    static const struct {
        const char *sql, *what;
    } changes[] = {
        {"UPDATE admin_log SET who = 'eve' WHERE journal = 3", "entry 3: its hash does not fit"},
        {"UPDATE admin_log SET approver = 'eve' WHERE journal = 5", "entry 5: its hash"},
        {"UPDATE admin_log SET refers = 1 WHERE journal = 7", "entry 7: its hash"},
        {"UPDATE admin_log SET key = 'c2' WHERE journal = 3", "entry 3: its hash"},
        {"DELETE FROM admin_log WHERE journal = 4", "entry 4: its hash"},
        {"UPDATE hold SET amount = amount + 1", "entry 2: it is not what its hold allows"},
        {"UPDATE hold SET expiry = expiry + 1", "entry 2: it is not what its hold allows"},
        {"UPDATE hold SET captured = 999", "hold 2: what was captured"},
        {"UPDATE hold SET state = 'expired'", "hold 2: its state"},
        {"UPDATE account SET held = held - 1 WHERE held > 0", "is not the sum of its open holds"},
        {"UPDATE proposal SET amount = 501 WHERE journal = 4", "entry 5: it is not what one"},
        {"UPDATE proposal SET state = 'pending' WHERE journal = 4", "proposal 4: its state"},
        {"DELETE FROM proposal WHERE journal = 4", "entry 5: nobody proposed it"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct bank_lab *lab = lab_new();
        lab_work(lab);
        changed(lab, changes[i].sql, changes[i].what);
        lab_free(&lab);
    }
}

/* The database itself holds the rules. */
static void test_tables_defend_themselves(void **state)
{
    static const char *const attempts[] = {
        "UPDATE admin_log SET who = 'eve'",
        "DELETE FROM admin_log",
        "DELETE FROM hold",
        "UPDATE hold SET amount = 1",
        "UPDATE hold SET captured = 0",
        "DELETE FROM proposal",
        "UPDATE proposal SET state = 'pending'",
    };
    struct bank_lab *lab = *state;
    lab_work(lab);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        assert_false(lab_raw(lab->dir, attempts[i]));
    in_order(lab);
}

/* Every table, by name: one that is forgotten would be lost in a move to a database. */
static void test_transfer_takes_all(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger *to = NULL;
    char path[BANK_PATH_MAX + 16];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int tables = 0;
    lab_work(lab);
    lab_card_free(&(struct lab_card *){lab_card_new(lab, lab->ada, 1, false)});
    snprintf(path, sizeof path, "%s/copy.db", lab->dir);
    lab_ok(ledger_create(path, &ledger_clock_system, &to, &why), &why);
    lab_ok(ledger_transfer(books(lab), to, NULL, NULL, &why), &why);
    ledger_free(&to);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT name FROM sqlite_schema WHERE type = 'table' AND "
                                        "name NOT LIKE 'sqlite_%'",
                                        -1, &st, NULL),
                     SQLITE_OK);
    for (; sqlite3_step(st) == SQLITE_ROW; tables++) {
        char sql[96];
        sqlite3_stmt *count = NULL;
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", sqlite3_column_text(st, 0));
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &count, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(count), SQLITE_ROW);
        if (sqlite3_column_int64(count, 0) != number(lab, sql))
            fail_msg("%s: not all rows were taken", sql);
        sqlite3_finalize(count);
    }
    assert_true(tables >= 18);
    sqlite3_finalize(st);
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hold_cannot_be_spent), TEST(test_hold_is_captured_in_parts),
        TEST(test_hold_is_placed_once),  TEST(test_hold_runs_out),
        TEST(test_posting_wants_two),    TEST(test_proposal_runs_out),
        TEST(test_reversal_is_bounded),  TEST(test_tables_defend_themselves),
        TEST(test_transfer_takes_all),   cmocka_unit_test(test_changes_are_found),
    };
    /* The last one changes SQLite's file. */
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests - (lab_on_sqlite() ? 0 : 1));
}
