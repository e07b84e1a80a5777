/* main.c - the card as firmware: starts the chip, then serves. docs/firmware.md. */
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/memory.h"
#include "card/ports/cortexm/mpu.h"
#include "card/ports/cortexm/noise.h"
#include "card/ports/cortexm/serve.h"
#include "card/ports/cortexm/timer.h"

_Noreturn void chip_main(void); /* called by startup.S */

extern uint32_t __stack_chk_guard; /* startup.S */

/* Between the steps of a long command; the line's interrupts ask for time by themselves. */
static void working(void *ctx)
{
    (void)ctx;
    watchdog_feed();
}

_Noreturn void chip_main(void)
{
    static struct card_port port = {.random = noise_random, .working = working};
    struct card *card = NULL;
    uint32_t guard = 0;
    mpu_start();
    timer_count_start();
    watchdog_start();
    enum cw_err err = noise_start();
    if (err == CW_OK)
        err = noise_random(NULL, (uint8_t *)&guard, sizeof guard);
    __stack_chk_guard = guard; /* this function never returns to find another */
    if (err == CW_OK)
        err = memory_start(&port);
    if (err == CW_OK)
        err = card_power_up(&port, &card);
    if (err == CW_OK)
        serve(card);
    for (;;)
        cpu_sleep(); /* mute, until the watchdog tries again */
}
