/* verify.h - what a receipt proves, off line, to who has the bank's root for cards. */
#ifndef CARDWIRE_RECEIPT_VERIFY_H
#define CARDWIRE_RECEIPT_VERIFY_H

#include "receipt/receipt.h"

#include <openssl/x509.h>

/* What was found true. */
struct receipt_facts {
    struct order_fields order; /* that the card signed */
    struct order_seal seal;
    int64_t entry, time; /* as which entry of the journal it was booked, and when, by the bank */
    struct head head;    /* that the bank signed */
};

/* The card's certificate is by `root`, for that card and for orders, and was valid when the order
 * was booked; the card signed the order; the entry that holds it leads to the head; the bank's
 * journal key, by the same root and valid at that time, signed the head. CW_ERR_CRYPTO, with a
 * sentence that names what does not hold. */
CW_MUST_USE enum cw_err receipt_verify(const struct receipt *r, X509 *root,
                                       struct receipt_facts *out, struct say *why);

/* The same of a file, by a root in PEM: exactly one certificate. Also what receipt_read fails with;
 * CW_ERR_ARG when it is the root that cannot be used. */
CW_MUST_USE enum cw_err receipt_verify_file(const uint8_t *der, size_t len, const uint8_t *pem,
                                            size_t pem_len, struct receipt_facts *out,
                                            struct say *why);

#endif
