/* t1.h - the block protocol T=1 of contact cards (ISO/IEC 7816-3:2006 §11): blocks as bytes, and
 * the times of the line. The two ends are in t1_card.h and t1_reader.h. No I/O, no state. */
#ifndef CARDWIRE_PROTO_T1_H
#define CARDWIRE_PROTO_T1_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define T1_PROLOGUE    3u   /* NAD, PCB, LEN: §11.3.2 */
#define T1_INF_MAX     254u /* bytes of an information field; LEN = 255 is reserved */
#define T1_INF_DEFAULT 32u  /* IFSC and IFSD before anybody says otherwise: §11.4.2 */
#define T1_BLOCK_MAX   (T1_PROLOGUE + T1_INF_MAX + 2u)

/* PCB, §11.3.2.2 */
#define T1_I_SEQ   0x40u
#define T1_I_MORE  0x20u
#define T1_R       0x80u
#define T1_R_SEQ   0x10u
#define T1_R_OK    0x00u
#define T1_R_EDC   0x01u /* redundancy or parity error */
#define T1_R_OTHER 0x02u
#define T1_S       0xC0u
#define T1_S_REPLY 0x20u
#define T1_RESYNCH 0x00u
#define T1_IFS     0x01u
#define T1_ABORT   0x02u
#define T1_WTX     0x03u

#define T1_RETRIES 3u /* tries of one block before the next measure, §11.6.3 */

enum t1_kind { T1_BLOCK_I, T1_BLOCK_R, T1_BLOCK_S };

struct t1_block {
    uint8_t nad, pcb;
    const uint8_t *inf; /* into the parsed bytes */
    uint8_t len;        /* 0..254 */
};

static inline enum t1_kind t1_kind(uint8_t pcb)
{
    return (pcb & 0x80u) == 0 ? T1_BLOCK_I : (pcb & 0x40u) == 0 ? T1_BLOCK_R : T1_BLOCK_S;
}

/* Bytes of a whole block of which the first `len` are there; 0 when the prologue is not complete.
 */
size_t t1_expected(const uint8_t *bytes, size_t len, bool crc);
/* CW_ERR_LENGTH; CW_ERR_IO when the EDC is wrong; CW_ERR_FORMAT when LEN or PCB is one that
 * §11.3.2 does not have (R with INF, S of unknown type or wrong length). */
CW_MUST_USE enum cw_err t1_parse(const uint8_t *bytes, size_t len, bool crc, struct t1_block *out);
/* Writes a block; out must hold T1_BLOCK_MAX, inf may lie in it at T1_PROLOGUE. Returns its length.
 */
size_t t1_write(uint8_t nad, uint8_t pcb, const uint8_t *inf, uint8_t len, bool crc, uint8_t *out);

/* Times in etu. */
#define T1_BGT 22u /* block guard time: leading edge to leading edge, other direction; §11.4.3 */
/* Least distance of two leading edges in one direction: 12 + N, or 11 when N is 255; §11.2 */
uint32_t t1_character_etu(uint8_t n);
/* Largest distance of leading edges inside a block: 11 + 2^CWI; §11.4.3 */
uint32_t t1_cwt_etu(uint8_t cwi);
/* Largest wait for a block: 11 etu + 2^BWI * 960 * 372 clock cycles; the cycles as etu of fi/di,
 * rounded up; §11.4.3 */
uint32_t t1_bwt_etu(uint8_t bwi, uint16_t fi, uint8_t di);

#endif
