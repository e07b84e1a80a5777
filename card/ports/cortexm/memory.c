#include "card/ports/cortexm/memory.h"

#include "base/buf.h"
#include "card/ports/cortexm/chip.h"

#include <string.h>

#define WORD        8u
#define FACTORY     (BOARD_MEMORY + MEMORY_SIZE)
#define FACTORY_LEN (8u + CARD_UNIQUE_ID_LEN + CARD_INITIAL_KEY_LEN + 1u)

static bool inside(uint32_t offset, uint32_t len)
{
    return len <= MEMORY_SIZE && offset <= MEMORY_SIZE - len;
}

static enum cw_err cells_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    (void)ctx;
    return inside(offset, len) ? chip_cells_read(offset, data, len) : CW_ERR_IO;
}

static enum cw_err cells_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    (void)ctx;
    if (!inside(offset, len) || offset % WORD != 0 || len % WORD != 0)
        return CW_ERR_IO;
    return chip_cells_program(offset, data, len);
}

static enum cw_err cells_erase(void *ctx, uint32_t page)
{
    (void)ctx;
    return page < MEMORY_PAGES ? chip_cells_erase(page) : CW_ERR_IO;
}

enum cw_err memory_start(struct card_port *port)
{
    static const uint8_t magic[8] = {'C', 'W', 'C', 'H', 'I', 'P', 0, 1};
    struct buf_reader r;
    buf_reader_init(&r, (const uint8_t *)(uintptr_t)FACTORY, FACTORY_LEN);
    const uint8_t *head = buf_get_bytes(&r, sizeof magic);
    (void)buf_get_bytes(&r, CARD_UNIQUE_ID_LEN); /* chip_unique_id */
    const uint8_t *key = buf_get_bytes(&r, CARD_INITIAL_KEY_LEN);
    if (memcmp(head, magic, sizeof magic) != 0)
        return CW_ERR_FORMAT;
    chip_unique_id(port->unique_id);
    memcpy(port->initial_key, key, CARD_INITIAL_KEY_LEN);
    port->contactless = buf_get_u8(&r) == 1;
    port->flash = (struct card_flash){.page_size = MEMORY_PAGE,
                                      .page_count = MEMORY_PAGES,
                                      .read = cells_read,
                                      .program = cells_program,
                                      .erase = cells_erase};
    return CW_OK;
}
