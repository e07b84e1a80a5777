/* port.h - what a chip, or a program that plays one, must give the card: memory that outlives
 * power, randomness, and an identity. Everything else the card does by itself. docs/card.md for its
 * commands.
 */
#ifndef CARDWIRE_CARD_PORT_H
#define CARDWIRE_CARD_PORT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CARD_UNIQUE_ID_LEN   8u
#define CARD_INITIAL_KEY_LEN 16u
#define CARD_INITIAL_KEYSET                                                                        \
    0xFFu /* version of the first key set, as GlobalPlatform cards have it */

/* NOR flash as a microcontroller has it. Offsets count from the start of the region given to the
 * card. Power may fail at any byte of any call: card/nvm.c copes with that, the driver need not.
 * What a torn erase leaves is, byte by byte, the old value or FF. The card programs whole words of
 * 8 bytes at multiples of 8, and each word once between two erasures, so ECC over a word is no
 * obstacle. Functions return CW_OK or CW_ERR_IO. */
struct card_flash {
    void *ctx;
    uint32_t page_size;  /* bytes erased at once; 2,048 or 4,096 */
    uint32_t page_count; /* even; at least 8 */
    enum cw_err (*read)(void *ctx, uint32_t offset, void *data, uint32_t len);
    /* `offset` and `len` are multiples of 8. Can only clear bits: result = old AND data. Durable
     * when it returns. */
    enum cw_err (*program)(void *ctx, uint32_t offset, const void *data, uint32_t len);
    /* Sets a whole page to FF. Durable when it returns. */
    enum cw_err (*erase)(void *ctx, uint32_t page);
};

struct card_port {
    void *ctx;
    /* Fills buf with random bytes fit for keys (seeded DRBG or TRNG with health tests).
     * CW_ERR_IO: then the card does nothing that needs randomness. */
    enum cw_err (*random)(void *ctx, uint8_t *buf, size_t len);
    /* NULL, or called at least every so often during long work, so that a transport can ask for a
     * waiting time extension (ISO/IEC 7816-3:2006 §11.6.2.3 S(WTX), ISO/IEC 14443-4 §7.3). It must
     * not call the card. */
    void (*working)(void *ctx);
    struct card_flash flash;
    uint8_t unique_id[CARD_UNIQUE_ID_LEN]; /* becomes the card's serial number */
    /* The key with which the maker delivers a blank card: ENC, MAC and DEK of its first key set
     * (docs/scp03.md). Read when the memory is first used, never after. */
    uint8_t initial_key[CARD_INITIAL_KEY_LEN];
    bool contactless; /* the field it is powered by, for policy and ATR */
};

#endif
