/* pin.h - the PIN on its short way from the person to the card. It is read with read(2) into a
 * struct that the caller wipes right after VERIFY: no stdio buffer, no heap, no swap. */
#ifndef CARDWIRE_HOST_PIN_H
#define CARDWIRE_HOST_PIN_H

#include "host/say.h"
#include "proto/link.h"

#include <stddef.h>
#include <stdint.h>

struct pin {
    uint8_t digits[LINK_PIN_MAX]; /* ASCII, not NUL-terminated */
    size_t len;
};

/* Shows `prompt` on the controlling terminal and reads digits without echo. CW_ERR_NOT_FOUND when
 * there is no terminal, CW_ERR_REFUSED when the person gave up (Ctrl-C, Ctrl-D), CW_ERR_FORMAT when
 * it is not 4 to 12 digits. */
CW_MUST_USE enum cw_err pin_ask(const char *prompt, struct pin *out, struct say *why);

/* First line of a file or a pipe (also /dev/fd/N). A regular file that others than its owner may
 * read is refused: CW_ERR_DENIED. */
CW_MUST_USE enum cw_err pin_read(const char *path, struct pin *out, struct say *why);

/* Zeros, on every path. */
void pin_wipe(struct pin *pin);

#endif
