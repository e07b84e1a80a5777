/* vpcd.c - vsmartcard's protocol: each message is its length in two bytes, big-endian, and that
 * many bytes; a message of one byte is a control code, anything longer a command APDU. */
#include "host/vpcd.h"

#include "host/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_OFF   0
#define CONTROL_ON    1
#define CONTROL_RESET 2
#define CONTROL_ATR   4

#define RETRY_NS    UINT64_C(5000000000) /* how long to wait for a daemon that is starting */
#define RETRY_MS    100
#define MESSAGE_MAX 65535u
#define ATR_MAX     33u

struct vpcd {
    const struct vpcd_card *card;
    const char *program;
    bool powered;
    uint8_t atr[ATR_MAX];
    size_t atr_len;
    int fd;
    int signals;
    bool attached; /* the daemon has talked to us */
    bool over;     /* it is gone, or a signal came */
};

/* vpcd writes length and payload apart and leaves Nagle on: with our delayed acknowledgement each
 * APDU would take 45 ms. The kernel drops the option by itself, so it is set around every receive.
 */
static void ack_at_once(int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
}

enum received { RECEIVED, DAEMON_GONE, SIGNALLED };

static enum received receive(struct vpcd *v, uint8_t *data, size_t len)
{
    while (len > 0) {
        struct pollfd p[2] = {{.fd = v->fd, .events = POLLIN},
                              {.fd = v->signals, .events = POLLIN}};
        ack_at_once(v->fd);
        ssize_t n = recv(v->fd, data, len, MSG_DONTWAIT);
        ack_at_once(v->fd);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return DAEMON_GONE;
        if (n < 0) {
            if (poll(p, 2, -1) < 0 && errno != EINTR)
                return DAEMON_GONE;
            if (p[1].revents != 0)
                return SIGNALLED;
            continue;
        }
        data += n;
        len -= (size_t)n;
    }
    return RECEIVED;
}

/* Length and payload in one write: two would wait for each other's acknowledgement. */
static enum received answer(struct vpcd *v, const uint8_t *data, size_t len)
{
    static uint8_t message[2 + MESSAGE_MAX];
    message[0] = (uint8_t)(len >> 8);
    message[1] = (uint8_t)len;
    memcpy(message + 2, data, len);
    len += 2;
    for (size_t done = 0; done < len;) {
        ssize_t n = send(v->fd, message + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = v->fd, .events = POLLOUT};
            (void)poll(&p, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return DAEMON_GONE;
        } else if (n > 0) {
            done += (size_t)n;
        }
    }
    return RECEIVED;
}

static enum cw_err power_up(struct vpcd *v, struct say *why)
{
    const uint8_t *atr;
    size_t len;
    if (v->powered)
        return CW_OK;
    enum cw_err err = v->card->power_up(v->card->ctx, &atr, &len, why);
    if (err != CW_OK)
        return err;
    v->powered = true;
    v->atr_len = len < sizeof v->atr ? len : sizeof v->atr;
    memcpy(v->atr, atr, v->atr_len);
    return CW_OK;
}

static void power_down(struct vpcd *v)
{
    if (v->powered)
        v->card->power_down(v->card->ctx);
    v->powered = false;
}

/* Ends the service, in good order, when something did. */
static enum cw_err carried(struct vpcd *v, enum received r, struct say *why)
{
    v->over = r != RECEIVED;
    if (r == SIGNALLED)
        return say_fail(why, CW_OK, "stopped by a signal");
    if (r == DAEMON_GONE)
        return say_fail(why, CW_OK, "the PC/SC daemon closed the connection");
    return CW_OK;
}

static enum cw_err control(struct vpcd *v, uint8_t code, struct say *why)
{
    switch (code) {
    case CONTROL_OFF:
        power_down(v);
        return CW_OK;
    case CONTROL_ON:
        return power_up(v, why);
    case CONTROL_RESET:
        return v->powered ? v->card->reset(v->card->ctx, why) : power_up(v, why);
    case CONTROL_ATR: /* asked while the card is off too: the daemon looks whether one is there */
        return carried(v, answer(v, v->atr, v->atr_len), why);
    default:
        return CW_OK; /* a later protocol's; it expects no answer */
    }
}

static enum cw_err command(struct vpcd *v, const uint8_t *apdu, size_t len, struct say *why)
{
    static uint8_t response[MESSAGE_MAX];
    size_t n = 0;
    enum cw_err err = power_up(v, why);
    if (err == CW_OK)
        err = v->card->transceive(v->card->ctx, apdu, len, response, sizeof response, &n, why);
    return err == CW_OK ? carried(v, answer(v, response, n), why) : err;
}

/* One message of the daemon, and what it wants. */
static enum cw_err serve_one(struct vpcd *v, struct say *why)
{
    static uint8_t message[MESSAGE_MAX];
    uint8_t head[2];
    enum received r = receive(v, head, sizeof head);
    size_t len = (size_t)(head[0] << 8 | head[1]);
    if (r == RECEIVED)
        r = receive(v, message, len);
    if (r != RECEIVED)
        return carried(v, r, why);
    if (!v->attached) {
        v->attached = true;
        fprintf(stderr, "%s: attached, the card is in the reader\n", v->program);
    }
    if (len == 0)
        return CW_OK;
    return len == 1 ? control(v, message[0], why) : command(v, message, len, why);
}

static bool signalled(int signals, int wait_ms)
{
    struct pollfd p = {.fd = signals, .events = POLLIN};
    return poll(&p, 1, wait_ms) > 0;
}

enum cw_err vpcd_serve(const struct net_address *daemon, const struct vpcd_card *card,
                       const char *program, int signals, struct say *why)
{
    struct vpcd v = {.card = card, .program = program, .fd = -1, .signals = signals};
    uint64_t end = clock_ns() + RETRY_NS;
    enum cw_err err;
    while ((err = net_connect(daemon, 1000, &v.fd, why)) != CW_OK) {
        if (err == CW_ERR_NOT_FOUND || clock_ns() > end)
            return say_fail(why, err,
                            "cannot reach vpcd at %s port %s; start pcscd with the package "
                            "vsmartcard-vpcd, and check the port in its reader configuration",
                            daemon->host, daemon->port);
        if (signalled(signals, RETRY_MS))
            return say_fail(why, CW_OK, "stopped by a signal");
    }
    err = power_up(&v, why);
    while (err == CW_OK && !v.over)
        err = serve_one(&v, why);
    power_down(&v);
    close(v.fd);
    return err;
}
