/* card_lab.h - a card on a table, for unit tests: flash in memory whose power can be cut at any
 * byte, an issuer and TLS servers made with OpenSSL. Every failure ends the test. */
#ifndef CARDWIRE_TESTS_UNIT_CARD_LAB_H
#define CARDWIRE_TESTS_UNIT_CARD_LAB_H

#include "card/card.h"
#include "proto/apdu.h"
#include "proto/issuer.h"
#include "proto/link.h"
#include "proto/policy.h"
#include "proto/scp03.h"

#include <openssl/ssl.h>

#define LAB_PAGE  2048u
#define LAB_PAGES 16u
#define LAB_HOST  "bank.test"
#define LAB_PIN   "271828"
#define LAB_PUK   "31415926"
#define LAB_TIME  INT64_C(1790000000) /* 2026-09-21: the card's floor */

/* Where in an operation the power fails. */
enum lab_cut { LAB_CUT_BEFORE, LAB_CUT_BYTE /* after the first byte */, LAB_CUT_HALF };
#define LAB_CUTS 3

struct lab_flash {
    uint8_t bytes[LAB_PAGE * LAB_PAGES];
    long budget; /* bytes that may still be programmed or erased; -1: no limit */
    long cut_at; /* operations until that in which the power fails, as `cut` says; -1: none */
    enum lab_cut cut;
    bool dead;      /* power was cut: every further operation fails */
    long fail_read; /* reads until one fails, once; -1: none does */
    unsigned operations;
    uint64_t programmed;
};

struct lab {
    struct lab_flash flash;
    struct card_port port;
    struct card *card;
    bool random_fails;
    struct scp03 channel;   /* the issuer's end */
    struct scp03_keys keys; /* that the card has now */
    EVP_PKEY *update_key;   /* of the issuer's signed messages; made by lab_personalise */
    uint32_t sequence;      /* of the last update made */
    bool maker_keys;        /* personalise without PUT KEY */
};

/* A certificate authority or a server's key and certificate. */
struct lab_identity {
    EVP_PKEY *key;
    X509 *certificate;
};

/* What a server's certificate shall be; zero gives the good one. */
struct lab_server_spec {
    bool rsa;            /* RSA-2048 key, keyEncipherment; else P-256, digitalSignature */
    bool signing;        /* with rsa: digitalSignature in place of keyEncipherment */
    const char *host;    /* NULL: LAB_HOST */
    bool no_server_auth; /* no extended key usage at all */
    bool client_auth;    /* extended key usage clientAuth instead of serverAuth */
    bool ca;             /* a CA certificate */
    bool expired;        /* ended before LAB_TIME */
    bool wrong_usage;    /* key usage that does not fit */
    bool no_usage;       /* no key usage at all */
    bool any_usage;      /* extended key usage "any" in place of serverAuth */
    bool signs;          /* key usage keyCertSign besides, without being a CA */
    bool name_in_cn;     /* the host as common name, and no alternative name */
};

/* Flash operations on `flash`; erased at first by lab_flash_init. */
void lab_flash_init(struct lab_flash *flash);
struct card_flash lab_flash_ops(struct lab_flash *flash);

/* A blank card with power. */
void lab_init(struct lab *lab);
/* The same, in a contactless reader's field. */
void lab_init_contactless(struct lab *lab);
void lab_free(struct lab *lab);
/* Power off and on again; false when the card does not start. */
bool lab_power_cycle(struct lab *lab);

/* One command; the answer's data in out (CARD_RESPONSE_MAX bytes), its length in *len, both may be
 * NULL. Returns the status word. */
uint16_t lab_apdu(struct lab *lab, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                  const void *data, size_t nc, size_t ne, uint8_t *out, size_t *len);
uint16_t lab_select(struct lab *lab);
/* INFO card: the object of that tag as a number, big-endian; of more than 8 bytes the last 8;
 * and its first byte alone. */
uint64_t lab_info(struct lab *lab, uint16_t tag);
uint8_t lab_info_first(struct lab *lab, uint16_t tag);
uint16_t lab_verify(struct lab *lab, uint8_t use, const char *pin);
/* Opens the issuer's secure channel: the link application is selected. False when the card refuses.
 */
bool lab_channel_open(struct lab *lab);
/* The issuer's end of it, step by step: after INITIALIZE UPDATE; the data of PUT KEY. */
enum cw_err lab_host_begin(struct lab *lab, const uint8_t challenge[SCP03_CHALLENGE_LEN],
                           const struct scp03_update *update);
enum cw_err lab_keys_write(struct lab *lab, uint8_t version, const struct scp03_keys *keys,
                           struct buf_writer *w);
/* One command through it; as lab_apdu. */
uint16_t lab_secure(struct lab *lab, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                    const void *data, size_t nc, size_t ne, uint8_t *out, size_t *len);
/* PUT DATA through it. */
uint16_t lab_put(struct lab *lab, uint16_t object, const void *data, size_t len);
/* PUT KEY: the issuer's own set, version 1, in the place of the maker's. */
uint16_t lab_put_keys(struct lab *lab);
/* The key that checks the issuer's messages; makes the pair if there is none. */
uint16_t lab_put_update_key(struct lab *lab);
uint16_t lab_set_status(struct lab *lab, enum link_life life);
/* What the lab's cards are issued with: no limits, any payee, sessions kept for good, the line's
 * PIN over the air permitted. */
struct policy lab_policy(void);
uint16_t lab_put_policy(struct lab *lab, const struct policy *policy);
/* A PIN as PUT DATA takes it. */
uint16_t lab_put_pin(struct lab *lab, enum link_pin pin, uint8_t flags, const char *digits);

/* Signs a message of the issuer; returns its length. The serial is the card's. */
size_t lab_message(struct lab *lab, struct issuer_message *m, uint8_t out[ISSUER_MESSAGE_MAX]);
/* Challenge, signed time, APPLY; the status word. */
uint16_t lab_time_set(struct lab *lab, int64_t time);
/* An update with the next sequence; a line must be open. */
uint16_t lab_update(struct lab *lab, const struct issuer_write *writes, size_t count);

/* The certificate for a slot's key, of which `request` is the card's PKCS#10; to be freed. */
X509 *lab_card_certificate(const uint8_t *request, size_t len, uint8_t slot,
                           const struct lab_identity *card_ca);
struct lab_identity lab_ca_new(const char *name);
struct lab_identity lab_server_new(const struct lab_identity *ca,
                                   const struct lab_server_spec *spec);
void lab_identity_free(struct lab_identity *id);

/* Everything of lab_personalise but SET STATUS: the card is complete, and blank. */
void lab_personalise_only(struct lab *lab, uint8_t slots, const struct lab_identity *card_ca,
                          const struct lab_identity *root, uint8_t profiles);
/* Removes a value behind the card's back, and lets it start again. */
void lab_forget(struct lab *lab, uint16_t value);
/* Blank to active: the slots in `slots` (mask of 1 << (slot-1)) get keys and certificates by
 * `card_ca`, the root is `root`'s, the server LAB_HOST with `profiles`. */
void lab_personalise(struct lab *lab, uint8_t slots, const struct lab_identity *card_ca,
                     const struct lab_identity *root, uint8_t profiles);

/* A server that asks for a certificate under `card_ca`; NULL: does not ask. */
SSL_CTX *lab_server_context(const struct lab_identity *server, const struct lab_identity *card_ca);

/* A handshake between the card (selected, PIN given) and a server in this process. */
struct lab_line {
    SSL *ssl;      /* the server's side; freed by lab_line_free */
    bool resume;   /* the card may go on from a session that it has; else a full handshake */
    uint8_t state; /* last state byte of the card */
    uint16_t sw;   /* last status word that was not 9000, or 9000 */
    unsigned apdus;
    size_t to_card, from_card; /* bytes of APDUs */
    size_t tls;                /* bytes of TLS, both ways */
    size_t chunk;              /* most TLS bytes in one STEP; 255 */
    size_t room;               /* most bytes of an answer (Le); 256 */
    size_t flip;               /* offset in the server's stream of a bit to flip; SIZE_MAX: none */
    size_t sent;               /* bytes of the server's stream so far */
    size_t hello;              /* bytes of TLS that OPEN answered with */
    size_t record_at, record_left; /* where in a record of that stream the next byte is */
    /* The flip hit the version bytes of a record header, which TLS neither checks nor protects. */
    bool flip_harmless;
    bool open_at_flip; /* the card's line was open before the flipped byte came */
};
/* Selects, gives the PIN and runs OPEN and STEPs until nothing moves any more. */
void lab_line_open(struct lab *lab, SSL_CTX *ctx, enum link_profile profile, enum link_key key,
                   struct lab_line *line);
/* The second half of it: OPEN and STEPs; the PIN has been given. */
void lab_line_begin(struct lab *lab, SSL_CTX *ctx, enum link_profile profile, enum link_key key,
                    struct lab_line *line);
/* Goes on moving bytes until nothing moves. */
void lab_line_pump(struct lab *lab, struct lab_line *line);
void lab_line_free(struct lab_line *line);
/* Reason in INFO session. */
enum link_reason lab_reason(struct lab *lab);

#endif
