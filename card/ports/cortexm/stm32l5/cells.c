/* cells.c - STM32L5: bank 2 of the flash (RM0438 §6). It programs double words of 64 bits with 8
 * bits of ECC, each once between two erasures, which is what the card asks of it (card/port.h).
 * What a power cut leaves of a double word may not check: reading it is an NMI. Then it is neither
 * blank nor what was to be written, and so it is read as zeros. */
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/chip.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/memory.h"
#include "card/ports/cortexm/mpu.h"

#include <string.h>

#define NSKEYR REG32(0x40022008u)
#define NSSR   REG32(0x40022020u)
#define NSCR   REG32(0x40022028u)
#define ECCR   REG32(0x40022030u)

#define KEY1        0x45670123u
#define KEY2        0xCDEF89ABu
#define SR_BUSY     (1u << 16)
#define SR_ERRORS   0x000020FAu
#define SR_DONE     1u
#define CR_PROGRAM  1u
#define CR_ERASE    2u
#define CR_BANK_2   (1u << 11)
#define CR_START    (1u << 16)
#define CR_LOCK     (1u << 31)
#define ECCR_DOUBLE (1u << 31)
#define WORD        8u

void cells_nmi(void);              /* called by startup.S */
extern _Noreturn void fault(void); /* startup.S */

static volatile bool reading, broken;

/* Any other NMI, and this one anywhere else, is a fault. */
void cells_nmi(void)
{
    if (!reading || !(ECCR & ECCR_DOUBLE))
        fault();
    ECCR = ECCR_DOUBLE;
    broken = true;
}

static volatile uint32_t *word_at(uint32_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(BOARD_MEMORY + offset);
}

static void word_read(uint32_t offset, uint8_t out[WORD])
{
    volatile uint32_t *word = word_at(offset);
    uint32_t value[2];
    broken = false;
    reading = true;
    value[0] = word[0];
    value[1] = word[1];
    cpu_barrier(); /* the NMI has come by now, if it comes */
    reading = false;
    if (broken)
        memset(value, 0, sizeof value);
    memcpy(out, value, WORD);
}

enum cw_err chip_cells_read(uint32_t offset, void *data, uint32_t len)
{
    uint8_t *out = data;
    while (len > 0) {
        uint8_t word[WORD];
        uint32_t skip = offset % WORD;
        uint32_t n = len < WORD - skip ? len : WORD - skip;
        word_read(offset - skip, word);
        memcpy(out, word + skip, n);
        out += n;
        offset += n;
        len -= n;
    }
    return CW_OK;
}

static void open_bank(uint32_t what)
{
    while (NSSR & SR_BUSY)
        continue;
    if (NSCR & CR_LOCK) {
        NSKEYR = KEY1;
        NSKEYR = KEY2;
    }
    NSSR = SR_ERRORS | SR_DONE; /* what is set would hold up the next */
    NSCR = what;
}

static enum cw_err close_bank(void)
{
    while (NSSR & SR_BUSY)
        continue;
    uint32_t errors = NSSR & SR_ERRORS;
    NSCR = CR_LOCK;
    return errors == 0 ? CW_OK : CW_ERR_IO;
}

enum cw_err chip_cells_program(uint32_t offset, const void *data, uint32_t len)
{
    const uint8_t *from = data;
    uint32_t value[2];
    uint8_t back[WORD];
    enum cw_err err = CW_OK;
    for (uint32_t at = 0; at < len && err == CW_OK; at += WORD) {
        memcpy(value, from + at, WORD);
        mpu_memory_writable(true);
        cpu_lock(); /* the two halves, one after the other (§6.3.7) */
        open_bank(CR_PROGRAM);
        word_at(offset + at)[0] = value[0];
        word_at(offset + at)[1] = value[1];
        cpu_barrier();
        err = close_bank();
        cpu_unlock();
        mpu_memory_writable(false);
        word_read(offset + at, back);
        if (err == CW_OK && memcmp(back, value, WORD) != 0)
            err = CW_ERR_IO;
    }
    return err;
}

enum cw_err chip_cells_erase(uint32_t page)
{
    open_bank(CR_ERASE | CR_BANK_2 | page << 3);
    NSCR |= CR_START;
    return close_bank();
}
