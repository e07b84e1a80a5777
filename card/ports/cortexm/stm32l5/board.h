/* board.h - STM32L552 with 512 KB of flash (Cortex-M33; RM0438, whose sections are named below), as
 * it is delivered: no TrustZone (TZEN = 0), two banks (DBANK = 1). The clock contact feeds OSC_IN.
 * Never run: docs/porting.md. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_STM32L5_BOARD_H
#define CARDWIRE_CARD_PORTS_CORTEXM_STM32L5_BOARD_H

#define BOARD_LINE_MULTIPLE    10u       /* PLL: clocks of ours to one of the reader */
#define BOARD_CLOCK_HZ         40000000u /* at 4 MHz from the reader; 4 to 5 will do */
#define BOARD_PERIPHERALS      0x40000000u
#define BOARD_PERIPHERALS_SIZE 0x02100000u
#define BOARD_TIMER_LINK       0x40000000u /* TIM2 */
#define BOARD_UART_LINK        0x40013800u /* USART1 */
#define BOARD_IRQ_TIMER        45
#define BOARD_IRQ_LINK         61
#define BOARD_IRQ_COUNT        108
#define BOARD_NMI              cells_nmi /* a word of the flash that its ECC cannot mend */

#define BOARD_MEMORY      0x08040000u /* bank 2: written while the image runs from bank 1 */
#define BOARD_PAGE        2048u
#define BOARD_WATCHDOG_MS 30000u

/* The pages with the unique id (§57.1). */
#define BOARD_ALSO        0x0BFA0000u
#define BOARD_ALSO_SIZE   0x1000u
#define BOARD_ALSO_ACCESS READ_ONLY

#endif
