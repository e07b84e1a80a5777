/* torn_lab.h - power cuts in the middle of what the card does. A scenario is a row of commands; the
 * power is cut in every flash operation of every one of them. When it is back the card must start
 * and be what it was before the command, or after it, or what the scenario lists as lying between;
 * and the scenario must go on from there to its end. docs/tearing.md has what came of it. */
#ifndef CARDWIRE_TESTS_UNIT_TORN_LAB_H
#define CARDWIRE_TESTS_UNIT_TORN_LAB_H

#include "card_lab.h"

#define TORN_PIN       "160914" /* that a holder changes to */
#define TORN_STEPS_MAX 24
#define TORN_BETWEEN   3 /* states that one command may leave besides the old and the new one */
#define TORN_PROBES    8

/* A value of the card's memory, differing from what it was before the command. */
struct torn_change {
    uint16_t key;
    const char *value; /* NULL: it is not there */
    size_t len;
};

/* A state that lies between, and why it may. */
struct torn_between {
    const char *what; /* NULL ends the list */
    struct torn_change change;
    uint16_t (*recover)(void); /* what has to be done before the command is given again; or NULL */
};

struct torn_step {
    const char *name;
    void (*prepare)(unsigned arg); /* with power that stays: a PIN, a line, a channel; or NULL */
    uint16_t (*run)(unsigned arg); /* one command, or one login */
    unsigned arg;
    uint16_t sw; /* what it answers; 0 stands for 9000 */
    struct torn_between between[TORN_BETWEEN];
    bool loses; /* may answer so although what it should keep was lost: a session */
};

/* What the card lets be seen of itself, through its commands and in its memory. */
struct torn_seen {
    uint64_t time;
    uint32_t counter, sequence;
    uint8_t life;
    uint8_t tries[LINK_PIN_COUNT];
    uint8_t memory[32];              /* SHA-256 over all values; of a session, that it is there */
    uint8_t said[32];                /* SHA-256 over INFO and objects */
    struct {                         /* what takes more than reading */
        uint8_t keysets, pins, puks; /* masks: which of those that the lab knows are good */
        uint8_t keys[32];            /* SHA-256 over public keys, and what the channel tells */
        uint8_t probes[TORN_PROBES]; /* the scenario's own */
    } tried;
};

struct torn_scenario {
    const char *name;
    struct torn_step steps[TORN_STEPS_MAX]; /* the first without a name ends them */
    /* More to see; may change the card, which is put back with torn_again. */
    void (*probe)(struct lab *lab, uint8_t out[TORN_PROBES]);
    size_t growth; /* bytes by which the values grow, for a memory that is nearly full */
};

enum torn_how {
    TORN_PLAIN,
    TORN_FULL,  /* nearly full memory and full log: values move to the other bank in each command */
    TORN_WRONG, /* counts what should not be, and does not fail */
};

struct torn_count {
    unsigned commands, operations, moves, cuts, second, old, between, new, wrong;
};

/* Random numbers that are the same in every run of a step; for a card just made. */
void torn_init(struct lab *lab);
/* Something that may not be found in the flash of a terminated card. */
void torn_secret(const void *data, size_t len);
/* The last `len` bytes of a value in memory are such. */
void torn_secret_value(struct lab *lab, uint16_t key, size_t len);

/* Cuts the scenario, beginning with the card as it is; says what was counted, and fails the test at
 * what may not be. The card is at the scenario's end afterwards. */
struct torn_count torn_run(struct lab *lab, const struct torn_scenario *scenario,
                           enum torn_how how);
/* For probes: the card as it was when they began, with power. */
void torn_again(struct lab *lab);

/* CHANGE REFERENCE DATA or RESET RETRY COUNTER of the link application */
uint16_t torn_two(struct lab *lab, uint8_t ins, const char *first, const char *pin);
/* PUT KEY: number 0 is the maker's set (never written), 1 the issuer's, 2 the issuer's next. */
uint16_t torn_put_keys(struct lab *lab, unsigned number);

#endif
