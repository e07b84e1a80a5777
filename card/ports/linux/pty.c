/* pty.c - a pseudo terminal as a line, and who has it open. */
#include "card/ports/linux/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#define SLAVE_MAX 64
#define FULL_MS   300 /* how long a line may be full before bytes are lost */

static void drop(struct pty *p)
{
    if (p->watch >= 0)
        close(p->watch);
    if (p->fd >= 0)
        close(p->fd);
    p->watch = p->fd = -1;
}

/* A raw line that nobody has opened yet: only then its end here does not say that it was closed. */
static enum cw_err make(struct pty *p, char slave[SLAVE_MAX], struct say *why)
{
    struct termios raw;
    p->openings = 0;
    p->on = p->told = p->off = false;
    p->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (p->fd < 0 || grantpt(p->fd) != 0 || unlockpt(p->fd) != 0 ||
        ptsname_r(p->fd, slave, SLAVE_MAX) != 0 || tcgetattr(p->fd, &raw) != 0)
        return say_fail(why, CW_ERR_IO, "cannot make a pseudo terminal: %s", strerror(errno));
    cfmakeraw(&raw); /* Linux sets the other end when it is asked at this one */
    p->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (tcsetattr(p->fd, TCSANOW, &raw) != 0 || p->watch < 0 ||
        inotify_add_watch(p->watch, slave, IN_OPEN | IN_CLOSE) < 0)
        return say_fail(why, CW_ERR_IO, "cannot set up %s: %s", slave, strerror(errno));
    return CW_OK;
}

/* The link of a card that was killed: to a terminal that there is not any more. */
static void remove_dead(const char *path)
{
    static const char terminals[] = "/dev/pts/";
    char to[SLAVE_MAX];
    if (access(path, F_OK) != 0 && errno == ENOENT && readlink(path, to, sizeof to) > 0 &&
        memcmp(to, terminals, sizeof terminals - 1) == 0)
        (void)unlink(path);
}

enum cw_err pty_open(struct pty *p, const char *path, int signals, struct say *why)
{
    char slave[SLAVE_MAX];
    *p = (struct pty){.path = path, .fd = -1, .watch = -1, .signals = signals};
    enum cw_err err = make(p, slave, why);
    if (err != CW_OK)
        return err;
    remove_dead(path);
    if (symlink(slave, path) != 0)
        return say_fail(why, errno == EEXIST ? CW_ERR_EXISTS : CW_ERR_IO,
                        errno == EEXIST ? "%s is there already: another card's line? remove it, or "
                                          "name another"
                                        : "cannot make a link at %s",
                        path);
    p->linked = true;
    return CW_OK;
}

enum cw_err pty_renew(struct pty *p, struct say *why)
{
    char slave[SLAVE_MAX], beside[512];
    struct pty old = *p;
    p->fd = p->watch = -1;
    enum cw_err err = make(p, slave, why);
    int n = snprintf(beside, sizeof beside, "%s.%ld", p->path, (long)getpid());
    if (err == CW_OK && (n < 0 || (size_t)n >= sizeof beside || symlink(slave, beside) != 0 ||
                         rename(beside, p->path) != 0))
        err =
            say_fail(why, CW_ERR_IO, "cannot change the link at %s: %s", p->path, strerror(errno));
    drop(&old); /* last: until then its number is not given to another terminal */
    return err;
}

void pty_close(struct pty *p)
{
    if (p->linked)
        (void)unlink(p->path);
    p->linked = false;
    drop(p);
}

/* Openings and closings since the last look. The kernel joins equal ones in a row: when it is not
 * clear whether somebody had the line open all the time, nobody had. */
static void look(struct pty *p)
{
    uint8_t buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool closed = false;
    ssize_t n;
    while ((n = read(p->watch, buffer, sizeof buffer)) > 0) {
        for (uint8_t *at = buffer; at < buffer + n;) {
            const struct inotify_event *e = (const void *)at;
            if ((e->mask & IN_OPEN) != 0) {
                p->openings++;
                p->on = true;
                p->off = p->off || closed;
            } else if ((e->mask & IN_CLOSE) != 0 && p->openings > 0) {
                closed = true;
                p->off = --p->openings == 0 || p->off;
            }
            at += sizeof *e + e->len;
        }
    }
    struct pollfd hung = {.fd = p->fd};
    if (p->on && poll(&hung, 1, 0) > 0 && (hung.revents & POLLHUP) != 0)
        p->off = true;
}

enum pty_event pty_wait(struct pty *p, int timeout_ms, uint8_t *data, size_t cap, size_t *len)
{
    for (;;) {
        look(p);
        if (p->off)
            return PTY_OFF;
        if (p->on && !p->told) {
            p->told = true;
            return PTY_ON;
        }
        struct pollfd w[3] = {{.fd = p->signals, .events = POLLIN},
                              {.fd = p->watch, .events = POLLIN},
                              {.fd = p->fd, .events = POLLIN}};
        int n = poll(w, 3, timeout_ms);
        if (n < 0 && errno != EINTR)
            return PTY_FAILED;
        if (n == 0)
            return PTY_SILENCE;
        if (n > 0 && w[0].revents != 0)
            return PTY_SIGNAL;
        if (n < 0 || w[1].revents != 0)
            continue;
        ssize_t got = read(p->fd, data, cap);
        if (got > 0) {
            look(p); /* they may be of one who came after a closing */
            if (p->off)
                return PTY_OFF;
            *len = (size_t)got;
            return PTY_BYTES;
        }
    }
}

void pty_write(struct pty *p, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(p->fd, data, len);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd w = {.fd = p->fd, .events = POLLOUT};
            if (poll(&w, 1, FULL_MS) <= 0 || (w.revents & POLLOUT) == 0)
                return;
        } else if (n < 0 && errno != EINTR) {
            return;
        } else if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
}
