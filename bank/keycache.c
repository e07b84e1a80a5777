#include "bank/keycache.h"

#include <string.h>

enum cw_err keycache_get(struct keycache *cache, const struct ledger_certificate *cert, X509 **out)
{
    size_t at = (size_t)(cert->sha256[0] << 8 | cert->sha256[1]) % KEYCACHE_SLOTS;
    X509 *have = cache->slots[at].cert;
    if (have != NULL && memcmp(cache->slots[at].sha256, cert->sha256, 32) == 0) {
        *out = have;
        return CW_OK;
    }
    const unsigned char *der = cert->der;
    X509 *parsed = d2i_X509(NULL, &der, (long)cert->der_len);
    if (parsed == NULL)
        return CW_ERR_FORMAT;
    X509_free(have);
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
