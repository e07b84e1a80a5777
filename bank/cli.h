/* cli.h - the command line of cardwired: what each command takes is a row of a table, checked
 * before the command runs. */
#ifndef CARDWIRE_BANK_CLI_H
#define CARDWIRE_BANK_CLI_H

#include "bank/bank.h"

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
enum {
    CLI_DIR = 1 << 0,
    CLI_NAME = 1 << 1,
    CLI_SERVER = 1 << 2,
    CLI_PROFILES = 1 << 3,
    CLI_VALID = 1 << 4,
    CLI_CUSTOMER = 1 << 5,
    CLI_CURRENCY = 1 << 6,
    CLI_DEPOSIT = 1 << 7,
    CLI_READER = 1 << 8,
    CLI_KEY = 1 << 9,
    CLI_PIN = 1 << 10,
    CLI_ROOT = 1 << 11,
    CLI_DAYS = 1 << 12,
    CLI_TIME = 1 << 13,
    CLI_LISTEN = 1 << 14,
    CLI_PORT_FILE = 1 << 15,
    CLI_KEYLOG = 1 << 16,
};

struct cli_args {
    unsigned given; /* CLI_... */
    bool json;
    const char *word; /* the command's own argument: DIR, SERIAL */
    const char *dir, *name, *currency, *deposit, *reader, *key, *pin_file, *root, *listen;
    const char *port_file, *keylog;
    const char *hosts[BANK_HOSTS_MAX];
    uint8_t profiles[BANK_HOSTS_MAX]; /* of each host; 0: not given */
    size_t host_count;
    int64_t customer, time;
    int days;
};

/* A command: CW_OK, or an error and its sentence. Writes its answer to stdout. */
struct cli_command {
    const char *words; /* "card issue" */
    const char *word;  /* name of its argument, NULL for none */
    unsigned takes, wants;
    enum cw_err (*run)(const struct cli_args *args, struct say *why);
    const char *usage, *help;
};
extern const struct cli_command cli_commands[]; /* ends with words NULL */

/* Runs what `argv` says; the value is the exit code. */
int cli_run(int argc, char **argv);

#endif
