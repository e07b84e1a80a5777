/* dashboard_http.c - the dashboard's own listener, in a process of its own: what a browser sends
 * here cannot reach the server that cards speak with, and a slow page makes no payment wait. */
#include "bank/dashboard.h"

#include "bank/http.h"
#include "bank/listen.h"
#include "bank/log.h"
#include "bank/ops.h"

#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 8192
#define BODY_MAX    1024

struct server {
    struct dashboard *dashboard;
    struct event_base *base;
    struct evhttp *http;
};

/* An answer to HEAD says how long the page is, and has none (RFC 9110 §9.3.2); libevent would send
 * it, and not say so. */
static void send_reply(struct evhttp_request *req, struct api_reply *reply)
{
    char length[24];
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        snprintf(length, sizeof length, "%zu", reply->body_len);
        evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", length);
        reply->body_len = 0;
    }
    http_reply(req, reply);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct server *s = arg;
    struct api_reply reply = {0};
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    for (const struct dashboard_header *h = dashboard_headers; h->name != NULL; h++)
        evhttp_add_header(headers, h->name, h->value);
    enum cw_err err = http_host_is_local(req)
                          ? dashboard_serve(s->dashboard, evhttp_request_get_uri(req), &reply)
                          : ops_reply(&reply, 421, "text/plain", "ask for it by its address\n");
    if (err == CW_OK)
        send_reply(req, &reply);
    else
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
    api_reply_clear(&reply);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static enum cw_err run(struct server *s, const struct dashboard_options *o, struct say *why)
{
    int fd = -1;
    unsigned port = 0;
    const struct listen_at at = {o->listen, "listen", true};
    const struct http_limits limits = {EVHTTP_REQ_GET | EVHTTP_REQ_HEAD, HEADERS_MAX, BODY_MAX};
    struct event *events[] = {
        evsignal_new(s->base, SIGTERM, on_signal, s->base),
        evsignal_new(s->base, SIGINT, on_signal, s->base),
    };
    const size_t count = sizeof events / sizeof events[0];
    enum cw_err err = listen_on(&at, &fd, &port, why);
    if (err == CW_OK)
        err = http_start(s->base, fd, &limits, on_request, s, &s->http, why);
    for (size_t i = 0; i < count && err == CW_OK; i++)
        if (events[i] == NULL || event_add(events[i], NULL) != 0)
            err = say_fail(why, CW_ERR_IO, "cannot wait for signals");
    if (err == CW_OK)
        err = listen_port_tell(o->port_file, port, why);
    if (err == CW_OK) {
        log_event(LOG_INFO, "listening", log_text("dashboard", o->listen),
                  log_number("port", (int64_t)port));
        if (event_base_dispatch(s->base) != 0)
            err = say_fail(why, CW_ERR_IO, "the event loop failed");
    }
    for (size_t i = 0; i < count; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    return err;
}

enum cw_err dashboard_run(struct bank *bank, const struct dashboard_options *options,
                          struct say *why)
{
    struct server s = {0};
    signal(SIGPIPE, SIG_IGN);
    enum cw_err err = dashboard_new(bank, &s.dashboard, why);
    if (err == CW_OK && (s.base = event_base_new()) == NULL)
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK)
        err = run(&s, options, why);
    if (s.http != NULL)
        evhttp_free(s.http);
    if (s.base != NULL)
        event_base_free(s.base);
    dashboard_free(&s.dashboard);
    return err;
}
