/* piv_pin.c - VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER of the PIV application
 * (SP 800-73-4 part 2 §3.2). PIN and PUK are PIV's own; those of the link application are out of
 * reach here. */
#include "card/state.h"

#define FIELD_LEN 8u /* of a PIN or PUK on the interface, padded with FF */
#define LEN_MIN   6u

static void forget_given(struct card *card)
{
    hard_clear(&card->piv.pin);
    hard_clear(&card->piv.pin_at);
}

/* Length of the number in a field, without the padding; 0 when it is none (part 2 §2.4.3): a PIN
 * has six digits or more. A PUK may be of any bytes, so far as padding leaves them. */
static size_t number_len(const uint8_t field[FIELD_LEN], bool digits)
{
    size_t len = FIELD_LEN;
    while (len > 0 && field[len - 1] == 0xFF)
        len--;
    for (size_t i = 0; i < len && digits; i++)
        if (field[i] < '0' || field[i] > '9')
            return 0;
    return len >= LEN_MIN ? len : 0;
}

/* Over the air, where the issuer permits it. */
HARD_DECIDES static enum cw_err may_give(const struct card *card)
{
    return card_interface_permits(card, POLICY_PIV_CONTACTLESS) ? CW_OK : CW_ERR_DENIED;
}

enum cw_err piv_do_verify(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    call->pin = LINK_PIN_PIV;
    if (cmd->p2 != PIV_REF_PIN)
        return CW_ERR_NOT_FOUND;
    if (cmd->p1 == 0xFF) {
        if (cmd->nc > 0)
            return CW_ERR_FORMAT;
        forget_given(card);
        return CW_OK;
    }
    if (cmd->p1 != 0x00)
        return CW_ERR_ARG;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, may_give(card)))
        return err;
    if (cmd->nc == 0) {
        if (card->piv.pin == HARD_YES)
            return CW_OK;
        return pin_tries(card, LINK_PIN_PIV) > 0 ? CW_ERR_AUTH : CW_ERR_BLOCKED;
    }
    size_t len = cmd->nc == FIELD_LEN ? number_len(cmd->data, true) : 0;
    if (len == 0) /* costs no try */
        return CW_ERR_FORMAT;
    forget_given(card);
    err = pin_verify(card, LINK_PIN_PIV, cmd->data, len, &card->piv.pin);
    if (err == CW_OK)
        card->piv.pin_at = card->commands;
    return err;
}

enum cw_err piv_do_change_pin(struct card_call *call)
{
    struct card *card = call->card;
    const uint8_t *old = call->cmd->data;
    const uint8_t *new = old + FIELD_LEN;
    bool puk = call->cmd->p2 == PIV_REF_PUK;
    enum link_pin pin = puk ? LINK_PIN_PIV_PUK : LINK_PIN_PIV;
    uint32_t of_puk = 0;
    call->pin = pin;
    if (!puk && call->cmd->p2 != PIV_REF_PIN)
        return CW_ERR_NOT_FOUND;
    if (puk && card->port->contactless)
        return CW_ERR_DENIED;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, may_give(card)))
        return err;
    size_t old_len = number_len(old, !puk);
    size_t new_len = number_len(new, !puk);
    if (old_len == 0 || new_len == 0)
        return CW_ERR_FORMAT;
    if (!puk)
        forget_given(card);
    /* Part 2 §3.2.2: the PIN counts as given; a signature by 9C wants VERIFY all the same. */
    return pin_change(card, pin, old, old_len, new, new_len, puk ? &of_puk : &card->piv.pin);
}

enum cw_err piv_do_reset_pin(struct card_call *call)
{
    struct card *card = call->card;
    const uint8_t *puk = call->cmd->data;
    const uint8_t *pin = puk + FIELD_LEN;
    call->pin = LINK_PIN_PIV_PUK;
    if (call->cmd->p2 != PIV_REF_PIN)
        return CW_ERR_NOT_FOUND;
    size_t puk_len = number_len(puk, false);
    size_t pin_len = number_len(pin, true);
    if (puk_len == 0 || pin_len == 0)
        return CW_ERR_FORMAT;
    enum cw_err err = pin_unblock(card, LINK_PIN_PIV_PUK, LINK_PIN_PIV, puk, puk_len, pin, pin_len);
    if (err != CW_OK) /* §3.2.3; when it succeeds the status stays as it was */
        forget_given(card);
    return err;
}
