/* certify.h - certificates for the keys that a card in the bank's reader holds: it signs a request
 * by each, and the bank's CA answers. What becomes of them is issue.c's and manage.c's business. */
#ifndef CARDWIRE_BANK_CERTIFY_H
#define CARDWIRE_BANK_CERTIFY_H

#include "bank/ca.h"
#include "bank/desk.h"

#define CERTIFY_SLOTS 4u

/* The keys that the bank knows in a card, and what each is certified for. */
struct certify_slot {
    enum link_key key;
    bool rsa;
    enum ledger_cert_kind kind;
    enum ca_profile profile;
};
extern const struct certify_slot certify_slots[CERTIFY_SLOTS];

/* The CA that issues cards, opened for use. */
struct certify_ca {
    X509 *cert;
    EVP_PKEY *key;
};
/* Fails as bank_pair_load does; CW_ERR_STATE when the CA itself ends before a certificate by it, of
 * so many days, would. certify_close also after a failure. */
CW_MUST_USE enum cw_err certify_open(const struct bank *b, int days, struct certify_ca *out,
                                     struct say *why);
void certify_close(struct certify_ca *ca);

/* Has the card, whose channel is open, request a certificate for the key in that slot, and makes
 * it: subject and slot are the card's. `same` is NULL, or a certificate of the same key
 * (CW_ERR_STATE when the card has another key now). The ledger is not told. */
CW_MUST_USE enum cw_err certify_key(struct desk *d, const struct certify_slot *slot,
                                    const struct certify_ca *ca, int days,
                                    const struct ledger_certificate *same,
                                    struct ledger_certificate *out, struct say *why);

#endif
