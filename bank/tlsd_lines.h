/* tlsd_lines.h - what the two halves of the server share: tlsd.c, which has the lines and their
 * requests, and tlsd_run.c, which starts, reloads and stops it all. Not for anybody else. */
#ifndef CARDWIRE_BANK_TLSD_LINES_H
#define CARDWIRE_BANK_TLSD_LINES_H

#include "bank/lobby.h"
#include "bank/metrics.h"
#include "bank/tls.h"
#include "bank/tlsd.h"

#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <sys/queue.h>

struct server {
    struct api api;
    struct metrics metrics;
    struct tls *tls;
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    struct evconnlistener *listener; /* NULL: nobody is let in any more */
    struct ops *ops;                 /* NULL: not asked for */
    struct ocspd *ocspd;             /* likewise */
    const struct tlsd_options *options;
    size_t connections, connections_max;
    size_t waiting_per_source;
    unsigned drain_seconds;
    bool draining;
    struct event *idle, *late; /* orders that wait are booked: when nothing else is to be done, or
                                  when one has waited long enough */
    LIST_HEAD(, connection) all;
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
    bool busy; /* a request has begun to come in, and is not answered yet */
    bool turned_out;
    LIST_ENTRY(connection) entry;
    bool ready;                     /* line is filled in */
    struct evhttp_request *waiting; /* for its answer; NULL: none */
    uint64_t start;                 /* of it, clock_ns */
    struct api_line line;
};

/* Of the event loop: events have the middle one when nothing is said. */
#define TLSD_PRIORITIES 3
/* The longest that an order waits for others. */
#define TLSD_WAIT_US 5000

/* Has libevent and OpenSSL call for each connection and request; wants s->http and s->tls. Once. */
CW_MUST_USE enum cw_err tlsd_lines_start(struct server *s, struct say *why);
/* Ends every line on which no request has begun, and every unfinished handshake. */
void tlsd_lines_end_idle(struct server *s);

#endif
