/* commands_work.c - the commands of cardwired about what no card orders: holds, postings and
 * reversals by hand, frozen accounts, and the log. */
#include "bank/commands.h"
#include "bank/ledger_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY 86400

static enum cw_err take_amount(const char *text, const char currency[4], int64_t *out,
                               struct say *why)
{
    if (text == NULL || order_amount_parse(text, currency, out) == CW_OK)
        return CW_OK;
    return say_fail(why, CW_ERR_ARG,
                    "--amount %.40s: wants an amount in the digits of %s, such as 100.00", text,
                    currency);
}

/* An amount in the currency of that account. */
static enum cw_err take_amount_of(struct bank *b, const char *account, const char *text,
                                  int64_t *out, struct say *why)
{
    struct ledger_account a;
    enum cw_err err = ledger_account_get(b->ledger, account, &a, why);
    return err == CW_OK ? take_amount(text, a.currency, out, why) : err;
}

static enum cw_err take_entry(const char *text, int64_t *out, struct say *why)
{
    char *end = NULL;
    long long n = strtoll(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end != '\0')
        return say_fail(why, CW_ERR_ARG, "'%.40s' is no number of an entry", text);
    *out = n;
    return CW_OK;
}

static const char *reference_of(const struct cli_args *args)
{
    return args->reference != NULL ? args->reference : "";
}

/* ---- holds ---- */

static json_t *hold_json(const struct ledger_hold *h)
{
    char amount[32], captured[32], expiry[32];
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", h->id, "account",
                     h->account, "payee", h->payee, "currency", h->currency, "amount",
                     commands_money_text(h->amount, h->currency, amount), "captured",
                     commands_money_text(h->captured, h->currency, captured), "expiry",
                     commands_time_text(h->expiry, expiry), "state", h->state, "who", h->who,
                     "entry", (json_int_t)h->entry);
}

static void list_hold(void *ctx, const struct ledger_hold *h)
{
    struct commands_list *list = ctx;
    char amount[32], captured[32], expiry[32];
    if (list->items == NULL)
        printf("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h->id, h->state,
               commands_money_text(h->amount, h->currency, amount),
               commands_money_text(h->captured, h->currency, captured), h->currency, h->account,
               h->payee, commands_time_text(h->expiry, expiry), h->who);
    else
        commands_list_add(list, hold_json(h));
}

static enum cw_err print_hold(const struct cli_args *args, const struct ledger_hold *h,
                              struct say *why)
{
    struct commands_list lines = {NULL};
    if (args->json)
        return commands_print_json(hold_json(h), why);
    list_hold(&lines, h);
    return CW_OK;
}

enum cw_err commands_hold_place(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_hold h;
    struct ledger_hold_order o = {.id = args->id,
                                  .account = args->account,
                                  .payee = args->to,
                                  .reference = reference_of(args)};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = take_amount_of(bank, args->account, args->amount, &o.amount, why);
    if (err == CW_OK) {
        /* To the day, so that the same command once more is the same hold. */
        int64_t days = args->days > 0 ? args->days : 7;
        o.expiry = (ledger_now(bank->ledger) / DAY + days + 1) * DAY;
        o.who = ledger_operator_get(bank->ledger);
        err = ledger_hold_place(bank->ledger, &o, &h, why);
    }
    bank_free(&bank);
    return err == CW_OK ? print_hold(args, &h, why) : err;
}

enum cw_err commands_hold_capture(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_hold h;
    struct ledger_capture c = {
        .hold = args->word, .id = args->id, .final = (args->given & CLI_FINAL) != 0};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_hold_get(bank->ledger, args->word, &h, why);
    if (err == CW_OK)
        err = take_amount(args->amount, h.currency, &c.amount, why);
    if (err == CW_OK) {
        c.who = ledger_operator_get(bank->ledger);
        err = ledger_hold_capture(bank->ledger, &c, &h, why);
    }
    bank_free(&bank);
    return err == CW_OK ? print_hold(args, &h, why) : err;
}

enum cw_err commands_hold_void(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_hold h;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err =
            ledger_hold_void(bank->ledger, args->word, ledger_operator_get(bank->ledger), &h, why);
    bank_free(&bank);
    return err == CW_OK ? print_hold(args, &h, why) : err;
}

enum cw_err commands_hold_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_hold_each(bank->ledger, list_hold, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "holds", err, why);
}

enum cw_err commands_hold_expire(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    int64_t holds = 0, proposals = 0;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_work_expire(bank->ledger, &holds, &proposals, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(
            json_pack("{s:I, s:I}", "holds", (json_int_t)holds, "proposals", (json_int_t)proposals),
            why);
    printf("holds %" PRId64 "\nproposals %" PRId64 "\n", holds, proposals);
    return CW_OK;
}

/* ---- postings ---- */

static json_t *proposal_json(const struct ledger_proposal *p)
{
    char amount[32], expiry[32];
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", (json_int_t)p->id,
                     "state", p->state, "from", p->payer, "to", p->payee, "currency", p->currency,
                     "amount", commands_money_text(p->amount, p->currency, amount), "reference",
                     p->reference, "expiry", commands_time_text(p->expiry, expiry), "who", p->who,
                     "reverses", (json_int_t)p->reverses);
}

static void list_proposal(void *ctx, const struct ledger_proposal *p)
{
    struct commands_list *list = ctx;
    char amount[32], expiry[32];
    if (list->items == NULL)
        printf("%" PRId64 "\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p->id, p->state,
               commands_money_text(p->amount, p->currency, amount), p->currency, p->payer, p->payee,
               commands_time_text(p->expiry, expiry), p->who, p->reference);
    else
        commands_list_add(list, proposal_json(p));
}

static enum cw_err print_proposal(const struct cli_args *args, const struct ledger_proposal *p,
                                  struct say *why)
{
    if (args->json)
        return commands_print_json(proposal_json(p), why);
    printf("%" PRId64 "\n", p->id);
    return CW_OK;
}

enum cw_err commands_posting_propose(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_proposal p;
    int64_t amount = 0;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = take_amount_of(bank, args->from, args->amount, &amount, why);
    if (err == CW_OK)
        err = ledger_posting_propose(bank->ledger, args->from, args->to, amount, reference_of(args),
                                     ledger_operator_get(bank->ledger), &p, why);
    bank_free(&bank);
    return err == CW_OK ? print_proposal(args, &p, why) : err;
}

static enum cw_err take_currency(void *ctx, const struct ledger_entry *e, struct say *why)
{
    (void)why;
    if (e->leg_count > 0)
        memcpy(ctx, e->legs[0].currency, sizeof e->legs[0].currency);
    return CW_OK;
}

enum cw_err commands_posting_reverse(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_proposal p;
    int64_t entry = 0, amount = 0;
    char currency[4] = "EUR";
    enum cw_err err = take_entry(args->word, &entry, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_entry_get(bank->ledger, entry, take_currency, currency, why);
    if (err == CW_OK)
        err = take_amount(args->amount, currency, &amount, why);
    if (err == CW_OK)
        err = ledger_reversal_propose(bank->ledger, entry, amount, reference_of(args),
                                      ledger_operator_get(bank->ledger), &p, why);
    bank_free(&bank);
    return err == CW_OK ? print_proposal(args, &p, why) : err;
}

enum cw_err commands_posting_approve(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    int64_t id = 0, entry = 0;
    enum cw_err err = take_entry(args->word, &id, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_proposal_approve(bank->ledger, id, ledger_operator_get(bank->ledger), &entry,
                                      why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(json_pack("{s:I}", "entry", (json_int_t)entry), why);
    printf("%" PRId64 "\n", entry);
    return CW_OK;
}

enum cw_err commands_posting_reject(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    int64_t id = 0;
    enum cw_err err = take_entry(args->word, &id, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_proposal_reject(bank->ledger, id, ledger_operator_get(bank->ledger), why);
    bank_free(&bank);
    return err == CW_OK && args->json
               ? commands_print_json(json_pack("{s:I}", "id", (json_int_t)id), why)
               : err;
}

enum cw_err commands_posting_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_proposal_each(bank->ledger, list_proposal, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "proposals", err, why);
}

/* ---- the log ---- */

static void list_line(void *ctx, const struct ledger_log_line *line)
{
    struct commands_list *list = ctx;
    const struct ledger_ground *g = &line->ground;
    char time[32];
    commands_time_text(line->time, time);
    if (list->items == NULL)
        printf("%" PRId64 "\t%s\t%s%s%s\t%s\t%s\n", line->entry, time, g->who,
               g->approver[0] != '\0' ? "+" : "", g->approver, g->what, g->subject);
    else
        commands_list_add(list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "entry",
                                          (json_int_t)line->entry, "time", time, "kind", line->kind,
                                          "who", g->who, "approver", g->approver, "what", g->what,
                                          "subject", g->subject, "key", g->key, "refers",
                                          (json_int_t)g->refers));
}

enum cw_err commands_log(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_log_each(bank->ledger, list_line, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "log", err, why);
}

/* ---- accounts ---- */

static enum cw_err freeze(const struct cli_args *args, bool frozen, struct say *why)
{
    struct bank *bank = NULL;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_account_freeze(bank->ledger, args->word, frozen, why);
    bank_free(&bank);
    return err == CW_OK && args->json
               ? commands_print_json(
                     json_pack("{s:s, s:b}", "account", args->word, "frozen", frozen), why)
               : err;
}

enum cw_err commands_account_freeze(const struct cli_args *args, struct say *why)
{
    return freeze(args, true, why);
}

enum cw_err commands_account_unfreeze(const struct cli_args *args, struct say *why)
{
    return freeze(args, false, why);
}
