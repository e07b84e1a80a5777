/* tcl_card.h - the card's end (PICC) of ISO/IEC 14443-4:2018, from its selection by ISO/IEC 14443-3
 * on: RATS, PPS, blocks. Fed with whole frames, CRC_A included, by a driver that owns antenna and
 * clock.
 *
 * A card never recovers errors, the reader does (§7.5.4): what is not right gets silence, and no
 * state that more than a new activation would be needed for. A command is given out once, however
 * often its blocks come. */
#ifndef CARDWIRE_PROTO_TCL_CARD_H
#define CARDWIRE_PROTO_TCL_CARD_H

#include "proto/ats.h"
#include "proto/tcl.h"

enum tcl_do {
    TCL_WAIT,    /* feed what comes */
    TCL_SEND,    /* send out[0..out_len), then feed what comes; `rates` hold from then on */
    TCL_COMMAND, /* command[0..command_len) is there: tcl_card_answer within FWT, or in the meantime
                    tcl_card_more_time. command_len > cap: longer than the buffer, which holds the
                    beginning */
    TCL_RESUME,  /* the reader has granted more time: go on */
    TCL_HALT,    /* send out[0..out_len); the card is deselected, a command under way is dropped.
                    When it is selected again: tcl_card_start */
};

struct tcl_card {
    const uint8_t *ats; /* the driver's */
    uint8_t *command;   /* the driver's */
    size_t command_cap, command_len;
    const uint8_t *response;                         /* the driver's, until it is sent */
    size_t response_len, response_at, response_sent; /* sent: bytes of the last I-block */
    uint16_t ats_len;
    uint16_t out_len;
    uint16_t fsd;
    struct ats_meaning can;
    uint16_t last_crc; /* of the I-block that was accepted last */
    uint8_t state;     /* enum in tcl_card.c */
    uint8_t cid;
    uint8_t dsi, dri; /* rates as in struct tcl_pps: hold when what is in out has been sent */
    uint8_t power;    /* level indication of our blocks, 0..3; the driver may set it */
    uint8_t number;   /* block number, rules C to E */
    uint8_t has_cid;  /* TCL_CID when the block that we answer has one, else 0 */
    uint8_t nad;      /* of our answer: the reader's, with its addresses exchanged */
    uint8_t asked;    /* WTXM of the S(WTX) request */
    bool nad_in;      /* the command came with a NAD */
    bool has_last;    /* last_crc is one */
    uint8_t out[TCL_FRAME_MAX];
};

/* After selection. `ats` (TL first, no CRC) says what the card can do, and stays the driver's, as
 * does `command` of `cap` bytes. CW_ERR_LENGTH: no ATS. */
CW_MUST_USE enum cw_err tcl_card_start(struct tcl_card *c, const uint8_t *ats, size_t ats_len,
                                       uint8_t *command, size_t cap);
/* A frame with its CRC_A; intact is false when the receiver saw an error (parity, collision). What
 * comes while a command is worked on is not heard. */
enum tcl_do tcl_card_frame(struct tcl_card *c, const uint8_t *frame, size_t len, bool intact);
/* The response to the command; it must stay until the next TCL_COMMAND or start. */
enum tcl_do tcl_card_answer(struct tcl_card *c, const uint8_t *response, size_t len);
/* While a command is worked on: asks for `wtxm` times FWT (1..59; §7.3). The driver feeds frames
 * until TCL_RESUME; only then may it answer or ask again. */
enum tcl_do tcl_card_more_time(struct tcl_card *c, uint8_t wtxm);
/* True between TCL_COMMAND and tcl_card_answer, with no request for time under way. */
bool tcl_card_working(const struct tcl_card *c);

#endif
