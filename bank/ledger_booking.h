/* ledger_booking.h - many orders booked in one transaction. The engine fetches what is known about
 * them (struct booking), `booking_judge` decides without a database, and the engine writes what was
 * decided. Not for anybody outside ledger*.c. */
#ifndef CARDWIRE_BANK_LEDGER_BOOKING_H
#define CARDWIRE_BANK_LEDGER_BOOKING_H

#include "bank/ledger_db.h"

/* The payment that an entry belongs to, as the chain and the tables take it. */
struct db_paid {
    int64_t customer, counter;
    const uint8_t *order, *request, *card, *certificate;
    const uint8_t *text, *signature;
    size_t text_len, signature_len;
    const char *reply;
};

/* An entry as it is written: everything of it is somebody else's. */
struct db_entry {
    int64_t id, time;
    const char *kind, *reference;
    const struct ledger_leg *legs;
    size_t leg_count;
    const struct db_paid *paid;         /* NULL: none */
    const struct ledger_ground *ground; /* NULL: none */
    uint8_t salt[LEDGER_SALT_LEN];
    uint8_t hash[LEDGER_HASH_LEN];
    uint8_t booked[LEDGER_HASH_LEN], own[LEDGER_HASH_LEN]; /* of which that is made */
};

/* The last entry, on which the next is built. Zeros: there is none. */
struct db_head {
    int64_t id;
    uint8_t hash[LEDGER_HASH_LEN];
};

/* Makes the entry the next after `head`: its id, a fresh salt, its hash; and moves the head. */
CW_MUST_USE enum cw_err db_entry_chain(struct db_entry *e, struct db_head *head, struct say *why);

/* What stands in the tables, as it was written. *paid is what *out refers to. */
void db_entry_written(const struct ledger_entry *e, struct db_entry *out, struct db_paid *paid);

/* An account that an order names. */
struct booking_account {
    char number[ORDER_ACCOUNT_MAX + 1]; /* as the order says; our own are shorter */
    bool known, changed;
    int64_t row, customer; /* 0: the bank */
    char name[ORDER_NAME_MAX + 1];
    char currency[4];
    int64_t balance, held, floor;
    bool frozen;
};

/* An order on its way. */
struct booking_item {
    struct ledger_request *request;
    bool known, same;                /* a payment of that order id is booked; of the same request */
    const struct booking_item *twin; /* of the same batch, which made it known; NULL: none */
    bool counter_used;               /* by another order of the card */
    bool card_known;
    struct ledger_card card;
    size_t payer, payee; /* of the accounts */
    struct ledger_leg legs[2];
    struct db_paid paid;
};

struct booking {
    struct booking_item *items;
    size_t count;
    struct booking_account *accounts; /* sorted by number */
    size_t account_count;
    struct db_head head;
    struct db_entry *entries; /* that were decided */
    size_t entry_count;
};

/* What `amount` does to the account as it is; the balance after it is not in it. */
struct ledger_leg booking_leg(const struct booking_account *a, int64_t amount);

/* Decides each order in its turn, as if those before it had been booked: sets the verdicts, moves
 * the balances, makes the entries. CW_ERR_SPACE, CW_ERR_CRYPTO. */
CW_MUST_USE enum cw_err booking_judge(struct booking *b, int64_t now, ledger_reply_make *make,
                                      struct say *why);

/* What is fetched of an account. */
#define BOOKING_ACCOUNT                                                                            \
    "SELECT a.number, a.id, coalesce(a.customer, 0), a.currency, a.balance, a.held, a.floor, "     \
    "a.frozen, coalesce(c.name, '') FROM account a LEFT JOIN customer c ON c.id = a.customer "
CW_MUST_USE enum cw_err db_account_fact(const struct db_stmt *st, struct booking_account *a,
                                        struct say *why);

/* What SQLite uses, and PostgreSQL in its own way (struct db_engine). */
CW_MUST_USE enum cw_err db_rows_fetch(struct ledger *l, struct booking *b, struct say *why);
CW_MUST_USE enum cw_err db_rows_add(struct ledger *l, const struct db_entry *entries, size_t count,
                                    struct say *why);
CW_MUST_USE enum cw_err db_rows_balances(struct ledger *l, const struct booking_account *accounts,
                                         size_t count, struct say *why);
#define DB_HEAD "SELECT journal, hash FROM chain ORDER BY journal DESC LIMIT 1"
CW_MUST_USE enum cw_err db_head_read(struct ledger *l, struct db_head *out, struct say *why);
/* NULL: none of that number. */
struct booking_account *booking_account_find(const struct booking *b, const char *number);

#endif
