/* base64.h - RFC 4648 §4, with padding, into memory of the caller. */
#ifndef CARDWIRE_HOST_BASE64_H
#define CARDWIRE_HOST_BASE64_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Characters of the text for `len` bytes, without the final NUL. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Writes the text and a NUL. CW_ERR_SPACE when cap < BASE64_LEN(len) + 1. */
CW_MUST_USE enum cw_err base64_encode(const uint8_t *data, size_t len, char *out, size_t cap);

/* Strict: no white space, padding demanded, unused bits zero. CW_ERR_FORMAT, CW_ERR_SPACE. */
CW_MUST_USE enum cw_err base64_decode(const char *text, size_t text_len, uint8_t *out, size_t cap,
                                      size_t *len);

#endif
