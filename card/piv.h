/* piv.h - the PIV application (NIST SP 800-73-4): its numbers, and what its files share. The card
 * is then an ordinary key for logins, signatures and mail. Its keys, PIN and tries are its own: the
 * bank takes none of them for a line or an order. docs/piv.md has the commands. */
#ifndef CARDWIRE_CARD_PIV_H
#define CARDWIRE_CARD_PIV_H

#include "base/err.h"
#include "proto/ber.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PIV_AID_LEN 11u
extern const uint8_t piv_aid[PIV_AID_LEN]; /* part 1 §2.2 */

/* Key references (SP 800-73-4 part 1 table 4b) */
#define PIV_REF_PIN        0x80
#define PIV_REF_PUK        0x81
#define PIV_REF_AUTH       0x9A /* PIN once */
#define PIV_REF_ADMIN      0x9B
#define PIV_REF_SIGNATURE  0x9C /* PIN always */
#define PIV_REF_MANAGEMENT 0x9D /* PIN once */
#define PIV_REF_CARD       0x9E /* no PIN */

/* Algorithms (SP 800-78-4 tables 6-2 and 6-3) */
#define PIV_ALG_DEFAULT 0x00 /* of the administration key: whichever it is */
#define PIV_ALG_3DES    0x03
#define PIV_ALG_RSA2048 0x07
#define PIV_ALG_AES128  0x08
#define PIV_ALG_AES192  0x0A
#define PIV_ALG_AES256  0x0C
#define PIV_ALG_P256    0x11

/* Dynamic Authentication Template (part 2 table 7) */
#define PIV_TAG_AUTH      0x7C
#define PIV_TAG_WITNESS   0x80
#define PIV_TAG_CHALLENGE 0x81
#define PIV_TAG_RESPONSE  0x82
#define PIV_TAG_POINT     0x85

/* What came in a Dynamic Authentication Template. Tag 0: it was not there. */
struct piv_template {
    struct ber_object witness, challenge, response, point;
};

#define PIV_BLOCK_MAX 16u /* of the administration key's cipher */

/* What the application remembers while it is selected. */
struct piv {
    bool pin;        /* PIN given, for 9A and 9D */
    uint32_t pin_at; /* the number of the command that gave it, for 9C; 0: none */
    bool admin;      /* the other side has proved that it has the administration key */
    uint8_t pending; /* PIV_TAG_WITNESS or _RESPONSE: what has to be `expected`; 0: neither */
    uint8_t expected[PIV_BLOCK_MAX];
};

#endif
