/* ledger_transfer.c - all books from one ledger into a new one, whatever engines are below them. */
#include "bank/ledger_booking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_AT_ONCE 64u
#define ROWS_AT_ONCE    "500"

/* What is copied row by row, in the order in which one refers to another. The first columns are the
 * key, one letter each of `key`. Journal, postings, payments and chain go entry by entry. */
static const struct table {
    const char *name, *columns, *types, *key;
} tables[] = {
    {"setting", "name, value", "tt", "name"},
    {"customer", "id, name, since", "iti", "id"},
    {"account", "id, number, customer, currency, balance, since, kind, held, floor, frozen",
     "ititiitiii", "id"},
    {"card", "serial, customer, status, since", "biti", "serial"},
    {"certificate", "sha256, card, kind, slot, der, replaced", "bbtibi", "sha256"},
    {"revocation", "card, reason, time", "bii", "card"},
    {"management", "card, keyset, policy, applied", "bibi", "card"},
    {"card_update", "card, sequence, message, made, fetched", "bibii", "card, sequence"},
    {"payee", "id, card, account, name, added, confirmed, removed", "ibttiti", "id"},
    {"payee_request", "id, card, action, account, name, asked, status, decided, words", "ibtttitit",
     "id"},
    {"event", "id, customer, time, kind, card, account, name, words", "iiitbttt", "id"},
    {"card_keys", "serial, given", "bi", "serial"},
    {"head_signer", "sha256, der", "bb", "sha256"},
};

/* Those whose rows refer to entries: after them. */
static const struct table later[] = {
    {"head", "journal, text, signature, signer", "ibbb", "journal"},
    {"hold", "journal, account, payee, amount, captured, expiry, state", "iiiiiit", "journal"},
    {"proposal", "journal, payer, payee, amount, reference, reverses, expiry, state", "iiiitiit",
     "journal"},
};

struct transfer {
    struct ledger *from, *to;
    struct ledger_entry *entries; /* ENTRIES_AT_ONCE */
    struct ledger_payment *payments;
    struct ledger_ground *grounds;
    size_t count;
    void (*progress)(void *ctx, int64_t done, int64_t total);
    void *ctx;
    int64_t done, total;
};

/* ---- tables ---- */

/* The values of a row; what they point to lives until the next step. */
static void row_values(const struct db_stmt *st, const struct table *t, struct db_value *out)
{
    for (int i = 0; t->types[i] != '\0'; i++) {
        out[i] = (struct db_value){.type = t->types[i], .null = db_null(st, i)};
        if (out[i].type == 'i')
            out[i].number = db_int(st, i);
        else
            out[i].data = db_bytes(st, i, &out[i].len);
    }
}

static enum cw_err put_row(struct ledger *to, const struct table *t, const struct db_value *values,
                           struct say *why)
{
    char sql[256];
    struct db_stmt *st;
    size_t n = strlen(t->types);
    int len = snprintf(sql, sizeof sql, "INSERT INTO %s (%s) VALUES (?", t->name, t->columns);
    for (size_t i = 1; i < n; i++)
        len += snprintf(sql + len, sizeof sql - (size_t)len, ", ?");
    snprintf(sql + len, sizeof sql - (size_t)len, ")");
    enum cw_err err = db_prepare_values(to, &st, sql, values, n, why);
    return db_run(to, err, st, why);
}

/* Keys are kept for the next page, for which the row that had them is gone. */
struct key {
    struct db_value values[2];
    uint8_t bytes[2][256];
    size_t count;
};

static void keep_key(struct key *k, const struct db_value *values)
{
    for (size_t i = 0; i < k->count; i++) {
        k->values[i] = values[i];
        if (values[i].type == 'i')
            continue;
        k->values[i].len = values[i].len < sizeof k->bytes[i] ? values[i].len : sizeof k->bytes[i];
        memcpy(k->bytes[i], values[i].data, k->values[i].len);
        k->values[i].data = k->bytes[i];
    }
}

static enum cw_err copy_page(struct transfer *x, const struct table *t, struct key *k, bool first,
                             size_t *rows, struct say *why)
{
    char sql[320];
    struct db_stmt *st;
    bool row = true;
    enum cw_err err = CW_OK;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s %s%s%s ORDER BY %s LIMIT " ROWS_AT_ONCE,
             t->columns, t->name, first ? "" : "WHERE (", first ? "" : t->key,
             first           ? ""
             : k->count == 1 ? ") > (?)"
                             : ") > (?, ?)",
             t->key);
    err = db_prepare_values(x->from, &st, sql, k->values, first ? 0 : k->count, why);
    *rows = 0;
    while (err == CW_OK && (err = db_step(x->from, st, &row, why)) == CW_OK && row) {
        struct db_value values[DB_VALUES_MAX];
        row_values(st, t, values);
        keep_key(k, values);
        err = put_row(x->to, t, values, why);
        ++*rows;
    }
    db_done(&st);
    return err;
}

static enum cw_err copy_table(struct transfer *x, const struct table *t, struct say *why)
{
    struct key k = {.count = strchr(t->key, ',') != NULL ? 2 : 1};
    size_t rows = 0;
    bool first = true;
    enum cw_err err;
    do {
        err = copy_page(x, t, &k, first, &rows, why);
        first = false;
    } while (err == CW_OK && rows > 0);
    return err;
}

/* ---- entries ---- */

static enum cw_err flush(struct transfer *x, struct say *why)
{
    struct db_entry entries[ENTRIES_AT_ONCE];
    struct db_paid paid[ENTRIES_AT_ONCE];
    for (size_t i = 0; i < x->count; i++)
        db_entry_written(&x->entries[i], &entries[i], &paid[i]);
    enum cw_err err = x->to->engine->add(x->to, entries, x->count, why);
    for (size_t i = 0; i < x->count; i++)
        free(x->payments[i].reply);
    x->done += (int64_t)x->count;
    x->count = 0;
    if (x->progress != NULL)
        x->progress(x->ctx, x->done, x->total);
    return err;
}

static enum cw_err take_entry(void *ctx, const struct ledger_entry *e, struct say *why)
{
    struct transfer *x = ctx;
    if (!e->chained || memcmp(e->stored, e->hash, sizeof e->hash) != 0)
        return say_fail(why, CW_ERR_FORMAT,
                        "entry %lld has no hash that fits; see what 'cardwired audit' says",
                        (long long)e->id);
    struct ledger_payment *p = &x->payments[x->count];
    p->reply = NULL;
    x->entries[x->count] = *e;
    if (e->payment != NULL) {
        *p = *e->payment;
        x->entries[x->count].payment = p;
        if ((p->reply = strdup(e->payment->reply)) == NULL)
            return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    if (e->ground != NULL) {
        x->grounds[x->count] = *e->ground;
        x->entries[x->count].ground = &x->grounds[x->count];
    }
    return ++x->count == ENTRIES_AT_ONCE ? flush(x, why) : CW_OK;
}

static enum cw_err copy_entries(struct transfer *x, struct say *why)
{
    x->entries = malloc(ENTRIES_AT_ONCE * sizeof *x->entries);
    x->payments = malloc(ENTRIES_AT_ONCE * sizeof *x->payments);
    x->grounds = malloc(ENTRIES_AT_ONCE * sizeof *x->grounds);
    enum cw_err err = x->entries != NULL && x->payments != NULL && x->grounds != NULL
                          ? ledger_entry_each(x->from, take_entry, x, why)
                          : say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK && x->count > 0)
        err = flush(x, why);
    for (size_t i = 0; i < x->count; i++)
        free(x->payments[i].reply);
    free(x->entries);
    free(x->payments);
    free(x->grounds);
    return err;
}

/* ---- both ---- */

static enum cw_err write_all(void *ctx, struct say *why)
{
    struct transfer *x = ctx;
    struct ledger_rows rows;
    /* What a new ledger has of itself. */
    enum cw_err err = db_exec(x->to, "DELETE FROM setting", why);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && err == CW_OK; i++)
        err = copy_table(x, &tables[i], why);
    if (err == CW_OK)
        err = ledger_rows_get(x->from, &rows, why);
    if (err != CW_OK)
        return err;
    x->total = rows.entries;
    err = copy_entries(x, why);
    for (size_t i = 0; i < sizeof later / sizeof *later && err == CW_OK; i++)
        err = copy_table(x, &later[i], why);
    return err;
}

static enum cw_err read_all(void *ctx, struct say *why)
{
    struct transfer *x = ctx;
    return ledger_together(x->to, write_all, x, why);
}

enum cw_err ledger_transfer(struct ledger *from, struct ledger *to,
                            void (*progress)(void *ctx, int64_t done, int64_t total), void *ctx,
                            struct say *why)
{
    struct transfer x = {.from = from, .to = to, .progress = progress, .ctx = ctx};
    return ledger_snapshot(from, read_all, &x, why);
}

/* ---- closed books ---- */

#define CLOSED "books_closed"

enum cw_err ledger_books_closed(struct ledger *l, bool *out, struct say *why)
{
    struct db_stmt *st;
    int64_t count = 0;
    if (l->engine != &db_sqlite)
        return say_fail(why, CW_ERR_UNSUPPORTED, "only books in a file can be closed");
    enum cw_err err = db_prepare(l, &st, why, "SELECT count(*) FROM sqlite_schema WHERE name = ?",
                                 "t", CLOSED "_journal_INSERT");
    err = db_number(l, err, st, &count, why);
    if (err == CW_OK)
        *out = count != 0;
    return err;
}

static enum cw_err close_table(struct ledger *l, const char *table, struct say *why)
{
    static const char *const ways[] = {"INSERT", "UPDATE", "DELETE"};
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && err == CW_OK; i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "CREATE TRIGGER " CLOSED "_%s_%s BEFORE %s ON %s BEGIN SELECT RAISE (ABORT, "
                 "'these books have moved to a database; start the bank anew'); END",
                 table, ways[i], ways[i], table);
        err = db_exec(l, sql, why);
    }
    return err;
}

enum cw_err ledger_close_books(struct ledger *l, struct say *why)
{
    enum cw_err err = close_table(l, "journal", why);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && err == CW_OK; i++)
        err = close_table(l, tables[i].name, why);
    for (size_t i = 0; i < sizeof later / sizeof *later && err == CW_OK; i++)
        err = close_table(l, later[i].name, why);
    return err;
}
