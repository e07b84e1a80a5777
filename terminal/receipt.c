/* receipt.c - looks for the text of an order in a receipt. A search, not a parser: a receipt has
 * one OCTET STRING that begins with the first line of an order, and whoever wants more of it than
 * that asks openssl. */
#include "terminal/receipt.h"

#include <stdbool.h>
#include <string.h>

static const char first_line[] = "CARDWIRE ORDER 1\n";

#define FIRST_LINE_LEN (sizeof first_line - 1)

/* The length that the OCTET STRING header right before `at` gives (X.690 §8.1.3), 0 if there is
 * none. The text of an order is shorter than 65,536 bytes. */
static size_t string_length(const uint8_t *der, size_t at)
{
    if (at >= 4 && der[at - 4] == 4 && der[at - 3] == 0x82)
        return (size_t)(der[at - 2] << 8 | der[at - 1]);
    if (at >= 3 && der[at - 3] == 4 && der[at - 2] == 0x81)
        return der[at - 1];
    if (at >= 2 && der[at - 2] == 4 && der[at - 1] < 0x80)
        return der[at - 1];
    return 0;
}

/* The next OCTET STRING from *at on that begins as an order does; *at is moved behind its begin. */
static bool next_text(const uint8_t *der, size_t len, size_t *at, const uint8_t **text, size_t *n)
{
    while (*at < len) {
        const uint8_t *found = memmem(der + *at, len - *at, first_line, FIRST_LINE_LEN);
        if (found == NULL)
            return false;
        size_t begin = (size_t)(found - der);
        size_t length = string_length(der, begin);
        *at = begin + FIRST_LINE_LEN;
        if (length >= FIRST_LINE_LEN && length <= len - begin) {
            *text = found;
            *n = length;
            return true;
        }
    }
    return false;
}

enum cw_err receipt_check_text(const uint8_t *der, size_t len, const uint8_t *text, size_t text_len,
                               struct say *why)
{
    const uint8_t *found;
    size_t at = 0, n;
    while (next_text(der, len, &at, &found, &n))
        if (n == text_len && memcmp(found, text, n) == 0)
            return CW_OK;
    return say_fail(why, CW_ERR_FORMAT,
                    "the bank's receipt does not hold the order that the card signed; it was not "
                    "kept");
}

enum cw_err receipt_check_order(const uint8_t *der, size_t len, const uint8_t id[ORDER_ID_LEN],
                                struct say *why)
{
    const uint8_t *found;
    size_t at = 0, n;
    struct order_fields f;
    struct order_seal seal;
    while (next_text(der, len, &at, &found, &n))
        if (order_text_parse(found, n, &f, &seal) == CW_OK && memcmp(f.id, id, ORDER_ID_LEN) == 0)
            return CW_OK;
    return say_fail(why, CW_ERR_FORMAT,
                    "the bank's receipt is not that of the order asked for; it was not kept");
}
