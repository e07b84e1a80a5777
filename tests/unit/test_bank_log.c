/* The server's log: a line an event, in both forms, whatever the values hold. */
#include "tests/unit/unit.h"

#include "bank/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs `act` with stderr in a file, and gives back what is in it. */
static void catch (void (*act)(const char *text), const char *text, char *out, size_t cap)
{
    FILE *f = tmpfile();
    assert_non_null(f);
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
    act(text);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(f);
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    fclose(f);
}

static void say_one(const char *text)
{
    log_event(LOG_INFO, "request", log_text("route", "/v1/x"), log_number("status", -1),
              log_text("none", NULL), log_text("why", text));
}

static void say_all_levels(const char *text)
{
    log_event(LOG_ERROR, "e", log_text("t", text));
    log_event(LOG_WARN, "w", log_text("t", text));
    log_event(LOG_INFO, "i", log_text("t", text));
    log_event(LOG_DEBUG, "d", log_text("t", text));
}

static void test_text(void **state)
{
    static const struct {
        const char *value, *line;
    } cases[] = {
        {"plain", " info request route=/v1/x status=-1 why=plain\n"},
        {"two words", " info request route=/v1/x status=-1 why=\"two words\"\n"},
        {"", " info request route=/v1/x status=-1 why=\"\"\n"},
        {"a=b", " info request route=/v1/x status=-1 why=\"a=b\"\n"},
        {"a\"b\\", " info request route=/v1/x status=-1 why=\"a\\\"b\\\\\"\n"},
        /* A second line would be a second event; an escape would be the terminal's. */
        {"x\ny error z", " info request route=/v1/x status=-1 why=\"x\xEF\xBF\xBDy error z\"\n"},
        {"\x1b[2J", " info request route=/v1/x status=-1 why=\xEF\xBF\xBD[2J\n"},
        {"\xFF", " info request route=/v1/x status=-1 why=\xEF\xBF\xBD\n"},
    };
    char line[1024];
    (void)state;
    log_set(LOG_INFO, LOG_TEXT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        catch (say_one, cases[i].value, line, sizeof line);
        assert_true(strlen(line) > 20 && line[19] == 'Z');
        assert_string_equal(line + 20, cases[i].line);
    }
}

static void test_json(void **state)
{
    static const char *const values[] = {"plain",   "",     "a\"b\\",  "x\ny",
                                         "\x1b[2J", "\xFF", "\xC3\xA9"};
    char line[1024];
    (void)state;
    log_set(LOG_INFO, LOG_JSON);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *level, *event, *route, *why;
        int status;
        catch (say_one, values[i], line, sizeof line);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_unpack(o, "{s:s, s:s, s:s, s:i, s:s}", "level", &level, "event",
                                     &event, "route", &route, "status", &status, "why", &why),
                         0);
        assert_int_equal(json_object_size(o), 6); /* time; the absent one is not there */
        assert_string_equal(event, "request");
        assert_int_equal(status, -1);
        if (i < 3)
            assert_string_equal(why, values[i]);
        assert_null(strpbrk(why, "\n\x1b"));
        json_decref(o);
    }
}

static void test_long(void **state)
{
    char *much = calloc(1, 100001), line[16384];
    assert_non_null(much);
    memset(much, 0xFF, 100000); /* each becomes three bytes */
    (void)state;
    for (int form = LOG_TEXT; form <= LOG_JSON; form++) {
        log_set(LOG_INFO, (enum log_form)form);
        catch (say_one, much, line, sizeof line);
        assert_non_null(strstr(line, "/v1/x"));
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        assert_true(strlen(line) < 8192);
    }
    free(much);
}

static void test_levels(void **state)
{
    char text[1024];
    (void)state;
    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        int lines = 0;
        log_set((enum log_level)level, LOG_TEXT);
        catch (say_all_levels, "x", text, sizeof text);
        for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
        assert_int_equal(lines, level + 1);
    }
}

static void test_names(void **state)
{
    enum log_level level = LOG_DEBUG;
    enum log_form form = LOG_TEXT;
    (void)state;
    assert_int_equal(log_level_find("warn", &level), CW_OK);
    assert_int_equal(level, LOG_WARN);
    assert_int_equal(log_form_find("json", &form), CW_OK);
    assert_int_equal(form, LOG_JSON);
    assert_int_equal(log_level_find("Warn", &level), CW_ERR_ARG);
    assert_int_equal(log_form_find("", &form), CW_ERR_ARG);
    assert_int_equal(level, LOG_WARN);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_json),  cmocka_unit_test(test_long),
        cmocka_unit_test(test_levels), cmocka_unit_test(test_names),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
