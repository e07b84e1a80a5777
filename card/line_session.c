/* line_session.c - TLS sessions kept in the card: stored when a line opens (TLS 1.2) or a ticket
 * comes (TLS 1.3), taken out of memory when they are offered, so that no session is ever offered
 * twice unless it has led to a line again. What was torn or went wrong in between is answered by
 * there being no session: the next handshake is a full one.
 *
 * What resumption leaves out, the verification of the server and the card's signature, was done in
 * the line that the session is from. It stays good for as long as what it was done against: the
 * seal of a stored session is a hash over the card's roots, the name and the card's certificate as
 * they were, and over the session itself. */
#include "card/line_session.h"

#include "base/buf.h"
#include "base/ct.h"
#include "card/state.h"

#include <mbedtls/platform.h>
#include <psa/crypto.h>
#include <ssl_misc.h>
#include <string.h>

#define VERSION     1u
#define SEAL_LEN    32u
#define ID_MIN      16u /* the engine offers no shorter one (TLS 1.2) */
#define ID_MAX      32u /* RFC 5246 §7.4.1.2 */
#define MASTER_LEN  48u /* RFC 5246 §8.1 */
#define NVM_OF(idx) ((uint16_t)(NVM_SESSION | (idx)))

/* A session in the open; what it points to belongs to somebody else. */
struct session {
    uint8_t profile, key;
    uint16_t suite;
    int64_t ends;
    uint8_t peer[32];
    const uint8_t *id; /* session id or ticket */
    size_t id_len;
    const uint8_t *secret; /* master secret or resumption PSK */
    size_t secret_len;
};

/* --- the store
 * --------------------------------------------------------------------------------- */

static enum cw_err store_get(const struct session_store *st, uint16_t name,
                             uint8_t out[SESSION_STORED_MAX], size_t *len)
{
    if (st->keep == SESSION_KEEP_NVM)
        return nvm_read(st->nvm, NVM_OF(name), 0, out, SESSION_STORED_MAX, len);
    if (st->keep == SESSION_KEEP_NONE || st->ram_len == 0 || st->ram_name != name)
        return CW_ERR_NOT_FOUND;
    memcpy(out, st->ram, st->ram_len);
    *len = st->ram_len;
    return CW_OK;
}

static enum cw_err store_put(struct session_store *st, uint16_t name, const uint8_t *data,
                             size_t len)
{
    if (st->keep == SESSION_KEEP_NVM)
        return nvm_write(st->nvm, NVM_OF(name), data, len);
    memcpy(st->ram, data, len);
    st->ram_len = len;
    st->ram_name = name;
    return CW_OK;
}

static void ram_wipe(struct session_store *st)
{
    ct_wipe(st->ram, sizeof st->ram);
    st->ram_len = 0;
}

static enum cw_err store_remove(struct session_store *st, uint16_t name)
{
    if (st->keep == SESSION_KEEP_NVM)
        return nvm_remove(st->nvm, NVM_OF(name));
    ram_wipe(st);
    return CW_OK;
}

void session_power_up(struct card *card)
{
    card->sessions.nvm = &card->nvm;
    if (pin_tries(card, LINK_PIN_HOLDER) == 0)
        session_forget_all(card);
}

/* What issuance decided. */
static enum session_keep policy_keep(const struct card *card)
{
    struct policy policy;
    if (card_policy(card, &policy) != CW_OK)
        return SESSION_KEEP_NONE;
    if (policy.flags & POLICY_SESSIONS_NVM)
        return SESSION_KEEP_NVM;
    return policy.flags & POLICY_SESSIONS_RAM ? SESSION_KEEP_RAM : SESSION_KEEP_NONE;
}

static void nvm_forget(struct card *card)
{
    for (uint16_t i = 0; i < LINK_NAME_MAX; i++)
        if (nvm_remove(&card->nvm, NVM_OF(i)) != CW_OK) {
            /* The memory fails. Roots and names are in the seal, and power up looks at the PIN. */
        }
}

void session_forget_all(struct card *card)
{
    card->line.session.store = NULL;
    ram_wipe(&card->sessions);
    nvm_forget(card);
}

/* --- as bytes
 * ---------------------------------------------------------------------------------- */

static bool add(psa_hash_operation_t *op, const void *data, size_t len)
{
    return psa_hash_update(op, data, len) == PSA_SUCCESS;
}

static bool sum_up(psa_hash_operation_t *op, bool good, uint8_t out[SEAL_LEN])
{
    size_t got = 0;
    good = good && psa_hash_finish(op, out, SEAL_LEN, &got) == PSA_SUCCESS && got == SEAL_LEN;
    return psa_hash_abort(op) == PSA_SUCCESS && good;
}

/* Hash over everything that a session of this line is made under. */
static bool make_under(struct line *line)
{
    const struct line_name *n = &line->name;
    psa_hash_operation_t op = PSA_HASH_OPERATION_INIT;
    bool good = psa_hash_setup(&op, PSA_ALG_SHA_256) == PSA_SUCCESS &&
                add(&op, n->host, sizeof n->host) && add(&op, &n->profiles, sizeof n->profiles) &&
                add(&op, n->alpn, sizeof n->alpn) && add(&op, line->own.raw.p, line->own.raw.len);
    for (uint16_t i = 0; good && i < LINK_ROOT_MAX; i++) {
        unsigned char *der;
        size_t len = 0;
        enum cw_err err = line_der(line, (uint16_t)(LINK_DO_ROOT | i), &der, &len);
        good = err == CW_ERR_NOT_FOUND || (err == CW_OK && add(&op, der, len));
        mbedtls_free(der);
    }
    return sum_up(&op, good, line->session.under);
}

/* Hash over what the session was made under, and over the session. */
static bool seal(const struct line *line, const uint8_t *body, size_t len, uint8_t out[SEAL_LEN])
{
    psa_hash_operation_t op = PSA_HASH_OPERATION_INIT;
    bool good = psa_hash_setup(&op, PSA_ALG_SHA_256) == PSA_SUCCESS &&
                add(&op, line->session.under, sizeof line->session.under) && add(&op, body, len);
    return sum_up(&op, good, out);
}

static bool session_write(const struct line *line, const struct session *s,
                          uint8_t out[SESSION_STORED_MAX], size_t *len)
{
    uint8_t sum[SEAL_LEN];
    struct buf_writer w;
    buf_writer_init(&w, out, SESSION_STORED_MAX);
    buf_put_u8(&w, VERSION);
    buf_put_u8(&w, s->profile);
    buf_put_u8(&w, s->key);
    buf_put_u16(&w, s->suite);
    buf_put_u64(&w, (uint64_t)s->ends);
    buf_put_bytes(&w, s->peer, sizeof s->peer);
    buf_put_u8(&w, (uint8_t)s->id_len);
    buf_put_bytes(&w, s->id, s->id_len);
    buf_put_u8(&w, (uint8_t)s->secret_len);
    buf_put_bytes(&w, s->secret, s->secret_len);
    if (w.bad || !seal(line, out, w.len, sum))
        return false;
    buf_put_bytes(&w, sum, sizeof sum);
    *len = w.len;
    return !w.bad;
}

/* Takes a stored session apart; the seal is looked at elsewhere. False when it is malformed. */
static bool session_parse(const uint8_t *data, size_t len, struct session *out)
{
    struct session s = {0};
    struct buf_reader r;
    buf_reader_init(&r, data, len);
    uint8_t version = buf_get_u8(&r);
    s.profile = buf_get_u8(&r);
    s.key = buf_get_u8(&r);
    s.suite = buf_get_u16(&r);
    s.ends = (int64_t)buf_get_u64(&r);
    const uint8_t *peer = buf_get_bytes(&r, sizeof s.peer);
    s.id_len = buf_get_u8(&r);
    s.id = buf_get_bytes(&r, s.id_len);
    s.secret_len = buf_get_u8(&r);
    s.secret = buf_get_bytes(&r, s.secret_len);
    if (r.bad || version != VERSION || r.left != SEAL_LEN || s.id_len == 0 ||
        s.id_len > (s.profile == LINK_PROFILE_TLS13 ? SESSION_TICKET_MAX : ID_MAX) ||
        (s.profile == LINK_PROFILE_TLS13 ? s.secret_len > SESSION_SECRET_MAX
                                         : s.secret_len != MASTER_LEN))
        return false;
    memcpy(s.peer, peer, sizeof s.peer);
    *out = s;
    return true;
}

/* --- offering
 * ---------------------------------------------------------------------------------- */

static bool profile_has(const struct line *line, int suite)
{
    for (const int *s = line->conf.ciphersuite_list; *s != 0; s++)
        if (*s == suite)
            return true;
    return false;
}

/* Is it from this card as it is now, and in date? */
static bool still_good(const struct line *line, const uint8_t *stored, size_t len,
                       const struct session *s)
{
    uint8_t sum[SEAL_LEN];
    return seal(line, stored, len - SEAL_LEN, sum) &&
           ct_equal(sum, stored + len - SEAL_LEN, SEAL_LEN) && s->ends >= line->time &&
           profile_has(line, s->suite);
}

static enum cw_err give(struct line *line, const struct session *s)
{
    mbedtls_ssl_session e;
    mbedtls_ssl_session_init(&e);
    e.endpoint = MBEDTLS_SSL_IS_CLIENT;
    e.ciphersuite = s->suite;
    if (line->profile == LINK_PROFILE_TLS13) {
        e.tls_version = MBEDTLS_SSL_VERSION_TLS1_3;
        e.ticket = (unsigned char *)(uintptr_t)s->id;
        e.ticket_len = s->id_len;
        memcpy(e.resumption_key, s->secret, s->secret_len);
        e.resumption_key_len = (uint8_t)s->secret_len;
        e.hostname = line->name.host;
        /* Never with the PSK alone: each line has its own ephemeral keys (RFC 8446 §4.2.9). */
        mbedtls_ssl_tls13_session_set_ticket_flags(
            &e, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
    } else {
        e.tls_version = MBEDTLS_SSL_VERSION_TLS1_2;
        memcpy(e.id, s->id, s->id_len);
        e.id_len = s->id_len;
        memcpy(e.master, s->secret, s->secret_len);
    }
    int ret = mbedtls_ssl_set_session(&line->ssl, &e); /* copies what `e` points to */
    ct_wipe(&e, sizeof e);
    if (ret != 0)
        return CW_ERR_SPACE;
    line->session.offered = true;
    line->session.offered_ends = s->ends;
    memcpy(line->session.offered_peer, s->peer, sizeof s->peer);
    return CW_OK;
}

void line_session_begin(struct card *card, uint16_t name, bool full)
{
    card->sessions.keep = policy_keep(card);
    /* Where nothing is kept any more, nothing of before is left. */
    if (card->sessions.keep != SESSION_KEEP_RAM)
        ram_wipe(&card->sessions);
    if (card->sessions.keep != SESSION_KEEP_NVM)
        nvm_forget(card);
    card->line.session.store = &card->sessions;
    card->line.session.name = name;
    card->line.session.full = full;
}

enum cw_err line_session_offer(struct line *line)
{
    struct line_session *ls = &line->session;
    uint8_t stored[SESSION_STORED_MAX];
    size_t len = 0;
    struct session s;
    enum cw_err err = CW_OK;
    if (ls->store != NULL && !make_under(line))
        ls->store = NULL;
    if (ls->store == NULL || ls->full || store_get(ls->store, ls->name, stored, &len) != CW_OK)
        return CW_OK;
    bool good = session_parse(stored, len, &s);
    if (good && (s.profile != line->profile || s.key != line->key))
        goto out; /* another line's: it stays, until there is a later one */
    good = good && still_good(line, stored, len, &s);
    /* A ticket is offered once (RFC 8446 §C.4), and a session that the server makes no line of is
     * not tried again. What cannot be taken out of memory is not offered. */
    if (store_remove(ls->store, ls->name) == CW_OK && good)
        err = give(line, &s);
out:
    ct_wipe(stored, sizeof stored);
    return err;
}

bool line_session_answered(struct line *line)
{
    struct line_session *ls = &line->session;
    mbedtls_ssl_context *ssl = &line->ssl;
    bool tls13 = line->profile == LINK_PROFILE_TLS13;
    bool taken = tls13 ? ssl->state == MBEDTLS_SSL_ENCRYPTED_EXTENSIONS &&
                             mbedtls_ssl_tls13_key_exchange_mode_with_psk(ssl)
                       : ssl->handshake->resume != 0;
    if (!taken)
        return true;
    /* RFC 7627 §5.3: the session had an extended master secret, and so must what resumes it. */
    if (!ls->offered || (!tls13 && ssl->handshake->extended_ms != MBEDTLS_SSL_EXTENDED_MS_ENABLED))
        return false;
    ls->resumed = true;
    line->trusted = HARD_YES;
    ls->ends = ls->offered_ends;
    memcpy(line->peer_sha256, ls->offered_peer, sizeof line->peer_sha256);
    return true;
}

/* --- keeping
 * ----------------------------------------------------------------------------------- */

void line_session_keep(struct line *line)
{
    struct line_session *ls = &line->session;
    const mbedtls_ssl_session *e = line->ssl.session;
    bool tls13 = line->profile == LINK_PROFILE_TLS13;
    uint8_t stored[SESSION_STORED_MAX];
    size_t len = 0;
    if (ls->store == NULL || ls->store->keep == SESSION_KEEP_NONE || ls->ends < line->time)
        return;
    /* A server cannot wear the card's memory out with tickets. */
    if (ls->tickets == SESSION_TICKETS_MAX)
        return;
    struct session s = {
        .profile = (uint8_t)line->profile,
        .key = (uint8_t)line->key,
        .suite = (uint16_t)e->ciphersuite,
        .ends = ls->ends,
        .id = tls13 ? e->ticket : e->id,
        .id_len = tls13 ? e->ticket_len : e->id_len,
        .secret = tls13 ? e->resumption_key : e->master,
        .secret_len = tls13 ? e->resumption_key_len : MASTER_LEN,
    };
    memcpy(s.peer, line->peer_sha256, sizeof s.peer);
    if (s.id_len < (tls13 ? 1 : ID_MIN) || s.id_len > (tls13 ? SESSION_TICKET_MAX : ID_MAX))
        return;
    ls->tickets++;
    if (session_write(line, &s, stored, &len) &&
        store_put(ls->store, ls->name, stored, len) != CW_OK) {
        /* the next login costs a full handshake */
    }
    ct_wipe(stored, sizeof stored);
}
