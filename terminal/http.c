#include "terminal/http.h"

#include "base/buf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum http_progress bad(struct say *why, const char *what)
{
    (void)say_fail(why, CW_ERR_FORMAT, "the server's HTTP reply is not in order: %s", what);
    return HTTP_BAD;
}

/* Decimal digits only; false when there is anything else or more than `max`. */
static bool parse_length(const char *text, size_t len, size_t max, size_t *out)
{
    size_t v = 0;
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (size_t)(text[i] - '0');
        if (v > max)
            return false;
    }
    *out = v;
    return true;
}

struct head {
    struct http_reply reply;
    bool has_length;
    size_t length;
};

/* RFC 9112 §4: HTTP-version SP status-code SP reason-phrase */
static bool parse_status(const char *line, size_t len, struct http_reply *out)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || (len > 12 && line[12] != ' '))
        return false;
    size_t status;
    if (!parse_length(line + 9, 3, 999, &status) || status < 100)
        return false;
    out->status = (int)status;
    out->close = line[7] == '0';
    return true;
}

static bool is_field(const char *line, size_t name_len, const char *name)
{
    return strlen(name) == name_len && strncasecmp(line, name, name_len) == 0;
}

/* NULL when the field is in order, otherwise what is wrong. */
static const char *parse_field(const char *line, size_t len, struct head *h)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || colon == line || colon[-1] == ' ' || colon[-1] == '\t' || line[0] == ' ' ||
        line[0] == '\t')
        return "a header field is malformed";
    size_t name_len = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t value_len = len - name_len - 1;
    while (value_len > 0 && (*value == ' ' || *value == '\t'))
        value++, value_len--;
    while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
        value_len--;
    if (is_field(line, name_len, "Content-Length")) {
        size_t length;
        if (!parse_length(value, value_len, HTTP_BODY_MAX, &length))
            return "Content-Length is no number, or too large";
        if (h->has_length && h->length != length)
            return "two different Content-Lengths";
        h->has_length = true;
        h->length = length;
    } else if (is_field(line, name_len, "Transfer-Encoding")) {
        return "it uses a Transfer-Encoding; this client takes Content-Length only";
    } else if (is_field(line, name_len, "Connection")) {
        if (value_len == 5 && strncasecmp(value, "close", 5) == 0)
            h->reply.close = true;
        else if (value_len == 10 && strncasecmp(value, "keep-alive", 10) == 0)
            h->reply.close = false;
    } else if (is_field(line, name_len, "Content-Type")) {
        size_t n = 0;
        while (n < value_len && value[n] != ';' && value[n] != ' ')
            n++;
        if (n >= sizeof h->reply.type)
            return "Content-Type is too long";
        for (size_t i = 0; i < n; i++)
            h->reply.type[i] = (char)tolower((unsigned char)value[i]);
        h->reply.type[n] = '\0';
    }
    return NULL;
}

/* The end of the header section: just behind its empty line; 0 when it has not come yet. */
static size_t head_end(const uint8_t *data, size_t len)
{
    const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);
    return end != NULL ? (size_t)(end - data) + 4 : 0;
}

enum http_progress http_reply_parse(const uint8_t *data, size_t len, struct http_reply *out,
                                    size_t *used, struct say *why)
{
    struct head h = {0};
    size_t end = head_end(data, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
    if (end == 0)
        return len >= HTTP_HEAD_MAX ? bad(why, "its header is too long") : HTTP_MORE;
    if (memchr(data, '\0', end) != NULL)
        return bad(why, "its header has a zero byte");
    const char *line = (const char *)data;
    const char *last = (const char *)data + end - 2; /* the empty line */
    for (bool first = true; line < last; first = false) {
        const char *eol = memmem(line, (size_t)(last - line), "\r\n", 2);
        if (eol == NULL)
            return bad(why, "a header line is malformed");
        size_t n = (size_t)(eol - line);
        if (memchr(line, '\n', n) != NULL || memchr(line, '\r', n) != NULL)
            return bad(why, "a header line is malformed");
        const char *wrong = NULL;
        if (first && !parse_status(line, n, &h.reply))
            wrong = "it does not begin with an HTTP/1.1 status line";
        else if (!first)
            wrong = parse_field(line, n, &h);
        if (wrong != NULL)
            return bad(why, wrong);
        line = eol + 2;
    }
    bool bodiless = h.reply.status < 200 || h.reply.status == 204 || h.reply.status == 304;
    if (!h.has_length && !bodiless)
        return bad(why, "it has no Content-Length");
    if (bodiless)
        h.length = 0;
    if (len - end < h.length)
        return HTTP_MORE;
    h.reply.body = data + end;
    h.reply.body_len = h.length;
    *out = h.reply;
    *used = end + h.length;
    return HTTP_DONE;
}

static enum cw_err send_request(struct pump *line, const struct http_request *q, struct say *why)
{
    size_t cap = 512 + strlen(q->path) + q->body_len;
    uint8_t *memory = malloc(cap);
    struct buf_writer w;
    if (memory == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    buf_writer_init(&w, memory, cap);
    buf_put_str(&w, q->method);
    buf_put_u8(&w, ' ');
    buf_put_str(&w, q->path);
    buf_put_str(&w, " HTTP/1.1\r\nHost: ");
    buf_put_str(&w, q->host);
    if (q->body != NULL) {
        buf_put_str(&w, "\r\nContent-Type: ");
        buf_put_str(&w, q->type);
        buf_put_str(&w, "\r\nContent-Length: ");
        buf_put_dec(&w, q->body_len);
    }
    buf_put_str(&w, "\r\n\r\n");
    if (q->body != NULL)
        buf_put_bytes(&w, q->body, q->body_len);
    enum cw_err err = w.bad ? say_fail(why, CW_ERR_INTERNAL, "the HTTP request is too long")
                            : pump_write(line, memory, w.len, why);
    free(memory);
    return err;
}

enum cw_err http_exchange(struct pump *line, const struct http_request *request,
                          struct http_reply *reply, uint8_t **memory, struct say *why)
{
    const size_t cap = HTTP_HEAD_MAX + HTTP_BODY_MAX;
    size_t have = 0, used = 0, n = 0;
    enum http_progress progress = HTTP_MORE;
    enum cw_err err = send_request(line, request, why);
    if (err != CW_OK)
        return err;
    uint8_t *data = malloc(cap);
    if (data == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    while (progress == HTTP_MORE) {
        err = pump_read(line, data + have, cap - have, &n, why);
        if (err == CW_OK && n == 0)
            err = say_fail(why, CW_ERR_GONE, "the server closed the line before it had answered");
        if (err != CW_OK)
            goto out;
        have += n;
        progress = http_reply_parse(data, have, reply, &used, why);
        if (progress == HTTP_DONE && reply->status < 200) { /* 1xx: the reply is still to come */
            memmove(data, data + used, have - used);
            have -= used;
            progress = http_reply_parse(data, have, reply, &used, why);
        }
    }
    if (progress == HTTP_BAD)
        err = CW_ERR_FORMAT;
    else if (used != have)
        err = say_fail(why, CW_ERR_FORMAT, "the server sent more than one reply");
out:
    if (err != CW_OK)
        free(data);
    else
        *memory = data;
    return err;
}
