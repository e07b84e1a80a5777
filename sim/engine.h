/* engine.h - SQLite below the ledger as a bank's machine would have it on its worst day: any call
 * may fail, a commit may fail before or after it took effect, the process may die in any of them.
 * And mutants: faults of our own making, to show that a simulation finds them. */
#ifndef CARDWIRE_SIM_ENGINE_H
#define CARDWIRE_SIM_ENGINE_H

#include "bank/ledger_db.h"

enum engine_fault {
    FAULT_NONE,
    FAULT_BUSY,  /* another program has the lock */
    FAULT_FULL,  /* the disk */
    FAULT_IO,    /* of a commit: nothing is known */
    FAULT_AFTER, /* the same, and what was asked for did happen */
    FAULT_DEATH, /* the process dies before the call */
    FAULT_DEATH_AFTER,
    FAULTS,
};

enum engine_mutant {
    MUTANT_NONE,
    MUTANT_NO_REPEAT,    /* does not see that an order is booked already */
    MUTANT_NO_COUNTER,   /* nor that a counter was used */
    MUTANT_NO_BLOCK,     /* takes every card for active */
    MUTANT_NO_FUNDS,     /* and every account for rich */
    MUTANT_EARLY_ACK,    /* says that it has committed before it has */
    MUTANT_WRONG_FATE,   /* says that a commit which took effect did not */
    MUTANT_HALF,         /* writes the entry and not the balances */
    MUTANT_OTHER_AMOUNT, /* writes another amount than was ordered */
    MUTANT_OTHER_ORDER,  /* and under another number */
    MUTANTS,
};
const char *engine_mutant_name(enum engine_mutant m);
/* MUTANTS: none of that name. */
enum engine_mutant engine_mutant_find(const char *name);

/* What will happen to the ledgers that were taken. There is one process, so there is one of it. */
struct engine {
    enum engine_mutant mutant;
    enum engine_fault fault; /* that is to come... */
    unsigned calls;          /* ...in this many calls */
    bool commit_only;        /* ...of `end` alone */
    bool struck;             /* it came */
    bool dead;               /* the process: nothing of what it does has an effect any more */
    bool writing;            /* somebody has the write lock */
    bool between;            /* it is somebody else's turn */
    /* Somebody else's turn in `turn_calls` calls, but not after the end of a transaction. NULL:
     * nobody's. */
    void (*turn)(void *ctx);
    void *ctx;
    unsigned turn_calls;
};
extern struct engine engine;

/* Has the engine of an open ledger replaced. A lock is waited for no longer: nobody else runs. */
void engine_take(struct ledger *l);
/* Nothing is to come any more. */
void engine_calm(void);

#endif
