/* update.h - signed messages of the bank to its cards (proto/issuer.h): the one place where they
 * are made. */
#ifndef CARDWIRE_BANK_UPDATE_H
#define CARDWIRE_BANK_UPDATE_H

#include "bank/bank.h"
#include "bank/objects.h"

/* The public point of the update key, as cards hold it. */
CW_MUST_USE enum cw_err update_point_get(const struct bank *bank, uint8_t out[ISSUER_POINT_LEN],
                                         struct say *why);
/* Signs the message. CW_ERR_LENGTH when it is longer than a card takes. */
CW_MUST_USE enum cw_err update_sign(EVP_PKEY *key, const struct issuer_message *m,
                                    uint8_t out[ISSUER_MESSAGE_MAX], size_t *len, struct say *why);

/* What an update is to change on a card. */
struct update_plan {
    uint8_t card[ORDER_SERIAL_LEN];
    const struct objects_root *roots; /* all that the card is to hold; none: as they are */
    size_t root_count;
    const struct applet_name *names; /* likewise */
    size_t name_count;
    const struct policy *policy;      /* NULL: as it is */
    uint32_t policy_of;               /* with a policy: the last update when it was read */
    const struct policy_payee *payee; /* NULL, or to be put on its list */
    const char *confirmed;            /* with a payee or a request: how */
    const char *payee_gone;           /* NULL, or an account to be taken off it */
    int64_t request;                  /* what the holder asked for by this; 0: nothing */
    enum link_life life;              /* 0: as it is; LOCKED or TERMINATED */
};

struct update_made {
    uint32_t first, last; /* sequences */
};

/* Signs what the plan says, in as few messages as it fits into, and writes them and what they mean
 * into the ledger, in one transaction: the card fetches them over its line. What belongs together
 * (roots; names) stays in one message. CW_ERR_STATE when the card takes no updates, or could not
 * reach this bank any more; CW_ERR_LENGTH; CW_ERR_BUSY when another update came in between; what
 * ledger_payee_* says. */
CW_MUST_USE enum cw_err update_make(struct bank *bank, const struct update_plan *plan,
                                    struct update_made *out, struct say *why);

#endif
