/* tcl.c - a contactless card at a pseudo terminal or serial device that carries the frames of the
 * air in SLIP (proto/slip.h): cardwire-card, or an antenna's driver that selects the card. Opening
 * it switches the field on.
 *
 * ISO/IEC 14443-4 by proto/tcl_reader, at 106 kbit/s: such a line has no speed, so no PPS is asked
 * for. Waiting times are the card's, stretched, because whoever plays it may be scheduled late.
 * They only matter where something is lost. */
#include "reader/backend.h"
#include "reader/device.h"

#include "proto/slip.h"
#include "proto/tcl_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRETCH     6u    /* of FWT */
#define WAIT_MIN_MS 1500u /* FWT is 77 ms */
#define HANGUPS     5u    /* before an ATS */

struct air {
    struct device device;
    struct tcl_reader link;
    struct slip in;
    uint8_t frame[TCL_FRAME_MAX];
};

static enum cw_err put_frame(struct air *a)
{
    uint8_t line[SLIP_MAX(TCL_FRAME_MAX)];
    device_flush(&a->device); /* what came too late */
    slip_start(&a->in, a->frame, sizeof a->frame);
    return device_put(&a->device, line, slip_write(a->link.out, a->link.out_len, line));
}

/* One frame, or the silence that the machine has to be told of. CW_ERR_GONE. */
static enum cw_err get_frame(struct air *a, uint64_t ms, enum tcl_reader_do *what)
{
    uint8_t byte;
    enum cw_err err;
    while ((err = device_get(&a->device, ms, &byte)) == CW_OK)
        if (slip_byte(&a->in, byte)) {
            *what = tcl_reader_frame(&a->link, a->frame, a->in.len, !a->in.broken);
            return CW_OK;
        }
    if (err != CW_ERR_TIMEOUT)
        return err;
    *what = tcl_reader_silence(&a->link);
    return CW_OK;
}

/* Sends and hears until the machine has what it was told to get. CW_ERR_GONE. */
static enum cw_err exchange(struct air *a, enum tcl_reader_do *what, uint64_t ms_min)
{
    enum cw_err err = CW_OK;
    while (err == CW_OK && *what == TCLR_SEND) {
        uint64_t ms = (uint64_t)tcl_fc_us(a->link.wait_fc) * STRETCH / 1000u;
        err = put_frame(a);
        if (err == CW_OK)
            err = get_frame(a, ms > ms_min ? ms : ms_min, what);
    }
    return err;
}

/* RATS and ATS. The line of the reader before us hangs up, and is opened anew. */
static enum cw_err activate(struct air *a, struct say *why)
{
    enum tcl_reader_do what = TCLR_FAILED;
    enum cw_err err = CW_ERR_GONE;
    for (unsigned tries = 0; err == CW_ERR_GONE && tries <= HANGUPS; tries++) {
        if (tries > 0 && (err = device_restart(&a->device, why)) != CW_OK)
            return err;
        tcl_reader_start(&a->link, &(struct tcl_reader_params){.fsdi = 8, .no_cid = true});
        what = tcl_reader_activate(&a->link);
        err = exchange(a, &what, DEVICE_START_MS);
    }
    if (err != CW_OK)
        return device_gone(&a->device, err, why);
    if (what != TCLR_DONE)
        return say_fail(why, CW_ERR_NOT_FOUND, "no card answers at %s; is one there, and running?",
                        a->device.path);
    return CW_OK;
}

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct air *a = self;
    enum cw_err err = a->device.fd >= 0 ? CW_OK : CW_ERR_GONE;
    enum tcl_reader_do what = tcl_reader_command(&a->link, command, len, response, cap);
    if (err == CW_OK)
        err = exchange(a, &what, WAIT_MIN_MS);
    err = device_ended(&a->device, err, what == TCLR_FAILED, "ISO/IEC 14443-4", "its field", why);
    if (err != CW_OK)
        return err;
    if (a->link.response_len > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with too many bytes");
    *response_len = a->link.response_len;
    return CW_OK;
}

static enum cw_err reset(void *self, struct say *why)
{
    struct air *a = self;
    enum cw_err err = device_restart(&a->device, why);
    return err == CW_OK ? activate(a, why) : err;
}

static void release(void *self)
{
    struct air *a = self;
    device_close(&a->device);
    free(a);
}

static const struct reader_ops tcl_ops = {transceive, reset, release};

/* The ATR that PC/SC shows for the ATS. */
static enum cw_err get_atr(const struct air *a, struct reader_backend *out, struct say *why)
{
    struct ats ats;
    uint8_t atr[ATS_ATR_MAX];
    size_t len;
    enum cw_err err = ats_parse(a->link.ats, a->link.ats_len, &ats);
    if (err == CW_OK)
        err = ats_atr(&ats, atr, &len);
    if (err != CW_OK)
        return say_fail(why, CW_ERR_UNSUPPORTED,
                        "the answer to select of the card at %s makes no ATR", a->device.path);
    memcpy(out->atr, atr, len);
    out->atr_len = len;
    return CW_OK;
}

enum cw_err reader_tcl_open(const char *device, struct reader_backend *out, struct say *why)
{
    struct air *a = calloc(1, sizeof *a);
    if (a == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = device_named(&a->device, device, why);
    if (err == CW_OK)
        err = device_open(&a->device, why);
    if (err == CW_OK)
        err = activate(a, why);
    if (err == CW_OK)
        err = get_atr(a, out, why);
    if (err != CW_OK) {
        release(a);
        return err;
    }
    out->ops = &tcl_ops;
    out->self = a;
    snprintf(out->name, sizeof out->name, "tcl:%s", device);
    return CW_OK;
}
