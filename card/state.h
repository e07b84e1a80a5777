/* state.h - what the card knows while it has power, and how its parts call each other. Internal to
 * card/. Everything here is wiped by a reset. */
#ifndef CARDWIRE_CARD_STATE_H
#define CARDWIRE_CARD_STATE_H

#include "card/card.h"
#include "card/line.h"
#include "card/nvm.h"
#include "proto/apdu.h"
#include "proto/link.h"

#define CARD_COMMAND_DATA_MAX  2048u
#define CARD_RESPONSE_DATA_MAX 1024u

/* Values in the card's memory. Keys of PSA's store are at NVM_PSA | slot. */
enum card_value {
    NVM_LIFE = 0x0001,    /* 1 byte, enum link_life; absent: nothing works */
    NVM_PIN = 0x0002,     /* PIN_STORED_LEN bytes: length, digits, zeros */
    NVM_TRIES = 0x0003,   /* 1 byte, tries left */
    NVM_TIME = 0x0004,    /* 8 bytes, floor of time */
    NVM_COUNTER = 0x0005, /* 4 bytes, last order counter used */
    NVM_CERT = LINK_DO_CERT,
    NVM_ROOT = LINK_DO_ROOT,
    NVM_NAME = LINK_DO_NAME,
    NVM_SESSION = 0x0800, /* | index of a name: a TLS session (card/line_session.c) */
    NVM_PSA = 0x4000,
};

struct card {
    const struct card_port *port;
    struct nvm nvm;
    struct line line;
    struct session_store sessions;
    bool selected;            /* the link application */
    bool pin_line, pin_order; /* PIN given, and for what; spent by its use */
    uint8_t chain[4];         /* CLA INS P1 P2 of the chain that is being received */
    bool chaining;
    size_t chain_len;
    uint8_t command[CARD_COMMAND_DATA_MAX];   /* data of a chain */
    uint8_t response[CARD_RESPONSE_DATA_MAX]; /* data of the answer */
    size_t response_len, response_at;         /* what GET RESPONSE still has to give */
};

/* The application's life as stored; 0 when it is none of them. */
enum link_life card_life(const struct card *card);
/* Floor of time; 0 when none has been written. CW_ERR_IO when it cannot be told: then nothing that
 * depends on it may be done. */
CW_MUST_USE enum cw_err card_time(const struct card *card, int64_t *out);
/* Last order counter used; 0 when none. CW_ERR_IO as above. */
CW_MUST_USE enum cw_err card_counter(const struct card *card, uint32_t *out);

/* dispatch.c */
struct card_call {
    struct card *card;
    const struct apdu_command *cmd;
    struct buf_writer *out; /* answer; empty when the handler starts */
};
/* Hands the command to its row, if the row permits it. Returns the status word. */
uint16_t card_dispatch(struct card *card, const struct apdu_command *cmd, struct buf_writer *out);

/* Handlers; rows in link.c say when each may run. */
typedef enum cw_err card_handler(struct card_call *call);
card_handler card_do_select, card_do_verify, card_do_get_data, card_do_put_data, card_do_info,
    card_do_activate, card_do_generate, card_do_request, card_do_sign_order, card_do_open,
    card_do_step, card_do_write, card_do_read, card_do_close;

struct card_row {
    uint8_t cla, ins;
    uint8_t p1_max, p2_max;  /* 0xFF where the handler reads them */
    uint16_t nc_min, nc_max; /* bytes of command data */
    uint16_t ne_min;         /* least Le */
    uint8_t life;            /* mask of 1 << enum link_life */
    uint8_t needs;           /* CARD_NEEDS_* */
    card_handler *handler;
};
#define CARD_NEEDS_SELECTED  0x01 /* the link application is selected */
#define CARD_NEEDS_PIN_LINE  0x02 /* VERIFY 81 */
#define CARD_NEEDS_PIN_ORDER 0x04 /* VERIFY 82 */
#define CARD_NEEDS_LINE      0x08 /* a line, in whatever state */
#define CARD_NEEDS_OPEN      0x10 /* handshake finished, line alive */
#define CARD_NEEDS_CONTACT   0x40 /* not over the air: policy for orders */
#define CARD_FLOW            0x20 /* answers fit Le by themselves; nothing is kept for GET RESPONSE */

const struct card_row *card_rows(size_t *count);

/* pin.c */
#define PIN_STORED_LEN (1 + LINK_PIN_MAX)
CW_MUST_USE enum cw_err pin_set(struct nvm *nvm, const uint8_t *digits, size_t len);
/* Tries left, 0 when blocked or never set. */
unsigned pin_tries(const struct nvm *nvm);
/* CW_ERR_AUTH wrong, CW_ERR_BLOCKED. The try is taken down in memory before the comparison. */
CW_MUST_USE enum cw_err pin_verify(struct nvm *nvm, const uint8_t *digits, size_t len);

/* keys.c */
bool key_slot_valid(unsigned slot);
bool key_present(const struct card *card, unsigned slot);
bool key_certified(const struct card *card, unsigned slot);
/* Does the certificate carry the public key of the slot? */
CW_MUST_USE enum cw_err key_matches(unsigned slot, const uint8_t *der, size_t len);
/* DER signature (RFC 3279) over SHA-256 of data, by the key in `slot`. */
CW_MUST_USE enum cw_err key_sign(unsigned slot, const uint8_t *data, size_t len, uint8_t *out,
                                 size_t cap, size_t *out_len);

/* its.c: which card the library's key store and random numbers come from; NULL: none. */
void its_attach(struct card *card);

#endif
