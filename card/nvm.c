/* nvm.c - the tear-proof store of nvm.h.
 *
 * A bank is a header and a log of records, each padded to 8 bytes:
 *   header  "CWNV" | version 1 | 3 bytes 0 | generation (4) | crc (4)
 *   record  mark A5 | kind | key (2) | length (2) | 0 0 | 0 0 0 0 | crc (4) | value
 * The CRC over header and value commits a record: a torn one does not check, and ends the log. A
 * bank is committed by its header, which is programmed last; until then the other bank is the live
 * one. */
#include "card/nvm.h"

#include "base/ct.h"

#include <string.h>

#define HEADER_LEN   16u
#define RECORD_LEN   24u
#define CRC_AT       8u
#define COMMIT_AT    16u
#define COMMIT_LEN   8u
#define MARK         0xA5u
#define KIND_VALUE   1u
#define KIND_REMOVED 2u
#define VERSION      1u
#define CHUNK        64u

static const uint8_t commit_word[COMMIT_LEN] = {'C', 'W', 'D', 'O', 'N', 'E', 0xA5, 0x00};

/* CRC-32 (ISO/IEC 8802-3 §3.2.9); detects tears, protects against nobody. */
static uint32_t crc_add(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len-- > 0) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
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

static enum cw_err flash_program(const struct nvm *nvm, uint32_t offset, const void *data,
                                 uint32_t len)
{
    return len == 0 ? CW_OK : nvm->flash->program(nvm->flash->ctx, offset, data, len);
}

static struct nvm_entry *find(const struct nvm *nvm, uint16_t key)
{
    for (uint16_t i = 0; i < nvm->count; i++)
        if (nvm->entries[i].key == key)
            return (struct nvm_entry *)(uintptr_t)&nvm->entries[i];
    return NULL;
}

/* Is everything from `from` to the end of the bank erased? */
static enum cw_err blank_after(const struct nvm *nvm, uint32_t bank, uint32_t from, bool *blank)
{
    uint8_t chunk[CHUNK];
    *blank = true;
    for (uint32_t at = from; at < nvm->bank_size && *blank; at += CHUNK) {
        uint32_t n = nvm->bank_size - at < CHUNK ? nvm->bank_size - at : CHUNK;
        enum cw_err err = flash_read(nvm, bank * nvm->bank_size + at, chunk, n);
        if (err != CW_OK)
            return err;
        for (uint32_t i = 0; i < n; i++)
            if (chunk[i] != 0xFF)
                *blank = false;
    }
    return CW_OK;
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

static enum cw_err index_put(struct nvm *nvm, uint8_t kind, uint16_t key, uint16_t len,
                             uint32_t offset)
{
    struct nvm_entry *e = find(nvm, key);
    if (kind == KIND_REMOVED) {
        if (e != NULL)
            *e = nvm->entries[--nvm->count];
        return CW_OK;
    }
    if (e == NULL) {
        if (nvm->count == NVM_VALUES_MAX)
            return CW_ERR_SPACE;
        e = &nvm->entries[nvm->count++];
    }
    *e = (struct nvm_entry){.key = key, .len = len, .offset = offset};
    return CW_OK;
}

/* Everything of a record before its value, but for the CRC; the commit word is left blank. */
static void record_header(uint8_t r[RECORD_LEN], uint8_t kind, uint16_t key, size_t len)
{
    memset(r, 0, RECORD_LEN);
    r[0] = MARK;
    r[1] = kind;
    r[2] = (uint8_t)(key >> 8);
    r[3] = (uint8_t)key;
    r[4] = (uint8_t)(len >> 8);
    r[5] = (uint8_t)len;
    memset(r + COMMIT_AT, 0xFF, COMMIT_LEN);
}

static uint32_t header_crc(const uint8_t r[RECORD_LEN])
{
    return crc_add(0xFFFFFFFFu, r, CRC_AT);
}

/* CRC over the value of a record that lies in flash. */
static enum cw_err crc_of_value(const struct nvm *nvm, uint32_t offset, uint32_t len, uint32_t *crc)
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

/* A record as it lies in the live bank. */
struct record {
    uint8_t kind;
    uint16_t key, len;
    uint32_t whole; /* bytes, value and padding included */
    bool blank;     /* nothing was ever written here */
    bool plausible; /* its header could be that of a record */
    bool good;      /* it checks */
    bool committed; /* its commit word is whole */
    bool touched;   /* its commit word is not blank */
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
        .blank = all_ff(r, sizeof r),
        .committed = memcmp(r + COMMIT_AT, commit_word, COMMIT_LEN) == 0,
        .touched = !all_ff(r + COMMIT_AT, COMMIT_LEN),
    };
    rec.whole = RECORD_LEN + padded(rec.len);
    rec.plausible = r[0] == MARK && rec.len <= NVM_VALUE_MAX && rec.whole <= nvm->bank_size - at;
    if (rec.plausible) {
        uint32_t crc = header_crc(r);
        err = crc_of_value(nvm, base + RECORD_LEN, rec.len, &crc);
        rec.good = err == CW_OK && crc == get32(r + CRC_AT);
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

/* Walks the log of the live bank into the index, to the first record that was never finished.
 * CW_ERR_FORMAT when the log is damaged. */
static enum cw_err bank_scan(struct nvm *nvm)
{
    uint32_t base = nvm->bank * nvm->bank_size;
    bool blank = false;
    nvm->count = 0;
    nvm->end = HEADER_LEN;
    nvm->tail_dirty = false;
    while (nvm->end + RECORD_LEN <= nvm->bank_size) {
        struct record rec;
        enum cw_err err = record_look(nvm, nvm->end, &rec);
        if (err != CW_OK)
            return err;
        if (rec.blank)
            break;
        if (!rec.good) {
            /* What a torn write had already put into its value is not a record. */
            uint32_t torn = rec.plausible && !rec.touched ? rec.whole : 8;
            bool more = false;
            err = good_record_after(nvm, nvm->end + torn, &more);
            if (err == CW_OK && (more || rec.touched))
                err = CW_ERR_FORMAT;
            nvm->tail_dirty = true;
            return err;
        }
        err = index_put(nvm, rec.kind, rec.key, rec.len, base + nvm->end + RECORD_LEN);
        if (err != CW_OK)
            return err;
        nvm->end += rec.whole;
        if (!rec.committed) { /* power failed in the commit word: the record counts, and is the last
                               */
            nvm->tail_dirty = true;
            break;
        }
    }
    bool more = false;
    enum cw_err err = blank_after(nvm, nvm->bank, nvm->end, &blank);
    if (err == CW_OK && !blank)
        err = good_record_after(nvm, nvm->end, &more);
    if (err == CW_OK && more)
        err = CW_ERR_FORMAT;
    nvm->tail_dirty = nvm->tail_dirty || !blank;
    return err;
}

/* Copies one live value to the bank being made, at *end. */
static enum cw_err move_value(struct nvm *nvm, const struct nvm_entry *e, uint32_t base,
                              uint32_t *end)
{
    uint8_t r[RECORD_LEN];
    uint8_t chunk[CHUNK];
    record_header(r, KIND_VALUE, e->key, e->len);
    uint32_t crc = header_crc(r);
    enum cw_err err = crc_of_value(nvm, e->offset, e->len, &crc);
    put32(r + CRC_AT, crc);
    if (err == CW_OK)
        err = flash_program(nvm, base + *end, r, COMMIT_AT);
    for (uint32_t at = 0; at < e->len && err == CW_OK; at += CHUNK) {
        uint32_t n = e->len - at < CHUNK ? e->len - at : CHUNK;
        err = flash_read(nvm, e->offset + at, chunk, n);
        if (err == CW_OK)
            err = flash_program(nvm, base + *end + RECORD_LEN + at, chunk, n);
    }
    ct_wipe(chunk, sizeof chunk);
    if (err == CW_OK)
        err = flash_program(nvm, base + *end + COMMIT_AT, commit_word, COMMIT_LEN);
    if (err == CW_OK)
        *end += RECORD_LEN + padded(e->len);
    return err;
}

/* Erases a bank that is not blank already. */
static enum cw_err bank_clear(const struct nvm *nvm, uint32_t bank)
{
    bool blank = false;
    enum cw_err err = blank_after(nvm, bank, 0, &blank);
    return err == CW_OK && !blank ? bank_erase(nvm, bank) : err;
}

/* Moves the live values to the other bank and makes that the live one. The old bank is erased at
 * once: what was replaced shall not be found there, nor come back if the new bank is damaged. */
static enum cw_err move(struct nvm *nvm)
{
    uint32_t to = 1 - nvm->bank;
    uint32_t end = HEADER_LEN;
    enum cw_err err = bank_clear(nvm, to);
    for (uint16_t i = 0; i < nvm->count && err == CW_OK; i++)
        err = move_value(nvm, &nvm->entries[i], to * nvm->bank_size, &end);
    if (err == CW_OK)
        err = bank_commit(nvm, to, nvm->generation + 1);
    if (err != CW_OK)
        return err;
    nvm->bank = to;
    nvm->generation++;
    /* A read that fails here leaves half an index. Writing on from that would lose the other half
     * for good; the next mount has both banks to choose from. */
    err = bank_scan(nvm);
    if (err != CW_OK)
        nvm->broken = true;
    return err == CW_OK ? bank_clear(nvm, 1 - to) : CW_ERR_IO;
}

/* No bank is valid. The first one is made in bank 1, from an empty bank 0; power may have failed in
 * the middle of its header. Anything else is not ours, or is damaged. */
static enum cw_err first_bank(struct nvm *nvm)
{
    bool blank[2] = {false, false};
    enum cw_err err = blank_after(nvm, 0, 0, &blank[0]);
    if (err == CW_OK)
        err = blank_after(nvm, 1, HEADER_LEN, &blank[1]);
    if (err != CW_OK)
        return err;
    return blank[0] && blank[1] ? move(nvm) : CW_ERR_FORMAT;
}

enum cw_err nvm_mount(struct nvm *nvm, const struct card_flash *flash)
{
    if (flash->page_count < 2 || flash->page_count % 2 != 0)
        return CW_ERR_ARG;
    memset(nvm, 0, sizeof *nvm);
    nvm->flash = flash;
    nvm->bank_size = flash->page_count / 2 * flash->page_size;
    bool valid[2] = {false, false};
    uint32_t generation[2] = {0, 0};
    for (uint32_t b = 0; b < 2; b++) {
        enum cw_err err = bank_header(nvm, b, &valid[b], &generation[b]);
        if (err != CW_OK)
            return err;
    }
    if (!valid[0] && !valid[1])
        return first_bank(nvm);
    nvm->bank = valid[1] && (!valid[0] || generation[1] > generation[0]) ? 1 : 0;
    nvm->generation = generation[nvm->bank];
    enum cw_err err = bank_scan(nvm);
    return err == CW_OK ? bank_clear(nvm, 1 - nvm->bank) : err;
}

enum cw_err nvm_size(const struct nvm *nvm, uint16_t key, size_t *len)
{
    const struct nvm_entry *e = find(nvm, key);
    if (nvm->broken)
        return CW_ERR_IO;
    if (e == NULL)
        return CW_ERR_NOT_FOUND;
    *len = e->len;
    return CW_OK;
}

enum cw_err nvm_read(const struct nvm *nvm, uint16_t key, size_t from, void *out, size_t cap,
                     size_t *len)
{
    const struct nvm_entry *e = find(nvm, key);
    if (nvm->broken)
        return CW_ERR_IO;
    if (e == NULL)
        return CW_ERR_NOT_FOUND;
    if (from > e->len)
        return CW_ERR_ARG;
    size_t n = e->len - from < cap ? e->len - from : cap;
    enum cw_err err = flash_read(nvm, e->offset + (uint32_t)from, out, (uint32_t)n);
    if (err == CW_OK)
        *len = n;
    return err;
}

enum cw_err nvm_read_exact(const struct nvm *nvm, uint16_t key, void *out, size_t len)
{
    const struct nvm_entry *e = find(nvm, key);
    if (nvm->broken)
        return CW_ERR_IO;
    if (e == NULL)
        return CW_ERR_NOT_FOUND;
    if (e->len != len)
        return CW_ERR_FORMAT;
    return flash_read(nvm, e->offset, out, (uint32_t)len);
}

/* Appends one record to the live bank. A failure on the way leaves a tail that is not blank. */
static enum cw_err append(struct nvm *nvm, uint8_t kind, uint16_t key, const void *head,
                          size_t head_len, const void *tail, size_t tail_len)
{
    size_t len = head_len + tail_len;
    uint32_t whole = RECORD_LEN + padded(len);
    if (nvm->broken)
        return CW_ERR_IO;
    if (nvm->tail_dirty || whole > nvm->bank_size - nvm->end) {
        enum cw_err err = move(nvm);
        if (err != CW_OK)
            return err;
        if (nvm->tail_dirty)
            return CW_ERR_IO;
        if (whole > nvm->bank_size - nvm->end)
            return CW_ERR_SPACE;
    }
    uint8_t r[RECORD_LEN];
    record_header(r, kind, key, len);
    put32(r + CRC_AT, crc_add(crc_add(header_crc(r), head, head_len), tail, tail_len));
    uint32_t at = nvm->bank * nvm->bank_size + nvm->end;
    enum cw_err err = flash_program(nvm, at, r, COMMIT_AT);
    if (err == CW_OK)
        err = flash_program(nvm, at + RECORD_LEN, head, (uint32_t)head_len);
    if (err == CW_OK)
        err = flash_program(nvm, at + RECORD_LEN + (uint32_t)head_len, tail, (uint32_t)tail_len);
    if (err == CW_OK)
        err = flash_program(nvm, at + COMMIT_AT, commit_word, COMMIT_LEN);
    if (err != CW_OK) {
        nvm->tail_dirty = true;
        return err;
    }
    nvm->end += whole;
    return index_put(nvm, kind, key, (uint16_t)len, at + RECORD_LEN);
}

enum cw_err nvm_write2(struct nvm *nvm, uint16_t key, const void *head, size_t head_len,
                       const void *tail, size_t tail_len)
{
    if (head_len > NVM_VALUE_MAX || tail_len > NVM_VALUE_MAX - head_len)
        return CW_ERR_LENGTH;
    if (find(nvm, key) == NULL && nvm->count == NVM_VALUES_MAX)
        return CW_ERR_SPACE;
    return append(nvm, KIND_VALUE, key, head, head_len, tail, tail_len);
}

enum cw_err nvm_write(struct nvm *nvm, uint16_t key, const void *data, size_t len)
{
    return nvm_write2(nvm, key, data, len, NULL, 0);
}

enum cw_err nvm_remove(struct nvm *nvm, uint16_t key)
{
    if (!nvm->broken && find(nvm, key) == NULL)
        return CW_OK;
    return append(nvm, KIND_REMOVED, key, NULL, 0, NULL, 0);
}

bool nvm_next(const struct nvm *nvm, uint16_t *key)
{
    uint16_t best = 0;
    for (uint16_t i = 0; i < nvm->count; i++) {
        uint16_t k = nvm->entries[i].key;
        if (k > *key && (best == 0 || k < best))
            best = k;
    }
    if (nvm->broken || best == 0)
        return false;
    *key = best;
    return true;
}

enum cw_err nvm_change_all(struct nvm *nvm, const struct nvm_change *changes, size_t count)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++)
        err = changes[i].remove ? nvm_remove(nvm, changes[i].key)
                                : nvm_write(nvm, changes[i].key, changes[i].data, changes[i].len);
    return err;
}

enum cw_err nvm_compact(struct nvm *nvm)
{
    return nvm->broken ? CW_ERR_IO : move(nvm);
}
