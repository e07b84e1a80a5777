/* cli_connect.c - cardwire connect: stdin and stdout over the card's line, to any TLS server that
 * the card permits. */
#include "terminal/cli.h"

#include "host/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK     4096
#define LINGER_MS 2000 /* silence after the end of stdin */

static enum cw_err drain(struct cli *c, struct pump *l)
{
    uint8_t data[CHUNK];
    size_t n;
    while ((n = pump_take(l, data, sizeof data)) > 0)
        if (file_write_all(STDOUT_FILENO, data, n) != CW_OK)
            return say_fail(&c->why, CW_ERR_IO, "cannot write to stdout: %s", strerror(errno));
    return CW_OK;
}

/* One piece of stdin to the server; *end at its end. */
static enum cw_err feed(struct cli *c, struct pump *l, bool *end)
{
    uint8_t data[CHUNK];
    ssize_t n = read(STDIN_FILENO, data, sizeof data);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return CW_OK;
    if (n < 0)
        return say_fail(&c->why, CW_ERR_IO, "cannot read stdin: %s", strerror(errno));
    if (n == 0) {
        *end = true;
        return CW_OK;
    }
    return pump_write(l, data, (size_t)n, &c->why);
}

static bool input_waits(void)
{
    fd_set set;
    struct timeval none = {0, 0};
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    return select(STDIN_FILENO + 1, &set, NULL, NULL, &none) > 0;
}

/* Until the server closes. After the end of stdin: what the server still says, for at most
 * `linger_ms` of silence, then our close_notify. A card that has sent its close_notify reads no
 * more, so it comes last. */
static enum cw_err carry(struct cli *c, struct pump *l, int linger_ms)
{
    bool end = false;
    for (;;) {
        enum cw_err err = pump_wait(l, end ? -1 : STDIN_FILENO, end ? linger_ms : -1, &c->why);
        bool got = pump_has_plaintext(l);
        if (err == CW_OK)
            err = drain(c, l);
        if (err != CW_OK)
            return err;
        if (pump_is_dead(l) && !got)
            return pump_fail(l, &c->why);
        if (got)
            continue;
        if (pump_is_over(l))
            return CW_OK;
        if (end)
            return pump_close(l, &c->why);
        if (input_waits())
            err = feed(c, l, &end);
        if (err != CW_OK)
            return err;
    }
}

enum cli_exit cli_connect(struct cli *c)
{
    struct cli_session s = {0};
    enum cli_exit code = cli_session_open(c, &s);
    if (code != CLI_OK)
        goto out;
    if (c->opt.json) { /* stdout is the server's: the object goes to stderr */
        json_t *o = cli_session_json(&s);
        json_dumpf(o, stderr, CLI_JSON);
        fputc('\n', stderr);
        json_decref(o);
    } else {
        cli_session_print(&s);
    }
    c->tty = c->opt.progress = false; /* the terminal belongs to the conversation now */
    enum cw_err err = carry(c, s.line, LINGER_MS);
    if (err != CW_OK)
        code = cli_fail_line(c, &s, err);
out:
    cli_session_close(&s);
    return code;
}
