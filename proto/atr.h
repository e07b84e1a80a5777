/* atr.h - the answer to reset and the PPS exchange of a contact card (ISO/IEC 7816-3:2006 §8, §9)
 * as bytes. No I/O, no state. */
#ifndef CARDWIRE_PROTO_ATR_H
#define CARDWIRE_PROTO_ATR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ATR_MAX            33u /* bytes, §8.2.1: TS and at most 32 after it */
#define ATR_HISTORICAL_MAX 15u
#define ATR_GROUPS_MAX     8u   /* interface byte groups TAi..TDi that fit */
#define ATR_FI_DI_DEFAULT  0x11 /* TA1 when it is absent: Fi = 372, Di = 1 */

enum atr_byte { ATR_TA = 1, ATR_TB = 2, ATR_TC = 4, ATR_TD = 8 };

/* Interface bytes as they stand: group i holds TAi+1, TBi+1, TCi+1, TDi+1. */
struct atr_group {
    uint8_t present; /* enum atr_byte, or'ed */
    uint8_t ta, tb, tc, td;
};

struct atr {
    bool inverse; /* TS = 3F; else 3B */
    uint8_t group_count;
    struct atr_group groups[ATR_GROUPS_MAX];
    uint8_t historical[ATR_HISTORICAL_MAX];
    uint8_t historical_len;
};

/* What the interface bytes mean, with the standard's defaults for those that are absent. */
struct atr_meaning {
    uint8_t ta1;   /* Fi/Di offered, coded as in §8.3 tables 7 and 8 */
    uint16_t fi;   /* clock rate conversion integer offered */
    uint8_t di;    /* baud rate adjustment integer offered */
    uint8_t n;     /* TC1: extra guard time; 255 has a meaning of its own (§8.3) */
    bool specific; /* TA2 present: no PPS, the protocol is `specific_protocol` at once */
    bool implicit; /* TA2 b5: Fi/Di are not those of TA1 */
    uint8_t specific_protocol;
    uint16_t protocols; /* bit T set: protocol T is offered; T=0 when nothing is named */
    uint8_t first;      /* the protocol offered first */
    /* of T=1, §11.4 */
    uint8_t ifsc; /* 1..254 bytes; 32 by default */
    uint8_t bwi;  /* 0..9; 4 by default */
    uint8_t cwi;  /* 0..15; 13 by default */
    bool crc;     /* EDC is a CRC; LRC by default */
    /* of T=0, §10.2 */
    uint8_t wi; /* 10 by default */
    /* global, after T=15; §8.3 */
    uint8_t class_indicator; /* TA after T=15: XI and UI; 0x01 (class A) by default */
};

/* Parses `len` bytes. CW_ERR_LENGTH: bytes are missing or left over. CW_ERR_FORMAT: TS, TCK, or an
 * order of protocols that §8.2.3 does not have. */
CW_MUST_USE enum cw_err atr_parse(const uint8_t *bytes, size_t len, struct atr *out);
/* How many bytes the ATR that begins with these has: 0 when more are needed to tell. */
size_t atr_expected(const uint8_t *bytes, size_t len);
/* Writes T0, TDi and TCK as needed (the y nibbles of td are filled in from `present`; the protocol
 * nibbles are the caller's). CW_ERR_SPACE, CW_ERR_ARG. */
CW_MUST_USE enum cw_err atr_build(const struct atr *atr, uint8_t *out, size_t cap, size_t *len);
/* CW_ERR_FORMAT: a value that is reserved (Fi or Di RFU, IFSC 0 or FF, BWI over 9, specific
 * protocol that is not offered). */
CW_MUST_USE enum cw_err atr_read(const struct atr *atr, struct atr_meaning *out);

/* Fi and Di of a TA1 (§8.3). CW_ERR_FORMAT when reserved for future use. */
CW_MUST_USE enum cw_err atr_fi_di(uint8_t ta1, uint16_t *fi, uint8_t *di);

/* PPS, §9.2: PPSS PPS0 [PPS1] [PPS2] [PPS3] PCK */
#define PPS_MAX  6u
#define PPS_PPSS 0xFF
struct pps {
    uint8_t protocol; /* 0..14 */
    bool has_pps1;
    uint8_t pps1; /* Fi/Di; ATR_FI_DI_DEFAULT when absent */
};
/* Bytes of the PPS that begins with these: 0 when more are needed to tell. */
size_t pps_expected(const uint8_t *bytes, size_t len);
/* CW_ERR_LENGTH, CW_ERR_FORMAT (PPSS, PCK, reserved bits). PPS2 and PPS3 are skipped. */
CW_MUST_USE enum cw_err pps_parse(const uint8_t *bytes, size_t len, struct pps *out);
/* out must hold PPS_MAX. Returns the length. */
size_t pps_write(const struct pps *pps, uint8_t *out);

#endif
