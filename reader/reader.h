/* reader.h - a card reader: one operation, transceive. Implementations: inproc.c (the card linked
 * into the program), pcsc.c (pcsc-lite), t1.c (a serial line). A reader carries bytes and
 * understands none of them. */
#ifndef CARDWIRE_READER_READER_H
#define CARDWIRE_READER_READER_H

#include "base/err.h"
#include "host/say.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define READER_ATR_MAX 33u /* ISO/IEC 7816-3:2006 §8.2.1 */

struct reader;

/* One kind of reader. `self` is what open made. */
struct reader_ops {
    /* Sends `len` command bytes, receives at most `cap` response bytes, status word included.
     * CW_ERR_GONE when the card was removed, CW_ERR_SPACE when the answer is larger than `cap`,
     * CW_ERR_IO. `why` gets a sentence on failure. */
    enum cw_err (*transceive)(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why);
    /* Warm reset: the card forgets everything volatile. */
    enum cw_err (*reset)(void *self, struct say *why);
    void (*free)(void *self);
};

struct reader_stats {
    uint64_t apdus;           /* exchanges */
    uint64_t bytes_to_card;   /* command bytes */
    uint64_t bytes_from_card; /* response bytes, status words included */
    uint64_t ns;              /* spent in transceive, by CLOCK_MONOTONIC */
};

/* Opens a reader by its URI and powers the card:
 *   inproc:DIR   the card in this process, its memory in DIR (made if absent)
 *   inproc-contactless:DIR   the same, as if it lay on a contactless reader
 *   t1:DEVICE    the contact card at a serial device or pseudo terminal, by T=1
 *   tcl:DEVICE   the contactless card there, by ISO/IEC 14443-4 in SLIP
 *   pcsc         the first PC/SC reader with a card in it
 *   pcsc:NAME    the PC/SC reader whose name is NAME, or contains NAME and no other does
 * The caller owns *out and frees it with reader_free. Errors: CW_ERR_ARG (unknown kind),
 * CW_ERR_NOT_FOUND (no such reader, no card), CW_ERR_IO (no daemon), CW_ERR_BUSY; `why` says in one
 * sentence what to do. */
CW_MUST_USE enum cw_err reader_open(const char *uri, struct reader **out, struct say *why);
void reader_free(struct reader **reader);

CW_MUST_USE enum cw_err reader_transceive(struct reader *r, const uint8_t *command, size_t len,
                                          uint8_t *response, size_t cap, size_t *response_len,
                                          struct say *why);
CW_MUST_USE enum cw_err reader_reset(struct reader *r, struct say *why);
/* Full name for people: "inproc:DIR" or the PC/SC name. */
const char *reader_name(const struct reader *r);
const uint8_t *reader_atr(const struct reader *r, size_t *len);
struct reader_stats reader_stats(const struct reader *r);

/* Called with each exchange, before and after: for traces. response is NULL before. Must not keep
 * the pointers. Commands may carry a PIN (VERIFY, PUT DATA 0400): an observer that shows bytes must
 * leave those out. */
typedef void reader_observer(void *ctx, const uint8_t *command, size_t len, const uint8_t *response,
                             size_t response_len);
void reader_observe(struct reader *r, reader_observer *observer, void *ctx);

struct reader_info {
    char name[128];
    bool card_present;
    uint8_t atr[READER_ATR_MAX];
    size_t atr_len;
};
/* Lists PC/SC readers into items[0..cap); *count is how many there are. */
CW_MUST_USE enum cw_err reader_list(struct reader_info *items, size_t cap, size_t *count,
                                    struct say *why);

#endif
