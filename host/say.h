/* say.h - a sentence for the person: what is wrong, named, and what to do about it. Errors travel
 * as enum cw_err; the sentence travels beside them. */
#ifndef CARDWIRE_HOST_SAY_H
#define CARDWIRE_HOST_SAY_H

#include "base/err.h"

struct say {
    char text[512];
};

/* Sets the sentence and returns `err`, so that a failure is one statement:
 *     return say_fail(why, CW_ERR_IO, "cannot read %s: %s; ...", path, strerror(errno));
 * `why` may be NULL. */
enum cw_err say_fail(struct say *why, enum cw_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
