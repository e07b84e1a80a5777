/* ledger_pages.c - see ledger_pages.h. */
#include "bank/ledger_pages.h"

#include "bank/ledger_db.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define LIKE_MAX (2 * LEDGER_SEARCH_MAX + 3)

enum cw_err ledger_read_only(struct ledger *l, struct say *why)
{
    return l->engine->read_only(l, why);
}

enum cw_err ledger_bounds_get(struct ledger *l, int64_t account, struct ledger_bounds *out,
                              struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(
        l, &st, why, "SELECT held, floor, frozen FROM account WHERE id = ?", "i", account);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no such account");
    if (err == CW_OK)
        *out = (struct ledger_bounds){
            .held = db_int(st, 0), .floor = db_int(st, 1), .frozen = db_int(st, 2) != 0};
    db_done(&st);
    return err;
}

/* Steps through `st`, which it finalises, and has `read` fill one element of `size` bytes after the
 * other. Wants what db_prepare returned. */
static enum cw_err read_rows(struct ledger *l, enum cw_err prepared, struct db_stmt *st,
                             enum cw_err (*read)(struct db_stmt *st, void *out, struct say *why),
                             void *out, size_t size, size_t cap, size_t *count, struct say *why)
{
    bool row = true;
    size_t n = 0;
    enum cw_err err = prepared;
    if (err != CW_OK)
        return err;
    while (n < cap && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = read(st, (char *)out + n++ * size, why)) != CW_OK)
            break;
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

static enum cw_err read_sum(struct db_stmt *st, void *out, struct say *why)
{
    struct ledger_sum *s = out;
    s->accounts = db_int(st, 1);
    s->customers = db_int(st, 2);
    s->bank = db_int(st, 3);
    return db_text(st, 0, s->currency, sizeof s->currency, why);
}

enum cw_err ledger_sums_get(struct ledger *l, struct ledger_sum *out, size_t cap, size_t *count,
                            struct say *why)
{
    struct db_stmt *st;
    int64_t currencies = 0;
    enum cw_err err = db_prepare(l, &st, why, "SELECT count(DISTINCT currency) FROM account", "");
    err = db_number(l, err, st, &currencies, why);
    if (err == CW_OK && currencies > (int64_t)cap)
        err = say_fail(why, CW_ERR_SPACE, "the accounts are in more than %zu currencies", cap);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "SELECT currency, count(customer), "
                     "CAST(sum(CASE WHEN customer IS NULL THEN 0 ELSE balance END) AS BIGINT), "
                     "CAST(sum(CASE WHEN customer IS NULL THEN balance ELSE 0 END) AS BIGINT) "
                     "FROM account GROUP BY currency ORDER BY currency",
                     "");
    return read_rows(l, err, st, read_sum, out, sizeof *out, cap, count, why);
}

/* ---- searching ---- */

/* "%text%", or "text%", in which nothing of the text is a wildcard. */
static void make_like(const char *text, bool inside, char out[LIKE_MAX])
{
    size_t n = 0;
    if (inside)
        out[n++] = '%';
    for (; *text != '\0' && n + 3 < LIKE_MAX; text++) {
        if (strchr("%_!", *text) != NULL)
            out[n++] = '!';
        out[n++] = *text;
    }
    out[n++] = '%';
    out[n] = '\0';
}

/* A customer's number, or one that nobody has. */
static int64_t search_number(const char *search)
{
    size_t digits = strspn(search, "0123456789");
    return digits > 0 && digits < 18 && search[digits] == '\0' ? strtoll(search, NULL, 10) : -1;
}

#define NAME_LIKE(column) "lower(" column ") LIKE lower(?) ESCAPE '!'"

static enum cw_err read_account(struct db_stmt *st, void *out, struct say *why)
{
    return db_account_read(st, out, why);
}

#define ACCOUNTS DB_ACCOUNT_COLUMNS "WHERE a.id > ? "

enum cw_err ledger_page_accounts(struct ledger *l, const char *search, int64_t customer,
                                 int64_t after, struct ledger_account *out, size_t cap,
                                 size_t *count, struct say *why)
{
    struct db_stmt *st;
    char name[LIKE_MAX], number[LIKE_MAX];
    enum cw_err err;
    make_like(search, true, name);
    make_like(search, false, number);
    if (customer != -1)
        err = db_prepare(l, &st, why, ACCOUNTS "AND a.customer = ? ORDER BY a.id LIMIT ?", "iii",
                         after, customer, (int64_t)cap);
    else if (search[0] == '\0')
        err = db_prepare(l, &st, why, ACCOUNTS "ORDER BY a.id LIMIT ?", "ii", after, (int64_t)cap);
    else
        err = db_prepare(l, &st, why,
                         ACCOUNTS "AND (" NAME_LIKE("c.name") " OR " NAME_LIKE(
                             "a.number") " OR a.customer = ?) ORDER BY a.id LIMIT ?",
                         "ittii", after, name, number, search_number(search), (int64_t)cap);
    return read_rows(l, err, st, read_account, out, sizeof *out, cap, count, why);
}

static enum cw_err read_customer(struct db_stmt *st, void *out, struct say *why)
{
    return db_customer_read(st, out, why);
}

enum cw_err ledger_page_customers(struct ledger *l, const char *search, int64_t after,
                                  struct ledger_customer *out, size_t cap, size_t *count,
                                  struct say *why)
{
    struct db_stmt *st;
    char name[LIKE_MAX];
    make_like(search, true, name);
    enum cw_err err =
        db_prepare(l, &st, why,
                   "SELECT id, name, since FROM customer WHERE id > ? AND (" NAME_LIKE(
                       "name") " OR id = ?) ORDER BY id LIMIT ?",
                   "itii", after, name, search_number(search), (int64_t)cap);
    return read_rows(l, err, st, read_customer, out, sizeof *out, cap, count, why);
}

static enum cw_err read_card(struct db_stmt *st, void *out, struct say *why)
{
    struct ledger_card_row *r = out;
    enum cw_err err = db_card_read(st, &r->card, why);
    return err == CW_OK ? db_text(st, 4, r->name, sizeof r->name, why) : err;
}

enum cw_err ledger_page_cards(struct ledger *l, const struct ledger_card_filter *f,
                              struct ledger_card_row *out, size_t cap, size_t *count,
                              struct say *why)
{
    struct db_stmt *st;
    char name[LIKE_MAX];
    const char *status = f->status != 0 ? ledger_card_status_name(f->status) : "";
    uint8_t serial[ORDER_SERIAL_LEN] = {0};
    size_t len = 0;
    make_like(f->search, true, name);
    bool whole = strlen(f->search) == 2 * sizeof serial &&
                 OPENSSL_hexstr2buf_ex(serial, sizeof serial, &len, f->search, '\0') == 1;
    ERR_clear_error();
    enum cw_err err = db_prepare(
        l, &st, why,
        "SELECT card.serial, card.customer, card.status, card.since, c.name "
        "FROM card JOIN customer c ON c.id = card.customer "
        "WHERE serial > ? AND (? = '' OR status = ?) AND (? = -1 OR customer = ?) "
        "AND (" NAME_LIKE("c.name") " OR customer = ? OR serial = ?) "
                                    "ORDER BY serial LIMIT ?",
        "bttiitibi", f->after != NULL ? f->after : (const uint8_t *)"",
        f->after != NULL ? (size_t)ORDER_SERIAL_LEN : 0, status, status, f->customer, f->customer,
        name, search_number(f->search), serial, whole ? sizeof serial : 0, (int64_t)cap);
    return read_rows(l, err, st, read_card, out, sizeof *out, cap, count, why);
}

/* ---- what was booked ---- */

enum cw_err ledger_page_postings(struct ledger *l, int64_t account, int64_t before,
                                 struct ledger_transaction *out, size_t cap, size_t *count,
                                 struct say *why)
{
    const struct ledger_place past = {before, 0};
    return ledger_transactions_get(l, account, &ledger_filter_all, LEDGER_NEWEST_FIRST, &past, cap,
                                   out, count, why);
}

static enum cw_err read_payment(struct db_stmt *st, void *out, struct say *why)
{
    struct ledger_payment_row *r = out;
    r->entry = db_int(st, 0);
    r->time = db_int(st, 1);
    r->amount = db_int(st, 2);
    const struct {
        char *to;
        size_t cap;
    } texts[] = {
        {r->currency, sizeof r->currency},     {r->reference, sizeof r->reference},
        {r->payer, sizeof r->payer},           {r->payee, sizeof r->payee},
        {r->payer_name, sizeof r->payer_name}, {r->payee_name, sizeof r->payee_name},
    };
    enum cw_err err = db_blob_exact(st, 3, r->order, sizeof r->order, why);
    if (err == CW_OK)
        err = db_blob_exact(st, 4, r->card, sizeof r->card, why);
    r->counter = db_int(st, 5);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && err == CW_OK; i++)
        err = db_text(st, 6 + (int)i, texts[i].to, texts[i].cap, why);
    return err;
}

#define PAYMENTS                                                                                   \
    "SELECT j.id, j.time, q.amount, pay.order_id, pay.card, pay.counter, qa.currency, "            \
    "j.reference, pa.number, qa.number, pc.name, qc.name "                                         \
    "FROM payment pay JOIN journal j ON j.id = pay.journal "                                       \
    "JOIN posting p ON p.journal = j.id AND p.line = 0 JOIN account pa ON pa.id = p.account "      \
    "JOIN customer pc ON pc.id = pa.customer "                                                     \
    "JOIN posting q ON q.journal = j.id AND q.line = 1 JOIN account qa ON qa.id = q.account "      \
    "JOIN customer qc ON qc.id = qa.customer "
#define BY_ENTRY   "WHERE pay.journal > ? AND pay.journal < ? "
#define NEWEST     "ORDER BY pay.journal DESC LIMIT ?"
#define BY_COUNTER "WHERE pay.counter > ? AND pay.counter < ? AND pay.card = ? "

enum cw_err ledger_page_payments(struct ledger *l, const struct ledger_payment_filter *f,
                                 struct ledger_payment_row *out, size_t cap, size_t *count,
                                 struct say *why)
{
    struct db_stmt *st;
    enum cw_err err;
    if (f->card != NULL)
        err =
            db_prepare(l, &st, why, PAYMENTS BY_COUNTER "ORDER BY pay.counter DESC LIMIT ?", "iibi",
                       f->after, f->before, f->card, (size_t)ORDER_SERIAL_LEN, (int64_t)cap);
    else if (f->order != NULL)
        err = db_prepare(l, &st, why, PAYMENTS BY_ENTRY "AND pay.order_id = ? " NEWEST, "iibi",
                         f->after, f->before, f->order, (size_t)ORDER_ID_LEN, (int64_t)cap);
    else
        err = db_prepare(l, &st, why, PAYMENTS BY_ENTRY NEWEST, "iii", f->after, f->before,
                         (int64_t)cap);
    return read_rows(l, err, st, read_payment, out, sizeof *out, cap, count, why);
}
