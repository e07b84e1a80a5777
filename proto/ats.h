/* ats.h - the answer to select of a contactless card (ISO/IEC 14443-4:2018 §5.2) as bytes. No I/O,
 * no state. */
#ifndef CARDWIRE_PROTO_ATS_H
#define CARDWIRE_PROTO_ATS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATS_MAX            254u /* bytes, TL first, without CRC_A: a frame of 256 */
#define ATS_HISTORICAL_MAX 15u  /* that PC/SC can tell of */
#define ATS_ATR_MAX        20u  /* of the ATR made of it */

/* Which interface bytes are there. */
enum ats_byte { ATS_TA = 1, ATS_TB = 2, ATS_TC = 4 };

/* The bytes as they stand. */
struct ats {
    bool has_t0;     /* without it TL is the whole ATS */
    uint8_t present; /* enum ats_byte, or'ed */
    uint8_t fsci;    /* of T0, 0..15 */
    uint8_t ta, tb, tc;
    const uint8_t *historical; /* into the parsed bytes, or the caller's */
    uint8_t historical_len;
};

/* A set of bit rates above 106 kbit/s, in one direction; ds is card to reader, dr reader to card */
enum ats_rate { ATS_212 = 1, ATS_424 = 2, ATS_848 = 4 };

/* What they mean, with the standard's defaults for what is absent or reserved (§5.2.3 to §5.2.7).
 */
struct ats_meaning {
    uint16_t fsc;   /* bytes of a frame that the card takes, with CRC_A: 16..256 */
    bool same;      /* both directions must have one bit rate */
    uint8_t ds, dr; /* enum ats_rate, or'ed */
    uint8_t fwi;    /* 0..14; 4 by default */
    uint8_t sfgi;   /* 0..14; 0 by default */
    bool cid, nad;  /* supported; CID is by default */
};

/* CW_ERR_LENGTH: TL is not the length, or says less than T0 names. */
CW_MUST_USE enum cw_err ats_parse(const uint8_t *bytes, size_t len, struct ats *out);
/* CW_ERR_ARG, CW_ERR_SPACE. */
CW_MUST_USE enum cw_err ats_build(const struct ats *ats, uint8_t *out, size_t cap, size_t *len);
void ats_read(const struct ats *ats, struct ats_meaning *out);
/* The ATR that a PC/SC reader shows for it (PC/SC part 3 §3.1.3.2.3.1): 3B 8n 80 01, the historical
 * bytes, TCK. out must hold ATS_ATR_MAX. CW_ERR_LENGTH: more than 15 historical bytes. */
CW_MUST_USE enum cw_err ats_atr(const struct ats *ats, uint8_t *out, size_t *len);

/* FSD or FSC of FSDI or FSCI: 16..256 bytes (§5.1 table 1). Above 8 are sizes of later editions,
 * and what is reserved: 256. */
uint16_t ats_frame_size(uint8_t index);
/* The largest index whose size is at most `size`; 0 for less than 16. */
uint8_t ats_frame_index(uint16_t size);

#endif
