/* test_reader_inproc.c - the card in this process and its memory in a folder: made, kept, locked,
 * and refused when damaged. */
#include "unit.h"

#include "card/ports/linux/port.h"
#include "terminal/applet.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
    char dir[256], uri[300], flash[300], id[300];
};

static int make_place(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    const char *tmp = getenv("TMPDIR");
    if (p == NULL)
        return -1;
    snprintf(p->dir, sizeof p->dir, "%s/cardwire-unit.XXXXXX", tmp != NULL ? tmp : P_tmpdir);
    if (mkdtemp(p->dir) == NULL || setenv("CARDWIRE_CARD_NOSYNC", "1", 1) != 0)
        return -1;
    snprintf(p->uri, sizeof p->uri, "inproc:%s", p->dir);
    snprintf(p->flash, sizeof p->flash, "%s/flash.bin", p->dir);
    snprintf(p->id, sizeof p->id, "%s/id", p->dir);
    *state = p;
    return 0;
}

static int drop_place(void **state)
{
    struct place *p = *state;
    (void)unlink(p->flash);
    (void)unlink(p->id);
    (void)rmdir(p->dir);
    free(p);
    return 0;
}

static void test_card_keeps_its_identity(void **state)
{
    const struct place *p = *state;
    struct reader *r = NULL;
    struct applet_info first, second;
    struct say why;
    assert_int_equal(reader_open(p->uri, &r, &why), CW_OK);
    assert_int_equal(applet_select(r, &why), CW_OK);
    assert_int_equal(applet_info_get(r, &first, &why), CW_OK);
    assert_int_equal(first.life, LINK_LIFE_BLANK);
    assert_int_equal(reader_stats(r).apdus, 2);
    assert_int_equal(reader_reset(r, &why), CW_OK);
    /* After a reset the application is not selected any more. */
    assert_int_not_equal(applet_info_get(r, &second, &why), CW_OK);
    reader_free(&r);
    assert_null(r);
    assert_int_equal(reader_open(p->uri, &r, &why), CW_OK);
    assert_int_equal(applet_select(r, &why), CW_OK);
    assert_int_equal(applet_info_get(r, &second, &why), CW_OK);
    assert_memory_equal(first.serial, second.serial, sizeof first.serial);
    reader_free(&r);
}

static void test_the_field_is_the_reader_s(void **state)
{
    const struct place *p = *state;
    char uri[320];
    struct reader *r = NULL;
    struct applet_info info;
    struct say why;
    size_t contact = 0, contactless = 0;
    assert_int_equal(reader_open(p->uri, &r, &why), CW_OK);
    (void)reader_atr(r, &contact);
    assert_int_equal(applet_select(r, &why), CW_OK);
    assert_int_equal(applet_info_get(r, &info, &why), CW_OK);
    assert_false(info.contactless);
    reader_free(&r);
    snprintf(uri, sizeof uri, "inproc-contactless:%s", p->dir);
    assert_int_equal(reader_open(uri, &r, &why), CW_OK);
    assert_string_equal(reader_name(r), uri);
    const uint8_t *atr = reader_atr(r, &contactless);
    assert_int_equal(atr[1] & 0xF0, 0x80); /* PC/SC part 3 §3.1.3.2.3.1 */
    assert_int_not_equal(contact, contactless);
    assert_int_equal(applet_select(r, &why), CW_OK);
    assert_int_equal(applet_info_get(r, &info, &why), CW_OK);
    assert_true(info.contactless);
    reader_free(&r);
}

static void test_card_is_locked(void **state)
{
    const struct place *p = *state;
    struct card_linux *first = NULL, *second = NULL;
    struct say why;
    assert_int_equal(card_linux_open(p->dir, false, &first, &why), CW_OK);
    assert_int_equal(card_linux_open(p->dir, false, &second, &why), CW_ERR_BUSY);
    assert_null(second);
    assert_non_null(strstr(why.text, p->dir));
    card_linux_close(&first);
    assert_int_equal(card_linux_open(p->dir, false, &second, &why), CW_OK);
    card_linux_close(&second);
}

static void test_flash_is_nor(void **state)
{
    const struct place *p = *state;
    struct card_linux *c = NULL;
    struct say why;
    uint8_t cells[4] = {0};
    assert_int_equal(card_linux_open(p->dir, false, &c, &why), CW_OK);
    const struct card_flash *f = &card_linux_port(c)->flash;
    assert_int_equal(f->program(f->ctx, 10, "\xF0\x0F", 2), CW_OK);
    assert_int_equal(f->program(f->ctx, 10, "\x33\x33", 2), CW_OK);
    assert_int_equal(f->read(f->ctx, 9, cells, 4), CW_OK);
    assert_memory_equal(cells, "\xFF\x30\x03\xFF", 4);
    assert_int_equal(f->erase(f->ctx, 0), CW_OK);
    assert_int_equal(f->read(f->ctx, 9, cells, 4), CW_OK);
    assert_memory_equal(cells, "\xFF\xFF\xFF\xFF", 4);
    assert_int_equal(f->erase(f->ctx, f->page_count), CW_ERR_IO);
    assert_int_equal(f->program(f->ctx, f->page_size * f->page_count - 1, "xx", 2), CW_ERR_IO);
    card_linux_close(&c);
}

static void test_damaged_memory_is_refused(void **state)
{
    const struct place *p = *state;
    struct card_linux *c = NULL;
    struct say why;
    assert_int_equal(card_linux_open(p->dir, false, &c, &why), CW_OK);
    card_linux_close(&c);
    assert_int_equal(truncate(p->flash, 100), 0);
    assert_int_equal(card_linux_open(p->dir, false, &c, &why), CW_ERR_FORMAT);
    assert_int_equal(unlink(p->flash), 0);
    assert_int_equal(card_linux_open(p->dir, false, &c, &why), CW_OK); /* a new, blank card */
    card_linux_close(&c);
    assert_int_equal(truncate(p->id, 3), 0);
    assert_int_equal(card_linux_open(p->dir, false, &c, &why), CW_ERR_FORMAT);
}

static void test_reader_uri(void **state)
{
    static const char *const bad[] = {
        "", "inproc:", "pcsc:", "inproc-contactless:", "serial:x", "INPROC:x", "pcscx"};
    struct reader *r = NULL;
    struct say why;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(reader_open(bad[i], &r, &why), CW_ERR_ARG);
    assert_null(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_card_keeps_its_identity, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_the_field_is_the_reader_s, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_card_is_locked, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_flash_is_nor, make_place, drop_place),
        cmocka_unit_test_setup_teardown(test_damaged_memory_is_refused, make_place, drop_place),
        cmocka_unit_test(test_reader_uri),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
