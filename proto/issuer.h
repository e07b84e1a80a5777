/* issuer.h - signed messages of the issuer to one card: a new time, and updates of what issuance
 * wrote (roots, names, policy, payees, life). They travel through the terminal, which can read and
 * withhold them, and change nothing in them. Codec only: no crypto, no I/O.
 *
 *     80 kind (1) | 81 card's serial (8)
 *     time:    83 challenge of the card (8) | 84 time (8, seconds since 1970)
 *     update:  82 sequence (4) | 30 { 85 object (2), 86 value }, repeated, at least one
 *     9E signature (64: r, s)
 *
 * The signature is ECDSA P-256 with SHA-256 (FIPS 186-5 §6) by the issuer's update key, over
 * ISSUER_PREFIX followed by everything before the signature. The tags stand in this order, each
 * once, so that a message has one form. An empty value removes the object. */
#ifndef CARDWIRE_PROTO_ISSUER_H
#define CARDWIRE_PROTO_ISSUER_H

#include "base/buf.h"
#include "base/err.h"

#define ISSUER_PREFIX        "CARDWIRE ISSUER 1\n"
#define ISSUER_SERIAL_LEN    8u
#define ISSUER_CHALLENGE_LEN 8u
#define ISSUER_SIGNATURE_LEN 64u
#define ISSUER_POINT_LEN     65u   /* the update key: uncompressed point (SEC 1 §2.3.3) */
#define ISSUER_MESSAGE_MAX   2048u /* the card takes no longer command */
#define ISSUER_WRITES_MAX    7u

enum issuer_kind {
    ISSUER_TIME = 1,
    ISSUER_UPDATE = 2,
};

struct issuer_write {
    uint16_t object; /* LINK_DO_* */
    const uint8_t *value;
    size_t len; /* 0: remove */
};

struct issuer_message {
    enum issuer_kind kind;
    uint8_t serial[ISSUER_SERIAL_LEN];
    uint8_t challenge[ISSUER_CHALLENGE_LEN]; /* time */
    int64_t time;                            /* time; 1..CAL_MAX */
    uint32_t sequence;                       /* update; 1.. */
    struct issuer_write writes[ISSUER_WRITES_MAX];
    size_t write_count;
};

/* Everything before the signature. CW_ERR_FORMAT, CW_ERR_SPACE. */
CW_MUST_USE enum cw_err issuer_encode(const struct issuer_message *m, struct buf_writer *w);
/* Appends the signature to an encoded message. */
CW_MUST_USE enum cw_err issuer_seal(struct buf_writer *w,
                                    const uint8_t signature[ISSUER_SIGNATURE_LEN]);
/* Takes a whole message apart. `out` points into `data`; *signed_len is how much of it the
 * signature covers, after the prefix. Whether the signature is good is the caller's to check.
 * CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err issuer_decode(const uint8_t *data, size_t len, struct issuer_message *out,
                                      size_t *signed_len, const uint8_t **signature);

#endif
