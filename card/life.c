/* life.c - the card's life: blank, personalised, active, locked, terminated (GlobalPlatform Card
 * Specification 2.3.1 §5.1), and what each step wants. docs/card.md has the picture. */
#include "card/state.h"

#include "base/ct.h"

#include <psa/crypto.h>

#define STATUS_CARD 0x80 /* SET STATUS P1: the card as a whole */

/* Nothing may be missing: the issuer's own keys, a PIN, a floor of time, a policy, the update key,
 * a root, a name, a TLS key, and for every key its certificate. */
static bool complete(const struct card *card)
{
    size_t len = 0;
    int64_t time = 0;
    struct policy policy;
    if (secure_version(card) == 0 || secure_version(card) == CARD_INITIAL_KEYSET)
        return false;
    if (!pin_present(card, LINK_PIN_HOLDER) || !pin_present(card, LINK_PIN_PUK))
        return false;
    if (card_time(card, &time) != CW_OK || time == 0 || card_policy(card, &policy) != CW_OK)
        return false;
    if (nvm_size(&card->nvm, NVM_ISSUER, &len) != CW_OK || objects_remain(card, NULL, 0) != CW_OK)
        return false;
    for (unsigned slot = 1; slot <= LINK_KEY_COUNT; slot++)
        if (key_present(card, slot) && !key_certified(card, slot))
            return false;
    return key_present(card, LINK_KEY_TLS_P256) || key_present(card, LINK_KEY_TLS_RSA);
}

enum cw_err life_check(const struct card *card, enum link_life to)
{
    enum link_life from = card_life(card);
    bool permitted = false;
    switch (to) {
    case LINK_LIFE_PERSONALISED:
        permitted = from == LINK_LIFE_BLANK && complete(card);
        break;
    case LINK_LIFE_ACTIVE:
        /* A locked card was complete; a key that was begun since does not keep it locked for ever.
         */
        permitted = from == LINK_LIFE_LOCKED || (from == LINK_LIFE_PERSONALISED && complete(card));
        break;
    case LINK_LIFE_LOCKED:
        permitted = from == LINK_LIFE_ACTIVE || from == LINK_LIFE_PERSONALISED;
        break;
    case LINK_LIFE_TERMINATED:
        permitted = from != LINK_LIFE_TERMINATED;
        break;
    case LINK_LIFE_BLANK:
        break;
    }
    return permitted ? CW_OK : CW_ERR_STATE;
}

/* Removes every value but these. */
static enum cw_err remove_others(struct card *card, const uint16_t *kept, size_t count)
{
    uint16_t key = 0;
    enum cw_err err = CW_OK;
    session_forget_all(card); /* the one in RAM too */
    for (unsigned slot = 1; slot <= LINK_KEY_COUNT; slot++)
        (void)psa_destroy_key(slot); /* what the library holds in RAM; the values go below */
    while (err == CW_OK && nvm_next(&card->nvm, &key)) {
        bool keep = false;
        for (size_t i = 0; i < count; i++)
            keep |= key == kept[i];
        if (!keep)
            err = nvm_remove(&card->nvm, key);
    }
    return err;
}

enum cw_err life_begin_anew(struct card *card)
{
    static const uint16_t kept[] = {NVM_LIFE, NVM_KEYSET};
    key_unfinished_drop(card);
    return remove_others(card, kept, sizeof kept / sizeof kept[0]);
}

/* Takes everything away but what says who the card was and that it is dead, and moves the rest, so
 * that nothing of it is left in the flash. */
static enum cw_err wipe(struct card *card)
{
    static const uint16_t kept[] = {NVM_LIFE, NVM_COUNTER, NVM_SEQUENCE, NVM_TIME};
    enum cw_err err = remove_others(card, kept, sizeof kept / sizeof kept[0]);
    /* The power may have failed when all was removed and nothing moved yet: the log is then longer
     * than a move leaves it, by the key set at least, which every card has. */
    const struct nvm_usage now = nvm_usage(&card->nvm);
    if (err == CW_OK && now.log != now.live)
        err = nvm_compact(&card->nvm);
    return err;
}

enum cw_err life_settle(struct card *card)
{
    enum link_life life = card_life(card);
    if (life != LINK_LIFE_ACTIVE) {
        /* Not the issuer's channel: the answer still has to go through it. */
        line_drop(&card->line);
        hard_clear(&card->pin_line);
        hard_clear(&card->pin_order);
        ct_wipe(&card->piv, sizeof card->piv);
    }
    return life == LINK_LIFE_TERMINATED ? wipe(card) : CW_OK;
}

enum cw_err card_do_set_status(struct card_call *call)
{
    struct card *card = call->card;
    uint8_t life = call->cmd->p2;
    if (call->cmd->p1 != STATUS_CARD || life < LINK_LIFE_BLANK || life > LINK_LIFE_TERMINATED)
        return CW_ERR_ARG;
    enum cw_err err = life_check(card, (enum link_life)life);
    if (err != CW_OK)
        return err;
    uint8_t ledger[ORDER_LEDGER_LEN];
    const uint8_t sequence[4] = {0};
    const struct nvm_change changes[] = {
        {.key = NVM_LIFE, .data = &life, .len = 1},
        /* From the first step on a missing counter is a fault, not a beginning. */
        {.key = NVM_COUNTER, .data = ledger, .len = sizeof ledger},
        {.key = NVM_SEQUENCE, .data = sequence, .len = sizeof sequence},
    };
    order_begin(ledger);
    err = nvm_change_all(&card->nvm, changes, life == LINK_LIFE_PERSONALISED ? 3 : 1);
    if (err != CW_OK)
        return err;
    key_unfinished_drop(card); /* what the life before had begun */
    return life_settle(card);
}
