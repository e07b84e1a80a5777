/* api_statement.c - statements for a period, in three forms: each has a path of its own, so that
 * one path means one thing. */
#include "bank/api_call.h"
#include "bank/api_query.h"
#include "bank/statement.h"

/* The first second of the month of `now`. */
static int64_t month_begin(int64_t now)
{
    struct cal_time t;
    int64_t first = 0;
    if (cal_from_unix(now, &t) != CW_OK)
        return 0;
    t.day = 1;
    t.hour = t.minute = t.second = 0;
    return cal_to_unix(&t, &first) == CW_OK ? first : 0;
}

/* NULL, with the reply made: the period or the account is not good, or the books failed. */
static enum cw_err make(struct call *c, struct statement **out)
{
    bool done;
    struct say why;
    struct ledger_account a;
    struct api_query q;
    int64_t now = ledger_now(c->api->bank->ledger);
    int64_t from = month_begin(now), to = now + 1; /* what was booked in this second as well */
    *out = NULL;
    enum cw_err err = api_own_account(c, &a, &done);
    if (err != CW_OK || done)
        return err;
    api_query_parse(&q, c->query);
    api_query_time(&q, "from", &from);
    api_query_time(&q, "to", &to);
    if (from >= to)
        api_query_wrong(&q, "from is a time before to.");
    if (!api_query_good(&q))
        return api_query_refuse(&q, c->reply);
    err = statement_new(c->api->bank->ledger, &a, from, to, out, &why);
    if (err == CW_ERR_LENGTH)
        return api_reply_problem(c->reply, "period-too-long",
                                 "There are more than %u transactions in that period; ask for a "
                                 "shorter one.",
                                 STATEMENT_MAX);
    return err == CW_OK ? CW_OK : api_reply_store(c->reply, &why);
}

enum cw_err api_statement_json(struct call *c)
{
    struct statement *s;
    enum cw_err err = make(c, &s);
    if (s == NULL)
        return err;
    const char *currency = s->account.currency;
    err = api_reply_json(
        c->reply, 200,
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "account",
                  s->account.number, "name", s->account.name, "currency", currency, "from",
                  api_time(s->from), "to", api_time(s->to), "time", api_time(s->made), "opening",
                  api_money(s->opening, currency), "closing", api_money(s->closing, currency), "in",
                  api_money(s->in, currency), "out", api_money(s->out, currency), "transactions",
                  api_transactions_json(s->list, s->count, currency)));
    statement_free(&s);
    return err;
}

static enum cw_err
document(struct call *c, enum cw_err (*write)(const struct statement *s, char **out, size_t *len),
         const char *type)
{
    struct statement *s;
    char *text = NULL;
    size_t len = 0;
    enum cw_err err = make(c, &s);
    if (s == NULL)
        return err;
    err = write(s, &text, &len);
    statement_free(&s);
    if (err != CW_OK)
        return err;
    c->reply->status = 200;
    c->reply->type = type;
    c->reply->body = (uint8_t *)text;
    c->reply->body_len = len;
    return CW_OK;
}

enum cw_err api_statement_csv(struct call *c)
{
    return document(c, statement_csv, "text/csv; charset=utf-8; header=present");
}

enum cw_err api_statement_camt(struct call *c)
{
    return document(c, statement_camt, "application/xml");
}
