/* memory.h - the card's memory and the chip's factory page. In QEMU both are RAM of the board that
 * QEMU keeps in a file; the driver holds to what NOR flash can do (card/port.h), so that the real
 * chip's flash controller takes its place and nothing else changes.
 *
 *     0       card's memory, MEMORY_PAGES pages of MEMORY_PAGE bytes: as flash.bin of the Linux
 * port 10000   factory page, written by the chip's maker, never by the card: "CWCHIP" 00 version
 * (1), unique id (8), initial key (16)
 */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_MEMORY_H
#define CARDWIRE_CARD_PORTS_CORTEXM_MEMORY_H

#include "card/port.h"

#define MEMORY_PAGE   2048u
#define MEMORY_PAGES  32u
#define MEMORY_WINDOW 0x20000u /* with the factory page, as the MPU has it */

/* Fills in flash, unique id, initial key and field. CW_ERR_FORMAT: the chip never left its maker.
 */
CW_MUST_USE enum cw_err memory_start(struct card_port *port);

#endif
