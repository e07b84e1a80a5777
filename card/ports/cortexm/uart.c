#include "card/ports/cortexm/uart.h"

#include "card/ports/cortexm/cpu.h"

#define DATA(base)    REG32((base) + 0x00u)
#define STATE(base)   REG32((base) + 0x04u)
#define CTRL(base)    REG32((base) + 0x08u)
#define CLEAR(base)   REG32((base) + 0x0Cu)
#define BAUDDIV(base) REG32((base) + 0x10u)

#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX       1u
#define CTRL_RX       2u
#define CTRL_RX_IRQ   8u
#define CLEAR_RX      2u

void uart_start(uintptr_t base, bool interrupt)
{
    BAUDDIV(base) = 16u; /* the fastest; QEMU keeps no line rate */
    CTRL(base) = CTRL_TX | CTRL_RX | (interrupt ? CTRL_RX_IRQ : 0);
    (void)DATA(base); /* what came before; and only a read lets QEMU look whether more is there */
}

bool uart_take(uintptr_t base, uint8_t *out)
{
    if (!(STATE(base) & STATE_RX_FULL))
        return false;
    CLEAR(base) = CLEAR_RX; /* before the next byte can come: its interrupt stands */
    *out = (uint8_t)DATA(base);
    return true;
}

void uart_send(uintptr_t base, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        while (STATE(base) & STATE_TX_FULL)
            continue;
        DATA(base) = data[i];
    }
}
