/* t1_reader.h - the reader's end of T=1 (ISO/IEC 7816-3:2006 §11), from after the ATR and PPS on.
 * Fed with bytes and silences by a driver that owns line and clock. Either the card's whole answer
 * comes out, or T1R_FAILED: then the card has to be reset, and nothing is known of what it did. */
#ifndef CARDWIRE_PROTO_T1_READER_H
#define CARDWIRE_PROTO_T1_READER_H

#include "proto/t1.h"

struct t1_reader_params {
    uint8_t ifsc; /* from the ATR */
    uint8_t ifsd; /* what we can take: 1..254; told to the card before the first command */
    bool crc;
    uint32_t cwt_etu, bwt_etu;
};

enum t1_reader_do {
    T1R_SEND,    /* send out[0..out_len), at least BGT after the last byte, then feed what comes */
    T1R_RECEIVE, /* feed what comes; t1_reader_silence when nothing comes for wait_etu */
    T1R_DONE,    /* response[0..response_len) is there */
    T1R_FAILED,  /* reset the card */
};

struct t1_reader_counts {
    uint32_t blocks_sent, blocks_received, errors, resyncs, waits;
};

struct t1_reader {
    struct t1_reader_params params;
    const uint8_t *command; /* the driver's */
    size_t command_len, command_at, command_sent;
    uint8_t *response;                 /* the driver's */
    size_t response_cap, response_len; /* response_len > response_cap: it did not fit */
    uint32_t wait_etu;
    struct t1_reader_counts counts;
    uint16_t in_len;
    uint16_t out_len;
    uint8_t state;
    uint8_t ifsc;
    uint8_t sequence, expected;
    uint8_t last_pcb;
    uint8_t tries, resyncs;
    bool bad;
    bool ifs_told;
    bool answering; /* the first block of the answer is there */
    bool any;       /* a good block of the card was seen since the start */
    uint8_t in[T1_BLOCK_MAX];
    uint8_t out[T1_BLOCK_MAX];
};

/* After ATR and PPS. */
void t1_reader_start(struct t1_reader *r, const struct t1_reader_params *params);
/* One command and its answer; both buffers must stay until T1R_DONE or T1R_FAILED. */
enum t1_reader_do t1_reader_command(struct t1_reader *r, const uint8_t *command, size_t len,
                                    uint8_t *response, size_t cap);
enum t1_reader_do t1_reader_byte(struct t1_reader *r, uint8_t byte, bool parity_ok);
/* wait_etu have passed: nothing came at all, or a block stopped in the middle. */
enum t1_reader_do t1_reader_silence(struct t1_reader *r);

#endif
