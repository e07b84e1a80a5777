/* metrics.h - what the server counts, and how Prometheus reads it (text format 0.0.4). Each hook is
 * one call, costs no memory and cannot fail; with NULL it does nothing. Of one thread. No number of
 * a customer, an account or a card is in it. docs/operations.md lists the names. */
#ifndef CARDWIRE_BANK_METRICS_H
#define CARDWIRE_BANK_METRICS_H

#include "bank/api.h"

#define METRICS_PROFILES 4u  /* tls13, ecdhe, rsa, and none that is known */
#define METRICS_ROUTES   64u /* methods and routes; what is beyond goes into the last */
#define METRICS_STATUSES 16u /* of one route; the same */
#define METRICS_RESULTS  32u /* of payments; the same */
#define METRICS_CERTS    4u
#define METRICS_BUCKETS  14u

/* How many were at most that much: the bounds are in metrics.c. */
struct metrics_histogram {
    uint64_t buckets[METRICS_BUCKETS + 1]; /* each of its own; the last: above all bounds */
    double sum;
};

struct metrics_route {
    const char *method, *route; /* static; NULL: not used */
    struct {
        int status;
        uint64_t count;
    } statuses[METRICS_STATUSES];
    struct metrics_histogram seconds;
};

struct metrics {
    int64_t started; /* seconds since 1970 */
    bool draining;
    uint64_t connections, lines; /* that there are now */
    struct {
        uint64_t full, resumed;
    } handshakes[METRICS_PROFILES];
    uint64_t turned_out, failed; /* handshakes of no profile yet */
    struct metrics_route routes[METRICS_ROUTES];
    struct {
        const char *name; /* static; NULL: not used */
        uint64_t count;
    } payments[METRICS_RESULTS];
    uint64_t store_errors[3]; /* enum metrics_during */
    struct metrics_histogram commit, batch;
    struct {
        const char *key; /* static */
        int64_t end;     /* seconds since 1970 */
    } certificates[METRICS_CERTS];
};

/* How a connection was when it ended. */
enum metrics_end {
    METRICS_LINE,       /* its handshake had been told */
    METRICS_TURNED_OUT, /* by the server, which needed the room or was waiting too long */
    METRICS_FAILED,     /* an alert, or the card went away */
};

enum metrics_during { METRICS_HANDSHAKE, METRICS_REQUEST, METRICS_READY };

void metrics_connected(struct metrics *m);
/* The line is up. */
void metrics_handshake(struct metrics *m, const char *profile, bool resumed);
void metrics_disconnected(struct metrics *m, enum metrics_end how);
/* An answer that is made; from when its request was there to now, in nanoseconds. Payments and
 * errors of the store are told by its route and its problem. */
void metrics_request(struct metrics *m, enum api_method method, const struct api_reply *reply,
                     uint64_t ns);
/* A commit of so many payments, good or not. */
void metrics_commit(struct metrics *m, size_t payments, uint64_t ns);
void metrics_store_error(struct metrics *m, enum metrics_during during);
/* The server's certificate for this kind of key ends then. */
void metrics_certificate(struct metrics *m, const char *key, int64_t end);

/* "GET", "POST", "other". */
const char *metrics_method_name(enum api_method method);

/* All of it as text, which the caller frees; NULL: out of memory. */
char *metrics_text(const struct metrics *m, int64_t now);

#endif
