/* terms.h - the terms on which the bank gives out a card: its policy (proto/policy.h), as the bank
 * sets it when nobody says otherwise, and as it is said on the command line. */
#ifndef CARDWIRE_BANK_TERMS_H
#define CARDWIRE_BANK_TERMS_H

#include "host/say.h"
#include "proto/policy.h"

/* PIN of 4 to 12 digits, neither all the same nor counting, three tries; login over the air but no
 * orders; only listed payees; EUR 5,000 an order and 10,000 a day, each with its PIN; sessions
 * kept. */
void terms_default(struct policy *out);

/* Each takes the value of one option (docs/bank.md) into the policy. CW_ERR_ARG. */
CW_MUST_USE enum cw_err terms_pin_rules_take(struct policy *p, const char *text, struct say *why);
CW_MUST_USE enum cw_err terms_contactless_take(struct policy *p, const char *text, struct say *why);
CW_MUST_USE enum cw_err terms_payees_take(struct policy *p, const char *text, struct say *why);
CW_MUST_USE enum cw_err terms_sessions_take(struct policy *p, const char *text, struct say *why);
/* All limits at once: "EUR:5000.00:10000.00:25.00:100.00", one text for each currency, or "none"
 * alone. */
CW_MUST_USE enum cw_err terms_limits_take(struct policy *p, const char *const *texts, size_t count,
                                          struct say *why);

/* CW_ERR_ARG when the policy as a whole is none. */
CW_MUST_USE enum cw_err terms_check(const struct policy *p, struct say *why);

#endif
