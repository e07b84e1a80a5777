/* pool.h - the heap of the TLS library: a fixed pool that mbedTLS's buffer allocator divides, and
 * that remembers when a request did not fit. The library takes a failed request in the middle of a
 * check for a failed check; who asks here can tell the two apart. */
#ifndef CARDWIRE_CARD_POOL_H
#define CARDWIRE_CARD_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes. With pointers of 32 bits the longest chain that a server may send takes nearly all of them
 * (docs/firmware.md); with 64, more. */
#ifndef CARD_POOL_SIZE
#if UINTPTR_MAX > 0xFFFFFFFFu
#define CARD_POOL_SIZE (32u * 1024u)
#else
#define CARD_POOL_SIZE 20928u
#endif
#endif

/* Everything that was in it is gone. */
void pool_begin(void);
void pool_end(void);
/* Most bytes that were in use since pool_begin. */
size_t pool_peak(void);

/* Has a request failed since pool_watch was called? */
void pool_watch(void);
bool pool_was_short(void);

/* What card/mbedtls_config.h names as the library's calloc and free. */
void *pool_calloc(size_t count, size_t size);
void pool_free(void *p);

#endif
