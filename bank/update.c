#include "bank/update.h"

#include "bank/ca.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <string.h>

#define PREFIX_LEN (sizeof ISSUER_PREFIX - 1)
#define HALF_LEN   ((int)ISSUER_SIGNATURE_LEN / 2)

enum cw_err update_point_get(const struct bank *bank, uint8_t out[ISSUER_POINT_LEN],
                             struct say *why)
{
    uint8_t point[ISSUER_POINT_LEN];
    size_t len = 0;
    EVP_PKEY *key = NULL;
    enum cw_err err = bank_key_load(bank, BANK_FILE_UPDATE, &key, why);
    if (err == CW_OK && (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
                                                         sizeof point, &len) != 1 ||
                         len != sizeof point || point[0] != POINT_CONVERSION_UNCOMPRESSED))
        err = ca_fail(why, "the key that signs messages to cards is not on P-256");
    EVP_PKEY_free(key);
    if (err == CW_OK)
        memcpy(out, point, sizeof point);
    return err;
}

/* ECDSA with SHA-256; r and s of fixed length, as a chip takes them (FIPS 186-5 §6.4). */
static enum cw_err sign(EVP_PKEY *key, const uint8_t *data, size_t len,
                        uint8_t out[ISSUER_SIGNATURE_LEN], struct say *why)
{
    uint8_t der[80];
    size_t n = sizeof der;
    const uint8_t *at = der;
    ECDSA_SIG *sig = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &n, data, len) == 1 &&
              (sig = d2i_ECDSA_SIG(NULL, &at, (long)n)) != NULL &&
              BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, HALF_LEN) == HALF_LEN &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + HALF_LEN, HALF_LEN) == HALF_LEN;
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    return ok ? CW_OK : ca_fail(why, "cannot sign a message to a card");
}

enum cw_err update_sign(EVP_PKEY *key, const struct issuer_message *m,
                        uint8_t out[ISSUER_MESSAGE_MAX], size_t *len, struct say *why)
{
    uint8_t whole[PREFIX_LEN + ISSUER_MESSAGE_MAX], signature[ISSUER_SIGNATURE_LEN];
    struct buf_writer w;
    memcpy(whole, ISSUER_PREFIX, PREFIX_LEN);
    buf_writer_init(&w, whole + PREFIX_LEN, ISSUER_MESSAGE_MAX);
    enum cw_err err = issuer_encode(m, &w);
    if (err != CW_OK)
        return say_fail(why, err == CW_ERR_SPACE ? CW_ERR_LENGTH : err,
                        "a message to a card has at most %u bytes", ISSUER_MESSAGE_MAX);
    err = sign(key, whole, PREFIX_LEN + w.len, signature, why);
    if (err != CW_OK)
        return err;
    if (issuer_seal(&w, signature) != CW_OK)
        return say_fail(why, CW_ERR_LENGTH, "a message to a card has at most %u bytes",
                        ISSUER_MESSAGE_MAX);
    memcpy(out, whole + PREFIX_LEN, w.len);
    *len = w.len;
    return CW_OK;
}
