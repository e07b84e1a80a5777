/* ledger_revoke.h - what became of cards' certificates after they were issued: followed by others
 * for the same keys, held while their card is blocked, or revoked for ever with their card. Errors
 * as in ledger.h. */
#ifndef CARDWIRE_BANK_LEDGER_REVOKE_H
#define CARDWIRE_BANK_LEDGER_REVOKE_H

#include "bank/ledger.h"

#define LEDGER_NUMBER_LEN                                                                          \
    9u /* bytes of the serial number in each certificate of the bank (ca.h)                        \
        */

/* CRLReason, RFC 5280 §5.3.1 */
enum ledger_reason {
    LEDGER_REASON_UNSPECIFIED = 0,
    LEDGER_REASON_KEY_COMPROMISE = 1,
    LEDGER_REASON_AFFILIATION = 3,
    LEDGER_REASON_SUPERSEDED = 4,
    LEDGER_REASON_CESSATION = 5,
    LEDGER_REASON_HOLD = 6, /* blocked: the only one that can be taken back */
    LEDGER_REASON_WITHDRAWN = 9,
};

/* Of a card, and with it of all certificates that it ever had. */
struct ledger_revocation {
    enum ledger_reason reason;
    int64_t time;
};

/* For ever: the card is terminated in the books and its certificates are revoked, in one
 * transaction. CW_ERR_STATE when it was never issued, or was revoked before. */
CW_MUST_USE enum cw_err ledger_card_revoke(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                           enum ledger_reason reason, struct say *why);

/* A new card takes the place of another: becomes active (or personalised), and the other one is
 * revoked as superseded, unless it was revoked already; in one transaction. CW_ERR_STATE when the
 * new one is not being issued, or is another customer's than the old. */
CW_MUST_USE enum cw_err ledger_card_replace(struct ledger *l,
                                            const uint8_t serial[ORDER_SERIAL_LEN],
                                            const uint8_t old[ORDER_SERIAL_LEN], bool active,
                                            struct say *why);

/* Certificates (kind, slot, DER; the rest is filled in) in the place of those of the same slots,
 * which stay good until they end: a line may be up by them, and orders were signed by them. In one
 * transaction. CW_ERR_STATE when the card is being issued, or terminated. */
CW_MUST_USE enum cw_err ledger_certificates_renew(struct ledger *l,
                                                  const uint8_t serial[ORDER_SERIAL_LEN],
                                                  struct ledger_certificate *certs, size_t count,
                                                  struct say *why);

/* The certificate of that serial number, *revoked or not. CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err ledger_certificate_numbered(struct ledger *l,
                                                    const uint8_t number[LEDGER_NUMBER_LEN],
                                                    struct ledger_certificate *out, bool *revoked,
                                                    struct ledger_revocation *revocation,
                                                    struct say *why);

/* All that are revoked or held, those of PIV or the others. `each` stops it by an error, whose
 * sentence is its own. */
CW_MUST_USE enum cw_err
ledger_revoked_each(struct ledger *l, bool piv,
                    enum cw_err (*each)(void *ctx, const struct ledger_certificate *c,
                                        const struct ledger_revocation *r, struct say *why),
                    void *ctx, struct say *why);

#endif
