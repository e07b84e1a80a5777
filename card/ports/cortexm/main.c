/* main.c - the card as firmware: starts the chip, then serves. docs/firmware.md. */
#include "card/card.h"
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/memory.h"
#include "card/ports/cortexm/mpu.h"
#include "card/ports/cortexm/noise.h"
#include "card/ports/cortexm/timer.h"
#include "card/ports/cortexm/uart.h"

_Noreturn void chip_main(void);
void serve_byte(void);
void serve_timer(void);

void serve_byte(void)
{
}
void serve_timer(void)
{
}

_Noreturn void chip_main(void)
{
    static struct card_port port = {.random = noise_random};
    struct card *card = NULL;
    size_t len;
    mpu_start();
    timer_count_start();
    watchdog_start();
    uart_start(BOARD_UART_LINK, true);
    if (memory_start(&port) == CW_OK && noise_start() == CW_OK &&
        card_power_up(&port, &card) == CW_OK) {
        const uint8_t *atr = card_atr(card, &len);
        uart_send(BOARD_UART_LINK, atr, len);
    }
    for (;;)
        continue;
}
