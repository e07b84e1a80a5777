/* t1.c - a contact card at a serial line: a pseudo terminal of cardwire-card or of the firmware's
 * launcher, or a serial device that carries the card's bytes. Opening it powers the card.
 *
 * T=1 by proto/t1_reader. Waiting times are the ATR's, stretched: an emulated chip computes slowly,
 * and whoever plays it may be scheduled late. They only matter where something is lost. */
#include "reader/backend.h"
#include "reader/device.h"

#include "proto/atr.h"
#include "proto/t1_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTE_MS 500 /* inside ATR and block; CWT is 5 ms */
#define STRETCH 6u  /* of BWT */
#define ETU_NS  104167u
#define HANGUPS 5u /* in the middle of an ATR */

struct line {
    struct device device;
    struct t1_reader link;
    uint8_t atr[READER_ATR_MAX];
    size_t atr_len;
};

/* The ATR, whatever its length; bytes before its TS are noise of the contacts. */
static enum cw_err get_atr(struct line *l, struct say *why)
{
    size_t expected = 0;
    unsigned tries = 0;
    uint8_t byte;
    l->atr_len = 0;
    while (expected == 0 || l->atr_len < expected) {
        bool first = l->atr_len == 0;
        enum cw_err err =
            first ? device_first(&l->device, &byte, why) : device_get(&l->device, BYTE_MS, &byte);
        if (err == CW_ERR_TIMEOUT)
            return say_fail(why, first ? CW_ERR_NOT_FOUND : err,
                            first ? "no card answers at %s; is one there, and running?"
                                  : "the card at %s stopped in the middle of its answer to reset; "
                                    "try again",
                            l->device.path);
        if (err == CW_ERR_GONE && !first && ++tries < HANGUPS) {
            l->atr_len = expected = 0; /* the line of the reader before us: see device_first */
            continue;
        }
        if (err == CW_ERR_GONE)
            return device_gone(&l->device, err, why);
        if (err != CW_OK)
            return err;
        if (l->atr_len == 0 && byte != 0x3B && byte != 0x3F)
            continue;
        if (l->atr_len == sizeof l->atr)
            break;
        l->atr[l->atr_len++] = byte;
        expected = atr_expected(l->atr, l->atr_len);
    }
    return CW_OK;
}

static enum cw_err power_up(struct line *l, struct say *why)
{
    struct atr atr;
    struct atr_meaning m;
    enum cw_err err = get_atr(l, why);
    if (err != CW_OK)
        return err;
    if (atr_parse(l->atr, l->atr_len, &atr) != CW_OK || atr_read(&atr, &m) != CW_OK)
        return say_fail(why, CW_ERR_FORMAT,
                        "what the card at %s answers to the reset is no ATR; try again, or look at "
                        "the line",
                        l->device.path);
    if ((m.protocols & 2u) == 0)
        return say_fail(why, CW_ERR_UNSUPPORTED, "the card at %s does not speak T=1",
                        l->device.path);
    t1_reader_start(&l->link, &(struct t1_reader_params){.ifsc = m.ifsc,
                                                         .ifsd = T1_INF_MAX,
                                                         .crc = m.crc,
                                                         .cwt_etu = t1_cwt_etu(m.cwi),
                                                         .bwt_etu = t1_bwt_etu(m.bwi, 372, 1)});
    return CW_OK;
}

/* One byte, or the silence that the machine has to be told of. CW_ERR_GONE. */
static enum cw_err receive(struct line *l, enum t1_reader_do *what)
{
    uint8_t byte;
    bool inside = l->link.in_len > 0;
    uint64_t ms = inside ? BYTE_MS : (uint64_t)l->link.wait_etu * ETU_NS / 1000000u * STRETCH;
    enum cw_err err = device_get(&l->device, ms, &byte);
    if (err == CW_OK)
        *what = t1_reader_byte(&l->link, byte, true);
    else if (err == CW_ERR_TIMEOUT)
        *what = t1_reader_silence(&l->link);
    return err == CW_ERR_TIMEOUT ? CW_OK : err;
}

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct line *l = self;
    enum cw_err err = l->device.fd >= 0 ? CW_OK : CW_ERR_GONE;
    if (err == CW_OK)
        device_flush(&l->device); /* what came too late for the exchange before */
    enum t1_reader_do what = t1_reader_command(&l->link, command, len, response, cap);
    while (err == CW_OK && (what == T1R_SEND || what == T1R_RECEIVE)) {
        if (what == T1R_SEND) {
            err = device_put(&l->device, l->link.out, l->link.out_len);
            what = T1R_RECEIVE;
        } else {
            err = receive(l, &what);
        }
    }
    err = device_ended(&l->device, err, what == T1R_FAILED, "T=1", "it", why);
    if (err != CW_OK)
        return err;
    if (l->link.response_len > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with too many bytes");
    *response_len = l->link.response_len;
    return CW_OK;
}

static enum cw_err reset(void *self, struct say *why)
{
    struct line *l = self;
    enum cw_err err = device_restart(&l->device, why);
    return err == CW_OK ? power_up(l, why) : err;
}

static void release(void *self)
{
    struct line *l = self;
    device_close(&l->device);
    free(l);
}

static const struct reader_ops t1_ops = {transceive, reset, release};

enum cw_err reader_t1_open(const char *device, struct reader_backend *out, struct say *why)
{
    struct line *l = calloc(1, sizeof *l);
    if (l == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = device_named(&l->device, device, why);
    if (err == CW_OK)
        err = device_open(&l->device, why);
    if (err == CW_OK)
        err = power_up(l, why);
    if (err != CW_OK) {
        release(l);
        return err;
    }
    memcpy(out->atr, l->atr, l->atr_len);
    out->atr_len = l->atr_len;
    out->ops = &t1_ops;
    out->self = l;
    snprintf(out->name, sizeof out->name, "t1:%s", device);
    return CW_OK;
}
