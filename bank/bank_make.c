/* bank_make.c - making a bank: its folder, its keys, its ledger; and later its next root. */
#include "bank/bank.h"

#include "bank/ca.h"
#include "bank/issuer_keys.h"
#include "bank/keystore.h"
#include "proto/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum cw_err make_key(const char *dir, const char *stem, bool rsa, const char *uri,
                            EVP_PKEY **out, struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(dir, stem, ".key", path, why);
    return err == CW_OK ? keystore_make(path, rsa, uri, out, why) : err;
}

static enum cw_err write_certificate(const char *dir, const char *stem, X509 *cert, struct say *why)
{
    char path[BANK_PATH_MAX], *data = NULL;
    BIO *open = BIO_new(BIO_s_mem());
    enum cw_err err = open != NULL && PEM_write_bio_X509(open, cert) == 1
                          ? bank_path(dir, stem, ".pem", path, why)
                          : ca_fail(why, "cannot write a certificate");
    if (err == CW_OK) {
        long len = BIO_get_mem_data(open, &data);
        err = bank_file_make(path, data, (size_t)len, 0644, why);
    }
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

/* Key and certificate under one stem; `uri`: of a key in a token, NULL: a new one. */
static enum cw_err make_pair(const char *dir, const char *stem, const char *uri,
                             struct ca_order order, int64_t now, struct pair *out, struct say *why)
{
    struct pair p = {NULL, NULL};
    enum cw_err err = make_key(dir, stem, order.profile == CA_SERVER_RSA, uri, &p.key, why);
    if (err == CW_OK) {
        order.key = p.key;
        err = ca_certificate_make(&order, now, &p.cert, why);
    }
    if (err == CW_OK)
        err = write_certificate(dir, stem, p.cert, why);
    if (err == CW_OK && out != NULL)
        *out = p;
    else
        free_pair(&p);
    return err;
}

/* A root for servers, and both of the server's certificates by it. */
static enum cw_err make_server(const char *dir, const struct bank_server *files, const char *cn,
                               const struct bank_options *o, int64_t now, struct say *why)
{
    struct pair root = {NULL, NULL};
    enum cw_err err = make_pair(
        dir, files->root, o->server_root_uri,
        (struct ca_order){.profile = CA_ROOT, .cn = cn, .days = BANK_ROOT_DAYS}, now, &root, why);
    if (err != CW_OK)
        return err;
    struct ca_order server = {.profile = CA_SERVER_EC,
                              .cn = o->hosts[0],
                              .hosts = o->hosts,
                              .host_count = o->host_count,
                              .days = o->server_days,
                              .issuer = root.cert,
                              .issuer_key = root.key};
    err = make_pair(dir, files->ec, NULL, server, now, NULL, why);
    server.profile = CA_SERVER_RSA;
    if (err == CW_OK)
        err = make_pair(dir, files->rsa, NULL, server, now, NULL, why);
    free_pair(&root);
    return err;
}

static struct ca_order journal_order(const char *cn, const struct pair *root)
{
    return (struct ca_order){.profile = CA_JOURNAL,
                             .cn = cn,
                             .days = BANK_ROOT_DAYS,
                             .issuer = root->cert,
                             .issuer_key = root->key};
}

/* A root for cards, and what it certifies: the CA that issues cards, and the journal's key. From
 * here on the root's key may be away. */
static enum cw_err make_card_ca(const char *dir, const struct bank_options *o, int64_t now,
                                struct say *why)
{
    char cn[BANK_NAME_MAX + 16];
    struct pair root = {NULL, NULL};
    struct ca_order order = {.profile = CA_ISSUER_ROOT, .cn = cn, .days = BANK_ROOT_DAYS};
    snprintf(cn, sizeof cn, "%s Card Root", o->name);
    enum cw_err err = make_pair(dir, BANK_FILE_CARD_ROOT, o->card_root_uri, order, now, &root, why);
    if (err != CW_OK)
        return err;
    snprintf(cn, sizeof cn, "%s Card CA", o->name);
    order.profile = CA_ISSUER;
    order.issuer = root.cert;
    order.issuer_key = root.key;
    err = make_pair(dir, BANK_FILE_CARD_ISSUER, o->card_issuer_uri, order, now, NULL, why);
    snprintf(cn, sizeof cn, "%s" RECEIPT_JOURNAL_CN, o->name);
    if (err == CW_OK)
        err = make_pair(dir, BANK_FILE_JOURNAL, NULL, journal_order(cn, &root), now, NULL, why);
    free_pair(&root);
    return err;
}

static enum cw_err make_keys(const char *dir, const struct bank_options *o, int64_t now,
                             struct say *why)
{
    char cn[BANK_NAME_MAX + 16];
    struct bank_server first;
    enum cw_err err = make_card_ca(dir, o, now, why);
    if (err != CW_OK)
        return err;
    bank_server_name(1, &first);
    snprintf(cn, sizeof cn, "%s Server Root", o->name);
    return make_server(dir, &first, cn, o, now, why);
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
    err = keystore_make(path, false, NULL, &key, why);
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
        BANK_FILE_UPDATE ".key",    BANK_FILE_PIV_ROOT ".key",    BANK_FILE_CARD_ISSUER ".key",
        BANK_FILE_JOURNAL ".key",
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
    if (!text_is_clean(o->name, len)) /* it stands in texts that people read (receipt/head.h) */
        return say_fail(why, CW_ERR_FORMAT,
                        "the bank's name is no clean text: it holds a control character, or what "
                        "cannot be seen, or is no UTF-8");
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

enum cw_err bank_folder_make(const char *dir, struct say *why)
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
    if ((err = bank_folder_make(dir, why)) != CW_OK)
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
    if ((err = bank_path(dir, options->store == NULL ? BANK_FILE_LEDGER : BANK_FILE_STORE, "", path,
                         why)) != CW_OK ||
        (err = ledger_create(options->store == NULL ? path : options->store, clock, &ledger,
                             why)) != CW_OK)
        return err;
    err = ledger_setting_put(ledger, "name", options->name, why);
    if (err == CW_OK)
        err = ledger_setting_put(ledger, "server-name", options->hosts[0], why);
    if (err == CW_OK)
        err = ledger_setting_put(ledger, BANK_SETTING_ISSUER, "1", why);
    ledger_free(&ledger);
    if (err == CW_OK && options->store != NULL)
        err = bank_file_make(path, options->store, strlen(options->store), 0600, why);
    return err;
}

enum cw_err bank_issuer_keys_make(struct bank *b, struct say *why)
{
    static const char *const files[] = {BANK_FILE_ISSUER, BANK_FILE_UPDATE ".key"};
    bool managed = false;
    enum cw_err err = ledger_management_any(b->ledger, &managed, why);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && err == CW_OK; i++) {
        char path[BANK_PATH_MAX];
        err = bank_path(b->dir, files[i], "", path, why);
        if (err == CW_OK && managed && access(path, F_OK) != 0)
            err = say_fail(why, CW_ERR_STATE,
                           "%s is gone, and there are cards that only it can manage; restore it "
                           "from a copy",
                           path);
    }
    return err == CW_OK ? make_issuer_keys(b->dir, why) : err;
}

/* Key and certificate that are not made with the bank; goes on from the key alone, when a try that
 * was cut short has left that. */
static enum cw_err make_later(struct bank *b, const char *stem, bool has_key, struct ca_order order,
                              struct say *why)
{
    struct pair p = {NULL, NULL};
    enum cw_err err = has_key ? bank_key_load(b, stem, &p.key, why)
                              : make_key(b->dir, stem, false, NULL, &p.key, why);
    if (err == CW_OK) {
        order.key = p.key;
        err = ca_certificate_make(&order, ledger_now(b->ledger), &p.cert, why);
    }
    if (err == CW_OK)
        err = write_certificate(b->dir, stem, p.cert, why);
    free_pair(&p);
    return err;
}

enum cw_err bank_piv_root_make(struct bank *b, struct say *why)
{
    char cn[BANK_NAME_MAX + 16];
    bool used = false, has_key = false, has_cert = false;
    enum cw_err err = bank_file_there(b, BANK_FILE_PIV_ROOT, ".key", &has_key, why);
    if (err == CW_OK)
        err = bank_file_there(b, BANK_FILE_PIV_ROOT, ".pem", &has_cert, why);
    if (err == CW_OK)
        err = ledger_certificates_any(b->ledger, LEDGER_CERT_PIV, &used, why);
    if (err != CW_OK || (has_key && has_cert))
        return err;
    if (used || has_cert)
        return say_fail(why, CW_ERR_STATE,
                        "%s/" BANK_FILE_PIV_ROOT "%s is gone, and there are certificates of it; "
                        "restore it from a copy",
                        b->dir, has_key ? ".pem" : ".key");
    snprintf(cn, sizeof cn, "%s PIV Root", b->name);
    return make_later(b, BANK_FILE_PIV_ROOT, has_key,
                      (struct ca_order){.profile = CA_ROOT, .cn = cn, .days = BANK_ROOT_DAYS}, why);
}

/* Heads keep the certificate of their key with them: without a trace of the old one there may be a
 * new one. */
enum cw_err bank_journal_make(struct bank *b, struct say *why)
{
    char cn[BANK_NAME_MAX + 16];
    bool has_key = false, has_cert = false;
    struct pair root = {NULL, NULL};
    enum cw_err err = bank_file_there(b, BANK_FILE_JOURNAL, ".key", &has_key, why);
    if (err == CW_OK)
        err = bank_file_there(b, BANK_FILE_JOURNAL, ".pem", &has_cert, why);
    if (err != CW_OK || (has_key && has_cert))
        return err;
    if (has_cert)
        return say_fail(why, CW_ERR_STATE,
                        "%s/" BANK_FILE_JOURNAL ".key is gone; restore it from a copy, or take "
                        "the .pem away as well for a new key",
                        b->dir);
    err = bank_pair_load(b, BANK_FILE_CARD_ROOT, &root.cert, &root.key, why);
    snprintf(cn, sizeof cn, "%s" RECEIPT_JOURNAL_CN, b->name);
    if (err == CW_OK)
        err = make_later(b, BANK_FILE_JOURNAL, has_key, journal_order(cn, &root), why);
    free_pair(&root);
    return err;
}

/* ---- the next root ---- */

enum cw_err bank_hosts_read(const struct bank *b, const char *stem, struct bank_hosts *out,
                            struct say *why)
{
    X509 *cert = NULL;
    enum cw_err err = bank_certificate_load(b, stem, &cert, why);
    GENERAL_NAMES *names =
        err == CW_OK ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
    out->count = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && out->count < BANK_HOSTS_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        int len = name->type == GEN_DNS ? ASN1_STRING_length(name->d.dNSName) : 0;
        if (len <= 0 || (size_t)len > LINK_HOST_MAX)
            continue;
        memcpy(out->text[out->count], ASN1_STRING_get0_data(name->d.dNSName), (size_t)len);
        out->text[out->count][len] = '\0';
        out->list[out->count] = out->text[out->count];
        out->count++;
    }
    if (err == CW_OK && out->count == 0)
        err = say_fail(why, CW_ERR_FORMAT, "the server's certificate %s.pem names no server", stem);
    GENERAL_NAMES_free(names);
    X509_free(cert);
    return err;
}

/* The first generation of which no file is there: what a roll that was cut short has left is never
 * used, and never overwritten. */
static enum cw_err free_generation(struct bank *b, struct bank_server *out, struct say *why)
{
    for (unsigned n = b->server.generation + 1;; n++) {
        char path[BANK_PATH_MAX];
        bank_server_name(n, out);
        enum cw_err err = bank_path(b->dir, out->root, ".key", path, why);
        if (err != CW_OK || access(path, F_OK) != 0)
            return err;
    }
}

enum cw_err bank_server_roll(struct bank *b, int server_days, const char *root_uri, struct say *why)
{
    char cn[BANK_NAME_MAX + 32], generation[16];
    struct bank_server next;
    struct bank_hosts hosts = {.count = 0};
    if (b->server_next.generation != 0)
        return say_fail(
            why, CW_ERR_STATE,
            "there is a next root already (%s.pem); 'cardwired root switch' comes first",
            b->server_next.root);
    enum cw_err err = bank_hosts_read(b, b->server.ec, &hosts, why);
    if (err == CW_OK)
        err = free_generation(b, &next, why);
    if (err != CW_OK)
        return err;
    snprintf(cn, sizeof cn, "%s Server Root %u", b->name, next.generation);
    const struct bank_options o = {.hosts = hosts.list,
                                   .host_count = hosts.count,
                                   .server_days = server_days,
                                   .server_root_uri = root_uri};
    err = make_server(b->dir, &next, cn, &o, ledger_now(b->ledger), why);
    snprintf(generation, sizeof generation, "%u", next.generation);
    if (err == CW_OK)
        err = ledger_setting_change(b->ledger, BANK_SETTING_SERVER_NEXT, "0", generation, why);
    if (err == CW_OK)
        b->server_next = next;
    return err;
}

static enum cw_err switch_both(void *ctx, struct say *why)
{
    struct bank *b = ctx;
    char from[16], to[16];
    snprintf(from, sizeof from, "%u", b->server.generation);
    snprintf(to, sizeof to, "%u", b->server_next.generation);
    enum cw_err err = ledger_setting_change(b->ledger, BANK_SETTING_SERVER, from, to, why);
    return err == CW_OK ? ledger_setting_change(b->ledger, BANK_SETTING_SERVER_NEXT, to, "0", why)
                        : err;
}

enum cw_err bank_server_switch(struct bank *b, struct say *why)
{
    if (b->server_next.generation == 0)
        return say_fail(why, CW_ERR_STATE,
                        "there is no next root; 'cardwired root roll' makes one");
    enum cw_err err = ledger_together(b->ledger, switch_both, b, why);
    if (err == CW_OK) {
        b->server = b->server_next;
        b->server_next = (struct bank_server){0};
    }
    return err;
}
