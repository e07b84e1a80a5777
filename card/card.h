/* card.h - the bank card: APDUs in, APDUs out. The whole of the trusted core behind a few
 * functions. Portable C without OS calls and without the system heap; the TLS library gets a fixed
 * pool.
 *
 * The TLS library keeps global state (its key store), so there is one live card in a process. */
#ifndef CARDWIRE_CARD_CARD_H
#define CARDWIRE_CARD_CARD_H

#include "card/port.h"

/* Largest command and response that card_process takes and gives, with header and status word. */
#define CARD_COMMAND_MAX  (2048u + 24u + 9u) /* 24: what secure messaging adds */
#define CARD_RESPONSE_MAX (1024u + 2u)

struct card;

/* Powers the card up on `port`, which must outlive it. Mounts its memory; a torn write is repaired.
 * Returns the one card of this process in *out (static storage), or CW_ERR_BUSY when it is in use
 * already, CW_ERR_IO or CW_ERR_FORMAT when the memory cannot be used. */
CW_MUST_USE enum cw_err card_power_up(const struct card_port *port, struct card **out);

/* Reset by the reader: everything volatile is wiped, the line is dead. */
CW_MUST_USE enum cw_err card_reset(struct card *card);

/* Power lost: wipes RAM and gives the card back. *card becomes NULL. */
void card_power_down(struct card **card);

/* Where the port may put the next command, *cap bytes, so that it needs no such buffer of its own.
 * To be asked for before each command: what has come of a chain lies before it. Of a command that
 * is longer its beginning is enough; card_process is told the whole length, and refuses it. */
uint8_t *card_command_space(struct card *card, size_t *cap);

/* One command (ISO/IEC 7816-4), from the space above, which is wiped then, or from anywhere else.
 * Always answers with at least a status word; `cap` must be at least CARD_RESPONSE_MAX. Returns the
 * length of the response. */
size_t card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                    size_t cap);

/* The same for a port that has no room for a response either: the command is in the space above,
 * and so is the response, until the next command is put there. */
const uint8_t *card_process_here(struct card *card, size_t len, size_t *response_len);

/* What the answer to reset of the contact interface says of the line: a driver need not read it. */
#define CARD_T1_TA1  0x97u /* Fi and Di that a PPS may choose */
#define CARD_T1_IFSC 254u  /* bytes of a block; checked by an LRC */

/* Answer to reset (ISO/IEC 7816-3:2006 §8.2), or its contactless equivalent (PC/SC part 3
 * §3.1.3.2.3). */
const uint8_t *card_atr(const struct card *card, size_t *len);
/* The answer to select (ISO/IEC 14443-4 §5.2), TL first, without CRC_A. */
const uint8_t *card_ats(size_t *len);

#endif
