/* apdu.h - command and response APDUs (ISO/IEC 7816-4:2020 §5) as bytes. No I/O, no state. */
#ifndef CARDWIRE_PROTO_APDU_H
#define CARDWIRE_PROTO_APDU_H

#include "base/buf.h"
#include "base/err.h"

/* Class byte, ISO/IEC 7816-4:2020 §5.4.1 */
#define APDU_CLA_ISO         0x00
#define APDU_CLA_PROPRIETARY 0x80
#define APDU_CLA_CHAIN       0x10 /* not the last command of a chain */

#define APDU_SHORT_NC_MAX 255u /* data field of a short command, bytes */
#define APDU_SHORT_NE_MAX 256u /* data field of a short response, bytes */

/* Status words, ISO/IEC 7816-4:2020 §5.6 */
#define SW_OK                  0x9000u
#define SW_MORE                0x6100u /* low byte: bytes still available, 00 = 256 or more */
#define SW_PIN_TRIES           0x63C0u /* low nibble: tries left */
#define SW_MEMORY_FAILURE      0x6581u
#define SW_WRONG_LENGTH        0x6700u
#define SW_LOGICAL_CHANNEL     0x6881u
#define SW_SECURE_MESSAGING    0x6882u
#define SW_LAST_OF_CHAIN       0x6883u
#define SW_CHAINING            0x6884u
#define SW_SECURITY_STATUS     0x6982u
#define SW_PIN_BLOCKED         0x6983u
#define SW_CONDITIONS          0x6985u
#define SW_WRONG_DATA          0x6A80u
#define SW_FUNCTION            0x6A81u
#define SW_NOT_FOUND           0x6A82u
#define SW_NOT_ENOUGH_MEMORY   0x6A84u
#define SW_WRONG_P1P2          0x6A86u
#define SW_REFERENCE_NOT_FOUND 0x6A88u
#define SW_EXISTS              0x6A89u
#define SW_WRONG_LE            0x6C00u
#define SW_INS                 0x6D00u
#define SW_CLA                 0x6E00u
#define SW_UNKNOWN             0x6F00u

struct apdu_command {
    uint8_t cla, ins, p1, p2;
    const uint8_t *data; /* inside the parsed bytes, NULL when there is none */
    size_t nc;           /* 0..65535 */
    size_t ne;           /* 0: no response data expected; 1..65536 */
    bool extended;       /* Lc or Le came in its extended form */
};

/* Parses one command of `len` bytes. `out` points into `bytes`.
 * CW_ERR_LENGTH when it is no well-formed case 1, 2, 3 or 4 command (§5.2). */
CW_MUST_USE enum cw_err apdu_parse(const uint8_t *bytes, size_t len, struct apdu_command *out);

/* Writes a command; extended form only when nc > 255 or ne > 256.
 * CW_ERR_ARG when nc > 65535 or ne > 65536, CW_ERR_SPACE when it does not fit. */
CW_MUST_USE enum cw_err apdu_write(const struct apdu_command *cmd, uint8_t *out, size_t cap,
                                   size_t *len);

#endif
