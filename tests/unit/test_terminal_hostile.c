/* test_terminal_hostile.c - cards that mean harm to the terminal: the loop of the pump, over a real
 * socket, must end whatever the card answers. */
#include "unit.h"

#include "reader/backend.h"
#include "terminal/pump.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS_MAX 64u /* far more than a card may waste, far less than for ever */

struct hostile {
    uint8_t states[2]; /* answered in turn, without a byte behind them */
    unsigned turns;
};

static enum cw_err toggle(void *self, const uint8_t *command, size_t len, uint8_t *response,
                          size_t cap, size_t *response_len, struct say *why)
{
    struct hostile *h = self;
    (void)command;
    (void)len;
    (void)why;
    assert_true(++h->turns <= TURNS_MAX);
    assert_true(cap >= 3);
    response[0] = h->states[h->turns & 1];
    response[1] = SW_OK >> 8;
    response[2] = SW_OK & 0xFF;
    *response_len = 3;
    return CW_OK;
}

static enum cw_err no_reset(void *self, struct say *why)
{
    (void)self;
    (void)why;
    return CW_OK;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {toggle, no_reset, no_free};

/* Opens a line with such a card; then writes, reads and closes, if it got so far. */
static enum cw_err use(uint8_t even, uint8_t odd)
{
    struct hostile h = {.states = {even, odd}};
    struct reader_backend backend = {.ops = &ops, .self = &h};
    struct reader *reader;
    struct pump *pump = NULL;
    struct say why;
    uint8_t data[16];
    size_t n = 0;
    int fd[2];
    assert_int_equal(reader_new(&backend, &reader), CW_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    struct pump_config config = {
        .reader = reader, .fd = fd[0], .timeout_ms = 50, .cancel_fd = -1, .name = "a"};
    enum cw_err err = pump_open(&config, &pump, &why);
    if (err == CW_OK)
        err = pump_write(pump, (const uint8_t *)"hello", 5, &why);
    if (err == CW_OK)
        err = pump_read(pump, data, sizeof data, &n, &why);
    if (err == CW_OK)
        err = pump_close(pump, &why);
    pump_free(&pump);
    close(fd[0]);
    close(fd[1]);
    reader_free(&reader);
    return err;
}

static void test_changing_state_is_no_progress(void **state)
{
    (void)state;
    assert_int_equal(use(LINK_STATE_AGAIN, LINK_STATE_AGAIN | LINK_STATE_WANT_IN), CW_ERR_FORMAT);
}

/* All pairs of state bytes, PARTIAL aside (it wants two bytes more, and without them is an error of
 * its own). */
static void test_no_pair_of_states_spins(void **state)
{
    (void)state;
    for (unsigned even = 0; even < 256; even++)
        for (unsigned odd = 0; odd < 256; odd++) {
            bool busy = (even & odd & (LINK_STATE_AGAIN | LINK_STATE_OUT)) != 0;
            bool opens = ((even | odd) & LINK_STATE_OPEN) != 0;
            bool ends = ((even | odd) & (LINK_STATE_CLOSED | LINK_STATE_ERROR)) != 0;
            if (((even | odd) & LINK_STATE_PARTIAL) != 0 || !busy)
                continue; /* a card that is not busy only makes the terminal wait for the net */
            enum cw_err err = use((uint8_t)even, (uint8_t)odd);
            if (!opens && !ends)
                assert_int_equal(err, CW_ERR_FORMAT);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changing_state_is_no_progress),
        cmocka_unit_test(test_no_pair_of_states_spins),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
