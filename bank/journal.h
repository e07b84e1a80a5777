/* journal.h - the bank's word for its journal: the key that signs heads of it, and the receipts
 * that rest on them. A head is signed when a receipt asks for one and none is near: not with each
 * payment. */
#ifndef CARDWIRE_BANK_JOURNAL_H
#define CARDWIRE_BANK_JOURNAL_H

#include "bank/bank.h"

/* Key and certificates, loaded. */
struct journal;

/* Makes key and certificate first, in a bank of a time that had none. CW_ERR_STATE when the key is
 * gone; CW_ERR_FORMAT when the certificate is not one for this journal, by card-root. The caller
 * frees *out with journal_free. */
CW_MUST_USE enum cw_err journal_open(struct bank *b, struct journal **out, struct say *why);
void journal_free(struct journal **journal);

/* The receipt of a payment, in DER; *out is malloc'd. Signs a head when there is none within
 * RECEIPT_ENTRIES_MAX entries: the last entry's, or for one further back the last of its block of
 * that many and one, so that all of a block can share it. What is given out was verified. Not in a
 * transaction: a head is of entries that stay. */
CW_MUST_USE enum cw_err journal_receipt(struct bank *b, const struct journal *j,
                                        const struct ledger_payment *p, uint8_t **out, size_t *len,
                                        struct say *why);

/* Every head that was signed is of the chain as it is, by a key of this bank's journal; so is the
 * certificate in the folder, if there is one. CW_ERR_FORMAT, with the first that is not. */
CW_MUST_USE enum cw_err journal_audit(struct bank *b, X509 *card_root, int64_t *heads,
                                      struct say *why);

#endif
