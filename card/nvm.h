/* nvm.h - the card's memory: small values under numbers, tear-proof. A write either happened or did
 * not, whichever byte the power fails at; so did a group of writes. Kept as a log in two banks of
 * flash; when one is full, the live values move to the other, so that pages wear evenly. Not a file
 * system; no encryption: that is the chip's. docs/memory.md has the layout and what was measured.
 *
 * Bounds. One call that writes appends one record. It programs at most `bank_size` bytes and erases
 * at most half of the pages, and that only when it moves; all of the pages when an earlier move
 * failed half way (CW_ERR_IO) and left something behind. Flash is programmed in whole words of
 * NVM_WORD bytes, aligned, each once between two erasures, as chips with ECC want it.
 *
 * Wear. A move erases every page of a bank once, so erasures of any two pages differ by one at most
 * (and by one more for each cut in the middle of an erasure). NVM_SPARE bytes are always free after
 * a move: between two moves at least NVM_SPARE / 32 values of up to 8 bytes are written, and every
 * page is erased once in two moves. A torn write costs a move.
 */
#ifndef CARDWIRE_CARD_NVM_H
#define CARDWIRE_CARD_NVM_H

#include "card/port.h"

#define NVM_WORD       8u    /* bytes of flash programmed at once */
#define NVM_VALUES_MAX 96u   /* values at a time */
#define NVM_VALUE_MAX  2048u /* bytes of one value */
#define NVM_SMALL_MAX  64u   /* bytes of a small value: tries, counters, time, a PIN */

/* Bytes of a bank that stay free after a move. Large values leave NVM_RESERVE alone; small ones may
 * use it down to NVM_SPARE. So objects that fill the memory never keep a try counter from being
 * made. And nothing that takes no more than NVM_SPARE bytes of log (a value of 1,000, or a group of
 * small ones) is ever refused when it makes nothing grow; nor is a removal. A larger value needs
 * room beside what it replaces. */
#define NVM_RESERVE 1792u
#define NVM_SPARE   1024u

#define NVM_GROUP_MAX   12u   /* changes in one group */
#define NVM_GROUP_BYTES 4096u /* their values and 6 bytes for each, together */

struct nvm_entry {
    uint16_t key; /* 1..0xFFFE */
    uint16_t len;
    uint32_t offset; /* of the value, in the region */
};

/* What is wrong with a memory that is not believed. */
enum nvm_fault {
    NVM_FAULT_NONE = 0,
    NVM_FAULT_HEADER, /* something is there, but no bank begins as one does */
    NVM_FAULT_RECORD, /* a record that was finished does not check, or is followed by more */
    NVM_FAULT_CONTENT /* a record checks, and says what this store never writes */
};

struct nvm {
    const struct card_flash *flash;
    uint32_t bank_size;  /* bytes */
    uint32_t bank;       /* 0 or 1: the live one */
    uint32_t generation; /* of the live bank; grows */
    uint32_t end;        /* first free byte, from the start of the live bank */
    bool broken;         /* what is in RAM cannot be trusted: nothing works until the next mount */
    bool look_only;      /* by nvm_look: takes no writes */
    bool tail_dirty;     /* bytes after `end` are not blank: move before the next write */
    bool other_dirty;    /* when it was looked at, the other bank was not blank */
    enum nvm_fault fault;
    uint32_t fault_at; /* where, in the region */
    uint16_t count;
    struct nvm_entry entries[NVM_VALUES_MAX];
};

/* Finds the live bank, or makes one in blank flash, and repairs what a torn write left.
 * CW_ERR_ARG: the flash has not the geometry that card/port.h asks for; CW_ERR_IO; CW_ERR_FORMAT
 * when it holds something that is not ours, or is damaged: then nothing of it is believed, and
 * `fault` says why. */
CW_MUST_USE enum cw_err nvm_mount(struct nvm *nvm, const struct card_flash *flash);
/* The same for a tool: neither programs nor erases, and what it leaves in `nvm` can only be read.
 * CW_ERR_NOT_FOUND when nothing was ever written. */
CW_MUST_USE enum cw_err nvm_look(struct nvm *nvm, const struct card_flash *flash);

/* Bytes of a bank, headers of records and padding included. */
struct nvm_usage {
    uint32_t capacity; /* all that records may take */
    uint32_t log;      /* taken, by what was replaced too */
    uint32_t live; /* taken after a move; the rest is free, NVM_RESERVE and NVM_SPARE included */
};
struct nvm_usage nvm_usage(const struct nvm *nvm);

/* The smallest number above *key that has a value: it becomes *key. False when there is none. Start
 * with 0. */
bool nvm_next(const struct nvm *nvm, uint16_t *key);
/* Length of a value; CW_ERR_NOT_FOUND. */
CW_MUST_USE enum cw_err nvm_size(const struct nvm *nvm, uint16_t key, size_t *len);
/* Reads at most `cap` bytes from `from` on; CW_ERR_NOT_FOUND, CW_ERR_IO, CW_ERR_ARG when `from` is
 * beyond the value. */
CW_MUST_USE enum cw_err nvm_read(const struct nvm *nvm, uint16_t key, size_t from, void *out,
                                 size_t cap, size_t *len);
/* Reads a value of exactly `len` bytes; CW_ERR_FORMAT when it has another length. */
CW_MUST_USE enum cw_err nvm_read_exact(const struct nvm *nvm, uint16_t key, void *out, size_t len);

/* The functions that write. On failure the old state stands; after CW_ERR_IO the next mount may
 * find the new one. CW_ERR_SPACE, before anything is written: too many values, or bytes.
 * CW_ERR_LENGTH: a value or a group beyond its maximum. CW_ERR_STATE after nvm_look. */

/* Writes head followed by tail as one value (tail may be NULL with 0). */
CW_MUST_USE enum cw_err nvm_write2(struct nvm *nvm, uint16_t key, const void *head, size_t head_len,
                                   const void *tail, size_t tail_len);
CW_MUST_USE enum cw_err nvm_write(struct nvm *nvm, uint16_t key, const void *data, size_t len);
/* CW_OK also when there was none. */
CW_MUST_USE enum cw_err nvm_remove(struct nvm *nvm, uint16_t key);
/* Moves the live values now: nothing is left in flash of what was replaced or removed. */
CW_MUST_USE enum cw_err nvm_compact(struct nvm *nvm);

struct nvm_change {
    uint16_t key;
    bool remove; /* else write `len` bytes */
    const void *data;
    size_t len;
};
/* Makes all of the changes or none. It is one call on purpose: a group that could be left open
 * would swallow the try counter's next write. CW_ERR_ARG when a key comes twice. Values that the
 * group removes count against NVM_VALUES_MAX until it is done. */
CW_MUST_USE enum cw_err nvm_change_all(struct nvm *nvm, const struct nvm_change *changes,
                                       size_t count);

#endif
