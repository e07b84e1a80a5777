/* check.h - check characters of links and answers to reset: the exclusive-or of all bytes, and the
 * 16-bit CRC of ISO/IEC 13239. They find faults of a line, and no intent. */
#ifndef CARDWIRE_BASE_CHECK_H
#define CARDWIRE_BASE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* 0 over bytes that end with their own check character. */
uint8_t check_xor(const uint8_t *bytes, size_t len);

/* x^16 + x^12 + x^5 + 1, lowest bit first, not complemented. `start` is what the standard that uses
 * it begins with. */
uint16_t check_crc16(uint16_t start, const uint8_t *bytes, size_t len);

#endif
