/* cli.h - inside the program `cardwire` only: options, how it speaks to people and to programs, and
 * the steps that its commands share. docs/terminal.md is the guide to it. */
#ifndef CARDWIRE_TERMINAL_CLI_H
#define CARDWIRE_TERMINAL_CLI_H

#include "host/net.h"
#include "terminal/bank.h"
#include "terminal/pump.h"
#include "terminal/sync.h"

#include <stdbool.h>

/* How objects are written; six digits are plenty for milliseconds. */
#define CLI_JSON (JSON_COMPACT | JSON_REAL_PRECISION(6))

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_CARD_REFUSED = 3,   /* the card refused the server, or by its policy the order */
    CLI_SERVER_REFUSED = 4, /* the server or the bank refused, or answered nonsense */
    CLI_PIN = 5,            /* wrong, blocked, or not given */
    CLI_CARD = 6,           /* reader or card trouble */
    CLI_NET = 7,            /* connection trouble */
};

struct cli_options {
    const char *reader, *server, *name, *pin_file, *new_pin_file, *puk_file;
    const char *account, *from, *to, *amount, *currency, *reference, *order_id, *receipt;
    const char *order, *out, *save, *resend, *cert, *vpcd, *root, *format, *since;
    enum link_profile profile;
    enum link_key key;
    unsigned limit;
    bool json, yes, extended, full, handshake_only, progress, no_sync;
};

struct cli {
    struct cli_options opt;
    const char *command;
    /* What went wrong, for the last line that the program writes. */
    struct say why;
    enum cli_exit code;
    const char *error;   /* stable name */
    const char *reason;  /* the card's, or the bank's problem; NULL if none */
    const char *refusal; /* what of its policy the card held against the order; NULL if nothing */
    struct pump_failure failure;
    struct reader_stats spent; /* what crossed the reader, once the session is closed */
    char reason_text[64];
    char order[2 * ORDER_ID_LEN + 1]; /* the order that was sent; "" if none was */
    const char *booked;               /* what is known of it: "unknown", "no", "before", "yes" */
    bool tty;                         /* stderr is a terminal */
    bool progress_shown;              /* a line of progress stands on it */
    uint64_t progress_ns;             /* when the last one was written */
};

/* Takes the line of progress away, before anything else is written. */
void cli_progress_end(struct cli *c);

/* A card in a reader and a line through it to the server. Zero-initialise. */
struct cli_session {
    struct cli *cli;
    struct reader *reader;
    struct applet_info card; /* as it was when it was opened */
    struct net_address address;
    char name[LINK_HOST_MAX + 1]; /* opened for */
    int fd;                       /* valid when connected */
    bool connected;
    struct pump *line;
    struct applet_session tls; /* after cli_session_open */
    struct bank bank;
    json_t *login;        /* after cli_session_login */
    struct sync sync;     /* after cli_session_sync */
    enum cw_err sync_err; /* why the card was not brought up to date */
    struct say sync_why;
    uint64_t began_ns, opened_ns; /* the handshake, by CLOCK_MONOTONIC */
    struct pump_stats handshake;
};

/* Records a failure; returns `code`. `c->why` holds the sentence already. */
enum cli_exit cli_fail(struct cli *c, enum cli_exit code, enum cw_err err);
/* Records a failure whose sentence is made here. */
enum cli_exit cli_fail_say(struct cli *c, enum cli_exit code, enum cw_err err, const char *format,
                           ...) __attribute__((format(printf, 4, 5)));
/* Failures of the reader and the card's commands: CLI_CARD, or CLI_PIN when it is about the PIN. */
enum cli_exit cli_fail_card(struct cli *c, enum cw_err err);
/* Failures of a line or of the bank over it: chooses by who refused. */
enum cli_exit cli_fail_line(struct cli *c, const struct cli_session *s, enum cw_err err);

/* One JSON object on one line of stdout; takes the reference. "ok": true is put in first. */
enum cli_exit cli_emit(struct cli *c, json_t *object);
/* A sentence as it may be shown: whatever a stranger's name in it holds, it commands no screen. */
#define CLI_SHOWN_MAX (3 * sizeof((struct say *)NULL)->text)
const char *cli_shown(const struct say *why, char out[CLI_SHOWN_MAX]);
/* The last words after a failure: a sentence on stderr, or an object on stdout with --json. */
void cli_report(const struct cli *c);

/* The card's application is selected, and s->card is what it says of itself. */
enum cli_exit cli_card_open(struct cli *c, struct cli_session *s);
/* The card's application is selected, the PIN given, the server reached and the handshake done. */
enum cli_exit cli_session_open(struct cli *c, struct cli_session *s);
/* The same up to the PIN and the connection, so that the caller runs the handshake itself. */
enum cli_exit cli_session_prepare(struct cli *c, struct cli_session *s, struct pump_config *config);
/* cli_session_open, and the report to the bank. */
enum cli_exit cli_session_login(struct cli *c, struct cli_session *s);
/* Brings the card up to date (terminal/sync.h), unless --no-sync. A failure is kept in s, and never
 * one of what the line was opened for. */
void cli_session_sync(struct cli *c, struct cli_session *s, int64_t age);
/* After it: a failure is said, and a card that was locked or terminated is one of the command. */
enum cli_exit cli_session_synced(struct cli *c, struct cli_session *s);
/* All of it: log in, bring the card up to date; and a new line if that broke this one. */
enum cli_exit cli_session_begin(struct cli *c, struct cli_session *s);
/* Hangs up, and logs in over a new line. */
enum cli_exit cli_session_again(struct cli *c, struct cli_session *s);
/* Is the card fit for use, as far as can be told before a PIN is asked for? */
enum cli_exit cli_card_usable(struct cli *c, struct cli_session *s);
/* A card that its bank has not activated, or has locked or ended, is a failure of that name. */
enum cli_exit cli_card_alive(struct cli *c, enum link_life life);
/* Is the card on contacts, or does its policy permit this (POLICY_*_CONTACTLESS) over the air?
 * Asked before a PIN goes out in clear; `what` completes "this card ...". */
enum cli_exit cli_air_check(struct cli *c, struct cli_session *s, uint8_t flag, const char *what);
/* Asks for the PIN, or reads it, gives it to the card for `use` and wipes it. */
enum cli_exit cli_pin_verify(struct cli *c, struct cli_session *s, uint8_t use,
                             const char *purpose);
/* Ends the line in good order if it is open, and lets go of everything but the reader. */
void cli_session_hang_up(struct cli_session *s);
void cli_session_close(struct cli_session *s);
/* What the line is, and what it took, for JSON. */
json_t *cli_session_json(const struct cli_session *s);
json_t *cli_stats_json(const struct pump_stats *stats);
void cli_session_print(const struct cli_session *s);
const char *cli_suite_name(uint16_t suite);
const char *cli_tls_name(uint16_t version);
/* --account or --from, else the customer's only account. CW_OK, or the failure recorded. */
enum cli_exit cli_account_choose(struct cli *c, struct cli_session *s, const char *wanted,
                                 char out[ORDER_ACCOUNT_MAX + 1], char currency[4]);
/* What the issuer permits, and what a new PIN must be: "4 to 12 digits, not ...". */
json_t *cli_policy_json(const struct policy *policy);
void cli_policy_print(const struct policy *policy);
json_t *cli_tries_json(const struct applet_info *info);
#define CLI_TIME_MAX 24u
const char *cli_time_text(int64_t seconds, char out[CLI_TIME_MAX]);
#define CLI_RULES_MAX 96u
const char *cli_rules_text(const struct policy_pin *rules, char out[CLI_RULES_MAX]);
bool cli_hex_parse(const char *text, uint8_t *out, size_t len);
void cli_hex_write(const uint8_t *data, size_t len, char *out); /* 2*len+1 characters */

/* A member as text; "" if it is absent or no string. */
const char *cli_text(const json_t *o, const char *key);

enum cli_exit cli_readers(struct cli *c);
enum cli_exit cli_card(struct cli *c, int argc, char **argv);
enum cli_exit cli_card_payees(struct cli *c, struct cli_session *s);
enum cli_exit cli_card_update(struct cli *c, struct cli_session *s);
enum cli_exit cli_pin(struct cli *c, int argc, char **argv);
enum cli_exit cli_login(struct cli *c);
enum cli_exit cli_balance(struct cli *c);
enum cli_exit cli_statement(struct cli *c);
enum cli_exit cli_receipt(struct cli *c, int argc, char **argv);
enum cli_exit cli_pay(struct cli *c);
enum cli_exit cli_payee(struct cli *c, int argc, char **argv);
enum cli_exit cli_notifications(struct cli *c);
enum cli_exit cli_connect(struct cli *c);
enum cli_exit cli_trace(struct cli *c);
enum cli_exit cli_share(struct cli *c);

#endif
