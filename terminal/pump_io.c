/* pump_io.c - the loop of the pump: the engine of pump.c on a non-blocking socket. */
#include "terminal/pump.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define FLUSH_MS 2000 /* for the last bytes of a line that is dead anyway */

/* Sends what the socket takes without waiting. A net that takes nothing any more is no failure yet:
 * the server's last words, an alert perhaps, may still lie in the socket. */
static void flush_some(struct pump *l)
{
    size_t len;
    const uint8_t *data = pump_net_output(l, &len);
    while (len > 0) {
        ssize_t n = send(pump_config(l)->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        pump_net_sent(l, n < 0 ? len : (size_t)n);
        data = pump_net_output(l, &len);
    }
}

/* Takes what the socket has without waiting: records that came together go to the card together. */
static void fill_some(struct pump *l)
{
    for (;;) {
        size_t room;
        uint8_t *space = pump_net_space(l, &room);
        if (room == 0)
            return;
        ssize_t n = recv(pump_config(l)->fd, space, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            pump_net_ended(l);
            return;
        }
        pump_net_received(l, (size_t)n);
    }
}

/* Waits until the net moves or `fd` can be read; *moved false when the time has passed. */
static enum cw_err wait_net(struct pump *l, int fd, int wait_ms, bool *moved, struct say *why)
{
    size_t out_len, room;
    (void)pump_net_output(l, &out_len);
    (void)pump_net_space(l, &room);
    struct pollfd p[3] = {{.fd = pump_config(l)->fd},
                          {.fd = fd, .events = POLLIN},
                          {.fd = pump_config(l)->cancel_fd, .events = POLLIN}};
    p[0].events = (short)((out_len > 0 ? POLLOUT : 0) | (room > 0 ? POLLIN : 0));
    int n;
    do {
        n = poll(p, 3, wait_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return say_fail(why, CW_ERR_IO, "cannot wait for the net: %s", strerror(errno));
    if (p[2].revents != 0)
        return say_fail(why, CW_ERR_TIMEOUT, "cancelled");
    *moved = n > 0;
    return CW_OK;
}

static enum cw_err silent(struct say *why)
{
    return say_fail(why, CW_ERR_TIMEOUT,
                    "the server does not answer; check that it is up, and try again");
}

/* One exchange with the card, or one wait for the net. */
static enum cw_err move(struct pump *l, struct say *why)
{
    bool did = false, moved = true;
    flush_some(l);
    fill_some(l);
    enum cw_err err = pump_turn(l, &did, why);
    if (err != CW_OK || did)
        return err;
    err = wait_net(l, -1, pump_config(l)->timeout_ms, &moved, why);
    if (err == CW_OK && !moved)
        err = silent(why);
    return err;
}

/* Everything for the net to the net. */
static enum cw_err flush_all(struct pump *l, int wait_ms, struct say *why)
{
    for (;;) {
        size_t len;
        bool moved = true;
        flush_some(l);
        (void)pump_net_output(l, &len);
        if (len == 0)
            return CW_OK;
        enum cw_err err = wait_net(l, -1, wait_ms, &moved, why);
        if (err != CW_OK)
            return err;
        if (!moved)
            return silent(why);
    }
}

/* The line is dead: the card's alert to the server, then the reason to the caller. */
static enum cw_err bury(struct pump *l, struct say *why)
{
    struct say unheard;
    bool did = true;
    enum cw_err err = CW_OK;
    while (err == CW_OK && did) {
        err = pump_turn(l, &did, why);
        flush_some(l);
    }
    if (err != CW_OK)
        return err;
    if (flush_all(l, FLUSH_MS, &unheard) != CW_OK) {
        /* The server does not take the alert; the reason matters more. */
    }
    return pump_fail(l, why);
}

enum cw_err pump_open(const struct pump_config *config, struct pump **out, struct say *why)
{
    struct pump *l;
    enum cw_err err = pump_new(config, &l, why);
    if (err != CW_OK)
        return err;
    *out = l;
    err = pump_start(l, why);
    while (err == CW_OK && !pump_is_open(l) && !pump_is_over(l))
        err = move(l, why);
    if (err == CW_OK && pump_is_dead(l))
        return bury(l, why);
    if (err == CW_OK && pump_is_over(l))
        return say_fail(why, CW_ERR_IO, "the server closed the line before it was open");
    /* What completes the handshake may have come in parts (OUT): the server waits for the rest. */
    while (err == CW_OK && (pump_state(l) & LINK_STATE_OUT) != 0)
        err = move(l, why);
    return err == CW_OK ? flush_all(l, pump_config(l)->timeout_ms, why) : err;
}

enum cw_err pump_write(struct pump *l, const uint8_t *data, size_t len, struct say *why)
{
    enum cw_err err = CW_OK;
    while (err == CW_OK && len > 0) {
        size_t taken = 0;
        if (pump_is_dead(l))
            return bury(l, why);
        if (pump_is_over(l))
            return say_fail(why, CW_ERR_IO, "the server closed the line");
        err = pump_put(l, data, len, &taken, why);
        data += taken;
        len -= taken;
        flush_some(l);
        /* The card wants something else first. */
        while (err == CW_OK && !pump_is_over(l) &&
               (taken == 0 || (pump_state(l) & LINK_STATE_OUT) != 0)) {
            taken = 1;
            err = move(l, why);
        }
    }
    return err == CW_OK ? flush_all(l, pump_config(l)->timeout_ms, why) : err;
}

enum cw_err pump_read(struct pump *l, uint8_t *out, size_t cap, size_t *len, struct say *why)
{
    for (;;) {
        size_t n = pump_take(l, out, cap);
        if (n > 0) {
            *len = n;
            return CW_OK;
        }
        bool more = (pump_state(l) & LINK_STATE_DATA) != 0;
        if (pump_is_dead(l) && !more)
            return bury(l, why);
        if (pump_is_over(l) && !more) {
            *len = 0;
            return CW_OK;
        }
        enum cw_err err = move(l, why);
        if (err != CW_OK)
            return err;
    }
}

enum cw_err pump_wait(struct pump *l, int fd, int wait_ms, struct say *why)
{
    for (;;) {
        bool did = false, moved = true;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        flush_some(l);
        fill_some(l);
        enum cw_err err = pump_turn(l, &did, why);
        if (err != CW_OK)
            return err;
        flush_some(l);
        if (pump_has_plaintext(l) || (pump_is_over(l) && !did))
            return CW_OK;
        if (!did)
            err = wait_net(l, fd, wait_ms, &moved, why);
        if (err != CW_OK)
            return err;
        if (!moved || (fd >= 0 && poll(&p, 1, 0) > 0))
            return CW_OK;
    }
}

enum cw_err pump_close(struct pump *l, struct say *why)
{
    enum cw_err err = flush_all(l, FLUSH_MS, why);
    if (err == CW_OK)
        err = pump_shut(l, why);
    bool did = true;
    while (err == CW_OK && did && (pump_state(l) & LINK_STATE_OUT) != 0)
        err = pump_turn(l, &did, why);
    return err == CW_OK ? flush_all(l, FLUSH_MS, why) : err;
}
