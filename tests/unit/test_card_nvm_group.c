/* test_card_nvm_group.c - changes that happen all or none: power is cut at every byte of a group,
 * bits change, reads fail. And the look that a tool takes at the store, which changes nothing. */
#include "unit.h"

#include "card/nvm.h"
#include "card_lab.h"

#include <string.h>

#define BANK   (LAB_PAGE * LAB_PAGES / 2)
#define RECORD 24u     /* bytes of a record besides its value */
#define GONE   0xFFFFu /* a length: there is no such value */
#define ROCK   2u      /* a value that no group touches */
#define FILLER 3u

/* A roll-over as an issuer would send it: two roots, four names, a version, and something that
 * goes. What each value is before and after; its bytes count up from the first one. */
static const struct {
    uint16_t key;
    uint16_t old_len, new_len;
    uint8_t old_first, new_first;
} roll[] = {
    {0x200, 700, 731, 1, 101}, {0x201, 688, 650, 2, 102}, {0x300, 40, 61, 3, 103},
    {0x301, GONE, 58, 0, 104}, {0x302, 33, 1, 5, 105},    {0x303, 40, 40, 6, 106},
    {0x10, 4, 4, 7, 107},      {0x11, 90, GONE, 8, 0},    {0x12, GONE, GONE, 0, 0},
};
#define ROLL (sizeof roll / sizeof roll[0])

static const uint8_t *pattern(uint8_t first, uint16_t len)
{
    static uint8_t bytes[ROLL * 2][1024];
    static size_t next;
    uint8_t *out = bytes[next++ % (ROLL * 2)];
    for (uint16_t i = 0; i < len && len != GONE; i++)
        out[i] = (uint8_t)(first + i);
    return out;
}

static enum cw_err roll_over(struct nvm *nvm)
{
    struct nvm_change changes[ROLL];
    for (size_t i = 0; i < ROLL; i++)
        changes[i] = (struct nvm_change){.key = roll[i].key,
                                         .remove = roll[i].new_len == GONE,
                                         .data = pattern(roll[i].new_first, roll[i].new_len),
                                         .len = roll[i].new_len};
    return nvm_change_all(nvm, changes, ROLL);
}

static bool value_is(const struct nvm *nvm, uint16_t key, uint8_t first, uint16_t len)
{
    uint8_t got[1024];
    size_t n = 0;
    if (len == GONE)
        return nvm_size(nvm, key, &n) == CW_ERR_NOT_FOUND;
    return nvm_size(nvm, key, &n) == CW_OK && n == len &&
           nvm_read_exact(nvm, key, got, len) == CW_OK &&
           memcmp(got, pattern(first, len), len) == 0;
}

enum seen { BETWEEN, OLD, NEW };

/* What the store is seen to hold. */
static enum seen look(const struct nvm *nvm)
{
    size_t old = 0, new = 0;
    for (size_t i = 0; i < ROLL; i++) {
        old += value_is(nvm, roll[i].key, roll[i].old_first, roll[i].old_len);
        new += value_is(nvm, roll[i].key, roll[i].new_first, roll[i].new_len);
    }
    if (!value_is(nvm, ROCK, 50, 500))
        return BETWEEN;
    return old == ROLL ? OLD : new == ROLL ? NEW : BETWEEN;
}

/* A store in the old state, with `fillers` records of 1,024 bytes in its log besides. */
static void before(struct lab_flash *flash, const struct card_flash *ops, struct nvm *nvm,
                   unsigned fillers)
{
    lab_flash_init(flash);
    assert_int_equal(nvm_mount(nvm, ops), CW_OK);
    assert_int_equal(nvm_write(nvm, ROCK, pattern(50, 500), 500), CW_OK);
    for (size_t i = 0; i < ROLL; i++)
        if (roll[i].old_len != GONE)
            assert_int_equal(nvm_write(nvm, roll[i].key,
                                       pattern(roll[i].old_first, roll[i].old_len),
                                       roll[i].old_len),
                             CW_OK);
    for (unsigned i = 0; i < fillers; i++)
        assert_int_equal(nvm_write(nvm, FILLER, pattern(9, 1000), 1000), CW_OK);
    assert_int_equal(look(nvm), OLD);
}

static void power_back(struct lab_flash *flash, struct nvm *nvm, const struct card_flash *ops)
{
    flash->dead = false;
    flash->budget = -1;
    flash->fail_read = -1;
    assert_int_equal(nvm_mount(nvm, ops), CW_OK);
}

static void test_a_group_is_made_as_a_whole(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    before(&flash, &ops, &nvm, 0);
    const uint32_t log = nvm_usage(&nvm).log;
    assert_int_equal(nvm_change_all(&nvm, NULL, 0), CW_OK);
    assert_int_equal(nvm_usage(&nvm).log, log);
    assert_int_equal(roll_over(&nvm), CW_OK);
    assert_int_equal(look(&nvm), NEW);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(look(&nvm), NEW);
    /* Members live on by themselves: replaced, removed, moved. */
    assert_int_equal(nvm_write(&nvm, 0x10, "four", 4), CW_OK);
    assert_int_equal(nvm_remove(&nvm, 0x300), CW_OK);
    const uint32_t generation = nvm.generation;
    while (nvm.generation < generation + 3)
        assert_int_equal(nvm_write(&nvm, FILLER, pattern(9, 1000), 1000), CW_OK);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_true(value_is(&nvm, 0x200, 101, 731) && value_is(&nvm, 0x201, 102, 650));
    assert_true(value_is(&nvm, 0x10, 'f', GONE) == false && value_is(&nvm, 0x300, 0, GONE));
    assert_int_equal(roll_over(&nvm), CW_OK);
    assert_int_equal(look(&nvm), NEW);
}

/* What is refused is refused before one byte is written. */
static void test_a_group_that_cannot_be(void **state)
{
    static struct lab_flash flash, start;
    static const uint8_t value[NVM_VALUE_MAX + 1];
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm_change many[NVM_GROUP_MAX + 1];
    struct nvm nvm;
    (void)state;
    before(&flash, &ops, &nvm, 8);
    start = flash;
    for (uint16_t i = 0; i <= NVM_GROUP_MAX; i++)
        many[i] = (struct nvm_change){.key = (uint16_t)(0x500 + i), .data = value, .len = 1};
    assert_int_equal(nvm_change_all(&nvm, many, NVM_GROUP_MAX + 1), CW_ERR_LENGTH);
    const struct nvm_change twice[] = {{.key = 1, .remove = true}, {.key = 4}, {.key = 1}};
    assert_int_equal(nvm_change_all(&nvm, twice, 3), CW_ERR_ARG);
    const struct nvm_change long_value[] = {{.key = 1, .data = value, .len = NVM_VALUE_MAX + 1}};
    assert_int_equal(nvm_change_all(&nvm, long_value, 1), CW_ERR_LENGTH);
    const uint16_t half = NVM_GROUP_BYTES / 2 - 6;
    struct nvm_change large[] = {{.key = 1, .data = value, .len = half},
                                 {.key = 4, .data = value, .len = half + 1},
                                 {.key = 5, .remove = true, .len = SIZE_MAX}};
    assert_int_equal(nvm_change_all(&nvm, large, 2), CW_ERR_LENGTH);
    large[1].len = half;
    assert_int_equal(nvm_change_all(&nvm, large, 3), CW_ERR_LENGTH);
    /* Room: beside the old values now, and the reserve afterwards. */
    const struct nvm_usage usage = nvm_usage(&nvm);
    assert_true(usage.capacity - usage.live > 2 * RECORD + NVM_GROUP_BYTES + NVM_RESERVE);
    assert_int_equal(nvm_change_all(&nvm, large, 2), CW_OK);
    flash = start;
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(look(&nvm), OLD);
    assert_memory_equal(&flash, &start, sizeof flash);
    for (uint16_t key = 0x600; nvm_write(&nvm, key, value, 800) == CW_OK;)
        key++;
    for (uint16_t key = 0x700; nvm_usage(&nvm).capacity - nvm_usage(&nvm).live > 1500; key++)
        assert_int_equal(nvm_write(&nvm, key, value, 8), CW_OK);
    start = flash;
    assert_int_equal(roll_over(&nvm), CW_ERR_SPACE);
    assert_int_equal(nvm_change_all(&nvm, large, 1), CW_ERR_SPACE);
    assert_memory_equal(&flash, &start, sizeof flash);
    assert_int_equal(look(&nvm), OLD);
    assert_int_equal(nvm_change_all(&nvm, many, NVM_GROUP_MAX), CW_OK); /* small: the reserve's */
}

static void test_a_group_of_too_many_values(void **state)
{
    static struct lab_flash flash;
    struct card_flash ops = lab_flash_ops(&flash);
    const struct nvm_change two[] = {{.key = 1, .remove = true}, {.key = 1000}};
    const struct nvm_change known[] = {{.key = 2, .data = "new", .len = 3}, {.key = 3}};
    struct nvm nvm;
    (void)state;
    lab_flash_init(&flash);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    for (uint16_t k = 1; k <= NVM_VALUES_MAX; k++)
        assert_int_equal(nvm_write(&nvm, k, &k, 2), CW_OK);
    assert_int_equal(nvm_change_all(&nvm, two, 2), CW_ERR_SPACE);
    assert_int_equal(nvm_change_all(&nvm, known, 2), CW_OK);
    assert_int_equal(nvm_remove(&nvm, NVM_VALUES_MAX), CW_OK);
    assert_int_equal(nvm_change_all(&nvm, two, 2), CW_OK);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    assert_int_equal(nvm.count, NVM_VALUES_MAX - 1);
}

/* Power fails at every byte of a group: with room for it in the bank, and where a move goes before
 * it. After that the state is the old one or the new one, and the group can be made again. */
static void test_power_cut_at_every_byte_of_a_group(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    for (unsigned fillers = 0; fillers <= 13; fillers += 13) {
        unsigned old = 0, new = 0;
        before(&flash, &ops, &nvm, fillers);
        start = flash;
        for (enum cw_err err = CW_ERR_IO; err != CW_OK;) {
            flash = start;
            assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
            flash.budget = old + new;
            err = roll_over(&nvm);
            power_back(&flash, &nvm, &ops);
            enum seen seen = look(&nvm);
            assert_true(seen == NEW || (seen == OLD && err != CW_OK));
            *(seen == NEW ? &new : &old) += 1;
            if ((old + new) % 8 != 0 && err != CW_OK)
                continue;
            assert_int_equal(nvm_write(&nvm, FILLER, "after", 5), CW_OK);
            assert_int_equal(look(&nvm), seen);
            assert_int_equal(roll_over(&nvm), CW_OK);
            assert_int_equal(look(&nvm), NEW);
        }
        print_message("%s a move: %u power cuts, %u times the old state, %u times the new one\n",
                      fillers == 0 ? "without" : "with", old + new, old, new);
        assert_true(old > 1500 && new > 7);
    }
}

/* And again while the store recovers from the first cut. */
static void test_power_cut_twice(void **state)
{
    static struct lab_flash start, once, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    unsigned cuts = 0;
    (void)state;
    before(&flash, &ops, &nvm, 13);
    start = flash;
    for (long first = 0; first < 24000; first += 211) {
        flash = start;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        flash.budget = first;
        (void)roll_over(&nvm);
        flash.dead = false;
        once = flash;
        bool done = false;
        for (long second = 0; !done; second += 307) {
            flash = once;
            flash.budget = second;
            done = nvm_mount(&nvm, &ops) == CW_OK && roll_over(&nvm) == CW_OK;
            power_back(&flash, &nvm, &ops);
            enum seen seen = look(&nvm);
            assert_true(seen == NEW || (seen == OLD && !done));
            cuts++;
        }
    }
    print_message("%u pairs of power cuts\n", cuts);
    assert_true(cuts > 3000);
}

/* One bit changes, at every byte of flash, of a whole group and of torn ones: never a state between
 * the two; of a whole group never the old one. */
static void test_a_changed_bit_never_splits_a_group(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    (void)state;
    for (long cut = -1; cut < 1600; cut += 510) {
        unsigned refused = 0, old = 0, new = 0;
        before(&flash, &ops, &nvm, 0);
        flash.budget = cut;
        assert_int_equal(roll_over(&nvm), cut < 0 ? CW_OK : CW_ERR_IO);
        flash.dead = false;
        flash.budget = -1;
        start = flash;
        for (size_t at = cut < 0 ? 0 : nvm.bank * BANK; at < sizeof flash.bytes; at++) {
            flash = start;
            flash.bytes[at] ^= (uint8_t)(1u << (at % 8));
            if (nvm_mount(&nvm, &ops) != CW_OK) {
                refused++;
                continue;
            }
            enum seen seen = look(&nvm);
            assert_int_equal(seen, cut < 0 ? NEW : OLD);
            *(seen == NEW ? &new : &old) += 1;
        }
        if (cut < 0)
            print_message("whole group: %u changed bits refused, %u without effect\n", refused,
                          new);
        assert_true(refused > (cut < 0 ? 3000 : 1500) && old + new > 1000);
    }
}

/* One read fails, at every read of a group that comes after a move. */
static void test_a_failed_read_never_splits_a_group(void **state)
{
    static struct lab_flash start, flash;
    struct card_flash ops = lab_flash_ops(&flash);
    struct nvm nvm;
    unsigned failed = 0;
    unsigned again = 0;
    (void)state;
    before(&flash, &ops, &nvm, 13);
    start = flash;
    for (long k = 0;; k++) {
        flash = start;
        assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
        flash.fail_read = k;
        enum cw_err err = roll_over(&nvm);
        if (flash.fail_read >= 0)
            break;
        failed++;
        /* What a record is, once it is there, is read again where that failed. */
        again += err == CW_OK;
        assert_true(err == CW_ERR_IO || (err == CW_OK && look(&nvm) == NEW));
        enum cw_err next = nvm_write(&nvm, FILLER, "after", 5);
        assert_true(next == CW_ERR_IO || look(&nvm) == (err == CW_OK ? NEW : OLD));
        power_back(&flash, &nvm, &ops);
        enum seen seen = look(&nvm);
        assert_true(err == CW_OK ? seen == NEW : seen == OLD || (seen == NEW && next == CW_ERR_IO));
    }
    print_message("%u reads failed, one at a time\n", failed);
    assert_true(failed > 100 && again < failed / 4);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_is_made_as_a_whole),
        cmocka_unit_test(test_a_group_that_cannot_be),
        cmocka_unit_test(test_a_group_of_too_many_values),
        cmocka_unit_test(test_power_cut_at_every_byte_of_a_group),
        cmocka_unit_test(test_power_cut_twice),
        cmocka_unit_test(test_a_changed_bit_never_splits_a_group),
        cmocka_unit_test(test_a_failed_read_never_splits_a_group),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
