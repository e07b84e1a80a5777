/* bank.h - a bank in a folder: its ledger, its keys and its certificates. Made by bank_init, opened
 * by everything else. Nothing here is a server. */
#ifndef CARDWIRE_BANK_BANK_H
#define CARDWIRE_BANK_BANK_H

#include "bank/ledger.h"
#include "proto/link.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/types.h>

#define BANK_NAME_MAX    HEAD_BANK_MAX /* bytes: it goes into the roots' names, and into heads */
#define BANK_SERVER_NAME "bank.cardwire.test"
#define BANK_SERVER_DAYS 90
#define BANK_ROOT_DAYS   7305 /* 20 years */
#define BANK_CARD_DAYS   1826 /* 5 years */
#define BANK_HOSTS_MAX   8u
#define BANK_PATH_MAX    4096u

/* Settings in the ledger: generation of the server's root and certificates; 0: none. */
#define BANK_SETTING_SERVER      "server"
#define BANK_SETTING_SERVER_NEXT "server-next"
/* There, when cards are certified by a CA of their own and not by the root itself. */
#define BANK_SETTING_ISSUER "card-issuer"

/* Files in the folder; keys are 0600, or in a token (keystore.h). */
#define BANK_FILE_LEDGER      "bank.db"
#define BANK_FILE_SERVER_ROOT "server-root" /* .pem, .key */
#define BANK_FILE_CARD_ROOT   "card-root"
#define BANK_FILE_CARD_ISSUER "card-issuer" /* by it; the root's key is needed for nothing more */
#define BANK_FILE_OCSP        "card-ocsp"   /* answers for it; made when that is asked for */
#define BANK_FILE_PIV_ROOT    "piv-root"
#define BANK_FILE_JOURNAL     "journal" /* signs heads of the journal */
#define BANK_FILE_SERVER_EC   "server-p256"
#define BANK_FILE_SERVER_RSA  "server-rsa2048"
#define BANK_FILE_ISSUER      "issuer.key"  /* issuer_keys.h */
#define BANK_FILE_UPDATE      "card-update" /* .key alone: signs messages to cards */
#define BANK_FILE_STORE       "bank.store"  /* the ledger's address, when it is in a database */
#define BANK_DIR_MAILERS      "mailers"

/* The server's root and certificates of one generation, as stems of files: the first is as above,
 * later ones end in "-2", "-3"... All empty: there is none. */
struct bank_server {
    unsigned generation; /* 1.. */
    char root[32], ec[32], rsa[32];
};

struct bank {
    char dir[BANK_PATH_MAX];
    struct ledger *ledger;
    struct bank_server server, server_next;
    const char *card_issuer; /* stem of what signs the cards' certificates: a CA, or the root */
    char name[BANK_NAME_MAX + 1];
    char server_name[LINK_HOST_MAX + 1]; /* the first, which cards are issued for */
};

struct bank_options {
    const char *name;
    const char *const *hosts; /* server names; the first one is for cards */
    size_t host_count;        /* 1..BANK_HOSTS_MAX */
    int server_days;
    /* URIs of keys that are in tokens already (keystore.h); NULL: a new one in a file. */
    const char *card_root_uri, *card_issuer_uri, *server_root_uri;
    const char *store; /* NULL: a file in the folder; else ledger_is_address */
};

/* Makes a bank in `dir`: made if absent, or empty and the caller's alone. CW_ERR_EXISTS when
 * anything is in it, CW_ERR_DENIED when others own it or may write to it; then nothing of it is
 * changed. */
CW_MUST_USE enum cw_err bank_init(const char *dir, const struct bank_options *options,
                                  const struct ledger_clock *clock, struct say *why);
/* The caller frees *out with bank_free. */
CW_MUST_USE enum cw_err bank_open(const char *dir, const struct ledger_clock *clock,
                                  struct bank **out, struct say *why);
void bank_free(struct bank **bank);

/* Where the ledger is: a path, or the address in BANK_FILE_STORE. CW_ERR_DENIED when others may
 * read that, CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err bank_store_find(const char *dir, char out[BANK_PATH_MAX], struct say *why);

/* The files of a generation, 1... */
void bank_server_name(unsigned generation, struct bank_server *out);

/* DIR/stem+suffix. CW_ERR_LENGTH. */
CW_MUST_USE enum cw_err bank_path(const char *dir, const char *stem, const char *suffix,
                                  char out[BANK_PATH_MAX], struct say *why);
/* Writes a new file with `mode` and waits until it is on disk: all of it, or nothing under that
 * name. CW_ERR_EXISTS when there is one. */
CW_MUST_USE enum cw_err bank_file_make(const char *path, const void *data, size_t len, mode_t mode,
                                       struct say *why);
/* Whether there is a DIR/stem+suffix. */
CW_MUST_USE enum cw_err bank_file_there(const struct bank *b, const char *stem, const char *suffix,
                                        bool *out, struct say *why);
/* CW_ERR_DENIED when others than its owner may read or write it. */
CW_MUST_USE enum cw_err bank_file_private(const char *path, struct say *why);
/* Reads DIR/stem.pem; DIR/stem.key, which must be its owner's alone (CW_ERR_DENIED). The caller
 * frees with X509_free, EVP_PKEY_free. */
CW_MUST_USE enum cw_err bank_certificate_load(const struct bank *b, const char *stem, X509 **out,
                                              struct say *why);
CW_MUST_USE enum cw_err bank_key_load(const struct bank *b, const char *stem, EVP_PKEY **out,
                                      struct say *why);

/* DNS names of a server's certificate. */
struct bank_hosts {
    char text[BANK_HOSTS_MAX][LINK_HOST_MAX + 1];
    const char *list[BANK_HOSTS_MAX]; /* into text */
    size_t count;                     /* at least one */
};
/* Those of STEM.pem. CW_ERR_FORMAT when there is none. */
CW_MUST_USE enum cw_err bank_hosts_read(const struct bank *b, const char *stem,
                                        struct bank_hosts *out, struct say *why);

/* Makes the folder, or takes an empty one that is the caller's alone, and shuts others out of it.
 * CW_ERR_EXISTS, CW_ERR_DENIED, CW_ERR_IO. */
CW_MUST_USE enum cw_err bank_folder_make(const char *dir, struct say *why);

/* Both, which must fit each other (CW_ERR_FORMAT). What was loaded is in *cert and *key, NULL
 * before, and the caller's to free, also when it fails. */
CW_MUST_USE enum cw_err bank_pair_load(const struct bank *b, const char *stem, X509 **cert,
                                       EVP_PKEY **key, struct say *why);

/* A certificate as the ledger takes it, which fills in the rest. */
CW_MUST_USE enum cw_err bank_certificate_record(X509 *cert, enum ledger_cert_kind kind,
                                                unsigned slot, struct ledger_certificate *out,
                                                struct say *why);

/* Makes a new root for servers and certificates by it, beside those that serve; `root_uri` as in
 * struct bank_options. Cards learn the root; then bank_server_switch has the server use it, when it
 * is started next. CW_ERR_STATE when there is a next root already; when there is none. */
CW_MUST_USE enum cw_err bank_server_roll(struct bank *b, int server_days, const char *root_uri,
                                         struct say *why);
CW_MUST_USE enum cw_err bank_server_switch(struct bank *b, struct say *why);

/* Makes the keys by which the bank manages its cards, when it is one of a time that had none.
 * CW_ERR_STATE when they are lost. */
CW_MUST_USE enum cw_err bank_issuer_keys_make(struct bank *b, struct say *why);

/* Makes the root of the PIV certificates when there is none yet: not with the bank, as many never
 * need it. CW_ERR_STATE when it is lost. */
CW_MUST_USE enum cw_err bank_piv_root_make(struct bank *b, struct say *why);

/* Makes the key that signs heads of the journal, and its certificate by card-root, when it is a
 * bank of a time that had none. Wants card-root.key. CW_ERR_STATE when the key is lost. */
CW_MUST_USE enum cw_err bank_journal_make(struct bank *b, struct say *why);

/* 16 hex digits and NUL. */
void bank_serial_text(const uint8_t serial[ORDER_SERIAL_LEN], char out[2 * ORDER_SERIAL_LEN + 1]);
/* From 16 hex digits, either case. CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err bank_serial_parse(const char *text, uint8_t serial[ORDER_SERIAL_LEN]);

#endif
