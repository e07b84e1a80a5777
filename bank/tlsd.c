/* tlsd.c - the lines: handshakes and requests. tlsd_run.c starts and ends them. */
#include "bank/http.h"
#include "bank/log.h"
#include "bank/tlsd_lines.h"
#include "host/clock.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

static int connection_index = -1;

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
    LIST_REMOVE(c, entry);
    api_leave(&s->api, c);
    metrics_disconnected(&s->metrics, c->ready        ? METRICS_LINE
                                      : c->turned_out ? METRICS_TURNED_OUT
                                                      : METRICS_FAILED);
    if (--s->connections < s->connections_max && s->listener != NULL)
        evconnlistener_enable(s->listener);
    if (s->draining && LIST_EMPTY(&s->all))
        event_base_loopbreak(s->base);
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
        log_event(LOG_WARN, "refused", log_text("why", why.text));
        shutdown(SSL_get_fd(c->ssl), SHUT_RDWR);
        return;
    }
    /* Half of a small answer must not wait for the other half's acknowledgement. */
    setsockopt(SSL_get_fd(c->ssl), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->ready = true;
    metrics_handshake(&c->server->metrics, c->line.profile, SSL_session_reused(c->ssl) == 1);
    bank_serial_text(c->line.card, serial);
    log_event(LOG_INFO, "handshake", log_text("card", serial), log_text("profile", c->line.profile),
              log_text("tls", c->line.tls), log_text("suite", c->line.suite),
              log_number("resumed", SSL_session_reused(c->ssl)),
              log_number("bound", c->line.bound));
}

/* ---- shaking hands ---- */

/* The event loop then sees the end of the stream and frees the connection. */
static void turn_out(struct connection *c, const char *reason)
{
    log_event(LOG_INFO, "turned-out", log_text("why", reason));
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

/* In good order: the card learns that nothing was cut off. */
static void end_idle(struct connection *c)
{
    if (c->busy || c->turned_out)
        return;
    if (!c->done) {
        turn_out(c, "draining");
        return;
    }
    SSL_shutdown(c->ssl);
    ERR_clear_error();
    shutdown(SSL_get_fd(c->ssl), SHUT_RDWR);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct connection *c = arg;
    (void)fd, (void)what;
    if (c->done) {
        if (!c->ready)
            look_at_line(c);
        if (c->server->draining)
            end_idle(c);
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
        log_event(
            LOG_INFO, "alert", log_text("by", (where & SSL_CB_READ) != 0 ? "card" : "bank"),
            log_text("alert", SSL_alert_desc_string_long(value)),
            log_text("why", verify != X509_V_OK ? X509_verify_cert_error_string(verify) : NULL));
    } else if ((where & SSL_CB_HANDSHAKE_DONE) != 0 && !c->done) {
        c->done = true;
        lobby_leave(&c->server->lobby, &c->guest);
        event_add(c->timer, &now);
    }
}

static void on_bytes(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
    struct connection *c = arg;
    (void)in;
    if (info->n_added > 0)
        c->busy = true;
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
    LIST_INSERT_HEAD(&s->all, c, entry);
    metrics_connected(&s->metrics);
    if (++s->connections >= s->connections_max)
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
    if (evbuffer_add_cb(bufferevent_get_input(bev), on_bytes, c) == NULL) {
        bufferevent_free(bev); /* and the connection */
        return NULL;
    }
    return bev;
}

/* libevent closes the socket without a word; the card wants to know that the end is in good order.
 */
static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct connection *c = arg;
    (void)evcon;
    if (c->waiting != NULL)
        api_leave(&c->server->api, c);
    c->waiting = NULL;
    if (SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    ERR_clear_error();
}

/* ---- requests ---- */

/* All of the answer is on its way. What is there already is the beginning of the next request. */
static void on_answered(struct evhttp_request *req, void *arg)
{
    const struct timeval now = {0, 0};
    struct connection *c = arg;
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
    c->busy = evbuffer_get_length(bufferevent_get_input(bev)) > 0;
    if (c->server->draining)
        event_add(c->timer, &now);
}

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

static void answer(struct connection *c, struct evhttp_request *req, enum api_method method,
                   const struct api_reply *reply, uint64_t start)
{
    char serial[2 * ORDER_SERIAL_LEN + 1];
    if (c->server->draining)
        evhttp_add_header(evhttp_request_get_output_headers(req), "Connection", "close");
    if (reply == NULL) {
        evhttp_send_error(req, HTTP_INTERNAL, NULL);
        return;
    }
    bank_serial_text(c->line.card, serial);
    log_event(LOG_INFO, "request", log_text("card", serial),
              log_text("method", metrics_method_name(method)), log_text("route", reply->route),
              log_number("status", reply->status), log_text("problem", reply->problem));
    metrics_request(&c->server->metrics, method, reply, clock_ns() - start);
    http_reply(req, reply);
}

/* ---- orders that wait for each other ---- */

static void answer_later(void *owner, const struct api_reply *reply)
{
    struct connection *c = owner;
    struct evhttp_request *req = c->waiting;
    c->waiting = NULL;
    answer(c, req, API_POST, reply, c->start);
}

static void commit(struct server *s)
{
    event_del(s->idle);
    event_del(s->late);
    api_commit(&s->api, answer_later);
    ERR_clear_error();
}

static void on_commit(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    commit(arg);
}

static void wait_for_others(struct connection *c, struct evhttp_request *req, uint64_t start)
{
    const struct timeval limit = {0, TLSD_WAIT_US};
    struct server *s = c->server;
    c->waiting = req;
    c->start = start;
    if (api_full(&s->api)) {
        commit(s);
        return;
    }
    event_active(s->idle, EV_TIMEOUT, 0);
    if (!event_pending(s->late, EV_TIMEOUT, NULL))
        event_add(s->late, &limit);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct server *s = arg;
    struct api_reply reply;
    uint64_t start = clock_ns();
    struct connection *c = connection_of(req);
    if (c != NULL)
        evhttp_request_set_on_complete_cb(req, on_answered, c);
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
    bool good = api_take(&s->api, &c->line, &request, c, &reply) == CW_OK;
    if (good && reply.later)
        wait_for_others(c, req, start);
    else
        answer(c, req, request.method, good ? &reply : NULL, start);
    api_reply_clear(&reply);
    ERR_clear_error(); /* what is left in the queue would be taken for an error of the next record
                        */
}

/* ---- all of them ---- */

enum cw_err tlsd_lines_start(struct server *s, struct say *why)
{
    if (connection_index < 0)
        connection_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, connection_free);
    if (connection_index < 0)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    LIST_INIT(&s->all);
    s->idle = event_new(s->base, -1, 0, on_commit, s);
    s->late = event_new(s->base, -1, 0, on_commit, s);
    if (s->idle == NULL || s->late == NULL ||
        event_priority_set(s->idle, TLSD_PRIORITIES - 1) != 0 ||
        event_priority_set(s->late, 0) != 0)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    SSL_CTX_set_info_callback(s->tls->ctx, on_tls_info);
    SSL_CTX_set_client_hello_cb(s->tls->ctx, on_client_hello, NULL);
    evhttp_set_bevcb(s->http, on_accept, s);
    evhttp_set_gencb(s->http, on_request, s);
    return CW_OK;
}

void tlsd_lines_end_idle(struct server *s)
{
    struct connection *c;
    LIST_FOREACH(c, &s->all, entry)
    end_idle(c);
}
