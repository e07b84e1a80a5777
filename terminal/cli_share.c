/* cli_share.c - cardwire share: the card in one of our readers, in a reader of the PC/SC daemon. */
#include "terminal/cli.h"

#include "host/vpcd.h"

#include <stdio.h>

struct shared {
    const char *uri;
    struct reader *reader; /* NULL while powered off */
};

static enum cw_err power_up(void *ctx, const uint8_t **atr, size_t *atr_len, struct say *why)
{
    struct shared *s = ctx;
    enum cw_err err = reader_open(s->uri, &s->reader, why);
    if (err == CW_OK)
        *atr = reader_atr(s->reader, atr_len);
    return err;
}

static void power_down(void *ctx)
{
    struct shared *s = ctx;
    reader_free(&s->reader);
}

static enum cw_err reset(void *ctx, struct say *why)
{
    struct shared *s = ctx;
    return reader_reset(s->reader, why);
}

static enum cw_err transceive(void *ctx, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct shared *s = ctx;
    return reader_transceive(s->reader, command, len, response, cap, response_len, why);
}

enum cli_exit cli_share(struct cli *c)
{
    struct shared s = {.uri = c->opt.reader};
    const struct vpcd_card card = {&s, power_up, power_down, reset, transceive};
    struct net_address daemon;
    if (c->opt.vpcd == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "share wants --vpcd HOST:PORT");
    enum cw_err err = net_address_parse(c->opt.vpcd, &daemon, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_USAGE, err);
    err = vpcd_serve(&daemon, &card, "cardwire", -1, &c->why);
    if (err != CW_OK)
        return cli_fail_card(c, err);
    fprintf(stderr, "cardwire: %s\n", c->why.text);
    return CLI_OK;
}
