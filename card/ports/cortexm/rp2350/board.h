/* board.h - Raspberry Pi RP2350, one of its two Cortex-M33, with a serial flash of 4 MB at least
 * (RP2350 datasheet; sections named below are its). Never run: docs/porting.md. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_RP2350_BOARD_H
#define CARDWIRE_CARD_PORTS_CORTEXM_RP2350_BOARD_H

#define BOARD_CLOCK_HZ         48000000u   /* PLL_USB, from a crystal of 12 MHz */
#define BOARD_LINE_HZ          4000000u    /* clock of the reader, which is not looked at */
#define BOARD_PERIPHERALS      0x40000000u /* APB */
#define BOARD_PERIPHERALS_SIZE 0x00170000u
#define BOARD_TIMER_LINK       0x400B0000u /* TIMER0 (§12.8), ALARM0 */
#define BOARD_UART_LINK        0x40070000u /* UART0, a PL011 (§12.1) */
#define BOARD_IRQ_TIMER        0
#define BOARD_IRQ_LINK         33
#define BOARD_IRQ_COUNT        52
#define BOARD_NMI              fault

/* The second megabyte of the flash, past the cache (§4.4.1): what was written is read. */
#define BOARD_MEMORY        0x14100000u
#define BOARD_MEMORY_OFFSET 0x00100000u /* in the flash */
#define BOARD_PAGE          4096u       /* a sector */
#define BOARD_WATCHDOG_MS   16000u      /* its counter has 24 bits, of 1 us (§12.9) */

/* Where the code runs that writes to the flash which the rest runs from: SRAM8 (§2.2.3). */
#define BOARD_ALSO        0x20080000u
#define BOARD_ALSO_SIZE   0x1000u
#define BOARD_ALSO_ACCESS RUN_ONLY

#endif
