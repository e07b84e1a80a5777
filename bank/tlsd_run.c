/* tlsd_run.c - the server from its start to its end: settings, certificates, signals. */
#include "bank/tlsd_lines.h"

#include "bank/ca.h"
#include "bank/listen.h"
#include "bank/log.h"
#include "bank/manager.h"
#include "bank/renew.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define IDLE_SECONDS   300 /* between two bytes of an open line */
#define HEADERS_MAX    8192
#define RENEW_SECONDS  3600 /* between two looks at the server's certificates */
#define FILES_RESERVED 64   /* descriptors for everything but connections */

/* The system's limit of open files may leave less than what is asked for. */
static void set_limits(struct server *s, const struct tlsd_options *o)
{
    struct rlimit files;
    s->connections_max = o->lines_max > 0 ? o->lines_max : TLSD_LINES_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
        files.rlim_cur < s->connections_max + FILES_RESERVED)
        s->connections_max =
            files.rlim_cur > 2 * FILES_RESERVED ? files.rlim_cur - FILES_RESERVED : FILES_RESERVED;
    s->waiting_per_source =
        o->waiting_per_source > 0 ? o->waiting_per_source : TLSD_WAITING_PER_SOURCE;
    s->drain_seconds = o->drain_seconds;
    s->api.limiter.per_minute[LIMITER_REQUEST] = o->requests_per_minute;
    s->api.limiter.per_minute[LIMITER_PAYMENT] = o->payments_per_minute;
    if (s->listener != NULL)
        (s->connections < s->connections_max ? evconnlistener_enable
                                             : evconnlistener_disable)(s->listener);
}

static void on_bound(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

/* Nobody is let in any more; who is asking gets the answer; the loop ends with the last line, or
 * when the time for that is over. */
static void drain(struct server *s)
{
    const struct timeval bound = {s->drain_seconds, 0};
    log_event(LOG_INFO, "draining", log_number("lines", (int64_t)s->connections),
              log_number("seconds", s->drain_seconds));
    manager_tell("STOPPING=1");
    s->draining = s->metrics.draining = true;
    ops_drain(s->ops);
    s->listener = NULL;
    evhttp_del_accept_socket(s->http, s->bound);
    tlsd_lines_end_idle(s);
    if (LIST_EMPTY(&s->all) || s->drain_seconds == 0 ||
        event_base_once(s->base, -1, EV_TIMEOUT, on_bound, s->base, &bound) != 0)
        event_base_loopbreak(s->base);
}

/* The second ends at once. */
static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    (void)fd, (void)what;
    if (s->draining)
        event_base_loopbreak(s->base);
    else
        drain(s);
}

static void say_renewed(enum cw_err err, unsigned count, const struct say *why)
{
    if (count > 0)
        log_event(LOG_INFO, "renewed", log_number("certificates", count));
    if (err != CW_OK)
        log_event(LOG_ERROR, "not-renewed", log_text("why", why->text));
}

/* Those that the server shows, whatever is in the files. */
static void tell_certificates(struct server *s)
{
    SSL_CTX *ctx = s->tls->ctx;
    long more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
    for (; more == 1; more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT)) {
        const X509 *cert = SSL_CTX_get0_certificate(ctx);
        metrics_certificate(&s->metrics,
                            EVP_PKEY_is_a(X509_get0_pubkey(cert), "RSA") ? "rsa2048" : "p256",
                            ca_seconds(X509_get0_notAfter(cert)));
    }
}

/* Every hour, and at SIGHUP: what fails is said, and the server goes on with what it has. */
static void renew(struct server *s)
{
    struct say why = {""};
    unsigned count = 0;
    enum cw_err err = tls_renew(s->tls, &count, &why);
    say_renewed(err, count, &why);
    ocspd_renew(s->ocspd);
    tell_certificates(s);
}

/* A server that was off for long renews before it starts, and starts all the same when it cannot
 * but its certificates are good. */
static void renew_first(struct bank *bank)
{
    struct say why = {""};
    unsigned count = 0;
    enum cw_err err = renew_server(bank, &count, &why);
    say_renewed(err, count, &why);
}

/* What cannot be read leaves the settings as they were. */
static void reload(struct server *s)
{
    struct say why = {""};
    struct tlsd_options now = *s->options;
    log_event(LOG_INFO, "reload", log_text("by", "SIGHUP"));
    if (now.reload == NULL)
        return;
    if (now.reload(now.ctx, &now, &why) == CW_OK)
        set_limits(s, &now);
    else
        log_event(LOG_ERROR, "not-reloaded", log_text("why", why.text));
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    if (what & EV_SIGNAL)
        reload(arg);
    renew(arg);
}

static enum cw_err make_http(struct server *s, int fd, struct say *why)
{
    s->http = evhttp_new(s->base);
    s->bound = s->http != NULL ? evhttp_accept_socket_with_handle(s->http, fd) : NULL;
    if (s->bound == NULL) {
        close(fd);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    s->listener = evhttp_bound_socket_get_listener(s->bound);
    set_limits(s, s->options);
    evhttp_set_timeout(s->http, IDLE_SECONDS);
    evhttp_set_max_headers_size(s->http, HEADERS_MAX);
    /* Above the API's own limit, so that a body a little too large still gets its problem. */
    evhttp_set_max_body_size(s->http, 8 * API_BODY_MAX);
    /* Most of them, so that the API answers, and not libevent; not HEAD and CONNECT, whose answers
     * have another form. */
    evhttp_set_allowed_methods(s->http, 0xFFFF & ~(EVHTTP_REQ_HEAD | EVHTTP_REQ_CONNECT));
    return CW_OK;
}

static enum cw_err run(struct server *s, const struct tlsd_options *o, struct say *why)
{
    int fd = -1;
    unsigned port = 0;
    const struct listen_at at = {o->listen, "listen", false};
    enum cw_err err = listen_inherited(&fd, &port, why);
    bool inherited = err == CW_OK;
    if (err == CW_ERR_NOT_FOUND)
        err = listen_on(&at, &fd, &port, why);
    if (err == CW_OK)
        err = make_http(s, fd, why);
    if (err == CW_OK)
        err = tlsd_lines_start(s, why);
    if (err == CW_OK && o->ops.listen != NULL)
        err = ops_new(s->base, s->api.bank, &s->metrics, &o->ops, &s->ops, why);
    if (err == CW_OK && o->ocsp.listen != NULL)
        err = ocspd_new(s->base, s->api.bank, &o->ocsp, &s->ocspd, why);
    if (err != CW_OK)
        return err;
    static const struct timeval hour = {RENEW_SECONDS, 0};
    struct event *events[] = {
        evsignal_new(s->base, SIGTERM, on_signal, s),
        evsignal_new(s->base, SIGINT, on_signal, s),
        evsignal_new(s->base, SIGHUP, on_hangup, s),
        event_new(s->base, -1, EV_PERSIST, on_hangup, s),
    };
    const size_t count = sizeof events / sizeof events[0];
    for (size_t i = 0; i < count && err == CW_OK; i++)
        if (events[i] == NULL || event_add(events[i], i + 1 == count ? &hour : NULL) != 0)
            err = say_fail(why, CW_ERR_IO, "cannot wait for signals");
    if (err == CW_OK)
        err = listen_port_tell(o->port_file, port, why);
    if (err == CW_OK) {
        log_event(LOG_INFO, "listening",
                  log_text("on", inherited ? "the manager's socket" : o->listen),
                  log_number("port", port));
        manager_tell("READY=1");
        if (event_base_dispatch(s->base) != 0)
            err = say_fail(why, CW_ERR_IO, "the event loop failed");
        log_event(LOG_INFO, "stopped", log_number("lines", (int64_t)s->connections));
    }
    for (size_t i = 0; i < count; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    return err;
}

/* Changes of what is waited for are told to the kernel together, which libevent's HTTP has many of:
 * allowed where no descriptor is waited for twice (event2/event.h). */
static struct event_base *make_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
        base = event_base_new_with_config(config);
    if (config != NULL)
        event_config_free(config);
    return base;
}

enum cw_err tlsd_run(struct bank *bank, const struct tlsd_options *options, struct say *why)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    api_init(&s->api, bank);
    s->api.metrics = &s->metrics;
    s->metrics.started = ledger_now(bank->ledger);
    s->options = options;
    signal(SIGPIPE, SIG_IGN);
    renew_first(bank);
    enum cw_err err = tls_new(bank, options->insecure_keylog, &s->tls, why);
    if (err == CW_OK && ((s->base = make_base()) == NULL ||
                         event_base_priority_init(s->base, TLSD_PRIORITIES) != 0))
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK) {
        s->tls->metrics = &s->metrics;
        tell_certificates(s);
        err = run(s, options, why);
    }
    s->listener = NULL; /* evhttp_free takes it away before the connections */
    if (s->http != NULL)
        evhttp_free(s->http); /* closes the lines: on_close says so to each card */
    ops_free(&s->ops);
    ocspd_free(&s->ocspd);
    if (s->idle != NULL)
        event_free(s->idle);
    if (s->late != NULL)
        event_free(s->late);
    if (s->base != NULL)
        event_base_free(s->base);
    tls_free(&s->tls);
    api_clear(&s->api);
    free(s);
    return err;
}
