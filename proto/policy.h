/* policy.h - what the issuer permits a card: PIN rules, interfaces, whether sessions are kept,
 * order limits, and the list of payees. Written at issuance, replaced by a signed message of the
 * issuer. Codecs only, used by the card, the terminal and the bank. No I/O. */
#ifndef CARDWIRE_PROTO_POLICY_H
#define CARDWIRE_PROTO_POLICY_H

#include "proto/order.h"

/* PIN rules: what a new PIN may not be */
#define PIN_RULE_NO_REPEAT   0x01 /* one digit throughout: 1111 */
#define PIN_RULE_NO_SEQUENCE 0x02 /* digits that count up or down by one: 1234, 9876 */

struct policy_pin {
    uint8_t min, max; /* digits, POLICY_PIN_MIN..POLICY_PIN_MAX */
    uint8_t rules;    /* PIN_RULE_* */
    uint8_t tries;    /* of the PIN, 1..15 */
};
#define POLICY_PIN_MIN 4u
#define POLICY_PIN_MAX 12u

#define POLICY_LINE_CONTACTLESS  0x01 /* the line's PIN may be given in clear over the air */
#define POLICY_ORDER_CONTACTLESS 0x02 /* so may the order's, and orders be signed there */
#define POLICY_PIV_CONTACTLESS   0x04 /* and the PIN of the PIV application */
#define POLICY_LISTED_PAYEES     0x08 /* orders only to payees of the list */
#define POLICY_SESSIONS_RAM      0x10 /* a TLS session is kept while there is power */
#define POLICY_SESSIONS_NVM      0x20 /* and beyond it */
#define POLICY_FLAGS             0x3F

/* Limits of one currency, in minor units. What is not in the list of a card that has one is not
 * signed at all. */
struct policy_limit {
    char currency[4];
    int64_t order;       /* most of one order, 1..ORDER_AMOUNT_MAX */
    int64_t day;         /* most of one day by the card's time, UTC; 1.. */
    int64_t small;       /* an order up to this needs no PIN of its own; 0: all do */
    int64_t small_total; /* most that goes without it until an order with PIN; 0 with small 0 */
};
#define POLICY_LIMITS_MAX 4u

struct policy {
    uint8_t flags; /* POLICY_* */
    struct policy_pin pin;
    struct policy_limit limits[POLICY_LIMITS_MAX];
    size_t limit_count; /* 0: no limits */
};
#define POLICY_LEN_MAX 160u /* bytes of the longest encoding */

/* CW_ERR_FORMAT when a value is out of range, a currency unknown or named twice. */
CW_MUST_USE enum cw_err policy_check(const struct policy *p);
/* BER-TLV: 80 flags (1) | 81 PIN: min, max, rules, tries (4) | 82 limit, repeated: currency (3),
 * order, day, small, small total (8 each). Encode checks first; decode does too. CW_ERR_FORMAT,
 * CW_ERR_SPACE. */
CW_MUST_USE enum cw_err policy_encode(const struct policy *p, struct buf_writer *w);
CW_MUST_USE enum cw_err policy_decode(const uint8_t *data, size_t len, struct policy *out);
/* The limit of a currency; NULL when there is none. */
const struct policy_limit *policy_limit_find(const struct policy *p, const char currency[4]);

/* May this be a PIN? CW_ERR_LENGTH outside min..max; CW_ERR_FORMAT when it is not of ASCII digits,
 * or breaks a rule. */
CW_MUST_USE enum cw_err policy_pin_check(const struct policy_pin *rules, const uint8_t *digits,
                                         size_t len);

/* A payee that orders may go to: account and name must both be those of the order. */
struct policy_payee {
    char account[ORDER_ACCOUNT_MAX + 1];
    char name[ORDER_NAME_MAX + 1];
};
#define POLICY_PAYEES_MAX    16u
#define POLICY_PAYEES_LENMAX 1000u /* bytes of a list: what the channel reads back at once */

/* A list of payees: 30 { 81 account, 82 name }, repeated; may be empty. CW_ERR_FORMAT when one is
 * not what an order could name, or there are too many. */
CW_MUST_USE enum cw_err policy_payee_put(struct buf_writer *w, const struct policy_payee *payee);
CW_MUST_USE enum cw_err policy_payees_check(const uint8_t *data, size_t len);
/* Takes the next one of a checked list; false at the end. */
bool policy_payee_next(struct buf_reader *list, struct policy_payee *out);

#endif
