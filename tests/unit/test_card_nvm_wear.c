/* test_card_nvm_wear.c - what the store asks of its flash: wear, the most that one write does, the
 * room that stays free, and reads or writes that fail once. The flash here is a chip's with ECC, of
 * the size that the Linux port has: words of 8 bytes, each programmed once between two erasures. */
#include "unit.h"

#include "card/nvm.h"

#include <string.h>

#define PAGE      2048u
#define PAGES     32u
#define SIZE      (PAGE * PAGES)
#define BANK      (SIZE / 2)
#define COUNTER   1u  /* the value that is written again and again */
#define SMALL     2u  /* first of twelve small values, of NVM_SMALL_MAX bytes */
#define OBJECT    32u /* first of the large ones */
#define RECORD    24u /* bytes of a record besides its value */
#define NO_FAULT  (-1L)
#define ENDURANCE 10000u /* erasures that a page of a plain microcontroller stands */

struct chip {
    uint8_t bytes[SIZE];
    uint32_t erased[PAGES];
    uint64_t programmed;
    uint32_t erasures;
    long fail_work;   /* programs and erasures until one fails half way, once */
    long glitch_read; /* reads until one gives a wrong bit, once */
};

static enum cw_err chip_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    struct chip *c = ctx;
    assert_true(offset <= SIZE && len <= SIZE - offset);
    memcpy(data, c->bytes + offset, len);
    if (c->glitch_read >= 0 && len > 0 && c->glitch_read-- == 0)
        ((uint8_t *)data)[len / 2] ^= 0x04;
    return CW_OK;
}

static enum cw_err chip_program(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
    struct chip *c = ctx;
    bool fails = c->fail_work >= 0 && c->fail_work-- == 0;
    assert_true(len > 0 && len % NVM_WORD == 0 && offset % NVM_WORD == 0);
    assert_true(offset <= SIZE && len <= SIZE - offset);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(c->bytes[offset + i], 0xFF);
    if (fails)
        len = len / 2 / NVM_WORD * NVM_WORD;
    memcpy(c->bytes + offset, data, len);
    c->programmed += len;
    return fails ? CW_ERR_IO : CW_OK;
}

static enum cw_err chip_erase(void *ctx, uint32_t page)
{
    struct chip *c = ctx;
    bool fails = c->fail_work >= 0 && c->fail_work-- == 0;
    assert_true(page < PAGES);
    memset(c->bytes + page * PAGE, 0xFF, fails ? PAGE / 2 : PAGE);
    c->erased[page]++;
    c->erasures++;
    return fails ? CW_ERR_IO : CW_OK;
}

static struct card_flash chip_init(struct chip *c)
{
    memset(c, 0, sizeof *c);
    memset(c->bytes, 0xFF, sizeof c->bytes);
    c->fail_work = c->glitch_read = NO_FAULT;
    return (struct card_flash){.ctx = c,
                               .page_size = PAGE,
                               .page_count = PAGES,
                               .read = chip_read,
                               .program = chip_program,
                               .erase = chip_erase};
}

static uint32_t room(const struct nvm *nvm)
{
    struct nvm_usage usage = nvm_usage(nvm);
    assert_true(usage.live <= usage.capacity && usage.log <= usage.capacity);
    return usage.capacity - usage.live;
}

/* A write that must be refused, and must not touch one byte. */
static void refused(struct chip *c, struct nvm *nvm, uint16_t key, size_t len)
{
    static struct chip before;
    static const uint8_t value[NVM_VALUE_MAX];
    before = *c;
    assert_int_equal(nvm_write(nvm, key, value, len), CW_ERR_SPACE);
    assert_memory_equal(&before, c, sizeof before);
}

/* What a card may hold: the counter, a dozen small values (made as a group), four RSA keys, eight
 * certificates, two roots, and the data objects of another application. */
static void fill_usual(struct nvm *nvm)
{
    static const struct {
        uint16_t count, len;
    } kinds[] = {{4, 1230}, {8, 800}, {2, 700}, {4, 90}, {12, 250}, {18, 40}};
    static const uint8_t value[NVM_VALUE_MAX] = {0xAB};
    struct nvm_change small[NVM_GROUP_MAX];
    uint16_t key = OBJECT;
    assert_int_equal(nvm_write(nvm, COUNTER, value, 4), CW_OK);
    for (uint16_t i = 0; i < NVM_GROUP_MAX; i++)
        small[i] =
            (struct nvm_change){.key = (uint16_t)(SMALL + i), .data = value, .len = NVM_SMALL_MAX};
    assert_int_equal(nvm_change_all(nvm, small, NVM_GROUP_MAX), CW_OK);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        for (uint16_t i = 0; i < kinds[k].count; i++)
            assert_int_equal(nvm_write(nvm, key++, value, kinds[k].len), CW_OK);
}

/* As full as large values can make it, to the byte: NVM_RESERVE is left. */
static void fill_large(struct chip *c, struct nvm *nvm)
{
    static const uint8_t value[NVM_VALUE_MAX] = {0xCD};
    uint16_t key = OBJECT;
    assert_int_equal(nvm_write(nvm, COUNTER, value, 4), CW_OK);
    for (uint16_t i = 0; i < NVM_GROUP_MAX; i++)
        assert_int_equal(nvm_write(nvm, (uint16_t)(SMALL + i), value, NVM_SMALL_MAX), CW_OK);
    while (nvm_write(nvm, key, value, NVM_VALUE_MAX) == CW_OK)
        key++;
    uint32_t last = room(nvm) - NVM_RESERVE - RECORD;
    assert_in_range(last, NVM_SMALL_MAX + 1, NVM_VALUE_MAX - 1);
    refused(c, nvm, key, last + 1);
    assert_int_equal(nvm_write(nvm, key, value, last), CW_OK);
    assert_int_equal(room(nvm), NVM_RESERVE);
}

/* And then small ones, down to NVM_SPARE. Returns how many there was room for. */
static unsigned fill_small(struct nvm *nvm)
{
    unsigned n = 0;
    while (nvm_write(nvm, (uint16_t)(1000 + n), "8 bytes.", 8) == CW_OK)
        n++;
    return n;
}

/* `writes` new values for the counter; holds every one of them to the bounds of nvm.h. */
static void wear(const char *what, struct chip *c, struct nvm *nvm, uint32_t writes)
{
    uint64_t most = 0, total = c->programmed;
    uint32_t erasures = 0, least = UINT32_MAX, greatest = 0;
    const uint32_t live = nvm_usage(nvm).live;
    memset(c->erased, 0, sizeof c->erased);
    for (uint32_t v = 0; v < writes; v++) {
        uint64_t programmed = c->programmed;
        uint32_t erased = c->erasures;
        assert_int_equal(nvm_write(nvm, COUNTER, &v, 4), CW_OK);
        most = c->programmed - programmed > most ? c->programmed - programmed : most;
        erasures = c->erasures - erased > erasures ? c->erasures - erased : erasures;
    }
    for (uint32_t p = 0; p < PAGES; p++) {
        least = c->erased[p] < least ? c->erased[p] : least;
        greatest = c->erased[p] > greatest ? c->erased[p] : greatest;
    }
    print_message("%s: %u bytes in %u values live, %u free; %u writes of a counter: a page erased "
                  "%u to %u times, %u writes until %u erasures; %.1f bytes programmed for a record "
                  "of 32; at most %u bytes and %u pages in one write\n",
                  what, live, nvm->count, room(nvm), writes, least, greatest,
                  (uint32_t)((uint64_t)ENDURANCE * writes / greatest), ENDURANCE,
                  (double)(c->programmed - total) / writes, (uint32_t)most, erasures);
    assert_true(greatest - least <= 1);
    assert_true(most <= BANK && erasures == PAGES / 2);
    /* A move for as many records as are free, at most; each erases half of the pages. */
    assert_true(greatest <= writes / (2 * (room(nvm) / 32)) + 1);
}

static void test_wear_of_a_card_in_use(void **state)
{
    static struct chip chip;
    struct card_flash flash = chip_init(&chip);
    struct nvm nvm;
    (void)state;
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    fill_usual(&nvm);
    wear("in use", &chip, &nvm, 100000);
}

static void test_wear_of_a_card_that_is_full(void **state)
{
    static struct chip chip;
    struct card_flash flash = chip_init(&chip);
    struct nvm nvm;
    (void)state;
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    fill_large(&chip, &nvm);
    wear("full", &chip, &nvm, 50000);
    (void)fill_small(&nvm);
    assert_in_range(room(&nvm), NVM_SPARE, NVM_SPARE + 31);
    wear("full to the spare bytes", &chip, &nvm, 50000);
}

/* The most that nvm.h permits, met to the byte: a full bank is moved, and what is written takes all
 * that is left. After a move that failed half way, the next one has both banks to erase. */
static void test_the_most_that_one_write_does(void **state)
{
    static struct chip chip;
    static const uint8_t value[NVM_VALUE_MAX];
    struct card_flash flash = chip_init(&chip);
    struct nvm nvm;
    (void)state;
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    fill_large(&chip, &nvm);
    assert_int_equal(nvm_write(&nvm, COUNTER, "once", 4), CW_OK); /* now it must move */
    const size_t len = room(&nvm) - RECORD;
    uint64_t programmed = chip.programmed;
    uint32_t erasures = chip.erasures;
    assert_int_equal(nvm_write(&nvm, OBJECT, value, len), CW_OK);
    assert_int_equal(chip.programmed - programmed, BANK);
    assert_int_equal(chip.erasures - erasures, PAGES / 2);

    chip.fail_work = 30; /* the bank is full: the next write moves as well */
    assert_int_equal(nvm_write(&nvm, COUNTER, "torn", 4), CW_ERR_IO);
    chip.fail_work = NO_FAULT;
    programmed = chip.programmed;
    erasures = chip.erasures;
    assert_int_equal(nvm_write(&nvm, COUNTER, "last", 4), CW_OK);
    assert_in_range(chip.programmed - programmed, BANK / 2, BANK);
    assert_int_equal(chip.erasures - erasures, PAGES);
}

static void test_large_values_leave_the_reserve(void **state)
{
    static struct chip chip;
    static const uint8_t value[NVM_VALUE_MAX];
    const uint16_t other = 500;
    struct card_flash flash = chip_init(&chip);
    struct nvm nvm;
    (void)state;
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    assert_int_equal(nvm_write(&nvm, other, value, 96), CW_OK);
    fill_large(&chip, &nvm);
    refused(&chip, &nvm, 2000, NVM_SMALL_MAX + 1);  /* a new one */
    refused(&chip, &nvm, SMALL, NVM_SMALL_MAX + 1); /* one that was small */
    refused(&chip, &nvm, OBJECT, NVM_VALUE_MAX);    /* its size, but no room beside the old one */
    const size_t n = room(&nvm) - RECORD;
    for (int i = 0; i < 50; i++) /* in this size, for ever */
        assert_int_equal(nvm_write(&nvm, OBJECT, value, n), CW_OK);
    /* What one gave up, another may take: to the byte. */
    const size_t gave = NVM_VALUE_MAX - n;
    assert_int_equal(room(&nvm), NVM_RESERVE + gave);
    refused(&chip, &nvm, other, 96 + gave + 1);
    assert_int_equal(nvm_write(&nvm, other, value, 96 + gave), CW_OK);
    assert_int_equal(room(&nvm), NVM_RESERVE);
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    assert_int_equal(room(&nvm), NVM_RESERVE);
}

static void test_small_values_find_room_in_the_reserve(void **state)
{
    static struct chip chip;
    static uint8_t value[NVM_SMALL_MAX], large[NVM_SPARE - RECORD];
    const uint16_t ledger = 500;
    struct card_flash flash = chip_init(&chip);
    struct nvm nvm;
    struct nvm_change all[NVM_GROUP_MAX];
    (void)state;
    assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
    assert_int_equal(nvm_write(&nvm, ledger, large, sizeof large), CW_OK);
    fill_large(&chip, &nvm);
    assert_int_equal(fill_small(&nvm), (NVM_RESERVE - NVM_SPARE) / 32);
    assert_int_equal(room(&nvm), NVM_SPARE);
    refused(&chip, &nvm, 2000, 0);
    refused(&chip, &nvm, 1000, 9); /* a word more than it has */
    /* What is there and fits into the spare bytes never fails: one by one, in a group, removed. */
    for (uint16_t i = 0; i < NVM_GROUP_MAX; i++)
        all[i] =
            (struct nvm_change){.key = (uint16_t)(SMALL + i), .data = value, .len = NVM_SMALL_MAX};
    for (unsigned i = 0; i < 500; i++) {
        value[0] = (uint8_t)i;
        assert_int_equal(nvm_write(&nvm, (uint16_t)(1000 + i % 24), value, 8), CW_OK);
        assert_int_equal(nvm_write(&nvm, COUNTER, value, 4), CW_OK);
        assert_int_equal(nvm_change_all(&nvm, all, NVM_GROUP_MAX), CW_OK);
        assert_int_equal(nvm_write(&nvm, ledger, large, sizeof large), CW_OK);
    }
    assert_int_equal(room(&nvm), NVM_SPARE);
    assert_int_equal(nvm_remove(&nvm, 1000), CW_OK);
    assert_int_equal(nvm_write(&nvm, 2000, value, 8), CW_OK);
    refused(&chip, &nvm, 1000, 1);
    for (uint16_t i = 0; i < NVM_GROUP_MAX; i++)
        assert_int_equal(nvm_remove(&nvm, (uint16_t)(SMALL + i)), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1000, value, NVM_SMALL_MAX), CW_OK);
}

/* The counter is `v`, and everything else is as fill_usual left it. */
static void check(const struct nvm *nvm, uint32_t v)
{
    uint8_t value[NVM_VALUE_MAX];
    uint32_t got = 0, sum = 0;
    assert_int_equal(nvm_read_exact(nvm, COUNTER, &got, 4), CW_OK);
    assert_int_equal(got, v);
    for (uint16_t i = 0; i < nvm->count; i++) {
        const struct nvm_entry *e = &nvm->entries[i];
        sum += e->key;
        assert_int_equal(nvm_read_exact(nvm, e->key, value, e->len), CW_OK);
        if (e->key != COUNTER)
            assert_int_equal(value[0], 0xAB);
        for (uint16_t k = 4; k < e->len; k++)
            assert_int_equal(value[k], 0);
    }
    assert_int_equal(nvm->count, 61);
    assert_int_equal(sum, COUNTER + 12 * SMALL + 66 + 48 * OBJECT + 48 * 47 / 2);
}

static bool is_live(const struct chip *c, unsigned bank)
{
    return memcmp(c->bytes + bank * BANK, "CWNV", 4) == 0;
}

/* A store in use, one write before it moves; the counter is 7. */
static struct card_flash before_a_move(struct chip *c, struct nvm *nvm)
{
    const uint32_t seven = 7;
    struct card_flash flash = chip_init(c);
    assert_int_equal(nvm_mount(nvm, &flash), CW_OK);
    fill_usual(nvm);
    do
        assert_int_equal(nvm_write(nvm, COUNTER, &seven, 4), CW_OK);
    while (nvm_usage(nvm).log + 32 <= nvm_usage(nvm).capacity);
    return flash;
}

/* One program or erasure fails half way, each of those of a move in turn; the power stays. Whatever
 * the store says then, it works on from all of the values or from none, and no old bank is left
 * that a damaged new one could make live again. */
static void test_one_failure_in_a_move(void **state)
{
    static struct chip start, chip;
    struct nvm kept, nvm;
    struct card_flash flash = before_a_move(&start, &kept);
    unsigned stopped = 0, went_on = 0;
    (void)state;
    flash.ctx = &chip;
    for (long k = 0;; k++) {
        uint32_t last = 7, torn = 7, got = 0;
        chip = start;
        nvm = kept;
        nvm.flash = &flash;
        chip.fail_work = k;
        for (uint32_t v = 8; v < 12; v++) {
            const bool pending = chip.fail_work >= 0;
            if (nvm_write(&nvm, COUNTER, &v, 4) == CW_OK) {
                assert_true(is_live(&chip, 0) != is_live(&chip, 1));
                last = torn = v;
            } else if (pending) {
                torn = v;
            }
        }
        if (chip.fail_work >= 0)
            break;
        enum cw_err err = nvm_read_exact(&nvm, COUNTER, &got, 4);
        assert_int_equal(err, last == 7 ? CW_ERR_IO : CW_OK);
        *(last == 7 ? &stopped : &went_on) += 1;
        assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
        assert_int_equal(nvm_read_exact(&nvm, COUNTER, &got, 4), CW_OK);
        assert_true(got == last || got == torn);
        assert_int_equal(nvm_write(&nvm, COUNTER, &(uint32_t){99}, 4), CW_OK);
        check(&nvm, 99);
    }
    print_message("one failure: %u times nothing works until the next power, %u times it goes on\n",
                  stopped, went_on);
    assert_true(stopped > 10 && went_on > 100);
}

/* A bit that is read wrongly once, at each read of a group's write that moves the store and of the
 * mount after it: no value takes it over, neither in flash nor in what the index says. */
static void test_one_wrong_read(void **state)
{
    static struct chip start, chip;
    static const uint8_t value[NVM_SMALL_MAX] = {0xAB};
    const uint32_t eight = 8;
    const struct nvm_change group[] = {
        {.key = SMALL + 3, .data = value, .len = sizeof value},
        {.key = COUNTER, .data = &eight, .len = 4},
        {.key = SMALL, .data = value, .len = sizeof value},
    };
    struct nvm kept, nvm;
    struct card_flash flash = before_a_move(&start, &kept);
    unsigned stopped = 0, went_on = 0;
    (void)state;
    flash.ctx = &chip;
    for (bool done = false; !done;) {
        uint32_t got = 0;
        chip = start;
        nvm = kept;
        nvm.flash = &flash;
        chip.glitch_read = stopped + went_on;
        const enum cw_err written = nvm_change_all(&nvm, group, 3);
        enum cw_err err = written;
        if (err == CW_OK && chip.glitch_read >= 0)
            err = nvm_mount(&nvm, &flash);
        done = chip.glitch_read >= 0;
        chip.glitch_read = NO_FAULT;
        *(err == CW_OK ? &went_on : &stopped) += 1;
        if (err == CW_OK)
            check(&nvm, 8);
        else
            assert_int_equal(nvm_read_exact(&nvm, COUNTER, &got, 4), CW_ERR_IO);
        assert_int_equal(nvm_mount(&nvm, &flash), CW_OK);
        if (written != CW_OK)
            assert_int_equal(nvm_read_exact(&nvm, COUNTER, &got, 4), CW_OK);
        check(&nvm, got == 7 ? 7 : 8);
    }
    print_message("one wrong read: %u times nothing works until the next power, %u times it has no "
                  "effect\n",
                  stopped, went_on);
    assert_true(stopped > 100 && went_on > 10);
}

/* A value that changed in flash after the mount does not get a CRC of its own by being moved. */
static void test_damage_is_not_moved(void **state)
{
    static struct chip start, chip;
    struct nvm kept, nvm;
    struct card_flash flash = before_a_move(&start, &kept);
    (void)state;
    flash.ctx = &chip;
    for (uint16_t i = 0; i < kept.count; i++) {
        chip = start;
        nvm = kept;
        nvm.flash = &flash;
        chip.bytes[kept.entries[i].offset] ^= 0x10;
        assert_int_equal(nvm_write(&nvm, COUNTER, &(uint32_t){8}, 4), CW_ERR_IO);
        assert_int_equal(nvm_mount(&nvm, &flash), CW_ERR_FORMAT);
        assert_int_equal(nvm.fault, NVM_FAULT_RECORD);
        /* The record that it is in; a group has up to twelve values. */
        const uint32_t at = kept.entries[i].offset - RECORD;
        assert_in_range(nvm.fault_at, at - NVM_GROUP_MAX * (NVM_SMALL_MAX + 6), at);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wear_of_a_card_in_use),
        cmocka_unit_test(test_wear_of_a_card_that_is_full),
        cmocka_unit_test(test_the_most_that_one_write_does),
        cmocka_unit_test(test_large_values_leave_the_reserve),
        cmocka_unit_test(test_small_values_find_room_in_the_reserve),
        cmocka_unit_test(test_one_failure_in_a_move),
        cmocka_unit_test(test_one_wrong_read),
        cmocka_unit_test(test_damage_is_not_moved),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
