/* pin.c - the card's secret numbers and their try counters. Stored padded to one length, so that
 * the comparison takes the same time whatever was given. Who may give which, and for what, is not
 * decided here. */
#include "card/state.h"

#include "base/ct.h"

#include <string.h>

#define FLAGS_AT  0
#define LEN_AT    1
#define DIGITS_AT 2

static uint16_t pin_key(enum link_pin pin)
{
    return (uint16_t)(NVM_PIN | (unsigned)pin);
}

static uint16_t tries_key(enum link_pin pin)
{
    return (uint16_t)(NVM_TRIES | (unsigned)pin);
}

static void pad(uint8_t out[PIN_STORED_LEN], uint8_t flags, const uint8_t *digits, size_t len)
{
    memset(out, 0, PIN_STORED_LEN);
    out[FLAGS_AT] = flags;
    out[LEN_AT] = (uint8_t)len;
    memcpy(out + DIGITS_AT, digits, len);
}

/* Tries left and maximum; both 0 when there is no PIN, or nothing that makes sense. */
static void tries_read(const struct card *card, enum link_pin pin, uint8_t out[2])
{
    if (nvm_read_exact(&card->nvm, tries_key(pin), out, 2) != CW_OK || out[0] > out[1] ||
        out[1] > 15)
        memset(out, 0, 2);
}

static enum cw_err tries_write(struct card *card, enum link_pin pin, uint8_t left, uint8_t max)
{
    const uint8_t tries[2] = {left, max};
    return nvm_write(&card->nvm, tries_key(pin), tries, sizeof tries);
}

unsigned pin_tries(const struct card *card, enum link_pin pin)
{
    uint8_t tries[2];
    tries_read(card, pin, tries);
    return tries[0];
}

unsigned pin_tries_max(const struct card *card, enum link_pin pin)
{
    uint8_t tries[2];
    tries_read(card, pin, tries);
    return tries[1];
}

bool pin_present(const struct card *card, enum link_pin pin)
{
    size_t len = 0;
    return pin_tries_max(card, pin) > 0 && nvm_size(&card->nvm, pin_key(pin), &len) == CW_OK;
}

bool pin_transport(const struct card *card, enum link_pin pin)
{
    uint8_t stored[PIN_STORED_LEN];
    enum cw_err err = nvm_read_exact(&card->nvm, pin_key(pin), stored, sizeof stored);
    /* What cannot be read opens nothing. */
    bool must =
        err == CW_OK ? (stored[FLAGS_AT] & LINK_PIN_TRANSPORT) != 0 : err != CW_ERR_NOT_FOUND;
    ct_wipe(stored, sizeof stored);
    return must;
}

enum cw_err pin_set(struct card *card, enum link_pin pin, uint8_t tries, uint8_t flags,
                    const uint8_t *digits, size_t len)
{
    uint8_t stored[PIN_STORED_LEN];
    if (len == 0 || len > LINK_PIN_MAX || tries < 1 || tries > 15)
        return CW_ERR_LENGTH;
    pad(stored, flags, digits, len);
    /* Together: a new PIN with the tries of the old one, or the other way round, never is. */
    const uint8_t full[2] = {tries, tries};
    const struct nvm_change changes[] = {
        {.key = pin_key(pin), .data = stored, .len = sizeof stored},
        {.key = tries_key(pin), .data = full, .len = sizeof full},
    };
    enum cw_err err = nvm_change_all(&card->nvm, changes, sizeof changes / sizeof changes[0]);
    ct_wipe(stored, sizeof stored);
    return err;
}

/* Is this the number that is stored? HARD_YES or 0; CW_ERR_IO when it cannot be told. Whoever asks
 * has taken down a try, or has proved already that he may know. */
HARD_DECIDES static enum cw_err pin_is(const struct card *card, enum link_pin pin,
                                       const uint8_t *digits, size_t len, uint32_t *same)
{
    uint8_t stored[PIN_STORED_LEN];
    uint8_t given[PIN_STORED_LEN];
    enum cw_err err = nvm_read_exact(&card->nvm, pin_key(pin), stored, sizeof stored);
    *same = 0;
    if (err == CW_OK) {
        pad(given, stored[FLAGS_AT], digits, len);
        if (ct_equal(stored, given, sizeof stored))
            *same = HARD_YES;
    }
    ct_wipe(stored, sizeof stored);
    ct_wipe(given, sizeof given);
    return err == CW_OK ? CW_OK : CW_ERR_IO;
}

/* Takes a try down, and sees that it has arrived. */
static enum cw_err take_try(struct card *card, enum link_pin pin, uint8_t tries[2])
{
    tries_read(card, pin, tries);
    if (tries[0] == 0)
        return CW_ERR_BLOCKED;
    enum cw_err err = tries_write(card, pin, (uint8_t)(tries[0] - 1), tries[1]);
    if (err == CW_OK && pin_tries(card, pin) != tries[0] - 1u)
        err = CW_ERR_IO;
    return err;
}

enum cw_err pin_verify(struct card *card, enum link_pin pin, const uint8_t *digits, size_t len,
                       uint32_t *given)
{
    uint8_t tries[2];
    uint32_t again = 0;
    *given = 0;
    if (pin_tries(card, pin) == 0)
        return CW_ERR_BLOCKED;
    if (len < LINK_PIN_MIN || len > LINK_PIN_MAX)
        return CW_ERR_LENGTH;
    enum cw_err err = take_try(card, pin, tries);
    if (err == CW_OK)
        err = pin_is(card, pin, digits, len, given);
    if (err == CW_OK)
        err = pin_is(card, pin, digits, len, &again);
    *given = hard_both(*given, again);
    if (err != CW_OK)
        return err;
    if (hard_is_yes(given)) {
        err = tries_write(card, pin, tries[1], tries[1]);
        if (err != CW_OK)
            hard_clear(given);
        return err;
    }
    if (pin == LINK_PIN_HOLDER && tries[0] == 1)
        session_forget_all(card); /* no line goes on without the PIN */
    return CW_ERR_AUTH;
}

enum cw_err pin_change(struct card *card, enum link_pin pin, const uint8_t *old, size_t old_len,
                       const uint8_t *digits, size_t len, uint32_t *given)
{
    enum cw_err err = pin_verify(card, pin, old, old_len, given);
    if (err != CW_OK)
        return err;
    if (!hard_is_yes(given))
        return CW_ERR_AUTH;
    err = pin_set(card, pin, (uint8_t)pin_tries_max(card, pin), 0, digits, len);
    if (err != CW_OK)
        hard_clear(given);
    return err;
}

enum cw_err pin_unblock(struct card *card, enum link_pin puk, enum link_pin pin,
                        const uint8_t *puk_digits, size_t puk_len, const uint8_t *digits,
                        size_t len)
{
    if (!pin_present(card, pin))
        return CW_ERR_NOT_FOUND;
    uint32_t given = 0;
    uint32_t same = 0;
    enum cw_err err = pin_verify(card, puk, puk_digits, puk_len, &given);
    if (err == CW_OK && pin_transport(card, pin))
        err = pin_is(card, pin, digits, len, &same);
    if (err == CW_OK && same != 0)
        err = CW_ERR_FORMAT; /* that one has come by post */
    if (err != CW_OK)
        return err;
    if (!hard_is_yes(&given))
        return CW_ERR_AUTH;
    return pin_set(card, pin, (uint8_t)pin_tries_max(card, pin), 0, digits, len);
}
