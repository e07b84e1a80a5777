/* http.h - what the small listeners beside the cards' line share: HTTP by libevent on a socket of
 * this machine, and an API's reply as it is sent. */
#ifndef CARDWIRE_BANK_HTTP_H
#define CARDWIRE_BANK_HTTP_H

#include "bank/api.h"

struct event_base;
struct evhttp;
struct evhttp_request;

/* What is taken; whoever says nothing for 30 s is dropped. */
struct http_limits {
    unsigned methods; /* EVHTTP_REQ_..., together */
    size_t headers_max, body_max;
};

/* Has `answer` called, with `ctx`, for each request on the listening socket `fd`, which is closed
 * when this fails. *out is the caller's to free with evhttp_free, also when it fails; NULL: none.
 */
CW_MUST_USE enum cw_err http_start(struct event_base *base, int fd,
                                   const struct http_limits *limits,
                                   void (*answer)(struct evhttp_request *req, void *ctx), void *ctx,
                                   struct evhttp **out, struct say *why);

/* Sends it, or an error when there is no memory for it; `req` is libevent's from then on. */
void http_reply(struct evhttp_request *req, const struct api_reply *reply);

/* Whether it was asked for by a name of this machine. A web page that the operator's browser has
 * open may have its own name point to this address, and read what comes back as its own; it cannot
 * choose another Host than that name. */
bool http_host_is_local(struct evhttp_request *req);

#endif
