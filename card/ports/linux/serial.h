/* serial.h - the virtual card at the end of a serial line: a pseudo terminal that stands for the
 * wire between reader and chip, raw bytes as ISO/IEC 7816-3 has them. Whoever opens it powers the
 * card; it then sends its ATR. When the last one closes it, power is off. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_SERIAL_H
#define CARDWIRE_CARD_PORTS_LINUX_SERIAL_H

#include "card/port.h"
#include "host/say.h"

struct serial_etu {
    uint32_t numerator, denominator; /* seconds; 0/1: bytes go as fast as they can */
};

/* "1/9600", "372/3571200"; from 1/446400 to 1/1 of a second. CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err serial_etu_parse(const char *text, struct serial_etu *out, struct say *why);

/* Makes the pseudo terminal and a symbolic link to it at `path`, which must not be there; serves
 * until a signal comes in on `signals`, a signalfd: then CW_OK. With `etu` everything takes as long
 * as on a line of that rate; a PPS makes it faster. CW_ERR_EXISTS, CW_ERR_IO; what card_power_up
 * fails with. */
CW_MUST_USE enum cw_err serial_serve(const char *path, const struct serial_etu *etu,
                                     const struct card_port *port, int signals, struct say *why);

#endif
