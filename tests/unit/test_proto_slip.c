/* SLIP (RFC 1055): what is written is read, and what is broken is said to be. */
#include "proto/slip.h"

#include "unit.h"

#include <string.h>

#define CAP 256u

struct line {
    struct slip slip;
    uint8_t frame[CAP];
    unsigned frames, broken;
};

static void say(struct line *l, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (slip_byte(&l->slip, bytes[i])) {
            l->frames++;
            l->broken += l->slip.broken;
        }
}

static void start(struct line *l, size_t cap)
{
    memset(l, 0, sizeof *l);
    slip_start(&l->slip, l->frame, cap);
}

static void test_bytes_of_the_rfc(void **state)
{
    static const uint8_t frame[] = {0x01, 0xC0, 0xDB, 0xDC, 0xDD};
    static const uint8_t sent[] = {0xC0, 0x01, 0xDB, 0xDC, 0xDB, 0xDD, 0xDC, 0xDD, 0xC0};
    uint8_t out[SLIP_MAX(sizeof frame)];
    (void)state;
    assert_int_equal(slip_write(frame, sizeof frame, out), sizeof sent);
    assert_memory_equal(out, sent, sizeof sent);
}

static void test_every_length_comes_back(void **state)
{
    static struct line l;
    uint8_t frame[CAP], out[SLIP_MAX(CAP)];
    (void)state;
    start(&l, CAP);
    for (unsigned len = 1; len <= CAP; len++) {
        for (unsigned i = 0; i < len; i++)
            frame[i] = (uint8_t)(i * 7 + len * 0xC0);
        size_t n = slip_write(frame, len, out);
        assert_true(n <= SLIP_MAX(len));
        say(&l, out, n);
        assert_int_equal(l.frames, len);
        assert_int_equal(l.slip.len, len);
        assert_memory_equal(l.frame, frame, len);
        assert_false(slip_inside(&l.slip));
    }
    assert_int_equal(l.broken, 0);
}

static void test_worst_frame_fills_the_room(void **state)
{
    uint8_t frame[8], out[SLIP_MAX(sizeof frame)];
    (void)state;
    memset(frame, SLIP_END, sizeof frame);
    assert_int_equal(slip_write(frame, sizeof frame, out), sizeof out);
}

static void test_what_was_left_unfinished_ends_before_the_next(void **state)
{
    static const uint8_t cut[] = {0xC0, 0x11, 0x22}, whole[] = {0xC0, 0x33, 0xC0};
    static struct line l;
    (void)state;
    start(&l, CAP);
    say(&l, cut, sizeof cut);
    assert_true(slip_inside(&l.slip));
    say(&l, whole, 1);
    assert_int_equal(l.frames, 1); /* its CRC tells that it is none */
    assert_int_equal(l.slip.len, 2);
    say(&l, whole + 1, 2);
    assert_int_equal(l.frames, 2);
    assert_int_equal(l.slip.len, 1);
    assert_int_equal(l.frame[0], 0x33);
}

static void test_broken_frames_are_said_to_be(void **state)
{
    static const uint8_t wrong[] = {0x01, 0xDB, 0x02, 0xC0}, ends[] = {0xDB, 0xC0};
    static const uint8_t good[] = {0x05, 0xC0};
    static struct line l;
    (void)state;
    start(&l, CAP);
    say(&l, wrong, sizeof wrong);
    assert_int_equal(l.broken, 1);
    say(&l, ends, sizeof ends);
    assert_int_equal(l.broken, 2);
    say(&l, good, sizeof good);
    assert_int_equal(l.broken, 2);
    assert_int_equal(l.frames, 3);
}

static void test_too_long_is_broken_and_stays_in_its_room(void **state)
{
    static struct line l;
    uint8_t frame[9] = {0}, out[SLIP_MAX(9)];
    (void)state;
    start(&l, 8);
    l.frame[8] = 0xAA;
    say(&l, out, slip_write(frame, 8, out));
    assert_int_equal(l.broken, 0);
    say(&l, out, slip_write(frame, 9, out));
    assert_int_equal(l.broken, 1);
    assert_int_equal(l.slip.len, 8);
    assert_int_equal(l.frame[8], 0xAA);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_of_the_rfc),
        cmocka_unit_test(test_every_length_comes_back),
        cmocka_unit_test(test_worst_frame_fills_the_room),
        cmocka_unit_test(test_what_was_left_unfinished_ends_before_the_next),
        cmocka_unit_test(test_broken_frames_are_said_to_be),
        cmocka_unit_test(test_too_long_is_broken_and_stays_in_its_room),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
