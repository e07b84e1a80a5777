/* wire.c - a card at a pseudo terminal. */
#include "card/ports/linux/wire.h"

#include "host/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void wire_say(struct wire *w, uint64_t ns, const uint8_t *data, size_t len)
{
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    if (ns > 0)
        (void)nanosleep(&t, NULL);
    pty_write(&w->line, data, len);
}

void wire_run(struct wire *w, size_t len)
{
    w->since = clock_ns();
    if (len > sizeof w->command) { /* card_process says 6700 to any such length */
        w->response[0] = 0x67;
        w->response[1] = 0x00;
        w->response_len = 2;
    } else {
        w->response_len = card_process(w->card, w->command, len, w->response, sizeof w->response);
    }
}

/* card_port.working: the card is in the middle of a long command. */
static void working(void *ctx)
{
    struct wire *w = ctx;
    if (clock_ns() - w->since < w->link->working_ns)
        return;
    w->link->more_time(w->ctx);
    w->since = clock_ns();
}

static enum cw_err chip_random(void *ctx, uint8_t *buf, size_t len)
{
    const struct wire *w = ctx;
    return w->chip->random(w->chip->ctx, buf, len);
}

static enum cw_err power_up(struct wire *w)
{
    enum cw_err err = card_power_up(&w->port, &w->card);
    return err == CW_OK ? w->link->on(w->ctx) : err;
}

static enum cw_err serve(struct wire *w, struct say *why)
{
    uint8_t data[512];
    size_t len = 0;
    for (;;) {
        enum cw_err err = CW_OK;
        bool waiting = w->card != NULL && w->link->inside != NULL && w->link->inside(w->ctx);
        switch (pty_wait(&w->line, waiting ? w->link->silence_ms : -1, data, sizeof data, &len)) {
        case PTY_BYTES:
            w->link->hear(w->ctx, data, len);
            break;
        case PTY_SILENCE:
            if (w->card != NULL)
                w->link->silence(w->ctx);
            break;
        case PTY_ON:
            err = power_up(w);
            break;
        case PTY_OFF:
            card_power_down(&w->card);
            err = pty_renew(&w->line, why);
            if (err != CW_OK)
                return err;
            break;
        case PTY_SIGNAL:
            return say_fail(why, CW_OK, "stopped by a signal");
        case PTY_FAILED:
            return say_fail(why, CW_ERR_IO, "cannot wait for the line: %s", strerror(errno));
        }
        if (err != CW_OK)
            return say_fail(why, err,
                            "the card's memory cannot be used: it is damaged, or its disk fails");
    }
}

enum cw_err wire_serve(struct wire *w, const char *path, const struct card_port *port, int signals,
                       struct say *why)
{
    w->chip = port;
    w->port = *port;
    w->port.ctx = w;
    w->port.random = chip_random;
    w->port.working = working;
    enum cw_err err = pty_open(&w->line, path, signals, why);
    if (err == CW_OK) {
        fprintf(stderr, "cardwire-card: the card is at %s\n", path);
        err = serve(w, why);
    }
    card_power_down(&w->card);
    pty_close(&w->line);
    return err;
}
