/* issuer_channel.h - the bank's secure channel to a card: SCP03 (proto/scp03.h) over a reader. It
 * protects whole commands; chaining and GET RESPONSE are below it, in terminal/applet.h. What the
 * commands mean is not its business. docs/scp03.md.
 *
 * CW_ERR_DENIED: card or bank could not prove itself, or something was changed on the way. */
#ifndef CARDWIRE_BANK_ISSUER_CHANNEL_H
#define CARDWIRE_BANK_ISSUER_CHANNEL_H

#include "proto/scp03.h"
#include "reader/reader.h"

#define CHANNEL_DATA_MAX 2048u /* bytes of data of a command or an answer, in clear */

struct channel;

/* Opens a channel to the card in `r`, which must outlive it, whose application is selected: proves
 * the keys of both ends to each other. `version`: number of the key set, 0 for the card's first.
 * `level`: SCP03_LEVEL_FULL, or less. The caller frees *out with channel_free. */
CW_MUST_USE enum cw_err channel_open(struct reader *r, const struct scp03_keys *keys,
                                     uint8_t version, uint8_t level, struct channel **out,
                                     struct say *why);

/* One command and its answer. `cla` is that of the command in clear (00 or 80). *sw is the card's
 * status word, which may well be an error: those are not authenticated, and end nothing. On failure
 * of the call itself the channel is dead (CW_ERR_STATE ever after), as nobody can tell what the
 * card has seen; but not on CW_ERR_LENGTH, when nothing was sent. */
CW_MUST_USE enum cw_err channel_command(struct channel *c, uint8_t cla, uint8_t ins, uint8_t p1,
                                        uint8_t p2, const uint8_t *data, size_t nc, uint8_t *out,
                                        size_t cap, size_t *len, uint16_t *sw, struct say *why);

/* Gives the card a new key set (PUT KEY) in place of set `old_version`, or beside it when that is
 * 0, and compares the check values that it answers. `current` is the set that the channel was
 * opened with. */
CW_MUST_USE enum cw_err channel_keys_put(struct channel *c, const struct scp03_keys *current,
                                         uint8_t old_version, uint8_t version,
                                         const struct scp03_keys *keys, struct say *why);

/* Wipes and frees; the card keeps its end until it is reset or told otherwise. */
void channel_free(struct channel **channel);

#endif
