/* fuzz_proto.c - the pure codecs: whatever parses is written again as the same bytes. */
#include "base/cal.h"
#include "proto/apdu.h"
#include "proto/ber.h"
#include "proto/order.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const void *a, size_t a_len, const void *b, size_t b_len)
{
    if (a_len != b_len || memcmp(a, b, a_len) != 0)
        abort();
}

static void order(const uint8_t *data, size_t size)
{
    struct order_fields f, again;
    struct order_seal seal;
    uint8_t bytes[ORDER_TEXT_MAX];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    if (order_text_parse(data, size, &f, &seal) == CW_OK) {
        if (order_text_write(&f, &seal, &w) != CW_OK)
            abort();
        same(bytes, w.len, data, size);
    }
    buf_writer_init(&w, bytes, sizeof bytes);
    if (order_tlv_decode(data, size, &f) == CW_OK) {
        if (order_tlv_encode(&f, &w) != CW_OK || order_tlv_decode(bytes, w.len, &again) != CW_OK)
            abort();
        same(&f, sizeof f, &again, sizeof again);
        buf_writer_init(&w, bytes, sizeof bytes);
        if (order_text_write(&f, NULL, &w) != CW_OK)
            abort();
    }
}

static void apdu(const uint8_t *data, size_t size)
{
    struct apdu_command c, again;
    static uint8_t bytes[65536 + 16];
    size_t n = 0;
    if (apdu_parse(data, size, &c) != CW_OK)
        return;
    if (apdu_write(&c, bytes, sizeof bytes, &n) != CW_OK || apdu_parse(bytes, n, &again) != CW_OK)
        abort();
    same(c.data, c.nc, again.data, again.nc);
    if (c.ne != again.ne)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf_reader r;
    struct ber_object o;
    char text[64];
    int64_t v = 0;
    if (size < 1)
        return 0;
    uint8_t which = data[0];
    data++;
    size--;
    switch (which % 4) {
    case 0:
        order(data, size);
        break;
    case 1:
        apdu(data, size);
        break;
    case 2:
        buf_reader_init(&r, data, size);
        while (ber_next(&r, &o))
            if (o.len > size)
                abort();
        break;
    default:
        if (size >= sizeof text)
            break;
        memcpy(text, data, size);
        text[size] = '\0';
        (void)!order_amount_parse(text, "EUR", &v);
        if (v < 0 || v > ORDER_AMOUNT_MAX)
            abort();
        (void)!cal_parse(text, size, &v);
        break;
    }
    return 0;
}
