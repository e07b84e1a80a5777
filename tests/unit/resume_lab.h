/* resume_lab.h - what the tests of stored sessions share: one issued card that every test starts
 * from, a server that keeps its sessions itself as a bank does, and the card's memory in the open.
 */
#ifndef CARDWIRE_TESTS_UNIT_RESUME_LAB_H
#define CARDWIRE_TESTS_UNIT_RESUME_LAB_H

#include "unit.h"

#include "card/state.h"
#include "card_lab.h"
#include "proto/ber.h"

#include <openssl/x509v3.h>
#include <string.h>

#define ALL_PROFILES        7
#define OTHER_HOST          "other.test"
#define P256_SLOTS          (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define TLS_RSA_SLOT        (1 << (LINK_KEY_TLS_RSA - 1))
#define SESSION_VALUE(name) ((uint16_t)(NVM_SESSION | (name)))
/* Earliest end of what card_lab.c issues: the server's certificate. */
#define SERVER_ENDS (LAB_TIME + 86400 * 90)
#define CARD_ENDS   (LAB_TIME + 86400 * 1000)

static struct lab_identity root, card_ca, ec_server, rsa_server, other_server;
static EVP_PKEY *update_key; /* of both cards */
/* Memory of a card for LAB_HOST and OTHER_HOST, all profiles; of one that has an RSA key as well.
 */
static struct lab_flash issued, issued_both;

/* --- the card ------------------------------------------------------------------------------------
 */

static inline void issue(uint8_t slots, struct lab_flash *out)
{
    static const uint8_t other[] = "\x80\x0Aother.test\x81\x01\x07";
    static struct lab lab;
    lab_init(&lab);
    lab.update_key = update_key;
    lab_personalise(&lab, slots, &card_ca, &root, ALL_PROFILES);
    assert_int_equal(lab_put(&lab, LINK_DO_NAME | 1, other, sizeof other - 1), SW_OK);
    *out = lab.flash;
    update_key = lab.update_key;
    lab.update_key = NULL;
    lab_free(&lab);
}

static inline int make_all(void **state)
{
    (void)state;
    if (root.key != NULL)
        return 0; /* once for all tests of a program */
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    ec_server = lab_server_new(&root, &(struct lab_server_spec){0});
    rsa_server = lab_server_new(&root, &(struct lab_server_spec){.rsa = true});
    other_server = lab_server_new(&root, &(struct lab_server_spec){.host = OTHER_HOST});
    issue(P256_SLOTS, &issued);
    return 0;
}

/* A card fresh from the issuer, with power. */
static inline void card_new(struct lab *lab)
{
    lab_init(lab);
    lab->flash = issued;
    assert_int_equal(EVP_PKEY_up_ref(update_key), 1);
    lab->update_key = update_key;
    assert_true(lab_power_cycle(lab));
}

/* The same with keys of both kinds for the line. */
static inline void card_new_both(struct lab *lab)
{
    if (issued_both.programmed == 0)
        issue(P256_SLOTS | TLS_RSA_SLOT, &issued_both);
    card_new(lab);
    lab->flash = issued_both;
    assert_true(lab_power_cycle(lab));
}

/* The card's memory as it is in flash now, without the card noticing. */
static inline enum cw_err memory_read(const struct lab *lab, uint16_t key, uint8_t *out, size_t cap,
                                      size_t *len)
{
    static struct lab_flash copy;
    struct card_flash ops = lab_flash_ops(&copy);
    struct nvm nvm;
    copy = lab->flash;
    copy.dead = false;
    copy.budget = copy.fail_read = -1;
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    return nvm_read(&nvm, key, 0, out, cap, len);
}

static inline bool has_session(const struct lab *lab)
{
    uint8_t stored[SESSION_STORED_MAX];
    size_t n = 0;
    return memory_read(lab, SESSION_VALUE(0), stored, sizeof stored, &n) == CW_OK;
}

/* Writes a value behind the card's back, while it has no power. */
static inline void memory_write(struct lab *lab, uint16_t key, const void *data, size_t len)
{
    struct card_flash ops = lab_flash_ops(&lab->flash);
    struct nvm nvm;
    card_power_down(&lab->card);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_write(&nvm, key, data, len), CW_OK);
    assert_true(lab_power_cycle(lab));
}

/* Where the issuer's policy has sessions kept: POLICY_SESSIONS_*, or 0. */
static inline void keep_set(struct lab *lab, uint8_t flags)
{
    uint8_t value[POLICY_LEN_MAX];
    struct buf_writer w;
    struct policy policy = lab_policy();
    policy.flags = flags;
    buf_writer_init(&w, value, sizeof value);
    assert_int_equal(policy_encode(&policy, &w), CW_OK);
    memory_write(lab, NVM_POLICY, value, w.len);
}

static inline void floor_set(struct lab *lab, int64_t time)
{
    uint8_t b[8];
    struct buf_writer w;
    buf_writer_init(&w, b, sizeof b);
    buf_put_u64(&w, (uint64_t)time);
    memory_write(lab, NVM_TIME, b, sizeof b);
}

static inline uint8_t info_u8(struct lab *lab, uint16_t tag)
{
    uint8_t out[256];
    size_t n = 0;
    struct ber_object o;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, LINK_INFO_SESSION, 0, NULL, 0, 256, out, &n),
                     SW_OK);
    assert_int_equal(ber_find(out, n, tag, &o), CW_OK);
    assert_int_equal(o.len, 1);
    return o.value[0];
}

/* --- the server ----------------------------------------------------------------------------------
 */

#define KEPT_MAX 64u
static SSL_SESSION *kept[KEPT_MAX];
static size_t kept_next;

static inline int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(kept[kept_next % KEPT_MAX]);
    kept[kept_next++ % KEPT_MAX] = SSL_SESSION_dup(session);
    return 0;
}

static inline SSL_SESSION *find_session(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    (void)ssl;
    for (size_t i = 0; i < KEPT_MAX; i++) {
        unsigned n = 0;
        const unsigned char *have = kept[i] != NULL ? SSL_SESSION_get_id(kept[i], &n) : NULL;
        if (have != NULL && (int)n == len && memcmp(have, id, n) == 0) {
            *copy = 0;
            return SSL_SESSION_dup(kept[i]);
        }
    }
    return NULL;
}

/* The server has forgotten. */
static inline void forget_sessions(void)
{
    for (size_t i = 0; i < KEPT_MAX; i++) {
        SSL_SESSION_free(kept[i]);
        kept[i] = NULL;
    }
}

static inline SSL_SESSION *last_session(void)
{
    assert_true(kept_next > 0);
    return kept[(kept_next - 1) % KEPT_MAX];
}

static inline SSL_CTX *server_of(const struct lab_identity *identity, bool ask)
{
    SSL_CTX *ctx = lab_server_context(identity, ask ? &card_ca : NULL);
    assert_true(SSL_CTX_set_cipher_list(
        ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:AES128-GCM-SHA256:AES256-GCM-SHA384"));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_sess_set_get_cb(ctx, find_session);
    return ctx;
}

static inline SSL_CTX *server_for(enum link_profile profile)
{
    return server_of(profile == LINK_PROFILE_RSA ? &rsa_server : &ec_server, true);
}

/* --- a login -------------------------------------------------------------------------------------
 */

enum outcome { FULL = 1, RESUMED, DEAD };

/* What became of a line, and that card and server agree on it. */
static inline enum outcome outcome_of(struct lab *lab, struct lab_line *line)
{
    if (line->sw != SW_OK || !(line->state & LINK_STATE_OPEN))
        return DEAD;
    bool resumed = info_u8(lab, LINK_TAG_RESUMED) == 1;
    assert_int_equal(SSL_session_reused(line->ssl), resumed);
    /* Resumed or not, the server knows whose card it is. */
    assert_non_null(SSL_get0_peer_certificate(line->ssl));
    assert_int_equal(SSL_get_verify_result(line->ssl), X509_V_OK);
    return resumed ? RESUMED : FULL;
}

/* PIN, OPEN and handshake; then the card is simply not heard of any more. */
static inline enum outcome login(struct lab *lab, SSL_CTX *ctx, enum link_profile profile,
                                 enum link_key key)
{
    struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
    lab_line_open(lab, ctx, profile, key, &line);
    enum outcome o = outcome_of(lab, &line);
    lab_line_free(&line);
    return o;
}

/* The same with the server that the profile wants, and the key that the card chooses. */
static inline enum outcome login_to(struct lab *lab, enum link_profile profile)
{
    SSL_CTX *ctx = server_for(profile);
    enum outcome o = login(lab, ctx, profile, LINK_KEY_AUTO);
    SSL_CTX_free(ctx);
    return o;
}

static inline void free_all(void)
{
    forget_sessions();
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    lab_identity_free(&ec_server);
    lab_identity_free(&rsa_server);
    lab_identity_free(&other_server);
}

#endif
