/* http.h - a small, bounded HTTP/1.1 client over a line (RFC 9112): one request, one reply with a
 * Content-Length. Not for the open web: no redirects, no cookies, no transfer codings. */
#ifndef CARDWIRE_TERMINAL_HTTP_H
#define CARDWIRE_TERMINAL_HTTP_H

#include "terminal/pump.h"

#define HTTP_HEAD_MAX 8192u    /* status line and header fields, bytes */
#define HTTP_BODY_MAX 4194304u /* body of a reply, bytes; a statement of 1,000 entries has 2 MB */

struct http_reply {
    int status;    /* 100..999 */
    char type[64]; /* media type without parameters, lower case; "" if none */
    bool close;    /* the server closes the line after this reply */
    const uint8_t *body;
    size_t body_len;
};

enum http_progress { HTTP_MORE, HTTP_DONE, HTTP_BAD };

/* Looks at the `len` bytes that came so far. HTTP_DONE: *out is filled, its body points into
 * `data`, and *used bytes belong to the reply. HTTP_BAD: `why` says what is wrong. */
enum http_progress http_reply_parse(const uint8_t *data, size_t len, struct http_reply *out,
                                    size_t *used, struct say *why);

struct http_request {
    const char *method, *host, *path; /* path with the query, as it goes on the wire */
    const char *type;                 /* media type of the body */
    const void *body;                 /* NULL for none */
    size_t body_len;
};

/* Sends the request and waits for the reply, which lies in *memory (freed by the caller with
 * free(3)). What the line fails with; CW_ERR_FORMAT for a malformed reply; CW_ERR_GONE when the
 * line was closed before the reply was complete. */
CW_MUST_USE enum cw_err http_exchange(struct pump *line, const struct http_request *request,
                                      struct http_reply *reply, uint8_t **memory, struct say *why);

#endif
