/* card_ops.c - from an operation of the input to commands. What has keys, numbers or signatures in
 * it is made here with the real ones, and then, if the input says so, spoilt. */
#include "card_fuzz.h"

#include "proto/ber.h"

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

uint16_t ops_send(const struct apdu_command *cmd, uint8_t *out, size_t *n)
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
        (void)ops_send(&cmd, NULL, NULL);
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
        (void)ops_send(&piece, NULL, NULL);
        data += part;
        left -= part;
    }
    cmd.data = left > 0 ? data : NULL;
    cmd.nc = left;
    (void)ops_send(&cmd, NULL, NULL);
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
    (void)ops_send(&cmd, NULL, NULL);
}

static void rest(struct buf_reader *in)
{
    const struct apdu_command cmd = {0x00, INS_GET_RESPONSE,      0,    0, NULL,
                                     0,    ne_of(buf_get_u8(in)), false};
    (void)ops_send(&cmd, NULL, NULL);
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
    (void)ops_send(&cmd, NULL, NULL);
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
    (void)ops_send(&cmd, NULL, NULL);
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
        (void)ops_send(&verify, NULL, NULL);
    }
    buf_writer_init(&w, data, sizeof data);
    if (order_tlv_encode(&f, &w) != CW_OK)
        return;
    if (how & 0x20)
        data[buf_get_u8(in) * 2u % w.len] ^= (uint8_t)(1u << buf_get_u8(in) % 8);
    const struct apdu_command cmd = {0x80,  INS_SIGN_ORDER,      0,    key > 4 ? 0 : key, data,
                                     w.len, how & 8 ? 64 : 1024, false};
    for (unsigned i = 0; i <= (how >> 6); i++)
        (void)ops_send(&cmd, NULL, NULL);
}

/* --- PIV -----------------------------------------------------------------------------------------
 */

static uint16_t authenticate(uint8_t p1, uint8_t p2, const uint8_t *data, size_t len, uint8_t *out,
                             size_t *n)
{
    const struct apdu_command cmd = {0x00, 0x87, p1, p2, data, len, 256, false};
    return ops_send(&cmd, out, n);
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
             !memory_admin_crypt(&fz.now, !mutual, given.value, given.len, block))
        return;
    n = how & 8 ? 16 : given.len;
    if (how & 2)
        block[spoil % n] ^= 1;
    if (how & 4)
        (void)ops_send(&(struct apdu_command){0x00, 0xCB, 0x3F, 0xFF,
                                              (const uint8_t *)"\x5C\x01\x7E", 3, 256, false},
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
    uint8_t data[300] = {PIV_TAG_AUTH, 36, PIV_TAG_RESPONSE, 0, PIV_TAG_CHALLENGE, 32};
    size_t len = 38;
    if (how & 0x10) {
        (void)ops_send(&(struct apdu_command){0x00, INS_GENERATE_KEY, 0, ref, generate,
                                              sizeof generate, 256, false},
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
    if (how & 0x40) { /* a block for RSA */
        static const uint8_t head[] = {0x7C, 0x82, 1, 6, 0x82, 0, 0x81, 0x82, 1, 0};
        memcpy(data, head, sizeof head);
        memset(data + sizeof head, how & 0x80 ? 0xFF : 0x5A, 256);
        len = sizeof head + 256;
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
    fuzz_power(false, fz.lab.port.contactless, -1);
}

void ops_run(enum fuzz_op op, struct buf_reader *in)
{
    static void (*const run[OP_COUNT])(struct buf_reader *) = {[OP_RAW] = raw,
                                                               [OP_LINK] = link_command,
                                                               [OP_PIV] = piv_command,
                                                               [OP_SELECT] = select_app,
                                                               [OP_REST] = rest,
                                                               [OP_PIN] = pin,
                                                               [OP_CHANNEL] = issuer_channel,
                                                               [OP_SECURED] = issuer_secured,
                                                               [OP_TIME] = issuer_time,
                                                               [OP_UPDATE] = issuer_update,
                                                               [OP_ORDER] = order,
                                                               [OP_ADMIN] = admin,
                                                               [OP_KEY] = key,
                                                               [OP_OBJECT] = object,
                                                               [OP_RANDOM] = randomness,
                                                               [OP_DAMAGE] = damage};
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
        fuzz_power(how & 1, how & 2 ? !fz.lab.port.contactless : fz.lab.port.contactless,
                   how & 4 ? buf_get_u16(in) % 5000 : -1);
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
