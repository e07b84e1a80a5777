/* ledger_book.c - postings, payments and totals. Every change of a balance goes through
 * db_post, in the transaction that also writes why. */
#include "bank/ledger_db.h"

#include <stdlib.h>
#include <string.h>

static enum cw_err post_leg(struct ledger *l, int64_t entry, size_t line, struct db_leg *leg,
                            struct say *why)
{
    struct db_stmt *st;
    int64_t balance = 0, customer = 0;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT balance FROM account WHERE id = ?", "i", leg->account);
    if ((err = db_number(l, err, st, &balance, why)) != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "SELECT coalesce(customer, 0) FROM account WHERE id = ?", "i",
                     leg->account);
    if ((err = db_number(l, err, st, &customer, why)) != CW_OK)
        return err;
    if (__builtin_add_overflow(balance, leg->amount, &balance))
        return say_fail(why, CW_ERR_LENGTH, "the balance would become too large to be kept");
    if (customer != 0 && balance < 0)
        return say_fail(why, CW_ERR_DENIED, "the account does not hold that much");
    err = db_prepare(l, &st, why, "UPDATE account SET balance = ? WHERE id = ?", "ii", balance,
                     leg->account);
    if ((err = db_run(l, err, st, why)) != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "INSERT INTO posting (journal, line, account, amount, balance) "
                     "VALUES (?, ?, ?, ?, ?)",
                     "iiiii", entry, (int64_t)line, leg->account, leg->amount, balance);
    if ((err = db_run(l, err, st, why)) == CW_OK)
        leg->balance = balance;
    return err;
}

enum cw_err db_post(struct ledger *l, const char *kind, const char *reference, struct db_leg *legs,
                    size_t count, int64_t time, int64_t *entry, struct say *why)
{
    struct db_stmt *st;
    int64_t sum = 0, id = 0;
    for (size_t i = 0; i < count; i++)
        if (legs[i].amount == 0 || __builtin_add_overflow(sum, legs[i].amount, &sum))
            return say_fail(why, CW_ERR_ARG, "a posting of nothing, or too large");
    if (sum != 0 || count < 2)
        return say_fail(why, CW_ERR_ARG, "postings of one entry must sum to zero");
    enum cw_err err =
        db_prepare(l, &st, why,
                   "INSERT INTO journal (id, time, kind, reference) "
                   "SELECT coalesce(max(id), 0) + 1, ?, ?, ? FROM journal RETURNING id",
                   "itt", time, kind, reference);
    if ((err = db_number(l, err, st, &id, why)) != CW_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        if ((err = post_leg(l, id, i, &legs[i], why)) != CW_OK)
            return err;
    *entry = id;
    return CW_OK;
}

/* ---- payments ---- */

/* What stands in the way of an order, in the order of docs/bank.md; LEDGER_BOOKED when nothing. */
static enum cw_err judge_repeat(struct ledger *l, const struct ledger_order *o,
                                enum ledger_verdict *verdict, struct say *why)
{
    struct db_stmt *st;
    int64_t found = 0;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT request = ? FROM payment WHERE order_id = ?", "bb",
                   o->request, sizeof o->request, o->fields.id, sizeof o->fields.id);
    err = db_number(l, err, st, &found, why);
    if (err == CW_OK) {
        *verdict = found != 0 ? LEDGER_REPEATED : LEDGER_CONFLICT;
        return CW_OK;
    }
    if (err != CW_ERR_NOT_FOUND)
        return err;
    err = db_prepare(l, &st, why, "SELECT count(*) FROM payment WHERE card = ? AND counter = ?",
                     "bi", o->seal.serial, sizeof o->seal.serial, (int64_t)o->seal.counter);
    if ((err = db_number(l, err, st, &found, why)) == CW_OK)
        *verdict = found != 0 ? LEDGER_COUNTER_USED : LEDGER_BOOKED;
    return err;
}

static enum cw_err judge_accounts(struct ledger *l, const struct ledger_order *o, int64_t customer,
                                  enum ledger_verdict *verdict, struct say *why)
{
    const struct order_fields *f = &o->fields;
    struct ledger_account payer, payee;
    enum cw_err err = ledger_account_get(l, f->payer, &payer, why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    if (err == CW_ERR_NOT_FOUND || payer.customer != customer) {
        *verdict = LEDGER_ACCOUNT_UNKNOWN;
        return CW_OK;
    }
    err = ledger_account_get(l, f->payee, &payee, why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    if (err == CW_ERR_NOT_FOUND || payee.customer == 0)
        *verdict = LEDGER_PAYEE_UNKNOWN;
    else if (strcmp(payer.number, payee.number) == 0)
        *verdict = LEDGER_SAME_ACCOUNT;
    else if (strcmp(payee.name, f->payee_name) != 0)
        *verdict = LEDGER_PAYEE_NAME;
    else if (strcmp(payer.currency, f->currency) != 0 || strcmp(payee.currency, f->currency) != 0)
        *verdict = LEDGER_CURRENCY;
    else if (payer.balance < f->amount)
        *verdict = LEDGER_FUNDS;
    else
        *verdict = LEDGER_BOOKED;
    return CW_OK;
}

static enum cw_err judge(struct ledger *l, const struct ledger_order *o, int64_t *customer,
                         enum ledger_verdict *verdict, struct say *why)
{
    struct ledger_card card;
    enum cw_err err = judge_repeat(l, o, verdict, why);
    if (err != CW_OK || *verdict != LEDGER_BOOKED)
        return err;
    if ((err = ledger_card_get(l, o->seal.serial, &card, why)) != CW_OK)
        return err;
    if (card.status != LEDGER_CARD_ACTIVE) {
        *verdict = LEDGER_CARD_NOT_ACTIVE;
        return CW_OK;
    }
    *customer = card.customer;
    return judge_accounts(l, o, card.customer, verdict, why);
}

static enum cw_err account_row(struct ledger *l, const char *number, int64_t *id, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT id FROM account WHERE number = ?", "t", number);
    return db_number(l, err, st, id, why);
}

static enum cw_err book(struct ledger *l, const struct ledger_order *o, int64_t customer,
                        char *(*reply)(void *ctx, const struct ledger_order *o,
                                       const struct ledger_booking *b),
                        void *ctx, struct say *why)
{
    struct db_stmt *st;
    struct db_leg legs[2] = {{.amount = -o->fields.amount}, {.amount = o->fields.amount}};
    struct ledger_booking b = {.time = ledger_now(l)};
    enum cw_err err = account_row(l, o->fields.payer, &legs[0].account, why);
    if (err == CW_OK)
        err = account_row(l, o->fields.payee, &legs[1].account, why);
    if (err == CW_OK)
        err = db_post(l, "payment", o->fields.reference, legs, 2, b.time, &b.id, why);
    if (err != CW_OK)
        return err;
    b.balance = legs[0].balance;
    char *text = reply(ctx, o, &b);
    if (text == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    err = db_prepare(l, &st, why,
                     "INSERT INTO payment (journal, order_id, request, customer, card, counter, "
                     "certificate, text, signature, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     "ibbibibbbt", b.id, o->fields.id, sizeof o->fields.id, o->request,
                     sizeof o->request, customer, o->seal.serial, sizeof o->seal.serial,
                     (int64_t)o->seal.counter, o->certificate, sizeof o->certificate, o->text,
                     o->text_len, o->signature, o->signature_len, text);
    err = db_run(l, err, st, why);
    free(text);
    return err == CW_OK ? db_chain_append(l, b.id, why) : err;
}

enum cw_err ledger_payment_book(struct ledger *l, const struct ledger_order *order,
                                char *(*reply)(void *ctx, const struct ledger_order *o,
                                               const struct ledger_booking *b),
                                void *ctx, enum ledger_verdict *verdict, struct say *why)
{
    int64_t customer = 0;
    enum db_fate fate = DB_UNDONE;
    enum ledger_verdict v = LEDGER_BOOKED;
    if (order->text_len > ORDER_TEXT_MAX || order->signature_len > LEDGER_SIGNATURE_MAX)
        return say_fail(why, CW_ERR_LENGTH, "an order or signature too large to be kept");
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    err = judge(l, order, &customer, &v, why);
    if (err == CW_OK && v == LEDGER_BOOKED)
        err = book(l, order, customer, reply, ctx, why);
    /* A commit that wrote nothing, after a refusal, leaves nothing unknown; but what was seen to be
     * booked must not be called unbooked. */
    err = db_end_told(l, err, &fate, why);
    if (err != CW_OK && (v == LEDGER_REPEATED || (fate == DB_UNKNOWN && v == LEDGER_BOOKED))) {
        v = LEDGER_UNKNOWN;
        err = CW_OK;
    }
    if (err == CW_OK)
        *verdict = v;
    return err;
}

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
        {"SELECT count(*) FROM journal j WHERE "
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
