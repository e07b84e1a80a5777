/* world.h - a bank with its customers and cards in one process: several server processes' worth of
 * its core over one ledger, under a clock that is set by hand. */
#ifndef CARDWIRE_SIM_WORLD_H
#define CARDWIRE_SIM_WORLD_H

#include "bank/api.h"
#include "dice.h"
#include "model.h"

#include <openssl/evp.h>
#include <sqlite3.h>

#define WORLD_PROCESSES 3u
#define WORLD_LINES     2u /* of a card, at once */
#define WORLD_FLIGHT    64u
#define WORLD_LAST      16u /* steps that are told when one is wrong */

struct world_card {
    uint8_t serial[ORDER_SERIAL_LEN];
    EVP_PKEY *key;
    uint32_t counter;
    struct api_line lines[WORLD_LINES];
};

/* A request that waits in a process, and what came of it. */
struct world_wait {
    struct model_try t;
    bool left;  /* who asked is not there any more */
    int status; /* 0: no answer */
    char problem[32];
    char body[1024];
};

struct world_process {
    struct bank *bank;
    struct api api;
    struct world_wait waits[MODEL_BATCH];
    size_t count;
};

/* A request that a terminal or the net still has. */
struct world_message {
    size_t sheet;
    unsigned card, line;
};

struct world_counts {
    uint64_t orders, sent, booked, repeated, refused, unknown, store, lost, faults, deaths, audits;
};

struct world {
    char dir[512];
    int64_t now;
    struct dice dice;
    struct model model;
    struct world_card cards[MODEL_CARDS];
    struct world_process processes[WORLD_PROCESSES];
    struct world_message flight[WORLD_FLIGHT];
    size_t in_flight;
    sqlite3 *books; /* read past the bank's own code */
    int64_t read;   /* entries that were */
    struct world_counts counts;
    EVP_MD_CTX *digest;
    char last[WORLD_LAST][200];
    uint64_t step, lines;
    struct say wrong; /* the first thing that is; "" when none */
    bool broken;
};

/* CW_OK, or why there is no world to simulate. The caller calls world_free in any case. */
CW_MUST_USE enum cw_err world_make(struct world *w, uint64_t seed, struct say *why);
void world_free(struct world *w);
/* The process anew, with nothing that waits; the old one has died or not been there. */
CW_MUST_USE enum cw_err world_restart(struct world *w, unsigned process, struct say *why);

/* A line of the trace, of which the digest is made. */
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something is wrong: only the first is kept, and ends the simulation. */
void world_wrong(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A new order of a card, good or not, signed for one of its lines; its number among the sheets. */
CW_MUST_USE enum cw_err world_order(struct world *w, size_t *sheet, struct say *why);

/* One step, whatever the dice say. */
void world_step(struct world *w);
/* All that waits or flies comes to its end, without a fault; then everything is gone over. */
void world_finish(struct world *w);

#endif
