#include "bank/bank.h"

#include "bank/ca.h"
#include "bank/keystore.h"
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum cw_err bank_path(const char *dir, const char *stem, const char *suffix,
                      char out[BANK_PATH_MAX], struct say *why)
{
    int n = snprintf(out, BANK_PATH_MAX, "%s/%s%s", dir, stem, suffix);
    if (n < 0 || (size_t)n >= BANK_PATH_MAX)
        return say_fail(why, CW_ERR_LENGTH, "the folder's name is too long: %.100s...", dir);
    return CW_OK;
}

void bank_serial_text(const uint8_t serial[ORDER_SERIAL_LEN], char out[2 * ORDER_SERIAL_LEN + 1])
{
    struct buf_writer w;
    buf_writer_init(&w, (uint8_t *)out, 2 * ORDER_SERIAL_LEN);
    buf_put_hex(&w, serial, ORDER_SERIAL_LEN);
    out[2 * ORDER_SERIAL_LEN] = '\0';
}

enum cw_err bank_serial_parse(const char *text, uint8_t serial[ORDER_SERIAL_LEN])
{
    size_t len = 0;
    uint8_t bytes[ORDER_SERIAL_LEN];
    if (strlen(text) != 2 * ORDER_SERIAL_LEN ||
        OPENSSL_hexstr2buf_ex(bytes, sizeof bytes, &len, text, '\0') != 1 || len != sizeof bytes)
        return CW_ERR_FORMAT;
    memcpy(serial, bytes, sizeof bytes);
    return CW_OK;
}

/* Writes the file under a name of its own beside `path`, to its end and to the disk. */
static enum cw_err write_beside(const char *path, const void *data, size_t len, mode_t mode,
                                char beside[BANK_PATH_MAX], struct say *why)
{
    uint8_t random[8];
    char suffix[2 * sizeof random + 2] = ".";
    struct buf_writer w;
    if (RAND_bytes(random, sizeof random) != 1)
        return ca_fail(why, "cannot draw a name for a file");
    buf_writer_init(&w, (uint8_t *)suffix + 1, 2 * sizeof random);
    buf_put_hex(&w, random, sizeof random);
    suffix[1 + 2 * sizeof random] = '\0';
    int n = snprintf(beside, BANK_PATH_MAX, "%s%s", path, suffix);
    if (n < 0 || (size_t)n >= BANK_PATH_MAX)
        return say_fail(why, CW_ERR_LENGTH, "the file's name is too long: %.100s...", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return say_fail(why, CW_ERR_IO, "cannot make %s: %s; check the folder", beside,
                        strerror(errno));
    enum cw_err err = file_write_all(fd, data, len);
    if (err == CW_OK && fsync(fd) != 0)
        err = CW_ERR_IO;
    if (close(fd) != 0 && err == CW_OK)
        err = CW_ERR_IO;
    if (err != CW_OK) {
        say_fail(why, err, "cannot write %s: %s; make room on the disk", beside, strerror(errno));
        unlink(beside);
    }
    return err;
}

/* A new name is on the disk when its folder is. */
static enum cw_err sync_folder(const char *path, struct say *why)
{
    char folder[BANK_PATH_MAX] = ".";
    const char *end = strrchr(path, '/');
    if (end != NULL)
        snprintf(folder, sizeof folder, "%.*s", (int)(end > path ? end - path : 1), path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    enum cw_err err =
        done ? CW_OK
             : say_fail(why, CW_ERR_IO, "cannot write the folder %s: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}

/* The name appears when all of the file is on the disk: cut short, nothing takes its place, and the
 * next try does not find half a key. */
enum cw_err bank_file_make(const char *path, const void *data, size_t len, mode_t mode,
                           struct say *why)
{
    char beside[BANK_PATH_MAX];
    enum cw_err err = write_beside(path, data, len, mode, beside, why);
    if (err != CW_OK)
        return err;
    if (link(beside, path) != 0) /* unlike rename(), replaces nothing */
        err = errno == EEXIST
                  ? say_fail(why, CW_ERR_EXISTS, "%s is there already and is not overwritten", path)
                  : say_fail(why, CW_ERR_IO, "cannot make %s: %s; check the folder", path,
                             strerror(errno));
    unlink(beside);
    return err == CW_OK ? sync_folder(path, why) : err;
}

enum cw_err bank_file_there(const struct bank *b, const char *stem, const char *suffix, bool *out,
                            struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(b->dir, stem, suffix, path, why);
    if (err == CW_OK)
        *out = access(path, F_OK) == 0;
    return err;
}

enum cw_err bank_file_private(const char *path, struct say *why)
{
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return say_fail(
            why, CW_ERR_DENIED,
            "%s is open to others than its owner; chmod 600 it, and ask who has read it", path);
    return CW_OK;
}

void bank_server_name(unsigned generation, struct bank_server *out)
{
    char suffix[16] = "";
    if (generation > 1)
        snprintf(suffix, sizeof suffix, "-%u", generation);
    *out = (struct bank_server){.generation = generation};
    snprintf(out->root, sizeof out->root, BANK_FILE_SERVER_ROOT "%s", suffix);
    snprintf(out->ec, sizeof out->ec, BANK_FILE_SERVER_EC "%s", suffix);
    snprintf(out->rsa, sizeof out->rsa, BANK_FILE_SERVER_RSA "%s", suffix);
}

/* A generation in the ledger's settings; none when it is 0. */
static enum cw_err load_server(struct bank *b, const char *setting, struct bank_server *out,
                               struct say *why)
{
    char text[16];
    enum cw_err err = ledger_setting_get(b->ledger, setting, text, sizeof text, why);
    unsigned long n = err == CW_OK ? strtoul(text, NULL, 10) : 0;
    if (err == CW_OK && n > 0)
        bank_server_name((unsigned)n, out);
    return err;
}

/* A bank of an older cardwired has none: its root itself signs, and permits no other. */
static enum cw_err load_issuer(struct bank *b, struct say *why)
{
    struct say ignored;
    char text[16];
    enum cw_err err =
        ledger_setting_get(b->ledger, BANK_SETTING_ISSUER, text, sizeof text, &ignored);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return say_fail(why, err, "%s", ignored.text);
    b->card_issuer = err == CW_OK ? BANK_FILE_CARD_ISSUER : BANK_FILE_CARD_ROOT;
    return CW_OK;
}

enum cw_err bank_store_find(const char *dir, char out[BANK_PATH_MAX], struct say *why)
{
    char path[BANK_PATH_MAX];
    uint8_t *text = NULL;
    size_t len = 0;
    enum cw_err err = bank_path(dir, BANK_FILE_STORE, "", path, why);
    if (err != CW_OK || access(path, F_OK) != 0)
        return err == CW_OK ? bank_path(dir, BANK_FILE_LEDGER, "", out, why) : err;
    if ((err = bank_file_private(path, why)) != CW_OK ||
        (err = file_read(path, BANK_PATH_MAX, &text, &len, why)) != CW_OK)
        return err;
    while (len > 0 && text[len - 1] == '\n')
        len--;
    if (len == 0 || len >= BANK_PATH_MAX || memchr(text, '\0', len) != NULL) {
        err = say_fail(why, CW_ERR_FORMAT, "%s holds no address of a database", path);
    } else {
        memcpy(out, text, len);
        out[len] = '\0';
        if (!ledger_is_address(out))
            err = say_fail(why, CW_ERR_FORMAT,
                           "%s must hold the address of a database, postgresql://...", path);
    }
    free(text);
    return err;
}

enum cw_err bank_open(const char *dir, const struct ledger_clock *clock, struct bank **out,
                      struct say *why)
{
    char where[BANK_PATH_MAX];
    enum cw_err err = strlen(dir) + sizeof BANK_FILE_STORE < BANK_PATH_MAX
                          ? bank_store_find(dir, where, why)
                          : say_fail(why, CW_ERR_LENGTH, "the name of that folder is too long");
    if (err != CW_OK)
        return err;
    struct bank *b = calloc(1, sizeof *b);
    if (b == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    memcpy(b->dir, dir, strlen(dir) + 1);
    err = ledger_open(where, clock, &b->ledger, why);
    if (err == CW_OK)
        err = ledger_setting_get(b->ledger, "name", b->name, sizeof b->name, why);
    if (err == CW_OK)
        err = ledger_setting_get(b->ledger, "server-name", b->server_name, sizeof b->server_name,
                                 why);
    if (err == CW_OK)
        err = load_issuer(b, why);
    if (err == CW_OK)
        err = load_server(b, BANK_SETTING_SERVER, &b->server, why);
    if (err == CW_OK)
        err = load_server(b, BANK_SETTING_SERVER_NEXT, &b->server_next, why);
    if (err != CW_OK) {
        bank_free(&b);
        return err;
    }
    *out = b;
    return CW_OK;
}

void bank_free(struct bank **bank)
{
    if (*bank == NULL)
        return;
    ledger_free(&(*bank)->ledger);
    free(*bank);
    *bank = NULL;
}

enum cw_err bank_certificate_load(const struct bank *b, const char *stem, X509 **out,
                                  struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(b->dir, stem, ".pem", path, why);
    if (err != CW_OK)
        return err;
    BIO *bio = BIO_new_file(path, "r");
    X509 *cert = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (cert == NULL)
        return ca_fail(why, path);
    *out = cert;
    return CW_OK;
}

enum cw_err bank_certificate_record(X509 *cert, enum ledger_cert_kind kind, unsigned slot,
                                    struct ledger_certificate *out, struct say *why)
{
    unsigned char *at = out->der;
    int n = i2d_X509(cert, NULL);
    if (n <= 0 || (size_t)n > sizeof out->der || i2d_X509(cert, &at) != n)
        return ca_fail(why, "cannot write a certificate");
    out->der_len = (size_t)n;
    out->kind = kind;
    out->slot = slot;
    return CW_OK;
}

enum cw_err bank_key_load(const struct bank *b, const char *stem, EVP_PKEY **out, struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(b->dir, stem, ".key", path, why);
    return err == CW_OK ? keystore_load(path, out, why) : err;
}

enum cw_err bank_pair_load(const struct bank *b, const char *stem, X509 **cert, EVP_PKEY **key,
                           struct say *why)
{
    enum cw_err err = bank_certificate_load(b, stem, cert, why);
    if (err == CW_OK)
        err = bank_key_load(b, stem, key, why);
    if (err == CW_OK && X509_check_private_key(*cert, *key) != 1) {
        ERR_clear_error();
        err = say_fail(why, CW_ERR_FORMAT, "%s.key is not the key of %s.pem", stem, stem);
    }
    return err;
}
