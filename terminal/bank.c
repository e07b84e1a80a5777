#include "terminal/bank.h"

#include "host/base64.h"
#include "proto/text.h"
#include "terminal/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_PREFIX "urn:cardwire:problem:"
#define PATH_MAX_LEN   128

static void clean(json_t *value)
{
    const char *key;
    size_t i;
    json_t *inner;
    void *next;
    if (json_is_string(value) &&
        !text_is_clean(json_string_value(value), json_string_length(value))) {
        size_t len = json_string_length(value);
        size_t cap = 3 * len;
        uint8_t *text = malloc(cap);
        struct buf_writer w;
        buf_writer_init(&w, text, text != NULL ? cap : 0);
        text_put_clean(&w, json_string_value(value), len);
        if (w.bad || json_string_setn(value, (const char *)text, w.len) != 0)
            (void)json_string_set(value, "?");
        free(text);
    }
    json_object_foreach_safe(value, next, key, inner)
    {
        if (text_is_clean(key, strlen(key)))
            clean(inner);
        else /* no reply of a bank names its members so; --json would show the name */
            (void)json_object_del(value, key);
    }
    json_array_foreach(value, i, inner) clean(inner);
}

/* Parses what came. Its texts go to a person's screen sooner or later: nothing in them may command
 * the screen or hide what it says, whoever the server is. NULL when it is no JSON object. */
static json_t *parse(const struct http_reply *reply)
{
    json_t *doc =
        json_loadb((const char *)reply->body, reply->body_len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(doc)) {
        json_decref(doc);
        return NULL;
    }
    clean(doc);
    return doc;
}

/* The name of a problem (docs/api.md): a word of small letters that fits, or it is none. */
static bool is_problem_name(const char *name, size_t max)
{
    size_t n = strlen(name);
    return n > 0 && n <= max && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* A refusal: problem details (RFC 9457) if that is what came, otherwise the status alone. */
static enum cw_err refusal(struct bank *b, const struct http_reply *reply, struct say *why)
{
    b->problem_status = reply->status;
    snprintf(b->problem, sizeof b->problem, "http-%d", reply->status);
    json_t *doc = NULL;
    if (strcmp(reply->type, "application/problem+json") == 0)
        doc = parse(reply);
    const char *type = json_string_value(json_object_get(doc, "type"));
    const char *detail = json_string_value(json_object_get(doc, "detail"));
    if (type != NULL && strncmp(type, PROBLEM_PREFIX, strlen(PROBLEM_PREFIX)) == 0 &&
        is_problem_name(type + strlen(PROBLEM_PREFIX), sizeof b->problem - 1))
        snprintf(b->problem, sizeof b->problem, "%s", type + strlen(PROBLEM_PREFIX));
    enum cw_err err;
    if (detail != NULL)
        err = say_fail(why, CW_ERR_REFUSED, "%s", detail);
    else
        err = say_fail(why, CW_ERR_REFUSED,
                       "the server answered with HTTP status %d; is it a Cardwire bank?",
                       reply->status);
    json_decref(doc);
    return err;
}

static enum cw_err ask(struct bank *b, const char *method, const char *path, const char *body,
                       struct http_reply *reply, uint8_t **memory, struct say *why)
{
    struct http_request request = {
        .method = method,
        .host = b->host,
        .path = path,
        .type = "application/json",
        .body = body,
        .body_len = body != NULL ? strlen(body) : 0,
    };
    b->problem[0] = '\0';
    b->problem_status = 0;
    if (b->broken)
        return say_fail(why, CW_ERR_IO, "the line to the server is out of step; open a new one");
    enum cw_err err = http_exchange(b->line, &request, reply, memory, why);
    b->broken = err != CW_OK;
    if (err == CW_OK && (reply->status < 200 || reply->status > 299)) {
        err = refusal(b, reply, why);
        free(*memory);
        *memory = NULL;
    }
    return err;
}

static enum cw_err ask_json(struct bank *b, const char *method, const char *path, const char *body,
                            json_t **out, struct say *why)
{
    struct http_reply reply;
    uint8_t *memory = NULL;
    enum cw_err err = ask(b, method, path, body, &reply, &memory, why);
    if (err != CW_OK)
        return err;
    json_t *doc = parse(&reply);
    if (doc == NULL)
        err = say_fail(why, CW_ERR_FORMAT,
                       "the server's answer is no JSON object; is it a Cardwire bank?");
    free(memory);
    if (err == CW_OK)
        *out = doc;
    return err;
}

enum cw_err bank_login(struct bank *b, json_t **reply, struct say *why)
{
    return ask_json(b, "POST", "/v1/session", "{\"key_agreement\":\"succeeded\"}", reply, why);
}

enum cw_err bank_accounts(struct bank *b, json_t **reply, struct say *why)
{
    return ask_json(b, "GET", "/v1/accounts", NULL, reply, why);
}

bool bank_account_good(const char *account)
{
    size_t n = strlen(account);
    return n >= ORDER_ACCOUNT_MIN && n <= ORDER_ACCOUNT_MAX &&
           strspn(account, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == n;
}

static enum cw_err check_account(const char *account, struct say *why)
{
    if (!bank_account_good(account))
        return say_fail(why, CW_ERR_FORMAT,
                        "'%s' is no account number; write %u to %u capital letters and digits, "
                        "without spaces",
                        account, ORDER_ACCOUNT_MIN, ORDER_ACCOUNT_MAX);
    return CW_OK;
}

static enum cw_err ask_account(struct bank *b, const char *before, const char *account,
                               const char *after, json_t **reply, struct say *why)
{
    char path[PATH_MAX_LEN];
    enum cw_err err = check_account(account, why);
    if (err != CW_OK)
        return err;
    snprintf(path, sizeof path, "%s%s%s", before, account, after);
    return ask_json(b, "GET", path, NULL, reply, why);
}

enum cw_err bank_balance(struct bank *b, const char *account, json_t **reply, struct say *why)
{
    return ask_account(b, "/v1/accounts/", account, "/balance", reply, why);
}

enum cw_err bank_statement(struct bank *b, const char *account, unsigned limit, json_t **reply,
                           struct say *why)
{
    char after[48];
    snprintf(after, sizeof after, "/transactions?limit=%u", limit);
    return ask_account(b, "/v1/accounts/", account, after, reply, why);
}

bool bank_time_good(const char *text)
{
    int64_t time;
    char whole[24];
    if (strlen(text) != 10 && strlen(text) != 20)
        return false;
    snprintf(whole, sizeof whole, strlen(text) == 10 ? "%.10sT00:00:00Z" : "%.20s", text);
    return cal_parse(whole, strlen(whole), &time) == CW_OK;
}

/* The path of a statement; the times are clean enough to stand in it. */
static enum cw_err statement_path(const char *account, const char *format, const char *from,
                                  const char *to, char path[PATH_MAX_LEN], struct say *why)
{
    enum cw_err err = check_account(account, why);
    if (err != CW_OK)
        return err;
    if ((from != NULL && !bank_time_good(from)) || (to != NULL && !bank_time_good(to)))
        return say_fail(why, CW_ERR_FORMAT, "a statement is from one time to another");
    snprintf(path, PATH_MAX_LEN, "/v1/accounts/%s/statement.%s%s%s%s%s", account, format,
             from != NULL ? "?from=" : "", from != NULL ? from : "",
             to == NULL     ? ""
             : from != NULL ? "&to="
                            : "?to=",
             to != NULL ? to : "");
    return CW_OK;
}

enum cw_err bank_period(struct bank *b, const char *account, const char *from, const char *to,
                        json_t **reply, struct say *why)
{
    char path[PATH_MAX_LEN];
    enum cw_err err = statement_path(account, "json", from, to, path, why);
    return err == CW_OK ? ask_json(b, "GET", path, NULL, reply, why) : err;
}

enum cw_err bank_document(struct bank *b, const char *account, const char *format, const char *from,
                          const char *to, uint8_t **memory, const uint8_t **data, size_t *len,
                          struct say *why)
{
    char path[PATH_MAX_LEN];
    struct http_reply reply;
    enum cw_err err = statement_path(account, format, from, to, path, why);
    if (err == CW_OK)
        err = ask(b, "GET", path, NULL, &reply, memory, why);
    if (err == CW_OK) {
        *data = reply.body;
        *len = reply.body_len;
    }
    return err;
}

enum cw_err bank_payee(struct bank *b, const char *account, json_t **reply, struct say *why)
{
    return ask_account(b, "/v1/payees/", account, "", reply, why);
}

enum cw_err bank_payees(struct bank *b, json_t **reply, struct say *why)
{
    return ask_json(b, "GET", "/v1/payees", NULL, reply, why);
}

enum cw_err bank_payee_requests(struct bank *b, json_t **reply, struct say *why)
{
    return ask_json(b, "GET", "/v1/payee-requests?limit=100", NULL, reply, why);
}

enum cw_err bank_payee_ask(struct bank *b, const char *action, const char *account,
                           const char *name, json_t **reply, struct say *why)
{
    json_t *o = json_pack("{s:s, s:s, s:s*}", "action", action, "account", account, "name", name);
    char *body = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (body == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ask_json(b, "POST", "/v1/payee-requests", body, reply, why);
    free(body);
    return err;
}

enum cw_err bank_notifications(struct bank *b, const char *since, unsigned limit, json_t **reply,
                               struct say *why)
{
    char path[PATH_MAX_LEN];
    snprintf(path, sizeof path, "/v1/notifications?limit=%u%s%.70s", limit,
             since != NULL ? "&cursor=" : "", since != NULL ? since : "");
    return ask_json(b, "GET", path, NULL, reply, why);
}

enum cw_err bank_pay(struct bank *b, const uint8_t *text, size_t text_len, const uint8_t *signature,
                     size_t signature_len, json_t **reply, struct say *why)
{
    char order[BASE64_LEN(ORDER_TEXT_MAX) + 1], sig[BASE64_LEN(512) + 1];
    char body[sizeof order + sizeof sig + 64];
    if (base64_encode(text, text_len, order, sizeof order) != CW_OK ||
        base64_encode(signature, signature_len, sig, sizeof sig) != CW_OK)
        return say_fail(why, CW_ERR_LENGTH, "the signed order is too long");
    snprintf(body, sizeof body, "{\"order\":\"%s\",\"signature\":\"%s\"}", order, sig);
    return ask_json(b, "POST", "/v1/payments", body, reply, why);
}

enum cw_err bank_card(struct bank *b, json_t **reply, struct say *why)
{
    return ask_json(b, "GET", "/v1/card", NULL, reply, why);
}

enum cw_err bank_card_time(struct bank *b, const uint8_t challenge[ISSUER_CHALLENGE_LEN],
                           json_t **reply, struct say *why)
{
    char body[64] = {0};
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)body, sizeof body - 1);
    buf_put_str(&w, "{\"challenge\":\"");
    buf_put_hex(&w, challenge, ISSUER_CHALLENGE_LEN);
    buf_put_str(&w, "\"}");
    return ask_json(b, "POST", "/v1/card/time", body, reply, why);
}

enum cw_err bank_card_updates(struct bank *b, uint32_t after, json_t **reply, struct say *why)
{
    char path[PATH_MAX_LEN];
    snprintf(path, sizeof path, "/v1/card/updates?after=%" PRIu32, after);
    return ask_json(b, "GET", path, NULL, reply, why);
}

enum cw_err bank_card_applied(struct bank *b, uint32_t sequence, json_t **reply, struct say *why)
{
    char body[64];
    snprintf(body, sizeof body, "{\"sequence\":%" PRIu32 "}", sequence);
    return ask_json(b, "POST", "/v1/card/updates", body, reply, why);
}

enum cw_err bank_receipt(struct bank *b, const uint8_t order[ORDER_ID_LEN], uint8_t **memory,
                         const uint8_t **der, size_t *len, struct say *why)
{
    char path[PATH_MAX_LEN] = {0};
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)path, sizeof path - 1);
    buf_put_str(&w, "/v1/payments/");
    buf_put_hex(&w, order, ORDER_ID_LEN);
    buf_put_str(&w, "/receipt");
    struct http_reply reply;
    enum cw_err err = ask(b, "GET", path, NULL, &reply, memory, why);
    if (err != CW_OK)
        return err;
    if (strcmp(reply.type, "application/cms") != 0) {
        free(*memory);
        *memory = NULL;
        return say_fail(why, CW_ERR_FORMAT, "the server's receipt is no CMS message");
    }
    *der = reply.body;
    *len = reply.body_len;
    return CW_OK;
}
