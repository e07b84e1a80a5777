/* card_judge.h - one command as the model sees it, and the parts of the model that look at it:
 * card_rights.c at what it may change, card_judge_link.c and card_judge_piv.c at its answer. */
#ifndef CARDWIRE_FUZZ_CARD_JUDGE_H
#define CARDWIRE_FUZZ_CARD_JUDGE_H

#include "card_fuzz.h"

#define PIV_INS_GET      0xCB
#define PIV_INS_PUT      0xDB
#define PIV_INS_AUTH     0x87
#define PIV_INS_ADMIN    0xFF
#define PIV_INS_METADATA 0xF7

/* The command that is being judged, joined and with its protection taken off. */
struct judged {
    struct apdu_command cmd;
    bool genuine; /* through the issuer's channel, by who has its keys */
    const struct fuzz_about *about;
    uint16_t sw;
    bool ok;
    const uint8_t *data;
    size_t len;
};

/* --- card_rights.c ------------------------------------------------------------------------------
 */
/* Tries left of a PIN. */
unsigned rights_tries(const struct fuzz_memory *mem, unsigned pin);
/* Is it the right number, and one that is not blocked? The field is PIV's, padded. */
bool rights_number(unsigned pin, const uint8_t *digits, size_t len);
bool rights_field(unsigned pin, const uint8_t *field);
bool rights_transport(void);
/* Is it a message that the issuer signed for this card, and now? */
bool rights_update(const struct judged *j);
bool rights_time(const struct judged *j);
/* A blank card that gets new keys forgets everything else. */
bool rights_begins_anew(const struct judged *j);
bool rights_line_command(const struct judged *j);
/* Looks at the flash, if anything was done to it: was it done by who may? */
void rights_check_memory(const struct judged *j);

/* --- card_judge_link.c --------------------------------------------------------------------------
 */
void judge_link(const struct judged *j);
/* A policy that has no limit for a currency forgets its sums. */
void judge_sums_settle(void);
/* May it be done on this interface? */
bool judge_over_the_air(uint8_t flag);
bool judge_active(void);
/* An answer that says how many tries are left says so truly; a wrong number has cost one. */
void judge_count(const struct judged *j, unsigned pin, bool tried);
bool judge_refused_wrong(const struct judged *j);

/* --- card_judge_piv.c ---------------------------------------------------------------------------
 */
/* `fresh`: the command before was a good VERIFY. */
void judge_piv(const struct judged *j, bool fresh);

#endif
