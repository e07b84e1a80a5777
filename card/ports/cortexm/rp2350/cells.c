/* cells.c - RP2350: the serial flash behind QMI (§12.14), in its direct mode: the commands that
 * every such flash knows. In that mode nothing can be read or run from it, so what is here in
 * .routines runs from RAM, with interrupts held, and calls nothing outside. */
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/chip.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/memory.h"

#include <string.h>

#define ROUTINE __attribute__((section(".routines"), noinline, noclone, long_call))
#define INLINE  static inline __attribute__((always_inline))

#define DIRECT_CSR REG32(0x400D0000u)
#define DIRECT_TX  REG32(0x400D0004u)
#define DIRECT_RX  REG32(0x400D0008u)

#define CSR_ON       (4u << 22 | 1u) /* 12 MHz */
#define CSR_BUSY     2u
#define CSR_SELECT   4u
#define CSR_TX_FULL  0x00000400u
#define CSR_RX_EMPTY 0x00010000u
#define TX_NO_RX     0x00100000u

#define WRITE_ENABLE 0x06u
#define READ_STATUS  0x05u
#define PAGE_PROGRAM 0x02u
#define SECTOR_ERASE 0x20u
#define WRITING      1u
#define PROGRAM_PAGE 256u /* a program command wraps at its end */

INLINE void put(uint32_t byte)
{
    while (DIRECT_CSR & CSR_TX_FULL)
        continue;
    DIRECT_TX = byte | TX_NO_RX;
}

INLINE void select(void)
{
    DIRECT_CSR = CSR_ON | CSR_SELECT;
}

INLINE void release(void)
{
    while (DIRECT_CSR & CSR_BUSY)
        continue;
    DIRECT_CSR = CSR_ON;
}

INLINE uint32_t status(void)
{
    select();
    put(READ_STATUS);
    while (DIRECT_CSR & CSR_TX_FULL)
        continue;
    DIRECT_TX = 0; /* this one pushes what comes in */
    while (DIRECT_CSR & CSR_RX_EMPTY)
        continue;
    uint32_t bits = DIRECT_RX;
    release();
    return bits;
}

/* One command with an address and what is to be programmed; returns when the flash has done it. */
ROUTINE static void command(uint32_t code, uint32_t address, const uint8_t *data, uint32_t len)
{
    DIRECT_CSR = CSR_ON;
    release(); /* a read of the cache may be under way */
    select();
    put(WRITE_ENABLE);
    release();
    select();
    put(code);
    put(address >> 16 & 0xFFu);
    put(address >> 8 & 0xFFu);
    put(address & 0xFFu);
    for (uint32_t i = 0; i < len; i++)
        put(data[i]);
    release();
    while (status() & WRITING)
        continue;
    DIRECT_CSR = 0;
    __asm__ volatile("dsb\n\tisb" : : : "memory");
}

/* By PRIMASK: the vectors are in the flash, of faults as well. Interrupts may be held already. */
static void run(uint32_t code, uint32_t offset, const uint8_t *data, uint32_t len)
{
    uint32_t held;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(held) : : "memory");
    command(code, BOARD_MEMORY_OFFSET + offset, data, len);
    __asm__ volatile("msr primask, %0\n\tisb" : : "r"(held) : "memory");
}

static const uint8_t *cells(uint32_t offset)
{
    return (const uint8_t *)(uintptr_t)(BOARD_MEMORY + offset);
}

enum cw_err chip_cells_read(uint32_t offset, void *data, uint32_t len)
{
    memcpy(data, cells(offset), len);
    return CW_OK;
}

enum cw_err chip_cells_program(uint32_t offset, const void *data, uint32_t len)
{
    const uint8_t *from = data; /* in RAM: what the core programs is on its stack */
    uint8_t word[8];
    for (uint32_t at = 0; at < len; at += sizeof word) {
        memcpy(word, from + at, sizeof word); /* unless it is a constant of the image */
        run(PAGE_PROGRAM, offset + at, word, sizeof word);
        if (memcmp(cells(offset + at), word, sizeof word) != 0)
            return CW_ERR_IO;
    }
    return CW_OK;
}

enum cw_err chip_cells_erase(uint32_t page)
{
    run(SECTOR_ERASE, page * MEMORY_PAGE, NULL, 0);
    for (uint32_t at = 0; at < MEMORY_PAGE; at++)
        if (cells(page * MEMORY_PAGE)[at] != 0xFF)
            return CW_ERR_IO;
    return CW_OK;
}
