/* keystore.h - where the bank's private keys are. A file NAME.key holds the key itself, in PEM, or
 * the URI (RFC 7512) of one in a PKCS#11 token, which signs by it and never gives it out. Whoever
 * loads a key sees no difference. Which key is for what: bank.h. */
#ifndef CARDWIRE_BANK_KEYSTORE_H
#define CARDWIRE_BANK_KEYSTORE_H

#include "host/say.h"

#include <openssl/evp.h>
#include <stdbool.h>

/* Loads the key that the file is about. CW_ERR_NOT_FOUND when there is no such file, token or key
 * in it, CW_ERR_DENIED when others may read the file or that of the PIN, or the token does not take
 * the PIN, CW_ERR_CRYPTO when it is no key. The caller frees *out with EVP_PKEY_free. */
CW_MUST_USE enum cw_err keystore_load(const char *path, EVP_PKEY **out, struct say *why);

/* Makes the file (CW_ERR_EXISTS when it is there) and loads its key: a new one, P-256 or RSA-2048,
 * when `uri` is NULL; otherwise the one of that URI, which was made in the token and must be P-256
 * (CW_ERR_FORMAT). Of a key in a token `rsa` is not asked. */
CW_MUST_USE enum cw_err keystore_make(const char *path, bool rsa, const char *uri, EVP_PKEY **out,
                                      struct say *why);

#endif
