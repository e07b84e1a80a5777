/* log.h - what the server says while it runs: one line on stderr for each event, as `key=value` or
 * as JSON. Says what happened and to which card; never a PIN, a key, a body, a name of a person or
 * an amount, at any level. Not for the answers of commands. */
#ifndef CARDWIRE_BANK_LOG_H
#define CARDWIRE_BANK_LOG_H

#include "host/say.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An event is written when its level is not above the log's. */
enum log_level {
    LOG_ERROR, /* somebody must do something: the books, a certificate */
    LOG_WARN,  /* goes on, but not as it should */
    LOG_INFO,  /* each line, each request */
    LOG_DEBUG, /* what only a developer wants: connections, looks at the operations port */
};

enum log_form { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *name; /* static, [a-z_]+ */
    const char *text; /* NULL: the number */
    int64_t number;
    bool absent;
};

/* As stderr is the process's, so is how it is written. At first: LOG_INFO, LOG_TEXT. */
void log_set(enum log_level level, enum log_form form);
/* "error", "warn", "info", "debug"; "text", "json". CW_ERR_ARG, without a sentence. */
CW_MUST_USE enum cw_err log_level_find(const char *name, enum log_level *out);
CW_MUST_USE enum cw_err log_form_find(const char *name, enum log_form *out);

struct log_field log_number(const char *name, int64_t number);
/* NULL leaves the field out. What a terminal or a reader of lines might take wrong is replaced. */
struct log_field log_text(const char *name, const char *text);

void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count);
/* log_event(LOG_INFO, "handshake", log_text("card", serial), log_number("resumed", 1)); */
#define log_event(level, event, ...)                                                               \
    log_fields(level, event, (const struct log_field[]){__VA_ARGS__},                              \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#endif
