/* t1.c - a contact card at a serial line: a pseudo terminal of cardwire-card or of the firmware's
 * launcher, or a serial device that carries the card's bytes. Opening it powers the card.
 *
 * T=1 by proto/t1_reader. Waiting times are the ATR's, stretched: an emulated chip computes slowly,
 * and whoever plays it may be scheduled late. They only matter where something is lost. */
#include "reader/backend.h"

#include "host/clock.h"
#include "proto/atr.h"
#include "proto/t1_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ATR_MS      5000 /* for the first byte: an emulated chip starts its memory meanwhile */
#define BYTE_MS     500  /* inside ATR and block; CWT is 5 ms */
#define STRETCH     6u   /* of BWT */
#define ETU_NS      104167u
#define RESET_PAUSE 20 /* ms of RTS */
#define OFF_MS      10

struct line {
    char path[128];
    int fd;
    struct t1_reader link;
    uint8_t atr[READER_ATR_MAX];
    size_t atr_len;
};

/* One byte within `ms`. CW_ERR_TIMEOUT, CW_ERR_GONE. */
static enum cw_err get_byte(struct line *l, uint64_t ms, uint8_t *out)
{
    uint64_t end = clock_ns() + ms * 1000000u;
    for (;;) {
        ssize_t n = read(l->fd, out, 1);
        if (n == 1)
            return CW_OK;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return CW_ERR_GONE;
        uint64_t now = clock_ns();
        if (now >= end)
            return CW_ERR_TIMEOUT;
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        (void)poll(&p, 1, (int)((end - now) / 1000000u) + 1);
    }
}

static enum cw_err put_bytes(struct line *l, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(l->fd, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = l->fd, .events = POLLOUT};
            if (poll(&p, 1, ATR_MS) <= 0)
                return CW_ERR_GONE; /* nobody takes the bytes */
        } else if (n < 0 && errno != EINTR) {
            return CW_ERR_GONE;
        }
    }
    return CW_OK;
}

static enum cw_err open_device(struct line *l, struct say *why)
{
    struct termios raw;
    l->fd = open(l->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (l->fd < 0)
        return say_fail(why, errno == ENOENT ? CW_ERR_NOT_FOUND : CW_ERR_IO,
                        "cannot open %s: %s; start the card there, or name another device", l->path,
                        strerror(errno));
    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
        return say_fail(why, CW_ERR_BUSY, "another program uses the card at %s; end it first",
                        l->path);
    if (tcgetattr(l->fd, &raw) != 0)
        return say_fail(why, CW_ERR_ARG, "%s is no serial device", l->path);
    cfmakeraw(&raw);
    raw.c_cflag |= CLOCAL | CREAD | CSTOPB;
    (void)cfsetspeed(&raw, B9600);
    /* And what the last program has not taken is forgotten, before the ATR comes. */
    if (tcsetattr(l->fd, TCSAFLUSH, &raw) != 0)
        return say_fail(why, CW_ERR_IO, "cannot set up %s: %s", l->path, strerror(errno));
    return CW_OK;
}

static void close_device(struct line *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* The ATR, whatever its length; bytes before its TS are noise of the contacts. */
static enum cw_err get_atr(struct line *l, struct say *why)
{
    size_t expected = 0;
    uint8_t byte;
    l->atr_len = 0;
    while (expected == 0 || l->atr_len < expected) {
        enum cw_err err = get_byte(l, l->atr_len == 0 ? ATR_MS : BYTE_MS, &byte);
        if (err != CW_OK)
            return say_fail(why, err == CW_ERR_TIMEOUT ? CW_ERR_NOT_FOUND : err,
                            l->atr_len == 0
                                ? "no card answers at %s; is one there, and running?"
                                : "the card at %s stopped in the middle of its answer to reset; "
                                  "try again",
                            l->path);
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
                        l->path);
    if ((m.protocols & 2u) == 0)
        return say_fail(why, CW_ERR_UNSUPPORTED, "the card at %s does not speak T=1", l->path);
    t1_reader_start(&l->link, &(struct t1_reader_params){.ifsc = m.ifsc,
                                                         .ifsd = T1_INF_MAX,
                                                         .crc = m.crc,
                                                         .cwt_etu = t1_cwt_etu(m.cwi),
                                                         .bwt_etu = t1_bwt_etu(m.bwi, 372, 1)});
    return CW_OK;
}

/* By RTS where the device has it, as Phoenix adapters do; else the line is closed and opened. */
static enum cw_err restart(struct line *l, struct say *why)
{
    int rts = TIOCM_RTS;
    enum cw_err err = CW_OK;
    if (l->fd >= 0 && ioctl(l->fd, TIOCMBIS, &rts) == 0) {
        (void)poll(NULL, 0, RESET_PAUSE);
        (void)tcflush(l->fd, TCIOFLUSH);
        (void)ioctl(l->fd, TIOCMBIC, &rts);
    } else {
        close_device(l);
        (void)poll(NULL, 0, OFF_MS);
        err = open_device(l, why);
    }
    return err == CW_OK ? power_up(l, why) : err;
}

/* One byte, or the silence that the machine has to be told of. CW_ERR_GONE. */
static enum cw_err receive(struct line *l, enum t1_reader_do *what)
{
    uint8_t byte;
    bool inside = l->link.in_len > 0;
    uint64_t ms = inside ? BYTE_MS : (uint64_t)l->link.wait_etu * ETU_NS / 1000000u * STRETCH;
    enum cw_err err = get_byte(l, ms, &byte);
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
    enum cw_err err = l->fd >= 0 ? CW_OK : CW_ERR_GONE;
    if (err == CW_OK)
        (void)tcflush(l->fd, TCIFLUSH); /* what came too late for the exchange before */
    enum t1_reader_do what = t1_reader_command(&l->link, command, len, response, cap);
    while (err == CW_OK && (what == T1R_SEND || what == T1R_RECEIVE)) {
        if (what == T1R_SEND) {
            err = put_bytes(l, l->link.out, l->link.out_len);
            what = T1R_RECEIVE;
        } else {
            err = receive(l, &what);
        }
    }
    if (err != CW_OK)
        return say_fail(why, err, "the card at %s is gone; start it again and try again", l->path);
    if (what == T1R_FAILED) {
        close_device(l); /* power off: whatever it was doing, it forgets */
        return say_fail(why, CW_ERR_GONE,
                        "the card at %s does not answer as T=1 asks; it was switched off, so try "
                        "again",
                        l->path);
    }
    if (l->link.response_len > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with too many bytes");
    *response_len = l->link.response_len;
    return CW_OK;
}

static enum cw_err reset(void *self, struct say *why)
{
    return restart(self, why);
}

static void release(void *self)
{
    struct line *l = self;
    close_device(l);
    free(l);
}

static const struct reader_ops t1_ops = {transceive, reset, release};

enum cw_err reader_t1_open(const char *device, struct reader_backend *out, struct say *why)
{
    struct line *l = calloc(1, sizeof *l);
    if (l == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    l->fd = -1;
    int n = snprintf(l->path, sizeof l->path, "%s", device);
    enum cw_err err = n < 0 || (size_t)n >= sizeof l->path
                          ? say_fail(why, CW_ERR_ARG, "the name of the device is too long")
                          : open_device(l, why);
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
