/* test_receipt_head.c - the text of a head has one form; of the two signatures there is one. */
#include "unit.h"

#include "receipt/head.h"
#include "receipt/signature.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As docs/bank.md shows it. */
static const char example[] =
    "CARDWIRE HEAD 1\n"
    "Bank: Cardwire Bank\n"
    "Entry: 6\n"
    "Hash: 6f0205c67d7db2a002b55ae22b7e14aedb1d93c1757ffc8c5d0897e01727d4c7\n"
    "Signed: 2026-11-26T20:29:42Z\n"
    "Certificate: 84a6e1aa22ac9f6ae070b27c3dd5cea89cf56b1c07f80a10718ac839e2ea3284\n";

static enum cw_err parse(const char *text, struct head *h)
{
    return head_parse((const uint8_t *)text, strlen(text), h);
}

static void test_example(void **state)
{
    struct head h;
    (void)state;
    assert_int_equal(parse(example, &h), CW_OK);
    assert_string_equal(h.bank, "Cardwire Bank");
    assert_int_equal(h.entry, 6);
    assert_int_equal(h.time, 1795724982);
    assert_int_equal(h.hash[0], 0x6f);
    assert_int_equal(h.certificate[31], 0x84);
}

static void test_longest(void **state)
{
    struct head h = {.entry = INT64_MAX, .time = CAL_MAX}, again;
    uint8_t text[HEAD_TEXT_MAX];
    struct buf_writer w;
    (void)state;
    memset(h.bank, 'B', HEAD_BANK_MAX);
    buf_writer_init(&w, text, sizeof text);
    assert_int_equal(head_write(&h, &w), CW_OK);
    assert_true(w.len < HEAD_TEXT_MAX);
    assert_int_equal(head_parse(text, w.len, &again), CW_OK);
    assert_memory_equal(&again, &h, sizeof h);
    buf_writer_init(&w, text, w.len - 1);
    assert_int_equal(head_write(&h, &w), CW_ERR_SPACE);
}

static void test_what_cannot_be_written(void **state)
{
    static const struct head bad[] = {
        {.bank = "", .entry = 1},
        {.bank = "A\nEntry: 7", .entry = 1},
        {.bank = "A\xe2\x80\xae", .entry = 1}, /* right-to-left override */
        {.bank = "A\xff", .entry = 1},
        {.bank = "A", .entry = 0},
        {.bank = "A", .entry = -1},
        {.bank = "A", .entry = 1, .time = -1},
        {.bank = "A", .entry = 1, .time = CAL_MAX + 1},
    };
    uint8_t text[HEAD_TEXT_MAX];
    struct buf_writer w;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_writer_init(&w, text, sizeof text);
        assert_int_equal(head_write(&bad[i], &w), CW_ERR_FORMAT);
    }
}

/* Another text for the same values, or for others that no head has. */
static void test_what_is_no_head(void **state)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"HEAD 1", "HEAD 2"},
        {"HEAD 1", "ORDER 1"},
        {"Bank: ", "Bank:"},
        {"Cardwire Bank", ""},
        {"Entry: 6", "Entry: 06"},
        {"Entry: 6", "Entry:"},
        {"Entry: 6", "Entry: 0"},
        {"Entry: 6", "Entry: 6 "},
        {"Entry: 6", "Entry: +6"},
        {"Entry: 6", "Entry: 9223372036854775808"},
        {"Entry: 6", "Entry: 18446744073709551622"},
        {"Hash: 6f", "Hash: 6F"},
        {"Hash: 6f", "Hash: 6"},
        {"Hash: 6f", "Hash: 6f6f"},
        {"Hash: 6f", "Hash: 6g"},
        {"Signed: 2026-11-26T20:29:42Z", "Signed: 2026-11-26 20:29:42Z"},
        {"11-26", "02-30"},
        {"ea3284\n", "ea3284"},
        {"ea3284\n", "ea3284\r\n"},
        {"ea3284\n", "ea3284\nMore: 1\n"},
        {"Signed", "signed"},
    };
    struct head h;
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char text[sizeof example + 64];
        const char *at = strstr(example, changes[i].from);
        assert_non_null(at);
        int n = (int)(at - example);
        snprintf(text, sizeof text, "%.*s%s%s", n, example, changes[i].to,
                 at + strlen(changes[i].from));
        if (parse(text, &h) != CW_ERR_FORMAT)
            fail_msg("taken: %s", text);
    }
    for (size_t len = 0; len < sizeof example - 1; len++) {
        uint8_t *exact = malloc(len + 1); /* so that a sanitizer sees a byte too far */
        assert_non_null(exact);
        memcpy(exact + 1, example, len);
        assert_int_equal(head_parse(exact + 1, len, &h), CW_ERR_FORMAT);
        free(exact);
    }
}

static void test_low_signatures(void **state)
{
    struct say why;
    uint8_t signature[SIGNATURE_P256_MAX], data[] = "a head";
    size_t len = 0;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-384"), *rsa = EVP_RSA_gen(2048);
    (void)state;
    for (int i = 0; i < 50; i++) { /* half of them would be the other one */
        assert_int_equal(signature_make_low(key, data, sizeof data, signature, &len, &why), CW_OK);
        assert_true(signature_good_low(key, data, sizeof data, signature, len));
        assert_false(signature_good_low(key, data, sizeof data - 1, signature, len));
        assert_false(signature_good_low(key, data, sizeof data, signature, len - 1));
    }
    assert_int_equal(signature_make_low(other, data, sizeof data, signature, &len, &why),
                     CW_ERR_CRYPTO);
    assert_int_equal(signature_make_low(rsa, data, sizeof data, signature, &len, &why),
                     CW_ERR_CRYPTO);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    EVP_PKEY_free(rsa);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_what_is_no_head),
        cmocka_unit_test(test_low_signatures),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
