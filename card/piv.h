/* piv.h - the PIV application (NIST SP 800-73-4): what its files share. The card is then an
 * ordinary key for logins, signatures and mail. Its keys, PIN and tries are its own: the bank takes
 * none of them for a line or an order. docs/piv.md has the commands. */
#ifndef CARDWIRE_CARD_PIV_H
#define CARDWIRE_CARD_PIV_H

#include "base/err.h"
#include "proto/ber.h"
#include "proto/piv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What came in a Dynamic Authentication Template. Tag 0: it was not there. */
struct piv_template {
    struct ber_object witness, challenge, response, point;
};

#define PIV_BLOCK_MAX 16u /* of the administration key's cipher */

/* What the application remembers while it is selected. */
struct piv {
    uint32_t pin;    /* HARD_YES: PIN given, for 9A and 9D */
    uint32_t pin_at; /* the number of the command that gave it, for 9C; 0: none */
    uint32_t admin;  /* HARD_YES: the other side has proved that it has the administration key */
    uint8_t pending; /* PIV_TAG_WITNESS or _RESPONSE: what has to be `expected`; 0: neither */
    uint8_t expected[PIV_BLOCK_MAX];
};

#endif
