/* unit.c - see unit.h. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

static int run_one(const char *name, const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tests[i].name, name) == 0) {
            return _cmocka_run_group_tests(name, &tests[i], 1, NULL, NULL) == 0 ? 0 : 1;
        }
    }
    fprintf(stderr, "unit: there is no test %s; --list prints their names\n", name);
    return 1;
}

int unit_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < n; i++) {
            puts(tests[i].name);
        }
        return 0;
    }
    if (argc < 2) {
        return _cmocka_run_group_tests("unit", tests, n, NULL, NULL) == 0 ? 0 : 1;
    }
    int result = 0;
    for (int i = 1; i < argc; i++) {
        result |= run_one(argv[i], tests, n);
    }
    return result;
}
