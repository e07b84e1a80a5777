/* test_host_text.c - what host programs read from people and files: base64, addresses, PINs. */
#include "unit.h"

#include "host/base64.h"
#include "host/file.h"
#include "host/net.h"
#include "host/pin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 4648 §10 */
static void test_base64_vectors(void **state)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const char *plain = vectors[i][0];
        char text[16];
        uint8_t back[8];
        size_t len = 99;
        assert_int_equal(base64_encode((const uint8_t *)plain, strlen(plain), text, sizeof text),
                         CW_OK);
        assert_string_equal(text, vectors[i][1]);
        assert_int_equal(base64_decode(text, strlen(text), back, sizeof back, &len), CW_OK);
        assert_int_equal(len, strlen(plain));
        assert_memory_equal(back, plain, len);
    }
}

static void test_base64_refuses(void **state)
{
    static const char *const bad[] = {"Zg=",  "Zg",   "Z===",     "====", "Zm9v\n", "Zm 9v",
                                      "Zh==", "Zm9=", "Zg==Zg==", "Zm9-", "=m9v",   "Z=9v"};
    uint8_t out[16];
    size_t len = 99;
    char text[4];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(base64_decode(bad[i], strlen(bad[i]), out, sizeof out, &len),
                         CW_ERR_FORMAT);
    assert_int_equal(len, 99); /* untouched on failure */
    assert_int_equal(base64_decode("Zm9v", 4, out, 2, &len), CW_ERR_SPACE);
    assert_int_equal(base64_encode(out, 1, text, 4), CW_ERR_SPACE); /* no room for the NUL */
}

static void test_address(void **state)
{
    static const char *const bad[] = {"",        "host",     ":1",    "host:", "host:0",
                                      "h:65536", "h:123456", "::1:8", "[::1]", "h:8a",
                                      "h:-1",    "[]:1",     "h: 1"};
    struct net_address a;
    (void)state;
    assert_int_equal(net_address_parse("bank.example:8443", &a, NULL), CW_OK);
    assert_string_equal(a.host, "bank.example");
    assert_string_equal(a.port, "8443");
    assert_int_equal(net_address_parse("[::1]:65535", &a, NULL), CW_OK);
    assert_string_equal(a.host, "::1");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(net_address_parse(bad[i], &a, NULL), CW_ERR_FORMAT);
}

struct folder {
    char dir[256], file[280];
};

static int make_folder(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    if (f == NULL)
        return -1;
    snprintf(f->dir, sizeof f->dir, "%s/cardwire-unit.XXXXXX", tmp != NULL ? tmp : P_tmpdir);
    if (mkdtemp(f->dir) == NULL)
        return -1;
    snprintf(f->file, sizeof f->file, "%s/pin", f->dir);
    *state = f;
    return 0;
}

static int drop_folder(void **state)
{
    struct folder *f = *state;
    (void)unlink(f->file);
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

static enum cw_err read_pin(const struct folder *f, const char *text, mode_t mode, struct pin *pin)
{
    struct say why;
    assert_int_equal(file_write(f->file, text, strlen(text), 0600, &why), CW_OK);
    assert_int_equal(chmod(f->file, mode), 0);
    return pin_read(f->file, pin, &why);
}

static void test_pin_file(void **state)
{
    static const struct pin zero;
    const struct folder *f = *state;
    struct pin pin;
    assert_int_equal(read_pin(f, "1234", 0600, &pin), CW_OK);
    assert_int_equal(pin.len, 4);
    assert_int_equal(read_pin(f, "123456789012\r\nrest", 0600, &pin), CW_OK);
    assert_int_equal(pin.len, 12);
    assert_memory_equal(pin.digits, "123456789012", 12);
    pin_wipe(&pin);
    assert_memory_equal(&pin, &zero, sizeof pin);
    assert_int_equal(read_pin(f, "123\n", 0600, &pin), CW_ERR_FORMAT);
    assert_memory_equal(&pin, &zero, sizeof pin); /* wiped on failure too */
    assert_int_equal(read_pin(f, "1234567890123\n", 0600, &pin), CW_ERR_FORMAT);
    assert_int_equal(read_pin(f, "12a4\n", 0600, &pin), CW_ERR_FORMAT);
    assert_int_equal(read_pin(f, "", 0600, &pin), CW_ERR_FORMAT);
    assert_int_equal(read_pin(f, "1234\n", 0640, &pin), CW_ERR_DENIED);
    assert_int_equal(read_pin(f, "1234\n", 0604, &pin), CW_ERR_DENIED);
}

static void test_file_limits(void **state)
{
    const struct folder *f = *state;
    struct say why;
    uint8_t *data = NULL;
    size_t len = 99;
    assert_int_equal(file_write(f->file, "12345", 5, 0600, &why), CW_OK);
    assert_int_equal(file_read(f->file, 4, &data, &len, &why), CW_ERR_LENGTH);
    assert_null(data);
    assert_int_equal(file_read(f->file, 5, &data, &len, &why), CW_OK);
    assert_int_equal(len, 5);
    assert_string_equal((char *)data, "12345");
    free(data);
    assert_int_equal(unlink(f->file), 0);
    assert_int_equal(file_read(f->file, 5, &data, &len, &why), CW_ERR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_refuses),
        cmocka_unit_test(test_address),
        cmocka_unit_test_setup_teardown(test_pin_file, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(test_file_limits, make_folder, drop_folder),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
