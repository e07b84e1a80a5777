/* secret.h - marks bytes as secret for valgrind's memcheck: they count as undefined, and every
 * branch and every address that depends on them is reported. Outside of valgrind it does nothing.
 * What becomes public again, and why, is in declassify.c and nowhere else. */
#ifndef CARDWIRE_TESTS_CT_SECRET_H
#define CARDWIRE_TESTS_CT_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Marks `len` bytes as secret. */
void secret_mark(const void *p, size_t len);
/* Is any bit of them secret? */
bool secret_is(const void *p, size_t len);

/* What declassify.c has seen of secrets: calls whose result depended on one. A test that saw none
 * has tested nothing. */
struct secret_seen {
    unsigned compared;   /* ct_equal, and the library's own */
    unsigned signatures; /* P-256 signatures, by a secret key */
    unsigned keys;       /* P-256 public keys */
    unsigned decrypted;  /* records */
    unsigned powers;     /* of RSA, modulo a prime */
    unsigned inverses;   /* of RSA's blinding */
    unsigned answered;   /* answers of the card */
};
extern struct secret_seen secret_seen;

/* Makes ct_equal give way to a comparison that stops at the first difference: what the check must
 * find. */
extern bool secret_leaky_equal;

/* How many of the next decryptions by AES-CBC are of commands that come through the issuer's
 * channel.
 */
extern unsigned secret_commands;

#endif
