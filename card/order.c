/* order.c - SIGN ORDER: the card signs orders that it has taken apart itself, never hashes from
 * outside. What is signed is a text that a person can read (docs/order.md), with the card's counter
 * and a value of this line, so that it is good once, from this card, in this line. */
#include "card/state.h"

#include "base/ct.h"
#include "proto/ber.h"
#include "proto/order.h"

#include <string.h>

#define SIGNATURE_MAX 256u /* RSA-2048; P-256 in DER takes at most 72 */

static unsigned order_slot(const struct card *card, unsigned wanted)
{
    if (wanted == LINK_KEY_AUTO)
        wanted = key_present(card, LINK_KEY_ORDER_P256) ? LINK_KEY_ORDER_P256 : LINK_KEY_ORDER_RSA;
    if (wanted != LINK_KEY_ORDER_P256 && wanted != LINK_KEY_ORDER_RSA)
        return 0;
    return key_certified(card, wanted) ? wanted : 0;
}

/* Advances the counter in memory before the signature is made: a number may be lost by a power cut,
 * never used twice. */
static enum cw_err counter_take(struct card *card, uint32_t *out)
{
    uint8_t b[4];
    struct buf_writer w;
    uint32_t last = 0;
    enum cw_err err = card_counter(card, &last);
    if (err != CW_OK)
        return err;
    if (last == UINT32_MAX)
        return CW_ERR_SPACE;
    buf_writer_init(&w, b, sizeof b);
    buf_put_u32(&w, last + 1);
    err = nvm_write(&card->nvm, NVM_COUNTER, b, sizeof b);
    if (err == CW_OK)
        *out = last + 1;
    return err;
}

enum cw_err card_do_sign_order(struct card_call *call)
{
    struct card *card = call->card;
    struct order_fields fields;
    struct order_seal seal;
    uint8_t text[ORDER_TEXT_MAX];
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = 0;
    struct buf_writer w;

    unsigned slot = order_slot(card, call->cmd->p2);
    if (slot == 0)
        return CW_ERR_NOT_FOUND;
    enum cw_err err = order_tlv_decode(call->cmd->data, call->cmd->nc, &fields);
    if (err != CW_OK)
        return CW_ERR_FORMAT;
    int64_t time = 0;
    err = card_time(card, &time);
    if (err != CW_OK)
        return err;
    if (fields.expiry <= time)
        return CW_ERR_FORMAT;
    if (!line_binding(&card->line, seal.binding))
        return CW_ERR_STATE;
    card->pin_order = false; /* one VERIFY, one order */
    memcpy(seal.serial, card->port->unique_id, sizeof seal.serial);
    err = counter_take(card, &seal.counter);
    if (err != CW_OK)
        return err;
    buf_writer_init(&w, text, sizeof text);
    err = order_text_write(&fields, &seal, &w);
    if (err == CW_OK)
        err = key_sign(slot, text, w.len, signature, sizeof signature, &signature_len);
    if (err != CW_OK)
        return err;
    ber_put(call->out, LINK_TAG_ORDER_TEXT, text, w.len);
    ber_put(call->out, LINK_TAG_SIGNATURE, signature, signature_len);
    return CW_OK;
}
