/* ledger_db.h - what the parts of the ledger share, and the engine below them: a database that
 * speaks SQL. Two are there: SQLite (ledger_sqlite.c) and PostgreSQL (ledger_pg.c). All other parts
 * speak the SQL that both take, with `?` for values. Not for anybody outside ledger*.c. */
#ifndef CARDWIRE_BANK_LEDGER_DB_H
#define CARDWIRE_BANK_LEDGER_DB_H

#include "bank/ledger_revoke.h"

/* A value of a statement: 'i' number, 't' text (NUL at its end), 'b' bytes. */
struct db_value {
    char type;
    bool null;
    int64_t number;
    const void *data;
    size_t len;
};

struct booking;
struct booking_account;
struct db_entry;

#define DB_VALUES_MAX 16u /* of one statement */

/* What an engine's own statement begins with. */
struct db_stmt {
    struct ledger *ledger;
};

/* Whether changes will be found in the books after a commit that failed. */
enum db_fate { DB_UNDONE, DB_UNKNOWN };

struct db_engine {
    const char *by_rows; /* behind a table's name: its rows themselves, not an index of them */
    bool far;            /* beyond a connection, which may be lost and made again */
    /* Changes nothing, and yet a commit of it waits for all that a commit waits for; NULL: what can
     * be read has come that far already. */
    const char *mark;
    void (*close)(struct ledger *l);
    /* Statements without values and without an answer. */
    enum cw_err (*exec)(struct ledger *l, const char *sql, struct say *why);
    /* What `values` point to must live until the statement is done. */
    enum cw_err (*prepare)(struct ledger *l, struct db_stmt **out, const char *sql,
                           const struct db_value *values, size_t count, struct say *why);
    enum cw_err (*step)(struct db_stmt *st, bool *row, struct say *why);
    void (*done)(struct db_stmt *st);
    bool (*null)(const struct db_stmt *st, int column);
    int64_t (*number)(const struct db_stmt *st, int column); /* 0 for NULL */
    /* NULL for NULL; until the next step. Text has a NUL behind it. */
    const void *(*bytes)(const struct db_stmt *st, int column, size_t *len);
    int64_t (*changed)(const struct ledger *l); /* rows, by the last statement that wrote */
    /* `write`: no other can, until the end; what is read is what they have left. Else one state of
     * the books, whatever is written meanwhile. */
    enum cw_err (*begin)(struct ledger *l, bool write, struct say *why);
    /* Commits, or rolls back. */
    enum cw_err (*end)(struct ledger *l, bool commit, enum db_fate *fate, struct say *why);
    /* Many orders (ledger_booking.h): begins to write and fetches what is known about them; writes
     * entries; writes the balances of those accounts that changed. What the last two write may be
     * on its way until the end. */
    enum cw_err (*fetch)(struct ledger *l, struct booking *b, struct say *why);
    enum cw_err (*add)(struct ledger *l, const struct db_entry *entries, size_t count,
                       struct say *why);
    enum cw_err (*balances)(struct ledger *l, const struct booking_account *accounts, size_t count,
                            struct say *why);
    enum cw_err (*read_only)(struct ledger *l, struct say *why); /* from now on, for good */
    enum cw_err (*schema_check)(struct ledger *l, struct say *why);
    enum cw_err (*copy)(struct ledger *l, const char *path, struct say *why);
    /* Whether a booking would find its place now; writes nothing, and waits for nobody long. */
    enum cw_err (*writable)(struct ledger *l, struct say *why);
};
extern const struct db_engine db_sqlite, db_pg;

/* What an engine's own structure begins with. */
struct ledger {
    const struct db_engine *engine;
    struct ledger_clock clock;
    char *where;                  /* for sentences: a path, or an address without its password */
    char who[LEDGER_WHO_MAX + 1]; /* who changes the books; empty: the bank itself */
    bool writing;                 /* db_begin was called, and db_end not yet */
};

/* Opening by an engine, with *out NULL before; `fresh` makes the tables in a place that has none.
 */
CW_MUST_USE enum cw_err db_sqlite_open(const char *path, bool fresh,
                                       const struct ledger_clock *clock, struct ledger **out,
                                       struct say *why);
CW_MUST_USE enum cw_err db_pg_open(const char *address, bool fresh,
                                   const struct ledger_clock *clock, struct ledger **out,
                                   struct say *why);
CW_MUST_USE enum cw_err db_sqlite_writable(struct ledger *l, struct say *why);
#define DB_SQLITE_BUSY_MS 3000 /* how long a transaction waits for another program's */
/* What SQLite calls it, for tests that break the disk below. */
struct sqlite3 *db_sqlite_handle(const struct ledger *l);
/* CW_ERR_NEWER when the schema is not known to this program. */
CW_MUST_USE enum cw_err db_version_check(const struct ledger *l, int64_t version, struct say *why);

CW_MUST_USE enum cw_err db_exec(struct ledger *l, const char *sql, struct say *why);

/* Prepares and binds. One letter of `types` for each value: i int64_t, t const char *,
 * b const void *, size_t. What it points to must live until the statement is done. */
CW_MUST_USE enum cw_err db_prepare(struct ledger *l, struct db_stmt **out, struct say *why,
                                   const char *sql, const char *types, ...);
/* The same with values that are there. */
CW_MUST_USE enum cw_err db_prepare_values(struct ledger *l, struct db_stmt **out, const char *sql,
                                          const struct db_value *values, size_t count,
                                          struct say *why);
/* Steps to the next row: CW_OK with *row true or false. */
CW_MUST_USE enum cw_err db_step(struct ledger *l, struct db_stmt *st, bool *row, struct say *why);
/* Ends a statement and sets it to NULL; NULL is none. */
void db_done(struct db_stmt **st);
bool db_null(const struct db_stmt *st, int column);
int64_t db_int(const struct db_stmt *st, int column);
/* Bytes of a text or blob, until the next step; NULL for NULL. */
const void *db_bytes(const struct db_stmt *st, int column, size_t *len);
/* Rows changed by the last statement that wrote. */
int64_t db_changed(const struct ledger *l);
/* A statement without rows: steps and ends it, also on failure. Wants what db_prepare returned. */
CW_MUST_USE enum cw_err db_run(struct ledger *l, enum cw_err prepared, struct db_stmt *st,
                               struct say *why);
/* A query for one number; CW_ERR_NOT_FOUND (no sentence) when there is no row. Ends it. */
CW_MUST_USE enum cw_err db_number(struct ledger *l, enum cw_err prepared, struct db_stmt *st,
                                  int64_t *out, struct say *why);

/* Queries for a number each; stops at the first that fails. */
struct db_count {
    const char *sql;
    int64_t *to;
};
CW_MUST_USE enum cw_err db_counts(struct ledger *l, const struct db_count *counts, size_t count,
                                  struct say *why);

/* Copies a text column; CW_ERR_FORMAT when it does not fit: the ledger is damaged. */
CW_MUST_USE enum cw_err db_text(const struct db_stmt *st, int column, char *out, size_t cap,
                                struct say *why);
/* A text of any length, malloc'd. */
CW_MUST_USE enum cw_err db_copy_text(const struct db_stmt *st, int column, char **out,
                                     struct say *why);
CW_MUST_USE enum cw_err db_blob(const struct db_stmt *st, int column, uint8_t *out, size_t cap,
                                size_t *len, struct say *why);
CW_MUST_USE enum cw_err db_blob_exact(const struct db_stmt *st, int column, uint8_t *out,
                                      size_t len, struct say *why);

/* For writing: the lock is taken at once, so that nothing read inside can go stale. */
CW_MUST_USE enum cw_err db_begin(struct ledger *l, struct say *why);
/* Commits when `err` is CW_OK, else rolls back; returns `err` or the failure of the commit. */
CW_MUST_USE enum cw_err db_end(struct ledger *l, enum cw_err err, struct say *why);
/* The same, and says what becomes of the changes after a failure. */
CW_MUST_USE enum cw_err db_end_told(struct ledger *l, enum cw_err err, enum db_fate *fate,
                                    struct say *why);

/* One leg of a journal entry. `account` is the row id. */
struct db_leg {
    int64_t account;
    int64_t amount;
};
/* Books an entry that no card ordered: its legs sum to zero (CW_ERR_ARG otherwise) and are at most
 * LEDGER_LEGS_MAX; with a ground there may be none. Inside a transaction. CW_ERR_DENIED when it
 * takes from a customer's account what is not there, or held. `ground` and `entry` may be NULL. */
CW_MUST_USE enum cw_err db_post(struct ledger *l, const char *kind, const char *reference,
                                const struct ledger_ground *ground, const struct db_leg *legs,
                                size_t count, int64_t *entry, struct say *why);
/* From the columns who, approver, what, subject, key, refers, which begin at `column`. */
CW_MUST_USE enum cw_err db_ground_read(const struct db_stmt *st, int column,
                                       struct ledger_ground *out, struct say *why);

/* A transaction, unless one is open that writes; ended with db_leave. */
CW_MUST_USE enum cw_err db_enter(struct ledger *l, bool *mine, struct say *why);
CW_MUST_USE enum cw_err db_leave(struct ledger *l, bool mine, enum cw_err err, struct say *why);
/* Inside a transaction: a line of the log, when an operator is at work. */
CW_MUST_USE enum cw_err db_admin(struct ledger *l, const char *what, const char *subject,
                                 struct say *why);
/* The same about a card. `more` may be "". */
CW_MUST_USE enum cw_err db_admin_card(struct ledger *l, const char *what,
                                      const uint8_t serial[ORDER_SERIAL_LEN], const char *more,
                                      struct say *why);

/* Inside a transaction: hashes for all entries that have none. */
CW_MUST_USE enum cw_err db_chain_fill(struct ledger *l, struct say *why);
/* A customer and an account from the columns of their queries. */
#define DB_ACCOUNT_COLUMNS                                                                         \
    "SELECT a.number, coalesce(a.customer, 0), coalesce(c.name, (SELECT value FROM setting WHERE " \
    "name = 'name'), ''), a.currency, a.balance, a.id FROM account a "                             \
    "LEFT JOIN customer c ON c.id = a.customer "
CW_MUST_USE enum cw_err db_customer_read(struct db_stmt *st, struct ledger_customer *out,
                                         struct say *why);
CW_MUST_USE enum cw_err db_account_read(struct db_stmt *st, struct ledger_account *out,
                                        struct say *why);
/* A payment from the columns of DB_PAYMENT_COLUMNS, which begin at `column`. */
#define DB_PAYMENT_COLUMNS                                                                         \
    "pay.journal, pay.customer, pay.order_id, pay.counter, pay.request, pay.card, "                \
    "pay.certificate, pay.text, pay.signature, pay.reply "
CW_MUST_USE enum cw_err db_payment_read(struct db_stmt *st, int column, struct ledger_payment *p,
                                        struct say *why);

/* A card from these columns. */
#define DB_CARD_COLUMNS "SELECT serial, customer, status, since FROM card "
CW_MUST_USE enum cw_err db_card_read(const struct db_stmt *st, struct ledger_card *out,
                                     struct say *why);

/* Inside a transaction, for a card that is `issuing`. */
CW_MUST_USE enum cw_err db_management_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                          const struct ledger_terms *terms, struct say *why);

/* A certificate of a card: from the first columns of a row; and into the table, inside a
 * transaction, with its hash filled in. */
#define DB_CERTIFICATE_COLUMNS      "c.sha256, c.card, c.kind, c.slot, c.der"
#define DB_CERTIFICATE_COLUMN_COUNT 5
CW_MUST_USE enum cw_err db_certificate_read(struct db_stmt *st, struct ledger_certificate *out,
                                            struct say *why);
CW_MUST_USE enum cw_err db_certificate_add(struct ledger *l, struct ledger_certificate *c,
                                           struct say *why);

/* Inside a transaction: the card's certificates are revoked, or held; what was revoked stays as it
 * is. Held ones are good again. */
CW_MUST_USE enum cw_err db_revoke(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  enum ledger_reason reason, struct say *why);
CW_MUST_USE enum cw_err db_unhold(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  struct say *why);

/* Inside the transaction in which it happens. `payee` and `words` may be NULL. */
CW_MUST_USE enum cw_err db_event_add(struct ledger *l, enum ledger_event_kind kind,
                                     const uint8_t serial[ORDER_SERIAL_LEN],
                                     const struct policy_payee *payee, const char *words,
                                     struct say *why);
/* 1 to LEDGER_CONFIRMED_MAX bytes of clean text; CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err db_words_check(const char *words, const char *what, struct say *why);

/* From schema i to i + 1, in a transaction, foreign keys off. */
extern const char *const db_steps[LEDGER_SCHEMA];

#endif
