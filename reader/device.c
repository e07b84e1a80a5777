/* device.c - a serial device as the way to a card. */
#include "reader/device.h"

#include "host/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define RESET_PAUSE 20 /* ms of RTS */
#define OFF_MS      10 /* at least, before the card is powered again (ISO/IEC 7816-3:2006 §6.2) */
#define TAKE_MS     5000 /* a line that is full for so long has nobody at its end */

/* The link of a pseudo terminal may be changed under us, to the line for the next reader. */
static int open_path(const char *path)
{
    struct stat st;
    for (int tries = 0;; tries++) {
        int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 || tries == 5 || (errno != EIO && errno != ENOENT))
            return fd;
        int first = errno;
        if (lstat(path, &st) != 0 || !S_ISLNK(st.st_mode)) {
            errno = first;
            return -1;
        }
        (void)poll(NULL, 0, OFF_MS);
    }
}

enum cw_err device_named(struct device *d, const char *path, struct say *why)
{
    d->fd = -1;
    int n = snprintf(d->path, sizeof d->path, "%s", path);
    return n < 0 || (size_t)n >= sizeof d->path
               ? say_fail(why, CW_ERR_ARG, "the name of the device is too long")
               : CW_OK;
}

enum cw_err device_open(struct device *d, struct say *why)
{
    struct termios raw;
    d->fd = open_path(d->path);
    if (d->fd < 0)
        return say_fail(why, errno == ENOENT ? CW_ERR_NOT_FOUND : CW_ERR_IO,
                        "cannot open %s: %s; start the card there, or name another device", d->path,
                        strerror(errno));
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0)
        return say_fail(why, CW_ERR_BUSY, "another program uses the card at %s; end it first",
                        d->path);
    if (!isatty(d->fd) && errno != EIO)
        return say_fail(why, CW_ERR_ARG, "%s is no serial device", d->path);
    if (tcgetattr(d->fd, &raw) != 0)
        return CW_OK; /* hung up already: device_first sees to it */
    cfmakeraw(&raw);
    raw.c_cflag |= CLOCAL | CREAD | CSTOPB;
    (void)cfsetspeed(&raw, B9600);
    if (tcsetattr(d->fd, TCSANOW, &raw) != 0 && errno != EIO)
        return say_fail(why, CW_ERR_IO, "cannot set up %s: %s", d->path, strerror(errno));
    return CW_OK;
}

void device_close(struct device *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

enum cw_err device_restart(struct device *d, struct say *why)
{
    int rts = TIOCM_RTS;
    if (d->fd >= 0 && ioctl(d->fd, TIOCMBIS, &rts) == 0) {
        (void)poll(NULL, 0, RESET_PAUSE);
        (void)tcflush(d->fd, TCIOFLUSH);
        (void)ioctl(d->fd, TIOCMBIC, &rts);
        return CW_OK;
    }
    device_close(d);
    (void)poll(NULL, 0, OFF_MS);
    return device_open(d, why);
}

enum cw_err device_get(struct device *d, uint64_t ms, uint8_t *out)
{
    uint64_t end = clock_ns() + ms * 1000000u;
    for (;;) {
        ssize_t n = read(d->fd, out, 1);
        if (n == 1)
            return CW_OK;
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return CW_ERR_GONE;
        uint64_t now = clock_ns();
        if (now >= end)
            return CW_ERR_TIMEOUT;
        struct pollfd p = {.fd = d->fd, .events = POLLIN};
        (void)poll(&p, 1, (int)((end - now) / 1000000u) + 1);
    }
}

enum cw_err device_first(struct device *d, uint8_t *out, struct say *why)
{
    uint64_t end = clock_ns() + DEVICE_START_MS * UINT64_C(1000000);
    for (;;) {
        uint64_t now = clock_ns();
        enum cw_err err =
            now < end ? device_get(d, (end - now) / 1000000u + 1, out) : CW_ERR_TIMEOUT;
        if (err != CW_ERR_GONE)
            return err;
        device_close(d);
        err = device_open(d, why);
        if (err != CW_OK)
            return err;
    }
}

enum cw_err device_put(struct device *d, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(d->fd, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = d->fd, .events = POLLOUT};
            if (poll(&p, 1, TAKE_MS) <= 0)
                return CW_ERR_GONE;
        } else if (n < 0 && errno != EINTR) {
            return CW_ERR_GONE;
        }
    }
    return CW_OK;
}

void device_flush(struct device *d)
{
    (void)tcflush(d->fd, TCIFLUSH);
}

enum cw_err device_gone(const struct device *d, enum cw_err err, struct say *why)
{
    return say_fail(why, err, "the card at %s is gone; start it again and try again", d->path);
}

enum cw_err device_ended(struct device *d, enum cw_err err, bool failed, const char *standard,
                         const char *power, struct say *why)
{
    if (err != CW_OK)
        return device_gone(d, err, why);
    if (!failed)
        return CW_OK;
    device_close(d);
    return say_fail(why, CW_ERR_GONE,
                    "the card at %s does not answer as %s asks; %s was switched off, so try again",
                    d->path, standard, power);
}
