/* tcl.h - frames of the contactless transmission protocol (ISO/IEC 14443-4:2018, "§") of type A, as
 * bytes, and the times of its line. The two ends are in tcl_card.h (PICC) and tcl_reader.h (PCD).
 * No I/O, no state. */
#ifndef CARDWIRE_PROTO_TCL_H
#define CARDWIRE_PROTO_TCL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCL_FRAME_MAX 256u /* bytes, with CRC_A */
#define TCL_CRC_LEN   2u
#define TCL_CID_MAX   14u
#define TCL_RETRIES   3u /* tries of the reader after an error, before it gives the card up */

/* Activation, §5.1 and §5.3 */
#define TCL_RATS     0xE0
#define TCL_PPSS     0xD0 /* and the CID */
#define TCL_RATS_LEN 4u   /* with CRC_A */
#define TCL_PPS_MAX  5u

/* PCB, §7.1.2.2 */
#define TCL_I          0x02u
#define TCL_I_MORE     0x10u
#define TCL_R_ACK      0xA2u
#define TCL_R_NAK      0xB2u
#define TCL_DESELECT   0xC2u
#define TCL_WTX        0xF2u
#define TCL_PARAMETERS 0xF0u /* S(PARAMETERS): neither end of ours has them */
#define TCL_CID        0x08u /* a CID follows */
#define TCL_NAD        0x04u /* a NAD follows (I-blocks) */
#define TCL_NUMBER     0x01u

#define TCL_WTXM_MAX 59u

enum tcl_kind { TCL_BLOCK_I, TCL_BLOCK_R, TCL_BLOCK_S };

struct tcl_block {
    uint8_t pcb;   /* tells by TCL_CID and TCL_NAD which of the next are there */
    uint8_t cid;   /* 0..14 */
    uint8_t power; /* level indication of the card, 0..3: §7.4 */
    uint8_t nad;
    const uint8_t *inf; /* into the parsed bytes */
    uint16_t len;
};

enum tcl_kind tcl_kind(uint8_t pcb);

uint16_t tcl_crc_a(const uint8_t *bytes, size_t len); /* ISO/IEC 14443-3; sent low byte first */
/* Writes it behind `len` bytes; returns the new length. */
size_t tcl_seal(uint8_t *bytes, size_t len);
/* At least one byte and a right CRC_A. */
bool tcl_intact(const uint8_t *bytes, size_t len);

/* A frame with CRC_A. CW_ERR_IO: the CRC is wrong, or less than a PCB and a CRC. CW_ERR_FORMAT: a
 * PCB, CID, length or INF that §7.1.2 does not have. */
CW_MUST_USE enum cw_err tcl_parse(const uint8_t *bytes, size_t len, struct tcl_block *out);
/* Bytes of a block that are not INF: PCB, CID and NAD by pcb, CRC_A. */
size_t tcl_overhead(uint8_t pcb);
/* Writes a block with CRC_A. out must hold tcl_overhead + len. Returns its length. */
size_t tcl_write(const struct tcl_block *block, uint8_t *out);

/* RATS (§5.1). CW_ERR_IO as above; CW_ERR_FORMAT: no RATS, or CID 15. */
CW_MUST_USE enum cw_err tcl_rats_parse(const uint8_t *bytes, size_t len, uint8_t *fsdi,
                                       uint8_t *cid);
size_t tcl_rats_write(uint8_t fsdi, uint8_t cid, uint8_t *out);

/* PPS request (§5.3). dsi (card to reader), dri (reader to card): 0..3 for 106, 212, 424 and 848
 * kbit/s. CW_ERR_IO, CW_ERR_FORMAT. The response is its first byte, with CRC_A. */
struct tcl_pps {
    uint8_t cid, dsi, dri;
};
CW_MUST_USE enum cw_err tcl_pps_parse(const uint8_t *bytes, size_t len, struct tcl_pps *out);
size_t tcl_pps_write(const struct tcl_pps *pps, uint8_t *out);

/* Times, in cycles of the carrier: fc = 13.56 MHz. */
#define TCL_FC_HZ          13560000u
#define TCL_ACTIVATION_FC  65536u    /* FWT of the ATS, §5.5, and of S(DESELECT), §8.2 */
#define TCL_FWT_MAX_FC     67108864u /* FWI 14, §7.2 */
#define TCL_FWT_DELTA_FC   49152u    /* that a reader waits beyond FWT, §7.2 */
#define TCL_FRAME_DELAY_FC 1172u     /* least time between frames: ISO/IEC 14443-3 §6.2.1 */
uint32_t tcl_fwt_fc(uint8_t fwi);    /* 256 * 16 * 2^FWI; FWI 15 is 4: §7.2 */
uint32_t tcl_fwt_temp_fc(uint8_t fwi, uint8_t wtxm); /* FWT * WTXM, at most FWT max: §7.3 */
/* Time that the card needs after its ATS, with the reader's margin; at least the frame delay:
 * §5.2.5 */
uint32_t tcl_sfgt_fc(uint8_t sfgi);
/* One frame of `len` bytes on the air at 106 kbit/s << rate (0..3): start, 9 bits a byte, end
 * (ISO/IEC 14443-3 §6.2.3.2). The preamble of a card above 106 kbit/s is not counted. */
uint32_t tcl_frame_fc(size_t len, uint8_t rate);
uint32_t tcl_fc_us(uint32_t fc); /* in microseconds, rounded up */

#endif
