/* state.h - what the card knows while it has power, and how its parts call each other. Internal to
 * card/. Everything here is wiped by a reset. */
#ifndef CARDWIRE_CARD_STATE_H
#define CARDWIRE_CARD_STATE_H

#include "base/hard.h"
#include "card/card.h"
#include "card/keygen.h"
#include "card/line.h"
#include "card/line_session.h"
#include "card/nvm.h"
#include "card/piv.h"
#include "proto/apdu.h"
#include "proto/issuer.h"
#include "proto/link.h"
#include "proto/policy.h"
#include "proto/scp03.h"

#define CARD_COMMAND_DATA_MAX  2048u
#define CARD_RESPONSE_DATA_MAX 1024u

/* Values in the card's memory. What has a LINK_DO_ number is stored under it. */
enum card_value {
    NVM_LIFE = 0x0010,     /* 1 byte, enum link_life; absent: nothing works */
    NVM_COUNTER = 0x0011,  /* order.c: counter, and what was spent of the limits */
    NVM_SEQUENCE = 0x0012, /* 4 bytes, of the issuer's last update */
    NVM_KEYSET = 0x0013,   /* secure.c: the issuer's key set */
    NVM_TRIES = 0x0020,    /* | enum link_pin: tries left (1), maximum (1) */
    NVM_CERT = LINK_DO_CERT,
    NVM_ROOT = LINK_DO_ROOT,
    NVM_NAME = LINK_DO_NAME,
    NVM_PIN = LINK_DO_PIN,   /* | enum link_pin: PIN_STORED_LEN bytes */
    NVM_TIME = LINK_DO_TIME, /* 8 bytes, floor of time */
    NVM_POLICY = LINK_DO_POLICY,
    NVM_ISSUER = LINK_DO_ISSUER,
    NVM_SESSION = 0x0800, /* | index of a name: a TLS session (card/line_session.c) */
    NVM_PAYEES = LINK_DO_PAYEES,
    NVM_ADMIN = LINK_DO_ADMIN,
    NVM_PIV_KEY = 0x1000,    /* | key reference: algorithm (1), private key */
    NVM_PIV_OBJECT = 0x1100, /* | last byte of the tag: 53 and what is in it */
    NVM_PSA = 0x4000,        /* | key slot */
};

struct card_app;

struct card {
    const struct card_port *port;
    struct nvm nvm;
    struct line line;
    struct session_store sessions; /* those in RAM survive SELECT */
    struct keygen keygen;          /* an RSA key that is being made */
    uint8_t keygen_slot;           /* for this slot; 0: none is */
    const struct card_app *app;    /* selected; NULL: none */
    uint32_t pin_line, pin_order;  /* HARD_YES: PIN given, and for what; spent by its use */
    uint8_t refused;               /* enum link_refusal: why the last order was not signed */
    struct scp03 channel;          /* the issuer's */
    bool challenged;               /* `challenge` was given out and not used yet */
    uint8_t challenge[ISSUER_CHALLENGE_LEN];
    struct piv piv;
    uint32_t commands; /* twice what was received since power up, chained ones as one */
    uint8_t chain[4];  /* CLA INS P1 P2 of the chain that is being received */
    bool chaining;
    size_t chain_len;
    /* Data of a chain, protected or not; after it the command that comes, where the port puts it
     * there (card_command_space). */
    uint8_t command[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_DATA_MAX]; /* data of the answer */
    size_t response_len, response_at;         /* what GET RESPONSE still has to give */
    uint16_t response_object;                 /* not 0: the answer is this value, in memory */
};

/* --- values.c ------------------------------------------------------------------------------------
 */

/* A big-endian number of `len` bytes, at most 8. CW_ERR_NOT_FOUND when it was never written,
 * CW_ERR_IO when it cannot be told. */
CW_MUST_USE enum cw_err card_number(const struct card *card, uint16_t key, size_t len,
                                    uint64_t *out);
/* The card's life as stored; 0 when it is none of them. */
enum link_life card_life(const struct card *card);
/* May a value be missing that issuance writes? While it is not complete, and when all is gone. */
bool card_incomplete(const struct card *card);
/* Floor of time; 0 when none has been written. CW_ERR_IO when it cannot be told: then nothing that
 * depends on it may be done. */
CW_MUST_USE enum cw_err card_time(const struct card *card, int64_t *out);
/* The issuer's policy. CW_ERR_IO when there is none, or it cannot be read: nothing that it rules
 * may be done. */
CW_MUST_USE enum cw_err card_policy(const struct card *card, struct policy *out);
/* May this be done on the interface that the card is powered by? `flag` is the policy's
 * POLICY_*_CONTACTLESS. Never when it cannot be told. */
bool card_interface_permits(const struct card *card, uint8_t flag);

/* --- dispatch.c ---------------------------------------------------------------------------------
 */

struct card_call {
    struct card *card;
    const struct apdu_command *cmd;
    struct buf_writer *out; /* answer; empty when the handler starts */
    uint16_t object;        /* set by the handler: the answer is this value of the memory */
    enum link_pin pin;      /* set by the handler: the PIN that CW_ERR_AUTH is about */
};

typedef enum cw_err card_handler(struct card_call *call);

/* What a command needs is declared in its row and checked before its handler runs. */
struct card_row {
    uint8_t cla, ins;
    uint8_t p1_max, p2_max;  /* 0xFF where the handler reads them */
    uint16_t nc_min, nc_max; /* bytes of command data */
    uint16_t ne_min;         /* least Le */
    uint8_t life;            /* mask of 1 << enum link_life */
    uint16_t needs;          /* CARD_NEEDS_* */
    card_handler *handler;
};
#define CARD_NEEDS_PIN_LINE        0x0001 /* VERIFY 81 */
#define CARD_NEEDS_LINE            0x0002 /* a line, in whatever state */
#define CARD_NEEDS_OPEN            0x0004 /* handshake finished, line alive */
#define CARD_NEEDS_ORDER_INTERFACE 0x0008 /* policy: orders over the air or not */
#define CARD_NEEDS_ISSUER          0x0010 /* the issuer's secure channel, and nothing else */
#define CARD_FLOW                  0x0020 /* answers fit Le by themselves; nothing is kept for GET RESPONSE */
#define CARD_SECURE                0x0040 /* secure messaging is the handler's own */
#define CARD_NEEDS_CONTACT         0x0080 /* never over the air */
#define CARD_NEEDS_PIV_ADMIN       0x0100 /* PIV's administration key was proved */
#define CARD_OBJECTS               0x0200 /* what is not found is an object: 6A82, not 6A88 */
#define CARD_CLEAR                 0x0400 /* takes no secure messaging */

#define CARD_LIFE(l) (1u << (l))

/* An application: what SELECT finds by its name, and the commands that are then there. */
struct card_app {
    const uint8_t *aid;
    uint8_t aid_len, aid_min; /* SELECT takes aid_min..aid_len bytes of it (right-truncated) */
    uint8_t life;             /* in which it can be selected */
    bool le_assumed;          /* answers also those who leave out Le */
    const struct card_row *rows;
    size_t row_count;
    card_handler *select;             /* writes the FCI, unless P2 is 0C */
    void (*leave)(struct card *card); /* another application was selected */
};
extern const struct card_app link_app, piv_app;
#define CARD_APP_COUNT 2u
extern const struct card_app *const card_apps[CARD_APP_COUNT];

/* Hands the command to its row, if the row permits it. Returns the status word. */
uint16_t card_dispatch(struct card *card, const struct apdu_command *cmd, struct buf_writer *out,
                       uint16_t *object);

/* Handlers; rows in link.c say when each may run. */
card_handler card_do_verify, card_do_change_pin, card_do_reset_pin; /* pin_commands.c */
card_handler card_do_get_data, card_do_put_data;                    /* objects.c */
card_handler card_do_info;                                          /* info.c */
card_handler card_do_set_status;                                    /* life.c */
card_handler card_do_generate, card_do_request;                     /* keys.c */
card_handler card_do_sign_order;                                    /* order.c */
card_handler card_do_challenge, card_do_apply;                      /* issuer.c */
card_handler card_do_open, card_do_step, card_do_write, card_do_read, card_do_close;
/* Rows in piv.c */
card_handler piv_do_get_data, piv_do_put_data;                   /* piv_data.c */
card_handler piv_do_verify, piv_do_change_pin, piv_do_reset_pin; /* piv_pin.c */
card_handler piv_do_authenticate, piv_do_generate;               /* piv_keys.c */
card_handler piv_do_set_admin, piv_do_get_metadata;              /* piv_admin.c */

/* --- secure.c ------------------------------------------------------------------------------------
 */

/* The issuer's secure channel is up: both ends authenticated, everything encrypted and
 * authenticated both ways. It ends with a reset, another SELECT, a plain command, or a failure. */
bool secure_is_open(const struct card *card);
/* The command that is being carried out came through it. */
bool secure_is_proved(const struct card *card);
void secure_drop(struct card *card);
/* Checks and decrypts cmd->data in place: it lies in card->command. */
CW_MUST_USE enum cw_err secure_unwrap(struct card *card, struct apdu_command *cmd);
/* Encrypts the answer in place. */
CW_MUST_USE enum cw_err secure_wrap(struct card *card, uint16_t sw, struct buf_writer *out);
#define SECURE_RESPONSE_MAX (CARD_RESPONSE_DATA_MAX - SCP03_OVERHEAD)
/* Writes the key set of the card's maker, with which a blank card is personalised. */
CW_MUST_USE enum cw_err secure_begin(struct card *card);
/* Version of the key set; 0 when it cannot be told. */
uint8_t secure_version(const struct card *card);
card_handler card_do_initialize_update, card_do_external_authenticate, card_do_put_key;

/* --- pin.c ---------------------------------------------------------------------------------------
 */

#define PIN_STORED_LEN (2 + LINK_PIN_MAX) /* flags, length, digits, zeros */
/* Writes PIN and tries together: both or neither. */
CW_MUST_USE enum cw_err pin_set(struct card *card, enum link_pin pin, uint8_t tries, uint8_t flags,
                                const uint8_t *digits, size_t len);
/* Tries left; 0 when blocked or never set. */
unsigned pin_tries(const struct card *card, enum link_pin pin);
unsigned pin_tries_max(const struct card *card, enum link_pin pin);
/* Was it ever set? */
bool pin_present(const struct card *card, enum link_pin pin);
/* Must it be changed first? */
bool pin_transport(const struct card *card, enum link_pin pin);
/* CW_ERR_AUTH wrong, CW_ERR_BLOCKED, CW_ERR_LENGTH (costs no try). The try is taken down in memory
 * before the comparison. What counts is *given, HARD_YES or 0: CW_OK alone opens nothing. */
CW_MUST_USE enum cw_err pin_verify(struct card *card, enum link_pin pin, const uint8_t *digits,
                                   size_t len, uint32_t *given);
/* Verifies `old`, then sets the new digits, which the caller has checked. Tries are full again, a
 * transport PIN is one no longer. */
CW_MUST_USE enum cw_err pin_change(struct card *card, enum link_pin pin, const uint8_t *old,
                                   size_t old_len, const uint8_t *digits, size_t len,
                                   uint32_t *given);
/* The same with the PUK in the place of the old PIN, which may be blocked. */
CW_MUST_USE enum cw_err pin_unblock(struct card *card, enum link_pin puk, enum link_pin pin,
                                    const uint8_t *puk_digits, size_t puk_len,
                                    const uint8_t *digits, size_t len);

/* --- objects.c -----------------------------------------------------------------------------------
 */

/* May this value be stored under this LINK_DO_ number? Not for PINs and keys. */
CW_MUST_USE enum cw_err object_check(struct card *card, uint16_t object, const uint8_t *value,
                                     size_t len);
/* Does a TLS session rest on it? When it changes, sessions end. */
bool object_is_trust(uint16_t object);
/* Is it none that anybody may read? */
bool object_secret(uint16_t object);
/* May this object be taken away from a card? */
bool object_removable(uint16_t object);
/* Does the card still have a root and a name when these writes are done? CW_ERR_STATE. */
CW_MUST_USE enum cw_err objects_remain(const struct card *card, const struct issuer_write *writes,
                                       size_t count);

/* --- life.c --------------------------------------------------------------------------------------
 */

/* Is the step from the card's life to `to` permitted, and the card complete for it? Nothing is
 * written. CW_ERR_STATE. */
CW_MUST_USE enum cw_err life_check(const struct card *card, enum link_life to);
/* Takes everything from a blank card but its keys for the issuer: whoever had the card before, and
 * the maker's keys, leaves nothing in it. */
CW_MUST_USE enum cw_err life_begin_anew(struct card *card);
/* After the new life was written: ends what it does not permit. A terminated card loses its keys,
 * PINs and sessions; power up does it again if the power failed in between. */
CW_MUST_USE enum cw_err life_settle(struct card *card);

/* --- keys.c --------------------------------------------------------------------------------------
 */

bool key_slot_valid(unsigned slot);
bool key_present(const struct card *card, unsigned slot);
bool key_certified(const struct card *card, unsigned slot);
/* Forgets the key that is being made, if any. */
void key_unfinished_drop(struct card *card);
/* Does the certificate carry the public key of the slot? */
CW_MUST_USE enum cw_err key_matches(unsigned slot, const uint8_t *der, size_t len);
/* DER signature (RFC 3279) over SHA-256 of data, by the key in `slot`. */
CW_MUST_USE enum cw_err key_sign(unsigned slot, const uint8_t *data, size_t len, uint8_t *out,
                                 size_t cap, size_t *out_len);

/* --- order.c -------------------------------------------------------------------------------------
 */

/* Last order counter used; 0 when none. CW_ERR_IO when it cannot be told. */
CW_MUST_USE enum cw_err order_counter(const struct card *card, uint32_t *out);
/* Counter and limits of a card that has signed nothing, as stored under NVM_COUNTER. */
#define ORDER_LEDGER_LEN (4u + POLICY_LIMITS_MAX * 23u)
void order_begin(uint8_t out[ORDER_LEDGER_LEN]);

/* --- issuer.c ------------------------------------------------------------------------------------
 */

/* Sequence of the issuer's last update; 0 when there was none. CW_ERR_IO. */
CW_MUST_USE enum cw_err issuer_sequence(const struct card *card, uint32_t *out);

/* --- piv_data.c ----------------------------------------------------------------------------------
 */

/* Does PIV, with this value, leave room in memory for what the issuer may send? */
bool piv_leaves_room(const struct nvm *nvm, uint16_t key, size_t len);

/* --- piv_admin.c ---------------------------------------------------------------------------------
 */

/* Replaces the administration key: of SP 800-78-4 table 6-2, in that algorithm's length.
 * CW_ERR_FORMAT, CW_ERR_LENGTH. */
CW_MUST_USE enum cw_err piv_admin_set(struct card *card, uint8_t algorithm, const uint8_t *key,
                                      size_t len);
/* GENERAL AUTHENTICATE with it: proves to the card, or to both sides, that the other has it. */
CW_MUST_USE enum cw_err piv_admin_authenticate(struct card_call *call,
                                               const struct piv_template *given);

/* its.c: which card the library's key store and random numbers come from; NULL: none. */
void its_attach(struct card *card);

#endif
