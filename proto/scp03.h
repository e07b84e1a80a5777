/* scp03.h - the issuer's secure channel to the card: GlobalPlatform Card Specification, Amendment D
 * (Secure Channel Protocol '03') v1.1.2, with AES-128 in S8 mode (challenges, cryptograms and MACs
 * of 8 bytes). Both ends in one, as bytes: no I/O, no random numbers, no memory of its own; the two
 * primitives come in through struct scp03_crypto. Not for transport: what is wrapped here is the
 * whole logical command, and chaining and GET RESPONSE are below. docs/scp03.md is its page.
 *
 * "§" without a name is Amendment D; GPCS is the Card Specification v2.3.1 itself.
 *
 * Every failure of a function that takes a struct scp03 ends the session: its keys are wiped and
 * nothing goes on but a new INITIALIZE UPDATE. CW_ERR_DENIED is what the other end cannot have sent
 * (MAC, cryptogram, padding, security level, form: they are not told apart), CW_ERR_STATE the wrong
 * moment, CW_ERR_SPACE too little room; and whatever a primitive says. */
#ifndef CARDWIRE_PROTO_SCP03_H
#define CARDWIRE_PROTO_SCP03_H

#include "proto/apdu.h"

#define SCP03_KEY_LEN             16u
#define SCP03_CHALLENGE_LEN       8u
#define SCP03_CRYPTOGRAM_LEN      8u
#define SCP03_MAC_LEN             8u
#define SCP03_CHECK_LEN           3u /* key check value */
#define SCP03_DIVERSIFICATION_LEN 10u
#define SCP03_SEQUENCE_LEN        3u
#define SCP03_UPDATE_MAX          32u /* bytes of the answer to INITIALIZE UPDATE */
#define SCP03_AUTHENTICATE_LEN    16u /* bytes of data of EXTERNAL AUTHENTICATE */
#define SCP03_KEYS_LEN            70u /* bytes of data of PUT KEY for a whole set */
#define SCP03_CONFIRM_LEN         10u /* bytes of its answer */
/* What protection may add to a data field: padding of up to a block, and the MAC. */
#define SCP03_OVERHEAD 24u

/* Commands: GPCS §11.8, Amendment D §7.1. The class byte says secure messaging by bit 3. */
#define SCP03_INS_INITIALIZE_UPDATE     0x50
#define SCP03_INS_EXTERNAL_AUTHENTICATE 0x82
#define SCP03_INS_PUT_KEY               0xD8
#define SCP03_CLA_SECURE                0x04
#define SCP03_PUT_KEY_P2                0x81 /* several keys, the first is number 1 */

/* Security level (P1 of EXTERNAL AUTHENTICATE, §7.1.2.1): 00, 01, 03, 11, 13, 33 and no other. */
#define SCP03_C_MAC        0x01
#define SCP03_C_DECRYPTION 0x02
#define SCP03_R_MAC        0x10
#define SCP03_R_ENCRYPTION 0x20
#define SCP03_LEVEL_FULL   0x33

/* The parameter i (§5.1): what the card can do. */
#define SCP03_I_PSEUDO_RANDOM 0x10 /* the card challenge comes from a sequence counter */
#define SCP03_I_R_MAC         0x20
#define SCP03_I_R_ENCRYPTION  0x40
#define SCP03_I_FULL          0x60

/* A piece of what is authenticated. */
struct scp03_part {
    const uint8_t *data;
    size_t len;
};

struct scp03_crypto {
    void *ctx;
    /* AES-CMAC (NIST SP 800-38B) over the pieces as if they stood side by side. */
    enum cw_err (*cmac)(void *ctx, const uint8_t key[SCP03_KEY_LEN], const struct scp03_part *parts,
                        size_t count, uint8_t out[16]);
    /* AES-CBC without padding, in place; `len` is a multiple of 16, not 0. */
    enum cw_err (*cbc)(void *ctx, bool encrypt, const uint8_t key[SCP03_KEY_LEN],
                       const uint8_t iv[16], uint8_t *data, size_t len);
};

/* A key set of the card (§6.1). The caller wipes it. */
struct scp03_keys {
    uint8_t enc[SCP03_KEY_LEN], mac[SCP03_KEY_LEN], dek[SCP03_KEY_LEN];
};

/* The answer to INITIALIZE UPDATE (§7.1.1.6). */
struct scp03_update {
    uint8_t diversification[SCP03_DIVERSIFICATION_LEN];
    uint8_t version; /* of the key set */
    uint8_t i;
    uint8_t challenge[SCP03_CHALLENGE_LEN];
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN];
    uint8_t sequence[SCP03_SEQUENCE_LEN]; /* only with SCP03_I_PSEUDO_RANDOM */
};

/* Far from each other, from zeros and from ones: base/hard.h. */
enum scp03_state {
    SCP03_NONE = 0,      /* no session, or one that is over */
    SCP03_BEGUN = 0x33,  /* INITIALIZE UPDATE done */
    SCP03_READY = 0x5A,  /* both ends authenticated; the next is a command */
    SCP03_ANSWER = 0xA5, /* the next is the answer to a command */
};

/* One session at one end. The caller owns it; all zeros is no session. */
struct scp03 {
    const struct scp03_crypto *crypto;
    enum scp03_state state;
    uint8_t i, level;
    uint8_t enc[SCP03_KEY_LEN], mac[SCP03_KEY_LEN], rmac[SCP03_KEY_LEN]; /* of the session */
    uint8_t cryptogram[SCP03_CRYPTOGRAM_LEN]; /* the host's, until it is used */
    uint8_t chaining[16];                     /* MAC chaining value, §6.2.3 */
    uint32_t counter;                         /* encryption counter, §6.2.6 */
};

/* Wipes the session. */
void scp03_end(struct scp03 *s);
/* Are both ends authenticated, and has nothing gone wrong since? */
bool scp03_is_open(const struct scp03 *s);

/* CW_ERR_FORMAT when it is no answer of SCP03, CW_ERR_UNSUPPORTED when it is one in S16 mode or of
 * another protocol. */
CW_MUST_USE enum cw_err scp03_update_parse(const uint8_t *bytes, size_t len,
                                           struct scp03_update *out);
void scp03_update_write(const struct scp03_update *update, struct buf_writer *w);

/* A pseudo-random card challenge (§6.2.2.1): from the static ENC key, the sequence counter, which
 * must never repeat under that key, and the AID of the application. */
CW_MUST_USE enum cw_err scp03_challenge_make(const struct scp03_crypto *crypto,
                                             const uint8_t enc[SCP03_KEY_LEN],
                                             const uint8_t sequence[SCP03_SEQUENCE_LEN],
                                             const uint8_t *aid, size_t aid_len,
                                             uint8_t out[SCP03_CHALLENGE_LEN]);

/* Card, at INITIALIZE UPDATE: begins a session, whatever there was before. `update` is filled in
 * but for the cryptogram, which this adds. */
CW_MUST_USE enum cw_err scp03_card_begin(struct scp03 *s, const struct scp03_crypto *crypto,
                                         const struct scp03_keys *keys,
                                         const uint8_t host_challenge[SCP03_CHALLENGE_LEN],
                                         struct scp03_update *update);
/* Card, at EXTERNAL AUTHENTICATE: the session is open when this succeeds. `least`: what the
 * security level must have in it, by the card's policy. The answer carries no protection. */
CW_MUST_USE enum cw_err scp03_card_authenticate(struct scp03 *s, const struct apdu_command *cmd,
                                                uint8_t least);
/* Card: checks a command before it decrypts it, and takes the protection off. What is left of the
 * data field is in `buffer` (capacity `cap`, may be where cmd->data points to), or still in
 * cmd->data when nothing was encrypted. */
CW_MUST_USE enum cw_err scp03_command_unwrap(struct scp03 *s, struct apdu_command *cmd,
                                             uint8_t *buffer, size_t cap);
/* Card: protects an answer in place. `data` holds the whole data field and nothing else, with
 * SCP03_OVERHEAD bytes free. Of an error only the status word is sent, unprotected (§6.2.5): the
 * data is wiped then, and on failure. */
CW_MUST_USE enum cw_err scp03_response_wrap(struct scp03 *s, uint16_t sw, struct buf_writer *data);

/* Host, after INITIALIZE UPDATE: begins a session, whatever there was before, when the card proves
 * that it has the keys. */
CW_MUST_USE enum cw_err scp03_host_begin(struct scp03 *s, const struct scp03_crypto *crypto,
                                         const struct scp03_keys *keys,
                                         const uint8_t host_challenge[SCP03_CHALLENGE_LEN],
                                         const struct scp03_update *update);
/* Host: makes EXTERNAL AUTHENTICATE, whose data goes into `data`. The session is open at this end;
 * the caller ends it when the card refuses. */
CW_MUST_USE enum cw_err scp03_host_authenticate(struct scp03 *s, uint8_t level,
                                                uint8_t data[SCP03_AUTHENTICATE_LEN],
                                                struct apdu_command *out);
/* Host: protects a command. Its data field is then in `buffer`, which must have nc + SCP03_OVERHEAD
 * bytes and not overlap it. Le is left as it is. */
CW_MUST_USE enum cw_err scp03_command_wrap(struct scp03 *s, struct apdu_command *cmd,
                                           uint8_t *buffer, size_t cap);
/* Host: checks an answer before it decrypts it, in place. *len bytes of data in, what is left out.
 * An error status word is not authenticated (§6.2.5): anyone in between can have made it. */
CW_MUST_USE enum cw_err scp03_response_unwrap(struct scp03 *s, uint16_t sw, uint8_t *data,
                                              size_t *len);

/* Key check value (§4.1.4): the first bytes of a block of 01 under the key. */
CW_MUST_USE enum cw_err scp03_key_check(const struct scp03_crypto *crypto,
                                        const uint8_t key[SCP03_KEY_LEN],
                                        uint8_t out[SCP03_CHECK_LEN]);
/* The data field of PUT KEY (GPCS §11.8.2.3, §7.2) for a whole key set, encrypted under the DEK
 * that the card has now. Read: CW_ERR_FORMAT, and CW_ERR_DENIED when a check value is wrong. */
CW_MUST_USE enum cw_err scp03_keys_write(const struct scp03_crypto *crypto,
                                         const uint8_t dek[SCP03_KEY_LEN], uint8_t version,
                                         const struct scp03_keys *keys, struct buf_writer *w);
CW_MUST_USE enum cw_err scp03_keys_read(const struct scp03_crypto *crypto,
                                        const uint8_t dek[SCP03_KEY_LEN], const uint8_t *data,
                                        size_t len, uint8_t *version, struct scp03_keys *out);
/* The answer to PUT KEY (GPCS §11.8.3.1): version and check values, the same at both ends. */
CW_MUST_USE enum cw_err scp03_keys_confirm(const struct scp03_crypto *crypto, uint8_t version,
                                           const struct scp03_keys *keys, struct buf_writer *w);

#endif
