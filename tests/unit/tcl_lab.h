/* tcl_lab.h - both ends of ISO/IEC 14443-4, joined through a channel that does wrong. Every answer
 * is a function of the command and of how many commands the card has executed since it was
 * activated, so that an answer to something else, a command in pieces, or one executed twice cannot
 * go unseen.
 *
 * What the channel does wrong keeps to what a CRC_A finds: up to three bits in a frame; a truncated
 * frame with a good CRC is truncated further. A wrong block number has a good CRC: no channel does
 * that, it stands for an end that is out of step. One of
 * them and nothing else wrong in an exchange is always survived; more than one bit of numbering can
 * tell is a lost block beside it. */
#ifndef CARDWIRE_TESTS_UNIT_TCL_LAB_H
#define CARDWIRE_TESTS_UNIT_TCL_LAB_H

#include "proto/tcl_card.h"
#include "proto/tcl_reader.h"

enum tcl_fault {
    FAULT_NONE,
    FAULT_CRC,   /* one to three bits */
    FAULT_NOISE, /* the receiver saw it: parity, collision */
    FAULT_LOSS,
    FAULT_DOUBLE,
    FAULT_DELAY,  /* it comes after FWT */
    FAULT_NUMBER, /* block number turned over, CRC right */
    FAULT_CUT,    /* 1 byte to all but one */
    FAULT_KINDS
};

#define TCL_LAB_QUEUE 16
#define TCL_LAB_DATA  1500 /* longest command and answer */

struct tcl_lab_frame {
    uint8_t bytes[TCL_FRAME_MAX];
    size_t len;
    uint8_t rate;
    bool intact;
};

struct tcl_lab_queue {
    struct tcl_lab_frame frames[TCL_LAB_QUEUE];
    size_t n;
};

struct tcl_lab {
    struct tcl_card card;
    struct tcl_reader reader;
    struct tcl_reader_params params;
    uint8_t ats[ATS_MAX];
    size_t ats_len;
    uint64_t random;
    struct tcl_lab_queue to_reader, late_to_reader, late_to_card;
    uint8_t reader_dsi, reader_dri, card_dsi, card_dri; /* what they speak now */
    uint8_t buffer[TCL_LAB_DATA];
    uint8_t command[TCL_LAB_DATA], answer[TCL_LAB_DATA], expected[TCL_LAB_DATA];
    uint8_t response[TCL_LAB_DATA];
    size_t command_len;
    uint64_t serial;   /* of the exchange: every command is another */
    uint32_t executed; /* since the activation */
    uint32_t done_now; /* in this exchange */
    unsigned waits;    /* S(WTX) yet to be asked for in this command */
    unsigned busy;     /* the answer is this many FWT late */
    /* the plan: frame number -> fault */
    uint64_t frame_no;
    uint64_t fault_at[2];
    enum tcl_fault fault_kind[2];
    unsigned rate; /* of random faults but FAULT_NUMBER, in 1000 */
    bool drop;     /* the driver drops what came before it sends, as it should */
    bool active;
    const char *wrong; /* what must not happen, happened */
    struct {
        uint64_t exchanges, completed, resets, frames, recovered, executed_then_reset;
        uint64_t faults[FAULT_KINDS];
    } counts;
};

uint32_t tcl_lab_random(struct tcl_lab *l, uint32_t below);
/* Activates until it succeeds; false after 200 tries. */
bool tcl_lab_activate(struct tcl_lab *l);
/* One exchange of `nc` bytes for an answer of `na` (8 at least, both; nc 0: presence check). true:
 * completed; false: the card had to be given up, and is not active. l->wrong tells what is wrong.
 */
bool tcl_lab_exchange(struct tcl_lab *l, size_t nc, size_t na);
bool tcl_lab_deselect(struct tcl_lab *l);

#endif
