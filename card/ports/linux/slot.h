/* slot.h - the virtual card in a reader of the PC/SC daemon, through host/vpcd.h. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_SLOT_H
#define CARDWIRE_CARD_PORTS_LINUX_SLOT_H

#include "card/port.h"
#include "host/net.h"
#include "host/say.h"

/* As vpcd_serve. */
CW_MUST_USE enum cw_err slot_serve(const struct net_address *daemon, const struct card_port *port,
                                   int signals, struct say *why);

#endif
