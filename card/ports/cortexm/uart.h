/* uart.h - the contact line's UART: bytes, one at a time. Parity, guard time and etu of ISO/IEC
 * 7816-3 are the chip's: the boards that QEMU plays have none (uart.c, a CMSDK APB UART, Arm DDI
 * 0479D §4.3). */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_UART_H
#define CARDWIRE_CARD_PORTS_CORTEXM_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before the card answers, for UARTs with a rate. BGT (§11.4.3) is 22 etu between the edges of two
 * characters in opposite directions, of which 10 have passed when the first was received. */
#define UART_GUARD_ETU 12u

/* `base` is the UART's. With `interrupt`, each byte received raises its interrupt. */
void uart_start(uintptr_t base, bool interrupt);
/* Takes the byte that was received, if there is one, and its interrupt with it; `intact`: its
 * parity was right and none was lost before it. */
bool uart_take(uintptr_t base, uint8_t *out, bool *intact);
/* From the next byte on an etu is Fi/Di clocks of the reader, coded as in TA1 (§8.3). */
void uart_rate(uintptr_t base, uint8_t fi_di);
/* Returns when the last byte is on its way; with a rate, when it has left. */
void uart_send(uintptr_t base, const uint8_t *data, size_t len);

#endif
