/* ledger_pg_batch.c - many orders at once over a slow way: what is known about all of them in one
 * round trip, what is written of all of them with its COMMIT in another. Each statement carries
 * arrays, one value for each row (PostgreSQL 15, libpq pipeline mode). */
#include "bank/ledger_pg.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 10u

/* ---- arrays, as array_send (PostgreSQL 15, utils/adt/arrayfuncs.c) has them ---- */

struct array {
    Oid type; /* of the whole */
    uint8_t *bytes;
    size_t len, cap;
    uint32_t rows;
    bool bad; /* out of memory */
};

static void put(struct array *a, const void *data, size_t len)
{
    if (a->bad)
        return;
    if (a->len + len > a->cap) {
        size_t cap = 2 * (a->cap + len) + 64;
        uint8_t *more = realloc(a->bytes, cap);
        if (more == NULL) {
            a->bad = true;
            return;
        }
        a->bytes = more;
        a->cap = cap;
    }
    if (len > 0)
        memcpy(a->bytes + a->len, data, len);
    a->len += len;
}

static void put_u32(struct array *a, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                              (uint8_t)v};
    put(a, bytes, sizeof bytes);
}

static void add_bytes(struct array *a, const void *data, size_t len)
{
    if (a->len == 0) {
        put_u32(a, 1); /* dimensions */
        put_u32(a, 0); /* no NULL in it */
        put_u32(a, a->type == PG_INT8S ? PG_INT8 : a->type == PG_TEXTS ? PG_TEXT : PG_BYTEA);
        put_u32(a, 0); /* rows: at the end */
        put_u32(a, 1); /* the first is number 1 */
    }
    put_u32(a, (uint32_t)len);
    put(a, data, len);
    a->rows++;
}

static void add_text(struct array *a, const char *text)
{
    add_bytes(a, text, strlen(text));
}

static void add_number(struct array *a, int64_t v)
{
    uint8_t bytes[8];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_u64(&w, (uint64_t)v);
    add_bytes(a, bytes, sizeof bytes);
}

/* ---- the pipeline ---- */

/* A statement with its arrays. Prepared before the pipeline is entered, which may wait. */
struct job {
    const char *sql;
    struct array columns[COLUMNS_MAX];
    size_t count;
    const char *name;
};

static void job_init(struct job *j, const char *sql, const char *types)
{
    *j = (struct job){.sql = sql, .count = strlen(types)};
    for (size_t i = 0; i < j->count; i++)
        j->columns[i].type = types[i] == 'i' ? PG_INT8S : types[i] == 't' ? PG_TEXTS : PG_BYTEAS;
}

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->count; i++)
        free(j->columns[i].bytes);
}

static enum cw_err job_prepare(struct pg_ledger *p, struct job *j, struct say *why)
{
    Oid types[COLUMNS_MAX];
    for (size_t i = 0; i < j->count; i++) {
        types[i] = j->columns[i].type;
        if (j->columns[i].bad)
            return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    return pg_prepared(p, j->sql, types, j->count, &j->name, why);
}

static enum cw_err enter(struct pg_ledger *p, struct say *why)
{
    if (PQpipelineStatus(p->conn) == PQ_PIPELINE_ON || PQenterPipelineMode(p->conn) == 1)
        return CW_OK;
    return pg_fail(p, NULL, why);
}

static enum cw_err send_text(struct pg_ledger *p, const char *sql, struct say *why)
{
    if (PQsendQueryParams(p->conn, sql, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return pg_fail(p, NULL, why);
    p->sent++;
    return CW_OK;
}

static enum cw_err send_job(struct pg_ledger *p, struct job *j, struct say *why)
{
    const char *data[COLUMNS_MAX];
    int lens[COLUMNS_MAX], formats[COLUMNS_MAX];
    for (size_t i = 0; i < j->count; i++) {
        struct array *a = &j->columns[i];
        for (size_t k = 0; k < 4; k++)
            a->bytes[12 + k] = (uint8_t)(a->rows >> (24 - 8 * k));
        data[i] = (const char *)a->bytes;
        lens[i] = (int)a->len;
        formats[i] = 1;
    }
    if (PQsendQueryPrepared(p->conn, j->name, (int)j->count, data, lens, formats, 1) != 1)
        return pg_fail(p, NULL, why);
    p->sent++;
    return CW_OK;
}

/* The answer to the next statement that was sent; NULL when there is none any more. */
static PGresult *next_answer(struct pg_ledger *p)
{
    PGresult *res = PQgetResult(p->conn);
    if (res != NULL) {
        PGresult *end = PQgetResult(p->conn); /* NULL: the end of this answer */
        PQclear(end);
    }
    return res;
}

/* Takes the answers to all that was sent, in their order, and leaves the pipeline. Each goes to
 * `take`, whose it then is. The first failure is the one that is told. */
static enum cw_err answers(struct pg_ledger *p, void (*take)(void *ctx, size_t n, PGresult *res),
                           void *ctx, struct say *why)
{
    enum cw_err err = PQpipelineSync(p->conn) == 1 ? CW_OK : pg_fail(p, NULL, why);
    for (size_t i = 0; i < p->sent; i++) {
        PGresult *res = next_answer(p);
        ExecStatusType status = PQresultStatus(res);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && err == CW_OK)
            err = pg_fail(p, res, why);
        take(ctx, i, res);
    }
    PQclear(PQgetResult(p->conn)); /* of the sync */
    p->sent = 0;
    if (PQexitPipelineMode(p->conn) != 1 && err == CW_OK)
        err = pg_fail(p, NULL, why);
    return err;
}

static void drop(void *ctx, size_t n, PGresult *res)
{
    (void)ctx, (void)n;
    PQclear(res);
}

enum cw_err pg_drain(struct pg_ledger *p, struct say *why)
{
    return PQpipelineStatus(p->conn) == PQ_PIPELINE_OFF ? CW_OK : answers(p, drop, NULL, why);
}

static void keep_last(void *ctx, size_t n, PGresult *res)
{
    PGresult **last = ctx;
    (void)n;
    PQclear(*last);
    *last = res;
}

PGresult *pg_commit(struct pg_ledger *p, enum cw_err *before, struct say *why)
{
    PGresult *last = NULL;
    *before = CW_OK;
    if (PQpipelineStatus(p->conn) == PQ_PIPELINE_OFF)
        return PQexec(p->conn, "COMMIT");
    *before = send_text(p, "COMMIT", why);
    if (*before == CW_OK)
        *before = answers(p, keep_last, &last, why);
    return last;
}

/* ---- fetching ---- */

enum { BEGUN, LOCKED, ACCOUNTS, PAYMENTS, COUNTERS, CARDS, HEAD, ANSWERS };

static void keep(void *ctx, size_t n, PGresult *res)
{
    ((PGresult **)ctx)[n] = res;
}

static enum cw_err take_accounts(struct db_stmt *st, struct booking *b, struct say *why)
{
    bool row = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && (err = db_step(st->ledger, st, &row, why)) == CW_OK && row) {
        char number[ACCOUNT_NUMBER_LEN + 1];
        err = db_text(st, 0, number, sizeof number, why);
        struct booking_account *a = err == CW_OK ? booking_account_find(b, number) : NULL;
        if (a != NULL)
            err = db_account_fact(st, a, why);
    }
    return err;
}

static enum cw_err take_payments(struct db_stmt *st, struct booking *b, struct say *why)
{
    bool row = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && (err = db_step(st->ledger, st, &row, why)) == CW_OK && row) {
        uint8_t order[ORDER_ID_LEN], request[32];
        err = db_blob_exact(st, 0, order, sizeof order, why);
        if (err == CW_OK)
            err = db_blob_exact(st, 1, request, sizeof request, why);
        for (size_t i = 0; i < b->count && err == CW_OK; i++) {
            const struct ledger_order *o = b->items[i].request->order;
            if (memcmp(o->fields.id, order, sizeof order) != 0)
                continue;
            b->items[i].known = true;
            b->items[i].same = memcmp(o->request, request, sizeof request) == 0;
        }
    }
    return err;
}

static enum cw_err take_counters(struct db_stmt *st, struct booking *b, struct say *why)
{
    bool row = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && (err = db_step(st->ledger, st, &row, why)) == CW_OK && row) {
        uint8_t card[ORDER_SERIAL_LEN];
        err = db_blob_exact(st, 0, card, sizeof card, why);
        for (size_t i = 0; i < b->count && err == CW_OK; i++) {
            const struct order_seal *seal = &b->items[i].request->order->seal;
            if (memcmp(seal->serial, card, sizeof card) == 0 &&
                (int64_t)seal->counter == db_int(st, 1))
                b->items[i].counter_used = true;
        }
    }
    return err;
}

static enum cw_err take_cards(struct db_stmt *st, struct booking *b, struct say *why)
{
    bool row = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && (err = db_step(st->ledger, st, &row, why)) == CW_OK && row) {
        struct ledger_card card;
        err = db_card_read(st, &card, why);
        for (size_t i = 0; i < b->count && err == CW_OK; i++) {
            const struct order_seal *seal = &b->items[i].request->order->seal;
            if (memcmp(seal->serial, card.serial, sizeof card.serial) != 0)
                continue;
            b->items[i].card = card;
            b->items[i].card_known = true;
        }
    }
    return err;
}

static enum cw_err take_head(struct db_stmt *st, struct booking *b, struct say *why)
{
    bool row = false;
    enum cw_err err = db_step(st->ledger, st, &row, why);
    if (err != CW_OK || !row)
        return err;
    b->head.id = db_int(st, 0);
    return db_blob_exact(st, 1, b->head.hash, sizeof b->head.hash, why);
}

static enum cw_err take_all(struct pg_ledger *p, PGresult *res[ANSWERS], struct booking *b,
                            struct say *why)
{
    enum cw_err (*const take[ANSWERS])(struct db_stmt *, struct booking *, struct say *) = {
        [ACCOUNTS] = take_accounts, [PAYMENTS] = take_payments, [COUNTERS] = take_counters,
        [CARDS] = take_cards,       [HEAD] = take_head,
    };
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < ANSWERS; i++) {
        struct db_stmt *st = NULL;
        if (take[i] == NULL || err != CW_OK)
            PQclear(res[i]);
        else if ((st = pg_answer(p, res[i])) == NULL) /* which has cleared it */
            err = say_fail(why, CW_ERR_SPACE, "out of memory");
        else
            err = take[i](st, b, why);
        db_done(&st);
    }
    return err;
}

static void ask(struct job jobs[ANSWERS], const struct booking *b)
{
    job_init(&jobs[BEGUN], PG_BEGIN, "");
    job_init(&jobs[LOCKED], PG_LOCK, "");
    job_init(&jobs[ACCOUNTS], BOOKING_ACCOUNT "WHERE a.number = ANY (?)", "t");
    job_init(&jobs[PAYMENTS], "SELECT order_id, request FROM payment WHERE order_id = ANY (?)",
             "b");
    job_init(&jobs[COUNTERS],
             "SELECT p.card, p.counter FROM unnest(?, ?) AS w (card, counter) "
             "JOIN payment p ON p.card = w.card AND p.counter = w.counter",
             "bi");
    job_init(&jobs[CARDS], DB_CARD_COLUMNS "WHERE serial = ANY (?)", "b");
    job_init(&jobs[HEAD], DB_HEAD, "");
    for (size_t i = 0; i < b->account_count; i++)
        add_text(&jobs[ACCOUNTS].columns[0], b->accounts[i].number);
    for (size_t i = 0; i < b->count; i++) {
        const struct ledger_order *o = b->items[i].request->order;
        add_bytes(&jobs[PAYMENTS].columns[0], o->fields.id, sizeof o->fields.id);
        add_bytes(&jobs[COUNTERS].columns[0], o->seal.serial, sizeof o->seal.serial);
        add_number(&jobs[COUNTERS].columns[1], (int64_t)o->seal.counter);
        add_bytes(&jobs[CARDS].columns[0], o->seal.serial, sizeof o->seal.serial);
    }
}

static enum cw_err ask_all(struct pg_ledger *p, struct job jobs[ANSWERS], PGresult *res[ANSWERS],
                           struct say *why)
{
    /* None of the names may be given to another statement before all are sent. */
    enum cw_err err = pg_statements_room(p, ANSWERS, why);
    for (size_t i = ACCOUNTS; i < ANSWERS && err == CW_OK; i++)
        err = job_prepare(p, &jobs[i], why);
    if (err == CW_OK)
        err = enter(p, why);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < ANSWERS && err == CW_OK; i++)
        err = i <= LOCKED ? send_text(p, jobs[i].sql, why) : send_job(p, &jobs[i], why);
    struct say later;
    enum cw_err end = answers(p, keep, res, err == CW_OK ? why : &later);
    return err == CW_OK ? end : err;
}

enum cw_err pg_fetch(struct ledger *l, struct booking *b, struct say *why)
{
    struct pg_ledger *p = pg_of(l);
    struct job jobs[ANSWERS];
    PGresult *res[ANSWERS] = {NULL};
    enum cw_err err = pg_connect(p, why);
    if (err != CW_OK)
        return err;
    ask(jobs, b);
    err = ask_all(p, jobs, res, why);
    p->open = PQtransactionStatus(p->conn) != PQTRANS_IDLE;
    for (size_t i = 0; i < ANSWERS; i++)
        job_free(&jobs[i]);
    if (err == CW_OK) {
        err = take_all(p, res, b, why);
    } else {
        for (size_t i = 0; i < ANSWERS; i++)
            PQclear(res[i]);
    }
    return err == CW_OK ? CW_OK : db_end(l, err, why);
}

/* ---- writing ---- */

/* Sends it and goes on. */
static enum cw_err post(struct pg_ledger *p, struct job *j, struct say *why)
{
    enum cw_err err = CW_OK;
    if (j->count > 0 && j->columns[0].rows > 0) {
        err = job_prepare(p, j, why);
        if (err == CW_OK)
            err = enter(p, why);
        if (err == CW_OK)
            err = send_job(p, j, why);
    }
    job_free(j);
    return err;
}

static void add_posting(struct job *j, const struct db_entry *e)
{
    for (size_t i = 0; i < e->leg_count; i++) {
        add_number(&j->columns[0], e->id);
        add_number(&j->columns[1], (int64_t)i);
        add_number(&j->columns[2], e->legs[i].account);
        add_number(&j->columns[3], e->legs[i].amount);
        add_number(&j->columns[4], e->legs[i].balance);
    }
}

static void add_paid(struct job *j, const struct db_entry *e)
{
    const struct db_paid *p = e->paid;
    if (p == NULL)
        return;
    add_number(&j->columns[0], e->id);
    add_bytes(&j->columns[1], p->order, ORDER_ID_LEN);
    add_bytes(&j->columns[2], p->request, 32);
    add_number(&j->columns[3], p->customer);
    add_bytes(&j->columns[4], p->card, ORDER_SERIAL_LEN);
    add_number(&j->columns[5], p->counter);
    add_bytes(&j->columns[6], p->certificate, 32);
    add_bytes(&j->columns[7], p->text, p->text_len);
    add_bytes(&j->columns[8], p->signature, p->signature_len);
    add_text(&j->columns[9], p->reply);
}

static void add_ground(struct job *j, const struct db_entry *e)
{
    const struct ledger_ground *g = e->ground;
    if (g == NULL)
        return;
    add_number(&j->columns[0], e->id);
    add_text(&j->columns[1], g->who);
    add_text(&j->columns[2], g->approver);
    add_text(&j->columns[3], g->what);
    add_text(&j->columns[4], g->subject);
    add_text(&j->columns[5], g->key);
    add_number(&j->columns[6], g->refers);
}

static void add_journal(struct job *j, const struct db_entry *e)
{
    add_number(&j->columns[0], e->id);
    add_number(&j->columns[1], e->time);
    add_text(&j->columns[2], e->kind);
    add_text(&j->columns[3], e->reference);
}

static void add_chain(struct job *j, const struct db_entry *e)
{
    add_number(&j->columns[0], e->id);
    add_bytes(&j->columns[1], e->salt, sizeof e->salt);
    add_bytes(&j->columns[2], e->hash, sizeof e->hash);
}

enum cw_err pg_add(struct ledger *l, const struct db_entry *entries, size_t count, struct say *why)
{
    static const struct {
        const char *sql, *types;
        void (*add)(struct job *j, const struct db_entry *e);
    } tables[] = {
        {"INSERT INTO journal (id, time, kind, reference) SELECT * FROM unnest(?, ?, ?, ?)", "iitt",
         add_journal},
        {"INSERT INTO posting (journal, line, account, amount, balance) "
         "SELECT * FROM unnest(?, ?, ?, ?, ?)",
         "iiiii", add_posting},
        {"INSERT INTO payment (journal, order_id, request, customer, card, counter, certificate, "
         "text, signature, reply) SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
         "ibbibibbbt", add_paid},
        {"INSERT INTO admin_log (journal, who, approver, what, subject, key, refers) "
         "SELECT a, b, c, d, e, nullif(f, ''), nullif(g, 0) FROM unnest(?, ?, ?, ?, ?, ?, ?) "
         "AS w (a, b, c, d, e, f, g)",
         "ittttti", add_ground},
        {"INSERT INTO chain (journal, salt, hash) SELECT * FROM unnest(?, ?, ?)", "ibb", add_chain},
    };
    enum cw_err err = CW_OK;
    for (size_t t = 0; t < sizeof tables / sizeof *tables && err == CW_OK; t++) {
        struct job j;
        job_init(&j, tables[t].sql, tables[t].types);
        for (size_t i = 0; i < count; i++)
            tables[t].add(&j, &entries[i]);
        err = post(pg_of(l), &j, why);
    }
    return err;
}

enum cw_err pg_balances(struct ledger *l, const struct booking_account *accounts, size_t count,
                        struct say *why)
{
    struct job j;
    job_init(&j,
             "UPDATE account SET balance = w.balance FROM unnest(?, ?) AS w (id, balance) "
             "WHERE account.id = w.id",
             "ii");
    for (size_t i = 0; i < count; i++)
        if (accounts[i].changed) {
            add_number(&j.columns[0], accounts[i].row);
            add_number(&j.columns[1], accounts[i].balance);
        }
    return post(pg_of(l), &j, why);
}
