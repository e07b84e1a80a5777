#include "host/say.h"

#include <stdarg.h>
#include <stdio.h>

enum cw_err say_fail(struct say *why, enum cw_err err, const char *format, ...)
{
    if (why != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(why->text, sizeof why->text, format, args);
        va_end(args);
    }
    return err;
}
