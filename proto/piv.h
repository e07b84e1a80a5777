/* piv.h - the numbers of the PIV card application (NIST SP 800-73-4, SP 800-78-4), and the values
 * of those of its objects that are the same at both ends: as a card has them from the start, and as
 * its issuer writes them. docs/piv.md is its page; "part 1", "part 2" are those of SP 800-73-4. */
#ifndef CARDWIRE_PROTO_PIV_H
#define CARDWIRE_PROTO_PIV_H

#include "base/buf.h"

#define PIV_AID_LEN    11u
#define PIV_SERIAL_LEN 8u
extern const uint8_t piv_aid[PIV_AID_LEN]; /* part 1 §2.2 */

/* Instructions that the link application has not (part 2 table 2) */
#define INS_GET_DATA_BER 0xCB
#define INS_PUT_DATA_BER 0xDB
#define INS_AUTHENTICATE 0x87

/* Key references (part 1 table 4b) */
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

/* GENERATE ASYMMETRIC KEY PAIR (part 2 §3.3.2) */
#define PIV_TAG_GENERATE   0xAC
#define PIV_TAG_ALGORITHM  0x80
#define PIV_TAG_PUBLIC     0x7F49
#define PIV_TAG_MODULUS    0x81
#define PIV_TAG_EXPONENT   0x82
#define PIV_TAG_PUBLIC_KEY 0x86 /* of P-256: the point */
#define PIV_RSA_LEN        256u
#define PIV_POINT_LEN      65u

/* GET DATA, PUT DATA (part 2 §3.1.2, §3.3.1) */
#define PIV_TAG_LIST      0x5C
#define PIV_TAG_DATA      0x53
#define PIV_TAG_DISCOVERY 0x7E

/* Last byte of the objects' tags 5FC1xx (part 1 table 3) */
#define PIV_OBJECT_CARD        0x01 /* certificate of 9E */
#define PIV_OBJECT_CHUID       0x02
#define PIV_OBJECT_AUTH        0x05 /* certificate of 9A */
#define PIV_OBJECT_SECURITY    0x06
#define PIV_OBJECT_CCC         0x07
#define PIV_OBJECT_PRINTED     0x09
#define PIV_OBJECT_SIGNATURE   0x0A /* certificate of 9C */
#define PIV_OBJECT_MANAGEMENT  0x0B /* certificate of 9D */
#define PIV_OBJECT_KEY_HISTORY 0x0C

/* The object with the certificate of a key; 0 when that is no key pair. */
uint8_t piv_certificate_of(uint8_t ref);

/* Card Holder Unique Identifier (part 1 §3.1.2) of a card that is no federal agency's: the FASC-N
 * says so, the GUID (RFC 9562 §5.8) is made of the card's serial number, nothing is signed.
 * `expiry`: YYYYMMDD. These three with their tag 53. */
void piv_chuid_put(struct buf_writer *w, const uint8_t serial[PIV_SERIAL_LEN], const char *expiry);
/* Card Capability Container (part 1 §3.1.1). */
void piv_ccc_put(struct buf_writer *w, const uint8_t serial[PIV_SERIAL_LEN]);
/* Part 1 §3.3.3: there are no retired keys. */
void piv_key_history_put(struct buf_writer *w);
/* Part 1 §3.3.2, with its tag 7E: the AID, and that this application's own PIN is the only one. */
void piv_discovery_put(struct buf_writer *w);

#endif
