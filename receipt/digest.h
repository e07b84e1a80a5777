/* digest.h - SHA-256 over fields that follow each other, as the chain of the journal takes them
 * (docs/bank.md, The chain). What fails is kept to the end: ask once. */
#ifndef CARDWIRE_RECEIPT_DIGEST_H
#define CARDWIRE_RECEIPT_DIGEST_H

#include "host/say.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIGEST_LEN 32u

/* Zero-initialise; used for one digest after the other, and ended with digest_free. */
struct digest {
    EVP_MD_CTX *md;
    bool bad;
};

void digest_begin(struct digest *d);
void digest_put(struct digest *d, const void *data, size_t len);
/* 8 bytes, big-endian. */
void digest_put_number(struct digest *d, int64_t v);
/* With its length before it. */
void digest_put_field(struct digest *d, const void *data, size_t len);
void digest_end(struct digest *d, uint8_t out[DIGEST_LEN]);
/* CW_ERR_CRYPTO when anything failed since it was new: then no digest of it is good. */
CW_MUST_USE enum cw_err digest_free(struct digest *d, struct say *why);

#endif
