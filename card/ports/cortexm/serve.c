/* serve.c - see serve.h. While a command is worked on, the line's machine belongs to the
 * interrupts, which ask the reader for more time; otherwise the last one hands the command over and
 * sleeps. */
#include "card/ports/cortexm/serve.h"

#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/cpu.h"
#include "card/ports/cortexm/stats.h"
#include "card/ports/cortexm/timer.h"
#include "card/ports/cortexm/uart.h"
#include "proto/t1_card.h"

/* Stand for CWT, which a line without a rate does not have. In parts, because a host that stands
 * still in between is no silence. */
#define SILENCE_MS    100u
#define SILENCE_PARTS 4u
#define WORKING_MS    800u  /* half of BWT: when more time is asked for */
#define IDLE_MS       5000u /* wakes the main loop, for the watchdog */

static struct t1_card link;
static uint8_t rate;        /* Fi/Di of the line */
static uint8_t silent;      /* parts of a silence that have passed */
static volatile bool ready; /* a command is there for the main loop, or its answer may be sent */

/* What the machine wants, and which time runs from now on. */
static void act(enum t1_do what)
{
    if (what == T1_SEND)
        uart_send(BOARD_UART_LINK, link.out, link.out_len);
    if (rate != link.pps1) { /* the response to a PPS has gone (§9) */
        rate = link.pps1;
        uart_rate(BOARD_UART_LINK, rate);
    }
    if (what == T1_COMMAND || what == T1_RESUME)
        ready = true;
    if (t1_card_working(&link))
        timer_every(WORKING_MS);
    else
        timer_every(link.in_len > 0 ? SILENCE_MS : IDLE_MS);
    silent = 0;
}

void serve_byte(void)
{
    uint8_t byte;
    bool intact;
    while (uart_take(BOARD_UART_LINK, &byte, &intact))
        if (!t1_card_working(&link)) /* then it is noise, and must not put off the timer */
            act(t1_card_byte(&link, byte, intact));
}

void serve_timer(void)
{
    timer_clear();
    if (t1_card_working(&link))
        act(t1_card_more_time(&link, 1));
    else if (++silent == SILENCE_PARTS)
        act(t1_card_silence(&link));
}

static const uint8_t *answer(struct card *card, size_t *len)
{
    if (link.command_len <= link.command_cap &&
        stats_answer(link.command, link.command_len, link.command_cap, len))
        return link.command;
    stats_begin();
    const uint8_t *response = card_process_here(card, link.command_len, len);
    stats_end();
    link.command = card_command_space(card, &link.command_cap);
    return response;
}

/* Not before the reader has granted the time that was asked for last. */
static void send_answer(const uint8_t *response, size_t len)
{
    for (;;) {
        cpu_lock();
        ready = false;
        if (t1_card_working(&link))
            break;
        cpu_unlock();
        watchdog_feed();
        cpu_wait_for(&ready);
    }
    act(t1_card_answer(&link, response, len));
    cpu_unlock();
}

static void send_atr(struct card *card)
{
    static const struct t1_params params = {.ifsc = CARD_T1_IFSC, .ta1 = CARD_T1_TA1};
    size_t len, cap;
    const uint8_t *atr = card_atr(card, &len);
    uint8_t *space = card_command_space(card, &cap);
    t1_card_start(&link, &params, space, cap);
    rate = link.pps1;
    uart_rate(BOARD_UART_LINK, rate);
    uart_send(BOARD_UART_LINK, atr, len);
}

_Noreturn void serve(struct card *card)
{
    uart_start(BOARD_UART_LINK, true);
    send_atr(card);
    timer_every(IDLE_MS);
    cpu_irq_enable(BOARD_IRQ_LINK);
    cpu_irq_enable(BOARD_IRQ_TIMER);
    for (;;) {
        watchdog_feed();
        cpu_wait_for(&ready);
        if (ready) {
            size_t len = 0;
            const uint8_t *response = answer(card, &len);
            send_answer(response, len);
        }
    }
}
