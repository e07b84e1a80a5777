/* test_card_look.c - a card that runs in one program is looked at by another: what that sees is its
 * memory at one moment. The C library's pread is replaced here, so that the memory can change in
 * the middle of a read. */
#include "unit.h"

#include "card/nvm.h"
#include "card/ports/linux/port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLASH 65536u

/* While it is set, a read of the whole memory comes in two halves, and this happens between. */
static void (*between)(void);
static unsigned changes;

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    if (between == NULL || len != FLASH)
        return syscall(SYS_pread64, fd, buf, len, offset);
    ssize_t n = syscall(SYS_pread64, fd, buf, len / 2, offset);
    between();
    assert_int_equal(n, len / 2);
    n = syscall(SYS_pread64, fd, (char *)buf + len / 2, len / 2, offset + (off_t)len / 2);
    assert_int_equal(n, len / 2);
    return (ssize_t)len;
}

static char folder[256];
static struct card_linux *running;
static struct nvm nvm;

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/cardwire-unit.XXXXXX", tmp != NULL ? tmp : P_tmpdir);
    assert_non_null(mkdtemp(folder));
    setenv("CARDWIRE_CARD_NOSYNC", "1", 1);
    assert_int_equal(card_linux_open(folder, false, &running, NULL), CW_OK);
    assert_int_equal(nvm_mount(&nvm, &card_linux_port(running)->flash), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, "one", 3), CW_OK);
    changes = 0;
    return 0;
}

static int tear_down(void **state)
{
    char path[300];
    (void)state;
    between = NULL;
    card_linux_close(&running);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i ? "id" : "flash.bin");
        unlink(path);
    }
    rmdir(folder);
    return 0;
}

/* The values move to the other half, and the one that was live is erased. */
static void move_once(void)
{
    if (changes++ == 0)
        assert_int_equal(nvm_compact(&nvm), CW_OK);
}

static void write_always(void)
{
    changes++;
    assert_int_equal(nvm_write(&nvm, 1, &changes, sizeof changes), CW_OK);
}

static void test_what_is_seen_is_one_moment(void **state)
{
    struct card_linux *seen = NULL;
    struct nvm look;
    char one[3];
    bool in_use = false;
    (void)state;
    /* From bank 1 to bank 0: whoever reads bank 0, then 1, finds nothing in either. */
    assert_int_equal(nvm.bank, 1);
    between = move_once;
    assert_int_equal(card_linux_look(folder, &seen, &in_use, NULL), CW_OK);
    assert_int_equal(nvm.bank, 0);
    assert_true(changes > 1);
    assert_int_equal(nvm_look(&look, &card_linux_port(seen)->flash), CW_OK);
    assert_int_equal(look.generation, nvm.generation);
    assert_int_equal(nvm_read_exact(&look, 1, one, sizeof one), CW_OK);
    assert_memory_equal(one, "one", 3);
    card_linux_close(&seen);
}

static void test_what_is_seen_stays(void **state)
{
    struct card_linux *seen = NULL;
    struct nvm look;
    char one[3];
    bool in_use = false;
    (void)state;
    assert_int_equal(card_linux_look(folder, &seen, &in_use, NULL), CW_OK);
    assert_int_equal(nvm_write(&nvm, 1, "two", 3), CW_OK);
    assert_int_equal(nvm_compact(&nvm), CW_OK);
    assert_int_equal(nvm_look(&look, &card_linux_port(seen)->flash), CW_OK);
    assert_int_equal(nvm_read_exact(&look, 1, one, sizeof one), CW_OK);
    assert_memory_equal(one, "one", 3);
    card_linux_close(&seen);
}

static void test_a_memory_that_never_stands_still(void **state)
{
    struct card_linux *seen = NULL;
    struct say why = {""};
    bool in_use = false;
    (void)state;
    between = write_always;
    assert_int_equal(card_linux_look(folder, &seen, &in_use, &why), CW_ERR_BUSY);
    assert_null(seen);
    assert_non_null(strstr(why.text, folder));
}

static void test_a_look_sees_who_runs_the_card_and_locks_nothing(void **state)
{
    struct card_linux *seen = NULL;
    bool in_use = false;
    (void)state;
    assert_int_equal(card_linux_look(folder, &seen, &in_use, NULL), CW_OK);
    assert_true(in_use);
    card_linux_close(&running); /* and can be run again while the other still looks */
    assert_int_equal(card_linux_open(folder, false, &running, NULL), CW_OK);
    card_linux_close(&running);
    struct card_linux *second = NULL;
    assert_int_equal(card_linux_look(folder, &second, &in_use, NULL), CW_OK);
    assert_false(in_use);
    card_linux_close(&second);
    card_linux_close(&seen);
}

static void test_an_image_takes_no_writes(void **state)
{
    struct card_linux *seen = NULL;
    struct nvm image;
    uint8_t word[NVM_WORD] = {0};
    bool in_use = false;
    (void)state;
    assert_int_equal(card_linux_look(folder, &seen, &in_use, NULL), CW_OK);
    const struct card_flash *flash = &card_linux_port(seen)->flash;
    assert_int_equal(flash->read(flash->ctx, FLASH - NVM_WORD, word, sizeof word), CW_OK);
    assert_int_equal(flash->read(flash->ctx, FLASH - NVM_WORD + 1, word, sizeof word), CW_ERR_IO);
    assert_int_equal(flash->program(flash->ctx, FLASH - NVM_WORD, word, sizeof word), CW_ERR_IO);
    assert_int_equal(flash->erase(flash->ctx, 0), CW_ERR_IO);
    assert_int_equal(nvm_mount(&image, flash), CW_OK); /* nothing to repair */
    assert_int_equal(nvm_write(&image, 1, "two", 3), CW_ERR_IO);
    card_linux_close(&seen);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_seen_is_one_moment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_seen_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_memory_that_never_stands_still, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_look_sees_who_runs_the_card_and_locks_nothing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_image_takes_no_writes, set_up, tear_down),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
