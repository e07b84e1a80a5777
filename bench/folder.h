/* folder.h - the temporary folder of a bench that needs a bank. */
#ifndef CARDWIRE_BENCH_FOLDER_H
#define CARDWIRE_BENCH_FOLDER_H

#include "host/say.h"

#include <stddef.h>

/* Makes one below TMPDIR; its name into `dir` of `cap` bytes, "" when it fails. CW_ERR_IO. */
CW_MUST_USE enum cw_err folder_make(char *dir, size_t cap, struct say *why);
/* With all that is in it; nothing when `dir` is "". */
void folder_strike(const char *dir);

#endif
