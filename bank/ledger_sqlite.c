/* ledger_sqlite.c - opening the SQLite ledger, and the few helpers through which the other parts
 * use SQLite. Not for business rules. */
#include "bank/ledger_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION_ID  0x43574C42 /* "CWLB": tells a ledger from any other SQLite file */
#define BUSY_TIMEOUT_MS 3000
#define SCHEMA_TEXT_MAX 32768u
#define CHAINED         4 /* the schema from which on entries have hashes */

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

enum cw_err db_fail(struct ledger *l, int rc, struct say *why)
{
    switch (rc & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return say_fail(why, CW_ERR_BUSY,
                        "%s is locked by another program; try again when it has finished", l->path);
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return say_fail(why, CW_ERR_FORMAT,
                        "%s is no ledger, or is damaged (%s); restore it from a copy", l->path,
                        sqlite3_errmsg(l->db));
    case SQLITE_FULL:
        return say_fail(why, CW_ERR_SPACE,
                        "the disk under %s is full; make room, nothing was changed", l->path);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return say_fail(why, CW_ERR_IO,
                        "%s cannot be opened for writing (%s); check the folder and its owner",
                        l->path, sqlite3_errmsg(l->db));
    case SQLITE_CONSTRAINT:
        return say_fail(why, CW_ERR_EXISTS, "the ledger refused it: %s", sqlite3_errmsg(l->db));
    default:
        return say_fail(why, CW_ERR_IO, "the ledger %s failed: %s", l->path, sqlite3_errmsg(l->db));
    }
}

enum cw_err db_exec(struct ledger *l, const char *sql, struct say *why)
{
    int rc = sqlite3_exec(l->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? CW_OK : db_fail(l, rc, why);
}

/* Rolls back, and believes only SQLite's own word for it. */
static enum cw_err roll_back(struct ledger *l, struct say *why)
{
    if (!sqlite3_get_autocommit(l->db))
        (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
    l->stuck = !sqlite3_get_autocommit(l->db);
    if (l->stuck)
        return say_fail(why, CW_ERR_IO, "the ledger %s cannot roll back: %s; restart the bank",
                        l->path, sqlite3_errmsg(l->db));
    return CW_OK;
}

/* Inside a transaction that hangs, bookings can be read that were never made. */
static enum cw_err unstick(struct ledger *l, struct say *why)
{
    return l->stuck ? roll_back(l, why) : CW_OK;
}

enum cw_err db_prepare(struct ledger *l, sqlite3_stmt **out, struct say *why, const char *sql,
                       const char *types, ...)
{
    sqlite3_stmt *st = NULL;
    *out = NULL;
    enum cw_err loose = unstick(l, why);
    if (loose != CW_OK)
        return loose;
    int rc = sqlite3_prepare_v2(l->db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return db_fail(l, rc, why);
    va_list args;
    va_start(args, types);
    for (int i = 1; *types != '\0' && rc == SQLITE_OK; types++, i++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(st, i, va_arg(args, int64_t));
        } else if (*types == 't') {
            rc = sqlite3_bind_text(st, i, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else {
            const void *data = va_arg(args, const void *);
            rc = sqlite3_bind_blob64(st, i, data, va_arg(args, size_t), SQLITE_STATIC);
        }
    }
    va_end(args);
    if (rc != SQLITE_OK) {
        enum cw_err err = db_fail(l, rc, why);
        sqlite3_finalize(st);
        return err;
    }
    *out = st;
    return CW_OK;
}

enum cw_err db_step(struct ledger *l, sqlite3_stmt *st, bool *row, struct say *why)
{
    int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return db_fail(l, rc, why);
    *row = rc == SQLITE_ROW;
    return CW_OK;
}

enum cw_err db_run(struct ledger *l, enum cw_err prepared, sqlite3_stmt *st, struct say *why)
{
    bool row;
    if (prepared != CW_OK)
        return prepared;
    enum cw_err err = db_step(l, st, &row, why);
    sqlite3_finalize(st);
    return err;
}

enum cw_err db_number(struct ledger *l, enum cw_err prepared, sqlite3_stmt *st, int64_t *out,
                      struct say *why)
{
    bool row = false;
    if (prepared != CW_OK)
        return prepared;
    enum cw_err err = db_step(l, st, &row, why);
    if (err == CW_OK && row)
        *out = sqlite3_column_int64(st, 0);
    else if (err == CW_OK)
        err = CW_ERR_NOT_FOUND;
    sqlite3_finalize(st);
    return err;
}

enum cw_err db_counts(struct ledger *l, const struct db_count *counts, size_t count,
                      struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        sqlite3_stmt *st;
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

enum cw_err db_text(sqlite3_stmt *st, int column, char *out, size_t cap, struct say *why)
{
    const unsigned char *text = sqlite3_column_text(st, column);
    size_t len = (size_t)sqlite3_column_bytes(st, column);
    if (text == NULL || len >= cap || memchr(text, '\0', len) != NULL)
        return damaged(why);
    memcpy(out, text, len);
    out[len] = '\0';
    return CW_OK;
}

enum cw_err db_blob(sqlite3_stmt *st, int column, uint8_t *out, size_t cap, size_t *len,
                    struct say *why)
{
    const void *data = sqlite3_column_blob(st, column);
    size_t n = (size_t)sqlite3_column_bytes(st, column);
    if (data == NULL || n > cap)
        return damaged(why);
    memcpy(out, data, n);
    *len = n;
    return CW_OK;
}

enum cw_err db_blob_exact(sqlite3_stmt *st, int column, uint8_t *out, size_t len, struct say *why)
{
    size_t n;
    enum cw_err err = db_blob(st, column, out, len, &n, why);
    return err == CW_OK && n != len ? damaged(why) : err;
}

enum cw_err db_begin(struct ledger *l, struct say *why)
{
    enum cw_err err = unstick(l, why);
    return err == CW_OK ? db_exec(l, "BEGIN IMMEDIATE", why) : err;
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

enum cw_err db_end_told(struct ledger *l, enum cw_err err, bool *unknown, struct say *why)
{
    *unknown = false;
    if (err == CW_OK) {
        int rc = sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
        if (rc == SQLITE_OK)
            return CW_OK;
        err = db_fail(l, rc, why);
        *unknown = !commit_undone(rc);
    }
    /* Some failures have rolled back already; a failed COMMIT may leave the transaction open. One
     * that cannot be rolled back either is not committed: nothing will commit it any more. */
    enum cw_err back = roll_back(l, why);
    return back != CW_OK ? back : err;
}

enum cw_err db_end(struct ledger *l, enum cw_err err, struct say *why)
{
    bool unknown;
    return db_end_told(l, err, &unknown, why);
}

static enum cw_err pragma_number(struct ledger *l, const char *sql, int64_t *out, struct say *why)
{
    sqlite3_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, sql, "");
    return db_number(l, err, st, out, why);
}

static enum cw_err open_db(const char *path, int flags, const struct ledger_clock *clock,
                           struct ledger **out, struct say *why)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL || (l->path = strdup(path)) == NULL) {
        free(l);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    l->clock = *clock;
    int rc = sqlite3_open_v2(path, &l->db, flags | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK) {
        enum cw_err err = db_fail(l, rc, why);
        ledger_free(&l);
        return err;
    }
    sqlite3_busy_timeout(l->db, BUSY_TIMEOUT_MS);
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
    return db_exec(l, pragma, why);
}

/* Inside a transaction: what refers to something that is not there any more. */
static enum cw_err check_references(struct ledger *l, struct say *why)
{
    sqlite3_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, "PRAGMA foreign_key_check", "");
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    sqlite3_finalize(st);
    if (err == CW_OK && row)
        err = say_fail(why, CW_ERR_FORMAT, "%s is damaged; restore it from a copy", l->path);
    return err;
}

static enum cw_err check_version(struct ledger *l, int64_t version, struct say *why)
{
    if (version > LEDGER_SCHEMA)
        return say_fail(why, CW_ERR_NEWER,
                        "%s was written by a newer cardwired (schema %lld, this one knows %d); use "
                        "that program",
                        l->path, (long long)version, LEDGER_SCHEMA);
    return CW_OK;
}

/* Takes the ledger from the schema it has to ours, all of the way or not at all. */
static enum cw_err migrate(struct ledger *l, struct say *why)
{
    int64_t version = 0;
    enum cw_err err = db_exec(l, "PRAGMA foreign_keys = OFF", why);
    if (err != CW_OK || (err = db_begin(l, why)) != CW_OK)
        return err;
    /* Again, under the write lock: another program may have been faster, and newer. */
    err = pragma_number(l, "PRAGMA user_version", &version, why);
    if (err == CW_OK)
        err = check_version(l, version, why);
    for (int64_t i = version; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = db_exec(l, db_steps[i], why);
    /* Of a ledger that has its chain, an entry without a hash is a fault, for the audit to find. */
    if (err == CW_OK && version < CHAINED)
        err = db_chain_fill(l, why);
    if (err == CW_OK)
        err = check_references(l, why);
    if (err == CW_OK)
        err = set_schema(l, why);
    err = db_end(l, err, why);
    return err == CW_OK ? db_exec(l, "PRAGMA foreign_keys = ON", why) : err;
}

/* Everything of the schema in one text. */
static enum cw_err schema_text(struct ledger *l, char *out, size_t cap, struct say *why)
{
    sqlite3_stmt *st;
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
    sqlite3_finalize(st);
    return err;
}

/* Every ledger has come by the same steps: those that a new one in memory takes now. */
enum cw_err ledger_schema_check(struct ledger *l, struct say *why)
{
    struct ledger *fresh = NULL;
    char *texts = malloc(2 * SCHEMA_TEXT_MAX);
    enum cw_err err = texts != NULL
                          ? open_db(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                                    &l->clock, &fresh, why)
                          : say_fail(why, CW_ERR_SPACE, "out of memory");
    for (int i = 0; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = db_exec(fresh, db_steps[i], why);
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

enum cw_err ledger_create(const char *path, const struct ledger_clock *clock, struct ledger **out,
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
        err = db_exec(l, settings, why);
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

enum cw_err ledger_open(const char *path, const struct ledger_clock *clock, struct ledger **out,
                        struct say *why)
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
        err = check_version(l, version, why);
    if (err == CW_OK && version < 1)
        err = say_fail(why, CW_ERR_FORMAT, "%s has schema %lld, which no release ever wrote", path,
                       (long long)version);
    if (err == CW_OK)
        err = db_exec(l, settings, why);
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
    sqlite3_backup *copy = sqlite3_backup_init(to->db, "main", l->db, "main");
    if (copy == NULL)
        return db_fail(to, sqlite3_errcode(to->db), why);
    int rc = sqlite3_backup_step(copy, -1); /* all at once: of one state */
    sqlite3_backup_finish(copy);
    return rc == SQLITE_DONE ? CW_OK : db_fail(to, rc, why);
}

enum cw_err ledger_copy(struct ledger *l, const char *path, struct say *why)
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

void ledger_free(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    if (l == NULL)
        return;
    sqlite3_close(l->db);
    free(l->path);
    free(l);
    *ledger = NULL;
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
    enum cw_err err = unstick(l, why);
    if (err == CW_OK)
        err = db_exec(l, "BEGIN", why); /* the first read takes the snapshot */
    return err == CW_OK ? db_end(l, act(ctx, why), why) : err;
}

enum cw_err ledger_setting_put(struct ledger *l, const char *name, const char *value,
                               struct say *why)
{
    sqlite3_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, "INSERT INTO setting (name, value) VALUES (?, ?)",
                                 "tt", name, value);
    return db_run(l, err, st, why);
}

enum cw_err ledger_setting_change(struct ledger *l, const char *name, const char *from,
                                  const char *to, struct say *why)
{
    sqlite3_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why, "UPDATE setting SET value = ? WHERE name = ? AND value = ?", "ttt",
                   to, name, from);
    err = db_run(l, err, st, why);
    if (err == CW_OK && sqlite3_changes(l->db) != 1)
        err =
            say_fail(why, CW_ERR_STATE, "the ledger's setting '%s' is not %s any more", name, from);
    return err;
}

enum cw_err ledger_setting_get(struct ledger *l, const char *name, char *out, size_t cap,
                               struct say *why)
{
    sqlite3_stmt *st;
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
    sqlite3_finalize(st);
    return err;
}
