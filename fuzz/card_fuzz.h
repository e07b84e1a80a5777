/* card_fuzz.h - what the files of the card's fuzzer share. fuzz_card.c runs an input, card_ops.c
 * makes commands of it, with card_issuer.c for the issuer's and card_line.c for the net and the
 * servers; card_memory.c looks into the flash, card_model.c knows what the card may do,
 * card_mutate.c changes inputs by whole operations. One card, one model, one process: `fz` is all
 * of it. docs/fuzzing.md. */
#ifndef CARDWIRE_FUZZ_CARD_FUZZ_H
#define CARDWIRE_FUZZ_CARD_FUZZ_H

#include "../tests/unit/unit.h"

#include "../tests/unit/card_lab.h"
#include "card/state.h"

#include <openssl/ssl.h>

/* An input: FUZZ_HEADER bytes (starting state, interface and power, four bytes of seed), then
 * operations: what (enum fuzz_op), length, and so many bytes that the operation takes as it likes;
 * those that are missing are 0. */
#define FUZZ_HEADER  6u
#define FUZZ_OPS_MAX 64u /* of one input that are run */

enum fuzz_op {
    OP_RAW,      /* a command, byte for byte */
    OP_LINK,     /* a command of link, by its place in a list */
    OP_PIV,      /* the same of PIV */
    OP_SELECT,   /* an application */
    OP_REST,     /* GET RESPONSE */
    OP_PIN,      /* a right or wrong number, at every place that takes one */
    OP_CHANNEL,  /* opens the issuer's channel, with whichever keys */
    OP_SECURED,  /* a command through it, changed, kept back, sent twice */
    OP_TIME,     /* a signed time */
    OP_UPDATE,   /* a signed update */
    OP_OPEN,     /* OPEN, to one of the servers */
    OP_PUMP,     /* moves bytes, flips some, loses some */
    OP_LINE,     /* WRITE, READ, CLOSE, the server's own doings */
    OP_LOGIN,    /* PIN, OPEN, and everything until the line stands */
    OP_ORDER,    /* SIGN ORDER */
    OP_ADMIN,    /* PIV: the administration key's authentication */
    OP_KEY,      /* PIV: makes or uses a key */
    OP_OBJECT,   /* PIV: reads or writes an object */
    OP_POWER,    /* reset or power cycle; in another reader */
    OP_CUT,      /* power fails after so many bytes of flash work */
    OP_BAD_READ, /* one read of the flash fails */
    OP_RANDOM,   /* random numbers fail, or are none */
    OP_DAMAGE,   /* bits of the flash turn over without power */
    OP_COUNT,
};

/* Starting states: memories made once. */
enum fuzz_start {
    START_ACTIVE,   /* limits, payees, PIV with keys, a session */
    START_BLANK,    /* as it came from its maker */
    START_COMPLETE, /* nothing is missing, but still blank */
    START_PERSONALISED,
    START_PLAIN,  /* active, no limits, no PIV, sessions in RAM */
    START_PAYEES, /* active, listed payees only, everything permitted over the air */
    START_LOCKED,
    START_TERMINATED,
    START_FULL,   /* active, hardly any memory left */
    START_ERASED, /* was never under power */
    START_COUNT,
};

/* The values that the flash would give after a power cut now. */
struct fuzz_memory {
    size_t count, used;
    struct fuzz_value {
        uint16_t key;
        size_t len, at;
    } values[NVM_VALUES_MAX];
    uint8_t bytes[LAB_PAGE * LAB_PAGES];
};

/* What the sender of a command knows about it that the model cannot see in its bytes. */
struct fuzz_about {
    const struct apdu_command *plain;     /* through the channel: what was wrapped; NULL: forged */
    bool authentic;                       /* EXTERNAL AUTHENTICATE with the right keys */
    const struct issuer_message *message; /* APPLY: truly signed; NULL: forged */
    EVP_PKEY *signer;                     /* by this key */
};

enum fuzz_random { RANDOM_GOOD, RANDOM_FAILS, RANDOM_LATER, RANDOM_STUCK, RANDOM_SHORT };

/* The sums that orders have added up to, as the model counts them. */
struct fuzz_sum {
    char currency[4];
    int64_t day, day_total, small_total;
};

struct fuzz_model {
    bool blind;     /* the flash was damaged on purpose: anything may be refused */
    bool poor;      /* random numbers were none at some time: what is secret may not be */
    bool faulty;    /* the flash has failed since power up */
    bool link, piv; /* selected */
    bool pin_line, pin_order, piv_pin, piv_admin, channel, line;
    bool fresh;             /* the last command was a good VERIFY of PIV */
    bool challenged, asked; /* something was given out that waits for its answer */
    uint8_t challenge[ISSUER_CHALLENGE_LEN];
    uint8_t block[16], block_len; /* PIV: what the card asked to be encrypted or decrypted */
    bool witness;
    uint32_t counter; /* highest that was signed */
    struct fuzz_sum sums[8];
    uint8_t chain[4], chained[4096];
    bool chaining;
    size_t chained_len;
    size_t pool; /* use of the library's heap when nothing goes on */
};

/* The other end of a line. */
enum fuzz_server {
    SERVER_GOOD,
    SERVER_RSA,
    SERVER_CA,
    SERVER_NAME,
    SERVER_EXPIRED,
    SERVER_NO_ASK,
    SERVER_CLIENT,
    SERVER_COUNT
};
#define FUZZ_STREAM 8192u
struct fuzz_peer {
    SSL *ssl;
    enum fuzz_server kind;
    uint8_t state;                              /* last state byte of the card */
    uint8_t down[FUZZ_STREAM], up[FUZZ_STREAM]; /* plaintext that went in, server's and card's */
    size_t down_len, down_at, up_len, up_at;
};

struct fuzz {
    struct lab lab;
    const uint8_t *input;
    size_t input_len;
    uint64_t seed;
    enum fuzz_random random;
    uint8_t random_byte;
    unsigned random_left;
    bool cut_waits; /* the card goes on after its flash is dead */
    unsigned slices;
    struct fuzz_memory old, now;
    unsigned flash_operations;
    struct fuzz_model model;
    struct fuzz_peer peer;
    struct scp03 host;                   /* the issuer's end of the channel */
    uint8_t last[CARD_COMMAND_MAX + 64]; /* last secured command */
    size_t last_len;
    uint8_t message[ISSUER_MESSAGE_MAX]; /* last message of the issuer, and what it says */
    size_t message_len;
    struct issuer_message said;
    EVP_PKEY *signer;
    EVP_PKEY *issuer[2]; /* update keys: the one of the snapshots, another */
};
extern struct fuzz fz;

/* --- fuzz_card.c --------------------------------------------------------------------------------
 */
_Noreturn void fuzz_broken(const char *what);
/* One command to the card, through the model. Data of the answer in out (CARD_RESPONSE_MAX), both
 * outputs may be NULL. */
uint16_t fuzz_exchange(const uint8_t *bytes, size_t len, const struct fuzz_about *about,
                       uint8_t *out, size_t *n);
uint16_t fuzz_command(const struct apdu_command *cmd, const struct fuzz_about *about, uint8_t *out,
                      size_t *n);
/* Reset, or power off and on in this or another reader; `budget`: the power fails first after so
 * many bytes of flash work, -1: it does not. */
void fuzz_power(bool reset, bool contactless, long budget);
enum cw_err fuzz_random_bytes(void *ctx, uint8_t *buf, size_t len);

/* --- card_ops.c ---------------------------------------------------------------------------------
 */
void ops_run(enum fuzz_op op, struct buf_reader *in);
/* As fuzz_command, for a command that anybody could send; not the making of an RSA key, which takes
 * seconds. */
uint16_t ops_send(const struct apdu_command *cmd, uint8_t *out, size_t *n);

/* --- card_issuer.c ------------------------------------------------------------------------------
 */
void issuer_channel(struct buf_reader *in);
void issuer_secured(struct buf_reader *in);
void issuer_time(struct buf_reader *in);
void issuer_update(struct buf_reader *in);

/* --- card_line.c --------------------------------------------------------------------------------
 */
void line_init(const struct lab_identity *root, const struct lab_identity *card_ca);
void line_begin_run(void);
void line_op(enum fuzz_op op, struct buf_reader *in);
void line_peer_free(void);
/* Whom the card holds for its bank: is it a server that has the same keys as the card? */
bool line_is_ours(void);
bool line_binding_of(uint8_t out[LINK_BINDING_LEN]);
/* A whole handshake in START_ACTIVE, so that there is a session. */
void line_make_session(void);

/* --- card_memory.c ------------------------------------------------------------------------------
 */
/* What the flash holds, as the next power up will find it. */
void memory_take(struct fuzz_memory *out);
const uint8_t *memory_find(const struct fuzz_memory *m, uint16_t key, size_t *len);
uint64_t memory_number(const struct fuzz_memory *m, uint16_t key, size_t len);
bool memory_policy(const struct fuzz_memory *m, struct policy *out);
/* One block under PIV's administration key; false when `len` is not one of its cipher's. */
bool memory_admin_crypt(const struct fuzz_memory *m, bool encrypt, const uint8_t *in, size_t len,
                        uint8_t out[32]);
/* Does this hold eight bytes in a row of something that must never leave the card? */
bool memory_leaks(const uint8_t *data, size_t len);
void memory_secrets(void); /* of what is there now */

/* --- card_model.c -------------------------------------------------------------------------------
 */
void model_begin(void);
void model_power_up(void);
void model_command(const uint8_t *bytes, size_t len, const struct fuzz_about *about,
                   const uint8_t *response, size_t n);
void model_end(void);

#endif
