/* ledger_pg.c - PostgreSQL below the ledger, by libpq: several programs on several machines have it
 * open at once. Not for business rules. */
#include "bank/ledger_pg.h"

#include "host/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION_MIN     150000
#define CONNECT_SECONDS "3"
#define PG_READ_ONLY    "SET default_transaction_read_only = on"

struct pg_stmt {
    struct db_stmt base;
    const char *sql;
    struct db_value values[DB_VALUES_MAX];
    size_t count;
    PGresult *res; /* NULL: not run yet */
    int row;
};

struct pg_ledger *pg_of(struct ledger *l)
{
    return (struct pg_ledger *)l;
}

/* ---- what the server says ---- */

static const struct {
    const char *state; /* of SQL, or the beginning of it */
    enum cw_err err;
    const char *what;
} states[] = {
    {"40", CW_ERR_BUSY, "another program was in the way; try again"},
    {"55P03", CW_ERR_BUSY, "it is locked by another program; try again when it has finished"},
    {"53100", CW_ERR_SPACE, "its disk is full; make room, nothing was changed"},
    {"53", CW_ERR_BUSY, "it has no room for this now; try again"},
    {"23", CW_ERR_EXISTS, "the ledger refused it"},
    {"P0001", CW_ERR_EXISTS, "the ledger refused it"},
    {"25006", CW_ERR_IO, "it takes no writes: is it a standby?"},
    {"42", CW_ERR_FORMAT, "it is no ledger, or its tables were changed"},
};

enum cw_err pg_fail(struct pg_ledger *p, const PGresult *res, struct say *why)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    p->failed = p->open;
    for (size_t i = 0; state != NULL && i < sizeof states / sizeof *states; i++)
        if (strncmp(state, states[i].state, strlen(states[i].state)) == 0)
            return say_fail(why, states[i].err, "the database %s: %s (%s)", p->base.where,
                            states[i].what, text != NULL ? text : "");
    if (text == NULL)
        text = p->conn != NULL ? PQerrorMessage(p->conn) : "no connection";
    return say_fail(why, CW_ERR_IO, "the database %s failed: %.200s", p->base.where, text);
}

/* A commit that the standby did not confirm says so by a warning only. */
static void on_notice(void *arg, const PGresult *res)
{
    struct pg_ledger *p = arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity != NULL && strcmp(severity, "WARNING") == 0)
        p->warned = true;
}

int64_t pg_number(const PGresult *res, int row, int column)
{
    const uint8_t *bytes = (const uint8_t *)PQgetvalue(res, row, column);
    int len = PQgetlength(res, row, column);
    if (PQgetisnull(res, row, column) || len < 1 || len > 8)
        return 0;
    uint64_t v = bytes[0] >= 0x80 && PQftype(res, column) != PG_BOOL ? UINT64_MAX : 0;
    for (int i = 0; i < len; i++)
        v = v << 8 | bytes[i];
    return (int64_t)v;
}

/* ---- the connection ---- */

static enum cw_err run(struct pg_ledger *p, const char *sql, struct say *why)
{
    PGresult *res = PQexec(p->conn, sql);
    ExecStatusType status = PQresultStatus(res);
    enum cw_err err =
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? CW_OK : pg_fail(p, res, why);
    PQclear(res);
    return err;
}

static void forget_statements(struct pg_ledger *p)
{
    for (size_t i = 0; i < p->kept; i++)
        free(p->statements[i].text);
    p->kept = 0;
}

static void disconnect(struct pg_ledger *p)
{
    PQfinish(p->conn);
    p->conn = NULL;
    p->open = p->failed = false;
    p->sent = 0; /* whose answers nobody will read any more */
    forget_statements(p);
}

/* What a connection must be before money depends on it. */
static enum cw_err check_server(struct pg_ledger *p, struct say *why)
{
    if (PQserverVersion(p->conn) < VERSION_MIN)
        return say_fail(why, CW_ERR_UNSUPPORTED,
                        "the database %s is PostgreSQL %d; cardwired wants 15 or later",
                        p->base.where, PQserverVersion(p->conn) / 10000);
    enum cw_err err = run(p,
                          "SET default_transaction_isolation = 'serializable';"
                          "SET lock_timeout = '3s'; SET client_encoding = 'UTF8';"
                          "SET search_path = public",
                          why);
    if (err == CW_OK && p->read_only)
        err = run(p, PG_READ_ONLY, why);
    PGresult *res = err == CW_OK ? PQexec(p->conn, "SHOW synchronous_commit") : NULL;
    if (err == CW_OK && PQntuples(res) != 1)
        err = pg_fail(p, res, why);
    else if (err == CW_OK && strcmp(PQgetvalue(res, 0, 0), "off") == 0)
        err = say_fail(why, CW_ERR_STATE,
                       "the database %s acknowledges what is not on the disk yet: set "
                       "synchronous_commit to on, or higher",
                       p->base.where);
    PQclear(res);
    return err;
}

/* Nobody else is served while this waits for an answer (CONNECT_SECONDS for each host of the
 * address): after an attempt in vain, none is made for twice as long as that took. */
static enum cw_err reach(struct pg_ledger *p, struct say *why)
{
    /* What the address says itself comes later, and wins. A machine that is gone says nothing, not
     * even that it has what was sent: then the connection is given up as fast. */
    const char *const names[] = {
        "application_name",    "connect_timeout",      "tcp_user_timeout", "keepalives_idle",
        "keepalives_interval", "target_session_attrs", "dbname",           NULL};
    const char *const values[] = {"cardwired",
                                  CONNECT_SECONDS,
                                  CONNECT_SECONDS "000",
                                  CONNECT_SECONDS,
                                  CONNECT_SECONDS,
                                  "read-write",
                                  p->address,
                                  NULL};
    uint64_t start = clock_ns();
    if (start < p->rest_until)
        return say_fail(why, CW_ERR_IO, "cannot reach the database %s: it was away a moment ago",
                        p->base.where);
    p->conn = PQconnectdbParams(names, values, 1);
    if (p->conn != NULL && PQstatus(p->conn) == CONNECTION_OK)
        return CW_OK;
    uint64_t end = clock_ns();
    p->rest_until = end + 2 * (end - start);
    return say_fail(why, CW_ERR_IO, "cannot reach the database %s: %.200s", p->base.where,
                    p->conn != NULL ? PQerrorMessage(p->conn) : "out of memory");
}

enum cw_err pg_connect(struct pg_ledger *p, struct say *why)
{
    if (p->conn != NULL && PQstatus(p->conn) == CONNECTION_OK)
        return CW_OK;
    if (p->open) { /* what was begun is gone: until its end nothing of it may go on */
        p->failed = true;
        return say_fail(why, CW_ERR_IO, "the connection to the database %s is lost", p->base.where);
    }
    disconnect(p);
    enum cw_err err = reach(p, why);
    if (err == CW_OK) {
        PQsetNoticeReceiver(p->conn, on_notice, p);
        err = check_server(p, why);
    }
    if (err != CW_OK)
        disconnect(p);
    return err;
}

/* ---- statements ---- */

/* `?` and `?2` become `$1` and `$2`. malloc'd. */
static char *number_values(const char *sql)
{
    size_t n = 0, len = 0;
    char *out = malloc(strlen(sql) + 2 * DB_VALUES_MAX + 1);
    for (const char *c = sql; out != NULL && *c != '\0'; c++) {
        if (*c != '?')
            out[len++] = *c;
        else if (c[1] >= '1' && c[1] <= '9')
            out[len++] = '$';
        else
            len += (size_t)sprintf(out + len, "$%zu", ++n);
    }
    if (out != NULL)
        out[len] = '\0';
    return out;
}

static struct pg_kept *find_kept(struct pg_ledger *p, const char *sql)
{
    for (size_t i = 0; i < p->kept; i++)
        if (p->statements[i].key == sql && strcmp(p->statements[i].text, sql) == 0)
            return &p->statements[i];
    for (size_t i = 0; i < p->kept; i++)
        if (strcmp(p->statements[i].text, sql) == 0)
            return &p->statements[i];
    return NULL;
}

/* When there are too many, which texts of the moment make: begins again. */
enum cw_err pg_statements_room(struct pg_ledger *p, size_t count, struct say *why)
{
    if (p->kept + count <= PG_KEPT_MAX)
        return CW_OK;
    enum cw_err err = run(p, "DEALLOCATE ALL", why);
    if (err == CW_OK)
        forget_statements(p);
    return err;
}

enum cw_err pg_prepared(struct pg_ledger *p, const char *sql, const Oid *types, size_t count,
                        const char **name, struct say *why)
{
    struct pg_kept *k = find_kept(p, sql);
    if (k != NULL) {
        *name = k->name;
        return CW_OK;
    }
    enum cw_err err = pg_drain(p, why); /* in a pipeline nothing is prepared */
    if (err == CW_OK)
        err = pg_statements_room(p, 1, why);
    if (err != CW_OK)
        return err;
    k = &p->statements[p->kept];
    k->key = sql;
    k->text = strdup(sql);
    snprintf(k->name, sizeof k->name, "s%zu", p->kept);
    char *numbered = number_values(sql);
    PGresult *res = k->text != NULL && numbered != NULL
                        ? PQprepare(p->conn, k->name, numbered, (int)count, types)
                        : NULL;
    if (k->text == NULL || numbered == NULL)
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    else if (PQresultStatus(res) != PGRES_COMMAND_OK)
        err = pg_fail(p, res, why);
    PQclear(res);
    free(numbered);
    if (err != CW_OK) {
        free(k->text);
        return err;
    }
    p->kept++;
    *name = k->name;
    return CW_OK;
}

static enum cw_err prepare(struct ledger *l, struct db_stmt **out, const char *sql,
                           const struct db_value *values, size_t count, struct say *why)
{
    struct pg_stmt *s = calloc(1, sizeof *s);
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    s->base.ledger = l;
    s->sql = sql;
    s->count = count;
    memcpy(s->values, values, count * sizeof *values);
    *out = &s->base;
    return CW_OK;
}

struct db_stmt *pg_answer(struct pg_ledger *p, PGresult *res)
{
    struct pg_stmt *s = calloc(1, sizeof *s);
    if (s == NULL) {
        PQclear(res);
        return NULL;
    }
    s->base.ledger = &p->base;
    s->res = res;
    s->row = -1;
    return &s->base;
}

static void done(struct db_stmt *st)
{
    struct pg_stmt *s = (struct pg_stmt *)st;
    PQclear(s->res);
    free(s);
}

/* Sends it with its values in binary, and takes the answer, which is all there at once. */
static enum cw_err execute(struct pg_ledger *p, struct pg_stmt *s, struct say *why)
{
    Oid types[DB_VALUES_MAX];
    const char *data[DB_VALUES_MAX], *name = NULL;
    uint8_t numbers[DB_VALUES_MAX][8];
    int lens[DB_VALUES_MAX], formats[DB_VALUES_MAX];
    for (size_t i = 0; i < s->count; i++) {
        const struct db_value *v = &s->values[i];
        types[i] = v->type == 'i' ? PG_INT8 : v->type == 't' ? PG_TEXT : PG_BYTEA;
        formats[i] = 1;
        struct buf_writer w;
        buf_writer_init(&w, numbers[i], sizeof numbers[i]);
        buf_put_u64(&w, (uint64_t)v->number);
        data[i] = v->type == 'i' ? (const char *)numbers[i] : v->data != NULL ? v->data : "";
        if (v->null)
            data[i] = NULL;
        lens[i] = v->type == 'i' ? 8 : (int)v->len;
    }
    enum cw_err err = pg_prepared(p, s->sql, types, s->count, &name, why);
    if (err != CW_OK)
        return err;
    s->res = PQexecPrepared(p->conn, name, (int)s->count, data, lens, formats, 1);
    ExecStatusType status = PQresultStatus(s->res);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        return pg_fail(p, s->res, why);
    if (strncmp(s->sql, "SELECT", 6) != 0)
        p->changed = strtoll(PQcmdTuples(s->res), NULL, 10);
    return CW_OK;
}

static enum cw_err begin(struct ledger *l, bool write, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    if (p->open) /* PostgreSQL only warns, and the inner commit would end the outer one */
        return say_fail(why, CW_ERR_STATE, "a transaction is open already, in which there is none");
    enum cw_err err = pg_connect(p, why);
    if (err == CW_OK)
        err =
            run(p, write ? PG_BEGIN ";" PG_LOCK : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                why);
    p->open = PQtransactionStatus(p->conn) != PQTRANS_IDLE;
    p->failed = p->open && err != CW_OK;
    return err == CW_OK ? CW_OK : db_end(l, err, why);
}

/* Whether a commit that failed can still be found in the books: when nobody said that it was not
 * made. */
static bool commit_undone(struct pg_ledger *p, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    return PQstatus(p->conn) == CONNECTION_OK && state != NULL && strncmp(state, "08", 2) != 0 &&
           strcmp(state, "40003") != 0;
}

static enum cw_err commit(struct pg_ledger *p, enum db_fate *fate, struct say *why)
{
    enum cw_err err = CW_OK;
    p->warned = false;
    PGresult *res = pg_commit(p, &err, why);
    if (err !=
        CW_OK) { /* what was refused before took the commit with it; a silence tells nothing */
        *fate =
            (PQstatus(p->conn) == CONNECTION_OK && PQresultStatus(res) == PGRES_PIPELINE_ABORTED) ||
                    commit_undone(p, res)
                ? DB_UNDONE
                : DB_UNKNOWN;
    } else if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        *fate = commit_undone(p, res) ? DB_UNDONE : DB_UNKNOWN;
        err = pg_fail(p, res, why);
    } else if (strcmp(PQcmdStatus(res), "COMMIT") != 0) {
        err = say_fail(why, CW_ERR_IO, "the database %s rolled back instead of committing",
                       p->base.where);
    } else if (p->warned) {
        *fate = DB_UNKNOWN;
        err = say_fail(why, CW_ERR_IO, "the database %s committed without the word of its standby",
                       p->base.where);
    }
    PQclear(res);
    return err;
}

static enum cw_err end(struct ledger *l, bool to_commit, enum db_fate *fate, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    enum cw_err err = CW_OK;
    if (p->conn != NULL && (!to_commit || p->failed))
        err = pg_drain(p, why);
    if (to_commit && err == CW_OK && p->failed)
        err = say_fail(why, CW_ERR_IO, "the database %s refused a statement before", p->base.where);
    if (to_commit && err == CW_OK)
        err = commit(p, fate, why);
    p->open = p->failed = false;
    if (p->conn != NULL && PQtransactionStatus(p->conn) != PQTRANS_IDLE) {
        PGresult *res = PQexec(p->conn, "ROLLBACK");
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            disconnect(p); /* with the connection the server gives up what it began */
        PQclear(res);
    }
    return to_commit ? err : CW_OK;
}

/* By itself, a statement that writes takes the lock like every other writer. */
static enum cw_err execute_alone(struct pg_ledger *p, struct pg_stmt *s, struct say *why)
{
    enum cw_err err = begin(&p->base, true, why);
    return err == CW_OK ? db_end(&p->base, execute(p, s, why), why) : err;
}

static enum cw_err step(struct db_stmt *st, bool *row, struct say *why)
{
    struct pg_stmt *s = (struct pg_stmt *)st;
    struct pg_ledger *p = pg_of(st->ledger);
    enum cw_err err = CW_OK;
    if (s->res == NULL) {
        err = pg_connect(p, why);
        if (err == CW_OK && p->open)
            err = pg_drain(p, why);
        if (err == CW_OK)
            err = p->open || strncmp(s->sql, "SELECT", 6) == 0 ? execute(p, s, why)
                                                               : execute_alone(p, s, why);
        s->row = -1;
    }
    if (err != CW_OK)
        return err;
    s->row++;
    *row = s->row < PQntuples(s->res);
    return CW_OK;
}

static bool null(const struct db_stmt *st, int column)
{
    const struct pg_stmt *s = (const struct pg_stmt *)st;
    return PQgetisnull(s->res, s->row, column) != 0;
}

static int64_t number(const struct db_stmt *st, int column)
{
    const struct pg_stmt *s = (const struct pg_stmt *)st;
    return pg_number(s->res, s->row, column);
}

static const void *bytes(const struct db_stmt *st, int column, size_t *len)
{
    const struct pg_stmt *s = (const struct pg_stmt *)st;
    *len = (size_t)PQgetlength(s->res, s->row, column);
    return null(st, column) ? NULL : PQgetvalue(s->res, s->row, column);
}

static int64_t changed(const struct ledger *l)
{
    return ((const struct pg_ledger *)l)->changed;
}

static enum cw_err exec(struct ledger *l, const char *sql, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    enum cw_err err = pg_connect(p, why);
    return err == CW_OK ? run(p, sql, why) : err;
}

/* ---- opening ---- */

/* Host, port and name of the database: never the password that an address may hold. */
static char *where_of(const char *address)
{
    const char *host = "localhost", *port = "5432", *name = "";
    PQconninfoOption *options = PQconninfoParse(address, NULL);
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val == NULL || o->val[0] == '\0')
            continue;
        if (strcmp(o->keyword, "host") == 0)
            host = o->val;
        else if (strcmp(o->keyword, "port") == 0)
            port = o->val;
        else if (strcmp(o->keyword, "dbname") == 0)
            name = o->val;
    }
    size_t len = strlen(host) + strlen(port) + strlen(name) + 3;
    char *out = options != NULL ? malloc(len) : strdup("(no address)");
    if (out != NULL && options != NULL)
        snprintf(out, len, "%s:%s/%s", host, port, name);
    PQconninfoFree(options);
    return out;
}

static void close_db(struct ledger *l)
{
    struct pg_ledger *p = pg_of(l);
    disconnect(p);
    free(p->address);
    free(l->where);
    free(p);
}

static enum cw_err read_version(struct ledger *l, int64_t *version, struct say *why)
{
    struct db_stmt *st;
    int64_t there = 0;
    enum cw_err err = db_prepare(
        l, &st, why, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('writing')", "");
    err = db_number(l, err, st, &there, why);
    if (err != CW_OK || there == 0) {
        *version = 0;
        return err;
    }
    err = db_prepare(l, &st, why, "SELECT schema FROM writing", "");
    return db_number(l, err, st, version, why);
}

/* All steps that are missing, or none. */
static enum cw_err migrate(struct ledger *l, int64_t version, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = CW_OK;
    for (int64_t i = version; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = pg_steps[i] != NULL ? exec(l, pg_steps[i], why) : CW_OK;
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "UPDATE writing SET schema = ?", "i", (int64_t)LEDGER_SCHEMA);
    return db_run(l, err, st, why);
}

static enum cw_err make_tables(struct ledger *l, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    int64_t version = 0;
    enum cw_err err = read_version(l, &version, why);
    if (err == CW_OK && version != 0)
        return say_fail(why, CW_ERR_EXISTS,
                        "the database %s holds a ledger already; name an empty one", l->where);
    if (err != CW_OK || (err = exec(l, "BEGIN", why)) != CW_OK)
        return err;
    p->open = true;
    return db_end(l, migrate(l, 0, why), why);
}

static enum cw_err open_tables(struct ledger *l, struct say *why)
{
    int64_t version = 0;
    enum cw_err err = read_version(l, &version, why);
    if (err == CW_OK && version == 0)
        err = say_fail(why, CW_ERR_FORMAT, "the database %s holds no ledger", l->where);
    if (err == CW_OK)
        err = db_version_check(l, version, why);
    if (err != CW_OK || version == LEDGER_SCHEMA || (err = db_begin(l, why)) != CW_OK)
        return err;
    /* Again, under the lock: another program may have been faster, and newer. */
    err = read_version(l, &version, why);
    if (err == CW_OK)
        err = db_version_check(l, version, why);
    return db_end(l, err == CW_OK ? migrate(l, version, why) : err, why);
}

enum cw_err db_pg_open(const char *address, bool fresh, const struct ledger_clock *clock,
                       struct ledger **out, struct say *why)
{
    struct pg_ledger *p = calloc(1, sizeof *p);
    if (p == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    struct ledger *l = &p->base;
    l->engine = &db_pg;
    l->clock = *clock;
    l->where = where_of(address);
    p->address = strdup(address);
    enum cw_err err = l->where != NULL && p->address != NULL
                          ? pg_connect(p, why)
                          : say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK)
        err = fresh ? make_tables(l, why) : open_tables(l, why);
    if (err != CW_OK)
        ledger_free(&l);
    *out = l;
    return err;
}

/* ---- the schema ---- */

/* Columns, constraints, indexes, triggers and what those run, of the schema `name`, as one text. */
static enum cw_err schema_text(struct ledger *l, const char *name, char **out, struct say *why)
{
    static const char query[] =
        "SELECT coalesce(string_agg(replace(t, $1 || '.', ''), chr(10) ORDER BY t), '') FROM ("
        "SELECT 'column ' || table_name || ' ' || column_name || ' ' || data_type || ' ' || "
        "is_nullable || ' ' || coalesce(column_default, '') AS t FROM information_schema.columns "
        "WHERE table_schema = $1 "
        "UNION ALL SELECT 'constraint ' || c.conrelid::regclass || ' ' || c.conname || ' ' || "
        "pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_namespace n ON n.oid = "
        "c.connamespace WHERE n.nspname = $1 "
        "UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = $1 "
        "UNION ALL SELECT 'trigger ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid) "
        "FROM pg_trigger t JOIN pg_class r ON r.oid = t.tgrelid JOIN pg_namespace n ON n.oid = "
        "r.relnamespace WHERE n.nspname = $1 AND NOT tgisinternal "
        "UNION ALL SELECT 'function ' || proname || ' ' || prosrc FROM pg_proc p "
        "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1) AS parts";
    struct pg_ledger *p = pg_of(l);
    PGresult *res = PQexecParams(p->conn, query, 1, NULL, &name, NULL, NULL, 0);
    enum cw_err err = CW_OK;
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        err = pg_fail(p, res, why);
    else if ((*out = strdup(PQgetvalue(res, 0, 0))) == NULL)
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    PQclear(res);
    return err;
}

/* Inside a transaction that is rolled back: the steps in a schema of their own. */
static enum cw_err fresh_text(struct ledger *l, char **out, struct say *why)
{
    enum cw_err err =
        exec(l, "CREATE SCHEMA cardwired_check; SET LOCAL search_path = cardwired_check", why);
    for (int i = 0; i < LEDGER_SCHEMA && err == CW_OK; i++)
        err = pg_steps[i] != NULL ? exec(l, pg_steps[i], why) : CW_OK;
    return err == CW_OK ? schema_text(l, "cardwired_check", out, why) : err;
}

static enum cw_err compare_schema(struct ledger *l, struct say *why)
{
    char *theirs = NULL, *ours = NULL;
    enum cw_err err = exec(l, "BEGIN", why);
    if (err != CW_OK)
        return err;
    pg_of(l)->open = true;
    err = schema_text(l, "public", &theirs, why);
    if (err == CW_OK)
        err = fresh_text(l, &ours, why);
    if (err == CW_OK && strcmp(theirs, ours) != 0)
        err = say_fail(
            why, CW_ERR_FORMAT,
            "the ledger's tables, indexes and triggers are not those that cardwired makes: "
            "they were changed, and with them what keeps the books");
    free(theirs);
    free(ours);
    enum db_fate fate;
    enum cw_err back = end(l, false, &fate, why);
    return err != CW_OK ? err : back;
}

static enum cw_err read_only(struct ledger *l, struct say *why)
{
    pg_of(l)->read_only = true; /* also of connections to come */
    return exec(l, PG_READ_ONLY, why);
}

/* By a connection of its own: this one may be in a transaction that only reads. */
static enum cw_err schema_check(struct ledger *l, struct say *why)
{
    struct ledger *other = NULL;
    enum cw_err err = db_pg_open(pg_of(l)->address, false, &l->clock, &other, why);
    if (err == CW_OK)
        err = compare_schema(other, why);
    ledger_free(&other);
    return err;
}

/* A file of SQLite: a copy needs no database beside it. */
static enum cw_err copy(struct ledger *l, const char *path, struct say *why)
{
    struct ledger *to = NULL;
    enum cw_err err = db_sqlite_open(path, true, &l->clock, &to, why);
    if (err != CW_OK)
        return err;
    err = ledger_transfer(l, to, NULL, NULL, why);
    ledger_free(&to);
    if (err != CW_OK)
        unlink(path);
    return err;
}

/* A standby says so itself; whether the disk takes anything is known by the commit. */
static enum cw_err writable(struct ledger *l, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    enum cw_err err = pg_connect(p, why);
    return err == CW_OK ? run(p, "SELECT 1", why) : err;
}

const struct db_engine db_pg = {
    .by_rows = "",
    .far = true,
    /* A commit whose wait for the standby was broken off, by a restart or by hand, is seen by
     * everybody and may be nowhere else. One that comes later waits for both. */
    .mark = "UPDATE writing SET schema = schema",
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
    .fetch = pg_fetch,
    .add = pg_add,
    .balances = pg_balances,
    .read_only = read_only,
    .schema_check = schema_check,
    .copy = copy,
    .writable = writable,
};
