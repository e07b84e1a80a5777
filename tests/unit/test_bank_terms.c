/* test_bank_terms.c - a card's policy as it is said on the command line. */
#include "tests/unit/unit.h"

#include "bank/terms.h"

#include <string.h>

static void test_default_is_a_policy(void **state)
{
    struct policy p;
    struct say why;
    (void)state;
    terms_default(&p);
    assert_int_equal(terms_check(&p, &why), CW_OK);
    assert_int_equal(p.flags, POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES | POLICY_SESSIONS_NVM);
    assert_int_equal(p.limit_count, 1);
    assert_int_equal(p.limits[0].order, 500000);
    assert_int_equal(p.limits[0].day, 1000000);
    assert_int_equal(p.limits[0].small, 0);
}

static void test_words(void **state)
{
    typedef enum cw_err take(struct policy * p, const char *text, struct say *why);
    static const struct {
        take *take;
        const char *text;
        int flags; /* -1: refused */
    } cases[] = {
        {terms_contactless_take, "none", POLICY_LISTED_PAYEES | POLICY_SESSIONS_NVM},
        {terms_contactless_take, "orders",
         POLICY_LINE_CONTACTLESS | POLICY_ORDER_CONTACTLESS | POLICY_LISTED_PAYEES |
             POLICY_SESSIONS_NVM},
        {terms_contactless_take, "line",
         POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES | POLICY_SESSIONS_NVM},
        {terms_contactless_take, "Line", -1},
        {terms_contactless_take, "", -1},
        {terms_payees_take, "any", POLICY_LINE_CONTACTLESS | POLICY_SESSIONS_NVM},
        {terms_payees_take, "listed",
         POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES | POLICY_SESSIONS_NVM},
        {terms_payees_take, "all", -1},
        {terms_sessions_take, "ram",
         POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES | POLICY_SESSIONS_RAM},
        {terms_sessions_take, "none", POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES},
        {terms_sessions_take, "disk", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy p, before;
        struct say why;
        terms_default(&p);
        before = p;
        assert_int_equal(cases[i].take(&p, cases[i].text, &why),
                         cases[i].flags < 0 ? CW_ERR_ARG : CW_OK);
        assert_int_equal(p.flags, cases[i].flags < 0 ? before.flags : cases[i].flags);
    }
}

static void test_pin_rules(void **state)
{
    static const struct {
        const char *text;
        int rules;
    } cases[] = {
        {"none", 0},
        {"no-repeat", PIN_RULE_NO_REPEAT},
        {"no-sequence", PIN_RULE_NO_SEQUENCE},
        {"no-sequence,no-repeat", PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE},
        {"", -1},
        {"none,no-repeat", -1},
        {"no-repeat,", -1},
        {",no-repeat", -1},
        {"no-repeat no-sequence", -1},
        {"no-repetition-at-all-please", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct policy p;
        struct say why;
        terms_default(&p);
        assert_int_equal(terms_pin_rules_take(&p, cases[i].text, &why),
                         cases[i].rules < 0 ? CW_ERR_ARG : CW_OK);
        if (cases[i].rules >= 0)
            assert_int_equal(p.pin.rules, cases[i].rules);
    }
}

static void test_limits(void **state)
{
    struct policy p;
    struct say why;
    const char *const two[] = {"EUR:50.00:100.00:2.50:10.00", "JPY:5000:10000"};
    const char *const none[] = {"none"};
    (void)state;
    terms_default(&p);
    assert_int_equal(terms_limits_take(&p, two, 2, &why), CW_OK);
    assert_int_equal(p.limit_count, 2);
    assert_string_equal(p.limits[0].currency, "EUR");
    assert_int_equal(p.limits[0].order, 5000);
    assert_int_equal(p.limits[0].day, 10000);
    assert_int_equal(p.limits[0].small, 250);
    assert_int_equal(p.limits[0].small_total, 1000);
    assert_string_equal(p.limits[1].currency, "JPY");
    assert_int_equal(p.limits[1].order, 5000);
    assert_int_equal(p.limits[1].small, 0);
    assert_int_equal(terms_limits_take(&p, none, 1, &why), CW_OK);
    assert_int_equal(p.limit_count, 0);
}

static void test_bad_limits(void **state)
{
    static const char *const bad[][2] = {
        {"EUR", NULL},
        {"EUR:1.00", NULL},
        {"EUR:1.00:2.00:0.50", NULL},
        {"EUR:1.00:2.00:0.50:1.00:9.00", NULL},
        {"EUR:1.00:2.00:", NULL},
        {"EUR::2.00", NULL},
        {":1.00:2.00", NULL},
        {"EU:1.00:2.00", NULL},
        {"XQZ:1.00:2.00", NULL},
        {"EUR:1.001:2.00", NULL},
        {"EUR:-1.00:2.00", NULL},
        {"EUR:0.00:2.00", NULL},
        {"EUR:1.00:0.00", NULL},
        {"EUR:1.00:2.00:1.01:2.00", NULL}, /* small above order */
        {"EUR:1.00:2.00:0.00:2.00", NULL}, /* a total of nothing */
        {"EUR:1.00:2.00:1.00:0.00", NULL},
        {"EUR:99999999999999.00:1.00", NULL},
        {"EUR:1.00:2.00", "EUR:3.00:4.00"},
        {"EUR:1.00:2.00", "none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct policy p, before;
        struct say why = {""};
        terms_default(&p);
        before = p;
        assert_int_equal(terms_limits_take(&p, bad[i], bad[i][1] != NULL ? 2 : 1, &why),
                         CW_ERR_ARG);
        assert_memory_equal(&p, &before, sizeof p);
        assert_non_null(strstr(why.text, "--limit"));
    }
}

static void test_pin_numbers(void **state)
{
    static const struct policy_pin bad[] = {{.min = 3, .max = 12, .tries = 3},
                                            {.min = 4, .max = 13, .tries = 3},
                                            {.min = 8, .max = 6, .tries = 3},
                                            {.min = 4, .max = 12, .tries = 0},
                                            {.min = 4, .max = 12, .tries = 16}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct policy p;
        struct say why;
        terms_default(&p);
        p.pin = bad[i];
        assert_int_equal(terms_check(&p, &why), CW_ERR_ARG);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_is_a_policy), cmocka_unit_test(test_words),
        cmocka_unit_test(test_pin_rules),           cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bad_limits),          cmocka_unit_test(test_pin_numbers),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
