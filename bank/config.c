#include "bank/config.h"

#include "host/file.h"

#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 65536u /* bytes */

/* Where libconfuse's complaint goes while a file is read: it hands no pointer through. */
static struct {
    const char *path;
    struct say *why;
    bool told; /* the first complaint is the one that helps */
} reading;

static const char known[] =
    "dir, listen, port-file, ops, ops-port-file, ops-anywhere, log, log-level, drain, "
    "lines, waiting-per-source, insecure-keylog";

static void complain(cfg_t *cfg, const char *format, va_list args)
{
    char text[200];
    if (reading.told)
        return;
    vsnprintf(text, sizeof text, format, args);
    bool unknown = strncmp(text, "no such option", 14) == 0;
    enum cw_err err =
        say_fail(reading.why, CW_ERR_ARG, "%.150s:%d: %s%s%s", reading.path, cfg->line, text,
                 unknown ? "; there are " : "", unknown ? known : "");
    (void)err;
    reading.told = true;
}

/* ---- values ---- */

static int check_range(cfg_t *cfg, cfg_opt_t *opt)
{
    static const struct {
        const char *name;
        long min, max;
    } ranges[] = {{"drain", 0, 3600}, {"lines", 1, 1000000}, {"waiting-per-source", 1, 1000000}};
    long value = cfg_opt_getnint(opt, 0);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (strcmp(ranges[i].name, opt->name) == 0 &&
            (value < ranges[i].min || value > ranges[i].max)) {
            cfg_error(cfg, "%s wants a whole number from %ld to %ld", opt->name, ranges[i].min,
                      ranges[i].max);
            return -1;
        }
    return 0;
}

static int check_form(cfg_t *cfg, cfg_opt_t *opt)
{
    enum log_form form;
    if (log_form_find(cfg_opt_getnstr(opt, 0), &form) == CW_OK)
        return 0;
    cfg_error(cfg, "log wants text or json");
    return -1;
}

static int check_level(cfg_t *cfg, cfg_opt_t *opt)
{
    enum log_level level;
    if (log_level_find(cfg_opt_getnstr(opt, 0), &level) == CW_OK)
        return 0;
    cfg_error(cfg, "log-level wants error, warn, info or debug");
    return -1;
}

static cfg_t *make(void)
{
    cfg_opt_t keys[] = {
        CFG_STR("dir", NULL, CFGF_NONE),
        CFG_STR("listen", CONFIG_LISTEN, CFGF_NONE),
        CFG_STR("port-file", NULL, CFGF_NONE),
        CFG_STR("ops", NULL, CFGF_NONE),
        CFG_STR("ops-port-file", NULL, CFGF_NONE),
        CFG_BOOL("ops-anywhere", cfg_false, CFGF_NONE),
        CFG_STR("log", "text", CFGF_NONE),
        CFG_STR("log-level", "info", CFGF_NONE),
        CFG_INT("drain", CONFIG_DRAIN_SECONDS, CFGF_NONE),
        CFG_INT("lines", 0, CFGF_NONE),
        CFG_INT("waiting-per-source", 0, CFGF_NONE),
        CFG_STR("insecure-keylog", NULL, CFGF_NONE),
        CFG_END(),
    };
    cfg_t *cfg = cfg_init(keys, CFGF_NONE); /* copies the keys */
    if (cfg == NULL)
        return NULL;
    cfg_set_error_function(cfg, complain);
    cfg_set_validate_func(cfg, "drain", check_range);
    cfg_set_validate_func(cfg, "lines", check_range);
    cfg_set_validate_func(cfg, "waiting-per-source", check_range);
    cfg_set_validate_func(cfg, "log", check_form);
    cfg_set_validate_func(cfg, "log-level", check_level);
    return cfg;
}

/* ---- the file ---- */

static enum cw_err parse(cfg_t *cfg, const char *path, struct say *why)
{
    uint8_t *text = NULL;
    size_t len = 0;
    enum cw_err err = file_read(path, FILE_MAX, &text, &len, why);
    if (err != CW_OK)
        return err;
    reading.path = path;
    reading.why = why;
    reading.told = false;
    if (memchr(text, '\0', len) != NULL)
        err = say_fail(why, CW_ERR_ARG, "%.300s is no text", path);
    else if (cfg_parse_buf(cfg, (const char *)text) != CFG_SUCCESS)
        err = reading.told ? CW_ERR_ARG
                           : say_fail(why, CW_ERR_ARG, "%.300s cannot be understood", path);
    reading.why = NULL;
    free(text);
    return err;
}

enum cw_err config_load(const char *path, struct config *out, struct say *why)
{
    cfg_t *cfg = make();
    if (cfg == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = path != NULL ? parse(cfg, path, why) : CW_OK;
    if (err != CW_OK) {
        cfg_free(cfg);
        return err;
    }
    *out = (struct config){
        .file = cfg,
        .dir = cfg_getstr(cfg, "dir"),
        .listen = cfg_getstr(cfg, "listen"),
        .port_file = cfg_getstr(cfg, "port-file"),
        .ops = cfg_getstr(cfg, "ops"),
        .ops_port_file = cfg_getstr(cfg, "ops-port-file"),
        .insecure_keylog = cfg_getstr(cfg, "insecure-keylog"),
        .ops_anywhere = cfg_getbool(cfg, "ops-anywhere") == cfg_true,
        .lines = (size_t)cfg_getint(cfg, "lines"),
        .waiting_per_source = (size_t)cfg_getint(cfg, "waiting-per-source"),
        .drain_seconds = (unsigned)cfg_getint(cfg, "drain"),
    };
    /* Both were looked at when they were read. */
    if (log_form_find(cfg_getstr(cfg, "log"), &out->log_form) != CW_OK ||
        log_level_find(cfg_getstr(cfg, "log-level"), &out->log_level) != CW_OK) {
        config_clear(out);
        return say_fail(why, CW_ERR_ARG, "log and log-level cannot be understood");
    }
    return CW_OK;
}

void config_clear(struct config *config)
{
    if (config->file != NULL)
        cfg_free(config->file);
    *config = (struct config){0};
}
