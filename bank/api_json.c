#include "bank/api_json.h"

#include "bank/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *title;
    int status;
} problems[] = {
    {"not-logged-in", "Not logged in", 403},
    {"not-found", "Not found", 404},
    {"method", "Method not allowed", 405},
    {"malformed", "Malformed request", 400},
    {"parameter", "Wrong parameter", 400},
    {"period-too-long", "Too much for one statement", 422},
    {"rate-limit", "Too many requests", 429},
    {"too-large", "Request too large", 413},
    {"card-blocked", "Card blocked", 403},
    {"order-malformed", "Malformed order", 400},
    {"order-signature", "Signature does not verify", 422},
    {"order-other-card", "Order of another card", 422},
    {"order-other-line", "Order of another line", 422},
    {"order-expired", "Order expired", 422},
    {"order-conflict", "Order id used before", 409},
    {"order-counter", "Order counter used before", 409},
    {"account-unknown", "Account unknown", 404},
    {"payee-unknown", "Payee unknown", 422},
    {"payee-name", "Payee has another name", 422},
    {"payee-listed", "Payee is on the list", 409},
    {"payee-full", "No room for a payee", 409},
    {"currency", "Wrong currency", 422},
    {"funds", "Not enough money", 422},
    {"same-account", "Payer and payee are one account", 422},
    {"outcome-unknown", "Not known whether the order was booked", 503},
    {"store", "The bank cannot reach its books now", 503},
};

enum cw_err api_reply_json(struct api_reply *reply, int status, json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text == NULL)
        return CW_ERR_SPACE;
    api_reply_text(reply, status, text);
    return CW_OK;
}

void api_reply_text(struct api_reply *reply, int status, char *text)
{
    reply->status = status;
    reply->type = "application/json";
    reply->body = (uint8_t *)text;
    reply->body_len = strlen(text);
}

enum cw_err api_reply_problem(struct api_reply *reply, const char *name, const char *format, ...)
{
    char detail[256], type[64];
    size_t i = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    while (i + 1 < sizeof problems / sizeof problems[0] && strcmp(problems[i].name, name) != 0)
        i++;
    snprintf(type, sizeof type, "urn:cardwire:problem:%s", problems[i].name);
    enum cw_err err =
        api_reply_json(reply, problems[i].status,
                       json_pack("{s:s, s:s, s:i, s:s}", "type", type, "title", problems[i].title,
                                 "status", problems[i].status, "detail", detail));
    if (err == CW_OK) {
        reply->type = "application/problem+json";
        reply->problem = problems[i].name;
    }
    return err;
}

enum cw_err api_reply_store(struct api_reply *reply, const struct say *why)
{
    /* The sentence names files of the bank: it belongs into the bank's log, not to the holder. */
    log_event(LOG_ERROR, "store", log_text("why", why->text));
    return api_reply_problem(reply, "store",
                             "The bank cannot reach its books now. Try the same again later.");
}

enum cw_err api_reply_unknown(struct api_reply *reply, const struct say *why)
{
    log_event(LOG_ERROR, "store", log_text("why", why->text));
    return api_reply_problem(reply, "outcome-unknown",
                             "The bank cannot tell now whether this order was booked. Ask again "
                             "with the same order; do not sign another.");
}

json_t *api_money(int64_t amount, const char currency[4])
{
    uint8_t text[32];
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    order_amount_put(&w, amount, currency);
    return w.bad ? NULL : json_stringn((const char *)text, w.len);
}

json_t *api_time(int64_t seconds)
{
    uint8_t text[24];
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    cal_put(&w, seconds);
    return w.bad ? NULL : json_stringn((const char *)text, w.len);
}

json_t *api_hex(const uint8_t *data, size_t len)
{
    uint8_t text[64];
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    buf_put_hex(&w, data, len);
    return w.bad ? NULL : json_stringn((const char *)text, w.len);
}

json_t *api_body_parse(const struct api_request *request)
{
    json_t *body =
        json_loadb((const char *)request->body, request->body_len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}
