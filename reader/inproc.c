/* inproc.c - the card linked into this program: the embedded default, no daemon. One card in a
 * process, because the card's TLS library keeps global state (card/card.h). */
#include "reader/backend.h"

#include "card/card.h"
#include "card/ports/linux/port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inproc {
    struct card_linux *port;
    struct card *card;
};

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct inproc *p = self;
    uint8_t answer[CARD_RESPONSE_MAX];
    size_t n = card_process(p->card, command, len, answer, sizeof answer);
    if (n > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with too many bytes");
    memcpy(response, answer, n);
    *response_len = n;
    return CW_OK;
}

static enum cw_err reset(void *self, struct say *why)
{
    struct inproc *p = self;
    enum cw_err err = card_reset(p->card);
    return err == CW_OK ? CW_OK : say_fail(why, err, "the card does not start after its reset");
}

static void release(void *self)
{
    struct inproc *p = self;
    card_power_down(&p->card);
    card_linux_close(&p->port);
    free(p);
}

static const struct reader_ops inproc_ops = {transceive, reset, release};

enum cw_err reader_inproc_open(const char *dir, bool contactless, struct reader_backend *out,
                               struct say *why)
{
    struct inproc *p = calloc(1, sizeof *p);
    if (p == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = card_linux_open(dir, contactless, &p->port, why);
    if (err != CW_OK)
        goto out;
    err = card_power_up(card_linux_port(p->port), &p->card);
    if (err != CW_OK) {
        err = say_fail(why, err,
                       err == CW_ERR_BUSY ? "a card is open in this program already"
                                          : "the card in %s does not start: its memory is damaged",
                       dir);
        goto out;
    }
    size_t atr_len;
    const uint8_t *atr = card_atr(p->card, &atr_len);
    if (atr_len > sizeof out->atr)
        atr_len = sizeof out->atr;
    memcpy(out->atr, atr, atr_len);
    out->atr_len = atr_len;
    out->ops = &inproc_ops;
    out->self = p;
    snprintf(out->name, sizeof out->name, contactless ? "inproc-contactless:%s" : "inproc:%s", dir);
    return CW_OK;
out:
    card_linux_close(&p->port);
    free(p);
    return err;
}
