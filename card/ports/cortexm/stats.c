#include "card/ports/cortexm/stats.h"

#include "base/buf.h"
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/image.h"
#include "card/ports/cortexm/timer.h"

#define SW_OK         0x9000u
#define SW_WRONG_P1P2 0x6A86u
#define SW_LENGTH     0x6700u
#define SW_CONDITIONS 0x6985u
#define STATS_LEN     46u /* of the longest response, with its status word */

static uint32_t begun;
static uint64_t spent;

void stats_begin(void)
{
    begun = timer_count();
}

void stats_end(void)
{
    spent += timer_count() - begun;
}

/* The stack grows down, to __stack_bottom at most. */
static uint32_t stack_peak(void)
{
    const volatile uint32_t *at = __stack_bottom;
    while (at < __stack_top && *at == STACK_PAINT)
        at++;
    return (uint32_t)((uintptr_t)__stack_top - (uintptr_t)at);
}

static void begin_anew(void)
{
    volatile uint32_t here;
    for (volatile uint32_t *at = __stack_bottom; at < &here - 32; at++)
        *at = STACK_PAINT;
    spent = 0;
}

static void put_pair(struct buf_writer *w, uint8_t tag, uint32_t used, uint32_t window)
{
    buf_put_u8(w, tag);
    buf_put_u8(w, 8);
    buf_put_u32(w, used);
    buf_put_u32(w, window);
}

bool stats_answer(uint8_t *command, size_t len, size_t cap, size_t *response_len)
{
    struct buf_writer w;
    uint16_t sw = SW_OK;
    if (len < 4 || command[0] != STATS_CLA || command[1] != STATS_INS)
        return false;
    uint8_t p1 = command[2];
    if (len != 5)
        sw = SW_LENGTH;
    else if (p1 > 1 || command[3] != 0)
        sw = SW_WRONG_P1P2;
    else if (cap < STATS_LEN) /* behind a chain that fills the card's space */
        sw = SW_CONDITIONS;
    buf_writer_init(&w, command, cap);
    if (sw == SW_OK) {
        uint32_t stack = (uint32_t)__stack_top - (uint32_t)__stack_bottom;
        put_pair(&w, 0x81, (uint32_t)__flash_used, (uint32_t)__flash_size);
        put_pair(&w, 0x82, (uint32_t)__ram_used - stack, (uint32_t)__ram_size);
        put_pair(&w, 0x83, stack_peak(), stack);
        buf_put_u8(&w, 0x84);
        buf_put_u8(&w, 12);
        buf_put_u32(&w, BOARD_CLOCK_HZ);
        buf_put_u64(&w, spent);
    }
    buf_put_u16(&w, sw);
    if (sw == SW_OK && p1 == 1)
        begin_anew();
    *response_len = w.len;
    return true;
}
