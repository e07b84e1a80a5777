/* test_card_keygen.c - RSA keys in steps: they are good by OpenSSL's measure, no step is long, and
 * whatever fails in whichever step leaves nothing. The command around it is in
 * test_card_generate.c. */
#include "unit.h"

#include "card/keygen.h"
#include "card/state.h"

#include <bignum_core.h>
#include <mbedtls/platform.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <psa/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEYS        30
#define ROUNDS      6   /* Miller-Rabin rounds of each prime */
#define DRAWS       16u /* most numbers drawn in a step */
#define PRIME_LIMBS (KEYGEN_PRIME_LEN / sizeof(mbedtls_mpi_uint))

/* --- what the library stands on ------------------------------------------------------------------
 */

static struct source {
    uint64_t state;       /* of a generator that can be put back; 0: the kernel's random numbers */
    long fail_at;         /* calls until one fails, once; -1: none does */
    const uint8_t *queue; /* first these blocks of KEYGEN_PRIME_LEN bytes, then failure; or NULL */
    size_t queued;        /* blocks */
    int stuck;            /* every byte is this one; -1: no */
    unsigned calls, numbers; /* all; those of the length of a prime */
} source;

static struct heap {
    long fail_at; /* as above */
    long live;    /* blocks allocated and not freed */
    unsigned calls;
    unsigned exponentiations; /* modular, of 1,024 bits */
} heap;

static bool due(long *fail_at)
{
    return *fail_at >= 0 && (*fail_at)-- == 0;
}

/* splitmix64: good enough to find primes with, and the same again. */
static void pseudo_random(uint8_t *buf, size_t len)
{
    while (len > 0) {
        uint64_t z = source.state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        size_t n = len < sizeof z ? len : sizeof z;
        memcpy(buf, &z, n);
        buf += n;
        len -= n;
    }
}

static enum cw_err port_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    source.calls++;
    source.numbers += len == KEYGEN_PRIME_LEN;
    if (due(&source.fail_at))
        return CW_ERR_IO;
    if (source.queue != NULL) {
        assert_int_equal(len, KEYGEN_PRIME_LEN);
        if (source.queued == 0)
            return CW_ERR_IO;
        memcpy(buf, source.queue, len);
        source.queue += len;
        source.queued--;
    } else if (source.stuck >= 0) {
        memset(buf, source.stuck, len);
    } else if (source.state != 0) {
        pseudo_random(buf, len);
    } else {
        assert_int_equal(getrandom(buf, len, 0), len);
    }
    return CW_OK;
}

/* An exponentiation is known by its working memory, which nothing else has the size of. */
static void *lab_calloc(size_t count, size_t size)
{
    heap.calls++;
    if (due(&heap.fail_at))
        return NULL;
    heap.live++;
    heap.exponentiations +=
        size == sizeof(mbedtls_mpi_uint) &&
        count == mbedtls_mpi_core_exp_mod_working_limbs(PRIME_LIMBS, PRIME_LIMBS);
    return calloc(count, size);
}

static void lab_free(void *p)
{
    heap.live -= p != NULL;
    free(p);
}

static const struct card_port port = {.random = port_random};
static struct card no_card = {.port = &port};

static int setup(void **state)
{
    (void)state;
    source = (struct source){.fail_at = -1, .stuck = -1};
    heap = (struct heap){.fail_at = -1};
    its_attach(&no_card);
    mbedtls_platform_set_calloc_free(lab_calloc, lab_free);
    assert_int_equal(psa_crypto_init(), PSA_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mbedtls_psa_crypto_free();
    assert_int_equal(heap.live, 0);
    its_attach(NULL);
    return 0;
}

static void assert_nothing_kept(const struct keygen *kg)
{
    const struct keygen none = {0};
    assert_memory_equal(kg, &none, sizeof none);
}

/* --- whole keys ----------------------------------------------------------------------------------
 */

/* How many exponentiations were spent on what is now a prime of the key. */
struct spent {
    uint8_t candidate[KEYGEN_PRIME_LEN];
    unsigned exponentiations;
};

/* One step, and everything that must hold of every step. */
static bool step(struct keygen *kg, struct spent spent[2])
{
    bool done = false;
    unsigned searched = kg->phase == KEYGEN_SECOND;
    unsigned before = keygen_permille(kg);
    long live = heap.live;
    bool ready = kg->phase == KEYGEN_READY;
    bool fresh = kg->rounds == 0;
    heap.exponentiations = 0;
    source.numbers = 0;
    assert_int_equal(keygen_step(kg, &done), CW_OK);
    assert_int_equal(done, ready);
    assert_true(heap.exponentiations <= 1);
    /* A round takes its witness below the candidate, from numbers drawn until one is. */
    assert_true(source.numbers <= (fresh ? DRAWS : 0) + 32);
    assert_true(!ready || (heap.exponentiations == 0 && source.numbers == 0));
    assert_int_equal(heap.live, live); /* nothing stays in the heap between steps */
    assert_true(keygen_permille(kg) >= before);
    assert_true(keygen_permille(kg) <= KEYGEN_PERMILLE_READY);
    assert_int_equal(keygen_permille(kg) == KEYGEN_PERMILLE_READY, kg->phase == KEYGEN_READY);
    if (memcmp(spent[searched].candidate, kg->prime[searched], KEYGEN_PRIME_LEN) != 0)
        spent[searched].exponentiations = 0;
    memcpy(spent[searched].candidate, kg->prime[searched], KEYGEN_PRIME_LEN);
    spent[searched].exponentiations += heap.exponentiations;
    return done;
}

/* Runs to the end; returns the number of steps. */
static unsigned run(struct keygen *kg)
{
    struct spent spent[2] = {0};
    unsigned steps = 1;
    keygen_start(kg);
    assert_int_equal(keygen_permille(kg), 0);
    while (!step(kg, spent))
        steps++;
    for (int i = 0; i < 2; i++)
        assert_int_equal(spent[i].exponentiations, ROUNDS);
    return steps;
}

static BIGNUM *factor(const EVP_PKEY *key, const char *name)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
    return n;
}

/* FIPS 186-5 §A.1.1 and §A.1.3, told from the outside. */
static void assert_good_key(EVP_PKEY *key, uint8_t primes[2][KEYGEN_PRIME_LEN])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    assert_int_equal(EVP_PKEY_check(ctx), 1); /* primes, d, and the numbers of the CRT */
    EVP_PKEY_CTX_free(ctx);
    BIGNUM *n = factor(key, "n"), *e = factor(key, "e"), *d = factor(key, "d");
    BIGNUM *p = factor(key, "rsa-factor1"), *q = factor(key, "rsa-factor2");
    BIGNUM *square = BN_new(), *least = BN_new(), *near = BN_new();
    BN_CTX *bn = BN_CTX_new();
    assert_int_equal(BN_num_bits(n), 2048);
    assert_true(BN_is_word(e, 65537));
    assert_true(BN_num_bits(d) > 1024);
    assert_int_equal(BN_bn2binpad(p, primes[0], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
    assert_int_equal(BN_bn2binpad(q, primes[1], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
    assert_int_equal(BN_cmp(p, q), 1);
    /* q >= sqrt(2) * 2^1023: q^2 >= 2^2047 */
    assert_true(BN_sqr(square, q, bn) && BN_set_bit(least, 2047));
    assert_true(BN_cmp(square, least) >= 0);
    assert_true(BN_sub(near, p, q) && BN_num_bits(near) > 924);
    BN_CTX_free(bn);
    BIGNUM *all[] = {n, e, d, p, q, square, least, near};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        BN_clear_free(all[i]);
}

static void test_keys_are_good(void **state)
{
    static uint8_t primes[2 * KEYS][KEYGEN_PRIME_LEN];
    uint8_t der[KEYGEN_DER_MAX];
    struct keygen kg = {0};
    unsigned steps = 0;
    (void)state;
    for (unsigned i = 0; i < KEYS; i++) {
        size_t len = 0;
        steps += run(&kg);
        heap.exponentiations = 0;
        assert_int_equal(keygen_der(&kg, der, sizeof der, &len), CW_OK);
        assert_int_equal(heap.exponentiations, 0);
        const uint8_t *at = der;
        EVP_PKEY *key = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)len);
        assert_non_null(key);
        assert_ptr_equal(at, der + len);
        for (size_t at_end = len; at_end < sizeof der; at_end++)
            assert_int_equal(der[at_end], 0);
        assert_good_key(key, &primes[2 * i]);
        EVP_PKEY_free(key);
        keygen_drop(&kg);
        assert_nothing_kept(&kg);
    }
    for (size_t i = 0; i < 2 * KEYS; i++)
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(primes[i], primes[j], KEYGEN_PRIME_LEN);
    print_message("%u steps a key\n", steps / KEYS);
    /* 155 on average, with a deviation of 102 for one key: six deviations of the mean of 30. Far
     * off means that something else is tested than odd random numbers without small factors. */
    assert_in_range(steps / KEYS, 43, 267);
}

/* --- candidates that are not taken ---------------------------------------------------------------
 */

enum fate { TAKEN, PASSED_OVER };

/* What a step makes of `number` when it is drawn. The witness that follows is 2, which every prime
 * passes; drawn as a candidate it is refused, and then there are no more numbers. */
static enum fate offer(struct keygen *kg, const BIGNUM *number)
{
    uint8_t blocks[2][KEYGEN_PRIME_LEN] = {{0}};
    bool done = true;
    assert_int_equal(BN_bn2binpad(number, blocks[0], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
    blocks[1][KEYGEN_PRIME_LEN - 1] = 2;
    source.queue = blocks[0];
    source.queued = 2;
    enum cw_err err = keygen_step(kg, &done);
    source.queue = NULL;
    if (err == CW_OK) {
        assert_false(done);
        assert_int_equal(kg->rounds, 1);
        return TAKEN;
    }
    assert_int_equal(err, CW_ERR_IO);
    assert_nothing_kept(kg);
    return PASSED_OVER;
}

/* A prime above sqrt(2) * 2^1023; with `add` not NULL one that leaves `rem` when divided by it. */
static BIGNUM *prime(const BIGNUM *add, const BIGNUM *rem)
{
    BIGNUM *p = BN_new();
    do
        assert_int_equal(BN_generate_prime_ex(p, 1024, 0, add, rem, NULL), 1);
    while (!BN_is_bit_set(p, 1022));
    return p;
}

static void test_primes_that_do_not_fit(void **state)
{
    struct keygen kg = {0};
    BN_CTX *bn = BN_CTX_new();
    BIGNUM *add = BN_new(), *low = BN_new(), *next = BN_new();
    (void)state;
    BIGNUM *p = prime(NULL, NULL);

    keygen_start(&kg);
    assert_int_equal(offer(&kg, p), TAKEN);
    /* Its ends are set to one: even numbers and short ones are no reason to draw again. */
    assert_true(BN_copy(next, p) && BN_clear_bit(next, 0) && BN_clear_bit(next, 1023));
    keygen_start(&kg);
    assert_int_equal(offer(&kg, next), TAKEN);
    /* below sqrt(2) * 2^1023 by a hair, and above it */
    assert_true(BN_hex2bn(&low, "B504F333F9DE6484") && BN_lshift(low, low, 960));
    for (int i = 0; i < 2; i++) {
        assert_true(BN_add_word(low, 1));
        while (BN_check_prime(low, bn, NULL) == 0)
            assert_true(BN_add_word(low, 2));
        keygen_start(&kg);
        assert_int_equal(offer(&kg, low), i == 0 ? PASSED_OVER : TAKEN);
        assert_true(BN_hex2bn(&low, "B504F333F9DE6485") && BN_lshift(low, low, 960));
    }
    /* e divides p - 1 */
    assert_true(BN_set_word(add, 2 * 65537));
    BIGNUM *bad = prime(add, BN_value_one());
    keygen_start(&kg);
    assert_int_equal(offer(&kg, bad), PASSED_OVER);

    /* The second prime: the same, the next one, those that are a little more than 2^924 and 2^925
     * away. */
    const struct {
        int bit; /* that is added to the first; -1: none */
        enum fate fate;
    } near[] = {{-1, PASSED_OVER}, {1, PASSED_OVER}, {924, PASSED_OVER}, {925, TAKEN}};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        BN_zero(add);
        assert_true(near[i].bit < 0 || BN_set_bit(add, near[i].bit));
        assert_true(BN_add(next, p, add));
        while (BN_check_prime(next, bn, NULL) == 0)
            assert_true(BN_add_word(next, 2));
        keygen_start(&kg);
        kg.phase = KEYGEN_SECOND;
        assert_int_equal(BN_bn2binpad(p, kg.prime[0], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
        assert_int_equal(offer(&kg, next), near[i].fate);
    }
    keygen_drop(&kg);
    BN_CTX_free(bn);
    BIGNUM *all[] = {p, add, low, next, bad};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        BN_free(all[i]);
}

/* A number without small factors that passes no round is given up at its first. */
static void test_composites_fall(void **state)
{
    struct keygen kg = {0};
    BIGNUM *p = BN_new(), *q = BN_new(), *n = BN_new();
    BN_CTX *bn = BN_CTX_new();
    uint8_t blocks[2][KEYGEN_PRIME_LEN] = {{0}};
    bool done = true;
    (void)state;
    do {
        assert_int_equal(BN_generate_prime_ex(p, 512, 0, NULL, NULL, NULL), 1);
        assert_int_equal(BN_generate_prime_ex(q, 512, 0, NULL, NULL, NULL), 1);
        assert_true(BN_mul(n, p, q, bn));
    } while (!BN_is_bit_set(n, 1023) || !BN_is_bit_set(n, 1022));
    assert_int_equal(BN_bn2binpad(n, blocks[0], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
    blocks[1][KEYGEN_PRIME_LEN - 1] = 2;
    source.queue = blocks[0];
    source.queued = 2;
    keygen_start(&kg);
    assert_int_equal(keygen_step(&kg, &done), CW_OK);
    assert_false(done);
    assert_int_equal(kg.phase, KEYGEN_FIRST);
    assert_int_equal(kg.rounds, 0);
    assert_int_equal(heap.exponentiations, 1);
    assert_true(keygen_permille(&kg) > 0);
    keygen_drop(&kg);
    BN_CTX_free(bn);
    BIGNUM *all[] = {p, q, n};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        BN_free(all[i]);
}

/* The product of p and 2p - 1: a quarter of all witnesses take it for a prime, 5 among them and
 * not 2. */
static const char liars_friend[] =
    "E26BB4A085995B9FE4F65A0024780CC9553EA49F9D25EE4F7FF7F16D9F6A4D1F"
    "AFFBBB8E28D601CE3EA5A802C0FF409A271AA84DC7DD9E585E867C6E916CA181"
    "8646C50D43A07ED37D99504A1D1C37705CE784E3854CB73143F5849D565D98D1"
    "1FB02C9952901312A37293C8B0251944A1B3572CDEE834E82471994E61C661AB";

/* A composite that has got through some rounds is found out in a later one; the search goes on with
 * another number, and what was shown of it is not taken back. */
static void test_liars_are_found_out(void **state)
{
    struct keygen kg = {0};
    BIGNUM *n = BN_new();
    uint8_t blocks[7][KEYGEN_PRIME_LEN] = {{0}};
    bool done = true;
    (void)state;
    assert_true(BN_hex2bn(&n, liars_friend));
    assert_int_equal(BN_bn2binpad(n, blocks[0], KEYGEN_PRIME_LEN), KEYGEN_PRIME_LEN);
    for (unsigned i = 1; i < 7; i++)
        blocks[i][KEYGEN_PRIME_LEN - 1] = i < 6 ? 5 : 2;
    source.queue = blocks[0];
    source.queued = 7;
    keygen_start(&kg);
    for (unsigned i = 1; i < 6; i++) {
        assert_int_equal(keygen_step(&kg, &done), CW_OK);
        assert_int_equal(kg.rounds, i);
    }
    unsigned before = keygen_permille(&kg);
    assert_true(before > 480);
    assert_int_equal(keygen_step(&kg, &done), CW_OK);
    assert_false(done);
    assert_int_equal(kg.rounds, 0);
    assert_int_equal(kg.phase, KEYGEN_FIRST);
    assert_int_equal(keygen_permille(&kg), before);
    source.queue = NULL;
    assert_int_equal(keygen_step(&kg, &done), CW_OK);
    assert_true(kg.drawn > 1);
    keygen_drop(&kg);
    BN_free(n);
}

/* --- failures ------------------------------------------------------------------------------------
 */

/* Takes a copy of the state before each step of a whole key, and hands it to `each`. */
static void walk(struct keygen *kg, void (*each)(const struct keygen *before))
{
    bool done = false;
    source.state = 20260921;
    keygen_start(kg);
    while (!done) {
        const struct keygen before = *kg;
        const uint64_t random = source.state;
        each(&before);
        source.state = random;
        assert_int_equal(keygen_step(kg, &done), CW_OK);
    }
}

static unsigned failures;

static void fail_random(const struct keygen *before)
{
    const uint64_t random = source.state;
    for (long at = 0;; at++) {
        struct keygen kg = *before;
        bool done = false;
        source.state = random;
        source.fail_at = at;
        enum cw_err err = keygen_step(&kg, &done);
        if (source.fail_at >= 0) { /* the step took fewer numbers than that */
            source.fail_at = -1;
            assert_int_equal(err, CW_OK);
            break;
        }
        assert_int_equal(err, CW_ERR_IO);
        assert_false(done);
        assert_nothing_kept(&kg);
        failures++;
    }
}

static void test_random_fails_anywhere(void **state)
{
    struct keygen kg = {0};
    (void)state;
    failures = 0;
    walk(&kg, fail_random);
    print_message("%u failures\n", failures);
    assert_true(failures > 2 * 100);
    keygen_drop(&kg);
}

static void fail_heap(const struct keygen *before)
{
    const uint64_t random = source.state;
    for (long at = 0;; at++) {
        struct keygen kg = *before;
        bool done = false;
        long live = heap.live;
        source.state = random;
        heap.fail_at = at;
        enum cw_err err = keygen_step(&kg, &done);
        assert_int_equal(heap.live, live);
        if (heap.fail_at >= 0) {
            heap.fail_at = -1;
            assert_int_equal(err, CW_OK);
            break;
        }
        assert_int_equal(err, CW_ERR_SPACE);
        assert_false(done);
        assert_nothing_kept(&kg);
        failures++;
    }
}

/* The same where the key is put together. mbedtls_rsa_check_privkey does not say why it failed. */
static void test_heap_fails_anywhere(void **state)
{
    struct keygen ready = {0};
    uint8_t der[KEYGEN_DER_MAX + 7];
    const uint8_t none[sizeof der] = {0};
    size_t len = 0;
    unsigned space = 0;
    (void)state;
    failures = 0;
    walk(&ready, fail_heap);
    assert_true(failures > 2 * 100);
    for (long at = 0;; at++) {
        struct keygen kg = ready;
        long live = heap.live;
        memset(der, 0xDD, sizeof der);
        len = 99;
        heap.fail_at = at;
        enum cw_err err = keygen_der(&kg, der, sizeof der, &len);
        assert_int_equal(heap.live, live);
        if (heap.fail_at >= 0) {
            heap.fail_at = -1;
            assert_int_equal(err, CW_OK);
            assert_true(len > 1000 && len <= KEYGEN_DER_MAX);
            break;
        }
        assert_true(err == CW_ERR_SPACE || err == CW_ERR_CRYPTO);
        space += err == CW_ERR_SPACE;
        assert_int_equal(len, 99);
        assert_memory_equal(der, none, sizeof der);
        assert_nothing_kept(&kg);
        failures++;
    }
    assert_true(space > 20);
    print_message("%u failures\n", failures);
    keygen_drop(&ready);
}

/* A source that gives no primes is found out, after as many steps as there are numbers to draw. */
static void test_stuck_source(void **state)
{
    const int bytes[] = {0x00, 0xFF, 0xB5, 0xC1};
    (void)state;
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        struct keygen kg = {0};
        bool done = false;
        enum cw_err err = CW_OK;
        source.stuck = bytes[i];
        source.numbers = 0;
        keygen_start(&kg);
        while (err == CW_OK) {
            err = keygen_step(&kg, &done);
            assert_false(done);
        }
        assert_int_equal(err, CW_ERR_IO);
        assert_nothing_kept(&kg);
        assert_true(source.numbers >= 16384);
    }
}

/* Primes that were damaged since they were found give no key. */
static void test_damaged_primes(void **state)
{
    struct keygen ready = {0};
    uint8_t der[KEYGEN_DER_MAX];
    const uint8_t none[sizeof der] = {0};
    (void)state;
    run(&ready);
    for (int i = 0; i < 3; i++) {
        struct keygen kg = ready;
        size_t len = 99;
        if (i == 0)
            memcpy(kg.prime[0], kg.prime[1], KEYGEN_PRIME_LEN);
        if (i == 1)
            kg.prime[1][KEYGEN_PRIME_LEN - 1] ^= 1; /* even */
        if (i == 2)
            kg.prime[0][0] = 0x01; /* N is too short */
        assert_int_equal(keygen_der(&kg, der, sizeof der, &len), CW_ERR_CRYPTO);
        assert_int_equal(len, 99);
        assert_memory_equal(der, none, sizeof der);
        assert_nothing_kept(&kg);
    }
    keygen_drop(&ready);
}

static void test_wrong_moment(void **state)
{
    struct keygen kg = {0};
    uint8_t der[KEYGEN_DER_MAX];
    size_t len = 99;
    bool done = true;
    (void)state;
    assert_int_equal(keygen_step(&kg, &done), CW_ERR_STATE);
    assert_int_equal(keygen_der(&kg, der, sizeof der, &len), CW_ERR_STATE);
    keygen_start(&kg);
    assert_int_equal(keygen_der(&kg, der, sizeof der, &len), CW_ERR_STATE);
    assert_int_equal(kg.phase, KEYGEN_FIRST); /* which did not end it */
    assert_int_equal(keygen_step(&kg, &done), CW_OK);
    /* begun anew: what was there is gone */
    memset(kg.prime, 0xAA, sizeof kg.prime);
    kg.permille = 500;
    keygen_start(&kg);
    assert_int_equal(keygen_permille(&kg), 0);
    for (size_t i = 0; i < KEYGEN_PRIME_LEN; i++)
        assert_int_equal(kg.prime[0][i] | kg.prime[1][i], 0);
    /* too little room for the key */
    run(&kg);
    assert_int_equal(keygen_der(&kg, der, 1000, &len), CW_ERR_SPACE);
    assert_nothing_kept(&kg);
    assert_int_equal(len, 99);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_keys_are_good),         TEST(test_primes_that_do_not_fit),
        TEST(test_composites_fall),       TEST(test_liars_are_found_out),
        TEST(test_random_fails_anywhere), TEST(test_heap_fails_anywhere),
        TEST(test_stuck_source),          TEST(test_damaged_primes),
        TEST(test_wrong_moment),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
