/* commands_card.c - the commands of cardwired about cards. */
#include "bank/commands.h"

#include "bank/manage.h"
#include "bank/replace.h"
#include "bank/terms.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is shown while a card is issued: on a terminal each step, on a line that is written over
 * while it goes on; in a log only the quarters of what takes long. */
struct progress {
    bool tty;
    bool open; /* a line stands there without its end */
    int shown; /* percent of the step */
};

static void progress_end(struct progress *p)
{
    if (p->open)
        fprintf(stderr, "\n");
    p->open = false;
}

static void progress_show(void *ctx, const char *step, int percent)
{
    struct progress *p = ctx;
    if (percent == ISSUE_NO_PERCENT) {
        progress_end(p);
        if (p->tty)
            fprintf(stderr, "cardwired: %s", step);
        p->open = p->tty;
        p->shown = 0;
        return;
    }
    if (p->tty ? percent == p->shown : percent / 25 <= p->shown / 25 || percent >= 100)
        return;
    fprintf(stderr, p->tty ? "\rcardwired: %s: %d %%" : "cardwired: %s: %d %%\n", step, percent);
    p->shown = percent;
}

static void warning_show(void *ctx, const char *sentence)
{
    progress_end(ctx);
    fprintf(stderr, "cardwired: warning: %s\n", sentence);
}

/* --piv-key: whether it is RSA. */
static enum cw_err take_piv_key(const struct cli_args *args, bool *rsa, struct say *why)
{
    const char *key = args->piv_key != NULL ? args->piv_key : "p256";
    if (strcmp(key, "p256") != 0 && strcmp(key, "rsa") != 0)
        return say_fail(why, CW_ERR_ARG, "--piv-key %.20s: wants p256 or rsa", key);
    *rsa = strcmp(key, "rsa") == 0;
    return CW_OK;
}

static enum cw_err issue_options(const struct cli_args *args, struct issue_options *o,
                                 struct say *why)
{
    const char *key = args->key != NULL ? args->key : "p256";
    bool both = strcmp(key, "both") == 0;
    *o = (struct issue_options){
        .customer = args->customer,
        .reader = args->reader,
        .p256 = both || strcmp(key, "p256") == 0,
        .rsa = both || strcmp(key, "rsa2048") == 0,
        .initial_key = args->initial_key,
        .give_keys_again = (args->given & CLI_KEYS_AGAIN) != 0,
        .pin_file = args->pin_file,
        .puk_file = args->puk_file,
        .transport_pin = (args->given & CLI_TRANSPORT) != 0,
        .personalise_only = (args->given & CLI_NO_ACTIVATE) != 0,
        .piv = (args->given & CLI_PIV) != 0,
        .piv_pin_file = args->piv_pin_file,
        .piv_puk_file = args->piv_puk_file,
        .payee_count = args->payee_count,
        .root_file = args->roots[0],
        .days = args->days > 0 ? args->days : BANK_CARD_DAYS,
        .time = args->time,
        .progress = progress_show,
        .warn = warning_show,
    };
    if (!o->p256 && !o->rsa)
        return say_fail(why, CW_ERR_ARG, "--key %.20s: wants p256, rsa2048 or both", key);
    if (args->root_count > 1)
        return say_fail(why, CW_ERR_ARG, "card issue takes one --root besides the bank's own");
    if (!o->piv && (args->given & CLI_PIV_OPTIONS) != 0)
        return say_fail(why, CW_ERR_ARG, "--piv-key, --piv-pin-file and --piv-puk-file want --piv");
    memcpy(o->payees, args->payees, sizeof o->payees);
    terms_default(&o->policy);
    enum cw_err err = take_piv_key(args, &o->piv_rsa, why);
    if (err == CW_OK)
        err = commands_policy_take(args, &o->policy, why);
    return err == CW_OK ? commands_names_take(args, o->names, &o->name_count, why) : err;
}

/* Issues, and says what came of it. */
static enum cw_err issue(const struct cli_args *args, struct bank *bank, struct issue_options *o,
                         struct say *why)
{
    struct issue_result result;
    struct progress progress = {.tty = isatty(STDERR_FILENO)};
    char serial[2 * ORDER_SERIAL_LEN + 1];
    o->progress_ctx = &progress;
    enum cw_err err = issue_card(bank, o, &result, why);
    progress_end(&progress);
    if (err != CW_OK)
        return err;
    bank_serial_text(result.serial, serial);
    if (!args->json) {
        printf("%s\n", serial);
        if (result.mailer[0] != '\0')
            fprintf(stderr, "cardwired: PIN and PUK are in %s\n", result.mailer);
        if (result.piv_mailer[0] != '\0')
            fprintf(stderr, "cardwired: PIN and PUK of PIV are in %s\n", result.piv_mailer);
        return CW_OK;
    }
    json_t *keys = json_array();
    for (int slot = 1; slot <= LINK_KEY_COUNT; slot++)
        if ((result.keys >> (slot - 1) & 1) != 0)
            json_array_append_new(keys, json_string(link_key_name((enum link_key)slot)));
    return commands_print_json(
        json_pack("{s:s, s:s*, s:I, s:s, s:o, s:s?, s:b, s:s?, s:b, s:I, s:I, s:I}", "serial",
                  serial, "replaces", o->replaces != NULL ? args->word : NULL, "customer",
                  (json_int_t)o->customer, "status", ledger_card_status_name(result.status), "keys",
                  keys, "mailer", result.mailer[0] != '\0' ? result.mailer : NULL, "piv", o->piv,
                  "piv_mailer", result.piv_mailer[0] != '\0' ? result.piv_mailer : NULL, "resumed",
                  result.resumed, "apdus", (json_int_t)result.spent.apdus, "bytes_to_card",
                  (json_int_t)result.spent.bytes_to_card, "bytes_from_card",
                  (json_int_t)result.spent.bytes_from_card),
        why);
}

enum cw_err commands_card_issue(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct issue_options o;
    enum cw_err err = issue_options(args, &o, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = issue(args, bank, &o, why);
    bank_free(&bank);
    return err;
}

enum cw_err commands_card_replace(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct issue_options o;
    struct replace_terms terms;
    uint8_t old[ORDER_SERIAL_LEN];
    enum cw_err err = commands_serial_take(args->word, old, why);
    if (err == CW_OK)
        err = issue_options(args, &o, why);
    if (err == CW_OK && args->key == NULL)
        o.p256 = o.rsa = false; /* as the old card has them */
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = replace_prepare(bank, old, &terms, &o, why);
    if (err == CW_OK)
        err = issue(args, bank, &o, why);
    bank_free(&bank);
    return err;
}

static void list_card(void *ctx, const struct ledger_card *c)
{
    struct commands_list *list = ctx;
    char serial[2 * ORDER_SERIAL_LEN + 1], since[32];
    bank_serial_text(c->serial, serial);
    if (list->items == NULL)
        printf("%s\t%lld\t%s\n", serial, (long long)c->customer,
               ledger_card_status_name(c->status));
    else
        commands_list_add(list, json_pack("{s:s, s:I, s:s, s:s}", "serial", serial, "customer",
                                          (json_int_t)c->customer, "status",
                                          ledger_card_status_name(c->status), "since",
                                          commands_time_text(c->since, since)));
}

enum cw_err commands_card_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_card_each(bank->ledger, list_card, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "cards", err, why);
}

static enum cw_err set_blocked(const struct cli_args *args, bool blocked, struct say *why)
{
    uint8_t serial[ORDER_SERIAL_LEN];
    struct bank *bank = NULL;
    enum cw_err err = commands_serial_take(args->word, serial, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_card_block(bank->ledger, serial, blocked, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    const char *status = blocked ? "blocked" : "active";
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:s}", "serial", args->word, "status", status),
                                   why);
    printf("%s %s\n", args->word, status);
    return CW_OK;
}

enum cw_err commands_card_block(const struct cli_args *args, struct say *why)
{
    return set_blocked(args, true, why);
}

enum cw_err commands_card_unblock(const struct cli_args *args, struct say *why)
{
    return set_blocked(args, false, why);
}

/* ---- at the bank's own reader ---- */

static enum cw_err show_managed(const struct cli_args *args, const struct manage_result *r,
                                struct say *why)
{
    char serial[2 * ORDER_SERIAL_LEN + 1];
    bank_serial_text(r->serial, serial);
    if (args->json)
        return commands_print_json(
            json_pack("{s:s, s:s, s:s, s:s?, s:b}", "serial", serial, "life",
                      link_life_name(r->life), "status", ledger_card_status_name(r->status),
                      "mailer", r->mailer[0] != '\0' ? r->mailer : NULL, "proved", !r->unproved),
            why);
    printf("%s %s\n", serial, link_life_name(r->life));
    if (r->mailer[0] != '\0')
        fprintf(stderr, "cardwired: the new PIN and PUK are in %s\n", r->mailer);
    if (r->unproved)
        fprintf(stderr, "cardwired: the card has no keys left to prove that it is this one\n");
    return CW_OK;
}

static enum cw_err set_life(const struct cli_args *args, enum manage_act act, struct say *why)
{
    struct bank *bank = NULL;
    struct manage_result result;
    uint8_t serial[ORDER_SERIAL_LEN];
    const uint8_t *named = args->card != NULL ? serial : NULL;
    enum cw_err err = named != NULL ? commands_serial_take(args->card, serial, why) : CW_OK;
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = manage_life_set(bank, args->reader, act, named, &result, why);
    bank_free(&bank);
    return err == CW_OK ? show_managed(args, &result, why) : err;
}

enum cw_err commands_card_activate(const struct cli_args *args, struct say *why)
{
    return set_life(args, MANAGE_ACTIVATE, why);
}

enum cw_err commands_card_lock(const struct cli_args *args, struct say *why)
{
    return set_life(args, MANAGE_LOCK, why);
}

enum cw_err commands_card_unlock(const struct cli_args *args, struct say *why)
{
    return set_life(args, MANAGE_UNLOCK, why);
}

enum cw_err commands_card_terminate(const struct cli_args *args, struct say *why)
{
    return set_life(args, MANAGE_TERMINATE, why);
}

enum cw_err commands_card_reset_pin(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct manage_result result;
    const struct manage_pins pins = {.pin_file = args->pin_file,
                                     .puk_file = args->puk_file,
                                     .transport_pin = (args->given & CLI_TRANSPORT) != 0};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = manage_pin_reset(bank, args->reader, &pins, &result, why);
    bank_free(&bank);
    return err == CW_OK ? show_managed(args, &result, why) : err;
}

enum cw_err commands_card_sync(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct manage_result r;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = manage_sync(bank, args->reader, &r, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    bank_serial_text(r.serial, serial);
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:s, s:s, s:I, s:I}", "serial", serial, "life",
                                             link_life_name(r.life), "status",
                                             ledger_card_status_name(r.status), "first",
                                             (json_int_t)r.first, "last", (json_int_t)r.last),
                                   why);
    if (r.first != 0)
        printf("%s %s, took updates %u to %u\n", serial, link_life_name(r.life), r.first, r.last);
    else
        printf("%s %s, had every update\n", serial, link_life_name(r.life));
    return CW_OK;
}

static void step_show(void *ctx, const char *what)
{
    progress_show(ctx, what, ISSUE_NO_PERCENT);
}

enum cw_err commands_card_piv(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct manage_result result;
    struct progress progress = {.tty = isatty(STDERR_FILENO)};
    struct piv_options o = {.pin_file = args->piv_pin_file,
                            .puk_file = args->piv_puk_file,
                            .days = args->days > 0 ? args->days : BANK_CARD_DAYS,
                            .step = step_show,
                            .step_ctx = &progress};
    enum cw_err err = take_piv_key(args, &o.rsa, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = manage_piv_give(bank, args->reader, &o, &result, why);
    progress_end(&progress);
    bank_free(&bank);
    return err == CW_OK ? show_managed(args, &result, why) : err;
}
