/* commands_serve.c - `cardwired serve`: the server's settings, from the command line, which wins,
 * and from a file, which is read again at SIGHUP. */
#include "bank/commands.h"

#include "bank/config.h"
#include "bank/tlsd.h"

#include <string.h>

/* What the server was started with; the texts are of one of these two. */
struct settings {
    const struct cli_args *args;
    struct config config; /* as at the start */
};

/* The file as it is now, under the command line. */
static enum cw_err load(const struct cli_args *a, struct config *out, struct say *why)
{
    const struct {
        const char *said, **to;
    } texts[] = {{a->dir, &out->dir},
                 {a->listen, &out->listen},
                 {a->port_file, &out->port_file},
                 {a->keylog, &out->insecure_keylog},
                 {a->ops, &out->ops},
                 {a->ops_port_file, &out->ops_port_file},
                 {a->ocsp, &out->ocsp},
                 {a->ocsp_port_file, &out->ocsp_port_file}};
    enum cw_err err = config_load(a->config, out, why);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].said != NULL)
            *texts[i].to = texts[i].said;
    if ((a->given & CLI_REQUESTS) != 0)
        out->requests_per_minute = (unsigned)a->requests_per_minute;
    if ((a->given & CLI_PAYMENTS) != 0)
        out->payments_per_minute = (unsigned)a->payments_per_minute;
    if (a->log != NULL && log_form_find(a->log, &out->log_form) != CW_OK)
        err = say_fail(why, CW_ERR_ARG, "--log %.40s: wants text or json", a->log);
    if (a->log_level != NULL && log_level_find(a->log_level, &out->log_level) != CW_OK)
        err = say_fail(why, CW_ERR_ARG, "--log-level %.40s: wants error, warn, info or debug",
                       a->log_level);
    if (err != CW_OK)
        config_clear(out);
    return err;
}

static void take(const struct config *c, struct tlsd_options *o)
{
    log_set(c->log_level, c->log_form);
    o->lines_max = c->lines;
    o->waiting_per_source = c->waiting_per_source;
    o->drain_seconds = c->drain_seconds;
    o->requests_per_minute = c->requests_per_minute;
    o->payments_per_minute = c->payments_per_minute;
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Some things only a new process can change. */
static void say_what_waits(const struct config *was, const struct config *is)
{
    if (!same(was->dir, is->dir) || !same(was->listen, is->listen) || !same(was->ops, is->ops) ||
        !same(was->ocsp, is->ocsp) || !same(was->ocsp_port_file, is->ocsp_port_file) ||
        !same(was->port_file, is->port_file) || !same(was->ops_port_file, is->ops_port_file) ||
        !same(was->insecure_keylog, is->insecure_keylog) || was->ops_anywhere != is->ops_anywhere)
        log_event(LOG_WARN, "reload",
                  log_text("why", "folder, addresses, port files and key log change when the "
                                  "server is started anew"));
}

static enum cw_err reload(void *ctx, struct tlsd_options *out, struct say *why)
{
    struct settings *s = ctx;
    struct config now;
    enum cw_err err = load(s->args, &now, why);
    if (err != CW_OK)
        return err;
    take(&now, out);
    say_what_waits(&s->config, &now);
    config_clear(&now);
    return CW_OK;
}

enum cw_err commands_serve(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct settings s = {.args = args};
    enum cw_err err = load(args, &s.config, why);
    if (err != CW_OK)
        return err;
    struct tlsd_options o = {
        .listen = s.config.listen,
        .port_file = s.config.port_file,
        .insecure_keylog = s.config.insecure_keylog,
        .ops = {.listen = s.config.ops,
                .port_file = s.config.ops_port_file,
                .anywhere = s.config.ops_anywhere},
        .ocsp = {.listen = s.config.ocsp, .port_file = s.config.ocsp_port_file},
        .reload = reload,
        .ctx = &s,
    };
    take(&s.config, &o);
    if (s.config.dir == NULL || s.config.dir[0] == '\0')
        err = say_fail(why, CW_ERR_ARG,
                       "serve wants the bank's folder: --dir DIR, CARDWIRED_DIR, or dir in the "
                       "file of --config");
    if (err == CW_OK)
        err = bank_open(s.config.dir, &ledger_clock_system, &bank, why);
    if (err == CW_OK)
        err = tlsd_run(bank, &o, why);
    bank_free(&bank);
    config_clear(&s.config);
    return err;
}
