/* The server's counters where they are full, or nobody counts. What Prometheus makes of them is in
 * tests/system/test_metrics.py. */
#include "tests/unit/unit.h"

#include "bank/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct metrics *new_metrics(void)
{
    struct metrics *m = calloc(1, sizeof *m);
    assert_non_null(m);
    return m;
}

/* How often `line` is a whole line of what is told. */
static unsigned told(const struct metrics *m, const char *line)
{
    unsigned count = 0;
    size_t len = strlen(line);
    char *text = metrics_text(m, 86400);
    assert_non_null(text);
    for (const char *p = text; (p = strstr(p, line)) != NULL; p += len)
        count += (p == text || p[-1] == '\n') && p[len] == '\n';
    free(text);
    return count;
}

static void ask(struct metrics *m, const char *route, int status, const char *problem)
{
    const struct api_reply reply = {.status = status, .route = route, .problem = problem};
    metrics_request(m, API_POST, &reply, 1000);
}

static void test_more_routes_than_there_is_room_for(void **state)
{
    static char names[METRICS_ROUTES + 10][16];
    struct metrics *m = new_metrics();
    (void)state;
    for (size_t i = 0; i < METRICS_ROUTES + 10; i++) {
        snprintf(names[i], sizeof names[i], "/r%zu", i);
        ask(m, names[i], 200, NULL);
    }
    ask(m, names[0], 200, NULL);
    assert_int_equal(
        told(m, "cardwire_requests_total{method=\"POST\",route=\"/r0\",status=\"200\"} 2"), 1);
    assert_int_equal(
        told(m, "cardwire_requests_total{method=\"other\",route=\"other\",status=\"200\"} 11"), 1);
    free(m);
}

static void test_more_statuses_and_results(void **state)
{
    static char names[METRICS_RESULTS + 5][16];
    struct metrics *m = new_metrics();
    (void)state;
    for (size_t i = 0; i < METRICS_RESULTS + 5; i++) {
        snprintf(names[i], sizeof names[i], "p%zu", i);
        ask(m, "/v1/payments", 400 + (int)i, names[i]);
    }
    assert_int_equal(told(m, "cardwire_payments_total{result=\"p0\"} 1"), 1);
    assert_int_equal(told(m, "cardwire_payments_total{result=\"other\"} 6"), 1);
    assert_int_equal(
        told(m,
             "cardwire_requests_total{method=\"POST\",route=\"/v1/payments\",status=\"999\"} 22"),
        1);
    free(m);
}

static void test_bounds(void **state)
{
    struct metrics *m = new_metrics();
    (void)state;
    metrics_commit(m, 1, 100000);         /* the bound itself: 0.1 ms */
    metrics_commit(m, 256, 100001);       /* just above */
    metrics_commit(m, 9000, 60000000000); /* above all */
    assert_int_equal(told(m, "cardwire_commit_seconds_bucket{le=\"0.0001\"} 1"), 1);
    assert_int_equal(told(m, "cardwire_commit_seconds_bucket{le=\"0.0005\"} 2"), 1);
    assert_int_equal(told(m, "cardwire_commit_seconds_bucket{le=\"5\"} 2"), 1);
    assert_int_equal(told(m, "cardwire_commit_seconds_bucket{le=\"+Inf\"} 3"), 1);
    assert_int_equal(told(m, "cardwire_commit_seconds_count 3"), 1);
    assert_int_equal(told(m, "cardwire_batch_payments_bucket{le=\"128\"} 1"), 1);
    assert_int_equal(told(m, "cardwire_batch_payments_bucket{le=\"256\"} 2"), 1);
    assert_int_equal(told(m, "cardwire_batch_payments_sum 9257"), 1);
    free(m);
}

static void test_certificates(void **state)
{
    struct metrics *m = new_metrics();
    (void)state;
    metrics_certificate(m, "p256", 3 * 86400);
    metrics_certificate(m, "rsa2048", 0);
    assert_int_equal(told(m, "cardwire_certificate_days_left{key=\"p256\"} 2.000"), 1);
    assert_int_equal(told(m, "cardwire_certificate_days_left{key=\"rsa2048\"} -1.000"), 1);
    metrics_certificate(m, "p256", 5 * 86400); /* renewed */
    assert_int_equal(told(m, "cardwire_certificate_days_left{key=\"p256\"} 4.000"), 1);
    assert_int_equal(told(m, "cardwire_certificate_days_left{key=\"p256\"} 2.000"), 0);
    free(m);
}

static void test_nobody_counts(void **state)
{
    (void)state;
    metrics_connected(NULL);
    metrics_handshake(NULL, "tls13", false);
    metrics_disconnected(NULL, METRICS_LINE);
    ask(NULL, "/v1/payments", 503, "store");
    metrics_commit(NULL, 1, 1);
    metrics_store_error(NULL, METRICS_READY);
    metrics_certificate(NULL, "p256", 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_more_routes_than_there_is_room_for),
        cmocka_unit_test(test_more_statuses_and_results),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_nobody_counts),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
