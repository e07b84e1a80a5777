/* line_verify.c - what the card checks of a server's certificate beyond the engine, and what it
 * calls each failure. The engine lets an absent extended key usage and a CA as leaf pass; the card
 * has no clock, only a floor of time. */
#include "card/line.h"

#include "base/cal.h"
#include "card/pool.h"

#include <mbedtls/oid.h>
#include <ssl_misc.h>
#include <string.h>

int64_t line_not_after(const mbedtls_x509_crt *crt)
{
    const mbedtls_x509_time *t = &crt->valid_to;
    int64_t end = 0;
    struct cal_time c = {t->year, t->mon, t->day, t->hour, t->min, t->sec};
    return cal_to_unix(&c, &end) == CW_OK ? end : INT64_MIN;
}

/* Has the certificate ended before the card's floor? Not-yet-valid cannot be told by a floor. A
 * session of this line ends with the first certificate of its chain. */
static bool expired(struct line *line, const mbedtls_x509_crt *crt)
{
    int64_t end = line_not_after(crt);
    if (end < line->session.ends)
        line->session.ends = end;
    return end < line->time;
}

/* serverAuth itself (RFC 5280 §4.2.1.12): absent, or "any", is not enough. */
static bool has_server_auth(const mbedtls_x509_crt *crt)
{
    if (!(crt->ext_types & MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE))
        return false;
    for (const mbedtls_x509_sequence *s = &crt->ext_key_usage; s != NULL; s = s->next)
        if (MBEDTLS_OID_CMP(MBEDTLS_OID_SERVER_AUTH, &s->buf) == 0)
            return true;
    return false;
}

static bool same_name(const uint8_t *name, const char *host, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = name[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + ('a' - 'A'));
        if (c != (uint8_t)host[i])
            return false;
    }
    return true;
}

/* The very name, among the DNS names of the certificate (RFC 9525 §6.3). No wildcards, and no
 * common name in their place: the engine takes both. */
static bool has_name(const mbedtls_x509_crt *crt, const char *host)
{
    const int dns_name = MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_X509_SAN_DNS_NAME;
    size_t len = strlen(host);
    if (!(crt->ext_types & MBEDTLS_X509_EXT_SUBJECT_ALT_NAME))
        return false;
    for (const mbedtls_x509_sequence *s = &crt->subject_alt_names; s != NULL; s = s->next)
        if (s->buf.tag == dns_name && s->buf.len == len && same_name(s->buf.p, host, len))
            return true;
    return false;
}

static bool signs_certificates(const mbedtls_x509_crt *crt)
{
    const unsigned signs = MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN;
    return crt->ca_istrue ||
           ((crt->ext_types & MBEDTLS_X509_EXT_KEY_USAGE) != 0 && (crt->key_usage & signs) != 0);
}

/* Name constraints (RFC 5280 §4.2.1.10) are not evaluated by the engine, critical or not: who
 * carries them may not stand above a server here. Looks for the identifier anywhere in the
 * extensions. */
static bool has_name_constraints(const mbedtls_x509_crt *crt)
{
    static const uint8_t id[] = {0x06, 0x03, 0x55, 0x1D, 0x1E};
    for (size_t i = 0; i + sizeof id <= crt->v3_ext.len; i++)
        if (memcmp(crt->v3_ext.p + i, id, sizeof id) == 0)
            return true;
    return false;
}

static void found(struct line *line, enum link_reason reason, uint32_t *flags)
{
    if (line->reason == LINK_REASON_NONE)
        line->reason = reason;
    *flags |= MBEDTLS_X509_BADCERT_OTHER;
}

/* A signature of which the engine could not tell, for want of room, is to it a wrong one. */
static enum link_reason untrusted(void)
{
    return pool_was_short() ? LINK_REASON_MEMORY : LINK_REASON_UNTRUSTED;
}

/* The engine's findings, in the order in which a person should hear of them. */
static enum link_reason reason_of_flags(uint32_t flags)
{
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
        return untrusted();
    if (flags &
        (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY))
        return LINK_REASON_WEAK;
    if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
        return LINK_REASON_NAME;
    if (flags & MBEDTLS_X509_BADCERT_KEY_USAGE)
        return LINK_REASON_KEY_USAGE;
    if (flags & (MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_NS_CERT_TYPE))
        return LINK_REASON_NO_SERVER_AUTH;
    return flags != 0 ? LINK_REASON_CERTIFICATE : LINK_REASON_NONE;
}

/* Everything that is to be said against a certificate of the chain. */
HARD_DECIDES static void look(struct line *line, const mbedtls_x509_crt *crt, int depth,
                              uint32_t *flags)
{
    /* The engine calls from the root down to the leaf: the first finding is the nearest the root.
     */
    if ((*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0)
        found(line, untrusted(), flags);
    if (expired(line, crt) && *flags == 0)
        found(line, LINK_REASON_EXPIRED, flags);
    if (depth != 0) {
        if (has_name_constraints(crt))
            found(line, LINK_REASON_UNTRUSTED, flags);
        if ((crt->ext_types & MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE) && !has_server_auth(crt))
            found(line, LINK_REASON_NO_SERVER_AUTH, flags);
        return;
    }
    if (*flags & ~(uint32_t)MBEDTLS_X509_BADCERT_OTHER)
        found(line, reason_of_flags(*flags & ~(uint32_t)MBEDTLS_X509_BADCERT_OTHER), flags);
    if (!has_name(crt, line->name.host))
        found(line, LINK_REASON_NAME, flags);
    if (signs_certificates(crt))
        found(line, LINK_REASON_CA_LEAF, flags);
    if (!has_server_auth(crt))
        found(line, LINK_REASON_NO_SERVER_AUTH, flags);
    /* Whether it fits the profile, the engine checks; that it is there, the engine does not. */
    if (!(crt->ext_types & MBEDTLS_X509_EXT_KEY_USAGE))
        found(line, LINK_REASON_KEY_USAGE, flags);
    if (psa_hash_compute(PSA_ALG_SHA_256, crt->raw.p, crt->raw.len, line->peer_sha256,
                         sizeof line->peer_sha256, &(size_t){0}) != PSA_SUCCESS)
        found(line, LINK_REASON_INTERNAL, flags);
}

int line_verify(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct line *line = ctx;
    for (unsigned i = 0; i < HARD_PASSES; i++)
        look(line, crt, depth, flags);
    if (depth != 0)
        return 0;
    if (line->reason == LINK_REASON_NONE && *flags == 0) {
        line->trusted = HARD_YES;
    } else {
        /* Which of the checks it was; the trace shows the one that failed. */
        static const uint8_t check_of[LINK_REASON_COUNT] = {
            [LINK_REASON_UNTRUSTED] = LINK_CHECK_CHAIN,
            [LINK_REASON_WEAK] = LINK_CHECK_CHAIN,
            [LINK_REASON_NAME] = LINK_CHECK_NAME,
            [LINK_REASON_EXPIRED] = LINK_CHECK_DATES,
            [LINK_REASON_CA_LEAF] = LINK_CHECK_USAGE,
            [LINK_REASON_NO_SERVER_AUTH] = LINK_CHECK_USAGE,
            [LINK_REASON_KEY_USAGE] = LINK_CHECK_USAGE,
        };
        uint8_t check = check_of[line->reason];
        line_event(line, LINK_EVENT_CHECKED, check != 0 ? check : LINK_CHECK_CHAIN, 0,
                   (uint8_t)line->reason, 0);
    }
    return 0;
}

/* A record whose header announces more than the buffer holds, or a message in several records that
 * does. What is no TLS record at all announces nothing. */
static bool oversize(const struct line *line)
{
    const mbedtls_ssl_context *ssl = &line->ssl;
    const uint8_t *h = ssl->in_hdr;
    if (h == NULL || h[0] < MBEDTLS_SSL_MSG_CHANGE_CIPHER_SPEC ||
        h[0] > MBEDTLS_SSL_MSG_APPLICATION_DATA || h[1] != 3)
        return false;
    return (size_t)(h[3] << 8 | h[4]) > MBEDTLS_SSL_IN_CONTENT_LEN + 256 ||
           ssl->in_hslen > MBEDTLS_SSL_IN_CONTENT_LEN;
}

static bool malformed_certificate(int ret)
{
    /* Module error codes of X.509 (0x2080..0x2B00) and PK parsing (0x3A00..0x3F00). */
    int high = -ret & 0xFF80;
    return (high >= 0x2080 && high <= 0x2B00) || (high >= 0x3A00 && high <= 0x3F00) ||
           ret == MBEDTLS_ERR_SSL_BAD_CERTIFICATE;
}

enum link_reason line_reason_of(const struct line *line, int ret, int state)
{
    if (line->reason != LINK_REASON_NONE)
        return line->reason;
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        return LINK_REASON_ALERT;
    if (pool_was_short())
        return LINK_REASON_MEMORY;
    if (ret == MBEDTLS_ERR_SSL_INVALID_MAC)
        return LINK_REASON_RECORD;
    if (oversize(line))
        return LINK_REASON_OVERSIZE;
    if (ret == MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE || ret == MBEDTLS_ERR_SSL_DECODE_ERROR ||
        ret == MBEDTLS_ERR_SSL_INVALID_RECORD)
        return LINK_REASON_PROTOCOL;
    uint32_t flags = mbedtls_ssl_get_verify_result(&line->ssl);
    switch (state) {
    case MBEDTLS_SSL_SERVER_HELLO:
        return LINK_REASON_PROFILE;
    case MBEDTLS_SSL_SERVER_CERTIFICATE:
        if (ret == MBEDTLS_ERR_X509_FATAL_ERROR) /* more intermediates than the engine walks */
            return LINK_REASON_UNTRUSTED;
        if (flags != 0 && flags != UINT32_MAX)
            return reason_of_flags(flags);
        return malformed_certificate(ret) ? LINK_REASON_CERTIFICATE : LINK_REASON_PROTOCOL;
    case MBEDTLS_SSL_SERVER_KEY_EXCHANGE:
        return ret == MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER ? LINK_REASON_PROTOCOL
                                                        : LINK_REASON_SIGNATURE;
    case MBEDTLS_SSL_CERTIFICATE_VERIFY:
        return line->profile == LINK_PROFILE_TLS13 ? LINK_REASON_SIGNATURE : LINK_REASON_INTERNAL;
    case MBEDTLS_SSL_SERVER_FINISHED:
        return LINK_REASON_FINISHED;
    default:
        return LINK_REASON_PROTOCOL;
    }
}
