/* file.h - whole small files in and out, with a sentence when it fails. Not for large files, not
 * for secrets that are typed (host/pin.h). */
#ifndef CARDWIRE_HOST_FILE_H
#define CARDWIRE_HOST_FILE_H

#include "host/say.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads the file, at most `max` bytes, into memory that the caller frees with free(3). One zero
 * byte follows the data, so that text can be used as a string. CW_ERR_NOT_FOUND, CW_ERR_IO,
 * CW_ERR_LENGTH when it is longer. */
CW_MUST_USE enum cw_err file_read(const char *path, size_t max, uint8_t **out, size_t *len,
                                  struct say *why);

/* Writes the file so that a reader sees the old one or the new one, never a part (a temporary file
 * beside it is renamed). What is there already and is no regular file (a pipe, /dev/stdout) is
 * written to directly. `mode` is for a new file, before the umask. */
CW_MUST_USE enum cw_err file_write(const char *path, const void *data, size_t len, mode_t mode,
                                   struct say *why);

/* All of the bytes, in spite of signals and short writes. CW_ERR_IO, errno says why. */
CW_MUST_USE enum cw_err file_write_all(int fd, const void *data, size_t len);

#endif
