/* test_card_engine.c - what card/mbedtls_config.h must make of the engine, by published vectors
 * through PSA, or where the card goes around it: the algorithms that the card's parts ask for are
 * there and are what they say. */
#include "unit.h"

#include "card_lab.h"

#include "card/scp03_mbedtls.h"

#include <mbedtls/des.h>
#include <psa/crypto.h>
#include <string.h>

static struct lab lab;

static int power_up(void **state)
{
    (void)state;
    lab_init(&lab); /* powers PSA up as well */
    return 0;
}

static int power_down(void **state)
{
    (void)state;
    lab_free(&lab);
    return 0;
}

static psa_key_id_t import(psa_key_type_t type, psa_algorithm_t alg, psa_key_usage_t usage,
                           const void *key, size_t len)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    psa_set_key_type(&a, type);
    psa_set_key_algorithm(&a, alg);
    psa_set_key_usage_flags(&a, usage);
    assert_int_equal(psa_import_key(&a, key, len, &id), PSA_SUCCESS);
    return id;
}

static const uint8_t aes_key[16] =
    "\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c";
static const uint8_t block[16] = "\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a";

/* RFC 4493 §4, examples 1 and 2, and example 2 in pieces. */
static void test_cmac(void **state)
{
    static const uint8_t none[16] =
        "\xbb\x1d\x69\x29\xe9\x59\x37\x28\x7f\xa3\x7d\x12\x9b\x75\x67\x46";
    static const uint8_t one[16] =
        "\x07\x0a\x16\xb4\x6b\x4d\x41\x44\xf7\x9b\xdd\x9d\xd0\x4a\x28\x7c";
    static const uint8_t long_one[16] =
        "\xdf\xa6\x67\x47\xde\x9a\xe6\x30\x30\xca\x32\x61\x14\x97\xc8\x27";
    /* Example 3: 40 bytes. */
    static const uint8_t more[24] = "\xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac"
                                    "\x45\xaf\x8e\x51\x30\xc8\x1c\x46\xa3\x5c\xe4\x11";
    const struct scp03_part parts[] = {{block, 5}, {NULL, 0}, {block + 5, 11}, {more, 24}};
    uint8_t mac[16];
    (void)state;
    assert_int_equal(scp03_mbedtls.cmac(NULL, aes_key, NULL, 0, mac), CW_OK);
    assert_memory_equal(mac, none, 16);
    assert_int_equal(scp03_mbedtls.cmac(NULL, aes_key, parts, 3, mac), CW_OK);
    assert_memory_equal(mac, one, 16);
    assert_int_equal(scp03_mbedtls.cmac(NULL, aes_key, parts, 4, mac), CW_OK);
    assert_memory_equal(mac, long_one, 16);
}

/* SP 800-38A §F.2.1, CBC-AES128, one block and two; and the example of TDEA in NIST's SP 800-67. */
static void test_block_ciphers(void **state)
{
    static const uint8_t iv[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    static const uint8_t plain[32] =
        "\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a"
        "\xae\x2d\x8a\x57\x1e\x03\xac\x9c\x9e\xb7\x6f\xac\x45\xaf\x8e\x51";
    static const uint8_t sealed[32] =
        "\x76\x49\xab\xac\x81\x19\xb2\x46\xce\xe9\x8e\x9b\x12\xe9\x19\x7d"
        "\x50\x86\xcb\x9b\x50\x72\x19\xee\x95\xdb\x11\x3a\x91\x76\x78\xb2";
    static const uint8_t des_key[24] =
        "\x01\x23\x45\x67\x89\xab\xcd\xef\x23\x45\x67\x89\xab\xcd\xef\x01\x45\x67\x89\xab\xcd\xef"
        "\x01\x23";
    uint8_t data[32];
    uint8_t out[8];
    mbedtls_des3_context des;
    (void)state;
    for (size_t len = 16; len <= sizeof data; len += 16) {
        memcpy(data, plain, len);
        assert_int_equal(scp03_mbedtls.cbc(NULL, true, aes_key, iv, data, len), CW_OK);
        assert_memory_equal(data, sealed, len);
        assert_int_equal(scp03_mbedtls.cbc(NULL, false, aes_key, iv, data, len), CW_OK);
        assert_memory_equal(data, plain, len);
    }
    mbedtls_des3_init(&des);
    assert_int_equal(mbedtls_des3_set3key_enc(&des, des_key), 0);
    assert_int_equal(mbedtls_des3_crypt_ecb(&des, (const uint8_t *)"The qufc", out), 0);
    mbedtls_des3_free(&des);
    assert_memory_equal(out, "\xa8\x26\xfd\x8c\xe5\x3b\x85\x5f", 8);
}

/* RFC 5903 §8.1 */
static const uint8_t scalar_i[32] =
    "\xC8\x8F\x01\xF5\x10\xD9\xAC\x3F\x70\xA2\x92\xDA\xA2\x31\x6D\xE5\x44\xE9\xAA\xB8\xAF\xE8\x40"
    "\x49\xC6\x2A\x9C\x57\x86\x2D\x14\x33";
static const uint8_t point_i[65] =
    "\x04\xDA\xD0\xB6\x53\x94\x22\x1C\xF9\xB0\x51\xE1\xFE\xCA\x57\x87\xD0\x98\xDF\xE6\x37\xFC\x90"
    "\xB9\xEF\x94\x5D\x0C\x37\x72\x58\x11\x80\x52\x71\xA0\x46\x1C\xDB\x82\x52\xD6\x1F\x1C\x45\x6F"
    "\xA3\xE5\x9A\xB1\xF4\x5B\x33\xAC\xCF\x5F\x58\x38\x9E\x05\x77\xB8\x99\x0B\xB3";
static const uint8_t point_r[65] =
    "\x04\xD1\x2D\xFB\x52\x89\xC8\xD4\xF8\x12\x08\xB7\x02\x70\x39\x8C\x34\x22\x96\x97\x0A\x0B\xCC"
    "\xB7\x4C\x73\x6F\xC7\x55\x44\x94\xBF\x63\x56\xFB\xF3\xCA\x36\x6C\xC2\x3E\x81\x57\x85\x4C\x13"
    "\xC5\x8D\x6A\xAC\x23\xF0\x46\xAD\xA3\x0F\x83\x53\xE7\x4F\x33\x03\x98\x72\xAB";
static const uint8_t shared[32] =
    "\xD6\x84\x0F\x6B\x42\xF6\xED\xAF\xD1\x31\x16\xE0\xE1\x25\x65\x20\x2F\xEF\x8E\x9E\xCE\x7D\xCE"
    "\x03\x81\x24\x64\xD0\x4B\x94\x42\xDE";

static void test_p256_agreement(void **state)
{
    uint8_t out[65];
    uint8_t off[65];
    size_t n = 0;
    (void)state;
    psa_key_id_t key = import(PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1), PSA_ALG_ECDH,
                              PSA_KEY_USAGE_DERIVE, scalar_i, sizeof scalar_i);
    assert_int_equal(psa_export_public_key(key, out, sizeof out, &n), PSA_SUCCESS);
    assert_int_equal(n, sizeof point_i);
    assert_memory_equal(out, point_i, n);
    assert_int_equal(
        psa_raw_key_agreement(PSA_ALG_ECDH, key, point_r, sizeof point_r, out, sizeof out, &n),
        PSA_SUCCESS);
    assert_int_equal(n, sizeof shared);
    assert_memory_equal(out, shared, n);
    /* A point that is not on the curve would give the key away, a few bits at a time. */
    memcpy(off, point_r, sizeof off);
    off[64] ^= 1;
    assert_int_not_equal(
        psa_raw_key_agreement(PSA_ALG_ECDH, key, off, sizeof off, out, sizeof out, &n),
        PSA_SUCCESS);
    assert_int_equal(psa_destroy_key(key), PSA_SUCCESS);
}

/* RFC 6979 §A.2.5, SHA-256 of "sample": the verifier takes it, and nothing one bit away from it. */
static void test_p256_signature(void **state)
{
    static const uint8_t public[65] =
        "\x04\x60\xFE\xD4\xBA\x25\x5A\x9D\x31\xC9\x61\xEB\x74\xC6\x35\x6D\x68\xC0\x49\xB8\x92\x3B"
        "\x61\xFA\x6C\xE6\x69\x62\x2E\x60\xF2\x9F\xB6\x79\x03\xFE\x10\x08\xB8\xBC\x99\xA4\x1A\xE9"
        "\xE9\x56\x28\xBC\x64\xF2\xF1\xB2\x0C\x2D\x7E\x9F\x51\x77\xA3\xC2\x94\xD4\x46\x22\x99";
    static const uint8_t hash[32] =
        "\xAF\x2B\xDB\xE1\xAA\x9B\x6E\xC1\xE2\xAD\xE1\xD6\x94\xF4\x1F\xC7\x1A\x83\x1D\x02\x68\xE9"
        "\x89\x15\x62\x11\x3D\x8A\x62\xAD\xD1\xBF";
    uint8_t signature[64] =
        "\xEF\xD4\x8B\x2A\xAC\xB6\xA8\xFD\x11\x40\xDD\x9C\xD4\x5E\x81\xD6\x9D\x2C\x87\x7B\x56\xAA"
        "\xF9\x91\xC3\x4D\x0E\xA8\x4E\xAF\x37\x16\xF7\xCB\x1C\x94\x2D\x65\x7C\x41\xD4\x36\xC7\xA1"
        "\xB6\xE2\x9F\x65\xF3\xE9\x00\xDB\xB9\xAF\xF4\x06\x4D\xC4\xAB\x2F\x84\x3A\xCD\xA8";
    const psa_algorithm_t alg = PSA_ALG_ECDSA(PSA_ALG_SHA_256);
    (void)state;
    psa_key_id_t key = import(PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1), alg,
                              PSA_KEY_USAGE_VERIFY_HASH, public, sizeof public);
    assert_int_equal(psa_verify_hash(key, alg, hash, 32, signature, 64), PSA_SUCCESS);
    for (size_t i = 0; i < 64; i++) {
        signature[i] ^= 1;
        assert_int_equal(psa_verify_hash(key, alg, hash, 32, signature, 64),
                         PSA_ERROR_INVALID_SIGNATURE);
        signature[i] ^= 1;
    }
    memset(signature, 0, 32);
    assert_int_equal(psa_verify_hash(key, alg, hash, 32, signature, 64),
                     PSA_ERROR_INVALID_SIGNATURE);
    memset(signature, 0, 64);
    assert_int_equal(psa_verify_hash(key, alg, hash, 32, signature, 64),
                     PSA_ERROR_INVALID_SIGNATURE);
    assert_int_equal(psa_destroy_key(key), PSA_SUCCESS);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, power_up, power_down)
    const struct CMUnitTest tests[] = {
        T(test_cmac),
        T(test_block_ciphers),
        T(test_p256_agreement),
        T(test_p256_signature),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
