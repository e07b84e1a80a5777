/* piv.h - gives a card that lies in the bank's own reader its PIV application (docs/piv.md): secret
 * numbers and administration key through the issuer's secure channel, then, with that key and PIV's
 * own commands, keys, certificates and objects. What the application itself does is the card's
 * business; the bank takes none of these keys for a line or an order.
 *
 * PIV's own commands are in clear and not authenticated: the wire between this reader and the card
 * must be the bank's own. */
#ifndef CARDWIRE_BANK_PIV_H
#define CARDWIRE_BANK_PIV_H

#include "bank/desk.h"
#include "bank/mailer.h"

struct piv_options {
    bool rsa;                                  /* RSA-2048 keys, not P-256 */
    const char *pin_file, *puk_file;           /* NULL: made at random, into a mailer file */
    int days;                                  /* validity of the certificates */
    void (*step)(void *ctx, const char *what); /* NULL, or called before each step */
    void *step_ctx;
};

/* Before anything is written to a card: reads the files of the numbers, and makes the root of the
 * certificates when the bank has none. The caller wipes *m with mailer_wipe. */
CW_MUST_USE enum cw_err piv_prepare(struct bank *bank, const struct piv_options *options,
                                    struct mailer *m, struct say *why);
/* All of it, read back and compared, to a card that is not locked; the desk's channel must be open,
 * and is open again when this succeeds. Cut short, it is called again: numbers and keys are made
 * anew, and the ledger's certificates with them. CW_ERR_IO when the card does not give back what
 * was written, CW_ERR_FORMAT for a public key that is none, CW_ERR_DENIED. */
CW_MUST_USE enum cw_err piv_give(struct desk *d, const struct piv_options *options,
                                 struct mailer *m, struct say *why);
/* Whether the card holds the four certificates that the ledger has for it, which are written last.
 * The channel, as above. */
CW_MUST_USE enum cw_err piv_is_held(struct desk *d, bool *out, struct say *why);
/* Takes the certificates and objects away that a try which was cut short has left, and its mailer:
 * what stays is keys without a certificate, and numbers that nobody has. The channel, as above. */
CW_MUST_USE enum cw_err piv_take_away(struct desk *d, struct say *why);

/* The public key in an answer to GENERATE ASYMMETRIC KEY PAIR (part 2 §3.3.2): of that kind, with
 * nothing beside it, and good by the library's checks. The caller frees *out with EVP_PKEY_free. */
CW_MUST_USE enum cw_err piv_public_key_read(const uint8_t *answer, size_t len, bool rsa,
                                            EVP_PKEY **out, struct say *why);

#endif
