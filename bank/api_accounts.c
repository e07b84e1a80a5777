/* api_accounts.c - what the bank answers about accounts: which there are, what they hold, what
 * happened on them. */
#include "bank/api_call.h"
#include "bank/api_query.h"

#include <stdlib.h>
#include <string.h>

struct account_list {
    json_t *items;
    bool failed;
};

static void add_account(void *ctx, const struct ledger_account *a)
{
    struct account_list *list = ctx;
    json_t *item = json_pack("{s:s, s:s, s:o, s:o, s:s}", "id", a->number, "currency", a->currency,
                             "balance", api_money(a->balance, a->currency), "available",
                             api_money(a->balance, a->currency), "status", "open");
    if (item == NULL || json_array_append_new(list->items, item) != 0)
        list->failed = true;
}

enum cw_err api_accounts_get(struct call *c)
{
    struct say why;
    struct account_list list = {json_array(), false};
    if (list.items == NULL)
        return CW_ERR_SPACE;
    enum cw_err err =
        ledger_account_each(c->api->bank->ledger, c->line->customer, add_account, &list, &why);
    if (err != CW_OK || list.failed) {
        json_decref(list.items);
        return err != CW_OK ? api_reply_store(c->reply, &why) : CW_ERR_SPACE;
    }
    return api_reply_json(c->reply, 200, json_pack("{s:o}", "accounts", list.items));
}

enum cw_err api_own_account(struct call *c, struct ledger_account *out, bool *done)
{
    struct say why;
    *done = true;
    if (account_number_check(c->segment) != CW_OK)
        return api_reply_problem(c->reply, "account-unknown",
                                 "That is no account number: a digit is missing or mistyped.");
    enum cw_err err = ledger_account_get(c->api->bank->ledger, c->segment, out, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return api_reply_store(c->reply, &why);
    if (err == CW_ERR_NOT_FOUND || out->customer != c->line->customer)
        return api_reply_problem(c->reply, "account-unknown",
                                 "You have no account of that number.");
    *done = false;
    return CW_OK;
}

enum cw_err api_balance_get(struct call *c)
{
    bool done;
    struct ledger_account a;
    enum cw_err err = api_own_account(c, &a, &done);
    if (err != CW_OK || done)
        return err;
    return api_reply_json(c->reply, 200,
                          json_pack("{s:s, s:s, s:o, s:o, s:o}", "account", a.number, "currency",
                                    a.currency, "balance", api_money(a.balance, a.currency),
                                    "available", api_money(a.balance, a.currency), "time",
                                    api_time(ledger_now(c->api->bank->ledger))));
}

/* ---- transactions ---- */

struct wanted {
    struct ledger_filter filter;
    struct ledger_place past;
    int64_t limit;
    uint8_t tag[API_CURSOR_TAG_LEN];
};

/* Of the question without its cursor and limit. */
static void tag_question(const char *account, const struct ledger_filter *f,
                         uint8_t tag[API_CURSOR_TAG_LEN])
{
    uint8_t bytes[400];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_str(&w, account);
    buf_put_u64(&w, (uint64_t)f->from);
    buf_put_u64(&w, (uint64_t)f->to);
    buf_put_u64(&w, (uint64_t)f->least);
    buf_put_u64(&w, (uint64_t)f->most);
    buf_put_u8(&w, (uint8_t)(f->direction + 1));
    buf_put_str(&w, f->other);
    buf_put_u8(&w, 0);
    buf_put_str(&w, f->reference);
    api_cursor_tag("transactions", bytes, w.len, tag);
}

static void take_filter(struct api_query *q, const char currency[4], struct ledger_filter *f)
{
    static const char *const directions[] = {"out", "in", NULL};
    int direction = -1;
    api_query_time(q, "from", &f->from);
    api_query_time(q, "to", &f->to);
    api_query_money(q, "min", currency, &f->least);
    api_query_money(q, "max", currency, &f->most);
    api_query_word(q, "direction", directions, "in or out", &direction);
    f->direction = direction < 0 ? 0 : 2 * direction - 1;
    api_query_text(q, "counterparty", f->other, sizeof f->other);
    api_query_text(q, "reference", f->reference, sizeof f->reference);
    if (f->from >= f->to)
        api_query_wrong(q, "from is a time before to.");
    if (f->least > f->most)
        api_query_wrong(q, "min is not above max.");
}

json_t *api_transaction_json(const struct ledger_transaction *t, const char currency[4])
{
    return json_pack("{s:I, s:o, s:s, s:o, s:o, s:{s:s, s:s}, s:s, s:o}", "id",
                     (json_int_t)t->place.entry, "time", api_time(t->time), "kind", t->kind,
                     "amount", api_money(t->amount, currency), "balance",
                     api_money(t->balance, currency), "counterparty", "account", t->other_account,
                     "name", t->other_name, "reference", t->reference, "order",
                     t->has_order ? api_hex(t->order, sizeof t->order) : json_null());
}

json_t *api_transactions_json(const struct ledger_transaction *list, size_t count,
                              const char currency[4])
{
    json_t *items = json_array();
    for (size_t i = 0; i < count && items != NULL; i++)
        if (json_array_append_new(items, api_transaction_json(&list[i], currency)) != 0) {
            json_decref(items);
            items = NULL;
        }
    return items;
}

/* A page of them, and where the next begins: one more is asked for than is shown. */
static enum cw_err reply_page(struct call *c, const struct ledger_account *a,
                              const struct wanted *wanted)
{
    struct say why;
    size_t count = 0, shown = (size_t)wanted->limit;
    struct ledger_transaction *list = calloc(shown + 1, sizeof *list);
    if (list == NULL)
        return CW_ERR_SPACE;
    enum cw_err err =
        ledger_transactions_get(c->api->bank->ledger, a->row, &wanted->filter, LEDGER_NEWEST_FIRST,
                                &wanted->past, shown + 1, list, &count, &why);
    bool more = err == CW_OK && count > shown;
    json_t *items =
        err == CW_OK ? api_transactions_json(list, more ? shown : count, a->currency) : NULL;
    json_t *cursor = more ? api_cursor_json(&list[shown - 1].place, 1, wanted->tag) : json_null();
    free(list);
    if (err != CW_OK) {
        json_decref(cursor);
        return api_reply_store(c->reply, &why);
    }
    return api_reply_json(c->reply, 200,
                          json_pack("{s:s, s:s, s:o, s:o, s:o}", "account", a->number, "currency",
                                    a->currency, "balance", api_money(a->balance, a->currency),
                                    "transactions", items, "cursor", cursor));
}

enum cw_err api_transactions_get(struct call *c)
{
    bool done;
    struct ledger_account a;
    struct api_query q;
    struct wanted wanted = {
        .filter = ledger_filter_all, .past = LEDGER_LAST, .limit = API_PAGE_USUAL};
    enum cw_err err = api_own_account(c, &a, &done);
    if (err != CW_OK || done)
        return err;
    api_query_parse(&q, c->query);
    api_query_number(&q, "limit", 1, API_PAGE_MAX, &wanted.limit);
    take_filter(&q, a.currency, &wanted.filter);
    tag_question(a.number, &wanted.filter, wanted.tag);
    api_query_cursor(&q, wanted.tag, &wanted.past, 1);
    return api_query_good(&q) ? reply_page(c, &a, &wanted) : api_query_refuse(&q, c->reply);
}

enum cw_err api_payee_get(struct call *c)
{
    struct say why;
    struct ledger_account a;
    if (account_number_check(c->segment) != CW_OK)
        return api_reply_problem(c->reply, "not-found",
                                 "That is no account number: a digit is missing or mistyped.");
    enum cw_err err = ledger_account_get(c->api->bank->ledger, c->segment, &a, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return api_reply_store(c->reply, &why);
    if (err == CW_ERR_NOT_FOUND)
        return api_reply_problem(c->reply, "not-found", "This bank has no account of that number.");
    return api_reply_json(
        c->reply, 200,
        json_pack("{s:s, s:s, s:s}", "account", a.number, "name", a.name, "currency", a.currency));
}
