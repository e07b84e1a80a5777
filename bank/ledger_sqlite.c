/* ledger_sqlite.c - SQLite below the ledger: a file, which several programs may have open. Not for
 * business rules. */
#include "bank/ledger_booking.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPLICATION_ID  0x43574C42 /* "CWLB": tells a ledger from any other SQLite file */
#define SCHEMA_TEXT_MAX 32768u
#define CHAINED         4 /* the schema from which on entries have hashes */

/* The most that are kept prepared: more than there are different ones. */
#define STATEMENTS_MAX 192u

struct sqlite_stmt {
    struct db_stmt base;
    const char *key; /* where the caller has the text: most often the same place again */
    sqlite3_stmt *st;
    bool busy; /* between prepare and done */
    bool kept; /* for the next time */
};

struct sqlite_ledger {
    struct ledger base;
    sqlite3 *db;
    bool stuck; /* a transaction could be neither committed nor rolled back: nothing that is read is
                   in the books */
    size_t kept;
    struct sqlite_stmt *statements[STATEMENTS_MAX];
};

static struct sqlite_ledger *sqlite_of(struct ledger *l)
{
    return (struct sqlite_ledger *)l;
}

/* Turns what SQLite said into an error and a sentence. */
static enum cw_err fail(struct ledger *l, int rc, struct say *why)
{
    switch (rc & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return say_fail(why, CW_ERR_BUSY,
                        "%s is locked by another program; try again when it has finished",
                        l->where);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return say_fail(why, CW_ERR_FORMAT,
                        "%s is no ledger, or is damaged (%s); restore it from a copy", l->where,
                        sqlite3_errmsg(sqlite_of(l)->db));
    case SQLITE_FULL:
        return say_fail(why, CW_ERR_SPACE,
                        "the disk under %s is full; make room, nothing was changed", l->where);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return say_fail(why, CW_ERR_IO,
                        "%s cannot be opened for writing (%s); check the folder and its owner",
                        l->where, sqlite3_errmsg(sqlite_of(l)->db));
    case SQLITE_CONSTRAINT:
        return say_fail(why, CW_ERR_EXISTS, "the ledger refused it: %s",
                        sqlite3_errmsg(sqlite_of(l)->db));
    default:
        return say_fail(why, CW_ERR_IO, "the ledger %s failed: %s", l->where,
                        sqlite3_errmsg(sqlite_of(l)->db));
    }
}

static enum cw_err exec(struct ledger *l, const char *sql, struct say *why)
{
    int rc = sqlite3_exec(sqlite_of(l)->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? CW_OK : fail(l, rc, why);
}

/* Rolls back, and believes only SQLite's own word for it. */
static enum cw_err roll_back(struct ledger *l, struct say *why)
{
    if (!sqlite3_get_autocommit(sqlite_of(l)->db))
        (void)sqlite3_exec(sqlite_of(l)->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite_of(l)->stuck = !sqlite3_get_autocommit(sqlite_of(l)->db);
    if (sqlite_of(l)->stuck)
        return say_fail(why, CW_ERR_IO, "the ledger %s cannot roll back: %s; restart the bank",
                        l->where, sqlite3_errmsg(sqlite_of(l)->db));
    return CW_OK;
}

/* Inside a transaction that hangs, bookings can be read that were never made. */
static enum cw_err unstick(struct ledger *l, struct say *why)
{
    return sqlite_of(l)->stuck ? roll_back(l, why) : CW_OK;
}

/* ---- statements ---- */

static enum cw_err bind(struct ledger *l, sqlite3_stmt *st, const struct db_value *values,
                        size_t count, struct say *why)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < count && rc == SQLITE_OK; i++) {
        const struct db_value *v = &values[i];
        int n = (int)i + 1;
        if (v->null)
            rc = sqlite3_bind_null(st, n);
        else if (v->type == 'i')
            rc = sqlite3_bind_int64(st, n, v->number);
        else if (v->type == 't')
            rc = sqlite3_bind_text(st, n, v->data, (int)v->len, SQLITE_STATIC);
        else
            rc = sqlite3_bind_blob64(st, n, v->data, v->len, SQLITE_STATIC);
    }
    return rc == SQLITE_OK ? CW_OK : fail(l, rc, why);
}

static bool is_it(const struct sqlite_stmt *s, const char *sql)
{
    return !s->busy && strcmp(sqlite3_sql(s->st), sql) == 0;
}

/* One that is prepared and not in use; NULL when there is none. */
static struct sqlite_stmt *find_kept(struct sqlite_ledger *q, const char *sql)
{
    for (size_t i = 0; i < q->kept; i++)
        if (q->statements[i]->key == sql && is_it(q->statements[i], sql))
            return q->statements[i];
    for (size_t i = 0; i < q->kept; i++)
        if (is_it(q->statements[i], sql))
            return q->statements[i];
    return NULL;
}

static enum cw_err make_statement(struct ledger *l, const char *sql, struct sqlite_stmt **out,
                                  struct say *why)
{
    struct sqlite_ledger *q = sqlite_of(l);
    struct sqlite_stmt *s = calloc(1, sizeof *s);
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    int rc = sqlite3_prepare_v2(q->db, sql, -1, &s->st, NULL);
    if (rc != SQLITE_OK) {
        free(s);
        return fail(l, rc, why);
    }
    s->base.ledger = l;
    s->key = sql;
    s->kept = q->kept < STATEMENTS_MAX;
    if (s->kept)
        q->statements[q->kept++] = s;
    *out = s;
    return CW_OK;
}

static void done(struct db_stmt *st)
{
    struct sqlite_stmt *s = (struct sqlite_stmt *)st;
    if (s->kept) {
        sqlite3_reset(s->st);
        sqlite3_clear_bindings(s->st);
        s->busy = false;
        return;
    }
    sqlite3_finalize(s->st);
    free(s);
}

static enum cw_err prepare(struct ledger *l, struct db_stmt **out, const char *sql,
                           const struct db_value *values, size_t count, struct say *why)
{
    struct sqlite_stmt *s = NULL;
    enum cw_err err = unstick(l, why);
    if (err == CW_OK && (s = find_kept(sqlite_of(l), sql)) == NULL)
        err = make_statement(l, sql, &s, why);
    if (err != CW_OK)
        return err;
    s->busy = true;
    err = bind(l, s->st, values, count, why);
    if (err != CW_OK)
        done(&s->base);
    else
        *out = &s->base;
    return err;
}

static enum cw_err step(struct db_stmt *st, bool *row, struct say *why)
{
    int rc = sqlite3_step(((struct sqlite_stmt *)st)->st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return fail(st->ledger, rc, why);
    *row = rc == SQLITE_ROW;
    return CW_OK;
}

static bool null(const struct db_stmt *st, int column)
{
    return sqlite3_column_type(((const struct sqlite_stmt *)st)->st, column) == SQLITE_NULL;
}

static int64_t number(const struct db_stmt *st, int column)
{
    return sqlite3_column_int64(((const struct sqlite_stmt *)st)->st, column);
}

static const void *bytes(const struct db_stmt *st, int column, size_t *len)
{
    sqlite3_stmt *q = ((const struct sqlite_stmt *)st)->st;
    const void *data = sqlite3_column_type(q, column) == SQLITE_BLOB
                           ? sqlite3_column_blob(q, column)
                           : sqlite3_column_text(q, column);
    *len = (size_t)sqlite3_column_bytes(q, column);
    if (data == NULL && sqlite3_column_type(q, column) == SQLITE_BLOB)
        data = ""; /* so SQLite says "no bytes" */
    return data;
}

static int64_t changed(const struct ledger *l)
{
    return sqlite3_changes64(((const struct sqlite_ledger *)l)->db);
}

/* ---- transactions ---- */

static enum cw_err begin(struct ledger *l, bool write, struct say *why)
{
    enum cw_err err = unstick(l, why);
    /* Without the lock it is the first read that takes the snapshot. */
    return err == CW_OK ? exec(l, write ? "BEGIN IMMEDIATE" : "BEGIN", why) : err;
}

/* Whether after this failure of COMMIT, and a rollback, nothing can be found in the books. With
 * SQLITE_IOERR it can: the frame that commits may be whole in the log, and only its fsync have
 * failed; this connection does not see it, but a recovery after a crash would take it up. With
 * SQLITE_FULL the frame was cut short, and its checksum tells. */
static bool commit_undone(int rc)
{
    switch (rc & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_CONSTRAINT:
    case SQLITE_AUTH:
        return true;
    default:
        return false;
    }
}

static enum cw_err end(struct ledger *l, bool commit, enum db_fate *fate, struct say *why)
{
    enum cw_err err = CW_OK;
    if (commit) {
        int rc = sqlite3_exec(sqlite_of(l)->db, "COMMIT", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            return CW_OK;
        err = fail(l, rc, why);
        *fate = commit_undone(rc) ? DB_UNDONE : DB_UNKNOWN;
    }
    /* Some failures have rolled back already; a failed COMMIT may leave the transaction open. One
     * that cannot be rolled back either is not committed: nothing will commit it any more. */
    enum cw_err back = roll_back(l, why);
    return back != CW_OK ? back : err;
}

static enum cw_err fetch(struct ledger *l, struct booking *b, struct say *why)
{
    enum cw_err err = begin(l, true, why);
    if (err != CW_OK || (err = db_rows_fetch(l, b, why)) == CW_OK)
        return err;
    return db_end(l, err, why);
}

/* ---- opening ---- */

static enum cw_err pragma_number(struct ledger *l, const char *sql, int64_t *out, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, sql, "");
    return db_number(l, err, st, out, why);
}

static enum cw_err open_db(const char *path, int flags, const struct ledger_clock *clock,
                           struct ledger **out, struct say *why)
{
    struct sqlite_ledger *q = calloc(1, sizeof *q);
    if (q == NULL || (q->base.where = strdup(path)) == NULL) {
        free(q);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    struct ledger *l = &q->base;
    l->engine = &db_sqlite;
    l->clock = *clock;
    int rc = sqlite3_open_v2(path, &q->db, flags | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK) {
        enum cw_err err = fail(l, rc, why);
        ledger_free(&l);
        return err;
    }
    sqlite3_busy_timeout(q->db, DB_SQLITE_BUSY_MS);
    *out = l;
    return CW_OK;
}

/* Durable to the disk at every commit: a payment that was acknowledged is never lost. */
static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;";

static enum cw_err set_schema(struct ledger *l, struct say *why)
{
    char pragma[96];
    sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                     APPLICATION_ID, LEDGER_SCHEMA);
    return exec(l, pragma, why);
}

/* Inside a transaction: what refers to something that is not there any more. */
static enum cw_err check_references(struct ledger *l, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, "PRAGMA foreign_key_check", "");
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    db_done(&st);
    if (err == CW_OK && row)
        err = say_fail(why, CW_ERR_FORMAT, "%s is damaged; restore it from a copy", l->where);
    return err;
}

/* Takes the ledger from the schema it has to ours, all of the way or not at all. */
static enum cw_err migrate(struct ledger *l, struct say *why)
{
    int64_t version = 0;
    enum cw_err err = exec(l, "PRAGMA foreign_keys = OFF", why);
    if (err != CW_OK || (err = db_begin(l, why)) != CW_OK)
        return err;
    /* Again, under the write lock: another program may have been faster, and newer. */
    err = pragma_number(l, "PRAGMA user_version", &version, why);
    if (err == CW_OK)
        err = db_version_check(l, version, why);
    for (int64_t i = version; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = exec(l, db_steps[i], why);
    /* Of a ledger that has its chain, an entry without a hash is a fault, for the audit to find. */
    if (err == CW_OK && version < CHAINED)
        err = db_chain_fill(l, why);
    if (err == CW_OK)
        err = check_references(l, why);
    if (err == CW_OK)
        err = set_schema(l, why);
    err = db_end(l, err, why);
    return err == CW_OK ? exec(l, "PRAGMA foreign_keys = ON", why) : err;
}

/* Everything of the schema in one text. */
static enum cw_err schema_text(struct ledger *l, char *out, size_t cap, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(
        l, &st, why,
        "SELECT coalesce(group_concat(t, char(10)), '') FROM (SELECT type || ' ' || name || "
        "' ' || coalesce(sql, '') AS t FROM sqlite_schema ORDER BY type, name)",
        "");
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK)
        err = db_text(st, 0, out, cap, why);
    db_done(&st);
    return err;
}

/* Every ledger has come by the same steps: those that a new one in memory takes now. */
static enum cw_err schema_check(struct ledger *l, struct say *why)
{
    struct ledger *fresh = NULL;
    char *texts = malloc(2 * SCHEMA_TEXT_MAX);
    enum cw_err err = texts != NULL
                          ? open_db(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                    &l->clock, &fresh, why)
                          : say_fail(why, CW_ERR_SPACE, "out of memory");
    for (int i = 0; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = exec(fresh, db_steps[i], why);
    if (err == CW_OK)
        err = schema_text(fresh, texts, SCHEMA_TEXT_MAX, why);
    if (err == CW_OK)
        err = schema_text(l, texts + SCHEMA_TEXT_MAX, SCHEMA_TEXT_MAX, why);
    if (err == CW_OK && strcmp(texts, texts + SCHEMA_TEXT_MAX) != 0)
        err = say_fail(
            why, CW_ERR_FORMAT,
            "the ledger's tables, indexes and triggers are not those that cardwired makes: "
            "they were changed, and with them what keeps the books");
    free(texts);
    ledger_free(&fresh);
    return err;
}

static enum cw_err create(const char *path, const struct ledger_clock *clock, struct ledger **out,
                          struct say *why)
{
    struct ledger *l = NULL;
    /* O_EXCL: two programs that make a bank in one folder must not both succeed. */
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return say_fail(why, CW_ERR_EXISTS, "cannot make %s: %s; choose another folder", path,
                        strerror(errno));
    close(fd);
    enum cw_err err = open_db(path, SQLITE_OPEN_READWRITE, clock, &l, why);
    if (err == CW_OK)
        err = exec(l, settings, why);
    if (err == CW_OK)
        err = migrate(l, why);
    if (err != CW_OK) {
        ledger_free(&l);
        unlink(path);
        return err;
    }
    *out = l;
    return CW_OK;
}

static enum cw_err open_there(const char *path, const struct ledger_clock *clock,
                              struct ledger **out, struct say *why)
{
    struct ledger *l = NULL;
    int64_t id = 0, version = 0;
    if (access(path, F_OK) != 0)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "there is no bank: %s: %s; make one with 'cardwired init'", path,
                        strerror(errno));
    enum cw_err err = open_db(path, SQLITE_OPEN_READWRITE, clock, &l, why);
    if (err != CW_OK)
        return err;
    err = pragma_number(l, "PRAGMA application_id", &id, why);
    if (err == CW_OK)
        err = pragma_number(l, "PRAGMA user_version", &version, why);
    if (err == CW_OK && id != APPLICATION_ID)
        err = say_fail(why, CW_ERR_FORMAT, "%s is a database, but not a bank's ledger", path);
    if (err == CW_OK)
        err = db_version_check(l, version, why);
    if (err == CW_OK && version < 1)
        err = say_fail(why, CW_ERR_FORMAT, "%s has schema %lld, which no release ever wrote", path,
                       (long long)version);
    if (err == CW_OK)
        err = exec(l, settings, why);
    if (err == CW_OK && version < LEDGER_SCHEMA)
        err = migrate(l, why);
    if (err != CW_OK) {
        ledger_free(&l);
        return err;
    }
    *out = l;
    return CW_OK;
}

static enum cw_err copy_pages(struct ledger *l, struct ledger *to, struct say *why)
{
    sqlite3_backup *copy = sqlite3_backup_init(sqlite_of(to)->db, "main", sqlite_of(l)->db, "main");
    if (copy == NULL)
        return fail(to, sqlite3_errcode(sqlite_of(to)->db), why);
    int rc = sqlite3_backup_step(copy, -1); /* all at once: of one state */
    sqlite3_backup_finish(copy);
    return rc == SQLITE_DONE ? CW_OK : fail(to, rc, why);
}

static enum cw_err copy(struct ledger *l, const char *path, struct say *why)
{
    struct ledger *to = NULL;
    enum cw_err err = unstick(l, why);
    if (err != CW_OK)
        return err;
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return say_fail(why, CW_ERR_EXISTS, "cannot make %s: %s; choose another folder", path,
                        strerror(errno));
    err = open_db(path, SQLITE_OPEN_READWRITE, &l->clock, &to, why);
    if (err == CW_OK)
        err = copy_pages(l, to, why);
    ledger_free(&to);
    if (err == CW_OK && fsync(fd) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot bring %s to the disk: %s", path, strerror(errno));
    close(fd);
    if (err != CW_OK)
        unlink(path);
    return err;
}

static void close_db(struct ledger *l)
{
    struct sqlite_ledger *q = sqlite_of(l);
    for (size_t i = 0; i < q->kept; i++) {
        sqlite3_finalize(q->statements[i]->st);
        free(q->statements[i]);
    }
    sqlite3_close(q->db);
    free(l->where);
    free(q);
}

static enum cw_err read_only(struct ledger *l, struct say *why)
{
    return exec(l, "PRAGMA query_only = ON", why);
}

const struct db_engine db_sqlite = {
    .by_rows = " NOT INDEXED",
    .close = close_db,
    .exec = exec,
    .prepare = prepare,
    .step = step,
    .done = done,
    .null = null,
    .number = number,
    .bytes = bytes,
    .changed = changed,
    .begin = begin,
    .end = end,
    .fetch = fetch,
    .add = db_rows_add,
    .balances = db_rows_balances,
    .read_only = read_only,
    .schema_check = schema_check,
    .copy = copy,
    .writable = db_sqlite_writable,
};

enum cw_err db_sqlite_open(const char *path, bool fresh, const struct ledger_clock *clock,
                           struct ledger **out, struct say *why)
{
    return fresh ? create(path, clock, out, why) : open_there(path, clock, out, why);
}

struct sqlite3 *db_sqlite_handle(const struct ledger *l)
{
    return ((const struct sqlite_ledger *)l)->db;
}
