/* ledger_book.c - entries that no card ordered, stored payments and totals. Orders are
 * booked in ledger_booking.c. */
#include "bank/ledger_booking.h"

#include <stdlib.h>
#include <string.h>

/* The account of a leg, as it is after it. */
static enum cw_err move_leg(struct ledger *l, const struct db_leg *leg, struct booking_account *a,
                            struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, BOOKING_ACCOUNT "WHERE a.id = ?", "i", leg->account);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no account to post to");
    if (err == CW_OK)
        err = db_account_fact(st, a, why);
    if (err == CW_OK)
        err = db_text(st, 0, a->number, sizeof a->number, why);
    db_done(&st);
    if (err != CW_OK)
        return err;
    if (__builtin_add_overflow(a->balance, leg->amount, &a->balance))
        return say_fail(why, CW_ERR_LENGTH, "the balance would become too large to be kept");
    if (a->customer != 0 && leg->amount < 0 && a->balance < a->held)
        return say_fail(why, CW_ERR_DENIED, "the account does not hold that much");
    a->changed = true;
    return CW_OK;
}

/* Each leg in its turn, written at once: an account may be in several. */
static enum cw_err move_legs(struct ledger *l, const struct db_leg *legs, size_t count,
                             struct ledger_leg *out, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        struct booking_account a = {0};
        err = move_leg(l, &legs[i], &a, why);
        if (err == CW_OK)
            err = l->engine->balances(l, &a, 1, why);
        out[i] = booking_leg(&a, legs[i].amount);
        out[i].balance = a.balance;
    }
    return err;
}

static enum cw_err check_sum(const struct db_leg *legs, size_t count, struct say *why)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (legs[i].amount == 0 || __builtin_add_overflow(sum, legs[i].amount, &sum))
            return say_fail(why, CW_ERR_ARG, "a posting of nothing, or too large");
    return sum == 0 && count >= 2 && count <= LEDGER_LEGS_MAX
               ? CW_OK
               : say_fail(why, CW_ERR_ARG, "postings of one entry must sum to zero");
}

enum cw_err db_post(struct ledger *l, const char *kind, const char *reference,
                    const struct ledger_ground *ground, const struct db_leg *legs, size_t count,
                    int64_t *entry, struct say *why)
{
    struct ledger_leg moved[LEDGER_LEGS_MAX];
    struct db_head head;
    struct db_entry e = {.time = ledger_now(l),
                         .kind = kind,
                         .reference = reference,
                         .legs = moved,
                         .leg_count = count,
                         .ground = ground};
    enum cw_err err = ground != NULL && count == 0 ? CW_OK : check_sum(legs, count, why);
    if (err == CW_OK)
        err = move_legs(l, legs, count, moved, why);
    if (err == CW_OK)
        err = db_head_read(l, &head, why);
    if (err == CW_OK)
        err = db_entry_chain(&e, &head, why);
    if (err == CW_OK)
        err = l->engine->add(l, &e, 1, why);
    if (err == CW_OK && entry != NULL)
        *entry = e.id;
    return err;
}

/* ---- payments ---- */

enum cw_err db_payment_read(struct db_stmt *st, int column, struct ledger_payment *p,
                            struct say *why)
{
    p->id = db_int(st, column);
    p->customer = db_int(st, column + 1);
    p->counter = db_int(st, column + 3);
    enum cw_err err = db_blob_exact(st, column + 2, p->order, sizeof p->order, why);
    if (err == CW_OK)
        err = db_blob_exact(st, column + 4, p->request, sizeof p->request, why);
    if (err == CW_OK)
        err = db_blob_exact(st, column + 5, p->card, sizeof p->card, why);
    if (err == CW_OK)
        err = db_blob_exact(st, column + 6, p->certificate, sizeof p->certificate, why);
    if (err == CW_OK)
        err = db_blob(st, column + 7, p->text, sizeof p->text, &p->text_len, why);
    if (err == CW_OK)
        err = db_blob(st, column + 8, p->signature, sizeof p->signature, &p->signature_len, why);
    if (err != CW_OK)
        return err;
    return db_copy_text(st, column + 9, &p->reply, why);
}

enum cw_err ledger_payment_find(struct ledger *l, const uint8_t order_id[ORDER_ID_LEN],
                                struct ledger_payment **out, struct say *why)
{
    struct db_stmt *st = NULL;
    bool row = false;
    struct ledger_payment *p = calloc(1, sizeof *p);
    if (p == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT " DB_PAYMENT_COLUMNS "FROM payment pay WHERE order_id = ?",
                   "b", order_id, (size_t)ORDER_ID_LEN);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no payment of that order");
    if (err == CW_OK)
        err = db_payment_read(st, 0, p, why);
    db_done(&st);
    if (err != CW_OK) {
        ledger_payment_free(&p);
        return err;
    }
    *out = p;
    return CW_OK;
}

void ledger_payment_free(struct ledger_payment **payment)
{
    if (*payment == NULL)
        return;
    free((*payment)->reply);
    free(*payment);
    *payment = NULL;
}

/* ---- totals ---- */

struct totalling {
    struct ledger *l;
    struct ledger_totals t;
};

static enum cw_err total(void *ctx, struct say *why)
{
    struct totalling *x = ctx;
    const struct db_count counts[] = {
        {"SELECT count(*) FROM customer", &x->t.customers},
        {"SELECT count(*) FROM account WHERE customer IS NOT NULL", &x->t.accounts},
        {"SELECT count(*) FROM card WHERE status <> 'issuing'", &x->t.cards},
        {"SELECT count(*) FROM journal", &x->t.entries},
        {"SELECT count(*) FROM payment", &x->t.payments},
        {"SELECT count(*) FROM journal j WHERE kind NOT IN ('admin', 'hold', 'release') AND "
         "(SELECT coalesce(sum(amount), 1) FROM posting WHERE journal = j.id) <> 0",
         &x->t.unbalanced},
        {"SELECT count(*) FROM account a WHERE "
         "balance <> (SELECT coalesce(sum(amount), 0) FROM posting WHERE account = a.id)",
         &x->t.wrong_balance},
        {"SELECT count(*) FROM (SELECT 1 FROM account GROUP BY currency HAVING sum(balance) <> 0) "
         "AS t",
         &x->t.currencies_off},
    };
    return db_counts(x->l, counts, sizeof counts / sizeof counts[0], why);
}

/* A payment booked between two of the queries must not look like a fault. */
enum cw_err ledger_totals_get(struct ledger *l, struct ledger_totals *out, struct say *why)
{
    struct totalling x = {.l = l};
    enum cw_err err = ledger_snapshot(l, total, &x, why);
    if (err == CW_OK)
        *out = x.t;
    return err;
}
