/* ledger_hold.c - holds: money of an account that is kept for a payee until it is captured, or
 * released. account.held is the sum of the open ones. */
#include "bank/ledger_work_db.h"

#include <stdio.h>
#include <string.h>

#define HOLD_COLUMNS                                                                               \
    "SELECT h.journal, h.amount, h.captured, h.expiry, h.state, a.number, p.number, a.currency, "  \
    "g.who, coalesce(g.key, ''), a.id, p.id, j.reference, h.amount - h.captured FROM hold h "      \
    "JOIN account a ON a.id = h.account JOIN account p ON p.id = h.payee "                         \
    "JOIN admin_log g ON g.journal = h.journal JOIN journal j ON j.id = h.journal "

/* A hold with the rows that booking wants. */
struct held {
    struct ledger_hold h;
    int64_t account, payee;
    char reference[ORDER_REFERENCE_MAX + 1];
};

/* ---- reading ---- */

static enum cw_err hold_read(const struct db_stmt *st, struct held *out, struct say *why)
{
    struct ledger_hold *h = &out->h;
    *h = (struct ledger_hold){.entry = db_int(st, 0),
                              .amount = db_int(st, 1),
                              .captured = db_int(st, 2),
                              .expiry = db_int(st, 3)};
    out->account = db_int(st, 10);
    out->payee = db_int(st, 11);
    const struct {
        char *to;
        size_t cap;
        int column;
    } texts[] = {
        {h->state, sizeof h->state, 4},
        {h->account, sizeof h->account, 5},
        {h->payee, sizeof h->payee, 6},
        {h->currency, sizeof h->currency, 7},
        {h->who, sizeof h->who, 8},
        {h->id, sizeof h->id, 9},
        {out->reference, sizeof out->reference, 12},
    };
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && err == CW_OK; i++)
        err = db_text(st, texts[i].column, texts[i].to, texts[i].cap, why);
    return err;
}

/* By the query that was prepared. CW_ERR_NOT_FOUND with a sentence about `name`. */
static enum cw_err hold_one(struct ledger *l, enum cw_err err, struct db_stmt *st, const char *name,
                            struct held *out, struct say *why)
{
    bool row = false;
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no hold %.64s", name);
    if (err == CW_OK)
        err = hold_read(st, out, why);
    db_done(&st);
    return err;
}

static enum cw_err hold_by_id(struct ledger *l, const char *id, struct held *out, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, HOLD_COLUMNS "WHERE g.key = ?", "t", id);
    return hold_one(l, err, st, id, out, why);
}

static enum cw_err hold_by_entry(struct ledger *l, int64_t entry, struct held *out, struct say *why)
{
    char name[24];
    struct db_stmt *st;
    snprintf(name, sizeof name, "%lld", (long long)entry);
    enum cw_err err = db_prepare(l, &st, why, HOLD_COLUMNS "WHERE h.journal = ?", "i", entry);
    return hold_one(l, err, st, name, out, why);
}

enum cw_err ledger_hold_get(struct ledger *l, const char *id, struct ledger_hold *out,
                            struct say *why)
{
    struct held h;
    enum cw_err err = hold_by_id(l, id, &h, why);
    if (err == CW_OK)
        *out = h.h;
    return err;
}

enum cw_err ledger_hold_each(struct ledger *l, void (*each)(void *ctx, const struct ledger_hold *h),
                             void *ctx, struct say *why)
{
    struct db_stmt *st;
    struct held h;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why, HOLD_COLUMNS "ORDER BY h.journal", "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = hold_read(st, &h, why)) == CW_OK)
            each(ctx, &h.h);
    db_done(&st);
    return err;
}

/* ---- placing ---- */

static void hold_subject(const struct ledger_hold *h, char out[LEDGER_SUBJECT_MAX + 1])
{
    char more[48];
    snprintf(more, sizeof more, ", until %lld", (long long)h->expiry);
    work_subject(out, h->amount, h->currency, h->account, h->payee, more);
}

static enum cw_err hold_allowed(const struct ledger_hold_order *o,
                                const struct booking_account *payer,
                                const struct booking_account *payee, int64_t now, struct say *why)
{
    int64_t after;
    if (o->expiry <= now)
        return say_fail(why, CW_ERR_ARG, "a hold ends at a time to come");
    if (payer->customer == 0 || payee->customer == 0)
        return say_fail(why, CW_ERR_ARG, "a hold is of a customer's account, for a customer's");
    if (payer->frozen || payee->frozen)
        return say_fail(why, CW_ERR_STATE, "account %s is frozen",
                        payer->frozen ? payer->number : payee->number);
    if (__builtin_sub_overflow(payer->balance - payer->held, o->amount, &after) ||
        after < payer->floor)
        return say_fail(why, CW_ERR_DENIED, "account %s does not hold that much", payer->number);
    return CW_OK;
}

static enum cw_err held_add(struct ledger *l, int64_t account, int64_t amount, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, "UPDATE account SET held = held + ? WHERE id = ?",
                                 "ii", amount, account);
    return db_run(l, err, st, why);
}

struct placing {
    struct ledger *l;
    const struct ledger_hold_order *o;
    struct ledger_hold *out;
};

static enum cw_err place_new(struct ledger *l, const struct ledger_hold_order *o,
                             const struct ledger_ground *g, const struct booking_account *payer,
                             const struct booking_account *payee, struct say *why)
{
    struct db_stmt *st;
    int64_t entry = 0;
    enum cw_err err = hold_allowed(o, payer, payee, ledger_now(l), why);
    if (err == CW_OK)
        err = db_post(l, "hold", o->reference, g, NULL, 0, &entry, why);
    if (err == CW_OK)
        err = held_add(l, payer->row, o->amount, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "INSERT INTO hold (journal, account, payee, amount, expiry) "
                     "VALUES (?, ?, ?, ?, ?)",
                     "iiiii", entry, payer->row, payee->row, o->amount, o->expiry);
    return db_run(l, err, st, why);
}

static enum cw_err place(void *ctx, struct say *why)
{
    const struct placing *p = ctx;
    const struct ledger_hold_order *o = p->o;
    struct booking_account payer, payee;
    struct ledger_ground g;
    struct ledger_hold h = {.amount = o->amount, .expiry = o->expiry};
    bool known = false;
    enum cw_err err = work_ground(&g, o->who, "", "hold place", o->id, why);
    if (err == CW_OK)
        err = work_pair(p->l, o->account, o->payee, &payer, &payee, why);
    if (err != CW_OK)
        return err;
    memcpy(h.account, payer.number, sizeof h.account);
    memcpy(h.payee, payee.number, sizeof h.payee);
    memcpy(h.currency, payer.currency, sizeof h.currency);
    hold_subject(&h, g.subject);
    err = work_known(p->l, &g, &known, why);
    if (err == CW_OK && !known)
        err = place_new(p->l, o, &g, &payer, &payee, why);
    return err == CW_OK ? ledger_hold_get(p->l, o->id, p->out, why) : err;
}

enum cw_err ledger_hold_place(struct ledger *l, const struct ledger_hold_order *o,
                              struct ledger_hold *out, struct say *why)
{
    struct placing p = {l, o, out};
    if (o->id[0] == '\0' || o->amount < 1 || o->amount > ORDER_AMOUNT_MAX)
        return say_fail(why, CW_ERR_ARG, "a hold has an id, and an amount of up to 15 digits");
    enum cw_err err = work_reference_check(o->reference, why);
    return err == CW_OK ? ledger_together(l, place, &p, why) : err;
}

/* ---- capturing and releasing ---- */

static enum cw_err hold_put(struct ledger *l, const struct held *h, int64_t captured,
                            const char *state, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why, "UPDATE hold SET captured = ?, state = ? WHERE journal = ?", "iti",
                   captured, state, h->h.entry);
    return db_run(l, err, st, why);
}

static enum cw_err frozen_check(struct ledger *l, const struct held *h, struct say *why)
{
    struct booking_account payer, payee;
    enum cw_err err = work_pair(l, h->h.account, h->h.payee, &payer, &payee, why);
    if (err == CW_OK && (payer.frozen || payee.frozen))
        err = say_fail(why, CW_ERR_STATE, "account %s is frozen",
                       payer.frozen ? payer.number : payee.number);
    return err;
}

static enum cw_err capture_new(struct ledger *l, const struct held *h,
                               const struct ledger_ground *g, int64_t amount, bool final,
                               struct say *why)
{
    int64_t left = h->h.amount - h->h.captured;
    if (strcmp(h->h.state, "open") != 0)
        return say_fail(why, CW_ERR_STATE, "hold %s is %s", h->h.id, h->h.state);
    if (h->h.expiry <= ledger_now(l))
        return say_fail(why, CW_ERR_STATE, "hold %s has run out", h->h.id);
    if (amount > left)
        return say_fail(why, CW_ERR_DENIED, "hold %s has not that much left", h->h.id);
    final = final || amount == left;
    const struct db_leg legs[2] = {{h->account, -amount}, {h->payee, amount}};
    enum cw_err err = frozen_check(l, h, why);
    if (err == CW_OK)
        err = held_add(l, h->account, final ? -left : -amount, why);
    if (err == CW_OK)
        err = db_post(l, "capture", h->reference, g, legs, 2, NULL, why);
    return err == CW_OK ? hold_put(l, h, h->h.captured + amount, final ? "captured" : "open", why)
                        : err;
}

struct capturing {
    struct ledger *l;
    const struct ledger_capture *c;
    struct ledger_hold *out;
};

static enum cw_err capture(void *ctx, struct say *why)
{
    const struct capturing *x = ctx;
    const struct ledger_capture *c = x->c;
    struct ledger_ground g;
    struct held h;
    bool known = false;
    enum cw_err err = work_ground(&g, c->who, "", "hold capture", c->id, why);
    if (err == CW_OK)
        err = hold_by_id(x->l, c->hold, &h, why);
    if (err != CW_OK)
        return err;
    if (strcmp(h.h.who, c->who) == 0)
        return say_fail(why, CW_ERR_DENIED,
                        "%s placed this hold, and cannot capture it; ask a second person", c->who);
    /* What was asked, so that a repetition is told from something else. */
    if (c->amount == 0)
        snprintf(g.subject, sizeof g.subject, "all of hold %s", h.h.id);
    else
        work_subject(g.subject, c->amount, h.h.currency, h.h.account, h.h.payee,
                     c->final ? ", the last" : "");
    g.refers = h.h.entry;
    err = work_known(x->l, &g, &known, why);
    if (err == CW_OK && !known)
        err = capture_new(x->l, &h, &g, c->amount == 0 ? h.h.amount - h.h.captured : c->amount,
                          c->final, why);
    return err == CW_OK ? ledger_hold_get(x->l, c->hold, x->out, why) : err;
}

enum cw_err ledger_hold_capture(struct ledger *l, const struct ledger_capture *c,
                                struct ledger_hold *out, struct say *why)
{
    struct capturing x = {l, c, out};
    if (c->id[0] == '\0' || c->amount < 0 || c->amount > ORDER_AMOUNT_MAX)
        return say_fail(why, CW_ERR_ARG, "a capture has an id, and an amount of up to 15 digits");
    return ledger_together(l, capture, &x, why);
}

static enum cw_err release(struct ledger *l, const struct held *h, const char *who,
                           const char *what, const char *state, struct say *why)
{
    struct ledger_ground g;
    int64_t left = h->h.amount - h->h.captured;
    enum cw_err err = work_ground(&g, who, "", what, "", why);
    if (err != CW_OK)
        return err;
    work_subject(g.subject, left, h->h.currency, h->h.account, h->h.payee, ", released");
    g.refers = h->h.entry;
    err = db_post(l, "release", h->reference, &g, NULL, 0, NULL, why);
    if (err == CW_OK)
        err = held_add(l, h->account, -left, why);
    return err == CW_OK ? hold_put(l, h, h->h.captured, state, why) : err;
}

enum cw_err hold_expire_one(struct ledger *l, int64_t id, struct say *why)
{
    struct held h;
    enum cw_err err = hold_by_entry(l, id, &h, why);
    return err == CW_OK ? release(l, &h, WORK_CLOCK, "hold expire", "expired", why) : err;
}

struct voiding {
    struct ledger *l;
    const char *id, *who;
    struct ledger_hold *out;
};

static enum cw_err void_hold(void *ctx, struct say *why)
{
    const struct voiding *v = ctx;
    struct held h;
    enum cw_err err = hold_by_id(v->l, v->id, &h, why);
    if (err == CW_OK && strcmp(h.h.state, "open") == 0)
        err = release(v->l, &h, v->who, "hold void", "voided", why);
    else if (err == CW_OK && strcmp(h.h.state, "voided") != 0)
        err = say_fail(why, CW_ERR_STATE, "hold %s is %s", h.h.id, h.h.state);
    return err == CW_OK ? ledger_hold_get(v->l, v->id, v->out, why) : err;
}

enum cw_err ledger_hold_void(struct ledger *l, const char *id, const char *who,
                             struct ledger_hold *out, struct say *why)
{
    struct voiding v = {l, id, who, out};
    return ledger_together(l, void_hold, &v, why);
}

/* ---- what the audit asks ---- */

enum cw_err hold_entry_check(struct ledger *l, const struct ledger_entry *e, struct say *why)
{
    struct held h;
    char subject[LEDGER_SUBJECT_MAX + 1];
    bool places = strcmp(e->kind, "hold") == 0;
    enum cw_err err = hold_by_entry(l, places ? e->id : e->ground->refers, &h, why);
    if (err == CW_ERR_NOT_FOUND)
        return say_fail(why, CW_ERR_FORMAT, "entry %lld: it is of a hold that there is not",
                        (long long)e->id);
    if (err != CW_OK)
        return err;
    hold_subject(&h.h, subject);
    bool good = !places || strcmp(subject, e->ground->subject) == 0;
    if (strcmp(e->kind, "capture") == 0)
        good = e->legs[0].account == h.account && e->legs[1].account == h.payee &&
               e->legs[1].amount > 0 && e->legs[1].amount <= h.h.amount && e->time < h.h.expiry &&
               strcmp(e->ground->who, h.h.who) != 0;
    return good ? CW_OK
                : say_fail(why, CW_ERR_FORMAT, "entry %lld: it is not what its hold allows",
                           (long long)e->id);
}
