/* test_bank_query.c - what stands after '?' in a request: taken to the letter, or refused with a
 * sentence that names the parameter. */
#include "tests/unit/unit.h"

#include "bank/api_query.h"

#include <string.h>

static const uint8_t tag[API_CURSOR_TAG_LEN] = {1, 2, 3};

struct taken {
    int64_t number, time, money;
    char text[12];
    int word;
    struct ledger_place place;
};

/* Takes one of each; the sentence, "" when all is well. */
static const char *take(const char *query, struct taken *t)
{
    static struct api_query q;
    static const char *const words[] = {"out", "in", NULL};
    *t = (struct taken){-1, -1, -1, "-", -1, {-1, 0}};
    api_query_parse(&q, query);
    api_query_number(&q, "limit", 1, 100, &t->number);
    api_query_time(&q, "from", &t->time);
    api_query_money(&q, "min", "EUR", &t->money);
    api_query_text(&q, "reference", t->text, sizeof t->text);
    api_query_word(&q, "direction", words, "in or out", &t->word);
    api_query_cursor(&q, tag, &t->place, 1);
    bool good = api_query_good(&q);
    assert_int_equal(good, q.wrong[0] == '\0');
    return q.wrong;
}

static void test_good(void **state)
{
    struct taken t;
    (void)state;
    assert_string_equal(take("", &t), "");
    assert_true(t.number == -1 && t.time == -1 && t.money == -1 && t.word == -1);
    assert_string_equal(take("limit=1", &t), "");
    assert_int_equal(t.number, 1);
    assert_string_equal(take("direction=in&limit=100&from=1970-01-02&min=12.34", &t), "");
    assert_true(t.number == 100 && t.time == 86400 && t.money == 1234 && t.word == 1);
    assert_string_equal(take("from=1970-01-01T00:00:01Z", &t), "");
    assert_int_equal(t.time, 1);
    assert_string_equal(take("reference=a%20b%26+%C3%A4", &t), "");
    assert_string_equal(t.text, "a b&+\xc3\xa4");
}

static void test_bad(void **state)
{
    static const struct {
        const char *query, *names;
    } bad[] = {
        {"limit=0", "limit "},
        {"limit=101", "limit "},
        {"limit=", "limit "},
        {"limit", "limit "},
        {"limit=-1", "limit "},
        {"limit=1x", "limit "},
        {"limit=%31%00", "limit "},
        {"limit=1&limit=2", "limit is given twice"},
        {"limit=9223372036854775808", "limit "},
        {"limit=99999999999999999999999999999999", "limit "},
        {"from=1970-01-01T00:00:01", "from "},
        {"from=1970-02-30", "from "},
        {"from=1970-01-01T00:00:01Zx", "from "},
        {"from=1970-01-01T00:00:01Zxxxxxxxx", "from "},
        {"from=yesterday!", "from "},
        {"from=10000-01-01", "from "},
        {"min=-1.00", "min "},
        {"min=1.234", "min "},
        {"min=1,00", "min "},
        {"min=1e3", "min "},
        {"min=9999999999999999999999", "min "},
        {"reference=123456789012", "reference "},
        {"reference=%0a", "reference "},
        {"reference=%ff", "reference "},
        {"reference=%e2%80%ae", "reference "},
        {"reference=%2", "reference "},
        {"reference=%", "reference "},
        {"reference=%zz", "reference "},
        {"direction=up", "direction is in or out"},
        {"cursor=1", "cursor "},
        {"cursor=0000000000000001000000000000000000000000", "cursor "},
        {"other=1", "other is no parameter"},
        {"=1", "NAME=VALUE"},
        {"&", "NAME=VALUE"},
        {"limit=1&", "NAME=VALUE"},
        {"LIMIT=1", "NAME=VALUE"},
        {"\x1b[2J=1", "NAME=VALUE"},
    };
    struct taken t;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *said = take(bad[i].query, &t);
        if (strstr(said, bad[i].names) == NULL)
            fail_msg("%s: '%s'", bad[i].query, said);
        assert_true(t.time == -1 && t.money == -1 && t.word == -1 && t.place.entry == -1);
    }
}

static void test_too_much(void **state)
{
    struct taken t;
    char query[API_QUERY_MAX + 2] = "limit=";
    (void)state;
    memset(query + 6, '1', sizeof query - 7);
    query[sizeof query - 1] = '\0';
    assert_non_null(strstr(take(query, &t), "too long"));
    assert_non_null(
        strstr(take("a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1", &t), "too many"));
}

/* A cursor comes back as it went, and under no other tag. */
static void test_cursor(void **state)
{
    struct taken t;
    char query[64];
    const struct ledger_place place = {INT64_MAX, 7};
    static const uint8_t other[API_CURSOR_TAG_LEN] = {1, 2, 4};
    (void)state;
    json_t *cursor = api_cursor_json(&place, 1, tag);
    snprintf(query, sizeof query, "cursor=%s", json_string_value(cursor));
    assert_string_equal(take(query, &t), "");
    assert_true(t.place.entry == place.entry && t.place.line == place.line);
    json_decref(cursor);
    cursor = api_cursor_json(&place, 1, other);
    snprintf(query, sizeof query, "cursor=%s", json_string_value(cursor));
    assert_non_null(strstr(take(query, &t), "cursor"));
    json_decref(cursor);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_cursor),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
