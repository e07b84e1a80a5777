/* nvm_log.c - see nvm_log.h.
 *
 * A bank is a header and a log of records, each padded to words of 8 bytes:
 *   header  "CWNV" | version 1 | 3 bytes 0 | generation (4) | crc (4)
 *   record  mark A5 | kind | key (2) | length (2) | 0 0 | crc (4) | 0 0 0 0 | commit word (8) |
 * value The CRC over the first 8 bytes and the value commits a record: a torn one does not check,
 * and ends the log. The commit word is programmed last: a record that has it and does not check was
 * damaged, not torn. The value of a group is a row of members, which its one CRC commits together:
 *   member  mark A5 | kind | key (2) | length (2) | value
 * A bank is committed by its header, which is programmed last; until then the other bank is the
 * live one. */
#include "card/nvm_log.h"

#include "base/ct.h"

#include <string.h>

#define HEADER_LEN 16u
#define RECORD_LEN 24u
#define CRC_AT     8u
#define COMMIT_AT  16u
#define COMMIT_LEN 8u
#define MARK       0xA5u
#define VERSION    1u
#define CHUNK      256u /* bytes read or programmed at once */
#define PAGES_MIN  8u

static const uint8_t commit_word[COMMIT_LEN] = {'C', 'W', 'D', 'O', 'N', 'E', 0xA5, 0x00};

/* What the lowest bit of the CRC, and the three above it, bring in when they leave it: all ones for
 * a bit that is set. Neither a branch nor an address depends on what is summed: it may be a key. */
static uint32_t when(uint32_t crc, unsigned bit, uint32_t term)
{
    return term & (0u - (crc >> bit & 1u));
}

static uint32_t crc_nibble(uint32_t crc)
{
    return crc >> 4 ^ when(crc, 0, 0x1DB71064u) ^ when(crc, 1, 0x3B6E20C8u) ^
           when(crc, 2, 0x76DC4190u) ^ when(crc, 3, 0xEDB88320u);
}

/* CRC-32 (ISO/IEC 8802-3 §3.2.9), four bits at a time; detects tears, protects against nobody. */
static uint32_t crc_add(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len-- > 0)
        crc = crc_nibble(crc_nibble(crc ^ *p++));
    return crc;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t padded(size_t len)
{
    return (uint32_t)((len + 7) & ~(size_t)7);
}

static enum cw_err flash_read(const struct nvm *nvm, uint32_t offset, void *out, uint32_t len)
{
    return nvm->flash->read(nvm->flash->ctx, offset, out, len);
}

/* `offset` and `len` are whole words. */
static enum cw_err flash_program(const struct nvm *nvm, uint32_t offset, const void *data,
                                 uint32_t len)
{
    return nvm->flash->program(nvm->flash->ctx, offset, data, len);
}

/* The parts one after the other, the last word filled up with what programs nothing. */
static enum cw_err flash_program_parts(const struct nvm *nvm, uint32_t offset,
                                       const struct nvm_part *parts, size_t count)
{
    uint8_t chunk[CHUNK];
    size_t fill = 0;
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = parts[i].data;
        for (size_t left = parts[i].len; left > 0 && err == CW_OK;) {
            size_t n = left < CHUNK - fill ? left : CHUNK - fill;
            memcpy(chunk + fill, from, n);
            from += n;
            left -= n;
            fill += n;
            if (fill == CHUNK) {
                err = flash_program(nvm, offset, chunk, CHUNK);
                offset += CHUNK;
                fill = 0;
            }
        }
    }
    memset(chunk + fill, 0xFF, padded(fill) - fill);
    if (err == CW_OK && fill > 0)
        err = flash_program(nvm, offset, chunk, padded(fill));
    ct_wipe(chunk, sizeof chunk);
    return err;
}

struct nvm_entry *nvm_log_find(const struct nvm *nvm, uint16_t key)
{
    for (uint16_t i = 0; i < nvm->count; i++)
        if (nvm->entries[i].key == key)
            return (struct nvm_entry *)(uintptr_t)&nvm->entries[i];
    return NULL;
}

/* The first byte from `from` on that is not blank; the bank's size when all of them are. */
static enum cw_err written_after(const struct nvm *nvm, uint32_t bank, uint32_t from, uint32_t *at)
{
    uint8_t chunk[CHUNK];
    enum cw_err err = CW_OK;
    uint32_t found = from;
    while (found < nvm->bank_size) {
        uint32_t n = nvm->bank_size - found < CHUNK ? nvm->bank_size - found : CHUNK;
        err = flash_read(nvm, bank * nvm->bank_size + found, chunk, n);
        if (err != CW_OK)
            goto out;
        uint32_t i = 0;
        while (i < n && chunk[i] == 0xFF)
            i++;
        found += i;
        if (i < n)
            break;
    }
    *at = found;
out:
    ct_wipe(chunk, sizeof chunk);
    return err;
}

static enum cw_err bank_header(const struct nvm *nvm, uint32_t bank, bool *valid,
                               uint32_t *generation)
{
    uint8_t h[HEADER_LEN];
    enum cw_err err = flash_read(nvm, bank * nvm->bank_size, h, sizeof h);
    if (err != CW_OK)
        return err;
    *valid = memcmp(h, "CWNV", 4) == 0 && h[4] == VERSION &&
             get32(h + 12) == crc_add(0xFFFFFFFFu, h, 12);
    *generation = get32(h + 8);
    return CW_OK;
}

static enum cw_err bank_commit(const struct nvm *nvm, uint32_t bank, uint32_t generation)
{
    uint8_t h[HEADER_LEN] = {'C', 'W', 'N', 'V', VERSION};
    put32(h + 8, generation);
    put32(h + 12, crc_add(0xFFFFFFFFu, h, 12));
    return flash_program(nvm, bank * nvm->bank_size, h, sizeof h);
}

static enum cw_err bank_erase(const struct nvm *nvm, uint32_t bank)
{
    uint32_t pages = nvm->bank_size / nvm->flash->page_size;
    for (uint32_t i = 0; i < pages; i++) {
        enum cw_err err = nvm->flash->erase(nvm->flash->ctx, bank * pages + i);
        if (err != CW_OK)
            return err;
    }
    return CW_OK;
}

static enum cw_err damaged(struct nvm *nvm, enum nvm_fault fault, uint32_t at)
{
    nvm->fault = fault;
    nvm->fault_at = at;
    return CW_ERR_FORMAT;
}

/* What a record or a member of a group says: the value at `offset` is there, or is gone. False when
 * it says neither, or there are too many. */
static bool index_put(struct nvm *nvm, uint8_t kind, uint16_t key, uint16_t len, uint32_t offset)
{
    struct nvm_entry *e = nvm_log_find(nvm, key);
    if (kind == NVM_KIND_REMOVED) {
        if (e != NULL)
            *e = nvm->entries[--nvm->count];
        return true;
    }
    if (kind != NVM_KIND_VALUE || (e == NULL && nvm->count == NVM_VALUES_MAX))
        return false;
    if (e == NULL)
        e = &nvm->entries[nvm->count++];
    *e = (struct nvm_entry){.key = key, .len = len, .offset = offset};
    return true;
}

/* Mark to length: how records and members begin. */
static void put_intro(uint8_t p[NVM_MEMBER_LEN], uint8_t kind, uint16_t key, size_t len)
{
    p[0] = MARK;
    p[1] = kind;
    p[2] = (uint8_t)(key >> 8);
    p[3] = (uint8_t)key;
    p[4] = (uint8_t)(len >> 8);
    p[5] = (uint8_t)len;
}

/* Everything of a record before its value, but for the CRC; the commit word is left blank. */
static void record_header(uint8_t r[RECORD_LEN], uint8_t kind, uint16_t key, size_t len)
{
    memset(r, 0, RECORD_LEN);
    put_intro(r, kind, key, len);
    memset(r + COMMIT_AT, 0xFF, COMMIT_LEN);
}

static uint32_t header_crc(const uint8_t r[RECORD_LEN])
{
    return crc_add(0xFFFFFFFFu, r, CRC_AT);
}

/* Adds what lies in flash to a CRC. */
static enum cw_err crc_add_flash(const struct nvm *nvm, uint32_t offset, uint32_t len,
                                 uint32_t *crc)
{
    uint8_t chunk[CHUNK];
    enum cw_err err = CW_OK;
    for (uint32_t at = 0; at < len && err == CW_OK; at += CHUNK) {
        uint32_t n = len - at < CHUNK ? len - at : CHUNK;
        err = flash_read(nvm, offset + at, chunk, n);
        if (err == CW_OK)
            *crc = crc_add(*crc, chunk, n);
    }
    ct_wipe(chunk, sizeof chunk);
    return err;
}

uint32_t nvm_log_record_bytes(size_t len)
{
    return RECORD_LEN + padded(len);
}

/* A record as it lies in the live bank. */
struct record {
    uint8_t kind;
    uint16_t key, len;
    uint32_t whole;      /* bytes, value and padding included */
    uint32_t header_crc; /* of what the CRC covers before the value */
    uint32_t crc;        /* as it lies there */
    bool blank;          /* nothing was ever written here */
    bool plausible;      /* its header could be that of a record */
    bool good;           /* it checks */
    bool committed;      /* its commit word is whole */
    bool touched;        /* its commit word is not blank */
};

static bool all_ff(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0xFF)
            return false;
    return true;
}

/* Looks at the record at `at` from the start of the live bank. */
static enum cw_err record_look(const struct nvm *nvm, uint32_t at, struct record *out)
{
    uint8_t r[RECORD_LEN];
    uint32_t base = nvm->bank * nvm->bank_size + at;
    enum cw_err err = flash_read(nvm, base, r, sizeof r);
    if (err != CW_OK)
        return err;
    struct record rec = {
        .kind = r[1],
        .key = (uint16_t)(r[2] << 8 | r[3]),
        .len = (uint16_t)(r[4] << 8 | r[5]),
        .header_crc = header_crc(r),
        .crc = get32(r + CRC_AT),
        .blank = all_ff(r, sizeof r),
        .committed = memcmp(r + COMMIT_AT, commit_word, COMMIT_LEN) == 0,
        .touched = !all_ff(r + COMMIT_AT, COMMIT_LEN),
    };
    rec.whole = nvm_log_record_bytes(rec.len);
    rec.plausible = r[0] == MARK && rec.whole <= nvm->bank_size - at &&
                    rec.len <= (rec.kind == NVM_KIND_GROUP ? NVM_GROUP_BYTES : NVM_VALUE_MAX);
    if (rec.plausible) {
        uint32_t crc = rec.header_crc;
        err = crc_add_flash(nvm, base + RECORD_LEN, rec.len, &crc);
        /* Of a value that is secret as well: that it is whole is none. */
        rec.good = err == CW_OK && ct_equal(&crc, &rec.crc, sizeof crc);
    }
    if (err == CW_OK)
        *out = rec;
    return err;
}

/* Is there a good record anywhere from `from` on? Then what stands before it is not a torn tail. */
static enum cw_err good_record_after(const struct nvm *nvm, uint32_t from, bool *found)
{
    *found = false;
    for (uint32_t at = from; at + RECORD_LEN <= nvm->bank_size && !*found; at += 8) {
        struct record rec;
        enum cw_err err = record_look(nvm, at, &rec);
        if (err != CW_OK)
            return err;
        *found = rec.good && rec.committed;
    }
    return CW_OK;
}

/* The members of a group, a record that lies at `offset`. They are checked once more while they are
 * read: what the index says is then what the CRC has seen. */
static enum cw_err index_group(struct nvm *nvm, uint32_t offset, const struct record *rec)
{
    const uint32_t end = offset + RECORD_LEN + rec->len;
    uint32_t at = offset + RECORD_LEN;
    uint32_t crc = rec->header_crc;
    while (at < end) {
        uint8_t m[NVM_MEMBER_LEN] = {0};
        enum cw_err err = CW_OK;
        if (end - at >= NVM_MEMBER_LEN)
            err = flash_read(nvm, at, m, sizeof m);
        if (err != CW_OK)
            return err;
        const uint16_t key = (uint16_t)(m[2] << 8 | m[3]);
        const uint16_t len = (uint16_t)(m[4] << 8 | m[5]);
        const uint32_t value = at + NVM_MEMBER_LEN;
        if (m[0] != MARK || len > NVM_VALUE_MAX || len > end - value ||
            !index_put(nvm, m[1], key, len, value))
            return damaged(nvm, NVM_FAULT_CONTENT, at);
        crc = crc_add(crc, m, sizeof m);
        err = crc_add_flash(nvm, value, len, &crc);
        if (err != CW_OK)
            return err;
        at = value + len;
    }
    return crc == rec->crc ? CW_OK : damaged(nvm, NVM_FAULT_RECORD, offset);
}

/* A record that checks and lies at `at` from the start of the live bank. */
static enum cw_err index_record(struct nvm *nvm, uint32_t at, const struct record *rec)
{
    const uint32_t offset = nvm->bank * nvm->bank_size + at;
    if (rec->kind == NVM_KIND_GROUP)
        return index_group(nvm, offset, rec);
    return index_put(nvm, rec->kind, rec->key, rec->len, offset + RECORD_LEN)
               ? CW_OK
               : damaged(nvm, NVM_FAULT_CONTENT, offset);
}

/* The log ends at `end`, with something that is no whole record and lies before `after`: a write
 * was torn, if it was the last. */
static enum cw_err torn_tail(struct nvm *nvm, uint32_t after)
{
    bool more = false;
    enum cw_err err = good_record_after(nvm, after, &more);
    nvm->tail_dirty = true;
    return err == CW_OK && more
               ? damaged(nvm, NVM_FAULT_RECORD, nvm->bank * nvm->bank_size + nvm->end)
               : err;
}

/* Walks the log of the live bank into the index, to the first record that was never finished.
 * CW_ERR_FORMAT when the log is damaged. */
static enum cw_err bank_scan(struct nvm *nvm)
{
    bool last = false;
    nvm->count = 0;
    nvm->end = HEADER_LEN;
    nvm->tail_dirty = false;
    while (!last && nvm->end + RECORD_LEN <= nvm->bank_size) {
        struct record rec;
        enum cw_err err = record_look(nvm, nvm->end, &rec);
        if (err != CW_OK)
            return err;
        if (rec.blank)
            break;
        if (!rec.good && rec.touched)
            return damaged(nvm, NVM_FAULT_RECORD, nvm->bank * nvm->bank_size + nvm->end);
        if (!rec.good) /* what a torn write had already put into its value is not a record */
            return torn_tail(nvm, nvm->end + (rec.plausible ? rec.whole : NVM_WORD));
        err = index_record(nvm, nvm->end, &rec);
        if (err != CW_OK)
            return err;
        nvm->end += rec.whole;
        /* Power failed in the commit word: the record counts, and is the last. */
        last = !rec.committed;
    }
    uint32_t written = 0;
    enum cw_err err = written_after(nvm, nvm->bank, nvm->end, &written);
    if (err == CW_OK && written < nvm->bank_size)
        err = torn_tail(nvm, nvm->end);
    nvm->tail_dirty = nvm->tail_dirty || last;
    return err;
}

/* Copies one live value to the bank being made, at *end. */
static enum cw_err move_value(struct nvm *nvm, const struct nvm_entry *e, uint32_t base,
                              uint32_t *end)
{
    uint8_t r[RECORD_LEN];
    uint8_t chunk[CHUNK];
    record_header(r, NVM_KIND_VALUE, e->key, e->len);
    uint32_t crc = header_crc(r);
    enum cw_err err = crc_add_flash(nvm, e->offset, e->len, &crc);
    put32(r + CRC_AT, crc);
    if (err == CW_OK)
        err = flash_program(nvm, base + *end, r, COMMIT_AT);
    for (uint32_t at = 0; at < e->len && err == CW_OK; at += CHUNK) {
        uint32_t n = e->len - at < CHUNK ? e->len - at : CHUNK;
        err = flash_read(nvm, e->offset + at, chunk, n);
        memset(chunk + n, 0xFF, padded(n) - n);
        if (err == CW_OK)
            err = flash_program(nvm, base + *end + RECORD_LEN + at, chunk, padded(n));
    }
    ct_wipe(chunk, sizeof chunk);
    if (err == CW_OK)
        err = flash_program(nvm, base + *end + COMMIT_AT, commit_word, COMMIT_LEN);
    if (err == CW_OK)
        *end += nvm_log_record_bytes(e->len);
    return err;
}

/* Erases a bank that is not blank already. */
static enum cw_err bank_clear(const struct nvm *nvm, uint32_t bank)
{
    uint32_t written = 0;
    enum cw_err err = written_after(nvm, bank, 0, &written);
    return err == CW_OK && written < nvm->bank_size ? bank_erase(nvm, bank) : err;
}

/* Do the records that the index was made of still check? A value that changed by itself since then
 * must not get a CRC of its own by being moved. */
static enum cw_err bank_verify(struct nvm *nvm)
{
    struct record rec;
    for (uint32_t at = HEADER_LEN; at < nvm->end; at += rec.whole) {
        enum cw_err err = record_look(nvm, at, &rec);
        if (err == CW_OK && !rec.good)
            err = damaged(nvm, NVM_FAULT_RECORD, nvm->bank * nvm->bank_size + at);
        if (err != CW_OK)
            return err;
    }
    return CW_OK;
}

/* The new bank becomes the live one once the values have been found there as they were. The old one
 * is erased at once: what was replaced shall not be found there, nor come back if the new bank is
 * damaged. */
enum cw_err nvm_log_move(struct nvm *nvm)
{
    const uint32_t from = nvm->bank;
    const uint32_t to = 1 - from;
    const uint16_t count = nvm->count;
    uint32_t end = HEADER_LEN;
    enum cw_err err = bank_verify(nvm);
    if (err != CW_OK) {
        nvm->broken = true;
        return CW_ERR_IO;
    }
    err = bank_clear(nvm, to);
    for (uint16_t i = 0; i < count && err == CW_OK; i++)
        err = move_value(nvm, &nvm->entries[i], to * nvm->bank_size, &end);
    if (err != CW_OK)
        return err;
    /* From here on the index may be half of one, or two banks may say that they are live: writing
     * on from that could lose values for good. The next mount has both banks to choose from. */
    nvm->broken = true;
    nvm->bank = to;
    err = bank_scan(nvm);
    if (err == CW_OK && (nvm->count != count || nvm->end != end || nvm->tail_dirty))
        err = CW_ERR_IO;
    if (err == CW_OK)
        err = bank_commit(nvm, to, nvm->generation + 1);
    if (err == CW_OK)
        err = bank_clear(nvm, from);
    if (err != CW_OK)
        return CW_ERR_IO;
    nvm->generation++;
    nvm->broken = false;
    return CW_OK;
}

/* No bank is valid. The first one is made in bank 1, from an empty bank 0; power may have failed in
 * the middle of its header. Anything else is not ours, or is damaged. */
static enum cw_err no_bank(struct nvm *nvm)
{
    const uint32_t from[2] = {0, HEADER_LEN};
    for (uint32_t bank = 0; bank < 2; bank++) {
        uint32_t at = 0;
        enum cw_err err = written_after(nvm, bank, from[bank], &at);
        if (err != CW_OK)
            return err;
        if (at < nvm->bank_size)
            return damaged(nvm, NVM_FAULT_HEADER, bank * nvm->bank_size + at);
    }
    return CW_ERR_NOT_FOUND;
}

/* Finds the live bank and reads its log into the index. */
static enum cw_err open_log(struct nvm *nvm)
{
    bool valid[2] = {false, false};
    uint32_t generation[2] = {0, 0};
    if (nvm->flash->page_count < PAGES_MIN || nvm->flash->page_count % 2 != 0)
        return CW_ERR_ARG;
    for (uint32_t b = 0; b < 2; b++) {
        enum cw_err err = bank_header(nvm, b, &valid[b], &generation[b]);
        if (err != CW_OK)
            return err;
    }
    if (!valid[0] && !valid[1])
        return no_bank(nvm);
    nvm->bank = valid[1] && (!valid[0] || generation[1] > generation[0]) ? 1 : 0;
    nvm->generation = generation[nvm->bank];
    uint32_t other = 0;
    enum cw_err err = bank_scan(nvm);
    if (err == CW_OK)
        err = written_after(nvm, 1 - nvm->bank, 0, &other);
    nvm->other_dirty = other < nvm->bank_size;
    return err;
}

enum cw_err nvm_look(struct nvm *nvm, const struct card_flash *flash)
{
    memset(nvm, 0, sizeof *nvm);
    nvm->flash = flash;
    nvm->bank_size = flash->page_count / 2 * flash->page_size;
    nvm->end = HEADER_LEN;
    nvm->look_only = true;
    enum cw_err err = open_log(nvm);
    nvm->broken = err != CW_OK;
    return err;
}

enum cw_err nvm_mount(struct nvm *nvm, const struct card_flash *flash)
{
    enum cw_err err = nvm_look(nvm, flash);
    nvm->look_only = false;
    if (err == CW_ERR_NOT_FOUND)
        return nvm_log_move(nvm);
    if (err == CW_OK && nvm->other_dirty)
        err = bank_erase(nvm, 1 - nvm->bank);
    nvm->broken = err != CW_OK;
    return err;
}

struct nvm_usage nvm_usage(const struct nvm *nvm)
{
    struct nvm_usage usage = {.capacity = nvm->bank_size - HEADER_LEN,
                              .log = nvm->end - HEADER_LEN};
    for (uint16_t i = 0; i < nvm->count; i++)
        usage.live += nvm_log_record_bytes(nvm->entries[i].len);
    return usage;
}

enum cw_err nvm_log_append(struct nvm *nvm, enum nvm_kind kind, uint16_t key,
                           const struct nvm_part *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    const uint32_t whole = nvm_log_record_bytes(len);
    if (nvm->tail_dirty || whole > nvm->bank_size - nvm->end) {
        enum cw_err err = nvm_log_move(nvm);
        if (err != CW_OK)
            return err;
    }
    uint8_t r[RECORD_LEN];
    record_header(r, (uint8_t)kind, key, len);
    uint32_t crc = header_crc(r);
    for (size_t i = 0; i < count; i++)
        crc = crc_add(crc, parts[i].data, parts[i].len);
    put32(r + CRC_AT, crc);
    const uint32_t at = nvm->end;
    const uint32_t offset = nvm->bank * nvm->bank_size + at;
    enum cw_err err = flash_program(nvm, offset, r, COMMIT_AT);
    if (err == CW_OK)
        err = flash_program_parts(nvm, offset + RECORD_LEN, parts, count);
    if (err == CW_OK)
        err = flash_program(nvm, offset + COMMIT_AT, commit_word, COMMIT_LEN);
    if (err != CW_OK) {
        nvm->tail_dirty = true;
        return err;
    }
    nvm->end += whole;
    /* It counts as the next mount will find it. */
    struct record rec;
    err = record_look(nvm, at, &rec);
    if (err != CW_OK) /* a read that failed once is no reason to give the memory up */
        err = record_look(nvm, at, &rec);
    if (err == CW_OK)
        err = rec.good && rec.committed && rec.whole == whole ? index_record(nvm, at, &rec)
                                                              : CW_ERR_IO;
    nvm->broken = err != CW_OK; /* half of a group may be in the index */
    return err == CW_OK ? CW_OK : CW_ERR_IO;
}

enum cw_err nvm_log_append_group(struct nvm *nvm, const struct nvm_change *changes, size_t count)
{
    uint8_t intro[NVM_GROUP_MAX][NVM_MEMBER_LEN];
    struct nvm_part parts[2 * NVM_GROUP_MAX];
    for (size_t i = 0; i < count; i++) {
        const struct nvm_change *c = &changes[i];
        const size_t len = c->remove ? 0 : c->len;
        put_intro(intro[i], c->remove ? NVM_KIND_REMOVED : NVM_KIND_VALUE, c->key, len);
        parts[2 * i] = (struct nvm_part){intro[i], NVM_MEMBER_LEN};
        parts[2 * i + 1] = (struct nvm_part){c->data, len};
    }
    return nvm_log_append(nvm, NVM_KIND_GROUP, 0, parts, 2 * count);
}
