/* link_text.c - the numbers of link.h as words. Not linked into the card's firmware. */
#include "proto/link.h"

#include <string.h>

#define PICK(table, index)                                                                         \
    ((size_t)(index) < sizeof(table) / sizeof(table)[0] && (table)[index] ? (table)[index]         \
                                                                          : "unknown")

static const char *const profiles[] = {"default", "tls13", "ecdhe", "rsa"};

const char *link_profile_name(enum link_profile profile)
{
    return PICK(profiles, profile);
}

int link_profile_find(const char *name)
{
    for (int i = 0; i <= LINK_PROFILE_COUNT; i++)
        if (strcmp(name, profiles[i]) == 0)
            return i;
    return -1;
}

const char *link_key_name(enum link_key key)
{
    static const char *const names[] = {"auto", "tls-p256", "tls-rsa2048", "order-p256",
                                        "order-rsa2048"};
    return PICK(names, key);
}

static const struct {
    const char *name;
    const char *sentence;
} reasons[LINK_REASON_COUNT] = {
    [LINK_REASON_NONE] = {"none", "The card found nothing wrong."},
    [LINK_REASON_UNTRUSTED] = {"untrusted",
                               "The server's certificate was not issued under a root that the card "
                               "holds: this is not your bank."},
    [LINK_REASON_NAME] = {"wrong-name",
                          "The server's certificate is for another name than the one the card was "
                          "asked to reach."},
    [LINK_REASON_EXPIRED] = {"expired", "The server's certificate has expired."},
    [LINK_REASON_CA_LEAF] = {"ca-as-leaf",
                             "The server shows the certificate of a certification authority in the "
                             "place of its own."},
    [LINK_REASON_NO_SERVER_AUTH] = {"no-server-auth",
                                    "The server's certificate was not issued for servers (extended "
                                    "key usage serverAuth is missing)."},
    [LINK_REASON_KEY_USAGE] = {"key-usage",
                               "The key usage of the server's certificate does not permit this "
                               "profile."},
    [LINK_REASON_WEAK] = {"weak", "The server's certificate uses a key or hash that is too weak."},
    [LINK_REASON_SIGNATURE] = {"bad-signature",
                               "The server's signature over the handshake is wrong: it does not "
                               "hold the key of its certificate, or somebody altered the "
                               "handshake."},
    [LINK_REASON_FINISHED] = {"bad-finished",
                              "The server's Finished is wrong: somebody altered the handshake."},
    [LINK_REASON_RECORD] = {"bad-record",
                            "A record from the net was altered or made by somebody else."},
    [LINK_REASON_OVERSIZE] = {"oversize",
                              "The server sent a record larger than the card can take; it must "
                              "limit its records to 4,096 bytes."},
    [LINK_REASON_PROFILE] = {"profile",
                             "The server offers nothing that this profile permits; try another "
                             "--profile."},
    [LINK_REASON_PROTOCOL] = {"protocol", "The server sent something that TLS does not allow."},
    [LINK_REASON_ALERT] = {"alert", "The server refused, by a TLS alert."},
    [LINK_REASON_NO_CLIENT_AUTH] = {"no-client-auth",
                                    "The server did not ask for the card's certificate; the card "
                                    "opens only lines in which both sides are authenticated."},
    [LINK_REASON_EOF] = {"eof", "The connection ended before the line was closed."},
    [LINK_REASON_MEMORY] = {"memory", "The server's handshake did not fit the card's memory."},
    [LINK_REASON_CERTIFICATE] = {"malformed-certificate", "The server's certificate is malformed."},
    [LINK_REASON_INTERNAL] = {"internal", "The card failed."},
};

const char *link_reason_name(enum link_reason reason)
{
    return (unsigned)reason < LINK_REASON_COUNT ? reasons[reason].name : "unknown";
}

const char *link_reason_sentence(enum link_reason reason)
{
    return (unsigned)reason < LINK_REASON_COUNT ? reasons[reason].sentence
                                                : "The card gave a reason that this terminal does "
                                                  "not know.";
}

const char *link_check_name(enum link_check check)
{
    static const char *const names[] = {
        [LINK_CHECK_RANDOM] = "random",
        [LINK_CHECK_CHAIN] = "chain",
        [LINK_CHECK_NAME] = "name",
        [LINK_CHECK_DATES] = "dates",
        [LINK_CHECK_USAGE] = "usage",
        [LINK_CHECK_SERVER_SIGNATURE] = "server-signature",
        [LINK_CHECK_PREMASTER] = "premaster",
        [LINK_CHECK_KEY_SHARE] = "key-share",
        [LINK_CHECK_OWN_SIGNATURE] = "own-signature",
        [LINK_CHECK_KEYS] = "keys",
        [LINK_CHECK_SERVER_FINISHED] = "server-finished",
        [LINK_CHECK_SESSION] = "session",
    };
    return PICK(names, check);
}

const char *link_message_name(uint8_t type)
{
    switch (type) {
    case 0:
        return "HelloRequest";
    case 1:
        return "ClientHello";
    case 2:
        return "ServerHello";
    case 4:
        return "NewSessionTicket";
    case 8:
        return "EncryptedExtensions";
    case 11:
        return "Certificate";
    case 12:
        return "ServerKeyExchange";
    case 13:
        return "CertificateRequest";
    case 14:
        return "ServerHelloDone";
    case 15:
        return "CertificateVerify";
    case 16:
        return "ClientKeyExchange";
    case 20:
        return "Finished";
    case 24:
        return "KeyUpdate";
    case LINK_MESSAGE_CCS:
        return "ChangeCipherSpec";
    default:
        return "unknown";
    }
}

const char *link_alert_name(uint8_t description)
{
    static const struct {
        uint8_t number;
        const char *name;
    } alerts[] = {
        {0, "close_notify"},
        {10, "unexpected_message"},
        {20, "bad_record_mac"},
        {22, "record_overflow"},
        {40, "handshake_failure"},
        {42, "bad_certificate"},
        {43, "unsupported_certificate"},
        {44, "certificate_revoked"},
        {45, "certificate_expired"},
        {46, "certificate_unknown"},
        {47, "illegal_parameter"},
        {48, "unknown_ca"},
        {49, "access_denied"},
        {50, "decode_error"},
        {51, "decrypt_error"},
        {70, "protocol_version"},
        {71, "insufficient_security"},
        {80, "internal_error"},
        {86, "inappropriate_fallback"},
        {90, "user_canceled"},
        {100, "no_renegotiation"},
        {109, "missing_extension"},
        {110, "unsupported_extension"},
        {112, "unrecognized_name"},
        {113, "bad_certificate_status_response"},
        {115, "unknown_psk_identity"},
        {116, "certificate_required"},
        {120, "no_application_protocol"},
    };
    for (size_t i = 0; i < sizeof alerts / sizeof alerts[0]; i++)
        if (alerts[i].number == description)
            return alerts[i].name;
    return "unknown";
}

const char *link_life_name(enum link_life life)
{
    static const char *const names[] = {
        [LINK_LIFE_BLANK] = "blank",           [LINK_LIFE_PERSONALISED] = "personalised",
        [LINK_LIFE_ACTIVE] = "active",         [LINK_LIFE_LOCKED] = "locked",
        [LINK_LIFE_TERMINATED] = "terminated",
    };
    return PICK(names, life);
}

static const struct {
    const char *name;
    const char *sentence;
} refusals[LINK_REFUSAL_COUNT] = {
    [LINK_REFUSAL_NONE] = {"none", "The card has refused no order."},
    [LINK_REFUSAL_ORDER] = {"order-limit",
                            "The amount is above what this card signs in one order; ask your bank "
                            "to raise the limit, or pay in another way."},
    [LINK_REFUSAL_DAY] = {"day-limit",
                          "With this order the card would sign more than its limit of one day; pay "
                          "tomorrow, or ask your bank to raise the limit."},
    [LINK_REFUSAL_CURRENCY] = {"currency", "This card signs no orders in this currency."},
    [LINK_REFUSAL_PAYEE] = {"payee",
                            "The payee is not on this card's list, or stands there under another "
                            "name; have your bank add the payee first."},
    [LINK_REFUSAL_EXPIRED] = {"expired", "The order has expired; make it anew."},
    [LINK_REFUSAL_LINE] = {"line",
                           "Orders cannot be bound to this line; the server lacks the extended "
                           "master secret."},
};

const char *link_refusal_name(enum link_refusal refusal)
{
    return (size_t)refusal < LINK_REFUSAL_COUNT ? refusals[refusal].name : "unknown";
}

const char *link_refusal_sentence(enum link_refusal refusal)
{
    return (size_t)refusal < LINK_REFUSAL_COUNT ? refusals[refusal].sentence
                                                : "The card refused, and gave no reason we know.";
}
