#include "check.h"

#include "bank/audit.h"
#include "engine.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- the books ---- */

static sqlite3_stmt *ask(struct world *w, const char *sql)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(w->books, sql, -1, &st, NULL) != SQLITE_OK)
        world_wrong(w, "the books cannot be read: %s", sqlite3_errmsg(w->books));
    return st;
}

static bool is_sheet(sqlite3_stmt *st, int column, const struct model_sheet *s)
{
    return (size_t)sqlite3_column_bytes(st, column) == sizeof s->f.id &&
           memcmp(sqlite3_column_blob(st, column), s->f.id, sizeof s->f.id) == 0 &&
           (size_t)sqlite3_column_bytes(st, column + 1) == s->text_len &&
           memcmp(sqlite3_column_blob(st, column + 1), s->text, s->text_len) == 0;
}

/* The entry is the next order that may be booked; its place behind that. */
static size_t take_up(struct world *w, sqlite3_stmt *st, const struct world_wait *waits,
                      const char *const *out, size_t next, size_t count)
{
    int64_t id = sqlite3_column_int64(st, 0);
    while (next < count && strcmp(out[next], "booked") != 0)
        next++;
    if (next == count || !is_sheet(st, 1, &w->model.sheets[waits[next].t.sheet])) {
        world_wrong(w, "entry %lld is in the books, and nothing that may be booked now",
                    (long long)id);
        return next;
    }
    model_book(&w->model, waits[next].t.sheet, id);
    w->counts.booked++;
    return next + 1;
}

void check_new(struct world *w, const struct world_wait *waits, const char *const *out,
               size_t count, bool sure)
{
    size_t next = 0;
    bool any = false;
    sqlite3_stmt *st = ask(w, "SELECT j.id, p.order_id, p.text FROM journal j LEFT JOIN payment p "
                              "ON p.journal = j.id WHERE j.id > ? ORDER BY j.id");
    sqlite3_bind_int64(st, 1, w->read);
    while (!w->broken && sqlite3_step(st) == SQLITE_ROW) {
        if (sqlite3_column_int64(st, 0) != ++w->read)
            world_wrong(w, "entry %lld is missing", (long long)w->read);
        next = take_up(w, st, waits, out, next, count);
        any = true;
    }
    sqlite3_finalize(st);
    for (; next < count && (any || sure); next++)
        if (strcmp(out[next], "booked") == 0)
            world_wrong(w, "order %zu is not booked, though nothing stood in its way%s",
                        waits[next].t.sheet, any ? ", and others of its batch are" : "");
}

void check_nothing(struct world *w)
{
    check_new(w, NULL, NULL, 0, true);
}

void check_balances(struct world *w)
{
    int64_t sum = 0;
    sqlite3_stmt *st = ask(w, "SELECT number, balance FROM account ORDER BY id");
    while (sqlite3_step(st) == SQLITE_ROW) {
        const char *number = (const char *)sqlite3_column_text(st, 0);
        int64_t balance = sqlite3_column_int64(st, 1);
        const struct model_account *a = model_account_find(&w->model, number);
        sum += balance;
        if (a != NULL && a->balance != balance)
            world_wrong(w, "account %s holds %lld, and should %lld", number, (long long)balance,
                        (long long)a->balance);
    }
    sqlite3_finalize(st);
    if (sum != 0)
        world_wrong(w, "all accounts together hold %lld", (long long)sum);
}

bool check_card_blocked(struct world *w, unsigned card)
{
    sqlite3_stmt *st = ask(w, "SELECT status = 'blocked' FROM card WHERE serial = ?");
    sqlite3_bind_blob(st, 1, w->cards[card].serial, ORDER_SERIAL_LEN, SQLITE_STATIC);
    bool blocked = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) == 1;
    sqlite3_finalize(st);
    return blocked;
}

static const struct model_sheet *of_entry(const struct model *m, int64_t entry)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->sheets[i].entry == entry)
            return &m->sheets[i];
    return NULL;
}

static void check_payments(struct world *w)
{
    size_t found = 0, booked = 0;
    sqlite3_stmt *st = ask(w, "SELECT journal, order_id, text FROM payment ORDER BY journal");
    while (sqlite3_step(st) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(st, 0);
        const struct model_sheet *s = of_entry(&w->model, id);
        if (s == NULL || !is_sheet(st, 1, s))
            world_wrong(w, "entry %lld is not the order any more that it was", (long long)id);
        found++;
    }
    sqlite3_finalize(st);
    for (size_t i = 0; i < w->model.count; i++)
        booked += w->model.sheets[i].entry != 0;
    if (found != booked)
        world_wrong(w, "%zu orders were booked, and %zu are in the books", booked, found);
}

void check_all(struct world *w)
{
    struct say why = {""};
    struct audit_result result;
    const struct audit_options options = {0};
    check_balances(w);
    check_payments(w);
    w->counts.audits++;
    if (audit_run(w->processes[0].bank, &options, &result, &why) != CW_OK)
        world_wrong(w, "audit: %s", why.text);
    else if (result.entries != w->read)
        world_wrong(w, "audit: %lld entries, and not %lld", (long long)result.entries,
                    (long long)w->read);
}

/* ---- answers ---- */

const char *check_answer_name(const struct world_wait *a)
{
    return a->status == 201 ? "booked" : a->status == 200 ? "booked-before" : a->problem;
}

/* The answer names the entry, and says what the payer has left. */
static bool tells(const struct world_wait *a, const struct model_sheet *s)
{
    json_int_t id = 0;
    char balance[32] = "";
    const char *said = "";
    struct buf_writer b;
    json_t *body = json_loads(a->body, 0, NULL);
    buf_writer_init(&b, (uint8_t *)balance, sizeof balance - 1);
    order_amount_put(&b, s->balance, "EUR");
    bool good = json_unpack(body, "{s:{s:I}, s:s}", "payment", "id", &id, "balance", &said) == 0 &&
                id == s->entry && strcmp(said, balance) == 0;
    json_decref(body);
    return good;
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

void check_answer(struct world *w, const struct world_wait *a, const char *expected, bool fault)
{
    const char *got = check_answer_name(a);
    const struct model_sheet *s = &w->model.sheets[a->t.sheet];
    bool cannot_say = is(got, "store") || is(got, "outcome-unknown");
    if (!is(got, expected) && !(fault && cannot_say))
        world_wrong(w, "order %zu is answered '%s', and should be '%s'", a->t.sheet, got, expected);
    if (is(got, "store") && s->entry != 0)
        world_wrong(w, "order %zu is called not booked, and is entry %lld", a->t.sheet,
                    (long long)s->entry);
    if (!is(got, "booked") && !is(got, "booked-before"))
        return;
    if (s->entry == 0)
        world_wrong(w, "order %zu is called %s, and is not in the books", a->t.sheet, got);
    else if (!tells(a, s))
        world_wrong(w, "order %zu is entry %lld, and its answer says: %s", a->t.sheet,
                    (long long)s->entry, a->body);
}
