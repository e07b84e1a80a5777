/* ledger_chain.c - the journal as a chain: the hash of each entry covers all that belongs to it and
 * the hash of the one before. It is made of what stands in the tables, when it is written and when
 * it is checked, by the same code. docs/bank.md has the bytes. */
#include "bank/ledger_booking.h"
#include "receipt/entry.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads one entry after the other, in pages: all that a query finds may have to fit in memory. */
struct reading {
    struct ledger *l;
    struct db_stmt *entries, *legs; /* of one page; NULL: of none */
    bool leg;                       /* `legs` stands at one that was not taken */
    struct ledger_payment payment;
    struct ledger_ground ground;
    struct ledger_entry e;
    uint8_t before[LEDGER_HASH_LEN]; /* hash of the last that was read */
};

#define PAGE "512"

/* ---- the hash ---- */

static void put_ground(struct digest *d, const struct ledger_ground *g)
{
    const char *const texts[] = {"ground", g->who, g->approver, g->what, g->subject, g->key};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        digest_put_field(d, texts[i], strlen(texts[i]));
    digest_put_number(d, g->refers);
}

/* What was booked: nobody's but the bank's, hence the salt. */
static void booked_hash(struct digest *d, const struct db_entry *e, uint8_t out[DIGEST_LEN])
{
    digest_begin(d);
    digest_put(d, e->salt, sizeof e->salt);
    digest_put_field(d, e->kind, strlen(e->kind));
    digest_put_field(d, e->reference, strlen(e->reference));
    digest_put_number(d, (int64_t)e->leg_count);
    for (size_t i = 0; i < e->leg_count; i++) {
        const struct ledger_leg *leg = &e->legs[i];
        digest_put_field(d, leg->number, strlen(leg->number));
        digest_put_number(d, leg->customer);
        digest_put_field(d, leg->currency, strlen(leg->currency));
        digest_put_number(d, leg->amount);
        digest_put_number(d, leg->balance);
    }
    if (e->paid != NULL) {
        digest_put_number(d, e->paid->customer);
        digest_put_field(d, e->paid->reply, strlen(e->paid->reply));
    }
    if (e->ground != NULL)
        put_ground(d, e->ground);
    digest_end(d, out);
}

/* What a card signed, if it is a payment: what its receipt shows. */
static void order_hash(struct digest *d, const struct db_paid *p, uint8_t out[DIGEST_LEN])
{
    struct entry_order o;
    if (p != NULL)
        o = (struct entry_order){.id = p->order,
                                 .request = p->request,
                                 .card = p->card,
                                 .certificate = p->certificate,
                                 .counter = p->counter,
                                 .text = p->text,
                                 .text_len = p->text_len,
                                 .signature = p->signature,
                                 .signature_len = p->signature_len};
    entry_order_hash(d, p != NULL ? &o : NULL, out);
}

/* Fills in the entry's hashes. */
static enum cw_err hash_entry(struct db_entry *e, const uint8_t before[LEDGER_HASH_LEN],
                              struct say *why)
{
    uint8_t order[LEDGER_HASH_LEN];
    struct digest d = {NULL, false};
    booked_hash(&d, e, e->booked);
    order_hash(&d, e->paid, order);
    entry_own_hash(&d, e->id, e->time, e->booked, order, e->own);
    entry_chain_hash(&d, before, e->own, e->hash);
    return digest_free(&d, why);
}

enum cw_err db_entry_chain(struct db_entry *e, struct db_head *head, struct say *why)
{
    if (RAND_bytes(e->salt, sizeof e->salt) != 1)
        return say_fail(why, CW_ERR_CRYPTO, "this machine gives no random numbers");
    e->id = head->id + 1;
    enum cw_err err = hash_entry(e, head->hash, why);
    if (err == CW_OK) {
        head->id = e->id;
        memcpy(head->hash, e->hash, sizeof head->hash);
    }
    return err;
}

/* What the tables hold, as it is hashed and written. */
void db_entry_written(const struct ledger_entry *e, struct db_entry *out, struct db_paid *paid)
{
    const struct ledger_payment *p = e->payment;
    *out = (struct db_entry){.id = e->id,
                             .time = e->time,
                             .kind = e->kind,
                             .reference = e->reference,
                             .legs = e->legs,
                             .leg_count = e->leg_count,
                             .paid = p != NULL ? paid : NULL,
                             .ground = e->ground};
    memcpy(out->salt, e->salt, sizeof out->salt);
    memcpy(out->hash, e->stored, sizeof out->hash);
    if (p != NULL)
        *paid = (struct db_paid){.customer = p->customer,
                                 .counter = p->counter,
                                 .order = p->order,
                                 .request = p->request,
                                 .card = p->card,
                                 .certificate = p->certificate,
                                 .text = p->text,
                                 .text_len = p->text_len,
                                 .signature = p->signature,
                                 .signature_len = p->signature_len,
                                 .reply = p->reply};
}

/* ---- reading ---- */

enum cw_err db_ground_read(const struct db_stmt *st, int column, struct ledger_ground *out,
                           struct say *why)
{
    out->refers = db_int(st, column + 5);
    enum cw_err err = db_text(st, column, out->who, sizeof out->who, why);
    if (err == CW_OK)
        err = db_text(st, column + 1, out->approver, sizeof out->approver, why);
    if (err == CW_OK)
        err = db_text(st, column + 2, out->what, sizeof out->what, why);
    if (err == CW_OK)
        err = db_text(st, column + 3, out->subject, sizeof out->subject, why);
    return err == CW_OK ? db_text(st, column + 4, out->key, sizeof out->key, why) : err;
}

static enum cw_err reading_begin(struct reading **out, struct ledger *l, struct say *why)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    (*out)->l = l;
    return CW_OK;
}

static void close_page(struct reading *r)
{
    db_done(&r->entries);
    db_done(&r->legs);
    r->leg = false;
}

static void reading_end(struct reading **reading)
{
    struct reading *r = *reading;
    if (r == NULL)
        return;
    close_page(r);
    free(r->payment.reply);
    free(r);
    *reading = NULL;
}

static enum cw_err next_leg(struct reading *r, struct say *why)
{
    return db_step(r->l, r->legs, &r->leg, why);
}

/* The entries from `first` to `last`, and what they move. */
static enum cw_err open_page(struct reading *r, int64_t first, int64_t last, struct say *why)
{
    struct ledger *l = r->l;
    close_page(r);
    enum cw_err err = db_prepare(l, &r->entries, why,
                                 "SELECT j.id, j.time, j.kind, j.reference, c.hash, c.salt, "
                                 "g.who, g.approver, g.what, g.subject, coalesce(g.key, ''), "
                                 "coalesce(g.refers, 0), " DB_PAYMENT_COLUMNS
                                 "FROM journal j LEFT JOIN chain c ON c.journal = j.id "
                                 "LEFT JOIN admin_log g ON g.journal = j.id "
                                 "LEFT JOIN payment pay ON pay.journal = j.id "
                                 "WHERE j.id >= ? AND j.id <= ? ORDER BY j.id",
                                 "ii", first, last);
    if (err == CW_OK)
        err = db_prepare(l, &r->legs, why,
                         "SELECT p.account, coalesce(a.number, ''), coalesce(a.currency, ''), "
                         "p.amount, p.balance, coalesce(a.customer, 0), p.journal "
                         "FROM posting p LEFT JOIN account a ON a.id = p.account "
                         "WHERE p.journal >= ? AND p.journal <= ? ORDER BY p.journal, p.line",
                         "ii", first, last);
    return err == CW_OK ? next_leg(r, why) : err;
}

static enum cw_err read_leg(struct reading *r, struct say *why)
{
    struct ledger_entry *e = &r->e;
    if (e->leg_count == LEDGER_LEGS_MAX)
        return say_fail(why, CW_ERR_FORMAT, "entry %lld has more than %u postings",
                        (long long)e->id, LEDGER_LEGS_MAX);
    struct ledger_leg *leg = &e->legs[e->leg_count++];
    leg->account = db_int(r->legs, 0);
    leg->amount = db_int(r->legs, 3);
    leg->balance = db_int(r->legs, 4);
    leg->customer = db_int(r->legs, 5);
    enum cw_err err = db_text(r->legs, 1, leg->number, sizeof leg->number, why);
    return err == CW_OK ? db_text(r->legs, 2, leg->currency, sizeof leg->currency, why) : err;
}

/* What entry `id` moves; postings before it are of entries that there are not. */
static enum cw_err read_legs(struct reading *r, int64_t id, struct say *why)
{
    enum cw_err err = CW_OK;
    r->e.leg_count = 0;
    while (err == CW_OK && r->leg && db_int(r->legs, 6) <= id) {
        if (db_int(r->legs, 6) == id)
            err = read_leg(r, why);
        if (err == CW_OK)
            err = next_leg(r, why);
    }
    return err;
}

/* The row that r->entries stands at, into r->e, its hash behind the last that was read. */
static enum cw_err read_entry(struct reading *r, struct say *why)
{
    struct ledger_entry *e = &r->e;
    struct db_entry written;
    struct db_paid paid;
    free(r->payment.reply);
    r->payment.reply = NULL;
    e->id = db_int(r->entries, 0);
    e->time = db_int(r->entries, 1);
    e->chained = !db_null(r->entries, 4);
    e->payment = !db_null(r->entries, 12) ? &r->payment : NULL;
    e->ground = !db_null(r->entries, 6) ? &r->ground : NULL;
    enum cw_err err = db_text(r->entries, 2, e->kind, sizeof e->kind, why);
    if (err == CW_OK)
        err = db_text(r->entries, 3, e->reference, sizeof e->reference, why);
    if (err == CW_OK && e->chained)
        err = db_blob_exact(r->entries, 4, e->stored, sizeof e->stored, why);
    if (err == CW_OK && e->chained)
        err = db_blob_exact(r->entries, 5, e->salt, sizeof e->salt, why);
    else if (err == CW_OK && RAND_bytes(e->salt, sizeof e->salt) != 1) /* of one to be written */
        err = say_fail(why, CW_ERR_CRYPTO, "this machine gives no random numbers");
    if (err == CW_OK && e->payment != NULL)
        err = db_payment_read(r->entries, 12, &r->payment, why);
    if (err == CW_OK && e->ground != NULL)
        err = db_ground_read(r->entries, 6, &r->ground, why);
    if (err == CW_OK)
        err = read_legs(r, e->id, why);
    memcpy(e->before, r->before, sizeof e->before);
    db_entry_written(e, &written, &paid);
    if (err == CW_OK)
        err = hash_entry(&written, r->before, why);
    if (err == CW_OK) {
        memcpy(e->booked, written.booked, sizeof e->booked);
        memcpy(e->own, written.own, sizeof e->own);
        memcpy(e->hash, written.hash, sizeof e->hash);
        memcpy(r->before, e->hash, sizeof r->before);
    }
    return err;
}

/* ---- writing ---- */

enum cw_err db_head_read(struct ledger *l, struct db_head *out, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    struct db_head head = {0};
    enum cw_err err = db_prepare(l, &st, why, DB_HEAD, "");
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && row) {
        head.id = db_int(st, 0);
        err = db_blob_exact(st, 1, head.hash, sizeof head.hash, why);
    }
    db_done(&st);
    if (err == CW_OK)
        *out = head;
    return err;
}

enum cw_err ledger_head_get(struct ledger *l, int64_t *entry, uint8_t hash[LEDGER_HASH_LEN],
                            struct say *why)
{
    struct db_head head;
    enum cw_err err = db_head_read(l, &head, why);
    if (err == CW_OK) {
        *entry = head.id;
        memcpy(hash, head.hash, sizeof head.hash);
    }
    return err;
}

static enum cw_err append(struct reading *r, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(r->l, &st, why, "INSERT INTO chain (journal, salt, hash) VALUES (?, ?, ?)",
                   "ibb", r->e.id, r->e.salt, sizeof r->e.salt, r->e.hash, sizeof r->e.hash);
    return db_run(r->l, err, st, why);
}

/* Calls `one` for each entry of the page that is open. */
static enum cw_err walk_page(struct reading *r,
                             enum cw_err (*one)(void *ctx, struct reading *r, struct say *why),
                             void *ctx, struct say *why)
{
    bool row = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && (err = db_step(r->l, r->entries, &row, why)) == CW_OK && row)
        if ((err = read_entry(r, why)) == CW_OK)
            err = one(ctx, r, why);
    return err;
}

/* Calls `one` for each entry. */
static enum cw_err walk(struct reading *r,
                        enum cw_err (*one)(void *ctx, struct reading *r, struct say *why),
                        void *ctx, struct say *why)
{
    int64_t first = INT64_MIN;
    for (;;) {
        struct db_stmt *st;
        int64_t last = INT64_MIN;
        enum cw_err err = db_prepare(r->l, &st, why,
                                     "SELECT id FROM (SELECT id FROM journal WHERE id >= ? "
                                     "ORDER BY id LIMIT " PAGE ") AS page ORDER BY id DESC LIMIT 1",
                                     "i", first);
        err = db_number(r->l, err, st, &last, why);
        if (err == CW_ERR_NOT_FOUND)
            return CW_OK;
        if (err == CW_OK)
            err = open_page(r, first, last, why);
        if (err == CW_OK)
            err = walk_page(r, one, ctx, why);
        if (err != CW_OK || last == INT64_MAX)
            return err;
        first = last + 1;
    }
}

static enum cw_err fill_one(void *ctx, struct reading *r, struct say *why)
{
    (void)ctx;
    return append(r, why);
}

enum cw_err db_chain_fill(struct ledger *l, struct say *why)
{
    struct reading *r = NULL;
    enum cw_err err = reading_begin(&r, l, why);
    if (err == CW_OK)
        err = walk(r, fill_one, NULL, why);
    reading_end(&r);
    return err;
}

/* ---- for others ---- */

struct visitor {
    enum cw_err (*each)(void *ctx, const struct ledger_entry *e, struct say *why);
    void *ctx;
};

static enum cw_err visit_one(void *ctx, struct reading *r, struct say *why)
{
    const struct visitor *v = ctx;
    return v->each(v->ctx, &r->e, why);
}

enum cw_err ledger_entry_each(struct ledger *l,
                              enum cw_err (*each)(void *ctx, const struct ledger_entry *e,
                                                  struct say *why),
                              void *ctx, struct say *why)
{
    struct visitor v = {each, ctx};
    struct reading *r = NULL;
    enum cw_err err = reading_begin(&r, l, why);
    if (err == CW_OK)
        err = walk(r, visit_one, &v, why);
    reading_end(&r);
    return err;
}

static enum cw_err prove_one(void *ctx, struct reading *r, struct say *why)
{
    struct receipt_proof *p = ctx;
    const struct ledger_entry *e = &r->e;
    if (!e->chained || memcmp(e->stored, e->hash, sizeof e->hash) != 0)
        return say_fail(why, CW_ERR_FORMAT,
                        "entry %lld: its hash does not fit; 'cardwired audit' looks for what was "
                        "changed",
                        (long long)e->id);
    if (p->id == 0) {
        p->id = e->id;
        p->time = e->time;
        memcpy(p->booked, e->booked, sizeof p->booked);
    } else if (p->entry_count < RECEIPT_ENTRIES_MAX) {
        memcpy(p->entries[p->entry_count++], e->own, sizeof e->own);
    }
    return CW_OK;
}

/* The hash of the last entry before `id`; zeros when there is none. */
static enum cw_err load_before(struct reading *r, int64_t id, struct say *why)
{
    int64_t entry;
    enum cw_err err = ledger_chain_get(r->l, id - 1, &entry, r->before, why);
    return err == CW_ERR_NOT_FOUND ? CW_OK : err;
}

enum cw_err ledger_proof_get(struct ledger *l, int64_t id, int64_t head, struct receipt_proof *out,
                             struct say *why)
{
    struct reading *r = NULL;
    if (head < id || head - id > (int64_t)RECEIPT_ENTRIES_MAX)
        return say_fail(why, CW_ERR_ARG, "no proof leads from entry %lld to %lld", (long long)id,
                        (long long)head);
    out->id = 0;
    out->entry_count = 0;
    enum cw_err err = reading_begin(&r, l, why);
    if (err == CW_OK)
        err = load_before(r, id, why);
    if (err == CW_OK) {
        memcpy(out->before, r->before, sizeof out->before);
        err = open_page(r, id, head, why);
    }
    if (err == CW_OK)
        err = walk_page(r, prove_one, out, why);
    if (err == CW_OK && (out->id != id || out->entry_count != (size_t)(head - id)))
        err = say_fail(why, CW_ERR_FORMAT, "there is an entry missing between %lld and %lld",
                       (long long)id, (long long)head);
    reading_end(&r);
    return err;
}

static enum cw_err read_one(struct reading *r, int64_t id, struct say *why)
{
    bool row = false;
    enum cw_err err = load_before(r, id, why);
    if (err == CW_OK)
        err = open_page(r, id, id, why);
    if (err == CW_OK)
        err = db_step(r->l, r->entries, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no entry %lld", (long long)id);
    return err == CW_OK ? read_entry(r, why) : err;
}

enum cw_err ledger_entry_get(struct ledger *l, int64_t id,
                             enum cw_err (*each)(void *ctx, const struct ledger_entry *e,
                                                 struct say *why),
                             void *ctx, struct say *why)
{
    struct reading *r = NULL;
    enum cw_err err = reading_begin(&r, l, why);
    if (err == CW_OK)
        err = read_one(r, id, why);
    if (err == CW_OK)
        err = each(ctx, &r->e, why);
    reading_end(&r);
    return err;
}

/* Those of which there are several, by the rows themselves: an index may be gone, or lie. */
static enum cw_err count_twice(struct ledger *l, const char *columns, int64_t *out, struct say *why)
{
    char sql[160];
    struct db_stmt *st;
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM (SELECT 1 FROM payment%s GROUP BY %s HAVING count(*) > 1) AS t",
             l->engine->by_rows, columns);
    enum cw_err err = db_prepare(l, &st, why, sql, "");
    return db_number(l, err, st, out, why);
}

enum cw_err ledger_rows_get(struct ledger *l, struct ledger_rows *out, struct say *why)
{
    struct ledger_rows rows = {0};
    const struct db_count counts[] = {
        {"SELECT count(*) FROM journal", &rows.entries},
        {"SELECT count(*) FROM chain", &rows.hashes},
        {"SELECT count(*) FROM posting", &rows.postings},
        {"SELECT count(*) FROM payment", &rows.payments},
        {"SELECT count(*) FROM admin_log", &rows.grounds},
    };
    enum cw_err err = db_counts(l, counts, sizeof counts / sizeof counts[0], why);
    if (err == CW_OK)
        err = count_twice(l, "order_id", &rows.orders_twice, why);
    if (err == CW_OK)
        err = count_twice(l, "card, counter", &rows.counters_twice, why);
    if (err == CW_OK)
        *out = rows;
    return err;
}
