/* http.h - an API's reply as libevent's HTTP sends it. */
#ifndef CARDWIRE_BANK_HTTP_H
#define CARDWIRE_BANK_HTTP_H

#include "bank/api.h"

struct evhttp_request;

/* Sends it, or an error when there is no memory for it; `req` is libevent's from then on. */
void http_reply(struct evhttp_request *req, const struct api_reply *reply);

#endif
