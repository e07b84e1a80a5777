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

/* By that root itself, and both valid at that time (seconds since 1970): what was signed is to be
 * provable years later, when the certificate has long ended. */
bool cert_is_by(X509 *cert, X509 *root, int64_t time);

#endif
