/* books.h - a bank in a temporary folder for a bench, with a card in software that orders payments.
 */
#ifndef CARDWIRE_BENCH_BOOKS_H
#define CARDWIRE_BENCH_BOOKS_H

#include "bank/bank.h"

struct books {
    char dir[200], bank_dir[240];
    struct bank *bank;
    EVP_PKEY *key;
    uint8_t serial[ORDER_SERIAL_LEN], certificate[32];
    int64_t customer; /* of the card */
    struct ledger_account from, to;
};

/* An order with what it points to. */
struct books_order {
    struct ledger_order order;
    uint8_t text[ORDER_TEXT_MAX], signature[LEDGER_SIGNATURE_MAX];
};

/* `store`: NULL, or the address of a database. `s` is zeroed before. */
CW_MUST_USE enum cw_err books_make(struct books *s, const char *store, bool rsa, struct say *why);
void books_strike(struct books *s);

/* The n-th order, from one account to the other; not signed. */
CW_MUST_USE enum cw_err books_order_make(const struct books *s, uint32_t n,
                                         const struct ledger_account *from,
                                         const struct ledger_account *to, struct books_order *out,
                                         struct say *why);
CW_MUST_USE enum cw_err books_order_sign(const struct books *s, struct books_order *o,
                                         struct say *why);
/* For ledger_payments_book. */
ledger_reply_make books_reply;

#endif
