/* signature.h - signatures by SHA-256 with ECDSA, or RSA PKCS #1 v1.5, by the kind of the key. */
#ifndef CARDWIRE_RECEIPT_SIGNATURE_H
#define CARDWIRE_RECEIPT_SIGNATURE_H

#include "host/say.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIGNATURE_P256_MAX 72u /* bytes of DER */

bool signature_key_is_p256(EVP_PKEY *key);
bool signature_good(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
                    size_t signature_len);

/* Of (r, s) and (r, n - s), which verify both, only the one with the smaller s: then nobody but
 * who has the key can make another signature of what was signed, and a file that holds one is one
 * file. The key is P-256. CW_ERR_CRYPTO. */
CW_MUST_USE enum cw_err signature_make_low(EVP_PKEY *key, const uint8_t *data, size_t len,
                                           uint8_t out[SIGNATURE_P256_MAX], size_t *out_len,
                                           struct say *why);
/* Good, by a key of P-256, and that one. */
bool signature_good_low(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
                        size_t signature_len);

#endif
