#include "bank/piv.h"

#include "bank/ca.h"
#include "bank/scp03_openssl.h"
#include "base/ct.h"
#include "proto/ber.h"
#include "proto/piv.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_LEN  16u   /* of AES */
#define OBJECT_MAX 2043u /* bytes of an object with its tag 53: as much as a card has room for */
#define KEYS       4u

static const struct key {
    uint8_t ref;
    const char *step;
    enum ca_profile p256, rsa;
} keys[KEYS] = {
    {PIV_REF_AUTH, "the card makes its PIV key 9A", CA_PIV_AUTH, CA_PIV_AUTH},
    {PIV_REF_SIGNATURE, "the card makes its PIV key 9C", CA_PIV_SIGNATURE, CA_PIV_SIGNATURE},
    {PIV_REF_MANAGEMENT, "the card makes its PIV key 9D", CA_PIV_AGREEMENT, CA_PIV_TRANSPORT},
    {PIV_REF_CARD, "the card makes its PIV key 9E", CA_PIV_CARD, CA_PIV_CARD},
};

struct giving {
    struct desk *desk;
    const struct piv_options *o;
    X509 *root;
    EVP_PKEY *root_key;
    char expiry[8 + 1]; /* of the certificates, YYYYMMDD */
    struct ledger_certificate certs[KEYS];
};

/* ---- commands ---- */

/* One command in clear, whole: chaining and GET RESPONSE are below. */
static enum cw_err command(struct desk *d, uint8_t ins, uint16_t p1p2,
                           const struct buf_writer *data, uint8_t *out, size_t cap, size_t *len,
                           const char *what, struct say *why)
{
    size_t n = 0;
    uint16_t sw = 0;
    if (data->bad)
        return say_fail(why, CW_ERR_LENGTH, "what is to be written is more than a card takes");
    enum cw_err err =
        applet_command(d->reader, APDU_CLA_ISO, ins, (uint8_t)(p1p2 >> 8), (uint8_t)p1p2,
                       data->start, data->len, APDU_SHORT_NE_MAX, out, cap, &n, &sw, why);
    if (err == CW_OK && (sw == SW_NOT_FOUND || sw == SW_WRONG_P1P2))
        err = say_fail(why, CW_ERR_NOT_FOUND,
                       "the card %s could not %s: its PIV application has no such thing", d->serial,
                       what);
    else if (err == CW_OK && sw == SW_SECURITY_STATUS)
        err = say_fail(why, CW_ERR_DENIED,
                       "the card %s refused to %s: it did not take the bank's PIV administration "
                       "key, or this reader is contactless",
                       d->serial, what);
    else if (err == CW_OK)
        err = applet_status(sw, what, why);
    if (err == CW_OK)
        *len = n;
    return err;
}

static enum cw_err select_piv(struct desk *d, struct say *why)
{
    uint8_t data[PIV_AID_LEN], answer[APDU_SHORT_NE_MAX];
    struct buf_writer w;
    size_t len = 0;
    buf_writer_init(&w, data, sizeof data);
    buf_put_bytes(&w, piv_aid, PIV_AID_LEN);
    return command(d, INS_SELECT, 0x0400, &w, answer, sizeof answer, &len,
                   "select its PIV application", why);
}

/* The channel ended when the other application was selected. */
static enum cw_err select_link(struct desk *d, struct say *why)
{
    enum cw_err err = applet_select(d->reader, why);
    return err == CW_OK ? desk_channel_open(d, why) : err;
}

/* `tag` names an object by the last byte of 5FC1xx, or it is PIV_TAG_DISCOVERY. */
static void list_put(struct buf_writer *w, uint8_t tag)
{
    const uint8_t whole[] = {0x5F, 0xC1, tag};
    if (tag == PIV_TAG_DISCOVERY)
        ber_put_u8(w, PIV_TAG_LIST, tag);
    else
        ber_put(w, PIV_TAG_LIST, whole, sizeof whole);
}

static enum cw_err object_get(struct desk *d, uint8_t tag, uint8_t *out, size_t cap, size_t *len,
                              struct say *why)
{
    uint8_t data[8];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    list_put(&w, tag);
    return command(d, INS_GET_DATA_BER, 0x3FFF, &w, out, cap, len, "give out a PIV object", why);
}

static enum cw_err object_compare(struct desk *d, uint8_t tag, const struct buf_writer *object,
                                  struct say *why)
{
    uint8_t back[OBJECT_MAX];
    size_t len = 0;
    enum cw_err err = object_get(d, tag, back, sizeof back, &len, why);
    if (err == CW_OK &&
        (object->bad || len != object->len || memcmp(back, object->start, len) != 0))
        err = say_fail(why, CW_ERR_IO,
                       "the card %s does not give back what it must have (PIV object %02X); use "
                       "another card",
                       d->serial, tag);
    return err;
}

/* `object` has its tag 53. */
static enum cw_err object_put(struct desk *d, uint8_t tag, const struct buf_writer *object,
                              struct say *why)
{
    uint8_t data[OBJECT_MAX + 8], none[1];
    size_t len = 0;
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    list_put(&w, tag);
    buf_put_bytes(&w, object->start, object->len);
    w.bad |= object->bad;
    return command(d, INS_PUT_DATA_BER, 0x3FFF, &w, none, sizeof none, &len, "store a PIV object",
                   why);
}

static enum cw_err object_set(struct desk *d, uint8_t tag, const struct buf_writer *object,
                              struct say *why)
{
    enum cw_err err = object_put(d, tag, object, why);
    return err == CW_OK ? object_compare(d, tag, object, why) : err;
}

/* Part 1 appendix A: the certificate, not compressed, and no checksum. */
static void certificate_put(struct buf_writer *w, const struct ledger_certificate *c)
{
    uint8_t value[OBJECT_MAX];
    struct buf_writer inner;
    buf_writer_init(&inner, value, sizeof value);
    ber_put(&inner, 0x70, c->der, c->der_len);
    ber_put_u8(&inner, 0x71, 0);
    ber_put_header(&inner, 0xFE, 0);
    ber_put(w, PIV_TAG_DATA, value, inner.len);
    w->bad |= inner.bad;
}

/* ---- the administration key (part 2 appendix A.1) ---- */

/* The only object of a Dynamic Authentication Template, one block long. */
static enum cw_err block_read(const uint8_t *answer, size_t len, uint8_t tag,
                              uint8_t out[BLOCK_LEN], struct say *why)
{
    struct buf_reader r;
    struct ber_object o, block;
    buf_reader_init(&r, answer, len);
    bool good = ber_next(&r, &o) && o.tag == PIV_TAG_AUTH && r.left == 0;
    if (good) {
        buf_reader_init(&r, o.value, o.len);
        good = ber_next(&r, &block) && block.tag == tag && block.len == BLOCK_LEN && r.left == 0;
    }
    if (!good)
        return say_fail(why, CW_ERR_FORMAT,
                        "the card answers the question for its PIV administration key with what "
                        "this program does not understand");
    memcpy(out, block.value, BLOCK_LEN);
    return CW_OK;
}

/* One block in place. CBC of one block with an IV of zeros is ECB, which PIV has. */
static enum cw_err block_crypt(bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                               uint8_t block[BLOCK_LEN], struct say *why)
{
    static const uint8_t iv[BLOCK_LEN];
    enum cw_err err = scp03_openssl.cbc(scp03_openssl.ctx, encrypt, key, iv, block, BLOCK_LEN);
    return err == CW_OK ? CW_OK : ca_fail(why, "cannot compute with the card's PIV key");
}

static enum cw_err authenticate(struct desk *d, const struct buf_writer *data, uint8_t tag,
                                uint8_t out[BLOCK_LEN], struct say *why)
{
    uint8_t answer[APDU_SHORT_NE_MAX];
    size_t len = 0;
    enum cw_err err = command(d, INS_AUTHENTICATE, PIV_ALG_AES128 << 8 | PIV_REF_ADMIN, data,
                              answer, sizeof answer, &len, "be managed", why);
    return err == CW_OK ? block_read(answer, len, tag, out, why) : err;
}

/* Each end proves to the other that it has the key. CW_ERR_NOT_FOUND when the card has none. */
static enum cw_err prove(struct desk *d, struct say *why)
{
    static const uint8_t ask[] = {PIV_TAG_AUTH, 2, PIV_TAG_WITNESS, 0};
    uint8_t key[SCP03_KEY_LEN], data[64];
    uint8_t witness[BLOCK_LEN], challenge[BLOCK_LEN], response[BLOCK_LEN];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_bytes(&w, ask, sizeof ask);
    enum cw_err err = desk_piv_key_get(d, key, why);
    if (err == CW_OK && RAND_bytes(challenge, sizeof challenge) != 1)
        err = ca_fail(why, "cannot make a challenge for the card");
    if (err == CW_OK)
        err = authenticate(d, &w, PIV_TAG_WITNESS, witness, why);
    if (err == CW_OK)
        err = block_crypt(false, key, witness, why);
    buf_writer_init(&w, data, sizeof data);
    ber_put_header(&w, PIV_TAG_AUTH, 2 * (2 + BLOCK_LEN));
    ber_put(&w, PIV_TAG_WITNESS, witness, sizeof witness);
    ber_put(&w, PIV_TAG_CHALLENGE, challenge, sizeof challenge);
    if (err == CW_OK)
        err = authenticate(d, &w, PIV_TAG_RESPONSE, response, why);
    if (err == CW_OK)
        err = block_crypt(true, key, challenge, why);
    if (err == CW_OK && !ct_equal(response, challenge, sizeof response))
        err = say_fail(why, CW_ERR_DENIED,
                       "the card could not prove that it has the PIV administration key that this "
                       "bank gave it");
    ct_wipe(key, sizeof key);
    ct_wipe(data, sizeof data);
    ct_wipe(witness, sizeof witness);
    ct_wipe(challenge, sizeof challenge);
    return err;
}

/* Through the channel: what PIV itself has no commands for. The mailer first, as with every PIN: a
 * letter with one that is in no card is better than a card with one that nobody knows. */
static enum cw_err put_secrets(struct giving *g, struct mailer *m, struct say *why)
{
    struct desk *d = g->desk;
    uint8_t value[1 + SCP03_KEY_LEN] = {PIV_ALG_AES128};
    enum cw_err err = mailer_write(m, d->bank, d->serial, &mailer_piv_rules, why);
    if (err == CW_OK)
        err = desk_pin_put(d, LINK_PIN_PIV, mailer_piv_rules.tries, 0, &m->pin, why);
    if (err == CW_OK)
        err = desk_pin_put(d, LINK_PIN_PIV_PUK, MAILER_PUK_TRIES, 0, &m->puk, why);
    if (err == CW_OK)
        err = desk_piv_key_get(d, value + 1, why);
    if (err == CW_OK)
        err = desk_command(d, APDU_CLA_ISO, INS_PUT_DATA, LINK_DO_ADMIN, value, sizeof value, NULL,
                           0, NULL, "take its PIV administration key", why);
    ct_wipe(value, sizeof value);
    return err;
}

/* ---- keys and certificates ---- */

static bool rsa_push(OSSL_PARAM_BLD *b, const struct ber_object *n, const struct ber_object *e,
                     BIGNUM **modulus, BIGNUM **exponent)
{
    *modulus = BN_bin2bn(n->value, (int)n->len, NULL);
    *exponent = BN_bin2bn(e->value, (int)e->len, NULL);
    return *modulus != NULL && *exponent != NULL &&
           OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, *modulus) == 1 &&
           OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, *exponent) == 1;
}

/* `e` has no tag for P-256. NULL when the library finds that it is no good key. */
static EVP_PKEY *key_make(const struct ber_object *n, const struct ber_object *e)
{
    bool rsa = e->tag != 0;
    BIGNUM *modulus = NULL, *exponent = NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, rsa ? "RSA" : "EC", NULL);
    EVP_PKEY_CTX *check = NULL;
    bool good =
        b != NULL && make != NULL &&
        (rsa ? rsa_push(b, n, e, &modulus, &exponent)
             : OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
                   OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, n->value, n->len) ==
                       1) &&
        (params = OSSL_PARAM_BLD_to_param(b)) != NULL && EVP_PKEY_fromdata_init(make) == 1 &&
        EVP_PKEY_fromdata(make, &key, EVP_PKEY_PUBLIC_KEY, params) == 1 &&
        (check = EVP_PKEY_CTX_new(key, NULL)) != NULL && EVP_PKEY_public_check(check) == 1;
    EVP_PKEY_CTX_free(check);
    EVP_PKEY_CTX_free(make);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    BN_free(modulus);
    BN_free(exponent);
    ERR_clear_error();
    if (!good) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

/* 7F49 { 86 point } or { 81 modulus, 82 exponent }: two tags, lengths and the first bytes, which
 * the library does not look at. */
static bool public_parse(const uint8_t *answer, size_t len, bool rsa, struct ber_object *n,
                         struct ber_object *e)
{
    struct buf_reader r;
    struct ber_object o;
    buf_reader_init(&r, answer, len);
    if (!ber_next(&r, &o) || o.tag != PIV_TAG_PUBLIC || r.left > 0)
        return false;
    buf_reader_init(&r, o.value, o.len);
    *e = (struct ber_object){0};
    if (!ber_next(&r, n))
        return false;
    if (!rsa)
        return n->tag == PIV_TAG_PUBLIC_KEY && n->len == PIV_POINT_LEN && n->value[0] == 0x04 &&
               r.left == 0;
    return n->tag == PIV_TAG_MODULUS && n->len == PIV_RSA_LEN && (n->value[0] & 0x80) != 0 &&
           ber_next(&r, e) && e->tag == PIV_TAG_EXPONENT && e->len == 3 &&
           memcmp(e->value, "\x01\x00\x01", 3) == 0 && r.left == 0;
}

enum cw_err piv_public_key_read(const uint8_t *answer, size_t len, bool rsa, EVP_PKEY **out,
                                struct say *why)
{
    struct ber_object n, e;
    EVP_PKEY *key = public_parse(answer, len, rsa, &n, &e) ? key_make(&n, &e) : NULL;
    if (key == NULL)
        return say_fail(why, CW_ERR_FORMAT, "what the card gives for its new PIV key is no %s key",
                        rsa ? "RSA-2048" : "P-256");
    *out = key;
    return CW_OK;
}

static enum cw_err make_key(struct giving *g, const struct key *k, EVP_PKEY **out, struct say *why)
{
    const uint8_t algorithm = g->o->rsa ? PIV_ALG_RSA2048 : PIV_ALG_P256;
    const uint8_t wanted[] = {PIV_TAG_GENERATE, 3, PIV_TAG_ALGORITHM, 1, algorithm};
    uint8_t data[sizeof wanted], answer[2 * PIV_RSA_LEN];
    size_t len = 0;
    struct buf_writer w;
    if (g->o->step != NULL)
        g->o->step(g->o->step_ctx, k->step);
    buf_writer_init(&w, data, sizeof data);
    buf_put_bytes(&w, wanted, sizeof wanted);
    enum cw_err err = command(g->desk, INS_GENERATE_KEY, k->ref, &w, answer, sizeof answer, &len,
                              "make a PIV key", why);
    return err == CW_OK ? piv_public_key_read(answer, len, g->o->rsa, out, why) : err;
}

static enum cw_err certify(struct giving *g, const struct key *k, struct ledger_certificate *out,
                           struct say *why)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    struct tm end;
    enum cw_err err = make_key(g, k, &key, why);
    if (err == CW_OK) {
        const struct ca_order order = {.profile = g->o->rsa ? k->rsa : k->p256,
                                       .cn = g->desk->serial,
                                       .key = key,
                                       .days = g->o->days,
                                       .issuer = g->root,
                                       .issuer_key = g->root_key};
        err = ca_certificate_make(&order, ledger_now(g->desk->bank->ledger), &cert, why);
    }
    if (err == CW_OK)
        err = bank_certificate_record(cert, LEDGER_CERT_PIV, k->ref, out, why);
    if (err == CW_OK && (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end) != 1 ||
                         strftime(g->expiry, sizeof g->expiry, "%Y%m%d", &end) != 8))
        err = say_fail(why, CW_ERR_ARG, "certificates cannot end so late; give fewer --days");
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

/* ---- the whole ---- */

/* The ledger's word for them first: the bank knows every certificate that a card has. The
 * certificates come last, so that a card with all of them lacks nothing. */
static enum cw_err put_objects(struct giving *g, struct say *why)
{
    static const uint8_t tags[] = {PIV_OBJECT_CHUID, PIV_OBJECT_CCC, PIV_OBJECT_KEY_HISTORY};
    struct desk *d = g->desk;
    uint8_t value[OBJECT_MAX];
    struct buf_writer w;
    enum cw_err err = ledger_piv_put(d->bank->ledger, d->info.serial, g->certs, KEYS, why);
    if (g->o->step != NULL)
        g->o->step(g->o->step_ctx, "writing PIV certificates and objects");
    for (size_t i = 0; i < sizeof tags && err == CW_OK; i++) {
        buf_writer_init(&w, value, sizeof value);
        if (tags[i] == PIV_OBJECT_CHUID)
            piv_chuid_put(&w, d->info.serial, g->expiry);
        else if (tags[i] == PIV_OBJECT_CCC)
            piv_ccc_put(&w, d->info.serial);
        else
            piv_key_history_put(&w);
        err = object_set(d, tags[i], &w, why);
    }
    buf_writer_init(&w, value, sizeof value);
    piv_discovery_put(&w); /* the card's own, and never written */
    if (err == CW_OK)
        err = object_compare(d, PIV_TAG_DISCOVERY, &w, why);
    for (size_t i = 0; i < KEYS && err == CW_OK; i++) {
        buf_writer_init(&w, value, sizeof value);
        certificate_put(&w, &g->certs[i]);
        err = object_set(d, piv_certificate_of(keys[i].ref), &w, why);
    }
    return err;
}

enum cw_err piv_prepare(struct bank *bank, const struct piv_options *options, struct mailer *m,
                        struct say *why)
{
    *m = (struct mailer){.piv = true, .pin_file = options->pin_file, .puk_file = options->puk_file};
    enum cw_err err = mailer_read(m, &mailer_piv_rules, why);
    return err == CW_OK ? bank_piv_root_make(bank, why) : err;
}

enum cw_err piv_give(struct desk *d, const struct piv_options *options, struct mailer *m,
                     struct say *why)
{
    struct giving *g = calloc(1, sizeof *g);
    if (g == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    g->desk = d;
    g->o = options;
    enum cw_err err = bank_certificate_load(d->bank, BANK_FILE_PIV_ROOT, &g->root, why);
    if (err == CW_OK)
        err = bank_key_load(d->bank, BANK_FILE_PIV_ROOT, &g->root_key, why);
    if (err == CW_OK)
        err = put_secrets(g, m, why);
    if (err == CW_OK)
        err = select_piv(d, why);
    if (err == CW_OK)
        err = prove(d, why);
    for (size_t i = 0; i < KEYS && err == CW_OK; i++)
        err = certify(g, &keys[i], &g->certs[i], why);
    if (err == CW_OK)
        err = put_objects(g, why);
    if (err == CW_OK)
        err = select_link(d, why);
    X509_free(g->root);
    EVP_PKEY_free(g->root_key);
    free(g);
    return err;
}

static enum cw_err compare_held(struct desk *d, const struct ledger_certificate *certs, bool *out,
                                struct say *why)
{
    enum cw_err err = select_piv(d, why);
    for (size_t i = 0; i < KEYS && err == CW_OK; i++) {
        uint8_t value[OBJECT_MAX];
        struct buf_writer w;
        buf_writer_init(&w, value, sizeof value);
        certificate_put(&w, &certs[i]);
        err = object_compare(d, piv_certificate_of((uint8_t)certs[i].slot), &w, why);
    }
    *out = err == CW_OK;
    bool other = err == CW_ERR_NOT_FOUND || err == CW_ERR_IO || err == CW_ERR_SPACE;
    return other ? CW_OK : err;
}

enum cw_err piv_is_held(struct desk *d, bool *out, struct say *why)
{
    size_t count = 0;
    bool held = false;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    if (certs == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_certificates_get(d->bank->ledger, d->info.serial, LEDGER_CERT_PIV,
                                              certs, &count, why);
    if (err == CW_OK && count == KEYS) {
        err = compare_held(d, certs, &held, why);
        if (err == CW_OK)
            err = select_link(d, why);
    }
    free(certs);
    if (err == CW_OK)
        *out = held;
    return err;
}

enum cw_err piv_take_away(struct desk *d, struct say *why)
{
    static const uint8_t tags[] = {PIV_OBJECT_CARD,       PIV_OBJECT_AUTH,  PIV_OBJECT_SIGNATURE,
                                   PIV_OBJECT_MANAGEMENT, PIV_OBJECT_CHUID, PIV_OBJECT_CCC,
                                   PIV_OBJECT_KEY_HISTORY};
    char path[BANK_PATH_MAX];
    uint8_t nothing[2];
    struct buf_writer w;
    buf_writer_init(&w, nothing, sizeof nothing);
    ber_put_header(&w, PIV_TAG_DATA, 0);
    enum cw_err err = select_piv(d, why);
    if (err == CW_OK)
        err = prove(d, why);
    for (size_t i = 0; i < sizeof tags && err == CW_OK; i++)
        err = object_put(d, tags[i], &w, why);
    if (err == CW_ERR_NOT_FOUND) /* it never came to the key */
        err = CW_OK;
    if (err == CW_OK)
        err = mailer_find(d->bank, d->serial, true, path, why);
    if (err == CW_OK && path[0] != '\0')
        unlink(path);
    return err == CW_OK ? select_link(d, why) : err;
}
