/* pool.c - the allocator registers its two functions with mbedtls_platform_set_calloc_free. Where
 * calloc and free are given as macros, as here, the library has no such function; this one keeps
 * them for ours. */
#include "card/pool.h"

#include "base/ct.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <string.h>

/* What was never used of the pool still has its paint. */
#define PAINT      0xC7
#define POOL_BEGIN (16u * sizeof(void *)) /* the allocator's first header is in it */

static _Alignas(max_align_t) unsigned char pool[CARD_POOL_SIZE];
static void *(*allocator_calloc)(size_t, size_t);
static void (*allocator_free)(void *);
static bool was_short;

int mbedtls_platform_set_calloc_free(void *(*calloc_func)(size_t, size_t),
                                     void (*free_func)(void *))
{
    allocator_calloc = calloc_func;
    allocator_free = free_func;
    return 0;
}

void *pool_calloc(size_t count, size_t size)
{
    void *p = allocator_calloc(count, size);
    if (p == NULL)
        was_short = true;
    return p;
}

void pool_free(void *p)
{
    allocator_free(p);
}

void pool_begin(void)
{
    mbedtls_memory_buffer_alloc_init(pool, sizeof pool); /* wipes it */
    memset(pool + POOL_BEGIN, PAINT, sizeof pool - POOL_BEGIN);
}

void pool_end(void)
{
    mbedtls_memory_buffer_alloc_free();
    ct_wipe(pool, sizeof pool);
}

size_t pool_peak(void)
{
    size_t used = sizeof pool;
    while (used > 0 && pool[used - 1] == PAINT)
        used--;
    return used;
}

void pool_watch(void)
{
    was_short = false;
}

bool pool_was_short(void)
{
    return was_short;
}
