/* crl.h - the list of the cards' certificates that are revoked or held (RFC 5280 §5), signed by the
 * CA that issues cards, or by the root of PIV. For those who verify such certificates elsewhere:
 * the bank itself asks its ledger. */
#ifndef CARDWIRE_BANK_CRL_H
#define CARDWIRE_BANK_CRL_H

#include "bank/bank.h"

#define CRL_DAYS 7

struct crl_options {
    bool piv; /* of the PIV certificates */
    int days; /* until the next is due */
};

struct crl_made {
    int64_t number; /* above that of every list before; RFC 5280 §5.2.3 */
    int64_t time, next;
    size_t count; /* of certificates in it; those that have ended are not */
};

/* The caller frees *out with X509_CRL_free. CW_ERR_BUSY when another list is made at the same
 * moment; otherwise fails as bank_pair_load does. */
CW_MUST_USE enum cw_err crl_make(struct bank *b, const struct crl_options *o, X509_CRL **out,
                                 struct crl_made *made, struct say *why);

#endif
