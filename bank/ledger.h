/* ledger.h - the bank's books: customers, accounts, cards and their certificates, a double-entry
 * journal that is only ever appended to, and payments with the order that caused them. What stands
 * behind it is a store (ledger_sqlite.c and its siblings); nothing here knows TLS, JSON or cards'
 * commands.
 *
 * All functions that take `why` set a sentence there on failure (it may be NULL). Common errors:
 * CW_ERR_BUSY (locked by another program), CW_ERR_IO, CW_ERR_NOT_FOUND, CW_ERR_EXISTS. */
#ifndef CARDWIRE_BANK_LEDGER_H
#define CARDWIRE_BANK_LEDGER_H

#include "bank/account.h"
#include "host/say.h"
#include "proto/order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_SCHEMA         1
#define LEDGER_CERT_MAX       2048u /* bytes of DER */
#define LEDGER_SIGNATURE_MAX  512u  /* bytes */
#define LEDGER_STATEMENT_MAX  100u  /* transactions in one statement */
#define LEDGER_CERTS_PER_CARD 4u

struct ledger;

/* Where the time comes from: seconds since 1970, UTC. */
struct ledger_clock {
    int64_t (*now)(void *ctx);
    void *ctx;
};
extern const struct ledger_clock ledger_clock_system;

/* ---- opening ---- */

/* Makes an empty ledger in a file that must not exist. */
CW_MUST_USE enum cw_err ledger_create(const char *path, const struct ledger_clock *clock,
                                      struct ledger **out, struct say *why);
/* CW_ERR_NEWER when a newer program made it, CW_ERR_FORMAT when the file is no ledger. */
CW_MUST_USE enum cw_err ledger_open(const char *path, const struct ledger_clock *clock,
                                    struct ledger **out, struct say *why);
void ledger_free(struct ledger **ledger);
int64_t ledger_now(const struct ledger *l);

/* Settings of the bank: short texts by name, written once. */
CW_MUST_USE enum cw_err ledger_setting_put(struct ledger *l, const char *name, const char *value,
                                           struct say *why);
CW_MUST_USE enum cw_err ledger_setting_get(struct ledger *l, const char *name, char *out,
                                           size_t cap, struct say *why);

/* ---- customers and accounts ---- */

struct ledger_customer {
    int64_t id;
    char name[ORDER_NAME_MAX + 1];
    int64_t since; /* seconds since 1970 */
};

struct ledger_account {
    char number[ACCOUNT_NUMBER_LEN + 1];
    int64_t customer;              /* 0: the bank's own */
    char name[ORDER_NAME_MAX + 1]; /* of the holder */
    char currency[4];
    int64_t balance; /* minor units */
};

/* The name must be fit for an order's text: CW_ERR_FORMAT, CW_ERR_LENGTH. */
CW_MUST_USE enum cw_err ledger_customer_add(struct ledger *l, const char *name, int64_t *id,
                                            struct say *why);
CW_MUST_USE enum cw_err ledger_customer_get(struct ledger *l, int64_t id,
                                            struct ledger_customer *out, struct say *why);
CW_MUST_USE enum cw_err
ledger_customer_each(struct ledger *l, void (*each)(void *ctx, const struct ledger_customer *c),
                     void *ctx, struct say *why);

/* Opens an account; a deposit above 0 is posted from the bank's cash account of that currency, in
 * the same transaction. */
CW_MUST_USE enum cw_err ledger_account_open(struct ledger *l, int64_t customer,
                                            const char currency[4], int64_t deposit,
                                            struct ledger_account *out, struct say *why);
/* Also finds the bank's own accounts, by "CASH-EUR". */
CW_MUST_USE enum cw_err ledger_account_get(struct ledger *l, const char *number,
                                           struct ledger_account *out, struct say *why);
/* The accounts of `customer`; of everybody, the bank included, when it is -1. */
CW_MUST_USE enum cw_err ledger_account_each(struct ledger *l, int64_t customer,
                                            void (*each)(void *ctx, const struct ledger_account *a),
                                            void *ctx, struct say *why);

/* ---- cards ---- */

enum ledger_card_status {
    LEDGER_CARD_ISSUING = 1, /* being personalised: neither line nor order */
    LEDGER_CARD_ACTIVE = 2,
    LEDGER_CARD_BLOCKED = 3,
};
const char *ledger_card_status_name(enum ledger_card_status status);

struct ledger_card {
    uint8_t serial[ORDER_SERIAL_LEN];
    int64_t customer;
    enum ledger_card_status status;
    int64_t since; /* seconds since 1970 */
};

enum ledger_cert_kind {
    LEDGER_CERT_TLS = 1,   /* speaks for the card in a handshake, and nowhere else */
    LEDGER_CERT_ORDER = 2, /* signs orders, and nothing else */
};

struct ledger_certificate {
    enum ledger_cert_kind kind;
    unsigned slot; /* enum link_key */
    uint8_t sha256[32];
    uint8_t card[ORDER_SERIAL_LEN];
    uint8_t der[LEDGER_CERT_MAX];
    size_t der_len;
};

/* Writes the card as `issuing` with its certificates (kind, slot, DER; the rest is filled in).
 * A card that is `issuing` already starts anew. CW_ERR_EXISTS when it is active or blocked. */
CW_MUST_USE enum cw_err ledger_card_begin(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          int64_t customer, struct ledger_certificate *certs,
                                          size_t count, struct say *why);
/* From `issuing` to `active`, once the card itself is; CW_ERR_STATE otherwise. */
CW_MUST_USE enum cw_err
ledger_card_activate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], struct say *why);
/* Blocks or unblocks; CW_ERR_STATE when the card is neither active nor blocked. Blocking a blocked
 * card is no error. */
CW_MUST_USE enum cw_err ledger_card_block(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          bool blocked, struct say *why);
CW_MUST_USE enum cw_err ledger_card_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                        struct ledger_card *out, struct say *why);
CW_MUST_USE enum cw_err ledger_card_each(struct ledger *l,
                                         void (*each)(void *ctx, const struct ledger_card *c),
                                         void *ctx, struct say *why);
/* Finds a certificate by the SHA-256 of its DER: what was issued, to the byte. */
CW_MUST_USE enum cw_err ledger_certificate_find(struct ledger *l, const uint8_t sha256[32],
                                                struct ledger_certificate *out, struct say *why);
/* Certificates of one card and kind into out[0..LEDGER_CERTS_PER_CARD), by slot. */
CW_MUST_USE enum cw_err ledger_certificates_get(struct ledger *l,
                                                const uint8_t serial[ORDER_SERIAL_LEN],
                                                enum ledger_cert_kind kind,
                                                struct ledger_certificate *out, size_t *count,
                                                struct say *why);

/* ---- payments ---- */

/* An order whose signature, card and line were found good. */
struct ledger_order {
    struct order_fields fields;
    struct order_seal seal;
    uint8_t request[32]; /* SHA-256 that tells a repeated request from another one */
    const uint8_t *text; /* what was signed */
    size_t text_len;
    const uint8_t *signature;
    size_t signature_len;
    uint8_t certificate[32]; /* SHA-256 of the order certificate that verified it */
};

/* What a booked payment is called from then on. */
struct ledger_booking {
    int64_t id;      /* journal entry */
    int64_t time;    /* seconds since 1970 */
    int64_t balance; /* of the payer, after it */
};

enum ledger_verdict {
    LEDGER_BOOKED = 1,
    LEDGER_REPEATED,        /* same order, same request: it was booked before */
    LEDGER_CONFLICT,        /* same order id, other request */
    LEDGER_COUNTER_USED,    /* the card's counter belongs to another order */
    LEDGER_CARD_NOT_ACTIVE, /* blocked since the line was opened */
    LEDGER_ACCOUNT_UNKNOWN, /* payer is none, or not the customer's */
    LEDGER_PAYEE_UNKNOWN,
    LEDGER_PAYEE_NAME, /* the order names somebody else than the holder */
    LEDGER_CURRENCY,
    LEDGER_SAME_ACCOUNT,
    LEDGER_FUNDS,
    LEDGER_UNKNOWN, /* the commit failed half-way: only asking again with the same order can tell */
};

/* Books an order in one transaction, together with the reply that `reply` makes of the booking
 * (malloc'd, NULL on failure): when this returns CW_OK with LEDGER_BOOKED, all of it is on disk;
 * with LEDGER_UNKNOWN, `why` says what failed; in every other case nothing was changed. */
CW_MUST_USE enum cw_err ledger_payment_book(struct ledger *l, const struct ledger_order *order,
                                            char *(*reply)(void *ctx, const struct ledger_order *o,
                                                           const struct ledger_booking *b),
                                            void *ctx, enum ledger_verdict *verdict,
                                            struct say *why);

/* A payment as stored. Freed with ledger_payment_free. */
struct ledger_payment {
    int64_t id;
    int64_t customer; /* of the payer */
    uint8_t request[32];
    uint8_t card[ORDER_SERIAL_LEN];
    uint8_t certificate[32];
    uint8_t text[ORDER_TEXT_MAX];
    size_t text_len;
    uint8_t signature[LEDGER_SIGNATURE_MAX];
    size_t signature_len;
    char *reply;
};

CW_MUST_USE enum cw_err ledger_payment_find(struct ledger *l, const uint8_t order_id[ORDER_ID_LEN],
                                            struct ledger_payment **out, struct say *why);
void ledger_payment_free(struct ledger_payment **payment);

/* ---- statements and totals ---- */

struct ledger_transaction {
    int64_t id;
    int64_t time;
    int64_t amount;  /* signed: negative left the account */
    int64_t balance; /* after it */
    char other_account[ACCOUNT_NUMBER_LEN + 1];
    char other_name[ORDER_NAME_MAX + 1];
    char reference[ORDER_REFERENCE_MAX + 1];
    bool has_order;
    uint8_t order[ORDER_ID_LEN];
};

/* Newest first into out[0..limit); limit 1..LEDGER_STATEMENT_MAX. */
CW_MUST_USE enum cw_err ledger_statement_get(struct ledger *l, const char *number, size_t limit,
                                             struct ledger_transaction *out, size_t *count,
                                             struct say *why);

struct ledger_totals {
    int64_t customers, accounts, cards, entries, payments;
    int64_t unbalanced;     /* entries whose postings do not sum to zero */
    int64_t wrong_balance;  /* accounts whose balance is not the sum of their postings */
    int64_t currencies_off; /* currencies whose accounts do not sum to zero */
};
CW_MUST_USE enum cw_err ledger_totals_get(struct ledger *l, struct ledger_totals *out,
                                          struct say *why);

#endif
