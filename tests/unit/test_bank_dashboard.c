/* test_bank_dashboard.c - the pages of the dashboard: what is on them, what may never be, and what
 * they say when the books are wrong. */
#include "tests/unit/bank_lab.h"

#include "bank/dashboard_page.h"
#include "bank/journal.h"
#include "receipt/entry.h"

#include <sqlite3.h>

#define EVIL_NAME      "<script>alert('name')</script>"
#define EVIL_REFERENCE "\"><img src=x onerror=alert(1)> & \x27quoted\x27"
#define PAYMENTS       3

struct fixture {
    struct bank_lab *lab;
    struct lab_card *cards[2]; /* P-256, RSA-2048 */
    struct dashboard *dashboard;
    struct ledger_account evil; /* whose holder has the name above */
    struct api_reply reply;
    char page[400000];
};

static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    (void)ctx, (void)o, (void)b;
    return strdup("{}");
}

static void pay(struct fixture *f, unsigned n)
{
    static const uint8_t binding[ORDER_BINDING_LEN];
    struct say why = {""};
    enum ledger_verdict verdict;
    struct lab_card *card = f->cards[n % 2];
    struct order_fields fields = lab_order(f->lab, (uint8_t)n, 100 + (int64_t)n);
    strcpy(fields.payee, f->evil.number);
    strcpy(fields.payee_name, EVIL_NAME);
    strcpy(fields.reference, EVIL_REFERENCE);
    const struct lab_signed s = lab_sign(card, &fields, binding);
    struct ledger_order o = lab_signed_order(card, &fields, &s);
    entry_request_hash(s.text, s.text_len, s.signature, s.signature_len, o.request);
    lab_ok(ledger_payment_book(f->lab->bank->ledger, &o, make_reply, NULL, &verdict, &why), &why);
    assert_int_equal(verdict, LEDGER_BOOKED);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct say why = {""};
    int64_t customer;
    assert_non_null(f);
    f->lab = lab_new();
    struct ledger *l = f->lab->bank->ledger;
    f->cards[0] = lab_card_new(f->lab, f->lab->ada, 1, false);
    f->cards[1] = lab_card_new(f->lab, f->lab->ada, 2, true);
    lab_ok(ledger_customer_add(l, EVIL_NAME, &customer, &why), &why);
    lab_ok(ledger_account_open(l, customer, "EUR", 0, &f->evil, &why), &why);
    struct policy_payee payee = {.name = EVIL_NAME};
    strcpy(payee.account, f->evil.number);
    lab_ok(ledger_payee_add(l, f->cards[0]->serial, &payee, EVIL_REFERENCE, &why), &why);
    lab_ok(ledger_update_add(l, f->cards[0]->serial, 1, (const uint8_t *)"x", 1, &why), &why);
    for (unsigned n = 1; n <= PAYMENTS; n++)
        pay(f, n);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dashboard_free(&f->dashboard);
    lab_card_free(&f->cards[0]);
    lab_card_free(&f->cards[1]);
    lab_free(&f->lab);
    free(f);
    return 0;
}

/* The page of `target`, as text, in f->page. The first makes the dashboard. */
static int get(struct fixture *f, const char *target)
{
    struct say why = {""};
    if (f->dashboard == NULL)
        lab_ok(dashboard_new(f->lab->bank, &f->dashboard, &why), &why);
    assert_int_equal(dashboard_serve(f->dashboard, target, &f->reply), CW_OK);
    assert_true(f->reply.body_len < sizeof f->page);
    assert_null(memchr(f->reply.body, '\0', f->reply.body_len));
    memcpy(f->page, f->reply.body, f->reply.body_len);
    f->page[f->reply.body_len] = '\0';
    int status = f->reply.status;
    api_reply_clear(&f->reply);
    return status;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static void has(const struct fixture *f, const char *what)
{
    if (strstr(f->page, what) == NULL)
        fail_msg("the page has no '%s': %s", what, f->page);
}

static void has_not(const struct fixture *f, const char *what)
{
    if (strstr(f->page, what) != NULL)
        fail_msg("the page has '%s': %s", what, f->page);
}

static const char *hex_path(const char *folder, const uint8_t *data, size_t len, char out[100])
{
    snprintf(out, 100, "%s%s", folder, text_hex(data, len).s);
    return out;
}

/* The first byte of the order of payment `n`, as lab_order makes it. */
static const char *order_path(unsigned n, char out[100])
{
    uint8_t id[ORDER_ID_LEN];
    memset(id, 0x11, sizeof id);
    id[0] = (uint8_t)n;
    return hex_path("/payments/", id, sizeof id, out);
}

/* What is about a file of SQLite that somebody else writes. */
static void wants_file(void)
{
    if (getenv("CARDWIRE_TEST_STORE") != NULL)
        skip();
}

/* As somebody who can write the file. */
static void tamper(struct fixture *f, const char *sql)
{
    char path[BANK_PATH_MAX], *message = NULL;
    sqlite3 *db = NULL;
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", path, NULL), CW_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    sqlite3_close(db);
}

/* ---- every page ---- */

static void test_hostile_texts_are_text(void **state)
{
    struct fixture *f = *state;
    char account[100], order[100], card[100];
    snprintf(account, sizeof account, "/accounts/%s", f->evil.number);
    const char *const pages[] = {
        "/",
        "/payments",
        "/payments/new",
        order_path(1, order),
        "/entries/2",
        "/accounts",
        "/accounts?q=%3Cscript%3Ealert",
        "/cards?q=%22%3E%3Cscript%3E%27",
        account,
        "/cards",
        hex_path("/cards/", f->cards[0]->serial, ORDER_SERIAL_LEN, card),
        "/customers",
        "/customers/3",
        "/no%3Cscript%3E",
        "/<script>alert(1)</script>",
    };
    size_t shown = 0;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        (void)get(f, pages[i]);
        has_not(f, "<script>");
        has_not(f, "<img");
        has_not(f, "'quoted'");
        shown += count(f->page, "&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;") > 0;
    }
    assert_int_equal(shown, 11);
    get(f, "/payments");
    has(f, "&quot;&gt;&lt;img src=x onerror=alert(1)&gt; &amp; &#39;quoted&#39;");
    get(f, "/cards?q=%22%3E%3Cscript%3E%27");
    has(f, "value='&quot;&gt;&lt;script&gt;&#39;'");
}

static void test_frame(void **state)
{
    struct fixture *f = *state;
    static const char *const pages[] = {"/",          "/payments",  "/accounts", "/cards",
                                        "/customers", "/entries/1", "/nothing"};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        (void)get(f, pages[i]);
        assert_memory_equal(f->page, "<!doctype html>\n<html lang='en'>", 32);
        has(f, " - Test Bank</title>");
        assert_int_equal(count(f->page, "<h1>"), 1);
        assert_int_equal(count(f->page, "<main "), 1);
        assert_int_equal(count(f->page, "<table>"), count(f->page, "</table>"));
        assert_int_equal(count(f->page, "<table>"), count(f->page, "<caption>"));
        assert_int_equal(count(f->page, "<script"), 1); /* ours, by its address */
        has_not(f, " style=");
        has_not(f, "javascript:");
        if (i > 0 && i < 5)
            assert_int_equal(count(f->page, "aria-current='page'"), 1);
    }
}

static void test_headers(void **state)
{
    (void)state;
    const char *policy = NULL;
    bool no_sniff = false, no_referrer = false;
    for (const struct dashboard_header *h = dashboard_headers; h->name != NULL; h++) {
        if (strcmp(h->name, "Content-Security-Policy") == 0)
            policy = h->value;
        no_sniff |=
            strcmp(h->name, "X-Content-Type-Options") == 0 && strcmp(h->value, "nosniff") == 0;
        no_referrer |=
            strcmp(h->name, "Referrer-Policy") == 0 && strcmp(h->value, "no-referrer") == 0;
    }
    assert_true(no_sniff && no_referrer);
    assert_non_null(policy);
    assert_non_null(strstr(policy, "default-src 'none'"));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));
    assert_null(strstr(policy, "unsafe"));
    assert_null(strchr(policy, '*'));
}

static void test_files(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/style.css"), 200);
    has(f, "prefers-color-scheme: dark");
    assert_int_equal(get(f, "/live.js?x=1"), 200);
    has(f, "\"use strict\"");
    has_not(f, "eval(");
    assert_int_equal(get(f, "/icon.svg"), 200);
    assert_int_equal(get(f, "/style.cs"), 404);
}

static void test_not_there(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *target;
        int status;
    } cases[] = {
        {"", 404},
        {"/x", 404},
        {"/accounts/", 404},
        {"/accounts/ZZ001234567890", 404},
        {"/accounts/../../etc/passwd", 404},
        {"/payments/0", 404},
        {"/payments/00112233445566778899aabbccddeeff", 404},
        {"/entries/99", 404},
        {"/entries/0", 404},
        {"/entries/-1", 404},
        {"/entries/9223372036854775808", 404},
        {"/cards/00", 404},
        {"/cards/0011223344556677", 404},
        {"/customers/99", 404},
        {"/customers/1x", 404},
        {"/accounts?q=%FF", 400},
        {"/accounts?q=%E2%80%AE", 400}, /* turns the direction of what follows */
        {"/accounts?q=a%0Ab", 400},
        {"/accounts?q=0123456789012345678901234567890123456789012345678901234567890123456789x",
         400},
        {"/accounts?after=x", 400},
        {"/accounts?after=-1", 400},
        {"/accounts?after=9999999999999999999", 400},
        {"/accounts?=", 400},
        {"/payments?q=xyz", 400},
        {"/payments?before=", 400},
        {"/cards?status=gone", 400},
        {"/cards?after=12", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = get(f, cases[i].target);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].target, status);
        has(f, "<h1>");
    }
}

static void test_nothing_is_written(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    int64_t id;
    get(f, "/");
    assert_int_not_equal(ledger_customer_add(f->lab->bank->ledger, "Eve", &id, &why), CW_OK);
    assert_int_not_equal(ledger_card_block(f->lab->bank->ledger, f->cards[0]->serial, true, &why),
                         CW_OK);
}

/* The sentence for the log names files; the page does not. */
static void test_books_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    wants_file();
    assert_int_equal(get(f, "/payments"), 200);
    tamper(f, "ALTER TABLE payment RENAME TO gone");
    assert_int_equal(get(f, "/payments"), 503);
    has(f, "cannot be read now");
    has_not(f, f->lab->dir);
    assert_int_equal(count(f->page, "<html"), 1);
}

/* ---- lists ---- */

static void test_pages_of_accounts(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    char target[100] = "/accounts";
    size_t rows = 0, pages = 0;
    for (unsigned i = 0; i < 2 * PAGE_ROWS; i++) {
        struct ledger_account a;
        lab_ok(ledger_account_open(f->lab->bank->ledger, f->lab->bob, "USD", 0, &a, &why), &why);
    }
    for (const char *next = target; next != NULL; pages++) {
        assert_int_equal(get(f, target), 200);
        rows += count(f->page, "<tr><td>");
        next = strstr(f->page, "rel='next' href='?");
        if (next != NULL)
            snprintf(target, sizeof target, "/accounts%.*s", (int)strcspn(next + 17, "'"),
                     next + 17);
    }
    assert_int_equal(pages, 3);
    assert_int_equal(rows, 2 * PAGE_ROWS + 4); /* Ada's, Bob's, cash, and the hostile one's */
}

static size_t found(struct fixture *f, const char *target)
{
    assert_int_equal(get(f, target), 200);
    return count(f->page, "<tr><td");
}

static void test_search(void **state)
{
    struct fixture *f = *state;
    char target[100];
    assert_int_equal(found(f, "/accounts?q=lovelace"), 1);
    has(f, f->lab->payer.number);
    assert_int_equal(found(f, "/accounts?q=B%C3%A4CK"), 1); /* other letters in their case */
    assert_int_equal(found(f, "/accounts?q=2"), 1);         /* the customer */
    snprintf(target, sizeof target, "/accounts?q=%.10s", f->lab->payer.number);
    assert_int_equal(found(f, target), 1);
    snprintf(target, sizeof target, "/accounts?q=%s", f->lab->payer.number + 4);
    assert_int_equal(found(f, target), 0); /* only how it begins */
    has(f, "No accounts.");
    /* Nothing is a wildcard, nor the end of a text. */
    assert_int_equal(found(f, "/accounts?q=%25"), 0);
    assert_int_equal(found(f, "/accounts?q=_"), 0);
    assert_int_equal(found(f, "/accounts?q=!"), 0);
    assert_int_equal(found(f, "/customers?q=%27%20OR%201%3D1%20--"), 0);
    assert_int_equal(found(f, "/customers?q=ada"), 1);
    assert_int_equal(found(f, "/customers"), 3);
    assert_int_equal(found(f, "/cards"), 2);
    assert_int_equal(found(f, "/cards?q=ada"), 2);
    assert_int_equal(found(f, "/cards?q=1"), 2);
    assert_int_equal(found(f, "/cards?q=Bob"), 0);
    snprintf(target, sizeof target, "/cards?q=%s",
             text_hex(f->cards[1]->serial, ORDER_SERIAL_LEN).s);
    assert_int_equal(found(f, target), 1);
    assert_int_equal(found(f, "/cards?status=active"), 2);
    has(f, "<option selected>active</option>");
    assert_int_equal(found(f, "/cards?status=blocked&q="), 0);
    snprintf(target, sizeof target, "/cards?after=%s",
             text_hex(f->cards[0]->serial, ORDER_SERIAL_LEN).s);
    assert_int_equal(found(f, target), 1);
}

static void test_payments(void **state)
{
    struct fixture *f = *state;
    char target[100];
    const char *order = order_path(2, target) + strlen("/payments/");
    char search[120];
    snprintf(search, sizeof search, "/payments?q=%s", order);
    get(f, "/payments");
    assert_int_equal(count(f->page, "<tr data-entry="), PAYMENTS);
    has(f, "data-live='/payments/new'");
    assert_true(strstr(f->page, "data-entry='4'") < strstr(f->page, "data-entry='2'"));
    has(f, "<td class='num'>1.03 EUR</td>");
    get(f, "/payments?before=4");
    assert_int_equal(count(f->page, "<tr data-entry="), 2);
    has_not(f, "data-live");
    get(f, search);
    assert_int_equal(count(f->page, "<tr data-entry="), 1);
    has(f, "data-entry='3'");
    get(f, "/payments?q=2");
    assert_int_equal(count(f->page, "<tr data-entry="), 1);
    get(f, "/payments?q=1"); /* a deposit is no payment */
    has(f, "No payments.");
    get(f, "/payments/new?after=2");
    assert_int_equal(count(f->page, "<tr data-entry="), 2);
    has_not(f, "<html");
    assert_int_equal(get(f, "/payments/new?after=4"), 200);
    assert_string_equal(f->page, "\n");
}

static void test_account(void **state)
{
    struct fixture *f = *state;
    char target[100];
    snprintf(target, sizeof target, "/accounts/%s", f->lab->payer.number);
    assert_int_equal(get(f, target), 200);
    has(f, "96.94 EUR"); /* 100.00 less 1.01, 1.02, 1.03 */
    assert_int_equal(count(f->page, "<tr><td class='time'>"), PAYMENTS + 1);
    has(f, "-1.03");
    has(f, "href='/accounts/CASH-EUR'");
    snprintf(target, sizeof target, "/accounts/%s?before=3", f->lab->payer.number);
    get(f, target);
    assert_int_equal(count(f->page, "<tr><td class='time'>"), 2);
    assert_int_equal(get(f, "/accounts/CASH-EUR"), 200);
    has(f, "-100.00 EUR");
    has(f, "the bank itself");
}

static void test_account_that_is_frozen(void **state)
{
    struct fixture *f = *state;
    char target[100];
    wants_file();
    snprintf(target, sizeof target, "/accounts/%s", f->lab->payer.number);
    get(f, target);
    has(f, "<span class='badge good'>open</span>");
    has_not(f, "Held");
    tamper(f, "UPDATE account SET frozen = 1, held = 250, floor = 1000 WHERE number LIKE 'ZZ%'");
    get(f, target);
    has(f, "<span class='badge bad'>frozen</span>");
    has(f, "<dd>2.50</dd>");
    has(f, "<dd>10.00</dd>");
}

/* ---- a payment ---- */

static void test_payment(void **state)
{
    struct fixture *f = *state;
    char target[100];
    for (unsigned n = 1; n <= 2; n++) { /* RSA, P-256 */
        assert_int_equal(get(f, order_path(n, target)), 200);
        has(f, n == 1 ? "RSA-2048" : "P-256");
        assert_int_equal(count(f->page, "badge good"), 5);
        has_not(f, "badge bad");
        has(f, n == 1 ? "entry 2 of 4" : "entry 3 of 4");
        has(f, "What the card signed");
        has(f, ">CARDWIRE ORDER 1\nPay: 1.0");
        has(f, n == 1 ? "rel='prev' href='/entries/1'" : "rel='prev' href='/entries/2'");
    }
    assert_int_equal(get(f, "/entries/1"), 200);
    has(f, "Opening deposit");
    assert_int_equal(count(f->page, "badge good"), 2);
    has_not(f, "What the card signed");
    has_not(f, "rel='prev'");
}

/* Signed when a receipt of payment 1 was asked for: the last entry's, at that time 4. */
static void test_signed_head(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct journal *journal = NULL;
    struct ledger_payment *payment = NULL;
    uint8_t id[ORDER_ID_LEN], *receipt = NULL;
    size_t len = 0;
    memset(id, 0x11, sizeof id);
    id[0] = 1;
    lab_ok(journal_open(f->lab->bank, &journal, &why), &why);
    lab_ok(ledger_payment_find(f->lab->bank->ledger, id, &payment, &why), &why);
    lab_ok(journal_receipt(f->lab->bank, journal, payment, &receipt, &len, &why), &why);
    free(receipt);
    ledger_payment_free(&payment);
    journal_free(&journal);
    pay(f, 4);
    get(f, "/");
    has(f, "journal.pem");
    get(f, "/entries/2");
    has(f, "<dt>Next signed head</dt><dd>entry 4, ");
    get(f, "/entries/4");
    has(f, "<dt>Next signed head</dt><dd>entry 4, ");
    get(f, "/entries/5");
    has(f, "<dt>Next signed head</dt><dd>none yet</dd>");
}

static void test_payment_that_was_changed(void **state)
{
    struct fixture *f = *state;
    wants_file();
    static const struct {
        const char *sql, *says;
        size_t wrong;
    } cases[] = {
        {"UPDATE payment SET signature = zeroblob(64) WHERE journal = 3",
         "The signature does not fit the text and the certificate.", 3},
        {"UPDATE posting SET amount = amount * 2 WHERE journal = 3",
         "it is not what the card&#39;s order says", 2},
        {"UPDATE journal SET time = time + 4000000 WHERE id = 3",
         "The certificate was not in date when the order was booked.", 3},
        {"UPDATE chain SET hash = zeroblob(32) WHERE journal = 2", "Its hash does not fit", 1},
        {"UPDATE payment SET certificate = (SELECT sha256 FROM certificate WHERE kind = 'tls' "
         "LIMIT "
         "1) WHERE journal = 3",
         "its certificate is not one for orders of its card", 3},
        {"PRAGMA foreign_keys = OFF; UPDATE payment SET certificate = zeroblob(32) WHERE journal = "
         "3",
         "The certificate that it was signed with is gone, or damaged.", 3},
    };
    char target[100], good[2 * BANK_PATH_MAX], path[BANK_PATH_MAX];
    tamper(f, "DROP TRIGGER payment_update; DROP TRIGGER posting_update;"
              "DROP TRIGGER journal_update; DROP TRIGGER chain_update");
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", path, NULL), CW_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(good, sizeof good, "VACUUM INTO '%s.%zu'", path, i);
        tamper(f, good);
        tamper(f, cases[i].sql);
        assert_int_equal(get(f, order_path(2, target)), 200);
        has(f, cases[i].says);
        if (count(f->page, "badge bad") != cases[i].wrong)
            fail_msg("%s: %zu are wrong", cases[i].sql, count(f->page, "badge bad"));
        snprintf(
            good, sizeof good,
            "ATTACH '%s.%zu' AS good;"
            "UPDATE payment SET (signature, certificate) = (SELECT signature, certificate FROM "
            "good.payment g WHERE g.journal = payment.journal);"
            "UPDATE posting SET amount = (SELECT amount FROM good.posting g WHERE g.journal = "
            "posting.journal AND g.line = posting.line);"
            "UPDATE journal SET time = (SELECT time FROM good.journal g WHERE g.id = journal.id);"
            "UPDATE chain SET hash = (SELECT hash FROM good.chain g WHERE g.journal = "
            "chain.journal)",
            path, i);
        tamper(f, good);
        get(f, target);
        has_not(f, "badge bad");
    }
}

/* ---- cards, customers, overview ---- */

static void test_card(void **state)
{
    struct fixture *f = *state;
    char target[100];
    struct say why = {""};
    lab_ok(ledger_card_block(f->lab->bank->ledger, f->cards[1]->serial, true, &why), &why);
    assert_int_equal(get(f, hex_path("/cards/", f->cards[0]->serial, ORDER_SERIAL_LEN, target)),
                     200);
    has(f, "<span class='badge good'>active</span>");
    has(f, "opens lines");
    has(f, "signs orders");
    has(f, "30 days");
    has(f, "listed payees");
    has(f, "<td>EUR</td><td class='num'>5000.00</td><td class='num'>10000.00</td>");
    has(f, "not known to be taken");
    has(f, "<td>is on it</td>");
    assert_int_equal(count(f->page, "<tr data-entry="), 1);
    get(f, hex_path("/cards/", f->cards[1]->serial, ORDER_SERIAL_LEN, target));
    has(f, "<span class='badge bad'>blocked</span>");
    has(f, "No updates.");
    assert_int_equal(count(f->page, "<tr data-entry="), 2);
    get(f, "/cards?status=blocked");
    assert_int_equal(count(f->page, "<tr><td"), 1);
    /* Of one card a page goes on by the card's own counter. */
    hex_path("/cards/", f->cards[1]->serial, ORDER_SERIAL_LEN, target);
    strcat(target, "?before=2");
    get(f, target);
    assert_int_equal(count(f->page, "<tr data-entry="), 1);
    has(f, "data-entry='2'");
}

/* Issued before cards were managed: no terms. */
static void test_card_without_terms(void **state)
{
    struct fixture *f = *state;
    wants_file();
    char target[100];
    tamper(f, "PRAGMA foreign_keys = OFF; DELETE FROM management WHERE card = "
              "x'025A5A5A5A5A5A5A'");
    assert_int_equal(get(f, hex_path("/cards/", f->cards[1]->serial, ORDER_SERIAL_LEN, target)),
                     200);
    has(f, "issued by an older cardwired");
    get(f, "/cards");
    has(f, "takes none");
}

static void test_customer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/customers/1"), 200);
    has(f, "<h1>Customer Ada Lovelace</h1>");
    has(f, f->lab->payer.number);
    assert_int_equal(count(f->page, "href='/cards/"), 2);
    assert_int_equal(get(f, "/customers/2"), 200);
    has(f, "No cards.");
}

static void test_overview(void **state)
{
    struct fixture *f = *state;
    wants_file();
    assert_int_equal(get(f, "/"), 200);
    has(f, "<dt>Payments</dt><dd class='big'>3</dd>");
    has(f, "<tr><th scope='row'>EUR</th><td class='num'>3</td><td class='num'>100.00</td>"
           "<td class='num'>-100.00</td><td class='num'>0.00 ");
    has(f, "server-p256.pem");
    has(f, ">90 days<");
    has_not(f, "badge bad");
    has_not(f, "badge wait");
    has(f, "data-keep='10'");
    /* What was counted is kept for a while; the sums are of now. */
    tamper(f, "UPDATE account SET balance = balance + 1 WHERE number LIKE 'ZZ%' AND balance > 0");
    get(f, "/");
    assert_int_equal(count(f->page, "badge bad"), 1);
    f->lab->now += DASHBOARD_TOTALS_AGE;
    get(f, "/");
    has(f, "balances are not the sum of their postings.");
    assert_int_equal(count(f->page, "badge bad"), 3);
    /* Certificates come to their end. */
    f->lab->now += 61 * 86400;
    get(f, "/");
    assert_int_equal(count(f->page, "ends soon"), 2);
    f->lab->now += 30 * 86400;
    get(f, "/");
    assert_int_equal(count(f->page, ">ended<"), 4); /* the time left, and the state */
}

/* ---- HTML ---- */

static void text_is(struct html *h, const char *text)
{
    uint8_t *out = NULL;
    size_t len = 0;
    assert_int_equal(html_take(h, &out, &len), CW_OK);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(out, text, len);
    free(out);
}

static void test_html(void **state)
{
    (void)state;
    struct html h = {0};
    html_put(&h, "<b>%</b> %", "<&>\"'", "\x01\xE2\x80\xAE\xFF");
    text_is(&h, "<b>&lt;&amp;&gt;&quot;&#39;</b> \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    html_text(&h, "a\nb\0c\n", 6);
    text_is(&h, "a\nb\xEF\xBF\xBD"
                "c\n");
    html_url(&h, "a b&c=\xC3\xA4'\"<~");
    text_is(&h, "a%20b%26c%3D%C3%A4%27%22%3C~");
    /* One value too many, or too few: no page. */
    uint8_t *out = NULL;
    size_t len;
    html_put(&h, "<b>%</b>", "a", "b");
    assert_int_equal(html_take(&h, &out, &len), CW_ERR_SPACE);
    html_put(&h, "<b>% %</b>", "a");
    assert_int_equal(html_take(&h, &out, &len), CW_ERR_SPACE);
    assert_null(out);
}

int main(int argc, char **argv)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_hostile_texts_are_text),
        CASE(test_frame),
        cmocka_unit_test(test_headers),
        CASE(test_files),
        CASE(test_not_there),
        CASE(test_nothing_is_written),
        CASE(test_books_cannot_be_read),
        CASE(test_pages_of_accounts),
        CASE(test_search),
        CASE(test_payments),
        CASE(test_account),
        CASE(test_account_that_is_frozen),
        CASE(test_payment),
        CASE(test_signed_head),
        CASE(test_payment_that_was_changed),
        CASE(test_card),
        CASE(test_card_without_terms),
        CASE(test_customer),
        CASE(test_overview),
        cmocka_unit_test(test_html),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
