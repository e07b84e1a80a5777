/* applet_holder.c - the holder's side of terminal/applet.h: is the card fit for use, its PIN
 * changed and unblocked, what the issuer permits it, and the issuer's signed messages on their way
 * in. */
#include "terminal/applet.h"

#include "base/cal.h"
#include "base/ct.h"

enum cw_err applet_alive(const struct applet_info *info, struct say *why)
{
    switch (info->life) {
    case LINK_LIFE_ACTIVE:
        return CW_OK;
    case LINK_LIFE_BLANK:
        return say_fail(why, CW_ERR_STATE,
                        "this card is blank: nobody has issued it; get one from your bank");
    case LINK_LIFE_PERSONALISED:
        return say_fail(why, CW_ERR_STATE,
                        "this card was made and not activated yet; ask your bank to activate it");
    case LINK_LIFE_LOCKED:
        return say_fail(why, CW_ERR_STATE,
                        "your bank has locked this card; ask your bank, which can unlock it");
    case LINK_LIFE_TERMINATED:
        return say_fail(why, CW_ERR_STATE,
                        "your bank has ended this card for ever, and its keys are gone; ask your "
                        "bank for a new one");
    }
    return say_fail(why, CW_ERR_STATE,
                    "the card is in a state that this program does not know; is this program older "
                    "than the card?");
}

enum cw_err applet_usable(const struct applet_info *info, struct say *why)
{
    enum cw_err err = applet_alive(info, why);
    if (err != CW_OK)
        return err;
    if (info->pin_tries_left == 0 && info->puk_tries_left == 0)
        return say_fail(why, CW_ERR_BLOCKED,
                        "PIN and PUK of this card are blocked; your bank can set new ones");
    if (info->pin_tries_left == 0)
        return applet_status(SW_PIN_BLOCKED, "take a PIN", why);
    if (info->transport)
        return say_fail(why, CW_ERR_STATE,
                        "this PIN came by post and must be changed first: cardwire pin change");
    return CW_OK;
}

/* What CHANGE REFERENCE DATA and RESET RETRY COUNTER say besides what every command may. */
static enum cw_err status_of_two(uint16_t sw, bool puk, const char *what, struct say *why)
{
    if (sw == SW_WRONG_DATA || sw == SW_WRONG_LENGTH)
        return say_fail(why, sw == SW_WRONG_DATA ? CW_ERR_FORMAT : CW_ERR_LENGTH,
                        "the card does not take this as a new PIN: it breaks a rule of your bank's "
                        "(cardwire card shows them); no try was spent");
    if (!puk)
        return applet_status(sw, what, why);
    if (sw == SW_PIN_BLOCKED)
        return say_fail(why, CW_ERR_BLOCKED,
                        "the PUK of this card is blocked; your bank can set new ones");
    if (sw == SW_PIN_TRIES)
        return say_fail(why, CW_ERR_AUTH,
                        "the PUK is wrong, and that was the last try; your bank can set a new one");
    if ((sw & 0xFFF0u) == SW_PIN_TRIES)
        return say_fail(why, CW_ERR_AUTH,
                        "the PUK is wrong; %u more %s before only your bank can help", sw & 15u,
                        (sw & 15u) == 1 ? "try" : "tries");
    return applet_status(sw, what, why);
}

/* Length of the first number (1), the first number, the new PIN (docs/card.md). */
static enum cw_err give_two(struct reader *r, uint8_t ins, const uint8_t *first, size_t first_len,
                            const uint8_t *pin, size_t pin_len, unsigned *tries_left,
                            struct say *why)
{
    const bool puk = ins == INS_RESET_PIN;
    uint8_t data[1 + 2 * LINK_PIN_MAX];
    uint8_t none[APDU_SHORT_NE_MAX];
    struct buf_writer w;
    size_t n = 0;
    uint16_t sw = 0;
    if (first_len < LINK_PIN_MIN || first_len > LINK_PIN_MAX || pin_len < LINK_PIN_MIN ||
        pin_len > LINK_PIN_MAX)
        return say_fail(why, CW_ERR_LENGTH, "a PIN is %u to %u digits", LINK_PIN_MIN, LINK_PIN_MAX);
    buf_writer_init(&w, data, sizeof data);
    buf_put_u8(&w, (uint8_t)first_len);
    buf_put_bytes(&w, first, first_len);
    buf_put_bytes(&w, pin, pin_len);
    enum cw_err err = applet_command(r, APDU_CLA_ISO, ins, 0, LINK_PIN_LINE, data, w.len, 0, none,
                                     sizeof none, &n, &sw, why);
    ct_wipe(data, sizeof data);
    if (err != CW_OK)
        return err;
    err = status_of_two(sw, puk, puk ? "unblock the PIN" : "change the PIN", why);
    if (tries_left != NULL && err == CW_ERR_AUTH)
        *tries_left = sw & 15u;
    return err;
}

enum cw_err applet_pin_change(struct reader *r, const uint8_t *old, size_t old_len,
                              const uint8_t *pin, size_t pin_len, unsigned *tries_left,
                              struct say *why)
{
    return give_two(r, INS_CHANGE_PIN, old, old_len, pin, pin_len, tries_left, why);
}

enum cw_err applet_pin_unblock(struct reader *r, const uint8_t *puk, size_t puk_len,
                               const uint8_t *pin, size_t pin_len, unsigned *tries_left,
                               struct say *why)
{
    return give_two(r, INS_RESET_PIN, puk, puk_len, pin, pin_len, tries_left, why);
}

enum cw_err applet_policy_get(struct reader *r, struct policy *out, struct say *why)
{
    uint8_t data[POLICY_LEN_MAX];
    size_t n = 0;
    enum cw_err err = applet_data_get(r, LINK_DO_POLICY, data, sizeof data, &n, why);
    if (err == CW_OK && policy_decode(data, n, out) != CW_OK)
        err = say_fail(why, CW_ERR_FORMAT,
                       "what the card says of its limits and PIN rules is not in order");
    return err;
}

enum cw_err applet_payees_get(struct reader *r, struct policy_payee out[POLICY_PAYEES_MAX],
                              size_t *count, struct say *why)
{
    uint8_t data[POLICY_PAYEES_LENMAX];
    struct buf_reader list;
    size_t n = 0;
    size_t found = 0;
    enum cw_err err = applet_data_get(r, LINK_DO_PAYEES, data, sizeof data, &n, why);
    if (err == CW_ERR_NOT_FOUND) { /* a card that was never given a list */
        *count = 0;
        return CW_OK;
    }
    if (err != CW_OK)
        return err;
    if (policy_payees_check(data, n) != CW_OK)
        return say_fail(why, CW_ERR_FORMAT, "the card's list of payees is not in order");
    buf_reader_init(&list, data, n);
    while (found < POLICY_PAYEES_MAX && policy_payee_next(&list, &out[found]))
        found++;
    *count = found;
    return CW_OK;
}

/* A command whose answer has `len` bytes. */
static enum cw_err ask(struct reader *r, uint8_t cla, uint8_t ins, const uint8_t *data, size_t nc,
                       uint8_t *out, size_t len, const char *what, struct say *why)
{
    uint8_t answer[APDU_SHORT_NE_MAX];
    struct buf_reader b;
    size_t n = 0;
    uint16_t sw = 0;
    enum cw_err err =
        applet_command(r, cla, ins, 0, 0, data, nc, len, answer, sizeof answer, &n, &sw, why);
    if (err == CW_OK)
        err = applet_status(sw, what, why);
    if (err != CW_OK)
        return err;
    if (n != len)
        return say_fail(why, CW_ERR_FORMAT, "the card answered with %zu bytes in the place of %zu",
                        n, len);
    buf_reader_init(&b, answer, n);
    for (size_t i = 0; i < len; i++)
        out[i] = buf_get_u8(&b);
    return CW_OK;
}

enum cw_err applet_challenge(struct reader *r, uint8_t out[ISSUER_CHALLENGE_LEN], struct say *why)
{
    return ask(r, APDU_CLA_ISO, INS_GET_CHALLENGE, NULL, 0, out, ISSUER_CHALLENGE_LEN,
               "give a challenge", why);
}

/* APPLY; `what` completes "the card refused to ...". */
static enum cw_err apply(struct reader *r, const uint8_t *message, size_t len, uint8_t *answer,
                         size_t answer_len, const char *what, struct say *why)
{
    enum cw_err err =
        ask(r, APDU_CLA_PROPRIETARY, INS_APPLY, message, len, answer, answer_len, what, why);
    if (err == CW_ERR_DENIED)
        err = say_fail(why, err,
                       "the card refused to %s: the message is not signed by the bank that issued "
                       "the card, or is for another card",
                       what);
    return err;
}

enum cw_err applet_apply_time(struct reader *r, const uint8_t *message, size_t len, int64_t *floor,
                              struct say *why)
{
    uint8_t answer[8];
    struct buf_reader b;
    enum cw_err err = apply(r, message, len, answer, sizeof answer, "take the bank's time", why);
    if (err != CW_OK)
        return err;
    buf_reader_init(&b, answer, sizeof answer);
    uint64_t time = buf_get_u64(&b);
    if (time > (uint64_t)CAL_MAX)
        return say_fail(why, CW_ERR_FORMAT, "the card answered with a time that is none");
    *floor = (int64_t)time;
    return CW_OK;
}

enum cw_err applet_apply_update(struct reader *r, const uint8_t *message, size_t len,
                                uint32_t *sequence, struct say *why)
{
    uint8_t answer[4];
    struct buf_reader b;
    enum cw_err err =
        apply(r, message, len, answer, sizeof answer, "take an update of the bank", why);
    if (err != CW_OK)
        return err;
    buf_reader_init(&b, answer, sizeof answer);
    *sequence = buf_get_u32(&b);
    return CW_OK;
}
