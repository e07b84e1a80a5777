/* statement.h - what happened on an account in a period, and as the documents that a holder takes
 * away: CSV (RFC 4180) and ISO 20022 camt.053. JSON is api_statement.c's. */
#ifndef CARDWIRE_BANK_STATEMENT_H
#define CARDWIRE_BANK_STATEMENT_H

#include "bank/ledger.h"

#define STATEMENT_MAX 1000u /* transactions */

struct statement {
    struct ledger_account account;
    char bank[ORDER_NAME_MAX + 1];   /* the bank's name */
    int64_t from, to;                /* from <= time < to */
    int64_t made;                    /* when */
    int64_t opening, closing;        /* what the account held at both */
    int64_t in, out;                 /* sums, both without sign */
    struct ledger_transaction *list; /* oldest first */
    size_t count;
};

/* Gathers it from one state of the books; freed with statement_free. CW_ERR_LENGTH when there are
 * more than STATEMENT_MAX. */
CW_MUST_USE enum cw_err statement_new(struct ledger *l, const struct ledger_account *account,
                                      int64_t from, int64_t to, struct statement **out,
                                      struct say *why);
void statement_free(struct statement **statement);

/* Documents in UTF-8, malloc'd. CW_ERR_SPACE is the one failure. */

/* RFC 4180, with a header. No cell begins with a character that makes a formula of it: amounts have
 * no sign, there is a column for the direction, and a text that begins so gets an apostrophe. */
CW_MUST_USE enum cw_err statement_csv(const struct statement *s, char **out, size_t *len);
/* camt.053.001.08, BankToCustomerStatement. */
CW_MUST_USE enum cw_err statement_camt(const struct statement *s, char **out, size_t *len);

#endif
