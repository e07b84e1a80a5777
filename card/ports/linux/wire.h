/* wire.h - the virtual card at a pseudo terminal, whatever link it speaks there: power by who has
 * the line open, the card's commands, and when a card at work asks for more time. What the bytes
 * mean is the link's (serial.c, air.c). */
#ifndef CARDWIRE_CARD_PORTS_LINUX_WIRE_H
#define CARDWIRE_CARD_PORTS_LINUX_WIRE_H

#include "card/card.h"
#include "card/port.h"
#include "card/ports/linux/pty.h"

#define WIRE_GRANT_MS 3000 /* for the reader's word that a card at work may go on */

/* What a link does; ctx is its own. */
struct wire_link {
    uint64_t working_ns;          /* of work, after which the card asks for more time */
    int silence_ms;               /* after which `silence` is called, when `inside` */
    enum cw_err (*on)(void *ctx); /* the card has power, and heard nothing yet */
    void (*hear)(void *ctx, const uint8_t *data, size_t len);
    /* In the middle of what wants an end; NULL: no silence matters. */
    bool (*inside)(const void *ctx);
    void (*silence)(void *ctx);
    void (*more_time)(void *ctx); /* asks, and waits for the answer; must not call the card */
};

struct wire {
    const struct wire_link *link;
    void *ctx; /* of the link */
    const struct card_port *chip;
    struct card_port port; /* chip, and who is told that the card is at work */
    struct card *card;     /* NULL while nobody has the line open */
    struct pty line;
    uint64_t since; /* when the command, or the last request for time, was over */
    size_t response_len;
    uint8_t command[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_MAX];
};

/* Makes the line at `path`, which must not be there; serves until a signal comes in on `signals`, a
 * signalfd: then CW_OK. w->link and w->ctx are the caller's. CW_ERR_EXISTS, CW_ERR_IO; what
 * card_power_up fails with. */
CW_MUST_USE enum cw_err wire_serve(struct wire *w, const char *path, const struct card_port *port,
                                   int signals, struct say *why);

/* The command of `len` bytes, of which `command` holds the beginning: its answer is in `response`
 * afterwards. */
void wire_run(struct wire *w, size_t len);
/* Bytes, after waiting for as long as `ns`. */
void wire_say(struct wire *w, uint64_t ns, const uint8_t *data, size_t len);

#endif
