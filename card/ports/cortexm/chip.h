/* chip.h - what each chip has of its own, besides its timers (timer.h), its UART (uart.h) and its
 * addresses (board.h): docs/porting.md. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_CHIP_H
#define CARDWIRE_CARD_PORTS_CORTEXM_CHIP_H

#include "base/err.h"
#include "card/port.h"

#include <stdbool.h>

/* The first thing after reset, before the MPU: clocks, pins, noise source. */
void chip_start(void);
/* The number that the chip's maker gave it, and no other chip. */
void chip_unique_id(uint8_t id[CARD_UNIQUE_ID_LEN]);
/* Takes one sample of the noise source. False when none is there yet, nor ever if it says itself
 * that it has failed. */
bool chip_noise(uint8_t *sample);

/* The cells behind `struct card_flash`, at BOARD_MEMORY, with its promises (card/port.h). Bounds
 * and alignment were checked. */
CW_MUST_USE enum cw_err chip_cells_read(uint32_t offset, void *data, uint32_t len);
CW_MUST_USE enum cw_err chip_cells_program(uint32_t offset, const void *data, uint32_t len);
CW_MUST_USE enum cw_err chip_cells_erase(uint32_t page);

#endif
