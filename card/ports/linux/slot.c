#include "card/ports/linux/slot.h"

#include "card/card.h"
#include "host/vpcd.h"

struct slot {
    const struct card_port *port;
    struct card *card; /* NULL while powered off */
};

static enum cw_err said(enum cw_err err, struct say *why)
{
    return err == CW_OK
               ? CW_OK
               : say_fail(why, err,
                          "the card's memory cannot be used: it is damaged, or its disk fails");
}

static enum cw_err power_up(void *ctx, const uint8_t **atr, size_t *atr_len, struct say *why)
{
    struct slot *s = ctx;
    enum cw_err err = card_power_up(s->port, &s->card);
    if (err == CW_OK)
        *atr = card_atr(s->card, atr_len);
    return said(err, why);
}

static void power_down(void *ctx)
{
    struct slot *s = ctx;
    card_power_down(&s->card);
}

static enum cw_err reset(void *ctx, struct say *why)
{
    struct slot *s = ctx;
    return said(card_reset(s->card), why);
}

static enum cw_err transceive(void *ctx, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct slot *s = ctx;
    (void)why;
    *response_len = card_process(s->card, command, len, response, cap);
    return CW_OK;
}

enum cw_err slot_serve(const struct net_address *daemon, const struct card_port *port, int signals,
                       struct say *why)
{
    struct slot s = {.port = port};
    const struct vpcd_card card = {&s, power_up, power_down, reset, transceive};
    return vpcd_serve(daemon, &card, "cardwire-card", signals, why);
}
