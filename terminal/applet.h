/* applet.h - the commands of the card's `link` application, one function each (docs/card.md). Turns
 * status words into errors and sentences. Not the pump: terminal/pump.h moves a TLS line with
 * these.
 *
 * All functions: `why` gets a sentence on failure (may be NULL). CW_ERR_GONE when the card is torn
 * out, CW_ERR_IO when the reader fails, CW_ERR_AUTH wrong PIN, CW_ERR_BLOCKED PIN blocked,
 * CW_ERR_DENIED no PIN given for this, CW_ERR_STATE wrong moment, CW_ERR_NOT_FOUND no such object.
 */
#ifndef CARDWIRE_TERMINAL_APPLET_H
#define CARDWIRE_TERMINAL_APPLET_H

#include "proto/apdu.h"
#include "proto/issuer.h"
#include "proto/link.h"
#include "proto/order.h"
#include "proto/policy.h"
#include "reader/reader.h"

#define APPLET_CERT_MAX    2048u /* bytes of DER */
#define APPLET_COMMAND_MAX 2048u /* most data in one APDU that this side sends */

struct applet_info {
    uint8_t serial[ORDER_SERIAL_LEN];
    enum link_life life;
    unsigned pin_tries_left, pin_tries_max;
    unsigned puk_tries_left, puk_tries_max;
    bool transport;                   /* the PIN must be changed before it opens anything */
    int64_t time_floor;               /* seconds since 1970 */
    uint8_t keys, certificates;       /* masks, bit slot-1 */
    size_t command_max, response_max; /* bytes of data in one APDU */
    uint32_t order_counter;
    bool contactless;
    uint32_t heap_peak, heap_size; /* the card's TLS pool, bytes */
    uint32_t sequence;             /* of the issuer's last update */
    enum link_refusal refused;     /* why the last order was not signed */
    uint8_t keyset;                /* version of the issuer's keys; 0: none */
};

struct applet_session {
    uint8_t state;
    enum link_profile profile;
    uint16_t suite, tls;
    char peer[LINK_HOST_MAX + 1];
    uint8_t peer_sha256[32];
    enum link_reason reason;
    int alert_in, alert_out; /* -1: none */
    enum link_key key;
    bool binding;
    bool resumed; /* goes on from a session that the card had kept */
};

struct applet_name {
    char host[LINK_HOST_MAX + 1];
    uint8_t profiles; /* mask of LINK_PROFILE_BIT */
    char alpn[17];    /* "" for none */
};

struct applet_event {
    enum link_event_kind kind;
    uint8_t code;
    uint16_t length;
    uint8_t result, flags;
};

/* Sends `cmd` as one APDU, short or extended as its lengths demand, and collects the answer: with
 * 6Cxx the command again with the right Le, with 61xx GET RESPONSE (ISO/IEC 7816-3:2006 §12.2.1).
 */
CW_MUST_USE enum cw_err applet_exchange(struct reader *r, const struct apdu_command *cmd,
                                        uint8_t *out, size_t cap, size_t *len, uint16_t *sw,
                                        struct say *why);
/* A status word as an error and a sentence; `what` completes "the card refused to ...". */
CW_MUST_USE enum cw_err applet_status(uint16_t sw, const char *what, struct say *why);

/* Sends one command and collects 61xx continuations (GET RESPONSE). `ne` 0 means no answer wanted,
 * otherwise 1..256. *len is the number of data bytes; *sw the final status word. Chains the command
 * when nc > 255: our APDUs are short. */
CW_MUST_USE enum cw_err applet_command(struct reader *r, uint8_t cla, uint8_t ins, uint8_t p1,
                                       uint8_t p2, const uint8_t *data, size_t nc, size_t ne,
                                       uint8_t *out, size_t cap, size_t *len, uint16_t *sw,
                                       struct say *why);

CW_MUST_USE enum cw_err applet_select(struct reader *r, struct say *why);
CW_MUST_USE enum cw_err applet_info_get(struct reader *r, struct applet_info *out, struct say *why);
CW_MUST_USE enum cw_err applet_session_get(struct reader *r, struct applet_session *out,
                                           struct say *why);
/* Events from number `first` on; *count is how many were written to events[0..cap). */
CW_MUST_USE enum cw_err applet_events_get(struct reader *r, unsigned first,
                                          struct applet_event *events, size_t cap, size_t *count,
                                          struct say *why);
/* pin: ASCII digits, not NUL-terminated. `use` is LINK_PIN_LINE or LINK_PIN_ORDER. The command
 * buffer is wiped before return. `tries_left` may be NULL; set on CW_ERR_AUTH. */
CW_MUST_USE enum cw_err applet_verify(struct reader *r, uint8_t use, const uint8_t *pin, size_t len,
                                      unsigned *tries_left, struct say *why);
CW_MUST_USE enum cw_err applet_data_get(struct reader *r, uint16_t object, uint8_t *out, size_t cap,
                                        size_t *len, struct say *why);
CW_MUST_USE enum cw_err applet_name_get(struct reader *r, unsigned index, struct applet_name *out,
                                        struct say *why);
/* CW_ERR_DENIED: this order wants the PIN. CW_ERR_REFUSED: the card's policy is against it; then
 * *refusal, which may be NULL, says what of it. */
CW_MUST_USE enum cw_err applet_sign_order(struct reader *r, enum link_key key,
                                          const struct order_fields *fields, uint8_t *text,
                                          size_t text_cap, size_t *text_len, uint8_t *signature,
                                          size_t sig_cap, size_t *sig_len,
                                          enum link_refusal *refusal, struct say *why);

/* The holder's side: applet_holder.c. */

/* Can the holder use this card as it is? CW_ERR_STATE when its life, or a PIN that must be changed
 * first, is against it, CW_ERR_BLOCKED when the PIN is: `why` says what to do. */
CW_MUST_USE enum cw_err applet_usable(const struct applet_info *info, struct say *why);
/* The same, but for a PIN that is to be changed or unblocked. */
CW_MUST_USE enum cw_err applet_alive(const struct applet_info *info, struct say *why);
/* CHANGE REFERENCE DATA, RESET RETRY COUNTER: ASCII digits, as for applet_verify. The card holds
 * the new PIN against its rules first (CW_ERR_LENGTH, CW_ERR_FORMAT: no try was spent).
 * `tries_left`, of the old PIN or the PUK, may be NULL; set on CW_ERR_AUTH. */
CW_MUST_USE enum cw_err applet_pin_change(struct reader *r, const uint8_t *old, size_t old_len,
                                          const uint8_t *pin, size_t pin_len, unsigned *tries_left,
                                          struct say *why);
CW_MUST_USE enum cw_err applet_pin_unblock(struct reader *r, const uint8_t *puk, size_t puk_len,
                                           const uint8_t *pin, size_t pin_len, unsigned *tries_left,
                                           struct say *why);
CW_MUST_USE enum cw_err applet_policy_get(struct reader *r, struct policy *out, struct say *why);
/* The listed payees; the card gives them after the PIN, or while a line is open. */
CW_MUST_USE enum cw_err applet_payees_get(struct reader *r,
                                          struct policy_payee out[POLICY_PAYEES_MAX], size_t *count,
                                          struct say *why);
/* What the issuer signs together with a new time. */
CW_MUST_USE enum cw_err applet_challenge(struct reader *r, uint8_t out[ISSUER_CHALLENGE_LEN],
                                         struct say *why);
/* APPLY: a signed message of the issuer, as it came. The answer is where the card stands then. */
CW_MUST_USE enum cw_err applet_apply_time(struct reader *r, const uint8_t *message, size_t len,
                                          int64_t *floor, struct say *why);
CW_MUST_USE enum cw_err applet_apply_update(struct reader *r, const uint8_t *message, size_t len,
                                            uint32_t *sequence, struct say *why);

#endif
