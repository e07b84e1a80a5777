/* receipt.h - a receipt in its parts, and as a file: the order and the card's signature as CMS
 * SignedData (RFC 5652 §5), which anybody checks with `openssl cms -verify`, and with them, as an
 * unsigned attribute, the proof that the bank has booked it. Nothing here believes a word of it:
 * that is verify.h. */
#ifndef CARDWIRE_RECEIPT_RECEIPT_H
#define CARDWIRE_RECEIPT_RECEIPT_H

#include "receipt/entry.h"
#include "receipt/head.h"
#include "receipt/signature.h"

#define RECEIPT_MAX         12288u /* bytes of a file */
#define RECEIPT_CERT_MAX    2048u  /* bytes of DER */
#define RECEIPT_ENTRIES_MAX 63u    /* between the entry and its head, the head's included */

/* Object identifiers of our own (ITU-T X.667): below 2.25 and a UUID nothing need be registered.
 * 1 is the one use of the key that signs heads (RFC 5280 §4.2.1.12), 2 the attribute. */
#define RECEIPT_ARC         "2.25.239480754541925574324085984162826646936"
#define RECEIPT_OID_JOURNAL RECEIPT_ARC ".1"
#define RECEIPT_OID_PROOF   RECEIPT_ARC ".2"
#define RECEIPT_JOURNAL_CN  " Journal" /* after the bank's name, in that key's certificate */

/* That an entry is in the journal up to a head. */
struct receipt_proof {
    int64_t id, time;           /* of the entry; when it was booked, seconds since 1970 */
    uint8_t booked[DIGEST_LEN]; /* its *booked*, which only the bank can open */
    uint8_t before[DIGEST_LEN]; /* the chain's hash before it */
    uint8_t entries[RECEIPT_ENTRIES_MAX][DIGEST_LEN]; /* own hashes of those after it, in order */
    size_t entry_count;
    uint8_t head[HEAD_TEXT_MAX]; /* text */
    size_t head_len;
    uint8_t signature[SIGNATURE_P256_MAX]; /* over that text */
    size_t signature_len;
    uint8_t certificate[RECEIPT_CERT_MAX]; /* of the key that signed it, DER */
    size_t certificate_len;
};

struct receipt {
    uint8_t text[ORDER_TEXT_MAX]; /* of the order */
    size_t text_len;
    uint8_t signature[ENTRY_SIGNATURE_MAX]; /* the card's */
    size_t signature_len;
    uint8_t certificate[RECEIPT_CERT_MAX]; /* the card's for orders, DER */
    size_t certificate_len;
    uint8_t issuer[RECEIPT_CERT_MAX]; /* of the CA between that and the root, DER */
    size_t issuer_len;                /* 0: there is none */
    struct receipt_proof proof;
};

/* DER of the SignedData: eContent is the text, one SignerInfo without signed attributes whose
 * signature is the card's, the proof as its one unsigned attribute, the card's certificate and that
 * of its CA.
 * The same parts always make the same bytes. *out is malloc'd, freed with free. */
CW_MUST_USE enum cw_err receipt_write(const struct receipt *r, uint8_t **out, size_t *len,
                                      struct say *why);

/* Accepts exactly what receipt_write makes, byte for byte: takes the file apart, makes it anew and
 * compares. CW_ERR_FORMAT; CW_ERR_NOT_FOUND for a receipt without a proof, as an older cardwired
 * gave them. */
CW_MUST_USE enum cw_err receipt_read(const uint8_t *der, size_t len, struct receipt *out,
                                     struct say *why);

#endif
