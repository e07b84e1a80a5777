/* cert.h - which of the bank's certificates is which. The kinds are told apart by what a
 * certificate says that its key is for; docs/bank.md has the table. */
#ifndef CARDWIRE_RECEIPT_CERT_H
#define CARDWIRE_RECEIPT_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

/* CN=`cn` and nothing else. */
bool cert_subject_is(const X509_NAME *name, const char *cn);

/* Whether it says of itself that it is for orders of the card with that serial (16 hexadecimal
 * digits), or for the journal of the bank of that name. By whom it is, is another question. */
bool cert_is_order(X509 *cert, const char *serial);
bool cert_is_journal(X509 *cert, const char *bank);

/* By that root itself, or by a CA between them that is (`between`; NULL), and all of them valid at
 * that time (seconds since 1970): what was signed is to be provable years later, when the
 * certificate has long ended. */
bool cert_is_by(X509 *cert, X509 *between, X509 *root, int64_t time);

/* Signed by that key with the smaller of the two s (signature.h): nobody but who has the key can
 * make another certificate that says the same. */
bool cert_is_low(X509 *cert, EVP_PKEY *key);

#endif
