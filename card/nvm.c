/* nvm.c - values and groups of values in the tear-proof store of nvm.h, and the room that must stay
 * free. How they lie in flash, and what makes them tear-proof, is in nvm_log.c. */
#include "card/nvm_log.h"

/* The value to be read; CW_ERR_NOT_FOUND. */
static enum cw_err entry(const struct nvm *nvm, uint16_t key, struct nvm_entry *out)
{
    const struct nvm_entry *e = nvm_log_find(nvm, key);
    if (nvm->broken)
        return CW_ERR_IO;
    if (e == NULL)
        return CW_ERR_NOT_FOUND;
    *out = *e;
    return CW_OK;
}

bool nvm_next(const struct nvm *nvm, uint16_t *key)
{
    const struct nvm_entry *next = NULL;
    for (uint16_t i = 0; i < nvm->count && !nvm->broken; i++) {
        const struct nvm_entry *e = &nvm->entries[i];
        if (e->key > *key && (next == NULL || e->key < next->key))
            next = e;
    }
    if (next != NULL)
        *key = next->key;
    return next != NULL;
}

enum cw_err nvm_size(const struct nvm *nvm, uint16_t key, size_t *len)
{
    struct nvm_entry e;
    enum cw_err err = entry(nvm, key, &e);
    if (err == CW_OK)
        *len = e.len;
    return err;
}

enum cw_err nvm_read(const struct nvm *nvm, uint16_t key, size_t from, void *out, size_t cap,
                     size_t *len)
{
    struct nvm_entry e;
    enum cw_err err = entry(nvm, key, &e);
    if (err != CW_OK)
        return err;
    if (from > e.len)
        return CW_ERR_ARG;
    size_t n = e.len - from < cap ? e.len - from : cap;
    err = nvm->flash->read(nvm->flash->ctx, e.offset + (uint32_t)from, out, (uint32_t)n);
    if (err == CW_OK)
        *len = n;
    return err;
}

enum cw_err nvm_read_exact(const struct nvm *nvm, uint16_t key, void *out, size_t len)
{
    struct nvm_entry e;
    enum cw_err err = entry(nvm, key, &e);
    if (err != CW_OK)
        return err;
    if (e.len != len)
        return CW_ERR_FORMAT;
    return nvm->flash->read(nvm->flash->ctx, e.offset, out, (uint32_t)len);
}

/* What changes do to the bytes that a move copies, and to the number of values. */
struct effect {
    uint32_t lost, gained;
    unsigned values; /* that were not there before */
    bool large;      /* one of them is no small value */
};

static void effect_add(const struct nvm *nvm, const struct nvm_change *change, struct effect *sum)
{
    const struct nvm_entry *e = nvm_log_find(nvm, change->key);
    if (e != NULL)
        sum->lost += nvm_log_record_bytes(e->len);
    if (change->remove)
        return;
    sum->gained += nvm_log_record_bytes(change->len);
    if (e == NULL)
        sum->values++;
    if (change->len > NVM_SMALL_MAX)
        sum->large = true;
}

/* Is there room for a record of `whole` bytes beside the old values, after a move if need be, and
 * does what it changes leave free what must stay so? What does not grow the store always may be
 * written: it makes nothing worse. */
static enum cw_err check_room(const struct nvm *nvm, const struct effect *effect, uint32_t whole)
{
    const struct nvm_usage now = nvm_usage(nvm);
    const uint32_t after = now.live - effect->lost + effect->gained;
    const uint32_t keep = effect->large ? NVM_RESERVE : NVM_SPARE;
    if (nvm->broken)
        return CW_ERR_IO;
    if (nvm->look_only)
        return CW_ERR_STATE;
    if (effect->values > NVM_VALUES_MAX - nvm->count || whole > now.capacity - now.live ||
        (after > now.live && after + keep > now.capacity))
        return CW_ERR_SPACE;
    return CW_OK;
}

enum cw_err nvm_write2(struct nvm *nvm, uint16_t key, const void *head, size_t head_len,
                       const void *tail, size_t tail_len)
{
    if (head_len > NVM_VALUE_MAX || tail_len > NVM_VALUE_MAX - head_len)
        return CW_ERR_LENGTH;
    const struct nvm_change change = {.key = key, .len = head_len + tail_len};
    const struct nvm_part parts[2] = {{head, head_len}, {tail, tail_len}};
    struct effect effect = {0};
    effect_add(nvm, &change, &effect);
    enum cw_err err = check_room(nvm, &effect, nvm_log_record_bytes(change.len));
    return err == CW_OK ? nvm_log_append(nvm, NVM_KIND_VALUE, key, parts, 2) : err;
}

enum cw_err nvm_write(struct nvm *nvm, uint16_t key, const void *data, size_t len)
{
    return nvm_write2(nvm, key, data, len, NULL, 0);
}

enum cw_err nvm_remove(struct nvm *nvm, uint16_t key)
{
    const struct nvm_change change = {.key = key, .remove = true};
    struct effect effect = {0};
    effect_add(nvm, &change, &effect);
    enum cw_err err = check_room(nvm, &effect, nvm_log_record_bytes(0));
    if (err != CW_OK || nvm_log_find(nvm, key) == NULL)
        return err;
    return nvm_log_append(nvm, NVM_KIND_REMOVED, key, NULL, 0);
}

enum cw_err nvm_compact(struct nvm *nvm)
{
    const struct effect none = {0};
    enum cw_err err = check_room(nvm, &none, 0);
    return err == CW_OK ? nvm_log_move(nvm) : err;
}

enum cw_err nvm_change_all(struct nvm *nvm, const struct nvm_change *changes, size_t count)
{
    struct effect effect = {0};
    size_t len = 0;
    if (count > NVM_GROUP_MAX)
        return CW_ERR_LENGTH;
    for (size_t i = 0; i < count; i++) {
        const size_t n = changes[i].remove ? 0 : changes[i].len;
        for (size_t k = 0; k < i; k++)
            if (changes[k].key == changes[i].key)
                return CW_ERR_ARG;
        if (n > NVM_VALUE_MAX || NVM_MEMBER_LEN + n > NVM_GROUP_BYTES - len)
            return CW_ERR_LENGTH;
        len += NVM_MEMBER_LEN + n;
        effect_add(nvm, &changes[i], &effect);
    }
    enum cw_err err = check_room(nvm, &effect, nvm_log_record_bytes(len));
    return err == CW_OK && count > 0 ? nvm_log_append_group(nvm, changes, count) : err;
}
