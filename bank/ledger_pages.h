/* ledger_pages.h - the books page by page, for those who look at them. Reads only. A page begins
 * behind the last row of the one before, so that what is booked meanwhile moves nothing, and the
 * last page costs no more than the first. Not for statements to holders: ledger.h has those.
 *
 * All take `cap` rows at most into out[0..cap); *count says how many there were. */
#ifndef CARDWIRE_BANK_LEDGER_PAGES_H
#define CARDWIRE_BANK_LEDGER_PAGES_H

#include "bank/ledger.h"

#define LEDGER_SEARCH_MAX 70u /* bytes */

/* Takes this ledger's connection its right to write, for good. */
CW_MUST_USE enum cw_err ledger_read_only(struct ledger *l, struct say *why);

/* What of an account's balance may not be spent (minor units), and whether any may. */
struct ledger_bounds {
    int64_t held, floor;
    bool frozen;
};
/* `account` is the row. CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err ledger_bounds_get(struct ledger *l, int64_t account,
                                          struct ledger_bounds *out, struct say *why);

/* What all accounts of a currency hold, in minor units. */
struct ledger_sum {
    char currency[4];
    int64_t accounts; /* of customers */
    int64_t customers, bank;
};
/* By currency. CW_ERR_SPACE when there are more than `cap`. */
CW_MUST_USE enum cw_err ledger_sums_get(struct ledger *l, struct ledger_sum *out, size_t cap,
                                        size_t *count, struct say *why);

/* `search` is a part of the holder's name, a customer's number, or the beginning of an account's
 * number ("": everybody), in either case (ASCII); `customer` -1 is everybody's, the bank's own
 * included. By row, above `after`. */
CW_MUST_USE enum cw_err ledger_page_accounts(struct ledger *l, const char *search, int64_t customer,
                                             int64_t after, struct ledger_account *out, size_t cap,
                                             size_t *count, struct say *why);
/* `search` is a part of the name or the number. By number, above `after`. */
CW_MUST_USE enum cw_err ledger_page_customers(struct ledger *l, const char *search, int64_t after,
                                              struct ledger_customer *out, size_t cap,
                                              size_t *count, struct say *why);

struct ledger_card_row {
    struct ledger_card card;
    char name[ORDER_NAME_MAX + 1]; /* of the holder */
};
struct ledger_card_filter {
    const char *search; /* a part of the holder's name, a customer's number, or a whole serial in
                           hexadecimal; "": all */
    enum ledger_card_status status; /* 0: any */
    int64_t customer;               /* -1: anybody */
    const uint8_t *after;           /* ORDER_SERIAL_LEN bytes, or NULL: from the first on */
};
/* By serial. */
CW_MUST_USE enum cw_err ledger_page_cards(struct ledger *l, const struct ledger_card_filter *filter,
                                          struct ledger_card_row *out, size_t cap, size_t *count,
                                          struct say *why);

/* What was posted to an account, newest first, by entries below `before`. The other side is the
 * entry's first posting, or its second when this is the first. */
CW_MUST_USE enum cw_err ledger_page_postings(struct ledger *l, int64_t account, int64_t before,
                                             struct ledger_transaction *out, size_t cap,
                                             size_t *count, struct say *why);

struct ledger_payment_row {
    int64_t entry, time, amount; /* minor units */
    int64_t counter;             /* of the card */
    uint8_t order[ORDER_ID_LEN];
    uint8_t card[ORDER_SERIAL_LEN];
    char payer[ACCOUNT_NUMBER_LEN + 1], payee[ACCOUNT_NUMBER_LEN + 1];
    char payer_name[ORDER_NAME_MAX + 1], payee_name[ORDER_NAME_MAX + 1];
    char currency[4], reference[ORDER_REFERENCE_MAX + 1];
};
struct ledger_payment_filter {
    int64_t after, before; /* entries between these, both left out; of one card: its counters */
    const uint8_t *card;   /* ORDER_SERIAL_LEN bytes, or NULL: of any */
    const uint8_t *order;  /* ORDER_ID_LEN bytes, or NULL: any */
};
/* Newest first. */
CW_MUST_USE enum cw_err ledger_page_payments(struct ledger *l,
                                             const struct ledger_payment_filter *filter,
                                             struct ledger_payment_row *out, size_t cap,
                                             size_t *count, struct say *why);

#endif
