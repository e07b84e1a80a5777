/* piv_keys.c - the key pairs of the PIV application: GENERATE ASYMMETRIC KEY PAIR and GENERAL
 * AUTHENTICATE with them (SP 800-73-4 part 2 §3.2.4, §3.3.2). Made here, used here, never read out
 * and never written from outside. A key is one value of the memory, so that a new one takes the
 * place of the old at one stroke. None of them is known to the link application, nor to the bank.
 */
#include "card/state.h"

#include "base/ct.h"

#include <mbedtls/pk.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/rsa.h>
#include <psa/crypto.h>

#define SCALAR_LEN 32u
#define HASH_MIN   20u /* SHA-1; a longer hash than SHA-256 is for the caller to cut */

/* As stored: the algorithm, then RSAPrivateKey (RFC 8017 §A.1.2) or the secret scalar. */
struct private_key {
    uint8_t bytes[1 + KEYGEN_DER_MAX];
    size_t len;
};

static bool is_key(uint8_t ref)
{
    return piv_certificate_of(ref) != 0;
}

static enum cw_err err_of(psa_status_t status)
{
    if (status == PSA_ERROR_INSUFFICIENT_MEMORY)
        return CW_ERR_SPACE;
    return status == PSA_SUCCESS ? CW_OK : CW_ERR_CRYPTO;
}

/* --- GENERATE ASYMMETRIC KEY PAIR ----------------------------------------------------------------
 */

/* Wants for 9D another use than for the others, and no key has both. */
static psa_key_attributes_t p256_attributes(uint8_t ref)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    bool agree = ref == PIV_REF_MANAGEMENT;
    psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&a, 256);
    psa_set_key_algorithm(&a, agree ? PSA_ALG_ECDH : PSA_ALG_ECDSA_ANY);
    psa_set_key_usage_flags(&a, agree ? PSA_KEY_USAGE_DERIVE : PSA_KEY_USAGE_SIGN_HASH);
    return a;
}

static enum cw_err p256_generate(uint8_t ref, struct private_key *key, struct buf_writer *out)
{
    psa_key_attributes_t a = p256_attributes(ref);
    psa_key_id_t id = PSA_KEY_ID_NULL;
    uint8_t point[PIV_POINT_LEN];
    size_t point_len = 0;
    size_t len = 0;
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_EXPORT); /* to be stored; it lives no longer */
    psa_status_t status = psa_generate_key(&a, &id);
    if (status == PSA_SUCCESS)
        status = psa_export_key(id, key->bytes + 1, SCALAR_LEN, &len);
    if (status == PSA_SUCCESS)
        status = psa_export_public_key(id, point, sizeof point, &point_len);
    psa_destroy_key(id);
    if (status != PSA_SUCCESS)
        return err_of(status);
    key->bytes[0] = PIV_ALG_P256;
    key->len = 1 + len;
    ber_put_header(out, PIV_TAG_PUBLIC, 2 + point_len);
    ber_put(out, PIV_TAG_PUBLIC_KEY, point, point_len);
    return CW_OK;
}

/* Modulus and public exponent of a key that has just been made. */
static enum cw_err rsa_public(const struct private_key *key, struct buf_writer *out)
{
    uint8_t n[PIV_RSA_LEN];
    uint8_t e[3];
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    int ret = mbedtls_pk_parse_key(&pk, key->bytes + 1, key->len - 1, NULL, 0,
                                   mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
    if (ret == 0)
        ret = mbedtls_rsa_export_raw(mbedtls_pk_rsa(pk), n, sizeof n, NULL, 0, NULL, 0, NULL, 0, e,
                                     sizeof e);
    mbedtls_pk_free(&pk);
    if (ret != 0)
        return CW_ERR_CRYPTO;
    ber_put_header(out, PIV_TAG_PUBLIC, 4 + sizeof n + 2 + sizeof e);
    ber_put(out, PIV_TAG_MODULUS, n, sizeof n);
    ber_put(out, PIV_TAG_EXPONENT, e, sizeof e);
    return CW_OK;
}

static enum cw_err rsa_generate(struct card *card, struct private_key *key, struct buf_writer *out)
{
    const struct card_port *port = card->port;
    bool ready = false;
    size_t len = 0;
    keygen_start(&card->keygen);
    enum cw_err err = keygen_step(&card->keygen, &ready);
    while (err == CW_OK && !ready) {
        if (port->working != NULL)
            port->working(port->ctx);
        err = keygen_step(&card->keygen, &ready);
    }
    if (err == CW_OK)
        err = keygen_der(&card->keygen, key->bytes + 1, KEYGEN_DER_MAX, &len);
    keygen_drop(&card->keygen);
    if (err != CW_OK)
        return err;
    key->bytes[0] = PIV_ALG_RSA2048;
    key->len = 1 + len;
    return rsa_public(key, out);
}

/* AC { 80 algorithm } */
static enum cw_err take_algorithm(const struct apdu_command *cmd, uint8_t *out)
{
    struct buf_reader r;
    struct ber_object o, algorithm;
    buf_reader_init(&r, cmd->data, cmd->nc);
    if (!ber_next(&r, &o) || o.tag != PIV_TAG_GENERATE || r.left > 0)
        return CW_ERR_FORMAT;
    buf_reader_init(&r, o.value, o.len);
    if (!ber_next(&r, &algorithm) || algorithm.tag != PIV_TAG_ALGORITHM || algorithm.len != 1 ||
        r.left > 0)
        return CW_ERR_FORMAT;
    *out = algorithm.value[0];
    return *out == PIV_ALG_RSA2048 || *out == PIV_ALG_P256 ? CW_OK : CW_ERR_FORMAT;
}

enum cw_err piv_do_generate(struct card_call *call)
{
    struct card *card = call->card;
    uint8_t ref = call->cmd->p2;
    struct private_key key;
    uint8_t algorithm = 0;
    if (!is_key(ref))
        return CW_ERR_ARG;
    enum cw_err err = take_algorithm(call->cmd, &algorithm);
    if (err != CW_OK)
        return err;
    err = algorithm == PIV_ALG_P256 ? p256_generate(ref, &key, call->out)
                                    : rsa_generate(card, &key, call->out);
    if (err == CW_OK && !piv_leaves_room(&card->nvm, NVM_PIV_KEY | ref, key.len))
        err = CW_ERR_SPACE;
    if (err == CW_OK) {
        /* Together: the old key's certificate never stands beside the new key. */
        const struct nvm_change changes[] = {
            {.key = NVM_PIV_KEY | ref, .data = key.bytes, .len = key.len},
            {.key = NVM_PIV_OBJECT | piv_certificate_of(ref), .remove = true},
        };
        err = nvm_change_all(&card->nvm, changes, sizeof changes / sizeof changes[0]);
    }
    ct_wipe(&key, sizeof key);
    return err;
}

/* --- GENERAL AUTHENTICATE ------------------------------------------------------------------------
 */

/* May the key be used now? CW_ERR_STATE, CW_ERR_DENIED. */
HARD_DECIDES static enum cw_err use_check(const struct card *card, uint8_t ref)
{
    const struct piv *piv = &card->piv;
    if (card_life(card) != LINK_LIFE_ACTIVE)
        return CW_ERR_STATE;
    if (ref == PIV_REF_CARD)
        return CW_OK;
    if (!card_interface_permits(card, POLICY_PIV_CONTACTLESS))
        return CW_ERR_DENIED;
    if (piv->pin != HARD_YES)
        return CW_ERR_DENIED;
    /* 9C: the very command before this one was VERIFY, and it was good. */
    if (ref == PIV_REF_SIGNATURE && (piv->pin_at == 0 || piv->pin_at + 2 != card->commands))
        return CW_ERR_DENIED;
    return CW_OK;
}

static void answer(struct buf_writer *out, const uint8_t *data, size_t len)
{
    struct buf_writer inner;
    uint8_t header[4];
    buf_writer_init(&inner, header, sizeof header);
    ber_put_header(&inner, PIV_TAG_RESPONSE, len);
    ber_put_header(out, PIV_TAG_AUTH, inner.len + len);
    buf_put_bytes(out, header, inner.len);
    buf_put_bytes(out, data, len);
}

/* The block is padded by the caller, as the standard has it; the library blinds the operation and
 * checks its result. */
static enum cw_err rsa_use(const struct private_key *key, const struct piv_template *given,
                           struct buf_writer *out)
{
    uint8_t result[PIV_RSA_LEN];
    mbedtls_pk_context pk;
    if (given->challenge.len != PIV_RSA_LEN || given->point.tag != 0)
        return CW_ERR_FORMAT;
    mbedtls_pk_init(&pk);
    int ret = mbedtls_pk_parse_key(&pk, key->bytes + 1, key->len - 1, NULL, 0,
                                   mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
    if (ret == 0)
        ret = mbedtls_rsa_private(mbedtls_pk_rsa(pk), mbedtls_psa_get_random,
                                  MBEDTLS_PSA_RANDOM_STATE, given->challenge.value, result);
    mbedtls_pk_free(&pk);
    if (ret == 0)
        answer(out, result, sizeof result);
    ct_wipe(result, sizeof result); /* may be what was decrypted */
    if (ret == MBEDTLS_ERR_RSA_PRIVATE_FAILED + MBEDTLS_ERR_MPI_BAD_INPUT_DATA)
        return CW_ERR_FORMAT; /* not below the modulus */
    return ret == 0 ? CW_OK : CW_ERR_CRYPTO;
}

/* ECDH (SP 800-73-4 part 2 §A.4.2) or ECDSA; the signature as DER (RFC 3279 §2.2.3). */
static psa_status_t p256_run(uint8_t ref, psa_key_id_t id, const struct piv_template *given,
                             uint8_t *out, size_t cap, size_t *len)
{
    uint8_t raw[2 * SCALAR_LEN];
    size_t n = 0;
    if (ref == PIV_REF_MANAGEMENT)
        return psa_raw_key_agreement(PSA_ALG_ECDH, id, given->point.value, given->point.len, out,
                                     cap, len);
    psa_status_t status = psa_sign_hash(id, PSA_ALG_ECDSA_ANY, given->challenge.value,
                                        given->challenge.len, raw, sizeof raw, &n);
    if (status == PSA_SUCCESS && mbedtls_ecdsa_raw_to_der(256, raw, n, out, cap, len) != 0)
        status = PSA_ERROR_GENERIC_ERROR;
    return status;
}

static enum cw_err p256_use(uint8_t ref, const struct private_key *key,
                            const struct piv_template *given, struct buf_writer *out)
{
    psa_key_attributes_t a = p256_attributes(ref);
    psa_key_id_t id = PSA_KEY_ID_NULL;
    uint8_t result[2 * SCALAR_LEN + 16];
    size_t len = 0;
    if (ref == PIV_REF_MANAGEMENT
            ? given->point.len != PIV_POINT_LEN || given->point.value[0] != 0x04
            : given->challenge.len < HASH_MIN || given->challenge.len > SCALAR_LEN ||
                  given->point.tag != 0)
        return CW_ERR_FORMAT;
    psa_status_t status = psa_import_key(&a, key->bytes + 1, key->len - 1, &id);
    if (status == PSA_SUCCESS)
        status = p256_run(ref, id, given, result, sizeof result, &len);
    psa_destroy_key(id);
    if (status == PSA_SUCCESS)
        answer(out, result, len);
    ct_wipe(result, sizeof result);
    if (status == PSA_ERROR_INVALID_ARGUMENT)
        return CW_ERR_FORMAT; /* no point of the curve */
    return err_of(status);
}

/* 7C { 80 witness, 81 challenge, 82 response, 85 point }, each at most once, in any order. */
static enum cw_err take_template(const struct apdu_command *cmd, struct piv_template *out)
{
    struct buf_reader r;
    struct ber_object o;
    *out = (struct piv_template){0};
    buf_reader_init(&r, cmd->data, cmd->nc);
    if (!ber_next(&r, &o) || o.tag != PIV_TAG_AUTH || r.left > 0)
        return CW_ERR_FORMAT;
    buf_reader_init(&r, o.value, o.len);
    while (ber_next(&r, &o)) {
        struct ber_object *to = o.tag == PIV_TAG_WITNESS     ? &out->witness
                                : o.tag == PIV_TAG_CHALLENGE ? &out->challenge
                                : o.tag == PIV_TAG_RESPONSE  ? &out->response
                                : o.tag == PIV_TAG_POINT     ? &out->point
                                                             : NULL;
        if (to == NULL || to->tag != 0)
            return CW_ERR_FORMAT;
        *to = o;
    }
    return r.bad ? CW_ERR_FORMAT : CW_OK;
}

enum cw_err piv_do_authenticate(struct card_call *call)
{
    struct card *card = call->card;
    uint8_t ref = call->cmd->p2;
    struct piv_template given;
    struct private_key key;
    if (ref != PIV_REF_ADMIN && !is_key(ref))
        return CW_ERR_ARG;
    enum cw_err err = take_template(call->cmd, &given);
    if (err != CW_OK)
        return err;
    if (ref == PIV_REF_ADMIN)
        return card->port->contactless ? CW_ERR_DENIED : piv_admin_authenticate(call, &given);
    if (HARD_SAYS_NO(err, use_check(card, ref)))
        return err;
    if (given.witness.tag != 0 || given.response.len > 0)
        return CW_ERR_FORMAT;
    err = nvm_read(&card->nvm, NVM_PIV_KEY | ref, 0, key.bytes, sizeof key.bytes, &key.len);
    if (err == CW_ERR_NOT_FOUND || (err == CW_OK && key.bytes[0] != call->cmd->p1))
        err = CW_ERR_ARG;
    if (err == CW_OK)
        err = call->cmd->p1 == PIV_ALG_P256 ? p256_use(ref, &key, &given, call->out)
                                            : rsa_use(&key, &given, call->out);
    ct_wipe(&key, sizeof key);
    return err;
}
