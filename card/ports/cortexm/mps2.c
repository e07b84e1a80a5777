/* mps2.c - the boards that QEMU plays. RAM that QEMU keeps in a file is the data flash, and a UART
 * that is fed with random numbers the noise source. */
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/chip.h"
#include "card/ports/cortexm/memory.h"
#include "card/ports/cortexm/mpu.h"
#include "card/ports/cortexm/uart.h"

#include <string.h>

void chip_start(void)
{
    uart_start(BOARD_UART_NOISE, false);
}

/* scripts/chip puts it into the factory page. */
void chip_unique_id(uint8_t id[CARD_UNIQUE_ID_LEN])
{
    memcpy(id, (const uint8_t *)(uintptr_t)(BOARD_MEMORY + MEMORY_SIZE + MEMORY_FACTORY_ID),
           CARD_UNIQUE_ID_LEN);
}

bool chip_noise(uint8_t *sample)
{
    bool intact;
    return uart_take(BOARD_UART_NOISE, sample, &intact);
}

enum cw_err chip_cells_read(uint32_t offset, void *data, uint32_t len)
{
    memcpy(data, (const uint8_t *)(uintptr_t)(BOARD_MEMORY + offset), len);
    return CW_OK;
}

enum cw_err chip_cells_program(uint32_t offset, const void *data, uint32_t len)
{
    volatile uint8_t *cell = (volatile uint8_t *)(uintptr_t)(BOARD_MEMORY + offset);
    const uint8_t *bits = data;
    mpu_memory_writable(true);
    for (uint32_t i = 0; i < len; i++)
        cell[i] &= bits[i]; /* as NOR flash does: programming only clears */
    mpu_memory_writable(false);
    return CW_OK;
}

enum cw_err chip_cells_erase(uint32_t page)
{
    volatile uint8_t *cell = (volatile uint8_t *)(uintptr_t)(BOARD_MEMORY + page * MEMORY_PAGE);
    mpu_memory_writable(true);
    for (uint32_t i = 0; i < MEMORY_PAGE; i++)
        cell[i] = 0xFF;
    mpu_memory_writable(false);
    return CW_OK;
}
