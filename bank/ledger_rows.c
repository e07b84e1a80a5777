/* ledger_rows.c - what is known about orders, and the rows of entries, by one statement after the
 * other: as a database in the same process likes it. */
#include "bank/ledger_booking.h"

#include <string.h>

/* ---- fetching ---- */

static enum cw_err fetch_payment(struct ledger *l, struct booking_item *it, struct say *why)
{
    const struct ledger_order *o = it->request->order;
    struct db_stmt *st;
    bool row = false;
    int64_t used = 0;
    uint8_t request[32];
    enum cw_err err = db_prepare(l, &st, why, "SELECT request FROM payment WHERE order_id = ?", "b",
                                 o->fields.id, sizeof o->fields.id);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && row)
        err = db_blob_exact(st, 0, request, sizeof request, why);
    db_done(&st);
    it->known = row;
    it->same = err == CW_OK && row && memcmp(request, o->request, sizeof request) == 0;
    if (err != CW_OK || row)
        return err;
    err = db_prepare(l, &st, why, "SELECT count(*) FROM payment WHERE card = ? AND counter = ?",
                     "bi", o->seal.serial, sizeof o->seal.serial, (int64_t)o->seal.counter);
    err = db_number(l, err, st, &used, why);
    it->counter_used = used != 0;
    return err;
}

static enum cw_err fetch_account(struct ledger *l, struct booking_account *a, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, BOOKING_ACCOUNT "WHERE a.number = ?", "t", a->number);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && row)
        err = db_account_fact(st, a, why);
    db_done(&st);
    return err;
}

enum cw_err db_account_fact(const struct db_stmt *st, struct booking_account *a, struct say *why)
{
    a->known = true;
    a->row = db_int(st, 1);
    a->customer = db_int(st, 2);
    a->balance = db_int(st, 4);
    a->held = db_int(st, 5);
    a->floor = db_int(st, 6);
    a->frozen = db_int(st, 7) != 0;
    enum cw_err err = db_text(st, 8, a->name, sizeof a->name, why);
    return err == CW_OK ? db_text(st, 3, a->currency, sizeof a->currency, why) : err;
}

enum cw_err db_rows_fetch(struct ledger *l, struct booking *b, struct say *why)
{
    enum cw_err err = db_head_read(l, &b->head, why);
    for (size_t i = 0; i < b->account_count && err == CW_OK; i++)
        err = fetch_account(l, &b->accounts[i], why);
    for (size_t i = 0; i < b->count && err == CW_OK; i++) {
        struct booking_item *it = &b->items[i];
        err = fetch_payment(l, it, why);
        if (err == CW_OK && !it->known) {
            err = ledger_card_get(l, it->request->order->seal.serial, &it->card, why);
            it->card_known = err == CW_OK;
            err = err == CW_ERR_NOT_FOUND ? CW_OK : err;
        }
    }
    return err;
}

/* ---- writing ---- */

static enum cw_err add_legs(struct ledger *l, const struct db_entry *e, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < e->leg_count && err == CW_OK; i++) {
        struct db_stmt *st;
        err = db_prepare(l, &st, why,
                         "INSERT INTO posting (journal, line, account, amount, balance) "
                         "VALUES (?, ?, ?, ?, ?)",
                         "iiiii", e->id, (int64_t)i, e->legs[i].account, e->legs[i].amount,
                         e->legs[i].balance);
        err = db_run(l, err, st, why);
    }
    return err;
}

static enum cw_err add_paid(struct ledger *l, const struct db_entry *e, struct say *why)
{
    struct db_stmt *st;
    const struct db_paid *p = e->paid;
    if (p == NULL)
        return CW_OK;
    enum cw_err err = db_prepare(
        l, &st, why,
        "INSERT INTO payment (journal, order_id, request, customer, card, counter, certificate, "
        "text, signature, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        "ibbibibbbt", e->id, p->order, (size_t)ORDER_ID_LEN, p->request, (size_t)32, p->customer,
        p->card, (size_t)ORDER_SERIAL_LEN, p->counter, p->certificate, (size_t)32, p->text,
        p->text_len, p->signature, p->signature_len, p->reply);
    return db_run(l, err, st, why);
}

static enum cw_err add_ground(struct ledger *l, const struct db_entry *e, struct say *why)
{
    struct db_stmt *st;
    const struct ledger_ground *g = e->ground;
    if (g == NULL)
        return CW_OK;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "INSERT INTO admin_log (journal, who, approver, what, subject, key, refers) "
                   "VALUES (?, ?, ?, ?, ?, nullif(?, ''), nullif(?, 0))",
                   "ittttti", e->id, g->who, g->approver, g->what, g->subject, g->key, g->refers);
    return db_run(l, err, st, why);
}

static enum cw_err add_entry(struct ledger *l, const struct db_entry *e, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(
        l, &st, why, "INSERT INTO journal (id, time, kind, reference) VALUES (?, ?, ?, ?)", "iitt",
        e->id, e->time, e->kind, e->reference);
    if ((err = db_run(l, err, st, why)) == CW_OK)
        err = add_legs(l, e, why);
    if (err == CW_OK)
        err = add_paid(l, e, why);
    if (err == CW_OK)
        err = add_ground(l, e, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "INSERT INTO chain (journal, salt, hash) VALUES (?, ?, ?)", "ibb",
                     e->id, e->salt, sizeof e->salt, e->hash, sizeof e->hash);
    return db_run(l, err, st, why);
}

enum cw_err db_rows_add(struct ledger *l, const struct db_entry *entries, size_t count,
                        struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++)
        err = add_entry(l, &entries[i], why);
    return err;
}

enum cw_err db_rows_balances(struct ledger *l, const struct booking_account *accounts, size_t count,
                             struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        struct db_stmt *st;
        if (!accounts[i].changed)
            continue;
        err = db_prepare(l, &st, why, "UPDATE account SET balance = ? WHERE id = ?", "ii",
                         accounts[i].balance, accounts[i].row);
        err = db_run(l, err, st, why);
    }
    return err;
}
