#include "bank/issuer_keys.h"

#include "bank/bank.h"
#include "bank/ca.h"
#include "base/ct.h"
#include "host/file.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LEN (2 * SCP03_KEY_LEN + 1) /* digits and a line feed */

enum cw_err issuer_master_make(const char *path, struct say *why)
{
    uint8_t key[SCP03_KEY_LEN], text[TEXT_LEN];
    struct buf_writer w;
    if (RAND_priv_bytes(key, sizeof key) != 1)
        return ca_fail(why, "cannot make the master key of the cards");
    buf_writer_init(&w, text, sizeof text);
    buf_put_hex(&w, key, sizeof key);
    buf_put_u8(&w, '\n');
    enum cw_err err = bank_file_make(path, text, w.len, 0600, why);
    ct_wipe(key, sizeof key);
    ct_wipe(text, sizeof text);
    return err;
}

enum cw_err issuer_master_load(const char *path, struct issuer_master *out, struct say *why)
{
    uint8_t *text = NULL, key[SCP03_KEY_LEN];
    size_t len = 0, key_len = 0;
    enum cw_err err = file_read(path, TEXT_LEN, &text, &len, why);
    if (err != CW_OK)
        return err;
    err = bank_file_private(path, why);
    if (err == CW_OK && (len != TEXT_LEN || text[TEXT_LEN - 1] != '\n'))
        err = CW_ERR_FORMAT;
    if (err == CW_OK) {
        text[TEXT_LEN - 1] = '\0';
        if (OPENSSL_hexstr2buf_ex(key, sizeof key, &key_len, (const char *)text, '\0') != 1 ||
            key_len != sizeof key)
            err = CW_ERR_FORMAT;
    }
    if (err == CW_ERR_FORMAT)
        say_fail(why, err, "%s is no master key: %u hexadecimal digits and a line feed", path,
                 2 * SCP03_KEY_LEN);
    if (err == CW_OK)
        memcpy(out->key, key, sizeof key);
    ct_wipe(key, sizeof key);
    ct_wipe(text, len);
    free(text);
    return err;
}

static bool derive(EVP_KDF *kdf, const struct issuer_master *master, const char *label,
                   const uint8_t *serial, uint8_t out[SCP03_KEY_LEN])
{
    char mode[] = "counter", mac[] = "CMAC", cipher[] = "AES-128-CBC", text[8];
    uint8_t key[SCP03_KEY_LEN], context[ORDER_SERIAL_LEN];
    size_t label_len = strlen(label);
    memcpy(key, master->key, sizeof key);
    memcpy(context, serial, sizeof context);
    memcpy(text, label, label_len);
    /* OpenSSL's names: the salt is the label, the info the context (EVP_KDF-KB(7)). */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, mac, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_CIPHER, cipher, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, sizeof key),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, text, label_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, context, sizeof context),
        OSSL_PARAM_construct_end()};
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    bool ok = ctx != NULL && EVP_KDF_derive(ctx, out, SCP03_KEY_LEN, params) == 1;
    EVP_KDF_CTX_free(ctx);
    ct_wipe(key, sizeof key);
    return ok;
}

enum cw_err issuer_keys_derive(const struct issuer_master *master,
                               const uint8_t serial[ORDER_SERIAL_LEN], struct scp03_keys *out,
                               struct say *why)
{
    struct scp03_keys keys;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "KBKDF", NULL);
    bool ok = kdf != NULL && derive(kdf, master, "ENC", serial, keys.enc) &&
              derive(kdf, master, "MAC", serial, keys.mac) &&
              derive(kdf, master, "DEK", serial, keys.dek);
    EVP_KDF_free(kdf);
    if (ok)
        *out = keys;
    ct_wipe(&keys, sizeof keys);
    return ok ? CW_OK : ca_fail(why, "cannot derive the keys of the card");
}

enum cw_err issuer_piv_key_derive(const struct issuer_master *master,
                                  const uint8_t serial[ORDER_SERIAL_LEN],
                                  uint8_t out[SCP03_KEY_LEN], struct say *why)
{
    uint8_t key[SCP03_KEY_LEN];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "KBKDF", NULL);
    bool ok = kdf != NULL && derive(kdf, master, "PIV", serial, key);
    EVP_KDF_free(kdf);
    if (ok)
        memcpy(out, key, sizeof key);
    ct_wipe(key, sizeof key);
    return ok ? CW_OK : ca_fail(why, "cannot derive the card's PIV administration key");
}
