/* dashboard_cards.c - the cards: what they are, what they hold, and what they may do. */
#include "bank/dashboard_page.h"

#include "bank/ca.h"
#include "proto/piv.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPDATES_AT_ONCE 16u

/* ---- the list ---- */

static void card_status(struct page *p, enum ledger_card_status status)
{
    static const char *const colours[] = {
        [LEDGER_CARD_ISSUING] = "wait",   [LEDGER_CARD_PERSONALISED] = "wait",
        [LEDGER_CARD_ACTIVE] = "good",    [LEDGER_CARD_BLOCKED] = "bad",
        [LEDGER_CARD_TERMINATED] = "off",
    };
    page_badge(p, colours[status], ledger_card_status_name(status));
}

/* What the bank has for the card and the card is not known to have taken. */
static enum cw_err cell_updates(struct page *p, const struct ledger_card *c, struct say *why)
{
    struct ledger_management m;
    enum cw_err err = ledger_management_read(p->l, c->serial, &m, why);
    if (err == CW_ERR_STATE)
        html_raw(&p->h, "<td>takes none</td>");
    else if (err == CW_OK && m.pending > 0)
        html_put(&p->h, "<td>% made, % not taken</td>", text_number(m.made).s,
                 text_number((int64_t)m.pending).s);
    else if (err == CW_OK)
        html_put(&p->h, "<td>% made</td>", text_number(m.made).s);
    return err == CW_ERR_STATE ? CW_OK : err;
}

static enum cw_err card_row(struct page *p, const struct ledger_card_row *r, struct say *why)
{
    struct page_text serial = text_hex(r->card.serial, sizeof r->card.serial);
    html_put(&p->h, "<tr><td><a class='code' href='/cards/%'>%</a></td>", serial.s, serial.s);
    html_put(&p->h, "<td><a href='/customers/%'>%</a></td><td>", text_number(r->card.customer).s,
             r->name);
    card_status(p, r->card.status);
    html_raw(&p->h, "</td>");
    page_cell_time(p, r->card.since);
    enum cw_err err = cell_updates(p, &r->card, why);
    html_raw(&p->h, "</tr>\n");
    return err;
}

enum cw_err page_cards_table(struct page *p, const struct ledger_card_filter *f,
                             struct page_text *next, struct say *why)
{
    static const char *const columns[] = {"Card",  "", "Holder",  "", "Status", "",
                                          "Since", "", "Updates", "", NULL};
    size_t count = 0;
    struct ledger_card_row *list = calloc(PAGE_ROWS + 1, sizeof *list);
    if (list == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_page_cards(p->l, f, list, PAGE_ROWS + 1, &count, why);
    page_table_begin(p, "Cards", columns);
    for (size_t i = 0; err == CW_OK && i < count && i < PAGE_ROWS; i++)
        err = card_row(p, &list[i], why);
    if (err == CW_OK && count == 0)
        page_none(p, "No cards.", 5);
    page_table_end(p);
    next->s[0] = '\0';
    if (err == CW_OK && count > PAGE_ROWS)
        *next = text_hex(list[PAGE_ROWS - 1].card.serial, ORDER_SERIAL_LEN);
    free(list);
    return err;
}

static void search_form(struct page *p, const char *q, enum ledger_card_status status)
{
    html_raw(&p->h, "<form class='search' role='search' action='/cards'>"
                    "<label for='q'>Serial, holder or customer</label> ");
    html_put(&p->h, "<input type='search' id='q' name='q' maxlength='70' value='%'> ", q);
    html_raw(&p->h, "<label for='status'>Status</label> <select id='status' name='status'>"
                    "<option value=''>any</option>");
    for (int s = LEDGER_CARD_ISSUING; s <= LEDGER_CARD_TERMINATED; s++) {
        html_raw(&p->h, "<option");
        if (s == (int)status)
            html_raw(&p->h, " selected");
        html_put(&p->h, ">%</option>", ledger_card_status_name((enum ledger_card_status)s));
    }
    html_raw(&p->h, "</select> <button>Search</button></form>");
}

static enum cw_err parse_filter(struct page *p, struct ledger_card_filter *f,
                                uint8_t after[ORDER_SERIAL_LEN], struct say *why)
{
    const char *serial = "", *status = "";
    enum cw_err err = page_query_text(p, "q", &f->search, why);
    if (err == CW_OK)
        err = page_query_text(p, "after", &serial, why);
    if (err == CW_OK)
        err = page_query_text(p, "status", &status, why);
    if (err != CW_OK)
        return err;
    if (serial[0] != '\0') {
        if (bank_serial_parse(serial, after) != CW_OK)
            return say_fail(why, CW_ERR_ARG, "'after' is a serial of 16 hexadecimal digits.");
        f->after = after;
    }
    for (int s = LEDGER_CARD_ISSUING; s <= LEDGER_CARD_TERMINATED; s++)
        if (strcmp(status, ledger_card_status_name((enum ledger_card_status)s)) == 0)
            f->status = (enum ledger_card_status)s;
    if (status[0] != '\0' && f->status == 0)
        return say_fail(why, CW_ERR_ARG, "'status' is none that a card can have.");
    return CW_OK;
}

enum cw_err show_cards(struct page *p, struct say *why)
{
    uint8_t after[ORDER_SERIAL_LEN];
    struct page_text next;
    struct ledger_card_filter f = {.customer = -1};
    enum cw_err err = parse_filter(p, &f, after, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Cards", "");
    search_form(p, f.search, f.status);
    err = page_cards_table(p, &f, &next, why);
    if (err == CW_OK && next.s[0] != '\0')
        page_next(p, "after", next.s, f.search,
                  f.status != 0 ? ledger_card_status_name(f.status) : "");
    page_end(p);
    return err;
}

/* ---- one card ---- */

static const char *use_name(const struct ledger_certificate *c)
{
    if (c->kind != LEDGER_CERT_PIV)
        return c->kind == LEDGER_CERT_TLS ? "opens lines" : "signs orders";
    switch (c->slot) {
    case PIV_REF_AUTH:
        return "PIV 9A, authentication";
    case PIV_REF_SIGNATURE:
        return "PIV 9C, signature";
    case PIV_REF_MANAGEMENT:
        return "PIV 9D, key management";
    case PIV_REF_CARD:
        return "PIV 9E, card authentication";
    default:
        return "PIV";
    }
}

static void certificate_row(struct page *p, const struct ledger_certificate *c)
{
    const unsigned char *der = c->der;
    X509 *cert = d2i_X509(NULL, &der, (long)c->der_len);
    html_put(&p->h, "<tr><td>%</td>", use_name(c));
    if (cert != NULL) {
        int64_t end = ca_seconds(X509_get0_notAfter(cert));
        html_put(&p->h, "<td>%</td>", page_key_name(cert));
        page_cell_time(p, ca_seconds(X509_get0_notBefore(cert)));
        page_cell_time(p, end);
        html_put(&p->h, "<td class='num'>%</td>", text_days(ledger_now(p->l), end).s);
    } else {
        html_raw(&p->h, "<td colspan='4'>damaged</td>");
    }
    html_put(&p->h, "<td class='code hash'>%</td></tr>\n", text_hex(c->sha256, sizeof c->sha256).s);
    X509_free(cert);
    ERR_clear_error();
}

static enum cw_err show_certificates(struct page *p, const uint8_t serial[ORDER_SERIAL_LEN],
                                     struct say *why)
{
    static const char *const columns[] = {
        "Use", "", "Key", "", "In date from", "", "until", "", "Left", "num", "SHA-256", "", NULL};
    struct ledger_certificate *list = calloc(LEDGER_CERTS_PER_CARD, sizeof *list);
    enum cw_err err = list != NULL ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
    size_t all = 0;
    page_table_begin(p, "Certificates", columns);
    for (int kind = LEDGER_CERT_TLS; err == CW_OK && kind <= LEDGER_CERT_PIV; kind++) {
        size_t count = 0;
        err = ledger_certificates_get(p->l, serial, (enum ledger_cert_kind)kind, list, &count, why);
        for (size_t i = 0; err == CW_OK && i < count; i++, all++)
            certificate_row(p, &list[i]);
    }
    if (err == CW_OK && all == 0)
        page_none(p, "No certificates.", 6);
    page_table_end(p);
    free(list);
    return err;
}

static void show_limits(struct page *p, const struct policy *policy)
{
    static const char *const columns[] = {
        "Currency",          "",    "One order", "num", "One day", "num",
        "Without PIN up to", "num", "in all",    "num", NULL};
    html_raw(&p->h, "<h3>Limits</h3>");
    page_table_begin(p, "Limits", columns);
    for (size_t i = 0; i < policy->limit_count; i++) {
        const struct policy_limit *l = &policy->limits[i];
        html_put(&p->h,
                 "<tr><td>%</td><td class='num'>%</td><td class='num'>%</td><td class='num'>%</td>"
                 "<td class='num'>%</td></tr>",
                 l->currency, text_money(l->order, l->currency).s,
                 text_money(l->day, l->currency).s, text_money(l->small, l->currency).s,
                 text_money(l->small_total, l->currency).s);
    }
    if (policy->limit_count == 0)
        page_none(p, "The card has no limits.", 5);
    page_table_end(p);
}

static void show_policy(struct page *p, const struct ledger_management *m)
{
    char pin[120];
    const struct policy *t = &m->policy;
    snprintf(pin, sizeof pin, "%u to %u digits, %u tries%s%s", t->pin.min, t->pin.max, t->pin.tries,
             t->pin.rules & PIN_RULE_NO_REPEAT ? "; not one digit throughout" : "",
             t->pin.rules & PIN_RULE_NO_SEQUENCE ? "; no sequence" : "");
    html_raw(&p->h, "<h2>Policy</h2><dl>");
    page_fact(p, "Orders go to", t->flags & POLICY_LISTED_PAYEES ? "listed payees" : "anybody");
    page_fact(p, "Contactless",
              t->flags & POLICY_ORDER_CONTACTLESS  ? "line and orders"
              : t->flags & POLICY_LINE_CONTACTLESS ? "line alone"
                                                   : "nothing with a PIN");
    page_fact(p, "TLS sessions",
              t->flags & POLICY_SESSIONS_NVM   ? "kept"
              : t->flags & POLICY_SESSIONS_RAM ? "kept while there is power"
                                               : "not kept");
    page_fact(p, "PIN", pin);
    page_fact(p, "Key set", text_number(m->keyset).s);
    html_raw(&p->h, "</dl>");
    show_limits(p, t);
}

static void update_row(struct page *p, const struct ledger_update *u, uint32_t applied)
{
    html_put(&p->h, "<tr><td class='num'>%</td>", text_number(u->sequence).s);
    page_cell_time(p, u->made);
    if (u->fetched != 0)
        page_cell_time(p, u->fetched);
    else
        html_raw(&p->h, "<td>not yet</td>");
    html_raw(&p->h, "<td>");
    page_badge(p, u->sequence <= applied ? "good" : "wait",
               u->sequence <= applied ? "taken" : "not known to be taken");
    html_put(&p->h, "</td><td class='num'>%</td></tr>\n", text_number((int64_t)u->len).s);
}

static enum cw_err show_updates(struct page *p, const uint8_t serial[ORDER_SERIAL_LEN],
                                uint32_t applied, struct say *why)
{
    static const char *const columns[] = {
        "Sequence", "num", "Made", "", "First given out", "", "Card", "", "Bytes", "num", NULL};
    size_t count = UPDATES_AT_ONCE;
    uint32_t after = 0;
    struct ledger_update *list = calloc(UPDATES_AT_ONCE, sizeof *list);
    enum cw_err err = list != NULL ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
    html_raw(&p->h, "<h2>Updates</h2>");
    page_table_begin(p, "Signed updates", columns);
    while (err == CW_OK && count == UPDATES_AT_ONCE) {
        err = ledger_updates_get(p->l, serial, after, list, UPDATES_AT_ONCE, &count, why);
        for (size_t i = 0; err == CW_OK && i < count; i++) {
            update_row(p, &list[i], applied);
            after = list[i].sequence;
        }
    }
    if (err == CW_OK && after == 0)
        page_none(p, "No updates.", 5);
    page_table_end(p);
    free(list);
    return err;
}

struct payee_rows {
    struct page *p;
    size_t count;
};

static void payee_row(void *ctx, const struct ledger_payee *payee)
{
    struct payee_rows *rows = ctx;
    struct page *p = rows->p;
    html_raw(&p->h, "<tr>");
    page_cell_account(p, payee->payee.account, payee->payee.name);
    page_cell_time(p, payee->added);
    html_put(&p->h, "<td>%</td>", payee->confirmed);
    if (payee->removed != 0)
        page_cell_time(p, payee->removed);
    else
        html_raw(&p->h, "<td>is on it</td>");
    html_raw(&p->h, "</tr>\n");
    rows->count++;
}

static enum cw_err show_payees(struct page *p, const uint8_t serial[ORDER_SERIAL_LEN],
                               struct say *why)
{
    static const char *const columns[] = {"Payee", "",        "Added", "",  "Confirmed by",
                                          "",      "Removed", "",      NULL};
    struct payee_rows rows = {p, 0};
    html_raw(&p->h, "<h2>Payees</h2>");
    page_table_begin(p, "All that ever were on the card's list", columns);
    enum cw_err err = ledger_payee_each(p->l, serial, payee_row, &rows, why);
    if (err == CW_OK && rows.count == 0)
        page_none(p, "No payees.", 4);
    page_table_end(p);
    return err;
}

/* What the bank manages of the card, if it does. */
static enum cw_err show_management(struct page *p, const uint8_t serial[ORDER_SERIAL_LEN],
                                   struct say *why)
{
    struct ledger_management m;
    enum cw_err err = ledger_management_read(p->l, serial, &m, why);
    if (err == CW_ERR_STATE) {
        html_put(&p->h, "<h2>Policy</h2><p>There is none to be shown: %.</p>", why->text);
        return CW_OK;
    }
    if (err != CW_OK)
        return err;
    show_policy(p, &m);
    err = show_payees(p, serial, why);
    return err == CW_OK ? show_updates(p, serial, m.applied, why) : err;
}

static enum cw_err show_holder(struct page *p, const struct ledger_card *c, struct say *why)
{
    struct ledger_customer holder;
    enum cw_err err = ledger_customer_get(p->l, c->customer, &holder, why);
    if (err != CW_OK)
        return err;
    html_raw(&p->h, "<dl><div><dt>Status</dt><dd>");
    card_status(p, c->status);
    html_put(&p->h, "</dd></div><div><dt>Holder</dt><dd><a href='/customers/%'>%</a></dd></div>",
             text_number(c->customer).s, holder.name);
    page_fact(p, "Since", text_time(c->since).s);
    html_raw(&p->h, "</dl><h2>Certificates</h2>");
    return CW_OK;
}

enum cw_err show_card(struct page *p, struct say *why)
{
    uint8_t serial[ORDER_SERIAL_LEN];
    int64_t next = 0;
    struct ledger_card card;
    struct ledger_payment_filter payments = {.before = INT64_MAX, .card = serial};
    enum cw_err err = page_serial(p, serial, why);
    if (err == CW_OK)
        err = page_query_number(p, "before", INT64_MAX, &payments.before, why);
    if (err == CW_OK)
        err = ledger_card_get(p->l, serial, &card, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Card", text_hex(serial, sizeof serial).s);
    err = show_holder(p, &card, why);
    if (err == CW_OK)
        err = show_certificates(p, serial, why);
    if (err == CW_OK)
        err = show_management(p, serial, why);
    html_raw(&p->h, "<h2>Payments</h2>");
    if (err == CW_OK)
        err = page_payments_table(p, "Payments by this card, newest first", &payments, PAGE_ROWS,
                                  &next, why);
    if (err == CW_OK && next != 0)
        page_next(p, "before", text_number(next).s, "", "");
    page_end(p);
    return err;
}
