#include "bank/keystore.h"

#include "bank/bank.h"
#include "bank/ca.h"
#include "bank/token.h"
#include "host/file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 16384u /* bytes of a key in PEM, or a URI */

/* What the file says: a key, or where one is, in its first line. */
static enum cw_err read_key(const char *path, uint8_t *data, size_t len, EVP_PKEY **out,
                            struct say *why)
{
    EVP_PKEY *key = NULL;
    if (token_uri_is((const char *)data)) {
        data[strcspn((const char *)data, "\r\n")] = '\0';
        return token_key_get((const char *)data, out, why);
    }
    BIO *bio = BIO_new_mem_buf(data, (int)len);
    if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key == NULL)
        return ca_fail(why, path);
    *out = key;
    return CW_OK;
}

enum cw_err keystore_load(const char *path, EVP_PKEY **out, struct say *why)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum cw_err err = file_read(path, FILE_MAX, &data, &len, why);
    if (err == CW_OK)
        err = bank_file_private(path, why);
    if (err == CW_OK)
        err = read_key(path, data, len, out, why);
    if (data != NULL)
        OPENSSL_cleanse(data, len);
    free(data);
    return err;
}

static enum cw_err make_new(const char *path, bool rsa, EVP_PKEY **out, struct say *why)
{
    EVP_PKEY *key = NULL;
    char *data;
    enum cw_err err = ca_key_make(rsa, &key, why);
    BIO *secret = BIO_new(BIO_s_secmem());
    if (err == CW_OK &&
        (secret == NULL || PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1))
        err = ca_fail(why, "cannot write a key");
    if (err == CW_OK) {
        long len = BIO_get_mem_data(secret, &data);
        err = bank_file_make(path, data, (size_t)len, 0600, why);
    }
    BIO_free(secret); /* BIO_s_secmem wipes what it held */
    if (err != CW_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    *out = key;
    return CW_OK;
}

/* A token finds the public half by the id that it shares with the private one: where several keys
 * were given one id, it may be another's. */
static bool halves_fit(EVP_PKEY *key)
{
    static const uint8_t text[] = "do you fit?";
    uint8_t signature[256];
    size_t len = sizeof signature;
    unsigned char *der = NULL;
    int der_len = i2d_PUBKEY(key, &der);
    const unsigned char *at = der;
    EVP_PKEY *public = der_len > 0 ? d2i_PUBKEY(NULL, &at, der_len) : NULL;
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    bool fit = public != NULL && sign != NULL && verify != NULL &&
               EVP_DigestSignInit(sign, NULL, EVP_sha256(), NULL, key) == 1 &&
               EVP_DigestSign(sign, signature, &len, text, sizeof text) == 1 &&
               EVP_DigestVerifyInit(verify, NULL, EVP_sha256(), NULL, public) == 1 &&
               EVP_DigestVerify(verify, signature, len, text, sizeof text) == 1;
    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    EVP_PKEY_free(public);
    OPENSSL_free(der);
    ERR_clear_error();
    return fit;
}

enum cw_err keystore_make(const char *path, bool rsa, const char *uri, EVP_PKEY **out,
                          struct say *why)
{
    EVP_PKEY *key = NULL;
    if (uri == NULL)
        return make_new(path, rsa, out, why);
    if (!token_uri_is(uri))
        return say_fail(why, CW_ERR_FORMAT,
                        "'%.40s' is no URI of a key in a token: it begins with pkcs11:", uri);
    enum cw_err err = token_key_get(uri, &key, why);
    if (err == CW_OK && !ca_key_is(key, false))
        err = say_fail(why, CW_ERR_FORMAT,
                       "the key in the token is not of the curve P-256, with which the bank signs");
    if (err == CW_OK && !halves_fit(key))
        err = say_fail(why, CW_ERR_FORMAT,
                       "the token does not sign by that key, or its public half is another's: give "
                       "each pair an id of its own");
    if (err == CW_OK) {
        char line[FILE_MAX];
        int n = snprintf(line, sizeof line, "%s\n", uri);
        err = n > 0 && (size_t)n < sizeof line
                  ? bank_file_make(path, line, (size_t)n, 0600, why)
                  : say_fail(why, CW_ERR_LENGTH, "the URI of the key is too long");
        OPENSSL_cleanse(line, sizeof line);
    }
    if (err != CW_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    *out = key;
    return CW_OK;
}
