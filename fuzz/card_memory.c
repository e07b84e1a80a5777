/* card_memory.c - the card's flash from outside: which values it holds, and which bytes of them are
 * secret. Reads a copy, as a power up would. */
#include "card_fuzz.h"

#include <string.h>

#define WINDOW 8u
/* The library's key file before the key itself (psa_crypto_storage.c): magic, version, lifetime,
 * type, bits, policy, length; before it the flags of card/its.c. */
#define PSA_HEADER 40u

void memory_take(struct fuzz_memory *out)
{
    static struct lab_flash copy;
    static struct nvm nvm;
    struct card_flash ops = lab_flash_ops(&copy);
    uint16_t key = 0;
    copy = fz.lab.flash;
    copy.dead = false;
    copy.budget = copy.fail_read = -1;
    out->count = out->used = 0;
    if (nvm_mount(&nvm, &ops) != CW_OK)
        fuzz_broken("the memory would not be there after a power cut");
    while (nvm_next(&nvm, &key)) {
        struct fuzz_value *v = &out->values[out->count++];
        size_t len = 0;
        if (nvm_read(&nvm, key, 0, out->bytes + out->used, sizeof out->bytes - out->used, &len) !=
            CW_OK)
            fuzz_broken("a value that cannot be read");
        *v = (struct fuzz_value){key, len, out->used};
        out->used += len;
    }
}

const uint8_t *memory_find(const struct fuzz_memory *m, uint16_t key, size_t *len)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->values[i].key == key) {
            *len = m->values[i].len;
            return m->bytes + m->values[i].at;
        }
    *len = 0;
    return NULL;
}

uint64_t memory_number(const struct fuzz_memory *m, uint16_t key, size_t len)
{
    size_t n = 0;
    uint64_t v = 0;
    const uint8_t *p = memory_find(m, key, &n);
    for (size_t i = 0; p != NULL && i < n && i < len; i++)
        v = v << 8 | p[i];
    return v;
}

bool memory_policy(const struct fuzz_memory *m, struct policy *out)
{
    size_t n = 0;
    const uint8_t *p = memory_find(m, NVM_POLICY, &n);
    return p != NULL && policy_decode(p, n, out) == CW_OK;
}

bool memory_admin_crypt(const struct fuzz_memory *m, bool encrypt, const uint8_t *in, size_t len,
                        uint8_t out[32])
{
    size_t n = 0;
    int done = 0;
    const uint8_t *key = memory_find(m, NVM_ADMIN, &n);
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

/* --- secrets -------------------------------------------------------------------------------------
 */

#define SECRETS_MAX 8192u
static uint8_t secrets[SECRETS_MAX][WINDOW];
static size_t secret_count, lasting_count; /* the first ones are from the flash */
static uint8_t filter[8192];

static uint32_t hash_of(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return (uint32_t)((v * UINT64_C(0x9E3779B97F4A7C15)) >> 48);
}

/* Not what could be anything: runs of one byte, numbers that are mostly zeros. */
static bool telling(const uint8_t *p)
{
    unsigned different = 0;
    for (unsigned i = 0; i < WINDOW; i++) {
        bool seen = false;
        for (unsigned j = 0; j < i; j++)
            seen |= p[j] == p[i];
        different += !seen;
    }
    return different >= 5;
}

static void secret_add(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + WINDOW <= len; i++) {
        if (!telling(p + i) || secret_count == SECRETS_MAX)
            continue;
        memcpy(secrets[secret_count++], p + i, WINDOW);
        uint32_t h = hash_of(p + i);
        filter[h / 8 % sizeof filter] |= (uint8_t)(1u << h % 8);
    }
}

static void filter_again(void)
{
    memset(filter, 0, sizeof filter);
    for (size_t i = 0; i < secret_count; i++) {
        uint32_t h = hash_of(secrets[i]);
        filter[h / 8 % sizeof filter] |= (uint8_t)(1u << h % 8);
    }
}

/* The master secret or PSK of a stored session: the ticket before it is no secret. */
static void session_add(const uint8_t *p, size_t len)
{
    const size_t id_at = 45;
    if (len > id_at && len > id_at + 1 + p[id_at] + 1u) {
        size_t at = id_at + 1 + p[id_at];
        if (at + 1 + p[at] <= len)
            secret_add(p + at + 1, p[at]);
    }
}

void memory_secrets(void)
{
    secret_count = 0;
    memset(filter, 0, sizeof filter);
    for (size_t i = 0; i < fz.now.count; i++) {
        const struct fuzz_value *v = &fz.now.values[i];
        const uint8_t *p = fz.now.bytes + v->at;
        unsigned kind = v->key & 0xFF00u;
        if (kind == NVM_PIN)
            secret_add(p + 2, v->len - 2);
        else if (v->key == NVM_KEYSET || v->key == NVM_ADMIN || kind == NVM_PIV_KEY)
            secret_add(p + 1, v->len - 1);
        else if (kind == NVM_PSA && v->len > PSA_HEADER)
            secret_add(p + PSA_HEADER, v->len - PSA_HEADER);
        else if (kind == NVM_SESSION)
            session_add(p, v->len);
    }
    lasting_count = secret_count;
}

/* Does the input say it itself? Then the card was told it. */
static bool told(const uint8_t *p)
{
    for (size_t i = 0; i + WINDOW <= fz.input_len; i++)
        if (memcmp(fz.input + i, p, WINDOW) == 0)
            return true;
    return false;
}

bool memory_leaks(const uint8_t *data, size_t len)
{
    const struct card *card = fz.lab.card;
    /* What the card holds in RAM only. */
    secret_count = lasting_count;
    secret_add(card->channel.enc, SCP03_KEY_LEN);
    secret_add(card->channel.mac, SCP03_KEY_LEN);
    secret_add(card->channel.rmac, SCP03_KEY_LEN);
    if (card->piv.pending != 0)
        secret_add(card->piv.expected, sizeof card->piv.expected);
    if (card->sessions.ram_len > 0)
        session_add(card->sessions.ram, card->sessions.ram_len);
    bool leaks = false;
    for (size_t i = 0; i + WINDOW <= len && !leaks; i++) {
        uint32_t h = hash_of(data + i);
        if (!(filter[h / 8 % sizeof filter] & 1u << h % 8))
            continue;
        for (size_t j = 0; j < secret_count && !leaks; j++)
            leaks = memcmp(secrets[j], data + i, WINDOW) == 0 && !told(data + i);
    }
    if (secret_count != lasting_count) {
        secret_count = lasting_count;
        filter_again();
    }
    return leaks;
}
