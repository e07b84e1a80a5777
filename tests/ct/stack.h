/* stack.h - looks below the stack for private keys that a command has left there. For a run without
 * valgrind, which rightly complains when what is no longer in use is read. */
#ifndef CARDWIRE_TESTS_CT_STACK_H
#define CARDWIRE_TESTS_CT_STACK_H

#include <stdint.h>

struct stack_seen {
    unsigned scalars; /* that p256-m was given or made */
    unsigned left;    /* of these, found where nothing should be any more */
};
extern struct stack_seen stack_seen;

/* p256-m works with this scalar. */
void stack_note(const uint8_t scalar[32]);
/* Looks for those noted since the last call, below the caller. */
void stack_look(void);

#endif
