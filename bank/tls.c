#include "bank/tls.h"

#include "bank/ca.h"
#include "bank/log.h"
#include "bank/metrics.h"
#include "bank/renew.h"
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tls *tls_of(const SSL_CTX *ctx)
{
    return SSL_CTX_get_app_data(ctx);
}

/* ---- who may speak ---- */

enum cw_err tls_card_find(struct ledger *l, X509 *leaf, struct ledger_card *out, struct say *why)
{
    unsigned char *der = NULL;
    uint8_t sha256[32];
    struct ledger_certificate *cert = malloc(sizeof *cert);
    int len = i2d_X509(leaf, &der);
    if (cert == NULL || len <= 0) {
        free(cert);
        OPENSSL_free(der);
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    SHA256(der, (size_t)len, sha256);
    OPENSSL_free(der);
    enum cw_err err = ledger_certificate_find(l, sha256, cert, why);
    if (err == CW_OK && cert->kind != LEDGER_CERT_TLS)
        err = say_fail(why, CW_ERR_DENIED, "that certificate is not for lines");
    if (err == CW_OK)
        err = ledger_card_get(l, cert->card, out, why);
    free(cert);
    return err;
}

/* X509 error of the card that a certificate stands for; X509_V_OK when it may speak. OpenSSL turns
 * it into the alert: certificate_revoked, unknown_ca, or internal_error when the ledger failed. */
static int judge_leaf(struct ledger *l, X509 *leaf)
{
    struct say why;
    struct ledger_card card;
    enum cw_err err = tls_card_find(l, leaf, &card, &why);
    if (err == CW_ERR_NOT_FOUND)
        return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    if (err == CW_ERR_DENIED)
        return X509_V_ERR_INVALID_PURPOSE;
    if (err != CW_OK) {
        log_event(LOG_ERROR, "store", log_text("why", why.text));
        return X509_V_ERR_UNSPECIFIED;
    }
    if (card.status == LEDGER_CARD_BLOCKED || card.status == LEDGER_CARD_TERMINATED)
        return X509_V_ERR_CERT_REVOKED;
    return card.status == LEDGER_CARD_ACTIVE ? X509_V_OK : X509_V_ERR_CERT_REJECTED;
}

/* Chain, dates, usages by OpenSSL; then what only the ledger knows. */
static int verify_chain(X509_STORE_CTX *ctx, void *arg)
{
    struct tls *t = arg;
    if (X509_verify_cert(ctx) != 1)
        return 0;
    int error = judge_leaf(t->bank->ledger, X509_STORE_CTX_get0_cert(ctx));
    X509_STORE_CTX_set_error(ctx, error);
    if (error == X509_V_ERR_UNSPECIFIED)
        metrics_store_error(t->metrics, METRICS_HANDSHAKE);
    return error == X509_V_OK;
}

enum cw_err tls_line_get(SSL *ssl, struct ledger *ledger, struct api_line *out, struct say *why)
{
    struct ledger_card card;
    struct api_line line = {0};
    X509 *leaf = SSL_get0_peer_certificate(ssl);
    if (leaf == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
        return say_fail(why, CW_ERR_STATE, "a line without a verified certificate");
    enum cw_err err = tls_card_find(ledger, leaf, &card, why);
    if (err != CW_OK)
        return err;
    memcpy(line.card, card.serial, sizeof line.card);
    line.customer = card.customer;
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;
    line.tls = tls13 ? "1.3" : "1.2";
    line.suite = SSL_CIPHER_standard_name(cipher);
    line.profile = tls13 ? "tls13" : SSL_CIPHER_get_kx_nid(cipher) == NID_kx_rsa ? "rsa" : "ecdhe";
    /* Without extended master secret (RFC 7627) two TLS 1.2 lines can be made to have one exporter
     * value, so nothing can be bound to one of them (RFC 9266 §4.2 on its like). */
    line.bound =
        (tls13 || SSL_get_extms_support(ssl) == 1) &&
        SSL_export_keying_material(ssl, line.binding, sizeof line.binding, LINK_EXPORTER_LABEL,
                                   sizeof LINK_EXPORTER_LABEL - 1, NULL, 0, 0) == 1;
    *out = line;
    return CW_OK;
}

/* ---- sessions ---- */

static int session_new(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = tls_of(SSL_get_SSL_CTX(ssl));
    /* A copy, here and in session_get: OpenSSL marks a connection's own session as spent when the
     * connection ends badly. */
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy != NULL) {
        SSL_SESSION_free(t->sessions[t->next]);
        t->sessions[t->next] = copy;
        t->next = (t->next + 1) % TLS_SESSIONS;
    }
    return 0; /* the reference was not kept */
}

static bool in_date(const struct tls *t, const X509 *cert)
{
    time_t now = (time_t)ledger_now(t->bank->ledger);
    return X509_cmp_time(X509_get0_notAfter(cert), &now) > 0;
}

/* A session stands for a handshake that was once good; the card may have been blocked since, or its
 * certificate have ended, and no certificate is verified when it is resumed. Refusing it here leads
 * to a full handshake, which then fails with the right alert. */
static SSL_SESSION *session_get(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    struct tls *t = tls_of(SSL_get_SSL_CTX(ssl));
    for (size_t i = 0; i < TLS_SESSIONS; i++) {
        unsigned have_len;
        if (t->sessions[i] == NULL)
            continue;
        const unsigned char *have = SSL_SESSION_get_id(t->sessions[i], &have_len);
        if ((int)have_len != len || memcmp(have, id, have_len) != 0)
            continue;
        X509 *leaf = SSL_SESSION_get0_peer(t->sessions[i]);
        if (leaf == NULL || !in_date(t, leaf) || judge_leaf(t->bank->ledger, leaf) != X509_V_OK)
            return NULL;
        *copy = 0; /* it is a new one, and becomes OpenSSL's */
        return SSL_SESSION_dup(t->sessions[i]);
    }
    return NULL;
}

/* ---- the context ---- */

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    /* RFC 7301 §3.2: no protocol in common is fatal. */
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void write_keylog(const SSL *ssl, const char *line)
{
    struct tls *t = tls_of(SSL_get_SSL_CTX(ssl));
    char text[512];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (n > 0 && (size_t)n < sizeof text && file_write_all(t->keylog, text, (size_t)n) != CW_OK)
        log_event(LOG_ERROR, "keylog", log_text("why", strerror(errno)));
}

/* The two keys are apart on purpose: the RSA one takes encrypted secrets and never signs. */
static enum cw_err load_identity(struct tls *t, const char *stem, struct say *why)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    /* That they fit comes first: a certificate takes the key away that is there and does not fit
     * it. */
    enum cw_err err = bank_pair_load(t->bank, stem, &cert, &key, why);
    if (err == CW_OK && !in_date(t, cert))
        err = say_fail(why, CW_ERR_STATE,
                       "the server certificate %s.pem has expired: cards would refuse it", stem);
    if (err == CW_OK &&
        (SSL_CTX_use_certificate(t->ctx, cert) != 1 || SSL_CTX_use_PrivateKey(t->ctx, key) != 1))
        err = ca_fail(why, stem);
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

static bool set_algorithms(SSL_CTX *ctx)
{
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:"
                                        "ECDHE-ECDSA-AES256-GCM-SHA384:"
                                        "AES128-GCM-SHA256:AES256-GCM-SHA384") == 1 &&
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384") == 1 &&
           SSL_CTX_set1_groups_list(ctx, "P-256:X25519") == 1 &&
           /* What the server itself may sign with. OpenSSL wants an RSA scheme in common even for a
            * suite whose RSA key only decrypts; this one cannot sign in TLS 1.3, and in TLS 1.2 no
            * suite above lets it. */
           SSL_CTX_set1_sigalgs_list(ctx, "ECDSA+SHA256:RSA+SHA256") == 1 &&
           SSL_CTX_set1_client_sigalgs_list(ctx, "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256") == 1;
}

static enum cw_err trust(struct tls *t, const char *stem, struct say *why)
{
    X509 *cert = NULL;
    enum cw_err err = bank_certificate_load(t->bank, stem, &cert, why);
    if (err == CW_OK && X509_STORE_add_cert(SSL_CTX_get_cert_store(t->ctx), cert) != 1)
        err = ca_fail(why, "cannot use the cards' root, or the CA that issues them");
    X509_free(cert);
    return err;
}

/* A card sends its own certificate alone: each byte is slow. So the CA between it and the root must
 * be here; a chain still has to end at the root. */
static enum cw_err set_trust(struct tls *t, struct say *why)
{
    enum cw_err err = trust(t, BANK_FILE_CARD_ROOT, why);
    if (err == CW_OK && strcmp(t->bank->card_issuer, BANK_FILE_CARD_ROOT) != 0)
        err = trust(t, t->bank->card_issuer, why);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(t->ctx, verify_chain, t);
    return err;
}

static void set_sessions(struct tls *t)
{
    static const unsigned char id[] = "cardwired";
    /* NO_TICKET: stateful in TLS 1.3 as well. A stateless ticket would carry the card's whole
     * certificate back and forth, and cost more than a full handshake. */
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE |
                                    /* a card torn out is no attack: HTTP's lengths tell a cut
                                     * message, and the session stays good */
                                    SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(t->ctx, 1);
    SSL_CTX_set_session_id_context(t->ctx, id, sizeof id - 1);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_timeout(t->ctx, TLS_SESSION_SECONDS);
    SSL_CTX_sess_set_new_cb(t->ctx, session_new);
    SSL_CTX_sess_set_get_cb(t->ctx, session_get);
}

static enum cw_err set_keylog(struct tls *t, const char *path, struct say *why)
{
    if (path == NULL)
        return CW_OK;
    t->keylog = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (t->keylog < 0)
        return say_fail(why, CW_ERR_IO, "cannot write the key log %s: %s", path, strerror(errno));
    SSL_CTX_set_keylog_callback(t->ctx, write_keylog);
    return CW_OK;
}

/* Both, also when one fails: its old one stays. */
static enum cw_err load_identities(struct tls *t, struct say *why)
{
    struct say second = {""};
    enum cw_err err = load_identity(t, t->bank->server.ec, why);
    enum cw_err rsa = load_identity(t, t->bank->server.rsa, &second);
    return err == CW_OK && rsa != CW_OK ? say_fail(why, rsa, "%s", second.text) : err;
}

enum cw_err tls_renew(struct tls *t, unsigned *renewed, struct say *why)
{
    struct say loading = {""};
    enum cw_err err = renew_server(t->bank, renewed, why);
    enum cw_err loaded = load_identities(t, &loading);
    if (loaded == CW_OK)
        return err;
    return say_fail(why, loaded, "%s", loading.text);
}

enum cw_err tls_new(struct bank *bank, const char *insecure_keylog, struct tls **out,
                    struct say *why)
{
    enum cw_err err = CW_OK;
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    t->bank = bank;
    t->keylog = -1;
    t->ctx = SSL_CTX_new(TLS_server_method());
    if (t->ctx == NULL || !set_algorithms(t->ctx))
        err = ca_fail(why, "this OpenSSL cannot do what the bank needs");
    if (err == CW_OK)
        err = load_identities(t, why);
    if (err == CW_OK)
        err = set_trust(t, why);
    if (err == CW_OK)
        err = set_keylog(t, insecure_keylog, why);
    if (err != CW_OK) {
        tls_free(&t);
        return err;
    }
    SSL_CTX_set_app_data(t->ctx, t);
    set_sessions(t);
    /* The chain is the leaf alone: cards hold the root. */
    SSL_CTX_set_mode(t->ctx, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_send_fragment(t->ctx, TLS_RECORD_MAX);
    SSL_CTX_set_alpn_select_cb(t->ctx, choose_alpn, NULL);
    *out = t;
    return CW_OK;
}

void tls_free(struct tls **tls)
{
    struct tls *t = *tls;
    if (t == NULL)
        return;
    for (size_t i = 0; i < TLS_SESSIONS; i++)
        SSL_SESSION_free(t->sessions[i]);
    SSL_CTX_free(t->ctx);
    if (t->keylog >= 0)
        close(t->keylog);
    free(t);
    *tls = NULL;
}
