#include "model.h"

#include <string.h>

struct model_account *model_account_find(struct model *m, const char *number)
{
    for (unsigned i = 0; i < MODEL_ACCOUNTS; i++)
        if (strcmp(m->accounts[i].number, number) == 0)
            return &m->accounts[i];
    return NULL;
}

static bool same_id(const struct model_sheet *a, const struct model_sheet *b)
{
    return memcmp(a->f.id, b->f.id, sizeof a->f.id) == 0;
}

/* The booked order of that number; NULL: none. */
static const struct model_sheet *booked_as(const struct model *m, const struct model_sheet *s)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->sheets[i].entry != 0 && same_id(&m->sheets[i], s))
            return &m->sheets[i];
    return NULL;
}

static bool counter_used(const struct model *m, const struct model_sheet *s)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->sheets[i].entry != 0 && m->sheets[i].card == s->card &&
            m->sheets[i].counter == s->counter)
            return true;
    return false;
}

/* What the order says against the line it came in by; NULL: nothing. */
static const char *wrong_line(const struct model_sheet *s, const struct model_try *t, int64_t now)
{
    if (s->card != t->card)
        return "order-other-card";
    if (memcmp(s->binding, t->binding, sizeof s->binding) != 0)
        return "order-other-line";
    return s->f.expiry <= now ? "order-expired" : NULL;
}

/* An order that its line cannot give, or not any more, is looked up at once; another one when it is
 * booked. */
const char *model_take(const struct model *m, const struct model_try *t, int64_t now)
{
    const struct model_sheet *s = &m->sheets[t->sheet], *b;
    if (!s->readable)
        return "order-malformed";
    const char *wrong = wrong_line(s, t, now);
    if (wrong == NULL)
        return s->signed_by ? "waits" : "order-signature";
    if ((b = booked_as(m, s)) == NULL)
        return wrong;
    return b != s ? "order-conflict" : s->card != t->card ? "order-other-card" : "booked-before";
}

/* Why it cannot be booked; "booked" when it can. */
static const char *judge(struct model *m, const struct model_sheet *s)
{
    const struct model_sheet *b = booked_as(m, s);
    const struct model_account *payer = model_account_find(m, s->f.payer);
    const struct model_account *payee = model_account_find(m, s->f.payee);
    if (b != NULL)
        return b == s ? "booked-before" : "order-conflict";
    if (counter_used(m, s))
        return "order-counter";
    if (m->blocked[s->card])
        return "card-blocked";
    if (payer == NULL || payer->customer != m->holder[s->card])
        return "account-unknown";
    if (payee == NULL)
        return "payee-unknown";
    if (payer == payee)
        return "same-account";
    if (strcmp(m->names[payee->customer], s->f.payee_name) != 0)
        return "payee-name";
    if (strcmp(s->f.currency, "EUR") != 0)
        return "currency";
    return payer->balance < s->f.amount ? "funds" : "booked";
}

void model_book(struct model *m, size_t sheet, int64_t entry)
{
    struct model_sheet *s = &m->sheets[sheet];
    struct model_account *payer = model_account_find(m, s->f.payer);
    payer->balance -= s->f.amount;
    model_account_find(m, s->f.payee)->balance += s->f.amount;
    s->entry = entry;
    s->balance = payer->balance;
}

/* Books them for a while, one after the other. */
void model_commit(const struct model *m, const struct model_try *tries, size_t count,
                  const char *out[])
{
    struct model trial = *m; /* its own balances; the sheets are put right again below */
    for (size_t i = 0; i < count; i++) {
        size_t sheet = tries[i].sheet;
        out[i] = judge(&trial, &trial.sheets[sheet]);
        if (strcmp(out[i], "booked") == 0)
            model_book(&trial, sheet, -1);
    }
    for (size_t i = 0; i < count; i++)
        if (m->sheets[tries[i].sheet].entry == -1)
            m->sheets[tries[i].sheet].entry = 0;
}
