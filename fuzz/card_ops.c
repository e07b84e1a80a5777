/* card_ops.c - from an operation of the input to commands. What has keys, numbers or signatures in
 * it is made here with the real ones, and then, if the input says so, spoilt. */
#include "card_fuzz.h"

#include "card/scp03_mbedtls.h"
#include "proto/ber.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <string.h>

#define NES 6u
static const size_t nes[NES] = {256, 0, 1, 1024, 16, 65536};

static size_t ne_of(uint8_t how)
{
    return nes[how % NES];
}

/* Making an RSA key takes seconds here; its slices are run by OP_SECURED. */
static bool too_slow(const struct apdu_command *cmd)
{
    return cmd->ins == INS_GENERATE_KEY && cmd->nc > 0 && cmd->data[cmd->nc - 1] == PIV_ALG_RSA2048;
}

static uint16_t send(const struct apdu_command *cmd, uint8_t *out, size_t *n)
{
    if (too_slow(cmd)) {
        if (n != NULL)
            *n = 0;
        return SW_UNKNOWN;
    }
    return fuzz_command(cmd, NULL, out, n);
}

/* --- any command ---------------------------------------------------------------------------------
 */

/* In one piece, as an extended command, or as a chain. */
static void send_some_way(struct apdu_command cmd, uint8_t how)
{
    size_t part = how & 0x40 ? 1 : 100;
    cmd.extended = how & 0x80;
    if (!(how & 0x20)) {
        (void)send(&cmd, NULL, NULL);
        return;
    }
    const uint8_t *data = cmd.data;
    size_t left = cmd.nc;
    for (unsigned i = 0; left > part && i < 40; i++) {
        struct apdu_command piece = cmd;
        piece.cla |= APDU_CLA_CHAIN;
        piece.data = data;
        piece.nc = part;
        piece.ne = 0;
        (void)send(&piece, NULL, NULL);
        data += part;
        left -= part;
    }
    cmd.data = left > 0 ? data : NULL;
    cmd.nc = left;
    (void)send(&cmd, NULL, NULL);
}

static void command_from(struct buf_reader *in, uint8_t cla, uint8_t ins)
{
    static uint8_t big[4096];
    struct apdu_command cmd = {.cla = cla, .ins = ins};
    cmd.p1 = buf_get_u8(in);
    cmd.p2 = buf_get_u8(in);
    uint8_t how = buf_get_u8(in);
    cmd.ne = ne_of(how & 0x07);
    cmd.nc = in->left;
    cmd.data = cmd.nc > 0 ? buf_get_bytes(in, cmd.nc) : NULL;
    if (how & 0x10 && cmd.nc > 0) { /* a long one, of the same bytes again and again */
        for (size_t i = 0; i < sizeof big; i++)
            big[i] = cmd.data[i % cmd.nc];
        cmd.nc = cmd.nc * 31 % sizeof big + 1;
        cmd.data = big;
    }
    if (how & 0x08)
        cmd.cla |= APDU_CLA_CHAIN;
    send_some_way(cmd, how);
}

static void raw(struct buf_reader *in)
{
    struct apdu_command cmd;
    size_t len = in->left;
    const uint8_t *bytes = len > 0 ? buf_get_bytes(in, len) : (const uint8_t *)"";
    if (apdu_parse(bytes, len, &cmd) == CW_OK && too_slow(&cmd))
        return;
    (void)fuzz_exchange(bytes, len, NULL, NULL, NULL);
}

static void link_command(struct buf_reader *in)
{
    static const uint8_t ops[][2] = {
        {0x00, INS_VERIFY},
        {0x00, INS_CHANGE_PIN},
        {0x00, INS_RESET_PIN},
        {0x00, INS_GENERATE_KEY},
        {0x00, INS_GET_CHALLENGE},
        {0x00, INS_SELECT},
        {0x00, INS_GET_RESPONSE},
        {0x00, INS_GET_DATA},
        {0x00, INS_PUT_DATA},
        {0x80, INS_OPEN},
        {0x80, INS_STEP},
        {0x80, INS_WRITE},
        {0x80, INS_READ},
        {0x80, INS_SIGN_ORDER},
        {0x80, INS_INFO},
        {0x80, INS_CLOSE},
        {0x80, INS_REQUEST},
        {0x80, INS_APPLY},
        {0x80, INS_SET_STATUS},
        {0x80, SCP03_INS_INITIALIZE_UPDATE},
        {0x84, SCP03_INS_EXTERNAL_AUTHENTICATE},
        {0x84, SCP03_INS_PUT_KEY},
        {0x04, INS_PUT_DATA},
        {0x84, INS_SET_STATUS},
        {0x04, INS_GET_DATA},
    };
    const uint8_t *op = ops[buf_get_u8(in) % (sizeof ops / sizeof ops[0])];
    command_from(in, op[0], op[1]);
}

static void piv_command(struct buf_reader *in)
{
    static const uint8_t ops[] = {
        INS_VERIFY, INS_CHANGE_PIN,   INS_RESET_PIN,   0x87, 0xCB, 0xDB, 0xF7,
        0xFF,       INS_GENERATE_KEY, INS_GET_RESPONSE};
    command_from(in, 0x00, ops[buf_get_u8(in) % sizeof ops]);
}

static void select_app(struct buf_reader *in)
{
    uint8_t which = buf_get_u8(in);
    struct apdu_command cmd = {
        0x00,         INS_SELECT, 0x04, which & 0x80 ? 0x00 : 0x0C, (const uint8_t *)LINK_AID,
        LINK_AID_LEN, 256,        false};
    if (which & 1) {
        cmd.data = piv_aid;
        cmd.nc = which & 2 ? 5 : PIV_AID_LEN;
    }
    if (which & 4)
        cmd.nc--;
    (void)send(&cmd, NULL, NULL);
}

static void rest(struct buf_reader *in)
{
    const struct apdu_command cmd = {0x00, INS_GET_RESPONSE,      0,    0, NULL,
                                     0,    ne_of(buf_get_u8(in)), false};
    (void)send(&cmd, NULL, NULL);
}

/* --- numbers -------------------------------------------------------------------------------------
 */

/* The number that the card has now, or one that it has not. */
static size_t number(unsigned pin, uint8_t how, uint8_t out[16])
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.now, (uint16_t)(NVM_PIN | pin), &n);
    size_t len = p != NULL && n >= 2 && p[1] + 2u <= n && p[1] <= 12 ? p[1] : 6;
    memcpy(out, "000000000000", 12);
    if (p != NULL && n >= 2 + len)
        memcpy(out, p + 2, len);
    if (how & 1)
        out[how % len] ^= 1;
    if (how & 2)
        len = how >> 2 & 0x0F;
    return len;
}

static void field(unsigned pin, uint8_t how, uint8_t out[8])
{
    uint8_t digits[16] = {0};
    size_t len = number(pin, how, digits);
    memset(out, 0xFF, 8);
    memcpy(out, digits, len < 8 ? len : 8);
}

static void new_number(uint8_t how, uint8_t *out, size_t len)
{
    static const char *const some[] = {"271828182845", "314159265358", "111111111111",
                                       "123456789012"};
    memcpy(out, some[how % 4], len);
}

static void link_pin(uint8_t what, uint8_t how, uint8_t next)
{
    uint8_t data[40], digits[16] = {0};
    uint8_t ins = what == 0 || what == 1 ? INS_VERIFY : what == 2 ? INS_CHANGE_PIN : INS_RESET_PIN;
    uint8_t p2 = what == 1 ? LINK_PIN_ORDER : LINK_PIN_LINE;
    size_t n = number(ins == INS_RESET_PIN ? LINK_PIN_PUK : LINK_PIN_HOLDER, how, digits);
    struct apdu_command cmd = {0x00, ins, 0, p2, data, n, 0, false};
    if (ins == INS_VERIFY) {
        memcpy(data, digits, n);
    } else {
        size_t len = 4u + (next >> 2) % 9u;
        data[0] = (uint8_t)n;
        memcpy(data + 1, digits, n);
        new_number(next, data + 1 + n, len);
        cmd.nc = 1 + n + len;
    }
    if (cmd.nc == 0)
        cmd.data = NULL;
    (void)send(&cmd, NULL, NULL);
}

static void piv_pin(uint8_t what, uint8_t how, uint8_t next)
{
    uint8_t data[16];
    bool puk = what == 6 || what == 7;
    uint8_t ins = what == 4 ? INS_VERIFY : what == 7 ? INS_RESET_PIN : INS_CHANGE_PIN;
    struct apdu_command cmd = {0x00, ins, 0, what == 6 ? PIV_REF_PUK : PIV_REF_PIN,
                               data, 8,   0, false};
    field(puk ? LINK_PIN_PIV_PUK : LINK_PIN_PIV, how, data);
    if (what != 4) {
        memset(data + 8, 0xFF, 8);
        new_number(next, data + 8, 6 + (next >> 2) % 3u);
        cmd.nc = 16;
    }
    (void)send(&cmd, NULL, NULL);
}

static void pin(struct buf_reader *in)
{
    uint8_t what = buf_get_u8(in) % 8;
    uint8_t how = buf_get_u8(in);
    uint8_t next = buf_get_u8(in);
    if (what < 4)
        link_pin(what, how, next);
    else
        piv_pin(what, how, next);
}

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
static void channel(struct buf_reader *in)
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
    if (send(&cmd, out, &n) != SW_OK || scp03_update_parse(out, n, &update) != CW_OK ||
        !keys_of_card(&right))
        return;
    if (how & 0x40) /* a command in between */
        (void)send(&(struct apdu_command){0x80, INS_INFO, 0, 0, NULL, 0, 256, false}, NULL, NULL);
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
        if ((c.p2 == LINK_KEY_TLS_RSA || c.p2 == LINK_KEY_ORDER_RSA) && ++fz.slices > 2)
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

static void secured(struct buf_reader *in)
{
    static uint8_t data[2048], wrapped[2048 + SCP03_OVERHEAD], out[CARD_RESPONSE_MAX];
    static uint8_t bytes[CARD_COMMAND_MAX + 64], changed[CARD_COMMAND_MAX + 64];
    size_t n = 0, len = 0;
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    if ((how & 0x0F) == 1 && fz.last_len > 0) { /* once more, what was sent already */
        (void)fuzz_exchange(fz.last, fz.last_len, NULL, NULL, NULL);
        return;
    }
    const struct apdu_command plain = issuer_command(in, data, sizeof data - 32);
    if ((how & 0x0F) == 2) { /* without protection */
        (void)send(&plain, NULL, NULL);
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

static void signed_time(struct buf_reader *in)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    struct issuer_message msg = {.kind = ISSUER_TIME};
    msg.time = (int64_t)memory_number(&fz.now, NVM_TIME, 8) +
               (int64_t)(int16_t)buf_get_u16(in) * (how & 0x20 ? 100000 : 1000);
    const struct apdu_command cmd = {0x00, INS_GET_CHALLENGE, 0, 0, NULL, 0, 8, false};
    if (!(how & 8) && send(&cmd, out, &n) == SW_OK && n == sizeof msg.challenge)
        memcpy(msg.challenge, out, n);
    else
        memcpy(msg.challenge, fz.model.challenge, sizeof msg.challenge);
    if (how & 0x10) /* a command in between: the challenge stays good */
        (void)send(&(struct apdu_command){0x80, INS_INFO, 0, 0, NULL, 0, 256, false}, NULL, NULL);
    apply(&msg, how, spoil);
}

static void signed_update(struct buf_reader *in)
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

/* --- orders --------------------------------------------------------------------------------------
 */

static void order(struct buf_reader *in)
{
    static const char *const payees[][2] = {{"DE02120300000000202051", "Max"},
                                            {"FR1420041010050500013M02606", "Eve"},
                                            {"DE02120300000000202051", "Eve"},
                                            {"GB29NWBK60161331926819", "Ann"}};
    static const char *const currencies[] = {"EUR", "JPY", "USD", "CHF"};
    static const int64_t units[] = {1, 100, 5000, INT64_C(1000000000)};
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    struct order_fields f = {.payer = "DE89370400440532013000"};
    uint8_t how = buf_get_u8(in);
    uint8_t which = buf_get_u8(in);
    uint8_t key = which >> 4 & 7;
    snprintf(f.payee, sizeof f.payee, "%s", payees[which & 3][0]);
    snprintf(f.payee_name, sizeof f.payee_name, "%s", payees[which & 3][1]);
    snprintf(f.currency, sizeof f.currency, "%s", currencies[which >> 2 & 3]);
    f.amount = (1 + buf_get_u8(in)) * units[how & 3];
    f.expiry = (int64_t)memory_number(&fz.now, NVM_TIME, 8) + (how & 0x10 ? 0 : 3600);
    f.id[0] = buf_get_u8(in);
    if (how & 4) { /* PIN 82 for it */
        const struct apdu_command verify = {
            0x00, INS_VERIFY, 0, LINK_PIN_ORDER, (const uint8_t *)LAB_PIN, sizeof LAB_PIN - 1,
            0,    false};
        (void)send(&verify, NULL, NULL);
    }
    buf_writer_init(&w, data, sizeof data);
    if (order_tlv_encode(&f, &w) != CW_OK)
        return;
    if (how & 0x20)
        data[buf_get_u8(in) * 2u % w.len] ^= (uint8_t)(1u << buf_get_u8(in) % 8);
    const struct apdu_command cmd = {0x80,  INS_SIGN_ORDER,      0,    key > 4 ? 0 : key, data,
                                     w.len, how & 8 ? 64 : 1024, false};
    for (unsigned i = 0; i <= (how >> 6); i++)
        (void)send(&cmd, NULL, NULL);
}

/* --- PIV -----------------------------------------------------------------------------------------
 */

static bool admin_crypt(bool encrypt, const uint8_t *in, size_t len, uint8_t out[32])
{
    size_t n = 0;
    int done = 0;
    const uint8_t *key = memory_find(&fz.now, NVM_ADMIN, &n);
    if (key == NULL || n < 17 || len != (key[0] == PIV_ALG_3DES ? 8u : 16u))
        return false;
    const EVP_CIPHER *c = key[0] == PIV_ALG_3DES     ? EVP_des_ede3_ecb()
                          : key[0] == PIV_ALG_AES128 ? EVP_aes_128_ecb()
                          : key[0] == PIV_ALG_AES192 ? EVP_aes_192_ecb()
                                                     : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool good = EVP_CipherInit_ex(ctx, c, NULL, key + 1, NULL, encrypt) == 1 &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
                EVP_CipherUpdate(ctx, out, &done, in, (int)len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return good;
}

static uint16_t authenticate(uint8_t p1, uint8_t p2, const uint8_t *data, size_t len, uint8_t *out,
                             size_t *n)
{
    const struct apdu_command cmd = {0x00, 0x87, p1, p2, data, len, 256, false};
    return send(&cmd, out, n);
}

static void admin(struct buf_reader *in)
{
    uint8_t how = buf_get_u8(in);
    uint8_t spoil = buf_get_u8(in);
    bool mutual = how & 1;
    const uint8_t ask[] = {PIV_TAG_AUTH, 2, mutual ? PIV_TAG_WITNESS : PIV_TAG_CHALLENGE, 0};
    uint8_t out[CARD_RESPONSE_MAX], block[32], data[64];
    struct ber_object outer, given;
    struct buf_writer w, inner;
    uint8_t inside[48];
    size_t n = 0;
    if (!(how & 8) && authenticate(0, PIV_REF_ADMIN, ask, sizeof ask, out, &n) != SW_OK)
        return;
    if (how & 8) /* what was asked for last time */
        memcpy(block, fz.model.block, 16);
    else if (ber_find(out, n, PIV_TAG_AUTH, &outer) != CW_OK ||
             ber_find(outer.value, outer.len, ask[2], &given) != CW_OK ||
             !admin_crypt(!mutual, given.value, given.len, block))
        return;
    n = how & 8 ? 16 : given.len;
    if (how & 2)
        block[spoil % n] ^= 1;
    if (how & 4)
        (void)send(&(struct apdu_command){0x00, 0xCB, 0x3F, 0xFF, (const uint8_t *)"\x5C\x01\x7E",
                                          3, 256, false},
                   NULL, NULL);
    buf_writer_init(&inner, inside, sizeof inside);
    ber_put(&inner, mutual ? PIV_TAG_WITNESS : PIV_TAG_RESPONSE, block, n);
    if (mutual)
        ber_put(&inner, PIV_TAG_CHALLENGE, "sixteen bytes...", n);
    buf_writer_init(&w, data, sizeof data);
    ber_put(&w, PIV_TAG_AUTH, inside, inner.len);
    (void)authenticate(how & 0x10 ? spoil : 0, PIV_REF_ADMIN, data, w.len, NULL, NULL);
}

static void key(struct buf_reader *in)
{
    static const uint8_t refs[] = {
        PIV_REF_AUTH, PIV_REF_SIGNATURE, PIV_REF_MANAGEMENT, PIV_REF_CARD, 0x82, PIV_REF_ADMIN};
    static const uint8_t generate[] = {0xAC, 3, 0x80, 1, PIV_ALG_P256};
    uint8_t how = buf_get_u8(in);
    uint8_t ref = refs[(how & 7) % sizeof refs];
    uint8_t data[96] = {PIV_TAG_AUTH, 36, PIV_TAG_RESPONSE, 0, PIV_TAG_CHALLENGE, 32};
    size_t len = 38;
    if (how & 0x10) {
        (void)send(&(struct apdu_command){0x00, INS_GENERATE_KEY, 0, ref, generate, sizeof generate,
                                          256, false},
                   NULL, NULL);
        return;
    }
    if (how & 8) /* the PIN directly before */
        piv_pin(4, 0, 0);
    memset(data + 6, 0x5A, 32);
    if (ref == PIV_REF_MANAGEMENT) {
        size_t n = 0;
        const uint8_t *point = memory_find(&fz.now, NVM_ISSUER, &n);
        data[1] = 69;
        data[4] = 0x85;
        data[5] = 65;
        if (point != NULL && n == 65)
            memcpy(data + 6, point, 65);
        len = 71;
    }
    if (how & 0x20)
        data[buf_get_u8(in) % len] = buf_get_u8(in);
    (void)authenticate(how & 0x40 ? PIV_ALG_RSA2048 : PIV_ALG_P256, ref, data, len, NULL, NULL);
}

static void object(struct buf_reader *in)
{
    static const uint8_t tags[] = {1, 2, 5, 6, 7, 9, 0x0A, 0x0B, 0x0C, 3, 0x0D};
    static uint8_t data[2048];
    uint8_t how = buf_get_u8(in);
    uint8_t tag = tags[buf_get_u8(in) % sizeof tags];
    size_t size = buf_get_u8(in) * (how & 2 ? 7u : 1u);
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_bytes(&w, "\x5C\x03\x5F\xC1", 4);
    buf_put_u8(&w, tag);
    struct apdu_command cmd = {0x00, 0xCB, 0x3F, 0xFF, data, 5, ne_of(how >> 4), false};
    if (how & 1) {
        cmd.ins = 0xDB;
        ber_put_header(&w, 0x53, size);
        for (size_t i = 0; i < size; i++)
            buf_put_u8(&w, tag);
        cmd.nc = w.len;
    }
    send_some_way(cmd, how & 4 ? 0x20 : 0);
}

/* --- the world -----------------------------------------------------------------------------------
 */

static void randomness(struct buf_reader *in)
{
    uint8_t how = buf_get_u8(in);
    fz.random_byte = buf_get_u8(in);
    fz.random = (enum fuzz_random)(how % 5);
    fz.random_left = fz.random_byte % 8u;
    if (fz.random == RANDOM_STUCK || fz.random == RANDOM_SHORT)
        fz.model.poor = true;
}

static void damage(struct buf_reader *in)
{
    card_power_down(&fz.lab.card);
    fz.model.blind = true;
    while (in->left >= 3) {
        uint16_t at = buf_get_u16(in);
        fz.lab.flash.bytes[at % sizeof fz.lab.flash.bytes] ^= buf_get_u8(in);
    }
    fuzz_power(false, fz.lab.port.contactless);
}

void ops_run(enum fuzz_op op, struct buf_reader *in)
{
    static void (*const run[OP_COUNT])(struct buf_reader *) = {
        [OP_RAW] = raw,           [OP_LINK] = link_command,
        [OP_PIV] = piv_command,   [OP_SELECT] = select_app,
        [OP_REST] = rest,         [OP_PIN] = pin,
        [OP_CHANNEL] = channel,   [OP_SECURED] = secured,
        [OP_TIME] = signed_time,  [OP_UPDATE] = signed_update,
        [OP_ORDER] = order,       [OP_ADMIN] = admin,
        [OP_KEY] = key,           [OP_OBJECT] = object,
        [OP_RANDOM] = randomness, [OP_DAMAGE] = damage};
    uint8_t how = 0;
    if (fz.lab.card == NULL && op != OP_POWER && op != OP_DAMAGE)
        return;
    switch (op) {
    case OP_OPEN:
    case OP_PUMP:
    case OP_LINE:
    case OP_LOGIN:
        line_op(op, in);
        break;
    case OP_POWER:
        how = buf_get_u8(in);
        fuzz_power(how & 1, how & 2 ? !fz.lab.port.contactless : fz.lab.port.contactless);
        break;
    case OP_CUT:
        fz.cut_waits = buf_get_u8(in) & 1;
        fz.lab.flash.budget = buf_get_u16(in) % 5000;
        break;
    case OP_BAD_READ:
        fz.model.faulty = true;
        fz.lab.flash.fail_read = buf_get_u8(in);
        break;
    default:
        run[op](in);
    }
}
