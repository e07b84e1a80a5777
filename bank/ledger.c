/* ledger.c - opening a ledger, and what every part of it does through the engine below. Not for
 * business rules. */
#include "bank/ledger_db.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t system_now(void *ctx)
{
    (void)ctx;
    return (int64_t)time(NULL);
}

const struct ledger_clock ledger_clock_system = {system_now, NULL};

int64_t ledger_now(const struct ledger *l)
{
    return l->clock.now(l->clock.ctx);
}

/* ---- opening ---- */

static enum cw_err open_where(const char *where, bool fresh, const struct ledger_clock *clock,
                              struct ledger **out, struct say *why)
{
    *out = NULL;
    return ledger_is_address(where) ? db_pg_open(where, fresh, clock, out, why)
                                    : db_sqlite_open(where, fresh, clock, out, why);
}

bool ledger_is_address(const char *where)
{
    return strncmp(where, "postgresql://", 13) == 0 || strncmp(where, "postgres://", 11) == 0;
}

enum cw_err ledger_create(const char *where, const struct ledger_clock *clock, struct ledger **out,
                          struct say *why)
{
    return open_where(where, true, clock, out, why);
}

enum cw_err ledger_open(const char *where, const struct ledger_clock *clock, struct ledger **out,
                        struct say *why)
{
    return open_where(where, false, clock, out, why);
}

enum cw_err db_version_check(const struct ledger *l, int64_t version, struct say *why)
{
    if (version > LEDGER_SCHEMA)
        return say_fail(why, CW_ERR_NEWER,
                        "%s was written by a newer cardwired (schema %lld, this one knows %d); use "
                        "that program",
                        l->where, (long long)version, LEDGER_SCHEMA);
    return CW_OK;
}

void ledger_free(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    if (l == NULL)
        return;
    l->engine->close(l);
    *ledger = NULL;
}

enum cw_err ledger_copy(struct ledger *l, const char *path, struct say *why)
{
    return l->engine->copy(l, path, why);
}

enum cw_err ledger_schema_check(struct ledger *l, struct say *why)
{
    return l->engine->schema_check(l, why);
}

/* ---- statements ---- */

enum cw_err db_exec(struct ledger *l, const char *sql, struct say *why)
{
    return l->engine->exec(l, sql, why);
}

enum cw_err db_prepare(struct ledger *l, struct db_stmt **out, struct say *why, const char *sql,
                       const char *types, ...)
{
    struct db_value values[DB_VALUES_MAX];
    size_t count = 0;
    va_list args;
    va_start(args, types);
    for (; types[count] != '\0' && count < DB_VALUES_MAX; count++) {
        struct db_value *v = &values[count];
        *v = (struct db_value){.type = types[count]};
        if (v->type == 'i') {
            v->number = va_arg(args, int64_t);
        } else {
            v->data = va_arg(args, const void *);
            v->len = v->type == 't' ? strlen(v->data) : va_arg(args, size_t);
        }
    }
    va_end(args);
    *out = NULL;
    return l->engine->prepare(l, out, sql, values, count, why);
}

enum cw_err db_prepare_values(struct ledger *l, struct db_stmt **out, const char *sql,
                              const struct db_value *values, size_t count, struct say *why)
{
    *out = NULL;
    return l->engine->prepare(l, out, sql, values, count, why);
}

enum cw_err db_step(struct ledger *l, struct db_stmt *st, bool *row, struct say *why)
{
    return l->engine->step(st, row, why);
}

void db_done(struct db_stmt **st)
{
    if (*st != NULL)
        (*st)->ledger->engine->done(*st);
    *st = NULL;
}

bool db_null(const struct db_stmt *st, int column)
{
    return st->ledger->engine->null(st, column);
}

int64_t db_int(const struct db_stmt *st, int column)
{
    return st->ledger->engine->number(st, column);
}

const void *db_bytes(const struct db_stmt *st, int column, size_t *len)
{
    return st->ledger->engine->bytes(st, column, len);
}

int64_t db_changed(const struct ledger *l)
{
    return l->engine->changed(l);
}

enum cw_err db_run(struct ledger *l, enum cw_err prepared, struct db_stmt *st, struct say *why)
{
    bool row;
    if (prepared != CW_OK)
        return prepared;
    enum cw_err err = db_step(l, st, &row, why);
    db_done(&st);
    return err;
}

enum cw_err db_number(struct ledger *l, enum cw_err prepared, struct db_stmt *st, int64_t *out,
                      struct say *why)
{
    bool row = false;
    if (prepared != CW_OK)
        return prepared;
    enum cw_err err = db_step(l, st, &row, why);
    if (err == CW_OK && row)
        *out = db_int(st, 0);
    else if (err == CW_OK)
        err = CW_ERR_NOT_FOUND;
    db_done(&st);
    return err;
}

enum cw_err db_counts(struct ledger *l, const struct db_count *counts, size_t count,
                      struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        struct db_stmt *st;
        err = db_prepare(l, &st, why, counts[i].sql, "");
        err = db_number(l, err, st, counts[i].to, why);
    }
    return err;
}

static enum cw_err damaged(struct say *why)
{
    return say_fail(why, CW_ERR_FORMAT,
                    "the ledger holds a value of a wrong size; restore it from a copy");
}

enum cw_err db_text(const struct db_stmt *st, int column, char *out, size_t cap, struct say *why)
{
    size_t len = 0;
    const char *text = db_bytes(st, column, &len);
    if (text == NULL || len >= cap || memchr(text, '\0', len) != NULL)
        return damaged(why);
    memcpy(out, text, len);
    out[len] = '\0';
    return CW_OK;
}

enum cw_err db_blob(const struct db_stmt *st, int column, uint8_t *out, size_t cap, size_t *len,
                    struct say *why)
{
    size_t n = 0;
    const void *data = db_bytes(st, column, &n);
    if (data == NULL || n > cap)
        return damaged(why);
    memcpy(out, data, n);
    *len = n;
    return CW_OK;
}

enum cw_err db_blob_exact(const struct db_stmt *st, int column, uint8_t *out, size_t len,
                          struct say *why)
{
    size_t n;
    enum cw_err err = db_blob(st, column, out, len, &n, why);
    return err == CW_OK && n != len ? damaged(why) : err;
}

enum cw_err db_copy_text(const struct db_stmt *st, int column, char **out, struct say *why)
{
    size_t len = 0;
    const char *text = db_bytes(st, column, &len);
    if (text == NULL)
        return damaged(why);
    *out = strndup(text, len);
    return *out != NULL ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
}

/* ---- transactions ---- */

enum cw_err db_begin(struct ledger *l, struct say *why)
{
    enum cw_err err = l->engine->begin(l, true, why);
    l->writing = l->writing || err == CW_OK;
    return err;
}

enum cw_err db_end_told(struct ledger *l, enum cw_err err, enum db_fate *fate, struct say *why)
{
    *fate = DB_UNDONE;
    l->writing = false;
    enum cw_err end = l->engine->end(l, err == CW_OK, fate, why);
    return end != CW_OK ? end : err;
}

enum cw_err db_end(struct ledger *l, enum cw_err err, struct say *why)
{
    enum db_fate fate;
    return db_end_told(l, err, &fate, why);
}

const char *ledger_operator_get(const struct ledger *l)
{
    return l->who;
}

enum cw_err ledger_writable(struct ledger *l, struct say *why)
{
    return l->engine->writable(l, why);
}

enum cw_err ledger_together(struct ledger *l, enum cw_err (*act)(void *ctx, struct say *why),
                            void *ctx, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, act(ctx, why), why) : err;
}

enum cw_err ledger_snapshot(struct ledger *l, enum cw_err (*act)(void *ctx, struct say *why),
                            void *ctx, struct say *why)
{
    enum cw_err err = l->engine->begin(l, false, why);
    return err == CW_OK ? db_end(l, act(ctx, why), why) : err;
}

/* ---- settings ---- */

enum cw_err ledger_setting_put(struct ledger *l, const char *name, const char *value,
                               struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, "INSERT INTO setting (name, value) VALUES (?, ?)",
                                 "tt", name, value);
    return db_run(l, err, st, why);
}

enum cw_err ledger_setting_change(struct ledger *l, const char *name, const char *from,
                                  const char *to, struct say *why)
{
    struct db_stmt *st;
    bool mine;
    char subject[LEDGER_SUBJECT_MAX + 1];
    enum cw_err err = db_enter(l, &mine, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "UPDATE setting SET value = ? WHERE name = ? AND value = ?",
                     "ttt", to, name, from);
    err = db_run(l, err, st, why);
    if (err == CW_OK && db_changed(l) != 1)
        err =
            say_fail(why, CW_ERR_STATE, "the ledger's setting '%s' is not %s any more", name, from);
    snprintf(subject, sizeof subject, "%.60s, from %.60s to %.60s", name, from, to);
    if (err == CW_OK)
        err = db_admin(l, "setting", subject, why);
    return db_leave(l, mine, err, why);
}

enum cw_err ledger_setting_get(struct ledger *l, const char *name, char *out, size_t cap,
                               struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT value FROM setting WHERE name = ?", "t", name);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "the ledger has no setting '%s'", name);
    if (err == CW_OK)
        err = db_text(st, 0, out, cap, why);
    db_done(&st);
    return err;
}
