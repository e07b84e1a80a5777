/* test_card_nvm_look.c - the look that a tool takes at the store: it changes nothing, sees what a
 * mount would, and says where a memory is damaged. */
#include "unit.h"

#include "card/nvm.h"
#include "card_lab.h"

#include <string.h>

#define BANK   (LAB_PAGE * LAB_PAGES / 2)
#define HEADER 16u
#define RECORD 24u /* bytes of a record besides its value */
#define MEMBER 6u  /* bytes of a group's member besides its value */

/* A few values, a removed one, a group, and a bank so full that two writes more move it. */
static void fill(struct lab_flash *flash, const struct card_flash *ops, struct nvm *nvm)
{
    static const uint8_t filler[900] = {0x5A};
    const struct nvm_change group[] = {{.key = 5, .data = "five", .len = 4},
                                       {.key = 6, .data = "six", .len = 3},
                                       {.key = 4, .remove = true}};
    lab_flash_init(flash);
    assert_int_equal(nvm_mount(nvm, ops), CW_OK);
    for (uint16_t key = 1; key <= 5; key++)
        assert_int_equal(nvm_write(nvm, key, &key, sizeof key), CW_OK);
    assert_int_equal(nvm_remove(nvm, 3), CW_OK);
    assert_int_equal(nvm_change_all(nvm, group, 3), CW_OK);
    while (nvm_usage(nvm).log + RECORD + 904 <= nvm_usage(nvm).capacity)
        assert_int_equal(nvm_write(nvm, 7, filler, sizeof filler), CW_OK);
    while (nvm_usage(nvm).log + 3 * RECORD <= nvm_usage(nvm).capacity)
        assert_int_equal(nvm_write(nvm, 1, "", 0), CW_OK);
}

/* Both see the same values, of the same generation. */
static void same(const struct nvm *a, const struct nvm *b)
{
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->bank, b->bank);
    assert_int_equal(a->count, b->count);
    for (uint16_t i = 0; i < a->count; i++) {
        uint8_t x[1024], y[1024];
        const struct nvm_entry *e = &a->entries[i];
        assert_int_equal(nvm_read_exact(a, e->key, x, e->len), CW_OK);
        assert_int_equal(nvm_read_exact(b, e->key, y, e->len), CW_OK);
        assert_memory_equal(x, y, e->len);
    }
}

/* Wherever power failed, a look sees what the mount after it sees, and that something was torn. */
static void test_look_changes_nothing(void **state)
{
    static struct lab_flash start, cut, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm, looked;
    unsigned torn = 0, unfinished = 0, clean = 0, cuts = 0;
    (void)state;
    lab_flash_init(&flash);
    start = flash;
    assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_NOT_FOUND);
    assert_memory_equal(&flash, &start, sizeof flash);
    fill(&flash, &ops, &nvm);
    start = flash;
    /* It may look whole when only blank bytes at the end of a bank were still to be erased. */
    for (bool done = false; !done; cuts++) {
        flash = start;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        flash.budget = cuts;
        done = nvm_write(&nvm, 1, "1", 1) == CW_OK && nvm_write(&nvm, 2, "2", 1) == CW_OK &&
               nvm_write(&nvm, 2, "3", 1) == CW_OK;
        flash.dead = false;
        flash.budget = -1;
        cut = flash;
        assert_int_equal(nvm_look(&looked, &ops), CW_OK);
        torn += looked.tail_dirty;
        unfinished += looked.other_dirty;
        clean += !looked.tail_dirty && !looked.other_dirty;
        assert_memory_equal(&flash, &cut, sizeof flash);
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        if (!looked.other_dirty)
            assert_memory_equal(&flash, &cut, sizeof flash);
        same(&looked, &nvm);
    }
    print_message("%u looks, %u at a torn write, %u at a move that was not finished\n", cuts, torn,
                  unfinished);
    assert_true(torn > 50 && unfinished > 10000 && clean < 3 * RECORD);
    assert_true(!looked.tail_dirty && !looked.other_dirty);
}

/* An erasure that is torn leaves any byte as it was or blank (card/port.h), not only those at the
 * end. While the old bank still begins like a whole one, the new one is the live one. */
static void test_a_bank_that_is_erased_in_no_order(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm good, nvm;
    uint32_t seed = 1;
    (void)state;
    fill(&flash, &ops, &good);
    const uint32_t old = good.bank;
    for (int i = 0; i < 3; i++) { /* the last one moves, and its first erasure does nothing */
        start = flash;
        assert_int_equal(nvm_write(&good, 2, "2", 1), CW_OK);
    }
    uint64_t moved = flash.programmed - start.programmed - RECORD - NVM_WORD;
    flash = start;
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    flash.budget = (long)moved;
    assert_int_equal(nvm_write(&nvm, 2, "2", 1), CW_ERR_IO);
    flash.dead = false;
    flash.budget = -1;
    start = flash;
    assert_memory_equal(flash.bytes + old * BANK, "CWNV", 4);
    assert_memory_equal(flash.bytes + (1 - old) * BANK, "CWNV", 4);
    assert_int_equal(nvm_look(&good, &ops), CW_OK);
    for (unsigned i = 0; i < 2000; i++) {
        flash = start;
        for (uint32_t at = HEADER; at < LAB_PAGE; at++) {
            seed = seed * 1664525 + 1013904223;
            if (seed >> 24 < i % 256)
                flash.bytes[old * BANK + at] = 0xFF;
        }
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        assert_int_equal(nvm.bank, 1 - old);
        same(&good, &nvm);
    }
}

static void test_after_a_look_nothing_can_be_written(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    const struct nvm_change change = {.key = 1, .remove = true};
    struct nvm nvm;
    (void)state;
    fill(&flash, &ops, &nvm);
    start = flash;
    assert_int_equal(nvm_look(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, "x", 1), CW_ERR_STATE);
    assert_int_equal(nvm_write(&nvm, 100, "x", 1), CW_ERR_STATE);
    assert_int_equal(nvm_remove(&nvm, 1), CW_ERR_STATE);
    assert_int_equal(nvm_remove(&nvm, 100), CW_ERR_STATE);
    assert_int_equal(nvm_change_all(&nvm, &change, 1), CW_ERR_STATE);
    assert_memory_equal(&flash, &start, sizeof flash);
    struct nvm_usage usage = nvm_usage(&nvm);
    assert_int_equal(usage.capacity, BANK - HEADER);
    assert_in_range(usage.log, usage.capacity - 3 * RECORD, usage.capacity);
    /* Keys 1, 2, 5, 6 in a word each but for 1, which is empty, and 7. */
    assert_int_equal(usage.live, 5 * RECORD + 3 * NVM_WORD + 904);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    struct nvm_usage mounted = nvm_usage(&nvm);
    assert_memory_equal(&mounted, &usage, sizeof usage);
}

static bool in_flash(const struct lab_flash *flash, const char *text)
{
    const size_t len = strlen(text);
    for (size_t at = 0; at + len <= sizeof flash->bytes; at++)
        if (memcmp(flash->bytes + at, text, len) == 0)
            return true;
    return false;
}

static void test_nothing_is_left_of_what_was_removed(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    const struct nvm_change group[] = {{.key = 300, .data = "old secret", .len = 10},
                                       {.key = 20, .data = "replaced", .len = 8},
                                       {.key = 0xFFFE, .data = "that stays", .len = 10}};
    struct nvm nvm;
    uint16_t key = 0;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_false(nvm_next(&nvm, &key));
    assert_int_equal(nvm_change_all(&nvm, group, 3), CW_OK);
    assert_int_equal(nvm_write(&nvm, 20, "new", 3), CW_OK);
    assert_true(nvm_next(&nvm, &key) && key == 20);
    assert_true(nvm_next(&nvm, &key) && key == 300);
    assert_int_equal(nvm_remove(&nvm, 300), CW_OK);
    assert_true(nvm_next(&nvm, &key) && key == 0xFFFE);
    assert_false(nvm_next(&nvm, &key));
    assert_int_equal(key, 0xFFFE);
    assert_true(in_flash(&flash, "old secret") && in_flash(&flash, "replaced"));
    assert_int_equal(nvm_compact(&nvm), CW_OK);
    assert_false(in_flash(&flash, "old secret") || in_flash(&flash, "replaced"));
    assert_true(in_flash(&flash, "that stays") && in_flash(&flash, "new"));
    assert_int_equal(nvm_usage(&nvm).log, nvm_usage(&nvm).live);
    assert_int_equal(nvm_look(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_compact(&nvm), CW_ERR_STATE);
    assert_int_equal(nvm.count, 2);
}

/* A damaged memory gives nothing, to a look or a mount, and both say where it is damaged. */
static void test_damage_is_named(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm good, nvm;
    size_t n = 0;
    (void)state;
    fill(&flash, &ops, &good);
    start = flash;
    for (uint16_t i = 0; i < good.count; i++) {
        const struct nvm_entry *e = &good.entries[i];
        if (e->len == 0)
            continue;
        flash = start;
        flash.bytes[e->offset] ^= 1;
        assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_FORMAT);
        assert_int_equal(nvm.fault, NVM_FAULT_RECORD);
        assert_in_range(nvm.fault_at, e->offset - RECORD - 2 * MEMBER - 4, e->offset);
        assert_int_equal(nvm_size(&nvm, e->key, &n), CW_ERR_IO);
        assert_int_equal(nvm_write(&nvm, e->key, "x", 1), CW_ERR_IO);
        const uint32_t at = nvm.fault_at;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_ERR_FORMAT);
        assert_int_equal(nvm.fault_at, at);
        assert_int_equal(nvm_size(&nvm, e->key, &n), CW_ERR_IO);
        assert_int_equal(nvm_write(&nvm, e->key, "x", 1), CW_ERR_IO);
    }
    flash = start;
    flash.bytes[good.bank * BANK + 6] ^= 1;
    assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_FORMAT);
    assert_int_equal(nvm.fault, NVM_FAULT_HEADER);
    assert_int_equal(nvm.fault_at, good.bank == 0 ? 0 : BANK + HEADER);
    lab_flash_init(&flash);
    flash.bytes[77] = 0;
    assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_FORMAT);
    assert_int_equal(nvm.fault, NVM_FAULT_HEADER);
    assert_int_equal(nvm.fault_at, 77);
    ops.page_count = 6;
    assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_ARG);
    ops.page_count = 15;
    assert_int_equal(nvm_look(&nvm, &ops), CW_ERR_ARG);
}

/* --- records that check and say nonsense
 * -------------------------------------------------------------------------------------- */

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t len)
{
    while (len-- > 0) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return crc;
}

/* A finished record of key 0x0707; returns its length. */
static size_t record_make(uint8_t *out, uint8_t kind, const uint8_t *value, size_t len)
{
    const uint8_t head[RECORD] = {0xA5, kind, 0x07, 0x07, (uint8_t)(len >> 8), (uint8_t)len};
    uint32_t crc = crc_add(crc_add(0xFFFFFFFFu, head, 8), value, len);
    memcpy(out, head, RECORD);
    for (int i = 0; i < 4; i++)
        out[8 + i] = (uint8_t)(crc >> (24 - 8 * i));
    memcpy(out + 16, "CWDONE\xA5", 8);
    memcpy(out + RECORD, value, len);
    return RECORD + len;
}

/* Puts one at the end of the log. */
static void forge(struct lab_flash *flash, const struct nvm *nvm, uint8_t kind,
                  const uint8_t *value, size_t len)
{
    (void)record_make(flash->bytes + nvm->bank * BANK + nvm->end, kind, value, len);
}

static void test_nonsense_is_not_believed(void **state)
{
    static const struct {
        uint8_t kind;
        enum cw_err err;
        size_t len;
        uint8_t value[2 * MEMBER + 8];
    } cases[] = {
        {1, CW_OK, 4, {1, 2, 3, 4}},
        {2, CW_OK, 0, {0}},
        {3, CW_OK, 0, {0}},
        {3, CW_OK, 8, {0xA5, 1, 0, 9, 0, 2, 'h', 'i'}},
        {3, CW_OK, 14, {0xA5, 1, 0, 9, 0, 2, 'h', 'i', 0xA5, 2, 0, 9, 0, 0}},
        {0, CW_ERR_FORMAT, 4, {1, 2, 3, 4}},
        {4, CW_ERR_FORMAT, 4, {1, 2, 3, 4}},
        {3, CW_ERR_FORMAT, 8, {0xA4, 1, 0, 9, 0, 2, 'h', 'i'}}, /* no mark */
        {3, CW_ERR_FORMAT, 8, {0xA5, 3, 0, 9, 0, 2, 'h', 'i'}}, /* a group in a group */
        {3, CW_ERR_FORMAT, 8, {0xA5, 1, 0, 9, 0, 3, 'h', 'i'}}, /* longer than the record */
        {3, CW_ERR_FORMAT, 8, {0xA5, 1, 0, 9, 0, 1, 'h', 'i'}}, /* something behind it */
        {3, CW_ERR_FORMAT, 5, {0xA5, 1, 0, 9, 0}},              /* too short for a member */
        {3, CW_ERR_FORMAT, 6, {0xA5, 1, 0, 9, 0xFF, 0xFF}},
    };
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm, forged;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, "one", 3), CW_OK);
    start = flash;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        flash = start;
        forge(&flash, &nvm, cases[i].kind, cases[i].value, cases[i].len);
        assert_int_equal(nvm_look(&forged, &ops), cases[i].err);
        assert_int_equal(forged.fault, cases[i].err == CW_OK ? NVM_FAULT_NONE : NVM_FAULT_CONTENT);
        if (cases[i].err == CW_OK)
            continue;
        assert_in_range(forged.fault_at, nvm.bank * BANK + nvm.end, nvm.bank * BANK + nvm.end + 64);
    }
    flash = start;
    for (uint16_t key = 2; key <= NVM_VALUES_MAX; key++) /* and one value more than there can be */
        assert_int_equal(nvm_write(&nvm, key, &key, 2), CW_OK);
    forge(&flash, &nvm, 1, (const uint8_t *)"more", 4);
    assert_int_equal(nvm_look(&forged, &ops), CW_ERR_FORMAT);
    assert_int_equal(forged.fault, NVM_FAULT_CONTENT);
}

/* Values that look like records, alone and in a group, torn at every byte: they are part of a torn
 * write, not something that was written after damage. */
static void test_a_torn_value_that_looks_like_a_record(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    uint8_t value[8 * RECORD];
    struct nvm nvm;
    size_t n = 0;
    (void)state;
    for (unsigned group = 0; group < 2; group++) {
        size_t len = group ? NVM_WORD - MEMBER : 0; /* so that they lie where records could */
        while (len + RECORD + NVM_WORD <= sizeof value)
            len += record_make(value + len, 1, (const uint8_t *)"eightbyt", NVM_WORD);
        const struct nvm_change change = {.key = 1, .data = value, .len = len};
        unsigned cuts = 0;
        lab_flash_init(&flash);
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        assert_int_equal(nvm_write(&nvm, 1, "one", 3), CW_OK);
        start = flash;
        for (enum cw_err err = CW_ERR_IO; err != CW_OK; cuts++) {
            flash = start;
            assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
            flash.budget = cuts;
            err = group ? nvm_change_all(&nvm, &change, 1) : nvm_write(&nvm, 1, value, len);
            flash.dead = false;
            flash.budget = -1;
            assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
            assert_int_equal(nvm.count, 1);
            assert_int_equal(nvm_size(&nvm, 1, &n), CW_OK);
            assert_true(n == len || (n == 3 && err != CW_OK));
        }
        assert_true(cuts > 5 * RECORD);
    }
}

/* Groups of random members under a CRC that checks: the flash of the lab ends the test when it is
 * read beyond its end, and every value of a store that is believed lies in its bank. */
static void test_random_groups(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm, forged;
    uint32_t seed = 1;
    unsigned believed = 0, refused = 0;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    start = flash;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t value[96];
        size_t len = 0;
        for (unsigned members = i % 8 + 1; members > 0; members--) {
            seed = seed * 1664525 + 1013904223;
            const uint32_t r = seed >> 8;
            const uint8_t n = (uint8_t)(r % 7);
            const uint8_t intro[MEMBER] = {0xA5, (uint8_t)(1 + (r >> 4) % 2 + (r >> 6) % 32 / 31),
                                           0,    (uint8_t)(r >> 12 & 7),
                                           0,    (uint8_t)(n + (r >> 16) % 32 / 31)};
            memcpy(value + len, intro, sizeof intro);
            memset(value + len + sizeof intro, (int)n, n);
            len += sizeof intro + n;
        }
        flash = start;
        forge(&flash, &nvm, 3, value, len);
        enum cw_err err = nvm_look(&forged, &ops);
        assert_true(err == CW_OK || (err == CW_ERR_FORMAT && forged.fault == NVM_FAULT_CONTENT));
        *(err == CW_OK ? &believed : &refused) += 1;
        for (uint16_t k = 0; err == CW_OK && k < forged.count; k++)
            assert_in_range(forged.entries[k].offset, nvm.bank * BANK + HEADER + RECORD + MEMBER,
                            nvm.bank * BANK + HEADER + RECORD + len - forged.entries[k].len);
    }
    print_message("%u groups believed, %u refused\n", believed, refused);
    assert_true(believed > 1000 && refused > 1000);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_changes_nothing),
        cmocka_unit_test(test_a_bank_that_is_erased_in_no_order),
        cmocka_unit_test(test_after_a_look_nothing_can_be_written),
        cmocka_unit_test(test_nothing_is_left_of_what_was_removed),
        cmocka_unit_test(test_damage_is_named),
        cmocka_unit_test(test_nonsense_is_not_believed),
        cmocka_unit_test(test_a_torn_value_that_looks_like_a_record),
        cmocka_unit_test(test_random_groups),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
