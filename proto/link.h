/* link.h - the vocabulary of the `link` application: what the terminal and the card say to each
 * other in APDUs. docs/card.md describes each command; this header holds the numbers, for both
 * sides. No code and no I/O here, except names for people in link_text.c. */
#ifndef CARDWIRE_PROTO_LINK_H
#define CARDWIRE_PROTO_LINK_H

#include <stddef.h>
#include <stdint.h>

/* Application identifier: proprietary category 'F', unregistered (ISO/IEC 7816-4:2020 §12.2.3) */
#define LINK_AID     "\xF0\x43\x57\x4C\x01"
#define LINK_AID_LEN 5u
/* of the application: 0.2 brought the life cycle and the issuer's channel */
#define LINK_VERSION_MAJOR 0
#define LINK_VERSION_MINOR 2

/* Instructions of class 00 (ISO/IEC 7816-4:2020, 7816-8, 7816-9) */
#define INS_VERIFY        0x20
#define INS_CHANGE_PIN    0x24 /* CHANGE REFERENCE DATA */
#define INS_RESET_PIN     0x2C /* RESET RETRY COUNTER */
#define INS_GENERATE_KEY  0x47
#define INS_GET_CHALLENGE 0x84
#define INS_SELECT        0xA4
#define INS_GET_RESPONSE  0xC0
#define INS_GET_DATA      0xCA
#define INS_PUT_DATA      0xDA

/* Instructions of class 80 */
#define INS_OPEN       0x10
#define INS_STEP       0x12
#define INS_WRITE      0x14
#define INS_READ       0x16
#define INS_SIGN_ORDER 0x18
#define INS_INFO       0x1A
#define INS_CLOSE      0x1C
#define INS_REQUEST    0x1E /* PKCS#10 certification request */
#define INS_APPLY      0x22 /* a signed message of the issuer, proto/issuer.h */

/* Life cycle (GlobalPlatform Card Specification 2.3.1 §11.10); the secure channel's own
 * instructions are in proto/scp03.h */
#define INS_SET_STATUS 0xF0

/* VERIFY P2: for which use the PIN is given. Same PIN, same try counter, separate status.
 * CHANGE REFERENCE DATA and RESET RETRY COUNTER take LINK_PIN_LINE. */
#define LINK_PIN_LINE  0x81
#define LINK_PIN_ORDER 0x82
#define LINK_PIN_MIN   4u
#define LINK_PIN_MAX   12u
#define LINK_PIN_TRIES 3u /* what a bank that says nothing else gives */

/* OPEN P1 */
enum link_profile {
    LINK_PROFILE_DEFAULT = 0, /* tls13 if issuance permits it for this name, else the next */
    LINK_PROFILE_TLS13 = 1,
    LINK_PROFILE_ECDHE = 2,
    LINK_PROFILE_RSA = 3,
};
#define LINK_PROFILE_COUNT 3
#define LINK_OPEN_FULL     0x10 /* added to the profile: no stored session is to be offered */
/* Bit of a profile in the mask of a permitted name */
#define LINK_PROFILE_BIT(p) (1u << ((p)-1))

/* Key slots: GENERATE KEY, REQUEST and certificates name them; one key, one use. */
enum link_key {
    LINK_KEY_AUTO = 0, /* OPEN, SIGN ORDER: P-256 if the card has it, else RSA */
    LINK_KEY_TLS_P256 = 1,
    LINK_KEY_TLS_RSA = 2,
    LINK_KEY_ORDER_P256 = 3,
    LINK_KEY_ORDER_RSA = 4,
};
#define LINK_KEY_COUNT 4

/* GENERATE KEY P1: the whole key in one command, or a slice of the work. The answer to a slice is a
 * byte and two more, how far it is in thousandths. */
#define LINK_GENERATE_WHOLE   0x00
#define LINK_GENERATE_SLICE   0x01
#define LINK_GENERATE_DONE    0x00 /* the key is in its slot */
#define LINK_GENERATE_WORKING 0x01 /* send the same command again */
#define LINK_GENERATE_LEN     3u
#define LINK_PERMILLE_MAX     1000u

/* GET DATA, PUT DATA: P1-P2 */
#define LINK_DO_CERT   0x0100u /* | key slot; DER, one certificate */
#define LINK_DO_ROOT   0x0200u /* | 0..1; DER, a root for server certificates */
#define LINK_DO_NAME   0x0300u /* | 0..3; BER-TLV, a server that the card may talk to */
#define LINK_DO_PIN    0x0400u /* | enum link_pin, PUT only; tries (1), flags (1), digits */
#define LINK_DO_TIME   0x0500u /* 8 bytes, seconds since 1970: the card's floor of time */
#define LINK_DO_POLICY 0x0600u /* proto/policy.h */
#define LINK_DO_ISSUER 0x0700u /* the update key: uncompressed P-256 point, proto/issuer.h */
#define LINK_DO_PAYEES 0x0900u /* proto/policy.h */
#define LINK_DO_ADMIN  0x0A00u /* PUT only; PIV's card management key: algorithm (1), key */
#define LINK_DO_LIFE   0x0B00u /* 1 byte, enum link_life; in messages of the issuer only */
#define LINK_ROOT_MAX  2u
#define LINK_NAME_MAX  4u
/* Flags of LINK_DO_PIN */
#define LINK_PIN_TRANSPORT 0x01 /* must be changed before it opens anything */

/* The card's secret numbers */
enum link_pin {
    LINK_PIN_HOLDER = 0, /* of the link application */
    LINK_PIN_PUK = 1,    /* unblocks it */
    LINK_PIN_PIV = 2,    /* of the PIV application */
    LINK_PIN_PIV_PUK = 3,
};
#define LINK_PIN_COUNT 4u
/* Inside LINK_DO_NAME */
#define LINK_TAG_NAME          0x80u /* DNS name, lower case, 1..64 bytes */
#define LINK_TAG_NAME_PROFILES 0x81u /* 1 byte, mask of LINK_PROFILE_BIT */
#define LINK_TAG_NAME_ALPN     0x82u /* optional, protocol name to offer (RFC 7301), 1..16 bytes */
/* Bytes of plaintext in one WRITE: the record comes back whole in one answer, with its 29 bytes of
 * header, nonce and tag (RFC 5288 §3) and the state. */
#define LINK_WRITE_MAX 992u
#define LINK_HOST_MAX  64u

/* State byte: first byte of every answer to OPEN, STEP, WRITE, READ and CLOSE */
#define LINK_STATE_WANT_IN 0x01 /* wants bytes from the net */
#define LINK_STATE_OUT     0x02 /* has more bytes for the net than fitted: STEP again */
#define LINK_STATE_OPEN    0x04 /* handshake finished, both sides authenticated; takes WRITE */
#define LINK_STATE_DATA    0x08 /* has plaintext to READ */
#define LINK_STATE_CLOSED  0x10 /* the line is over in good order */
#define LINK_STATE_ERROR   0x20 /* the line is dead; INFO says why */
#define LINK_STATE_PARTIAL 0x40 /* two bytes follow: how many bytes of the data were taken */
#define LINK_STATE_AGAIN   0x80 /* has work to do that needs no input: STEP again */

/* INFO P1 */
#define LINK_INFO_CARD    0x00
#define LINK_INFO_SESSION 0x01
#define LINK_INFO_TRACE   0x02 /* P2: first event wanted */

/* INFO, card */
#define LINK_TAG_SERIAL     0x81u /* 8 bytes */
#define LINK_TAG_LIFE       0x82u /* 1 byte, enum link_life */
#define LINK_TAG_TRIES      0x83u /* 2 bytes: left, maximum */
#define LINK_TAG_TIME       0x84u /* 8 bytes, seconds since 1970: floor */
#define LINK_TAG_KEYS       0x85u /* 2 bytes: slots with key, with certificate (bit slot-1) */
#define LINK_TAG_LIMITS     0x86u /* 4 bytes: most command data, most response data of one APDU */
#define LINK_TAG_COUNTER    0x87u /* 4 bytes: order counter, last value used */
#define LINK_TAG_VERSION    0x88u /* 2 bytes: major, minor of the application */
#define LINK_TAG_INTERFACE  0x89u /* 1 byte: 0 contact, 1 contactless */
#define LINK_TAG_HEAP       0x8Au /* 8 bytes: peak use of the TLS pool, its size, in bytes */
#define LINK_TAG_PUK        0x8Bu /* 2 bytes, of the PUK: left, maximum */
#define LINK_TAG_FLAGS      0x8Cu /* 1 byte: LINK_FLAG_* */
#define LINK_TAG_SEQUENCE   0x8Du /* 4 bytes: sequence of the last update of the issuer */
#define LINK_TAG_REFUSED    0x8Eu /* 1 byte, enum link_refusal: why the last order was not signed */
#define LINK_TAG_KEYSET     0x8Fu /* 1 byte: version of the issuer's key set */
#define LINK_FLAG_TRANSPORT 0x01  /* the PIN must be changed first */
/* INFO, session */
#define LINK_TAG_STATE       0x90u /* 1 byte, the state byte */
#define LINK_TAG_PROFILE     0x91u /* 1 byte */
#define LINK_TAG_SUITE       0x92u /* 2 bytes, IANA number */
#define LINK_TAG_TLS         0x93u /* 2 bytes, 0303 or 0304 */
#define LINK_TAG_PEER        0x94u /* the name that was verified */
#define LINK_TAG_PEER_SHA256 0x95u /* 32 bytes, of the peer's certificate */
#define LINK_TAG_REASON      0x96u /* 1 byte, enum link_reason */
#define LINK_TAG_ALERT_IN    0x97u /* 1 byte, alert description received; absent if none */
#define LINK_TAG_ALERT_OUT   0x98u /* 1 byte, alert description sent; absent if none */
#define LINK_TAG_KEY         0x99u /* 1 byte, key slot in use */
#define LINK_TAG_BINDING     0x9Au /* 1 byte, 1 if orders can be bound to this line */
#define LINK_TAG_RESUMED     0x9Bu /* 1 byte, 1 if the line goes on from a stored session */

enum link_life {
    LINK_LIFE_BLANK = 1, /* as it came from its maker; nothing works but personalisation */
    LINK_LIFE_PERSONALISED =
        2, /* complete, under the issuer's own keys; on its way to the holder */
    LINK_LIFE_ACTIVE = 3,
    LINK_LIFE_LOCKED = 4,     /* the issuer can unlock it */
    LINK_LIFE_TERMINATED = 5, /* for ever: keys and PINs are gone */
};

/* Why an order was not signed, when it was the card's own policy. */
enum link_refusal {
    LINK_REFUSAL_NONE = 0,
    LINK_REFUSAL_ORDER = 1,    /* above the limit of one order */
    LINK_REFUSAL_DAY = 2,      /* above what is left of the day's limit */
    LINK_REFUSAL_CURRENCY = 3, /* the card signs no orders in this currency */
    LINK_REFUSAL_PAYEE = 4,    /* not on the card's list, or under another name there */
    LINK_REFUSAL_EXPIRED = 5,  /* expired before the card's floor of time */
    LINK_REFUSAL_LINE = 6,     /* this line cannot bind an order */
};
#define LINK_REFUSAL_COUNT 7

/* Why a line ended, or never came to be. Order is fixed: numbers are on the wire. */
enum link_reason {
    LINK_REASON_NONE = 0,
    LINK_REASON_UNTRUSTED = 1,       /* chain ends at no root that the card holds */
    LINK_REASON_NAME = 2,            /* certificate is for another name */
    LINK_REASON_EXPIRED = 3,         /* certificate ended before the card's floor of time */
    LINK_REASON_CA_LEAF = 4,         /* a CA certificate in the place of a server's */
    LINK_REASON_NO_SERVER_AUTH = 5,  /* extended key usage without serverAuth */
    LINK_REASON_KEY_USAGE = 6,       /* key usage does not permit what the profile needs */
    LINK_REASON_WEAK = 7,            /* key or hash below the card's minimum */
    LINK_REASON_SIGNATURE = 8,       /* ServerKeyExchange or CertificateVerify does not verify */
    LINK_REASON_FINISHED = 9,        /* server's Finished does not verify: handshake was altered */
    LINK_REASON_RECORD = 10,         /* a record did not authenticate */
    LINK_REASON_OVERSIZE = 11,       /* a record larger than the card's buffer */
    LINK_REASON_PROFILE = 12,        /* server chose what the profile does not permit */
    LINK_REASON_PROTOCOL = 13,       /* malformed or unexpected message */
    LINK_REASON_ALERT = 14,          /* the server sent a fatal alert */
    LINK_REASON_NO_CLIENT_AUTH = 15, /* the server did not ask for the card's certificate */
    LINK_REASON_EOF = 16,            /* the net ended before the line was closed */
    LINK_REASON_MEMORY = 17,         /* the handshake did not fit the card's memory */
    LINK_REASON_CERTIFICATE = 18,    /* server certificate is malformed */
    LINK_REASON_INTERNAL = 19,
};
#define LINK_REASON_COUNT 20

/* Events of the handshake as the card saw them: INFO trace answers with 6 bytes each:
 * kind, code, length (2 bytes), result, flags */
#define LINK_EVENT_LEN 6u
enum link_event_kind {
    LINK_EVENT_SENT = 1,     /* code: TLS HandshakeType (RFC 8446 §B.3), 254 = ChangeCipherSpec */
    LINK_EVENT_RECEIVED = 2, /* the same, from the server */
    LINK_EVENT_CHECKED = 3,  /* code: enum link_check; result: enum link_reason, 0 = held */
    LINK_EVENT_ALERT_IN = 4, /* code: alert description; length: alert level */
    LINK_EVENT_ALERT_OUT = 5,
};
#define LINK_MESSAGE_CCS          254
#define LINK_EVENT_FLAG_ENCRYPTED 0x01 /* the message travelled under keys */
enum link_check {
    LINK_CHECK_RANDOM = 1,           /* card made its 32 random bytes */
    LINK_CHECK_CHAIN = 2,            /* server chain up to a root of the card */
    LINK_CHECK_NAME = 3,             /* server name */
    LINK_CHECK_DATES = 4,            /* not expired against the floor */
    LINK_CHECK_USAGE = 5,            /* leaf, serverAuth, key usage */
    LINK_CHECK_SERVER_SIGNATURE = 6, /* signature over the handshake (ecdhe, tls13) */
    LINK_CHECK_PREMASTER = 7,        /* 48-byte premaster made and encrypted (rsa) */
    LINK_CHECK_KEY_SHARE = 8,        /* ephemeral key made, secret agreed (ecdhe, tls13) */
    LINK_CHECK_OWN_SIGNATURE = 9,    /* card signed the handshake */
    LINK_CHECK_KEYS = 10,            /* session keys derived */
    LINK_CHECK_SERVER_FINISHED = 11, /* server's Finished verified */
    LINK_CHECK_SESSION = 12,         /* server takes up a session in which both were verified */
};

/* SIGN ORDER: tags of the command's data */
#define LINK_TAG_PAYER      0x80u
#define LINK_TAG_PAYEE      0x81u
#define LINK_TAG_PAYEE_NAME 0x82u
#define LINK_TAG_AMOUNT     0x83u /* 8 bytes, minor units */
#define LINK_TAG_CURRENCY   0x84u /* 3 bytes, ISO 4217 */
#define LINK_TAG_REFERENCE  0x85u
#define LINK_TAG_ORDER_ID   0x86u /* 16 bytes */
#define LINK_TAG_EXPIRY     0x87u /* 8 bytes, seconds since 1970 */
/* and of its answer */
#define LINK_TAG_ORDER_TEXT 0x53u
#define LINK_TAG_SIGNATURE  0x9Eu

/* RFC 5705 §4 / RFC 8446 §7.5: what binds an order to the line it was signed in */
#define LINK_EXPORTER_LABEL "EXPERIMENTAL-cardwire-order"
#define LINK_BINDING_LEN    16u

/* Names for people and for JSON, e.g. "tls13", "untrusted"; "unknown" outside the enum. */
const char *link_profile_name(enum link_profile profile);
const char *link_key_name(enum link_key key);
const char *link_reason_name(enum link_reason reason);
/* One sentence that says what the card found. */
const char *link_reason_sentence(enum link_reason reason);
const char *link_check_name(enum link_check check);
/* RFC 8446 §B.3 and RFC 5246 §7.4: "ClientHello"; RFC 8446 §6: "bad_certificate". */
const char *link_message_name(uint8_t handshake_type);
const char *link_alert_name(uint8_t description);
/* "blank", "active"... */
const char *link_life_name(enum link_life life);
const char *link_refusal_name(enum link_refusal refusal);
/* One sentence for the holder: what the card found, and what to do. */
const char *link_refusal_sentence(enum link_refusal refusal);
/* The profile of that name ("default" included), -1 if there is none. */
int link_profile_find(const char *name);

#endif
