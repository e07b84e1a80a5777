#include "bank/tlsd.h"

#include "bank/lobby.h"
#include "bank/renew.h"
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

#define IDLE_SECONDS   300 /* between two bytes of an open line */
#define HEADERS_MAX    8192
#define RENEW_SECONDS  3600 /* between two looks at the server's certificates */
#define FILES_RESERVED 64   /* descriptors for everything but connections */

struct server {
    struct api api;
    struct tls *tls;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    size_t connections, connections_max;
    size_t waiting_per_source;
    struct lobby lobby; /* connections that shake hands */
};

/* One connection; lives with its SSL object (ex_data) and is freed with it. */
struct connection {
    struct server *server;
    SSL *ssl;
    struct event
        *timer; /* while shaking hands: its next deadline; then: time to look at the result */
    struct lobby_guest guest;
    bool done; /* handshake finished */
    bool turned_out;
    bool ready; /* line is filled in */
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
    lobby_leave(&s->lobby, &c->guest);
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

/* ---- shaking hands ---- */

/* The event loop then sees the end of the stream and frees the connection. */
static void turn_out(struct connection *c, const char *reason)
{
    log_line("handshake failed: %s", reason);
    lobby_leave(&c->server->lobby, &c->guest);
    c->turned_out = true;
    shutdown(SSL_get_fd(c->ssl), SHUT_RDWR); /* without a socket yet: meet_guest does it */
}

/* Turns out whoever has shown least: first who never sent a ClientHello, then the oldest. */
static void make_room(struct server *s, const struct lobby_source *of,
                      const struct lobby_guest *newcomer, const char *reason)
{
    struct lobby_guest *g = lobby_least(&s->lobby, of, newcomer);
    if (g != NULL)
        turn_out(g->owner, reason);
}

static void wait_on(struct connection *c, enum lobby_stage stage, int seconds)
{
    const struct timeval limit = {seconds, 0};
    c->guest.stage = stage;
    event_add(c->timer, &limit);
}

/* Only now is the socket known: libevent puts it in after on_accept. */
static void meet_guest(struct connection *c)
{
    struct server *s = c->server;
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    int fd = SSL_get_fd(c->ssl);
    if (c->turned_out) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
        lobby_source_set(&c->guest.source, (const struct sockaddr *)&peer);
    wait_on(c, LOBBY_SILENT, TLSD_BYTE_SECONDS);
    if (lobby_count(&s->lobby, &c->guest.source) > s->waiting_per_source)
        make_room(s, &c->guest.source, &c->guest, "too many of one address");
}

/* A ClientHello is whole: from here on a slow card may take its time. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct connection *c = SSL_get_ex_data(ssl, connection_index);
    (void)alert, (void)arg;
    if (c != NULL && c->guest.stage == LOBBY_NEW)
        meet_guest(c);
    if (c != NULL && !c->done && c->guest.stage < LOBBY_TALKING)
        wait_on(c, LOBBY_TALKING, TLSD_HANDSHAKE_SECONDS);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static void on_deadline(struct connection *c)
{
    switch (c->guest.stage) {
    case LOBBY_NEW:
        meet_guest(c);
        break;
    case LOBBY_SILENT:
        if (BIO_number_read(SSL_get_rbio(c->ssl)) > 0)
            wait_on(c, LOBBY_HEARD, TLSD_HELLO_SECONDS - TLSD_BYTE_SECONDS);
        else
            turn_out(c, "silent");
        break;
    case LOBBY_HEARD:
        turn_out(c, "no ClientHello in time");
        break;
    case LOBBY_TALKING:
        turn_out(c, "not finished in time");
        break;
    }
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
    on_deadline(c);
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
        lobby_leave(&c->server->lobby, &c->guest);
        event_add(c->timer, &now);
    }
}

/* libevent would go on without TLS if this returned NULL: then there is a bufferevent whose
 * requests on_request refuses, because there is no SSL behind it. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct server *s = arg;
    const struct timeval limit = {0, 0}; /* meet_guest, in the next round of the loop */
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
    c->guest.owner = c;
    lobby_enter(&s->lobby, &c->guest);
    /* Full: whoever has not finished the handshake makes room. It leaves in the next round of the
     * loop; until then, and when all are cards with a line, who comes next waits in the kernel's
     * queue instead of taking the last descriptors. */
    if (++s->connections == s->connections_max)
        evconnlistener_disable(s->listener);
    if (s->connections + s->connections_max / 16 >= s->connections_max)
        make_room(s, NULL, &c->guest, "full");
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

static void say_renewed(enum cw_err err, unsigned count, const struct say *why)
{
    if (count > 0)
        log_line("%u server certificates were renewed", count);
    if (err != CW_OK)
        log_line("the server's certificates cannot be renewed: %s", why->text);
}

/* Every hour, and at SIGHUP: what fails is said, and the server goes on with what it has. */
static void renew(struct server *s)
{
    struct say why = {""};
    unsigned count = 0;
    enum cw_err err = tls_renew(s->tls, &count, &why);
    say_renewed(err, count, &why);
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

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    if (what & EV_SIGNAL)
        log_line("looking at the server's certificates");
    renew(arg);
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
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
        files.rlim_cur < s->connections_max + FILES_RESERVED)
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
    int fd = -1;
    unsigned port = 0;
    char text[16];
    enum cw_err err = listen_on(o->listen, &fd, &port, why);
    if (err != CW_OK || (err = make_http(s, fd, why)) != CW_OK)
        return err;
    static const struct timeval hour = {RENEW_SECONDS, 0};
    struct event *events[] = {
        evsignal_new(s->base, SIGTERM, on_signal, s->base),
        evsignal_new(s->base, SIGINT, on_signal, s->base),
        evsignal_new(s->base, SIGHUP, on_hangup, s),
        event_new(s->base, -1, EV_PERSIST, on_hangup, s),
    };
    const size_t count = sizeof events / sizeof events[0];
    for (size_t i = 0; i < count && err == CW_OK; i++)
        if (events[i] == NULL || event_add(events[i], i + 1 == count ? &hour : NULL) != 0)
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
    for (size_t i = 0; i < count; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    return err;
}

enum cw_err tlsd_run(struct bank *bank, const struct tlsd_options *options, struct say *why)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    api_init(&s->api, bank);
    s->api.limiter.per_minute[LIMITER_REQUEST] = options->requests_per_minute;
    s->api.limiter.per_minute[LIMITER_PAYMENT] = options->payments_per_minute;
    s->connections_max = options->lines_max > 0 ? options->lines_max : TLSD_LINES_MAX;
    s->waiting_per_source =
        options->waiting_per_source > 0 ? options->waiting_per_source : TLSD_WAITING_PER_SOURCE;
    signal(SIGPIPE, SIG_IGN);
    if (connection_index < 0)
        connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, connection_free);
    renew_first(bank);
    enum cw_err err = tls_new(bank, options->insecure_keylog, &s->tls, why);
    if (err == CW_OK && (connection_index < 0 || (s->base = event_base_new()) == NULL))
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK) {
        SSL_CTX_set_info_callback(s->tls->ctx, on_tls_info);
        SSL_CTX_set_client_hello_cb(s->tls->ctx, on_client_hello, NULL);
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
