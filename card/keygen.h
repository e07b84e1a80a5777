/* keygen.h - makes an RSA-2048 key pair in steps that each end soon, so that a card can answer its
 * reader while it searches for primes. FIPS 186-5 §A.1.3 (probable primes), e = 65537. Knows no
 * slots and stores nothing: what becomes of the key is the caller's. */
#ifndef CARDWIRE_CARD_KEYGEN_H
#define CARDWIRE_CARD_KEYGEN_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYGEN_PRIME_LEN 128u
/* RSAPrivateKey (RFC 8017 §A.1.2): a header of 4, version 3, n 261, e 5, d 260, five numbers of the
 * length of a prime, 132 each. */
#define KEYGEN_DER_MAX 1193u

enum keygen_phase {
    KEYGEN_NONE = 0, /* nothing is being made */
    KEYGEN_FIRST,    /* searching for a prime */
    KEYGEN_SECOND,   /* searching for the other */
    KEYGEN_READY,    /* both are there */
};

/* A key that is being made. The caller's; all zero is KEYGEN_NONE. Nothing in it points anywhere,
 * and nothing stays in the library's heap between two steps: to wipe it is to forget the key. */
struct keygen {
    uint8_t prime[2][KEYGEN_PRIME_LEN]; /* big-endian; the one that is searched: its candidate */
    enum keygen_phase phase;
    uint8_t rounds;   /* Miller-Rabin rounds that the candidate has passed */
    uint16_t drawn;   /* random numbers taken for this prime */
    uint16_t unlucky; /* chance that this search would have taken longer, of 65,536 */
    uint16_t permille;
};

/* Begins a key; drops what was being made. */
void keygen_start(struct keygen *kg);

/* One step: at most 16 random numbers drawn and divided by small primes, and at most one round of
 * Miller-Rabin, which is one modular exponentiation of 1,024 bits. *done when the key is there and
 * the next is keygen_der; the step that says so does nothing else.
 * CW_ERR_STATE when no key was begun. CW_ERR_IO when randomness fails, or gives numbers among which
 * there are no primes; CW_ERR_SPACE when the library's heap is too small; CW_ERR_CRYPTO. After a
 * failure nothing is kept. */
CW_MUST_USE enum cw_err keygen_step(struct keygen *kg, bool *done);

/* How far it is, in thousandths; never falls. How long a search takes is chance: the figure is the
 * part of all searches that would have ended by now. KEYGEN_PERMILLE_READY when the primes are
 * there; what is left of the thousand is for checking and storing the key. */
#define KEYGEN_PERMILLE_READY 980u
unsigned keygen_permille(const struct keygen *kg);

/* The finished key, checked, as DER (RFC 8017 §A.1.2) in out[0..*len); all of `out` may be written
 * to, and is wiped on failure. KEYGEN_DER_MAX bytes are enough. CW_ERR_STATE when there is no
 * finished key, CW_ERR_SPACE, CW_ERR_CRYPTO; after the latter two nothing is kept. */
CW_MUST_USE enum cw_err keygen_der(struct keygen *kg, uint8_t *out, size_t cap, size_t *len);

/* Forgets everything. */
void keygen_drop(struct keygen *kg);

#endif
