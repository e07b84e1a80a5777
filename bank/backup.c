#include "bank/backup.h"

#include "host/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_MAX (1u << 20) /* bytes of a key, a certificate or a mailer */
#define PART     ".part"

static enum cw_err join(const char *dir, const char *name, char out[BANK_PATH_MAX], struct say *why)
{
    int n = snprintf(out, BANK_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < (int)BANK_PATH_MAX
               ? CW_OK
               : say_fail(why, CW_ERR_LENGTH, "the path %.80s... is too long", dir);
}

/* A file and its name are on the disk when this returns. */
static enum cw_err keep(const char *path, int flags, struct say *why)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good
               ? CW_OK
               : say_fail(why, CW_ERR_IO, "cannot bring %s to the disk: %s", path, strerror(errno));
}

static enum cw_err copy_file(const char *from, const char *to, const struct stat *st,
                             struct say *why)
{
    uint8_t *data = NULL;
    size_t len = 0;
    enum cw_err err = file_read(from, COPY_MAX, &data, &len, why);
    if (err == CW_ERR_NOT_FOUND) /* a mailer, printed and destroyed in this moment */
        return CW_OK;
    if (err == CW_OK)
        err = file_write(to, data, len, st->st_mode & 0777, why);
    if (err == CW_OK)
        err = keep(to, 0, why);
    if (data != NULL)
        explicit_bzero(data, len);
    free(data);
    return err;
}

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), n = strlen(end);
    return len > n && strcmp(name + len - n, end) == 0;
}

/* What else lies in a bank's folder, a log or a port file, is not the bank. */
static bool is_ours(const char *name)
{
    return ends_in(name, ".key") || ends_in(name, ".pem") || ends_in(name, ".txt");
}

/* Keys, certificates and mailers of one folder into another that is there. */
static enum cw_err copy_files(const char *from, const char *to, struct say *why)
{
    char source[BANK_PATH_MAX], target[BANK_PATH_MAX];
    struct stat st;
    enum cw_err err = CW_OK;
    DIR *list = opendir(from);
    if (list == NULL)
        return say_fail(why, CW_ERR_IO, "cannot look into %s: %s", from, strerror(errno));
    for (struct dirent *e; err == CW_OK && (e = readdir(list)) != NULL;) {
        if (!is_ours(e->d_name))
            continue;
        err = join(from, e->d_name, source, why);
        if (err == CW_OK)
            err = join(to, e->d_name, target, why);
        if (err == CW_OK && stat(source, &st) == 0 && S_ISREG(st.st_mode))
            err = copy_file(source, target, &st, why);
    }
    closedir(list);
    return err == CW_OK ? keep(to, O_DIRECTORY, why) : err;
}

static enum cw_err copy_mailers(const struct bank *b, const char *dir, struct say *why)
{
    char from[BANK_PATH_MAX], to[BANK_PATH_MAX];
    enum cw_err err = join(b->dir, BANK_DIR_MAILERS, from, why);
    if (err == CW_OK)
        err = join(dir, BANK_DIR_MAILERS, to, why);
    if (err != CW_OK)
        return err;
    if (mkdir(to, 0700) != 0)
        return say_fail(why, CW_ERR_IO, "cannot make the folder %s: %s", to, strerror(errno));
    return copy_files(from, to, why);
}

/* The ledger first, under another name, and then the files: they are only ever added, so that none
 * is missing that the ledger speaks of. */
static enum cw_err copy_all(struct bank *b, const char *dir, struct say *why)
{
    char part[BANK_PATH_MAX], whole[BANK_PATH_MAX];
    enum cw_err err = join(dir, BANK_FILE_LEDGER PART, part, why);
    if (err == CW_OK)
        err = join(dir, BANK_FILE_LEDGER, whole, why);
    if (err == CW_OK)
        err = ledger_copy(b->ledger, part, why);
    if (err == CW_OK)
        err = copy_files(b->dir, dir, why);
    if (err == CW_OK)
        err = copy_mailers(b, dir, why);
    if (err == CW_OK && rename(part, whole) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot rename %s: %s", part, strerror(errno));
    return err == CW_OK ? keep(dir, O_DIRECTORY, why) : err;
}

/* Whether the bank's folder is above `dir`, which is there. */
static bool is_inside(const struct bank *b, const char *dir)
{
    char *inner = realpath(dir, NULL), *outer = realpath(b->dir, NULL);
    size_t len = outer != NULL ? strlen(outer) : 0;
    bool inside = inner != NULL && outer != NULL && strncmp(inner, outer, len) == 0 &&
                  (inner[len] == '/' || inner[len] == '\0');
    free(inner);
    free(outer);
    return inside;
}

static enum cw_err check_pair(const struct bank *b, const char *stem, struct say *why)
{
    X509 *cert = NULL;
    EVP_PKEY *key = NULL;
    enum cw_err err = bank_pair_load(b, stem, &cert, &key, why);
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}

/* Could it serve? Keys of roots may be kept elsewhere, by whoever wants that. */
static enum cw_err check_server(const struct bank *b, struct say *why)
{
    enum cw_err err = check_pair(b, b->server.ec, why);
    if (err == CW_OK)
        err = check_pair(b, b->server.rsa, why);
    bool journal = false;
    if (err == CW_OK)
        err = bank_file_there(b, BANK_FILE_JOURNAL, ".pem", &journal, why);
    if (err == CW_OK && journal)
        err = check_pair(b, BANK_FILE_JOURNAL, why);
    if (err == CW_OK && b->server_next.generation != 0)
        err = check_pair(b, b->server_next.ec, why);
    if (err == CW_OK && b->server_next.generation != 0)
        err = check_pair(b, b->server_next.rsa, why);
    return err;
}

enum cw_err backup_run(struct bank *b, const char *dir, const struct audit_options *options,
                       struct audit_result *out, struct say *why)
{
    struct bank *copy = NULL;
    char above[BANK_PATH_MAX];
    enum cw_err err = join(dir, "..", above, why);
    if (err == CW_OK)
        err = bank_folder_make(dir, why);
    if (err == CW_OK && is_inside(b, dir))
        err = say_fail(why, CW_ERR_ARG, "%s is inside the bank itself; choose a folder elsewhere",
                       dir);
    if (err == CW_OK)
        err = keep(above, O_DIRECTORY, why);
    if (err == CW_OK)
        err = copy_all(b, dir, why);
    if (err == CW_OK)
        err = bank_open(dir, &ledger_clock_system, &copy, why);
    if (err == CW_OK)
        err = check_server(copy, why);
    if (err == CW_OK)
        err = audit_run(copy, options, out, why);
    bank_free(&copy);
    return err;
}
