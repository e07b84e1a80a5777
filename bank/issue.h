/* issue.h - personalises a blank card for a customer: keys made in the card, certificates, roots,
 * permitted servers, time and PIN. docs/bank.md has the order of the steps, and why. */
#ifndef CARDWIRE_BANK_ISSUE_H
#define CARDWIRE_BANK_ISSUE_H

#include "bank/bank.h"
#include "proto/policy.h"
#include "terminal/applet.h"

#define ISSUE_NO_PERCENT (-1)

struct issue_options {
    int64_t customer;
    const char *reader;              /* URI, reader/reader.h */
    const char *initial_key;         /* file with the maker's key; NULL: the well-known */
    bool give_keys_again;            /* also where the ledger says that they were given before */
    bool p256, rsa;                  /* which kinds of keys; at least one */
    const char *pin_file, *puk_file; /* NULL: made at random, into a mailer file */
    bool transport_pin;              /* the holder must change the PIN first */
    bool personalise_only;           /* not activated: it goes by mail */
    bool piv, piv_rsa;               /* the PIV application as well (piv.h), with RSA keys */
    const char *piv_pin_file;        /* NULL: made at random, into a file of its own */
    const char *piv_puk_file;
    struct policy policy;                  /* terms.h */
    const char *payees[POLICY_PAYEES_MAX]; /* accounts of this bank */
    size_t payee_count;
    const char *confirmed;                   /* how the bank knows of them; NULL: by the contract */
    const uint8_t *replaces;                 /* NULL, or serial of the card whose place it takes */
    struct applet_name names[LINK_NAME_MAX]; /* servers that the card may talk to */
    size_t name_count;                       /* 0: the bank's own, all profiles */
    const char *root_file;                   /* NULL, or PEM of a second root for servers */
    int days;                                /* validity of the card's certificates */
    int64_t time;                            /* the card's floor of time; -1: now */
    /* NULL, or called before each step, with ISSUE_NO_PERCENT, and while a step goes on that knows
     * how far it is. */
    void (*progress)(void *ctx, const char *step, int percent);
    /* NULL, or called with what whoever issues the card should know. */
    void (*warn)(void *ctx, const char *sentence);
    void *progress_ctx; /* of both */
};

struct issue_result {
    uint8_t serial[ORDER_SERIAL_LEN];
    uint8_t keys;              /* mask, bit slot-1 */
    struct reader_stats spent; /* what crossed the reader */
    bool resumed;              /* an issuance cut short after the card was complete */
    enum ledger_card_status status;
    char mailer[BANK_PATH_MAX];     /* file with PIN and PUK, "" when both came from files */
    char piv_mailer[BANK_PATH_MAX]; /* the same of PIV */
};

/* CW_ERR_STATE when the card is not blank, or is and has none of the keys that were given to one of
 * its serial; otherwise the errors of ca.h, ledger.h, applet.h. After
 * a failure the card is either blank, and may be issued again, or active and `issuing` in the
 * ledger: then the same call completes it. */
CW_MUST_USE enum cw_err issue_card(struct bank *bank, const struct issue_options *options,
                                   struct issue_result *out, struct say *why);

#endif
