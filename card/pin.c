/* pin.c - the holder's PIN and its try counter. Stored padded to one length, so that the comparison
 * takes the same time whatever was given. */
#include "card/state.h"

#include "base/ct.h"

#include <string.h>

static void pin_pad(uint8_t out[PIN_STORED_LEN], const uint8_t *digits, size_t len)
{
    memset(out, 0, PIN_STORED_LEN);
    out[0] = (uint8_t)len;
    memcpy(out + 1, digits, len);
}

enum cw_err pin_set(struct nvm *nvm, const uint8_t *digits, size_t len)
{
    uint8_t stored[PIN_STORED_LEN];
    const uint8_t tries = LINK_PIN_TRIES;
    if (len < LINK_PIN_MIN || len > LINK_PIN_MAX)
        return CW_ERR_LENGTH;
    for (size_t i = 0; i < len; i++)
        if (digits[i] < '0' || digits[i] > '9')
            return CW_ERR_FORMAT;
    pin_pad(stored, digits, len);
    /* The counter first: a PIN without one counts as blocked. */
    enum cw_err err = nvm_write(nvm, NVM_TRIES, &tries, 1);
    if (err == CW_OK)
        err = nvm_write(nvm, NVM_PIN, stored, sizeof stored);
    ct_wipe(stored, sizeof stored);
    return err;
}

unsigned pin_tries(const struct nvm *nvm)
{
    uint8_t tries = 0;
    if (nvm_read_exact(nvm, NVM_TRIES, &tries, 1) != CW_OK || tries > LINK_PIN_TRIES)
        return 0;
    return tries;
}

enum cw_err pin_verify(struct nvm *nvm, const uint8_t *digits, size_t len)
{
    uint8_t stored[PIN_STORED_LEN];
    uint8_t given[PIN_STORED_LEN];
    unsigned tries = pin_tries(nvm);
    if (tries == 0)
        return CW_ERR_BLOCKED;
    if (len < LINK_PIN_MIN || len > LINK_PIN_MAX)
        return CW_ERR_LENGTH;
    enum cw_err err = nvm_read_exact(nvm, NVM_PIN, stored, sizeof stored);
    if (err != CW_OK)
        return err;
    pin_pad(given, digits, len);
    uint8_t left = (uint8_t)(tries - 1);
    err = nvm_write(nvm, NVM_TRIES, &left, 1);
    if (err != CW_OK)
        goto out;
    err = CW_ERR_AUTH;
    if (ct_equal(stored, given, sizeof stored)) {
        left = LINK_PIN_TRIES;
        err = nvm_write(nvm, NVM_TRIES, &left, 1);
    }
out:
    ct_wipe(stored, sizeof stored);
    ct_wipe(given, sizeof given);
    return err;
}
