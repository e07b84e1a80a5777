/* cli.c - cardwire, what the card holder and the developer use: options and commands. */
#include "terminal/cli.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: cardwire [options] COMMAND\n"
    "\n"
    "Your bank card opens its own TLS line to the bank; this program and the reader only carry "
    "it.\n"
    "\n"
    "Commands\n"
    "  readers                    the card readers there are\n"
    "  card [info]                what is in the card: life, tries, time, limits, keys, servers\n"
    "  card payees                whom the card pays, after its PIN\n"
    "  card update                brings the card up to date with the bank\n"
    "  card export --cert KEY     a certificate of the card, PEM (KEY: tls-p256, tls-rsa2048,\n"
    "                             order-p256, order-rsa2048)\n"
    "  pin change                 a new PIN in the place of the old one\n"
    "  pin unblock                a new PIN with the PUK\n"
    "  pin status                 tries left\n"
    "  login                      log in and say who is logged in\n"
    "  balance [--account A]\n"
    "  statement [--account A] [--limit N]; or of a period: [--from DAY] [--to DAY]\n"
    "      [--format json|csv|camt053 [-o FILE]]\n"
    "  pay --to A --amount 12.34 --currency EUR [--reference TEXT] [--from A] [--order-id HEX]\n"
    "      [--receipt FILE] [--save FILE] [--yes]; or pay --resend FILE\n"
    "  receipt --order HEX --out FILE\n"
    "  receipt verify FILE --root PEM   what a receipt proves, off line, by the bank's root for "
    "cards\n"
    "  payee list                 whom the bank has on the card's list\n"
    "  payee add --to A           asks the bank to put somebody on it, which it confirms with you "
    "by\n"
    "                             another way; payee remove --to A takes one off it\n"
    "  payee requests             what became of what you asked\n"
    "  notifications [--since C]  what happened on your accounts and to your cards\n"
    "  connect                    stdin and stdout over the card's line, to any permitted server\n"
    "  trace [--handshake-only]   the handshake, step by step\n"
    "  share --vpcd HOST:PORT     puts the card into a reader of the PC/SC daemon (vpcd)\n"
    "\n"
    "Options\n"
    "  --reader READER            pcsc (default), pcsc:NAME, t1:DEVICE, tcl:DEVICE or inproc:DIR\n"
    "  --server HOST:PORT         the server to reach\n"
    "  --name NAME                the name its certificate must have, one that the card permits\n"
    "  --profile tls13|ecdhe|rsa  default: the best that the card permits for that name\n"
    "  --key auto|p256|rsa        the card's key for the line\n"
    "  --pin-file FILE            first line is the PIN; otherwise it is asked for\n"
    "  --full                     a full handshake, even if the card could resume an earlier line\n"
    "  --new-pin-file FILE        the same for a new PIN, --puk-file FILE for the PUK\n"
    "  --no-sync                  take no updates and no time from the bank after logging in\n"
    "  --extended                 extended-length APDUs, if reader and card carry them\n"
    "  --progress                 say on stderr what a slow reader does, terminal or not\n"
    "  --json                     one JSON object on stdout, errors too\n"
    "  --help, --version\n"
    "\n"
    "Exit: 0 done, 1 failed, 2 called wrongly, 3 the card refused the server or the order, 4 the\n"
    "server or the bank refused, 5 PIN wrong, blocked, to be changed or not given, 6 reader or "
    "card\n"
    "trouble, 7 net trouble.\n";

enum {
    OPT_READER = 256,
    OPT_SERVER,
    OPT_NAME,
    OPT_PROFILE,
    OPT_KEY,
    OPT_PIN_FILE,
    OPT_FULL,
    OPT_NEW_PIN_FILE,
    OPT_PUK_FILE,
    OPT_NO_SYNC,
    OPT_EXTENDED,
    OPT_PROGRESS,
    OPT_JSON,
    OPT_ACCOUNT,
    OPT_LIMIT,
    OPT_FROM,
    OPT_TO,
    OPT_AMOUNT,
    OPT_CURRENCY,
    OPT_REFERENCE,
    OPT_ORDER_ID,
    OPT_RECEIPT,
    OPT_SAVE,
    OPT_RESEND,
    OPT_YES,
    OPT_ORDER,
    OPT_OUT,
    OPT_CERT,
    OPT_FORMAT,
    OPT_SINCE,
    OPT_HANDSHAKE_ONLY,
    OPT_VPCD,
    OPT_ROOT,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"reader", required_argument, NULL, OPT_READER},
    {"server", required_argument, NULL, OPT_SERVER},
    {"name", required_argument, NULL, OPT_NAME},
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"key", required_argument, NULL, OPT_KEY},
    {"pin-file", required_argument, NULL, OPT_PIN_FILE},
    {"full", no_argument, NULL, OPT_FULL},
    {"new-pin-file", required_argument, NULL, OPT_NEW_PIN_FILE},
    {"puk-file", required_argument, NULL, OPT_PUK_FILE},
    {"no-sync", no_argument, NULL, OPT_NO_SYNC},
    {"extended", no_argument, NULL, OPT_EXTENDED},
    {"progress", no_argument, NULL, OPT_PROGRESS},
    {"json", no_argument, NULL, OPT_JSON},
    {"account", required_argument, NULL, OPT_ACCOUNT},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"amount", required_argument, NULL, OPT_AMOUNT},
    {"currency", required_argument, NULL, OPT_CURRENCY},
    {"reference", required_argument, NULL, OPT_REFERENCE},
    {"order-id", required_argument, NULL, OPT_ORDER_ID},
    {"receipt", required_argument, NULL, OPT_RECEIPT},
    {"save", required_argument, NULL, OPT_SAVE},
    {"resend", required_argument, NULL, OPT_RESEND},
    {"yes", no_argument, NULL, OPT_YES},
    {"order", required_argument, NULL, OPT_ORDER},
    {"out", required_argument, NULL, OPT_OUT},
    {"cert", required_argument, NULL, OPT_CERT},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"since", required_argument, NULL, OPT_SINCE},
    {"handshake-only", no_argument, NULL, OPT_HANDSHAKE_ONLY},
    {"vpcd", required_argument, NULL, OPT_VPCD},
    {"root", required_argument, NULL, OPT_ROOT},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

/* Where an option's text goes; NULL for options that are more than text. */
static const char **text_option(struct cli_options *o, int c)
{
    switch (c) {
    case OPT_READER:
        return &o->reader;
    case OPT_SERVER:
        return &o->server;
    case OPT_NAME:
        return &o->name;
    case OPT_PIN_FILE:
        return &o->pin_file;
    case OPT_NEW_PIN_FILE:
        return &o->new_pin_file;
    case OPT_PUK_FILE:
        return &o->puk_file;
    case OPT_ACCOUNT:
        return &o->account;
    case OPT_FROM:
        return &o->from;
    case OPT_TO:
        return &o->to;
    case OPT_AMOUNT:
        return &o->amount;
    case OPT_CURRENCY:
        return &o->currency;
    case OPT_REFERENCE:
        return &o->reference;
    case OPT_ORDER_ID:
        return &o->order_id;
    case OPT_RECEIPT:
        return &o->receipt;
    case OPT_SAVE:
        return &o->save;
    case OPT_RESEND:
        return &o->resend;
    case OPT_ORDER:
        return &o->order;
    case OPT_OUT:
    case 'o':
        return &o->out;
    case OPT_CERT:
        return &o->cert;
    case OPT_VPCD:
        return &o->vpcd;
    case OPT_ROOT:
        return &o->root;
    case OPT_FORMAT:
        return &o->format;
    case OPT_SINCE:
        return &o->since;
    default:
        return NULL;
    }
}

static bool flag_option(struct cli_options *o, int c)
{
    switch (c) {
    case OPT_FULL:
        return o->full = true;
    case OPT_EXTENDED:
        return o->extended = true;
    case OPT_PROGRESS:
        return o->progress = true;
    case OPT_JSON:
        return o->json = true;
    case OPT_NO_SYNC:
        return o->no_sync = true;
    case OPT_YES:
        return o->yes = true;
    case OPT_HANDSHAKE_ONLY:
        return o->handshake_only = true;
    default:
        return false;
    }
}

static enum cli_exit usage(struct cli *c, const char *what, const char *which)
{
    return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "%s%s; see cardwire --help", what, which);
}

/* Options that must be one of a few words, or a number. */
static enum cli_exit choice_option(struct cli *c, int option, const char *value)
{
    if (option == OPT_PROFILE) {
        int p = link_profile_find(value);
        if (p < 0)
            return usage(c, "--profile is tls13, ecdhe or rsa, not ", value);
        c->opt.profile = (enum link_profile)p;
    } else if (option == OPT_KEY) {
        if (strcmp(value, "auto") == 0)
            c->opt.key = LINK_KEY_AUTO;
        else if (strcmp(value, "p256") == 0)
            c->opt.key = LINK_KEY_TLS_P256;
        else if (strcmp(value, "rsa") == 0)
            c->opt.key = LINK_KEY_TLS_RSA;
        else
            return usage(c, "--key is auto, p256 or rsa, not ", value);
    } else { /* OPT_LIMIT */
        char *end;
        unsigned long n = strtoul(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < 1 || n > 100)
            return usage(c, "--limit is a number from 1 to 100, not ", value);
        c->opt.limit = (unsigned)n;
    }
    return CLI_OK;
}

static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

/* getopt_long permutes: options count before and after the command. */
static enum cli_exit parse(struct cli *c, int argc, char **argv)
{
    int o;
    opterr = 0;
    while ((o = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
        const char **text = text_option(&c->opt, o);
        enum cli_exit code = CLI_OK;
        if (text != NULL)
            *text = optarg;
        else if (o == 'h' || o == OPT_HELP)
            c->command = "help";
        else if (o == OPT_VERSION)
            c->command = "version";
        else if (o == '?' || o == ':')
            code = usage(c, "unknown option, or one without its value: ", argv[optind - 1]);
        else if (!flag_option(&c->opt, o))
            code = choice_option(c, o, optarg);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

static const struct {
    const char *name;
    enum cli_exit (*run)(struct cli *c);
    bool net; /* wants --server */
} commands[] = {
    {"readers", cli_readers, false},
    {"login", cli_login, true},
    {"balance", cli_balance, true},
    {"statement", cli_statement, true},
    {"pay", cli_pay, true},
    {"connect", cli_connect, true},
    {"trace", cli_trace, true},
    {"share", cli_share, false},
    {"notifications", cli_notifications, true},
};

static enum cli_exit run(struct cli *c, int argc, char **argv)
{
    if (c->command == NULL)
        return usage(c, "no command was given", "");
    if (strcmp(c->command, "help") == 0)
        return fputs(help, stdout) < 0 ? CLI_FAILED : CLI_OK;
    if (strcmp(c->command, "version") == 0)
        return puts("cardwire " CARDWIRE_VERSION) < 0 ? CLI_FAILED : CLI_OK;
    if (strcmp(c->command, "card") == 0)
        return cli_card(c, argc, argv);
    if (strcmp(c->command, "pin") == 0)
        return cli_pin(c, argc, argv);
    if (strcmp(c->command, "receipt") == 0)
        return cli_receipt(c, argc, argv);
    if (strcmp(c->command, "payee") == 0)
        return cli_payee(c, argc, argv);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(c->command, commands[i].name) != 0)
            continue;
        if (argc > 0)
            return usage(c, "one word too many: ", argv[0]);
        if (commands[i].net && c->opt.server == NULL)
            return usage(c, c->command, " wants --server HOST:PORT");
        return commands[i].run(c);
    }
    return usage(c, "unknown command: ", c->command);
}

int main(int argc, char **argv)
{
    static struct cli c = {
        .opt = {.reader = "pcsc", .limit = 20},
        .failure = {.alert_in = -1, .alert_out = -1},
    };
    c.tty = isatty(STDERR_FILENO) == 1;
    c.opt.json = wants_json(argc, argv); /* for errors in the options themselves */
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(2), with a sentence */
    enum cli_exit code = parse(&c, argc, argv);
    if (code == CLI_OK) {
        if (c.command == NULL && optind < argc)
            c.command = argv[optind++];
        code = run(&c, argc - optind, argv + optind);
    }
    if (code != CLI_OK)
        cli_report(&c);
    if (fflush(stdout) != 0 && code == CLI_OK) {
        fprintf(stderr, "cardwire: cannot write to stdout\n");
        code = CLI_FAILED;
    }
    return code;
}
