/* memory.h - the card's memory and the chip's factory page, over the cells that the chip has
 * (chip.h). In QEMU both are RAM of the board that QEMU keeps in a file.
 *
 *     0       card's memory, MEMORY_SIZE bytes in pages of MEMORY_PAGE: as flash.bin of the Linux
 * port 10000   factory page, written by the chip's maker, never by the card: "CWCHIP" 00 version
 * (1), unique id (8; for a chip that has none of its own), initial key (16), contactless (1)
 */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_MEMORY_H
#define CARDWIRE_CARD_PORTS_CORTEXM_MEMORY_H

#include "card/port.h"
#include "card/ports/cortexm/board.h"

#define MEMORY_PAGE       BOARD_PAGE
#define MEMORY_SIZE       0x10000u
#define MEMORY_PAGES      (MEMORY_SIZE / MEMORY_PAGE)
#define MEMORY_WINDOW     0x20000u /* with the factory page, as the MPU has it */
#define MEMORY_FACTORY_ID 8u       /* offset of the unique id in the factory page */

/* Fills in flash, unique id, initial key and field. CW_ERR_FORMAT: the chip never left its maker.
 */
CW_MUST_USE enum cw_err memory_start(struct card_port *port);

#endif
