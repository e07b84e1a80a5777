#include "bank/bank.h"

#include "bank/ca.h"
#include "bank/issuer_keys.h"
#include "host/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
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

enum cw_err bank_file_make(const char *path, const void *data, size_t len, mode_t mode,
                           struct say *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return say_fail(why, CW_ERR_EXISTS, "%s is there already and is not overwritten", path);
    if (fd < 0)
        return say_fail(why, CW_ERR_IO, "cannot make %s: %s; check the folder", path,
                        strerror(errno));
    enum cw_err err = file_write_all(fd, data, len);
    if (err == CW_OK && fsync(fd) != 0)
        err = CW_ERR_IO;
    if (close(fd) != 0 && err == CW_OK)
        err = CW_ERR_IO;
    if (err != CW_OK) {
        say_fail(why, err, "cannot write %s: %s; make room on the disk", path, strerror(errno));
        unlink(path);
    }
    return err;
}

/* ---- making one ---- */

static enum cw_err write_bio(const char *dir, const char *stem, const char *suffix, BIO *bio,
                             mode_t mode, struct say *why)
{
    char path[BANK_PATH_MAX];
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    enum cw_err err = bank_path(dir, stem, suffix, path, why);
    return err != CW_OK ? err : bank_file_make(path, data, (size_t)len, mode, why);
}

static enum cw_err write_key(const char *dir, const char *stem, EVP_PKEY *key, struct say *why)
{
    enum cw_err err;
    BIO *secret = BIO_new(BIO_s_secmem());
    if (secret == NULL || PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1)
        err = ca_fail(why, "cannot write a key");
    else
        err = write_bio(dir, stem, ".key", secret, 0600, why);
    BIO_free(secret); /* BIO_s_secmem wipes what it held */
    return err;
}

/* Writes key and certificate under one stem. */
static enum cw_err write_pair(const char *dir, const char *stem, EVP_PKEY *key, X509 *cert,
                              struct say *why)
{
    BIO *open = BIO_new(BIO_s_mem());
    enum cw_err err = write_key(dir, stem, key, why);
    if (err == CW_OK && (open == NULL || PEM_write_bio_X509(open, cert) != 1))
        err = ca_fail(why, "cannot write a certificate");
    if (err == CW_OK)
        err = write_bio(dir, stem, ".pem", open, 0644, why);
    BIO_free(open);
    return err;
}

struct pair {
    EVP_PKEY *key;
    X509 *cert;
};

static void free_pair(struct pair *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
    *p = (struct pair){NULL, NULL};
}

static enum cw_err make_pair(const char *dir, const char *stem, bool rsa, struct ca_order order,
                             int64_t now, struct pair *out, struct say *why)
{
    struct pair p = {NULL, NULL};
    enum cw_err err = ca_key_make(rsa, &p.key, why);
    if (err == CW_OK) {
        order.key = p.key;
        err = ca_certificate_make(&order, now, &p.cert, why);
    }
    if (err == CW_OK)
        err = write_pair(dir, stem, p.key, p.cert, why);
    if (err == CW_OK && out != NULL)
        *out = p;
    else
        free_pair(&p);
    return err;
}

static enum cw_err make_keys(const char *dir, const struct bank_options *o, int64_t now,
                             struct say *why)
{
    char cn[BANK_NAME_MAX + 16];
    struct pair root = {NULL, NULL};
    snprintf(cn, sizeof cn, "%s Card Root", o->name);
    enum cw_err err = make_pair(
        dir, BANK_FILE_CARD_ROOT, false,
        (struct ca_order){.profile = CA_ROOT, .cn = cn, .days = BANK_ROOT_DAYS}, now, NULL, why);
    if (err != CW_OK)
        return err;
    snprintf(cn, sizeof cn, "%s Server Root", o->name);
    err = make_pair(dir, BANK_FILE_SERVER_ROOT, false,
                    (struct ca_order){.profile = CA_ROOT, .cn = cn, .days = BANK_ROOT_DAYS}, now,
                    &root, why);
    if (err != CW_OK)
        return err;
    struct ca_order server = {.profile = CA_SERVER_EC,
                              .cn = o->hosts[0],
                              .hosts = o->hosts,
                              .host_count = o->host_count,
                              .days = o->server_days,
                              .issuer = root.cert,
                              .issuer_key = root.key};
    err = make_pair(dir, BANK_FILE_SERVER_EC, false, server, now, NULL, why);
    server.profile = CA_SERVER_RSA;
    if (err == CW_OK)
        err = make_pair(dir, BANK_FILE_SERVER_RSA, true, server, now, NULL, why);
    free_pair(&root);
    return err;
}

/* The keys by which the bank manages its cards, those of them that are not there yet. */
static enum cw_err make_issuer_keys(const char *dir, struct say *why)
{
    char path[BANK_PATH_MAX];
    EVP_PKEY *key = NULL;
    enum cw_err err = bank_path(dir, BANK_FILE_ISSUER, "", path, why);
    if (err == CW_OK && access(path, F_OK) != 0)
        err = issuer_master_make(path, why);
    if (err == CW_OK)
        err = bank_path(dir, BANK_FILE_UPDATE, ".key", path, why);
    if (err != CW_OK || access(path, F_OK) == 0)
        return err;
    err = ca_key_make(false, &key, why);
    if (err == CW_OK)
        err = write_key(dir, BANK_FILE_UPDATE, key, why);
    EVP_PKEY_free(key);
    return err;
}

/* Nothing that a bank consists of may be there yet: it would be lost, or be mixed with another's.
 */
static enum cw_err check_free(const char *dir, struct say *why)
{
    static const char *const files[] = {
        BANK_FILE_LEDGER,           BANK_FILE_SERVER_ROOT ".key", BANK_FILE_CARD_ROOT ".key",
        BANK_FILE_SERVER_EC ".key", BANK_FILE_SERVER_RSA ".key",  BANK_FILE_ISSUER,
        BANK_FILE_UPDATE ".key",
    };
    char path[BANK_PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        enum cw_err err = bank_path(dir, files[i], "", path, why);
        if (err != CW_OK)
            return err;
        if (access(path, F_OK) == 0 && i == 0)
            return say_fail(why, CW_ERR_EXISTS, "%s holds a bank already; choose another folder",
                            dir);
        if (access(path, F_OK) == 0)
            return say_fail(why, CW_ERR_EXISTS,
                            "%s holds a part of a bank (%s); remove it or choose another folder",
                            dir, files[i]);
    }
    return CW_OK;
}

static enum cw_err check_options(const struct bank_options *o, struct say *why)
{
    size_t len = strlen(o->name);
    if (len == 0 || len > BANK_NAME_MAX)
        return say_fail(why, CW_ERR_LENGTH, "the bank's name must have 1 to %u bytes",
                        BANK_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)o->name[i] < ' ' || o->name[i] == 0x7F)
            return say_fail(why, CW_ERR_FORMAT, "the bank's name holds a control character");
    for (size_t i = 0; i < o->host_count; i++)
        if (ca_host_check(o->hosts[i]) != CW_OK)
            return say_fail(why, CW_ERR_FORMAT,
                            "'%.80s' is no server name: lower-case letters, digits, hyphens and "
                            "dots, at most %u",
                            o->hosts[i], LINK_HOST_MAX);
    return CW_OK;
}

/* Whether there is nothing in the folder. */
static enum cw_err check_empty(const char *dir, int fd, struct say *why)
{
    enum cw_err err = CW_OK;
    DIR *list = fdopendir(fd);
    if (list == NULL) {
        close(fd);
        return say_fail(why, CW_ERR_IO, "cannot look into %s: %s", dir, strerror(errno));
    }
    errno = 0;
    for (struct dirent *e; err == CW_OK && (e = readdir(list)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            err = say_fail(
                why, CW_ERR_EXISTS,
                "the folder %s is not empty; name a new one, or an empty one of your own", dir);
    if (err == CW_OK && errno != 0)
        err = say_fail(why, CW_ERR_IO, "cannot look into %s: %s", dir, strerror(errno));
    closedir(list);
    return err;
}

/* A folder that others can write to would let them put keys in the way; one that is not ours, or
 * holds something, is somebody's for another use, and its mode is not for us to change. */
static enum cw_err take_folder(const char *dir, struct say *why)
{
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return say_fail(why, CW_ERR_EXISTS, "%s is there and cannot be used: %s; name a new folder",
                        dir, strerror(errno));
    int own = fstat(fd, &st) == 0 && st.st_uid == geteuid();
    int look = dup(fd);
    enum cw_err err =
        look < 0 ? say_fail(why, CW_ERR_IO, "cannot look into %s: %s", dir, strerror(errno))
                 : check_empty(dir, look, why);
    if (err == CW_OK && (!own || (st.st_mode & (S_ISVTX | S_IWGRP | S_IWOTH)) != 0))
        err = say_fail(why, CW_ERR_DENIED,
                       "the folder %s belongs to others as well; name a new one, or an empty one "
                       "that only you may write to",
                       dir);
    if (err == CW_OK && fchmod(fd, 0700) != 0)
        err = say_fail(why, CW_ERR_IO, "cannot keep others out of %s: %s", dir, strerror(errno));
    close(fd);
    return err;
}

static enum cw_err make_folder(const char *dir, struct say *why)
{
    if (mkdir(dir, 0700) == 0)
        return CW_OK;
    if (errno != EEXIST)
        return say_fail(why, CW_ERR_IO, "cannot make the folder %s: %s", dir, strerror(errno));
    /* First, because it says more than that the folder is not empty. */
    enum cw_err err = check_free(dir, why);
    return err == CW_OK ? take_folder(dir, why) : err;
}

enum cw_err bank_init(const char *dir, const struct bank_options *options,
                      const struct ledger_clock *clock, struct say *why)
{
    char path[BANK_PATH_MAX];
    struct ledger *ledger = NULL;
    enum cw_err err = check_options(options, why);
    if (err != CW_OK)
        return err;
    if ((err = make_folder(dir, why)) != CW_OK)
        return err;
    if ((err = bank_path(dir, BANK_DIR_MAILERS, "", path, why)) != CW_OK)
        return err;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return say_fail(why, CW_ERR_IO, "cannot make the folder %s: %s", path, strerror(errno));
    if ((err = make_keys(dir, options, clock->now(clock->ctx), why)) != CW_OK)
        return err;
    if ((err = make_issuer_keys(dir, why)) != CW_OK)
        return err;
    /* The ledger comes last: a folder with one is a whole bank. */
    if ((err = bank_path(dir, BANK_FILE_LEDGER, "", path, why)) != CW_OK ||
        (err = ledger_create(path, clock, &ledger, why)) != CW_OK)
        return err;
    err = ledger_setting_put(ledger, "name", options->name, why);
    if (err == CW_OK)
        err = ledger_setting_put(ledger, "server-name", options->hosts[0], why);
    ledger_free(&ledger);
    return err;
}

/* ---- using one ---- */

enum cw_err bank_open(const char *dir, const struct ledger_clock *clock, struct bank **out,
                      struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(dir, BANK_FILE_LEDGER, "", path, why);
    if (err != CW_OK)
        return err;
    struct bank *b = calloc(1, sizeof *b);
    if (b == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    memcpy(b->dir, dir, strlen(dir) + 1); /* fits: the longer path did */
    err = ledger_open(path, clock, &b->ledger, why);
    if (err == CW_OK)
        err = ledger_setting_get(b->ledger, "name", b->name, sizeof b->name, why);
    if (err == CW_OK)
        err = ledger_setting_get(b->ledger, "server-name", b->server_name, sizeof b->server_name,
                                 why);
    if (err != CW_OK) {
        bank_free(&b);
        return err;
    }
    *out = b;
    return CW_OK;
}

enum cw_err bank_issuer_keys_make(struct bank *b, struct say *why)
{
    return make_issuer_keys(b->dir, why);
}

void bank_free(struct bank **bank)
{
    if (*bank == NULL)
        return;
    ledger_free(&(*bank)->ledger);
    free(*bank);
    *bank = NULL;
}

static enum cw_err open_pem(const struct bank *b, const char *stem, const char *suffix,
                            char path[BANK_PATH_MAX], BIO **out, struct say *why)
{
    enum cw_err err = bank_path(b->dir, stem, suffix, path, why);
    if (err != CW_OK)
        return err;
    BIO *bio = BIO_new_file(path, "r");
    if (bio == NULL)
        return ca_fail(why, path);
    *out = bio;
    return CW_OK;
}

enum cw_err bank_certificate_load(const struct bank *b, const char *stem, X509 **out,
                                  struct say *why)
{
    BIO *bio = NULL;
    char path[BANK_PATH_MAX];
    enum cw_err err = open_pem(b, stem, ".pem", path, &bio, why);
    if (err != CW_OK)
        return err;
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (cert == NULL)
        return ca_fail(why, path);
    *out = cert;
    return CW_OK;
}

enum cw_err bank_key_load(const struct bank *b, const char *stem, EVP_PKEY **out, struct say *why)
{
    BIO *bio = NULL;
    char path[BANK_PATH_MAX];
    enum cw_err err = open_pem(b, stem, ".key", path, &bio, why);
    if (err != CW_OK)
        return err;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (key == NULL)
        return ca_fail(why, path);
    *out = key;
    return CW_OK;
}
