/* card_p256.c - the interface of p256-m, which the card's library calls for P-256, by OpenSSL,
 * which is much faster; the same random numbers give the same results. Only in the fuzzer: where
 * the corpus is replayed (./test) it is p256-m itself. */
#include <openssl/ec.h>
#include <openssl/objects.h>
#include <psa/crypto.h>
#include <stdint.h>
#include <string.h>

/* p256-m.h */
#define RANDOM_FAILED     (-1)
#define INVALID_PUBKEY    (-2)
#define INVALID_PRIVKEY   (-3)
#define INVALID_SIGNATURE (-4)

int p256_gen_keypair(uint8_t priv[32], uint8_t pub[64]);
int p256_ecdh_shared_secret(uint8_t secret[32], const uint8_t priv[32], const uint8_t pub[64]);
int p256_ecdsa_sign(uint8_t sig[64], const uint8_t priv[32], const uint8_t *hash, size_t hlen);
int p256_ecdsa_verify(const uint8_t sig[64], const uint8_t pub[64], const uint8_t *hash,
                      size_t hlen);
int p256_validate_pubkey(const uint8_t pub[64]);
int p256_validate_privkey(const uint8_t priv[32]);
int p256_public_from_private(uint8_t pub[64], const uint8_t priv[32]);

static EC_GROUP *curve;
static const BIGNUM *order;
static BN_CTX *ctx;

static void begin(void)
{
    if (curve == NULL) {
        curve = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
        order = EC_GROUP_get0_order(curve);
        ctx = BN_CTX_new();
    }
}

/* NULL when it is not in 1..n-1. */
static BIGNUM *scalar(const uint8_t bytes[32])
{
    begin();
    BIGNUM *s = BN_bin2bn(bytes, 32, NULL);
    if (!BN_is_zero(s) && BN_cmp(s, order) < 0)
        return s;
    BN_free(s);
    return NULL;
}

/* NULL when it is not on the curve. */
static EC_POINT *point(const uint8_t bytes[64])
{
    uint8_t whole[65] = {0x04};
    begin();
    EC_POINT *p = EC_POINT_new(curve);
    memcpy(whole + 1, bytes, 64);
    if (EC_POINT_oct2point(curve, p, whole, sizeof whole, ctx) == 1)
        return p;
    EC_POINT_free(p);
    return NULL;
}

static void point_write(const EC_POINT *p, uint8_t out[64])
{
    uint8_t whole[65] = {0};
    EC_POINT_point2oct(curve, p, POINT_CONVERSION_UNCOMPRESSED, whole, sizeof whole, ctx);
    memcpy(out, whole + 1, 64);
}

static int generate(uint8_t priv[32], BIGNUM **out)
{
    for (unsigned i = 0; i < 4; i++) {
        if (psa_generate_random(priv, 32) != PSA_SUCCESS)
            return RANDOM_FAILED;
        *out = scalar(priv);
        if (*out != NULL)
            return 0;
    }
    return RANDOM_FAILED;
}

static void multiply_base(const BIGNUM *s, uint8_t out[64])
{
    EC_POINT *p = EC_POINT_new(curve);
    EC_POINT_mul(curve, p, s, NULL, NULL, ctx);
    point_write(p, out);
    EC_POINT_free(p);
}

int p256_gen_keypair(uint8_t priv[32], uint8_t pub[64])
{
    BIGNUM *s = NULL;
    if (generate(priv, &s) != 0)
        return RANDOM_FAILED;
    multiply_base(s, pub);
    BN_free(s);
    return 0;
}

int p256_public_from_private(uint8_t pub[64], const uint8_t priv[32])
{
    BIGNUM *s = scalar(priv);
    if (s == NULL)
        return INVALID_PRIVKEY;
    multiply_base(s, pub);
    BN_free(s);
    return 0;
}

int p256_validate_pubkey(const uint8_t pub[64])
{
    EC_POINT *p = point(pub);
    EC_POINT_free(p);
    return p != NULL ? 0 : INVALID_PUBKEY;
}

int p256_validate_privkey(const uint8_t priv[32])
{
    BIGNUM *s = scalar(priv);
    BN_free(s);
    return s != NULL ? 0 : INVALID_PRIVKEY;
}

int p256_ecdh_shared_secret(uint8_t secret[32], const uint8_t priv[32], const uint8_t pub[64])
{
    uint8_t both[64];
    BIGNUM *s = scalar(priv);
    EC_POINT *p = s != NULL ? point(pub) : NULL;
    int ret = s == NULL ? INVALID_PRIVKEY : p == NULL ? INVALID_PUBKEY : 0;
    if (ret == 0) {
        EC_POINT *q = EC_POINT_new(curve);
        EC_POINT_mul(curve, q, NULL, p, s, ctx);
        point_write(q, both);
        memcpy(secret, both, 32);
        EC_POINT_free(q);
    }
    EC_POINT_free(p);
    BN_free(s);
    return ret;
}

static BIGNUM *number(const uint8_t *hash, size_t hlen)
{
    return BN_bin2bn(hash, hlen < 32 ? (int)hlen : 32, NULL);
}

int p256_ecdsa_sign(uint8_t sig[64], const uint8_t priv[32], const uint8_t *hash, size_t hlen)
{
    uint8_t kb[32], pub[64];
    BIGNUM *k = NULL;
    if (generate(kb, &k) != 0)
        return RANDOM_FAILED;
    multiply_base(k, pub);
    BIGNUM *r = BN_bin2bn(pub, 32, NULL);
    BIGNUM *d = scalar(priv);
    BIGNUM *e = number(hash, hlen);
    BIGNUM *s = BN_new();
    int ret = d != NULL ? 0 : INVALID_PRIVKEY;
    BN_mod(r, r, order, ctx);
    if (ret == 0) { /* s = (e + r d) / k */
        BN_mod_mul(s, r, d, order, ctx);
        BN_mod_add(s, s, e, order, ctx);
        BN_mod_inverse(k, k, order, ctx);
        BN_mod_mul(s, s, k, order, ctx);
        if (BN_is_zero(r) || BN_is_zero(s))
            ret = RANDOM_FAILED;
        BN_bn2binpad(r, sig, 32);
        BN_bn2binpad(s, sig + 32, 32);
    }
    BN_free(s);
    BN_free(e);
    BN_free(d);
    BN_free(r);
    BN_free(k);
    return ret;
}

int p256_ecdsa_verify(const uint8_t sig[64], const uint8_t pub[64], const uint8_t *hash,
                      size_t hlen)
{
    uint8_t both[64];
    BIGNUM *r = scalar(sig);
    BIGNUM *s = scalar(sig + 32);
    EC_POINT *q = point(pub);
    BIGNUM *e = number(hash, hlen);
    BIGNUM *v = BN_new();
    int ret = r == NULL || s == NULL ? INVALID_SIGNATURE : q == NULL ? INVALID_PUBKEY : 0;
    if (ret == 0) { /* the x of (e/s) G + (r/s) Q is r */
        EC_POINT *p = EC_POINT_new(curve);
        BN_mod_inverse(s, s, order, ctx);
        BN_mod_mul(e, e, s, order, ctx);
        BN_mod_mul(v, r, s, order, ctx);
        EC_POINT_mul(curve, p, e, q, v, ctx);
        point_write(p, both);
        BN_bin2bn(both, 32, v);
        BN_mod(v, v, order, ctx);
        if (EC_POINT_is_at_infinity(curve, p) || BN_cmp(v, r) != 0)
            ret = INVALID_SIGNATURE;
        EC_POINT_free(p);
    }
    BN_free(v);
    BN_free(e);
    EC_POINT_free(q);
    BN_free(s);
    BN_free(r);
    return ret;
}
