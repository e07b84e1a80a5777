/* model.h - what the bank must do, once more and in the simplest way: a few arrays, and the rules
 * of docs/bank.md, "An order", written without a look at the bank's own code. */
#ifndef CARDWIRE_SIM_MODEL_H
#define CARDWIRE_SIM_MODEL_H

#include "proto/order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_CUSTOMERS 3u
#define MODEL_ACCOUNTS  6u
#define MODEL_CARDS     5u
#define MODEL_BATCH     16u

struct model_account {
    char number[ORDER_ACCOUNT_MAX + 1];
    unsigned customer; /* 0.. */
    int64_t balance;
};

/* A signed order, as it can be sent any number of times. */
struct model_sheet {
    struct order_fields f;
    unsigned card; /* that the text names */
    uint32_t counter;
    uint8_t binding[ORDER_BINDING_LEN];
    bool readable;  /* the text is one that a card would sign */
    bool signed_by; /* the signature is that card's */
    uint8_t text[ORDER_TEXT_MAX];
    size_t text_len;
    char *body;      /* of the request */
    int64_t entry;   /* of the journal; 0: not booked, for all that is known */
    int64_t balance; /* of the payer after it */
};

struct model {
    char names[MODEL_CUSTOMERS][ORDER_NAME_MAX + 1];
    struct model_account accounts[MODEL_ACCOUNTS];
    unsigned holder[MODEL_CARDS]; /* customer of the card */
    bool blocked[MODEL_CARDS];
    struct model_sheet *sheets;
    size_t count;
};

/* One sheet on its way by one card's line. */
struct model_try {
    size_t sheet;
    unsigned card;
    uint8_t binding[ORDER_BINDING_LEN];
};

/* What the bank answers now: "waits", "booked-before", or the name of the problem. */
const char *model_take(const struct model *m, const struct model_try *t, int64_t now);
/* What it answers to the orders that wait, in their turn: "booked", "booked-before" or a problem.
 */
void model_commit(const struct model *m, const struct model_try *tries, size_t count,
                  const char *out[]);
/* The order is booked now, as this entry. */
void model_book(struct model *m, size_t sheet, int64_t entry);
/* The account of that number; NULL: none. */
struct model_account *model_account_find(struct model *m, const char *number);

#endif
