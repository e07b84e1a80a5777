/* cli_payee.c - cardwire payee and notifications: what the holder asks of the card's list of payees
 * over its line, and what the bank has to tell. Whoever is to be put on the list waits for the
 * bank; the card takes the bank's update after a later login. */
#include "terminal/cli.h"

#include <stdio.h>
#include <string.h>

static void print_request(const json_t *r)
{
    const char *reason = cli_text(r, "reason");
    printf("%lld  %-9s  %-6s  %s  ", (long long)json_integer_value(json_object_get(r, "id")),
           cli_text(r, "status"), cli_text(r, "action"), cli_text(r, "account"));
    fputs(cli_text(r, "name"), stdout);
    if (reason[0] != '\0') {
        fputs("  ", stdout);
        fputs(reason, stdout);
    }
    putchar('\n');
}

/* An answer with a list in it: to a program whole, to a person line by line. */
static enum cli_exit give(struct cli *c, const json_t *reply, const char *list,
                          void (*print)(const json_t *item))
{
    size_t i;
    json_t *item;
    if (c->opt.json)
        return cli_emit(c, json_deep_copy(reply));
    json_array_foreach(json_object_get(reply, list), i, item) print(item);
    return CLI_OK;
}

/* ---- payee ---- */

static void print_payee(const json_t *p)
{
    printf("%s  ", cli_text(p, "account"));
    fputs(cli_text(p, "name"), stdout);
    putchar('\n');
}

static enum cw_err list_payees(struct cli *c, struct cli_session *s, json_t **reply)
{
    return bank_payees(&s->bank, reply, &c->why);
}

static enum cw_err list_requests(struct cli *c, struct cli_session *s, json_t **reply)
{
    return bank_payee_requests(&s->bank, reply, &c->why);
}

/* Under the name that the bank knows the account by, which the holder is shown. */
static enum cw_err ask_to_add(struct cli *c, struct cli_session *s, json_t **reply)
{
    json_t *payee = NULL;
    enum cw_err err = bank_payee(&s->bank, c->opt.to, &payee, &c->why);
    if (err == CW_OK)
        err = bank_payee_ask(&s->bank, "add", c->opt.to, cli_text(payee, "name"), reply, &c->why);
    json_decref(payee);
    return err;
}

static enum cw_err ask_to_remove(struct cli *c, struct cli_session *s, json_t **reply)
{
    return bank_payee_ask(&s->bank, "remove", c->opt.to, NULL, reply, &c->why);
}

static enum cli_exit give_asked(struct cli *c, const json_t *reply)
{
    const json_t *r = json_object_get(reply, "request");
    if (c->opt.json)
        return cli_emit(c, json_deep_copy(reply));
    print_request(r);
    puts(strcmp(cli_text(r, "status"), "open") == 0
             ? "Your bank must hear of it from you by another way before the card pays there."
             : "The card takes it at its next login.");
    return CLI_OK;
}

static const struct verb {
    const char *name;
    enum cw_err (*ask)(struct cli *c, struct cli_session *s, json_t **reply);
    const char *list; /* NULL: one request */
    void (*print)(const json_t *item);
} verbs[] = {
    {"list", list_payees, "payees", print_payee},
    {"requests", list_requests, "requests", print_request},
    {"add", ask_to_add, NULL, NULL},
    {"remove", ask_to_remove, NULL, NULL},
};

static enum cli_exit run_verb(struct cli *c, const struct verb *v)
{
    struct cli_session s = {0};
    json_t *reply = NULL;
    enum cli_exit code = cli_session_begin(c, &s);
    if (code == CLI_OK) {
        enum cw_err err = v->ask(c, &s, &reply);
        cli_progress_end(c);
        if (err != CW_OK)
            code = cli_fail_line(c, &s, err);
        else
            code = v->list != NULL ? give(c, reply, v->list, v->print) : give_asked(c, reply);
    }
    json_decref(reply);
    cli_session_close(&s);
    return code;
}

enum cli_exit cli_payee(struct cli *c, int argc, char **argv)
{
    for (size_t i = 0; argc == 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[0], verbs[i].name) != 0)
            continue;
        if (c->opt.server == NULL)
            return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "payee wants --server HOST:PORT");
        if (verbs[i].list == NULL && (c->opt.to == NULL || !bank_account_good(c->opt.to)))
            return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                                "payee %s wants --to with the account's number, capital letters "
                                "and digits without spaces",
                                verbs[i].name);
        return run_verb(c, &verbs[i]);
    }
    return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                        "cardwire payee takes list, add, remove or requests; see cardwire --help");
}

/* ---- notifications ---- */

static void print_notification(const json_t *n)
{
    const json_t *other = json_object_get(n, "counterparty");
    printf("%-20s  %-15s  ", cli_text(n, "time"), cli_text(n, "kind"));
    if (other != NULL) {
        printf("%s %s  ", cli_text(n, "amount"), cli_text(n, "currency"));
        fputs(cli_text(other, "name"), stdout);
        fputs("  ", stdout);
        fputs(cli_text(n, "reference"), stdout);
    } else {
        printf("card %s  ", cli_text(n, "card"));
        fputs(cli_text(json_object_get(n, "payee"), "name"), stdout);
        fputs("  ", stdout);
        fputs(cli_text(n, "reason"), stdout);
    }
    putchar('\n');
}

enum cli_exit cli_notifications(struct cli *c)
{
    struct cli_session s = {0};
    json_t *reply = NULL;
    const char *since = c->opt.since;
    if (since != NULL && strspn(since, "0123456789abcdef") != strlen(since))
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "--since is what notifications said to go on with, hexadecimal digits");
    enum cli_exit code = cli_session_begin(c, &s);
    if (code == CLI_OK) {
        enum cw_err err = bank_notifications(&s.bank, since, c->opt.limit, &reply, &c->why);
        cli_progress_end(c);
        if (err != CW_OK)
            code = cli_fail_line(c, &s, err);
        else
            code = give(c, reply, "notifications", print_notification);
        if (code == CLI_OK && !c->opt.json)
            printf("To go on%s: --since %s\n",
                   json_is_true(json_object_get(reply, "more")) ? " (there is more)" : "",
                   cli_text(reply, "cursor"));
    }
    json_decref(reply);
    cli_session_close(&s);
    return code;
}
