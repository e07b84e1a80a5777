/* token.h - private keys in PKCS#11 tokens: finds one by its URI (RFC 7512) and makes it a key of
 * OpenSSL, whose signatures the token then makes. Keys are made by the token's own tools. */
#ifndef CARDWIRE_BANK_TOKEN_H
#define CARDWIRE_BANK_TOKEN_H

#include "host/say.h"

#include <openssl/evp.h>
#include <stdbool.h>

/* Is the text such a URI, well-formed or not? */
bool token_uri_is(const char *text);

/* `uri` names the token (token=, serial=, ...), the key (object=, id=), the token's driver
 * (module-path=) and where its PIN is (pin-source=file:FILE, which must be its owner's alone, or
 * pin-value=). CW_ERR_FORMAT when it is no such URI; CW_ERR_NOT_FOUND when there is no such driver,
 * token or key; CW_ERR_DENIED when the token does not take the PIN; CW_ERR_ARG when it names
 * several tokens or keys. The caller frees *out with EVP_PKEY_free; with the last key of a driver
 * the driver is let go. */
CW_MUST_USE enum cw_err token_key_get(const char *uri, EVP_PKEY **out, struct say *why);

#endif
