/* test_bank_limiter.c - how often a card may ask. */
#include "tests/unit/unit.h"

#include "bank/limiter.h"

#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1700000000)

static const uint8_t one[ORDER_SERIAL_LEN] = {1}, two[ORDER_SERIAL_LEN] = {2};

static int setup(void **state)
{
    struct limiter *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->per_minute[LIMITER_REQUEST] = 30;
    l->per_minute[LIMITER_PAYMENT] = 2;
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* How many are let through at once. */
static int burst(struct limiter *l, enum limiter_kind kind, const uint8_t *card, int64_t now)
{
    int n = 0;
    while (n < 1000 && limiter_take(l, kind, card, now) == 0)
        n++;
    return n;
}

static void test_a_minutes_worth(void **state)
{
    struct limiter *l = *state;
    assert_int_equal(burst(l, LIMITER_REQUEST, one, NOW), 30);
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, one, NOW), 2); /* seconds */
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, one, NOW + 1), 1);
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, one, NOW + 2), 0);
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, one, NOW + 2), 2);
    assert_int_equal(burst(l, LIMITER_REQUEST, one, NOW + 12), 5);
    assert_int_equal(burst(l, LIMITER_REQUEST, one, NOW + 1000000), 30); /* and no more */
}

static void test_kinds_and_cards_apart(void **state)
{
    struct limiter *l = *state;
    assert_int_equal(burst(l, LIMITER_PAYMENT, one, NOW), 2);
    assert_int_equal(limiter_take(l, LIMITER_PAYMENT, one, NOW), 30);
    assert_int_equal(burst(l, LIMITER_REQUEST, one, NOW), 30);
    assert_int_equal(burst(l, LIMITER_PAYMENT, two, NOW), 2);
    assert_int_equal(burst(l, LIMITER_REQUEST, two, NOW), 30);
}

/* What is refused costs nothing: who waits as long as was said gets through. */
static void test_refused_costs_nothing(void **state)
{
    struct limiter *l = *state;
    int64_t now = NOW;
    assert_int_equal(burst(l, LIMITER_PAYMENT, one, now), 2);
    for (int i = 0; i < 29; i++)
        assert_true(limiter_take(l, LIMITER_PAYMENT, one, now++) > 0);
    now = NOW + 30;
    assert_int_equal(limiter_take(l, LIMITER_PAYMENT, one, now), 0);
    now += limiter_take(l, LIMITER_PAYMENT, one, now);
    assert_int_equal(limiter_take(l, LIMITER_PAYMENT, one, now), 0);
}

static void test_no_limit(void **state)
{
    struct limiter *l = *state;
    l->per_minute[LIMITER_REQUEST] = 0;
    assert_int_equal(burst(l, LIMITER_REQUEST, one, NOW), 1000);
    assert_int_equal(burst(l, LIMITER_PAYMENT, one, NOW), 2);
}

static void test_clock_set_back(void **state)
{
    struct limiter *l = *state;
    assert_int_equal(burst(l, LIMITER_PAYMENT, one, NOW), 2);
    assert_true(limiter_take(l, LIMITER_PAYMENT, one, NOW - 100000) > 0);
    assert_int_equal(limiter_take(l, LIMITER_PAYMENT, one, NOW - 100000 + 30), 0);
    l->per_minute[LIMITER_REQUEST] = INT32_MAX; /* and nothing overflows */
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, two, INT64_C(253402300799)), 0);
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, two, 0), 0);
    assert_int_equal(limiter_take(l, LIMITER_REQUEST, two, INT64_C(253402300799)), 0);
}

/* More cards than are remembered: one that asked a moment ago is still known. */
static void test_more_cards_than_places(void **state)
{
    struct limiter *l = *state;
    uint8_t card[ORDER_SERIAL_LEN] = {0};
    for (uint32_t i = 0; i < 4 * LIMITER_CARDS; i++) {
        memcpy(card, &i, sizeof i);
        assert_int_equal(limiter_take(l, LIMITER_PAYMENT, card, NOW + i), 0);
    }
    assert_int_equal(burst(l, LIMITER_PAYMENT, one, NOW + 4 * LIMITER_CARDS), 2);
    for (uint32_t i = 0; i < LIMITER_CARDS / 16; i++) {
        memcpy(card, &i, sizeof i);
        card[7] = 1;
        assert_int_equal(limiter_take(l, LIMITER_REQUEST, card, NOW + 4 * LIMITER_CARDS), 0);
    }
    assert_true(limiter_take(l, LIMITER_PAYMENT, one, NOW + 4 * LIMITER_CARDS) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_minutes_worth),       TEST(test_kinds_and_cards_apart),
        TEST(test_refused_costs_nothing), TEST(test_no_limit),
        TEST(test_clock_set_back),        TEST(test_more_cards_than_places),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
