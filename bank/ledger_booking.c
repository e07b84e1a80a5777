/* ledger_booking.c - many orders in one transaction: fetched, decided, written. Deciding is pure:
 * it knows no database and no clock. */
#include "bank/ledger_booking.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- gathering ---- */

static int by_number(const void *x, const void *y)
{
    const struct booking_account *a = x, *b = y;
    return strcmp(a->number, b->number);
}

struct booking_account *booking_account_find(const struct booking *b, const char *number)
{
    struct booking_account key;
    memcpy(key.number, number, strlen(number) + 1);
    return b->account_count == 0
               ? NULL
               : bsearch(&key, b->accounts, b->account_count, sizeof key, by_number);
}

static void free_booking(struct booking *b)
{
    free(b->items);
    free(b->accounts);
    free(b->entries);
}

/* Every account that is named, once, in the order of their numbers: what is to be fetched. */
static void name_accounts(struct booking *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        const struct order_fields *f = &b->items[i].request->order->fields;
        memcpy(b->accounts[n++].number, f->payer, sizeof f->payer);
        memcpy(b->accounts[n++].number, f->payee, sizeof f->payee);
    }
    qsort(b->accounts, n, sizeof *b->accounts, by_number);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(b->accounts[i].number, b->accounts[b->account_count - 1].number) != 0)
            b->accounts[b->account_count++] = b->accounts[i];
    for (size_t i = 0; i < b->count; i++) {
        const struct order_fields *f = &b->items[i].request->order->fields;
        b->items[i].payer = (size_t)(booking_account_find(b, f->payer) - b->accounts);
        b->items[i].payee = (size_t)(booking_account_find(b, f->payee) - b->accounts);
    }
}

static enum cw_err gather(struct booking *b, struct ledger_request *requests, size_t count,
                          struct say *why)
{
    *b = (struct booking){.items = calloc(count, sizeof *b->items),
                          .count = count,
                          .accounts = calloc(2 * count, sizeof *b->accounts),
                          .entries = calloc(count, sizeof *b->entries)};
    if (b->items == NULL || b->accounts == NULL || b->entries == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    for (size_t i = 0; i < count; i++)
        b->items[i].request = &requests[i];
    name_accounts(b);
    return CW_OK;
}

/* ---- deciding ---- */

/* What an order before this one in the batch has taken. Those that were refused took nothing. */
static void look_back(const struct booking *b, struct booking_item *it)
{
    const struct ledger_order *o = it->request->order;
    for (const struct booking_item *p = b->items; p < it && !it->known; p++) {
        const struct ledger_order *q = p->request->order;
        if (p->request->verdict != LEDGER_BOOKED)
            continue;
        if (memcmp(q->fields.id, o->fields.id, sizeof o->fields.id) == 0) {
            it->known = true;
            it->twin = p;
            it->same = memcmp(q->request, o->request, sizeof o->request) == 0;
        } else if (memcmp(q->seal.serial, o->seal.serial, sizeof o->seal.serial) == 0 &&
                   q->seal.counter == o->seal.counter) {
            it->counter_used = true;
        }
    }
}

/* What stands in the way of an order, in the order of docs/bank.md; LEDGER_BOOKED when nothing. */
static enum ledger_verdict judge_accounts(const struct ledger_order *o,
                                          const struct booking_account *payer,
                                          const struct booking_account *payee, int64_t customer)
{
    const struct order_fields *f = &o->fields;
    int64_t after;
    if (!payer->known || payer->customer != customer)
        return LEDGER_ACCOUNT_UNKNOWN;
    if (!payee->known || payee->customer == 0)
        return LEDGER_PAYEE_UNKNOWN;
    if (payer == payee)
        return LEDGER_SAME_ACCOUNT;
    if (strcmp(payee->name, f->payee_name) != 0)
        return LEDGER_PAYEE_NAME;
    if (strcmp(payer->currency, f->currency) != 0 || strcmp(payee->currency, f->currency) != 0)
        return LEDGER_CURRENCY;
    if (payer->frozen || payee->frozen)
        return LEDGER_FROZEN;
    if (__builtin_sub_overflow(payer->balance - payer->held, f->amount, &after) ||
        after < payer->floor)
        return LEDGER_FUNDS;
    return __builtin_add_overflow(payee->balance, f->amount, &after) ? LEDGER_FUNDS : LEDGER_BOOKED;
}

static enum ledger_verdict judge_one(struct booking *b, struct booking_item *it)
{
    const struct ledger_order *o = it->request->order;
    look_back(b, it);
    if (it->known)
        return it->same ? LEDGER_REPEATED : LEDGER_CONFLICT;
    if (it->counter_used)
        return LEDGER_COUNTER_USED;
    if (!it->card_known || it->card.status != LEDGER_CARD_ACTIVE)
        return LEDGER_CARD_NOT_ACTIVE;
    return judge_accounts(o, &b->accounts[it->payer], &b->accounts[it->payee], it->card.customer);
}

static void move(struct booking *b, const struct booking_item *it, int64_t amount)
{
    b->accounts[it->payer].balance -= amount;
    b->accounts[it->payee].balance += amount;
}

/* Takes back what of items [first, end) was decided to be booked. */
static void undo_group(struct booking *b, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        struct ledger_request *r = b->items[i].request;
        if (r->verdict == LEDGER_REPEATED && b->items[i].twin != NULL &&
            b->items[i].twin >= &b->items[first])
            r->verdict = LEDGER_LINKED; /* of one that is taken back here */
        if (r->verdict != LEDGER_BOOKED)
            continue;
        move(b, &b->items[i], -r->order->fields.amount);
        r->verdict = LEDGER_LINKED;
    }
}

/* Decides items [first, end), which are linked: all, or none. */
static void judge_group(struct booking *b, size_t first, size_t end)
{
    size_t booked = 0, repeated = 0;
    for (size_t i = first; i < end; i++)
        b->items[i].request->verdict = LEDGER_LINKED;
    for (size_t i = first; i < end; i++) {
        struct ledger_request *r = b->items[i].request;
        r->verdict = judge_one(b, &b->items[i]);
        booked += r->verdict == LEDGER_BOOKED;
        repeated += r->verdict == LEDGER_REPEATED;
        if (r->verdict == LEDGER_BOOKED)
            move(b, &b->items[i], r->order->fields.amount);
        else if (r->verdict != LEDGER_REPEATED)
            break;
    }
    if (booked != end - first && repeated != end - first)
        undo_group(b, first, end);
}

struct ledger_leg booking_leg(const struct booking_account *a, int64_t amount)
{
    struct ledger_leg leg = {.customer = a->customer, .account = a->row, .amount = amount};
    memcpy(leg.number, a->number, sizeof leg.number);
    memcpy(leg.currency, a->currency, sizeof leg.currency);
    return leg;
}

/* The entry of an order that is to be booked. Balances are those of its turn. */
static enum cw_err make_entry(struct booking *b, struct booking_item *it, int64_t now,
                              ledger_reply_make *make, struct say *why)
{
    struct ledger_request *r = it->request;
    const struct ledger_order *o = r->order;
    struct booking_account *payer = &b->accounts[it->payer], *payee = &b->accounts[it->payee];
    it->legs[0] = booking_leg(payer, -o->fields.amount);
    it->legs[1] = booking_leg(payee, o->fields.amount);
    it->legs[0].balance = payer->balance -= o->fields.amount;
    it->legs[1].balance = payee->balance += o->fields.amount;
    payer->changed = payee->changed = true;
    const struct ledger_booking booked = {
        .id = b->head.id + 1, .time = now, .balance = payer->balance};
    r->reply = make(r->ctx, o, &booked);
    if (r->reply == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    it->paid = (struct db_paid){.customer = it->card.customer,
                                .counter = (int64_t)o->seal.counter,
                                .order = o->fields.id,
                                .request = o->request,
                                .card = o->seal.serial,
                                .certificate = o->certificate,
                                .text = o->text,
                                .text_len = o->text_len,
                                .signature = o->signature,
                                .signature_len = o->signature_len,
                                .reply = r->reply};
    struct db_entry *e = &b->entries[b->entry_count++];
    *e = (struct db_entry){.time = now,
                           .kind = "payment",
                           .reference = o->fields.reference,
                           .legs = it->legs,
                           .leg_count = 2,
                           .paid = &it->paid};
    return db_entry_chain(e, &b->head, why);
}

enum cw_err booking_judge(struct booking *b, int64_t now, ledger_reply_make *make, struct say *why)
{
    for (size_t first = 0, end; first < b->count; first = end) {
        for (end = first + 1; end < b->count && b->items[end - 1].request->linked;)
            end++;
        judge_group(b, first, end);
    }
    /* Back to what was fetched, and forward again with the entries. */
    for (size_t i = b->count; i-- > 0;)
        if (b->items[i].request->verdict == LEDGER_BOOKED)
            move(b, &b->items[i], -b->items[i].request->order->fields.amount);
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < b->count && err == CW_OK; i++)
        if (b->items[i].request->verdict == LEDGER_BOOKED)
            err = make_entry(b, &b->items[i], now, make, why);
    return err;
}

/* ---- the transaction ---- */

static enum cw_err mark(struct ledger *l, struct say *why)
{
    struct db_stmt *st;
    if (l->engine->mark == NULL)
        return CW_OK;
    enum cw_err err = db_prepare(l, &st, why, l->engine->mark, "");
    return db_run(l, err, st, why);
}

enum cw_err ledger_confirm(struct ledger *l, struct say *why)
{
    if (l->engine->mark == NULL)
        return CW_OK;
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, mark(l, why), why) : err;
}

static bool any_repeated(const struct booking *b)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].request->verdict == LEDGER_REPEATED)
            return true;
    return false;
}

static enum cw_err book(struct ledger *l, struct booking *b, ledger_reply_make *make,
                        struct say *why)
{
    enum cw_err err = booking_judge(b, ledger_now(l), make, why);
    if (err == CW_OK && b->entry_count > 0)
        err = l->engine->add(l, b->entries, b->entry_count, why);
    if (err == CW_OK && b->entry_count > 0)
        err = l->engine->balances(l, b->accounts, b->account_count, why);
    if (err == CW_OK && b->entry_count == 0 && any_repeated(b))
        err = mark(l, why);
    return err;
}

/* A commit that wrote nothing, after a refusal, leaves nothing unknown; but what was seen to be
 * booked must not be called unbooked. */
static bool leaves_unknown(const struct ledger_request *r, enum db_fate fate)
{
    return r->verdict == LEDGER_REPEATED || (fate == DB_UNKNOWN && r->verdict == LEDGER_BOOKED);
}

static void forget_replies(struct ledger_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(requests[i].reply);
        requests[i].reply = NULL;
    }
}

/* After a failure: CW_OK when there is an order of which it must be said that nothing is known. */
static enum cw_err settle(struct ledger_request *requests, size_t count, enum db_fate fate,
                          enum cw_err err)
{
    bool unknown = false;
    for (size_t i = 0; i < count; i++)
        unknown |= leaves_unknown(&requests[i], fate);
    if (!unknown)
        return err;
    /* Of the others nothing was written; one that was refused may come again. */
    for (size_t i = 0; i < count; i++)
        if (leaves_unknown(&requests[i], fate) || requests[i].verdict == LEDGER_BOOKED ||
            requests[i].verdict == LEDGER_CONFLICT) /* perhaps with one of these */
            requests[i].verdict = LEDGER_UNKNOWN;
    return CW_OK;
}

static enum cw_err once(struct ledger *l, struct ledger_request *requests, size_t count,
                        ledger_reply_make *make, struct say *why)
{
    struct booking b = {0};
    enum db_fate fate = DB_UNDONE;
    for (size_t i = 0; i < count; i++) {
        requests[i].verdict = LEDGER_CONFLICT;
        requests[i].looked = false;
        requests[i].reply = NULL;
    }
    enum cw_err err = gather(&b, requests, count, why);
    if (err == CW_OK)
        err = l->engine->fetch(l, &b, why);
    for (size_t i = 0; i < count && err == CW_OK; i++)
        requests[i].looked = true;
    if (err == CW_OK)
        err = db_end_told(l, book(l, &b, make, why), &fate, why);
    free_booking(&b);
    if (err == CW_OK)
        return CW_OK;
    forget_replies(requests, count);
    return settle(requests, count, fate, err);
}

/* In a database far away the way may be lost, and others be in between: then once more, because
 * each order tells by itself whether it was booked. What stays unknown is said to be. */
#define TRIES 4

static enum cw_err with_patience(struct ledger *l, struct ledger_request *requests, size_t count,
                                 ledger_reply_make *make, struct say *why)
{
    bool unsure = false;
    enum cw_err err = CW_OK;
    for (int i = 0; i < TRIES; i++) {
        const struct timespec pause = {0, 5000000L << i};
        if (i > 0)
            nanosleep(&pause, NULL);
        bool lost = false;
        err = once(l, requests, count, make, why);
        for (size_t k = 0; k < count && err == CW_OK; k++)
            lost |= requests[k].verdict == LEDGER_UNKNOWN;
        unsure |= lost;
        if (!lost && err != CW_ERR_BUSY && err != CW_ERR_IO)
            break;
    }
    for (size_t k = 0; k < count && err != CW_OK && unsure; k++)
        requests[k].verdict = LEDGER_UNKNOWN;
    return unsure && err != CW_OK ? CW_OK : err;
}

enum cw_err ledger_payments_book(struct ledger *l, struct ledger_request *requests, size_t count,
                                 ledger_reply_make *make, struct say *why)
{
    if (count == 0 || count > LEDGER_BATCH_MAX)
        return say_fail(why, CW_ERR_ARG, "1 to %u orders are booked at once", LEDGER_BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        if (requests[i].order->text_len > ORDER_TEXT_MAX ||
            requests[i].order->signature_len > LEDGER_SIGNATURE_MAX)
            return say_fail(why, CW_ERR_LENGTH, "an order or signature too large to be kept");
    return l->engine->far ? with_patience(l, requests, count, make, why)
                          : once(l, requests, count, make, why);
}

enum cw_err ledger_payment_book(struct ledger *l, const struct ledger_order *order,
                                ledger_reply_make *make, void *ctx, enum ledger_verdict *verdict,
                                struct say *why)
{
    struct ledger_request r = {.order = order, .ctx = ctx};
    enum cw_err err = ledger_payments_book(l, &r, 1, make, why);
    free(r.reply);
    if (err == CW_OK)
        *verdict = r.verdict;
    return err;
}
