#include "bank/ops.h"

#include "bank/api_json.h"
#include "bank/http.h"
#include "bank/listen.h"
#include "bank/log.h"
#include "bank/metrics.h"

#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 8192
#define BODY_MAX    1024

struct ops {
    struct bank *bank;
    struct metrics *metrics;
    struct evhttp *http;
    bool draining;
    bool anywhere;
};

enum cw_err ops_reply(struct api_reply *reply, int status, const char *type, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return CW_ERR_SPACE;
    api_reply_text(reply, status, copy);
    reply->type = type;
    return CW_OK;
}

/* ---- routes ---- */

static enum cw_err healthz_get(struct ops_call *c, struct api_reply *reply)
{
    (void)c;
    return ops_reply(reply, 200, "text/plain", "alive\n");
}

/* Whether cards are to be sent here: 503 takes this server out of the balancer. */
static enum cw_err readyz_get(struct ops_call *c, struct api_reply *reply)
{
    struct say why;
    if (c->ops->draining)
        return ops_reply(reply, 503, "text/plain", "draining\n");
    if (ledger_writable(c->bank->ledger, &why) != CW_OK) {
        log_event(LOG_ERROR, "not-ready", log_text("why", why.text));
        metrics_store_error(c->metrics, METRICS_READY);
        return ops_reply(reply, 503, "text/plain", "the books cannot be written\n");
    }
    return ops_reply(reply, 200, "text/plain", "ready\n");
}

static enum cw_err metrics_get(struct ops_call *c, struct api_reply *reply)
{
    char *text = metrics_text(c->metrics, ledger_now(c->bank->ledger));
    if (text == NULL)
        return CW_ERR_SPACE;
    api_reply_text(reply, 200, text);
    reply->type = "text/plain; version=0.0.4; charset=utf-8";
    return CW_OK;
}

/* '*' stands for one segment, which the handler finds in the call. */
static const struct ops_route {
    const char *path;
    enum cw_err (*serve)(struct ops_call *call, struct api_reply *reply);
} routes[] = {
    {"/healthz", healthz_get},
    {"/readyz", readyz_get},
    {"/metrics", metrics_get},
};

static enum cw_err dispatch(struct ops_call *c, struct api_reply *reply)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (api_path_match(routes[i].path, c->path, strlen(c->path), c->segment)) {
            reply->route = routes[i].path;
            return routes[i].serve(c, reply);
        }
    return ops_reply(reply, 404, "text/plain", "there is nothing of that name\n");
}

/* ---- requests ---- */

static void answer(struct ops *o, struct evhttp_request *req, struct api_reply *reply)
{
    struct ops_call call = {.ops = o, .bank = o->bank, .metrics = o->metrics};
    const char *target = evhttp_request_get_uri(req);
    size_t len = strcspn(target, "?");
    char *path = strndup(target, len);
    call.path = path;
    call.query = target[len] == '?' ? target + len + 1 : "";
    enum cw_err err = path == NULL ? CW_ERR_SPACE
                      : !o->anywhere && !http_host_is_local(req)
                          ? ops_reply(reply, 421, "text/plain", "ask for it by its address\n")
                          : dispatch(&call, reply);
    /* The path that was asked for may say anything: what it is one of is logged. */
    log_event(LOG_DEBUG, "ops", log_text("route", reply->route),
              log_number("status", reply->status));
    if (err == CW_OK)
        http_reply(req, reply);
    else
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
    free(path);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct api_reply reply = {.route = "-"};
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    /* What is shown here runs nothing and is shown nowhere else. */
    evhttp_add_header(headers, "Content-Security-Policy",
                      "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
                      "base-uri 'none'; frame-ancestors 'none'");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    answer(arg, req, &reply);
    api_reply_clear(&reply);
}

/* ---- listening ---- */

enum cw_err ops_new(struct event_base *base, struct bank *bank, struct metrics *metrics,
                    const struct ops_options *options, struct ops **out, struct say *why)
{
    int fd = -1;
    unsigned port = 0;
    const struct listen_at at = {options->listen, "ops", !options->anywhere};
    struct ops *o = calloc(1, sizeof *o);
    if (o == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    o->bank = bank;
    o->metrics = metrics;
    o->anywhere = options->anywhere;
    const struct http_limits limits = {EVHTTP_REQ_GET, HEADERS_MAX, BODY_MAX};
    enum cw_err err = listen_on(&at, &fd, &port, why);
    if (err == CW_OK)
        err = http_start(base, fd, &limits, on_request, o, &o->http, why);
    if (err == CW_OK)
        err = listen_port_tell(options->port_file, port, why);
    if (err != CW_OK) {
        ops_free(&o);
        return err;
    }
    *out = o;
    return CW_OK;
}

void ops_free(struct ops **ops)
{
    if (*ops != NULL && (*ops)->http != NULL)
        evhttp_free((*ops)->http);
    free(*ops);
    *ops = NULL;
}

void ops_drain(struct ops *ops)
{
    if (ops != NULL)
        ops->draining = true;
}
