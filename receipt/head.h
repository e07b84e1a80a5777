/* head.h - a head of the bank's journal: an entry and its hash in the chain, which stands for all
 * before it, as a text that a person reads and the bank signs. docs/bank.md gives it line by line.
 * No crypto, no I/O. */
#ifndef CARDWIRE_RECEIPT_HEAD_H
#define CARDWIRE_RECEIPT_HEAD_H

#include "base/buf.h"
#include "base/cal.h"
#include "base/err.h"

#define HEAD_BANK_MAX 48u /* bytes of UTF-8 */
#define HEAD_HASH_LEN 32u
#define HEAD_TEXT_MAX 320u /* the longest text, bytes, is below this */

struct head {
    char bank[HEAD_BANK_MAX + 1]; /* clean text (proto/text.h), not empty */
    int64_t entry;                /* 1.. */
    uint8_t hash[HEAD_HASH_LEN];
    int64_t time;                       /* when it was signed; seconds since 1970, UTC */
    uint8_t certificate[HEAD_HASH_LEN]; /* SHA-256 of the certificate of the key that signs it */
};

/* CW_ERR_FORMAT when a value is none that it may have, CW_ERR_SPACE. */
CW_MUST_USE enum cw_err head_write(const struct head *h, struct buf_writer *w);
/* Accepts exactly what head_write makes, byte for byte. CW_ERR_FORMAT otherwise. */
CW_MUST_USE enum cw_err head_parse(const uint8_t *text, size_t len, struct head *out);

#endif
