/* replace.h - a new card in the place of another: for the same customer, on the same terms. */
#ifndef CARDWIRE_BANK_REPLACE_H
#define CARDWIRE_BANK_REPLACE_H

#include "bank/issue.h"

/* What is carried over from a card; the options point into it. */
struct replace_terms {
    uint8_t old[ORDER_SERIAL_LEN];
    struct policy_payee payees[POLICY_PAYEES_MAX];
    char confirmed[80];
};

/* Fills in what the old card says: customer, policy, payees, and the kinds of keys when the options
 * name none. Then issue_card makes the new one, and ends the old one in the step that makes the new
 * one good; cut short, the same call completes it. Takes any card that was issued, a terminated one
 * as well. CW_ERR_STATE when it was issued before cards had terms. */
CW_MUST_USE enum cw_err replace_prepare(struct bank *bank, const uint8_t old[ORDER_SERIAL_LEN],
                                        struct replace_terms *terms, struct issue_options *options,
                                        struct say *why);

#endif
