/* dashboard_page.c - the frame of every page, and the pieces that several have. */
#include "bank/dashboard_page.h"

#include "proto/text.h"

#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

/* ---- texts ---- */

struct page_text text_number(int64_t v)
{
    struct page_text t;
    snprintf(t.s, sizeof t.s, "%lld", (long long)v);
    return t;
}

static struct page_text written(struct page_text *t, const struct buf_writer *w)
{
    snprintf(t->s + (w->bad ? 0 : w->len), 2, "%s", w->bad ? "?" : "");
    return *t;
}

struct page_text text_money(int64_t amount, const char currency[4])
{
    struct page_text t;
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)t.s, sizeof t.s - 2);
    order_amount_put(&w, amount, currency);
    return written(&t, &w);
}

struct page_text text_time(int64_t seconds)
{
    struct page_text t;
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)t.s, sizeof t.s - 2);
    cal_put(&w, seconds);
    if (!w.bad) { /* "2026-11-24T10:00:00Z" */
        t.s[10] = ' ';
        w.len--;
    }
    return written(&t, &w);
}

struct page_text text_hex(const uint8_t *data, size_t len)
{
    struct page_text t;
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)t.s, sizeof t.s - 2);
    buf_put_hex(&w, data, len);
    return written(&t, &w);
}

struct page_text text_days(int64_t from, int64_t to)
{
    struct page_text t;
    long long days = (long long)((to - from) / DAY);
    if (to <= from)
        snprintf(t.s, sizeof t.s, "ended");
    else
        snprintf(t.s, sizeof t.s, "%lld day%s", days, days == 1 ? "" : "s");
    return t;
}

/* ---- what was asked for ---- */

enum cw_err page_query_text(const struct page *p, const char *name, const char **out,
                            struct say *why)
{
    const char *value = evhttp_find_header(&p->query, name);
    if (value != NULL &&
        (strlen(value) > LEDGER_SEARCH_MAX || !text_is_clean(value, strlen(value))))
        return say_fail(why, CW_ERR_ARG,
                        "A search is for at most %u bytes of text, without control characters.",
                        LEDGER_SEARCH_MAX);
    *out = value != NULL ? value : "";
    return CW_OK;
}

enum cw_err page_query_number(const struct page *p, const char *name, int64_t fallback,
                              int64_t *out, struct say *why)
{
    const char *value = evhttp_find_header(&p->query, name);
    size_t digits = value != NULL ? strspn(value, "0123456789") : 0;
    if (value != NULL && (digits == 0 || digits > 18 || value[digits] != '\0'))
        return say_fail(why, CW_ERR_ARG, "'%s' is a number of up to 18 digits.", name);
    *out = value != NULL ? strtoll(value, NULL, 10) : fallback;
    return CW_OK;
}

enum cw_err page_serial(const struct page *p, uint8_t serial[ORDER_SERIAL_LEN], struct say *why)
{
    if (bank_serial_parse(p->segment, serial) != CW_OK)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "A card's serial has 16 hexadecimal digits, and that one has not.");
    return CW_OK;
}

/* ---- the frame ---- */

static void navigation(struct page *p, const char *title)
{
    static const struct {
        const char *path, *name;
    } links[] = {
        {"/", "Overview"},   {"/payments", "Payments"},   {"/accounts", "Accounts"},
        {"/cards", "Cards"}, {"/customers", "Customers"},
    };
    html_raw(&p->h, "<nav aria-label='Pages'><ul>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        html_put(&p->h, "<li><a href='%'", links[i].path);
        if (strcmp(links[i].name, title) == 0)
            html_raw(&p->h, " aria-current='page'");
        html_put(&p->h, ">%</a></li>", links[i].name);
    }
    html_raw(&p->h, "</ul></nav>");
}

void page_begin(struct page *p, const char *title, const char *what)
{
    const char *space = what[0] != '\0' ? " " : "";
    html_raw(&p->h, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
                    "<meta name='viewport' content='width=device-width, initial-scale=1'>"
                    "<meta name='color-scheme' content='light dark'>");
    html_put(&p->h, "<title>%%% - %</title>", title, space, what, p->d->bank->name);
    html_raw(&p->h, "<link rel='icon' href='/icon.svg' type='image/svg+xml'>"
                    "<link rel='stylesheet' href='/style.css'>"
                    "<script src='/live.js' defer></script></head><body>"
                    "<a class='skip' href='#main'>Skip to the content</a><header>");
    html_put(&p->h, "<p class='bank'>%</p>", p->d->bank->name);
    navigation(p, title);
    html_put(&p->h, "</header><main id='main' tabindex='-1'><h1>%%%</h1>", title, space, what);
}

void page_end(struct page *p)
{
    html_put(&p->h,
             "</main><footer>Times are UTC; this page was made at %. Nothing can be changed here."
             "</footer></body></html>\n",
             text_time(ledger_now(p->l)).s);
}

/* ---- pieces ---- */

/* A table that is wider than the window scrolls by itself, also by the keyboard. */
void page_table_begin(struct page *p, const char *caption, const char *const *columns)
{
    html_put(&p->h, "<div class='scroll' role='region' tabindex='0' aria-label='%'>", caption);
    html_put(&p->h, "<table><caption>%</caption><thead><tr>", caption);
    for (; *columns != NULL; columns += 2)
        html_put(&p->h, "<th scope='col' class='%'>%</th>", columns[1], columns[0]);
    html_raw(&p->h, "</tr></thead><tbody>");
}

void page_table_end(struct page *p)
{
    html_raw(&p->h, "</tbody></table></div>");
}

void page_none(struct page *p, const char *what, int64_t columns)
{
    html_put(&p->h, "<tr class='none'><td colspan='%'>%</td></tr>", text_number(columns).s, what);
}

void page_fact(struct page *p, const char *name, const char *value)
{
    html_put(&p->h, "<div><dt>%</dt><dd>%</dd></div>", name, value);
}

void page_fact_code(struct page *p, const char *name, const char *value)
{
    html_put(&p->h, "<div><dt>%</dt><dd class='code'>%</dd></div>", name, value);
}

void page_badge(struct page *p, const char *colour, const char *word)
{
    html_put(&p->h, "<span class='badge %'>%</span>", colour, word);
}

void page_search(struct page *p, const char *action, const char *label, const char *value)
{
    html_put(&p->h, "<form class='search' role='search' action='%'><label for='q'>%</label> ",
             action, label);
    html_put(&p->h, "<input type='search' id='q' name='q' maxlength='70' value='%'> ", value);
    html_raw(&p->h, "<button>Search</button></form>");
}

void page_next(struct page *p, const char *name, const char *value, const char *search,
               const char *status)
{
    html_raw(&p->h, "<nav class='more' aria-label='More'><a rel='next' href='?");
    html_url(&p->h, name);
    html_raw(&p->h, "=");
    html_url(&p->h, value);
    if (search[0] != '\0') {
        html_raw(&p->h, "&amp;q=");
        html_url(&p->h, search);
    }
    if (status[0] != '\0') {
        html_raw(&p->h, "&amp;status=");
        html_url(&p->h, status);
    }
    html_raw(&p->h, "'>Next page</a></nav>");
}

void page_cell_time(struct page *p, int64_t seconds)
{
    html_put(&p->h, "<td class='time'>%</td>", text_time(seconds).s);
}

void page_cell_account(struct page *p, const char *number, const char *name)
{
    html_put(&p->h, "<td class='party'>% <a class='code' href='/accounts/%'>%</a></td>", name,
             number, number);
}

const char *page_key_name(X509 *cert)
{
    int kind = EVP_PKEY_get_base_id(X509_get0_pubkey(cert));
    return kind == EVP_PKEY_EC ? "P-256" : kind == EVP_PKEY_RSA ? "RSA-2048" : "unknown";
}
