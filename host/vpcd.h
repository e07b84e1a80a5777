/* vpcd.h - a card at the socket of vpcd, the PC/SC driver of vsmartcard: any program that speaks
 * PC/SC then sees a reader with this card in it. Whose card it is, the caller says. */
#ifndef CARDWIRE_HOST_VPCD_H
#define CARDWIRE_HOST_VPCD_H

#include "host/net.h"
#include "host/say.h"

#include <stddef.h>
#include <stdint.h>

/* A card. On failure `why` gets a sentence, and vpcd_serve ends with the error. */
struct vpcd_card {
    void *ctx;
    /* Power up, if it has none; in *atr the answer to reset, valid until power down. */
    enum cw_err (*power_up)(void *ctx, const uint8_t **atr, size_t *atr_len, struct say *why);
    void (*power_down)(void *ctx);
    enum cw_err (*reset)(void *ctx, struct say *why);
    /* At most `cap` bytes of answer, status word included. */
    enum cw_err (*transceive)(void *ctx, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why);
};

/* Connects (retrying for some seconds, because the daemon may be starting) and serves the card
 * until the daemon goes away or a signal comes in on `signals`, a signalfd or -1: then CW_OK, and
 * `why` says which. CW_ERR_TIMEOUT and CW_ERR_IO when it cannot connect; what the card fails with.
 * `program` stands before what is said on standard error. */
CW_MUST_USE enum cw_err vpcd_serve(const struct net_address *daemon, const struct vpcd_card *card,
                                   const char *program, int signals, struct say *why);

#endif
