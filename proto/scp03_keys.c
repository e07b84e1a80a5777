/* scp03_keys.c - the issuer's key sets on their way into the card: check values, and the data
 * fields of PUT KEY. Each key is encrypted under the DEK, which is used for this and nothing else.
 */
#include "proto/scp03.h"

#include "base/ct.h"

#include <string.h>

#define KEY_TYPE_AES 0x88 /* GPCS §11.1.8 */
#define KEY_BLOCK    (1 + SCP03_KEY_LEN)

static const uint8_t zero[16];

enum cw_err scp03_key_check(const struct scp03_crypto *crypto, const uint8_t key[SCP03_KEY_LEN],
                            uint8_t out[SCP03_CHECK_LEN])
{
    uint8_t block[16];
    memset(block, 0x01, sizeof block);
    enum cw_err err = crypto->cbc(crypto->ctx, true, key, zero, block, sizeof block);
    if (err == CW_OK)
        memcpy(out, block, SCP03_CHECK_LEN);
    ct_wipe(block, sizeof block);
    return err;
}

enum cw_err scp03_keys_write(const struct scp03_crypto *crypto, const uint8_t dek[SCP03_KEY_LEN],
                             uint8_t version, const struct scp03_keys *keys, struct buf_writer *w)
{
    const uint8_t *values[] = {keys->enc, keys->mac, keys->dek};
    uint8_t block[SCP03_KEY_LEN], check_value[SCP03_CHECK_LEN];
    enum cw_err err = CW_OK;
    buf_put_u8(w, version);
    for (size_t i = 0; i < 3 && err == CW_OK; i++) {
        memcpy(block, values[i], sizeof block);
        err = crypto->cbc(crypto->ctx, true, dek, zero, block, sizeof block);
        if (err == CW_OK)
            err = scp03_key_check(crypto, values[i], check_value);
        if (err != CW_OK)
            break;
        buf_put_u8(w, KEY_TYPE_AES);
        buf_put_u8(w, KEY_BLOCK);
        buf_put_u8(w, SCP03_KEY_LEN);
        buf_put_bytes(w, block, sizeof block);
        buf_put_u8(w, SCP03_CHECK_LEN);
        buf_put_bytes(w, check_value, sizeof check_value);
    }
    ct_wipe(block, sizeof block);
    return err != CW_OK ? err : w->bad ? CW_ERR_SPACE : CW_OK;
}

/* One key block of PUT KEY into `key`. */
static enum cw_err key_read(const struct scp03_crypto *crypto, const uint8_t *dek,
                            struct buf_reader *r, uint8_t key[SCP03_KEY_LEN])
{
    uint8_t expected[SCP03_CHECK_LEN];
    uint8_t type = buf_get_u8(r);
    uint8_t block_len = buf_get_u8(r);
    uint8_t key_len = buf_get_u8(r);
    const uint8_t *encrypted = buf_get_bytes(r, SCP03_KEY_LEN);
    uint8_t check_len = buf_get_u8(r);
    const uint8_t *check_value = buf_get_bytes(r, SCP03_CHECK_LEN);
    if (r->bad || type != KEY_TYPE_AES || block_len != KEY_BLOCK || key_len != SCP03_KEY_LEN ||
        check_len != SCP03_CHECK_LEN)
        return CW_ERR_FORMAT;
    memcpy(key, encrypted, SCP03_KEY_LEN);
    enum cw_err err = crypto->cbc(crypto->ctx, false, dek, zero, key, SCP03_KEY_LEN);
    if (err == CW_OK)
        err = scp03_key_check(crypto, key, expected);
    if (err == CW_OK && !ct_equal(expected, check_value, sizeof expected))
        err = CW_ERR_DENIED;
    return err;
}

enum cw_err scp03_keys_read(const struct scp03_crypto *crypto, const uint8_t dek[SCP03_KEY_LEN],
                            const uint8_t *data, size_t len, uint8_t *version,
                            struct scp03_keys *out)
{
    struct scp03_keys keys;
    struct buf_reader r;
    buf_reader_init(&r, data, len);
    uint8_t v = buf_get_u8(&r);
    enum cw_err err = len == SCP03_KEYS_LEN ? CW_OK : CW_ERR_FORMAT;
    if (err == CW_OK)
        err = key_read(crypto, dek, &r, keys.enc);
    if (err == CW_OK)
        err = key_read(crypto, dek, &r, keys.mac);
    if (err == CW_OK)
        err = key_read(crypto, dek, &r, keys.dek);
    if (err == CW_OK) {
        *version = v;
        *out = keys;
    }
    ct_wipe(&keys, sizeof keys);
    return err;
}

enum cw_err scp03_keys_confirm(const struct scp03_crypto *crypto, uint8_t version,
                               const struct scp03_keys *keys, struct buf_writer *w)
{
    const uint8_t *values[] = {keys->enc, keys->mac, keys->dek};
    uint8_t check_value[SCP03_CHECK_LEN];
    buf_put_u8(w, version);
    for (size_t i = 0; i < 3; i++) {
        enum cw_err err = scp03_key_check(crypto, values[i], check_value);
        if (err != CW_OK)
            return err;
        buf_put_bytes(w, check_value, sizeof check_value);
    }
    return w->bad ? CW_ERR_SPACE : CW_OK;
}
