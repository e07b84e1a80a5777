#include "bank/http.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 30

enum cw_err http_start(struct event_base *base, int fd, const struct http_limits *limits,
                       void (*answer)(struct evhttp_request *req, void *ctx), void *ctx,
                       struct evhttp **out, struct say *why)
{
    struct evhttp *http = *out = evhttp_new(base);
    if (http == NULL || evhttp_accept_socket_with_handle(http, fd) == NULL) {
        close(fd);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    evhttp_set_gencb(http, answer, ctx);
    evhttp_set_timeout(http, TIMEOUT_SECONDS);
    evhttp_set_max_headers_size(http, (ev_ssize_t)limits->headers_max);
    evhttp_set_max_body_size(http, (ev_ssize_t)limits->body_max);
    evhttp_set_allowed_methods(http, (ev_uint16_t)limits->methods);
    return CW_OK;
}

void http_reply(struct evhttp_request *req, const struct api_reply *reply)
{
    struct evbuffer *body = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    char seconds[24];
    snprintf(seconds, sizeof seconds, "%lld", (long long)reply->retry_after);
    if (reply->retry_after > 0)
        evhttp_add_header(headers, "Retry-After", seconds);
    if (body == NULL || evbuffer_add(body, reply->body, reply->body_len) != 0 ||
        evhttp_add_header(headers, "Content-Type", reply->type) != 0) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
    } else {
        evhttp_add_header(headers, "Cache-Control", "no-store");
        evhttp_send_reply(req, reply->status, reply->status < 400 ? "OK" : "Problem", body);
    }
    if (body != NULL)
        evbuffer_free(body);
}

bool http_host_is_local(struct evhttp_request *req)
{
    static const char *const ours[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = evhttp_find_header(evhttp_request_get_input_headers(req), "Host");
    if (host == NULL) /* HTTP/1.0: no browser */
        return true;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        size_t len = strlen(ours[i]);
        if (strncasecmp(host, ours[i], len) == 0 && (host[len] == '\0' || host[len] == ':'))
            return true;
    }
    return false;
}
