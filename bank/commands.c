/* commands.c - the commands of cardwired about the bank as a whole, its customers and their
 * accounts, and the table of all commands. Each opens the bank, calls one thing, and prints. */
#include "bank/commands.h"

#include "bank/dashboard.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- init ---- */

static enum cw_err run_init(const struct cli_args *args, struct say *why)
{
    static const char *const default_host[] = {BANK_SERVER_NAME};
    struct bank_options o = {
        .name = args->name != NULL ? args->name : "Cardwire Bank",
        .hosts = args->host_count > 0 ? args->hosts : default_host,
        .host_count = args->host_count > 0 ? args->host_count : 1,
        .server_days = args->days > 0 ? args->days : BANK_SERVER_DAYS,
        .store = args->store,
    };
    const struct commands_signing_key keys[] = {{BANK_FILE_CARD_ROOT, &o.card_root_uri},
                                                {BANK_FILE_CARD_ISSUER, &o.card_issuer_uri},
                                                {BANK_FILE_SERVER_ROOT, &o.server_root_uri}};
    enum cw_err err = commands_signing_keys_take(args, keys, sizeof keys / sizeof keys[0], why);
    if (err == CW_OK && args->store != NULL && !ledger_is_address(args->store))
        err = say_fail(why, CW_ERR_ARG,
                       "--store %.40s: wants the address of a database, such as "
                       "postgresql://cardwire@localhost/bank",
                       args->store);
    if (err == CW_OK)
        err = bank_init(args->word, &o, &ledger_clock_system, why);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:s, s:s}", "dir", args->word, "name", o.name,
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
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_customer_add(bank->ledger, args->name, &id, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(
            json_pack("{s:I, s:s}", "id", (json_int_t)id, "name", args->name), why);
    printf("%lld\n", (long long)id);
    return CW_OK;
}

static void list_customer(void *ctx, const struct ledger_customer *c)
{
    struct commands_list *list = ctx;
    char since[32];
    if (list->items == NULL)
        printf("%lld\t%s\n", (long long)c->id, c->name);
    else
        commands_list_add(list, json_pack("{s:I, s:s, s:s}", "id", (json_int_t)c->id, "name",
                                          c->name, "since", commands_time_text(c->since, since)));
}

static enum cw_err run_customer_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_customer_each(bank->ledger, list_customer, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "customers", err, why);
}

/* ---- accounts ---- */

static json_t *account_json(const struct ledger_account *a)
{
    char text[32];
    return json_pack("{s:s, s:I, s:s, s:s, s:s}", "account", a->number, "customer",
                     (json_int_t)a->customer, "name", a->name, "currency", a->currency, "balance",
                     commands_money_text(a->balance, a->currency, text));
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
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_account_open(bank->ledger, args->customer, currency, deposit, &account, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(account_json(&account), why);
    printf("%s\n", account.number);
    return CW_OK;
}

static void list_account(void *ctx, const struct ledger_account *a)
{
    struct commands_list *list = ctx;
    char text[32];
    if (list->items == NULL)
        printf("%s\t%s\t%s\t%s\n", a->number, commands_money_text(a->balance, a->currency, text),
               a->currency, a->name);
    else
        commands_list_add(list, account_json(a));
}

static enum cw_err run_account_list(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct commands_list list = {args->json ? json_array() : NULL};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_account_each(bank->ledger, args->customer > 0 ? args->customer : -1,
                                  list_account, &list, why);
    bank_free(&bank);
    return commands_list_print(&list, "accounts", err, why);
}

/* ---- the books ---- */

static enum cw_err run_dashboard(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    const struct dashboard_options o = {
        .listen = args->listen != NULL ? args->listen : "127.0.0.1:8444",
        .port_file = args->port_file,
    };
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = dashboard_run(bank, &o, why);
    bank_free(&bank);
    return err;
}

static enum cw_err run_report(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct ledger_totals t = {0};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_totals_get(bank->ledger, &t, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    bool sound = t.unbalanced == 0 && t.wrong_balance == 0 && t.currencies_off == 0;
    if (sound && args->json)
        return commands_print_json(
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:b}", "customers", (json_int_t)t.customers,
                      "accounts", (json_int_t)t.accounts, "cards", (json_int_t)t.cards, "entries",
                      (json_int_t)t.entries, "payments", (json_int_t)t.payments, "sound", sound),
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

#define POLICY_HELP                                                                                \
    "POLICY is any of:\n"                                                                          \
    "  --payees listed|any              pay to the card's list only, or to anybody (listed)\n"     \
    "  --limit CUR:ORDER:DAY[:SMALL:SMALLTOTAL]   most of one order and of one day; orders up\n"   \
    "                                   to SMALL go without a PIN of their own, up to\n"           \
    "                                   SMALLTOTAL in all; for each currency once, the card\n"     \
    "                                   signs no others; or none (EUR:5000.00:10000.00)\n"         \
    "  --contactless line|none|orders   what the PIN may be given for over the air (line)\n"       \
    "  --sessions nvm|ram|none          how long TLS sessions are kept (nvm)\n"                    \
    "  --pin-min N, --pin-max N         digits of the PIN (4, 12)\n"                               \
    "  --pin-rules none|no-repeat,no-sequence   what a PIN may not be (both)\n"

const struct cli_command cli_commands[] = {
    {"init", "DIR", CLI_NAME | CLI_SERVER | CLI_VALID | CLI_STORE | CLI_SIGNING_KEY, 0, run_init,
     "init DIR [--name NAME] [--server-name HOST]... [--valid-days N] [--store ADDRESS]\n"
     "       [--signing-key card-root|card-issuer|server-root=URI]...",
     "Makes a bank in DIR: its ledger, the roots for servers and for cards, the CA that issues "
     "cards,\n"
     "and the server's keys.\n"
     "The first HOST is the one that cards are issued for (bank.cardwire.test); N is how long the\n"
     "server's certificates last (90). URI (RFC 7512) names a P-256 key in a PKCS#11 token, made\n"
     "there before: pkcs11:token=T;object=K?module-path=/usr/lib/...so&pin-source=file:FILE. From\n"
     "here on DIR/card-root.key is needed for nothing more, and may be taken away.\n"
     "ADDRESS (postgresql://...) is an empty PostgreSQL database: the ledger is there then.\n"},
    {"customer add", NULL, 0, CLI_DIR | CLI_NAME, run_customer_add, "customer add --name NAME",
     "Adds a customer and prints the number.\n"},
    {"customer list", NULL, 0, CLI_DIR, run_customer_list, "customer list",
     "Lists the customers: number, name.\n"},
    {"account open", NULL, CLI_CURRENCY | CLI_DEPOSIT, CLI_DIR | CLI_CUSTOMER, run_account_open,
     "account open --customer ID [--currency EUR] [--deposit 100.00]",
     "Opens an account and prints its number. The deposit is posted from the bank's cash.\n"},
    {"account list", NULL, CLI_CUSTOMER, CLI_DIR, run_account_list, "account list [--customer ID]",
     "Lists accounts: number, balance, currency, holder; without ID the bank's own as well.\n"},
    {"account freeze", "ACCOUNT", 0, CLI_DIR, commands_account_freeze, "account freeze ACCOUNT",
     "No order pays from it or to it, and nothing is held of it, until 'account unfreeze'.\n"},
    {"account unfreeze", "ACCOUNT", 0, CLI_DIR, commands_account_unfreeze,
     "account unfreeze ACCOUNT", "Ends that.\n"},
    {"hold place", NULL, CLI_DAYS | CLI_REFERENCE,
     CLI_DIR | CLI_ID | CLI_ACCOUNT | CLI_TO | CLI_AMOUNT, commands_hold_place,
     "hold place --id ID --account ACCOUNT --to ACCOUNT --amount 100.00 [--days N]\n"
     "             [--reference TEXT]",
     "Keeps the amount of an account for another one: it cannot be spent. ID is yours; the same\n"
     "command once more on the same day is the same hold. It runs out after N days (7), at the\n"
     "end of the day (UTC).\n"},
    {"hold capture", "HOLD", CLI_AMOUNT | CLI_FINAL, CLI_DIR | CLI_ID, commands_hold_capture,
     "hold capture HOLD --id ID [--amount 100.00] [--final] --operator NAME",
     "Books from a hold, all that is left or a part; with --final the rest is released. NAME is\n"
     "another than who placed it. The same ID once more books nothing more.\n"},
    {"hold void", "HOLD", 0, CLI_DIR, commands_hold_void, "hold void HOLD", "Releases it.\n"},
    {"hold list", NULL, 0, CLI_DIR, commands_hold_list, "hold list",
     "Lists holds: id, state, amount, captured, currency, accounts, until when, by whom.\n"},
    {"hold expire", NULL, 0, CLI_DIR, commands_hold_expire, "hold expire",
     "Releases holds and closes proposals whose time is over; to be run by a timer.\n"},
    {"posting propose", NULL, CLI_REFERENCE, CLI_DIR | CLI_FROM | CLI_TO | CLI_AMOUNT,
     commands_posting_propose,
     "posting propose --from ACCOUNT --to ACCOUNT --amount 100.00 [--reference TEXT]",
     "Proposes a posting by hand and prints its number. Nothing is booked until another operator\n"
     "approves it, within 7 days. The bank's own accounts are CASH-EUR and the like.\n"},
    {"posting reverse", "ENTRY", CLI_AMOUNT | CLI_REFERENCE, CLI_DIR, commands_posting_reverse,
     "posting reverse ENTRY [--amount 100.00] [--reference TEXT]",
     "Proposes to give back what an entry moved, all that is left of it or a part.\n"},
    {"posting approve", "NUMBER", 0, CLI_DIR, commands_posting_approve,
     "posting approve NUMBER --operator NAME",
     "Books what was proposed, and prints the entry; NAME is another than who proposed it.\n"},
    {"posting reject", "NUMBER", 0, CLI_DIR, commands_posting_reject, "posting reject NUMBER",
     "Closes it without booking.\n"},
    {"posting list", NULL, 0, CLI_DIR, commands_posting_list, "posting list",
     "Lists proposals: number, state, amount, currency, from, to, until when, by whom, "
     "reference.\n"},
    {"log", NULL, 0, CLI_DIR, commands_log, "log",
     "Lists who changed what: entry, time, operator (and who approved), what, subject.\n"},
    {"card issue", NULL,
     CLI_KEY | CLI_PIN | CLI_PUK | CLI_TRANSPORT | CLI_INITIAL_KEY | CLI_KEYS_AGAIN |
         CLI_NO_ACTIVATE | CLI_SERVER | CLI_PROFILES | CLI_ROOT | CLI_DAYS | CLI_TIME | CLI_POLICY |
         CLI_PIN_TRIES | CLI_PAYEE | CLI_PIV | CLI_PIV_OPTIONS,
     CLI_DIR | CLI_CUSTOMER | CLI_READER, commands_card_issue,
     "card issue --customer ID --reader READER [--key p256|rsa2048|both] [--initial-key FILE]\n"
     "             [--pin-file FILE] [--puk-file FILE] [--transport-pin] [--no-activate]\n"
     "             [--payee ACCOUNT]... [POLICY] [--pin-tries N] [--root FILE] [--days N]\n"
     "             [--server-name HOST [--profiles tls13,ecdhe,rsa]]... [--time TIME]\n"
     "             [--piv [--piv-key p256|rsa] [--piv-pin-file FILE] [--piv-puk-file FILE]]\n"
     "             [--give-keys-again]",
     "Personalises the blank card in READER (inproc:DIR, pcsc, pcsc:NAME) and prints its serial.\n"
     "All of it goes through the issuer's secure channel, opened with the maker's key (FILE of\n"
     "--initial-key; GlobalPlatform's well-known one), which the bank's own replaces first. The\n"
     "card makes its keys; they never leave it. Without --pin-file and --puk-file PIN and PUK are\n"
     "random, in DIR/mailers/SERIAL.txt; with --transport-pin the holder must change the PIN\n"
     "first. With --no-activate the card is ready for the mail; 'card activate' does the rest.\n"
     "ACCOUNT is one of this bank that the card may pay to, HOST a server that it may speak with\n"
     "(the bank's own); FILE of --root holds a second root for servers, in PEM; N of --days is\n"
     "how long the card's certificates last (1826); TIME is the time before which the card takes\n"
     "nothing for expired (now); N of --pin-tries is how often the PIN may be wrong (3).\n"
     "With --piv the card is a PIV card as well, as 'card piv' makes it.\n"
     "An issuance that was cut short is completed by giving the same command again. A card that\n"
     "has none of the keys that were given to its serial before is refused: it may be another.\n"
     "With --give-keys-again it gets them all the same, and who has them can manage "
     "it.\n" POLICY_HELP},
    {"card list", NULL, 0, CLI_DIR, commands_card_list, "card list",
     "Lists the cards: serial, customer, status.\n"},
    {"card block", "SERIAL", 0, CLI_DIR, commands_card_block, "card block SERIAL",
     "Blocks a card: it opens no new line, and in an open one nothing is answered any more.\n"},
    {"card unblock", "SERIAL", 0, CLI_DIR, commands_card_unblock, "card unblock SERIAL",
     "Takes the block away.\n"},
    {"card activate", NULL, 0, CLI_DIR | CLI_READER, commands_card_activate,
     "card activate --reader READER", "Activates a card that was issued with --no-activate.\n"},
    {"card lock", NULL, 0, CLI_DIR | CLI_READER, commands_card_lock, "card lock --reader READER",
     "Locks the card itself: it takes no PIN and opens no line until it is unlocked.\n"},
    {"card unlock", NULL, 0, CLI_DIR | CLI_READER, commands_card_unlock,
     "card unlock --reader READER", "Unlocks it.\n"},
    {"card terminate", NULL, CLI_CARD, CLI_DIR | CLI_READER, commands_card_terminate,
     "card terminate --reader READER [--card SERIAL]",
     "Ends the card for ever: its keys and PINs are gone, and the bank calls it terminated. A "
     "card\n"
     "that is terminated already has nothing left to prove itself with: the bank follows it only\n"
     "when SERIAL says which card it is.\n"},
    {"card sync", NULL, 0, CLI_DIR | CLI_READER, commands_card_sync, "card sync --reader READER",
     "Gives the card the updates that it has not taken, and the time: also one that trusts the\n"
     "server's root no more and cannot log in.\n"},
    {"card reset-pin", NULL, CLI_PIN | CLI_PUK | CLI_TRANSPORT, CLI_DIR | CLI_READER,
     commands_card_reset_pin,
     "card reset-pin --reader READER [--pin-file FILE] [--puk-file FILE] [--transport-pin]",
     "Gives the card a new PIN and a new PUK, with all their tries, as 'card issue' does.\n"},
    {"card piv", NULL, CLI_DAYS | CLI_PIV_OPTIONS, CLI_DIR | CLI_READER, commands_card_piv,
     "card piv --reader READER [--piv-key p256|rsa] [--piv-pin-file FILE] [--piv-puk-file FILE]\n"
     "             [--days N]",
     "Makes an issued card a PIV card as well, for logins, signatures and mail with other "
     "software:\n"
     "it makes four keys, and gets certificates for them by the bank's root for PIV, which is in\n"
     "DIR/piv-root.pem. PIV has a PIN of 6 to 8 digits and a PUK of 8 of its own; without the\n"
     "files they are random, in DIR/mailers/SERIAL-piv.txt. N is how long the certificates last\n"
     "(1826). The bank takes none of these keys for a line or an order. Cut short, the same "
     "command\n"
     "completes it, with new keys and numbers.\n"},
    {"card renew", "SERIAL", CLI_DAYS, CLI_DIR | CLI_READER, commands_card_renew,
     "card renew SERIAL --reader READER [--days N]",
     "Gives the card in READER, which must be that one, new certificates for the keys that it "
     "has;\n"
     "N is how long they last (1826). Those before stay good until they end. Certificates of PIV\n"
     "are made by 'card piv'.\n"},
    {"card replace", "SERIAL",
     CLI_KEY | CLI_PIN | CLI_PUK | CLI_TRANSPORT | CLI_INITIAL_KEY | CLI_KEYS_AGAIN |
         CLI_NO_ACTIVATE | CLI_SERVER | CLI_PROFILES | CLI_ROOT | CLI_DAYS | CLI_TIME | CLI_PIV |
         CLI_PIV_OPTIONS,
     CLI_DIR | CLI_READER, commands_card_replace,
     "card replace SERIAL --reader READER [options of 'card issue' but customer, payees, POLICY]",
     "Issues the blank card in READER in the place of the card SERIAL: to the same customer, with "
     "the\n"
     "same payees and policy, and the same kinds of keys. When the new card is complete, the old "
     "one\n"
     "is terminated, and its certificates are revoked. Cut short, the same command completes "
     "it.\n"},
    {"card revoke", "SERIAL", 0, CLI_DIR | CLI_REASON, commands_card_revoke,
     "card revoke SERIAL --reason REASON",
     "Ends a card for ever, at the bank: it opens no line, in an open one nothing is answered any\n"
     "more, and its certificates are on the next CRL. REASON is unspecified, key-compromise,\n"
     "affiliation-changed, superseded, cessation or withdrawn.\n"},
    {"card update", NULL,
     CLI_ROOT | CLI_SERVER | CLI_PROFILES | CLI_POLICY | CLI_LOCK | CLI_TERMINATE,
     CLI_DIR | CLI_CARD, commands_card_update,
     "card update --card SERIAL [--root FILE]... [--server-name HOST [--profiles P]]...\n"
     "             [POLICY] [--lock|--terminate]",
     "Makes a signed update of the card and prints its sequence; the card takes it when its\n"
     "holder logs in next. The roots that are given are all that the card will hold, and so are\n"
     "the server names; what is not given stays. What --lock locks, 'card unlock' unlocks at the\n"
     "bank's reader.\n" POLICY_HELP},
    {"card updates", NULL, 0, CLI_DIR | CLI_CARD, commands_card_updates,
     "card updates --card SERIAL",
     "Lists the updates of a card: sequence, when made, when fetched, whether taken.\n"},
    {"payee add", NULL, 0, CLI_DIR | CLI_CARD | CLI_ACCOUNT | CLI_CONFIRMED, commands_payee_add,
     "payee add --card SERIAL --account ACCOUNT --confirmed-by TEXT",
     "Puts an account on the list of those that the card pays to, and makes the update. TEXT is\n"
     "how the bank knows that the holder wants it, by another way than the holder's terminal.\n"},
    {"payee remove", NULL, 0, CLI_DIR | CLI_CARD | CLI_ACCOUNT, commands_payee_remove,
     "payee remove --card SERIAL --account ACCOUNT", "Takes it off, and makes the update.\n"},
    {"payee list", NULL, 0, CLI_DIR | CLI_CARD, commands_payee_list, "payee list --card SERIAL",
     "Lists who is on a card's list and who was: account, name, since when, till when, and by\n"
     "whose word.\n"},
    {"payee requests", NULL, 0, CLI_DIR, commands_payee_requests, "payee requests",
     "Lists what holders have asked for over their cards' lines and is not decided: number, card,\n"
     "account, name, since when.\n"},
    {"payee confirm", "REQUEST", 0, CLI_DIR | CLI_CONFIRMED, commands_payee_confirm,
     "payee confirm REQUEST --confirmed-by TEXT",
     "Does what the holder asked for, as 'payee add' would. TEXT is how the bank knows that the\n"
     "holder wants it, by another way than the holder's terminal.\n"},
    {"payee refuse", "REQUEST", 0, CLI_DIR | CLI_BECAUSE, commands_payee_refuse,
     "payee refuse REQUEST --because TEXT", "Refuses it; the holder is told TEXT.\n"},
    {"root roll", NULL, CLI_VALID | CLI_SIGNING_KEY, CLI_DIR, commands_root_roll,
     "root roll [--valid-days N] [--signing-key server-root=URI]",
     "Makes the server's next root and certificates, and prints the file of the root. The server\n"
     "goes on with what it has, so that cards can be updated to both roots. URI as for 'init'.\n"},
    {"root switch", NULL, CLI_FORCE, CLI_DIR, commands_root_switch, "root switch [--force]",
     "From its next start on the server uses the next root. Refused while there are cards that\n"
     "have not reported an update with it; with --force they stay out until 'card sync'.\n"},
    {"crl", "FILE", CLI_DER | CLI_PIV | CLI_VALID, CLI_DIR, commands_crl,
     "crl FILE [--der] [--piv] [--valid-days N]",
     "Writes the list of the cards' certificates that are revoked, or held because their card is\n"
     "blocked (RFC 5280), in PEM or DER: signed by the CA that issues cards, with --piv by the "
     "root of\n"
     "PIV. N is until when the next one is due (7).\n"},
    {"serve", NULL,
     CLI_DIR | CLI_LISTEN | CLI_PORT_FILE | CLI_KEYLOG | CLI_OPS | CLI_OPS_PORT | CLI_OCSP |
         CLI_OCSP_PORT | CLI_CONFIG | CLI_LOG | CLI_LOG_LEVEL | CLI_REQUESTS | CLI_PAYMENTS,
     0, commands_serve,
     "serve [--config FILE] [--listen HOST:PORT] [--port-file FILE] [--ops HOST:PORT]\n"
     "             [--ops-port-file FILE] [--ocsp HOST:PORT] [--ocsp-port-file FILE]\n"
     "             [--log text|json] [--log-level LEVEL] [--requests-per-minute N]\n"
     "             [--payments-per-minute N] [--insecure-keylog FILE]",
     "Serves cards until SIGTERM (127.0.0.1:8443; port 0 takes a free one, --port-file says "
     "which).\n"
     "FILE of --config says the same and more (cardwired.conf(5)); the command line wins. SIGHUP\n"
     "reads it again. --ops answers GET /healthz, /readyz and /metrics in plain HTTP, on an "
     "address\n"
     "of this machine alone; --ocsp answers about cards' certificates there (RFC 6960). The log is "
     "on stderr; LEVEL is error, warn, info or debug (info).\n"
     "A card may ask 600 times in a minute, and pay 120 times besides; 0 is no limit.\n"
     "--insecure-keylog writes the secrets of all lines to FILE: whoever has it reads them.\n"},
    {"dashboard", NULL, CLI_LISTEN | CLI_PORT_FILE, CLI_DIR, run_dashboard,
     "dashboard [--listen HOST:PORT] [--port-file FILE]",
     "Shows books and cards as web pages until SIGTERM (http://127.0.0.1:8444; port 0 takes a "
     "free\n"
     "one, --port-file says which), on an address of this machine alone and to everybody on it,\n"
     "whether or not the server runs. Nothing can be changed there.\n"},
    {"report", NULL, 0, CLI_DIR, run_report, "report",
     "Totals, and whether entries, balances and currencies add up; fails when they do not.\n"},
    {"audit", NULL, CLI_HEAD, CLI_DIR, commands_audit, "audit [--head ENTRY:HASH]",
     "Goes over the books from the first entry: chain, postings, balances, every card's signature\n"
     "and certificate; says the first thing that is wrong, and fails. The head that it prints\n"
     "stands for all entries up to there: note it elsewhere, and a later audit with --head finds\n"
     "out if anything before was changed or taken away. The bank may go on meanwhile.\n"},
    {"backup", "DIR", 0, CLI_DIR, commands_backup, "backup DIR",
     "Copies the whole bank into DIR, a new folder, while it goes on, and audits the copy. DIR is "
     "a\n"
     "bank then: with its keys, to be kept as the bank itself is; to restore it, serve from it.\n"},
    {"migrate", NULL, 0, CLI_DIR | CLI_STORE, commands_migrate, "migrate --store ADDRESS",
     "Moves the books into the empty PostgreSQL database at ADDRESS (postgresql://...), audits "
     "both\n"
     "and compares them. The file they were in is closed for ever; start the servers anew.\n"},
    {NULL, NULL, 0, 0, NULL, NULL, NULL},
};
