/* keys.c - the card's key pairs: made here, used here, never read out. One key, one use: what a
 * slot may sign is fixed when it is made. */
#include "card/state.h"

#include "base/ct.h"
#include "proto/ber.h"

#include <mbedtls/pk.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <string.h>

/* SubjectPublicKeyInfo of RSA-2048 is 294 bytes, of P-256 91. */
#define SPKI_MAX         294u
#define SUBJECT_LEN      29u
#define REQUEST_BODY_MAX (4u + 3u + SUBJECT_LEN + SPKI_MAX + 2u)

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

/* The key's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7): what stands before the key itself is the same
 * for every key of a kind. */
static enum cw_err spki_put(unsigned slot, struct buf_writer *out)
{
    static const uint8_t p256[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                   0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
    static const uint8_t rsa[] = {0x30, 0x82, 0x01, 0x22, 0x30, 0x0D, 0x06, 0x09,
                                  0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01,
                                  0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0F, 0x00};
    uint8_t key[SPKI_MAX - sizeof rsa];
    size_t len = 0;
    if (psa_export_public_key(slot, key, sizeof key, &len) != PSA_SUCCESS ||
        len != (slot_is_rsa(slot) ? 0x122u + 4u - sizeof rsa : 0x59u + 2u - sizeof p256))
        return CW_ERR_CRYPTO;
    if (slot_is_rsa(slot))
        buf_put_bytes(out, rsa, sizeof rsa);
    else
        buf_put_bytes(out, p256, sizeof p256);
    buf_put_bytes(out, key, len);
    return CW_OK;
}

/* Common name: the card's serial number in hexadecimal. */
static void subject_put(const struct card *card, struct buf_writer *out)
{
    static const uint8_t before[] = {0x30, 0x1B, 0x31, 0x19, 0x30, 0x17, 0x06,
                                     0x03, 0x55, 0x04, 0x03, 0x0C, 0x10};
    buf_put_bytes(out, before, sizeof before);
    buf_put_hex(out, card->port->unique_id, CARD_UNIQUE_ID_LEN);
}

/* PKCS#10 (RFC 2986 §4): the part that is signed, and then the whole. */
enum cw_err card_do_request(struct card_call *call)
{
    static const uint8_t version[] = {0x02, 0x01, 0x00};
    static const uint8_t attributes[] = {0xA0, 0x00};
    static const uint8_t ecdsa[] = {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86,
                                    0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02};
    static const uint8_t pkcs1[] = {0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86,
                                    0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00};
    unsigned slot = call->cmd->p2;
    uint8_t spki[SPKI_MAX], body[REQUEST_BODY_MAX], signature[256];
    struct buf_writer w;
    size_t signature_len = 0;
    if (!key_slot_valid(slot) || !key_present(call->card, slot))
        return CW_ERR_NOT_FOUND;
    buf_writer_init(&w, spki, sizeof spki);
    enum cw_err err = spki_put(slot, &w);
    if (err != CW_OK)
        return err;
    size_t spki_len = w.len;
    buf_writer_init(&w, body, sizeof body);
    ber_put_header(&w, 0x30, sizeof version + SUBJECT_LEN + spki_len + sizeof attributes);
    buf_put_bytes(&w, version, sizeof version);
    subject_put(call->card, &w);
    buf_put_bytes(&w, spki, spki_len);
    buf_put_bytes(&w, attributes, sizeof attributes);
    if (w.bad)
        return CW_ERR_SPACE;
    err = key_sign(slot, body, w.len, signature, sizeof signature, &signature_len);
    if (err != CW_OK)
        return err;
    size_t algorithm_len = slot_is_rsa(slot) ? sizeof pkcs1 : sizeof ecdsa;
    size_t bits_header = 1 + (1 + signature_len < 0x80 ? 1u : 3u);
    ber_put_header(call->out, 0x30, w.len + algorithm_len + bits_header + 1 + signature_len);
    buf_put_bytes(call->out, body, w.len);
    buf_put_bytes(call->out, slot_is_rsa(slot) ? pkcs1 : ecdsa, algorithm_len);
    ber_put_header(call->out, 0x03, 1 + signature_len);
    buf_put_u8(call->out, 0);
    buf_put_bytes(call->out, signature, signature_len);
    return call->out->bad ? CW_ERR_SPACE : CW_OK;
}

enum cw_err key_matches(unsigned slot, const uint8_t *der, size_t len)
{
    uint8_t ours[SPKI_MAX];
    struct buf_writer w;
    mbedtls_x509_crt crt;
    enum cw_err err = CW_ERR_FORMAT;
    mbedtls_x509_crt_init(&crt);
    buf_writer_init(&w, ours, sizeof ours);
    /* Trailing bytes are refused: raw.len is what the certificate itself takes. */
    if (mbedtls_x509_crt_parse_der(&crt, der, len) == 0 && crt.raw.len == len) {
        err = spki_put(slot, &w);
        if (err == CW_OK && (crt.pk_raw.len != w.len || memcmp(crt.pk_raw.p, ours, w.len) != 0))
            err = CW_ERR_FORMAT;
    }
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
