#include "bank/api.h"

#include "bank/api_card.h"
#include "bank/api_json.h"
#include "bank/journal.h"
#include "bank/pay.h"

#include <stdlib.h>
#include <string.h>

void api_init(struct api *api, struct bank *bank)
{
    memset(api, 0, sizeof *api);
    api->bank = bank;
}

void api_clear(struct api *api)
{
    pay_forget(api);
    keycache_clear(&api->keys);
    journal_free(&api->journal);
    EVP_PKEY_free(api->update_key);
    api->update_key = NULL;
}

void api_reply_clear(struct api_reply *reply)
{
    free(reply->body);
    *reply = (struct api_reply){0};
}

/* A request on its way to its handler. */
struct call {
    struct api *api;
    struct api_line *line;
    const struct api_request *request;
    char segment[API_PATH_MAX]; /* what stood in the place of '*' */
    const char *query;          /* after '?', "" if none */
    struct api_reply *reply;
    void *owner; /* of the reply, when it comes later */
};

/* ---- session ---- */

static enum cw_err reply_session(struct call *c)
{
    struct say why;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    struct ledger_card card;
    struct ledger_customer customer;
    struct ledger *l = c->api->bank->ledger;
    if (ledger_card_get(l, c->line->card, &card, &why) != CW_OK ||
        ledger_customer_get(l, card.customer, &customer, &why) != CW_OK)
        return api_reply_store(c->reply, &why);
    bank_serial_text(card.serial, serial);
    return api_reply_json(c->reply, 200,
                          json_pack("{s:{s:I, s:s}, s:{s:s, s:s}, s:{s:s, s:s, s:s}, s:o}",
                                    "customer", "id", (json_int_t)customer.id, "name",
                                    customer.name, "card", "serial", serial, "status",
                                    ledger_card_status_name(card.status), "line", "profile",
                                    c->line->profile, "tls", c->line->tls, "suite", c->line->suite,
                                    "time", api_time(ledger_now(l))));
}

static enum cw_err session_post(struct call *c)
{
    const char *report = NULL;
    json_t *body = api_body_parse(c->request);
    bool good = body != NULL &&
                json_unpack_ex(body, NULL, 0, "{s:s!}", "key_agreement", &report) == 0 &&
                strcmp(report, "succeeded") == 0;
    json_decref(body);
    if (!good)
        return api_reply_problem(c->reply, "malformed",
                                 "A login is reported as {\"key_agreement\":\"succeeded\"}.");
    c->line->logged_in = true;
    return reply_session(c);
}

/* ---- accounts ---- */

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

static enum cw_err accounts_get(struct call *c)
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

/* The account named in the path, if it is the customer's. Otherwise *done, with the reply made: one
 * problem for "none" and "not yours", so that nobody learns which accounts there are. */
static enum cw_err own_account(struct call *c, struct ledger_account *out, bool *done)
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

static enum cw_err balance_get(struct call *c)
{
    bool done;
    struct ledger_account a;
    enum cw_err err = own_account(c, &a, &done);
    if (err != CW_OK || done)
        return err;
    return api_reply_json(c->reply, 200,
                          json_pack("{s:s, s:s, s:o, s:o, s:o}", "account", a.number, "currency",
                                    a.currency, "balance", api_money(a.balance, a.currency),
                                    "available", api_money(a.balance, a.currency), "time",
                                    api_time(ledger_now(c->api->bank->ledger))));
}

/* "limit=N" and nothing else; 0 when it is not that. */
static size_t parse_limit(const char *query)
{
    size_t n = 0;
    if (query[0] == '\0')
        return 20;
    if (strncmp(query, "limit=", 6) != 0 || query[6] == '\0')
        return 0;
    for (const char *p = query + 6; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || n > LEDGER_STATEMENT_MAX)
            return 0;
        n = n * 10 + (size_t)(*p - '0');
    }
    return n <= LEDGER_STATEMENT_MAX ? n : 0;
}

static json_t *transaction_json(const struct ledger_transaction *t, const char currency[4])
{
    return json_pack("{s:I, s:o, s:o, s:o, s:{s:s, s:s}, s:s, s:o}", "id", (json_int_t)t->id,
                     "time", api_time(t->time), "amount", api_money(t->amount, currency), "balance",
                     api_money(t->balance, currency), "counterparty", "account", t->other_account,
                     "name", t->other_name, "reference", t->reference, "order",
                     t->has_order ? api_hex(t->order, sizeof t->order) : json_null());
}

static enum cw_err transactions_get(struct call *c)
{
    bool done;
    struct say why;
    size_t count = 0, limit = parse_limit(c->query);
    struct ledger_account a;
    enum cw_err err = own_account(c, &a, &done);
    if (err != CW_OK || done)
        return err;
    if (limit == 0)
        return api_reply_problem(c->reply, "malformed", "limit is a number from 1 to %u.",
                                 LEDGER_STATEMENT_MAX);
    struct ledger_transaction *list = calloc(limit, sizeof *list);
    json_t *items = json_array();
    if (list == NULL || items == NULL) {
        free(list);
        json_decref(items);
        return CW_ERR_SPACE;
    }
    err = ledger_statement_get(c->api->bank->ledger, a.number, limit, list, &count, &why);
    for (size_t i = 0; i < count && err == CW_OK && items != NULL; i++)
        if (json_array_append_new(items, transaction_json(&list[i], a.currency)) != 0) {
            json_decref(items);
            items = NULL;
        }
    free(list);
    if (err != CW_OK || items == NULL) {
        json_decref(items);
        return err != CW_OK ? api_reply_store(c->reply, &why) : CW_ERR_SPACE;
    }
    return api_reply_json(c->reply, 200,
                          json_pack("{s:s, s:s, s:o, s:o}", "account", a.number, "currency",
                                    a.currency, "balance", api_money(a.balance, a.currency),
                                    "transactions", items));
}

static enum cw_err payee_get(struct call *c)
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

/* ---- payments ---- */

static enum cw_err payments_post(struct call *c)
{
    return pay_take(c->api, c->line, c->request, c->owner, c->reply);
}

/* The payment named in the path, if the customer ordered it. *out is NULL when the reply is made.
 */
static enum cw_err own_payment(struct call *c, struct ledger_payment **out)
{
    struct say why;
    size_t len = 0;
    uint8_t id[ORDER_ID_LEN];
    struct ledger_payment *p = NULL;
    *out = NULL;
    enum cw_err err = CW_ERR_NOT_FOUND;
    if (strlen(c->segment) == 2 * sizeof id &&
        OPENSSL_hexstr2buf_ex(id, sizeof id, &len, c->segment, '\0') == 1)
        err = ledger_payment_find(c->api->bank->ledger, id, &p, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return api_reply_store(c->reply, &why);
    if (err == CW_ERR_NOT_FOUND || p->customer != c->line->customer) {
        ledger_payment_free(&p);
        return api_reply_problem(c->reply, "not-found", "You have no payment of that order.");
    }
    if (ledger_confirm(c->api->bank->ledger, &why) != CW_OK) {
        ledger_payment_free(&p);
        return api_reply_store(c->reply, &why);
    }
    *out = p;
    return CW_OK;
}

static enum cw_err payment_get(struct call *c)
{
    struct ledger_payment *p;
    enum cw_err err = own_payment(c, &p);
    if (p == NULL)
        return err;
    json_t *stored = json_loads(p->reply, 0, NULL);
    ledger_payment_free(&p);
    err = api_reply_json(c->reply, 200,
                         json_pack("{s:O}", "payment", json_object_get(stored, "payment")));
    json_decref(stored);
    return err;
}

static enum cw_err receipt_get(struct call *c)
{
    struct say why;
    struct ledger_payment *p;
    struct bank *b = c->api->bank;
    enum cw_err err = own_payment(c, &p);
    if (p == NULL)
        return err;
    if (c->api->journal == NULL)
        err = journal_open(b, &c->api->journal, &why);
    if (err == CW_OK)
        err = journal_receipt(b, c->api->journal, p, &c->reply->body, &c->reply->body_len, &why);
    ledger_payment_free(&p);
    if (err != CW_OK)
        return api_reply_store(c->reply, &why);
    c->reply->status = 200;
    c->reply->type = "application/cms";
    return CW_OK;
}

/* ---- the card ---- */

static enum cw_err card_get(struct call *c)
{
    return api_card_get(c->api, c->line, c->reply);
}

static enum cw_err card_time_post(struct call *c)
{
    return api_card_time(c->api, c->line, c->request, c->reply);
}

static enum cw_err card_updates_get(struct call *c)
{
    return api_card_updates(c->api, c->line, c->query, c->reply);
}

static enum cw_err card_updates_post(struct call *c)
{
    return api_card_applied(c->api, c->line, c->request, c->reply);
}

static enum cw_err payees_get(struct call *c)
{
    return api_card_payees(c->api, c->line, c->reply);
}

/* ---- routes ---- */

/* Every route says what a line must be before its handler runs. '*' stands for one segment. */
static const struct route {
    enum api_method method;
    const char *path;
    bool before_login;
    bool takes_query;
    enum cw_err (*serve)(struct call *c);
} routes[] = {
    {API_POST, "/v1/session", true, false, session_post},
    {API_GET, "/v1/session", false, false, reply_session},
    {API_GET, "/v1/accounts", false, false, accounts_get},
    {API_GET, "/v1/accounts/*/balance", false, false, balance_get},
    {API_GET, "/v1/accounts/*/transactions", false, true, transactions_get},
    {API_GET, "/v1/payees", false, false, payees_get},
    {API_GET, "/v1/payees/*", false, false, payee_get},
    {API_GET, "/v1/card", false, false, card_get},
    {API_POST, "/v1/card/time", false, false, card_time_post},
    {API_GET, "/v1/card/updates", false, true, card_updates_get},
    {API_POST, "/v1/card/updates", false, false, card_updates_post},
    {API_POST, "/v1/payments", false, false, payments_post},
    {API_GET, "/v1/payments/*", false, false, payment_get},
    {API_GET, "/v1/payments/*/receipt", false, false, receipt_get},
};

/* Numbers and order ids need no percent-encoding, so none is taken: one path, one meaning. */
bool api_path_match(const char *pattern, const char *path, size_t len, char segment[API_PATH_MAX])
{
    size_t at = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '*') {
            if (at >= len || path[at++] != *pattern)
                return false;
            continue;
        }
        size_t n = 0;
        while (at + n < len && path[at + n] != '/')
            n++;
        if (n == 0 || n >= API_PATH_MAX)
            return false;
        memcpy(segment, path + at, n);
        segment[n] = '\0';
        at += n;
    }
    return at == len;
}

static enum cw_err dispatch(struct call *c)
{
    bool path_known = false;
    size_t len = strcspn(c->request->target, "?");
    c->query = c->request->target[len] == '?' ? c->request->target + len + 1 : "";
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *r = &routes[i];
        if (!api_path_match(r->path, c->request->target, len, c->segment))
            continue;
        path_known = true;
        c->reply->route = r->path;
        if (r->method != c->request->method)
            continue;
        if (!r->before_login && !c->line->logged_in)
            return api_reply_problem(c->reply, "not-logged-in",
                                     "The terminal must report the key agreement first.");
        if (c->query[0] != '\0' && !r->takes_query)
            return api_reply_problem(c->reply, "malformed", "This path takes no query.");
        return r->serve(c);
    }
    if (path_known)
        return api_reply_problem(c->reply, "method", "This path does not take that method.");
    return api_reply_problem(c->reply, "not-found", "The bank has nothing of that name.");
}

static void into_reply(void *owner, const struct api_reply *reply)
{
    struct api_reply *out = owner;
    if (reply == NULL || (out->body = malloc(reply->body_len + 1)) == NULL)
        return;
    memcpy(out->body, reply->body, reply->body_len);
    out->status = reply->status;
    out->type = reply->type;
    out->body_len = reply->body_len;
    out->problem = reply->problem;
}

enum cw_err api_serve(struct api *api, struct api_line *line, const struct api_request *request,
                      struct api_reply *reply)
{
    enum cw_err err = api_take(api, line, request, reply, reply);
    if (err != CW_OK || !reply->later)
        return err;
    reply->later = false;
    api_commit(api, into_reply);
    return reply->body != NULL ? CW_OK : CW_ERR_SPACE;
}

void api_commit(struct api *api, api_answer *answer)
{
    pay_commit(api, answer);
}

bool api_full(const struct api *api)
{
    return api->queue.count == LEDGER_BATCH_MAX;
}

void api_leave(struct api *api, const void *owner)
{
    pay_leave(api, owner);
}

enum cw_err api_take(struct api *api, struct api_line *line, const struct api_request *request,
                     void *owner, struct api_reply *reply)
{
    struct say why;
    struct ledger_card card;
    struct call c = {.api = api, .line = line, .request = request, .reply = reply, .owner = owner};
    *reply = (struct api_reply){.route = "-"};
    /* The card may have been blocked since the handshake. */
    enum cw_err err = ledger_card_get(api->bank->ledger, line->card, &card, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return request->method == API_POST && strcmp(request->target, "/v1/payments") == 0
                   ? api_reply_unknown(reply, &why) /* it may have been booked before */
                   : api_reply_store(reply, &why);
    if (err == CW_ERR_NOT_FOUND || card.status != LEDGER_CARD_ACTIVE)
        return api_reply_problem(reply, "card-blocked", "This card is blocked; ask your bank.");
    line->customer = card.customer;
    if (request->body_len > API_BODY_MAX)
        return api_reply_problem(reply, "too-large", "A request has at most %u bytes.",
                                 API_BODY_MAX);
    return dispatch(&c);
}
