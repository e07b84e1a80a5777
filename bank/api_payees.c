/* api_payees.c - what a holder asks of the list of the card of the line: somebody to be put on it,
 * which waits until the bank knows by another way that the holder wants it (docs/bank.md), or to be
 * taken off it, which is done at once: it only narrows what the card pays. */
#include "bank/api_call.h"
#include "bank/api_query.h"
#include "bank/update.h"

#include <stdlib.h>
#include <string.h>

#define BY_HOLDER "by the holder, over the card's line"

static json_t *request_json(const struct ledger_payee_request *r)
{
    bool refused = r->status == LEDGER_REQUEST_REFUSED;
    return json_pack(
        "{s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:s?}", "id", (json_int_t)r->id, "action",
        r->remove ? "remove" : "add", "account", r->payee.account, "name", r->payee.name, "status",
        ledger_payee_request_status_name(r->status), "time", api_time(r->asked), "decided",
        r->decided != 0 ? api_time(r->decided) : json_null(), "reason", refused ? r->words : NULL);
}

static enum cw_err reply_request(struct call *c, int status, const struct ledger_payee_request *r)
{
    return api_reply_json(c->reply, status, json_pack("{s:o}", "request", request_json(r)));
}

/* ---- asking ---- */

struct asked {
    bool remove;
    struct policy_payee payee;
};

static bool copy(const char *text, char *out, size_t cap)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0 || len >= cap)
        return false;
    memcpy(out, text, len + 1);
    return true;
}

static bool parse(const struct api_request *request, struct asked *out)
{
    const char *action = NULL, *account = NULL, *name = NULL;
    json_t *body = api_body_parse(request);
    bool good = false;
    memset(out, 0, sizeof *out);
    if (body != NULL && json_unpack_ex(body, NULL, 0, "{s:s, s:s, s:s!}", "action", &action,
                                       "account", &account, "name", &name) == 0)
        good = strcmp(action, "add") == 0 && copy(name, out->payee.name, sizeof out->payee.name);
    else if (body != NULL && json_unpack_ex(body, NULL, 0, "{s:s, s:s!}", "action", &action,
                                            "account", &account) == 0)
        good = out->remove = strcmp(action, "remove") == 0;
    good = good && copy(account, out->payee.account, sizeof out->payee.account);
    json_decref(body);
    return good;
}

/* Whose account it is, and that the holder knows. *done when the reply is made. */
static enum cw_err check_payee(struct call *c, const struct asked *a, bool *done)
{
    struct say why;
    struct ledger_account account;
    *done = true;
    enum cw_err err = ledger_account_get(c->api->bank->ledger, a->payee.account, &account, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return api_reply_store(c->reply, &why);
    if (err == CW_ERR_NOT_FOUND || account.customer == 0)
        return api_reply_problem(c->reply, "payee-unknown",
                                 "The payee's account is not one of this bank.");
    if (strcmp(account.name, a->payee.name) != 0)
        return api_reply_problem(c->reply, "payee-name",
                                 "The payee's account belongs to somebody of another name.");
    *done = false;
    return CW_OK;
}

/* The update that takes the payee off the card, with the end of the request, at once. */
static enum cw_err carry_out(struct call *c, struct ledger_payee_request *r, struct say *why)
{
    struct update_made made;
    struct update_plan plan = {
        .payee_gone = r->payee.account, .request = r->id, .confirmed = BY_HOLDER};
    memcpy(plan.card, r->card, sizeof plan.card);
    enum cw_err err = update_make(c->api->bank, &plan, &made, why);
    return err == CW_OK ? ledger_payee_request_get(c->api->bank->ledger, r->id, r, why) : err;
}

static enum cw_err reply_not_asked(struct call *c, enum cw_err err, const struct say *why)
{
    switch (err) {
    case CW_ERR_EXISTS:
        return api_reply_problem(c->reply, "payee-listed",
                                 "That account is on the card's list already.");
    case CW_ERR_NOT_FOUND:
        return api_reply_problem(c->reply, "not-found", "That account is not on the card's list.");
    case CW_ERR_SPACE:
        return api_reply_problem(
            c->reply, "payee-full",
            "The card's list, or what was asked for it and is not decided, has "
            "%u payees; it takes no more.",
            POLICY_PAYEES_MAX);
    default:
        return api_reply_store(c->reply, why);
    }
}

enum cw_err api_payee_requests_post(struct call *c)
{
    bool done = false, fresh = false;
    struct say why;
    struct asked a;
    struct ledger_payee_request r;
    struct ledger_management m;
    struct ledger *l = c->api->bank->ledger;
    if (!parse(c->request, &a))
        return api_reply_problem(
            c->reply, "malformed",
            "A request is {\"action\":\"add\",\"account\":ACCOUNT,\"name\":NAME} "
            "or {\"action\":\"remove\",\"account\":ACCOUNT}.");
    enum cw_err err = ledger_management_get(l, c->line->card, &m, &why);
    if (err == CW_ERR_STATE)
        return api_reply_problem(c->reply, "not-found", "This card takes no messages of the bank.");
    if (err != CW_OK)
        return api_reply_store(c->reply, &why);
    if (!a.remove && ((err = check_payee(c, &a, &done)) != CW_OK || done))
        return err;
    err = ledger_payee_request_add(l, c->line->card, a.remove, &a.payee, &r, &fresh, &why);
    if (err != CW_OK)
        return reply_not_asked(c, err, &why);
    if (r.remove && (err = carry_out(c, &r, &why)) != CW_OK)
        return api_reply_store(c->reply, &why);
    return reply_request(c, fresh ? 201 : 200, &r);
}

/* ---- looking ---- */

enum cw_err api_payee_request_get(struct call *c)
{
    struct say why;
    struct ledger_payee_request r;
    size_t digits = strspn(c->segment, "0123456789");
    enum cw_err err = CW_ERR_NOT_FOUND;
    if (digits > 0 && digits <= 18 && c->segment[digits] == '\0')
        err =
            ledger_payee_request_get(c->api->bank->ledger, strtoll(c->segment, NULL, 10), &r, &why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return api_reply_store(c->reply, &why);
    if (err == CW_ERR_NOT_FOUND || memcmp(r.card, c->line->card, sizeof r.card) != 0)
        return api_reply_problem(c->reply, "not-found", "This card has no request of that number.");
    return reply_request(c, 200, &r);
}

static enum cw_err reply_requests(struct call *c, const struct ledger_payee_request *list,
                                  size_t count, size_t shown, const uint8_t tag[API_CURSOR_TAG_LEN])
{
    json_t *items = json_array(), *cursor = json_null();
    for (size_t i = 0; i < count && i < shown && items != NULL; i++)
        if (json_array_append_new(items, request_json(&list[i])) != 0) {
            json_decref(items);
            items = NULL;
        }
    if (count > shown) {
        const struct ledger_place place = {list[shown - 1].id, 0};
        cursor = api_cursor_json(&place, 1, tag);
    }
    return api_reply_json(c->reply, 200,
                          json_pack("{s:o, s:o}", "requests", items, "cursor", cursor));
}

enum cw_err api_payee_requests_get(struct call *c)
{
    struct say why;
    struct api_query q;
    struct ledger_place past = LEDGER_LAST;
    int64_t limit = API_PAGE_USUAL;
    size_t count = 0;
    uint8_t tag[API_CURSOR_TAG_LEN];
    api_cursor_tag("payee-requests", c->line->card, sizeof c->line->card, tag);
    api_query_parse(&q, c->query);
    api_query_number(&q, "limit", 1, API_PAGE_MAX, &limit);
    api_query_cursor(&q, tag, &past, 1);
    if (!api_query_good(&q))
        return api_query_refuse(&q, c->reply);
    size_t shown = (size_t)limit;
    struct ledger_payee_request *list = calloc(shown + 1, sizeof *list);
    if (list == NULL)
        return CW_ERR_SPACE;
    enum cw_err err = ledger_payee_requests_get(c->api->bank->ledger, c->line->card, past.entry,
                                                shown + 1, list, &count, &why);
    err =
        err == CW_OK ? reply_requests(c, list, count, shown, tag) : api_reply_store(c->reply, &why);
    free(list);
    return err;
}
