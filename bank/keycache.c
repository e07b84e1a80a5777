#include "bank/keycache.h"

#include <string.h>

static size_t slot_of(const uint8_t sha256[32])
{
    return (size_t)(sha256[0] << 8 | sha256[1]) % KEYCACHE_SLOTS;
}

X509 *keycache_find(const struct keycache *cache, const uint8_t sha256[32])
{
    size_t at = slot_of(sha256);
    return cache->slots[at].cert != NULL && memcmp(cache->slots[at].sha256, sha256, 32) == 0
               ? cache->slots[at].cert
               : NULL;
}

enum cw_err keycache_get(struct keycache *cache, const struct ledger_certificate *cert, X509 **out)
{
    size_t at = slot_of(cert->sha256);
    *out = keycache_find(cache, cert->sha256);
    if (*out != NULL)
        return CW_OK;
    const unsigned char *der = cert->der;
    X509 *parsed = d2i_X509(NULL, &der, (long)cert->der_len);
    if (parsed == NULL)
        return CW_ERR_FORMAT;
    X509_free(cache->slots[at].cert);
    cache->slots[at].cert = parsed;
    memcpy(cache->slots[at].sha256, cert->sha256, 32);
    *out = parsed;
    return CW_OK;
}

void keycache_clear(struct keycache *cache)
{
    for (size_t i = 0; i < KEYCACHE_SLOTS; i++) {
        X509_free(cache->slots[i].cert);
        cache->slots[i].cert = NULL;
    }
}
