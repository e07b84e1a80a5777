/* piv_admin.c - the administration key 9B of the PIV application: GENERAL AUTHENTICATE with it
 * (SP 800-73-4 part 2 appendix A.1), and its replacement. Who has it may write objects and have
 * keys made, and nothing else; it signs nothing. */
#include "card/state.h"

#include "base/ct.h"

#include <mbedtls/aes.h>
#include <mbedtls/des.h>
#include <string.h>

#define KEY_MAX 32u

struct admin_key {
    uint8_t algorithm;
    uint8_t bytes[KEY_MAX];
    size_t len;
};

/* Bytes of a key of that algorithm; 0 when it is none for this. */
static size_t key_len(uint8_t algorithm)
{
    switch (algorithm) {
    case PIV_ALG_AES128:
        return 16;
    case PIV_ALG_3DES:
    case PIV_ALG_AES192:
        return 24;
    case PIV_ALG_AES256:
        return 32;
    default:
        return 0;
    }
}

enum cw_err piv_admin_set(struct card *card, uint8_t algorithm, const uint8_t *key, size_t len)
{
    if (key_len(algorithm) == 0)
        return CW_ERR_FORMAT;
    if (len != key_len(algorithm))
        return CW_ERR_LENGTH;
    return nvm_write2(&card->nvm, NVM_ADMIN, &algorithm, 1, key, len);
}

static enum cw_err key_read(const struct card *card, struct admin_key *out)
{
    uint8_t stored[1 + KEY_MAX];
    struct buf_reader r;
    size_t len = 0;
    enum cw_err err = nvm_read(&card->nvm, NVM_ADMIN, 0, stored, sizeof stored, &len);
    if (err == CW_OK) {
        buf_reader_init(&r, stored, len);
        out->algorithm = buf_get_u8(&r);
        out->len = r.left;
        if (out->len != key_len(out->algorithm))
            err = CW_ERR_IO;
        else
            memcpy(out->bytes, r.at, out->len);
    }
    ct_wipe(stored, sizeof stored);
    return err;
}

static size_t block_len(const struct admin_key *key)
{
    return key->algorithm == PIV_ALG_3DES ? 8 : PIV_BLOCK_MAX;
}

static int encrypt_3des(const struct admin_key *key, const uint8_t *in, uint8_t *out)
{
    mbedtls_des3_context des;
    mbedtls_des3_init(&des);
    int ret = mbedtls_des3_set3key_enc(&des, key->bytes);
    if (ret == 0)
        ret = mbedtls_des3_crypt_ecb(&des, in, out);
    mbedtls_des3_free(&des);
    return ret;
}

/* One block (SP 800-78-4 table 6-2: ECB). */
static enum cw_err encrypt(const struct admin_key *key, const uint8_t *in, uint8_t *out)
{
    mbedtls_aes_context aes;
    if (key->algorithm == PIV_ALG_3DES)
        return encrypt_3des(key, in, out) == 0 ? CW_OK : CW_ERR_CRYPTO;
    mbedtls_aes_init(&aes);
    int ret = mbedtls_aes_setkey_enc(&aes, key->bytes, (unsigned)(8 * key->len));
    if (ret == 0)
        ret = mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, in, out);
    mbedtls_aes_free(&aes);
    return ret == 0 ? CW_OK : CW_ERR_CRYPTO;
}

static void answer(struct card_call *call, uint8_t tag, const uint8_t *data, size_t len)
{
    ber_put_header(call->out, PIV_TAG_AUTH, 2 + len);
    ber_put(call->out, tag, data, len);
}

/* A challenge, which has to come back encrypted; or a witness, given out encrypted, which has to
 * come back plain. */
static enum cw_err ask(struct card_call *call, const struct admin_key *key, uint8_t tag)
{
    const struct card_port *port = call->card->port;
    struct piv *piv = &call->card->piv;
    uint8_t plain[PIV_BLOCK_MAX];
    uint8_t sealed[PIV_BLOCK_MAX];
    bool witness = tag == PIV_TAG_WITNESS;
    size_t n = block_len(key);
    enum cw_err err = port->random(port->ctx, plain, n);
    if (err == CW_OK)
        err = encrypt(key, plain, sealed);
    if (err == CW_OK) {
        answer(call, tag, witness ? sealed : plain, n);
        memcpy(piv->expected, witness ? plain : sealed, n);
        piv->pending = witness ? PIV_TAG_WITNESS : PIV_TAG_RESPONSE;
    }
    ct_wipe(plain, sizeof plain);
    ct_wipe(sealed, sizeof sealed);
    return err;
}

HARD_DECIDES static enum cw_err is_expected(const struct piv *piv, const struct admin_key *key,
                                            uint8_t pending, const struct ber_object *given)
{
    return pending == given->tag && given->len == block_len(key) &&
                   ct_equal(piv->expected, given->value, given->len)
               ? CW_OK
               : CW_ERR_DENIED;
}

/* The other side's proof; `pending` is what was asked for. In a mutual authentication the card
 * proves itself too, by what it encrypts for whoever has just done so, and for nobody else. */
static enum cw_err finish(struct card_call *call, const struct admin_key *key, uint8_t pending,
                          const struct piv_template *given)
{
    struct piv *piv = &call->card->piv;
    uint8_t sealed[PIV_BLOCK_MAX];
    bool mutual = given->witness.len > 0;
    if (mutual && given->challenge.len != block_len(key))
        return CW_ERR_FORMAT;
    const struct ber_object *proof = mutual ? &given->witness : &given->response;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, is_expected(piv, key, pending, proof)))
        return err;
    if (mutual) {
        err = encrypt(key, given->challenge.value, sealed);
        if (err != CW_OK)
            return err;
        answer(call, PIV_TAG_RESPONSE, sealed, block_len(key));
    }
    piv->admin = HARD_YES;
    return CW_OK;
}

enum cw_err piv_admin_authenticate(struct card_call *call, const struct piv_template *given)
{
    struct piv *piv = &call->card->piv;
    uint8_t algorithm = call->cmd->p1;
    struct admin_key key;
    uint8_t pending = piv->pending;
    piv->pending = 0;
    hard_clear(&piv->admin);
    enum cw_err err = key_read(call->card, &key);
    if (err == CW_OK && algorithm != PIV_ALG_DEFAULT && algorithm != key.algorithm)
        err = CW_ERR_NOT_FOUND;
    if (err != CW_OK) {
        err = err == CW_ERR_NOT_FOUND ? CW_ERR_ARG : err;
        goto out;
    }
    if (given->witness.len > 0 || given->response.len > 0)
        err = finish(call, &key, pending, given);
    else if (given->witness.tag != 0)
        err = ask(call, &key, PIV_TAG_WITNESS);
    else if (given->challenge.tag != 0 && given->challenge.len == 0)
        err = ask(call, &key, PIV_TAG_CHALLENGE);
    else
        err = CW_ERR_FORMAT; /* the card encrypts nothing on demand */
out:
    ct_wipe(&key, sizeof key);
    return err;
}

/* Of 9B alone, and of that only what a client cannot know and has to: the algorithm. */
enum cw_err piv_do_get_metadata(struct card_call *call)
{
    struct admin_key key;
    if (call->cmd->p2 != PIV_REF_ADMIN)
        return CW_ERR_NOT_FOUND;
    enum cw_err err = key_read(call->card, &key);
    if (err == CW_OK)
        ber_put_u8(call->out, 0x01, key.algorithm);
    ct_wipe(&key, sizeof key);
    return err;
}

/* Algorithm, 9B, length, key. P2 FE would want a finger on the card. */
enum cw_err piv_do_set_admin(struct card_call *call)
{
    const struct apdu_command *cmd = call->cmd;
    if (cmd->p1 != 0xFF || cmd->p2 != 0xFF)
        return CW_ERR_ARG;
    if (cmd->data[1] != PIV_REF_ADMIN || cmd->data[2] != cmd->nc - 3)
        return CW_ERR_FORMAT;
    return piv_admin_set(call->card, cmd->data[0], cmd->data + 3, cmd->nc - 3);
}
