#include "card/ports/cortexm/memory.h"

#include "base/buf.h"
#include "card/ports/cortexm/board.h"
#include "card/ports/cortexm/mpu.h"

#include <string.h>

#define WORD        8u
#define SIZE        (MEMORY_PAGE * MEMORY_PAGES)
#define FACTORY     (BOARD_MEMORY + SIZE)
#define FACTORY_LEN (8u + CARD_UNIQUE_ID_LEN + CARD_INITIAL_KEY_LEN + 1u)

static bool inside(uint32_t offset, uint32_t len)
{
    return len <= SIZE && offset <= SIZE - len;
}

static enum cw_err cells_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    (void)ctx;
    if (!inside(offset, len))
        return CW_ERR_IO;
    memcpy(data, (const uint8_t *)(uintptr_t)(BOARD_MEMORY + offset), len);
    return CW_OK;
}

static enum cw_err cells_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    (void)ctx;
    if (!inside(offset, len) || offset % WORD != 0 || len % WORD != 0)
        return CW_ERR_IO;
    volatile uint8_t *cell = (volatile uint8_t *)(uintptr_t)(BOARD_MEMORY + offset);
    const uint8_t *bits = data;
    mpu_memory_writable(true);
    for (uint32_t i = 0; i < len; i++)
        cell[i] &= bits[i]; /* as NOR flash does: programming only clears */
    mpu_memory_writable(false);
    return CW_OK;
}

static enum cw_err cells_erase(void *ctx, uint32_t page)
{
    (void)ctx;
    if (page >= MEMORY_PAGES)
        return CW_ERR_IO;
    volatile uint8_t *cell = (volatile uint8_t *)(uintptr_t)(BOARD_MEMORY + page * MEMORY_PAGE);
    mpu_memory_writable(true);
    for (uint32_t i = 0; i < MEMORY_PAGE; i++)
        cell[i] = 0xFF;
    mpu_memory_writable(false);
    return CW_OK;
}

enum cw_err memory_start(struct card_port *port)
{
    static const uint8_t magic[8] = {'C', 'W', 'C', 'H', 'I', 'P', 0, 1};
    struct buf_reader r;
    buf_reader_init(&r, (const uint8_t *)(uintptr_t)FACTORY, FACTORY_LEN);
    const uint8_t *head = buf_get_bytes(&r, sizeof magic);
    const uint8_t *id = buf_get_bytes(&r, CARD_UNIQUE_ID_LEN);
    const uint8_t *key = buf_get_bytes(&r, CARD_INITIAL_KEY_LEN);
    if (memcmp(head, magic, sizeof magic) != 0)
        return CW_ERR_FORMAT;
    memcpy(port->unique_id, id, CARD_UNIQUE_ID_LEN);
    memcpy(port->initial_key, key, CARD_INITIAL_KEY_LEN);
    port->contactless = buf_get_u8(&r) == 1;
    port->flash = (struct card_flash){.page_size = MEMORY_PAGE,
                                      .page_count = MEMORY_PAGES,
                                      .read = cells_read,
                                      .program = cells_program,
                                      .erase = cells_erase};
    return CW_OK;
}
