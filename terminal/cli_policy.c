/* cli_policy.c - what the issuer permits a card, for people and for JSON; the words are those of
 * cardwired's options (docs/bank.md). And cardwire card payees. */
#include "terminal/cli.h"

#include <stdio.h>
#include <string.h>

#define AMOUNT_MAX 24u

static const char *amount_text(int64_t amount, const char currency[4], char out[AMOUNT_MAX])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, AMOUNT_MAX - 1);
    order_amount_put(&w, amount, currency);
    out[w.bad ? 0 : w.len] = '\0';
    return out;
}

static const char *contactless_word(const struct policy *p)
{
    return (p->flags & POLICY_ORDER_CONTACTLESS) != 0  ? "orders"
           : (p->flags & POLICY_LINE_CONTACTLESS) != 0 ? "line"
                                                       : "none";
}

static const char *payees_word(const struct policy *p)
{
    return (p->flags & POLICY_LISTED_PAYEES) != 0 ? "listed" : "any";
}

static const char *sessions_word(const struct policy *p)
{
    return (p->flags & POLICY_SESSIONS_NVM) != 0   ? "nvm"
           : (p->flags & POLICY_SESSIONS_RAM) != 0 ? "ram"
                                                   : "none";
}

static json_t *pin_json(const struct policy_pin *p)
{
    json_t *rules = json_array();
    if ((p->rules & PIN_RULE_NO_REPEAT) != 0)
        json_array_append_new(rules, json_string("no-repeat"));
    if ((p->rules & PIN_RULE_NO_SEQUENCE) != 0)
        json_array_append_new(rules, json_string("no-sequence"));
    return json_pack("{s:i, s:i, s:o, s:i}", "min", p->min, "max", p->max, "rules", rules, "tries",
                     p->tries);
}

json_t *cli_policy_json(const struct policy *p)
{
    json_t *limits = json_array();
    for (size_t i = 0; i < p->limit_count; i++) {
        const struct policy_limit *l = &p->limits[i];
        char order[AMOUNT_MAX], day[AMOUNT_MAX], small[AMOUNT_MAX], total[AMOUNT_MAX];
        json_array_append_new(limits,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "currency", l->currency,
                                        "order", amount_text(l->order, l->currency, order), "day",
                                        amount_text(l->day, l->currency, day), "small",
                                        amount_text(l->small, l->currency, small), "small_total",
                                        amount_text(l->small_total, l->currency, total)));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "contactless", contactless_word(p), "payees",
                     payees_word(p), "sessions", sessions_word(p), "pin", pin_json(&p->pin),
                     "limits", limits);
}

void cli_policy_print(const struct policy *p)
{
    char rules[CLI_RULES_MAX];
    printf("PIN rules %s\n", cli_rules_text(&p->pin, rules));
    for (size_t i = 0; i < p->limit_count; i++) {
        const struct policy_limit *l = &p->limits[i];
        char order[AMOUNT_MAX], day[AMOUNT_MAX], small[AMOUNT_MAX], total[AMOUNT_MAX];
        printf("Limit     %s %s an order, %s a day", l->currency,
               amount_text(l->order, l->currency, order), amount_text(l->day, l->currency, day));
        if (l->small > 0)
            printf("; up to %s without PIN, together %s", amount_text(l->small, l->currency, small),
                   amount_text(l->small_total, l->currency, total));
        putchar('\n');
    }
    if (p->limit_count == 0)
        puts("Limit     none");
    puts((p->flags & POLICY_LISTED_PAYEES) != 0
             ? "Payees    listed ones alone (cardwire card payees)"
             : "Payees    any");
    printf("Over air  %s\n", (p->flags & POLICY_ORDER_CONTACTLESS) != 0  ? "logs in and pays"
                             : (p->flags & POLICY_LINE_CONTACTLESS) != 0 ? "logs in, pays nothing"
                                                                         : "nothing");
    printf("Sessions  %s\n", (p->flags & POLICY_SESSIONS_NVM) != 0   ? "kept"
                             : (p->flags & POLICY_SESSIONS_RAM) != 0 ? "kept while there is power"
                                                                     : "not kept");
}

const char *cli_rules_text(const struct policy_pin *p, char out[CLI_RULES_MAX])
{
    snprintf(out, CLI_RULES_MAX, "%u to %u digits%s%s", p->min, p->max,
             (p->rules & PIN_RULE_NO_REPEAT) != 0 ? ", not one digit throughout" : "",
             (p->rules & PIN_RULE_NO_SEQUENCE) != 0 ? ", not counting up or down" : "");
    return out;
}

static enum cli_exit payees_json(struct cli *c, const struct policy *policy,
                                 const struct policy_payee *list, size_t count)
{
    json_t *payees = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            payees, json_pack("{s:s, s:s}", "account", list[i].account, "name", list[i].name));
    return cli_emit(c, json_pack("{s:s, s:o}", "policy", payees_word(policy), "payees", payees));
}

enum cli_exit cli_card_payees(struct cli *c, struct cli_session *s)
{
    struct policy policy;
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    enum cli_exit code = cli_card_usable(c, s);
    if (code == CLI_OK)
        code = cli_pin_verify(c, s, LINK_PIN_LINE, "to show the payees");
    if (code != CLI_OK)
        return code;
    enum cw_err err = applet_policy_get(s->reader, &policy, &c->why);
    if (err == CW_OK)
        err = applet_payees_get(s->reader, list, &count, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    if (c->opt.json)
        return payees_json(c, &policy, list, count);
    for (size_t i = 0; i < count; i++)
        printf("%-34s %s\n", list[i].account, list[i].name);
    if ((policy.flags & POLICY_LISTED_PAYEES) == 0)
        puts("This card pays anybody.");
    else if (count == 0)
        puts("This card pays nobody yet; have your bank add a payee.");
    return CLI_OK;
}
