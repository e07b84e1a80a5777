#include "bank/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const profiles[METRICS_PROFILES] = {"tls13", "ecdhe", "rsa", "none"};
static const char *const durings[] = {"handshake", "request", "ready"};

/* Of seconds, as far as a person waits for an answer; of payments in a batch. */
static const double seconds_bounds[METRICS_BUCKETS] = {
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};
static const double batch_bounds[METRICS_BUCKETS] = {1,   2,   4,   8,    16,   32,   64,
                                                     128, 256, 512, 1024, 2048, 4096, 8192};

/* ---- counting ---- */

static void observe(struct metrics_histogram *h, const double *bounds, double value)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS && value > bounds[i])
        i++;
    h->buckets[i]++;
    h->sum += value;
}

void metrics_connected(struct metrics *m)
{
    if (m != NULL)
        m->connections++;
}

void metrics_handshake(struct metrics *m, const char *profile, bool resumed)
{
    size_t i = 0;
    if (m == NULL)
        return;
    while (i + 1 < METRICS_PROFILES && strcmp(profiles[i], profile) != 0)
        i++;
    m->lines++;
    ++*(resumed ? &m->handshakes[i].resumed : &m->handshakes[i].full);
}

void metrics_disconnected(struct metrics *m, enum metrics_end how)
{
    if (m == NULL)
        return;
    m->connections--;
    if (how == METRICS_LINE)
        m->lines--;
    else
        ++*(how == METRICS_TURNED_OUT ? &m->turned_out : &m->failed);
}

const char *metrics_method_name(enum api_method method)
{
    return method == API_GET ? "GET" : method == API_POST ? "POST" : "other";
}

static struct metrics_route *route_of(struct metrics *m, const char *method, const char *route)
{
    size_t i = 0;
    for (; i + 1 < METRICS_ROUTES && m->routes[i].route != NULL; i++)
        if (m->routes[i].method == method && strcmp(m->routes[i].route, route) == 0)
            return &m->routes[i];
    if (m->routes[i].route == NULL) {
        bool last = i + 1 == METRICS_ROUTES;
        m->routes[i].method = last ? "other" : method;
        m->routes[i].route = last ? "other" : route;
    }
    return &m->routes[i];
}

static void count_status(struct metrics_route *r, int status)
{
    size_t i = 0;
    while (i + 1 < METRICS_STATUSES && r->statuses[i].status != 0 &&
           r->statuses[i].status != status)
        i++;
    if (r->statuses[i].status == 0)
        r->statuses[i].status = i + 1 < METRICS_STATUSES ? status : 999;
    r->statuses[i].count++;
}

static void count_payment(struct metrics *m, const char *result)
{
    size_t i = 0;
    while (i + 1 < METRICS_RESULTS && m->payments[i].name != NULL &&
           strcmp(m->payments[i].name, result) != 0)
        i++;
    if (m->payments[i].name == NULL)
        m->payments[i].name = i + 1 < METRICS_RESULTS ? result : "other";
    m->payments[i].count++;
}

void metrics_request(struct metrics *m, enum api_method method, const struct api_reply *reply,
                     uint64_t ns)
{
    if (m == NULL)
        return;
    const char *problem = reply->problem;
    struct metrics_route *r = route_of(m, metrics_method_name(method), reply->route);
    count_status(r, reply->status);
    observe(&r->seconds, seconds_bounds, (double)ns / 1e9);
    if (method == API_POST && strcmp(reply->route, "/v1/payments") == 0)
        count_payment(m, problem != NULL ? problem : reply->status == 201 ? "booked" : "repeated");
    if (problem != NULL &&
        (strcmp(problem, "store") == 0 || strcmp(problem, "outcome-unknown") == 0))
        metrics_store_error(m, METRICS_REQUEST);
}

void metrics_commit(struct metrics *m, size_t payments, uint64_t ns)
{
    if (m == NULL)
        return;
    observe(&m->commit, seconds_bounds, (double)ns / 1e9);
    observe(&m->batch, batch_bounds, (double)payments);
}

void metrics_store_error(struct metrics *m, enum metrics_during during)
{
    if (m != NULL)
        m->store_errors[during]++;
}

void metrics_certificate(struct metrics *m, const char *key, int64_t end)
{
    for (size_t i = 0; m != NULL && i < METRICS_CERTS; i++)
        if (m->certificates[i].key == NULL || strcmp(m->certificates[i].key, key) == 0) {
            m->certificates[i].key = key;
            m->certificates[i].end = end;
            return;
        }
}

/* ---- telling ---- */

static void put_head(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP cardwire_%s %s\n# TYPE cardwire_%s %s\n", name, help, name, type);
}

static void put_number(FILE *f, const char *name, const char *type, const char *help, uint64_t n)
{
    put_head(f, name, type, help);
    fprintf(f, "cardwire_%s %llu\n", name, (unsigned long long)n);
}

/* `labels`: none, or what stands in the braces before `le`, with a comma. */
static void put_histogram(FILE *f, const char *name, const char *labels, const double *bounds,
                          const struct metrics_histogram *h)
{
    uint64_t count = 0;
    size_t len = strlen(labels);
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        count += h->buckets[i];
        fprintf(f, "cardwire_%s_bucket{%sle=\"%g\"} %llu\n", name, labels, bounds[i],
                (unsigned long long)count);
    }
    count += h->buckets[METRICS_BUCKETS];
    fprintf(f, "cardwire_%s_bucket{%sle=\"+Inf\"} %llu\n", name, labels, (unsigned long long)count);
    fprintf(f, "cardwire_%s_sum%s%.*s%s %.15g\n", name, len > 0 ? "{" : "",
            (int)(len > 0 ? len - 1 : 0), labels, len > 0 ? "}" : "", h->sum);
    fprintf(f, "cardwire_%s_count%s%.*s%s %llu\n", name, len > 0 ? "{" : "",
            (int)(len > 0 ? len - 1 : 0), labels, len > 0 ? "}" : "", (unsigned long long)count);
}

static void put_handshake(FILE *f, const char *profile, const char *result, uint64_t count)
{
    fprintf(f, "cardwire_handshakes_total{profile=\"%s\",result=\"%s\"} %llu\n", profile, result,
            (unsigned long long)count);
}

static void put_handshakes(FILE *f, const struct metrics *m)
{
    put_head(f, "handshakes_total", "counter",
             "Handshakes by profile and result; none: it ended before there was one.");
    for (size_t i = 0; i < METRICS_PROFILES; i++) {
        put_handshake(f, profiles[i], "full", m->handshakes[i].full);
        put_handshake(f, profiles[i], "resumed", m->handshakes[i].resumed);
    }
    put_handshake(f, "none", "turned-out", m->turned_out);
    put_handshake(f, "none", "failed", m->failed);
}

static void put_requests(FILE *f, const struct metrics *m)
{
    put_head(f, "requests_total", "counter", "Requests of cards by route and status.");
    for (size_t i = 0; i < METRICS_ROUTES && m->routes[i].route != NULL; i++)
        for (size_t j = 0; j < METRICS_STATUSES && m->routes[i].statuses[j].status != 0; j++)
            fprintf(f, "cardwire_requests_total{method=\"%s\",route=\"%s\",status=\"%d\"} %llu\n",
                    m->routes[i].method, m->routes[i].route, m->routes[i].statuses[j].status,
                    (unsigned long long)m->routes[i].statuses[j].count);
    put_head(f, "request_seconds", "histogram",
             "From a whole request to its answer, by route; without the card and the net.");
    for (size_t i = 0; i < METRICS_ROUTES && m->routes[i].route != NULL; i++) {
        char labels[200];
        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%.150s\",", m->routes[i].method,
                 m->routes[i].route);
        put_histogram(f, "request_seconds", labels, seconds_bounds, &m->routes[i].seconds);
    }
}

static void put_payments(FILE *f, const struct metrics *m)
{
    put_head(f, "payments_total", "counter",
             "Payments by result: booked, repeated, or the name of the problem.");
    for (size_t i = 0; i < METRICS_RESULTS && m->payments[i].name != NULL; i++)
        fprintf(f, "cardwire_payments_total{result=\"%s\"} %llu\n", m->payments[i].name,
                (unsigned long long)m->payments[i].count);
    put_head(f, "commit_seconds", "histogram", "How long a commit of payments takes.");
    put_histogram(f, "commit_seconds", "", seconds_bounds, &m->commit);
    put_head(f, "batch_payments", "histogram", "How many payments one commit holds.");
    put_histogram(f, "batch_payments", "", batch_bounds, &m->batch);
    put_head(f, "store_errors_total", "counter", "Failures of the books, by what they broke off.");
    for (size_t i = 0; i < sizeof durings / sizeof *durings; i++)
        fprintf(f, "cardwire_store_errors_total{during=\"%s\"} %llu\n", durings[i],
                (unsigned long long)m->store_errors[i]);
}

static void put_certificates(FILE *f, const struct metrics *m, int64_t now)
{
    put_head(f, "certificate_days_left", "gauge",
             "Days until the certificate that the server shows ends, by kind of key.");
    for (size_t i = 0; i < METRICS_CERTS && m->certificates[i].key != NULL; i++)
        fprintf(f, "cardwire_certificate_days_left{key=\"%s\"} %.3f\n", m->certificates[i].key,
                (double)(m->certificates[i].end - now) / 86400);
}

char *metrics_text(const struct metrics *m, int64_t now)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return NULL;
    put_head(f, "build_info", "gauge", "1; the version is in the label.");
    fprintf(f, "cardwire_build_info{version=\"%s\"} 1\n", CARDWIRE_VERSION);
    put_number(f, "start_time_seconds", "gauge", "When the server started, since 1970.",
               (uint64_t)m->started);
    put_number(f, "draining", "gauge", "1 while the server is about to stop.", m->draining);
    put_number(f, "connections", "gauge", "Connections now, with or without a handshake.",
               m->connections);
    put_number(f, "lines", "gauge", "Lines of cards that are up now.", m->lines);
    put_handshakes(f, m);
    put_requests(f, m);
    put_payments(f, m);
    put_certificates(f, m, now);
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
