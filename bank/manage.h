/* manage.h - what the bank does with an issued card that lies in its own reader, through the
 * issuer's secure channel: its life, and new secret numbers. docs/bank.md. */
#ifndef CARDWIRE_BANK_MANAGE_H
#define CARDWIRE_BANK_MANAGE_H

#include "bank/piv.h"

/* What is done with the card's life. */
enum manage_act {
    MANAGE_ACTIVATE, /* it was issued for the mail, and has arrived */
    MANAGE_LOCK,     /* it takes no PIN and opens no line, until it is unlocked */
    MANAGE_UNLOCK,
    MANAGE_TERMINATE, /* for ever: its keys are gone */
};

struct manage_result {
    uint8_t serial[ORDER_SERIAL_LEN];
    enum link_life life;
    enum ledger_card_status status;
    bool unproved;  /* manage_life_set: the card could not prove that it is the one it says */
    uint32_t first; /* manage_sync: updates that the card took, first and last; 0: none */
    uint32_t last;
    size_t renewed;             /* manage_renew: certificates */
    char mailer[BANK_PATH_MAX]; /* manage_pin_reset, manage_piv_give: file with PIN and PUK; "" when
                                   both came from files */
};

/* The card's life first, then the ledger; cut short in between, the same call completes it.
 * CW_ERR_NOT_FOUND when the card is none of this bank's, CW_ERR_STATE when it, or the ledger, is
 * not in a state for it, CW_ERR_DENIED when it does not prove its keys.
 *
 * `named`: serial of the card that is meant; NULL: whichever is in the reader. A card that is
 * terminated has no keys left to prove itself with, and may say any serial: only by name does the
 * ledger follow it. */
CW_MUST_USE enum cw_err manage_life_set(struct bank *bank, const char *reader, enum manage_act act,
                                        const uint8_t *named, struct manage_result *out,
                                        struct say *why);

/* Gives the card, through the channel, the updates that it has not taken (by its own word in the
 * channel, whatever a terminal reported) and the time: also a card that trusts the server no more.
 * The card is at the end of it where its line would have brought it, and so is its sequence. Cut
 * short, the same call completes it. */
CW_MUST_USE enum cw_err manage_sync(struct bank *bank, const char *reader,
                                    struct manage_result *out, struct say *why);

/* New certificates, of so many days, for the keys that the card has: those before stay good until
 * they end. `named` is the card that is meant. The ledger first, then the card; cut short in
 * between, the card is good as it is, and the same call makes them anew. CW_ERR_STATE when card or
 * ledger are not in a state for it. */
CW_MUST_USE enum cw_err manage_renew(struct bank *bank, const char *reader, const uint8_t *named,
                                     int days, struct manage_result *out, struct say *why);

struct manage_pins {
    const char *pin_file, *puk_file; /* NULL: made at random, into a mailer file */
    bool transport_pin;              /* the holder must change the PIN first */
};

/* A new PIN and a new PUK, by the rules that the card has; all tries are there again. */
CW_MUST_USE enum cw_err manage_pin_reset(struct bank *bank, const char *reader,
                                         const struct manage_pins *pins, struct manage_result *out,
                                         struct say *why);

/* The PIV application (piv.h) for a card that was issued without it; cut short, the same call
 * completes it. CW_ERR_STATE when the card has it. */
CW_MUST_USE enum cw_err manage_piv_give(struct bank *bank, const char *reader,
                                        const struct piv_options *options,
                                        struct manage_result *out, struct say *why);

#endif
