/* fuzz_proto.c - the pure codecs: whatever parses is written again as the same bytes. */
#include "base/cal.h"
#include "proto/apdu.h"
#include "proto/ber.h"
#include "proto/order.h"
#include "proto/scp03.h"

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

/* Primitives that keep nothing from the fuzzer: every MAC is zeros, what is encrypted is as it was.
 */
static enum cw_err no_cmac(void *ctx, const uint8_t key[SCP03_KEY_LEN],
                           const struct scp03_part *parts, size_t count, uint8_t out[16])
{
    (void)ctx, (void)key, (void)parts, (void)count;
    memset(out, 0, 16);
    return CW_OK;
}

static enum cw_err no_cbc(void *ctx, bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                          const uint8_t iv[16], uint8_t *data, size_t len)
{
    (void)ctx, (void)encrypt, (void)key, (void)iv, (void)data;
    if (len == 0 || len % 16 != 0)
        abort();
    return CW_OK;
}

static const struct scp03_crypto open_crypto = {.cmac = no_cmac, .cbc = no_cbc};

static struct scp03 session(uint8_t level, enum scp03_state state)
{
    return (struct scp03){.crypto = &open_crypto, .level = level, .state = state};
}

static void must_be_dead(const struct scp03 *s)
{
    static const struct scp03 none;
    same(s, sizeof *s, &none, sizeof none);
}

/* A command or an answer that passes is what the other end makes of what is in it. */
static void secured(const uint8_t *data, size_t size)
{
    static const uint8_t levels[] = {0x00, 0x01, 0x03, 0x11, 0x13, 0x33};
    static uint8_t in[4096], again[4096 + SCP03_OVERHEAD];
    struct apdu_command cmd;
    struct buf_reader r;
    struct buf_writer w;
    buf_reader_init(&r, data, size);
    uint8_t level = levels[buf_get_u8(&r) % sizeof levels];
    uint16_t sw = buf_get_u16(&r);
    if (r.bad || r.left > sizeof in)
        return;
    size_t len = r.left, n = len;
    struct scp03 card = session(level, SCP03_READY), host = card;
    if (apdu_parse(r.at, len, &cmd) == CW_OK) {
        struct apdu_command plain = cmd;
        if (scp03_command_unwrap(&card, &plain, in, sizeof in) != CW_OK)
            must_be_dead(&card);
        else if (level != 0) {
            if (scp03_command_wrap(&host, &plain, again, sizeof again) != CW_OK)
                abort();
            same(plain.data, plain.nc, cmd.data, cmd.nc);
        }
    }
    card = host = session(level, SCP03_ANSWER);
    if (len > 0)
        memcpy(in, r.at, len);
    if (scp03_response_unwrap(&host, sw, in, &n) != CW_OK) {
        must_be_dead(&host);
        return;
    }
    buf_writer_init(&w, again, sizeof again);
    buf_put_bytes(&w, in, n);
    if (scp03_response_wrap(&card, sw, &w) != CW_OK)
        abort();
    same(again, w.len, r.at, len);
}

/* The data fields that open a session and change its keys. */
static void secure_setup(const uint8_t *data, size_t size)
{
    static const uint8_t zero[16];
    struct scp03_update update;
    struct scp03_keys keys;
    uint8_t bytes[SCP03_KEYS_LEN], version = 0;
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    if (scp03_update_parse(data, size, &update) == CW_OK) {
        scp03_update_write(&update, &w);
        same(bytes, w.len, data, size);
    }
    buf_writer_init(&w, bytes, sizeof bytes);
    if (scp03_keys_read(&open_crypto, zero, data, size, &version, &keys) == CW_OK) {
        if (scp03_keys_write(&open_crypto, zero, version, &keys, &w) != CW_OK)
            abort();
        same(bytes, w.len, data, size);
    }
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
    switch (which % 6) {
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
    case 4:
        secured(data, size);
        break;
    case 5:
        secure_setup(data, size);
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
