/* desk.h - the bank's own reader with a card in it: finds the card, opens the issuer's secure
 * channel to it under the keys that it has (docs/scp03.md), and does through it what only the
 * issuer may. What is written and in which order is issue.c's and manage.c's business. */
#ifndef CARDWIRE_BANK_DESK_H
#define CARDWIRE_BANK_DESK_H

#include "bank/bank.h"
#include "host/pin.h"
#include "proto/scp03.h"
#include "terminal/applet.h"

#define DESK_KEYSET       1u    /* version of the bank's key set in its cards */
#define DESK_MAKER_KEYSET 0xFFu /* of that with which a card comes from its maker */

/* What the card told of itself when it was found; nothing of that is proved before the channel is
 * open, and then only that the serial is the card's. */
struct desk {
    struct bank *bank;
    struct reader *reader;
    struct channel *channel; /* NULL: not open */
    struct applet_info info;
    char serial[2 * ORDER_SERIAL_LEN + 1];
};

/* Finds the card in the reader (a URI, reader/reader.h). The caller frees *out with desk_free. */
CW_MUST_USE enum cw_err desk_open(struct bank *bank, const char *reader, struct desk **out,
                                  struct say *why);
void desk_free(struct desk **desk);

/* The administration key that the bank gives this card's PIV application. The caller wipes it. */
CW_MUST_USE enum cw_err desk_piv_key_get(const struct desk *d, uint8_t out[SCP03_KEY_LEN],
                                         struct say *why);

/* Opens the channel under the bank's keys for this card. CW_ERR_NOT_FOUND when the card has no key
 * set of that version, CW_ERR_DENIED when it is another bank's. */
CW_MUST_USE enum cw_err desk_channel_open(struct desk *d, struct say *why);
/* Opens it under the maker's key (in a file as issuer_keys.h has it; NULL: the well-known one of
 * GlobalPlatform cards), puts the bank's keys in its place, and opens it under those. The serial is
 * only what the card says, and who knows the maker's key learns the keys: the ledger is asked and
 * told first (ledger_card_keys_give, also about `again` and the errors). */
CW_MUST_USE enum cw_err desk_take_over(struct desk *d, const char *initial_key, bool again,
                                       struct say *why);

/* One command through the channel; `out` may be NULL when no data is wanted. `what` completes "the
 * card refused to ...". */
CW_MUST_USE enum cw_err desk_command(struct desk *d, uint8_t cla, uint8_t ins, uint16_t p1p2,
                                     const uint8_t *data, size_t nc, uint8_t *out, size_t cap,
                                     size_t *len, const char *what, struct say *why);
CW_MUST_USE enum cw_err desk_object_get(struct desk *d, uint16_t object, uint8_t *out, size_t cap,
                                        size_t *len, struct say *why);
/* Writes an object, and reads it back where an answer can hold it: CW_ERR_IO when it differs. */
CW_MUST_USE enum cw_err desk_object_put(struct desk *d, uint16_t object, const uint8_t *data,
                                        size_t len, struct say *why);
/* CW_OK also when it was not there. */
CW_MUST_USE enum cw_err desk_object_remove(struct desk *d, uint16_t object, struct say *why);

/* Minutes on a real chip for RSA: in slices, between which others get at the reader. `progress` may
 * be NULL; it is called after each slice with how far the card is, in thousandths, as the card says
 * it. CW_ERR_FORMAT when the card does not come to an end. */
typedef void desk_progress(void *ctx, unsigned permille);
CW_MUST_USE enum cw_err desk_key_generate(struct desk *d, enum link_key slot,
                                          desk_progress *progress, void *ctx, struct say *why);
/* DER PKCS#10 request, signed by the key in `slot`, subject CN = card serial in hex. */
CW_MUST_USE enum cw_err desk_request_get(struct desk *d, enum link_key slot, uint8_t *out,
                                         size_t cap, size_t *len, struct say *why);
/* `flags`: LINK_PIN_TRANSPORT or 0. */
CW_MUST_USE enum cw_err desk_pin_put(struct desk *d, enum link_pin pin, uint8_t tries,
                                     uint8_t flags, const struct pin *digits, struct say *why);
CW_MUST_USE enum cw_err desk_life_set(struct desk *d, enum link_life life, struct say *why);

#endif
