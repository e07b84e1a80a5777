#include "engine.h"

#include "bank/ledger_booking.h"

#include <sqlite3.h>
#include <string.h>

struct engine engine;

static const char *const names[MUTANTS] = {
    [MUTANT_NONE] = "none",
    [MUTANT_NO_REPEAT] = "no-repeat",
    [MUTANT_NO_COUNTER] = "no-counter",
    [MUTANT_NO_BLOCK] = "no-block",
    [MUTANT_NO_FUNDS] = "no-funds",
    [MUTANT_EARLY_ACK] = "early-ack",
    [MUTANT_WRONG_FATE] = "wrong-fate",
    [MUTANT_HALF] = "half",
    [MUTANT_OTHER_AMOUNT] = "other-amount",
    [MUTANT_OTHER_ORDER] = "other-order",
};

const char *engine_mutant_name(enum engine_mutant m)
{
    return names[m];
}

enum engine_mutant engine_mutant_find(const char *name)
{
    enum engine_mutant m = MUTANT_NONE;
    while (m < MUTANTS && strcmp(names[m], name) != 0)
        m++;
    return m;
}

void engine_calm(void)
{
    engine.fault = FAULT_NONE;
    engine.turn = NULL;
    engine.struck = engine.dead = engine.writing = false;
}

/* ---- what is to come ---- */

static enum cw_err fail(enum engine_fault fault, struct say *why)
{
    switch (fault) {
    case FAULT_BUSY:
        return say_fail(why, CW_ERR_BUSY, "simulated: locked");
    case FAULT_FULL:
        return say_fail(why, CW_ERR_SPACE, "simulated: the disk is full");
    default:
        return say_fail(why, CW_ERR_IO, "simulated: the disk fails");
    }
}

static void maybe_turn(void)
{
    if (engine.turn == NULL || engine.dead || engine.turn_calls-- > 0)
        return;
    void (*turn)(void *ctx) = engine.turn;
    engine.turn = NULL;
    engine.between = true;
    turn(engine.ctx);
    engine.between = false;
}

/* The fault that strikes this call. */
static enum engine_fault fault_now(bool commit)
{
    maybe_turn();
    if (engine.between)
        return FAULT_NONE;
    if (engine.dead)
        return FAULT_DEATH;
    if (engine.fault == FAULT_NONE || (engine.commit_only && !commit) || engine.calls-- > 0)
        return FAULT_NONE;
    enum engine_fault fault = engine.fault;
    engine.fault = FAULT_NONE;
    engine.struck = true;
    engine.dead = fault == FAULT_DEATH || fault == FAULT_DEATH_AFTER;
    return fault;
}

static bool takes_effect(enum engine_fault fault)
{
    return fault == FAULT_NONE || fault == FAULT_AFTER || fault == FAULT_DEATH_AFTER;
}

/* ---- calls ---- */

static enum cw_err exec(struct ledger *l, const char *sql, struct say *why)
{
    enum engine_fault fault = fault_now(false);
    enum cw_err err = takes_effect(fault) ? db_sqlite.exec(l, sql, why) : CW_OK;
    return fault == FAULT_NONE ? err : fail(fault, why);
}

static enum cw_err prepare(struct ledger *l, struct db_stmt **out, const char *sql,
                           const struct db_value *values, size_t count, struct say *why)
{
    enum engine_fault fault = fault_now(false);
    return fault == FAULT_NONE ? db_sqlite.prepare(l, out, sql, values, count, why)
                               : fail(fault, why);
}

static enum cw_err step(struct db_stmt *st, bool *row, struct say *why)
{
    enum engine_fault fault = fault_now(false);
    enum cw_err err = takes_effect(fault) ? db_sqlite.step(st, row, why) : CW_OK;
    return fault == FAULT_NONE ? err : fail(fault, why);
}

static enum cw_err begin(struct ledger *l, bool write, struct say *why)
{
    enum engine_fault fault = fault_now(false);
    enum cw_err err = fault == FAULT_NONE ? db_sqlite.begin(l, write, why) : fail(fault, why);
    engine.writing |= err == CW_OK && write && !engine.between;
    return err;
}

/* A commit that fails has told all that it can by `fate`. Who is dead rolls nothing back: that is
 * for whoever opens the books next. */
static enum cw_err end(struct ledger *l, bool commit, enum db_fate *fate, struct say *why)
{
    bool lied = commit && engine.mutant == MUTANT_EARLY_ACK;
    enum engine_fault fault = fault_now(commit);
    if (!engine.between) {
        engine.writing = false;
        engine.turn = NULL;
    }
    if (fault == FAULT_DEATH)
        return fail(fault, why);
    enum cw_err err = db_sqlite.end(l, commit && takes_effect(fault) && !lied, fate, why);
    if (fault == FAULT_NONE)
        return err;
    if (!commit) /* it did roll back: what cannot is the engine's own to find out */
        return err;
    *fate = fault == FAULT_BUSY || fault == FAULT_FULL || engine.mutant == MUTANT_WRONG_FATE
                ? DB_UNDONE
                : DB_UNKNOWN;
    return fail(fault, why);
}

/* What is known about the orders, or what a mutant would know. */
static void forget(struct booking *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (engine.mutant == MUTANT_NO_REPEAT)
            b->items[i].known = false;
        if (engine.mutant == MUTANT_NO_COUNTER)
            b->items[i].counter_used = false;
        if (engine.mutant == MUTANT_NO_BLOCK)
            b->items[i].card.status = LEDGER_CARD_ACTIVE;
    }
    for (size_t i = 0; i < b->account_count && engine.mutant == MUTANT_NO_FUNDS; i++)
        b->accounts[i].floor = -INT64_C(1000000000000);
}

static enum cw_err fetch(struct ledger *l, struct booking *b, struct say *why)
{
    enum engine_fault fault = fault_now(false);
    if (fault != FAULT_NONE)
        return fail(fault, why);
    engine.writing |= !engine.between; /* from its first call on */
    enum cw_err err = db_sqlite.fetch(l, b, why);
    if (err == CW_OK)
        forget(b);
    else if (!engine.between)
        engine.writing = false;
    return err;
}

static enum cw_err add_changed(struct ledger *l, const struct db_entry *entries, size_t count,
                               struct say *why)
{
    struct db_entry e = entries[count - 1];
    struct ledger_leg legs[LEDGER_LEGS_MAX];
    struct db_paid paid;
    uint8_t order[ORDER_ID_LEN];
    if (e.paid == NULL)
        return db_sqlite.add(l, entries, count, why);
    memcpy(legs, e.legs, e.leg_count * sizeof legs[0]);
    memcpy(order, e.paid->order, sizeof order);
    paid = *e.paid;
    if (engine.mutant == MUTANT_OTHER_ORDER)
        order[0] ^= 1;
    else
        legs[0].amount--, legs[1].amount++;
    paid.order = order;
    e.paid = &paid;
    e.legs = legs;
    enum cw_err err = count > 1 ? db_sqlite.add(l, entries, count - 1, why) : CW_OK;
    return err == CW_OK ? db_sqlite.add(l, &e, 1, why) : err;
}

static enum cw_err add(struct ledger *l, const struct db_entry *entries, size_t count,
                       struct say *why)
{
    enum engine_fault fault = fault_now(false);
    if (fault != FAULT_NONE)
        return fail(fault, why);
    return engine.mutant == MUTANT_OTHER_AMOUNT || engine.mutant == MUTANT_OTHER_ORDER
               ? add_changed(l, entries, count, why)
               : db_sqlite.add(l, entries, count, why);
}

static enum cw_err balances(struct ledger *l, const struct booking_account *accounts, size_t count,
                            struct say *why)
{
    enum engine_fault fault = fault_now(false);
    if (fault != FAULT_NONE)
        return fail(fault, why);
    return engine.mutant == MUTANT_HALF ? CW_OK : db_sqlite.balances(l, accounts, count, why);
}

void engine_take(struct ledger *l)
{
    static struct db_engine faulty;
    faulty = db_sqlite;
    faulty.exec = exec;
    faulty.prepare = prepare;
    faulty.step = step;
    faulty.begin = begin;
    faulty.end = end;
    faulty.fetch = fetch;
    faulty.add = add;
    faulty.balances = balances;
    l->engine = &faulty;
    sqlite3_busy_timeout(db_sqlite_handle(l), 0);
    /* No power fails here, so the disk need not be waited for. */
    (void)sqlite3_exec(db_sqlite_handle(l), "PRAGMA synchronous = OFF", NULL, NULL, NULL);
}
