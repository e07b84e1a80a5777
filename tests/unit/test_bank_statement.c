/* test_bank_statement.c - what the ledger tells of the past: transactions in pages and by filters,
 * balances at a time, statements; requests for payees, and events. On every store. */
#include "tests/unit/bank_lab.h"

#include "bank/statement.h"

static const uint8_t no_binding[ORDER_BINDING_LEN] = {0};

static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    (void)ctx, (void)o, (void)b;
    return strdup("{}");
}

static void pay(struct bank_lab *lab, struct lab_card *card, uint8_t id, int64_t amount,
                const char *reference)
{
    struct say why = {""};
    enum ledger_verdict verdict = 0;
    struct order_fields f = lab_order(lab, id, amount);
    snprintf(f.reference, sizeof f.reference, "%s", reference);
    const struct lab_signed s = lab_sign(card, &f, no_binding);
    struct ledger_order o = {.fields = f,
                             .seal = s.seal,
                             .text = s.text,
                             .text_len = s.text_len,
                             .signature = s.signature,
                             .signature_len = s.signature_len};
    unsigned len = 0;
    assert_int_equal(X509_digest(card->order_cert, EVP_sha256(), o.certificate, &len), 1);
    o.request[0] = id;
    lab_ok(ledger_payment_book(lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), &why);
    assert_int_equal(verdict, LEDGER_BOOKED);
}

/* Ada pays Bob 1, 2, ... 5, a second apart. */
static struct lab_card *five_payments(struct bank_lab *lab)
{
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    for (uint8_t i = 1; i <= 5; i++) {
        lab->now++;
        pay(lab, card, i, i, i % 2 ? "odd 100%_" : "even");
    }
    return card;
}

static size_t find(struct bank_lab *lab, const struct ledger_filter *f, enum ledger_sort sort,
                   const struct ledger_place *past, struct ledger_transaction *out)
{
    struct say why = {""};
    size_t count = 0;
    lab_ok(ledger_transactions_get(lab->bank->ledger, lab->payer.row, f, sort, past, 10, out,
                                   &count, &why),
           &why);
    return count;
}

static void test_pages(void **state)
{
    struct bank_lab *lab = *state;
    struct ledger_transaction t[10];
    struct lab_card *card = five_payments(lab);
    assert_int_equal(find(lab, &ledger_filter_all, LEDGER_NEWEST_FIRST, &LEDGER_LAST, t), 6);
    assert_true(t[0].amount == -5 && t[4].amount == -1 && t[5].amount == 10000);
    assert_string_equal(t[0].kind, "payment");
    assert_string_equal(t[5].kind, "deposit");
    const struct ledger_place third = t[2].place;
    assert_int_equal(find(lab, &ledger_filter_all, LEDGER_NEWEST_FIRST, &third, t), 3);
    assert_int_equal(t[0].amount, -2);
    pay(lab, card, 6, 6, "meanwhile");
    assert_int_equal(find(lab, &ledger_filter_all, LEDGER_NEWEST_FIRST, &third, t), 3);
    assert_int_equal(find(lab, &ledger_filter_all, LEDGER_OLDEST_FIRST, &LEDGER_FIRST, t), 7);
    assert_true(t[0].amount == 10000 && t[1].amount == -1 && t[6].amount == -6);
    assert_int_equal(find(lab, &ledger_filter_all, LEDGER_OLDEST_FIRST, &third, t), 3);
    assert_int_equal(t[0].amount, -4);
    lab_card_free(&card);
}

static size_t count_of(struct bank_lab *lab, const struct ledger_filter *f)
{
    struct ledger_transaction t[10];
    return find(lab, f, LEDGER_NEWEST_FIRST, &LEDGER_LAST, t);
}

static void test_filters(void **state)
{
    struct bank_lab *lab = *state;
    struct lab_card *card = five_payments(lab);
    struct ledger_filter f = ledger_filter_all;
    f.least = 2;
    f.most = 4;
    assert_int_equal(count_of(lab, &f), 3);
    f = ledger_filter_all;
    f.direction = 1;
    assert_int_equal(count_of(lab, &f), 1);
    f.direction = -1;
    assert_int_equal(count_of(lab, &f), 5);
    f.from = lab->now - 2;
    assert_int_equal(count_of(lab, &f), 3);
    f.to = lab->now;
    assert_int_equal(count_of(lab, &f), 2);
    f = ledger_filter_all;
    strcpy(f.reference, "100%_");
    assert_int_equal(count_of(lab, &f), 3);
    strcpy(f.reference, "EVEN");
    assert_int_equal(count_of(lab, &f), 0);
    f = ledger_filter_all;
    strcpy(f.other, lab->payee.number);
    assert_int_equal(count_of(lab, &f), 5);
    strcpy(f.other, "CASH-EUR");
    assert_int_equal(count_of(lab, &f), 1);
    lab_card_free(&card);
}

static void test_statement(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct statement *s = NULL;
    struct lab_card *card = five_payments(lab);
    int64_t held = 0;
    lab_ok(ledger_balance_at(lab->bank->ledger, lab->payer.row, lab->now - 1, &held, &why), &why);
    assert_int_equal(held, 10000 - 1 - 2 - 3);
    lab_ok(statement_new(lab->bank->ledger, &lab->payer, lab->now - 1, lab->now + 1, &s, &why),
           &why);
    assert_int_equal(s->count, 2);
    assert_true(s->opening == 9994 && s->closing == 9985 && s->in == 0 && s->out == 9);
    assert_true(s->list[0].amount == -4 && s->list[1].amount == -5);
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(statement_csv(s, &text, &len), CW_OK);
    assert_non_null(strstr(text, ",payment,out,0.05,EUR,99.85,"));
    assert_memory_equal(text + len - 2, "\r\n", 2);
    free(text);
    assert_int_equal(statement_camt(s, &text, &len), CW_OK);
    assert_non_null(memmem(text, len, "<Amt Ccy=\"EUR\">99.85</Amt>", 26));
    assert_memory_equal(text + len - 12, "</Document>\n", 12);
    free(text);
    statement_free(&s);
    lab_card_free(&card);
}

static void test_whole_customer(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger *l = lab->bank->ledger;
    struct ledger_account second;
    struct ledger_transaction t[10];
    struct ledger_own own[10];
    size_t count = 0;
    lab_ok(ledger_account_open(l, lab->ada, "USD", 700, &second, &why), &why);
    struct lab_card *card = five_payments(lab);
    lab_ok(ledger_customer_transactions_get(l, lab->ada, &LEDGER_FIRST, 10, t, own, &count, &why),
           &why);
    assert_int_equal(count, 7);
    assert_string_equal(own[0].account, lab->payer.number);
    assert_string_equal(own[1].account, second.number);
    assert_string_equal(own[1].currency, "USD");
    lab_ok(ledger_customer_transactions_get(l, lab->ada, &t[1].place, 3, t, own, &count, &why),
           &why);
    assert_int_equal(count, 3);
    assert_int_equal(t[0].amount, -1);
    lab_card_free(&card);
}

static void assert_events(struct bank_lab *lab, int64_t after, const enum ledger_event_kind *kinds,
                          size_t n)
{
    struct say why = {""};
    struct ledger_event e[10];
    size_t count = 0;
    lab_ok(ledger_events_get(lab->bank->ledger, lab->ada, after, 10, e, &count, &why), &why);
    assert_int_equal(count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(e[i].kind, kinds[i]);
        assert_true(i == 0 || e[i].id > e[i - 1].id);
    }
}

static void test_requests(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger *l = lab->bank->ledger;
    struct ledger_payee_request r, again, list[4];
    struct policy_payee payee = {.name = "Bob Bäcker"};
    size_t count = 0;
    bool fresh = false;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    strcpy(payee.account, lab->payee.number);
    assert_int_equal(ledger_payee_request_add(l, card->serial, true, &payee, &r, &fresh, &why),
                     CW_ERR_NOT_FOUND);
    lab_ok(ledger_payee_request_add(l, card->serial, false, &payee, &r, &fresh, &why), &why);
    assert_true(fresh && r.status == LEDGER_REQUEST_OPEN && !r.remove && r.decided == 0);
    lab_ok(ledger_payee_request_add(l, card->serial, false, &payee, &again, &fresh, &why), &why);
    assert_true(!fresh && again.id == r.id);
    assert_int_equal(ledger_payee_request_refuse(l, r.id, "", &why), CW_ERR_FORMAT);
    lab_ok(ledger_payee_request_refuse(l, r.id, "nobody answered", &why), &why);
    assert_int_equal(ledger_payee_request_refuse(l, r.id, "again", &why), CW_ERR_STATE);
    assert_int_equal(ledger_payee_request_confirm(l, r.id, "again", &why), CW_ERR_STATE);
    assert_int_equal(ledger_payee_request_confirm(l, 99, "x", &why), CW_ERR_NOT_FOUND);
    lab_ok(ledger_payee_request_add(l, card->serial, false, &payee, &again, &fresh, &why), &why);
    assert_true(fresh && again.id > r.id);
    lab_ok(ledger_payee_request_confirm(l, again.id, "telephone", &why), &why);
    lab_ok(ledger_payee_requests_get(l, card->serial, INT64_MAX, 4, list, &count, &why), &why);
    assert_int_equal(count, 2);
    assert_true(list[0].id == again.id && list[0].status == LEDGER_REQUEST_CONFIRMED);
    assert_true(list[1].status == LEDGER_REQUEST_REFUSED && list[1].decided == lab->now);
    assert_string_equal(list[1].words, "nobody answered");
    lab_ok(ledger_payee_requests_get(l, card->serial, again.id, 4, list, &count, &why), &why);
    assert_int_equal(count, 1);
    static const enum ledger_event_kind kinds[] = {
        LEDGER_EVENT_PAYEE_ASKED, LEDGER_EVENT_PAYEE_REFUSED, LEDGER_EVENT_PAYEE_ASKED};
    assert_events(lab, 0, kinds, 3);
    lab_card_free(&card);
}

static void test_events(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger *l = lab->bank->ledger;
    struct policy_payee payee = {.name = "Bob Bäcker"};
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    struct lab_card *bobs = lab_card_new(lab, lab->bob, 2, false);
    strcpy(payee.account, lab->payee.number);
    for (int i = 0; i < 2; i++)
        lab_ok(ledger_card_block(l, card->serial, true, &why), &why);
    lab_ok(ledger_card_block(l, bobs->serial, true, &why), &why);
    lab_ok(ledger_card_block(l, card->serial, false, &why), &why);
    lab_ok(ledger_payee_add(l, card->serial, &payee, "test", &why), &why);
    lab_ok(ledger_payee_remove(l, card->serial, payee.account, &why), &why);
    assert_int_equal(ledger_payee_remove(l, card->serial, payee.account, &why), CW_ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++)
        lab_ok(ledger_card_terminate(l, card->serial, &why), &why);
    static const enum ledger_event_kind kinds[] = {
        LEDGER_EVENT_CARD_BLOCKED, LEDGER_EVENT_CARD_UNBLOCKED, LEDGER_EVENT_PAYEE_ADDED,
        LEDGER_EVENT_PAYEE_REMOVED, LEDGER_EVENT_CARD_TERMINATED};
    assert_events(lab, 0, kinds, 5);
    assert_events(lab, 1, kinds + 1, 4);
    lab_card_free(&card);
    lab_card_free(&bobs);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pages),          TEST(test_filters),  TEST(test_statement),
        TEST(test_whole_customer), TEST(test_requests), TEST(test_events),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
