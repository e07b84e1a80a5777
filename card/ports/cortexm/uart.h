/* uart.h - a CMSDK APB UART (Arm DDI 0479D §4.3): bytes, one at a time. It has no parity, no guard
 * time and no etu: those of ISO/IEC 7816-3 are for a real chip's UART, which has a mode for them.
 */
#ifndef CARDWIRE_CARD_PORTS_CORTEXM_UART_H
#define CARDWIRE_CARD_PORTS_CORTEXM_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `base` is the UART's. With `interrupt`, each byte received raises its interrupt. */
void uart_start(uintptr_t base, bool interrupt);
/* Takes the byte that was received, if there is one, and its interrupt with it. */
bool uart_take(uintptr_t base, uint8_t *out);
/* Returns when the last byte is on its way. */
void uart_send(uintptr_t base, const uint8_t *data, size_t len);

#endif
