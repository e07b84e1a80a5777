/* unit.h - the frame of a unit test program: cmocka, plus a way to list the tests and to run one of
 * them, so that tests/conftest.py can report each by its name. Includes what cmocka wants before
 * it.
 *
 *     static void test_x(void **state) { ... }
 *     int main(int argc, char **argv)
 *     {
 *         const struct CMUnitTest tests[] = {cmocka_unit_test(test_x)};
 *         return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
 *     }
 */
#ifndef CARDWIRE_TESTS_UNIT_UNIT_H
#define CARDWIRE_TESTS_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* No argument: runs all. `--list`: prints the names, one a line. NAME...: runs those.
 * Returns the exit code: 0, or 1 when a test failed or a name is unknown. */
int unit_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);

#endif
