/* device.h - a serial device or pseudo terminal with a card behind it: opening it powers the card.
 * Inside reader/. Knows nothing of what the bytes mean. */
#ifndef CARDWIRE_READER_DEVICE_H
#define CARDWIRE_READER_DEVICE_H

#include "host/say.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_START_MS                                                                            \
    5000 /* for the first byte: an emulated chip starts its memory meanwhile                       \
          */

struct device {
    char path[128];
    int fd; /* -1: closed, without power */
};

/* Of that name, and closed. CW_ERR_ARG: too long. */
CW_MUST_USE enum cw_err device_named(struct device *d, const char *path, struct say *why);
/* Opens it raw, 8 bits and two stops, for us alone. d->path is set, d->fd -1. CW_ERR_ARG,
 * CW_ERR_NOT_FOUND, CW_ERR_BUSY, CW_ERR_IO. */
CW_MUST_USE enum cw_err device_open(struct device *d, struct say *why);
void device_close(struct device *d);
/* Power off and on: by RTS where the device has it, as Phoenix adapters do, else it is closed and
 * opened. What device_open fails with. */
CW_MUST_USE enum cw_err device_restart(struct device *d, struct say *why);

/* One byte within `ms`. CW_ERR_TIMEOUT, CW_ERR_GONE. */
CW_MUST_USE enum cw_err device_get(struct device *d, uint64_t ms, uint8_t *out);
/* The first byte after the card was powered. A pseudo terminal that was the line of the reader
 * before us hangs up, and is opened anew. Errors as above, and what device_open fails with. */
CW_MUST_USE enum cw_err device_first(struct device *d, uint8_t *out, struct say *why);
/* CW_ERR_GONE: nobody takes the bytes. */
CW_MUST_USE enum cw_err device_put(struct device *d, const uint8_t *data, size_t len);
void device_flush(struct device *d); /* forgets what came in */

/* Says that the card is gone. Returns `err`. */
enum cw_err device_gone(const struct device *d, enum cw_err err, struct say *why);
/* How an exchange ended: `err` as above, and whether the link gave up on the card, which then has
 * its power taken: whatever it was doing, it forgets. `standard` is what it should have kept to,
 * `power` what was switched off. CW_ERR_GONE. */
CW_MUST_USE enum cw_err device_ended(struct device *d, enum cw_err err, bool failed,
                                     const char *standard, const char *power, struct say *why);

#endif
