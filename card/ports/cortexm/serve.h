/* serve.h - the card at its contact line: T=1 by proto/t1_card, driven by interrupts. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_SERVE_H
#define CARDWIRE_CARD_PORTS_CORTEXM_SERVE_H

#include "card/card.h"

/* Sends the ATR, then takes commands until the power goes. */
_Noreturn void serve(struct card *card);

/* Interrupts: a byte was received; the timer has run down. */
void serve_byte(void);
void serve_timer(void);

#endif
