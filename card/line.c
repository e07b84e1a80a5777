/* line.c - the TLS engine in the card: set up for a profile, run over the bytes of a command, and
 * torn down. Everything that decides about the server is here or in line_verify.c; the terminal
 * only carries bytes. Uses mbedTLS's internal header in a few named places, because the handshake's
 * facts (was our certificate asked for, is the master secret extended) have no public name in 3.6.
 */
#include "card/line.h"

#include "base/ct.h"
#include "card/pool.h"
#include "proto/ber.h"

#include <mbedtls/platform.h>
#include <mbedtls/psa_util.h>
#include <ssl_misc.h>
#include <string.h>

/* --- what each profile permits --------------------------------------------------------------- */

static const int suites_tls13[] = {MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
                                   MBEDTLS_TLS1_3_AES_256_GCM_SHA384, 0};
static const int suites_ecdhe[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                   MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0};
static const int suites_rsa[] = {MBEDTLS_TLS_RSA_WITH_AES_128_GCM_SHA256,
                                 MBEDTLS_TLS_RSA_WITH_AES_256_GCM_SHA384, 0};

static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
                                  MBEDTLS_SSL_IANA_TLS_GROUP_NONE};

static const uint16_t signatures_tls13[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256, MBEDTLS_TLS1_3_SIG_NONE};
static const uint16_t signatures_tls12[] = {
    MBEDTLS_SSL_TLS12_SIG_AND_HASH_ALG(MBEDTLS_SSL_SIG_ECDSA, MBEDTLS_SSL_HASH_SHA256),
    MBEDTLS_SSL_TLS12_SIG_AND_HASH_ALG(MBEDTLS_SSL_SIG_ECDSA, MBEDTLS_SSL_HASH_SHA384),
    MBEDTLS_SSL_TLS12_SIG_AND_HASH_ALG(MBEDTLS_SSL_SIG_RSA, MBEDTLS_SSL_HASH_SHA256),
    MBEDTLS_SSL_TLS12_SIG_AND_HASH_ALG(MBEDTLS_SSL_SIG_RSA, MBEDTLS_SSL_HASH_SHA384),
    MBEDTLS_TLS_SIG_NONE};

/* SHA-2, P-256, RSA of 2048 bits and more. */
static const mbedtls_x509_crt_profile certificates = {
    .allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) |
                   MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
                   MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
    .allowed_pks = MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSA) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA) |
                   MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY),
    .allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1),
    .rsa_min_bitlen = 2048,
};

static void conf_profile(struct line *line)
{
    mbedtls_ssl_config *conf = &line->conf;
    bool tls13 = line->profile == LINK_PROFILE_TLS13;
    mbedtls_ssl_protocol_version version =
        tls13 ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2;
    mbedtls_ssl_conf_min_tls_version(conf, version);
    mbedtls_ssl_conf_max_tls_version(conf, version);
    mbedtls_ssl_conf_ciphersuites(conf, tls13                                 ? suites_tls13
                                        : line->profile == LINK_PROFILE_ECDHE ? suites_ecdhe
                                                                              : suites_rsa);
    mbedtls_ssl_conf_groups(conf, groups);
    mbedtls_ssl_conf_sig_algs(conf, tls13 ? signatures_tls13 : signatures_tls12);
    mbedtls_ssl_conf_cert_profile(conf, &certificates);
    if (tls13) {
        mbedtls_ssl_conf_tls13_key_exchange_modes(
            conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
        /* Without the signal a ticket in the middle of reading looks like nothing at all. */
        mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
            conf, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
    }
    /* TLS 1.2 resumes by session id, at a server that keeps state: a stateless ticket would carry
     * the card's certificate over the slow wire and back. */
    mbedtls_ssl_conf_session_tickets(conf, tls13 ? MBEDTLS_SSL_SESSION_TICKETS_ENABLED
                                                 : MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_extended_master_secret(conf, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
}

/* --- names ----------------------------------------------------------------------------------- */

static bool host_valid(const uint8_t *host, size_t len)
{
    if (len == 0 || len > LINK_HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((host[i] >= 'a' && host[i] <= 'z') || (host[i] >= '0' && host[i] <= '9') ||
              host[i] == '-' || host[i] == '.'))
            return false;
    return host[0] != '.' && host[len - 1] != '.';
}

enum cw_err line_name_parse(const uint8_t *data, size_t len, struct line_name *out)
{
    struct line_name n;
    struct ber_object o;
    struct buf_reader r;
    memset(&n, 0, sizeof n);
    buf_reader_init(&r, data, len);
    while (ber_next(&r, &o)) {
        if (o.tag == LINK_TAG_NAME && host_valid(o.value, o.len) && n.host[0] == '\0') {
            memcpy(n.host, o.value, o.len);
        } else if (o.tag == LINK_TAG_NAME_PROFILES && o.len == 1 && n.profiles == 0) {
            n.profiles = o.value[0];
        } else if (o.tag == LINK_TAG_NAME_ALPN && o.len >= 1 && o.len <= LINE_ALPN_MAX &&
                   n.alpn[0] == '\0' && memchr(o.value, '\0', o.len) == NULL) {
            memcpy(n.alpn, o.value, o.len);
        } else {
            return CW_ERR_FORMAT;
        }
    }
    if (r.bad || n.host[0] == '\0' || n.profiles == 0 || n.profiles >> LINK_PROFILE_COUNT != 0)
        return CW_ERR_FORMAT;
    *out = n;
    return CW_OK;
}

/* --- the engine's I/O: the command's bytes ---------------------------------------------------- */

static int net_send(void *ctx, const unsigned char *data, size_t len)
{
    struct line *line = ctx;
    size_t room = line->out != NULL ? buf_room(line->out) : 0;
    size_t n = len < room ? len : room;
    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_WRITE;
    buf_put_bytes(line->out, data, n);
    line_watch_sent(line, data, n);
    return (int)n;
}

static int net_receive(void *ctx, unsigned char *data, size_t len)
{
    struct line *line = ctx;
    size_t have = line->in != NULL ? line->in->left : 0;
    size_t n = len < have ? len : have;
    if (n == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    memcpy(data, buf_get_bytes(line->in, n), n);
    return (int)n;
}

/* --- life ------------------------------------------------------------------------------------- */

enum cw_err line_der(const struct line *line, uint16_t key, unsigned char **der, size_t *len)
{
    *der = NULL;
    enum cw_err err = nvm_size(line->nvm, key, len);
    if (err != CW_OK)
        return err;
    *der = mbedtls_calloc(1, *len);
    if (*der == NULL)
        return CW_ERR_SPACE;
    err = nvm_read(line->nvm, key, 0, *der, *len, len);
    if (err != CW_OK) {
        mbedtls_free(*der);
        *der = NULL;
    }
    return err;
}

/* Parses a certificate from the card's memory into `crt`. */
static enum cw_err load_certificate(const struct line *line, uint16_t key, mbedtls_x509_crt *crt)
{
    unsigned char *der;
    size_t len = 0;
    enum cw_err err = line_der(line, key, &der, &len);
    if (err != CW_OK)
        return err;
    if (mbedtls_x509_crt_parse_der(crt, der, len) != 0)
        err = CW_ERR_INTERNAL; /* it parsed when it was written */
    mbedtls_free(der);
    return err;
}

static enum cw_err load_own(struct line *line)
{
    return load_certificate(line, (uint16_t)(LINK_DO_CERT | line->key), &line->own);
}

/* Root `i` into `crt`, which is empty, if it has the name of who issued `child`: a CA writes it the
 * same way in both (RFC 5280 §4.1.2.6). CW_ERR_NOT_FOUND, CW_ERR_SPACE, CW_ERR_IO. */
static enum cw_err load_root(const struct line *line, unsigned i, const mbedtls_x509_crt *child,
                             mbedtls_x509_crt *crt)
{
    enum cw_err err = load_certificate(line, (uint16_t)(LINK_DO_ROOT | i), crt);
    if (err == CW_OK && (crt->subject_raw.len != child->issuer_raw.len ||
                         memcmp(crt->subject_raw.p, child->issuer_raw.p, crt->subject_raw.len)))
        err = CW_ERR_NOT_FOUND;
    if (err != CW_OK)
        mbedtls_x509_crt_free(crt);
    return err;
}

static bool signed_by(const mbedtls_x509_crt *child, mbedtls_x509_crt *root)
{
    uint8_t hash[PSA_HASH_MAX_SIZE];
    const mbedtls_md_info_t *md = mbedtls_md_info_from_type(child->sig_md);
    return md != NULL && mbedtls_md(md, child->tbs.p, child->tbs.len, hash) == 0 &&
           mbedtls_pk_verify_ext(child->sig_pk, child->sig_opts, &root->pk, child->sig_md, hash,
                                 mbedtls_md_get_size(md), child->sig.p, child->sig.len) == 0;
}

/* Gives the engine, which checks it and frees it, the root that may have issued `child`: one at
 * most, because two may not fit the pool. Of several with that name, as a CA has them while it
 * changes its key, the one whose key made the signature. */
static int find_roots(void *ctx, const mbedtls_x509_crt *child, mbedtls_x509_crt **list)
{
    struct line *line = ctx;
    unsigned named = 0;
    enum cw_err err = CW_ERR_NOT_FOUND;
    mbedtls_x509_crt *root = mbedtls_calloc(1, sizeof *root);
    *list = NULL;
    /* Around twice: who has the name, and then which. */
    for (unsigned i = 0; root != NULL && i < 2 * LINK_ROOT_MAX; i++) {
        err = load_root(line, i % LINK_ROOT_MAX, child, root);
        if (err != CW_OK && err != CW_ERR_NOT_FOUND)
            break;
        if (err == CW_OK && i < LINK_ROOT_MAX)
            named++;
        else if (err == CW_OK && (named == 1 || signed_by(child, root))) {
            *list = root;
            return 0;
        }
        mbedtls_x509_crt_free(root);
    }
    mbedtls_free(root);
    if (root != NULL && (err == CW_OK || err == CW_ERR_NOT_FOUND))
        return 0;
    line->reason = pool_was_short() ? LINK_REASON_MEMORY : LINK_REASON_INTERNAL;
    return MBEDTLS_ERR_X509_FATAL_ERROR;
}

static enum cw_err load_material(struct line *line)
{
    enum cw_err err = load_own(line);
    bool any = false;
    for (uint16_t i = 0; i < LINK_ROOT_MAX; i++)
        any = nvm_size(line->nvm, (uint16_t)(LINK_DO_ROOT | i), &(size_t){0}) == CW_OK || any;
    if (err != CW_OK || !any)
        return err != CW_OK ? err : CW_ERR_NOT_FOUND;
    int ret = mbedtls_pk_setup_opaque(&line->pk, line->key);
    (void)psa_purge_key(line->key); /* its copy in the pool, until the signature */
    return ret == 0 ? CW_OK : CW_ERR_CRYPTO;
}

enum cw_err line_start(struct line *line, const struct nvm *nvm)
{
    mbedtls_ssl_init(&line->ssl);
    mbedtls_ssl_config_init(&line->conf);
    mbedtls_x509_crt_init(&line->own);
    mbedtls_pk_init(&line->pk);
    line->engine = true;
    line->nvm = nvm;
    line->alert_in = -1;
    line->alert_out = -1;
    pool_watch();
    enum cw_err err = load_material(line);
    if (err != CW_OK)
        goto fail;
    err = CW_ERR_INTERNAL;
    if (mbedtls_ssl_config_defaults(&line->conf, MBEDTLS_SSL_IS_CLIENT,
                                    MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        goto fail;
    conf_profile(line);
    mbedtls_ssl_conf_rng(&line->conf, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
    mbedtls_ssl_conf_authmode(&line->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_cb(&line->conf, find_roots, line);
    mbedtls_ssl_conf_verify(&line->conf, line_verify, line);
    line->alpn[0] = line->name.alpn[0] != '\0' ? line->name.alpn : NULL;
    line->alpn[1] = NULL;
    if (mbedtls_ssl_conf_own_cert(&line->conf, &line->own, &line->pk) != 0 ||
        (line->alpn[0] != NULL && mbedtls_ssl_conf_alpn_protocols(&line->conf, line->alpn) != 0) ||
        mbedtls_ssl_setup(&line->ssl, &line->conf) != 0 ||
        mbedtls_ssl_set_hostname(&line->ssl, line->name.host) != 0)
        goto fail;
    line->session.ends = line_not_after(&line->own);
    err = line_session_offer(line);
    mbedtls_x509_crt_free(&line->own); /* until it is sent */
    if (err != CW_OK)
        goto fail;
    mbedtls_ssl_set_bio(&line->ssl, line, net_send, net_receive, NULL);
    line->phase = LINE_HANDSHAKE;
    return CW_OK;
fail:
    line_drop(line);
    return pool_was_short() ? CW_ERR_SPACE : err;
}

/* Gives the engine's memory back, keys wiped; what INFO tells stays. */
static void engine_free(struct line *line)
{
    if (!line->engine)
        return;
    mbedtls_ssl_free(&line->ssl);
    mbedtls_ssl_config_free(&line->conf);
    mbedtls_x509_crt_free(&line->own);
    mbedtls_pk_free(&line->pk);
    line->engine = false;
}

void line_drop(struct line *line)
{
    engine_free(line);
    ct_wipe(line, sizeof *line);
}

/* --- running -----------------------------------------------------------------------------------
 */

/* Which alert the engine has sent, if any. Under keys the record is already encrypted: then only
 * what the engine has kept, or what the reason implies, tells. */
static void note_alert_out(struct line *line)
{
    const mbedtls_ssl_context *ssl = &line->ssl;
    if (ssl->out_msgtype != MBEDTLS_SSL_MSG_ALERT)
        return;
    if (line->reason == LINK_REASON_NONE)
        line->alert_out = MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY;
    else if (ssl->alert_type != 0)
        line->alert_out = ssl->alert_type;
    else if (ssl->transform_out == NULL)
        line->alert_out = ssl->out_msg[1];
    else if (line->reason == LINK_REASON_RECORD)
        line->alert_out = MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC;
    else
        return;
    line_event(line, LINK_EVENT_ALERT_OUT, (uint8_t)line->alert_out, 2, 0, 0);
}

/* The line is dead. What it was is kept for INFO; an alert may still be waiting to leave. */
static void die(struct line *line, enum link_reason reason)
{
    line->reason = reason;
    line->bound = false;
    ct_wipe(line->binding, sizeof line->binding);
    note_alert_out(line);
    line->phase = LINE_OVER;
    if (line->ssl.out_left == 0)
        engine_free(line);
}

static void refuse(struct line *line, enum link_reason reason, unsigned char alert)
{
    (void)mbedtls_ssl_send_alert_message(&line->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert);
    line->ssl.alert_type = alert;
    die(line, reason);
}

static void fail(struct line *line, int ret, int state)
{
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && line->ssl.in_msg != NULL) {
        line->alert_in = line->ssl.in_msg[1];
        line_event(line, LINK_EVENT_ALERT_IN, line->ssl.in_msg[1], line->ssl.in_msg[0], 0, 0);
    }
    die(line, line_reason_of(line, ret, state));
}

/* Did the server pass the point where it has to have asked for our certificate, without asking? In
 * a line that goes on from another it asked there, or there would be no session. */
static bool not_asked(const struct line *line)
{
    const mbedtls_ssl_context *ssl = &line->ssl;
    if (ssl->handshake == NULL || ssl->handshake->client_auth || line->session.resumed)
        return false;
    if (line->profile == LINK_PROFILE_TLS13)
        return ssl->state == MBEDTLS_SSL_SERVER_CERTIFICATE ||
               ssl->state == MBEDTLS_SSL_SERVER_FINISHED;
    return ssl->state >= MBEDTLS_SSL_SERVER_HELLO_DONE && ssl->state <= MBEDTLS_SSL_CLIENT_FINISHED;
}

/* A point comes uncompressed and says so (RFC 8446 §4.2.8.2, RFC 8422 §5.4.1). p256-m checks that
 * the server's point is on the curve, but does not read the byte before it. */
static bool point_mislabelled(const struct line *line)
{
    const mbedtls_ssl_handshake_params *hs = line->ssl.handshake;
    return hs != NULL && hs->xxdh_psa_peerkey_len > 0 && hs->xxdh_psa_peerkey[0] != 0x04;
}

/* The handshake is finished: take what binds orders to this line. On TLS 1.2 only with an extended
 * master secret, without which the exporter's value could be made equal on two lines (RFC 7627 §1).
 */
static void opened(struct line *line, bool extended)
{
    if (!hard_is_yes(&line->trusted) || !mbedtls_ssl_is_handshake_over(&line->ssl)) {
        refuse(line, LINK_REASON_INTERNAL, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR);
        return;
    }
    line->phase = LINE_OPEN;
    if (extended && mbedtls_ssl_export_keying_material(
                        &line->ssl, line->binding, sizeof line->binding, LINK_EXPORTER_LABEL,
                        sizeof LINK_EXPORTER_LABEL - 1, NULL, 0, 0) == 0)
        line->bound = true;
    /* TLS 1.3 has its session when a ticket comes. */
    if (extended && line->profile != LINK_PROFILE_TLS13)
        line_session_keep(line);
}

/* What a step needs of the pool it gets just then, and what was needed before it goes: our own
 * certificate is there while it is sent, and none is while the card signs, which with an RSA key
 * takes more than any other step. */
static enum cw_err make_room(struct line *line)
{
    mbedtls_ssl_session *session = line->ssl.session_negotiate;
    if (line->ssl.state == MBEDTLS_SSL_CLIENT_CERTIFICATE)
        return line->own.raw.p == NULL && line->ssl.handshake->client_auth ? load_own(line) : CW_OK;
    if (line->ssl.state != (line->profile == LINK_PROFILE_TLS13
                                ? MBEDTLS_SSL_CLIENT_CERTIFICATE_VERIFY
                                : MBEDTLS_SSL_CERTIFICATE_VERIFY))
        return CW_OK;
    mbedtls_x509_crt_free(&line->own);
    if (session != NULL && session->peer_cert != NULL) {
        mbedtls_x509_crt_free(session->peer_cert);
        mbedtls_free(session->peer_cert);
        session->peer_cert = NULL;
    }
    return CW_OK;
}

/* One step of the handshake. Returns false when it cannot go on now. */
static bool handshake_step(struct line *line)
{
    mbedtls_ssl_context *ssl = &line->ssl;
    int before = ssl->state;
    bool extended =
        line->profile == LINK_PROFILE_TLS13 ||
        (ssl->handshake != NULL && ssl->handshake->extended_ms == MBEDTLS_SSL_EXTENDED_MS_ENABLED);
    if (!ssl->send_alert) /* one that waits to be sent has its reason */
        pool_watch();
    if (make_room(line) != CW_OK) {
        refuse(line, pool_was_short() ? LINK_REASON_MEMORY : LINK_REASON_INTERNAL,
               MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR);
        return false;
    }
    int ret = mbedtls_ssl_handshake_step(ssl);
    /* The alert is made and waits for room, the engine would make it again. */
    if (ret == MBEDTLS_ERR_SSL_WANT_WRITE && ssl->send_alert) {
        ssl->send_alert = 0;
        ret = ssl->alert_reason;
    }
    if (ret == MBEDTLS_ERR_SSL_WANT_READ || ret == MBEDTLS_ERR_SSL_WANT_WRITE)
        return false;
    if (ret != 0) {
        fail(line, ret, before);
        return false;
    }
    if (ssl->state != before) {
        if (before == MBEDTLS_SSL_SERVER_HELLO && !line_session_answered(line)) {
            refuse(line, LINK_REASON_PROTOCOL, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
            return false;
        }
        line_watch_step(line, before, ssl->state);
    }
    /* The engine has refused already; this is for whoever made it skip that. */
    if (before == MBEDTLS_SSL_SERVER_CERTIFICATE && ssl->state != before &&
        !hard_is_yes(&line->trusted)) {
        refuse(line, LINK_REASON_UNTRUSTED, MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
        return false;
    }
    if (not_asked(line)) {
        refuse(line, LINK_REASON_NO_CLIENT_AUTH, MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
        return false;
    }
    if (point_mislabelled(line)) {
        refuse(line, LINK_REASON_PROTOCOL, MBEDTLS_SSL_ALERT_MSG_ILLEGAL_PARAMETER);
        return false;
    }
    if (mbedtls_ssl_is_handshake_over(ssl))
        opened(line, extended);
    /* The engine does not ask of every hash that it computes whether it could. */
    if (pool_was_short()) {
        refuse(line, LINK_REASON_MEMORY, MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR);
        return false;
    }
    return true;
}

/* Takes the next record, unless plaintext is waiting to be read. Returns false when done for now.
 */
static bool record_step(struct line *line)
{
    if (mbedtls_ssl_get_bytes_avail(&line->ssl) > 0)
        return false;
    pool_watch();
    int ret = mbedtls_ssl_read(&line->ssl, NULL, 0);
    if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
        line_session_keep(line); /* now: the card may be torn out before the line is closed */
        return true;
    }
    /* A ticket has been read but not yet handled: the engine says WANT_READ and needs no input. */
    if (ret == MBEDTLS_ERR_SSL_WANT_READ &&
        line->ssl.state == MBEDTLS_SSL_TLS1_3_NEW_SESSION_TICKET)
        return true;
    if (ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        line->alert_in = MBEDTLS_SSL_ALERT_MSG_CLOSE_NOTIFY;
        (void)mbedtls_ssl_close_notify(&line->ssl);
        die(line, LINK_REASON_NONE);
        return false;
    }
    if (ret < 0 && ret != MBEDTLS_ERR_SSL_WANT_READ && ret != MBEDTLS_ERR_SSL_WANT_WRITE) {
        fail(line, ret, MBEDTLS_SSL_HANDSHAKE_OVER);
        return false;
    }
    return ret == 0;
}

/* Sends what waits. Returns false when it did not all fit. */
static bool flush(struct line *line)
{
    if (!line->engine)
        return true;
    if (line->ssl.out_left > 0 && mbedtls_ssl_flush_output(&line->ssl) != 0)
        return false;
    if (line->phase == LINE_OVER)
        engine_free(line);
    return true;
}

void line_run(struct line *line, struct buf_reader *in, struct buf_writer *out)
{
    line->in = in;
    line->out = out;
    bool more = flush(line);
    while (more) {
        if (line->phase == LINE_HANDSHAKE)
            more = handshake_step(line);
        else if (line->phase == LINE_OPEN)
            more = record_step(line);
        else
            more = false;
    }
    line->in = NULL;
    line->out = NULL;
}

enum cw_err line_write(struct line *line, const uint8_t *data, size_t len, struct buf_writer *out)
{
    if (line->ssl.out_left > 0)
        return CW_ERR_STATE;
    line->out = out;
    pool_watch();
    int ret = mbedtls_ssl_write(&line->ssl, data, len);
    line->out = NULL;
    /* WANT_WRITE: the record is made and waits in the engine; the plaintext has been taken. */
    if (ret == MBEDTLS_ERR_SSL_WANT_WRITE)
        return CW_OK;
    if (ret < 0)
        fail(line, ret, MBEDTLS_SSL_HANDSHAKE_OVER);
    else if ((size_t)ret != len)
        return CW_ERR_INTERNAL; /* the caller keeps below one record */
    return CW_OK;
}

size_t line_read(struct line *line, uint8_t *out, size_t cap)
{
    if (line->phase != LINE_OPEN || mbedtls_ssl_get_bytes_avail(&line->ssl) == 0 || cap == 0)
        return 0;
    int ret = mbedtls_ssl_read(&line->ssl, out, cap);
    return ret > 0 ? (size_t)ret : 0;
}

void line_close(struct line *line, struct buf_writer *out)
{
    line->out = out;
    if (line->phase == LINE_OPEN) {
        (void)mbedtls_ssl_close_notify(&line->ssl);
        die(line, LINK_REASON_NONE);
    } else if (line->phase == LINE_HANDSHAKE) {
        refuse(line, LINK_REASON_EOF, MBEDTLS_SSL_ALERT_MSG_USER_CANCELED);
    }
    (void)flush(line);
    line->out = NULL;
}

void line_net_ended(struct line *line)
{
    if (line->phase != LINE_HANDSHAKE && line->phase != LINE_OPEN)
        return;
    /* Nothing can be sent any more. A line cut without close_notify is an error: what was read may
     * not be all (RFC 8446 §6.1). */
    line->ssl.out_left = 0;
    line->ssl.out_msgtype = 0;
    die(line, LINK_REASON_EOF);
}

/* --- what it tells ------------------------------------------------------------------------------
 */

uint8_t line_state(const struct line *line)
{
    uint8_t s = 0;
    bool waiting = line->engine && line->ssl.out_left > 0;
    if (waiting)
        s |= LINK_STATE_OUT;
    switch (line->phase) {
    case LINE_HANDSHAKE:
        if (!waiting)
            s |= LINK_STATE_WANT_IN;
        break;
    case LINE_OPEN:
        s |= LINK_STATE_OPEN;
        if (mbedtls_ssl_get_bytes_avail(&line->ssl) > 0)
            s |= LINK_STATE_DATA;
        else if (!waiting)
            s |= LINK_STATE_WANT_IN;
        break;
    case LINE_OVER:
    case LINE_NONE:
        s |= line->reason == LINK_REASON_NONE ? LINK_STATE_CLOSED : LINK_STATE_ERROR;
        break;
    }
    return s;
}

bool line_binding(const struct line *line, uint8_t out[LINK_BINDING_LEN])
{
    if (line->phase != LINE_OPEN || !line->bound)
        return false;
    memcpy(out, line->binding, LINK_BINDING_LEN);
    return true;
}

void line_info_put(const struct line *line, struct buf_writer *out)
{
    ber_put_u8(out, LINK_TAG_STATE, line_state(line));
    ber_put_u8(out, LINK_TAG_PROFILE, (uint8_t)line->profile);
    ber_put_u8(out, LINK_TAG_REASON, (uint8_t)line->reason);
    if (line->phase == LINE_NONE)
        return;
    if (line->phase == LINE_OPEN) {
        ber_put_header(out, LINK_TAG_SUITE, 2);
        buf_put_u16(out, (uint16_t)mbedtls_ssl_get_ciphersuite_id_from_ssl(&line->ssl));
        ber_put_header(out, LINK_TAG_TLS, 2);
        buf_put_u16(out, (uint16_t)line->ssl.tls_version);
        ber_put(out, LINK_TAG_PEER, line->name.host, strlen(line->name.host));
        ber_put(out, LINK_TAG_PEER_SHA256, line->peer_sha256, sizeof line->peer_sha256);
    }
    if (line->alert_in >= 0)
        ber_put_u8(out, LINK_TAG_ALERT_IN, (uint8_t)line->alert_in);
    if (line->alert_out >= 0)
        ber_put_u8(out, LINK_TAG_ALERT_OUT, (uint8_t)line->alert_out);
    ber_put_u8(out, LINK_TAG_KEY, (uint8_t)line->key);
    ber_put_u8(out, LINK_TAG_BINDING, line->bound);
    ber_put_u8(out, LINK_TAG_RESUMED, line->session.resumed);
}
