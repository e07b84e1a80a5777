/* commands.c - the commands of cardwired: each opens the bank, calls one thing, and prints. */
#include "bank/cli.h"

#include "bank/issue.h"
#include "bank/tlsd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum cw_err print_json(json_t *value, struct say *why)
{
    json_t *all = json_pack("{s:b}", "ok", 1);
    bool good = all != NULL && value != NULL && json_object_update(all, value) == 0 &&
                json_dumpf(all, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(all);
    json_decref(value);
    return good ? CW_OK : say_fail(why, CW_ERR_IO, "the answer could not be written");
}

/* Money and times as text; what does not fit is a defect, and shows as "?". */
static const char *money(int64_t amount, const char currency[4], char out[32])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 31);
    order_amount_put(&w, amount, currency);
    out[w.bad ? 0 : w.len] = '\0';
    return w.bad ? "?" : out;
}

static const char *when(int64_t seconds, char out[32])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 31);
    cal_put(&w, seconds);
    out[w.bad ? 0 : w.len] = '\0';
    return w.bad ? "?" : out;
}

static enum cw_err open_bank(const struct cli_args *args, struct bank **out, struct say *why)
{
    return bank_open(args->dir, &ledger_clock_system, out, why);
}

/* A list for people (lines) or for programs (an array). */
struct listing {
    json_t *items; /* NULL: print lines */
};

static void list_item(struct listing *list, json_t *item)
{
    json_array_append_new(list->items, item);
}

static enum cw_err list_end(struct listing *list, const char *name, enum cw_err err,
                            struct say *why)
{
    if (list->items != NULL && err == CW_OK)
        return print_json(json_pack("{s:o}", name, list->items), why);
    json_decref(list->items);
    return err;
}

/* ---- init ---- */

static enum cw_err run_init(const struct cli_args *args, struct say *why)
{
    static const char *const default_host[] = {BANK_SERVER_NAME};
    struct bank_options o = {
        .name = args->name != NULL ? args->name : "Cardwire Bank",
        .hosts = args->host_count > 0 ? args->hosts : default_host,
        .host_count = args->host_count > 0 ? args->host_count : 1,
        .server_days = args->days > 0 ? args->days : BANK_SERVER_DAYS,
    };
    enum cw_err err = bank_init(args->word, &o, &ledger_clock_system, why);
    if (err != CW_OK)
        return err;
    if (args->json)
        return print_json(json_pack("{s:s, s:s, s:s}", "dir", args->word, "name", o.name,
                                    "server_name", o.hosts[0]),
                          why);
    printf("The bank '%s' is in %s; its server's name is %s.\n", o.name, args->word, o.hosts[0]);
    return CW_OK;
}

/* ---- customers ---- */

static enum cw_err run_customer_add(const struct cli_args *args, struct say *why)
{
    int64_t id = 0;
    struct bank *bank = NULL;
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_customer_add(bank->ledger, args->name, &id, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return print_json(json_pack("{s:I, s:s}", "id", (json_int_t)id, "name", args->name), why);
    printf("%lld\n", (long long)id);
    return CW_OK;
}

static void list_customer(void *ctx, const struct ledger_customer *c)
{
    struct listing *list = ctx;
    char since[32];
    if (list->items == NULL)
        printf("%lld\t%s\n", (long long)c->id, c->name);
    else
        list_item(list, json_pack("{s:I, s:s, s:s}", "id", (json_int_t)c->id, "name", c->name,
                                  "since", when(c->since, since)));
}

static enum cw_err run_customer_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct listing list = {args->json ? json_array() : NULL};
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_customer_each(bank->ledger, list_customer, &list, why);
    bank_free(&bank);
    return list_end(&list, "customers", err, why);
}

/* ---- accounts ---- */

static json_t *account_json(const struct ledger_account *a)
{
    char text[32];
    return json_pack("{s:s, s:I, s:s, s:s, s:s}", "account", a->number, "customer",
                     (json_int_t)a->customer, "name", a->name, "currency", a->currency, "balance",
                     money(a->balance, a->currency, text));
}

static enum cw_err run_account_open(const struct cli_args *args, struct say *why)
{
    int64_t deposit = 0;
    struct bank *bank = NULL;
    struct ledger_account account;
    char currency[4] = "EUR";
    if (args->currency != NULL && strlen(args->currency) != 3)
        return say_fail(why, CW_ERR_ARG, "--currency %.20s: wants an ISO 4217 code such as EUR",
                        args->currency);
    if (args->currency != NULL)
        memcpy(currency, args->currency, 3);
    if (args->deposit != NULL && order_amount_parse(args->deposit, currency, &deposit) != CW_OK)
        return say_fail(why, CW_ERR_ARG,
                        "--deposit %.40s: wants an amount in the digits of %s, such as 100.00",
                        args->deposit, currency);
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_account_open(bank->ledger, args->customer, currency, deposit, &account, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return print_json(account_json(&account), why);
    printf("%s\n", account.number);
    return CW_OK;
}

static void list_account(void *ctx, const struct ledger_account *a)
{
    struct listing *list = ctx;
    char text[32];
    if (list->items == NULL)
        printf("%s\t%s\t%s\t%s\n", a->number, money(a->balance, a->currency, text), a->currency,
               a->name);
    else
        list_item(list, account_json(a));
}

static enum cw_err run_account_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct listing list = {args->json ? json_array() : NULL};
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_account_each(bank->ledger, args->customer > 0 ? args->customer : -1,
                                  list_account, &list, why);
    bank_free(&bank);
    return list_end(&list, "accounts", err, why);
}

/* ---- cards ---- */

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
        .pin_file = args->pin_file,
        .root_file = args->root,
        .name_count = args->host_count,
        .days = args->days > 0 ? args->days : BANK_CARD_DAYS,
        .time = args->time,
        .progress = progress_show,
    };
    if (!o->p256 && !o->rsa)
        return say_fail(why, CW_ERR_ARG, "--key %.20s: wants p256, rsa2048 or both", key);
    if (args->host_count > LINK_NAME_MAX)
        return say_fail(why, CW_ERR_ARG, "a card takes at most %u server names", LINK_NAME_MAX);
    for (size_t i = 0; i < args->host_count; i++) {
        if (strlen(args->hosts[i]) > LINK_HOST_MAX)
            return say_fail(why, CW_ERR_ARG, "--server-name %.20s...: at most %u bytes",
                            args->hosts[i], LINK_HOST_MAX);
        strcpy(o->names[i].host, args->hosts[i]);
        o->names[i].profiles =
            args->profiles[i] != 0 ? args->profiles[i] : (1u << LINK_PROFILE_COUNT) - 1;
    }
    return CW_OK;
}

static enum cw_err run_card_issue(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct issue_options o;
    struct issue_result result;
    struct progress progress = {.tty = isatty(STDERR_FILENO)};
    char serial[2 * ORDER_SERIAL_LEN + 1];
    enum cw_err err = issue_options(args, &o, why);
    if (err != CW_OK || (err = open_bank(args, &bank, why)) != CW_OK)
        return err;
    o.progress_ctx = &progress;
    err = issue_card(bank, &o, &result, why);
    progress_end(&progress);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    bank_serial_text(result.serial, serial);
    if (!args->json) {
        printf("%s\n", serial);
        if (result.mailer[0] != '\0')
            fprintf(stderr, "cardwired: the PIN is in %s\n", result.mailer);
        return CW_OK;
    }
    json_t *keys = json_array();
    for (int slot = 1; slot <= LINK_KEY_COUNT; slot++)
        if ((result.keys >> (slot - 1) & 1) != 0)
            json_array_append_new(keys, json_string(link_key_name((enum link_key)slot)));
    return print_json(json_pack("{s:s, s:I, s:o, s:s?, s:b, s:I, s:I, s:I}", "serial", serial,
                                "customer", (json_int_t)args->customer, "keys", keys, "mailer",
                                result.mailer[0] != '\0' ? result.mailer : NULL, "resumed",
                                result.resumed, "apdus", (json_int_t)result.spent.apdus,
                                "bytes_to_card", (json_int_t)result.spent.bytes_to_card,
                                "bytes_from_card", (json_int_t)result.spent.bytes_from_card),
                      why);
}

static void list_card(void *ctx, const struct ledger_card *c)
{
    struct listing *list = ctx;
    char serial[2 * ORDER_SERIAL_LEN + 1], since[32];
    bank_serial_text(c->serial, serial);
    if (list->items == NULL)
        printf("%s\t%lld\t%s\n", serial, (long long)c->customer,
               ledger_card_status_name(c->status));
    else
        list_item(list,
                  json_pack("{s:s, s:I, s:s, s:s}", "serial", serial, "customer",
                            (json_int_t)c->customer, "status", ledger_card_status_name(c->status),
                            "since", when(c->since, since)));
}

static enum cw_err run_card_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct listing list = {args->json ? json_array() : NULL};
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_card_each(bank->ledger, list_card, &list, why);
    bank_free(&bank);
    return list_end(&list, "cards", err, why);
}

static enum cw_err set_blocked(const struct cli_args *args, bool blocked, struct say *why)
{
    uint8_t serial[ORDER_SERIAL_LEN];
    struct bank *bank = NULL;
    if (bank_serial_parse(args->word, serial) != CW_OK)
        return say_fail(why, CW_ERR_ARG, "'%.40s' is no card serial: it has 16 hex digits",
                        args->word);
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_card_block(bank->ledger, serial, blocked, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    const char *status = blocked ? "blocked" : "active";
    if (args->json)
        return print_json(json_pack("{s:s, s:s}", "serial", args->word, "status", status), why);
    printf("%s %s\n", args->word, status);
    return CW_OK;
}

static enum cw_err run_card_block(const struct cli_args *args, struct say *why)
{
    return set_blocked(args, true, why);
}

static enum cw_err run_card_unblock(const struct cli_args *args, struct say *why)
{
    return set_blocked(args, false, why);
}

/* ---- server and report ---- */

static enum cw_err run_serve(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct tlsd_options o = {
        .listen = args->listen != NULL ? args->listen : "127.0.0.1:8443",
        .port_file = args->port_file,
        .insecure_keylog = args->keylog,
    };
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = tlsd_run(bank, &o, why);
    bank_free(&bank);
    return err;
}

static enum cw_err run_report(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_totals t = {0};
    enum cw_err err = open_bank(args, &bank, why);
    if (err == CW_OK)
        err = ledger_totals_get(bank->ledger, &t, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    bool sound = t.unbalanced == 0 && t.wrong_balance == 0 && t.currencies_off == 0;
    if (sound && args->json)
        return print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "customers",
                                    (json_int_t)t.customers, "accounts", (json_int_t)t.accounts,
                                    "cards", (json_int_t)t.cards, "entries", (json_int_t)t.entries,
                                    "payments", (json_int_t)t.payments, "sound", sound),
                          why);
    if (!args->json)
        printf("customers %lld\naccounts %lld\ncards %lld\nentries %lld\npayments %lld\n",
               (long long)t.customers, (long long)t.accounts, (long long)t.cards,
               (long long)t.entries, (long long)t.payments);
    if (!sound)
        return say_fail(why, CW_ERR_FORMAT,
                        "the books do not add up (unbalanced entries: %lld, wrong balances: %lld, "
                        "currencies that do not sum to zero: %lld); stop the server and restore "
                        "them from a copy",
                        (long long)t.unbalanced, (long long)t.wrong_balance,
                        (long long)t.currencies_off);
    printf("every entry, balance and currency adds up\n");
    return CW_OK;
}

const struct cli_command cli_commands[] = {
    {"init", "DIR", CLI_NAME | CLI_SERVER | CLI_VALID, 0, run_init,
     "init DIR [--name NAME] [--server-name HOST]... [--valid-days N]",
     "Makes a bank in DIR: its ledger, the roots for servers and for cards, and the server's "
     "keys.\n"
     "The first HOST is the one that cards are issued for (bank.cardwire.test); N is how long the\n"
     "server's certificates last (90).\n"},
    {"customer add", NULL, 0, CLI_DIR | CLI_NAME, run_customer_add, "customer add --name NAME",
     "Adds a customer and prints the number.\n"},
    {"customer list", NULL, 0, CLI_DIR, run_customer_list, "customer list",
     "Lists the customers: number, name.\n"},
    {"account open", NULL, CLI_CURRENCY | CLI_DEPOSIT, CLI_DIR | CLI_CUSTOMER, run_account_open,
     "account open --customer ID [--currency EUR] [--deposit 100.00]",
     "Opens an account and prints its number. The deposit is posted from the bank's cash.\n"},
    {"account list", NULL, CLI_CUSTOMER, CLI_DIR, run_account_list, "account list [--customer ID]",
     "Lists accounts: number, balance, currency, holder; without ID the bank's own as well.\n"},
    {"card issue", NULL,
     CLI_KEY | CLI_PIN | CLI_SERVER | CLI_PROFILES | CLI_ROOT | CLI_DAYS | CLI_TIME,
     CLI_DIR | CLI_CUSTOMER | CLI_READER, run_card_issue,
     "card issue --customer ID --reader READER [--key p256|rsa2048|both] [--pin-file FILE]\n"
     "             [--server-name HOST [--profiles tls13,ecdhe,rsa]]... [--root FILE] [--days N]\n"
     "             [--time TIME]",
     "Personalises the blank card in READER (inproc:DIR, pcsc, pcsc:NAME) and prints its serial.\n"
     "The card makes its keys; they never leave it. Without --pin-file a random PIN is written to\n"
     "DIR/mailers/SERIAL.txt. HOST is a server that the card may speak with (the bank's own); "
     "FILE\n"
     "of --root holds a second root for servers, in PEM; N is how long the card's certificates\n"
     "last (1826); TIME is the time before which the card takes nothing for expired (now).\n"
     "An issuance that was cut short is completed by giving the same command again.\n"},
    {"card list", NULL, 0, CLI_DIR, run_card_list, "card list",
     "Lists the cards: serial, customer, status.\n"},
    {"card block", "SERIAL", 0, CLI_DIR, run_card_block, "card block SERIAL",
     "Blocks a card: it opens no new line, and in an open one nothing is answered any more.\n"},
    {"card unblock", "SERIAL", 0, CLI_DIR, run_card_unblock, "card unblock SERIAL",
     "Takes the block away.\n"},
    {"serve", NULL, CLI_LISTEN | CLI_PORT_FILE | CLI_KEYLOG, CLI_DIR, run_serve,
     "serve [--listen HOST:PORT] [--port-file FILE] [--insecure-keylog FILE]",
     "Serves cards until SIGTERM (127.0.0.1:8443; port 0 takes a free one, --port-file says "
     "which).\n"
     "--insecure-keylog writes the secrets of all lines to FILE: whoever has it reads them.\n"},
    {"report", NULL, 0, CLI_DIR, run_report, "report",
     "Totals, and whether entries, balances and currencies add up; fails when they do not.\n"},
    {NULL, NULL, 0, 0, NULL, NULL, NULL},
};
