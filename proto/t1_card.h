/* t1_card.h - the card's end of a contact line from the last byte of its ATR on: PPS (ISO/IEC
 * 7816-3:2006 §9) and T=1 (§11). Fed with bytes and silences by a driver that owns UART and clock.
 *
 * What the standard answers is answered; noise, wrong checks, other protocols and nonsense get an
 * R-block or silence, and no state that a reset would be needed for. A command is given out once,
 * however often its blocks come. */
#ifndef CARDWIRE_PROTO_T1_CARD_H
#define CARDWIRE_PROTO_T1_CARD_H

#include "proto/t1.h"

struct t1_params {
    uint8_t ifsc; /* what the ATR says: 1..254 */
    uint8_t ta1;  /* fastest Fi/Di that a PPS may choose; 0x11 for none */
    bool crc;     /* as in the ATR */
};

enum t1_do {
    T1_WAIT,    /* feed what comes */
    T1_SEND,    /* send out[0..out_len), then feed what comes */
    T1_COMMAND, /* command[0..command_len) is there: t1_card_answer, in the meantime
                   t1_card_more_time. command_len > cap: longer than the buffer, which holds the
                   beginning */
    T1_RESUME,  /* the reader has granted more time: go on */
};

struct t1_card {
    struct t1_params params;
    uint8_t *command; /* the driver's */
    size_t command_cap, command_len;
    const uint8_t *response;                         /* the driver's, until it is sent */
    size_t response_len, response_at, response_sent; /* sent: bytes of the last I-block */
    uint16_t in_len;
    uint16_t out_len;
    uint8_t state; /* enum in t1_card.c */
    uint8_t ifsd;
    uint8_t pps1;     /* Fi/Di that hold from after the PPS response on */
    uint8_t sequence; /* N(S) of our next I-block, 0 or 1 */
    uint8_t expected; /* N(S) of the reader's next I-block */
    uint8_t last_pcb; /* of the block that we sent last */
    uint8_t nad;      /* of our blocks: the reader's, with its addresses exchanged */
    uint8_t asked;    /* multiplier of the S(WTX request) */
    uint8_t tries;
    bool bad;    /* parity error inside the block that is coming in */
    bool first;  /* nothing came yet: PPS may */
    bool resync; /* asked for while we asked for time: answered in place of the response */
    uint8_t in[T1_BLOCK_MAX];
    uint8_t out[T1_BLOCK_MAX];
};

/* After a reset, with the ATR on its way. `command` is the driver's, of `cap` bytes. */
void t1_card_start(struct t1_card *c, const struct t1_params *params, uint8_t *command, size_t cap);
enum t1_do t1_card_byte(struct t1_card *c, uint8_t byte, bool parity_ok);
/* CWT has passed since the last byte (in between blocks it means nothing and may be said). */
enum t1_do t1_card_silence(struct t1_card *c);
/* The response to the command; it must stay until the next T1_COMMAND or start. */
enum t1_do t1_card_answer(struct t1_card *c, const uint8_t *response, size_t len);
/* While a command is worked on: asks for `multiplier` times BWT (1..255; §11.6.2.3 rule 3). The
 * driver feeds bytes until T1_RESUME; only then may it answer or ask again. */
enum t1_do t1_card_more_time(struct t1_card *c, uint8_t multiplier);
/* True between T1_COMMAND and t1_card_answer, with no request for time under way. */
bool t1_card_working(const struct t1_card *c);

#endif
