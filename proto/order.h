/* order.h - a payment order: its fields, and the one canonical text that the card signs and a
 * person reads. docs/order.md gives it byte for byte. Used by the card, the terminal and the bank,
 * so that there is one idea of what an order is. No crypto, no I/O. */
#ifndef CARDWIRE_PROTO_ORDER_H
#define CARDWIRE_PROTO_ORDER_H

#include "base/buf.h"
#include "base/cal.h"
#include "base/err.h"

#define ORDER_ACCOUNT_MIN   8u
#define ORDER_ACCOUNT_MAX   34u  /* as an IBAN, ISO 13616-1 §5 */
#define ORDER_NAME_MAX      70u  /* bytes of UTF-8; ISO 20022 Max70Text */
#define ORDER_REFERENCE_MAX 140u /* bytes of UTF-8; ISO 20022 Max140Text */
#define ORDER_ID_LEN        16u
#define ORDER_SERIAL_LEN    8u
#define ORDER_BINDING_LEN   16u
#define ORDER_AMOUNT_MAX    INT64_C(999999999999999) /* minor units; 15 digits */
#define ORDER_TEXT_MAX      640u                     /* the longest text, bytes, is below this */
#define ORDER_TLV_MAX       420u                     /* the longest SIGN ORDER data is below this */

/* What the holder asks for. Strings are NUL-terminated. */
struct order_fields {
    char payer[ORDER_ACCOUNT_MAX + 1]; /* account to debit: A-Z 0-9 */
    char payee[ORDER_ACCOUNT_MAX + 1]; /* account to credit: A-Z 0-9 */
    char payee_name[ORDER_NAME_MAX + 1];
    int64_t amount;                          /* minor units, 1..ORDER_AMOUNT_MAX */
    char currency[4];                        /* ISO 4217 alphabetic */
    char reference[ORDER_REFERENCE_MAX + 1]; /* may be empty */
    uint8_t id[ORDER_ID_LEN];                /* random; names the order for ever */
    int64_t expiry;                          /* seconds since 1970, UTC */
};

/* What the card adds. */
struct order_seal {
    uint8_t serial[ORDER_SERIAL_LEN];
    uint32_t counter;                   /* 1, 2, 3...: never twice from one card */
    uint8_t binding[ORDER_BINDING_LEN]; /* exporter value of the TLS session */
};

/* Minor-unit digits of a currency (ISO 4217 table A.1). CW_ERR_UNSUPPORTED when unknown to us. */
CW_MUST_USE enum cw_err order_currency_digits(const char currency[4], int *digits);

/* "12.34" in the digits of the currency -> 1234. CW_ERR_FORMAT (signs, spaces, too many or too few
 * decimals, thousands separators: not accepted; no decimals at all are), CW_ERR_LENGTH above
 * ORDER_AMOUNT_MAX, CW_ERR_UNSUPPORTED for the currency. Zero parses. */
CW_MUST_USE enum cw_err order_amount_parse(const char *text, const char currency[4], int64_t *out);
/* 1234 -> "12.34"; a negative amount gets a leading '-'. */
void order_amount_put(struct buf_writer *w, int64_t amount, const char currency[4]);

/* CW_OK when every field may be signed: lengths, character sets (account A-Z 0-9; texts are UTF-8
 * without control, bidirectional-override, zero-width or line-separator characters and without
 * leading or trailing spaces), amount, currency, expiry. CW_ERR_FORMAT, CW_ERR_LENGTH or
 * CW_ERR_UNSUPPORTED otherwise. */
CW_MUST_USE enum cw_err order_check(const struct order_fields *f);

/* SIGN ORDER's data (docs/card.md). Encode checks first; decode does too. */
CW_MUST_USE enum cw_err order_tlv_encode(const struct order_fields *f, struct buf_writer *w);
CW_MUST_USE enum cw_err order_tlv_decode(const uint8_t *data, size_t len, struct order_fields *out);

/* The text that is signed. With seal NULL the last three lines are left out: that is what a
 * terminal shows before it asks for the PIN. CW_ERR_SPACE if `w` is too small. */
CW_MUST_USE enum cw_err order_text_write(const struct order_fields *f,
                                         const struct order_seal *seal, struct buf_writer *w);
/* Accepts exactly what order_text_write makes, byte for byte. CW_ERR_FORMAT otherwise. */
CW_MUST_USE enum cw_err order_text_parse(const uint8_t *text, size_t len, struct order_fields *f,
                                         struct order_seal *seal);

#endif
