/* uart.c - RP2350: a PL011 (§12.1), 8 bits, even parity, 2 stop bits, as ISO/IEC 7816-3 §7.2 has
 * them. It has one wire for each direction: TX goes to the contact through an open drain, RX
 * listens there too, and what it hears of ourselves is thrown away. */
#include "card/ports/cortexm/uart.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/timer.h"
#include "proto/atr.h"

#define DR(base)    REG32((base) + 0x00u)
#define FR(base)    REG32((base) + 0x18u)
#define IBRD(base)  REG32((base) + 0x24u)
#define FBRD(base)  REG32((base) + 0x28u)
#define LCR_H(base) REG32((base) + 0x2Cu)
#define CR(base)    REG32((base) + 0x30u)
#define IMSC(base)  REG32((base) + 0x38u)

#define FR_BUSY     (1u << 3)
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL  (1u << 5)
#define DR_ERRORS   (0xFu << 8)
#define LCR_FORMAT                                                                                 \
    (3u << 5 | 1u << 4 | 1u << 3 | 1u << 2 | 1u << 1) /* 8, FIFO, 2, even, parity                  \
                                                       */
#define CR_ON       (1u << 9 | 1u << 8 | 1u)
#define IRQ_RECEIVE (1u << 4)
#define IRQ_TIMEOUT (1u << 6) /* something is there, and nothing came for 32 bits */

#define RATIO (BOARD_CLOCK_HZ / BOARD_LINE_HZ)
static uint32_t etu; /* clocks of ours */

void uart_rate(uintptr_t base, uint8_t fi_di)
{
    uint16_t fi;
    uint8_t di;
    if (atr_fi_di(fi_di, &fi, &di) != CW_OK)
        return; /* t1_card takes no PPS with it */
    etu = RATIO * fi / di;
    uint32_t divisor = 4u * RATIO * fi / di; /* in 1/64 of 16 samples */
    CR(base) = 0;
    IBRD(base) = divisor >> 6;
    FBRD(base) = divisor & 63u;
    LCR_H(base) = LCR_FORMAT; /* takes the divisor over */
    CR(base) = CR_ON;
}

void uart_start(uintptr_t base, bool interrupt)
{
    uart_rate(base, ATR_FI_DI_DEFAULT);
    IMSC(base) = interrupt ? IRQ_RECEIVE | IRQ_TIMEOUT : 0;
}

bool uart_take(uintptr_t base, uint8_t *out, bool *intact)
{
    if (FR(base) & FR_RX_EMPTY)
        return false;
    uint32_t got = DR(base);
    *out = (uint8_t)got;
    *intact = (got & DR_ERRORS) == 0;
    return true;
}

static void forget_echo(uintptr_t base)
{
    while (!(FR(base) & FR_RX_EMPTY))
        (void)DR(base);
}

void uart_send(uintptr_t base, const uint8_t *data, size_t len)
{
    for (uint32_t begin = timer_count(); timer_count() - begin < UART_GUARD_ETU * etu;)
        continue;
    for (size_t i = 0; i < len; i++) {
        while (FR(base) & FR_TX_FULL)
            forget_echo(base);
        DR(base) = data[i];
    }
    while (FR(base) & FR_BUSY)
        forget_echo(base);
    forget_echo(base);
}
