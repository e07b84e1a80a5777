/* scp03_mbedtls.c - CMAC and CBC over mbedTLS's AES block: PSA's ciphers and MACs for them would
 * cost the chip 5 KB of flash. */
#include "card/scp03_mbedtls.h"

#include "base/ct.h"

#include <mbedtls/aes.h>
#include <string.h>

#define BLOCK 16u

static void xor_block(uint8_t *to, const uint8_t *with)
{
    for (size_t i = 0; i < BLOCK; i++)
        to[i] ^= with[i];
}

/* Times x in GF(2^128): NIST SP 800-38B §6.1 step 2, without a branch on the key. */
static void twice(uint8_t block[BLOCK])
{
    uint8_t carry = block[0] >> 7;
    for (size_t i = 0; i + 1 < BLOCK; i++)
        block[i] = (uint8_t)(block[i] << 1 | block[i + 1] >> 7);
    block[BLOCK - 1] = (uint8_t)(block[BLOCK - 1] << 1 ^ (0x87u & (uint8_t)-carry));
}

/* SP 800-38B §6.2 over the parts one after the other; the last block waits in `block` until it is
 * known to be the last. */
static int cmac_parts(mbedtls_aes_context *aes, const struct scp03_part *parts, size_t count,
                      uint8_t mac[BLOCK])
{
    uint8_t subkey[BLOCK] = {0};
    uint8_t block[BLOCK] = {0};
    size_t filled = 0;
    int ret = mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, subkey, subkey);
    memset(mac, 0, BLOCK);
    for (size_t p = 0; p < count && ret == 0; p++)
        for (size_t i = 0; i < parts[p].len && ret == 0; i++) {
            if (filled == BLOCK) {
                xor_block(mac, block);
                ret = mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, mac, mac);
                filled = 0;
            }
            block[filled++] = parts[p].data[i];
        }
    twice(subkey);
    if (filled < BLOCK) {
        twice(subkey);
        block[filled++] = 0x80;
        while (filled < BLOCK)
            block[filled++] = 0;
    }
    xor_block(mac, block);
    xor_block(mac, subkey);
    if (ret == 0)
        ret = mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, mac, mac);
    ct_wipe(subkey, sizeof subkey);
    ct_wipe(block, sizeof block);
    return ret;
}

static enum cw_err cmac(void *ctx, const uint8_t key[SCP03_KEY_LEN], const struct scp03_part *parts,
                        size_t count, uint8_t out[16])
{
    mbedtls_aes_context aes;
    uint8_t mac[BLOCK];
    (void)ctx;
    mbedtls_aes_init(&aes);
    int ret = mbedtls_aes_setkey_enc(&aes, key, 8 * SCP03_KEY_LEN);
    if (ret == 0)
        ret = cmac_parts(&aes, parts, count, mac);
    mbedtls_aes_free(&aes);
    if (ret == 0)
        memcpy(out, mac, sizeof mac);
    ct_wipe(mac, sizeof mac);
    return ret == 0 ? CW_OK : CW_ERR_CRYPTO;
}

static int cbc_block(mbedtls_aes_context *aes, bool encrypt, uint8_t chain[BLOCK],
                     uint8_t data[BLOCK])
{
    uint8_t sealed[BLOCK];
    int ret;
    if (encrypt) {
        xor_block(data, chain);
        ret = mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_ENCRYPT, data, data);
        memcpy(chain, data, BLOCK);
        return ret;
    }
    memcpy(sealed, data, BLOCK);
    ret = mbedtls_aes_crypt_ecb(aes, MBEDTLS_AES_DECRYPT, data, data);
    xor_block(data, chain);
    memcpy(chain, sealed, BLOCK);
    return ret;
}

static enum cw_err cbc(void *ctx, bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                       const uint8_t iv[16], uint8_t *data, size_t len)
{
    mbedtls_aes_context aes;
    uint8_t chain[BLOCK];
    (void)ctx;
    if (len % BLOCK != 0)
        return CW_ERR_CRYPTO;
    mbedtls_aes_init(&aes);
    memcpy(chain, iv, BLOCK);
    int ret = encrypt ? mbedtls_aes_setkey_enc(&aes, key, 8 * SCP03_KEY_LEN)
                      : mbedtls_aes_setkey_dec(&aes, key, 8 * SCP03_KEY_LEN);
    for (size_t at = 0; at < len && ret == 0; at += BLOCK)
        ret = cbc_block(&aes, encrypt, chain, data + at);
    mbedtls_aes_free(&aes);
    ct_wipe(chain, sizeof chain);
    return ret == 0 ? CW_OK : CW_ERR_CRYPTO;
}

const struct scp03_crypto scp03_mbedtls = {.cmac = cmac, .cbc = cbc};
