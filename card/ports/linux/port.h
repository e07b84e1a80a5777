/* port.h - a Linux program that plays a chip: the card's flash is a file, its randomness comes from
 * the kernel. For the virtual card and the in-process reader; no protection against whoever can
 * read the folder, because there is no chip. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_PORT_H
#define CARDWIRE_CARD_PORTS_LINUX_PORT_H

#include "card/port.h"
#include "host/say.h"

struct card_linux;

/* Opens, or makes, the card in folder `dir`: `flash.bin` and `id`. Locks the folder until it is
 * closed: CW_ERR_BUSY when another program runs this card. CW_ERR_IO, CW_ERR_FORMAT (damaged).
 * Every program and erase is on disk when it returns, unless the environment has
 * CARDWIRE_CARD_NOSYNC set (for tests that make many cards and pull no plugs). */
CW_MUST_USE enum cw_err card_linux_open(const char *dir, bool contactless, struct card_linux **out,
                                        struct say *why);
/* Opens the card in `dir` to be looked at, while another program may run it (*in_use): takes an
 * image of its memory, and neither makes, nor locks, nor writes anything. The port reads the image,
 * and fails to write. CW_ERR_NOT_FOUND when there is no card; CW_ERR_IO, CW_ERR_FORMAT as above;
 * CW_ERR_BUSY when it changes all the time. */
CW_MUST_USE enum cw_err card_linux_look(const char *dir, struct card_linux **out, bool *in_use,
                                        struct say *why);
/* Valid until close. */
const struct card_port *card_linux_port(const struct card_linux *card);
/* The card must be powered down. *card becomes NULL. */
void card_linux_close(struct card_linux **card);

#endif
