/* card_issuer.c - the issuer's operations: its secure channel with the card's true keys, its signed
 * messages with the true update key; and everything that somebody in between could do to them. */
#include "card_fuzz.h"

#include "card/scp03_mbedtls.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <string.h>

/* --- the issuer's channel ------------------------------------------------------------------------
 */

static bool keys_of_card(struct scp03_keys *out)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.now, NVM_KEYSET, &n);
    if (p == NULL || n != 49)
        return false;
    memcpy(out->enc, p + 1, 16);
    memcpy(out->mac, p + 17, 16);
    memcpy(out->dek, p + 33, 16);
    return true;
}

/* INITIALIZE UPDATE and EXTERNAL AUTHENTICATE; `how` spoils it. */
void issuer_channel(struct buf_reader *in)
{
    static const uint8_t levels[] = {0x33, 0x13, 0x11, 0x03, 0x01, 0x00};
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    uint8_t challenge[8] = {1, 2, 3, 4, 5, 6, 7, spoil}, out[CARD_RESPONSE_MAX],
            data[SCP03_AUTHENTICATE_LEN];
    size_t n = 0;
    struct scp03_keys keys = {{0}, {0}, {0}}, right;
    struct scp03_update update;
    struct apdu_command cmd = {0x80, SCP03_INS_INITIALIZE_UPDATE, 0, 0, challenge, 8, 256, false};
    uint8_t level = levels[how >> 3 & 7 ? (how >> 3 & 7) % 6 : 0];
    scp03_end(&fz.host);
    if (ops_send(&cmd, out, &n) != SW_OK || scp03_update_parse(out, n, &update) != CW_OK ||
        !keys_of_card(&right))
        return;
    if (how & 0x40) /* a command in between */
        (void)ops_send(&(struct apdu_command){0x80, INS_INFO, 0, 0, NULL, 0, 256, false}, NULL,
                       NULL);
    keys = right;
    /* Who has the MAC key may open the channel; what it then says is encrypted by the other. */
    if (how & 1)
        keys.enc[0] ^= 1;
    if (how & 3)
        keys.mac[0] ^= 1;
    if (scp03_host_begin(&fz.host, &scp03_mbedtls, &right, challenge, &update) != CW_OK)
        return;
    /* With other keys the host would not go on: what an attacker sends is what it could make. */
    if (how & 3) {
        struct scp03_update theirs = update;
        struct scp03 card = {0};
        if (scp03_card_begin(&card, &scp03_mbedtls, &keys, challenge, &theirs) != CW_OK ||
            scp03_host_begin(&fz.host, &scp03_mbedtls, &keys, challenge, &theirs) != CW_OK)
            return;
    }
    if (scp03_host_authenticate(&fz.host, level, data, &cmd) != CW_OK)
        return;
    bool flip = how & 4;
    if (flip)
        data[spoil % sizeof data] ^= (uint8_t)(1u << spoil % 8);
    const struct fuzz_about about = {.authentic =
                                         !(how & 3) && !flip && level == 0x33 && !(how & 0x40)};
    if (fuzz_command(&cmd, &about, NULL, NULL) != SW_OK)
        scp03_end(&fz.host);
}

/* A value for PUT DATA or an update: mostly one that an issuer could write. */
static size_t value(uint16_t object, uint8_t which, struct buf_reader *in, uint8_t *out, size_t cap)
{
    struct buf_writer w;
    size_t n = 0;
    const uint8_t *now = memory_find(&fz.now, object, &n);
    buf_writer_init(&w, out, cap);
    struct policy p = lab_policy();
    switch (which % 8) {
    case 0: /* what is there already */
        buf_put_bytes(&w, now, now != NULL ? n : 0);
        return w.len;
    case 1: /* the same with a change */
        buf_put_bytes(&w, now, now != NULL ? n : 0);
        if (w.len > 0)
            out[buf_get_u8(in) * 3u % w.len] ^= (uint8_t)(1u << buf_get_u8(in) % 8);
        return w.len;
    case 2: /* nothing */
        return 0;
    case 3: /* whatever the input has */
        n = in->left;
        buf_put_bytes(&w, n > 0 ? buf_get_bytes(in, n) : NULL, n);
        return w.len;
    default:
        break;
    }
    switch (object & 0xFF00) {
    case LINK_DO_POLICY:
        p.flags = buf_get_u8(in) & POLICY_FLAGS;
        p.limit_count = buf_get_u8(in) % 3;
        p.limits[0] = (struct policy_limit){"EUR", 1 + buf_get_u16(in), 1 + buf_get_u16(in),
                                            buf_get_u8(in), buf_get_u16(in)};
        p.limits[1] = (struct policy_limit){"USD", 5000, 5000, 50, 100};
        if (which & 8)
            p.pin = (struct policy_pin){4, 12, 3, 3};
        (void)!policy_encode(&p, &w);
        break;
    case LINK_DO_PIN:
        buf_put_u8(&w, 1 + buf_get_u8(in) % 15);
        buf_put_u8(&w, buf_get_u8(in) & 1);
        buf_put_bytes(&w, "27182818", 8);
        break;
    case LINK_DO_TIME:
        buf_put_u64(&w, (uint64_t)LAB_TIME + buf_get_u16(in) * UINT64_C(100000));
        break;
    case LINK_DO_PAYEES: {
        const struct policy_payee one = {"DE02120300000000202051", "Max"};
        (void)!policy_payee_put(&w, &one);
        break;
    }
    case LINK_DO_NAME:
        buf_put_bytes(&w, "\x80\x0Aother.test\x81\x01\x07", 15);
        break;
    case LINK_DO_ISSUER: {
        uint8_t point[ISSUER_POINT_LEN];
        size_t len = 0;
        if (EVP_PKEY_get_octet_string_param(fz.issuer[which >> 3 & 1], OSSL_PKEY_PARAM_PUB_KEY,
                                            point, sizeof point, &len) == 1)
            buf_put_bytes(&w, point, len);
        break;
    }
    case LINK_DO_ADMIN:
        buf_put_u8(&w, which & 8 ? PIV_ALG_3DES : PIV_ALG_AES128);
        for (unsigned i = 0; i < (which & 8 ? 24u : 16u); i++)
            buf_put_u8(&w, (uint8_t)(0x31 + i * 37u));
        break;
    case LINK_DO_LIFE:
        buf_put_u8(&w, which & 8 ? LINK_LIFE_TERMINATED : LINK_LIFE_LOCKED);
        break;
    default: { /* a root in the place of a certificate, a certificate in the place of a root */
        const uint8_t *other =
            memory_find(&fz.now, (object & 0xFF00) == LINK_DO_ROOT ? NVM_CERT | 1 : NVM_ROOT, &n);
        buf_put_bytes(&w, other, other != NULL ? n : 0);
    }
    }
    return w.bad ? 0 : w.len;
}

static uint16_t object_of(uint8_t which)
{
    static const uint16_t objects[] = {0x0101, 0x0103, 0x0200, 0x0201, 0x0300, 0x0301, 0x0303,
                                       0x0400, 0x0401, 0x0402, 0x0403, 0x0500, 0x0600, 0x0700,
                                       0x0900, 0x0A00, 0x0B00, 0x0102, 0x0202, 0x0404};
    return objects[which % (sizeof objects / sizeof objects[0])];
}

static size_t put_key_data(struct buf_reader *in, uint8_t *out, size_t cap)
{
    struct scp03_keys now, next;
    struct buf_writer w;
    uint8_t version = (uint8_t)(1 + buf_get_u8(in) % 0x80);
    uint8_t spoil = buf_get_u8(in);
    buf_writer_init(&w, out, cap);
    if (!keys_of_card(&now))
        return 0;
    memset(next.enc, 0xE1, 16);
    memset(next.mac, version, 16);
    for (unsigned i = 0; i < 16; i++)
        next.dek[i] = (uint8_t)(i * 29u + version);
    if (scp03_keys_write(&scp03_mbedtls, now.dek, version, &next, &w) != CW_OK)
        return 0;
    if (spoil & 0x80)
        out[spoil % w.len] ^= 1;
    return w.len;
}

/* A command of the issuer, before it is wrapped. */
static struct apdu_command issuer_command(struct buf_reader *in, uint8_t *data, size_t cap)
{
    struct apdu_command c = {.cla = 0x80, .ne = 1024};
    uint8_t which = buf_get_u8(in);
    uint8_t p = buf_get_u8(in);
    uint16_t object = object_of(p);
    switch (which % 10) {
    case 0:
    case 1:
    case 2:
        c.cla = 0x00;
        c.ins = INS_PUT_DATA;
        c.p1 = (uint8_t)(object >> 8);
        c.p2 = (uint8_t)object;
        c.nc = value(object, buf_get_u8(in), in, data, cap);
        break;
    case 3:
        c.ins = INS_SET_STATUS;
        c.p1 = 0x80;
        c.p2 = p % 7;
        break;
    case 4:
        c.ins = SCP03_INS_PUT_KEY;
        c.p1 = which & 0x10 ? p : 0;
        c.p2 = SCP03_PUT_KEY_P2;
        c.nc = put_key_data(in, data, cap);
        break;
    case 5:
        c.cla = 0x00;
        c.ins = INS_GENERATE_KEY;
        c.p1 = LINK_GENERATE_SLICE;
        c.p2 = p % 6;
        if ((c.p2 == LINK_KEY_TLS_RSA || c.p2 == LINK_KEY_ORDER_RSA) && ++fz.slices > 4)
            c.p2 = LINK_KEY_TLS_P256;
        break;
    case 6:
        c.ins = INS_REQUEST;
        c.p2 = p % 6;
        break;
    case 7:
        c.cla = 0x00;
        c.ins = INS_GET_DATA;
        c.p1 = (uint8_t)(object >> 8);
        c.p2 = (uint8_t)object;
        break;
    case 8:
        c.ins = INS_INFO;
        break;
    default: /* any other */
        c.cla = p & 1 ? 0x00 : 0x80;
        c.ins = buf_get_u8(in);
        c.p1 = buf_get_u8(in);
        c.p2 = buf_get_u8(in);
        c.nc = in->left < cap ? in->left : cap;
        if (c.nc > 0)
            memcpy(data, buf_get_bytes(in, c.nc), c.nc);
        if (c.ins == INS_GENERATE_KEY)
            c.ins = INS_INFO;
        break;
    }
    c.data = c.nc > 0 ? data : NULL;
    return c;
}

/* Is it still what the issuer meant? Le is not authenticated. */
static bool same_command(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    struct apdu_command x, y;
    return apdu_parse(a, a_len, &x) == CW_OK && apdu_parse(b, b_len, &y) == CW_OK &&
           x.cla == y.cla && x.ins == y.ins && x.p1 == y.p1 && x.p2 == y.p2 && x.nc == y.nc &&
           (x.nc == 0 || memcmp(x.data, y.data, x.nc) == 0);
}

void issuer_secured(struct buf_reader *in)
{
    static uint8_t data[2048], wrapped[2048 + SCP03_OVERHEAD], out[CARD_RESPONSE_MAX];
    static uint8_t bytes[CARD_COMMAND_MAX + 64], changed[CARD_COMMAND_MAX + 64];
    size_t n = 0, len = 0;
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    /* Once more, what was sent already. A card that has given the same challenge twice, for want of
     * random numbers, cannot tell. */
    if ((how & 0x0F) == 1 && fz.last_len > 0 && !fz.model.poor) {
        (void)fuzz_exchange(fz.last, fz.last_len, NULL, NULL, NULL);
        return;
    }
    const struct apdu_command plain = issuer_command(in, data, sizeof data - 32);
    if ((how & 0x0F) == 2) { /* without protection */
        (void)ops_send(&plain, NULL, NULL);
        return;
    }
    struct apdu_command cmd = plain;
    if (scp03_command_wrap(&fz.host, &cmd, wrapped, sizeof wrapped) != CW_OK ||
        apdu_write(&cmd, bytes, sizeof bytes, &len) != CW_OK)
        return;
    memcpy(fz.last, bytes, len);
    fz.last_len = len;
    if ((how & 0x0F) == 3) /* lost on the way: the channel is out of step from now on */
        return;
    struct fuzz_about about = {.plain = &plain};
    memcpy(changed, bytes, len);
    if ((how & 0x0F) == 4) {
        changed[(spoil + (how >> 4) * 256u) % len] ^= (uint8_t)(1u << spoil % 8);
        changed[0] &= (uint8_t)~APDU_CLA_CHAIN;
        if (!same_command(bytes, len, changed, len))
            about.plain = NULL;
    }
    bool was = fz.model.channel && scp03_is_open(&fz.host);
    uint16_t sw = fuzz_exchange(changed, len, &about, out, &n);
    if (scp03_response_unwrap(&fz.host, sw, out, &n) != CW_OK && sw == SW_OK && was &&
        about.plain != NULL && cmd.ne >= 1024)
        fuzz_broken("an answer that the issuer cannot believe");
}

/* --- messages of the issuer ----------------------------------------------------------------------
 */

static void sign(EVP_PKEY *key, const uint8_t *data, size_t len, uint8_t out[ISSUER_SIGNATURE_LEN])
{
    uint8_t der[80];
    size_t n = sizeof der;
    const uint8_t *p = der;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(ctx, der, &n, data, len) != 1)
        fuzz_broken("the fuzzer cannot sign");
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + 32, 32);
    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
}

/* Signs and sends it; `how` spoils it. The last one can be sent again. */
static void apply(struct issuer_message *msg, uint8_t how, uint8_t spoil)
{
    static uint8_t whole[sizeof ISSUER_PREFIX + ISSUER_MESSAGE_MAX] = ISSUER_PREFIX;
    const size_t prefix = sizeof ISSUER_PREFIX - 1;
    uint8_t signature[ISSUER_SIGNATURE_LEN];
    struct buf_writer w;
    if (!(how & 0x40) || fz.message_len == 0) {
        fz.signer = fz.issuer[how & 1];
        memcpy(msg->serial, fz.lab.port.unique_id, sizeof msg->serial);
        if (how & 2)
            msg->serial[7] ^= 1;
        buf_writer_init(&w, whole + prefix, ISSUER_MESSAGE_MAX);
        if (issuer_encode(msg, &w) != CW_OK)
            return;
        sign(fz.signer, whole, prefix + w.len, signature);
        if (issuer_seal(&w, signature) != CW_OK)
            return;
        memcpy(fz.message, w.start, w.len);
        fz.message_len = w.len;
        fz.said = *msg;
    }
    struct apdu_command cmd = {0x80, INS_APPLY, 0, 0, fz.message, fz.message_len, 256, false};
    struct fuzz_about about = {.message = &fz.said, .signer = fz.signer};
    if (memcmp(fz.said.serial, fz.lab.port.unique_id, sizeof fz.said.serial) != 0)
        about.message = NULL;
    if (how & 4) {
        fz.message[spoil * 2u % fz.message_len] ^= (uint8_t)(1u << spoil % 8);
        about.message = NULL;
    }
    (void)fuzz_command(&cmd, &about, NULL, NULL);
    if (how & 4)
        fz.message[spoil * 2u % fz.message_len] ^= (uint8_t)(1u << spoil % 8);
}

void issuer_time(struct buf_reader *in)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    struct issuer_message msg = {.kind = ISSUER_TIME};
    msg.time = (int64_t)memory_number(&fz.now, NVM_TIME, 8) +
               (int64_t)(int16_t)buf_get_u16(in) * (how & 0x20 ? 100000 : 1000);
    const struct apdu_command cmd = {0x00, INS_GET_CHALLENGE, 0, 0, NULL, 0, 8, false};
    if (!(how & 8) && ops_send(&cmd, out, &n) == SW_OK && n == sizeof msg.challenge)
        memcpy(msg.challenge, out, n);
    else
        memcpy(msg.challenge, fz.model.challenge, sizeof msg.challenge);
    if (how & 0x10) /* a command in between: the challenge stays good */
        (void)ops_send(&(struct apdu_command){0x80, INS_INFO, 0, 0, NULL, 0, 256, false}, NULL,
                       NULL);
    apply(&msg, how, spoil);
}

void issuer_update(struct buf_reader *in)
{
    static uint8_t values[3][1100];
    static const int32_t steps[] = {1, 1, 1, 0, -1, 5, 1000, 1};
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    struct issuer_message msg = {.kind = ISSUER_UPDATE};
    msg.sequence =
        (uint32_t)memory_number(&fz.now, NVM_SEQUENCE, 4) + (uint32_t)steps[how >> 3 & 7];
    uint8_t count = 1 + buf_get_u8(in) % 3;
    for (; msg.write_count < count; msg.write_count++) {
        struct issuer_write *w = &msg.writes[msg.write_count];
        w->object = object_of(buf_get_u8(in));
        w->value = values[msg.write_count];
        w->len = value(w->object, buf_get_u8(in), in, values[msg.write_count], sizeof values[0]);
    }
    apply(&msg, how, spoil);
}
