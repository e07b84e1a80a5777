/* ledger_statement.c - what happened on an account: its transactions, filtered and in pages, and
 * what it held at a time. */
#include "bank/ledger_db.h"

#include <string.h>

const struct ledger_filter ledger_filter_all = {
    .from = 0, .to = INT64_MAX, .least = 0, .most = INT64_MAX};

static enum cw_err read_transaction(struct db_stmt *st, struct ledger_transaction *t,
                                    struct say *why)
{
    *t = (struct ledger_transaction){
        .place = {.entry = db_int(st, 0), .line = (uint32_t)db_int(st, 8)},
        .time = db_int(st, 1),
        .amount = db_int(st, 2),
        .balance = db_int(st, 3)};
    enum cw_err err = db_text(st, 4, t->other_account, sizeof t->other_account, why);
    if (err == CW_OK)
        err = db_text(st, 5, t->other_name, sizeof t->other_name, why);
    if (err == CW_OK)
        err = db_text(st, 6, t->reference, sizeof t->reference, why);
    if (err == CW_OK)
        err = db_text(st, 9, t->kind, sizeof t->kind, why);
    t->has_order = !db_null(st, 7);
    if (err == CW_OK && t->has_order)
        err = db_blob_exact(st, 7, t->order, sizeof t->order, why);
    return err;
}

/* The other side of a posting is the first leg of the same entry that is not the posting itself. A
 * text is found by its absence changing the reference: LIKE folds case in one store and not in the
 * other. */
#define COLUMNS                                                                                    \
    "SELECT j.id, j.time, p.amount, p.balance, oa.number, "                                        \
    "coalesce(oc.name, (SELECT value FROM setting WHERE name = 'name'), ''), j.reference, "        \
    "pay.order_id, p.line, j.kind "
#define JOINS                                                                                      \
    "JOIN journal j ON j.id = p.journal "                                                          \
    "JOIN posting op ON op.journal = p.journal "                                                   \
    "AND op.line = CASE WHEN p.line = 0 THEN 1 ELSE 0 END "                                        \
    "JOIN account oa ON oa.id = op.account LEFT JOIN customer oc ON oc.id = oa.customer "          \
    "LEFT JOIN payment pay ON pay.journal = j.id "
#define TRANSACTIONS                                                                               \
    COLUMNS "FROM posting p " JOINS "WHERE p.account = ? AND j.time >= ? AND j.time < ? "          \
            "AND abs(p.amount) >= ? AND abs(p.amount) <= ? AND p.amount >= ? AND p.amount <= ? "   \
            "AND (? = '' OR oa.number = ?) AND (? = '' OR replace(j.reference, ?, '') <> "         \
            "j.reference) "

static const char newest_first[] =
    TRANSACTIONS "AND (p.journal, p.line) < (?, ?) ORDER BY p.journal DESC, p.line DESC LIMIT ?";
static const char oldest_first[] =
    TRANSACTIONS "AND (p.journal, p.line) > (?, ?) ORDER BY p.journal, p.line LIMIT ?";

enum cw_err ledger_transactions_get(struct ledger *l, int64_t account,
                                    const struct ledger_filter *f, enum ledger_sort sort,
                                    const struct ledger_place *past, size_t limit,
                                    struct ledger_transaction *out, size_t *count, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err = db_prepare(
        l, &st, why, sort == LEDGER_NEWEST_FIRST ? newest_first : oldest_first, "iiiiiiittttiii",
        account, f->from, f->to, f->least, f->most, f->direction > 0 ? (int64_t)0 : -INT64_MAX,
        f->direction < 0 ? (int64_t)0 : INT64_MAX, f->other, f->other, f->reference, f->reference,
        past->entry, (int64_t)past->line, (int64_t)limit);
    if (err != CW_OK)
        return err;
    while (n < limit && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = read_transaction(st, &out[n++], why)) != CW_OK)
            break;
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_customer_transactions_get(struct ledger *l, int64_t customer,
                                             const struct ledger_place *past, size_t limit,
                                             struct ledger_transaction *out, struct ledger_own *own,
                                             size_t *count, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err =
        db_prepare(l, &st, why,
                   COLUMNS ", a.number, a.currency FROM account a "
                           "JOIN posting p ON p.account = a.id " JOINS
                           "WHERE a.customer = ? AND (p.journal, p.line) > (?, ?) "
                           "ORDER BY p.journal, p.line LIMIT ?",
                   "iiii", customer, past->entry, (int64_t)past->line, (int64_t)limit);
    if (err != CW_OK)
        return err;
    while (n < limit && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        if ((err = read_transaction(st, &out[n], why)) != CW_OK ||
            (err = db_text(st, 10, own[n].account, sizeof own[n].account, why)) != CW_OK ||
            (err = db_text(st, 11, own[n].currency, sizeof own[n].currency, why)) != CW_OK)
            break;
        n++;
    }
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_balance_at(struct ledger *l, int64_t account, int64_t time, int64_t *out,
                              struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT CAST(coalesce(sum(p.amount), 0) AS BIGINT) FROM posting p "
                                 "JOIN journal j ON j.id = p.journal "
                                 "WHERE p.account = ? AND j.time < ?",
                                 "ii", account, time);
    return db_number(l, err, st, out, why);
}
