/* fuzz_tcl.c - both ends of ISO/IEC 14443-4 against any frames. First byte: which end, and whether
 * CRCs are put right; then frames of a length byte and as many bytes (0: silence, or time asked
 * for). Whatever came before, the card works again after a new activation. */
#include "proto/tcl_card.h"
#include "proto/tcl_reader.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP 300u

static const uint8_t ats[] = {0x06, 0x78, 0x77, 0x80, 0x03, 0x80};
static uint8_t buffer[CAP], answer[CAP];

static void hold(bool what)
{
    if (!what)
        abort();
}

static size_t next_frame(const uint8_t **data, size_t *size, bool seal, uint8_t *frame)
{
    size_t n = (*data)[0];
    if (n > *size - 1)
        n = *size - 1;
    memcpy(frame, *data + 1, n);
    *data += 1 + n;
    *size -= 1 + n;
    return seal && n > 0 ? tcl_seal(frame, n) : n;
}

static void card_did(struct tcl_card *c, enum tcl_do what, uint8_t choice)
{
    while (what == TCL_COMMAND || what == TCL_RESUME) {
        hold(tcl_card_working(c));
        bool ask = what == TCL_COMMAND && (choice & 1u) != 0;
        what = ask ? tcl_card_more_time(c, 1 + choice % TCL_WTXM_MAX)
                   : tcl_card_answer(c, answer, choice);
    }
    if (what == TCL_SEND || what == TCL_HALT)
        hold(c->out_len > TCL_CRC_LEN && c->out_len <= c->fsd && tcl_intact(c->out, c->out_len));
}

static void card_works(struct tcl_card *c)
{
    uint8_t frame[8];
    hold(tcl_card_start(c, ats, sizeof ats, buffer, CAP) == CW_OK);
    hold(tcl_card_frame(c, frame, tcl_rats_write(8, 0, frame), true) == TCL_SEND);
    frame[0] = TCL_I;
    frame[1] = 0xA4;
    hold(tcl_card_frame(c, frame, tcl_seal(frame, 2), true) == TCL_COMMAND);
    hold(c->command_len == 1 && buffer[0] == 0xA4);
}

static void card_end(const uint8_t *data, size_t size, bool seal)
{
    struct tcl_card c;
    uint8_t frame[TCL_FRAME_MAX + 2];
    hold(tcl_card_start(&c, ats, sizeof ats, buffer, CAP) == CW_OK);
    while (size > 0) {
        uint8_t choice = data[0];
        size_t n = next_frame(&data, &size, seal, frame);
        card_did(&c, tcl_card_frame(&c, frame, n, n > 0), choice);
    }
    card_works(&c);
}

static void reader_end(const uint8_t *data, size_t size, bool seal)
{
    struct tcl_reader r;
    struct tcl_reader_params p = {.fsdi = 2, .cid = 1, .with_nad = true, .dsi = 3, .dri = 3};
    uint8_t frame[TCL_FRAME_MAX + 2];
    tcl_reader_start(&r, &p);
    enum tcl_reader_do what = tcl_reader_activate(&r);
    while (size > 0) {
        if (what == TCLR_DONE)
            what = tcl_reader_command(&r, answer, data[0], buffer, 100);
        if (what != TCLR_SEND)
            break;
        hold(r.out_len > TCL_CRC_LEN && r.out_len <= TCL_FRAME_MAX &&
             tcl_intact(r.out, r.out_len) && r.wait_fc > 0 && r.pause_fc > 0);
        size_t n = next_frame(&data, &size, seal, frame);
        what = n == 0 ? tcl_reader_silence(&r) : tcl_reader_frame(&r, frame, n, true);
    }
    for (unsigned i = 0; what == TCLR_SEND && i <= TCL_RETRIES; i++)
        what = tcl_reader_silence(&r);
    hold(what != TCLR_SEND); /* a card that is gone is given up */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if ((data[0] & 1u) != 0)
        card_end(data + 1, size - 1, (data[0] & 2u) != 0);
    else
        reader_end(data + 1, size - 1, (data[0] & 2u) != 0);
    return 0;
}
