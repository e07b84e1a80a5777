/* dashboard_people.c - accounts and customers. */
#include "bank/dashboard_page.h"

#include <stdlib.h>
#include <string.h>

/* ---- accounts ---- */

static enum cw_err accounts_table(struct page *p, const char *search, int64_t customer,
                                  int64_t after, int64_t *next, struct say *why)
{
    static const char *const columns[] = {"Account", "", "Holder", "", "Balance", "num", NULL};
    size_t count = 0;
    struct ledger_account *list = calloc(PAGE_ROWS + 1, sizeof *list);
    if (list == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err =
        ledger_page_accounts(p->l, search, customer, after, list, PAGE_ROWS + 1, &count, why);
    page_table_begin(p, "Accounts", columns);
    for (size_t i = 0; err == CW_OK && i < count && i < PAGE_ROWS; i++) {
        const struct ledger_account *a = &list[i];
        html_put(&p->h, "<tr><td><a class='code' href='/accounts/%'>%</a></td>", a->number,
                 a->number);
        if (a->customer != 0)
            html_put(&p->h, "<td><a href='/customers/%'>%</a></td>", text_number(a->customer).s,
                     a->name);
        else
            html_put(&p->h, "<td>% (the bank itself)</td>", a->name);
        html_put(&p->h, "<td class='num'>% %</td></tr>\n", text_money(a->balance, a->currency).s,
                 a->currency);
    }
    if (err == CW_OK && count == 0)
        page_none(p, "No accounts.", 3);
    page_table_end(p);
    *next = err == CW_OK && count > PAGE_ROWS ? list[PAGE_ROWS - 1].row : 0;
    free(list);
    return err;
}

enum cw_err show_accounts(struct page *p, struct say *why)
{
    const char *q;
    int64_t after = 0, next = 0;
    enum cw_err err = page_query_text(p, "q", &q, why);
    if (err == CW_OK)
        err = page_query_number(p, "after", 0, &after, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Accounts", "");
    page_search(p, "/accounts", "Number, holder or customer", q);
    err = accounts_table(p, q, -1, after, &next, why);
    if (err == CW_OK && next != 0)
        page_next(p, "after", text_number(next).s, q, "");
    page_end(p);
    return err;
}

static enum cw_err show_postings(struct page *p, const struct ledger_account *a, int64_t before,
                                 struct say *why)
{
    static const char *const columns[] = {
        "Time",      "", "Entry",  "num", "Other side",       "",
        "Reference", "", "Amount", "num", "Balance after it", "num",
        NULL};
    size_t count = 0;
    struct ledger_transaction *list = calloc(PAGE_ROWS + 1, sizeof *list);
    if (list == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_page_postings(p->l, a->row, before, list, PAGE_ROWS + 1, &count, why);
    page_table_begin(p, "Postings, newest first", columns);
    for (size_t i = 0; err == CW_OK && i < count && i < PAGE_ROWS; i++) {
        const struct ledger_transaction *t = &list[i];
        html_raw(&p->h, "<tr>");
        page_cell_time(p, t->time);
        html_put(&p->h, "<td class='num'><a href='/entries/%' aria-label='Entry %'>%</a></td>",
                 text_number(t->place.entry).s, text_number(t->place.entry).s,
                 text_number(t->place.entry).s);
        page_cell_account(p, t->other_account, t->other_name);
        html_put(&p->h, "<td>%</td><td class='num'>%</td><td class='num'>%</td></tr>\n",
                 t->reference, text_money(t->amount, a->currency).s,
                 text_money(t->balance, a->currency).s);
    }
    if (err == CW_OK && count == 0)
        page_none(p, "Nothing was booked.", 6);
    page_table_end(p);
    if (err == CW_OK && count > PAGE_ROWS)
        page_next(p, "before", text_number(list[PAGE_ROWS - 1].place.entry).s, "", "");
    free(list);
    return err;
}

enum cw_err show_account(struct page *p, struct say *why)
{
    int64_t before = INT64_MAX;
    struct ledger_account a;
    struct ledger_bounds bounds;
    enum cw_err err = page_query_number(p, "before", INT64_MAX, &before, why);
    if (err == CW_OK)
        err = ledger_account_get(p->l, p->segment, &a, why);
    if (err == CW_OK)
        err = ledger_bounds_get(p->l, a.row, &bounds, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Account", a.number);
    html_raw(&p->h, "<dl>");
    html_put(&p->h, "<div><dt>Balance</dt><dd class='big'>% %</dd></div>",
             text_money(a.balance, a.currency).s, a.currency);
    if (bounds.held != 0)
        page_fact(p, "Held for orders that wait", text_money(bounds.held, a.currency).s);
    if (bounds.floor != 0)
        page_fact(p, "Not to be spent", text_money(bounds.floor, a.currency).s);
    html_raw(&p->h, "<div><dt>Status</dt><dd>");
    page_badge(p, bounds.frozen ? "bad" : "good", bounds.frozen ? "frozen" : "open");
    html_raw(&p->h, "</dd></div>");
    if (a.customer != 0)
        html_put(&p->h, "<div><dt>Holder</dt><dd><a href='/customers/%'>%</a></dd></div>",
                 text_number(a.customer).s, a.name);
    else
        page_fact(p, "Holder", "the bank itself");
    html_raw(&p->h, "</dl><h2>Postings</h2>");
    err = show_postings(p, &a, before, why);
    page_end(p);
    return err;
}

/* ---- customers ---- */

enum cw_err show_customers(struct page *p, struct say *why)
{
    static const char *const columns[] = {"Number", "num", "Name", "", "Since", "", NULL};
    const char *q;
    size_t count = 0;
    int64_t after = 0;
    enum cw_err err = page_query_text(p, "q", &q, why);
    if (err == CW_OK)
        err = page_query_number(p, "after", 0, &after, why);
    if (err != CW_OK)
        return err;
    struct ledger_customer *list = calloc(PAGE_ROWS + 1, sizeof *list);
    if (list == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    page_begin(p, "Customers", "");
    page_search(p, "/customers", "Name or number", q);
    page_table_begin(p, "Customers", columns);
    err = ledger_page_customers(p->l, q, after, list, PAGE_ROWS + 1, &count, why);
    for (size_t i = 0; err == CW_OK && i < count && i < PAGE_ROWS; i++) {
        struct page_text id = text_number(list[i].id);
        html_put(&p->h, "<tr><td class='num'>%</td><td><a href='/customers/%'>%</a></td>", id.s,
                 id.s, list[i].name);
        page_cell_time(p, list[i].since);
        html_raw(&p->h, "</tr>\n");
    }
    if (err == CW_OK && count == 0)
        page_none(p, "No customers.", 3);
    page_table_end(p);
    if (err == CW_OK && count > PAGE_ROWS)
        page_next(p, "after", text_number(list[PAGE_ROWS - 1].id).s, q, "");
    page_end(p);
    free(list);
    return err;
}

/* Lists of one customer are short; who has more than a page of accounts finds them by a search. */
enum cw_err show_customer(struct page *p, struct say *why)
{
    int64_t next = 0;
    struct ledger_customer c;
    struct page_text after = {""};
    size_t digits = strspn(p->segment, "0123456789");
    if (digits == 0 || digits > 18 || p->segment[digits] != '\0')
        return say_fail(why, CW_ERR_NOT_FOUND, "A customer is called by the number.");
    int64_t id = strtoll(p->segment, NULL, 10);
    enum cw_err err = ledger_customer_get(p->l, id, &c, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Customer", c.name);
    html_raw(&p->h, "<dl>");
    page_fact(p, "Number", p->segment);
    page_fact(p, "Since", text_time(c.since).s);
    html_raw(&p->h, "</dl><h2>Accounts</h2>");
    err = accounts_table(p, "", id, 0, &next, why);
    if (err == CW_OK && next != 0)
        html_put(&p->h, "<p>There are more: <a href='/accounts?q=%'>all of them</a>.</p>",
                 p->segment);
    html_raw(&p->h, "<h2>Cards</h2>");
    const struct ledger_card_filter cards = {.search = "", .customer = id};
    if (err == CW_OK)
        err = page_cards_table(p, &cards, &after, why);
    if (err == CW_OK && after.s[0] != '\0')
        html_put(&p->h, "<p>There are more: <a href='/cards?q=%'>all of them</a>.</p>", p->segment);
    page_end(p);
    return err;
}
