#include "proto/scp03.h"

#include "base/ct.h"
#include "base/hard.h"

#include <string.h>

#define BLOCK             16u
#define UPDATE_LEN        29u /* without the sequence counter */
#define PROTOCOL          0x03
#define I_S16             0x01
#define CLA_CHANNEL_OR_SM 0x7F /* all that must not be set in the class of a command, but bit 3 */

/* Derivation constants, §4.1.5 table 4-1 */
enum {
    DERIVE_CARD_CRYPTOGRAM = 0x00,
    DERIVE_HOST_CRYPTOGRAM = 0x01,
    DERIVE_CARD_CHALLENGE = 0x02,
    DERIVE_S_ENC = 0x04,
    DERIVE_S_MAC = 0x06,
    DERIVE_S_RMAC = 0x07,
};

void scp03_end(struct scp03 *s)
{
    ct_wipe(s, sizeof *s);
}

bool scp03_is_open(const struct scp03 *s)
{
    return s->state == SCP03_READY || s->state == SCP03_ANSWER;
}

/* Every failure is the end of the session. */
static enum cw_err end_with(struct scp03 *s, enum cw_err err)
{
    scp03_end(s);
    return err;
}

/* §4.1.5: NIST SP 800-108 in counter mode with CMAC. The fixed input is a label of 11 zeros and the
 * constant, a separating zero, and the length of the result in bits; then comes the counter (one
 * block is enough here: 1), then the context. */
static enum cw_err derive(const struct scp03_crypto *crypto, const uint8_t key[SCP03_KEY_LEN],
                          uint8_t constant, const struct scp03_part context[2], uint8_t *out,
                          size_t out_len)
{
    uint8_t fixed[16] = {[11] = constant, [14] = (uint8_t)(8 * out_len), [15] = 1};
    struct scp03_part parts[3] = {{fixed, sizeof fixed}, context[0], context[1]};
    uint8_t full[BLOCK];
    enum cw_err err = crypto->cmac(crypto->ctx, key, parts, 3, full);
    if (err == CW_OK)
        memcpy(out, full, out_len);
    ct_wipe(full, sizeof full);
    return err;
}

enum cw_err scp03_challenge_make(const struct scp03_crypto *crypto,
                                 const uint8_t enc[SCP03_KEY_LEN],
                                 const uint8_t sequence[SCP03_SEQUENCE_LEN], const uint8_t *aid,
                                 size_t aid_len, uint8_t out[SCP03_CHALLENGE_LEN])
{
    struct scp03_part context[2] = {{sequence, SCP03_SEQUENCE_LEN}, {aid, aid_len}};
    return derive(crypto, enc, DERIVE_CARD_CHALLENGE, context, out, SCP03_CHALLENGE_LEN);
}

enum cw_err scp03_update_parse(const uint8_t *bytes, size_t len, struct scp03_update *out)
{
    struct scp03_update u = {0};
    struct buf_reader r;
    buf_reader_init(&r, bytes, len);
    if (len < UPDATE_LEN)
        return CW_ERR_FORMAT;
    memcpy(u.diversification, buf_get_bytes(&r, sizeof u.diversification),
           sizeof u.diversification);
    u.version = buf_get_u8(&r);
    uint8_t protocol = buf_get_u8(&r);
    u.i = buf_get_u8(&r);
    if (protocol != PROTOCOL || (u.i & I_S16))
        return CW_ERR_UNSUPPORTED;
    /* R-ENCRYPTION only beside R-MAC; the other bits are not in use (§5.1 table 5-1). */
    if ((u.i & (uint8_t) ~(SCP03_I_PSEUDO_RANDOM | SCP03_I_FULL)) != 0 ||
        (u.i & SCP03_I_FULL) == SCP03_I_R_ENCRYPTION)
        return CW_ERR_FORMAT;
    memcpy(u.challenge, buf_get_bytes(&r, sizeof u.challenge), sizeof u.challenge);
    memcpy(u.cryptogram, buf_get_bytes(&r, sizeof u.cryptogram), sizeof u.cryptogram);
    if (u.i & SCP03_I_PSEUDO_RANDOM) {
        const uint8_t *sequence = buf_get_bytes(&r, sizeof u.sequence);
        if (sequence != NULL)
            memcpy(u.sequence, sequence, sizeof u.sequence);
    }
    if (r.bad || r.left != 0)
        return CW_ERR_FORMAT;
    *out = u;
    return CW_OK;
}

void scp03_update_write(const struct scp03_update *update, struct buf_writer *w)
{
    buf_put_bytes(w, update->diversification, sizeof update->diversification);
    buf_put_u8(w, update->version);
    buf_put_u8(w, PROTOCOL);
    buf_put_u8(w, update->i);
    buf_put_bytes(w, update->challenge, sizeof update->challenge);
    buf_put_bytes(w, update->cryptogram, sizeof update->cryptogram);
    if (update->i & SCP03_I_PSEUDO_RANDOM)
        buf_put_bytes(w, update->sequence, sizeof update->sequence);
}

/* Session keys (§6.2.1), and both cryptograms (§6.2.2). */
static enum cw_err begin(struct scp03 *s, const struct scp03_crypto *crypto,
                         const struct scp03_keys *keys, const uint8_t *host_challenge,
                         const struct scp03_update *update, uint8_t card[SCP03_CRYPTOGRAM_LEN])
{
    struct scp03_part context[2] = {{host_challenge, SCP03_CHALLENGE_LEN},
                                    {update->challenge, SCP03_CHALLENGE_LEN}};
    const struct {
        const uint8_t *key;
        uint8_t constant;
        uint8_t *out;
        size_t len;
    } steps[] = {
        {keys->enc, DERIVE_S_ENC, s->enc, sizeof s->enc},
        {keys->mac, DERIVE_S_MAC, s->mac, sizeof s->mac},
        {keys->mac, DERIVE_S_RMAC, s->rmac, sizeof s->rmac},
        {s->mac, DERIVE_CARD_CRYPTOGRAM, card, SCP03_CRYPTOGRAM_LEN},
        {s->mac, DERIVE_HOST_CRYPTOGRAM, s->cryptogram, sizeof s->cryptogram},
    };
    scp03_end(s);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        enum cw_err err =
            derive(crypto, steps[i].key, steps[i].constant, context, steps[i].out, steps[i].len);
        if (err != CW_OK)
            return end_with(s, err);
    }
    s->crypto = crypto;
    s->i = update->i;
    s->state = SCP03_BEGUN;
    return CW_OK;
}

enum cw_err scp03_card_begin(struct scp03 *s, const struct scp03_crypto *crypto,
                             const struct scp03_keys *keys,
                             const uint8_t host_challenge[SCP03_CHALLENGE_LEN],
                             struct scp03_update *update)
{
    uint8_t card[SCP03_CRYPTOGRAM_LEN];
    enum cw_err err = begin(s, crypto, keys, host_challenge, update, card);
    if (err == CW_OK)
        memcpy(update->cryptogram, card, sizeof card);
    return err;
}

enum cw_err scp03_host_begin(struct scp03 *s, const struct scp03_crypto *crypto,
                             const struct scp03_keys *keys,
                             const uint8_t host_challenge[SCP03_CHALLENGE_LEN],
                             const struct scp03_update *update)
{
    uint8_t card[SCP03_CRYPTOGRAM_LEN];
    enum cw_err err = begin(s, crypto, keys, host_challenge, update, card);
    if (err == CW_OK && !ct_equal(card, update->cryptogram, sizeof card))
        err = end_with(s, CW_ERR_DENIED);
    ct_wipe(card, sizeof card); /* what the card should have said is worth a card to a forger */
    return err;
}

/* The MAC of a command (§6.2.4): over the chaining value, the header with the Lc that the protected
 * command has, and the data field without the MAC. Lc has one byte or, above 255, three. */
static enum cw_err command_mac(const struct scp03 *s, const struct apdu_command *cmd,
                               const uint8_t *data, size_t len, uint8_t out[BLOCK])
{
    uint8_t head[7];
    struct buf_writer w;
    size_t lc = len + SCP03_MAC_LEN;
    buf_writer_init(&w, head, sizeof head);
    buf_put_u8(&w, cmd->cla | SCP03_CLA_SECURE);
    buf_put_u8(&w, cmd->ins);
    buf_put_u8(&w, cmd->p1);
    buf_put_u8(&w, cmd->p2);
    if (lc > APDU_SHORT_NC_MAX) {
        buf_put_u8(&w, 0);
        buf_put_u16(&w, (uint16_t)lc);
    } else {
        buf_put_u8(&w, (uint8_t)lc);
    }
    struct scp03_part parts[] = {{s->chaining, sizeof s->chaining}, {head, w.len}, {data, len}};
    return s->crypto->cmac(s->crypto->ctx, s->mac, parts, sizeof parts / sizeof *parts, out);
}

/* Is the MAC at the end of a command's data field the right one? It is `mac`, which then becomes
 * the chaining value (§6.2.3). */
HARD_DECIDES static enum cw_err command_verify(const struct scp03 *s,
                                               const struct apdu_command *cmd, uint8_t mac[BLOCK])
{
    if (cmd->nc < SCP03_MAC_LEN)
        return CW_ERR_DENIED;
    size_t len = cmd->nc - SCP03_MAC_LEN;
    enum cw_err err = command_mac(s, cmd, cmd->data, len, mac);
    if (err == CW_OK && !ct_equal(mac, cmd->data + len, SCP03_MAC_LEN))
        err = CW_ERR_DENIED;
    if (err != CW_OK)
        ct_wipe(mac, BLOCK); /* what should have come */
    return err;
}

static bool level_is_valid(uint8_t level)
{
    static const uint8_t levels[] = {0x00, 0x01, 0x03, 0x11, 0x13, 0x33};
    return memchr(levels, level, sizeof levels) != NULL;
}

/* Does the protocol know the level, and the card (i) do it? */
static bool level_is_possible(const struct scp03 *s, uint8_t level)
{
    return level_is_valid(level) && (!(level & SCP03_R_MAC) || (s->i & SCP03_I_R_MAC)) &&
           (!(level & SCP03_R_ENCRYPTION) || (s->i & SCP03_I_R_ENCRYPTION));
}

static void open_at(struct scp03 *s, uint8_t level)
{
    ct_wipe(s->cryptogram, sizeof s->cryptogram);
    s->level = level;
    s->state = SCP03_READY;
}

/* Has the host proved that it has the keys? */
HARD_DECIDES static enum cw_err host_verify(const struct scp03 *s, const struct apdu_command *cmd,
                                            uint8_t least, uint8_t mac[BLOCK])
{
    if (s->state != SCP03_BEGUN)
        return CW_ERR_STATE;
    if (cmd->cla != (APDU_CLA_PROPRIETARY | SCP03_CLA_SECURE) ||
        cmd->ins != SCP03_INS_EXTERNAL_AUTHENTICATE || cmd->p2 != 0 ||
        cmd->nc != SCP03_AUTHENTICATE_LEN || !level_is_possible(s, cmd->p1) ||
        (cmd->p1 & least) != least)
        return CW_ERR_DENIED;
    enum cw_err err = command_verify(s, cmd, mac);
    if (err == CW_OK && !ct_equal(cmd->data, s->cryptogram, sizeof s->cryptogram))
        err = CW_ERR_DENIED;
    return err;
}

enum cw_err scp03_card_authenticate(struct scp03 *s, const struct apdu_command *cmd, uint8_t least)
{
    uint8_t mac[BLOCK];
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, host_verify(s, cmd, least, mac)))
        return end_with(s, err);
    memcpy(s->chaining, mac, sizeof mac);
    ct_wipe(mac, sizeof mac);
    open_at(s, cmd->p1);
    return CW_OK;
}

enum cw_err scp03_host_authenticate(struct scp03 *s, uint8_t level,
                                    uint8_t data[SCP03_AUTHENTICATE_LEN], struct apdu_command *out)
{
    struct apdu_command cmd = {.cla = APDU_CLA_PROPRIETARY | SCP03_CLA_SECURE,
                               .ins = SCP03_INS_EXTERNAL_AUTHENTICATE,
                               .p1 = level,
                               .data = data,
                               .nc = SCP03_AUTHENTICATE_LEN};
    uint8_t mac[BLOCK];
    if (s->state != SCP03_BEGUN)
        return end_with(s, CW_ERR_STATE);
    if (!level_is_possible(s, level))
        return end_with(s, CW_ERR_UNSUPPORTED);
    enum cw_err err = command_mac(s, &cmd, s->cryptogram, sizeof s->cryptogram, mac);
    if (err != CW_OK)
        return end_with(s, err);
    memcpy(data, s->cryptogram, sizeof s->cryptogram);
    memcpy(data + sizeof s->cryptogram, mac, SCP03_MAC_LEN);
    memcpy(s->chaining, mac, sizeof mac);
    ct_wipe(mac, sizeof mac);
    open_at(s, level);
    *out = cmd;
    return CW_OK;
}

/* AES-CBC over a data field. The initial value is the counter of this command, encrypted (§6.2.6);
 * for an answer its first byte is 80 before that (§6.2.7). */
static enum cw_err run_cbc(const struct scp03 *s, bool encrypt, bool response, uint8_t *data,
                           size_t len)
{
    static const uint8_t zero[BLOCK];
    uint8_t iv[BLOCK];
    struct buf_writer w;
    buf_writer_init(&w, iv, sizeof iv);
    buf_put_bytes(&w, zero, BLOCK - sizeof s->counter);
    buf_put_u32(&w, s->counter);
    iv[0] = response ? 0x80 : 0;
    enum cw_err err = s->crypto->cbc(s->crypto->ctx, true, s->enc, zero, iv, sizeof iv);
    if (err == CW_OK)
        err = s->crypto->cbc(s->crypto->ctx, encrypt, s->enc, iv, data, len);
    ct_wipe(iv, sizeof iv);
    return err;
}

/* Padding of ISO/IEC 9797-1 method 2 (GPCS §B.2.3): 80, then zeros to the end of the block. */
static void pad(struct buf_writer *w)
{
    buf_put_u8(w, 0x80);
    while (w->len % BLOCK != 0 && !w->bad)
        buf_put_u8(w, 0);
}

/* What is left of *len decrypted bytes without their padding. No data would not have been
 * encrypted: padding alone is refused. */
static enum cw_err unpad(const uint8_t *data, size_t *len)
{
    size_t n = *len - 1; /* at least a block */
    while (data[n] == 0 && n > *len - BLOCK)
        n--;
    if (data[n] != 0x80 || n == 0)
        return CW_ERR_DENIED;
    *len = n;
    return CW_OK;
}

static enum cw_err decrypt(const struct scp03 *s, bool response, uint8_t *data, size_t *len)
{
    if (*len % BLOCK != 0)
        return CW_ERR_DENIED;
    enum cw_err err = run_cbc(s, false, response, data, *len);
    if (err == CW_OK)
        err = unpad(data, len);
    return err;
}

/* The counter goes on at every command, also at those without data (§6.2.6). */
static enum cw_err count(struct scp03 *s)
{
    if (s->counter == UINT32_MAX)
        return CW_ERR_STATE;
    s->counter++;
    return CW_OK;
}

static enum cw_err wrap(struct scp03 *s, struct apdu_command *cmd, uint8_t *buffer, size_t cap)
{
    uint8_t mac[BLOCK];
    struct buf_writer w;
    buf_writer_init(&w, buffer, cap);
    buf_put_bytes(&w, cmd->data, cmd->nc);
    enum cw_err err = count(s);
    if (err == CW_OK && (s->level & SCP03_C_DECRYPTION) && cmd->nc > 0) {
        pad(&w);
        err = w.bad ? CW_ERR_SPACE : run_cbc(s, true, false, buffer, w.len);
    }
    if (err != CW_OK)
        return err;
    if (w.bad || buf_room(&w) < SCP03_MAC_LEN)
        return CW_ERR_SPACE;
    err = command_mac(s, cmd, buffer, w.len, mac);
    if (err != CW_OK)
        return err;
    buf_put_bytes(&w, mac, SCP03_MAC_LEN);
    memcpy(s->chaining, mac, sizeof mac);
    ct_wipe(mac, sizeof mac);
    cmd->cla |= SCP03_CLA_SECURE;
    cmd->data = buffer;
    cmd->nc = w.len;
    return CW_OK;
}

enum cw_err scp03_command_wrap(struct scp03 *s, struct apdu_command *cmd, uint8_t *buffer,
                               size_t cap)
{
    if (s->state != SCP03_READY)
        return end_with(s, CW_ERR_STATE);
    if ((cmd->cla & CLA_CHANNEL_OR_SM) != 0 || cmd->nc > UINT16_MAX - SCP03_OVERHEAD)
        return end_with(s, CW_ERR_ARG);
    if (s->level & SCP03_C_MAC) {
        enum cw_err err = wrap(s, cmd, buffer, cap);
        if (err != CW_OK) {
            ct_wipe(buffer, cap);
            return end_with(s, err);
        }
    }
    s->state = SCP03_ANSWER;
    return CW_OK;
}

static enum cw_err unwrap(struct scp03 *s, struct apdu_command *cmd, uint8_t *buffer, size_t cap)
{
    if ((cmd->cla & CLA_CHANNEL_OR_SM) != SCP03_CLA_SECURE)
        return CW_ERR_DENIED;
    uint8_t mac[BLOCK];
    enum cw_err err = count(s);
    if (err != CW_OK || HARD_SAYS_NO(err, command_verify(s, cmd, mac)))
        return err;
    memcpy(s->chaining, mac, sizeof mac);
    ct_wipe(mac, sizeof mac);
    size_t len = cmd->nc - SCP03_MAC_LEN;
    const uint8_t *data = cmd->data;
    if ((s->level & SCP03_C_DECRYPTION) && len > 0) {
        if (len > cap)
            return CW_ERR_SPACE;
        memmove(buffer, data, len);
        data = buffer;
        err = decrypt(s, false, buffer, &len);
        if (err != CW_OK) {
            ct_wipe(buffer, cap);
            return err;
        }
    }
    cmd->cla &= (uint8_t)~SCP03_CLA_SECURE;
    cmd->data = len > 0 ? data : NULL;
    cmd->nc = len;
    return CW_OK;
}

enum cw_err scp03_command_unwrap(struct scp03 *s, struct apdu_command *cmd, uint8_t *buffer,
                                 size_t cap)
{
    enum cw_err err = CW_OK;
    if (s->state != SCP03_READY)
        return end_with(s, CW_ERR_STATE);
    if (s->level & SCP03_C_MAC)
        err = unwrap(s, cmd, buffer, cap);
    else if (cmd->cla & SCP03_CLA_SECURE)
        err = CW_ERR_DENIED;
    if (err != CW_OK)
        return end_with(s, err);
    s->state = SCP03_ANSWER;
    return CW_OK;
}

/* §6.2.5: what is neither 9000 nor a warning is an error, and carries no protection. */
static bool status_is_error(uint16_t sw)
{
    return sw != SW_OK && sw >> 8 != 0x62 && sw >> 8 != 0x63;
}

/* The MAC of an answer (§6.2.5): over the chaining value, which is the command's MAC, the data
 * field and the status word. It does not become the chaining value. */
static enum cw_err response_mac(const struct scp03 *s, uint16_t sw, const uint8_t *data, size_t len,
                                uint8_t out[BLOCK])
{
    uint8_t status[2] = {(uint8_t)(sw >> 8), (uint8_t)sw};
    struct scp03_part parts[] = {
        {s->chaining, sizeof s->chaining}, {data, len}, {status, sizeof status}};
    return s->crypto->cmac(s->crypto->ctx, s->rmac, parts, sizeof parts / sizeof *parts, out);
}

static enum cw_err protect(const struct scp03 *s, uint16_t sw, struct buf_writer *data)
{
    uint8_t mac[BLOCK];
    enum cw_err err = CW_OK;
    if ((s->level & SCP03_R_ENCRYPTION) && data->len > 0) {
        pad(data);
        if (!data->bad)
            err = run_cbc(s, true, true, data->start, data->len);
    }
    if (err != CW_OK)
        return err;
    if (data->bad)
        return CW_ERR_SPACE;
    err = response_mac(s, sw, data->start, data->len, mac);
    if (err != CW_OK)
        return err;
    buf_put_bytes(data, mac, SCP03_MAC_LEN);
    ct_wipe(mac, sizeof mac);
    return data->bad ? CW_ERR_SPACE : CW_OK;
}

enum cw_err scp03_response_wrap(struct scp03 *s, uint16_t sw, struct buf_writer *data)
{
    enum cw_err err = s->state == SCP03_ANSWER ? CW_OK : CW_ERR_STATE;
    bool mac = s->level & SCP03_R_MAC;
    if (err == CW_OK && mac && !status_is_error(sw))
        err = protect(s, sw, data);
    if (err != CW_OK || (mac && status_is_error(sw))) {
        ct_wipe(data->start, data->len);
        data->len = 0;
    }
    if (err != CW_OK)
        return end_with(s, err);
    s->state = SCP03_READY;
    return CW_OK;
}

static enum cw_err check(const struct scp03 *s, uint16_t sw, uint8_t *data, size_t *len)
{
    uint8_t mac[BLOCK];
    if (status_is_error(sw))
        return *len == 0 ? CW_OK : CW_ERR_DENIED;
    if (*len < SCP03_MAC_LEN)
        return CW_ERR_DENIED;
    size_t n = *len - SCP03_MAC_LEN;
    enum cw_err err = response_mac(s, sw, data, n, mac);
    if (err == CW_OK && !ct_equal(mac, data + n, SCP03_MAC_LEN))
        err = CW_ERR_DENIED;
    ct_wipe(mac, sizeof mac);
    if (err == CW_OK && (s->level & SCP03_R_ENCRYPTION) && n > 0)
        err = decrypt(s, true, data, &n);
    if (err == CW_OK)
        *len = n;
    return err;
}

enum cw_err scp03_response_unwrap(struct scp03 *s, uint16_t sw, uint8_t *data, size_t *len)
{
    if (s->state != SCP03_ANSWER)
        return end_with(s, CW_ERR_STATE);
    if (s->level & SCP03_R_MAC) {
        enum cw_err err = check(s, sw, data, len);
        if (err != CW_OK) {
            ct_wipe(data, *len);
            return end_with(s, err);
        }
    }
    s->state = SCP03_READY;
    return CW_OK;
}
