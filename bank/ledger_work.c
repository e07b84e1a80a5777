/* ledger_work.c - what holds (ledger_hold.c) and proposals (ledger_proposal.c) share: who does
 * something, expiry, and what the audit asks. */
#include "bank/ledger_work_db.h"

#include <stdio.h>
#include <string.h>

/* ---- grounds ---- */

/* Names go into lists and logs of people: visible ASCII. */
static bool is_name(const char *text, size_t max)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return n <= max;
}

enum cw_err work_ground(struct ledger_ground *out, const char *who, const char *approver,
                        const char *what, const char *key, struct say *why)
{
    if (who[0] == '\0' || !is_name(who, LEDGER_WHO_MAX) || !is_name(approver, LEDGER_WHO_MAX))
        return say_fail(why, CW_ERR_ARG,
                        "'%.64s' is no operator: 1 to %u letters, digits and signs without a space",
                        who, LEDGER_WHO_MAX);
    if (!is_name(key, LEDGER_KEY_MAX))
        return say_fail(why, CW_ERR_ARG,
                        "'%.64s' is no id: 1 to %u letters, digits and signs without a space", key,
                        LEDGER_KEY_MAX);
    if (strcmp(who, approver) == 0)
        return say_fail(why, CW_ERR_DENIED, "%s cannot approve what %s did; ask a second person",
                        who, who);
    *out = (struct ledger_ground){0};
    strcpy(out->who, who);
    strcpy(out->approver, approver);
    snprintf(out->what, sizeof out->what, "%s", what);
    strcpy(out->key, key);
    return CW_OK;
}

enum cw_err work_known(struct ledger *l, const struct ledger_ground *g, bool *out, struct say *why)
{
    struct db_stmt *st;
    struct ledger_ground k;
    bool row = false;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "SELECT who, approver, what, subject, key, coalesce(refers, 0) FROM admin_log "
                   "WHERE key = ?",
                   "t", g->key);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && row)
        err = db_ground_read(st, 0, &k, why);
    db_done(&st);
    if (err == CW_OK && row &&
        (strcmp(k.who, g->who) != 0 || strcmp(k.what, g->what) != 0 ||
         strcmp(k.subject, g->subject) != 0 || k.refers != g->refers))
        err = say_fail(why, CW_ERR_EXISTS, "the id %s was used for something else: %s, %s", g->key,
                       k.what, k.subject);
    if (err == CW_OK)
        *out = row;
    return err;
}

/* ---- accounts ---- */

enum cw_err work_account(struct ledger *l, const char *number, struct booking_account *out,
                         struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, BOOKING_ACCOUNT "WHERE a.number = ?", "t", number);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no account %.34s", number);
    if (err == CW_OK)
        err = db_account_fact(st, out, why);
    if (err == CW_OK)
        err = db_text(st, 0, out->number, sizeof out->number, why);
    db_done(&st);
    return err;
}

enum cw_err work_pair(struct ledger *l, const char *from, const char *to,
                      struct booking_account *payer, struct booking_account *payee, struct say *why)
{
    enum cw_err err = work_account(l, from, payer, why);
    if (err == CW_OK)
        err = work_account(l, to, payee, why);
    if (err == CW_OK && payer->row == payee->row)
        err = say_fail(why, CW_ERR_ARG, "it goes from %s to the same account", payer->number);
    if (err == CW_OK && strcmp(payer->currency, payee->currency) != 0)
        err = say_fail(why, CW_ERR_ARG, "%s is in %s, and %s in %s", payer->number, payer->currency,
                       payee->number, payee->currency);
    return err;
}

/* As an order's: it is shown in the same places. */
enum cw_err work_reference_check(const char *reference, struct say *why)
{
    struct order_fields f = {.payer = "ZZ000000",
                             .payee = "ZZ000001",
                             .payee_name = "Name",
                             .amount = 1,
                             .currency = "EUR",
                             .expiry = 1};
    if (strlen(reference) <= ORDER_REFERENCE_MAX) {
        strcpy(f.reference, reference);
        if (order_check(&f) == CW_OK)
            return CW_OK;
    }
    return say_fail(why, CW_ERR_ARG,
                    "a reference has at most %u bytes of UTF-8 without control characters",
                    ORDER_REFERENCE_MAX);
}

void work_subject(char out[LEDGER_SUBJECT_MAX + 1], int64_t amount, const char *currency,
                  const char *from, const char *to, const char *more)
{
    char text[40];
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)text, sizeof text - 1);
    order_amount_put(&w, amount, currency);
    text[w.len] = '\0';
    snprintf(out, LEDGER_SUBJECT_MAX + 1, "%s %s from %s to %s%s", text, currency, from, to, more);
}

/* ---- time ---- */

#define SWEEP_MAX 256

enum cw_err work_sweep(struct ledger *l, const char *sql,
                       enum cw_err (*one)(struct ledger *l, int64_t id, struct say *why),
                       int64_t *count, struct say *why)
{
    int64_t ids[SWEEP_MAX];
    size_t n = 0;
    struct db_stmt *st;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why, sql, "i", ledger_now(l));
    while (err == CW_OK && n < SWEEP_MAX && (err = db_step(l, st, &row, why)) == CW_OK && row)
        ids[n++] = db_int(st, 0);
    db_done(&st);
    for (size_t i = 0; i < n && err == CW_OK; i++)
        err = one(l, ids[i], why);
    *count += (int64_t)n;
    return err;
}

struct expiry {
    struct ledger *l;
    int64_t holds, proposals;
};

static enum cw_err expire(void *ctx, struct say *why)
{
    struct expiry *x = ctx;
    enum cw_err err = work_sweep(x->l,
                                 "SELECT journal FROM hold WHERE state = 'open' AND expiry <= ? "
                                 "ORDER BY journal LIMIT 256",
                                 hold_expire_one, &x->holds, why);
    if (err != CW_OK)
        return err;
    return work_sweep(x->l,
                      "SELECT journal FROM proposal WHERE state = 'pending' AND expiry <= ? "
                      "ORDER BY journal LIMIT 256",
                      proposal_expire_one, &x->proposals, why);
}

enum cw_err ledger_work_expire(struct ledger *l, int64_t *holds, int64_t *proposals,
                               struct say *why)
{
    int64_t before;
    struct expiry x = {.l = l};
    enum cw_err err;
    do {
        before = x.holds + x.proposals;
        err = ledger_together(l, expire, &x, why);
    } while (err == CW_OK && x.holds + x.proposals - before >= SWEEP_MAX);
    if (err == CW_OK) {
        *holds = x.holds;
        *proposals = x.proposals;
    }
    return err;
}

/* ---- what the audit asks ---- */

static enum cw_err none(struct ledger *l, const char *sql, const char *of, const char *what,
                        struct say *why)
{
    struct db_stmt *st;
    int64_t id = 0;
    enum cw_err err = db_prepare(l, &st, why, sql, "");
    err = db_number(l, err, st, &id, why);
    if (err == CW_ERR_NOT_FOUND)
        return CW_OK;
    return err == CW_OK ? say_fail(why, CW_ERR_FORMAT, "%s %lld: %s", of, (long long)id, what)
                        : err;
}

/* How much of each hold its captures booked, by the entries. */
#define CAPTURED                                                                                   \
    "(SELECT coalesce(CAST(sum(p.amount) AS BIGINT), 0) FROM admin_log g "                         \
    "JOIN posting p ON p.journal = g.journal AND p.amount > 0 "                                    \
    "JOIN journal j ON j.id = g.journal AND j.kind = 'capture' WHERE g.refers = h.journal)"

enum cw_err ledger_work_check(struct ledger *l, struct say *why)
{
    static const struct {
        const char *sql, *of, *what;
    } checks[] = {
        {"SELECT h.journal FROM hold h WHERE h.captured <> " CAPTURED " ORDER BY 1 LIMIT 1", "hold",
         "what was captured is not what its entries moved"},
        {"SELECT h.journal FROM hold h WHERE h.state IN ('voided', 'expired') <> EXISTS (SELECT 1 "
         "FROM admin_log g JOIN journal j ON j.id = g.journal AND j.kind = 'release' "
         "WHERE g.refers = h.journal) ORDER BY 1 LIMIT 1",
         "hold", "its state is not what its entries say"},
        {"SELECT j.id FROM journal j LEFT JOIN hold h ON h.journal = j.id "
         "WHERE j.kind = 'hold' AND h.journal IS NULL ORDER BY 1 LIMIT 1",
         "entry", "it places a hold that there is not"},
        {"SELECT h.journal FROM hold h JOIN journal j ON j.id = h.journal "
         "WHERE j.kind <> 'hold' ORDER BY 1 LIMIT 1",
         "hold", "no entry places it"},
        {"SELECT a.id FROM account a WHERE a.held <> (SELECT "
         "coalesce(CAST(sum(h.amount - h.captured) AS BIGINT), 0) FROM hold h "
         "WHERE h.account = a.id AND h.state = 'open') ORDER BY 1 LIMIT 1",
         "account of row", "what is held of it is not the sum of its open holds"},
        {"SELECT a.id FROM account a WHERE a.customer IS NOT NULL AND a.held > a.balance "
         "ORDER BY 1 LIMIT 1",
         "account of row", "more is held of it than it has"},
        {"SELECT p.journal FROM proposal p WHERE (p.state = 'approved') <> EXISTS (SELECT 1 FROM "
         "admin_log g JOIN journal j ON j.id = g.journal AND j.kind IN ('posting', 'reversal') "
         "WHERE g.key = 'proposal-' || p.journal) ORDER BY 1 LIMIT 1",
         "proposal", "its state is not what its entries say"},
    };
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof checks / sizeof *checks && err == CW_OK; i++)
        err = none(l, checks[i].sql, checks[i].of, checks[i].what, why);
    return err;
}

static enum cw_err wrong(const struct ledger_entry *e, const char *what, struct say *why)
{
    return say_fail(why, CW_ERR_FORMAT, "entry %lld: %s", (long long)e->id, what);
}

enum cw_err ledger_work_entry_check(struct ledger *l, const struct ledger_entry *e, struct say *why)
{
    static const struct {
        const char *kind;
        size_t legs;
        enum cw_err (*check)(struct ledger *l, const struct ledger_entry *e, struct say *why);
    } kinds[] = {
        {"admin", 0, NULL},
        {"hold", 0, hold_entry_check},
        {"release", 0, hold_entry_check},
        {"capture", 2, hold_entry_check},
        {"posting", 2, proposal_entry_check},
        {"reversal", 2, proposal_entry_check},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, e->kind) != 0)
            continue;
        if (e->ground == NULL || e->ground->who[0] == '\0')
            return wrong(e, "nobody did it", why);
        if (e->leg_count != kinds[i].legs || (e->ground->refers >= e->id))
            return wrong(e, "it moves what such an entry does not, or refers to a later one", why);
        return kinds[i].check != NULL ? kinds[i].check(l, e, why) : CW_OK;
    }
    return e->ground == NULL && e->leg_count >= 2
               ? CW_OK
               : wrong(e, "it moves nothing, or says who did what nobody does", why);
}
