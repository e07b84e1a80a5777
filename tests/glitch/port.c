/* port.c - a Cortex-M card without a board, for tests/glitch: memory is an array, random numbers
 * are the same in each run, and the two functions that an emulator calls are at its end. What
 * decides is the card's own code, compiled as in the firmware. */
#include "card/card.h"

#include <string.h>

#define PAGE  2048u
#define PAGES 16u

/* Where the emulator finds them, by their names. The flash is read as memory; it is programmed and
 * erased by the emulator, as a chip does by its controller: nothing else can write into it. */
extern const uint8_t glitch_flash[];
uint8_t glitch_command[CARD_COMMAND_MAX];
uint8_t glitch_response[CARD_RESPONSE_MAX];
void glitch_program(uint32_t offset, const void *data, uint32_t len);
void glitch_erase(uint32_t page);
static struct card *the_card;

static enum cw_err flash_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    (void)ctx;
    if (offset > PAGE * PAGES || len > PAGE * PAGES - offset)
        return CW_ERR_IO;
    memcpy(data, glitch_flash + offset, len);
    return CW_OK;
}

static enum cw_err flash_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    (void)ctx;
    if (offset > PAGE * PAGES || len > PAGE * PAGES - offset)
        return CW_ERR_IO;
    glitch_program(offset, data, len);
    return CW_OK;
}

static enum cw_err flash_erase(void *ctx, uint32_t page)
{
    (void)ctx;
    if (page >= PAGES)
        return CW_ERR_IO;
    glitch_erase(page);
    return CW_OK;
}

/* xorshift32: fit for nothing but to be the same each time. */
static enum cw_err random_same(void *ctx, uint8_t *buf, size_t len)
{
    static uint32_t state = 2463534242u;
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        buf[i] = (uint8_t)(state >> 8);
    }
    return CW_OK;
}

static struct card_port port = {
    .random = random_same,
    .flash = {.page_size = PAGE,
              .page_count = PAGES,
              .read = flash_read,
              .program = flash_program,
              .erase = flash_erase},
    .unique_id = {0xC0, 0xFF, 0xEE, 0, 0, 0, 0, 1},
    .initial_key = {0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C,
                    0x4D, 0x4E, 0x4F},
};

/* Power off if need be, and on. 0: the card is there. */
int glitch_power(bool contactless);
int glitch_power(bool contactless)
{
    card_power_down(&the_card);
    port.contactless = contactless;
    return card_power_up(&port, &the_card);
}

/* One command of `len` bytes in glitch_command; bytes of the answer in glitch_response, 0 when the
 * card gives none that could be sent. */
size_t glitch_process(size_t len);
size_t glitch_process(size_t len)
{
    size_t n = card_process(the_card, glitch_command, len, glitch_response, sizeof glitch_response);
    return n <= sizeof glitch_response ? n : 0;
}

/* Where a call returns to, and what the emulator does itself. */
void glitch_done(void);
__attribute__((naked, noinline)) void glitch_done(void)
{
    __asm__ volatile("b .");
}

/* Theirs are the arguments, in the registers. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
__attribute__((naked, noinline)) void glitch_program(uint32_t offset, const void *data,
                                                     uint32_t len)
{
    __asm__ volatile("bx lr");
}

__attribute__((naked, noinline)) void glitch_erase(uint32_t page)
{
    __asm__ volatile("bx lr");
}
