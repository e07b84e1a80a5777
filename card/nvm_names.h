/* nvm_names.h - what the numbers of the card's values mean, and what of a value may be shown, for
 * the tool that looks at a memory. What is not in the table is shown to nobody. The card itself
 * does not ask, and firmware does not link it. */
#ifndef CARDWIRE_CARD_NVM_NAMES_H
#define CARDWIRE_CARD_NVM_NAMES_H

#include <stdbool.h>
#include <stdint.h>

enum nvm_shows {
    NVM_SHOWS_NOTHING = 0, /* a secret */
    NVM_SHOWS_LIFE,        /* 1 byte, enum link_life */
    NVM_SHOWS_TRIES,       /* tries left (1), and what else may follow */
    NVM_SHOWS_COUNTER,     /* a number of 4 bytes, and what else may follow */
    NVM_SHOWS_TIME,        /* 8 bytes, seconds since 1970 */
    NVM_SHOWS_CERTIFICATE, /* DER: subject and end */
    NVM_SHOWS_SERVER,      /* LINK_DO_NAME: DNS name */
};

struct nvm_name {
    const char *name; /* static storage */
    bool numbered;    /* one of several of that name */
    uint16_t index;   /* which of them */
    enum nvm_shows shows;
};

/* False when no value has that number. */
bool nvm_name_find(uint16_t key, struct nvm_name *out);

#endif
