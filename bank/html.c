#include "bank/html.h"

#include "proto/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 8192u

static void append(struct html *h, const char *data, size_t len)
{
    if (h->bad || len == 0)
        return;
    if (len > h->cap - h->len) {
        size_t cap = h->cap == 0 ? FIRST_CAP : h->cap;
        while (cap - h->len < len)
            cap *= 2;
        char *more = realloc(h->text, cap);
        if (more == NULL) {
            h->bad = true;
            return;
        }
        h->text = more;
        h->cap = cap;
    }
    memcpy(h->text + h->len, data, len);
    h->len += len;
}

/* Good between tags and inside quotes of either kind. */
static void escape(struct html *h, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        const char *name = c == '&'    ? "&amp;"
                           : c == '<'  ? "&lt;"
                           : c == '>'  ? "&gt;"
                           : c == '"'  ? "&quot;"
                           : c == '\'' ? "&#39;"
                                       : NULL;
        append(h, name != NULL ? name : &c, name != NULL ? strlen(name) : 1);
    }
}

static void put_line(struct html *h, const char *text, size_t len)
{
    struct buf_writer w;
    uint8_t *clean = malloc(3 * len + 1);
    if (clean == NULL) {
        h->bad = true;
        return;
    }
    buf_writer_init(&w, clean, 3 * len + 1);
    text_put_clean(&w, text, len);
    escape(h, (const char *)clean, w.len);
    free(clean);
}

void html_text(struct html *h, const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line = end != NULL ? (size_t)(end - text) : len;
        put_line(h, text, line);
        if (end != NULL)
            append(h, end, 1);
        len -= line + (end != NULL);
        text += line + (end != NULL);
    }
}

void html_fill(struct html *h, const char *literal, const char *const *values, size_t count)
{
    size_t used = 0;
    for (const char *at = literal; *at != '\0';) {
        size_t len = strcspn(at, "%");
        append(h, at, len);
        at += len;
        if (*at == '\0')
            break;
        if (used < count && values[used] != NULL)
            html_text(h, values[used], strlen(values[used]));
        used++;
        at++;
    }
    if (used != count) /* a mistake of ours: no page rather than a wrong one */
        h->bad = true;
}

void html_url(struct html *h, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text != '\0'; text++) {
        char code[4];
        snprintf(code, sizeof code, "%%%02X", (unsigned char)*text);
        bool as_is = strchr(plain, *text) != NULL;
        append(h, as_is ? text : code, as_is ? 1 : 3);
    }
}

enum cw_err html_take(struct html *h, uint8_t **out, size_t *len)
{
    if (h->bad || h->text == NULL) {
        html_clear(h);
        return CW_ERR_SPACE;
    }
    *out = (uint8_t *)h->text;
    *len = h->len;
    *h = (struct html){0};
    return CW_OK;
}

void html_clear(struct html *h)
{
    free(h->text);
    *h = (struct html){0};
}
