/* tcl_reader.h - the reader's end (PCD) of ISO/IEC 14443-4:2018, from the selection of a card by
 * ISO/IEC 14443-3 on. Fed with whole frames, CRC_A included, and silences, by a driver that owns
 * antenna and clock. Either the card's whole answer comes out, or TCLR_FAILED: then the card has to
 * be activated anew (deselected or the field off, selected, RATS), and nothing is known of what it
 * did. */
#ifndef CARDWIRE_PROTO_TCL_READER_H
#define CARDWIRE_PROTO_TCL_READER_H

#include "proto/ats.h"
#include "proto/tcl.h"

struct tcl_reader_params {
    uint8_t fsdi;  /* what we can take: 0..8 for 16..256 bytes */
    uint8_t cid;   /* that the card gets: 0..14; not used with a card that has no CID */
    bool no_cid;   /* blocks without CID; only with cid 0 */
    bool with_nad; /* send `nad`, when the card has NAD */
    uint8_t nad;
    uint8_t dsi, dri; /* fastest rates wanted, as in struct tcl_pps; 0, 0: no PPS */
};

enum tcl_reader_do {
    TCLR_SEND,   /* send out[0..out_len), at least pause_fc after the last frame, then feed what
                    comes,   tcl_reader_silence when nothing comes for wait_fc */
    TCLR_DONE,   /* activated, deselected, or response[0..response_len) is there */
    TCLR_FAILED, /* activate the card anew */
};

struct tcl_reader_counts {
    uint32_t frames_sent, frames_received, errors, retransmissions, waits;
};

struct tcl_reader {
    struct tcl_reader_params params;
    struct ats_meaning card;
    const uint8_t *command; /* the driver's */
    size_t command_len, command_at, command_sent;
    uint8_t *response;                 /* the driver's */
    size_t response_cap, response_len; /* response_len > response_cap: it did not fit */
    uint32_t wait_fc, pause_fc;
    uint32_t guard_fc; /* the pause_fc of the next frame */
    struct tcl_reader_counts counts;
    uint16_t ats_len;
    uint16_t out_len;
    uint16_t last_crc; /* of the I-block that was accepted last */
    uint8_t state;
    uint8_t dsi, dri; /* rates that hold after TCLR_DONE of the activation */
    uint8_t number;   /* block number, rules A and B */
    uint8_t tries;
    uint8_t power; /* level indication that the card gave last; 0: none */
    uint8_t ats[ATS_MAX];
    uint8_t out[TCL_FRAME_MAX];
};

/* After selection; the counts begin at 0. */
void tcl_reader_start(struct tcl_reader *r, const struct tcl_reader_params *params);
/* RATS, and PPS where both ends can do more than 106 kbit/s. After TCLR_DONE: ats, card, dsi and
 * dri. */
enum tcl_reader_do tcl_reader_activate(struct tcl_reader *r);
/* One command and its answer; both buffers must stay until TCLR_DONE or TCLR_FAILED. A command of 0
 * bytes (not NULL) asks whether the card is there (presence check, method 1). */
enum tcl_reader_do tcl_reader_command(struct tcl_reader *r, const uint8_t *command, size_t len,
                                      uint8_t *response, size_t cap);
/* S(DESELECT), §8. */
enum tcl_reader_do tcl_reader_deselect(struct tcl_reader *r);
enum tcl_reader_do tcl_reader_frame(struct tcl_reader *r, const uint8_t *frame, size_t len,
                                    bool intact);
/* Nothing came for wait_fc. */
enum tcl_reader_do tcl_reader_silence(struct tcl_reader *r);

#endif
