#include "bank/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 4

enum { OPT_JSON = 1000, OPT_HELP, OPT_VERSION };

static const struct named {
    const char *name;
    uint64_t bit; /* CLI_... */
    bool flag;    /* takes no value */
} named_options[] = {
    {"dir", CLI_DIR, false},
    {"name", CLI_NAME, false},
    {"server-name", CLI_SERVER, false},
    {"profiles", CLI_PROFILES, false},
    {"valid-days", CLI_VALID, false},
    {"customer", CLI_CUSTOMER, false},
    {"currency", CLI_CURRENCY, false},
    {"deposit", CLI_DEPOSIT, false},
    {"reader", CLI_READER, false},
    {"key", CLI_KEY, false},
    {"pin-file", CLI_PIN, false},
    {"puk-file", CLI_PUK, false},
    {"transport-pin", CLI_TRANSPORT, true},
    {"initial-key", CLI_INITIAL_KEY, false},
    {"give-keys-again", CLI_KEYS_AGAIN, true},
    {"no-activate", CLI_NO_ACTIVATE, true},
    {"pin-min", CLI_PIN_MIN, false},
    {"pin-max", CLI_PIN_MAX, false},
    {"pin-rules", CLI_PIN_RULES, false},
    {"pin-tries", CLI_PIN_TRIES, false},
    {"contactless", CLI_CONTACTLESS, false},
    {"payees", CLI_PAYEES, false},
    {"payee", CLI_PAYEE, false},
    {"limit", CLI_LIMIT, false},
    {"sessions", CLI_SESSIONS, false},
    {"root", CLI_ROOT, false},
    {"days", CLI_DAYS, false},
    {"time", CLI_TIME, false},
    {"card", CLI_CARD, false},
    {"account", CLI_ACCOUNT, false},
    {"confirmed-by", CLI_CONFIRMED, false},
    {"because", CLI_BECAUSE, false},
    {"lock", CLI_LOCK, true},
    {"terminate", CLI_TERMINATE, true},
    {"piv", CLI_PIV, true},
    {"piv-key", CLI_PIV_KEY, false},
    {"piv-pin-file", CLI_PIV_PIN, false},
    {"piv-puk-file", CLI_PIV_PUK, false},
    {"force", CLI_FORCE, true},
    {"head", CLI_HEAD, false},
    {"store", CLI_STORE, false},
    {"signing-key", CLI_SIGNING_KEY, false},
    {"der", CLI_DER, true},
    {"ocsp", CLI_OCSP, false},
    {"ocsp-port-file", CLI_OCSP_PORT, false},
    {"reason", CLI_REASON, false},
    {"listen", CLI_LISTEN, false},
    {"port-file", CLI_PORT_FILE, false},
    {"requests-per-minute", CLI_REQUESTS, false},
    {"payments-per-minute", CLI_PAYMENTS, false},
    {"ops", CLI_OPS, false},
    {"ops-port-file", CLI_OPS_PORT, false},
    {"config", CLI_CONFIG, false},
    {"log", CLI_LOG, false},
    {"log-level", CLI_LOG_LEVEL, false},
    {"insecure-keylog", CLI_KEYLOG, false},
    {"operator", CLI_OPERATOR, false},
    {"from", CLI_FROM, false},
    {"to", CLI_TO, false},
    {"amount", CLI_AMOUNT, false},
    {"reference", CLI_REFERENCE, false},
    {"id", CLI_ID, false},
    {"final", CLI_FINAL, true},
};
#define OPTIONS  (sizeof named_options / sizeof named_options[0])
#define OPT_BASE 2000 /* OPT_BASE + index into named_options */

static enum cw_err parse_number(const char *name, const char *text, int64_t min, int64_t max,
                                int64_t *out, struct say *why)
{
    int64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && n <= max; p++)
        n = n * 10 + (*p - '0');
    if (p == text || *p != '\0' || n < min || n > max)
        return say_fail(why, CW_ERR_ARG, "--%s %.40s: wants a whole number from %lld to %lld", name,
                        text, (long long)min, (long long)max);
    *out = n;
    return CW_OK;
}

/* "tls13,ecdhe" for the server name before it. */
static enum cw_err parse_profiles(struct cli_args *a, const char *text, struct say *why)
{
    unsigned mask = 0;
    if (a->host_count == 0 || a->profiles[a->host_count - 1] != 0)
        return say_fail(why, CW_ERR_ARG, "--profiles belongs after the --server-name it is for");
    for (const char *p = text;;) {
        char one[16];
        size_t len = strcspn(p, ",");
        snprintf(one, sizeof one, "%.*s", (int)(len < sizeof one ? len : sizeof one - 1), p);
        int profile = link_profile_find(one);
        if (profile <= LINK_PROFILE_DEFAULT)
            return say_fail(why, CW_ERR_ARG,
                            "--profiles %.40s: wants one or more of tls13,ecdhe,rsa", text);
        mask |= LINK_PROFILE_BIT(profile);
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    a->profiles[a->host_count - 1] = (uint8_t)mask;
    return CW_OK;
}

/* Options whose value is kept as it was given. */
static void take_text(struct cli_args *a, uint64_t bit, const char *value)
{
    const struct {
        uint64_t bit;
        const char **to;
    } texts[] = {
        {CLI_DIR, &a->dir},
        {CLI_NAME, &a->name},
        {CLI_CURRENCY, &a->currency},
        {CLI_DEPOSIT, &a->deposit},
        {CLI_READER, &a->reader},
        {CLI_KEY, &a->key},
        {CLI_PIN, &a->pin_file},
        {CLI_PUK, &a->puk_file},
        {CLI_INITIAL_KEY, &a->initial_key},
        {CLI_PIN_RULES, &a->pin_rules},
        {CLI_CONTACTLESS, &a->contactless},
        {CLI_PAYEES, &a->payees_rule},
        {CLI_SESSIONS, &a->sessions},
        {CLI_CARD, &a->card},
        {CLI_ACCOUNT, &a->account},
        {CLI_CONFIRMED, &a->confirmed_by},
        {CLI_BECAUSE, &a->because},
        {CLI_HEAD, &a->head},
        {CLI_STORE, &a->store},
        {CLI_REASON, &a->reason},
        {CLI_OCSP, &a->ocsp},
        {CLI_OCSP_PORT, &a->ocsp_port_file},
        {CLI_LISTEN, &a->listen},
        {CLI_KEYLOG, &a->keylog},
        {CLI_PORT_FILE, &a->port_file},
        {CLI_OPS, &a->ops},
        {CLI_OPS_PORT, &a->ops_port_file},
        {CLI_CONFIG, &a->config},
        {CLI_LOG, &a->log},
        {CLI_LOG_LEVEL, &a->log_level},
        {CLI_OPERATOR, &a->who},
        {CLI_FROM, &a->from},
        {CLI_TO, &a->to},
        {CLI_AMOUNT, &a->amount},
        {CLI_REFERENCE, &a->reference},
        {CLI_ID, &a->id},
        {CLI_PIV_KEY, &a->piv_key},
        {CLI_PIV_PIN, &a->piv_pin_file},
        {CLI_PIV_PUK, &a->piv_puk_file},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].bit == bit)
            *texts[i].to = value;
}

/* Options that may be given several times. */
static enum cw_err take_repeated(struct cli_args *a, const struct named *o, const char *value,
                                 struct say *why)
{
    const struct {
        uint64_t bit;
        const char **to;
        size_t *count, max;
    } lists[] = {
        {CLI_SERVER, a->hosts, &a->host_count, BANK_HOSTS_MAX},
        {CLI_ROOT, a->roots, &a->root_count, LINK_ROOT_MAX},
        {CLI_LIMIT, a->limits, &a->limit_count, POLICY_LIMITS_MAX},
        {CLI_PAYEE, a->payees, &a->payee_count, POLICY_PAYEES_MAX},
        {CLI_SIGNING_KEY, a->signing_keys, &a->signing_key_count, CLI_SIGNING_KEYS_MAX},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (lists[i].bit != o->bit)
            continue;
        if (*lists[i].count == lists[i].max)
            return say_fail(why, CW_ERR_ARG, "--%s is given more than %zu times", o->name,
                            lists[i].max);
        lists[i].to[(*lists[i].count)++] = value;
    }
    return CW_OK;
}

/* Options whose value is a number. */
static enum cw_err take_number(struct cli_args *a, const struct named *o, const char *value,
                               struct say *why)
{
    const struct {
        uint64_t bit;
        int64_t min, max;
        int *to;
    } numbers[] = {
        {CLI_VALID, 1, 36500, &a->days},
        {CLI_DAYS, 1, 36500, &a->days},
        {CLI_PIN_MIN, 1, POLICY_PIN_MAX, &a->pin_min},
        {CLI_PIN_MAX, 1, POLICY_PIN_MAX, &a->pin_max},
        {CLI_PIN_TRIES, 1, 15, &a->pin_tries},
        {CLI_REQUESTS, 0, 1000000, &a->requests_per_minute},
        {CLI_PAYMENTS, 0, 1000000, &a->payments_per_minute},
    };
    if (o->bit == CLI_CUSTOMER)
        return parse_number(o->name, value, 1, INT64_C(999999999999), &a->customer, why);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t n = 0;
        if (numbers[i].bit != o->bit)
            continue;
        enum cw_err err = parse_number(o->name, value, numbers[i].min, numbers[i].max, &n, why);
        *numbers[i].to = (int)n;
        return err;
    }
    return CW_OK;
}

static enum cw_err take_option(struct cli_args *a, size_t index, const char *value, struct say *why)
{
    const struct named *o = &named_options[index];
    enum cw_err err = CW_OK;
    take_text(a, o->bit, value);
    if (o->bit == CLI_PROFILES)
        err = parse_profiles(a, value, why);
    if (o->bit == CLI_TIME && cal_parse(value, strlen(value), &a->time) != CW_OK)
        err = say_fail(why, CW_ERR_ARG, "--time %.40s: wants the form 2026-11-24T10:00:00Z", value);
    if (err == CW_OK)
        err = take_repeated(a, o, value, why);
    if (err == CW_OK)
        err = take_number(a, o, value, why);
    a->given |= o->bit;
    return err;
}

/* ---- help ---- */

static const char exit_help[] =
    "\nExit codes: 0 done, 1 failed, 2 the command line is wrong, 3 there is no such thing,\n"
    "4 it is there already or not in a state for it, 5 locked or taken by another program.\n";

static void print_help(const struct cli_command *c)
{
    if (c != NULL) {
        printf("usage: cardwired %s%s\n\n%s%s", strcmp(c->words, "init") == 0 ? "" : "[--dir DIR] ",
               c->usage, c->help, exit_help);
        return;
    }
    printf("usage: cardwired [--dir DIR] COMMAND ...\n\n"
           "The bank: its books, its certificates, and the server that cards speak with.\n\n");
    for (c = cli_commands; c->words != NULL; c++)
        printf("  %s\n", c->usage);
    printf("\nDIR is the bank's folder; the environment variable CARDWIRED_DIR serves as well.\n"
           "--operator NAME says who changes something, for the log (the user of this machine).\n"
           "--json prints the answer as JSON; COMMAND --help says more; --version.\n%s",
           exit_help);
}

/* ---- parsing ---- */

struct parsed {
    struct cli_args args;
    bool help, version;
    const char *words[WORDS_MAX];
    size_t word_count;
};

static enum cw_err parse(int argc, char **argv, struct parsed *p, struct say *why)
{
    struct option options[OPTIONS + 4] = {{0}};
    for (size_t i = 0; i < OPTIONS; i++)
        options[i] = (struct option){named_options[i].name,
                                     named_options[i].flag ? no_argument : required_argument, NULL,
                                     OPT_BASE + (int)i};
    options[OPTIONS] = (struct option){"json", no_argument, NULL, OPT_JSON};
    options[OPTIONS + 1] = (struct option){"help", no_argument, NULL, OPT_HELP};
    options[OPTIONS + 2] = (struct option){"version", no_argument, NULL, OPT_VERSION};
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
        /* '-': words come in their places, whatever POSIXLY_CORRECT says. */
        int c = getopt_long(argc, argv, "-:d:h", options, NULL);
        enum cw_err err = CW_OK;
        if (c == -1)
            break;
        if (c == 1 && p->word_count == WORDS_MAX)
            return say_fail(why, CW_ERR_ARG, "'%.60s' is one word too many", optarg);
        if (c == 1)
            p->words[p->word_count++] = optarg;
        else if (c == OPT_JSON)
            p->args.json = true;
        else if (c == OPT_HELP || c == 'h')
            p->help = true;
        else if (c == OPT_VERSION)
            p->version = true;
        else if (c == 'd')
            err = take_option(&p->args, 0, optarg, why);
        else if (c >= OPT_BASE)
            err = take_option(&p->args, (size_t)(c - OPT_BASE), optarg, why);
        else if (c == ':')
            err = say_fail(why, CW_ERR_ARG, "%.60s wants a value", argv[at]);
        else
            err = say_fail(why, CW_ERR_ARG, "there is no option %.60s", argv[at]);
        if (err != CW_OK)
            return err;
    }
    for (; optind < argc; optind++) { /* after "--" */
        if (p->word_count == WORDS_MAX)
            return say_fail(why, CW_ERR_ARG, "'%.60s' is one word too many", argv[optind]);
        p->words[p->word_count++] = argv[optind];
    }
    return CW_OK;
}

/* The command whose words come first; *used is how many they are. */
static const struct cli_command *find_command(const struct parsed *p, size_t *used)
{
    for (const struct cli_command *c = cli_commands; c->words != NULL; c++) {
        char words[64] = "";
        size_t n = strchr(c->words, ' ') != NULL ? 2 : 1;
        if (p->word_count < n)
            continue;
        snprintf(words, sizeof words, n == 2 ? "%.30s %.30s" : "%.30s", p->words[0], p->words[1]);
        if (strcmp(words, c->words) == 0) {
            *used = n;
            return c;
        }
    }
    return NULL;
}

static enum cw_err check_args(const struct cli_command *c, struct parsed *p, size_t used,
                              struct say *why)
{
    /* Whatever changes the books is done by somebody. */
    uint64_t takes = c->takes | c->wants | ((c->wants & CLI_DIR) != 0 ? CLI_OPERATOR : 0);
    for (size_t i = 0; i < OPTIONS; i++) {
        uint64_t bit = named_options[i].bit;
        if ((p->args.given & bit) != 0 && (takes & bit) == 0)
            return say_fail(why, CW_ERR_ARG, "%s takes no --%s", c->words, named_options[i].name);
        if ((p->args.given & bit) == 0 && (c->wants & bit) != 0 && bit != CLI_DIR)
            return say_fail(why, CW_ERR_ARG, "%s wants --%s; see 'cardwired %s --help'", c->words,
                            named_options[i].name, c->words);
    }
    size_t extra = c->word != NULL ? 1 : 0;
    if (p->word_count < used + extra)
        return say_fail(why, CW_ERR_ARG, "%s wants %s; see 'cardwired %s --help'", c->words,
                        c->word, c->words);
    if (p->word_count > used + extra)
        return say_fail(why, CW_ERR_ARG, "'%.60s' is one word too many; see 'cardwired %s --help'",
                        p->words[used + extra], c->words);
    p->args.word = extra != 0 ? p->words[used] : NULL;
    if ((takes & CLI_DIR) != 0 && p->args.dir == NULL)
        p->args.dir = getenv("CARDWIRED_DIR");
    if ((c->wants & CLI_DIR) != 0 && (p->args.dir == NULL || p->args.dir[0] == '\0'))
        return say_fail(why, CW_ERR_ARG, "%s wants the bank's folder: --dir DIR, or CARDWIRED_DIR",
                        c->words);
    return CW_OK;
}

static int exit_code(enum cw_err err)
{
    switch (err) {
    case CW_OK:
        return CLI_OK;
    case CW_ERR_ARG:
        return CLI_USAGE;
    case CW_ERR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case CW_ERR_EXISTS:
    case CW_ERR_STATE:
        return CLI_STATE;
    case CW_ERR_BUSY:
        return CLI_BUSY;
    default:
        return CLI_FAILED;
    }
}

/* A failure in the same place as the answer would be: a sentence, or an object as cardwire's. */
static void report(enum cw_err err, bool json, const struct say *why)
{
    json_t *o = NULL;
    if (json)
        o = json_pack("{s:b, s:s, s:s}", "ok", 0, "error", cw_err_name(err), "detail", why->text);
    if (o == NULL || json_dumpf(o, stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF)
        fprintf(stderr, "cardwired: %s\n", why->text);
    json_decref(o);
}

int cli_run(int argc, char **argv)
{
    struct say why = {""};
    size_t used = 0;
    struct parsed p = {.args = {.time = -1}};
    enum cw_err err = parse(argc, argv, &p, &why);
    const struct cli_command *c = err == CW_OK ? find_command(&p, &used) : NULL;
    if (err == CW_OK && p.version) {
        printf("cardwired %s\n", CARDWIRE_VERSION);
    } else if (err == CW_OK && p.help) {
        print_help(c);
    } else if (err == CW_OK && c == NULL) {
        err = say_fail(&why, CW_ERR_ARG, "%s%.30s%s; 'cardwired --help' lists the commands",
                       p.word_count > 0 ? "there is no command '" : "a command is missing",
                       p.word_count > 0 ? p.words[0] : "", p.word_count > 0 ? "'" : "");
    } else if (err == CW_OK) {
        err = check_args(c, &p, used, &why);
        if (err == CW_OK)
            err = c->run(&p.args, &why);
    }
    if (fflush(stdout) != 0 && err == CW_OK)
        err = say_fail(&why, CW_ERR_IO, "the answer could not be written");
    if (err != CW_OK)
        report(err, p.args.json, &why);
    return exit_code(err);
}
