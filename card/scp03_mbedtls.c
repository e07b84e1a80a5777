#include "card/scp03_mbedtls.h"

#include "base/ct.h"

#include <psa/crypto.h>
#include <string.h>

#define BLOCK 16u

static enum cw_err err_of(psa_status_t status)
{
    if (status == PSA_SUCCESS)
        return CW_OK;
    return status == PSA_ERROR_INSUFFICIENT_MEMORY ? CW_ERR_SPACE : CW_ERR_CRYPTO;
}

/* The key as a volatile one of PSA, for one operation. */
static psa_status_t key_take(const uint8_t *key, psa_algorithm_t algorithm, psa_key_usage_t usage,
                             psa_key_id_t *id)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_type(&a, PSA_KEY_TYPE_AES);
    psa_set_key_algorithm(&a, algorithm);
    psa_set_key_usage_flags(&a, usage);
    return psa_import_key(&a, key, SCP03_KEY_LEN, id);
}

static enum cw_err cmac(void *ctx, const uint8_t key[SCP03_KEY_LEN], const struct scp03_part *parts,
                        size_t count, uint8_t out[16])
{
    (void)ctx;
    psa_mac_operation_t op = PSA_MAC_OPERATION_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    uint8_t mac[BLOCK];
    size_t len = 0;
    psa_status_t status = key_take(key, PSA_ALG_CMAC, PSA_KEY_USAGE_SIGN_MESSAGE, &id);
    if (status == PSA_SUCCESS)
        status = psa_mac_sign_setup(&op, id, PSA_ALG_CMAC);
    for (size_t i = 0; i < count && status == PSA_SUCCESS; i++)
        if (parts[i].len > 0)
            status = psa_mac_update(&op, parts[i].data, parts[i].len);
    if (status == PSA_SUCCESS)
        status = psa_mac_sign_finish(&op, mac, sizeof mac, &len);
    psa_mac_abort(&op);
    psa_destroy_key(id);
    if (status != PSA_SUCCESS || len != sizeof mac)
        return status != PSA_SUCCESS ? err_of(status) : CW_ERR_CRYPTO;
    memcpy(out, mac, sizeof mac);
    return CW_OK;
}

/* Block by block through `block`: PSA does not promise to work in place. */
static psa_status_t cbc_blocks(psa_cipher_operation_t *op, uint8_t *data, size_t len)
{
    uint8_t block[BLOCK];
    size_t n = 0;
    psa_status_t status = PSA_SUCCESS;
    for (size_t at = 0; at < len && status == PSA_SUCCESS; at += BLOCK) {
        status = psa_cipher_update(op, data + at, BLOCK, block, sizeof block, &n);
        if (status == PSA_SUCCESS && n != sizeof block)
            status = PSA_ERROR_CORRUPTION_DETECTED;
        if (status == PSA_SUCCESS)
            memcpy(data + at, block, sizeof block);
    }
    if (status == PSA_SUCCESS)
        status = psa_cipher_finish(op, block, sizeof block, &n);
    ct_wipe(block, sizeof block);
    return status;
}

static enum cw_err cbc(void *ctx, bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                       const uint8_t iv[16], uint8_t *data, size_t len)
{
    (void)ctx;
    psa_cipher_operation_t op = PSA_CIPHER_OPERATION_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    psa_status_t status = key_take(key, PSA_ALG_CBC_NO_PADDING,
                                   encrypt ? PSA_KEY_USAGE_ENCRYPT : PSA_KEY_USAGE_DECRYPT, &id);
    if (status == PSA_SUCCESS)
        status = encrypt ? psa_cipher_encrypt_setup(&op, id, PSA_ALG_CBC_NO_PADDING)
                         : psa_cipher_decrypt_setup(&op, id, PSA_ALG_CBC_NO_PADDING);
    if (status == PSA_SUCCESS)
        status = psa_cipher_set_iv(&op, iv, BLOCK);
    if (status == PSA_SUCCESS)
        status = cbc_blocks(&op, data, len);
    psa_cipher_abort(&op);
    psa_destroy_key(id);
    return err_of(status);
}

const struct scp03_crypto scp03_mbedtls = {.cmac = cmac, .cbc = cbc};
