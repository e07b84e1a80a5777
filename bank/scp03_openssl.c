#include "bank/scp03_openssl.h"

#include "base/ct.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

static bool mac_run(EVP_MAC_CTX *mac, const uint8_t *key, const struct scp03_part *parts,
                    size_t count, uint8_t out[16])
{
    char cipher[] = "AES-128-CBC";
    size_t len = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
                           OSSL_PARAM_construct_end()};
    if (EVP_MAC_init(mac, key, SCP03_KEY_LEN, params) != 1)
        return false;
    for (size_t i = 0; i < count; i++)
        if (parts[i].len > 0 && EVP_MAC_update(mac, parts[i].data, parts[i].len) != 1)
            return false;
    return EVP_MAC_final(mac, out, &len, 16) == 1 && len == 16;
}

static enum cw_err cmac(void *ctx, const uint8_t key[SCP03_KEY_LEN], const struct scp03_part *parts,
                        size_t count, uint8_t out[16])
{
    (void)ctx;
    uint8_t full[16];
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *mac = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;
    bool ok = mac != NULL && mac_run(mac, key, parts, count, full);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(algorithm);
    ERR_clear_error();
    if (!ok)
        return CW_ERR_CRYPTO;
    memcpy(out, full, sizeof full);
    ct_wipe(full, sizeof full);
    return CW_OK;
}

static enum cw_err cbc(void *ctx, bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                       const uint8_t iv[16], uint8_t *data, size_t len)
{
    (void)ctx;
    int n = 0, rest = 0;
    uint8_t none[16];
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    /* In place is what EVP_EncryptUpdate(3) permits, when both pointers are the same. */
    bool ok = cipher != NULL && len <= INT_MAX &&
              EVP_CipherInit_ex2(cipher, EVP_aes_128_cbc(), key, iv, encrypt, NULL) == 1 &&
              EVP_CIPHER_CTX_set_padding(cipher, 0) == 1 &&
              EVP_CipherUpdate(cipher, data, &n, data, (int)len) == 1 && (size_t)n == len &&
              EVP_CipherFinal_ex(cipher, none, &rest) == 1 && rest == 0;
    EVP_CIPHER_CTX_free(cipher);
    ERR_clear_error();
    return ok ? CW_OK : CW_ERR_CRYPTO;
}

const struct scp03_crypto scp03_openssl = {.cmac = cmac, .cbc = cbc};
