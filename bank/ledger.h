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
#include "proto/issuer.h"
#include "proto/order.h"
#include "proto/policy.h"
#include "receipt/receipt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_SCHEMA         9
#define LEDGER_CERT_MAX       RECEIPT_CERT_MAX    /* bytes of DER */
#define LEDGER_SIGNATURE_MAX  ENTRY_SIGNATURE_MAX /* bytes */
#define LEDGER_CERTS_PER_CARD 4u
#define LEDGER_CONFIRMED_MAX  200u       /* bytes of how a payee was confirmed */
#define LEDGER_HASH_LEN       DIGEST_LEN /* SHA-256 */
#define LEDGER_SALT_LEN       16u        /* random, of each entry */
#define LEDGER_LEGS_MAX       64u        /* postings of one entry */
#define LEDGER_WHO_MAX        64u        /* bytes of an operator's name */
#define LEDGER_WHAT_MAX       32u
#define LEDGER_SUBJECT_MAX    250u
#define LEDGER_KEY_MAX        64u

struct ledger;

/* Where the time comes from: seconds since 1970, UTC. */
struct ledger_clock {
    int64_t (*now)(void *ctx);
    void *ctx;
};
extern const struct ledger_clock ledger_clock_system;

/* ---- opening ---- */

/* Where the books are: a file (SQLite), or the address of a database, "postgresql://..." as libpq
 * takes it (PostgreSQL 15 or later). */
bool ledger_is_address(const char *where);

/* Makes an empty ledger in a file that must not exist, or in a database that holds none. */
CW_MUST_USE enum cw_err ledger_create(const char *where, const struct ledger_clock *clock,
                                      struct ledger **out, struct say *why);
/* CW_ERR_NEWER when a newer program made it, CW_ERR_FORMAT when what is there is no ledger. */
CW_MUST_USE enum cw_err ledger_open(const char *where, const struct ledger_clock *clock,
                                    struct ledger **out, struct say *why);
void ledger_free(struct ledger **ledger);
/* One state of the books into a file that must not exist, while others go on writing; it is on the
 * disk when this returns, and gone when it fails. */
CW_MUST_USE enum cw_err ledger_copy(struct ledger *l, const char *path, struct say *why);
/* All books of `from` as of one moment into `to`, which was made by ledger_create and holds
 * nothing; in one transaction. `progress` may be NULL; it counts entries. CW_ERR_FORMAT when the
 * chain of `from` is broken. */
CW_MUST_USE enum cw_err ledger_transfer(struct ledger *from, struct ledger *to,
                                        void (*progress)(void *ctx, int64_t done, int64_t total),
                                        void *ctx, struct say *why);
/* Inside ledger_together: nothing is ever written to this file again, whoever has it open. Only for
 * a file: CW_ERR_UNSUPPORTED. */
CW_MUST_USE enum cw_err ledger_close_books(struct ledger *l, struct say *why);
CW_MUST_USE enum cw_err ledger_books_closed(struct ledger *l, bool *out, struct say *why);
int64_t ledger_now(const struct ledger *l);
/* Whether the store would take a booking now; books nothing. CW_ERR_NOT_FOUND when it was moved or
 * removed, CW_ERR_SPACE when its disk is full. */
CW_MUST_USE enum cw_err ledger_writable(struct ledger *l, struct say *why);

/* Who changes the books by this connection: customers, accounts, cards, settings. From then on each
 * change is a line of the log (ledger_work.h). Without it there is none: the bank itself is at
 * work. CW_ERR_ARG. */
CW_MUST_USE enum cw_err ledger_operator_set(struct ledger *l, const char *who, struct say *why);
const char *ledger_operator_get(const struct ledger *l); /* "": none */

/* Runs `act` in one transaction: all that it writes, or none. It must not call what says of itself
 * that it is one already. */
CW_MUST_USE enum cw_err ledger_together(struct ledger *l,
                                        enum cw_err (*act)(void *ctx, struct say *why), void *ctx,
                                        struct say *why);

/* Runs `act` on one state of the books, whatever is booked meanwhile. It must not write. */
CW_MUST_USE enum cw_err ledger_snapshot(struct ledger *l,
                                        enum cw_err (*act)(void *ctx, struct say *why), void *ctx,
                                        struct say *why);

/* Settings of the bank: short texts by name, written once or changed from what is known. */
CW_MUST_USE enum cw_err ledger_setting_put(struct ledger *l, const char *name, const char *value,
                                           struct say *why);
/* CW_ERR_STATE when the value is not `from`. */
CW_MUST_USE enum cw_err ledger_setting_change(struct ledger *l, const char *name, const char *from,
                                              const char *to, struct say *why);
CW_MUST_USE enum cw_err ledger_setting_get(struct ledger *l, const char *name, char *out,
                                           size_t cap, struct say *why);

/* ---- customers and accounts ---- */

struct ledger_customer {
    int64_t id;
    char name[ORDER_NAME_MAX + 1];
    int64_t since; /* seconds since 1970 */
};

struct ledger_account {
    int64_t row; /* what postings call it by */
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
/* A frozen account neither pays nor is paid by orders, and nothing is held of it. */
CW_MUST_USE enum cw_err ledger_account_freeze(struct ledger *l, const char *number, bool frozen,
                                              struct say *why);
/* Also finds the bank's own accounts, by "CASH-EUR". */
CW_MUST_USE enum cw_err ledger_account_get(struct ledger *l, const char *number,
                                           struct ledger_account *out, struct say *why);
/* The accounts of `customer`; of everybody, the bank included, when it is -1. */
CW_MUST_USE enum cw_err ledger_account_each(struct ledger *l, int64_t customer,
                                            void (*each)(void *ctx, const struct ledger_account *a),
                                            void *ctx, struct say *why);

/* ---- cards ---- */

enum ledger_card_status {
    LEDGER_CARD_ISSUING = 1,      /* being personalised: neither line nor order */
    LEDGER_CARD_PERSONALISED = 2, /* complete, on its way to the holder: neither as well */
    LEDGER_CARD_ACTIVE = 3,
    LEDGER_CARD_BLOCKED = 4,
    LEDGER_CARD_TERMINATED = 5, /* for ever */
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
    LEDGER_CERT_PIV = 3,   /* of the PIV application: opens no line and signs no order */
};

struct ledger_certificate {
    enum ledger_cert_kind kind;
    unsigned slot; /* enum link_key; PIV_REF_* */
    uint8_t sha256[32];
    uint8_t card[ORDER_SERIAL_LEN];
    uint8_t der[LEDGER_CERT_MAX];
    size_t der_len;
};

/* How the bank will manage a card that it issues. */
struct ledger_terms {
    unsigned keyset; /* version, 1..127 */
    struct policy policy;
    const struct policy_payee *payees;
    size_t payee_count;
    const char *confirmed; /* how; NULL: by the contract itself */
};

/* Writes that keys derived for that serial are about to be given to a card, before they are. Once
 * they were, for all that anybody knows, CW_ERR_STATE: the card that says this serial may not be
 * the one that has them. `again` gives them once more, though not to a card that was issued
 * (CW_ERR_EXISTS). */
CW_MUST_USE enum cw_err ledger_card_keys_give(struct ledger *l,
                                              const uint8_t serial[ORDER_SERIAL_LEN], bool again,
                                              struct say *why);
/* Writes the card as `issuing` with its certificates (kind, slot, DER; the rest is filled in) and
 * terms (NULL: the card is none that can be managed), in one transaction. A card that is `issuing`
 * already starts anew. CW_ERR_EXISTS when it was issued. */
CW_MUST_USE enum cw_err ledger_card_begin(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          int64_t customer, struct ledger_certificate *certs,
                                          size_t count, const struct ledger_terms *terms,
                                          struct say *why);
/* From `issuing` to `personalised`, and from either to `active`, once the card itself is;
 * CW_ERR_STATE otherwise. */
CW_MUST_USE enum cw_err
ledger_card_personalise(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], struct say *why);
CW_MUST_USE enum cw_err
ledger_card_activate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], struct say *why);
/* For ever, and its certificates are revoked (ledger_revoke.h); from any status but `issuing`. A
 * terminated card is no error. */
CW_MUST_USE enum cw_err
ledger_card_terminate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], struct say *why);
/* Blocks or unblocks, with its certificates; CW_ERR_STATE when the card is neither active nor
 * blocked. Blocking a blocked card is no error. */
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
/* All of them, of every kind. */
CW_MUST_USE enum cw_err ledger_certificate_each(struct ledger *l,
                                                void (*each)(void *ctx,
                                                             const struct ledger_certificate *c),
                                                void *ctx, struct say *why);
/* The certificates that one card of a kind has now into out[0..LEDGER_CERTS_PER_CARD), by slot. */
CW_MUST_USE enum cw_err ledger_certificates_get(struct ledger *l,
                                                const uint8_t serial[ORDER_SERIAL_LEN],
                                                enum ledger_cert_kind kind,
                                                struct ledger_certificate *out, size_t *count,
                                                struct say *why);

/* Whether there is any of that kind. */
CW_MUST_USE enum cw_err ledger_certificates_any(struct ledger *l, enum ledger_cert_kind kind,
                                                bool *out, struct say *why);
/* Writes the PIV certificates of a card (slot, DER; the rest is filled in) in the place of those
 * that it had, in one transaction. CW_ERR_NOT_FOUND; CW_ERR_STATE when it is terminated. */
CW_MUST_USE enum cw_err ledger_piv_put(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                       struct ledger_certificate *certs, size_t count,
                                       struct say *why);

/* ---- managing a card ---- */

struct ledger_management {
    unsigned keyset;
    struct policy policy; /* as issued, or of the last update that was made */
    uint32_t made;        /* sequence of that update; 0: none */
    uint32_t applied;     /* last that the card was said to have taken; the card itself knows */
    size_t pending;       /* how many updates are above it */
};

/* CW_ERR_NOT_FOUND; CW_ERR_STATE when it was issued at a time when cards took no updates, or is
 * `issuing` or terminated. */
CW_MUST_USE enum cw_err ledger_management_get(struct ledger *l,
                                              const uint8_t serial[ORDER_SERIAL_LEN],
                                              struct ledger_management *out, struct say *why);
/* The same of a terminated card as well: what was done with it stays to be seen. */
CW_MUST_USE enum cw_err ledger_management_read(struct ledger *l,
                                               const uint8_t serial[ORDER_SERIAL_LEN],
                                               struct ledger_management *out, struct say *why);
/* Whether there is a card with a key set of this bank. */
CW_MUST_USE enum cw_err ledger_management_any(struct ledger *l, bool *out, struct say *why);
CW_MUST_USE enum cw_err ledger_policy_put(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          const struct policy *policy, struct say *why);

/* A signed update of a card; the messages are kept for ever. */
struct ledger_update {
    uint32_t sequence;
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t len;
    int64_t made;
    int64_t fetched; /* first given out over the card's line; 0: not yet */
};

/* CW_ERR_EXISTS when the sequence was used. */
CW_MUST_USE enum cw_err ledger_update_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          uint32_t sequence, const uint8_t *message, size_t len,
                                          struct say *why);
/* Those with a sequence above `after`, in order, into out[0..cap). */
CW_MUST_USE enum cw_err ledger_updates_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                           uint32_t after, struct ledger_update *out, size_t cap,
                                           size_t *count, struct say *why);
/* Those above `after` were given out, up to this one. */
CW_MUST_USE enum cw_err ledger_updates_fetched(struct ledger *l,
                                               const uint8_t serial[ORDER_SERIAL_LEN],
                                               uint32_t after, uint32_t up_to, struct say *why);
/* The card is said to have taken this one; never goes back. CW_ERR_NOT_FOUND when there is none of
 * that sequence; 0 is always there. */
CW_MUST_USE enum cw_err ledger_update_applied(struct ledger *l,
                                              const uint8_t serial[ORDER_SERIAL_LEN],
                                              uint32_t sequence, struct say *why);

/* A payee that is, or was, on a card's list. */
struct ledger_payee {
    struct policy_payee payee;
    int64_t added;
    char confirmed[LEDGER_CONFIRMED_MAX + 1]; /* how the bank knows that the holder wants it */
    int64_t removed;                          /* 0: is on it */
};

/* CW_ERR_EXISTS when the account is on the list, CW_ERR_SPACE when that is full, CW_ERR_FORMAT for
 * a `confirmed` that is empty, too long or no clean text. */
CW_MUST_USE enum cw_err ledger_payee_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                         const struct policy_payee *payee, const char *confirmed,
                                         struct say *why);
/* CW_ERR_NOT_FOUND when it is not on the list. */
CW_MUST_USE enum cw_err ledger_payee_remove(struct ledger *l,
                                            const uint8_t serial[ORDER_SERIAL_LEN],
                                            const char *account, struct say *why);
/* The list as the card is to have it, into out[0..POLICY_PAYEES_MAX). */
CW_MUST_USE enum cw_err ledger_payees_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          struct policy_payee *out, size_t *count, struct say *why);
/* All that ever were on it. */
CW_MUST_USE enum cw_err ledger_payee_each(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          void (*each)(void *ctx, const struct ledger_payee *p),
                                          void *ctx, struct say *why);

/* What a holder asked for a card's list. Nothing is put on it until the bank knows by another way
 * than the holder's terminal that the holder wants it; what is taken off needs nobody's word. */
enum ledger_payee_request_status {
    LEDGER_REQUEST_OPEN = 1,
    LEDGER_REQUEST_CONFIRMED = 2,
    LEDGER_REQUEST_REFUSED = 3,
};
const char *ledger_payee_request_status_name(enum ledger_payee_request_status status);

struct ledger_payee_request {
    int64_t id;
    uint8_t card[ORDER_SERIAL_LEN];
    bool remove; /* else: add */
    struct policy_payee payee;
    int64_t asked;
    enum ledger_payee_request_status status;
    int64_t decided;                      /* 0 while it is open */
    char words[LEDGER_CONFIRMED_MAX + 1]; /* how it was confirmed, or why it was refused */
};

/* Writes the request; one that is open already and asks the same is found instead (*fresh false).
 * CW_ERR_EXISTS when the account to add is on the list; CW_ERR_NOT_FOUND when the one to remove is
 * not; CW_ERR_SPACE when the list is full, or POLICY_PAYEES_MAX requests of the card are open. */
CW_MUST_USE enum cw_err ledger_payee_request_add(struct ledger *l,
                                                 const uint8_t serial[ORDER_SERIAL_LEN],
                                                 bool remove, const struct policy_payee *payee,
                                                 struct ledger_payee_request *out, bool *fresh,
                                                 struct say *why);
CW_MUST_USE enum cw_err ledger_payee_request_get(struct ledger *l, int64_t id,
                                                 struct ledger_payee_request *out, struct say *why);
/* Those of a card before `before`, newest first, into out[0..limit). */
CW_MUST_USE enum cw_err ledger_payee_requests_get(struct ledger *l,
                                                  const uint8_t serial[ORDER_SERIAL_LEN],
                                                  int64_t before, size_t limit,
                                                  struct ledger_payee_request *out, size_t *count,
                                                  struct say *why);
/* Those that are open, of all cards, oldest first. */
CW_MUST_USE enum cw_err
ledger_payee_request_each(struct ledger *l,
                          void (*each)(void *ctx, const struct ledger_payee_request *r), void *ctx,
                          struct say *why);
/* Ends a request. CW_ERR_STATE when it is not open, CW_ERR_FORMAT for words as of
 * ledger_payee_add. Inside a transaction, or of its own. */
CW_MUST_USE enum cw_err ledger_payee_request_confirm(struct ledger *l, int64_t id,
                                                     const char *words, struct say *why);
/* In a transaction of its own. */
CW_MUST_USE enum cw_err ledger_payee_request_refuse(struct ledger *l, int64_t id, const char *words,
                                                    struct say *why);

/* ---- events ---- */

/* What happened to a customer's cards and their lists, in its order. Money is in the journal. */
enum ledger_event_kind {
    LEDGER_EVENT_CARD_BLOCKED = 1,
    LEDGER_EVENT_CARD_UNBLOCKED = 2,
    LEDGER_EVENT_CARD_TERMINATED = 3,
    LEDGER_EVENT_PAYEE_ASKED = 4, /* for a payee to be put on a list */
    LEDGER_EVENT_PAYEE_REFUSED = 5,
    LEDGER_EVENT_PAYEE_ADDED = 6,
    LEDGER_EVENT_PAYEE_REMOVED = 7,
};
const char *ledger_event_kind_name(enum ledger_event_kind kind);

struct ledger_event {
    int64_t id; /* grows */
    int64_t time;
    enum ledger_event_kind kind;
    uint8_t card[ORDER_SERIAL_LEN];
    struct policy_payee payee;            /* empty texts when it is about none */
    char words[LEDGER_CONFIRMED_MAX + 1]; /* why a payee was refused */
};

/* The customer's events after that id, oldest first, into out[0..limit). */
CW_MUST_USE enum cw_err ledger_events_get(struct ledger *l, int64_t customer, int64_t after,
                                          size_t limit, struct ledger_event *out, size_t *count,
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
    LEDGER_FROZEN,  /* either account */
    LEDGER_LINKED,  /* one that it is linked with is refused */
    LEDGER_UNKNOWN, /* the commit failed half-way: only asking again with the same order can tell */
};

/* Makes the answer to a booked order (malloc'd, NULL: out of memory). `ctx` is the request's. */
typedef char *ledger_reply_make(void *ctx, const struct ledger_order *o,
                                const struct ledger_booking *b);

/* One order to be booked, and what came of it. */
struct ledger_request {
    const struct ledger_order *order;
    bool linked; /* with the next one: both are booked, or none */
    void *ctx;
    bool looked; /* out: whether it was booked before is known, also after an error */
    enum ledger_verdict verdict;
    char *reply; /* of LEDGER_BOOKED: what was stored, the caller's to free */
};

#define LEDGER_BATCH_MAX 256u

/* Books up to LEDGER_BATCH_MAX orders in one transaction, each together with the reply that `make`
 * makes of it; an order that is refused stops no other, but those it is linked with. When this
 * returns CW_OK, all that is LEDGER_BOOKED is on disk; where it is LEDGER_UNKNOWN, `why` says what
 * failed; otherwise nothing was changed. On an error no verdict is set, and nothing was changed. */
CW_MUST_USE enum cw_err ledger_payments_book(struct ledger *l, struct ledger_request *requests,
                                             size_t count, ledger_reply_make *make,
                                             struct say *why);
/* The same for one. The reply goes to `make` alone. */
CW_MUST_USE enum cw_err ledger_payment_book(struct ledger *l, const struct ledger_order *order,
                                            ledger_reply_make *make, void *ctx,
                                            enum ledger_verdict *verdict, struct say *why);

/* Waits until what was read before is as lasting as a booking is: only then may it be told as one.
 * A database with a standby can show what the standby has not yet. Not inside ledger_together. */
CW_MUST_USE enum cw_err ledger_confirm(struct ledger *l, struct say *why);

/* A payment as stored. Freed with ledger_payment_free. */
struct ledger_payment {
    int64_t id;
    int64_t customer; /* of the payer */
    uint8_t order[ORDER_ID_LEN];
    int64_t counter; /* of the card */
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

/* ---- the journal as a chain ---- */

struct ledger_leg {
    int64_t customer; /* who has the account; 0: the bank */
    int64_t account;  /* its row */
    char number[ACCOUNT_NUMBER_LEN + 1];
    char currency[4];
    int64_t amount, balance; /* minor units; the account's after it */
};

/* Who did what no card ordered, and what allows it. */
struct ledger_ground {
    char who[LEDGER_WHO_MAX + 1];
    char approver[LEDGER_WHO_MAX + 1]; /* the second person; empty: none was wanted */
    char what[LEDGER_WHAT_MAX + 1], subject[LEDGER_SUBJECT_MAX + 1];
    char key[LEDGER_KEY_MAX + 1]; /* the caller's, once for ever; empty: none */
    int64_t refers;               /* to an entry before; 0: to none */
};

/* An entry with all that belongs to it. */
struct ledger_entry {
    int64_t id, time;
    char kind[16], reference[ORDER_REFERENCE_MAX + 1];
    struct ledger_leg legs[LEDGER_LEGS_MAX];
    size_t leg_count;
    const struct ledger_payment *payment; /* NULL: none belongs to it */
    const struct ledger_ground *ground;   /* NULL: none */
    bool chained;                         /* `stored` is there */
    uint8_t salt[LEDGER_SALT_LEN];
    uint8_t before[LEDGER_HASH_LEN]; /* of the entry before it; zeros for the first */
    uint8_t stored[LEDGER_HASH_LEN]; /* what the chain says */
    uint8_t hash[LEDGER_HASH_LEN];   /* what it should, by the entry and the hash before */
    uint8_t booked[LEDGER_HASH_LEN], own[LEDGER_HASH_LEN]; /* of which it is made (docs/bank.md) */
};

/* Every entry in its order. `each` stops it by an error, whose sentence is its own. The entry lives
 * until it returns. */
CW_MUST_USE enum cw_err
ledger_entry_each(struct ledger *l,
                  enum cw_err (*each)(void *ctx, const struct ledger_entry *e, struct say *why),
                  void *ctx, struct say *why);
/* One of them, with the hash that it should have by what is stored for the one before it.
 * CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err
ledger_entry_get(struct ledger *l, int64_t id,
                 enum cw_err (*each)(void *ctx, const struct ledger_entry *e, struct say *why),
                 void *ctx, struct say *why);
/* The last entry and its hash; 0 and zeros when there is none. */
CW_MUST_USE enum cw_err ledger_head_get(struct ledger *l, int64_t *entry,
                                        uint8_t hash[LEDGER_HASH_LEN], struct say *why);
/* What there is, whether or not an entry leads to it. */
struct ledger_rows {
    int64_t entries, hashes, postings, payments, grounds;
    int64_t orders_twice;   /* order ids of several payments */
    int64_t counters_twice; /* counters of a card, likewise */
};
CW_MUST_USE enum cw_err ledger_rows_get(struct ledger *l, struct ledger_rows *out, struct say *why);
/* CW_ERR_FORMAT when tables, indexes or triggers are not those that this program makes. */
CW_MUST_USE enum cw_err ledger_schema_check(struct ledger *l, struct say *why);

/* ---- heads of the journal, which the bank has signed ---- */

struct ledger_head {
    int64_t entry;
    uint8_t text[HEAD_TEXT_MAX]; /* receipt/head.h */
    size_t text_len;
    uint8_t signature[SIGNATURE_P256_MAX];
    size_t signature_len;
    uint8_t signer[LEDGER_HASH_LEN]; /* SHA-256 of the certificate */
    uint8_t certificate[LEDGER_CERT_MAX];
    size_t certificate_len;
};

/* The first one from entry `first` to `last`. CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err ledger_head_find(struct ledger *l, int64_t first, int64_t last,
                                         struct ledger_head *out, struct say *why);
/* Keeps it for ever; when there is one of that entry, it stays as it is. */
CW_MUST_USE enum cw_err ledger_head_add(struct ledger *l, const struct ledger_head *head,
                                        struct say *why);
/* The last entry up to `last`, and its hash as the chain has it. CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err ledger_chain_get(struct ledger *l, int64_t last, int64_t *entry,
                                         uint8_t hash[LEDGER_HASH_LEN], struct say *why);
/* All of them, with the hash that the chain has for that entry; NULL when it has none. `each` stops
 * it by an error. */
CW_MUST_USE enum cw_err ledger_head_each(struct ledger *l,
                                         enum cw_err (*each)(void *ctx, const struct ledger_head *h,
                                                             const uint8_t *hash, struct say *why),
                                         void *ctx, struct say *why);
/* The way from entry `id` to that of a head, at most RECEIPT_ENTRIES_MAX further on: fills in all
 * but the head. CW_ERR_FORMAT when the chain does not hold there; then *out is of no use. */
CW_MUST_USE enum cw_err ledger_proof_get(struct ledger *l, int64_t id, int64_t head,
                                         struct receipt_proof *out, struct say *why);

/* ---- statements and totals ---- */

/* Where a posting stands in the journal. */
struct ledger_place {
    int64_t entry;
    uint32_t line;
};
/* Before the first and after the last of them. */
#define LEDGER_FIRST ((struct ledger_place){0, 0})
#define LEDGER_LAST  ((struct ledger_place){INT64_MAX, 0})

struct ledger_transaction {
    struct ledger_place place;
    int64_t time;
    int64_t amount;  /* signed: negative left the account */
    int64_t balance; /* after it */
    char kind[16];   /* of the entry: "deposit", "payment" */
    char other_account[ACCOUNT_NUMBER_LEN + 1];
    char other_name[ORDER_NAME_MAX + 1];
    char reference[ORDER_REFERENCE_MAX + 1];
    bool has_order;
    uint8_t order[ORDER_ID_LEN];
};

/* Which transactions are wanted: all that is said must be so. */
struct ledger_filter {
    int64_t from, to;                  /* from <= time < to */
    int64_t least, most;               /* minor units, whatever the sign */
    int direction;                     /* below 0: left the account; above: came in; 0: both */
    char other[ORDER_ACCOUNT_MAX + 1]; /* the account on the other side; "": any */
    char reference[ORDER_REFERENCE_MAX + 1]; /* a part of it, to the byte; "": any */
};
extern const struct ledger_filter ledger_filter_all;

enum ledger_sort { LEDGER_NEWEST_FIRST, LEDGER_OLDEST_FIRST };

/* The transactions of an account (its row) that lie past a place in that order, into
 * out[0..limit). What is booked meanwhile moves no place. */
CW_MUST_USE enum cw_err
ledger_transactions_get(struct ledger *l, int64_t account, const struct ledger_filter *f,
                        enum ledger_sort sort, const struct ledger_place *past, size_t limit,
                        struct ledger_transaction *out, size_t *count, struct say *why);
/* The same of all accounts of a customer, oldest first; own[i] is the account of out[i]. */
struct ledger_own {
    char account[ACCOUNT_NUMBER_LEN + 1], currency[4];
};
CW_MUST_USE enum cw_err ledger_customer_transactions_get(
    struct ledger *l, int64_t customer, const struct ledger_place *past, size_t limit,
    struct ledger_transaction *out, struct ledger_own *own, size_t *count, struct say *why);
/* What the account held before that second. It adds up all that was posted until then. */
CW_MUST_USE enum cw_err ledger_balance_at(struct ledger *l, int64_t account, int64_t time,
                                          int64_t *out, struct say *why);

struct ledger_totals {
    int64_t customers, accounts, cards, entries, payments;
    int64_t unbalanced;     /* entries whose postings do not sum to zero */
    int64_t wrong_balance;  /* accounts whose balance is not the sum of their postings */
    int64_t currencies_off; /* currencies whose accounts do not sum to zero */
};
CW_MUST_USE enum cw_err ledger_totals_get(struct ledger *l, struct ledger_totals *out,
                                          struct say *why);

#endif
