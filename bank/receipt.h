/* receipt.h - a receipt is the order and the card's signature as CMS SignedData (RFC 5652 §5), so
 * that anybody can check it off line with `openssl cms -verify`. The bank signs nothing of it. */
#ifndef CARDWIRE_BANK_RECEIPT_H
#define CARDWIRE_BANK_RECEIPT_H

#include "host/say.h"

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

/* DER of the SignedData: eContent is the text, one SignerInfo without signed attributes whose
 * signature is the card's, the card's order certificate and what certified that, when it is not
 * the root (`issuer`; NULL). *out is malloc'd, freed with free. */
CW_MUST_USE enum cw_err receipt_make(const uint8_t *text, size_t text_len, const uint8_t *signature,
                                     size_t signature_len, X509 *certificate, X509 *issuer,
                                     uint8_t **out, size_t *len, struct say *why);

#endif
