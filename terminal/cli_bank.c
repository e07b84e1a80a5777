/* cli_bank.c - cardwire login and balance: questions to the bank. */
#include "terminal/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a synchronisation did. */
static json_t *sync_json(const struct cli_session *s)
{
    const struct sync *y = &s->sync;
    char floor[CLI_TIME_MAX], shown[CLI_SHOWN_MAX];
    json_t *o = json_pack("{s:i, s:s?, s:I, s:s}", "updates", (int)y->updates, "time",
                          y->timed ? cli_time_text(y->floor, floor) : NULL, "sequence",
                          (json_int_t)y->sequence, "life", link_life_name(y->life));
    if (s->sync_err != CW_OK)
        json_object_set_new(o, "sync_failed", json_string(cli_shown(&s->sync_why, shown)));
    return o;
}

static void sync_print(const struct cli_session *s)
{
    const struct sync *y = &s->sync;
    char floor[CLI_TIME_MAX];
    if (y->updates > 0)
        printf("The card took %u update%s of your bank's, up to number %u\n", y->updates,
               y->updates == 1 ? "" : "s", y->sequence);
    if (y->timed)
        printf("The card's time: not before %s\n", cli_time_text(y->floor, floor));
}

/* Here it is the purpose: what fails of it is a failure, and a card that was locked is none. */
enum cli_exit cli_card_update(struct cli *c, struct cli_session *s)
{
    struct say todo;
    if (c->opt.server == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "card update wants --server HOST:PORT");
    c->opt.no_sync = false;
    enum cli_exit code = cli_session_login(c, s);
    if (code != CLI_OK)
        return code;
    cli_session_sync(c, s, 0);
    if (s->sync_err != CW_OK) {
        c->why = s->sync_why;
        if (s->sync_err == CW_ERR_DENIED) /* the bank's signature is none */
            return cli_fail(c, CLI_CARD_REFUSED, s->sync_err);
        return cli_fail_line(c, s, s->sync_err);
    }
    if (c->opt.json)
        return cli_emit(c, sync_json(s));
    if (s->sync.updates == 0 && !s->sync.timed)
        puts("The card was up to date.");
    sync_print(s);
    const struct applet_info now = {.life = s->sync.life};
    if (applet_alive(&now, &todo) != CW_OK)
        printf("%s\n", todo.text);
    return CLI_OK;
}

enum cli_exit cli_login(struct cli *c)
{
    struct cli_session s = {0};
    enum cli_exit code = cli_session_login(c, &s);
    if (code != CLI_OK)
        goto out;
    cli_session_sync(c, &s, SYNC_AGE);
    code = cli_session_synced(c, &s);
    if (code != CLI_OK)
        goto out;
    if (c->opt.json) {
        json_t *all = sync_json(&s);
        json_object_set(all, "session", s.login);
        json_object_set_new(all, "line", cli_session_json(&s));
        code = cli_emit(c, all);
        goto out;
    }
    cli_session_print(&s);
    const json_t *who = json_object_get(s.login, "customer");
    const json_t *card = json_object_get(s.login, "card");
    printf("Logged in: ");
    fputs(cli_text(who, "name"), stdout);
    printf(", customer %lld, card ", (long long)json_integer_value(json_object_get(who, "id")));
    fputs(cli_text(card, "serial"), stdout);
    putchar('\n');
    sync_print(&s);
out:
    cli_session_close(&s);
    return code;
}

static void print_balance(const json_t *a)
{
    fputs(cli_text(a, "id")[0] != '\0' ? cli_text(a, "id") : cli_text(a, "account"), stdout);
    printf("  %s %s", cli_text(a, "balance"), cli_text(a, "currency"));
    if (strcmp(cli_text(a, "balance"), cli_text(a, "available")) != 0)
        printf("  (available %s)", cli_text(a, "available"));
    putchar('\n');
}

enum cli_exit cli_balance(struct cli *c)
{
    struct cli_session s = {0};
    json_t *reply = NULL;
    enum cw_err err;
    enum cli_exit code = cli_session_begin(c, &s);
    if (code != CLI_OK)
        goto out;
    if (c->opt.account != NULL)
        err = bank_balance(&s.bank, c->opt.account, &reply, &c->why);
    else
        err = bank_accounts(&s.bank, &reply, &c->why);
    cli_progress_end(c);
    if (err != CW_OK) {
        code = cli_fail_line(c, &s, err);
        goto out;
    }
    if (c->opt.json) {
        code = cli_emit(c, json_incref(reply));
    } else if (c->opt.account != NULL) {
        print_balance(reply);
    } else {
        size_t i;
        json_t *a;
        json_array_foreach(json_object_get(reply, "accounts"), i, a) print_balance(a);
    }
out:
    json_decref(reply);
    cli_session_close(&s);
    return code;
}
