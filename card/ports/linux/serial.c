/* serial.c - a pseudo terminal as the wire of a contact card: power by who has it open, T=1 by
 * proto/t1_card, and the time that bytes take on a line of a given rate. */
#include "card/ports/linux/serial.h"

#include "card/card.h"
#include "host/clock.h"
#include "proto/atr.h"
#include "proto/t1_card.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* CWT is 43 etu, 5 ms at the default speed; a program on a busy machine may be scheduled later. */
#define SILENCE_MS 300
/* Half of BWT (BWI 4: 1.6 s at 3.5712 MHz): when a request for more time goes out. */
#define WORKING_NS UINT64_C(800000000)
#define GRANT_MS   3000
/* From power on to the ATR: a chip takes 400 to 40,000 clock cycles (ISO/IEC 7816-3:2006 §6.2.2),
 * and who opened the line wants to clear it first. */
#define ATR_MS 10

struct serial {
    const struct card_port *chip;
    struct card_port port; /* chip, and who is told that the card is at work */
    struct card *card;     /* NULL while nobody has the line open */
    int fd, watch, signals;
    unsigned open_count;
    struct serial_etu etu;
    uint32_t fi, di, guard; /* speed and etu a character */
    uint32_t heard;         /* characters since the card last spoke */
    uint64_t since;         /* when the command, or the last request for time, was over */
    struct t1_params params;
    struct t1_card link;
    uint8_t command[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_MAX];
};

enum event { BYTES, SILENCE, POWER, SIGNAL, FAILED };

enum cw_err serial_etu_parse(const char *text, struct serial_etu *out, struct say *why)
{
    char *slash, *end;
    unsigned long n = strtoul(text, &slash, 10);
    unsigned long d = *slash == '/' ? strtoul(slash + 1, &end, 10) : 0;
    if (n == 0 || n > 1000000 || d < n || d > 1000000000 || *end != '\0' || d / n > 446400)
        return say_fail(why, CW_ERR_FORMAT,
                        "write one etu in seconds as a fraction, from 1/446400 to 1/1, for "
                        "example 1/9600");
    *out = (struct serial_etu){(uint32_t)n, (uint32_t)d};
    return CW_OK;
}

/* What `etu` elementary time units take at the speed of now. */
static uint64_t etu_ns(const struct serial *s, uint64_t etu)
{
    return etu * 1000000000u * s->etu.numerator / s->etu.denominator * s->fi / 372 / s->di;
}

/* Waits as long as the characters heard and those to be said would have taken. */
static void pace(struct serial *s, size_t say)
{
    uint64_t etu = (uint64_t)(s->heard + say) * s->guard + T1_BGT;
    uint64_t ns = etu_ns(s, etu);
    s->heard = 0;
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    if (ns > 0)
        (void)nanosleep(&t, NULL);
}

static void say_bytes(struct serial *s, const uint8_t *data, size_t len)
{
    pace(s, len);
    while (len > 0) {
        ssize_t n = write(s->fd, data, len);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = s->fd, .events = POLLOUT};
            if (poll(&p, 1, SILENCE_MS) <= 0)
                return; /* nobody reads: the line takes no more */
        } else if (n < 0 && errno != EINTR) {
            return;
        } else if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}

/* What the link wants said. A PPS response is the last at the old speed. */
static void say_block(struct serial *s)
{
    uint8_t di = 1;
    uint16_t fi = 372;
    say_bytes(s, s->link.out, s->link.out_len);
    if (atr_fi_di(s->link.pps1, &fi, &di) == CW_OK) {
        s->fi = fi;
        s->di = di;
    }
}

/* Openings and closings since the last look. */
static void count_openings(struct serial *s)
{
    uint8_t buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    while ((n = read(s->watch, buffer, sizeof buffer)) > 0) {
        for (uint8_t *at = buffer; at < buffer + n;) {
            const struct inotify_event *e = (const void *)at;
            if ((e->mask & IN_OPEN) != 0)
                s->open_count++;
            if ((e->mask & IN_CLOSE) != 0 && s->open_count > 0 && --s->open_count == 0)
                card_power_down(&s->card);
            at += sizeof *e + e->len;
        }
    }
}

static enum cw_err power(struct serial *s)
{
    uint8_t old[256];
    struct atr atr;
    struct atr_meaning m;
    size_t len;
    count_openings(s);
    if (s->open_count == 0 || s->card != NULL)
        return CW_OK;
    while (read(s->fd, old, sizeof old) > 0)
        continue; /* of the line before */
    enum cw_err err = card_power_up(&s->port, &s->card);
    if (err != CW_OK)
        return err;
    const uint8_t *bytes = card_atr(s->card, &len);
    if (atr_parse(bytes, len, &atr) != CW_OK || atr_read(&atr, &m) != CW_OK)
        return CW_ERR_INTERNAL;
    s->params = (struct t1_params){.ifsc = m.ifsc, .ta1 = m.ta1, .crc = m.crc};
    s->fi = 372;
    s->di = 1;
    s->heard = 0;
    s->guard = 12;
    t1_card_start(&s->link, &s->params, s->command, sizeof s->command);
    (void)poll(NULL, 0, ATR_MS);
    say_bytes(s, bytes, len);
    s->guard = t1_character_etu(m.n);
    return CW_OK;
}

/* What comes next. Up to `cap` bytes in data when it is BYTES. */
static enum event wait_event(struct serial *s, int timeout_ms, uint8_t *data, size_t cap,
                             size_t *len)
{
    for (;;) {
        /* Without a reader the master says POLLHUP all the time. */
        struct pollfd p[3] = {{.fd = s->signals, .events = POLLIN},
                              {.fd = s->watch, .events = POLLIN},
                              {.fd = s->card != NULL ? s->fd : -1, .events = POLLIN}};
        int n = poll(p, 3, timeout_ms);
        if (n < 0 && errno != EINTR)
            return FAILED;
        if (n <= 0)
            return SILENCE;
        if (p[0].revents != 0)
            return SIGNAL;
        if ((p[2].revents & POLLIN) != 0) {
            ssize_t got = read(s->fd, data, cap);
            if (got > 0) {
                *len = (size_t)got;
                return BYTES;
            }
        }
        if (p[1].revents != 0)
            return POWER;
        if (p[2].revents != 0) /* closed, and inotify will say so */
            (void)poll(NULL, 0, 1);
    }
}

static void run(struct serial *s)
{
    size_t n = 0;
    s->since = clock_ns();
    if (s->link.command_len > sizeof s->command) { /* card_process says 6700 to any such length */
        s->response[0] = 0x67;
        s->response[1] = 0x00;
        n = 2;
    } else {
        n = card_process(s->card, s->command, s->link.command_len, s->response, sizeof s->response);
    }
    if (t1_card_answer(&s->link, s->response, n) == T1_SEND)
        say_block(s);
}

/* card_port.working: the card is in the middle of a long command. */
static void working(void *ctx)
{
    struct serial *s = ctx;
    uint8_t data[64];
    size_t len = 0;
    if (clock_ns() - s->since < WORKING_NS || t1_card_more_time(&s->link, 1) != T1_SEND)
        return;
    say_block(s);
    while (!t1_card_working(&s->link)) {
        enum t1_do what = T1_WAIT;
        enum event e = wait_event(s, GRANT_MS, data, sizeof data, &len);
        if (e != BYTES)
            break; /* gone, or silent: the work goes on, the main loop sees to the rest */
        for (size_t i = 0; i < len && what != T1_RESUME; i++) {
            s->heard++;
            what = t1_card_byte(&s->link, data[i], true);
            if (what == T1_SEND)
                say_block(s);
        }
    }
    s->since = clock_ns();
}

static enum cw_err chip_random(void *ctx, uint8_t *buf, size_t len)
{
    const struct serial *s = ctx;
    return s->chip->random(s->chip->ctx, buf, len);
}

static void hear(struct serial *s, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        s->heard++;
        enum t1_do what = t1_card_byte(&s->link, data[i], true);
        if (what == T1_SEND)
            say_block(s);
        else if (what == T1_COMMAND)
            run(s);
    }
}

static enum cw_err serve(struct serial *s, struct say *why)
{
    uint8_t data[512];
    size_t len = 0;
    for (;;) {
        enum cw_err err = CW_OK;
        bool waiting = s->card != NULL && s->link.in_len > 0;
        switch (wait_event(s, waiting ? SILENCE_MS : -1, data, sizeof data, &len)) {
        case BYTES:
            hear(s, data, len);
            break;
        case SILENCE:
            if (s->card != NULL && t1_card_silence(&s->link) == T1_SEND)
                say_block(s);
            break;
        case POWER:
            err = power(s);
            break;
        case SIGNAL:
            return say_fail(why, CW_OK, "stopped by a signal");
        case FAILED:
            return say_fail(why, CW_ERR_IO, "cannot wait for the line: %s", strerror(errno));
        }
        if (err != CW_OK)
            return say_fail(why, err,
                            "the card's memory cannot be used: it is damaged, or its disk fails");
    }
}

/* The pseudo terminal, raw, with nobody on it; `slave` is its path. */
static enum cw_err open_line(struct serial *s, char *slave, size_t cap, struct say *why)
{
    struct termios raw;
    s->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s->fd < 0 || grantpt(s->fd) != 0 || unlockpt(s->fd) != 0 ||
        ptsname_r(s->fd, slave, cap) != 0)
        return say_fail(why, CW_ERR_IO, "cannot make a pseudo terminal: %s", strerror(errno));
    int fd = open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &raw) != 0)
        return say_fail(why, CW_ERR_IO, "cannot open %s: %s", slave, strerror(errno));
    cfmakeraw(&raw);
    (void)tcsetattr(fd, TCSANOW, &raw);
    close(fd);
    s->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (s->watch < 0 || inotify_add_watch(s->watch, slave, IN_OPEN | IN_CLOSE) < 0 ||
        fcntl(s->fd, F_SETFL, O_NONBLOCK) != 0)
        return say_fail(why, CW_ERR_IO, "cannot watch %s: %s", slave, strerror(errno));
    return CW_OK;
}

enum cw_err serial_serve(const char *path, const struct serial_etu *etu,
                         const struct card_port *port, int signals, struct say *why)
{
    static struct serial s;
    char slave[64];
    s = (struct serial){
        .chip = port, .port = *port, .fd = -1, .watch = -1, .signals = signals, .etu = *etu};
    s.port.ctx = &s;
    s.port.random = chip_random;
    s.port.working = working;
    enum cw_err err = open_line(&s, slave, sizeof slave, why);
    if (err == CW_OK && symlink(slave, path) != 0) {
        err = say_fail(why, errno == EEXIST ? CW_ERR_EXISTS : CW_ERR_IO,
                       errno == EEXIST ? "%s is there already: another card's line? remove it, or "
                                         "name another"
                                       : "cannot make a link at %s",
                       path);
    } else if (err == CW_OK) {
        fprintf(stderr, "cardwire-card: the card is at %s\n", path);
        err = serve(&s, why);
        (void)unlink(path);
    }
    card_power_down(&s.card);
    if (s.watch >= 0)
        close(s.watch);
    if (s.fd >= 0)
        close(s.fd);
    return err;
}
