/* cli_pin.c - cardwire pin: a new PIN in the place of the old one, or of a blocked one, and how
 * many tries are left. No server: this is between the holder and the card. Rules are told before
 * the card is asked, and what breaks them costs no try. */
#include "terminal/cli.h"

#include "base/ct.h"
#include "host/pin.h"

#include <stdio.h>
#include <string.h>

/* Wiped together, at the end: they share a page, and wiping one unlocks it. */
struct secrets {
    struct pin first, pin, again;
};

json_t *cli_tries_json(const struct applet_info *i)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:b}", "pin_tries_left", (int)i->pin_tries_left,
                     "pin_tries_max", (int)i->pin_tries_max, "puk_tries_left",
                     (int)i->puk_tries_left, "puk_tries_max", (int)i->puk_tries_max, "transport",
                     (int)i->transport);
}

static enum cli_exit status(struct cli *c, struct cli_session *s)
{
    const struct applet_info *i = &s->card;
    if (c->opt.json)
        return cli_emit(c, cli_tries_json(i));
    printf("PIN  %u of %u tries left\n", i->pin_tries_left, i->pin_tries_max);
    printf("PUK  %u of %u tries left\n", i->puk_tries_left, i->puk_tries_max);
    struct say todo;
    if (applet_usable(i, &todo) != CW_OK)
        printf("%s\n", todo.text);
    return CLI_OK;
}

/* One number: from the file of an option, or typed. */
static enum cli_exit get(struct cli *c, const char *option, const char *file, const char *prompt,
                         struct pin *out)
{
    enum cw_err err = file != NULL ? pin_read(file, out, &c->why) : pin_ask(prompt, out, &c->why);
    if (file == NULL && err == CW_ERR_NOT_FOUND)
        say_fail(&c->why, err, "there is no terminal to type on; give %s FILE", option);
    return err == CW_OK ? CLI_OK : cli_fail(c, CLI_PIN, err);
}

static bool same(const struct pin *a, const struct pin *b)
{
    return a->len == b->len && ct_equal(a->digits, b->digits, a->len);
}

/* The new PIN: twice when it is typed, and nothing that the card would refuse. */
static enum cli_exit get_new(struct cli *c, const struct policy_pin *rules, struct secrets *k)
{
    static const char option[] = "--new-pin-file";
    char text[CLI_RULES_MAX];
    const char *file = c->opt.new_pin_file;
    if (file == NULL)
        fprintf(stderr, "The new PIN: %s.\n", cli_rules_text(rules, text));
    enum cli_exit code = get(c, option, file, "New PIN: ", &k->pin);
    if (code != CLI_OK)
        return code;
    enum cw_err err = policy_pin_check(rules, k->pin.digits, k->pin.len);
    if (err != CW_OK)
        return cli_fail_say(c, CLI_PIN, err,
                            "your bank wants another new PIN: %s; nothing was changed",
                            cli_rules_text(rules, text));
    if (same(&k->pin, &k->first))
        return cli_fail_say(c, CLI_PIN, CW_ERR_EXISTS,
                            "the new PIN is the old one; nothing was changed");
    if (file != NULL)
        return CLI_OK;
    code = get(c, option, NULL, "New PIN, again: ", &k->again);
    if (code == CLI_OK && !same(&k->pin, &k->again))
        code = cli_fail_say(c, CLI_PIN, CW_ERR_REFUSED,
                            "the two new PINs differ; nothing was changed");
    return code;
}

static enum cli_exit done(struct cli *c, const char *what, const char *sentence)
{
    if (c->opt.json)
        return cli_emit(c, json_pack("{s:s}", "pin", what));
    return puts(sentence) < 0 ? cli_fail_say(c, CLI_FAILED, CW_ERR_IO,
                                             "cannot write to stdout; the PIN is %s", what)
                              : CLI_OK;
}

/* Both commands: `puk` the second. */
static enum cli_exit renew(struct cli *c, struct cli_session *s, bool puk, struct secrets *k)
{
    struct policy policy;
    const char *prompt = puk                 ? "PUK: "
                         : s->card.transport ? "PIN that came by post: "
                                             : "Present PIN: ";
    enum cli_exit code = cli_card_alive(c, s->card.life);
    if (code == CLI_OK)
        code = cli_air_check(c, s, POLICY_LINE_CONTACTLESS, "takes no PIN");
    if (code != CLI_OK)
        return code;
    enum cw_err err = applet_policy_get(s->reader, &policy, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    code = puk ? get(c, "--puk-file", c->opt.puk_file, prompt, &k->first)
               : get(c, "--pin-file", c->opt.pin_file, prompt, &k->first);
    if (code == CLI_OK)
        code = get_new(c, &policy.pin, k);
    if (code != CLI_OK)
        return code;
    err = (puk ? applet_pin_unblock : applet_pin_change)(s->reader, k->first.digits, k->first.len,
                                                         k->pin.digits, k->pin.len, NULL, &c->why);
    if (err == CW_ERR_FORMAT || err == CW_ERR_LENGTH)
        return cli_fail(c, CLI_PIN, err);
    return err == CW_OK ? CLI_OK : cli_fail_card(c, err);
}

static enum cli_exit renew_and_wipe(struct cli *c, struct cli_session *s, bool puk)
{
    struct secrets k = {0};
    enum cli_exit code = renew(c, s, puk, &k);
    pin_wipe(&k.first);
    pin_wipe(&k.pin);
    pin_wipe(&k.again);
    return code;
}

static enum cli_exit change(struct cli *c, struct cli_session *s)
{
    if (s->card.life == LINK_LIFE_ACTIVE && s->card.pin_tries_left == 0)
        return cli_fail_card(c, applet_usable(&s->card, &c->why));
    enum cli_exit code = renew_and_wipe(c, s, false);
    return code == CLI_OK ? done(c, "changed", "The PIN was changed.") : code;
}

static enum cli_exit unblock(struct cli *c, struct cli_session *s)
{
    if (s->card.life == LINK_LIFE_ACTIVE && s->card.puk_tries_left == 0)
        return cli_fail_say(c, CLI_PIN, CW_ERR_BLOCKED,
                            "the PUK of this card is blocked; your bank can set new ones");
    enum cli_exit code = renew_and_wipe(c, s, true);
    return code == CLI_OK ? done(c, "unblocked", "The PIN is unblocked, and is the new one.")
                          : code;
}

enum cli_exit cli_pin(struct cli *c, int argc, char **argv)
{
    static const struct {
        const char *name;
        enum cli_exit (*run)(struct cli *c, struct cli_session *s);
    } verbs[] = {{"status", status}, {"change", change}, {"unblock", unblock}};
    struct cli_session s = {0};
    for (size_t i = 0; argc == 1 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(argv[0], verbs[i].name) != 0)
            continue;
        enum cli_exit code = cli_card_open(c, &s);
        if (code == CLI_OK)
            code = verbs[i].run(c, &s);
        cli_session_close(&s);
        return code;
    }
    return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                        "cardwire pin takes change, unblock or status; see cardwire --help");
}
