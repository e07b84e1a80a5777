/* nvm.h - the card's memory: small values under numbers, tear-proof. A write either happened or did
 * not, whichever byte the power fails at. Kept as a log in two banks of flash; when one is full,
 * the live values move to the other, so that pages wear evenly. Not a file system; no encryption:
 * that is the chip's. */
#ifndef CARDWIRE_CARD_NVM_H
#define CARDWIRE_CARD_NVM_H

#include "card/port.h"

#define NVM_VALUES_MAX 96u   /* values at a time */
#define NVM_VALUE_MAX  2048u /* bytes of one value */

struct nvm_entry {
    uint16_t key; /* 1..0xFFFE */
    uint16_t len;
    uint32_t offset; /* of the value, in the region */
};

struct nvm {
    const struct card_flash *flash;
    uint32_t bank_size;  /* bytes */
    uint32_t bank;       /* 0 or 1: the live one */
    uint32_t generation; /* of the live bank; grows */
    uint32_t end;        /* first free byte, from the start of the live bank */
    bool broken;         /* what is in RAM cannot be trusted: nothing works until the next mount */
    bool tail_dirty;     /* bytes after `end` are not blank: move before the next write */
    uint16_t count;
    struct nvm_entry entries[NVM_VALUES_MAX];
};

/* Finds the live bank, or makes one in blank flash, and repairs what a torn write left.
 * CW_ERR_IO; CW_ERR_FORMAT when the flash holds something that is not ours, or is damaged: then
 * nothing of it is believed. */
CW_MUST_USE enum cw_err nvm_mount(struct nvm *nvm, const struct card_flash *flash);

/* Length of a value; CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err nvm_size(const struct nvm *nvm, uint16_t key, size_t *len);
/* Reads at most `cap` bytes from `from` on; CW_ERR_NOT_FOUND, CW_ERR_IO, CW_ERR_ARG when `from` is
 * beyond the value. */
CW_MUST_USE enum cw_err nvm_read(const struct nvm *nvm, uint16_t key, size_t from, void *out,
                                 size_t cap, size_t *len);
/* Reads a value of exactly `len` bytes; CW_ERR_FORMAT when it has another length. */
CW_MUST_USE enum cw_err nvm_read_exact(const struct nvm *nvm, uint16_t key, void *out, size_t len);
/* Writes head followed by tail as one value (tail may be NULL with 0). On failure the old value
 * stands. CW_ERR_SPACE when it does not fit even after moving. */
CW_MUST_USE enum cw_err nvm_write2(struct nvm *nvm, uint16_t key, const void *head, size_t head_len,
                                   const void *tail, size_t tail_len);
CW_MUST_USE enum cw_err nvm_write(struct nvm *nvm, uint16_t key, const void *data, size_t len);
/* CW_OK also when there was none. */
CW_MUST_USE enum cw_err nvm_remove(struct nvm *nvm, uint16_t key);

/* The value with the smallest number above *key, which becomes that number; false when there is
 * none. Start with 0. */
bool nvm_next(const struct nvm *nvm, uint16_t *key);
struct nvm_change {
    uint16_t key;
    bool remove; /* else write `len` bytes */
    const void *data;
    size_t len;
};
CW_MUST_USE enum cw_err nvm_change_all(struct nvm *nvm, const struct nvm_change *changes,
                                       size_t count);
/* Moves the live values now: of what was replaced or removed nothing is left in the flash. */
CW_MUST_USE enum cw_err nvm_compact(struct nvm *nvm);

#endif
