/* uart.c - STM32L5: USART1 in Smartcard mode (RM0438 §47.5.17): one wire, even parity, without the
 * error signal, which T=1 does not have. Our clock is a multiple of the reader's, so an etu is
 * exact whatever the reader's clock is. */
#include "card/ports/cortexm/uart.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/timer.h"
#include "proto/atr.h"

#define CR1(base)  REG32((base) + 0x00u)
#define CR2(base)  REG32((base) + 0x04u)
#define CR3(base)  REG32((base) + 0x08u)
#define BRR(base)  REG32((base) + 0x0Cu)
#define GTPR(base) REG32((base) + 0x10u)
#define ISR(base)  REG32((base) + 0x1Cu)
#define ICR(base)  REG32((base) + 0x20u)
#define RDR(base)  REG32((base) + 0x24u)
#define TDR(base)  REG32((base) + 0x28u)

#define CR1_ON       1u
#define CR1_RECEIVE  (1u << 2)
#define CR1_TRANSMIT (1u << 3)
#define CR1_RX_IRQ   (1u << 5)
#define CR1_FORMAT   (1u << 12 | 1u << 10) /* 8 bits and even parity */
#define CR2_STOP_1_5 (3u << 12)
#define CR3_ONE_WIRE (1u << 5) /* Smartcard mode, without NACK */
#define ISR_ERRORS   0x0Fu     /* parity, frame, noise, overrun */
#define ISR_RECEIVED (1u << 5)
#define ISR_SENT     (1u << 6)
#define ISR_TX_EMPTY (1u << 7)

static uint32_t control; /* of CR1, while it receives */

void uart_rate(uintptr_t base, uint8_t fi_di)
{
    uint16_t fi;
    uint8_t di;
    if (atr_fi_di(fi_di, &fi, &di) != CW_OK)
        return; /* t1_card takes no PPS with it */
    CR1(base) = 0;
    BRR(base) = BOARD_LINE_MULTIPLE * fi / di;
    CR1(base) = control;
}

void uart_start(uintptr_t base, bool interrupt)
{
    control = CR1_FORMAT | CR1_TRANSMIT | CR1_RECEIVE | CR1_ON | (interrupt ? CR1_RX_IRQ : 0);
    CR1(base) = 0;
    CR2(base) = CR2_STOP_1_5;
    CR3(base) = CR3_ONE_WIRE;
    GTPR(base) = 1u << 8 | 1u; /* one etu more between characters; a prescaler that is allowed */
    uart_rate(base, ATR_FI_DI_DEFAULT);
}

bool uart_take(uintptr_t base, uint8_t *out, bool *intact)
{
    uint32_t state = ISR(base);
    if (!(state & (ISR_RECEIVED | ISR_ERRORS)))
        return false;
    *out = (uint8_t)RDR(base);
    *intact = (state & ISR_ERRORS) == 0;
    ICR(base) = ISR_ERRORS; /* an overrun keeps its interrupt until then */
    return true;
}

/* The receiver is off: it would hear us. */
void uart_send(uintptr_t base, const uint8_t *data, size_t len)
{
    const uint32_t guard = UART_GUARD_ETU * BRR(base);
    for (uint32_t begin = timer_count(); timer_count() - begin < guard;)
        continue;
    CR1(base) = control & ~(CR1_RECEIVE | CR1_RX_IRQ);
    for (size_t i = 0; i < len; i++) {
        while (!(ISR(base) & ISR_TX_EMPTY))
            continue;
        TDR(base) = data[i];
    }
    while (!(ISR(base) & ISR_SENT))
        continue;
    CR1(base) = control;
}
