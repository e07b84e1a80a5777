/* migrate.h - a bank's books from its own file into a PostgreSQL database, for good. */
#ifndef CARDWIRE_BANK_MIGRATE_H
#define CARDWIRE_BANK_MIGRATE_H

#include "bank/audit.h"

/* Copies all books into the empty database at `address`, audits both, and compares; then closes the
 * file for ever (a server that still has it open is refused), and has the folder name the database.
 * Nobody can book meanwhile. Cut short, the bank goes on with its file, or the same again completes
 * it. CW_ERR_STATE when the books are in a database already, CW_ERR_EXISTS when `address` holds
 * other books. *out is what the audit of the database found. */
CW_MUST_USE enum cw_err migrate_run(struct bank *b, const char *address,
                                    const struct audit_options *options, struct audit_result *out,
                                    struct say *why);

#endif
