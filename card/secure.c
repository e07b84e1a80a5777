/* secure.c - the card's end of the issuer's secure channel: SCP03 (proto/scp03.h), always with
 * everything encrypted and authenticated both ways. Which commands want it, their rows say. */
#include "card/state.h"

#include "base/ct.h"
#include "card/scp03_mbedtls.h"

#include <string.h>

/* The key set as stored: version, then ENC, MAC, DEK. */
#define STORED_LEN (1u + 3u * SCP03_KEY_LEN)

static enum cw_err keys_read(const struct card *card, uint8_t *version, struct scp03_keys *out)
{
    uint8_t stored[STORED_LEN];
    struct buf_reader r;
    enum cw_err err = nvm_read_exact(&card->nvm, NVM_KEYSET, stored, sizeof stored);
    if (err == CW_OK) {
        buf_reader_init(&r, stored, sizeof stored);
        *version = buf_get_u8(&r);
        memcpy(out->enc, buf_get_bytes(&r, SCP03_KEY_LEN), SCP03_KEY_LEN);
        memcpy(out->mac, buf_get_bytes(&r, SCP03_KEY_LEN), SCP03_KEY_LEN);
        memcpy(out->dek, buf_get_bytes(&r, SCP03_KEY_LEN), SCP03_KEY_LEN);
    }
    ct_wipe(stored, sizeof stored);
    return err == CW_OK ? CW_OK : CW_ERR_IO;
}

static enum cw_err keys_write(struct card *card, uint8_t version, const struct scp03_keys *keys)
{
    uint8_t stored[STORED_LEN];
    struct buf_writer w;
    buf_writer_init(&w, stored, sizeof stored);
    buf_put_u8(&w, version);
    buf_put_bytes(&w, keys->enc, SCP03_KEY_LEN);
    buf_put_bytes(&w, keys->mac, SCP03_KEY_LEN);
    buf_put_bytes(&w, keys->dek, SCP03_KEY_LEN);
    enum cw_err err = nvm_write(&card->nvm, NVM_KEYSET, stored, w.len);
    ct_wipe(stored, sizeof stored);
    return err;
}

enum cw_err secure_begin(struct card *card)
{
    struct scp03_keys keys;
    memcpy(keys.enc, card->port->initial_key, SCP03_KEY_LEN);
    memcpy(keys.mac, card->port->initial_key, SCP03_KEY_LEN);
    memcpy(keys.dek, card->port->initial_key, SCP03_KEY_LEN);
    enum cw_err err = keys_write(card, CARD_INITIAL_KEYSET, &keys);
    ct_wipe(&keys, sizeof keys);
    return err;
}

uint8_t secure_version(const struct card *card)
{
    uint8_t version = 0;
    struct scp03_keys keys;
    enum cw_err err = keys_read(card, &version, &keys);
    ct_wipe(&keys, sizeof keys);
    return err == CW_OK ? version : 0;
}

bool secure_is_open(const struct card *card)
{
    return scp03_is_open(&card->channel);
}

bool secure_is_proved(const struct card *card)
{
    return card->channel.state == SCP03_ANSWER;
}

void secure_drop(struct card *card)
{
    scp03_end(&card->channel);
}

enum cw_err secure_unwrap(struct card *card, struct apdu_command *cmd)
{
    return scp03_command_unwrap(&card->channel, cmd, card->command, sizeof card->command);
}

enum cw_err secure_wrap(struct card *card, uint16_t sw, struct buf_writer *out)
{
    return scp03_response_wrap(&card->channel, sw, out);
}

enum cw_err card_do_initialize_update(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    struct scp03_keys keys;
    struct scp03_update update = {.i = SCP03_I_FULL};
    enum cw_err err = keys_read(card, &update.version, &keys);
    /* P1: version of the key set; 0: whichever there is. */
    if (err == CW_OK && cmd->p1 != 0 && cmd->p1 != update.version)
        err = CW_ERR_NOT_FOUND;
    if (err == CW_OK)
        err = card->port->random(card->port->ctx, update.challenge, sizeof update.challenge);
    if (err == CW_OK) {
        memcpy(update.diversification, card->port->unique_id, CARD_UNIQUE_ID_LEN);
        err = scp03_card_begin(&card->channel, &scp03_mbedtls, &keys, cmd->data, &update);
    }
    if (err == CW_OK)
        scp03_update_write(&update, call->out);
    ct_wipe(&keys, sizeof keys);
    return err;
}

enum cw_err card_do_external_authenticate(struct card_call *call)
{
    struct card *card = call->card;
    if (!(call->cmd->cla & SCP03_CLA_SECURE))
        return CW_ERR_STATE;
    return scp03_card_authenticate(&card->channel, call->cmd, SCP03_LEVEL_FULL);
}

/* The whole set at once, in the place of the one there is. P1: the version that is replaced, or 0.
 * In a blank card nothing that was written under the old set stays: the maker's keys may be known
 * to everybody who had the card in hand before. */
enum cw_err card_do_put_key(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    struct scp03_keys now, next;
    uint8_t version = 0;
    uint8_t next_version = 0;
    if (cmd->p2 != SCP03_PUT_KEY_P2)
        return CW_ERR_ARG;
    enum cw_err err = keys_read(card, &version, &now);
    if (err == CW_OK && cmd->p1 != 0 && cmd->p1 != version)
        err = CW_ERR_NOT_FOUND;
    if (err == CW_OK)
        err = scp03_keys_read(&scp03_mbedtls, now.dek, cmd->data, cmd->nc, &next_version, &next);
    if (err == CW_OK && (next_version == 0 || next_version > 0x7F))
        err = CW_ERR_FORMAT;
    if (err == CW_OK)
        err = scp03_keys_confirm(&scp03_mbedtls, next_version, &next, call->out);
    if (err == CW_OK && card_life(card) == LINK_LIFE_BLANK)
        err = life_begin_anew(card);
    if (err == CW_OK)
        err = keys_write(card, next_version, &next);
    ct_wipe(&now, sizeof now);
    ct_wipe(&next, sizeof next);
    return err;
}
