#include "bank/statement.h"

#include <stdlib.h>
#include <string.h>

struct gathering {
    struct ledger *l;
    struct statement *s;
};

static enum cw_err gather(void *ctx, struct say *why)
{
    struct gathering *g = ctx;
    struct statement *s = g->s;
    struct ledger_filter f = ledger_filter_all;
    f.from = s->from;
    f.to = s->to;
    enum cw_err err = ledger_setting_get(g->l, "name", s->bank, sizeof s->bank, why);
    if (err == CW_OK)
        err = ledger_balance_at(g->l, s->account.row, s->from, &s->opening, why);
    if (err == CW_OK)
        err = ledger_transactions_get(g->l, s->account.row, &f, LEDGER_OLDEST_FIRST, &LEDGER_FIRST,
                                      STATEMENT_MAX + 1, s->list, &s->count, why);
    if (err == CW_OK && s->count > STATEMENT_MAX)
        err =
            say_fail(why, CW_ERR_LENGTH, "a statement has at most %u transactions", STATEMENT_MAX);
    return err;
}

/* The closing balance is what the entries make of the opening one: by the clock, which may have
 * been set back, an entry can lie before one that was booked earlier. */
static enum cw_err add_up(struct statement *s, struct say *why)
{
    bool bad = false;
    s->closing = s->opening;
    for (size_t i = 0; i < s->count; i++) {
        int64_t amount = s->list[i].amount;
        bad |= __builtin_add_overflow(s->closing, amount, &s->closing);
        if (amount > 0)
            bad |= __builtin_add_overflow(s->in, amount, &s->in);
        else
            bad |= __builtin_sub_overflow(s->out, amount, &s->out);
    }
    return bad ? say_fail(why, CW_ERR_FORMAT, "the account's postings are too large to be summed")
               : CW_OK;
}

enum cw_err statement_new(struct ledger *l, const struct ledger_account *account, int64_t from,
                          int64_t to, struct statement **out, struct say *why)
{
    struct statement *s = calloc(1, sizeof *s);
    struct gathering g = {l, s};
    enum cw_err err = CW_OK;
    if (s != NULL)
        s->list = calloc(STATEMENT_MAX + 1, sizeof *s->list);
    if (s == NULL || s->list == NULL) {
        free(s);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    s->account = *account;
    s->from = from;
    s->to = to;
    s->made = ledger_now(l);
    err = ledger_snapshot(l, gather, &g, why);
    if (err == CW_OK)
        err = add_up(s, why);
    if (err != CW_OK) {
        statement_free(&s);
        return err;
    }
    *out = s;
    return CW_OK;
}

void statement_free(struct statement **statement)
{
    if (*statement == NULL)
        return;
    free((*statement)->list);
    free(*statement);
    *statement = NULL;
}
