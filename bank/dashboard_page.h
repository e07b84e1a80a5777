/* dashboard_page.h - what the pages of the dashboard share. Not for anybody outside dashboard*.c.
 */
#ifndef CARDWIRE_BANK_DASHBOARD_PAGE_H
#define CARDWIRE_BANK_DASHBOARD_PAGE_H

#include "bank/dashboard.h"
#include "bank/html.h"
#include "bank/ledger_pages.h"

#include <event2/keyvalq_struct.h>

#define PAGE_ROWS 50u /* of a list */

/* Going over all entries takes its time: the counts are asked for again only when they are older
 * than this, in seconds. */
#define DASHBOARD_TOTALS_AGE 60

struct dashboard {
    struct bank *bank;
    struct keycache keys;
    struct ledger_totals totals;
    int64_t totals_at; /* 0: never */
};

/* A page on its way. */
struct page {
    struct dashboard *d;
    struct ledger *l;
    struct html h;
    char segment[API_PATH_MAX]; /* what stood in the place of '*' */
    struct evkeyvalq query;
    int status;
};

/* A text by value, for html_put: what these functions return lives until the call is done. */
struct page_text {
    char s[80];
};
struct page_text text_number(int64_t v);
struct page_text text_money(int64_t amount, const char currency[4]);
struct page_text text_time(int64_t seconds);                /* "2026-11-24 10:00:00", UTC */
struct page_text text_hex(const uint8_t *data, size_t len); /* at most 32 bytes */
struct page_text text_days(int64_t from, int64_t to);       /* "12 days", "ended" */

/* A value of the query: `fallback` when it is not there. CW_ERR_ARG for a text too long or not
 * clean, a number that is none. */
CW_MUST_USE enum cw_err page_query_text(const struct page *p, const char *name, const char **out,
                                        struct say *why);
CW_MUST_USE enum cw_err page_query_number(const struct page *p, const char *name, int64_t fallback,
                                          int64_t *out, struct say *why);
/* The serial in the path. CW_ERR_NOT_FOUND when it is none. */
CW_MUST_USE enum cw_err page_serial(const struct page *p, uint8_t serial[ORDER_SERIAL_LEN],
                                    struct say *why);

/* From the head of the document to its heading: `title`, and `what` of it ("" for none). */
void page_begin(struct page *p, const char *title, const char *what);
void page_end(struct page *p);

/* A table and its columns, each a heading and a class ("" or "num"), up to a NULL. The caption says
 * what it is. */
void page_table_begin(struct page *p, const char *caption, const char *const *columns);
void page_table_end(struct page *p);
/* A row that says that there is nothing, over `columns` columns. */
void page_none(struct page *p, const char *what, int64_t columns);
/* <dt> and <dd> of a list, in html_raw(h, "<dl>"); `code`: a hash or its like. */
void page_fact(struct page *p, const char *name, const char *value);
void page_fact_code(struct page *p, const char *name, const char *value);
/* A word in a colour: "good", "bad", "wait" or "". */
void page_badge(struct page *p, const char *colour, const char *word);
/* A form that searches this list. */
void page_search(struct page *p, const char *action, const char *label, const char *value);
/* A link to the next page: `name` `value`, and `search` and `status` again ("": none). */
void page_next(struct page *p, const char *name, const char *value, const char *search,
               const char *status);

/* Cells. */
void page_cell_time(struct page *p, int64_t seconds);
void page_cell_account(struct page *p, const char *number, const char *name);

/* A table of `rows` payments at most; *next is what to ask for older ones with, 0: there are none.
 */
CW_MUST_USE enum cw_err page_payments_table(struct page *p, const char *caption,
                                            const struct ledger_payment_filter *f, size_t rows,
                                            int64_t *next, struct say *why);
/* The same of the newest, which the script keeps up to date. */
CW_MUST_USE enum cw_err page_payments_live(struct page *p, size_t rows, int64_t *next,
                                           struct say *why);
/* *next is "" when there are no more. */
CW_MUST_USE enum cw_err page_cards_table(struct page *p, const struct ledger_card_filter *f,
                                         struct page_text *next, struct say *why);
/* "P-256", "RSA-2048" */
const char *page_key_name(X509 *cert);

/* ---- the pages ---- */

enum cw_err show_overview(struct page *p, struct say *why);
enum cw_err show_payments(struct page *p, struct say *why);
enum cw_err show_payments_new(struct page *p, struct say *why); /* rows alone, for the script */
enum cw_err show_payment(struct page *p, struct say *why);
enum cw_err show_entry(struct page *p, struct say *why);
enum cw_err show_accounts(struct page *p, struct say *why);
enum cw_err show_account(struct page *p, struct say *why);
enum cw_err show_cards(struct page *p, struct say *why);
enum cw_err show_card(struct page *p, struct say *why);
enum cw_err show_customers(struct page *p, struct say *why);
enum cw_err show_customer(struct page *p, struct say *why);

#endif
