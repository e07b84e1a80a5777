/* air.h - the virtual card in a field (ISO/IEC 14443-4, type A): a pseudo terminal that stands for
 * the air between reader and chip and carries frames, CRC_A included, as SLIP (proto/slip.h) has
 * them. Whoever opens it switches the field on and has the card selected; it then waits for RATS.
 * When the last one closes it, the field is off. Anticollision is not carried. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_AIR_H
#define CARDWIRE_CARD_PORTS_LINUX_AIR_H

#include "card/port.h"
#include "host/say.h"

#define AIR_AT_ONCE (-1) /* frames take no time */

/* "106", "212", "424" or "848": 0 to 3. CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err air_rate_parse(const char *kbit, int *rate, struct say *why);

/* Makes the pseudo terminal and a symbolic link to it at `path`, which must not be there; serves
 * until a signal comes in on `signals`, a signalfd: then CW_OK. With a `rate` every frame takes as
 * long as at 106 kbit/s << rate, whatever a PPS says. `port` is a contactless one. CW_ERR_EXISTS,
 * CW_ERR_IO; what card_power_up fails with. */
CW_MUST_USE enum cw_err air_serve(const char *path, int rate, const struct card_port *port,
                                  int signals, struct say *why);

#endif
