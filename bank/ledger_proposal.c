/* ledger_proposal.c - postings and reversals by hand: one person proposes, another approves, and
 * only then is anything booked. */
#include "bank/ledger_work_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

#define PROPOSAL_COLUMNS                                                                           \
    "SELECT p.journal, j.time, p.expiry, p.amount, coalesce(p.reverses, 0), p.reference, "         \
    "p.state, g.who, a.number, b.number, a.currency, a.id, b.id, g.subject FROM proposal p "       \
    "JOIN journal j ON j.id = p.journal JOIN admin_log g ON g.journal = p.journal "                \
    "JOIN account a ON a.id = p.payer JOIN account b ON b.id = p.payee "

/* A proposal with the rows that booking wants. */
struct proposed {
    struct ledger_proposal p;
    int64_t payer, payee;
    char subject[LEDGER_SUBJECT_MAX + 1];
};

/* ---- reading ---- */

static enum cw_err proposal_read(const struct db_stmt *st, struct proposed *out, struct say *why)
{
    struct ledger_proposal *p = &out->p;
    *p = (struct ledger_proposal){.id = db_int(st, 0),
                                  .made = db_int(st, 1),
                                  .expiry = db_int(st, 2),
                                  .amount = db_int(st, 3),
                                  .reverses = db_int(st, 4)};
    out->payer = db_int(st, 11);
    out->payee = db_int(st, 12);
    const struct {
        char *to;
        size_t cap;
        int column;
    } texts[] = {
        {p->reference, sizeof p->reference, 5},
        {p->state, sizeof p->state, 6},
        {p->who, sizeof p->who, 7},
        {p->payer, sizeof p->payer, 8},
        {p->payee, sizeof p->payee, 9},
        {p->currency, sizeof p->currency, 10},
        {out->subject, sizeof out->subject, 13},
    };
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && err == CW_OK; i++)
        err = db_text(st, texts[i].column, texts[i].to, texts[i].cap, why);
    return err;
}

static enum cw_err load(struct ledger *l, int64_t id, struct proposed *out, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, PROPOSAL_COLUMNS "WHERE p.journal = ?", "i", id);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND,
                       "there is no proposal %lld; 'cardwired posting list' shows them",
                       (long long)id);
    if (err == CW_OK)
        err = proposal_read(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_proposal_get(struct ledger *l, int64_t id, struct ledger_proposal *out,
                                struct say *why)
{
    struct proposed p;
    enum cw_err err = load(l, id, &p, why);
    if (err == CW_OK)
        *out = p.p;
    return err;
}

enum cw_err ledger_proposal_each(struct ledger *l,
                                 void (*each)(void *ctx, const struct ledger_proposal *p),
                                 void *ctx, struct say *why)
{
    struct db_stmt *st;
    struct proposed p;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why, PROPOSAL_COLUMNS "ORDER BY p.journal", "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = proposal_read(st, &p, why)) == CW_OK)
            each(ctx, &p.p);
    db_done(&st);
    return err;
}

/* ---- what was moved, and how much of it was given back ---- */

struct moved {
    char from[ACCOUNT_NUMBER_LEN + 1], to[ACCOUNT_NUMBER_LEN + 1];
    int64_t amount, reversed;
};

/* Of entries up to `last`. CW_ERR_STATE: not one that can be reversed. */
static enum cw_err moved_by(struct ledger *l, int64_t entry, int64_t last, struct moved *out,
                            struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    struct moved m = {.amount = 0};
    enum cw_err err =
        db_prepare(l, &st, why,
                   "SELECT a.number, b.number, q.amount FROM journal j "
                   "JOIN posting p ON p.journal = j.id AND p.line = 0 AND p.amount < 0 "
                   "JOIN posting q ON q.journal = j.id AND q.line = 1 AND q.amount = -p.amount "
                   "JOIN account a ON a.id = p.account JOIN account b ON b.id = q.account "
                   "WHERE j.id = ? AND j.kind IN ('payment', 'capture', 'posting', 'deposit')",
                   "i", entry);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_STATE, "entry %lld is none that can be reversed",
                       (long long)entry);
    if (err == CW_OK)
        err = db_text(st, 0, m.from, sizeof m.from, why);
    if (err == CW_OK)
        err = db_text(st, 1, m.to, sizeof m.to, why);
    if (err == CW_OK)
        m.amount = db_int(st, 2);
    db_done(&st);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "SELECT coalesce(CAST(sum(p.amount) AS BIGINT), 0) FROM admin_log g "
                     "JOIN journal j ON j.id = g.journal AND j.kind = 'reversal' "
                     "JOIN posting p ON p.journal = j.id AND p.amount > 0 "
                     "WHERE g.refers = ? AND j.id <= ?",
                     "ii", entry, last);
    err = db_number(l, err, st, &m.reversed, why);
    if (err == CW_OK)
        *out = m;
    return err;
}

/* ---- proposing ---- */

struct proposing {
    struct ledger *l;
    const char *from, *to, *reference, *who; /* from and to: NULL in a reversal */
    int64_t amount, reverses;
    struct ledger_proposal *out;
    struct moved moved; /* by the entry that is to be reversed */
};

/* Takes from the entry that is to be reversed what is not said. */
static enum cw_err take_reversed(struct proposing *x, struct say *why)
{
    struct moved *m = &x->moved;
    enum cw_err err = moved_by(x->l, x->reverses, INT64_MAX, m, why);
    if (err != CW_OK)
        return err;
    if (x->amount == 0)
        x->amount = m->amount - m->reversed;
    if (x->amount < 1 || x->amount > m->amount - m->reversed)
        return say_fail(why, CW_ERR_DENIED,
                        "entry %lld has not that much left that could be reversed",
                        (long long)x->reverses);
    x->from = m->to;
    x->to = m->from;
    return CW_OK;
}

static enum cw_err put_proposal(const struct proposing *x, int64_t entry, int64_t payer,
                                int64_t payee, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(x->l, &st, why,
                   "INSERT INTO proposal (journal, payer, payee, amount, reference, reverses, "
                   "expiry) VALUES (?, ?, ?, ?, ?, nullif(?, 0), ?)",
                   "iiiitii", entry, payer, payee, x->amount, x->reference, x->reverses,
                   ledger_now(x->l) + (int64_t)LEDGER_PROPOSAL_DAYS * DAY);
    return db_run(x->l, err, st, why);
}

static enum cw_err propose(void *ctx, struct say *why)
{
    struct proposing *x = ctx;
    struct booking_account payer, payee;
    struct ledger_ground g;
    int64_t entry = 0;
    char more[48] = "";
    bool reversal = x->reverses != 0;
    enum cw_err err =
        work_ground(&g, x->who, "", reversal ? "reversal propose" : "posting propose", "", why);
    if (err == CW_OK && reversal)
        err = take_reversed(x, why);
    if (err == CW_OK)
        err = work_pair(x->l, x->from, x->to, &payer, &payee, why);
    if (err != CW_OK)
        return err;
    if (reversal)
        snprintf(more, sizeof more, ", back from entry %lld", (long long)x->reverses);
    work_subject(g.subject, x->amount, payer.currency, payer.number, payee.number, more);
    g.refers = x->reverses;
    err = db_post(x->l, "admin", x->reference, &g, NULL, 0, &entry, why);
    if (err == CW_OK)
        err = put_proposal(x, entry, payer.row, payee.row, why);
    return err == CW_OK ? ledger_proposal_get(x->l, entry, x->out, why) : err;
}

static enum cw_err propose_checked(struct proposing *x, struct say *why)
{
    enum cw_err err = work_reference_check(x->reference, why);
    return err == CW_OK ? ledger_together(x->l, propose, x, why) : err;
}

enum cw_err ledger_posting_propose(struct ledger *l, const char *from, const char *to,
                                   int64_t amount, const char *reference, const char *who,
                                   struct ledger_proposal *out, struct say *why)
{
    struct proposing x = {.l = l,
                          .from = from,
                          .to = to,
                          .reference = reference,
                          .who = who,
                          .amount = amount,
                          .out = out};
    if (amount < 1 || amount > ORDER_AMOUNT_MAX)
        return say_fail(why, CW_ERR_ARG, "a posting moves an amount of up to 15 digits");
    return propose_checked(&x, why);
}

enum cw_err ledger_reversal_propose(struct ledger *l, int64_t entry, int64_t amount,
                                    const char *reference, const char *who,
                                    struct ledger_proposal *out, struct say *why)
{
    struct proposing x = {.l = l,
                          .reference = reference,
                          .who = who,
                          .amount = amount,
                          .reverses = entry,
                          .out = out};
    if (entry < 1 || amount < 0)
        return say_fail(why, CW_ERR_ARG, "a reversal is of an entry, and of an amount above zero");
    return propose_checked(&x, why);
}

/* ---- deciding ---- */

struct deciding {
    struct ledger *l;
    int64_t id;
    const char *who, *what, *state;
    int64_t *entry; /* what was booked; NULL: nothing is */
};

static enum cw_err still_pending(const struct ledger *l, const struct ledger_proposal *p,
                                 struct say *why)
{
    if (strcmp(p->state, "pending") != 0)
        return say_fail(why, CW_ERR_STATE, "proposal %lld is %s", (long long)p->id, p->state);
    if (p->expiry <= ledger_now(l))
        return say_fail(why, CW_ERR_STATE, "proposal %lld has run out; propose it anew",
                        (long long)p->id);
    return CW_OK;
}

static enum cw_err put_state(struct ledger *l, int64_t id, const char *state, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why, "UPDATE proposal SET state = ? WHERE journal = ?", "ti", state, id);
    return db_run(l, err, st, why);
}

/* The same of what was proposed, whichever way it is decided. */
static enum cw_err decision_ground(const struct proposed *p, const char *who, const char *approver,
                                   const char *what, const char *key, struct ledger_ground *g,
                                   struct say *why)
{
    enum cw_err err = work_ground(g, who, approver, what, key, why);
    if (err == CW_OK)
        memcpy(g->subject, p->subject, sizeof g->subject);
    return err;
}

static enum cw_err approve(void *ctx, struct say *why)
{
    const struct deciding *d = ctx;
    struct proposed p;
    struct moved m;
    struct ledger_ground g;
    char key[LEDGER_KEY_MAX + 1];
    snprintf(key, sizeof key, "proposal-%lld", (long long)d->id);
    enum cw_err err = load(d->l, d->id, &p, why);
    if (err == CW_OK)
        err = still_pending(d->l, &p.p, why);
    bool reversal = err == CW_OK && p.p.reverses != 0;
    if (err == CW_OK)
        err = decision_ground(&p, p.p.who, d->who,
                              reversal ? "reversal approve" : "posting approve", key, &g, why);
    if (err == CW_OK && reversal)
        err = moved_by(d->l, p.p.reverses, INT64_MAX, &m, why);
    if (err == CW_OK && reversal && p.p.amount > m.amount - m.reversed)
        err =
            say_fail(why, CW_ERR_DENIED, "entry %lld has not that much left that could be reversed",
                     (long long)p.p.reverses);
    if (err != CW_OK)
        return err;
    g.refers = reversal ? p.p.reverses : d->id;
    const struct db_leg legs[2] = {{p.payer, -p.p.amount}, {p.payee, p.p.amount}};
    err =
        db_post(d->l, reversal ? "reversal" : "posting", p.p.reference, &g, legs, 2, d->entry, why);
    return err == CW_OK ? put_state(d->l, d->id, "approved", why) : err;
}

enum cw_err ledger_proposal_approve(struct ledger *l, int64_t id, const char *who, int64_t *entry,
                                    struct say *why)
{
    struct deciding d = {.l = l, .id = id, .who = who, .entry = entry};
    if (who[0] == '\0')
        return say_fail(why, CW_ERR_ARG, "somebody approves it: an operator's name is missing");
    return ledger_together(l, approve, &d, why);
}

/* Rejected, or run out: without booking. */
static enum cw_err close_proposal(void *ctx, struct say *why)
{
    const struct deciding *d = ctx;
    struct proposed p;
    struct ledger_ground g;
    enum cw_err err = load(d->l, d->id, &p, why);
    if (err == CW_OK && strcmp(p.p.state, "pending") != 0)
        err = say_fail(why, CW_ERR_STATE, "proposal %lld is %s", (long long)d->id, p.p.state);
    if (err == CW_OK)
        err = decision_ground(&p, d->who, "", d->what, "", &g, why);
    if (err != CW_OK)
        return err;
    g.refers = d->id;
    err = db_post(d->l, "admin", p.p.reference, &g, NULL, 0, NULL, why);
    return err == CW_OK ? put_state(d->l, d->id, d->state, why) : err;
}

enum cw_err ledger_proposal_reject(struct ledger *l, int64_t id, const char *who, struct say *why)
{
    struct deciding d = {
        .l = l, .id = id, .who = who, .what = "proposal reject", .state = "rejected"};
    return ledger_together(l, close_proposal, &d, why);
}

enum cw_err proposal_expire_one(struct ledger *l, int64_t id, struct say *why)
{
    struct deciding d = {
        .l = l, .id = id, .who = WORK_CLOCK, .what = "proposal expire", .state = "expired"};
    return close_proposal(&d, why);
}

/* ---- what the audit asks ---- */

static bool as_proposed(const struct ledger_entry *e, const struct proposed *p)
{
    const struct ledger_ground *g = e->ground;
    return strcmp(g->who, p->p.who) == 0 && g->approver[0] != '\0' &&
           strcmp(g->who, g->approver) != 0 && strcmp(g->subject, p->subject) == 0 &&
           e->legs[0].account == p->payer && e->legs[1].account == p->payee &&
           e->legs[1].amount == p->p.amount && strcmp(e->reference, p->p.reference) == 0 &&
           e->time < p->p.expiry && p->p.id < e->id;
}

static enum cw_err bad(const struct ledger_entry *e, const char *what, struct say *why)
{
    return say_fail(why, CW_ERR_FORMAT, "entry %lld: %s", (long long)e->id, what);
}

enum cw_err proposal_entry_check(struct ledger *l, const struct ledger_entry *e, struct say *why)
{
    struct proposed p;
    struct moved m;
    bool reversal = strcmp(e->kind, "reversal") == 0;
    const char *key = e->ground->key;
    if (strncmp(key, "proposal-", 9) != 0)
        return bad(e, "nobody proposed it", why);
    enum cw_err err = load(l, strtoll(key + 9, NULL, 10), &p, why);
    if (err == CW_ERR_NOT_FOUND)
        return bad(e, "nobody proposed it", why);
    if (err != CW_OK)
        return err;
    if (!as_proposed(e, &p) || reversal != (p.p.reverses != 0) ||
        e->ground->refers != (reversal ? p.p.reverses : p.p.id))
        return bad(e, "it is not what one person proposed and another approved", why);
    if (!reversal)
        return CW_OK;
    err = moved_by(l, p.p.reverses, e->id, &m, why);
    if (err == CW_ERR_STATE)
        return bad(e, "it reverses an entry that cannot be reversed", why);
    if (err != CW_OK)
        return err;
    if (m.reversed > m.amount || strcmp(m.to, e->legs[0].number) != 0 ||
        strcmp(m.from, e->legs[1].number) != 0)
        return bad(e, "it reverses more than was moved, or between others", why);
    return CW_OK;
}
