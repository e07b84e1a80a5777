/* cli_card.c - cardwire readers, cardwire card: what there is to see without a server. Limits and
 * payees are in cli_policy.c, card update in cli_bank.c. */
#include "terminal/cli.h"

#include "host/base64.h"
#include "host/file.h"

#include <stdio.h>
#include <string.h>

#define READERS_SHOWN 16

enum cli_exit cli_readers(struct cli *c)
{
    struct reader_info items[READERS_SHOWN];
    char atr[2 * READER_ATR_MAX + 1];
    size_t count = 0;
    enum cw_err err = reader_list(items, READERS_SHOWN, &count, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    size_t shown = count < READERS_SHOWN ? count : READERS_SHOWN;
    json_t *list = json_array();
    for (size_t i = 0; i < shown; i++) {
        cli_hex_write(items[i].atr, items[i].atr_len, atr);
        if (c->opt.json)
            json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", items[i].name, "card",
                                                  (int)items[i].card_present, "atr", atr));
        else
            printf("pcsc:%-40s %s%s\n", items[i].name, items[i].card_present ? "card " : "empty",
                   atr);
    }
    if (c->opt.json)
        return cli_emit(c, json_pack("{s:o}", "readers", list));
    json_decref(list);
    if (count == 0)
        puts("No reader. Plug one in, or use inproc:DIR.");
    return CLI_OK;
}

static json_t *keys_json(const struct applet_info *i)
{
    json_t *list = json_array();
    for (int k = 1; k <= LINK_KEY_COUNT; k++)
        if ((i->keys >> (k - 1) & 1) != 0)
            json_array_append_new(list,
                                  json_pack("{s:s, s:b}", "key", link_key_name((enum link_key)k),
                                            "certificate", i->certificates >> (k - 1) & 1));
    return list;
}

static json_t *profiles_json(uint8_t mask)
{
    json_t *list = json_array();
    for (int p = 1; p <= LINK_PROFILE_COUNT; p++)
        if ((mask & LINK_PROFILE_BIT(p)) != 0)
            json_array_append_new(list, json_string(link_profile_name((enum link_profile)p)));
    return list;
}

/* The permitted servers; reads at most LINK_NAME_MAX objects. */
static enum cw_err names_get(struct cli_session *s, struct applet_name *names, size_t *count,
                             struct say *why)
{
    size_t n = 0;
    for (unsigned i = 0; i < LINK_NAME_MAX; i++) {
        enum cw_err err = applet_name_get(s->reader, i, &names[n], why);
        if (err != CW_OK && err != CW_ERR_NOT_FOUND)
            return err;
        if (err == CW_OK)
            n++;
    }
    *count = n;
    return CW_OK;
}

/* What `card info` shows besides s->card. */
struct card_view {
    struct applet_name names[LINK_NAME_MAX];
    size_t name_count;
    struct policy policy;
    bool has_policy; /* a blank card has none, and a terminated one shows none */
};

static json_t *servers_json(const struct card_view *v)
{
    json_t *servers = json_array();
    for (size_t n = 0; n < v->name_count; n++)
        json_array_append_new(servers,
                              json_pack("{s:s, s:o, s:s?}", "name", v->names[n].host, "profiles",
                                        profiles_json(v->names[n].profiles), "alpn",
                                        v->names[n].alpn[0] != '\0' ? v->names[n].alpn : NULL));
    return servers;
}

static enum cli_exit info_json(struct cli *c, struct cli_session *s, const struct card_view *v)
{
    const struct applet_info *i = &s->card;
    char serial[2 * ORDER_SERIAL_LEN + 1], floor[CLI_TIME_MAX], atr[2 * READER_ATR_MAX + 1];
    size_t atr_len;
    const uint8_t *bytes = reader_atr(s->reader, &atr_len);
    cli_hex_write(bytes, atr_len, atr);
    cli_hex_write(i->serial, sizeof i->serial, serial);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:I, s:s, s:i, s:i}",
                          "reader", reader_name(s->reader), "atr", atr, "serial", serial, "life",
                          link_life_name(i->life), "time_floor",
                          cli_time_text(i->time_floor, floor), "keys", keys_json(i), "servers",
                          servers_json(v), "command_max", (int)i->command_max, "response_max",
                          (int)i->response_max, "order_counter", (json_int_t)i->order_counter,
                          "interface", i->contactless ? "contactless" : "contact", "heap_peak",
                          (int)i->heap_peak, "heap_size", (int)i->heap_size);
    json_object_update_new(o, cli_tries_json(i));
    json_object_update_new(o, json_pack("{s:I, s:i, s:o}", "sequence", (json_int_t)i->sequence,
                                        "keyset", (int)i->keyset, "policy",
                                        v->has_policy ? cli_policy_json(&v->policy) : json_null()));
    return cli_emit(c, o);
}

static void info_print(const struct cli_session *s, const struct card_view *v)
{
    const struct applet_info *i = &s->card;
    char serial[2 * ORDER_SERIAL_LEN + 1], floor[CLI_TIME_MAX];
    struct say todo;
    cli_hex_write(i->serial, sizeof i->serial, serial);
    printf("Card      %s, %s, in %s (%s)\n", serial, link_life_name(i->life),
           reader_name(s->reader), i->contactless ? "contactless" : "contact");
    if (applet_usable(i, &todo) != CW_OK)
        printf("Note      %s\n", todo.text);
    printf("PIN       %u of %u tries left; PUK %u of %u\n", i->pin_tries_left, i->pin_tries_max,
           i->puk_tries_left, i->puk_tries_max);
    printf("Time      not before %s\n", cli_time_text(i->time_floor, floor));
    printf("Issuer    key set %u, updates up to number %u\n", i->keyset, i->sequence);
    for (int k = 1; k <= LINK_KEY_COUNT; k++)
        if ((i->keys >> (k - 1) & 1) != 0)
            printf("Key       %s%s\n", link_key_name((enum link_key)k),
                   (i->certificates >> (k - 1) & 1) != 0 ? ", with certificate" : "");
    for (size_t n = 0; n < v->name_count; n++) {
        printf("Server    ");
        fputs(v->names[n].host, stdout);
        for (int p = 1; p <= LINK_PROFILE_COUNT; p++)
            if ((v->names[n].profiles & LINK_PROFILE_BIT(p)) != 0)
                printf(" %s", link_profile_name((enum link_profile)p));
        putchar('\n');
    }
    if (v->has_policy)
        cli_policy_print(&v->policy);
    printf("Orders    %u signed\n", i->order_counter);
}

static enum cw_err view_get(struct cli_session *s, struct card_view *v, struct say *why)
{
    if (s->card.life == LINK_LIFE_TERMINATED)
        return CW_OK; /* it tells nothing but INFO */
    enum cw_err err = names_get(s, v->names, &v->name_count, why);
    if (err != CW_OK)
        return err;
    err = applet_policy_get(s->reader, &v->policy, why);
    v->has_policy = err == CW_OK;
    return err == CW_ERR_NOT_FOUND ? CW_OK : err;
}

static enum cli_exit card_info(struct cli *c, struct cli_session *s)
{
    struct card_view v = {0};
    enum cw_err err = view_get(s, &v, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    if (c->opt.json)
        return info_json(c, s, &v);
    info_print(s, &v);
    return CLI_OK;
}

/* RFC 7468 §2 */
static size_t pem_write(const uint8_t *der, size_t len, char *out, size_t cap)
{
    char text[BASE64_LEN(APPLET_CERT_MAX) + 1];
    struct buf_writer w;
    if (base64_encode(der, len, text, sizeof text) != CW_OK)
        return 0;
    buf_writer_init(&w, (uint8_t *)out, cap);
    buf_put_str(&w, "-----BEGIN CERTIFICATE-----\n");
    for (size_t i = 0, n = strlen(text); i < n; i += 64) {
        buf_put_bytes(&w, text + i, n - i < 64 ? n - i : 64);
        buf_put_u8(&w, '\n');
    }
    buf_put_str(&w, "-----END CERTIFICATE-----\n");
    return w.bad ? 0 : w.len;
}

static enum cli_exit card_export(struct cli *c, struct cli_session *s)
{
    uint8_t der[APPLET_CERT_MAX];
    char pem[2 * APPLET_CERT_MAX + 1];
    size_t len = 0;
    int slot = 0;
    for (int k = 1; k <= LINK_KEY_COUNT && c->opt.cert != NULL; k++)
        if (strcmp(c->opt.cert, link_key_name((enum link_key)k)) == 0)
            slot = k;
    if (slot == 0)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "card export wants --cert tls-p256, tls-rsa2048, order-p256 or "
                            "order-rsa2048");
    enum cw_err err = applet_data_get(s->reader, (uint16_t)(LINK_DO_CERT | (unsigned)slot), der,
                                      sizeof der, &len, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    size_t n = pem_write(der, len, pem, sizeof pem - 1);
    pem[n] = '\0';
    if (c->opt.out != NULL) {
        err = file_write(c->opt.out, pem, n, 0644, &c->why);
        if (err != CW_OK)
            return cli_fail(c, CLI_FAILED, err);
    }
    if (c->opt.json)
        return cli_emit(c, json_pack("{s:s, s:s}", "key", c->opt.cert, "certificate", pem));
    if (c->opt.out == NULL && fputs(pem, stdout) < 0)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_IO, "cannot write to stdout");
    return CLI_OK;
}

enum cli_exit cli_card(struct cli *c, int argc, char **argv)
{
    static const struct {
        const char *name;
        enum cli_exit (*run)(struct cli *c, struct cli_session *s);
    } verbs[] = {{"info", card_info},
                 {"payees", cli_card_payees},
                 {"update", cli_card_update},
                 {"export", card_export}};
    const char *verb = argc > 0 ? argv[0] : "info";
    struct cli_session s = {0};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i].name) != 0 || argc > 1)
            continue;
        enum cli_exit code = cli_card_open(c, &s);
        if (code == CLI_OK)
            code = verbs[i].run(c, &s);
        cli_session_close(&s);
        return code;
    }
    return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                        "cardwire card takes info, payees, update or export; see cardwire --help");
}
