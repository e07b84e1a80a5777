/* declassify.c - the places where something that was made from a secret is public. The linker puts
 * each in front of the real function (--wrap, tests/ct/meson.build), so that the code under test is
 * the card's own, unchanged. Whatever is not named here stays secret as far as it is copied. */
#include "secret.h"
#include "stack.h"

#include "base/ct.h"
#include "card/card.h"

#include <mbedtls/aes.h>
#include <mbedtls/bignum.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/ssl.h>
#include <psa/crypto.h>
#include <string.h>
#include <valgrind/memcheck.h>

struct secret_seen secret_seen;
bool secret_leaky_equal;
unsigned secret_commands;

void secret_mark(const void *p, size_t len)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(p, len);
}

bool secret_is(const void *p, size_t len)
{
    const uint8_t *at = p;
    uint8_t bits[256];
    bool any = false;
    while (len > 0 && !any) {
        size_t n = len < sizeof bits ? len : sizeof bits;
        memset(bits, 0, sizeof bits);
        (void)VALGRIND_GET_VBITS(at, bits, n);
        for (size_t i = 0; i < n; i++)
            any = any || bits[i] != 0;
        at += n;
        len -= n;
    }
    return any;
}

static void make_public(const void *p, size_t len, unsigned *count)
{
    if (!RUNNING_ON_VALGRIND)
        return; /* and leave the stack as it is, for stack.c */
    if (secret_is(p, len))
        ++*count;
    (void)VALGRIND_MAKE_MEM_DEFINED(p, len);
}

/* The result of a comparison, never what is compared: whether PIN, MAC or cryptogram was right is
 * what the command answers. */

bool __real_ct_equal(const void *a, const void *b, size_t len);
bool __wrap_ct_equal(const void *a, const void *b, size_t len);
bool __wrap_ct_equal(const void *a, const void *b, size_t len)
{
    bool equal = true;
    if (secret_leaky_equal) {
        const uint8_t *x = a;
        const uint8_t *y = b;
        for (size_t i = 0; i < len && equal; i++)
            equal = x[i] == y[i];
    } else {
        equal = __real_ct_equal(a, b, len);
    }
    make_public(&equal, sizeof equal, &secret_seen.compared);
    return equal;
}

/* mbedTLS's own, for tags of records and Finished. */
int __real_mbedtls_ct_memcmp(const void *a, const void *b, size_t len);
int __wrap_mbedtls_ct_memcmp(const void *a, const void *b, size_t len);
int __wrap_mbedtls_ct_memcmp(const void *a, const void *b, size_t len)
{
    int diff = __real_mbedtls_ct_memcmp(a, b, len);
    make_public(&diff, sizeof diff, &secret_seen.compared);
    return diff;
}

/* p256-m gives signatures and public keys, which go to the other side, and says whether it took the
 * scalar it was given (of 2^32 random ones it refuses less than one). */

static int from_p256m(int ret, const uint8_t *out, size_t len, unsigned *count)
{
    unsigned any = 0;
    make_public(&ret, sizeof ret, &any);
    if (out != NULL)
        make_public(out, len, count);
    return ret;
}

int __real_p256_ecdsa_sign(uint8_t sig[64], const uint8_t priv[32], const uint8_t *hash,
                           size_t len);
int __wrap_p256_ecdsa_sign(uint8_t sig[64], const uint8_t priv[32], const uint8_t *hash,
                           size_t len);
int __wrap_p256_ecdsa_sign(uint8_t sig[64], const uint8_t priv[32], const uint8_t *hash, size_t len)
{
    stack_note(priv);
    unsigned any = 0;
    /* The signature would be secret for its random number alone: it is the key that counts. */
    unsigned *count = secret_is(priv, 32) ? &secret_seen.signatures : &any;
    return from_p256m(__real_p256_ecdsa_sign(sig, priv, hash, len), sig, 64, count);
}

int __real_p256_gen_keypair(uint8_t priv[32], uint8_t pub[64]);
int __wrap_p256_gen_keypair(uint8_t priv[32], uint8_t pub[64]);
int __wrap_p256_gen_keypair(uint8_t priv[32], uint8_t pub[64])
{
    int ret = from_p256m(__real_p256_gen_keypair(priv, pub), pub, 64, &secret_seen.keys);
    stack_note(priv);
    return ret;
}

int __real_p256_validate_privkey(const uint8_t priv[32]);
int __wrap_p256_validate_privkey(const uint8_t priv[32]);
int __wrap_p256_validate_privkey(const uint8_t priv[32])
{
    return from_p256m(__real_p256_validate_privkey(priv), NULL, 0, NULL);
}

int __real_p256_public_from_private(uint8_t pub[64], const uint8_t priv[32]);
int __wrap_p256_public_from_private(uint8_t pub[64], const uint8_t priv[32]);
int __wrap_p256_public_from_private(uint8_t pub[64], const uint8_t priv[32])
{
    stack_note(priv);
    return from_p256m(__real_p256_public_from_private(pub, priv), pub, 64, &secret_seen.keys);
}

/* Its result is the secret that all keys of a line come from. */
int __real_p256_ecdh_shared_secret(uint8_t out[32], const uint8_t priv[32], const uint8_t peer[64]);
int __wrap_p256_ecdh_shared_secret(uint8_t out[32], const uint8_t priv[32], const uint8_t peer[64]);
int __wrap_p256_ecdh_shared_secret(uint8_t out[32], const uint8_t priv[32], const uint8_t peer[64])
{
    stack_note(priv);
    return from_p256m(__real_p256_ecdh_shared_secret(out, priv, peer), NULL, 0, NULL);
}

/* The plaintext of a record is read by the card: messages of the handshake, the bank's answers. */
psa_status_t __real_psa_aead_decrypt(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce,
                                     size_t nonce_len, const uint8_t *ad, size_t ad_len,
                                     const uint8_t *in, size_t in_len, uint8_t *out, size_t cap,
                                     size_t *len);
psa_status_t __wrap_psa_aead_decrypt(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce,
                                     size_t nonce_len, const uint8_t *ad, size_t ad_len,
                                     const uint8_t *in, size_t in_len, uint8_t *out, size_t cap,
                                     size_t *len);
psa_status_t __wrap_psa_aead_decrypt(psa_key_id_t key, psa_algorithm_t alg, const uint8_t *nonce,
                                     size_t nonce_len, const uint8_t *ad, size_t ad_len,
                                     const uint8_t *in, size_t in_len, uint8_t *out, size_t cap,
                                     size_t *len)
{
    psa_status_t status =
        __real_psa_aead_decrypt(key, alg, nonce, nonce_len, ad, ad_len, in, in_len, out, cap, len);
    if (status == PSA_SUCCESS)
        make_public(out, *len, &secret_seen.decrypted);
    return status;
}

/* So is that of a command through the issuer's channel, whose MAC is checked before it is decrypted
 * (proto/scp03.c); its padding is looked at byte by byte. It is the plaintext when the last block
 * was chained, which is when the card gives up the key that it has set up for it. */
static struct {
    const mbedtls_aes_context *aes; /* NULL: what is decrypted stays secret */
    uint8_t *text;
    size_t len;
} opened;

int __real_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key,
                                  unsigned bits);
int __wrap_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key,
                                  unsigned bits);
int __wrap_mbedtls_aes_setkey_dec(mbedtls_aes_context *aes, const unsigned char *key, unsigned bits)
{
    opened.aes = secret_commands > 0 ? aes : NULL;
    opened.len = 0;
    secret_commands -= secret_commands > 0;
    return __real_mbedtls_aes_setkey_dec(aes, key, bits);
}

int __real_mbedtls_aes_crypt_ecb(mbedtls_aes_context *aes, int mode, const unsigned char in[16],
                                 unsigned char out[16]);
int __wrap_mbedtls_aes_crypt_ecb(mbedtls_aes_context *aes, int mode, const unsigned char in[16],
                                 unsigned char out[16]);
int __wrap_mbedtls_aes_crypt_ecb(mbedtls_aes_context *aes, int mode, const unsigned char in[16],
                                 unsigned char out[16])
{
    int ret = __real_mbedtls_aes_crypt_ecb(aes, mode, in, out);
    if (ret == 0 && mode == MBEDTLS_AES_DECRYPT && aes == opened.aes) {
        if (opened.len == 0)
            opened.text = out;
        opened.len = (size_t)(out + 16 - opened.text);
    }
    return ret;
}

void __real_mbedtls_aes_free(mbedtls_aes_context *aes);
void __wrap_mbedtls_aes_free(mbedtls_aes_context *aes);
void __wrap_mbedtls_aes_free(mbedtls_aes_context *aes)
{
    if (aes != NULL && aes == opened.aes && opened.len > 0)
        make_public(opened.text, opened.len, &secret_seen.decrypted);
    opened.aes = aes == opened.aes ? NULL : opened.aes;
    __real_mbedtls_aes_free(aes);
}

/* TLS's own random bytes travel in clear: the client random, the session identifier, the padding of
 * PKCS #1, of which zeros are thrown away. But not the 46 bytes of the premaster secret (RFC 5246
 * §7.4.7.1). */
#define PREMASTER_RANDOM_LEN 46u
int __real_mbedtls_psa_get_random(void *state, unsigned char *out, size_t len);
int __wrap_mbedtls_psa_get_random(void *state, unsigned char *out, size_t len);
int __wrap_mbedtls_psa_get_random(void *state, unsigned char *out, size_t len)
{
    unsigned any = 0;
    int ret = __real_mbedtls_psa_get_random(state, out, len);
    if (len != PREMASTER_RANDOM_LEN)
        make_public(out, len, &any);
    return ret;
}

/* The value that binds orders to the line is part of the text that is signed. */
int __real_mbedtls_ssl_export_keying_material(mbedtls_ssl_context *ssl, uint8_t *out,
                                              size_t out_len, const char *label, size_t label_len,
                                              const unsigned char *context, size_t context_len,
                                              int use_context);
int __wrap_mbedtls_ssl_export_keying_material(mbedtls_ssl_context *ssl, uint8_t *out,
                                              size_t out_len, const char *label, size_t label_len,
                                              const unsigned char *context, size_t context_len,
                                              int use_context);
int __wrap_mbedtls_ssl_export_keying_material(mbedtls_ssl_context *ssl, uint8_t *out,
                                              size_t out_len, const char *label, size_t label_len,
                                              const unsigned char *context, size_t context_len,
                                              int use_context)
{
    unsigned any = 0;
    int ret = __real_mbedtls_ssl_export_keying_material(ssl, out, out_len, label, label_len,
                                                        context, context_len, use_context);
    make_public(out, out_len, &any);
    return ret;
}

/* RSA's numbers carry their sizes beside them in memory, and mbedTLS branches on sizes everywhere.
 * So an RSA key is secret only inside the two functions that do the work: the exponentiation, with
 * a prime as its modulus, and the inversion that makes the blinding value. */

typedef mbedtls_mpi_uint limb;

void __real_mbedtls_mpi_core_exp_mod(limb *x, const limb *a, const limb *n, size_t an_limbs,
                                     const limb *e, size_t e_limbs, const limb *rr, limb *t);
void __wrap_mbedtls_mpi_core_exp_mod(limb *x, const limb *a, const limb *n, size_t an_limbs,
                                     const limb *e, size_t e_limbs, const limb *rr, limb *t);
void __wrap_mbedtls_mpi_core_exp_mod(limb *x, const limb *a, const limb *n, size_t an_limbs,
                                     const limb *e, size_t e_limbs, const limb *rr, limb *t)
{
    unsigned any = 0;
    secret_mark(a, an_limbs * sizeof *a);
    secret_mark(n, an_limbs * sizeof *n);
    secret_mark(e, e_limbs * sizeof *e);
    __real_mbedtls_mpi_core_exp_mod(x, a, n, an_limbs, e, e_limbs, rr, t);
    make_public(x, an_limbs * sizeof *x, &secret_seen.powers); /* x may be a */
    make_public(a, an_limbs * sizeof *a, &any);
    make_public(n, an_limbs * sizeof *n, &any);
    make_public(e, e_limbs * sizeof *e, &any);
}

void __real_mbedtls_mpi_core_gcd_modinv_odd(limb *g, limb *i, const limb *a, size_t a_limbs,
                                            const limb *n, size_t n_limbs, limb *t);
void __wrap_mbedtls_mpi_core_gcd_modinv_odd(limb *g, limb *i, const limb *a, size_t a_limbs,
                                            const limb *n, size_t n_limbs, limb *t);
void __wrap_mbedtls_mpi_core_gcd_modinv_odd(limb *g, limb *i, const limb *a, size_t a_limbs,
                                            const limb *n, size_t n_limbs, limb *t)
{
    unsigned any = 0;
    secret_mark(a, a_limbs * sizeof *a);
    __real_mbedtls_mpi_core_gcd_modinv_odd(g, i, a, a_limbs, n, n_limbs, t);
    make_public(g, n_limbs * sizeof *g, &any);
    if (i != NULL)
        make_public(i, n_limbs * sizeof *i, &secret_seen.inverses);
    make_public(a, a_limbs * sizeof *a, &any);
}

/* What leaves the card is seen by the terminal: records under keys, answers. */
const uint8_t *__real_card_process_here(struct card *card, size_t len, size_t *response_len);
const uint8_t *__wrap_card_process_here(struct card *card, size_t len, size_t *response_len);
const uint8_t *__wrap_card_process_here(struct card *card, size_t len, size_t *response_len)
{
    const uint8_t *response = __real_card_process_here(card, len, response_len);
    size_t room;
    stack_look();
    /* It is in the card's own space, whose address is asked for as a port does. */
    make_public(card_command_space(card, &room), *response_len, &secret_seen.answered);
    return response;
}

size_t __real_card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                           size_t cap);
size_t __wrap_card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                           size_t cap);
size_t __wrap_card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                           size_t cap)
{
    size_t n = __real_card_process(card, command, len, response, cap);
    stack_look();
    make_public(response, n, &secret_seen.answered);
    return n;
}
