/* line_watch.c - the handshake as the card saw it: each message with its size and each check with
 * its result, for `cardwire trace`. Sizes and types only; never contents. */
#include "card/line.h"

#include <ssl_misc.h>
#include <string.h>

#define RECORD_HEADER    5u
#define TYPE_CCS         20
#define TYPE_ALERT       21
#define TYPE_HANDSHAKE   22
#define TYPE_APPLICATION 23

void line_event(struct line *line, enum link_event_kind kind, uint8_t code, size_t length,
                uint8_t result, uint8_t flags)
{
    if (line->event_count == LINE_EVENTS_MAX)
        return;
    line->events[line->event_count++] = (struct line_event){
        .kind = (uint8_t)kind,
        .code = code,
        .length = (uint16_t)(length > 0xFFFF ? 0xFFFF : length),
        .result = result,
        .flags = flags,
    };
}

void line_events_put(const struct line *line, unsigned first, struct buf_writer *out)
{
    for (unsigned i = first; i < line->event_count; i++) {
        const struct line_event *e = &line->events[i];
        buf_put_u8(out, e->kind);
        buf_put_u8(out, e->code);
        buf_put_u16(out, e->length);
        buf_put_u8(out, e->result);
        buf_put_u8(out, e->flags);
    }
}

/* Messages that travel under keys, in the order in which a client sends them. */
static uint8_t type_under_keys(struct line *line)
{
    static const uint8_t tls13[] = {MBEDTLS_SSL_HS_CERTIFICATE, MBEDTLS_SSL_HS_CERTIFICATE_VERIFY,
                                    MBEDTLS_SSL_HS_FINISHED};
    uint8_t n = line->sent_under_keys++;
    if (line->profile != LINK_PROFILE_TLS13 || line->session.resumed)
        return MBEDTLS_SSL_HS_FINISHED;
    return n < sizeof tls13 ? tls13[n] : 0;
}

/* One record's header and first byte are known. */
static void record_begins(struct line *line)
{
    const uint8_t *r = line->record;
    bool tls13 = line->profile == LINK_PROFILE_TLS13;
    size_t len = (size_t)(r[3] << 8 | r[4]);
    bool hidden = line->keys_on || r[0] == TYPE_APPLICATION;
    /* AES-GCM adds 8 bytes of nonce and 16 of tag in TLS 1.2 (RFC 5288 §3), a type byte and 16 in
     * TLS 1.3 (RFC 8446 §5.2). */
    size_t extra = !hidden ? 0 : tls13 ? 17 : 24;
    size_t inner = len > extra ? len - extra : 0;
    if (line->phase != LINE_HANDSHAKE)
        return;
    if (r[0] == TYPE_CCS) {
        if (!tls13) {
            line_event(line, LINK_EVENT_SENT, LINK_MESSAGE_CCS, len, 0, 0);
            line->keys_on = true;
        }
    } else if (!hidden && r[0] == TYPE_HANDSHAKE) {
        if (r[5] == MBEDTLS_SSL_HS_CLIENT_HELLO)
            line_event(line, LINK_EVENT_CHECKED, LINK_CHECK_RANDOM, 32, 0, 0);
        if (r[5] == MBEDTLS_SSL_HS_CLIENT_KEY_EXCHANGE)
            line_event(line, LINK_EVENT_CHECKED,
                       line->profile == LINK_PROFILE_RSA ? LINK_CHECK_PREMASTER
                                                         : LINK_CHECK_KEY_SHARE,
                       line->profile == LINK_PROFILE_RSA ? 48 : 32, 0, 0);
        if (r[5] == MBEDTLS_SSL_HS_CERTIFICATE_VERIFY)
            line_event(line, LINK_EVENT_CHECKED, LINK_CHECK_OWN_SIGNATURE, 0, 0, 0);
        line_event(line, LINK_EVENT_SENT, r[5], inner, 0, 0);
    } else if (hidden && r[0] != TYPE_ALERT) {
        uint8_t type = type_under_keys(line);
        if (type == MBEDTLS_SSL_HS_CERTIFICATE_VERIFY)
            line_event(line, LINK_EVENT_CHECKED, LINK_CHECK_OWN_SIGNATURE, 0, 0, 0);
        line_event(line, LINK_EVENT_SENT, type, inner, 0, LINK_EVENT_FLAG_ENCRYPTED);
    }
}

void line_watch_sent(struct line *line, const uint8_t *data, size_t len)
{
    while (len > 0) {
        if (line->record_have < sizeof line->record) {
            line->record[line->record_have++] = *data;
            if (line->record_have == RECORD_HEADER)
                line->record_left = (uint16_t)(line->record[3] << 8 | line->record[4]);
            if (line->record_have > RECORD_HEADER)
                line->record_left--;
            data++;
            len--;
            if (line->record_have == sizeof line->record)
                record_begins(line);
        } else {
            size_t n = len < line->record_left ? len : line->record_left;
            line->record_left = (uint16_t)(line->record_left - n);
            data += n;
            len -= n;
        }
        if (line->record_have == sizeof line->record && line->record_left == 0)
            line->record_have = 0;
    }
}

static void received(struct line *line, uint8_t type)
{
    /* The keys are there as soon as ServerHello is parsed, but it came in clear. */
    bool hidden = line->ssl.transform_in != NULL && type != MBEDTLS_SSL_HS_SERVER_HELLO;
    line_event(line, LINK_EVENT_RECEIVED, type, line->ssl.in_hslen, 0,
               hidden ? LINK_EVENT_FLAG_ENCRYPTED : 0);
}

static void checked(struct line *line, enum link_check check)
{
    line_event(line, LINK_EVENT_CHECKED, (uint8_t)check, 0, 0, 0);
}

/* The engine went from state `before` to `after`: a message was received and found good. */
void line_watch_step(struct line *line, int before, int after)
{
    bool tls13 = line->profile == LINK_PROFILE_TLS13;
    switch (before) {
    case MBEDTLS_SSL_SERVER_HELLO:
        received(line, MBEDTLS_SSL_HS_SERVER_HELLO);
        if (line->session.resumed)
            checked(line, LINK_CHECK_SESSION);
        if (tls13 && after != MBEDTLS_SSL_CLIENT_HELLO)
            line_event(line, LINK_EVENT_CHECKED, LINK_CHECK_KEY_SHARE, 32, 0, 0);
        if ((tls13 && after != MBEDTLS_SSL_CLIENT_HELLO) || line->session.resumed)
            checked(line, LINK_CHECK_KEYS);
        break;
    case MBEDTLS_SSL_ENCRYPTED_EXTENSIONS:
        received(line, MBEDTLS_SSL_HS_ENCRYPTED_EXTENSIONS);
        break;
    case MBEDTLS_SSL_SERVER_CERTIFICATE:
        received(line, MBEDTLS_SSL_HS_CERTIFICATE);
        checked(line, LINK_CHECK_CHAIN);
        checked(line, LINK_CHECK_NAME);
        checked(line, LINK_CHECK_DATES);
        checked(line, LINK_CHECK_USAGE);
        break;
    case MBEDTLS_SSL_SERVER_KEY_EXCHANGE:
        if (line->profile == LINK_PROFILE_ECDHE) {
            received(line, MBEDTLS_SSL_HS_SERVER_KEY_EXCHANGE);
            checked(line, LINK_CHECK_SERVER_SIGNATURE);
        }
        break;
    case MBEDTLS_SSL_CERTIFICATE_REQUEST:
        if (line->ssl.handshake != NULL && line->ssl.handshake->client_auth)
            received(line, MBEDTLS_SSL_HS_CERTIFICATE_REQUEST);
        break;
    case MBEDTLS_SSL_SERVER_HELLO_DONE:
        received(line, MBEDTLS_SSL_HS_SERVER_HELLO_DONE);
        break;
    case MBEDTLS_SSL_CERTIFICATE_VERIFY:
        if (tls13) {
            received(line, MBEDTLS_SSL_HS_CERTIFICATE_VERIFY);
            checked(line, LINK_CHECK_SERVER_SIGNATURE);
        } else {
            checked(line, LINK_CHECK_KEYS);
        }
        break;
    case MBEDTLS_SSL_SERVER_CHANGE_CIPHER_SPEC:
        line_event(line, LINK_EVENT_RECEIVED, LINK_MESSAGE_CCS, 1, 0, 0);
        break;
    case MBEDTLS_SSL_SERVER_FINISHED:
        received(line, MBEDTLS_SSL_HS_FINISHED);
        checked(line, LINK_CHECK_SERVER_FINISHED);
        break;
    default:
        break;
    }
}
