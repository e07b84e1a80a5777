#include "base/check.h"

uint8_t check_xor(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum ^= bytes[i];
    return sum;
}

uint16_t check_crc16(uint16_t start, const uint8_t *bytes, size_t len)
{
    uint16_t crc = start;
    for (size_t i = 0; i < len; i++) {
        uint8_t b = (uint8_t)(bytes[i] ^ crc);
        b = (uint8_t)(b ^ b << 4);
        crc = (uint16_t)(crc >> 8 ^ b << 8 ^ b << 3 ^ b >> 4);
    }
    return crc;
}
