#include "bank/api_card.h"

#include "bank/api_json.h"
#include "bank/api_query.h"
#include "bank/update.h"
#include "host/base64.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* What the ledger says of the card; all zeros for one of a time when cards took no messages. */
static enum cw_err get_management(struct api *api, const struct api_line *line,
                                  struct ledger_management *out, struct say *why)
{
    memset(out, 0, sizeof *out);
    enum cw_err err = ledger_management_get(api->bank->ledger, line->card, out, why);
    return err == CW_ERR_STATE ? CW_OK : err;
}

enum cw_err api_card_get(struct api *api, const struct api_line *line, struct api_reply *reply)
{
    struct say why;
    struct ledger_card card;
    struct ledger_management m;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    if (ledger_card_get(api->bank->ledger, line->card, &card, &why) != CW_OK ||
        get_management(api, line, &m, &why) != CW_OK)
        return api_reply_store(reply, &why);
    bank_serial_text(card.serial, serial);
    return api_reply_json(reply, 200,
                          json_pack("{s:s, s:s, s:I, s:I}", "serial", serial, "status",
                                    ledger_card_status_name(card.status), "sequence",
                                    (json_int_t)m.made, "pending", (json_int_t)m.pending));
}

/* ---- time ---- */

static enum cw_err parse_challenge(const struct api_request *request,
                                   uint8_t out[ISSUER_CHALLENGE_LEN])
{
    const char *text = NULL;
    uint8_t bytes[ISSUER_CHALLENGE_LEN];
    size_t len = 0;
    json_t *body = api_body_parse(request);
    bool good = body != NULL && json_unpack_ex(body, NULL, 0, "{s:s!}", "challenge", &text) == 0 &&
                strlen(text) == 2 * sizeof bytes &&
                OPENSSL_hexstr2buf_ex(bytes, sizeof bytes, &len, text, '\0') == 1 &&
                len == sizeof bytes;
    json_decref(body);
    ERR_clear_error();
    if (!good)
        return CW_ERR_FORMAT;
    memcpy(out, bytes, sizeof bytes);
    return CW_OK;
}

static json_t *message_json(const uint8_t *message, size_t len)
{
    char text[BASE64_LEN(ISSUER_MESSAGE_MAX) + 1];
    return base64_encode(message, len, text, sizeof text) == CW_OK ? json_string(text) : NULL;
}

enum cw_err api_card_time(struct api *api, const struct api_line *line,
                          const struct api_request *request, struct api_reply *reply)
{
    struct say why;
    struct ledger_management managed;
    struct issuer_message m = {.kind = ISSUER_TIME, .time = ledger_now(api->bank->ledger)};
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t len = 0;
    if (parse_challenge(request, m.challenge) != CW_OK)
        return api_reply_problem(
            reply, "malformed",
            "A card's time is asked for by {\"challenge\":CHALLENGE}, 16 hexadecimal digits.");
    enum cw_err err = get_management(api, line, &managed, &why);
    if (err == CW_OK && managed.keyset == 0)
        return api_reply_problem(reply, "not-found", "This card takes no messages of the bank.");
    if (err == CW_OK && api->update_key == NULL)
        err = bank_key_load(api->bank, BANK_FILE_UPDATE, &api->update_key, &why);
    memcpy(m.serial, line->card, sizeof m.serial);
    if (err == CW_OK)
        err = update_sign(api->update_key, &m, message, &len, &why);
    if (err != CW_OK)
        return api_reply_store(reply, &why);
    return api_reply_json(reply, 200, json_pack("{s:o}", "message", message_json(message, len)));
}

/* ---- updates ---- */

static json_t *updates_json(const struct ledger_update *list, size_t count)
{
    json_t *items = json_array();
    for (size_t i = 0; i < count && items != NULL; i++) {
        json_t *item = json_pack("{s:I, s:o}", "sequence", (json_int_t)list[i].sequence, "message",
                                 message_json(list[i].message, list[i].len));
        if (item == NULL || json_array_append_new(items, item) != 0) {
            json_decref(items);
            items = NULL;
        }
    }
    return items;
}

enum cw_err api_card_updates(struct api *api, const struct api_line *line, const char *query,
                             struct api_reply *reply)
{
    struct say why;
    int64_t after = 0;
    size_t count = 0;
    struct api_query q;
    struct ledger *l = api->bank->ledger;
    api_query_parse(&q, query);
    api_query_number(&q, "after", 0, UINT32_MAX, &after);
    if (!api_query_good(&q))
        return api_query_refuse(&q, reply);
    struct ledger_update *list = calloc(API_UPDATES_MAX, sizeof *list);
    if (list == NULL)
        return CW_ERR_SPACE;
    enum cw_err err =
        ledger_updates_get(l, line->card, (uint32_t)after, list, API_UPDATES_MAX, &count, &why);
    bool fresh = false;
    for (size_t i = 0; i < count; i++)
        fresh |= list[i].fetched == 0;
    if (err == CW_OK && fresh)
        err =
            ledger_updates_fetched(l, line->card, (uint32_t)after, list[count - 1].sequence, &why);
    json_t *items = err == CW_OK ? updates_json(list, count) : NULL;
    free(list);
    if (err != CW_OK)
        return api_reply_store(reply, &why);
    return api_reply_json(reply, 200, items != NULL ? json_pack("{s:o}", "updates", items) : NULL);
}

enum cw_err api_card_applied(struct api *api, const struct api_line *line,
                             const struct api_request *request, struct api_reply *reply)
{
    struct say why;
    json_int_t sequence = -1;
    json_t *body = api_body_parse(request);
    bool good = body != NULL && json_unpack_ex(body, NULL, 0, "{s:I!}", "sequence", &sequence) == 0;
    json_decref(body);
    if (!good || sequence < 0 || sequence > UINT32_MAX)
        return api_reply_problem(reply, "malformed",
                                 "What the card has taken is reported as {\"sequence\":NUMBER}.");
    enum cw_err err =
        ledger_update_applied(api->bank->ledger, line->card, (uint32_t)sequence, &why);
    if (err == CW_ERR_NOT_FOUND)
        return api_reply_problem(reply, "not-found", "The bank made no such update for this card.");
    return err == CW_OK ? api_card_get(api, line, reply) : api_reply_store(reply, &why);
}

/* ---- payees ---- */

enum cw_err api_card_payees(struct api *api, const struct api_line *line, struct api_reply *reply)
{
    struct say why;
    struct ledger_management m;
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    enum cw_err err = get_management(api, line, &m, &why);
    if (err == CW_OK)
        err = ledger_payees_get(api->bank->ledger, line->card, list, &count, &why);
    if (err != CW_OK)
        return api_reply_store(reply, &why);
    json_t *items = json_array();
    for (size_t i = 0; i < count && items != NULL; i++) {
        json_t *item = json_pack("{s:s, s:s}", "account", list[i].account, "name", list[i].name);
        if (item == NULL || json_array_append_new(items, item) != 0) {
            json_decref(items);
            items = NULL;
        }
    }
    if (items == NULL)
        return CW_ERR_SPACE;
    return api_reply_json(reply, 200,
                          json_pack("{s:o, s:b}", "payees", items, "listed",
                                    (m.policy.flags & POLICY_LISTED_PAYEES) != 0));
}
