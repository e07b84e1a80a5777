/* inspect.h - cardwire-card inspect: what a card's memory holds, without one byte being written and
 * without a secret being shown. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_INSPECT_H
#define CARDWIRE_CARD_PORTS_LINUX_INSPECT_H

#include <stdbool.h>

/* Looks at the card in folder `dir` and prints what it sees, for people or as JSON. Returns the
 * exit code: 0, or 1 when there is no card, its memory is damaged, or it cannot be read; why is
 * said. */
int inspect_run(const char *dir, bool json);

#endif
