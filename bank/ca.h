/* ca.h - the bank's certificate authority: the profiles of every certificate that it makes, and the
 * check of a card's certification request. Certificates are short, because each byte of them
 * crosses a slow wire. Not a store of keys: bank.h has the files. */
#ifndef CARDWIRE_BANK_CA_H
#define CARDWIRE_BANK_CA_H

#include "host/say.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 5280 §4.2. docs/bank.md has the table. */
enum ca_profile {
    CA_ROOT,        /* signs leaves; pathLenConstraint 0 */
    CA_ISSUER_ROOT, /* signs CA_ISSUER; pathLenConstraint 1 */
    CA_ISSUER,      /* by a root of P-256: signs leaves, CRLs and CA_OCSP; pathLenConstraint 0 */
    CA_SERVER_EC,   /* signs handshakes of `tls13` and `ecdhe` */
    CA_SERVER_RSA,  /* only takes encrypted secrets (`rsa`): it cannot be used to sign */
    CA_CARD_TLS,    /* speaks for a card in a handshake */
    CA_OCSP,        /* answers about cards (RFC 6960), and is not asked about itself */
    CA_CARD_ORDER,  /* signs orders; no server takes it for a client certificate */
    CA_JOURNAL,     /* signs heads of the journal; no line and no order is its */
    /* Of the card's PIV application, by a root of their own (docs/piv.md) */
    CA_PIV_AUTH,
    CA_PIV_SIGNATURE,
    CA_PIV_AGREEMENT, /* 9D, when it is P-256 */
    CA_PIV_TRANSPORT, /* 9D, when it is RSA */
    CA_PIV_CARD,
};

struct ca_order {
    enum ca_profile profile;
    const char *cn;           /* 1..64 bytes */
    const char *const *hosts; /* CA_SERVER_*: DNS names, at least one */
    size_t host_count;
    EVP_PKEY *key; /* of the subject; its public half is enough but for roots */
    int days;      /* until it ends */
    X509 *issuer;  /* NULL for roots */
    EVP_PKEY *issuer_key;
};

/* Makes a certificate that is valid from a few minutes before `now` (a card's or a peer's clock may
 * be a little behind). The caller frees *out with X509_free. */
CW_MUST_USE enum cw_err ca_certificate_make(const struct ca_order *order, int64_t now, X509 **out,
                                            struct say *why);

/* A new key, P-256 or RSA-2048. */
CW_MUST_USE enum cw_err ca_key_make(bool rsa, EVP_PKEY **out, struct say *why);

/* Is it P-256, or RSA-2048? */
bool ca_key_is(EVP_PKEY *key, bool rsa);

/* Takes the public key out of a PKCS#10 request (RFC 2986) after its checks: it is well-formed and
 * nothing follows it, it was signed by that key, its subject is CN=`cn` and nothing else, and the
 * key is of the kind asked for. */
CW_MUST_USE enum cw_err ca_request_verify(const uint8_t *der, size_t len, const char *cn, bool rsa,
                                          EVP_PKEY **out, struct say *why);

/* CW_ERR_FORMAT unless it is a DNS name as cards hold them: lower case, letters, digits, hyphens,
 * labels of 1..63, at most 64 bytes. */
CW_MUST_USE enum cw_err ca_host_check(const char *host);

/* Appends what OpenSSL says last to the sentence: "cannot X: ...". Empties its error queue. */
enum cw_err ca_fail(struct say *why, const char *what);

/* Seconds since 1970; 0 for what is no time. */
int64_t ca_seconds(const ASN1_TIME *t);

#endif
