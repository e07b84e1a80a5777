/* info.c - INFO: what the card tells of itself, of its line, and of the handshake that it saw. */
#include "card/state.h"

#include "card/pool.h"
#include "proto/ber.h"

static void put_keys(const struct card *card, struct buf_writer *out)
{
    uint8_t keys = 0;
    uint8_t certificates = 0;
    for (unsigned slot = 1; slot <= LINK_KEY_COUNT; slot++) {
        if (key_present(card, slot))
            keys |= (uint8_t)(1u << (slot - 1));
        if (key_certified(card, slot))
            certificates |= (uint8_t)(1u << (slot - 1));
    }
    ber_put_header(out, LINK_TAG_KEYS, 2);
    buf_put_u8(out, keys);
    buf_put_u8(out, certificates);
}

static void put_tries(const struct card *card, uint16_t tag, enum link_pin pin,
                      struct buf_writer *out)
{
    ber_put_header(out, tag, 2);
    buf_put_u8(out, (uint8_t)pin_tries(card, pin));
    buf_put_u8(out, (uint8_t)pin_tries_max(card, pin));
}

static void put_u32(struct buf_writer *out, uint16_t tag, uint32_t value)
{
    ber_put_header(out, tag, 4);
    buf_put_u32(out, value);
}

static enum cw_err info_card(struct card *card, struct buf_writer *out)
{
    int64_t time = 0;
    uint32_t counter = 0;
    uint32_t sequence = 0;
    enum cw_err err = card_time(card, &time);
    if (err == CW_OK)
        err = order_counter(card, &counter);
    if (err == CW_OK)
        err = issuer_sequence(card, &sequence);
    if (err != CW_OK)
        return err;
    ber_put(out, LINK_TAG_SERIAL, card->port->unique_id, CARD_UNIQUE_ID_LEN);
    ber_put_u8(out, LINK_TAG_LIFE, (uint8_t)card_life(card));
    put_tries(card, LINK_TAG_TRIES, LINK_PIN_HOLDER, out);
    ber_put_u64(out, LINK_TAG_TIME, (uint64_t)time);
    put_keys(card, out);
    put_u32(out, LINK_TAG_LIMITS, CARD_COMMAND_DATA_MAX << 16 | CARD_RESPONSE_DATA_MAX);
    put_u32(out, LINK_TAG_COUNTER, counter);
    ber_put_header(out, LINK_TAG_VERSION, 2);
    buf_put_u8(out, LINK_VERSION_MAJOR);
    buf_put_u8(out, LINK_VERSION_MINOR);
    ber_put_u8(out, LINK_TAG_INTERFACE, card->port->contactless);
    ber_put_header(out, LINK_TAG_HEAP, 8);
    buf_put_u32(out, (uint32_t)pool_peak());
    buf_put_u32(out, CARD_POOL_SIZE);
    put_tries(card, LINK_TAG_PUK, LINK_PIN_PUK, out);
    ber_put_u8(out, LINK_TAG_FLAGS, pin_transport(card, LINK_PIN_HOLDER) ? LINK_FLAG_TRANSPORT : 0);
    put_u32(out, LINK_TAG_SEQUENCE, sequence);
    ber_put_u8(out, LINK_TAG_REFUSED, card->refused);
    ber_put_u8(out, LINK_TAG_KEYSET, secure_version(card));
    return CW_OK;
}

enum cw_err card_do_info(struct card_call *call)
{
    if (call->cmd->p1 != LINK_INFO_TRACE && call->cmd->p2 != 0)
        return CW_ERR_ARG;
    switch (call->cmd->p1) {
    case LINK_INFO_CARD:
        return info_card(call->card, call->out);
    case LINK_INFO_SESSION:
        line_info_put(&call->card->line, call->out);
        return CW_OK;
    default:
        line_events_put(&call->card->line, call->cmd->p2, call->out);
        return CW_OK;
    }
}
