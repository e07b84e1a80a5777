#include "receipt/signature.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

bool signature_good(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
                    size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

bool signature_key_is_p256(EVP_PKEY *key)
{
    char group[32];
    size_t len;
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
           (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, "P-256") == 0);
}

/* n - s when that is the smaller one, else NULL; *good says whether it could be told. The caller's
 * to BN_free. */
static BIGNUM *smaller_s(const ECDSA_SIG *sig, bool *good)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const BIGNUM *n = group != NULL ? EC_GROUP_get0_order(group) : NULL;
    BIGNUM *other = BN_new();
    *good = n != NULL && other != NULL && BN_sub(other, n, ECDSA_SIG_get0_s(sig)) == 1;
    if (!*good || BN_cmp(other, ECDSA_SIG_get0_s(sig)) >= 0) {
        BN_free(other);
        other = NULL;
    }
    EC_GROUP_free(group);
    return other;
}

static bool make_low(ECDSA_SIG *sig)
{
    bool good;
    BIGNUM *s = smaller_s(sig, &good), *r = s != NULL ? BN_dup(ECDSA_SIG_get0_r(sig)) : NULL;
    if (s == NULL)
        return good;
    if (r == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return false;
    }
    return true;
}

enum cw_err signature_make_low(EVP_PKEY *key, const uint8_t *data, size_t len,
                               uint8_t out[SIGNATURE_P256_MAX], size_t *out_len, struct say *why)
{
    uint8_t made[SIGNATURE_P256_MAX], *to = out;
    const uint8_t *at = made;
    size_t made_len = sizeof made;
    ECDSA_SIG *sig = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int n = 0;
    if (signature_key_is_p256(key) && ctx != NULL &&
        EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, made, &made_len, data, len) == 1)
        sig = d2i_ECDSA_SIG(NULL, &at, (long)made_len);
    if (sig != NULL && make_low(sig))
        n = i2d_ECDSA_SIG(sig, NULL);
    if (n > 0 && (size_t)n <= SIGNATURE_P256_MAX)
        n = i2d_ECDSA_SIG(sig, &to);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (n <= 0)
        return say_fail(why, CW_ERR_CRYPTO, "cannot sign: is the key one of P-256?");
    *out_len = (size_t)n;
    return CW_OK;
}

bool signature_good_low(EVP_PKEY *key, const uint8_t *data, size_t len, const uint8_t *signature,
                        size_t signature_len)
{
    const uint8_t *at = signature;
    bool known = false;
    if (!signature_key_is_p256(key) || !signature_good(key, data, len, signature, signature_len))
        return false;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)signature_len);
    BIGNUM *smaller = sig != NULL ? smaller_s(sig, &known) : NULL;
    bool good = known && smaller == NULL;
    BN_free(smaller);
    ECDSA_SIG_free(sig);
    ERR_clear_error();
    return good;
}
