/* commands_update.c - the commands of cardwired that make signed updates for cards, and what they
 * are about: lists of payees, and the server's next root. */
#include "bank/commands.h"

#include "bank/reach.h"
#include "bank/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cw_err make_update(const struct cli_args *args, struct bank *bank,
                               struct update_plan *plan, struct say *why)
{
    struct update_made made;
    enum cw_err err = commands_serial_take(args->card, plan->card, why);
    if (err == CW_OK)
        err = update_make(bank, plan, &made, why);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:I, s:I}", "card", args->card, "first",
                                             (json_int_t)made.first, "last", (json_int_t)made.last),
                                   why);
    printf("%u\n", made.last);
    return CW_OK;
}

/* ---- card update ---- */

struct update {
    struct update_plan plan;
    struct objects_root roots[LINK_ROOT_MAX];
    struct applet_name names[LINK_NAME_MAX];
    struct policy policy;
};

static enum cw_err take_policy(const struct cli_args *args, struct bank *bank, struct update *u,
                               struct say *why)
{
    struct ledger_management m;
    if ((args->given & CLI_POLICY) == 0)
        return CW_OK;
    enum cw_err err = ledger_management_get(bank->ledger, u->plan.card, &m, why);
    if (err != CW_OK)
        return err;
    u->policy = m.policy;
    u->plan.policy = &u->policy;
    u->plan.policy_of = m.made;
    return commands_policy_take(args, &u->policy, why);
}

static enum cw_err take_update(const struct cli_args *args, struct bank *bank, struct update *u,
                               struct say *why)
{
    const uint64_t both = CLI_LOCK | CLI_TERMINATE;
    if ((args->given & both) == both)
        return say_fail(why, CW_ERR_ARG, "--lock and --terminate exclude each other");
    enum cw_err err = commands_serial_take(args->card, u->plan.card, why);
    if (err == CW_OK)
        err = commands_names_take(args, u->names, &u->plan.name_count, why);
    for (size_t i = 0; i < args->root_count && err == CW_OK; i++)
        err = objects_root_load(args->roots[i], &u->roots[i], why);
    if (err == CW_OK)
        err = take_policy(args, bank, u, why);
    u->plan.names = u->names;
    u->plan.roots = u->roots;
    u->plan.root_count = args->root_count;
    if ((args->given & CLI_LOCK) != 0)
        u->plan.life = LINK_LIFE_LOCKED;
    if ((args->given & CLI_TERMINATE) != 0)
        u->plan.life = LINK_LIFE_TERMINATED;
    return err;
}

enum cw_err commands_card_update(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct update *u = calloc(1, sizeof *u);
    if (u == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = take_update(args, bank, u, why);
    if (err == CW_OK)
        err = make_update(args, bank, &u->plan, why);
    bank_free(&bank);
    free(u);
    return err;
}

/* ---- card updates ---- */

static json_t *time_json(int64_t seconds)
{
    char text[32];
    return seconds != 0 ? json_string(commands_time_text(seconds, text)) : json_null();
}

static void list_update(struct commands_list *list, const struct ledger_update *u,
                        const struct ledger_management *m)
{
    char made[32], fetched[32];
    if (list->items != NULL)
        commands_list_add(list,
                          json_pack("{s:I, s:o, s:o, s:b}", "sequence", (json_int_t)u->sequence,
                                    "made", time_json(u->made), "fetched", time_json(u->fetched),
                                    "applied", u->sequence <= m->applied));
    else
        printf("%u\t%s\t%s\t%s\n", u->sequence, commands_time_text(u->made, made),
               u->fetched != 0 ? commands_time_text(u->fetched, fetched) : "not fetched",
               u->sequence <= m->applied ? "applied" : "pending");
}

static enum cw_err list_updates(struct bank *bank, const uint8_t serial[ORDER_SERIAL_LEN],
                                struct commands_list *list, struct say *why)
{
    struct ledger_management m;
    struct ledger_update *u = malloc(sizeof *u);
    size_t count = 1;
    uint32_t after = 0;
    if (u == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_management_read(bank->ledger, serial, &m, why);
    while (err == CW_OK && count > 0) {
        err = ledger_updates_get(bank->ledger, serial, after, u, 1, &count, why);
        if (err == CW_OK && count > 0) {
            list_update(list, u, &m);
            after = u->sequence;
        }
    }
    free(u);
    return err;
}

enum cw_err commands_card_updates(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    uint8_t serial[ORDER_SERIAL_LEN];
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_serial_take(args->card, serial, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = list_updates(bank, serial, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "updates", err, why);
}

/* ---- payees ---- */

enum cw_err commands_payee_add(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct policy_payee payee;
    struct update_plan plan = {.payee = &payee, .confirmed = args->confirmed_by};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = objects_payees_find(bank->ledger, &args->account, 1, &payee, why);
    if (err == CW_OK)
        err = make_update(args, bank, &plan, why);
    bank_free(&bank);
    return err;
}

enum cw_err commands_payee_remove(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct update_plan plan = {.payee_gone = args->account};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = make_update(args, bank, &plan, why);
    bank_free(&bank);
    return err;
}

static void list_payee(void *ctx, const struct ledger_payee *p)
{
    struct commands_list *list = ctx;
    char added[32], removed[32];
    if (list->items != NULL)
        commands_list_add(list, json_pack("{s:s, s:s, s:o, s:s, s:o}", "account", p->payee.account,
                                          "name", p->payee.name, "added", time_json(p->added),
                                          "confirmed_by", p->confirmed, "removed",
                                          time_json(p->removed)));
    else
        printf("%s\t%s\t%s\t%s\t%s\n", p->payee.account, p->payee.name,
               commands_time_text(p->added, added),
               p->removed != 0 ? commands_time_text(p->removed, removed) : "listed", p->confirmed);
}

enum cw_err commands_payee_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_management m;
    uint8_t serial[ORDER_SERIAL_LEN];
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_serial_take(args->card, serial, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_management_read(bank->ledger, serial, &m, why);
    if (err == CW_OK)
        err = ledger_payee_each(bank->ledger, serial, list_payee, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "payees", err, why);
}

/* ---- the server's root ---- */

static enum cw_err show_root(const struct cli_args *args, const struct bank *bank,
                             const struct bank_server *server, struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(bank->dir, server->root, ".pem", path, why);
    if (err == CW_OK && args->json)
        return commands_print_json(
            json_pack("{s:s, s:I}", "root", path, "generation", (json_int_t)server->generation),
            why);
    if (err == CW_OK)
        printf("%s\n", path);
    return err;
}

enum cw_err commands_root_roll(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    const char *uri = NULL;
    const struct commands_signing_key key = {BANK_FILE_SERVER_ROOT, &uri};
    enum cw_err err = commands_signing_keys_take(args, &key, 1, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = bank_server_roll(bank, args->days > 0 ? args->days : BANK_SERVER_DAYS, uri, why);
    if (err == CW_OK)
        err = show_root(args, bank, &bank->server_next, why);
    bank_free(&bank);
    return err;
}

/* Who has not learnt the next root is shut out until it is brought to the bank. */
static enum cw_err check_switch(const struct cli_args *args, struct bank *bank, struct say *why)
{
    size_t without = 0;
    if (bank->server_next.generation == 0)
        return CW_OK; /* bank_server_switch says what is wrong */
    enum cw_err err = reach_count(bank, &without, why);
    if (err != CW_OK || without == 0)
        return err;
    if ((args->given & CLI_FORCE) == 0)
        return say_fail(why, CW_ERR_STATE,
                        "%zu cards have not reported an update with the next root and would refuse "
                        "the server until 'cardwired card sync'; --force switches all the same",
                        without);
    fprintf(stderr, "cardwired: %zu cards have not reported an update with the next root\n",
            without);
    return CW_OK;
}

enum cw_err commands_root_switch(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = check_switch(args, bank, why);
    if (err == CW_OK)
        err = bank_server_switch(bank, why);
    if (err == CW_OK)
        err = show_root(args, bank, &bank->server, why);
    bank_free(&bank);
    return err;
}
