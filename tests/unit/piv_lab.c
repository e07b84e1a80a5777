/* piv_lab.c - see piv_lab.h. */
#include "piv_lab.h"

#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#define INS_GET_DATA_BER 0xCB
#define INS_PUT_DATA_BER 0xDB
#define INS_AUTHENTICATE 0x87

const uint8_t *piv_lab_key(uint8_t algorithm, size_t *len)
{
    static const uint8_t key[32] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                    0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01,
                                    0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23,
                                    0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45};
    *len = algorithm == PIV_ALG_AES128 ? 16 : algorithm == PIV_ALG_AES256 ? 32 : 24;
    return key;
}

void piv_lab_issue(struct lab *lab, uint8_t algorithm)
{
    uint8_t data[1 + 32] = {algorithm};
    size_t len = 0;
    const uint8_t *key = piv_lab_key(algorithm, &len);
    assert_int_equal(lab_select(lab), SW_OK);
    assert_true(lab_channel_open(lab));
    assert_int_equal(lab_put_pin(lab, LINK_PIN_PIV, 0, PIV_LAB_PIN), SW_OK);
    assert_int_equal(lab_put_pin(lab, LINK_PIN_PIV_PUK, 0, PIV_LAB_PUK), SW_OK);
    memcpy(data + 1, key, len);
    assert_int_equal(lab_put(lab, LINK_DO_ADMIN, data, 1 + len), SW_OK);
}

void piv_lab_init(struct lab *lab, uint8_t algorithm)
{
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    lab_init(lab);
    lab_personalise(lab, 1 << (LINK_KEY_TLS_P256 - 1), &card_ca, &root, 7);
    piv_lab_issue(lab, algorithm);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    assert_int_equal(piv_lab_select(lab), SW_OK);
}

void piv_lab_power(struct lab *lab, bool contactless)
{
    lab->port.contactless = contactless;
    assert_true(lab_power_cycle(lab));
    assert_int_equal(piv_lab_select(lab), SW_OK);
}

uint16_t piv_lab_apdu(struct lab *lab, uint8_t ins, uint8_t p1, uint8_t p2, const void *data,
                      size_t nc, uint8_t *out, size_t *len)
{
    const uint8_t *at = data;
    while (nc > APDU_SHORT_NC_MAX) {
        uint16_t sw =
            lab_apdu(lab, APDU_CLA_CHAIN, ins, p1, p2, at, APDU_SHORT_NC_MAX, 0, NULL, NULL);
        if (sw != SW_OK)
            return sw;
        at += APDU_SHORT_NC_MAX;
        nc -= APDU_SHORT_NC_MAX;
    }
    return lab_apdu(lab, 0x00, ins, p1, p2, at, nc, 256, out, len);
}

/* The rest of an answer of which `*len` bytes are there. */
static uint16_t rest(struct lab *lab, uint16_t sw, uint8_t *out, size_t cap, size_t *len)
{
    uint8_t part[CARD_RESPONSE_MAX];
    while ((sw & 0xFF00) == SW_MORE) {
        size_t n = 0;
        sw = lab_apdu(lab, 0x00, INS_GET_RESPONSE, 0, 0, NULL, 0, 256, part, &n);
        assert_true(n <= cap - *len);
        memcpy(out + *len, part, n);
        *len += n;
    }
    return sw;
}

uint16_t piv_lab_select(struct lab *lab)
{
    return lab_apdu(lab, 0x00, INS_SELECT, 0x04, 0x0C, piv_aid, PIV_AID_LEN, 0, NULL, NULL);
}

static void field_put(struct buf_writer *w, const char *digits)
{
    size_t len = strlen(digits);
    buf_put_bytes(w, digits, len);
    for (; len < 8; len++)
        buf_put_u8(w, 0xFF);
}

uint16_t piv_lab_verify(struct lab *lab, const char *pin)
{
    uint8_t data[16];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    field_put(&w, pin);
    return lab_apdu(lab, 0x00, INS_VERIFY, 0, PIV_REF_PIN, data, w.len, 0, NULL, NULL);
}

uint16_t piv_lab_two(struct lab *lab, uint8_t ins, uint8_t ref, const char *first,
                     const char *second)
{
    uint8_t data[32];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    field_put(&w, first);
    field_put(&w, second);
    return lab_apdu(lab, 0x00, ins, 0, ref, data, w.len, 0, NULL, NULL);
}

uint16_t piv_lab_status(struct lab *lab)
{
    return lab_apdu(lab, 0x00, INS_VERIFY, 0, PIV_REF_PIN, NULL, 0, 0, NULL, NULL);
}

uint16_t piv_lab_get(struct lab *lab, uint8_t object, uint8_t *out, size_t cap, size_t *len)
{
    const uint8_t list[] = {0x5C, 0x03, 0x5F, 0xC1, object};
    uint8_t first[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint16_t sw = piv_lab_apdu(lab, INS_GET_DATA_BER, 0x3F, 0xFF, list, sizeof list, first, &n);
    assert_true(n <= cap);
    memcpy(out, first, n);
    *len = n;
    return rest(lab, sw, out, cap, len);
}

uint16_t piv_lab_put(struct lab *lab, uint8_t object, const void *value, size_t len)
{
    uint8_t data[CARD_COMMAND_MAX + 64];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    const uint8_t list[] = {0x5C, 0x03, 0x5F, 0xC1, object};
    buf_put_bytes(&w, list, sizeof list);
    ber_put(&w, 0x53, value, len);
    assert_false(w.bad);
    return piv_lab_apdu(lab, INS_PUT_DATA_BER, 0x3F, 0xFF, data, w.len, NULL, NULL);
}

void piv_lab_crypt(uint8_t algorithm, const uint8_t *key, bool encrypt, const uint8_t *in,
                   uint8_t *out)
{
    const EVP_CIPHER *cipher = algorithm == PIV_ALG_3DES     ? EVP_des_ede3_ecb()
                               : algorithm == PIV_ALG_AES128 ? EVP_aes_128_ecb()
                               : algorithm == PIV_ALG_AES192 ? EVP_aes_192_ecb()
                                                             : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    assert_true(EVP_CipherInit_ex(ctx, cipher, NULL, key, NULL, encrypt) == 1);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    assert_true(EVP_CipherUpdate(ctx, out, &n, in, (int)piv_lab_block(algorithm)) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

size_t piv_lab_block(uint8_t algorithm)
{
    return algorithm == PIV_ALG_3DES ? 8 : 16;
}

uint16_t piv_lab_admin(struct lab *lab, uint8_t algorithm)
{
    static const uint8_t ask[] = {PIV_TAG_AUTH, 2, PIV_TAG_WITNESS, 0};
    static const uint8_t challenge[16] = {"a challenge of 1"};
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t plain[16], sealed[16], data[64];
    size_t n = 0;
    size_t len = 0;
    const size_t block = piv_lab_block(algorithm);
    const uint8_t *key = piv_lab_key(algorithm, &len);
    struct buf_writer w;
    uint16_t sw =
        piv_lab_apdu(lab, INS_AUTHENTICATE, algorithm, PIV_REF_ADMIN, ask, sizeof ask, out, &n);
    if (sw != SW_OK)
        return sw;
    assert_int_equal(n, 4 + block);
    piv_lab_crypt(algorithm, key, false, out + 4, plain);
    buf_writer_init(&w, data, sizeof data);
    ber_put_header(&w, PIV_TAG_AUTH, 4 + 2 * block);
    ber_put(&w, PIV_TAG_WITNESS, plain, block);
    ber_put(&w, PIV_TAG_CHALLENGE, challenge, block);
    sw = piv_lab_apdu(lab, INS_AUTHENTICATE, algorithm, PIV_REF_ADMIN, data, w.len, out, &n);
    if (sw != SW_OK)
        return sw;
    /* The card has proved itself as well. */
    piv_lab_crypt(algorithm, key, true, challenge, sealed);
    assert_int_equal(n, 4 + block);
    assert_int_equal(out[2], PIV_TAG_RESPONSE);
    assert_memory_equal(out + 4, sealed, block);
    return sw;
}

/* 7F49 { 86 point } or { 81 modulus, 82 exponent } */
static EVP_PKEY *public_key(const uint8_t *data, size_t len)
{
    struct ber_object o, part;
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *n = NULL, *e = NULL;
    assert_int_equal(ber_find(data, len, 0x7F49, &o), CW_OK);
    bool rsa = ber_find(o.value, o.len, 0x81, &part) == CW_OK;
    if (rsa) {
        assert_int_equal(part.len, 256);
        n = BN_bin2bn(part.value, (int)part.len, NULL);
        assert_int_equal(ber_find(o.value, o.len, 0x82, &part), CW_OK);
        e = BN_bin2bn(part.value, (int)part.len, NULL);
        assert_true(OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n));
        assert_true(OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e));
    } else {
        assert_int_equal(ber_find(o.value, o.len, 0x86, &part), CW_OK);
        assert_int_equal(part.len, 65);
        assert_true(
            OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0));
        assert_true(
            OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, part.value, part.len));
    }
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, rsa ? "RSA" : "EC", NULL);
    assert_true(EVP_PKEY_fromdata_init(ctx) == 1 &&
                EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return key;
}

uint16_t piv_lab_generate(struct lab *lab, uint8_t ref, uint8_t algorithm, EVP_PKEY **key)
{
    const uint8_t data[] = {0xAC, 3, 0x80, 1, algorithm};
    uint8_t out[512];
    uint8_t first[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint16_t sw = piv_lab_apdu(lab, INS_GENERATE_KEY, 0, ref, data, sizeof data, first, &n);
    memcpy(out, first, n);
    sw = rest(lab, sw, out, sizeof out, &n);
    if (sw == SW_OK && key != NULL)
        *key = public_key(out, n);
    return sw;
}

uint16_t piv_lab_use(struct lab *lab, uint8_t ref, uint8_t algorithm, uint8_t tag, const void *data,
                     size_t n, uint8_t *out, size_t *len)
{
    uint8_t bytes[CARD_COMMAND_MAX];
    uint8_t answer[512];
    struct buf_writer w, inner;
    struct ber_object o, response;
    buf_writer_init(&inner, bytes + 8, sizeof bytes - 8);
    ber_put_header(&inner, PIV_TAG_RESPONSE, 0);
    ber_put(&inner, tag, data, n);
    uint8_t whole[CARD_COMMAND_MAX];
    buf_writer_init(&w, whole, sizeof whole);
    ber_put(&w, PIV_TAG_AUTH, inner.start, inner.len);
    assert_false(w.bad || inner.bad);
    uint8_t first[CARD_RESPONSE_MAX];
    size_t got = 0;
    uint16_t sw = piv_lab_apdu(lab, INS_AUTHENTICATE, algorithm, ref, whole, w.len, first, &got);
    memcpy(answer, first, got);
    sw = rest(lab, sw, answer, sizeof answer, &got);
    if (sw != SW_OK) {
        assert_int_equal(got, 0);
        return sw;
    }
    assert_int_equal(ber_find(answer, got, PIV_TAG_AUTH, &o), CW_OK);
    assert_int_equal(ber_find(o.value, o.len, PIV_TAG_RESPONSE, &response), CW_OK);
    if (out != NULL) {
        memcpy(out, response.value, response.len);
        *len = response.len;
    }
    return sw;
}
