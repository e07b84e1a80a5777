/* pin_commands.c - VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER of the link application
 * (ISO/IEC 7816-4:2020 §11.6): who may give the PIN, and for what. */
#include "card/state.h"

#include "base/ct.h"

static void forget_given(struct card *card)
{
    hard_clear(&card->pin_line);
    hard_clear(&card->pin_order);
}

/* Over the air the PIN travels in clear: where the issuer permits it, and for orders by default
 * never. */
HARD_DECIDES static enum cw_err may_give(const struct card *card, uint8_t use)
{
    uint8_t flag = use == LINK_PIN_ORDER ? POLICY_ORDER_CONTACTLESS : POLICY_LINE_CONTACTLESS;
    return card_interface_permits(card, flag) ? CW_OK : CW_ERR_STATE;
}

/* A PIN that came by post opens nothing. */
HARD_DECIDES static enum cw_err may_open(const struct card *card)
{
    return pin_transport(card, LINK_PIN_HOLDER) ? CW_ERR_STATE : CW_OK;
}

enum cw_err card_do_verify(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    enum cw_err err = CW_OK;
    call->pin = LINK_PIN_HOLDER;
    if (cmd->p2 != LINK_PIN_LINE && cmd->p2 != LINK_PIN_ORDER)
        return CW_ERR_NOT_FOUND;
    if (HARD_SAYS_NO(err, may_give(card, cmd->p2)))
        return err;
    uint32_t *given = cmd->p2 == LINK_PIN_LINE ? &card->pin_line : &card->pin_order;
    if (cmd->nc == 0) {
        if (*given == HARD_YES)
            return CW_OK;
        return pin_tries(card, LINK_PIN_HOLDER) > 0 ? CW_ERR_AUTH : CW_ERR_BLOCKED;
    }
    *given = 0;
    if (HARD_SAYS_NO(err, may_open(card)))
        return err;
    err = pin_verify(card, LINK_PIN_HOLDER, cmd->data, cmd->nc, given);
    if (err == CW_ERR_AUTH || err == CW_ERR_BLOCKED)
        forget_given(card);
    return err;
}

/* Length of the first number (1), the first number, the new PIN. The new PIN is held against the
 * issuer's rules before the first number is looked at: a mistake there costs no try. */
static enum cw_err take_two(const struct card *card, const struct apdu_command *cmd,
                            const uint8_t **first, size_t *first_len, const uint8_t **pin,
                            size_t *pin_len)
{
    struct policy policy;
    struct buf_reader r;
    enum cw_err err = card_policy(card, &policy);
    if (err != CW_OK)
        return err;
    buf_reader_init(&r, cmd->data, cmd->nc);
    *first_len = buf_get_u8(&r);
    *first = buf_get_bytes(&r, *first_len);
    if (r.bad || *first_len < LINK_PIN_MIN || *first_len > LINK_PIN_MAX)
        return CW_ERR_LENGTH;
    *pin_len = r.left;
    *pin = buf_get_bytes(&r, r.left);
    return policy_pin_check(&policy.pin, *pin, *pin_len);
}

enum cw_err card_do_change_pin(struct card_call *call)
{
    const uint8_t *old = NULL, *pin = NULL;
    size_t old_len = 0, pin_len = 0;
    uint32_t given = 0;
    call->pin = LINK_PIN_HOLDER;
    if (call->cmd->p2 != LINK_PIN_LINE)
        return CW_ERR_NOT_FOUND;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, may_give(call->card, LINK_PIN_LINE)))
        return err;
    err = take_two(call->card, call->cmd, &old, &old_len, &pin, &pin_len);
    if (err != CW_OK)
        return err;
    /* A PIN that came by post is not changed by giving it twice. */
    if (old_len == pin_len && ct_equal(old, pin, pin_len) &&
        pin_transport(call->card, LINK_PIN_HOLDER))
        return CW_ERR_FORMAT;
    forget_given(call->card);
    return pin_change(call->card, LINK_PIN_HOLDER, old, old_len, pin, pin_len, &given);
}

enum cw_err card_do_reset_pin(struct card_call *call)
{
    const uint8_t *puk = NULL, *pin = NULL;
    size_t puk_len = 0, pin_len = 0;
    call->pin = LINK_PIN_PUK;
    if (call->cmd->p2 != LINK_PIN_LINE)
        return CW_ERR_NOT_FOUND;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, may_give(call->card, LINK_PIN_LINE)))
        return err;
    err = take_two(call->card, call->cmd, &puk, &puk_len, &pin, &pin_len);
    if (err != CW_OK)
        return err;
    forget_given(call->card);
    return pin_unblock(call->card, LINK_PIN_PUK, LINK_PIN_HOLDER, puk, puk_len, pin, pin_len);
}
