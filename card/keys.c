/* keys.c - the card's key pairs: made here, used here, never read out. One key, one use: what a
 * slot may sign is fixed when it is made. */
#include "card/state.h"

#include "base/ct.h"

#include <mbedtls/pk.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>
#include <psa/crypto.h>
#include <string.h>

/* SubjectPublicKeyInfo of RSA-2048 is 294 bytes, of P-256 91. */
#define SPKI_MAX 320u

static bool slot_is_rsa(unsigned slot)
{
    return slot == LINK_KEY_TLS_RSA || slot == LINK_KEY_ORDER_RSA;
}

bool key_slot_valid(unsigned slot)
{
    return slot >= 1 && slot <= LINK_KEY_COUNT;
}

bool key_present(const struct card *card, unsigned slot)
{
    size_t len = 0;
    return nvm_size(&card->nvm, (uint16_t)(NVM_PSA | slot), &len) == CW_OK;
}

bool key_certified(const struct card *card, unsigned slot)
{
    size_t len = 0;
    return nvm_size(&card->nvm, (uint16_t)(NVM_CERT | slot), &len) == CW_OK;
}

static enum cw_err err_of(psa_status_t status)
{
    switch (status) {
    case PSA_SUCCESS:
        return CW_OK;
    case PSA_ERROR_INSUFFICIENT_STORAGE:
    case PSA_ERROR_INSUFFICIENT_MEMORY:
        return CW_ERR_SPACE;
    case PSA_ERROR_STORAGE_FAILURE:
        return CW_ERR_IO;
    default:
        return CW_ERR_CRYPTO;
    }
}

static psa_key_attributes_t attributes_of(unsigned slot)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_id(&a, slot);
    psa_set_key_lifetime(&a, PSA_KEY_LIFETIME_PERSISTENT);
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_SIGN_HASH);
    if (slot_is_rsa(slot)) {
        psa_set_key_type(&a, PSA_KEY_TYPE_RSA_KEY_PAIR);
        psa_set_key_bits(&a, 2048);
        psa_set_key_algorithm(&a, PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_ANY_HASH));
        if (slot == LINK_KEY_TLS_RSA) /* TLS 1.3 signs with PSS only (RFC 8446 §4.2.3) */
            psa_set_key_enrollment_algorithm(&a, PSA_ALG_RSA_PSS(PSA_ALG_ANY_HASH));
    } else {
        psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
        psa_set_key_bits(&a, 256);
        psa_set_key_algorithm(&a, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
    }
    return a;
}

void key_unfinished_drop(struct card *card)
{
    keygen_drop(&card->keygen);
    card->keygen_slot = 0;
}

/* Puts the finished key into its slot, in one write. */
static enum cw_err rsa_store(struct card *card)
{
    uint8_t der[KEYGEN_DER_MAX];
    size_t len = 0;
    enum cw_err err = keygen_der(&card->keygen, der, sizeof der, &len);
    if (err != CW_OK)
        return err;
    psa_key_attributes_t a = attributes_of(card->keygen_slot);
    psa_key_id_t id = PSA_KEY_ID_NULL;
    err = err_of(psa_import_key(&a, der, len, &id));
    ct_wipe(der, sizeof der);
    return err;
}

/* Goes on with the RSA key of the slot, or begins it: for one step, or until it is there. Checking
 * and storing it is a step of its own. */
static enum cw_err rsa_generate(struct card *card, unsigned slot, bool slice, bool *done)
{
    const struct card_port *port = card->port;
    bool ready = false;
    if (card->keygen_slot == 0) {
        keygen_start(&card->keygen);
        card->keygen_slot = (uint8_t)slot;
    }
    enum cw_err err = keygen_step(&card->keygen, &ready);
    while (err == CW_OK && !ready && !slice) {
        if (port->working != NULL)
            port->working(port->ctx);
        err = keygen_step(&card->keygen, &ready);
    }
    if (err == CW_OK && ready)
        err = rsa_store(card);
    if (err != CW_OK || ready)
        key_unfinished_drop(card);
    if (err == CW_OK)
        *done = ready;
    return err;
}

enum cw_err card_do_generate(struct card_call *call)
{
    struct card *card = call->card;
    unsigned slot = call->cmd->p2;
    bool slice = call->cmd->p1 == LINK_GENERATE_SLICE;
    bool done = true;
    enum cw_err err;
    if (!key_slot_valid(slot))
        return CW_ERR_NOT_FOUND;
    if (key_present(card, slot))
        return CW_ERR_EXISTS;
    if (card->keygen_slot != slot) /* one key at a time */
        key_unfinished_drop(card);
    unsigned permille = LINK_PERMILLE_MAX;
    if (slot_is_rsa(slot)) {
        err = rsa_generate(card, slot, slice, &done);
        if (!done)
            permille = keygen_permille(&card->keygen);
    } else {
        psa_key_attributes_t a = attributes_of(slot);
        psa_key_id_t id = PSA_KEY_ID_NULL;
        err = err_of(psa_generate_key(&a, &id));
    }
    if (err == CW_OK && slice) {
        buf_put_u8(call->out, done ? LINK_GENERATE_DONE : LINK_GENERATE_WORKING);
        buf_put_u16(call->out, (uint16_t)permille);
    }
    return err;
}

/* Common name: the card's serial number in hexadecimal. */
static void subject_write(const struct card *card, char *out, size_t cap)
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, cap - 1);
    buf_put_str(&w, "CN=");
    buf_put_hex(&w, card->port->unique_id, CARD_UNIQUE_ID_LEN);
    out[w.len] = '\0';
}

enum cw_err card_do_request(struct card_call *call)
{
    unsigned slot = call->cmd->p2;
    char subject[3 + 2 * CARD_UNIQUE_ID_LEN + 1];
    uint8_t der[CARD_RESPONSE_DATA_MAX];
    mbedtls_pk_context pk;
    mbedtls_x509write_csr csr;
    if (!key_slot_valid(slot) || !key_present(call->card, slot))
        return CW_ERR_NOT_FOUND;
    mbedtls_pk_init(&pk);
    mbedtls_x509write_csr_init(&csr);
    subject_write(call->card, subject, sizeof subject);
    int n = MBEDTLS_ERR_PK_BAD_INPUT_DATA;
    if (mbedtls_pk_setup_opaque(&pk, slot) == 0 &&
        mbedtls_x509write_csr_set_subject_name(&csr, subject) == 0) {
        mbedtls_x509write_csr_set_key(&csr, &pk);
        mbedtls_x509write_csr_set_md_alg(&csr, MBEDTLS_MD_SHA256);
        n = mbedtls_x509write_csr_der(&csr, der, sizeof der, mbedtls_psa_get_random,
                                      MBEDTLS_PSA_RANDOM_STATE);
    }
    mbedtls_x509write_csr_free(&csr);
    mbedtls_pk_free(&pk);
    if (n <= 0)
        return CW_ERR_CRYPTO;
    buf_put_bytes(call->out, der + sizeof der - n, (size_t)n);
    return call->out->bad ? CW_ERR_SPACE : CW_OK;
}

enum cw_err key_matches(unsigned slot, const uint8_t *der, size_t len)
{
    enum cw_err err = CW_ERR_FORMAT;
    uint8_t ours[SPKI_MAX];
    uint8_t theirs[SPKI_MAX];
    mbedtls_x509_crt crt;
    mbedtls_pk_context pk;
    mbedtls_x509_crt_init(&crt);
    mbedtls_pk_init(&pk);
    /* Trailing bytes are refused: raw.len is what the certificate itself takes. */
    if (mbedtls_x509_crt_parse_der(&crt, der, len) != 0 || crt.raw.len != len)
        goto out;
    err = CW_ERR_CRYPTO;
    if (mbedtls_pk_setup_opaque(&pk, slot) != 0)
        goto out;
    int n = mbedtls_pk_write_pubkey_der(&pk, ours, sizeof ours);
    int m = mbedtls_pk_write_pubkey_der(&crt.pk, theirs, sizeof theirs);
    err = n > 0 && n == m && memcmp(ours + SPKI_MAX - n, theirs + SPKI_MAX - m, (size_t)n) == 0
              ? CW_OK
              : CW_ERR_FORMAT;
out:
    mbedtls_pk_free(&pk);
    mbedtls_x509_crt_free(&crt);
    return err;
}

enum cw_err key_sign(unsigned slot, const uint8_t *data, size_t len, uint8_t *out, size_t cap,
                     size_t *out_len)
{
    uint8_t hash[PSA_HASH_LENGTH(PSA_ALG_SHA_256)];
    size_t hash_len = 0;
    size_t n = 0;
    mbedtls_pk_context pk;
    if (psa_hash_compute(PSA_ALG_SHA_256, data, len, hash, sizeof hash, &hash_len) != PSA_SUCCESS)
        return CW_ERR_CRYPTO;
    mbedtls_pk_init(&pk);
    int ret = mbedtls_pk_setup_opaque(&pk, slot);
    if (ret == 0)
        ret = mbedtls_pk_sign(&pk, MBEDTLS_MD_SHA256, hash, hash_len, out, cap, &n,
                              mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
    mbedtls_pk_free(&pk);
    if (ret != 0)
        return CW_ERR_CRYPTO;
    *out_len = n;
    return CW_OK;
}
