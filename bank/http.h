/* http.h - an API's reply as libevent's HTTP sends it. */
#ifndef CARDWIRE_BANK_HTTP_H
#define CARDWIRE_BANK_HTTP_H

#include "bank/api.h"

struct evhttp_request;

/* Sends it, or an error when there is no memory for it; `req` is libevent's from then on. */
void http_reply(struct evhttp_request *req, const struct api_reply *reply);

/* Whether it was asked for by a name of this machine. A web page that the operator's browser has
 * open may have its own name point to this address, and read what comes back as its own; it cannot
 * choose another Host than that name. */
bool http_host_is_local(struct evhttp_request *req);

#endif
