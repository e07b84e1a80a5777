#include "receipt/entry.h"

#include <openssl/sha.h>

#define LABEL "CARDWIRE ENTRY 1\n"

void entry_request_hash(const uint8_t *text, size_t text_len, const uint8_t *signature,
                        size_t signature_len, uint8_t out[DIGEST_LEN])
{
    uint8_t bytes[4 + ORDER_TEXT_MAX + ENTRY_SIGNATURE_MAX];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    buf_put_u32(&w, (uint32_t)text_len);
    buf_put_bytes(&w, text, text_len);
    buf_put_bytes(&w, signature, signature_len);
    SHA256(bytes, w.len, out);
}

void entry_order_hash(struct digest *d, const struct entry_order *order, uint8_t out[DIGEST_LEN])
{
    digest_begin(d);
    if (order != NULL) {
        digest_put(d, order->id, ORDER_ID_LEN);
        digest_put(d, order->request, DIGEST_LEN);
        digest_put(d, order->card, ORDER_SERIAL_LEN);
        digest_put_number(d, order->counter);
        digest_put(d, order->certificate, DIGEST_LEN);
        digest_put_field(d, order->text, order->text_len);
        digest_put_field(d, order->signature, order->signature_len);
    }
    digest_end(d, out);
}

void entry_own_hash(struct digest *d, int64_t id, int64_t time, const uint8_t booked[DIGEST_LEN],
                    const uint8_t order[DIGEST_LEN], uint8_t out[DIGEST_LEN])
{
    digest_begin(d);
    digest_put_number(d, id);
    digest_put_number(d, time);
    digest_put(d, booked, DIGEST_LEN);
    digest_put(d, order, DIGEST_LEN);
    digest_end(d, out);
}

void entry_chain_hash(struct digest *d, const uint8_t before[DIGEST_LEN],
                      const uint8_t own[DIGEST_LEN], uint8_t out[DIGEST_LEN])
{
    digest_begin(d);
    digest_put(d, LABEL, sizeof LABEL - 1);
    digest_put(d, before, DIGEST_LEN);
    digest_put(d, own, DIGEST_LEN);
    digest_end(d, out);
}
