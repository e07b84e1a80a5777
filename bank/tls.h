/* tls.h - the bank's side of the line: one SSL_CTX for all three profiles, who may speak, and the
 * sessions that may be resumed. No sockets: tlsd.c has those. */
#ifndef CARDWIRE_BANK_TLS_H
#define CARDWIRE_BANK_TLS_H

#include "bank/api.h"

#include <openssl/ssl.h>

/* Records to the card carry no more than this: its buffer is small (docs/card.md, Limits). */
#define TLS_RECORD_MAX      2048
#define TLS_SESSIONS        256u
#define TLS_SESSION_SECONDS 3600

struct tls {
    SSL_CTX *ctx;
    struct bank *bank;
    struct metrics *metrics; /* NULL: nobody counts */
    int keylog;              /* descriptor, -1: none */
    /* Stateful sessions, kept here and not by OpenSSL: its own cache drops a session when the
     * connection ends without close_notify, and a card that is torn out never sends one. */
    SSL_SESSION *sessions[TLS_SESSIONS];
    size_t next;
};

/* `keylog` is a file to append session secrets to (SSLKEYLOGFILE), NULL for none: with it, whoever
 * has the file reads the lines. */
CW_MUST_USE enum cw_err tls_new(struct bank *bank, const char *insecure_keylog, struct tls **out,
                                struct say *why);
void tls_free(struct tls **tls);
/* Renews what is due of the server's certificates, and takes them, and their keys, as they are in
 * the bank's folder, for the lines that come; those that are up go on. Says how many were renewed.
 * What fails leaves what there was. */
CW_MUST_USE enum cw_err tls_renew(struct tls *t, unsigned *renewed, struct say *why);

/* The card whose TLS certificate `leaf` is, to the byte. CW_ERR_NOT_FOUND when it was never issued,
 * CW_ERR_DENIED when it was issued for another use, whatever else OpenSSL thinks of it. */
CW_MUST_USE enum cw_err tls_card_find(struct ledger *l, X509 *leaf, struct ledger_card *out,
                                      struct say *why);

/* After the handshake: who it is and what the line is. CW_ERR_STATE when there is no verified
 * certificate of a card of this bank, which the handshake should have refused. */
CW_MUST_USE enum cw_err tls_line_get(SSL *ssl, struct ledger *ledger, struct api_line *out,
                                     struct say *why);

#endif
