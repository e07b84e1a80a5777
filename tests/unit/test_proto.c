/* test_proto.c - the pure codecs: APDUs, BER-TLV, civil time, amounts, orders. */
#include "unit.h"

#include "base/cal.h"
#include "base/ct.h"
#include "proto/apdu.h"
#include "proto/ber.h"
#include "proto/link.h"
#include "proto/order.h"
#include "proto/text.h"

#include <stdio.h>
#include <string.h>

static struct order_fields sample(void)
{
    struct order_fields f;
    memset(&f, 0, sizeof f);
    strcpy(f.payer, "ZZ67000000000001");
    strcpy(f.payee, "ZZ40000000000002");
    strcpy(f.payee_name, "Grace Hopper");
    strcpy(f.reference, "Invoice 7");
    strcpy(f.currency, "EUR");
    f.amount = 1234;
    for (uint8_t i = 0; i < ORDER_ID_LEN; i++)
        f.id[i] = i;
    f.expiry = 1795500000; /* 2026-11-24T00:00:00Z is 1795478400 */
    return f;
}

static const struct order_seal seal = {
    .serial = {0xC0, 0xFF, 0xEE, 0, 0, 0, 0, 1},
    .counter = 7,
    .binding = {0xAA, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xFF},
};

/* The first worked example of docs/order.md. */
static const char sample_text[] = "CARDWIRE ORDER 1\n"
                                  "Pay: 12.34 EUR\n"
                                  "To: ZZ40000000000002\n"
                                  "Name: Grace Hopper\n"
                                  "From: ZZ67000000000001\n"
                                  "Reference: Invoice 7\n"
                                  "Order: 000102030405060708090a0b0c0d0e0f\n"
                                  "Expires: 2026-11-24T06:00:00Z\n"
                                  "Card: c0ffee0000000001\n"
                                  "Counter: 7\n"
                                  "Line: aa0102030405060708090a0b0c0d0eff\n";

static void test_apdu_cases(void **state)
{
    /* ISO/IEC 7816-4:2020 §5.2, cases 1 to 4, short and extended */
    static const size_t ncs[] = {0, 1, 255, 256, 65535};
    static const size_t nes[] = {0, 1, 255, 256, 257, 65536};
    static uint8_t data[65535], bytes[65535 + 9];
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        for (size_t k = 0; k < 6; k++) {
            struct apdu_command c = {0x80, 0x12, 1, 2, data, ncs[i], nes[k], false};
            struct apdu_command back;
            size_t len = 0;
            assert_int_equal(apdu_write(&c, bytes, sizeof bytes, &len), CW_OK);
            assert_int_equal(apdu_parse(bytes, len, &back), CW_OK);
            assert_int_equal(back.nc, c.nc);
            assert_int_equal(back.ne, c.ne);
            assert_int_equal(back.p2, 2);
            assert_int_equal(back.extended, ncs[i] > 255 || nes[k] > 256);
            /* One byte less is never the same command. */
            if (len > 4 && apdu_parse(bytes, len - 1, &back) == CW_OK)
                assert_true(back.nc != c.nc || back.ne != c.ne);
        }
    }
    struct apdu_command c = {0, 0xA4, 4, 0, NULL, 65536, 0, false};
    size_t len = 0;
    assert_int_equal(apdu_write(&c, bytes, sizeof bytes, &len), CW_ERR_ARG);
    c = (struct apdu_command){0, 0xA4, 4, 0, data, 10, 0, false};
    assert_int_equal(apdu_write(&c, bytes, 14, &len), CW_ERR_SPACE);
}

static void test_ber(void **state)
{
    uint8_t bytes[700];
    uint8_t value[600] = {9};
    struct buf_writer w;
    struct ber_object o;
    (void)state;
    buf_writer_init(&w, bytes, sizeof bytes);
    ber_put_u8(&w, 0x81, 5);
    ber_put(&w, 0x9F1E, value, 127);
    ber_put(&w, 0x53, value, 128);
    ber_put(&w, 0x54, value, 300);
    assert_false(w.bad);
    assert_int_equal(ber_find(bytes, w.len, 0x54, &o), CW_OK);
    assert_int_equal(o.len, 300);
    assert_int_equal(ber_find(bytes, w.len, 0x9F1E, &o), CW_OK);
    assert_int_equal(o.len, 127);
    assert_int_equal(ber_find(bytes, w.len, 0x55, &o), CW_ERR_NOT_FOUND);
    assert_int_equal(ber_find(bytes, w.len - 1, 0x54, &o), CW_ERR_FORMAT);
    /* Lengths that are not minimal, indefinite, too long; tags of three bytes */
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x53\x81\x05xxxxx", 8}, {"\x53\x80xx", 4}, {"\x53\x82\x00\x05xxxxx", 9},
        {"\x53\x84xxxxxxx", 9},   {"\x53\x06xx", 4}, {"\x9F\x81\x01\x01x", 5},
        {"\x53\x82\x01", 3},      {"\x53", 1},       {"\x00\x00", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ber_find((const uint8_t *)bad[i].bytes, bad[i].len, 0x77, &o),
                         CW_ERR_FORMAT);
}

static void test_calendar(void **state)
{
    static const struct {
        const char *text;
        int64_t unix_time; /* of `date -u -d TEXT +%s` */
    } known[] = {
        {"1970-01-01T00:00:00Z", 0},          {"2000-02-29T23:59:59Z", 951868799},
        {"2026-11-24T06:00:00Z", 1795500000}, {"2100-02-28T12:00:00Z", 4107499200},
        {"9999-12-31T23:59:59Z", CAL_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t text[21];
        struct buf_writer w;
        int64_t t = -1;
        buf_writer_init(&w, text, sizeof text);
        cal_put(&w, known[i].unix_time);
        assert_int_equal(w.len, 20);
        assert_memory_equal(text, known[i].text, 20);
        assert_int_equal(cal_parse(known[i].text, 20, &t), CW_OK);
        assert_int_equal(t, known[i].unix_time);
    }
    static const char *const bad[] = {"2026-11-24 06:00:00Z", "2026-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
                                      "2026-11-24T24:00:00Z", "2026-11-24T06:00:60Z",
                                      "1969-12-31T23:59:59Z", "2026-11-24T06:00:00",
                                      "+026-11-24T06:00:00Z", "2026-11-24T06:00:00ZZ"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t t = -1;
        assert_int_not_equal(cal_parse(bad[i], strlen(bad[i]), &t), CW_OK);
        assert_int_equal(t, -1);
    }
}

static void test_amounts(void **state)
{
    static const struct {
        const char *text, *currency;
        enum cw_err err;
        int64_t amount;
    } cases[] = {
        {"12.34", "EUR", CW_OK, 1234},
        {"12", "EUR", CW_OK, 1200},
        {"0.01", "EUR", CW_OK, 1},
        {"0", "EUR", CW_OK, 0},
        {"1500", "JPY", CW_OK, 1500},
        {"1.234", "KWD", CW_OK, 1234},
        {"9999999999999.99", "EUR", CW_OK, ORDER_AMOUNT_MAX},
        {"10000000000000.00", "EUR", CW_ERR_LENGTH, 0},
        {"99999999999999999999999", "EUR", CW_ERR_LENGTH, 0},
        {"10000000000000", "EUR", CW_ERR_LENGTH, 0},
        {"1.5", "EUR", CW_ERR_FORMAT, 0},
        {"1.555", "EUR", CW_ERR_FORMAT, 0},
        {"1.", "EUR", CW_ERR_FORMAT, 0},
        {".5", "EUR", CW_ERR_FORMAT, 0},
        {"", "EUR", CW_ERR_FORMAT, 0},
        {"-1.00", "EUR", CW_ERR_FORMAT, 0},
        {"+1.00", "EUR", CW_ERR_FORMAT, 0},
        {"1,00", "EUR", CW_ERR_FORMAT, 0},
        {"1.00 ", "EUR", CW_ERR_FORMAT, 0},
        {"1e3", "EUR", CW_ERR_FORMAT, 0},
        {"1.0", "JPY", CW_ERR_FORMAT, 0},
        {"1.00", "eur", CW_ERR_UNSUPPORTED, 0},
        {"1.00", "XXX", CW_ERR_UNSUPPORTED, 0},
        {"1.00", "EU", CW_ERR_UNSUPPORTED, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char currency[4] = {0};
        int64_t v = 0;
        strncpy(currency, cases[i].currency, 3);
        if (order_amount_parse(cases[i].text, currency, &v) != cases[i].err || v != cases[i].amount)
            fail_msg("%s %s", cases[i].text, currency);
    }
    uint8_t text[40];
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    order_amount_put(&w, -1205, "EUR");
    buf_put_u8(&w, ' ');
    order_amount_put(&w, 1500, "JPY");
    buf_put_u8(&w, ' ');
    order_amount_put(&w, INT64_MIN, "KWD");
    assert_int_equal(w.len, strlen("-12.05 1500 -9223372036854775.808"));
    assert_memory_equal(text, "-12.05 1500 -9223372036854775.808", w.len);
}

static void test_order_text(void **state)
{
    struct order_fields f = sample();
    struct order_fields back;
    struct order_seal back_seal;
    uint8_t text[ORDER_TEXT_MAX];
    struct buf_writer w;
    (void)state;
    buf_writer_init(&w, text, sizeof text);
    assert_int_equal(order_text_write(&f, &seal, &w), CW_OK);
    assert_int_equal(w.len, sizeof sample_text - 1);
    assert_memory_equal(text, sample_text, w.len);
    assert_int_equal(order_text_parse(text, w.len, &back, &back_seal), CW_OK);
    assert_memory_equal(&back, &f, sizeof f);
    assert_memory_equal(&back_seal, &seal, sizeof seal);
    /* An empty reference, and a text without the seal */
    memset(f.reference, 0, sizeof f.reference);
    buf_writer_init(&w, text, sizeof text);
    assert_int_equal(order_text_write(&f, &seal, &w), CW_OK);
    assert_int_equal(order_text_parse(text, w.len, &back, &back_seal), CW_OK);
    assert_memory_equal(&back, &f, sizeof f);
    buf_writer_init(&w, text, sizeof text);
    assert_int_equal(order_text_write(&f, NULL, &w), CW_OK);
    assert_int_equal(order_text_parse(text, w.len, &back, &back_seal), CW_ERR_FORMAT);
    buf_writer_init(&w, text, 100);
    assert_int_equal(order_text_write(&f, &seal, &w), CW_ERR_SPACE);
}

static void test_longest_order_fits(void **state)
{
    struct order_fields f = sample();
    struct order_seal s = seal;
    uint8_t text[ORDER_TEXT_MAX];
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    (void)state;
    memset(f.payer, 'A', ORDER_ACCOUNT_MAX);
    memset(f.payee, 'B', ORDER_ACCOUNT_MAX);
    memset(f.payee_name, 'n', ORDER_NAME_MAX);
    memset(f.reference, 'r', ORDER_REFERENCE_MAX);
    f.amount = ORDER_AMOUNT_MAX;
    f.expiry = CAL_MAX;
    s.counter = UINT32_MAX;
    buf_writer_init(&w, text, sizeof text);
    assert_int_equal(order_text_write(&f, &s, &w), CW_OK);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
}

/* No altered text parses as the order it was made from, and what parses is canonical. */
static void test_altered_order_text(void **state)
{
    uint8_t text[sizeof sample_text];
    struct order_fields f, want = sample();
    struct order_seal s;
    unsigned parsed = 0;
    (void)state;
    for (size_t i = 0; i < sizeof sample_text - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            memcpy(text, sample_text, sizeof text);
            text[i] ^= (uint8_t)(1 << bit);
            if (order_text_parse(text, sizeof text - 1, &f, &s) == CW_OK) {
                parsed++;
                assert_true(memcmp(&f, &want, sizeof f) != 0 || memcmp(&s, &seal, sizeof s) != 0);
            }
        }
    }
    assert_true(parsed > 100); /* digits and letters of fields: other orders, not errors */
    for (size_t n = 0; n < sizeof sample_text - 1; n++)
        assert_int_not_equal(order_text_parse((const uint8_t *)sample_text, n, &f, &s), CW_OK);
    static const char *const bad[] = {
        "CARDWIRE ORDER 1\nPay: 012.34 EUR\nTo: ", "CARDWIRE ORDER 2\n", "\nCARDWIRE ORDER 1\n"};
    for (size_t i = 0; i < 3; i++)
        assert_int_not_equal(order_text_parse((const uint8_t *)bad[i], strlen(bad[i]), &f, &s),
                             CW_OK);
}

static void test_order_fields_refused(void **state)
{
    /* Each alone makes an order that may not be signed. */
    static const char *const names[] = {
        "",
        " padded",
        "padded ",
        "two\nlines",
        "tab\there",
        "\x1b[2J",
        "esc\x7f",
        "\xc0\xaf",                 /* overlong */
        "\xed\xa0\x80",             /* surrogate */
        "\xf4\x90\x80\x80",         /* beyond Unicode */
        "cut \xe2\x82",             /* truncated */
        "right\xe2\x80\xaeot left", /* U+202E */
        "zero\xe2\x80\x8bwidth",    /* U+200B */
        "nbsp\xc2\xa0here",
        "line\xe2\x80\xa8sep",
        "bom\xef\xbb\xbf",
        "tag\xf3\xa0\x81\x81",
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct order_fields f = sample();
        strcpy(f.payee_name, names[i]);
        if (order_check(&f) == CW_OK)
            fail_msg("name %zu passed", i);
        f = sample();
        strcpy(f.reference, names[i]);
        if (i > 0 && order_check(&f) == CW_OK)
            fail_msg("reference %zu passed", i);
    }
    struct order_fields f = sample();
    strcpy(f.payee_name, "Jos\xc3\xa9 \xe5\xbc\xa0\xe4\xbc\x9f");
    assert_int_equal(order_check(&f), CW_OK);
    f = sample();
    f.amount = 0;
    assert_int_not_equal(order_check(&f), CW_OK);
    f.amount = -1;
    assert_int_not_equal(order_check(&f), CW_OK);
    f.amount = ORDER_AMOUNT_MAX + 1;
    assert_int_not_equal(order_check(&f), CW_OK);
    f = sample();
    strcpy(f.payer, "zz67000000000001");
    assert_int_not_equal(order_check(&f), CW_OK);
    strcpy(f.payer, "ZZ67");
    assert_int_not_equal(order_check(&f), CW_OK);
    f = sample();
    strcpy(f.currency, "???");
    assert_int_not_equal(order_check(&f), CW_OK);
    f = sample();
    f.expiry = -1;
    assert_int_not_equal(order_check(&f), CW_OK);
    f = sample();
    memset(f.payee_name, 'x', sizeof f.payee_name); /* no NUL at all */
    assert_int_not_equal(order_check(&f), CW_OK);
}

/* docs/order.md promises a format byte for byte: its examples are orders. */
static void test_documented_orders_parse(void **state)
{
    static char page[20000];
    struct order_fields f;
    struct order_seal s;
    unsigned examples = 0;
    (void)state;
    FILE *file = fopen(CARDWIRE_SOURCE_ROOT "/docs/order.md", "r");
    assert_non_null(file);
    size_t n = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[n] = '\0';
    for (char *at = page; (at = strstr(at, "```\nCARDWIRE ORDER 1\n")) != NULL; at++) {
        const char *end = strstr(at + 4, "```");
        assert_non_null(end);
        assert_int_equal(order_text_parse((uint8_t *)at + 4, (size_t)(end - at - 4), &f, &s),
                         CW_OK);
        examples++;
    }
    assert_int_equal(examples, 3);
}

/* What a stranger sends is shown without what could command a screen. */
static void test_text_is_cleaned_for_showing(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"plain", "plain"},
        {"", ""},
        {"a\x1b[2Jb", "a\xEF\xBF\xBD[2Jb"},
        {"\xc2\x9b"
         "31m",
         "\xEF\xBF\xBD"
         "31m"}, /* C1 control: CSI */
        {"\xe2\x80\xaex", "\xEF\xBF\xBDx"},
        {"cut \xe2\x82", "cut \xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xff\xfe", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xe5\xbc\xa0 ok", "\xe5\xbc\xa0 ok"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t out[64];
        struct buf_writer w;
        size_t len = strlen(cases[i].text);
        buf_writer_init(&w, out, 3 * len);
        text_put_clean(&w, cases[i].text, len);
        assert_false(w.bad);
        assert_int_equal(w.len, strlen(cases[i].shown));
        assert_memory_equal(out, cases[i].shown, w.len);
    }
    assert_false(text_is_clean("a\0b", 3));
}

static void test_order_tlv(void **state)
{
    struct order_fields f = sample();
    struct order_fields back;
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    (void)state;
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    assert_int_equal(order_tlv_decode(data, w.len, &back), CW_OK);
    assert_memory_equal(&back, &f, sizeof f);
    for (size_t n = 0; n < w.len; n++)
        assert_int_not_equal(order_tlv_decode(data, n, &back), CW_OK);
    /* A field twice, an unknown field, a NUL in a text */
    size_t len = w.len;
    ber_put(&w, LINK_TAG_CURRENCY, "USD", 3);
    assert_int_equal(order_tlv_decode(data, w.len, &back), CW_ERR_FORMAT);
    w.len = len;
    ber_put_u8(&w, 0x88, 1);
    assert_int_equal(order_tlv_decode(data, w.len, &back), CW_ERR_FORMAT);
    data[4] = 0;
    assert_int_equal(order_tlv_decode(data, len, &back), CW_ERR_FORMAT);
    /* An amount that would be negative */
    f.amount = 1;
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    for (size_t i = 0; i + 9 < w.len; i++)
        if (data[i] == LINK_TAG_AMOUNT && data[i + 1] == 8 && data[i + 9] == 1)
            data[i + 2] = 0x80;
    assert_int_equal(order_tlv_decode(data, w.len, &back), CW_ERR_FORMAT);
}

static void test_words_for_every_number(void **state)
{
    (void)state;
    for (int i = 0; i < LINK_REASON_COUNT; i++) {
        assert_string_not_equal(link_reason_name((enum link_reason)i), "unknown");
        assert_true(strlen(link_reason_sentence((enum link_reason)i)) > 10);
    }
    for (int i = 1; i <= LINK_CHECK_SERVER_FINISHED; i++)
        assert_string_not_equal(link_check_name((enum link_check)i), "unknown");
    for (int i = 0; i <= CW_ERR_INTERNAL; i++)
        assert_string_not_equal(cw_err_name((enum cw_err)i), "unknown");
    assert_int_equal(link_profile_find("rsa"), LINK_PROFILE_RSA);
    assert_int_equal(link_profile_find("ssl3"), -1);
}

static void test_constant_time_helpers(void **state)
{
    char a[8] = "secret!", b[8] = "secret?";
    (void)state;
    assert_true(ct_equal(a, a, 8));
    assert_false(ct_equal(a, b, 8));
    assert_true(ct_equal(a, b, 6));
    ct_wipe(a, sizeof a);
    assert_memory_equal(a, "\0\0\0\0\0\0\0\0", 8);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apdu_cases),
        cmocka_unit_test(test_ber),
        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_order_text),
        cmocka_unit_test(test_longest_order_fits),
        cmocka_unit_test(test_altered_order_text),
        cmocka_unit_test(test_order_fields_refused),
        cmocka_unit_test(test_documented_orders_parse),
        cmocka_unit_test(test_text_is_cleaned_for_showing),
        cmocka_unit_test(test_order_tlv),
        cmocka_unit_test(test_words_for_every_number),
        cmocka_unit_test(test_constant_time_helpers),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
