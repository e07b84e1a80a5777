/* api_notify.c - what happened on a customer's accounts and to the cards, since a place that the
 * terminal was told before. Nothing is kept for it: money is in the journal, the rest in the
 * ledger's events; both only grow, so a place in each is a place in all. */
#include "bank/api_call.h"
#include "bank/api_query.h"

#include <stdlib.h>
#include <string.h>

struct happened {
    struct ledger_transaction *money;
    struct ledger_own *own; /* accounts of the same */
    struct ledger_event *events;
    size_t money_count, event_count;
    struct ledger_place past[2]; /* in the journal; among the events */
};

static json_t *money_json(const struct ledger_transaction *t, const struct ledger_own *own)
{
    return json_pack("{s:s, s:o, s:s, s:o, s:s, s:o, s:{s:s, s:s}, s:s, s:I, s:o}", "kind",
                     t->amount < 0 ? "payment-booked" : "money-received", "time", api_time(t->time),
                     "account", own->account, "amount", api_money(t->amount, own->currency),
                     "currency", own->currency, "balance", api_money(t->balance, own->currency),
                     "counterparty", "account", t->other_account, "name", t->other_name,
                     "reference", t->reference, "transaction", (json_int_t)t->place.entry, "order",
                     t->has_order ? api_hex(t->order, sizeof t->order) : json_null());
}

static json_t *event_json(const struct ledger_event *e)
{
    json_t *o = json_pack("{s:s, s:o, s:o}", "kind", ledger_event_kind_name(e->kind), "time",
                          api_time(e->time), "card", api_hex(e->card, sizeof e->card));
    if (o != NULL && e->payee.account[0] != '\0' &&
        json_object_set_new(
            o, "payee",
            json_pack("{s:s, s:s}", "account", e->payee.account, "name", e->payee.name)) != 0) {
        json_decref(o);
        return NULL;
    }
    if (o != NULL && e->words[0] != '\0' &&
        json_object_set_new(o, "reason", json_string(e->words)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* Takes the next by time, which both lists keep for themselves. */
static json_t *next_json(struct happened *h, size_t *money, size_t *event)
{
    bool more_money = *money < h->money_count, more_events = *event < h->event_count;
    if (more_money && (!more_events || h->money[*money].time <= h->events[*event].time)) {
        h->past[0] = h->money[*money].place;
        json_t *o = money_json(&h->money[*money], &h->own[*money]);
        ++*money;
        return o;
    }
    h->past[1].entry = h->events[*event].id;
    return event_json(&h->events[(*event)++]);
}

static enum cw_err reply_page(struct call *c, struct happened *h, size_t limit,
                              const uint8_t tag[API_CURSOR_TAG_LEN])
{
    size_t money = 0, event = 0;
    json_t *items = json_array();
    for (size_t i = 0;
         i < limit && items != NULL && money + event < h->money_count + h->event_count; i++)
        if (json_array_append_new(items, next_json(h, &money, &event)) != 0) {
            json_decref(items);
            items = NULL;
        }
    bool more = money + event < h->money_count + h->event_count;
    return api_reply_json(c->reply, 200,
                          json_pack("{s:o, s:o, s:b}", "notifications", items, "cursor",
                                    api_cursor_json(h->past, 2, tag), "more", more));
}

static enum cw_err read_both(struct call *c, struct happened *h, size_t limit, struct say *why)
{
    struct ledger *l = c->api->bank->ledger;
    enum cw_err err = ledger_customer_transactions_get(l, c->line->customer, &h->past[0], limit + 1,
                                                       h->money, h->own, &h->money_count, why);
    return err == CW_OK ? ledger_events_get(l, c->line->customer, h->past[1].entry, limit + 1,
                                            h->events, &h->event_count, why)
                        : err;
}

enum cw_err api_notifications_get(struct call *c)
{
    struct say why;
    struct api_query q;
    struct happened h = {.past = {LEDGER_FIRST, LEDGER_FIRST}};
    int64_t limit = API_PAGE_USUAL;
    uint8_t tag[API_CURSOR_TAG_LEN];
    api_cursor_tag("notifications", &c->line->customer, sizeof c->line->customer, tag);
    api_query_parse(&q, c->query);
    api_query_number(&q, "limit", 1, API_PAGE_MAX, &limit);
    api_query_cursor(&q, tag, h.past, 2);
    if (!api_query_good(&q))
        return api_query_refuse(&q, c->reply);
    h.money = calloc((size_t)limit + 1, sizeof *h.money);
    h.own = calloc((size_t)limit + 1, sizeof *h.own);
    h.events = calloc((size_t)limit + 1, sizeof *h.events);
    enum cw_err err = CW_ERR_SPACE;
    if (h.money != NULL && h.own != NULL && h.events != NULL) {
        err = read_both(c, &h, (size_t)limit, &why);
        err =
            err == CW_OK ? reply_page(c, &h, (size_t)limit, tag) : api_reply_store(c->reply, &why);
    }
    free(h.money);
    free(h.own);
    free(h.events);
    return err;
}
