/* cli.h - the command line of cardwired: what each command takes is a row of a table, checked
 * before the command runs. */
#ifndef CARDWIRE_BANK_CLI_H
#define CARDWIRE_BANK_CLI_H

#include "bank/bank.h"
#include "proto/policy.h"

#include <jansson.h>

/* Exit codes, for scripts. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_STATE = 4, /* there already, or not in a state for it */
    CLI_BUSY = 5,  /* locked, or the port is taken */
};

/* Options, as bits of a command's row and of what was given. */
#define CLI_DIR         (UINT64_C(1) << 0)
#define CLI_NAME        (UINT64_C(1) << 1)
#define CLI_SERVER      (UINT64_C(1) << 2)
#define CLI_PROFILES    (UINT64_C(1) << 3)
#define CLI_VALID       (UINT64_C(1) << 4)
#define CLI_CUSTOMER    (UINT64_C(1) << 5)
#define CLI_CURRENCY    (UINT64_C(1) << 6)
#define CLI_DEPOSIT     (UINT64_C(1) << 7)
#define CLI_READER      (UINT64_C(1) << 8)
#define CLI_KEY         (UINT64_C(1) << 9)
#define CLI_PIN         (UINT64_C(1) << 10)
#define CLI_ROOT        (UINT64_C(1) << 11)
#define CLI_DAYS        (UINT64_C(1) << 12)
#define CLI_TIME        (UINT64_C(1) << 13)
#define CLI_LISTEN      (UINT64_C(1) << 14)
#define CLI_PORT_FILE   (UINT64_C(1) << 15)
#define CLI_KEYLOG      (UINT64_C(1) << 16)
#define CLI_PUK         (UINT64_C(1) << 17)
#define CLI_TRANSPORT   (UINT64_C(1) << 18)
#define CLI_INITIAL_KEY (UINT64_C(1) << 19)
#define CLI_NO_ACTIVATE (UINT64_C(1) << 20)
#define CLI_PIN_MIN     (UINT64_C(1) << 21)
#define CLI_PIN_MAX     (UINT64_C(1) << 22)
#define CLI_PIN_RULES   (UINT64_C(1) << 23)
#define CLI_PIN_TRIES   (UINT64_C(1) << 24)
#define CLI_CONTACTLESS (UINT64_C(1) << 25)
#define CLI_PAYEES      (UINT64_C(1) << 26)
#define CLI_PAYEE       (UINT64_C(1) << 27)
#define CLI_LIMIT       (UINT64_C(1) << 28)
#define CLI_SESSIONS    (UINT64_C(1) << 29)
#define CLI_CARD        (UINT64_C(1) << 30)
#define CLI_ACCOUNT     (UINT64_C(1) << 31)
#define CLI_CONFIRMED   (UINT64_C(1) << 32)
#define CLI_LOCK        (UINT64_C(1) << 33)
#define CLI_TERMINATE   (UINT64_C(1) << 34)
#define CLI_PIV         (UINT64_C(1) << 35)
#define CLI_PIV_KEY     (UINT64_C(1) << 36)
#define CLI_PIV_PIN     (UINT64_C(1) << 37)
#define CLI_PIV_PUK     (UINT64_C(1) << 38)
#define CLI_KEYS_AGAIN  (UINT64_C(1) << 39)
#define CLI_FORCE       (UINT64_C(1) << 40)
#define CLI_HEAD        (UINT64_C(1) << 41)
#define CLI_STORE       (UINT64_C(1) << 42)
#define CLI_SIGNING_KEY (UINT64_C(1) << 43)
#define CLI_DER         (UINT64_C(1) << 44)
#define CLI_REASON      (UINT64_C(1) << 45)
#define CLI_OCSP        (UINT64_C(1) << 46)
#define CLI_OCSP_PORT   (UINT64_C(1) << 47)
#define CLI_BECAUSE     (UINT64_C(1) << 48)
#define CLI_REQUESTS    (UINT64_C(1) << 49)
#define CLI_PAYMENTS    (UINT64_C(1) << 50)
#define CLI_OPERATOR    (UINT64_C(1) << 51)
#define CLI_FROM        (UINT64_C(1) << 52)
#define CLI_TO          (UINT64_C(1) << 53)
#define CLI_AMOUNT      (UINT64_C(1) << 54)
#define CLI_REFERENCE   (UINT64_C(1) << 55)
#define CLI_ID          (UINT64_C(1) << 56)
#define CLI_FINAL       (UINT64_C(1) << 57)
#define CLI_OPS         (UINT64_C(1) << 58)
#define CLI_OPS_PORT    (UINT64_C(1) << 59)
#define CLI_CONFIG      (UINT64_C(1) << 60)
#define CLI_LOG         (UINT64_C(1) << 61)
#define CLI_LOG_LEVEL   (UINT64_C(1) << 62)

/* What says a card's policy, and may be changed by an update. */
#define CLI_POLICY                                                                                 \
    (CLI_PIN_MIN | CLI_PIN_MAX | CLI_PIN_RULES | CLI_CONTACTLESS | CLI_PAYEES | CLI_LIMIT |        \
     CLI_SESSIONS)

/* How a card gets its PIV application. */
#define CLI_PIV_OPTIONS (CLI_PIV_KEY | CLI_PIV_PIN | CLI_PIV_PUK)

#define CLI_SIGNING_KEYS_MAX 3u

struct cli_args {
    uint64_t given; /* CLI_... */
    bool json;
    const char *word; /* the command's own argument: DIR, SERIAL, FILE */
    const char *dir, *name, *currency, *deposit, *reader, *key, *listen, *port_file, *keylog;
    const char *pin_file, *puk_file, *initial_key, *pin_rules, *contactless, *payees_rule;
    const char *sessions, *card, *account, *confirmed_by, *because, *head, *store, *reason;
    const char *ops, *ops_port_file, *ocsp, *ocsp_port_file, *config, *log, *log_level;
    const char *who, *from, *to, *amount, *reference, *id;
    const char *piv_key, *piv_pin_file, *piv_puk_file;
    const char *roots[LINK_ROOT_MAX], *limits[POLICY_LIMITS_MAX], *payees[POLICY_PAYEES_MAX];
    const char *signing_keys[CLI_SIGNING_KEYS_MAX]; /* NAME=URI */
    size_t root_count, limit_count, payee_count, signing_key_count;
    const char *hosts[BANK_HOSTS_MAX];
    uint8_t profiles[BANK_HOSTS_MAX]; /* of each host; 0: not given */
    size_t host_count;
    int64_t customer, time;
    int requests_per_minute, payments_per_minute;
    int days, pin_min, pin_max, pin_tries;
};

/* A command: CW_OK, or an error and its sentence. Writes its answer to stdout. */
struct cli_command {
    const char *words; /* "card issue" */
    const char *word;  /* name of its argument, NULL for none */
    uint64_t takes, wants;
    enum cw_err (*run)(const struct cli_args *args, struct say *why);
    const char *usage, *help;
};
extern const struct cli_command cli_commands[]; /* ends with words NULL */

/* Runs what `argv` says; the value is the exit code. */
int cli_run(int argc, char **argv);

#endif
