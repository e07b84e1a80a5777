/* ledger_db.h - what the parts of the SQLite ledger share. Not for anybody outside ledger_*.c. */
#ifndef CARDWIRE_BANK_LEDGER_DB_H
#define CARDWIRE_BANK_LEDGER_DB_H

#include "bank/ledger.h"

#include <sqlite3.h>

struct ledger {
    sqlite3 *db;
    struct ledger_clock clock;
    char *path;
    bool stuck; /* a transaction could be neither committed nor rolled back: nothing that is read is
                   in the books */
};

/* Turns what SQLite said into an error and a sentence. */
enum cw_err db_fail(struct ledger *l, int rc, struct say *why);

CW_MUST_USE enum cw_err db_exec(struct ledger *l, const char *sql, struct say *why);

/* Prepares and binds. One letter of `types` for each parameter: i int64_t, t const char *,
 * b const void *, size_t. What it points to must live until the statement is finalised. */
CW_MUST_USE enum cw_err db_prepare(struct ledger *l, sqlite3_stmt **out, struct say *why,
                                   const char *sql, const char *types, ...);
/* Steps to the next row: CW_OK with *row true or false. */
CW_MUST_USE enum cw_err db_step(struct ledger *l, sqlite3_stmt *st, bool *row, struct say *why);
/* A statement without rows: steps and finalises, also on failure. Wants what db_prepare returned.
 */
CW_MUST_USE enum cw_err db_run(struct ledger *l, enum cw_err prepared, sqlite3_stmt *st,
                               struct say *why);
/* A query for one number; CW_ERR_NOT_FOUND (no sentence) when there is no row. Finalises. */
CW_MUST_USE enum cw_err db_number(struct ledger *l, enum cw_err prepared, sqlite3_stmt *st,
                                  int64_t *out, struct say *why);

/* Queries for a number each; stops at the first that fails. */
struct db_count {
    const char *sql;
    int64_t *to;
};
CW_MUST_USE enum cw_err db_counts(struct ledger *l, const struct db_count *counts, size_t count,
                                  struct say *why);

/* Copies a text column; CW_ERR_FORMAT when it does not fit: the ledger is damaged. */
CW_MUST_USE enum cw_err db_text(sqlite3_stmt *st, int column, char *out, size_t cap,
                                struct say *why);
CW_MUST_USE enum cw_err db_blob(sqlite3_stmt *st, int column, uint8_t *out, size_t cap, size_t *len,
                                struct say *why);
CW_MUST_USE enum cw_err db_blob_exact(sqlite3_stmt *st, int column, uint8_t *out, size_t len,
                                      struct say *why);

/* BEGIN IMMEDIATE: takes the write lock at once, so that nothing read inside can go stale. */
CW_MUST_USE enum cw_err db_begin(struct ledger *l, struct say *why);
/* Commits when `err` is CW_OK, else rolls back; returns `err` or the failure of the commit. */
CW_MUST_USE enum cw_err db_end(struct ledger *l, enum cw_err err, struct say *why);
/* The same, and says whether it is *unknown after a failure if the changes will be found in the
 * books. */
CW_MUST_USE enum cw_err db_end_told(struct ledger *l, enum cw_err err, bool *unknown,
                                    struct say *why);

/* One leg of a journal entry. `account` is the row id. */
struct db_leg {
    int64_t account;
    int64_t amount;
    int64_t balance; /* out: after it */
};
/* Appends an entry whose legs sum to zero (CW_ERR_ARG otherwise) and moves the balances. Inside a
 * transaction. CW_ERR_DENIED when a customer's account would go below zero. */
CW_MUST_USE enum cw_err db_post(struct ledger *l, const char *kind, const char *reference,
                                struct db_leg *legs, size_t count, int64_t time, int64_t *entry,
                                struct say *why);

/* Inside the transaction that makes entry `id`, when all of it is written: its place in the chain.
 */
CW_MUST_USE enum cw_err db_chain_append(struct ledger *l, int64_t id, struct say *why);
/* Inside a transaction: hashes for all entries that have none. */
CW_MUST_USE enum cw_err db_chain_fill(struct ledger *l, struct say *why);
/* A payment from the columns of DB_PAYMENT_COLUMNS, which begin at `column`. */
#define DB_PAYMENT_COLUMNS                                                                         \
    "pay.journal, pay.customer, pay.order_id, pay.counter, pay.request, pay.card, "                \
    "pay.certificate, pay.text, pay.signature, pay.reply "
CW_MUST_USE enum cw_err db_payment_read(sqlite3_stmt *st, int column, struct ledger_payment *p,
                                        struct say *why);

/* Inside a transaction, for a card that is `issuing`. */
CW_MUST_USE enum cw_err db_management_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          const struct ledger_terms *terms, struct say *why);

/* From schema i to i + 1, in a transaction, foreign keys off. */
extern const char *const db_steps[LEDGER_SCHEMA];

#endif
