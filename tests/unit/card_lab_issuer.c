/* card_lab_issuer.c - the issuer's end of card_lab.h: its secure channel, and its signed messages.
 */
#include "card_lab.h"

#include "unit.h"

#include "card/scp03_mbedtls.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <string.h>

enum cw_err lab_host_begin(struct lab *lab, const uint8_t challenge[SCP03_CHALLENGE_LEN],
                           const struct scp03_update *update)
{
    return scp03_host_begin(&lab->channel, &scp03_mbedtls, &lab->keys, challenge, update);
}

enum cw_err lab_keys_write(struct lab *lab, uint8_t version, const struct scp03_keys *keys,
                           struct buf_writer *w)
{
    return scp03_keys_write(&scp03_mbedtls, lab->keys.dek, version, keys, w);
}

bool lab_channel_open(struct lab *lab)
{
    const uint8_t challenge[SCP03_CHALLENGE_LEN] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t data[SCP03_AUTHENTICATE_LEN];
    size_t n = 0;
    struct scp03_update update;
    struct apdu_command cmd;
    if (lab_apdu(lab, 0x80, SCP03_INS_INITIALIZE_UPDATE, 0, 0, challenge, sizeof challenge, 256,
                 out, &n) != SW_OK)
        return false;
    assert_int_equal(scp03_update_parse(out, n, &update), CW_OK);
    if (lab_host_begin(lab, challenge, &update) != CW_OK)
        return false;
    assert_int_equal(scp03_host_authenticate(&lab->channel, SCP03_LEVEL_FULL, data, &cmd), CW_OK);
    return lab_apdu(lab, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 0, NULL, NULL) ==
           SW_OK;
}

uint16_t lab_secure(struct lab *lab, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                    const void *data, size_t nc, size_t ne, uint8_t *out, size_t *len)
{
    uint8_t wrapped[2048 + SCP03_OVERHEAD];
    uint8_t answer[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct apdu_command cmd = {cla, ins, p1, p2, data, nc, ne, false};
    assert_int_equal(scp03_command_wrap(&lab->channel, &cmd, wrapped, sizeof wrapped), CW_OK);
    uint16_t sw =
        lab_apdu(lab, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 1024, answer, &n);
    if (!scp03_is_open(&lab->channel) ||
        scp03_response_unwrap(&lab->channel, sw, answer, &n) != CW_OK) {
        n = 0;
        if (sw == SW_OK)
            fail_msg("an answer that the issuer cannot believe");
    }
    if (out != NULL)
        memcpy(out, answer, n);
    if (len != NULL)
        *len = n;
    return sw;
}

uint16_t lab_put(struct lab *lab, uint16_t object, const void *data, size_t len)
{
    return lab_secure(lab, 0x00, INS_PUT_DATA, (uint8_t)(object >> 8), (uint8_t)object, data, len,
                      0, NULL, NULL);
}

uint16_t lab_put_keys(struct lab *lab)
{
    uint8_t data[SCP03_KEYS_LEN];
    struct buf_writer w;
    struct scp03_keys keys;
    memset(keys.enc, 0xE1, sizeof keys.enc);
    memset(keys.mac, 0xA2, sizeof keys.mac);
    memset(keys.dek, 0xD3, sizeof keys.dek);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(lab_keys_write(lab, 1, &keys, &w), CW_OK);
    uint16_t sw =
        lab_secure(lab, 0x80, SCP03_INS_PUT_KEY, 0, SCP03_PUT_KEY_P2, data, w.len, 256, NULL, NULL);
    if (sw == SW_OK)
        lab->keys = keys;
    return sw;
}

uint16_t lab_set_status(struct lab *lab, enum link_life life)
{
    return lab_secure(lab, 0x80, INS_SET_STATUS, 0x80, (uint8_t)life, NULL, 0, 0, NULL, NULL);
}

struct policy lab_policy(void)
{
    return (struct policy){
        .flags = POLICY_LINE_CONTACTLESS | POLICY_SESSIONS_NVM,
        .pin = {.min = 4, .max = 12, .tries = LINK_PIN_TRIES},
    };
}

uint16_t lab_put_policy(struct lab *lab, const struct policy *policy)
{
    uint8_t data[POLICY_LEN_MAX];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(policy_encode(policy, &w), CW_OK);
    return lab_put(lab, LINK_DO_POLICY, data, w.len);
}

uint16_t lab_put_pin(struct lab *lab, enum link_pin pin, uint8_t flags, const char *digits)
{
    uint8_t data[2 + LINK_PIN_MAX] = {LINK_PIN_TRIES, flags};
    size_t len = strlen(digits);
    assert_true(len <= LINK_PIN_MAX);
    memcpy(data + 2, digits, len);
    return lab_put(lab, (uint16_t)(LINK_DO_PIN | (unsigned)pin), data, 2 + len);
}

/* r and s of a DER signature, 32 bytes each. */
static void sign(EVP_PKEY *key, const uint8_t *data, size_t len, uint8_t out[ISSUER_SIGNATURE_LEN])
{
    uint8_t der[80];
    size_t n = sizeof der;
    const uint8_t *p = der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestSign(ctx, der, &n, data, len) == 1);
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    assert_non_null(sig);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32), 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
}

size_t lab_message(struct lab *lab, struct issuer_message *m, uint8_t out[ISSUER_MESSAGE_MAX])
{
    uint8_t whole[sizeof ISSUER_PREFIX + ISSUER_MESSAGE_MAX] = ISSUER_PREFIX;
    const size_t prefix = sizeof ISSUER_PREFIX - 1;
    uint8_t signature[ISSUER_SIGNATURE_LEN];
    struct buf_writer w;
    memcpy(m->serial, lab->port.unique_id, sizeof m->serial);
    buf_writer_init(&w, whole + prefix, ISSUER_MESSAGE_MAX);
    assert_int_equal(issuer_encode(m, &w), CW_OK);
    sign(lab->update_key, whole, prefix + w.len, signature);
    assert_int_equal(issuer_seal(&w, signature), CW_OK);
    memcpy(out, w.start, w.len);
    return w.len;
}

uint16_t lab_time_set(struct lab *lab, int64_t time)
{
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t n = 0;
    struct issuer_message m = {.kind = ISSUER_TIME, .time = time};
    assert_int_equal(lab_apdu(lab, 0x00, INS_GET_CHALLENGE, 0, 0, NULL, 0, 8, out, &n), SW_OK);
    assert_int_equal(n, sizeof m.challenge);
    memcpy(m.challenge, out, n);
    n = lab_message(lab, &m, message);
    return lab_apdu(lab, 0x80, INS_APPLY, 0, 0, message, n, 256, NULL, NULL);
}

uint16_t lab_update(struct lab *lab, const struct issuer_write *writes, size_t count)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    struct issuer_message m = {
        .kind = ISSUER_UPDATE, .sequence = ++lab->sequence, .write_count = count};
    memcpy(m.writes, writes, count * sizeof writes[0]);
    size_t n = lab_message(lab, &m, message);
    return lab_apdu(lab, 0x80, INS_APPLY, 0, 0, message, n, 256, NULL, NULL);
}

uint16_t lab_put_update_key(struct lab *lab)
{
    uint8_t point[ISSUER_POINT_LEN];
    size_t n = 0;
    if (lab->update_key == NULL)
        lab->update_key = EVP_EC_gen("P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(lab->update_key, OSSL_PKEY_PARAM_PUB_KEY,
                                                     point, sizeof point, &n),
                     1);
    assert_int_equal(n, sizeof point);
    return lab_put(lab, LINK_DO_ISSUER, point, n);
}
