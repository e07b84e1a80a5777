/* issuer.c - signed messages of the issuer (proto/issuer.h): a new time, and updates of what
 * issuance wrote. The terminal carries them and can keep them back; it can neither make nor change
 * nor repeat one. docs/time.md and docs/card.md. */
#include "card/state.h"

#include "base/ct.h"

#include <psa/crypto.h>
#include <string.h>

/* A new time may be at most so far after the card's own: an issuer's clock that was wrong for a
 * moment, or whoever got hold of it, cannot make the card refuse everything as expired at one
 * stroke. Shorter than the life of server certificates (90 days), so that new ones are still good
 * after it. */
#define TIME_JUMP_MAX (INT64_C(31) * 86400)

enum cw_err issuer_sequence(const struct card *card, uint32_t *out)
{
    uint64_t v = 0;
    enum cw_err err = card_number(card, NVM_SEQUENCE, 4, &v);
    if (err == CW_ERR_NOT_FOUND && card_incomplete(card))
        err = CW_OK;
    if (err != CW_OK)
        return CW_ERR_IO;
    *out = (uint32_t)v;
    return CW_OK;
}

/* What makes a signed time fresh. Used up by the next message, good or bad. */
enum cw_err card_do_challenge(struct card_call *call)
{
    struct card *card = call->card;
    card->challenged = false;
    enum cw_err err = card->port->random(card->port->ctx, card->challenge, sizeof card->challenge);
    if (err != CW_OK)
        return err;
    card->challenged = true;
    buf_put_bytes(call->out, card->challenge, sizeof card->challenge);
    return CW_OK;
}

/* ECDSA P-256 with SHA-256 over the prefix and the message. */
static enum cw_err verify(const struct card *card, const uint8_t *data, size_t len,
                          const uint8_t *signature)
{
    uint8_t point[ISSUER_POINT_LEN];
    uint8_t hash[PSA_HASH_LENGTH(PSA_ALG_SHA_256)];
    size_t hash_len = 0;
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    psa_hash_operation_t op = PSA_HASH_OPERATION_INIT;
    if (nvm_read_exact(&card->nvm, NVM_ISSUER, point, sizeof point) != CW_OK)
        return CW_ERR_IO;
    psa_status_t status = psa_hash_setup(&op, PSA_ALG_SHA_256);
    if (status == PSA_SUCCESS)
        status = psa_hash_update(&op, (const uint8_t *)ISSUER_PREFIX, sizeof ISSUER_PREFIX - 1);
    if (status == PSA_SUCCESS)
        status = psa_hash_update(&op, data, len);
    if (status == PSA_SUCCESS)
        status = psa_hash_finish(&op, hash, sizeof hash, &hash_len);
    psa_hash_abort(&op);
    if (status != PSA_SUCCESS)
        return CW_ERR_CRYPTO;
    psa_set_key_type(&a, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&a, 256);
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_VERIFY_HASH);
    psa_set_key_algorithm(&a, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    if (psa_import_key(&a, point, sizeof point, &id) != PSA_SUCCESS)
        return CW_ERR_CRYPTO;
    status = psa_verify_hash(id, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, hash_len, signature,
                             ISSUER_SIGNATURE_LEN);
    psa_destroy_key(id);
    return status == PSA_SUCCESS ? CW_OK : CW_ERR_DENIED;
}

/* The floor grows to the time given, at most by one jump; the answer is where it stands. Further
 * jumps want further messages. */
static enum cw_err apply_time(struct card_call *call, const struct issuer_message *m)
{
    struct card *card = call->card;
    uint8_t b[8];
    struct buf_writer w;
    int64_t floor = 0;
    enum cw_err err = card_time(card, &floor);
    if (err != CW_OK)
        return err;
    int64_t to = m->time - floor > TIME_JUMP_MAX ? floor + TIME_JUMP_MAX : m->time;
    if (to > floor) {
        buf_writer_init(&w, b, sizeof b);
        buf_put_u64(&w, (uint64_t)to);
        err = nvm_write(&card->nvm, NVM_TIME, b, sizeof b);
        floor = to;
    }
    if (err == CW_OK)
        buf_put_u64(call->out, (uint64_t)floor);
    return err;
}

/* May the message write this? Over the air the card takes what a line, an order or its policy is
 * about; never a key pair, a certificate of its own, a PIN, or a time without a challenge. */
static enum cw_err write_check(struct card *card, const struct issuer_write *w)
{
    if (w->object == LINK_DO_LIFE) {
        if (w->len != 1 || (w->value[0] != LINK_LIFE_LOCKED && w->value[0] != LINK_LIFE_TERMINATED))
            return CW_ERR_FORMAT;
        return life_check(card, (enum link_life)w->value[0]);
    }
    switch (w->object & 0xFF00) {
    case LINK_DO_ROOT:
    case LINK_DO_NAME:
    case LINK_DO_POLICY:
    case LINK_DO_ISSUER:
    case LINK_DO_PAYEES:
        if (w->len == 0)
            return object_removable(w->object) ? CW_OK : CW_ERR_FORMAT;
        return object_check(card, w->object, w->value, w->len);
    default:
        return CW_ERR_FORMAT;
    }
}

static enum cw_err update_check(struct card *card, const struct issuer_message *m)
{
    uint32_t last = 0;
    enum cw_err err = issuer_sequence(card, &last);
    if (err == CW_OK && m->sequence <= last)
        err = CW_ERR_STATE;
    for (size_t i = 0; i < m->write_count && err == CW_OK; i++) {
        err = write_check(card, &m->writes[i]);
        for (size_t k = 0; k < i && err == CW_OK; k++)
            if (m->writes[k].object == m->writes[i].object)
                err = CW_ERR_FORMAT; /* which of them would count? */
    }
    return err == CW_OK ? objects_remain(card, m->writes, m->write_count) : err;
}

static struct nvm_change change_of(const struct issuer_write *w)
{
    return (struct nvm_change){
        .key = w->object == LINK_DO_LIFE ? (uint16_t)NVM_LIFE : w->object,
        .remove = w->len == 0,
        .data = w->value,
        .len = w->len,
    };
}

/* All of it or nothing, at whichever byte the power fails. */
static enum cw_err apply_update(struct card_call *call, const struct issuer_message *m)
{
    struct card *card = call->card;
    struct nvm_change changes[ISSUER_WRITES_MAX + 1];
    uint8_t sequence[4];
    struct buf_writer w;
    if (m->sequence == 0)
        return CW_ERR_STATE; /* a time is no update */
    buf_writer_init(&w, sequence, sizeof sequence);
    buf_put_u32(&w, m->sequence);
    size_t count = 0;
    bool trust = false;
    for (; count < m->write_count; count++) {
        changes[count] = change_of(&m->writes[count]);
        trust |= object_is_trust(m->writes[count].object);
    }
    changes[count++] =
        (struct nvm_change){.key = NVM_SEQUENCE, .data = sequence, .len = sizeof sequence};
    if (trust) /* first: no session of the old roots is ever found beside the new ones */
        session_forget_all(card);
    enum cw_err err = nvm_change_all(&card->nvm, changes, count);
    if (err != CW_OK)
        return err;
    buf_put_u32(call->out, m->sequence);
    return card_life(card) == LINK_LIFE_ACTIVE ? CW_OK : life_settle(card);
}

/* Takes the message apart. Is it the issuer's, for this card, for now, and nothing that a message
 * may not do? */
HARD_DECIDES static enum cw_err believe(const struct card_call *call, bool fresh,
                                        struct issuer_message *m)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    size_t signed_len = 0;
    const uint8_t *signature = NULL;
    if (issuer_decode(cmd->data, cmd->nc, m, &signed_len, &signature) != CW_OK)
        return CW_ERR_FORMAT;
    if (memcmp(m->serial, card->port->unique_id, sizeof m->serial) != 0)
        return CW_ERR_DENIED;
    enum cw_err err = verify(card, cmd->data, signed_len, signature);
    if (err != CW_OK)
        return err;
    if (m->kind == ISSUER_TIME)
        return fresh && ct_equal(m->challenge, card->challenge, sizeof card->challenge)
                   ? CW_OK
                   : CW_ERR_STATE;
    /* An update comes through a line, from a server that the card has itself verified; or from the
     * issuer's own hand, to a card that cannot reach the server any more. */
    return secure_is_proved(card) || card->line.phase == LINE_OPEN ? update_check(card, m)
                                                                   : CW_ERR_STATE;
}

enum cw_err card_do_apply(struct card_call *call)
{
    struct card *card = call->card;
    struct issuer_message m, again;
    bool fresh = card->challenged;
    card->challenged = false;
    enum cw_err err = believe(call, fresh, &again);
    if (err != CW_OK)
        return err;
    err = believe(call, fresh, &m);
    if (err != CW_OK)
        return err;
    if (memcmp(&m, &again, sizeof m) != 0)
        return CW_ERR_IO;
    return m.kind == ISSUER_TIME ? apply_time(call, &m) : apply_update(call, &m);
}
