#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum cw_err file_read(const char *path, size_t max, uint8_t **out, size_t *len, struct say *why)
{
    enum cw_err err = CW_OK;
    uint8_t *data = NULL;
    size_t have = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return say_fail(why, errno == ENOENT ? CW_ERR_NOT_FOUND : CW_ERR_IO,
                        "cannot open %s: %s; check the path and its permissions", path,
                        strerror(errno));
    data = malloc(max + 1);
    if (data == NULL) {
        err = say_fail(why, CW_ERR_SPACE, "out of memory while reading %s", path);
        goto out;
    }
    for (;;) { /* one byte more than permitted tells a file that is too long */
        ssize_t n = read(fd, data + have, max + 1 - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err = say_fail(why, CW_ERR_IO, "cannot read %s: %s", path, strerror(errno));
            goto out;
        }
        if (n == 0)
            break;
        have += (size_t)n;
        if (have > max) {
            err = say_fail(why, CW_ERR_LENGTH, "%s is longer than %zu bytes; is it the right file?",
                           path, max);
            goto out;
        }
    }
    data[have] = 0;
    *out = data;
    *len = have;
    data = NULL;
out:
    free(data);
    close(fd);
    return err;
}

enum cw_err file_write_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return CW_ERR_IO;
        at += n;
        len -= (size_t)n;
    }
    return CW_OK;
}

enum cw_err file_write(const char *path, const void *data, size_t len, mode_t mode, struct say *why)
{
    struct stat st;
    bool direct = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    enum cw_err err = CW_OK;
    char *temporary = NULL;
    int fd;
    if (direct) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
            return say_fail(why, CW_ERR_SPACE, "out of memory while writing %s", path);
        fd = mkostemp(temporary, O_CLOEXEC);
    }
    if (fd < 0) {
        err = say_fail(why, CW_ERR_IO,
                       "cannot write %s: %s; check that its folder exists and may be written to",
                       path, strerror(errno));
        goto out;
    }
    mode_t mask = umask(0);
    umask(mask);
    if (file_write_all(fd, data, len) != CW_OK ||
        (!direct && (fchmod(fd, mode & ~mask) != 0 || fsync(fd) != 0))) {
        err = say_fail(why, CW_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    if (close(fd) != 0 && err == CW_OK)
        err = say_fail(why, CW_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (!direct && err == CW_OK && rename(temporary, path) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (!direct && err != CW_OK)
        unlink(temporary);
out:
    free(temporary);
    return err;
}
