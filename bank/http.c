#include "bank/http.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>

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
