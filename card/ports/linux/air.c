/* air.c - a pseudo terminal as the field of a contactless card: ISO/IEC 14443-4 by proto/tcl_card,
 * and the time that frames take on the air. */
#include "card/ports/linux/air.h"

#include "card/ports/linux/wire.h"
#include "proto/slip.h"
#include "proto/tcl_card.h"

#include <string.h>

/* Half of FWT (FWI 8: 77 ms): when a request for more time goes out. */
#define WORKING_NS UINT64_C(38000000)

struct air {
    struct wire wire;
    int rate;
    bool deselected; /* while a command was under way */
    uint64_t fc;     /* that the frames since the card last spoke took */
    struct tcl_card link;
    struct slip in;
    uint8_t frame[TCL_FRAME_MAX];
};

enum cw_err air_rate_parse(const char *kbit, int *rate, struct say *why)
{
    static const char *const rates[] = {"106", "212", "424", "848"};
    for (int i = 0; i < 4; i++)
        if (strcmp(kbit, rates[i]) == 0) {
            *rate = i;
            return CW_OK;
        }
    return say_fail(why, CW_ERR_FORMAT, "write 106, 212, 424 or 848");
}

/* A frame of `len` bytes, and the pause after it. */
static void pass(struct air *a, size_t len)
{
    if (a->rate != AIR_AT_ONCE)
        a->fc += tcl_frame_fc(len, (uint8_t)a->rate) + TCL_FRAME_DELAY_FC;
}

static void say_frame(struct air *a)
{
    uint8_t line[SLIP_MAX(TCL_FRAME_MAX)];
    pass(a, a->link.out_len);
    uint64_t ns = a->fc * UINT64_C(1000000) / (TCL_FC_HZ / 1000);
    a->fc = 0;
    wire_say(&a->wire, ns, line, slip_write(a->link.out, a->link.out_len, line));
}

/* The card is selected: it waits for RATS. */
static enum cw_err selected(struct air *a)
{
    size_t len;
    const uint8_t *ats = card_ats(&len);
    a->deselected = false;
    return tcl_card_start(&a->link, ats, len, a->wire.command, sizeof a->wire.command);
}

static enum cw_err on(void *ctx)
{
    struct air *a = ctx;
    slip_start(&a->in, a->frame, sizeof a->frame);
    a->fc = 0;
    return selected(a);
}

/* As nothing else is in the field, it is selected again at once. A card that fails at it is halted:
 * it stays silent until the field goes. */
static void deselect(struct air *a)
{
    if (card_reset(a->wire.card) != CW_OK || selected(a) != CW_OK)
        a->deselected = false;
}

/* What the link wants done. True when that was a command. */
static bool act(struct air *a, enum tcl_do what)
{
    bool command = what == TCL_COMMAND;
    if (command)
        wire_run(&a->wire, a->link.command_len);
    if (command || what == TCL_RESUME) /* RESUME: a grant that came when the work was done */
        what = tcl_card_answer(&a->link, a->wire.response, a->wire.response_len);
    if (what == TCL_SEND || what == TCL_HALT)
        say_frame(a);
    if (what == TCL_HALT || a->deselected)
        deselect(a);
    return command;
}

static bool heard(struct air *a, uint8_t byte, enum tcl_do *what)
{
    if (!slip_byte(&a->in, byte))
        return false;
    pass(a, a->in.len);
    *what = tcl_card_frame(&a->link, a->frame, a->in.len, !a->in.broken);
    return true;
}

static void more_time(void *ctx)
{
    struct air *a = ctx;
    uint8_t data[64];
    size_t len = 0;
    enum tcl_do what = tcl_card_more_time(&a->link, 1);
    if (what != TCL_SEND)
        return;
    say_frame(a);
    while (what != TCL_RESUME && what != TCL_HALT) {
        if (pty_wait(&a->wire.line, WIRE_GRANT_MS, data, sizeof data, &len) != PTY_BYTES)
            return; /* gone, or silent: the work goes on, the main loop sees to the rest */
        for (size_t i = 0; i < len && what != TCL_RESUME && what != TCL_HALT; i++)
            if (heard(a, data[i], &what) && (what == TCL_SEND || what == TCL_HALT))
                say_frame(a);
    }
    a->deselected = what == TCL_HALT;
}

/* What comes while the card works is not heard. */
static void hear(void *ctx, const uint8_t *data, size_t len)
{
    struct air *a = ctx;
    enum tcl_do what = TCL_WAIT;
    for (size_t i = 0; i < len; i++)
        if (heard(a, data[i], &what) && act(a, what))
            return;
}

/* No silence matters: a frame that stops in the middle ends where the next begins. */
static const struct wire_link tcl = {
    .working_ns = WORKING_NS, .on = on, .hear = hear, .more_time = more_time};

enum cw_err air_serve(const char *path, int rate, const struct card_port *port, int signals,
                      struct say *why)
{
    static struct air a;
    a = (struct air){.wire = {.link = &tcl, .ctx = &a}, .rate = rate};
    return wire_serve(&a.wire, path, port, signals, why);
}
