/* vpcd.h - the virtual card at the socket of vpcd, the PC/SC driver of vsmartcard: any program that
 * speaks PC/SC then sees a reader with this card in it. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_VPCD_H
#define CARDWIRE_CARD_PORTS_LINUX_VPCD_H

#include "card/port.h"
#include "host/net.h"
#include "host/say.h"

/* Connects (retrying for some seconds, because the daemon may be starting) and serves the card
 * until the daemon goes away or a signal comes in on `signals`, a signalfd: then CW_OK, and `why`
 * says which. CW_ERR_TIMEOUT and CW_ERR_IO when it cannot connect; what card_power_up fails with.
 */
CW_MUST_USE enum cw_err vpcd_serve(const struct net_address *daemon, const struct card_port *port,
                                   int signals, struct say *why);

#endif
