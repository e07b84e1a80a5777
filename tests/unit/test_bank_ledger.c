/* test_bank_ledger.c - the books: what is booked, what is refused, and that a refusal changes
 * nothing. */
#include "tests/unit/bank_lab.h"

static const uint8_t no_binding[ORDER_BINDING_LEN];

/* ---- account numbers ---- */

static void test_account_number(void **state)
{
    char number[ACCOUNT_NUMBER_LEN + 1];
    (void)state;
    account_number_make(123456789012u, number);
    assert_int_equal(account_number_check(number), CW_OK);
    /* ISO 13616-1 §6 by hand: 123456789012 3535 00 mod 97 */
    assert_int_equal(strncmp(number, "ZZ", 2), 0);
    for (unsigned i = 2; i < ACCOUNT_NUMBER_LEN; i++) {
        char wrong[ACCOUNT_NUMBER_LEN + 1];
        strcpy(wrong, number);
        wrong[i] = (char)('0' + (wrong[i] - '0' + 1) % 10);
        assert_int_equal(account_number_check(wrong), CW_ERR_FORMAT);
        if (i + 1 < ACCOUNT_NUMBER_LEN && number[i] != number[i + 1]) {
            strcpy(wrong, number);
            wrong[i] = number[i + 1];
            wrong[i + 1] = number[i];
            assert_int_equal(account_number_check(wrong), CW_ERR_FORMAT);
        }
    }
    assert_int_equal(account_number_check("ZZ"), CW_ERR_LENGTH);
    assert_int_equal(account_number_check("GB82WEST12345698"), CW_ERR_FORMAT);
}

/* ---- helpers ---- */

static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    char text[64];
    (void)o;
    if (ctx != NULL)
        return NULL; /* as when memory runs out */
    snprintf(text, sizeof text, "{\"id\":%lld}", (long long)b->id);
    return strdup(text);
}

static struct ledger_order make_order(struct lab_card *card, const struct order_fields *f,
                                      const struct lab_signed *s)
{
    struct ledger_order o = lab_signed_order(card, f, s);
    SHA256(s->text, s->text_len, o.request);
    return o;
}

static enum ledger_verdict book(struct bank_lab *lab, struct lab_card *card,
                                const struct order_fields *f)
{
    struct say why = {""};
    enum ledger_verdict verdict = 0;
    const struct lab_signed s = lab_sign(card, f, no_binding);
    const struct ledger_order o = make_order(card, f, &s);
    lab_ok(ledger_payment_book(lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), &why);
    return verdict;
}

static int64_t balance(struct bank_lab *lab, const char *number)
{
    struct say why = {""};
    struct ledger_account a;
    lab_ok(ledger_account_get(lab->bank->ledger, number, &a, &why), &why);
    return a.balance;
}

static void assert_sound(struct bank_lab *lab, int64_t entries, int64_t payments)
{
    struct say why = {""};
    struct ledger_totals t;
    lab_ok(ledger_totals_get(lab->bank->ledger, &t, &why), &why);
    assert_int_equal(t.unbalanced, 0);
    assert_int_equal(t.wrong_balance, 0);
    assert_int_equal(t.currencies_off, 0);
    assert_int_equal(t.entries, entries);
    assert_int_equal(t.payments, payments);
}

/* ---- deposits, payments ---- */

static void test_deposit_is_double_entry(void **state)
{
    struct bank_lab *lab = *state;
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    assert_int_equal(balance(lab, "CASH-EUR"), -10000);
    assert_sound(lab, 1, 0);
}

static void test_payment(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    size_t count = 0;
    struct ledger_transaction t[2];
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 2550);
    assert_int_equal(book(lab, card, &f), LEDGER_BOOKED);
    assert_int_equal(balance(lab, lab->payer.number), 7450);
    assert_int_equal(balance(lab, lab->payee.number), 2550);
    assert_sound(lab, 2, 1);
    lab_ok(ledger_transactions_get(lab->bank->ledger, lab->payer.row, &ledger_filter_all,
                                   LEDGER_NEWEST_FIRST, &LEDGER_LAST, 2, t, &count, &why),
           &why);
    assert_int_equal(count, 2);
    assert_int_equal(t[0].amount, -2550);
    assert_int_equal(t[0].balance, 7450);
    assert_string_equal(t[0].other_name, "Bob Bäcker");
    assert_string_equal(t[0].reference, "Invoice 7");
    assert_true(t[0].has_order);
    assert_memory_equal(t[0].order, f.id, sizeof f.id);
    assert_false(t[1].has_order);
    assert_string_equal(t[1].other_name, "Test Bank");
    lab_card_free(&card);
}

static void test_repeat_and_conflict(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    enum ledger_verdict verdict = 0;
    struct ledger_payment *p = NULL;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100), g = lab_order(lab, 1, 200);
    const struct lab_signed s = lab_sign(card, &f, no_binding);
    const struct ledger_order o = make_order(card, &f, &s);
    for (int i = 0; i < 3; i++) {
        lab_ok(ledger_payment_book(lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), &why);
        assert_int_equal(verdict, i == 0 ? LEDGER_BOOKED : LEDGER_REPEATED);
    }
    assert_int_equal(book(lab, card, &g), LEDGER_CONFLICT);
    assert_int_equal(balance(lab, lab->payee.number), 100);
    assert_sound(lab, 2, 1);
    lab_ok(ledger_payment_find(lab->bank->ledger, f.id, &p, &why), &why);
    assert_int_equal(p->text_len, s.text_len);
    assert_memory_equal(p->text, s.text, s.text_len);
    assert_int_equal(p->customer, lab->ada);
    ledger_payment_free(&p);
    lab_card_free(&card);
}

static void test_refusals_change_nothing(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_account dollars;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    struct lab_card *bobs = lab_card_new(lab, lab->bob, 2, false);
    lab_ok(ledger_account_open(lab->bank->ledger, lab->bob, "USD", 0, &dollars, &why), &why);
    struct order_fields f = lab_order(lab, 1, 10001);
    assert_int_equal(book(lab, card, &f), LEDGER_FUNDS);
    f.amount = 10000;
    assert_int_equal(book(lab, bobs, &f), LEDGER_ACCOUNT_UNKNOWN);
    strcpy(f.payee_name, "Mallory");
    assert_int_equal(book(lab, card, &f), LEDGER_PAYEE_NAME);
    strcpy(f.payee_name, lab->payee.name);
    strcpy(f.payee, dollars.number);
    assert_int_equal(book(lab, card, &f), LEDGER_CURRENCY);
    account_number_make(7, f.payee);
    assert_int_equal(book(lab, card, &f), LEDGER_PAYEE_UNKNOWN);
    strcpy(f.payee, lab->payer.number);
    assert_int_equal(book(lab, card, &f), LEDGER_SAME_ACCOUNT);
    strcpy(f.payee, lab->payee.number);
    lab_ok(ledger_card_block(lab->bank->ledger, card->serial, true, &why), &why);
    assert_int_equal(book(lab, card, &f), LEDGER_CARD_NOT_ACTIVE);
    lab_ok(ledger_card_block(lab->bank->ledger, card->serial, false, &why), &why);
    assert_sound(lab, 1, 0);
    assert_int_equal(book(lab, card, &f), LEDGER_BOOKED); /* to the last cent */
    assert_int_equal(balance(lab, lab->payer.number), 0);
    lab_card_free(&card);
    lab_card_free(&bobs);
}

static void test_counter_is_used_once(void **state)
{
    struct bank_lab *lab = *state;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    struct order_fields f = lab_order(lab, 1, 1);
    assert_int_equal(book(lab, card, &f), LEDGER_BOOKED);
    card->counter--;
    f.id[0] = 2;
    assert_int_equal(book(lab, card, &f), LEDGER_COUNTER_USED);
    assert_int_equal(book(lab, card, &f), LEDGER_BOOKED);
    assert_sound(lab, 3, 2);
    lab_card_free(&card);
}

/* The booking is all or nothing: here its last step fails after the balances were moved. */
static void test_rollback(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    enum ledger_verdict verdict = 0;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100);
    const struct lab_signed s = lab_sign(card, &f, no_binding);
    struct ledger_order o = make_order(card, &f, &s);
    assert_int_equal(
        ledger_payment_book(lab->bank->ledger, &o, make_reply, &verdict, &verdict, &why),
        CW_ERR_SPACE);
    assert_int_equal(verdict, 0);
    o.certificate[0] ^= 1; /* a certificate that the ledger does not know */
    assert_int_not_equal(
        ledger_payment_book(lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), CW_OK);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
    assert_sound(lab, 1, 0);
    assert_int_equal(book(lab, card, &f), LEDGER_BOOKED);
    lab_card_free(&card);
}

/* ---- the file ---- */

static void test_newer_schema_is_refused(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct bank *bank = NULL;
    assert_true(lab_raw(lab->dir, lab_on_sqlite() ? "PRAGMA user_version = 99"
                                                  : "UPDATE writing SET schema = 99"));
    assert_int_equal(bank_open(lab->dir, &ledger_clock_system, &bank, &why), CW_ERR_NEWER);
    assert_non_null(strstr(why.text, "newer"));
    assert_null(bank);
}

/* The database itself holds the rules, against whoever opens the file with other tools. */
static void test_store_defends_itself(void **state)
{
    struct bank_lab *lab = *state;
    static const char *const attempts[] = {
        "UPDATE account SET balance = -1 WHERE customer IS NOT NULL",
        "UPDATE posting SET amount = 5",
        "DELETE FROM posting",
        "DELETE FROM journal",
        "UPDATE journal SET time = 0",
        "INSERT INTO account (id, number, customer, currency, since) VALUES (99, 'X', 1, 'EUR', "
        "'then')",
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        assert_false(lab_raw(lab->dir, attempts[i]));
    assert_sound(lab, 1, 0);
}

static void test_report_finds_a_fault(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_totals t;
    assert_true(lab_raw(lab->dir, "UPDATE account SET balance = balance + 1 WHERE id = 1"));
    lab_ok(ledger_totals_get(lab->bank->ledger, &t, &why), &why);
    assert_int_equal(t.wrong_balance, 1);
    assert_int_equal(t.currencies_off, 1);
}

static void test_locked_ledger(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    int64_t id = 0;
    struct ledger *other = lab_other(lab->dir);
    lab_ok(db_begin(other, &why), &why);
    assert_int_equal(ledger_customer_add(lab->bank->ledger, "Eve", &id, &why), CW_ERR_BUSY);
    assert_non_null(strstr(why.text, "locked"));
    assert_int_equal(id, 0);
    lab_ok(db_end(other, CW_OK, &why), &why);
    ledger_free(&other);
}

static void test_existing_bank_is_kept(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    static const char *const hosts[] = {"other.test"};
    const struct bank_options options = {
        .name = "Other", .hosts = hosts, .host_count = 1, .server_days = 1};
    assert_int_equal(bank_init(lab->dir, &options, &ledger_clock_system, &why), CW_ERR_EXISTS);
    assert_int_equal(balance(lab, lab->payer.number), 10000);
}

/* ---- cards ---- */

static void test_card_states(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_card c;
    struct ledger *l = lab->bank->ledger;
    const uint8_t serial[ORDER_SERIAL_LEN] = {9};
    lab_ok(ledger_card_begin(l, serial, lab->ada, NULL, 0, NULL, &why), &why);
    lab_ok(ledger_card_get(l, serial, &c, &why), &why);
    assert_int_equal(c.status, LEDGER_CARD_ISSUING);
    assert_int_equal(ledger_card_block(l, serial, true, &why), CW_ERR_STATE);
    assert_int_equal(ledger_card_block(l, serial, false, &why), CW_ERR_STATE);
    lab_ok(ledger_card_begin(l, serial, lab->bob, NULL, 0, NULL, &why), &why); /* starts anew */
    lab_ok(ledger_card_activate(l, serial, &why), &why);
    assert_int_equal(ledger_card_activate(l, serial, &why), CW_ERR_STATE);
    assert_int_equal(ledger_card_begin(l, serial, lab->ada, NULL, 0, NULL, &why), CW_ERR_EXISTS);
    lab_ok(ledger_card_block(l, serial, true, &why), &why);
    lab_ok(ledger_card_get(l, serial, &c, &why), &why);
    assert_int_equal(c.status, LEDGER_CARD_BLOCKED);
    assert_int_equal(c.customer, lab->bob);
    const uint8_t other[ORDER_SERIAL_LEN] = {8};
    assert_int_equal(ledger_card_block(l, other, true, &why), CW_ERR_NOT_FOUND);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_account_number),
        TEST(test_deposit_is_double_entry),
        TEST(test_payment),
        TEST(test_repeat_and_conflict),
        TEST(test_refusals_change_nothing),
        TEST(test_counter_is_used_once),
        TEST(test_rollback),
        TEST(test_newer_schema_is_refused),
        TEST(test_store_defends_itself),
        TEST(test_report_finds_a_fault),
        TEST(test_locked_ledger),
        TEST(test_existing_bank_is_kept),
        TEST(test_card_states),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
