/* keycache.h - the parsed order certificates of the cards that paid lately: parsing one costs
 * several times what verifying with it does. Keyed by the certificate's SHA-256, so nothing in it
 * can go stale; whether a card is still active is asked of the ledger each time. */
#ifndef CARDWIRE_BANK_KEYCACHE_H
#define CARDWIRE_BANK_KEYCACHE_H

#include "bank/ledger.h"

#include <openssl/x509.h>

#define KEYCACHE_SLOTS 8192u /* twice the lines of a server; about 4 KB each when in use */

struct keycache {
    struct {
        uint8_t sha256[32];
        X509 *cert; /* NULL: empty */
    } slots[KEYCACHE_SLOTS];
};

/* The certificate, parsed; it belongs to the cache and lives until the next call.
 * CW_ERR_FORMAT when the DER is damaged. */
CW_MUST_USE enum cw_err keycache_get(struct keycache *cache, const struct ledger_certificate *cert,
                                     X509 **out);
/* The same by its hash alone; NULL when it is not in the cache. */
X509 *keycache_find(const struct keycache *cache, const uint8_t sha256[32]);
void keycache_clear(struct keycache *cache);

#endif
