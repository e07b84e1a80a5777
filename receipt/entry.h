/* entry.h - the hash of an entry of the bank's journal, as far as a receipt shows it: by the bank,
 * which writes and audits the chain, and by whoever checks a receipt. docs/bank.md has the bytes.
 * What was booked is the bank's alone (bank/ledger_chain.c). */
#ifndef CARDWIRE_RECEIPT_ENTRY_H
#define CARDWIRE_RECEIPT_ENTRY_H

#include "proto/order.h"
#include "receipt/digest.h"

#define ENTRY_SIGNATURE_MAX 512u /* bytes */

/* What a card signed, and with what. Points into the caller's memory. */
struct entry_order {
    const uint8_t *id;          /* ORDER_ID_LEN */
    const uint8_t *request;     /* DIGEST_LEN, entry_request_hash */
    const uint8_t *card;        /* ORDER_SERIAL_LEN */
    const uint8_t *certificate; /* DIGEST_LEN, over its DER */
    int64_t counter;
    const uint8_t *text;
    size_t text_len;
    const uint8_t *signature;
    size_t signature_len;
};

/* What tells a repeated request from another one: one hash over text and signature, unambiguous
 * about where the text ends. At most ORDER_TEXT_MAX and ENTRY_SIGNATURE_MAX bytes. */
void entry_request_hash(const uint8_t *text, size_t text_len, const uint8_t *signature,
                        size_t signature_len, uint8_t out[DIGEST_LEN]);
/* *order*: over nothing when there is none (NULL). */
void entry_order_hash(struct digest *d, const struct entry_order *order, uint8_t out[DIGEST_LEN]);
/* The entry's own. */
void entry_own_hash(struct digest *d, int64_t id, int64_t time, const uint8_t booked[DIGEST_LEN],
                    const uint8_t order[DIGEST_LEN], uint8_t out[DIGEST_LEN]);
/* Its place in the chain; `before` and `out` may be the same. */
void entry_chain_hash(struct digest *d, const uint8_t before[DIGEST_LEN],
                      const uint8_t own[DIGEST_LEN], uint8_t out[DIGEST_LEN]);

#endif
