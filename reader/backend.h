/* backend.h - what an implementation of a reader hands to reader.c. Inside reader/, and for tests
 * that play a card. */
#ifndef CARDWIRE_READER_BACKEND_H
#define CARDWIRE_READER_BACKEND_H

#include "reader/reader.h"

struct reader_backend {
    const struct reader_ops *ops;
    void *self; /* freed by ops->free */
    char name[160];
    uint8_t atr[READER_ATR_MAX];
    size_t atr_len;
};

/* A reader in front of `backend`, which it owns from then on. CW_ERR_SPACE. */
CW_MUST_USE enum cw_err reader_new(const struct reader_backend *backend, struct reader **out);

/* `dir`: folder of the card's memory; `contactless`: the field that powers it. */
CW_MUST_USE enum cw_err reader_inproc_open(const char *dir, bool contactless,
                                           struct reader_backend *out, struct say *why);
/* `device`: a serial device or pseudo terminal with a T=1 card behind it. */
CW_MUST_USE enum cw_err reader_t1_open(const char *device, struct reader_backend *out,
                                       struct say *why);
/* `device`: the same with a contactless card, whose frames it carries in SLIP. */
CW_MUST_USE enum cw_err reader_tcl_open(const char *device, struct reader_backend *out,
                                        struct say *why);
/* `name`: NULL for the first reader with a card in it. */
CW_MUST_USE enum cw_err reader_pcsc_open(const char *name, struct reader_backend *out,
                                         struct say *why);

#endif
