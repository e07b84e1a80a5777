/* test_terminal_receipt.c - a receipt is that of an order only if it holds the order's very text.
 */
#include "unit.h"

#include "terminal/receipt.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t id[ORDER_ID_LEN] = {1, 2, 3};

/* An order whose text is `reference_len` bytes longer than without a reference. */
static size_t write_order(uint8_t *text, size_t cap, size_t reference_len)
{
    struct order_fields f = {.payer = "ZZ11111111",
                             .payee = "ZZ22222222",
                             .payee_name = "Ben Example",
                             .amount = 1234,
                             .currency = "EUR",
                             .expiry = 1800000000};
    struct order_seal seal = {.counter = 7};
    struct buf_writer w;
    memcpy(f.id, id, sizeof id);
    memset(f.reference, 'r', reference_len);
    buf_writer_init(&w, text, cap);
    assert_int_equal(order_text_write(&f, &seal, &w), CW_OK);
    return w.len;
}

/* The text as an OCTET STRING (X.690 §8.7) among other bytes, as in a CMS SignedData. */
static size_t wrap(uint8_t *out, size_t cap, const uint8_t *text, size_t len)
{
    struct buf_writer w;
    buf_writer_init(&w, out, cap);
    buf_put_str(&w, "0something before");
    buf_put_u8(&w, 4);
    buf_put_u8(&w, len < 256 ? 0x81 : 0x82);
    if (len < 256)
        buf_put_u8(&w, (uint8_t)len);
    else
        buf_put_u16(&w, (uint16_t)len);
    buf_put_bytes(&w, text, len);
    buf_put_str(&w, "and behind");
    assert_false(w.bad);
    return w.len;
}

static void test_finds_the_text(void **state)
{
    uint8_t text[ORDER_TEXT_MAX], der[ORDER_TEXT_MAX + 64];
    struct say why;
    (void)state;
    for (size_t reference = 0; reference <= ORDER_REFERENCE_MAX; reference += 20) {
        size_t n = write_order(text, sizeof text, reference);
        size_t len = wrap(der, sizeof der, text, n);
        assert_int_equal(receipt_check_text(der, len, text, n, &why), CW_OK);
        assert_int_equal(receipt_check_order(der, len, id, &why), CW_OK);
    }
}

static void test_refuses_every_other_byte(void **state)
{
    uint8_t text[ORDER_TEXT_MAX], der[ORDER_TEXT_MAX + 64];
    struct say why;
    (void)state;
    size_t n = write_order(text, sizeof text, 5);
    size_t len = wrap(der, sizeof der, text, n);
    for (size_t i = 17; i < len - 10; i++) { /* the OCTET STRING with its header */
        der[i] ^= 1;
        assert_int_equal(receipt_check_text(der, len, text, n, &why), CW_ERR_FORMAT);
        der[i] ^= 1;
    }
    assert_int_equal(receipt_check_text(der, len, text, n, &why), CW_OK);
}

static void test_refuses_another_order(void **state)
{
    static const uint8_t other[ORDER_ID_LEN] = {1, 2, 4};
    uint8_t text[ORDER_TEXT_MAX], der[ORDER_TEXT_MAX + 64], longer[ORDER_TEXT_MAX];
    struct say why;
    (void)state;
    size_t n = write_order(text, sizeof text, 5);
    size_t m = write_order(longer, sizeof longer, 6);
    size_t len = wrap(der, sizeof der, longer, m);
    assert_int_equal(receipt_check_text(der, len, text, n, &why), CW_ERR_FORMAT);
    assert_int_equal(receipt_check_order(der, len, other, &why), CW_ERR_FORMAT);
    assert_int_equal(receipt_check_text(der, 0, text, n, &why), CW_ERR_FORMAT);
    /* the text alone, without a header that says how long it is */
    assert_int_equal(receipt_check_text(text, n, text, n, &why), CW_ERR_FORMAT);
    assert_int_equal(receipt_check_order(text, n, id, &why), CW_ERR_FORMAT);
}

/* Cut anywhere: no byte behind the end is read (the sanitizers watch), and nothing is found. */
static void test_cut_short(void **state)
{
    uint8_t text[ORDER_TEXT_MAX], der[ORDER_TEXT_MAX + 64];
    struct say why;
    (void)state;
    size_t n = write_order(text, sizeof text, 140);
    size_t len = wrap(der, sizeof der, text, n);
    for (size_t cut = 0; cut < len - 10; cut++) {
        uint8_t *exact = malloc(cut > 0 ? cut : 1);
        assert_non_null(exact);
        memcpy(exact, der, cut);
        assert_int_equal(receipt_check_text(exact, cut, text, n, &why), CW_ERR_FORMAT);
        assert_int_equal(receipt_check_order(exact, cut, id, &why), CW_ERR_FORMAT);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_text),
        cmocka_unit_test(test_refuses_every_other_byte),
        cmocka_unit_test(test_refuses_another_order),
        cmocka_unit_test(test_cut_short),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
