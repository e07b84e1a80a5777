#include "bank/tlsd.h"

#include "bank/tls.h"
#include "host/file.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A card on a slow line takes seconds for a handshake; nobody needs minutes. */
#define HANDSHAKE_SECONDS 60
#define IDLE_SECONDS      300 /* between two bytes of an open line */
#define HEADERS_MAX       8192
#define CONNECTIONS_MAX   4096
#define FILES_RESERVED    64 /* descriptors for everything but connections */

struct server {
    struct api api;
    struct tls *tls;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    size_t connections, connections_max;
};

/* One connection; lives with its SSL object (ex_data) and is freed with it. */
struct connection {
    struct server *server;
    SSL *ssl;
    struct event *timer; /* while shaking hands: its deadline; then: time to look at the result */
    bool done;           /* handshake finished */
    bool ready;          /* line is filled in */
    struct api_line line;
};

static int connection_index = -1;

/* ---- log ---- */

static void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void log_line(const char *format, ...)
{
    char text[512];
    uint8_t stamp[24] = {0};
    struct buf_writer w;
    va_list args;
    buf_writer_init(&w, stamp, sizeof stamp - 1);
    cal_put(&w, ledger_clock_system.now(NULL));
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s %s\n", (const char *)stamp, text);
}

/* ---- connections ---- */

static void connection_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl,
                            void *argp)
{
    struct connection *c = ptr;
    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (c == NULL)
        return;
    struct server *s = c->server;
    if (s->connections-- == s->connections_max && s->listener != NULL)
        evconnlistener_enable(s->listener);
    event_free(c->timer);
    free(c);
}

/* Fills in the line. Not from inside OpenSSL's callback: while that runs, it counts itself as still
 * shaking hands, and tells neither the exporter nor the extended master secret. */
static void look_at_line(struct connection *c)
{
    struct say why;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    int on = 1;
    if (tls_line_get(c->ssl, c->server->api.bank->ledger, &c->line, &why) != CW_OK) {
        log_line("handshake refused: %s", why.text);
        shutdown(SSL_get_fd(c->ssl), SHUT_RDWR);
        return;
    }
    /* Half of a small answer must not wait for the other half's acknowledgement. */
    setsockopt(SSL_get_fd(c->ssl), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->ready = true;
    bank_serial_text(c->line.card, serial);
    log_line("handshake card=%s profile=%s tls=%s suite=%s resumed=%d bound=%d", serial,
             c->line.profile, c->line.tls, c->line.suite, SSL_session_reused(c->ssl),
             c->line.bound);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;
    (void)fd, (void)what;
    if (c->done) {
        if (!c->ready)
            look_at_line(c);
        return;
    }
    log_line("handshake failed: not finished in %d s", HANDSHAKE_SECONDS);
    /* The event loop then sees the end of the stream and frees the connection. */
    shutdown(SSL_get_fd(c->ssl), SHUT_RDWR);
}

static void on_tls_info(const SSL *ssl, int where, int value)
{
    const struct timeval now = {0, 0};
    struct connection *c = SSL_get_ex_data(ssl, connection_index);
    if (c == NULL)
        return;
    if ((where & SSL_CB_ALERT) != 0 && (value & 0xFF) != SSL_AD_CLOSE_NOTIFY) {
        long verify = SSL_get_verify_result(ssl);
        log_line("alert %s: %s%s%s", (where & SSL_CB_READ) != 0 ? "received" : "sent",
                 SSL_alert_desc_string_long(value), verify != X509_V_OK ? ": " : "",
                 verify != X509_V_OK ? X509_verify_cert_error_string(verify) : "");
    } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0 && !c->done) {
        c->done = true;
        event_add(c->timer, &now);
    }
}

/* libevent would go on without TLS if this returned NULL: then there is a bufferevent whose
 * requests on_request refuses, because there is no SSL behind it. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct server *s = arg;
    const struct timeval limit = {HANDSHAKE_SECONDS, 0};
    struct connection *c = calloc(1, sizeof *c);
    SSL *ssl = SSL_new(s->tls->ctx);
    if (c == NULL || ssl == NULL) {
        free(c);
        SSL_free(ssl);
        return NULL;
    }
    c->server = s;
    c->ssl = ssl;
    c->timer = evtimer_new(base, on_timer, c);
    if (c->timer == NULL || event_add(c->timer, &limit) != 0 ||
        SSL_set_ex_data(ssl, connection_index, c) != 1) {
        if (c->timer != NULL)
            event_free(c->timer);
        free(c);
        SSL_free(ssl);
        return NULL;
    }
    /* Full: who comes next waits in the kernel's queue, instead of taking the last descriptors. */
    if (++s->connections == s->connections_max)
        evconnlistener_disable(s->listener);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL) {
        SSL_free(ssl);
        return NULL;
    }
    /* A card that is torn out never says close_notify; HTTP's own lengths tell a cut answer. */
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

/* libevent closes the socket without a word; the card wants to know that the end is in good order.
 */
static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct connection *c = arg;
    (void)evcon;
    if (SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    ERR_clear_error();
}

/* ---- requests ---- */

static struct connection *connection_of(struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    struct bufferevent *bev = evcon != NULL ? evhttp_connection_get_bufferevent(evcon) : NULL;
    SSL *ssl = bev != NULL ? bufferevent_openssl_get_ssl(bev) : NULL;
    return ssl != NULL ? SSL_get_ex_data(ssl, connection_index) : NULL;
}

static enum api_method method_of(struct evhttp_request *req)
{
    switch (evhttp_request_get_command(req)) {
    case EVHTTP_REQ_GET:
        return API_GET;
    case EVHTTP_REQ_POST:
        return API_POST;
    default:
        return API_OTHER;
    }
}

static void send_reply(struct evhttp_request *req, const struct api_reply *reply)
{
    struct evbuffer *body = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
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

static void on_request(struct evhttp_request *req, void *arg)
{
    struct server *s = arg;
    struct api_reply reply;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    struct connection *c = connection_of(req);
    if (c != NULL && c->done && !c->ready)
        look_at_line(c);
    if (c == NULL || !c->ready) {
        evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
        return;
    }
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, c);
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    struct api_request request = {
        .method = method_of(req),
        .target = evhttp_request_get_uri(req),
        .body_len = evbuffer_get_length(in),
    };
    request.body = request.body_len > 0 ? evbuffer_pullup(in, -1) : (const uint8_t *)"";
    if (api_serve(&s->api, &c->line, &request, &reply) != CW_OK) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }
    bank_serial_text(c->line.card, serial);
    log_line("request card=%s %s %s %d%s%s", serial,
             request.method == API_GET    ? "GET"
             : request.method == API_POST ? "POST"
                                          : "other",
             reply.route, reply.status, reply.problem != NULL ? " " : "",
             reply.problem != NULL ? reply.problem : "");
    send_reply(req, &reply);
    api_reply_clear(&reply);
    ERR_clear_error(); /* what is left in the queue would be taken for an error of the next record
                        */
}

/* ---- listening ---- */

static enum cw_err split_address(const char *text, char host[256], char port[8], struct say *why)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    const char *start = text;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        start++;
        len -= 2;
    }
    bool digits = colon != NULL && colon[1] != '\0' && strlen(colon + 1) <= 5;
    for (const char *p = digits ? colon + 1 : ""; *p != '\0'; p++)
        digits = digits && *p >= '0' && *p <= '9';
    if (!digits || len == 0 || len > 255 || strtoul(colon + 1, NULL, 10) > 65535)
        return say_fail(why, CW_ERR_ARG,
                        "'%.80s' is no address to listen on; write HOST:PORT, as 127.0.0.1:8443",
                        text);
    memcpy(host, start, len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return CW_OK;
}

static int bind_one(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static enum cw_err listen_on(const char *text, int *out, unsigned *port, struct say *why)
{
    char host[256], service[8];
    struct addrinfo *list = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct sockaddr_storage bound = {0};
    socklen_t bound_len = sizeof bound;
    enum cw_err err = split_address(text, host, service, why);
    if (err != CW_OK)
        return err;
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return say_fail(why, CW_ERR_NOT_FOUND, "cannot listen on %.80s: %s", text,
                        gai_strerror(rc));
    int fd = bind_one(list);
    freeaddrinfo(list);
    if (fd < 0 && errno == EADDRINUSE)
        return say_fail(why, CW_ERR_BUSY,
                        "%.80s is taken by another program; choose another port with --listen",
                        text);
    if (fd < 0)
        return say_fail(why, CW_ERR_IO, "cannot listen on %.80s: %s", text, strerror(errno));
    if (getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0) {
        close(fd);
        return say_fail(why, CW_ERR_IO, "cannot tell the port: %s", strerror(errno));
    }
    *port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)&bound)->sin_port);
    *out = fd;
    return CW_OK;
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(arg);
}

static enum cw_err make_http(struct server *s, int fd, struct say *why)
{
    struct rlimit files;
    s->http = evhttp_new(s->base);
    struct evhttp_bound_socket *bound =
        s->http != NULL ? evhttp_accept_socket_with_handle(s->http, fd) : NULL;
    if (bound == NULL) {
        close(fd);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    s->listener = evhttp_bound_socket_get_listener(bound);
    s->connections_max = CONNECTIONS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < CONNECTIONS_MAX + FILES_RESERVED)
        s->connections_max =
            files.rlim_cur > 2 * FILES_RESERVED ? files.rlim_cur - FILES_RESERVED : FILES_RESERVED;
    evhttp_set_bevcb(s->http, on_accept, s);
    evhttp_set_gencb(s->http, on_request, s);
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
    int fd;
    unsigned port;
    char text[16];
    enum cw_err err = listen_on(o->listen, &fd, &port, why);
    if (err != CW_OK || (err = make_http(s, fd, why)) != CW_OK)
        return err;
    struct event *term = evsignal_new(s->base, SIGTERM, on_signal, s->base);
    struct event *interrupt = evsignal_new(s->base, SIGINT, on_signal, s->base);
    if (term == NULL || interrupt == NULL || event_add(term, NULL) != 0 ||
        event_add(interrupt, NULL) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot wait for signals");
    if (err == CW_OK && o->port_file != NULL) {
        int n = snprintf(text, sizeof text, "%u\n", port);
        err = file_write(o->port_file, text, (size_t)n, 0644, why);
    }
    if (err == CW_OK) {
        log_line("listening on %.80s, port %u", o->listen, port);
        if (event_base_dispatch(s->base) != 0)
            err = say_fail(why, CW_ERR_IO, "the event loop failed");
        log_line("stopped");
    }
    if (term != NULL)
        event_free(term);
    if (interrupt != NULL)
        event_free(interrupt);
    return err;
}

enum cw_err tlsd_run(struct bank *bank, const struct tlsd_options *options, struct say *why)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    api_init(&s->api, bank);
    signal(SIGPIPE, SIG_IGN);
    if (connection_index < 0)
        connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, connection_free);
    enum cw_err err = tls_new(bank, options->insecure_keylog, &s->tls, why);
    if (err == CW_OK && (connection_index < 0 || (s->base = event_base_new()) == NULL))
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK) {
        SSL_CTX_set_info_callback(s->tls->ctx, on_tls_info);
        err = run(s, options, why);
    }
    s->listener = NULL; /* evhttp_free takes it away before the connections */
    if (s->http != NULL)
        evhttp_free(s->http); /* closes the lines: on_close says so to each card */
    if (s->base != NULL)
        event_base_free(s->base);
    tls_free(&s->tls);
    api_clear(&s->api);
    free(s);
    return err;
}
