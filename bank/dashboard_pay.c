/* dashboard_pay.c - payments as they come in, and one entry of the journal with all that is known
 * of it. */
#include "bank/dashboard_page.h"

#include "bank/audit.h"
#include "bank/ca.h"
#include "receipt/signature.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ---- */

static const char *const payment_columns[] = {"Time",      "",      "Entry", "num",    "Payer",
                                              "",          "Payee", "",      "Amount", "num",
                                              "Reference", "",      "Card",  "",       NULL};
#define PAYMENT_COLUMNS 7

static void payment_row(struct page *p, const struct ledger_payment_row *r)
{
    struct page_text entry = text_number(r->entry), card = text_hex(r->card, sizeof r->card);
    html_put(&p->h, "<tr data-entry='%'>", entry.s);
    page_cell_time(p, r->time);
    html_put(&p->h, "<td class='num'><a href='/payments/%' aria-label='Payment %'>%</a></td>",
             text_hex(r->order, sizeof r->order).s, entry.s, entry.s);
    page_cell_account(p, r->payer, r->payer_name);
    page_cell_account(p, r->payee, r->payee_name);
    html_put(&p->h, "<td class='num'>% %</td><td>%</td>", text_money(r->amount, r->currency).s,
             r->currency, r->reference);
    html_put(&p->h, "<td><a class='code' href='/cards/%'>%</a></td></tr>\n", card.s, card.s);
}

/* Rows of a list that goes on: one more is asked for than shown. */
static enum cw_err payment_rows(struct page *p, const struct ledger_payment_filter *f, size_t rows,
                                size_t *count, int64_t *last, struct say *why)
{
    struct ledger_payment_row *list = calloc(rows + 1, sizeof *list);
    if (list == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_page_payments(p->l, f, list, rows + 1, count, why);
    for (size_t i = 0; err == CW_OK && i < *count && i < rows; i++) {
        payment_row(p, &list[i]);
        *last = f->card != NULL ? list[i].counter : list[i].entry;
    }
    free(list);
    return err;
}

enum cw_err page_payments_table(struct page *p, const char *caption,
                                const struct ledger_payment_filter *f, size_t rows, int64_t *next,
                                struct say *why)
{
    size_t count = 0;
    int64_t last = 0;
    page_table_begin(p, caption, payment_columns);
    enum cw_err err = payment_rows(p, f, rows, &count, &last, why);
    if (err == CW_OK && count == 0)
        page_none(p, "No payments.", PAYMENT_COLUMNS);
    page_table_end(p);
    *next = count > rows ? last : 0;
    return err;
}

enum cw_err page_payments_live(struct page *p, size_t rows, int64_t *next, struct say *why)
{
    const struct ledger_payment_filter all = {.before = INT64_MAX};
    html_put(&p->h, "<div data-live='/payments/new' data-keep='%'>", text_number((int64_t)rows).s);
    html_raw(&p->h, "<p class='live'><button type='button' hidden>Pause</button> "
                    "<span role='status'></span></p>"
                    "<noscript><p>Without JavaScript this page does not update by itself: "
                    "<a href=''>load it again</a>.</p></noscript>");
    enum cw_err err = page_payments_table(p, "Newest payments", &all, rows, next, why);
    html_raw(&p->h, "</div>");
    return err;
}

/* What is searched for on the page of payments: an order's number, or an entry's. */
static enum cw_err parse_payment(const char *q, uint8_t order[ORDER_ID_LEN],
                                 struct ledger_payment_filter *f, struct say *why)
{
    size_t len = 0, digits = strspn(q, "0123456789");
    if (digits > 0 && digits <= 18 && q[digits] == '\0') {
        f->before = strtoll(q, NULL, 10) + 1;
        f->after = f->before - 2;
        return CW_OK;
    }
    bool good = strlen(q) == 2 * ORDER_ID_LEN &&
                OPENSSL_hexstr2buf_ex(order, ORDER_ID_LEN, &len, q, '\0') == 1;
    ERR_clear_error();
    if (!good)
        return say_fail(why, CW_ERR_ARG,
                        "A payment is found by the number of its entry, or by the 32 hexadecimal "
                        "digits of its order.");
    f->order = order;
    return CW_OK;
}

enum cw_err show_payments(struct page *p, struct say *why)
{
    uint8_t order[ORDER_ID_LEN];
    const char *q;
    int64_t next = 0;
    struct ledger_payment_filter f = {.before = INT64_MAX};
    enum cw_err err = page_query_text(p, "q", &q, why);
    if (err == CW_OK)
        err = page_query_number(p, "before", INT64_MAX, &f.before, why);
    if (err == CW_OK && q[0] != '\0')
        err = parse_payment(q, order, &f, why);
    if (err != CW_OK)
        return err;
    page_begin(p, "Payments", "");
    page_search(p, "/payments", "Order or entry", q);
    if (q[0] == '\0' && f.before == INT64_MAX)
        err = page_payments_live(p, PAGE_ROWS, &next, why);
    else
        err = page_payments_table(p, q[0] != '\0' ? "Payments found" : "Older payments", &f,
                                  PAGE_ROWS, &next, why);
    if (err == CW_OK && next != 0)
        page_next(p, "before", text_number(next).s, "", "");
    page_end(p);
    return err;
}

enum cw_err show_payments_new(struct page *p, struct say *why)
{
    size_t count = 0;
    int64_t last = 0;
    struct ledger_payment_filter f = {.before = INT64_MAX};
    enum cw_err err = page_query_number(p, "after", 0, &f.after, why);
    html_raw(&p->h, "\n"); /* a page of no rows is one as well */
    return err == CW_OK ? payment_rows(p, &f, PAGE_ROWS, &count, &last, why) : err;
}

/* ---- an entry ---- */

static void show_legs(struct page *p, const struct ledger_entry *e)
{
    static const char *const columns[] = {"Account",          "",    "Amount", "num",
                                          "Balance after it", "num", NULL};
    int64_t sum = 0;
    page_table_begin(p, "Postings", columns);
    for (size_t i = 0; i < e->leg_count; i++) {
        const struct ledger_leg *leg = &e->legs[i];
        (void)__builtin_add_overflow(sum, leg->amount, &sum);
        html_put(&p->h,
                 "<tr><td><a class='code' href='/accounts/%'>%</a></td><td class='num'>% %</td>"
                 "<td class='num'>%</td></tr>",
                 leg->number, leg->number, text_money(leg->amount, leg->currency).s, leg->currency,
                 text_money(leg->balance, leg->currency).s);
    }
    if (e->leg_count > 0)
        html_put(&p->h,
                 "<tr class='sum'><th scope='row'>Sum</th><td class='num'>% %</td><td></td></tr>",
                 text_money(sum, e->legs[0].currency).s, e->legs[0].currency);
    page_table_end(p);
}

static void show_check(struct page *p, bool good, const char *good_text, const char *bad_text)
{
    html_raw(&p->h, "<li>");
    page_badge(p, good ? "good" : "bad", good ? "good" : "wrong");
    html_put(&p->h, " %</li>", good ? good_text : bad_text);
}

/* What can be told of the signature by the certificate, which is also shown. */
static void show_signer(struct page *p, const struct ledger_entry *e, X509 *cert, X509 *issuer)
{
    char cn[80] = "";
    const struct ledger_payment *pay = e->payment;
    int64_t begin = ca_seconds(X509_get0_notBefore(cert)),
            end = ca_seconds(X509_get0_notAfter(cert));
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn);
    show_check(p,
               signature_good(X509_get0_pubkey(cert), pay->text, pay->text_len, pay->signature,
                              pay->signature_len),
               "The signature fits the text and the certificate.",
               "The signature does not fit the text and the certificate.");
    show_check(p, X509_verify(cert, X509_get0_pubkey(issuer)) == 1,
               "The certificate is by the bank's root for cards.",
               "The certificate is not by the bank's root for cards.");
    show_check(p, begin <= e->time && e->time <= end,
               "The certificate was in date when the order was booked.",
               "The certificate was not in date when the order was booked.");
    html_raw(&p->h, "</ul><dl>");
    page_fact_code(p, "Certificate of", cn);
    page_fact(p, "Key", page_key_name(cert));
    page_fact(p, "In date from", text_time(begin).s);
    page_fact(p, "until", text_time(end).s);
    page_fact_code(p, "SHA-256", text_hex(pay->certificate, sizeof pay->certificate).s);
    html_raw(&p->h, "</dl>");
    ERR_clear_error();
}

static enum cw_err show_signature(struct page *p, const struct ledger_entry *e, struct say *why)
{
    X509 *cert = NULL, *issuer = NULL;
    struct ledger_certificate stored;
    enum cw_err err = ledger_certificate_find(p->l, e->payment->certificate, &stored, why);
    html_raw(&p->h, "<h2>Signature</h2><ul class='checks'>");
    if (err == CW_OK)
        err = keycache_get(&p->d->keys, &stored, &cert);
    if (err == CW_ERR_NOT_FOUND || err == CW_ERR_FORMAT) {
        show_check(p, false, "", "The certificate that it was signed with is gone, or damaged.");
        html_raw(&p->h, "</ul>");
        return CW_OK;
    }
    if (err == CW_OK)
        err = bank_certificate_load(p->d->bank, p->d->bank->card_issuer, &issuer, why);
    if (err == CW_OK)
        show_signer(p, e, cert, issuer);
    X509_free(issuer);
    return err;
}

static enum cw_err show_order(struct page *p, const struct ledger_entry *e, struct say *why)
{
    const struct ledger_payment *pay = e->payment;
    struct page_text card = text_hex(pay->card, sizeof pay->card);
    struct ledger_customer payer;
    enum cw_err err = ledger_customer_get(p->l, pay->customer, &payer, why);
    if (err != CW_OK)
        return err;
    html_raw(&p->h, "<h2>What the card signed</h2><pre tabindex='0' aria-label='Signed text'>");
    html_text(&p->h, (const char *)pay->text, pay->text_len);
    html_raw(&p->h, "</pre><dl>");
    html_put(&p->h, "<div><dt>Card</dt><dd><a class='code' href='/cards/%'>%</a></dd></div>",
             card.s, card.s);
    html_put(&p->h, "<div><dt>Customer</dt><dd><a href='/customers/%'>%</a></dd></div>",
             text_number(pay->customer).s, payer.name);
    html_raw(&p->h, "</dl>");
    return show_signature(p, e, why);
}

/* The head that a receipt of this entry rests on, or would. */
static enum cw_err show_signed_head(struct page *p, const struct ledger_entry *e, struct say *why)
{
    struct ledger_head kept;
    struct head h;
    enum cw_err err = ledger_head_find(p->l, e->id, INT64_MAX, &kept, why);
    if (err == CW_ERR_NOT_FOUND)
        page_fact(p, "Next signed head", "none yet");
    else if (err == CW_OK && head_parse(kept.text, kept.text_len, &h) != CW_OK)
        page_fact(p, "Next signed head", "damaged");
    else if (err == CW_OK)
        html_put(&p->h, "<div><dt>Next signed head</dt><dd>entry %, %</dd></div>",
                 text_number(h.entry).s, text_time(h.time).s);
    return err == CW_ERR_NOT_FOUND ? CW_OK : err;
}

static enum cw_err show_place(struct page *p, const struct ledger_entry *e, struct say *why)
{
    int64_t head = 0;
    uint8_t hash[LEDGER_HASH_LEN];
    struct say wrong = {""};
    enum cw_err err = ledger_head_get(p->l, &head, hash, why);
    if (err != CW_OK)
        return err;
    html_raw(&p->h, "<h2>In the books</h2><ul class='checks'>");
    err = audit_entry_check(p->d->bank, &p->d->keys, e, &wrong);
    if (err != CW_OK && err != CW_ERR_FORMAT)
        return say_fail(why, err, "%s", wrong.text);
    show_check(p, err == CW_OK,
               e->payment != NULL ? "It is what the card ordered, and by the card's holder."
                                  : "The bank booked it, and took nothing from a customer.",
               wrong.text);
    show_check(p, e->chained && memcmp(e->stored, e->hash, sizeof e->hash) == 0,
               "Its hash is that of what stands here and of the entry before.",
               "Its hash does not fit: something of it, or of the entry before, was changed.");
    html_raw(&p->h, "</ul><dl>");
    html_put(&p->h, "<div><dt>Place</dt><dd>entry % of %</dd></div>", text_number(e->id).s,
             text_number(head).s);
    page_fact_code(p, "Hash before it", text_hex(e->before, sizeof e->before).s);
    page_fact_code(p, "Its hash", e->chained ? text_hex(e->stored, sizeof e->stored).s : "none");
    err = show_signed_head(p, e, why);
    html_raw(&p->h, "</dl><nav class='more' aria-label='Neighbours'>");
    if (e->id > 1)
        html_put(&p->h, "<a rel='prev' href='/entries/%'>Entry before</a> ",
                 text_number(e->id - 1).s);
    if (e->id < head)
        html_put(&p->h, "<a rel='next' href='/entries/%'>Entry after</a>",
                 text_number(e->id + 1).s);
    html_raw(&p->h, "</nav>");
    return err;
}

static enum cw_err show_whole(void *ctx, const struct ledger_entry *e, struct say *why)
{
    struct page *p = ctx;
    page_begin(p, e->payment != NULL ? "Payment" : "Entry", text_number(e->id).s);
    html_raw(&p->h, "<dl>");
    page_fact(p, "Booked", text_time(e->time).s);
    page_fact(p, "Kind", e->kind);
    page_fact(p, "Reference", e->reference);
    if (e->payment != NULL)
        page_fact_code(p, "Order", text_hex(e->payment->order, sizeof e->payment->order).s);
    html_raw(&p->h, "</dl><h2>Postings</h2>");
    show_legs(p, e);
    enum cw_err err = e->payment != NULL ? show_order(p, e, why) : CW_OK;
    if (err == CW_OK)
        err = show_place(p, e, why);
    page_end(p);
    return err;
}

enum cw_err show_entry(struct page *p, struct say *why)
{
    size_t digits = strspn(p->segment, "0123456789");
    if (digits == 0 || digits > 18 || p->segment[digits] != '\0')
        return say_fail(why, CW_ERR_NOT_FOUND, "An entry is called by its number.");
    return ledger_entry_get(p->l, strtoll(p->segment, NULL, 10), show_whole, p, why);
}

enum cw_err show_payment(struct page *p, struct say *why)
{
    size_t len = 0;
    uint8_t id[ORDER_ID_LEN];
    struct ledger_payment *pay = NULL;
    bool good = strlen(p->segment) == 2 * sizeof id &&
                OPENSSL_hexstr2buf_ex(id, sizeof id, &len, p->segment, '\0') == 1;
    ERR_clear_error();
    if (!good)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "A payment is called by its order's 32 hexadecimal digits.");
    enum cw_err err = ledger_payment_find(p->l, id, &pay, why);
    if (err != CW_OK)
        return err;
    int64_t entry = pay->id;
    ledger_payment_free(&pay);
    return ledger_entry_get(p->l, entry, show_whole, p, why);
}
