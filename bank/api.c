#include "bank/api.h"

#include "bank/api_call.h"
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
    {API_GET, "/v1/accounts", false, false, api_accounts_get},
    {API_GET, "/v1/accounts/*/balance", false, false, api_balance_get},
    {API_GET, "/v1/accounts/*/transactions", false, true, api_transactions_get},
    {API_GET, "/v1/accounts/*/statement.json", false, true, api_statement_json},
    {API_GET, "/v1/accounts/*/statement.csv", false, true, api_statement_csv},
    {API_GET, "/v1/accounts/*/statement.camt053", false, true, api_statement_camt},
    {API_GET, "/v1/payees", false, false, payees_get},
    {API_GET, "/v1/payees/*", false, false, api_payee_get},
    {API_GET, "/v1/payee-requests", false, true, api_payee_requests_get},
    {API_POST, "/v1/payee-requests", false, false, api_payee_requests_post},
    {API_GET, "/v1/payee-requests/*", false, false, api_payee_request_get},
    {API_GET, "/v1/notifications", false, true, api_notifications_get},
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
            return api_reply_problem(c->reply, "parameter", "This path takes no query.");
        return r->serve(c);
    }
    if (path_known)
        return api_reply_problem(c->reply, "method", "This path does not take that method.");
    return api_reply_problem(c->reply, "not-found", "The bank has nothing of that name.");
}

static bool is_payment(const struct api_request *request)
{
    return request->method == API_POST && strcmp(request->target, PAY_ROUTE) == 0;
}

/* Before anything is asked of the books. */
static bool limited(struct call *c, enum cw_err *err)
{
    bool payment = is_payment(c->request);
    int64_t wait = limiter_take(&c->api->limiter, payment ? LIMITER_PAYMENT : LIMITER_REQUEST,
                                c->line->card, ledger_now(c->api->bank->ledger));
    if (wait == 0)
        return false;
    *err = api_reply_problem(c->reply, "rate-limit",
                             payment ? "Too many payments of this card; this order was not looked "
                                       "at. Send the same order again in %lld seconds."
                                     : "Too many requests of this card; ask again in %lld seconds.",
                             (long long)wait);
    c->reply->retry_after = wait;
    return true;
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

/* The card may have been blocked since the handshake: then the reply is made. Not asked for an
 * order, which is booked together with a look at its card, and may have been booked before. */
static bool check_card(struct call *c)
{
    struct say why;
    struct ledger_card card;
    enum cw_err err = ledger_card_get(c->api->bank->ledger, c->line->card, &card, &why);
    if (err == CW_OK && card.status == LEDGER_CARD_ACTIVE) {
        c->line->customer = card.customer;
        return true;
    }
    err = err != CW_OK && err != CW_ERR_NOT_FOUND
              ? api_reply_store(c->reply, &why)
              : api_reply_problem(c->reply, "card-blocked", "This card is blocked; ask your bank.");
    c->failed = err != CW_OK;
    return false;
}

enum cw_err api_take(struct api *api, struct api_line *line, const struct api_request *request,
                     void *owner, struct api_reply *reply)
{
    struct call c = {.api = api, .line = line, .request = request, .reply = reply, .owner = owner};
    *reply = (struct api_reply){.route = "-"};
    enum cw_err err = CW_OK;
    if (limited(&c, &err))
        return err;
    if (!is_payment(request) && !check_card(&c))
        return c.failed ? CW_ERR_SPACE : CW_OK;
    if (request->body_len > API_BODY_MAX)
        return api_reply_problem(reply, "too-large", "A request has at most %u bytes.",
                                 API_BODY_MAX);
    return dispatch(&c);
}
