/* cli_say.c - how cardwire speaks: sentences for people, JSON for programs, exit codes for both. */
#include "terminal/cli.h"

#include "base/cal.h"
#include "proto/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum cli_exit cli_fail(struct cli *c, enum cli_exit code, enum cw_err err)
{
    c->code = code;
    c->error = cw_err_name(err);
    return code;
}

enum cli_exit cli_fail_say(struct cli *c, enum cli_exit code, enum cw_err err, const char *format,
                           ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->why.text, sizeof c->why.text, format, args);
    va_end(args);
    return cli_fail(c, code, err);
}

enum cli_exit cli_fail_card(struct cli *c, enum cw_err err)
{
    bool pin = err == CW_ERR_AUTH || err == CW_ERR_BLOCKED;
    return cli_fail(c, pin ? CLI_PIN : CLI_CARD, err);
}

enum cli_exit cli_fail_line(struct cli *c, const struct cli_session *s, enum cw_err err)
{
    struct pump_failure none = {.alert_in = -1, .alert_out = -1};
    struct pump_failure f = s->line != NULL ? pump_failure(s->line) : none;
    c->failure = f;
    if (f.reason != LINK_REASON_NONE)
        snprintf(c->reason_text, sizeof c->reason_text, "%s", link_reason_name(f.reason));
    else if (s->bank.problem[0] != '\0')
        snprintf(c->reason_text, sizeof c->reason_text, "%s", s->bank.problem);
    c->reason = c->reason_text[0] != '\0' ? c->reason_text : NULL;
    if (f.open && err == CW_ERR_NOT_FOUND) {
        c->reason = "not-permitted";
        return cli_fail_say(c, CLI_CARD_REFUSED, CW_ERR_REFUSED,
                            "the card does not permit a line to %s with profile %s and key %s; "
                            "cardwire card shows what it permits",
                            s->name[0] != '\0' ? s->name : "any server",
                            link_profile_name(c->opt.profile), link_key_name(c->opt.key));
    }
    if (f.card)
        return cli_fail_card(c, err);
    switch (f.reason) {
    case LINK_REASON_NONE:
        break;
    case LINK_REASON_ALERT:
        return cli_fail(c, CLI_SERVER_REFUSED, err);
    case LINK_REASON_EOF:
        return cli_fail(c, CLI_NET, err);
    case LINK_REASON_MEMORY:
    case LINK_REASON_INTERNAL:
        return cli_fail(c, CLI_CARD, err);
    default:
        return cli_fail(c, CLI_CARD_REFUSED, err);
    }
    if (err == CW_ERR_REFUSED || err == CW_ERR_FORMAT)
        return cli_fail(c, CLI_SERVER_REFUSED, err);
    if (err == CW_ERR_IO || err == CW_ERR_GONE || err == CW_ERR_TIMEOUT)
        return cli_fail(c, CLI_NET, err);
    return cli_fail(c, CLI_FAILED, err);
}

enum cli_exit cli_emit(struct cli *c, json_t *object)
{
    json_t *all = json_pack("{s:b}", "ok", 1);
    int rc = all == NULL || object == NULL ? -1 : json_object_update(all, object);
    if (rc == 0)
        rc = json_dumpf(all, stdout, CLI_JSON);
    if (rc == 0)
        rc = putchar('\n') == EOF || fflush(stdout) != 0 ? -1 : 0;
    json_decref(all);
    json_decref(object);
    if (rc != 0)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_IO, "cannot write to stdout");
    return CLI_OK;
}

const char *cli_shown(const struct say *why, char out[CLI_SHOWN_MAX])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, CLI_SHOWN_MAX - 1);
    text_put_clean(&w, why->text, strlen(why->text));
    out[w.bad ? 0 : w.len] = '\0';
    return out;
}

void cli_report(const struct cli *c)
{
    char sentence[CLI_SHOWN_MAX];
    (void)cli_shown(&c->why, sentence);
    if (!c->opt.json) {
        fprintf(stderr, "cardwire: %s\n", sentence);
        return;
    }
    const char *name = c->error != NULL ? c->error : "internal";
    json_t *o = json_pack("{s:b, s:s, s:s?, s:s}", "ok", 0, "error", name, "reason", c->reason,
                          "detail", sentence);
    if (o != NULL && c->failure.alert_in >= 0)
        json_object_set_new(o, "alert_received",
                            json_string(link_alert_name((uint8_t)c->failure.alert_in)));
    if (o != NULL && c->failure.alert_out >= 0)
        json_object_set_new(o, "alert_sent",
                            json_string(link_alert_name((uint8_t)c->failure.alert_out)));
    if (o != NULL && c->refusal != NULL)
        json_object_set_new(o, "refusal", json_string(c->refusal));
    if (o != NULL && c->order[0] != '\0')
        json_object_update_new(o, json_pack("{s:s, s:s}", "order", c->order, "booked", c->booked));
    if (o != NULL && c->spent.apdus > 0) /* a refusal has its price as well */
        json_object_set_new(o, "stats",
                            json_pack("{s:I, s:I, s:I}", "apdus", (json_int_t)c->spent.apdus,
                                      "bytes_to_card", (json_int_t)c->spent.bytes_to_card,
                                      "bytes_from_card", (json_int_t)c->spent.bytes_from_card));
    if (o == NULL || json_dumpf(o, stdout, CLI_JSON) != 0)
        fprintf(stderr, "cardwire: %s\n", sentence);
    else
        putchar('\n');
    json_decref(o);
}

const char *cli_time_text(int64_t seconds, char out[CLI_TIME_MAX])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, CLI_TIME_MAX - 1);
    cal_put(&w, seconds);
    out[w.bad ? 0 : w.len] = '\0';
    return out;
}

bool cli_hex_parse(const char *text, uint8_t *out, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * len)
        return false;
    for (size_t i = 0; i < 2 * len; i++) {
        char lower = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];
        const char *d = strchr(digits, lower);
        if (d == NULL || lower == '\0')
            return false;
        out[i / 2] = (uint8_t)((i % 2 == 0 ? 0 : out[i / 2] << 4) | (d - digits));
    }
    return true;
}

void cli_hex_write(const uint8_t *data, size_t len, char *out)
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 2 * len);
    buf_put_hex(&w, data, len);
    out[2 * len] = '\0';
}
