/* audit.h - goes over the books from the first entry to the last and believes none of it: chain,
 * postings, balances, and the signature of every card. It reads one state of the books, while the
 * bank may go on. Not for what is booked: nothing is changed. */
#ifndef CARDWIRE_BANK_AUDIT_H
#define CARDWIRE_BANK_AUDIT_H

#include "bank/bank.h"
#include "bank/keycache.h"

/* The place of an entry in the chain: who has noted one can tell later that nothing up to there was
 * changed or taken away. */
struct audit_head {
    int64_t entry; /* 0: none, an empty journal */
    uint8_t hash[LEDGER_HASH_LEN];
};

/* "ENTRY:HASH", the hash as 64 hexadecimal digits. CW_ERR_ARG. */
CW_MUST_USE enum cw_err audit_head_parse(const char *text, struct audit_head *out, struct say *why);
#define AUDIT_HEAD_TEXT_LEN (19u + 1 + 2 * LEDGER_HASH_LEN + 1)
void audit_head_text(const struct audit_head *head, char out[AUDIT_HEAD_TEXT_LEN]);

struct audit_options {
    const struct audit_head *noted; /* that must be there; NULL: none */
    /* Called now and then; NULL: never. */
    void (*progress)(void *ctx, int64_t done, int64_t total);
    void *ctx;
};

struct audit_result {
    int64_t entries, payments, accounts, certificates;
    int64_t heads;          /* that the bank has signed (journal.h) */
    struct audit_head head; /* the last entry */
};

/* CW_OK when everything is in order. CW_ERR_FORMAT: it is not, and `why` names the first thing
 * wrong; other errors: it could not be seen. Takes less than 100 bytes of memory for each account,
 * and what does not depend on how much there is. */
CW_MUST_USE enum cw_err audit_run(struct bank *b, const struct audit_options *options,
                                  struct audit_result *out, struct say *why);

/* What can be told of one entry without the others: that it is what the card ordered, by its
 * holder, and that the signature is the card's; or that the bank took from nobody without an order.
 * CW_ERR_FORMAT, and `why` names what is wrong. */
CW_MUST_USE enum cw_err audit_entry_check(struct bank *b, struct keycache *keys,
                                          const struct ledger_entry *e, struct say *why);

#endif
