/* test_card_nvm.c - the store loses nothing: power is cut at every byte of every write. */
#include "unit.h"

#include "card/nvm.h"
#include "card_lab.h"

#include <string.h>

#define FILLER 900u /* bytes of a value that fills a bank in 17 writes */

static void test_values_survive_remount(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    uint8_t out[64];
    size_t n = 0;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_size(&nvm, 7, &n), CW_ERR_NOT_FOUND);
    assert_int_equal(nvm_write(&nvm, 7, "seven", 5), CW_OK);
    assert_int_equal(nvm_write2(&nvm, 8, "ei", 2, "ght", 3), CW_OK);
    assert_int_equal(nvm_write(&nvm, 9, "", 0), CW_OK);
    assert_int_equal(nvm_write(&nvm, 7, "SEVEN!", 6), CW_OK);
    assert_int_equal(nvm_remove(&nvm, 8), CW_OK);
    assert_int_equal(nvm_remove(&nvm, 8), CW_OK);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(nvm_read(&nvm, 7, 2, out, sizeof out, &n), CW_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(out, "VEN!", 4);
    assert_int_equal(nvm_read(&nvm, 7, 7, out, sizeof out, &n), CW_ERR_ARG);
    assert_int_equal(nvm_read_exact(&nvm, 7, out, 5), CW_ERR_FORMAT);
    assert_int_equal(nvm_size(&nvm, 8, &n), CW_ERR_NOT_FOUND);
    assert_int_equal(nvm_size(&nvm, 9, &n), CW_OK);
    assert_int_equal(n, 0);
}

static void test_foreign_flash_is_refused(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    lab_flash_init(&flash);
    memset(flash.bytes, 0x42, 100);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_ERR_FORMAT);
}

static void test_full_store_says_so_and_keeps_all(void **state)
{
    static struct lab_flash flash;
    static uint8_t value[NVM_VALUE_MAX];
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    uint16_t written = 0;
    size_t n = 0;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    while (nvm_write(&nvm, (uint16_t)(written + 1), value, sizeof value) == CW_OK)
        written++;
    assert_int_equal(written, 7); /* of 16 KB, headers off */
    assert_int_equal(nvm_write(&nvm, 100, value, sizeof value), CW_ERR_SPACE);
    assert_int_equal(nvm_write(&nvm, 100, value, sizeof value + 1), CW_ERR_LENGTH);
    for (uint16_t k = 1; k <= written; k++)
        assert_int_equal(nvm_size(&nvm, k, &n), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, "x", 1), CW_OK);
}

static void test_too_many_values(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    for (uint16_t k = 1; k <= NVM_VALUES_MAX; k++)
        assert_int_equal(nvm_write(&nvm, k, &k, 2), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1000, "x", 1), CW_ERR_SPACE);
    assert_int_equal(nvm_write(&nvm, 1, "x", 1), CW_OK);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
}

/* Is `key` exactly one of the two texts? */
static bool is_one_of(struct nvm *nvm, uint16_t key, uint32_t a, uint32_t b)
{
    uint32_t v = 0;
    if (nvm_read_exact(nvm, key, &v, sizeof v) != CW_OK)
        return false;
    return v == a || v == b;
}

/* Value 1 is `first`, value 2 is "rock", and the bank is so full that a few writes more move it. */
static void nearly_full(struct lab_flash *flash, struct nvm *nvm, const struct card_flash *ops,
                        uint32_t first)
{
    uint8_t filler[FILLER];
    memset(filler, 0x5A, sizeof filler);
    lab_flash_init(flash);
    assert_int_equal(nvm_mount(nvm, ops), CW_OK);
    assert_int_equal(nvm_write(nvm, 1, &first, 4), CW_OK);
    assert_int_equal(nvm_write(nvm, 2, "rock", 4), CW_OK);
    for (int i = 0; i < 17; i++)
        assert_int_equal(nvm_write(nvm, 3, filler, sizeof filler), CW_OK);
}

/* A run of writes that crosses several moves between the banks; power fails after `budget` bytes of
 * flash work, at every budget. After the cut the value is the old or the new one, the other values
 * are untouched, and the store takes writes again. */
static void test_power_cut_at_every_byte(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    unsigned cuts = 0;
    (void)state;
    nearly_full(&flash, &nvm, &ops, 0);
    start = flash;
    for (long budget = 0;; budget++) {
        uint32_t last = 0;
        bool done = false;
        flash = start;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        flash.budget = budget;
        for (uint32_t v = 1; v <= 40; v++) {
            if (nvm_write(&nvm, 1, &v, 4) != CW_OK)
                break;
            last = v;
            done = v == 40;
        }
        flash.dead = false;
        flash.budget = -1;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        assert_true(is_one_of(&nvm, 1, last, last + 1));
        assert_true(is_one_of(&nvm, 2, 0x6B636F72, 0x6B636F72));
        assert_int_equal(nvm_write(&nvm, 1, &(uint32_t){77}, 4), CW_OK);
        assert_true(is_one_of(&nvm, 1, 77, 77));
        cuts++;
        if (done)
            break;
    }
    print_message("%u power cuts, value always old or new\n", cuts);
    assert_true(cuts > 10000);
}

/* The same for the first mount of blank flash. */
static void test_power_cut_at_first_mount(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    for (long budget = 0;; budget += 7) {
        lab_flash_init(&flash);
        flash.budget = budget;
        enum cw_err err = nvm_mount(&nvm, &ops);
        flash.dead = false;
        flash.budget = -1;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        assert_int_equal(nvm_write(&nvm, 1, "x", 1), CW_OK);
        if (err == CW_OK)
            break;
    }
}

/* One bit of flash changes by itself, or by a glitch: the store either gives every value as it was,
 * or does not start. Never an older value, never a missing one: those would give tries back. */
static void test_a_changed_bit_never_gives_an_old_state(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    uint8_t filler[FILLER];
    unsigned refused = 0, same = 0;
    (void)state;
    memset(filler, 0x5A, sizeof filler);
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    for (uint32_t v = 1; v <= 700; v++) /* more than a bank: the other one has been live too */
        assert_int_equal(nvm_write(&nvm, 1, &v, 4), CW_OK);
    assert_int_equal(nvm_write(&nvm, 2, "rock", 4), CW_OK);
    assert_int_equal(nvm_write(&nvm, 3, filler, sizeof filler), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, &(uint32_t){701}, 4), CW_OK);
    start = flash;
    for (size_t at = 0; at < sizeof flash.bytes; at++) {
        flash = start;
        flash.bytes[at] ^= (uint8_t)(1u << (at % 8));
        if (nvm_mount(&nvm, &ops) != CW_OK) {
            refused++;
            continue;
        }
        size_t len = 0;
        assert_true(is_one_of(&nvm, 1, 701, 701));
        assert_true(is_one_of(&nvm, 2, 0x6B636F72, 0x6B636F72));
        assert_int_equal(nvm_size(&nvm, 3, &len), CW_OK);
        assert_int_equal(len, sizeof filler);
        same++;
    }
    print_message("%u changed bits refused, %u without effect\n", refused, same);
    assert_true(refused > 1000 && same > 1000);
}

/* One read fails, at every read of a write that moves to the other bank: whatever that write says,
 * what comes after it never works on half of the values. */
static void test_a_failed_read_in_a_move_loses_nothing(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    uint8_t filler[FILLER] = {0};
    unsigned failed = 0;
    (void)state;
    nearly_full(&flash, &nvm, &ops, 10);
    start = flash;
    for (long k = 0;; k++) {
        uint32_t last = 10;
        flash = start;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        flash.fail_read = k;
        if (nvm_write(&nvm, 3, filler, sizeof filler) == CW_OK && flash.fail_read >= 0)
            break;
        flash.fail_read = -1;
        failed++;
        uint32_t v = 0;
        enum cw_err err = nvm_read_exact(&nvm, 1, &v, 4);
        assert_true(err == CW_ERR_IO || (err == CW_OK && v == 10));
        for (uint32_t w = 11; w < 14; w++)
            if (nvm_write(&nvm, 1, &w, 4) == CW_OK)
                last = w;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        assert_true(is_one_of(&nvm, 1, last, last));
        assert_true(is_one_of(&nvm, 2, 0x6B636F72, 0x6B636F72));
    }
    print_message("%u reads failed, one at a time\n", failed);
    assert_true(failed > 50);
}

static void test_pages_wear_evenly(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    for (uint32_t v = 0; v < 20000; v++)
        assert_int_equal(nvm_write(&nvm, 1, &v, 4), CW_OK);
    /* 32 bytes a write: 511 to a bank; so 39 or 40 moves, and half as many erasures of each page.
     */
    print_message("generation %u after 20,000 writes\n", nvm.generation);
    assert_in_range(nvm.generation, 39, 41);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_survive_remount),
        cmocka_unit_test(test_foreign_flash_is_refused),
        cmocka_unit_test(test_full_store_says_so_and_keeps_all),
        cmocka_unit_test(test_too_many_values),
        cmocka_unit_test(test_power_cut_at_every_byte),
        cmocka_unit_test(test_power_cut_at_first_mount),
        cmocka_unit_test(test_a_changed_bit_never_gives_an_old_state),
        cmocka_unit_test(test_a_failed_read_in_a_move_loses_nothing),
        cmocka_unit_test(test_pages_wear_evenly),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
