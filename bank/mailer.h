/* mailer.h - the secret numbers of a card, PIN and PUK, and those of its PIV application: from
 * files, or made at random, and then in the file that is printed, sent to the holder and destroyed.
 * Nowhere else does the bank keep them. */
#ifndef CARDWIRE_BANK_MAILER_H
#define CARDWIRE_BANK_MAILER_H

#include "bank/bank.h"
#include "host/pin.h"
#include "proto/policy.h"

#define MAILER_PUK_MIN   8u
#define MAILER_PUK_TRIES 10u

/* For PINs of the PIV application (SP 800-73-4 part 2 §2.4.3: 6 to 8 digits). */
extern const struct policy_pin mailer_piv_rules;

struct mailer {
    bool piv;                        /* of the PIV application: a file of its own */
    const char *pin_file, *puk_file; /* NULL: made at random */
    struct pin pin, puk;
    char path[BANK_PATH_MAX]; /* of the file; "" when there is none, both being from files */
};

/* Reads the files that are named, and holds them against the rules for PINs; writes nothing. */
CW_MUST_USE enum cw_err mailer_read(struct mailer *m, const struct policy_pin *rules,
                                    struct say *why);
/* Makes what no file gave, and writes the mailer of the card with this serial (as text), in the
 * place of one that there was: its PIN is in no card, or will be in none. */
CW_MUST_USE enum cw_err mailer_write(struct mailer *m, const struct bank *bank, const char *serial,
                                     const struct policy_pin *rules, struct say *why);
/* The path of the card's mailer, "" if there is none. */
CW_MUST_USE enum cw_err mailer_find(const struct bank *bank, const char *serial, bool piv,
                                    char out[BANK_PATH_MAX], struct say *why);
void mailer_wipe(struct mailer *m);

#endif
