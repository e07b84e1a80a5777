#include "bank/ocspd.h"

#include "bank/http.h"
#include "bank/listen.h"
#include "bank/log.h"
#include "host/base64.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX (3 * BASE64_LEN(OCSP_REQUEST_MAX) + 2048) /* a request in the path, escaped */

struct ocspd {
    struct ocsp *ocsp;
    struct evhttp *http;
};

/* GET has the request in its path: base64, escaped as URLs are. Nothing when it is none. */
static size_t take_path(struct evhttp_request *req, uint8_t out[OCSP_REQUEST_MAX])
{
    size_t text_len = 0, len = 0;
    const char *path = evhttp_request_get_uri(req);
    char *text = path[0] == '/' ? evhttp_uridecode(path + 1, 0, &text_len) : NULL;
    if (text == NULL || base64_decode(text, text_len, out, OCSP_REQUEST_MAX, &len) != CW_OK)
        len = 0;
    free(text);
    return len;
}

static size_t take_body(struct evhttp_request *req, uint8_t out[OCSP_REQUEST_MAX])
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t len = evbuffer_get_length(in);
    return len <= OCSP_REQUEST_MAX && evbuffer_copyout(in, out, len) == (ev_ssize_t)len ? len : 0;
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct ocspd *d = arg;
    uint8_t request[OCSP_REQUEST_MAX];
    struct api_reply reply = {.status = 200, .type = "application/ocsp-response", .route = "-"};
    int status = 0;
    bool get = evhttp_request_get_command(req) == EVHTTP_REQ_GET;
    size_t len = get ? take_path(req, request) : take_body(req, request);
    if (ocsp_answer(d->ocsp, request, len, &reply.body, &reply.body_len, &status) == CW_OK)
        http_reply(req, &reply);
    else
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
    log_event(LOG_DEBUG, "ocsp", log_number("status", status));
    api_reply_clear(&reply);
}

enum cw_err ocspd_new(struct event_base *base, struct bank *bank,
                      const struct ocspd_options *options, struct ocspd **out, struct say *why)
{
    int fd = -1;
    unsigned port = 0;
    const struct listen_at at = {options->listen, "ocsp", true};
    const struct http_limits limits = {EVHTTP_REQ_GET | EVHTTP_REQ_POST, HEADERS_MAX,
                                       2 * OCSP_REQUEST_MAX /* so that a larger one is answered */};
    struct ocspd *d = calloc(1, sizeof *d);
    if (d == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ocsp_new(bank, &d->ocsp, why);
    if (err == CW_OK)
        err = listen_on(&at, &fd, &port, why);
    if (err == CW_OK)
        err = http_start(base, fd, &limits, on_request, d, &d->http, why);
    if (err == CW_OK)
        err = listen_port_tell(options->port_file, port, why);
    if (err != CW_OK) {
        ocspd_free(&d);
        return err;
    }
    *out = d;
    return CW_OK;
}

void ocspd_free(struct ocspd **ocspd)
{
    struct ocspd *d = *ocspd;
    if (d == NULL)
        return;
    if (d->http != NULL)
        evhttp_free(d->http);
    ocsp_free(&d->ocsp);
    free(d);
    *ocspd = NULL;
}

void ocspd_renew(struct ocspd *ocspd)
{
    struct say why = {""};
    bool renewed = false;
    if (ocspd == NULL)
        return;
    enum cw_err err = ocsp_renew(ocspd->ocsp, &renewed, &why);
    if (renewed)
        log_event(LOG_INFO, "renewed", log_text("file", BANK_FILE_OCSP ".pem"));
    if (err != CW_OK)
        log_event(LOG_ERROR, "not-renewed", log_text("why", why.text));
}
