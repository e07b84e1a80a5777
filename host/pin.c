#include "host/pin.h"

#include "base/ct.h"
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

void pin_wipe(struct pin *pin)
{
    ct_wipe(pin, sizeof *pin);
    (void)munlock(pin, sizeof *pin);
}

static enum cw_err check(const struct pin *pin, bool overflow, const char *where, struct say *why)
{
    bool digits = true;
    for (size_t i = 0; i < pin->len; i++)
        digits = digits && pin->digits[i] >= '0' && pin->digits[i] <= '9';
    if (overflow || !digits || pin->len < LINK_PIN_MIN)
        return say_fail(why, CW_ERR_FORMAT, "%s is no PIN; a PIN is %u to %u digits", where,
                        LINK_PIN_MIN, LINK_PIN_MAX);
    return CW_OK;
}

/* Reads one byte; 0 at the end, -1 on failure. */
static int read_byte(int fd, uint8_t *byte)
{
    ssize_t n;
    do {
        n = read(fd, byte, 1);
    } while (n < 0 && errno == EINTR);
    return (int)n;
}

/* Keys until Enter; the terminal is in non-canonical mode. */
static enum cw_err read_keys(int tty, struct pin *out, bool *overflow, struct say *why)
{
    enum cw_err err = CW_OK;
    uint8_t key = 0;
    for (;;) {
        if (read_byte(tty, &key) != 1 || key == 3 || key == 4) { /* Ctrl-C, Ctrl-D */
            err = say_fail(why, CW_ERR_REFUSED, "no PIN was given; nothing was sent");
            break;
        }
        if (key == '\r' || key == '\n')
            break;
        if (key == 8 || key == 127) { /* Backspace, Delete */
            if (out->len > 0)
                out->digits[--out->len] = 0;
        } else if (out->len < LINK_PIN_MAX) {
            out->digits[out->len++] = key;
        } else {
            *overflow = true;
        }
    }
    ct_wipe(&key, sizeof key);
    return err;
}

enum cw_err pin_ask(const char *prompt, struct pin *out, struct say *why)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before;
    if (tty < 0 || tcgetattr(tty, &before) != 0) {
        if (tty >= 0)
            close(tty);
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "there is no terminal to ask for the PIN on; give it with --pin-file FILE");
    }
    struct termios quiet = before; /* no ISIG: an interrupt must not leave the echo off */
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    bool overflow = false;
    enum cw_err err;
    (void)mlock(out, sizeof *out);
    memset(out, 0, sizeof *out);
    if (tcsetattr(tty, TCSAFLUSH, &quiet) != 0 ||
        file_write_all(tty, prompt, strlen(prompt)) != CW_OK)
        err = say_fail(why, CW_ERR_IO, "cannot use the terminal: %s", strerror(errno));
    else
        err = read_keys(tty, out, &overflow, why);
    (void)tcsetattr(tty, TCSAFLUSH, &before);
    if (file_write_all(tty, "\n", 1) != CW_OK && err == CW_OK)
        err = say_fail(why, CW_ERR_IO, "cannot use the terminal: %s", strerror(errno));
    close(tty);
    if (err == CW_OK)
        err = check(out, overflow, "what was typed", why);
    if (err != CW_OK)
        pin_wipe(out);
    return err;
}

enum cw_err pin_read(const char *path, struct pin *out, struct say *why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        return say_fail(why, saved == ENOENT ? CW_ERR_NOT_FOUND : CW_ERR_IO,
                        "cannot open the PIN file %s: %s", path, strerror(saved));
    }
    if (S_ISREG(st.st_mode) && (st.st_mode & (S_IRGRP | S_IROTH)) != 0) {
        close(fd);
        return say_fail(why, CW_ERR_DENIED,
                        "the PIN file %s can be read by others; run: chmod 600 %s", path, path);
    }
    enum cw_err err = CW_OK;
    bool overflow = false;
    uint8_t byte = 0;
    int n;
    (void)mlock(out, sizeof *out);
    memset(out, 0, sizeof *out);
    while ((n = read_byte(fd, &byte)) == 1 && byte != '\n' && byte != '\r') {
        if (out->len < LINK_PIN_MAX)
            out->digits[out->len++] = byte;
        else
            overflow = true;
    }
    if (n < 0)
        err = say_fail(why, CW_ERR_IO, "cannot read the PIN file %s: %s", path, strerror(errno));
    ct_wipe(&byte, sizeof byte);
    close(fd);
    if (err == CW_OK)
        err = check(out, overflow, path, why);
    if (err != CW_OK)
        pin_wipe(out);
    return err;
}
