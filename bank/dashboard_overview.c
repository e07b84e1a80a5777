/* dashboard_overview.c - the first page: whether the books are in order, and what will end soon. */
#include "bank/dashboard_page.h"

#include "bank/ca.h"

#include <openssl/err.h>
#include <string.h>

#define CURRENCIES_MAX 64u
#define NEWEST         10u

/* ---- the books ---- */

static enum cw_err show_head(struct page *p, struct say *why)
{
    int64_t entry = 0;
    uint8_t hash[LEDGER_HASH_LEN];
    enum cw_err err = ledger_head_get(p->l, &entry, hash, why);
    if (err != CW_OK)
        return err;
    html_raw(&p->h, "<h2>Chain</h2><dl>");
    if (entry != 0) {
        html_put(&p->h, "<div><dt>Last entry</dt><dd><a href='/entries/%'>%</a></dd></div>",
                 text_number(entry).s, text_number(entry).s);
        html_put(&p->h, "<div><dt>Head</dt><dd class='code hash'>%:%</dd></div>",
                 text_number(entry).s, text_hex(hash, sizeof hash).s);
    } else {
        page_fact(p, "Last entry", "none");
    }
    html_raw(&p->h, "</dl>");
    return CW_OK;
}

static void show_count(struct page *p, const char *what, int64_t n)
{
    html_put(&p->h, "<div><dt>%</dt><dd class='big'>%</dd></div>", what, text_number(n).s);
}

static void show_fault(struct page *p, int64_t n, const char *good, const char *bad)
{
    html_raw(&p->h, "<li>");
    page_badge(p, n == 0 ? "good" : "bad", n == 0 ? "good" : "wrong");
    if (n == 0)
        html_put(&p->h, " %</li>", good);
    else
        html_put(&p->h, " % %</li>", text_number(n).s, bad);
}

static enum cw_err show_totals(struct page *p, struct say *why)
{
    struct dashboard *d = p->d;
    const struct ledger_totals *t = &d->totals;
    int64_t now = ledger_now(p->l);
    if (d->totals_at == 0 || now - d->totals_at >= DASHBOARD_TOTALS_AGE || now < d->totals_at) {
        enum cw_err err = ledger_totals_get(p->l, &d->totals, why);
        if (err != CW_OK)
            return err;
        d->totals_at = now;
    }
    html_raw(&p->h, "<h2>Books</h2><dl class='tiles'>");
    show_count(p, "Customers", t->customers);
    show_count(p, "Accounts", t->accounts);
    show_count(p, "Cards", t->cards);
    show_count(p, "Entries", t->entries);
    show_count(p, "Payments", t->payments);
    html_raw(&p->h, "</dl><ul class='checks'>");
    show_fault(p, t->unbalanced, "Every entry's postings sum to zero.",
               "entries have postings that do not sum to zero.");
    show_fault(p, t->wrong_balance, "Every balance is the sum of its postings.",
               "balances are not the sum of their postings.");
    show_fault(p, t->currencies_off, "Every currency's accounts sum to zero.",
               "currencies have accounts that do not sum to zero.");
    html_put(&p->h,
             "</ul><p class='note'>Counted at %; again when that is older than % seconds. "
             "Signatures and the chain are gone over by 'cardwired audit'.</p>",
             text_time(d->totals_at).s, text_number(DASHBOARD_TOTALS_AGE).s);
    return CW_OK;
}

static enum cw_err show_sums(struct page *p, struct say *why)
{
    static const char *const columns[] = {
        "Currency", "",    "Accounts", "num", "Customers hold", "num", "The bank's own",
        "num",      "Sum", "num",      NULL};
    struct ledger_sum sums[CURRENCIES_MAX];
    size_t count = 0;
    enum cw_err err = ledger_sums_get(p->l, sums, CURRENCIES_MAX, &count, why);
    html_raw(&p->h, "<h2>Money</h2>");
    page_table_begin(p, "Money by currency", columns);
    for (size_t i = 0; err == CW_OK && i < count; i++) {
        const struct ledger_sum *s = &sums[i];
        int64_t sum = 0;
        bool over = __builtin_add_overflow(s->customers, s->bank, &sum);
        html_put(&p->h,
                 "<tr><th scope='row'>%</th><td class='num'>%</td><td class='num'>%</td>"
                 "<td class='num'>%</td><td class='num'>% ",
                 s->currency, text_number(s->accounts).s, text_money(s->customers, s->currency).s,
                 text_money(s->bank, s->currency).s, text_money(sum, s->currency).s);
        page_badge(p, sum == 0 && !over ? "good" : "bad", sum == 0 && !over ? "zero" : "wrong");
        html_raw(&p->h, "</td></tr>");
    }
    if (err == CW_OK && count == 0)
        page_none(p, "No accounts.", 5);
    page_table_end(p);
    return err;
}

/* ---- certificates ---- */

/* The server renews its own when a third is left (renew.h): what is below has not been renewed. */
static void certificate_row(struct page *p, const char *stem, const char *use)
{
    X509 *cert = NULL;
    struct say why = {""};
    int64_t now = ledger_now(p->l);
    html_put(&p->h, "<tr><th scope='row'>%</th><td class='code'>%.pem</td>", use, stem);
    if (bank_certificate_load(p->d->bank, stem, &cert, &why) == CW_OK) {
        int64_t begin = ca_seconds(X509_get0_notBefore(cert)),
                end = ca_seconds(X509_get0_notAfter(cert));
        page_cell_time(p, end);
        html_put(&p->h, "<td class='num'>%</td><td>", text_days(now, end).s);
        if (end <= now)
            page_badge(p, "bad", "ended");
        else if (end - now <= (end - begin) / 3)
            page_badge(p, "wait", "ends soon");
        else
            page_badge(p, "good", "good");
        html_raw(&p->h, "</td></tr>");
    } else {
        html_raw(&p->h, "<td colspan='2'>cannot be read</td><td>");
        page_badge(p, "bad", "missing");
        html_raw(&p->h, "</td></tr>");
    }
    X509_free(cert);
    ERR_clear_error();
}

static enum cw_err show_certificates(struct page *p, struct say *why)
{
    static const char *const columns[] = {"Certificate", "",    "File",  "", "Ends", "",
                                          "Left",        "num", "State", "", NULL};
    const struct bank *b = p->d->bank;
    bool piv = false, journal = false;
    enum cw_err err = ledger_certificates_any(p->l, LEDGER_CERT_PIV, &piv, why);
    if (err == CW_OK)
        err = bank_file_there(b, BANK_FILE_JOURNAL, ".pem", &journal, why);
    if (err != CW_OK)
        return err;
    html_raw(&p->h, "<h2>Certificates</h2>");
    page_table_begin(p, "Roots, the server's and the journal's", columns);
    certificate_row(p, b->server.ec, "Server, tls13 and ecdhe");
    certificate_row(p, b->server.rsa, "Server, rsa");
    certificate_row(p, b->server.root, "Root of servers");
    if (b->server_next.generation != 0)
        certificate_row(p, b->server_next.root, "Next root of servers");
    certificate_row(p, BANK_FILE_CARD_ROOT, "Root of cards");
    if (strcmp(b->card_issuer, BANK_FILE_CARD_ROOT) != 0)
        certificate_row(p, b->card_issuer, "CA of cards");
    if (journal)
        certificate_row(p, BANK_FILE_JOURNAL, "Heads of the journal");
    if (piv)
        certificate_row(p, BANK_FILE_PIV_ROOT, "Root of PIV");
    page_table_end(p);
    return CW_OK;
}

enum cw_err show_overview(struct page *p, struct say *why)
{
    int64_t next = 0;
    page_begin(p, "Overview", "");
    enum cw_err err = show_totals(p, why);
    if (err == CW_OK)
        err = show_sums(p, why);
    if (err == CW_OK)
        err = show_head(p, why);
    if (err == CW_OK)
        err = show_certificates(p, why);
    html_raw(&p->h, "<h2>Newest payments</h2>");
    if (err == CW_OK)
        err = page_payments_live(p, NEWEST, &next, why);
    if (err == CW_OK && next != 0)
        html_raw(&p->h, "<p><a href='/payments'>All payments</a></p>");
    page_end(p);
    return err;
}
