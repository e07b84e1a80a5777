#include "card/keygen.h"

#include "base/buf.h"
#include "base/ct.h"

#include <mbedtls/asn1.h>
#include <mbedtls/bignum.h>
#include <mbedtls/entropy.h>
#include <mbedtls/psa_util.h>
#include <mbedtls/rsa.h>
#include <rsa_internal.h>
#include <string.h>

#define PRIME_BITS (8u * KEYGEN_PRIME_LEN)
#define N_BITS     (2u * PRIME_BITS)
#define EXPONENT   65537
/* As mbedtls_mpi_gen_prime has it for primes of this size and low error: 2^-100 (HAC fact 4.48). */
#define ROUNDS 6u
/* |p - q| has more bits than this (§A.1.3 step 5.4, as mbedtls_rsa_gen_key keeps it). */
#define NEAR_BITS (PRIME_BITS - 99u)
/* ceil(2^63.5): a prime is at least 2^1023.5, so that N has all its bits (§A.1.3 steps 4.4, 5.5).
 */
#define SQRT2_TOP UINT64_C(0xB504F333F9DE6485)

#define DRAWS_PER_STEP 16u
/* §A.1.3 step 4.7 gives up after 5 * 2,048 candidates, and fewer than that are candidates of so
 * many numbers. A sound source fails here once in 2^39 searches, one that is stuck every time. */
#define DRAWS_MAX 16384u

/* Of the numbers that no prime below 1,000 divides, which are those that take time, one in so many
 * is prime (Mertens: ln(2^1024) * e^-gamma / ln 1,000). */
#define TESTS_PER_PRIME 58u
/* Thousandths for a search, and for each round that the prime has passed after the first. */
#define PERMILLE_SEARCH 480u
#define PERMILLE_ROUND  2u
#define PERMILLE_PRIME  (KEYGEN_PERMILLE_READY / 2)

static enum cw_err err_of(int ret)
{
    /* The RSA module adds the number of what failed below it, which is less than 128. */
    int low = -(-ret & 0x7F);
    if (low == MBEDTLS_ERR_ENTROPY_SOURCE_FAILED)
        return CW_ERR_IO;
    if (low == MBEDTLS_ERR_MPI_ALLOC_FAILED || low == MBEDTLS_ERR_ASN1_BUF_TOO_SMALL)
        return CW_ERR_SPACE;
    return CW_ERR_CRYPTO;
}

static void search(struct keygen *kg, enum keygen_phase phase)
{
    kg->phase = phase;
    kg->rounds = 0;
    kg->drawn = 0;
    kg->unlucky = UINT16_MAX;
}

static uint8_t *candidate(struct keygen *kg)
{
    return kg->prime[kg->phase == KEYGEN_SECOND];
}

/* May x be one of the primes, from what can be told without a round of Miller-Rabin? 0,
 * MBEDTLS_ERR_MPI_NOT_ACCEPTABLE, or what failed. */
static int suits(const struct keygen *kg, const mbedtls_mpi *x)
{
    mbedtls_mpi y, e;
    mbedtls_mpi_init(&y);
    mbedtls_mpi_init(&e);
    /* No rounds: the small primes alone. */
    int ret = mbedtls_mpi_is_prime_ext(x, 0, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
    /* e is prime, so gcd(e, x - 1) = 1 unless e divides x - 1. Not by mbedtls_mpi_mod_int: with
     * limbs of 32 bits it is right for divisors of 16 bits only. */
    if (ret == 0)
        ret = mbedtls_mpi_lset(&e, EXPONENT);
    if (ret == 0)
        ret = mbedtls_mpi_mod_mpi(&y, x, &e);
    if (ret == 0 && mbedtls_mpi_cmp_int(&y, 1) == 0)
        ret = MBEDTLS_ERR_MPI_NOT_ACCEPTABLE;
    if (ret == 0 && kg->phase == KEYGEN_SECOND) {
        ret = mbedtls_mpi_read_binary(&y, kg->prime[0], KEYGEN_PRIME_LEN);
        if (ret == 0)
            ret = mbedtls_mpi_sub_mpi(&y, &y, x);
        if (ret == 0 && mbedtls_mpi_bitlen(&y) <= NEAR_BITS)
            ret = MBEDTLS_ERR_MPI_NOT_ACCEPTABLE;
    }
    mbedtls_mpi_free(&y);
    mbedtls_mpi_free(&e);
    return ret;
}

/* One random odd number of 1,024 bits into x; as suits(). */
static int draw(struct keygen *kg, mbedtls_mpi *x)
{
    uint8_t *c = candidate(kg);
    struct buf_reader top;
    if (kg->drawn == DRAWS_MAX)
        return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    kg->drawn++;
    int ret = mbedtls_psa_get_random(MBEDTLS_PSA_RANDOM_STATE, c, KEYGEN_PRIME_LEN);
    if (ret != 0)
        return ret;
    /* What the next test refuses has its top bit clear more often than not. */
    c[0] |= 0x80;
    c[KEYGEN_PRIME_LEN - 1] |= 1;
    buf_reader_init(&top, c, KEYGEN_PRIME_LEN);
    if (buf_get_u64(&top) < SQRT2_TOP)
        return MBEDTLS_ERR_MPI_NOT_ACCEPTABLE;
    ret = mbedtls_mpi_read_binary(x, c, KEYGEN_PRIME_LEN);
    return ret == 0 ? suits(kg, x) : ret;
}

/* The number that the next round is for: the candidate that has passed some, or a new one. */
static int pick(struct keygen *kg, mbedtls_mpi *x)
{
    if (kg->rounds > 0)
        return mbedtls_mpi_read_binary(x, candidate(kg), KEYGEN_PRIME_LEN);
    int ret = MBEDTLS_ERR_MPI_NOT_ACCEPTABLE;
    for (unsigned i = 0; i < DRAWS_PER_STEP && ret == MBEDTLS_ERR_MPI_NOT_ACCEPTABLE; i++)
        ret = draw(kg, x);
    return ret;
}

/* One round is behind the candidate. */
static void round_end(struct keygen *kg, bool passed)
{
    if (!passed) {
        kg->rounds = 0;
        kg->unlucky = (uint16_t)(kg->unlucky - kg->unlucky / TESTS_PER_PRIME);
    } else if (++kg->rounds == ROUNDS) {
        search(kg, kg->phase + 1);
    }
}

/* What keygen_permille tells; a candidate that fails a later round does not take it back. */
static void permille_update(struct keygen *kg)
{
    unsigned now = kg->phase == KEYGEN_FIRST    ? 0
                   : kg->phase == KEYGEN_SECOND ? PERMILLE_PRIME
                                                : KEYGEN_PERMILLE_READY;
    if (kg->rounds > 0)
        now += PERMILLE_SEARCH + (kg->rounds - 1u) * PERMILLE_ROUND;
    else if (kg->phase != KEYGEN_READY)
        now += PERMILLE_SEARCH * (UINT16_MAX - (unsigned)kg->unlucky) / UINT16_MAX;
    if (now > kg->permille)
        kg->permille = (uint16_t)now;
}

void keygen_start(struct keygen *kg)
{
    keygen_drop(kg);
    search(kg, KEYGEN_FIRST);
}

enum cw_err keygen_step(struct keygen *kg, bool *done)
{
    if (kg->phase == KEYGEN_NONE)
        return CW_ERR_STATE;
    if (kg->phase == KEYGEN_READY) {
        *done = true;
        return CW_OK;
    }
    mbedtls_mpi x;
    mbedtls_mpi_init(&x);
    int ret = pick(kg, &x);
    if (ret == 0) {
        ret = mbedtls_mpi_is_prime_ext(&x, 1, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
        if (ret == 0 || ret == MBEDTLS_ERR_MPI_NOT_ACCEPTABLE)
            round_end(kg, ret == 0);
    }
    mbedtls_mpi_free(&x);
    if (ret != 0 && ret != MBEDTLS_ERR_MPI_NOT_ACCEPTABLE) {
        keygen_drop(kg);
        return err_of(ret);
    }
    permille_update(kg);
    *done = false;
    return CW_OK;
}

unsigned keygen_permille(const struct keygen *kg)
{
    return kg->permille;
}

/* The whole key from its primes, p > q: d = e^-1 mod lcm(p-1, q-1) (§A.1.1 criterion 3), and the
 * numbers of the Chinese remainder theorem. */
static int complete(const struct keygen *kg, mbedtls_rsa_context *rsa)
{
    const uint8_t e[] = {EXPONENT >> 16, EXPONENT >> 8 & 0xFF, EXPONENT & 0xFF};
    bool ordered = memcmp(kg->prime[0], kg->prime[1], KEYGEN_PRIME_LEN) > 0;
    mbedtls_mpi n, d;
    mbedtls_mpi_init(&n);
    mbedtls_mpi_init(&d);
    int ret = mbedtls_rsa_import_raw(rsa, NULL, 0, kg->prime[!ordered], KEYGEN_PRIME_LEN,
                                     kg->prime[ordered], KEYGEN_PRIME_LEN, NULL, 0, e, sizeof e);
    if (ret == 0)
        ret = mbedtls_rsa_complete(rsa);
    if (ret == 0)
        ret = mbedtls_rsa_check_privkey(rsa);
    if (ret == 0)
        ret = mbedtls_rsa_export(rsa, &n, NULL, NULL, &d, NULL);
    /* §A.1.1 criterion 3: d > 2^1024, which fails once in 2^1022 keys. */
    if (ret == 0 && (mbedtls_mpi_bitlen(&n) != N_BITS || mbedtls_mpi_bitlen(&d) <= PRIME_BITS))
        ret = MBEDTLS_ERR_RSA_KEY_GEN_FAILED;
    mbedtls_mpi_free(&n);
    mbedtls_mpi_free(&d);
    return ret;
}

enum cw_err keygen_der(struct keygen *kg, uint8_t *out, size_t cap, size_t *len)
{
    if (kg->phase != KEYGEN_READY)
        return CW_ERR_STATE;
    mbedtls_rsa_context rsa;
    uint8_t *start = out + cap;
    mbedtls_rsa_init(&rsa);
    int ret = complete(kg, &rsa);
    if (ret == 0)
        ret = mbedtls_rsa_write_key(&rsa, out, &start);
    mbedtls_rsa_free(&rsa);
    if (ret <= 0) {
        keygen_drop(kg);
        ct_wipe(out, cap);
        return err_of(ret);
    }
    /* It was written to the end of the buffer. */
    size_t n = (size_t)ret;
    memmove(out, start, n);
    ct_wipe(out + n, cap - n);
    *len = n;
    return CW_OK;
}

void keygen_drop(struct keygen *kg)
{
    ct_wipe(kg, sizeof *kg);
}
