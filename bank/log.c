#include "bank/log.h"

#include "base/cal.h"
#include "host/file.h"
#include "proto/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES  8192u
#define VALUE_MAX_BYTES 512u /* of a text, before what is not clean is replaced */

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *const form_names[] = {"text", "json"};

static enum log_level log_level = LOG_INFO;
static enum log_form log_form = LOG_TEXT;

void log_set(enum log_level level, enum log_form form)
{
    log_level = level;
    log_form = form;
}

static enum cw_err find(const char *const *names, size_t count, const char *name, size_t *out)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return CW_OK;
        }
    return CW_ERR_ARG;
}

enum cw_err log_level_find(const char *name, enum log_level *out)
{
    size_t i;
    enum cw_err err = find(level_names, sizeof level_names / sizeof *level_names, name, &i);
    if (err == CW_OK)
        *out = (enum log_level)i;
    return err;
}

enum cw_err log_form_find(const char *name, enum log_form *out)
{
    size_t i;
    enum cw_err err = find(form_names, sizeof form_names / sizeof *form_names, name, &i);
    if (err == CW_OK)
        *out = (enum log_form)i;
    return err;
}

struct log_field log_number(const char *name, int64_t number)
{
    return (struct log_field){.name = name, .number = number};
}

struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){.name = name, .text = text, .absent = text == NULL};
}

/* The text as it may be shown, with a NUL. */
static void put_clean(struct buf_writer *w, const char *text)
{
    text_put_clean(w, text, strnlen(text, VALUE_MAX_BYTES));
    buf_put_u8(w, 0);
}

/* Bare when nobody can take it wrong, otherwise in quotes. */
static void put_value(struct buf_writer *w, const char *text)
{
    if (*text != '\0' && strpbrk(text, " \"\\=") == NULL) {
        buf_put_str(w, text);
        return;
    }
    buf_put_u8(w, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buf_put_u8(w, '\\');
        buf_put_u8(w, (uint8_t)*text);
    }
    buf_put_u8(w, '"');
}

static void put_text(struct buf_writer *w, const char *stamp, enum log_level level,
                     const char *event, const struct log_field *fields, size_t count)
{
    char line[128];
    snprintf(line, sizeof line, "%.30s %s %.80s", stamp, level_names[level], event);
    buf_put_str(w, line);
    for (size_t i = 0; i < count; i++) {
        uint8_t clean[3 * VALUE_MAX_BYTES + 1];
        struct buf_writer c;
        if (fields[i].absent)
            continue;
        buf_put_u8(w, ' ');
        buf_put_str(w, fields[i].name);
        buf_put_u8(w, '=');
        buf_writer_init(&c, clean, sizeof clean);
        if (fields[i].text != NULL)
            put_clean(&c, fields[i].text);
        else
            snprintf((char *)clean, sizeof clean, "%lld", (long long)fields[i].number);
        put_value(w, (const char *)clean);
    }
}

static void put_json(struct buf_writer *w, const char *stamp, enum log_level level,
                     const char *event, const struct log_field *fields, size_t count)
{
    json_t *line =
        json_pack("{s:s, s:s, s:s}", "time", stamp, "level", level_names[level], "event", event);
    for (size_t i = 0; i < count; i++) {
        uint8_t clean[3 * VALUE_MAX_BYTES + 1];
        struct buf_writer c;
        if (fields[i].absent)
            continue;
        buf_writer_init(&c, clean, sizeof clean);
        if (fields[i].text != NULL)
            put_clean(&c, fields[i].text);
        json_object_set_new(line, fields[i].name,
                            fields[i].text != NULL ? json_string((const char *)clean)
                                                   : json_integer(fields[i].number));
    }
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;
    buf_put_str(w, text != NULL ? text : "{}");
    free(text);
    json_decref(line);
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count)
{
    uint8_t stamp[24] = {0}, line[LINE_MAX_BYTES];
    struct buf_writer s, w;
    if (level > log_level)
        return;
    buf_writer_init(&s, stamp, sizeof stamp - 1);
    cal_put(&s, (int64_t)time(NULL));
    buf_writer_init(&w, line, sizeof line - 1);
    (log_form == LOG_JSON ? put_json : put_text)(&w, (const char *)stamp, level, event, fields,
                                                 count);
    line[w.len] = '\n'; /* what did not fit was left out as a whole piece */
    /* One write, so that lines of several processes stay lines. Nobody is there to be told when it
     * fails. */
    enum cw_err err = file_write_all(STDERR_FILENO, line, w.len + 1);
    (void)err;
}
