/* commands_payee.c - the commands of cardwired about what holders ask of their cards' lists of
 * payees. */
#include "bank/commands.h"

#include "bank/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list_request(void *ctx, const struct ledger_payee_request *r)
{
    struct commands_list *list = ctx;
    char serial[2 * ORDER_SERIAL_LEN + 1], asked[32];
    const char *action = r->remove ? "remove" : "add";
    bank_serial_text(r->card, serial);
    commands_time_text(r->asked, asked);
    if (list->items != NULL)
        commands_list_add(list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "id", (json_int_t)r->id,
                                          "card", serial, "action", action, "account",
                                          r->payee.account, "name", r->payee.name, "asked", asked));
    else
        printf("%lld\t%s\t%s\t%s\t%s\t%s\n", (long long)r->id, serial, action, r->payee.account,
               r->payee.name, asked);
}

enum cw_err commands_payee_requests(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_payee_request_each(bank->ledger, list_request, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "requests", err, why);
}

static enum cw_err take_request(const struct cli_args *args, struct bank *bank,
                                struct ledger_payee_request *out, struct say *why)
{
    size_t digits = strspn(args->word, "0123456789");
    if (digits == 0 || digits > 18 || args->word[digits] != '\0')
        return say_fail(why, CW_ERR_ARG,
                        "'%.60s' is no request's number; 'cardwired payee requests' lists them",
                        args->word);
    return ledger_payee_request_get(bank->ledger, strtoll(args->word, NULL, 10), out, why);
}

static enum cw_err confirm(const struct cli_args *args, const struct ledger_payee_request *r,
                           struct bank *bank, struct say *why)
{
    char serial[2 * ORDER_SERIAL_LEN + 1];
    struct update_made made;
    struct update_plan plan = {.payee = r->remove ? NULL : &r->payee,
                               .payee_gone = r->remove ? r->payee.account : NULL,
                               .request = r->id,
                               .confirmed = args->confirmed_by};
    memcpy(plan.card, r->card, sizeof plan.card);
    enum cw_err err = update_make(bank, &plan, &made, why);
    if (err != CW_OK)
        return err;
    bank_serial_text(r->card, serial);
    if (args->json)
        return commands_print_json(json_pack("{s:I, s:s, s:I, s:I}", "request", (json_int_t)r->id,
                                             "card", serial, "first", (json_int_t)made.first,
                                             "last", (json_int_t)made.last),
                                   why);
    printf("%u\n", made.last);
    return CW_OK;
}

enum cw_err commands_payee_confirm(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_payee_request r;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = take_request(args, bank, &r, why);
    if (err == CW_OK)
        err = confirm(args, &r, bank, why);
    bank_free(&bank);
    return err;
}

enum cw_err commands_payee_refuse(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_payee_request r;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = take_request(args, bank, &r, why);
    if (err == CW_OK)
        err = ledger_payee_request_refuse(bank->ledger, r.id, args->because, why);
    bank_free(&bank);
    if (err == CW_OK && args->json)
        err = commands_print_json(json_pack("{s:I}", "request", (json_int_t)r.id), why);
    return err;
}
