/* board.h - where Arm's MPS2 boards have what the card needs: image AN385 (Cortex-M3; DAI 0385D)
 * and AN505 (Cortex-M33; DAI 0505B, secure aliases). A chip that can be bought has a folder
 * with its own: rp2350/, stm32l5/. The windows of flash and RAM are the linker
 * script's. */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_BOARD_H
#define CARDWIRE_CARD_PORTS_CORTEXM_BOARD_H

#if defined(BOARD_RP2350)
#include "card/ports/cortexm/rp2350/board.h"
#elif defined(BOARD_STM32L5)
#include "card/ports/cortexm/stm32l5/board.h"
#elif defined(BOARD_AN385)
#define BOARD_CLOCK_HZ    25000000u
#define BOARD_PERIPHERALS 0x40000000u /* 1 MB */
#define BOARD_TIMER_LINK  0x40000000u /* CMSDK APB timer 0 */
#define BOARD_TIMER_COUNT 0x40001000u /* timer 1 */
#define BOARD_UART_LINK   0x40004000u /* CMSDK APB UART 0 */
#define BOARD_UART_NOISE  0x40005000u /* UART 1 */
#define BOARD_WATCHDOG    0x40008000u /* CMSDK APB watchdog, to NMI */
#define BOARD_MEMORY      0x21000000u /* PSRAM, as the chip's data flash */
#define BOARD_IRQ_LINK    0           /* UART 0 has received */
#define BOARD_IRQ_TIMER   8
#elif defined(BOARD_AN505)
#define BOARD_CLOCK_HZ    20000000u
#define BOARD_PERIPHERALS 0x50000000u
#define BOARD_TIMER_LINK  0x50000000u
#define BOARD_TIMER_COUNT 0x50001000u
#define BOARD_UART_LINK   0x50200000u
#define BOARD_UART_NOISE  0x50201000u
#define BOARD_WATCHDOG    0x50081000u
#define BOARD_MEMORY      0x80000000u
#define BOARD_IRQ_LINK    32
#define BOARD_IRQ_TIMER   3
#else
#error "name the board: BOARD_AN385, BOARD_AN505, BOARD_RP2350 or BOARD_STM32L5"
#endif

#if defined(BOARD_AN385) || defined(BOARD_AN505)
#define BOARD_PERIPHERALS_SIZE 0x00400000u
#define BOARD_IRQ_COUNT        48    /* entries of the vector table */
#define BOARD_PAGE             2048u /* bytes of data flash that are erased at once */
#define BOARD_WATCHDOG_MS      30000u
#define BOARD_NMI              fault /* the watchdog's */
#endif

#endif
