/* values.c - what the card remembers beyond power and everything asks for: its life, its time, the
 * issuer's policy. What is not there, or cannot be read, permits nothing. */
#include "card/state.h"

#include "base/cal.h"

enum link_life card_life(const struct card *card)
{
    uint8_t life = 0;
    if (nvm_read_exact(&card->nvm, NVM_LIFE, &life, 1) != CW_OK)
        return 0;
    return life >= LINK_LIFE_BLANK && life <= LINK_LIFE_TERMINATED ? (enum link_life)life : 0;
}

enum cw_err card_number(const struct card *card, uint16_t key, size_t len, uint64_t *out)
{
    uint8_t b[8] = {0};
    uint64_t v = 0;
    enum cw_err err = nvm_read_exact(&card->nvm, key, b, len);
    if (err != CW_OK)
        return err == CW_ERR_NOT_FOUND ? err : CW_ERR_IO;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | b[i];
    *out = v;
    return CW_OK;
}

/* May a value be missing that issuance writes, and read as 0? Only while it is not complete, and
 * when all is gone. */
bool card_incomplete(const struct card *card)
{
    enum link_life life = card_life(card);
    return life == LINK_LIFE_BLANK || life == LINK_LIFE_TERMINATED;
}

enum cw_err card_time(const struct card *card, int64_t *out)
{
    uint64_t v = 0;
    enum cw_err err = card_number(card, NVM_TIME, 8, &v);
    if (err == CW_ERR_NOT_FOUND && card_incomplete(card))
        err = CW_OK;
    if (err != CW_OK || v > (uint64_t)CAL_MAX)
        return CW_ERR_IO;
    *out = (int64_t)v;
    return CW_OK;
}

enum cw_err card_policy(const struct card *card, struct policy *out)
{
    uint8_t stored[POLICY_LEN_MAX];
    size_t len = 0;
    if (nvm_read(&card->nvm, NVM_POLICY, 0, stored, sizeof stored, &len) != CW_OK)
        return CW_ERR_IO;
    return policy_decode(stored, len, out) == CW_OK ? CW_OK : CW_ERR_IO;
}

bool card_interface_permits(const struct card *card, uint8_t flag)
{
    struct policy policy;
    if (!card->port->contactless)
        return true;
    return card_policy(card, &policy) == CW_OK && (policy.flags & flag) != 0;
}
