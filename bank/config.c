#include "bank/config.h"

#include "host/file.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 65536u /* bytes */

enum kind { TEXT, NUMBER, FLAG, FORM, LEVEL };

static const struct key {
    const char *name;
    enum kind kind;
    size_t at; /* in struct config */
    unsigned min, max;
} keys[] = {
    {"dir", TEXT, offsetof(struct config, dir), 0, 0},
    {"listen", TEXT, offsetof(struct config, listen), 0, 0},
    {"port-file", TEXT, offsetof(struct config, port_file), 0, 0},
    {"ops", TEXT, offsetof(struct config, ops), 0, 0},
    {"ops-port-file", TEXT, offsetof(struct config, ops_port_file), 0, 0},
    {"ocsp", TEXT, offsetof(struct config, ocsp), 0, 0},
    {"ocsp-port-file", TEXT, offsetof(struct config, ocsp_port_file), 0, 0},
    {"ops-anywhere", FLAG, offsetof(struct config, ops_anywhere), 0, 0},
    {"log", FORM, offsetof(struct config, log_form), 0, 0},
    {"log-level", LEVEL, offsetof(struct config, log_level), 0, 0},
    {"drain", NUMBER, offsetof(struct config, drain_seconds), 0, 3600},
    {"lines", NUMBER, offsetof(struct config, lines), 1, 1000000},
    {"waiting-per-source", NUMBER, offsetof(struct config, waiting_per_source), 1, 1000000},
    {"requests-per-minute", NUMBER, offsetof(struct config, requests_per_minute), 0, 1000000},
    {"payments-per-minute", NUMBER, offsetof(struct config, payments_per_minute), 0, 1000000},
    {"insecure-keylog", TEXT, offsetof(struct config, insecure_keylog), 0, 0},
};
#define KEYS (sizeof keys / sizeof *keys)

/* A file on its way through libinih, which asks for line after line and hands on keys and values.
 */
struct reading {
    struct config config;
    bool given[KEYS];
    size_t text_count;
    const char *next; /* what of the file is left */
    int line;         /* the one that was asked for last */
    int wrong;        /* the first line with something wrong; 0: none */
    struct say what;  /* is wrong there */
};

static int complain(struct reading *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int complain(struct reading *r, const char *format, ...)
{
    va_list args;
    if (r->wrong == 0) {
        r->wrong = r->line;
        va_start(args, format);
        vsnprintf(r->what.text, sizeof r->what.text, format, args);
        va_end(args);
    }
    return 0; /* which is libinih's word for it */
}

static int complain_unknown(struct reading *r, const char *name)
{
    char known[300] = "";
    for (size_t i = 0; i < KEYS; i++) {
        size_t len = strlen(known);
        snprintf(known + len, sizeof known - len, "%s%s", i > 0 ? ", " : "", keys[i].name);
    }
    return complain(r, "there is no key '%.60s'; the keys are %s", name, known);
}

/* ---- values ---- */

static int take_text(struct reading *r, const struct key *k, const char *value, void *to)
{
    char *copy = *value != '\0' ? strdup(value) : NULL;
    if (copy == NULL)
        return complain(r, "%s wants a value", k->name);
    r->config.texts[r->text_count++] = copy;
    *(const char **)to = copy;
    return 1;
}

static int take_number(struct reading *r, const struct key *k, const char *value, void *to)
{
    unsigned n = 0;
    const char *p = value;
    for (; *p >= '0' && *p <= '9' && n <= k->max; p++)
        n = n * 10 + (unsigned)(*p - '0');
    if (p == value || *p != '\0' || n < k->min || n > k->max)
        return complain(r, "%s wants a whole number from %u to %u", k->name, k->min, k->max);
    *(unsigned *)to = n;
    return 1;
}

static int take_flag(struct reading *r, const struct key *k, const char *value, void *to)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return complain(r, "%s wants yes or no", k->name);
    *(bool *)to = yes;
    return 1;
}

static int take(struct reading *r, const struct key *k, const char *value)
{
    void *to = (char *)&r->config + k->at;
    switch (k->kind) {
    case TEXT:
        return take_text(r, k, value, to);
    case NUMBER:
        return take_number(r, k, value, to);
    case FLAG:
        return take_flag(r, k, value, to);
    case FORM:
        return log_form_find(value, to) == CW_OK ? 1 : complain(r, "log wants text or json");
    case LEVEL:
        return log_level_find(value, to) == CW_OK
                   ? 1
                   : complain(r, "log-level wants error, warn, info or debug");
    }
    return 0;
}

/* ---- the file ---- */

static int on_value(void *ctx, const char *section, const char *name, const char *value)
{
    struct reading *r = ctx;
    if (section[0] != '\0')
        return complain(r, "there are no sections, such as [%.40s]", section);
    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].name, name) != 0)
            continue;
        if (r->given[i])
            return complain(r, "%s comes twice, or this line is indented", name);
        r->given[i] = true;
        return take(r, &keys[i], value);
    }
    return complain_unknown(r, name);
}

/* As fgets(3). A line that does not fit would be taken for two. */
static char *next_line(char *out, int cap, void *ctx)
{
    struct reading *r = ctx;
    size_t len = strcspn(r->next, "\n"), room = (size_t)cap - 1;
    if (*r->next == '\0')
        return NULL;
    r->line++;
    if (len > room)
        complain(r, "the line has more than %zu bytes", room);
    snprintf(out, (size_t)cap, "%.*s", (int)(len < room ? len : room), r->next);
    r->next += len + (r->next[len] == '\n');
    return out;
}

static enum cw_err parse(struct reading *r, const char *path, struct say *why)
{
    uint8_t *text = NULL;
    size_t len = 0;
    enum cw_err err = file_read(path, FILE_MAX, &text, &len, why);
    if (err != CW_OK)
        return err;
    if (memchr(text, '\0', len) != NULL) {
        free(text);
        return say_fail(why, CW_ERR_ARG, "%.300s is no text", path);
    }
    r->next = (const char *)text;
    int line = ini_parse_stream(next_line, r, on_value, r);
    free(text);
    if (line > 0 && (r->wrong == 0 || line < r->wrong))
        return say_fail(why, CW_ERR_ARG, "%.200s:%d: this is no 'key = value'", path, line);
    if (r->wrong > 0)
        return say_fail(why, CW_ERR_ARG, "%.120s:%d: %s", path, r->wrong, r->what.text);
    return line == 0 ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
}

enum cw_err config_load(const char *path, struct config *out, struct say *why)
{
    struct reading r = {.config = {.listen = CONFIG_LISTEN,
                                   .drain_seconds = CONFIG_DRAIN_SECONDS,
                                   .requests_per_minute = CONFIG_REQUESTS,
                                   .payments_per_minute = CONFIG_PAYMENTS,
                                   .log_form = LOG_TEXT,
                                   .log_level = LOG_INFO}};
    enum cw_err err = path != NULL ? parse(&r, path, why) : CW_OK;
    if (err == CW_OK)
        *out = r.config;
    else
        config_clear(&r.config);
    return err;
}

void config_clear(struct config *config)
{
    for (size_t i = 0; i < CONFIG_TEXTS; i++)
        free(config->texts[i]);
    *config = (struct config){0};
}
