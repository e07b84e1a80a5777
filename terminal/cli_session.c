/* cli_session.c - from a reader to an open line, and to a login: what most commands begin with. */
#include "terminal/cli.h"

#include "base/cal.h"
#include "host/clock.h"
#include "host/pin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONNECT_MS  10000
#define SILENCE_MS  30000
#define PROGRESS_NS UINT64_C(500000000) /* between two lines of progress, and before the first */

static const struct {
    uint16_t number;
    const char *name;
} suites[] = {
    /* IANA, TLS Cipher Suites */
    {0x1301, "TLS_AES_128_GCM_SHA256"},
    {0x1302, "TLS_AES_256_GCM_SHA384"},
    {0x1303, "TLS_CHACHA20_POLY1305_SHA256"},
    {0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    {0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256"},
    {0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384"},
};

const char *cli_suite_name(uint16_t suite)
{
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (suites[i].number == suite)
            return suites[i].name;
    return "unknown";
}

const char *cli_tls_name(uint16_t version)
{
    return version == 0x0304 ? "1.3" : version == 0x0303 ? "1.2" : "unknown";
}

enum cli_exit cli_card_open(struct cli *c, struct cli_session *s)
{
    s->cli = c;
    enum cw_err err = reader_open(c->opt.reader, &s->reader, &c->why);
    if (err == CW_ERR_ARG)
        return cli_fail(c, CLI_USAGE, err);
    if (err == CW_OK)
        err = applet_select(s->reader, &c->why);
    if (err == CW_OK)
        err = applet_info_get(s->reader, &s->card, &c->why);
    return err == CW_OK ? CLI_OK : cli_fail_card(c, err);
}

enum cli_exit cli_pin_verify(struct cli *c, struct cli_session *s, uint8_t use, const char *purpose)
{
    struct pin pin;
    char prompt[160];
    enum cw_err err;
    if (c->opt.pin_file != NULL) {
        err = pin_read(c->opt.pin_file, &pin, &c->why);
    } else {
        snprintf(prompt, sizeof prompt, "PIN, %s: ", purpose);
        err = pin_ask(prompt, &pin, &c->why);
    }
    if (err != CW_OK)
        return cli_fail(c, CLI_PIN, err);
    err = applet_verify(s->reader, use, pin.digits, pin.len, NULL, &c->why);
    pin_wipe(&pin);
    return err == CW_OK ? CLI_OK : cli_fail_card(c, err);
}

enum cli_exit cli_card_alive(struct cli *c, enum link_life life)
{
    const struct applet_info info = {.life = life};
    enum cw_err err = applet_alive(&info, &c->why);
    if (err == CW_OK)
        return CLI_OK;
    c->reason = link_life_name(life);
    return cli_fail_card(c, err);
}

enum cli_exit cli_card_usable(struct cli *c, struct cli_session *s)
{
    enum cli_exit code = cli_card_alive(c, s->card.life);
    if (code != CLI_OK)
        return code;
    enum cw_err err = applet_usable(&s->card, &c->why);
    if (err == CW_OK)
        return cli_air_check(c, s, POLICY_LINE_CONTACTLESS, "takes no PIN");
    c->reason = err == CW_ERR_BLOCKED ? "pin-blocked" : "transport-pin";
    return cli_fail(c, CLI_PIN, err);
}

enum cli_exit cli_air_check(struct cli *c, struct cli_session *s, uint8_t flag, const char *what)
{
    struct policy policy;
    if (!s->card.contactless)
        return CLI_OK;
    enum cw_err err = applet_policy_get(s->reader, &policy, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    if ((policy.flags & flag) != 0)
        return CLI_OK;
    return cli_fail_say(c, CLI_CARD, CW_ERR_STATE,
                        "this card %s over a contactless interface; put it into a reader with "
                        "contacts",
                        what);
}

static bool is_dns_name(const char *host)
{
    return strpbrk(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL &&
           strchr(host, ':') == NULL && strcasecmp(host, "localhost") != 0;
}

/* The name that the server's certificate must have: --name, else the host if the card permits it,
 * else the card's first. The card has the last word in any case. */
static enum cw_err choose_name(struct cli *c, struct cli_session *s)
{
    struct applet_name name;
    enum cw_err err = CW_OK;
    if (c->opt.name != NULL) {
        if (strlen(c->opt.name) > LINK_HOST_MAX)
            return say_fail(&c->why, CW_ERR_LENGTH, "the name %s is too long", c->opt.name);
        strcpy(s->name, c->opt.name);
    }
    const char *wanted = c->opt.name != NULL ? c->opt.name : s->address.host;
    bool look = c->opt.name != NULL || is_dns_name(wanted);
    for (unsigned i = 0; look && i < LINK_NAME_MAX; i++) {
        err = applet_name_get(s->reader, i, &name, &c->why);
        if (err == CW_OK && strcasecmp(name.host, wanted) == 0) {
            strcpy(s->name, name.host);
            return CW_OK;
        }
        if (err != CW_OK && err != CW_ERR_NOT_FOUND)
            return err;
    }
    if (c->opt.name != NULL) /* said before the PIN is asked for */
        return say_fail(
            &c->why, CW_ERR_REFUSED,
            "the card does not permit a line to %s; cardwire card shows what it permits",
            c->opt.name);
    return CW_OK; /* none: the card takes its first */
}

/* Says what a slow reader does; a fast one is done before there is anything to say. */
static void show_progress(void *ctx, const struct pump *line)
{
    struct cli *c = ctx;
    uint64_t now = clock_ns();
    if (c->progress_ns == 0)
        c->progress_ns = now;
    if ((!c->tty && !c->opt.progress) || now - c->progress_ns < PROGRESS_NS)
        return;
    struct pump_stats st = pump_stats(line);
    fprintf(stderr, "%sThe card works: %llu exchanges, %llu bytes%s", c->tty ? "\r" : "",
            (unsigned long long)st.apdus,
            (unsigned long long)(st.bytes_to_card + st.bytes_from_card), c->tty ? "" : "\n");
    c->progress_ns = now;
    c->progress_shown = c->tty;
}

void cli_progress_end(struct cli *c)
{
    if (c->progress_shown)
        fprintf(stderr, "\r\033[K");
    c->progress_shown = false;
    c->progress_ns = 0;
}

enum cli_exit cli_session_prepare(struct cli *c, struct cli_session *s, struct pump_config *config)
{
    enum cli_exit code;
    enum cw_err err = net_address_parse(c->opt.server, &s->address, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_USAGE, err);
    if (s->reader == NULL) {
        code = cli_card_open(c, s);
        if (code != CLI_OK)
            return code;
    }
    code = cli_card_usable(c, s);
    if (code != CLI_OK)
        return code;
    err = choose_name(c, s);
    if (err == CW_ERR_REFUSED) {
        c->reason = "not-permitted";
        return cli_fail(c, CLI_CARD_REFUSED, err);
    }
    if (err != CW_OK)
        return err == CW_ERR_LENGTH ? cli_fail(c, CLI_USAGE, err) : cli_fail_card(c, err);
    code = cli_pin_verify(c, s, LINK_PIN_LINE, "to open the line");
    if (code != CLI_OK)
        return code;
    err = net_connect(&s->address, CONNECT_MS, &s->fd, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_NET, err);
    s->connected = true;
    *config = (struct pump_config){
        .reader = s->reader,
        .fd = s->fd,
        .name = s->name[0] != '\0' ? s->name : NULL,
        .profile = c->opt.profile,
        .key = c->opt.key,
        .timeout_ms = SILENCE_MS,
        .cancel_fd = -1,
        .extended = c->opt.extended,
        .full = c->opt.full,
        .hooks = {.turned = show_progress, .ctx = c},
    };
    return CLI_OK;
}

enum cli_exit cli_session_open(struct cli *c, struct cli_session *s)
{
    struct pump_config config;
    enum cli_exit code = cli_session_prepare(c, s, &config);
    if (code != CLI_OK)
        return code;
    s->began_ns = clock_ns();
    enum cw_err err = pump_open(&config, &s->line, &c->why);
    s->opened_ns = clock_ns();
    if (s->line != NULL)
        s->handshake = pump_stats(s->line);
    cli_progress_end(c);
    if (err == CW_OK)
        err = applet_session_get(s->reader, &s->tls, &c->why);
    return err == CW_OK ? CLI_OK : cli_fail_line(c, s, err);
}

enum cli_exit cli_session_login(struct cli *c, struct cli_session *s)
{
    enum cli_exit code = cli_session_open(c, s);
    if (code != CLI_OK)
        return code;
    s->bank = (struct bank){.line = s->line, .host = s->tls.peer};
    enum cw_err err = bank_login(&s->bank, &s->login, &c->why);
    cli_progress_end(c);
    return err == CW_OK ? CLI_OK : cli_fail_line(c, s, err);
}

/* The bank's time, from its answer to the report; -1 when it gives none. */
static int64_t bank_time(const struct cli_session *s)
{
    const char *text = json_string_value(json_object_get(s->login, "time"));
    int64_t time = -1;
    return text != NULL && cal_parse(text, strlen(text), &time) == CW_OK ? time : -1;
}

void cli_session_sync(struct cli *c, struct cli_session *s, int64_t age)
{
    const struct sync_bank bank = sync_bank_of(&s->bank);
    s->sync = (struct sync){.life = s->card.life, .sequence = s->card.sequence};
    s->sync_err = CW_OK;
    if (c->opt.no_sync)
        return;
    s->sync_err = sync_run(s->reader, &bank, &s->card, bank_time(s), age, &s->sync, &s->sync_why);
    cli_progress_end(c);
}

enum cli_exit cli_session_synced(struct cli *c, struct cli_session *s)
{
    char shown[CLI_SHOWN_MAX];
    if (s->sync_err != CW_OK)
        fprintf(stderr, "The card was not brought up to date: %s\n",
                cli_shown(&s->sync_why, shown));
    s->bank.problem[0] = '\0'; /* is none of what follows */
    return cli_card_alive(c, s->sync.life);
}

enum cli_exit cli_session_again(struct cli *c, struct cli_session *s)
{
    cli_session_hang_up(s);
    enum cw_err err = applet_select(s->reader, &c->why);
    return err == CW_OK ? cli_session_login(c, s) : cli_fail_card(c, err);
}

enum cli_exit cli_session_begin(struct cli *c, struct cli_session *s)
{
    enum cli_exit code = cli_session_login(c, s);
    if (code != CLI_OK)
        return code;
    cli_session_sync(c, s, SYNC_AGE);
    code = cli_session_synced(c, s);
    if (code != CLI_OK || (!s->bank.broken && !pump_is_over(s->line)))
        return code;
    fprintf(stderr, "That broke the line; opening a new one.\n");
    return cli_session_again(c, s);
}

void cli_session_hang_up(struct cli_session *s)
{
    struct say unheard; /* the work is done; what fails now changes nothing */
    if (s->line != NULL && !pump_is_over(s->line) && pump_is_open(s->line) &&
        pump_close(s->line, &unheard) != CW_OK) {
        /* the server sees a connection that just ends */
    }
    if (s->cli != NULL)
        cli_progress_end(s->cli);
    pump_free(&s->line);
    if (s->connected)
        close(s->fd);
    s->connected = false;
    json_decref(s->login);
    s->login = NULL;
    s->bank.line = NULL;
}

void cli_session_close(struct cli_session *s)
{
    cli_session_hang_up(s);
    if (s->cli != NULL && s->reader != NULL)
        s->cli->spent = reader_stats(s->reader);
    reader_free(&s->reader);
}

json_t *cli_stats_json(const struct pump_stats *st)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "apdus", (json_int_t)st->apdus, "bytes_to_card",
                     (json_int_t)st->bytes_to_card, "bytes_from_card",
                     (json_int_t)st->bytes_from_card, "tls_sent", (json_int_t)st->tls_sent,
                     "tls_received", (json_int_t)st->tls_received);
}

json_t *cli_session_json(const struct cli_session *s)
{
    char hash[2 * sizeof s->tls.peer_sha256 + 1];
    struct pump_stats now = pump_stats(s->line);
    cli_hex_write(s->tls.peer_sha256, sizeof s->tls.peer_sha256, hash);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:f, s:o, s:o}", "profile",
                     link_profile_name(s->tls.profile), "tls", cli_tls_name(s->tls.tls), "suite",
                     cli_suite_name(s->tls.suite), "peer", s->tls.peer, "peer_sha256", hash, "key",
                     link_key_name(s->tls.key), "bound", (int)s->tls.binding, "resumed",
                     (int)s->tls.resumed, "handshake_ms",
                     (double)(s->opened_ns - s->began_ns) / 1e6, "handshake",
                     cli_stats_json(&s->handshake), "stats", cli_stats_json(&now));
}

void cli_session_print(const struct cli_session *s)
{
    const struct pump_stats *st = &s->handshake;
    fprintf(stderr, "Line: card <-> %s, TLS %s, %s, profile %s, card key %s%s\n", s->tls.peer,
            cli_tls_name(s->tls.tls), cli_suite_name(s->tls.suite),
            link_profile_name(s->tls.profile), link_key_name(s->tls.key),
            s->tls.resumed ? ", resumed" : "");
    fprintf(stderr,
            "      handshake %.0f ms, %llu exchanges with the card, %llu bytes through the "
            "reader\n",
            (double)(s->opened_ns - s->began_ns) / 1e6, (unsigned long long)st->apdus,
            (unsigned long long)(st->bytes_to_card + st->bytes_from_card));
}

/* The one account of the customer, or the one wanted, with its currency. */
enum cli_exit cli_account_choose(struct cli *c, struct cli_session *s, const char *wanted,
                                 char out[ORDER_ACCOUNT_MAX + 1], char currency[4])
{
    json_t *reply = NULL;
    enum cli_exit code = CLI_OK;
    const json_t *found = NULL;
    size_t i;
    json_t *a;
    enum cw_err err = bank_accounts(&s->bank, &reply, &c->why);
    cli_progress_end(c);
    if (err != CW_OK)
        return cli_fail_line(c, s, err);
    json_t *list = json_object_get(reply, "accounts");
    json_array_foreach(list, i, a)
    {
        const char *id = json_string_value(json_object_get(a, "id"));
        if (id != NULL && (wanted == NULL || strcmp(id, wanted) == 0) && found == NULL)
            found = a;
    }
    const char *id = json_string_value(json_object_get(found, "id"));
    const char *cur = json_string_value(json_object_get(found, "currency"));
    if (found == NULL && wanted != NULL) {
        code = cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_NOT_FOUND,
                            "%s is none of your accounts at this bank; cardwire balance shows them",
                            wanted);
    } else if (found == NULL) {
        code = cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_NOT_FOUND,
                            "you have no account at this bank");
    } else if (wanted == NULL && json_array_size(list) > 1) {
        code = cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "you have %zu accounts; say which one (cardwire balance shows them)",
                            json_array_size(list));
    } else if (strlen(id) > ORDER_ACCOUNT_MAX || cur == NULL || strlen(cur) != 3) {
        code = cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_FORMAT,
                            "the bank's list of accounts is not in order");
    } else {
        strcpy(out, id);
        strcpy(currency, cur);
    }
    json_decref(reply);
    return code;
}
