/* receipt.h - is this the receipt of that order? Finds the text that the card signed inside the
 * CMS SignedData (RFC 5652) that the bank gave. Verifies no signature: that is openssl's work, and
 * needs the root of the cards. */
#ifndef CARDWIRE_TERMINAL_RECEIPT_H
#define CARDWIRE_TERMINAL_RECEIPT_H

#include "host/say.h"
#include "proto/order.h"

/* CW_OK when an OCTET STRING of the receipt is exactly `text`; CW_ERR_FORMAT otherwise. */
CW_MUST_USE enum cw_err receipt_check_text(const uint8_t *der, size_t len, const uint8_t *text,
                                           size_t text_len, struct say *why);
/* CW_OK when an OCTET STRING of the receipt is the text of the order `id`; CW_ERR_FORMAT otherwise.
 */
CW_MUST_USE enum cw_err receipt_check_order(const uint8_t *der, size_t len,
                                            const uint8_t id[ORDER_ID_LEN], struct say *why);

#endif
