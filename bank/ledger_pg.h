/* ledger_pg.h - what the parts of the PostgreSQL engine share. Not for anybody outside
 * ledger_pg*.c. */
#ifndef CARDWIRE_BANK_LEDGER_PG_H
#define CARDWIRE_BANK_LEDGER_PG_H

#include "bank/ledger_booking.h"

#include <libpq-fe.h>

/* Types as PostgreSQL numbers them (pg_type.dat): fixed for ever. */
#define PG_BOOL   16u
#define PG_BYTEA  17u
#define PG_INT8   20u
#define PG_INT2   21u
#define PG_INT4   23u
#define PG_TEXT   25u
#define PG_INT8S  1016u /* arrays of them */
#define PG_BYTEAS 1001u
#define PG_TEXTS  1009u

#define PG_KEPT_MAX 192u

/* A statement that the server has prepared. */
struct pg_kept {
    const char *key; /* where the caller has the text */
    char *text;
    char name[12];
};

struct pg_ledger {
    struct ledger base;
    PGconn *conn; /* NULL: none yet, or lost */
    char *address;
    bool open;   /* in a transaction */
    bool failed; /* it can only be rolled back */
    size_t sent; /* statements whose answers are on their way: pipeline mode */
    bool read_only;
    uint64_t rest_until; /* clock_ns: before, a server that was away is not asked again */
    bool warned;         /* by the server, since the flag was taken down */
    int64_t changed;
    size_t kept;
    struct pg_kept statements[PG_KEPT_MAX];
};

struct pg_ledger *pg_of(struct ledger *l);

/* Turns what the server said (NULL: the connection) into an error and a sentence, and marks the
 * transaction. */
enum cw_err pg_fail(struct pg_ledger *p, const PGresult *res, struct say *why);
/* Connects, or connects anew when the connection was lost outside a transaction. */
CW_MUST_USE enum cw_err pg_connect(struct pg_ledger *p, struct say *why);
/* Room for so many more prepared statements; forgets all when there is none. Not in a pipeline. */
CW_MUST_USE enum cw_err pg_statements_room(struct pg_ledger *p, size_t count, struct say *why);
/* The name of a prepared statement of that text, with values of those types. */
CW_MUST_USE enum cw_err pg_prepared(struct pg_ledger *p, const char *sql, const Oid *types,
                                    size_t count, const char **name, struct say *why);
/* A big-endian number of a column, whichever integer it is. */
int64_t pg_number(const PGresult *res, int row, int column);

/* Takes the lock that every writer takes, first of all: what is read after it is what the others
 * have left (PostgreSQL 15, LOCK: it is taken before the snapshot). */
#define PG_BEGIN "BEGIN ISOLATION LEVEL SERIALIZABLE"
#define PG_LOCK  "LOCK TABLE writing IN EXCLUSIVE MODE"

/* ledger_pg_batch.c */
enum cw_err pg_fetch(struct ledger *l, struct booking *b, struct say *why);
enum cw_err pg_add(struct ledger *l, const struct db_entry *entries, size_t count, struct say *why);
enum cw_err pg_balances(struct ledger *l, const struct booking_account *accounts, size_t count,
                        struct say *why);
/* Waits for what is on its way. */
CW_MUST_USE enum cw_err pg_drain(struct pg_ledger *p, struct say *why);
/* Sends COMMIT behind what is on its way, and waits. The answer to it is the caller's to clear,
 * NULL when there is none; *before is the first failure of what was sent before. */
PGresult *pg_commit(struct pg_ledger *p, enum cw_err *before, struct say *why);
/* An answer, as a statement that was run; it takes the answer. NULL: out of memory. */
struct db_stmt *pg_answer(struct pg_ledger *p, PGresult *res);

/* ledger_schema_pg.c: from schema i to i + 1; those before the first that PostgreSQL had are NULL.
 */
extern const char *const pg_steps[LEDGER_SCHEMA];

#endif
