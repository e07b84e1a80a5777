/* test_terminal_http.c - the HTTP client's parser: replies in order, in pieces, and hostile. */
#include "unit.h"

#include "terminal/http.h"

#include <stdlib.h>
#include <string.h>

static enum http_progress parse(const char *text, struct http_reply *out, size_t *used)
{
    struct say why;
    return http_reply_parse((const uint8_t *)text, strlen(text), out, used, &why);
}

static void test_reply(void **state)
{
    static const char text[] =
        "HTTP/1.1 201 Created\r\ncontent-TYPE: Application/JSON; charset=x\r\n"
        "Content-Length:  2 \r\n\r\n{}next";
    struct http_reply r;
    size_t used = 0;
    (void)state;
    assert_int_equal(parse(text, &r, &used), HTTP_DONE);
    assert_int_equal(r.status, 201);
    assert_string_equal(r.type, "application/json");
    assert_int_equal(r.body_len, 2);
    assert_memory_equal(r.body, "{}", 2);
    assert_false(r.close);
    assert_int_equal(used, sizeof text - 1 - 4);
}

/* Every cut of a reply wants more; none is taken for a whole one, none is refused. */
static void test_reply_in_pieces(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    struct http_reply r;
    struct say why;
    size_t used;
    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(http_reply_parse((const uint8_t *)text, n, &r, &used, &why), HTTP_MORE);
}

static void test_reply_close(void **state)
{
    struct http_reply r;
    size_t used;
    (void)state;
    assert_int_equal(
        parse("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", &r, &used),
        HTTP_DONE);
    assert_true(r.close);
    assert_int_equal(parse("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", &r, &used), HTTP_DONE);
    assert_true(r.close);
    assert_int_equal(parse("HTTP/1.1 204 No Content\r\n\r\n", &r, &used), HTTP_DONE);
    assert_int_equal(r.body_len, 0);
}

static void test_reply_refused(void **state)
{
    static const char *const bad[] = {
        "\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 -20 x\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n", /* no length: would need the end of the line to delimit it */
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4194305\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnocolon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
    };
    struct http_reply r;
    size_t used = 77;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(parse(bad[i], &r, &used), HTTP_BAD);
    assert_int_equal(used, 77);
}

static void test_reply_head_too_long(void **state)
{
    struct http_reply r;
    struct say why;
    size_t used;
    uint8_t *text = malloc(HTTP_HEAD_MAX);
    (void)state;
    assert_non_null(text);
    memset(text, 'a', HTTP_HEAD_MAX);
    memcpy(text, "HTTP/1.1 200 OK\r\nX: ", 20);
    assert_int_equal(http_reply_parse(text, HTTP_HEAD_MAX - 1, &r, &used, &why), HTTP_MORE);
    assert_int_equal(http_reply_parse(text, HTTP_HEAD_MAX, &r, &used, &why), HTTP_BAD);
    free(text);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_reply_in_pieces),
        cmocka_unit_test(test_reply_close),
        cmocka_unit_test(test_reply_refused),
        cmocka_unit_test(test_reply_head_too_long),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
