/* ISO/IEC 14443-4 through a channel that does wrong: every exchange ends with its one right answer,
 * or in a new activation; never with a wrong answer, never with a command done twice. */
#include "tests/unit/unit.h"

#include "tests/unit/tcl_lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[FAULT_KINDS] = {"none",   "crc",   "noise",        "loss",
                                               "double", "delay", "wrong number", "cut"};
static const uint8_t ats_plain[] = {0x06, 0x78, 0x77, 0x80, 0x02, 0x80}; /* the card's */
static const uint8_t ats_small[] = {0x05, 0x70, 0x80, 0x41, 0x03};       /* FSC 16, NAD */
static const uint8_t ats_bare[] = {0x01};

struct scenario {
    const uint8_t *ats;
    size_t ats_len;
    struct tcl_reader_params params;
    unsigned waits, busy;
    struct {
        size_t nc, na;
    } exchanges[4];
};

static const struct scenario scenarios[] = {
    {ats_plain, sizeof ats_plain, {.fsdi = 8}, 0, 0, {{8, 8}, {20, 40}, {0, 0}, {9, 9}}},
    {ats_plain,
     sizeof ats_plain,
     {.fsdi = 8, .cid = 3, .dsi = 3, .dri = 2},
     2,
     0,
     {{8, 600}, {600, 8}, {600, 600}, {300, 10}}},
    {ats_plain, sizeof ats_plain, {.fsdi = 0}, 0, 1, {{30, 30}, {8, 60}, {8, 12}, {9, 9}}},
    {ats_small,
     sizeof ats_small,
     {.fsdi = 1, .cid = 14, .with_nad = true, .nad = 0x25},
     1,
     0,
     {{60, 60}, {8, 9}, {25, 70}, {0, 0}}},
    {ats_bare,
     sizeof ats_bare,
     {.fsdi = 2, .no_cid = true},
     0,
     0,
     {{80, 80}, {30, 8}, {8, 50}, {9, 9}}},
};

#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

static struct tcl_lab lab;

static void sums(const char *what)
{
    printf("%s: %" PRIu64 " exchanges, %" PRIu64 " frames; %" PRIu64 " completed, %" PRIu64
           " of them recovered; %" PRIu64 " new activations (%" PRIu64
           " of a card that had executed the command);",
           what, lab.counts.exchanges, lab.counts.frames, lab.counts.completed,
           lab.counts.recovered, lab.counts.resets, lab.counts.executed_then_reset);
    for (int i = 1; i < FAULT_KINDS; i++)
        printf(" %s %" PRIu64, names[i], lab.counts.faults[i]);
    printf("\n");
}

static void begin(const struct scenario *s, uint64_t seed)
{
    memcpy(lab.ats, s->ats, s->ats_len);
    lab.ats_len = s->ats_len;
    lab.params = s->params;
    lab.random = seed * 0x9E3779B97F4A7C15u + 1;
    lab.frame_no = 0;
    lab.rate = 0;
    lab.fault_at[0] = lab.fault_at[1] = UINT64_MAX;
}

/* The whole scenario, with what faults are planned; returns the resets of exchanges. *activated is
 * the number of frames of the first activation. */
static unsigned play(const struct scenario *s, uint64_t *activated, unsigned *all_resets)
{
    unsigned resets = 0;
    uint64_t before = lab.counts.resets;
    assert_true(tcl_lab_activate(&lab));
    if (activated != NULL)
        *activated = lab.frame_no;
    for (int i = 0; i < 4 && lab.wrong == NULL; i++) {
        lab.waits = s->exchanges[i].nc > 0 ? s->waits : 0;
        lab.busy = s->busy;
        if (!tcl_lab_exchange(&lab, s->exchanges[i].nc, s->exchanges[i].na)) {
            resets++;
            assert_true(tcl_lab_activate(&lab));
        }
    }
    tcl_lab_deselect(&lab); /* without an answer the card is ignored: rule 8 */
    if (all_resets != NULL)
        *all_resets = (unsigned)(lab.counts.resets - before);
    return resets;
}

static void check(const char *where, size_t scenario, uint64_t i, int kind, uint64_t j, int other)
{
    if (lab.wrong != NULL)
        fail_msg("%s: scenario %zu, frame %" PRIu64 " %s, frame %" PRIu64 " %s: %s", where,
                 scenario, i, names[kind], j, names[other], lab.wrong);
}

/* Each fault at each frame in turn. Once the card is activated all are mended but the wrong number.
 */
static void test_every_frame(void **state)
{
    (void)state;
    memset(&lab, 0, sizeof lab);
    unsigned faults = 0, number_resets = 0;
    for (size_t s = 0; s < SCENARIOS; s++) {
        uint64_t activated, total;
        begin(&scenarios[s], 1);
        assert_int_equal(play(&scenarios[s], &activated, NULL), 0);
        check("plain", s, 0, 0, 0, 0);
        total = lab.frame_no;
        for (uint64_t i = 0; i < total; i++) {
            for (int kind = 1; kind < FAULT_KINDS; kind++) {
                begin(&scenarios[s], i * 100 + (uint64_t)kind + 7);
                lab.fault_at[0] = i;
                lab.fault_kind[0] = (enum tcl_fault)kind;
                unsigned all, resets = play(&scenarios[s], NULL, &all);
                check("one", s, i, kind, 0, 0);
                faults++;
                if (kind == FAULT_NUMBER)
                    number_resets += resets;
                else if (resets > (i < activated ? 1u : 0u))
                    fail_msg("scenario %zu, frame %" PRIu64 " %s: not mended", s, i, names[kind]);
                assert_true(all <= 1);
            }
        }
    }
    printf("%u faults, one at a time; the wrong number ended %u times in a new activation\n",
           faults, number_resets);
    sums("every frame");
    assert_true(lab.counts.recovered > 0 && lab.counts.resets > 0);
}

/* Each pair of faults of the first 40 frames: right, or a new activation. */
static void test_every_pair(void **state)
{
    (void)state;
    memset(&lab, 0, sizeof lab);
    for (size_t s = 0; s < SCENARIOS; s++)
        for (uint64_t i = 0; i < 40; i++)
            for (uint64_t j = i + 1; j < i + 12; j++)
                for (int k = 1; k < FAULT_KINDS * FAULT_KINDS; k++) {
                    int kind = k / FAULT_KINDS, other = k % FAULT_KINDS;
                    if (kind == FAULT_NUMBER && other == FAULT_NUMBER)
                        continue; /* see tcl_lab.h */
                    begin(&scenarios[s], i * 1000 + j + (uint64_t)k);
                    lab.fault_at[0] = i;
                    lab.fault_kind[0] = (enum tcl_fault)kind;
                    lab.fault_at[1] = j;
                    lab.fault_kind[1] = (enum tcl_fault)other;
                    lab.drop = kind == FAULT_NUMBER || other == FAULT_NUMBER;
                    play(&scenarios[s], NULL, NULL);
                    check("pair", s, i, kind, j, other);
                }
    sums("every pair");
}

static void random_ats(void)
{
    uint8_t historical[4] = {0x80, 1, 2, 3};
    struct ats ats = {.has_t0 = true,
                      .present = (uint8_t)tcl_lab_random(&lab, 8),
                      .fsci = (uint8_t)tcl_lab_random(&lab, 16),
                      .ta = (uint8_t)tcl_lab_random(&lab, 256),
                      .tb = (uint8_t)tcl_lab_random(&lab, 256),
                      .tc = (uint8_t)tcl_lab_random(&lab, 4),
                      .historical = historical,
                      .historical_len = (uint8_t)tcl_lab_random(&lab, 5)};
    assert_int_equal(ats_build(&ats, lab.ats, sizeof lab.ats, &lab.ats_len), CW_OK);
    lab.params = (struct tcl_reader_params){.fsdi = (uint8_t)tcl_lab_random(&lab, 9),
                                            .cid = (uint8_t)tcl_lab_random(&lab, 15),
                                            .with_nad = tcl_lab_random(&lab, 2) == 0,
                                            .nad = (uint8_t)tcl_lab_random(&lab, 256),
                                            .dsi = (uint8_t)tcl_lab_random(&lab, 4),
                                            .dri = (uint8_t)tcl_lab_random(&lab, 4)};
    lab.params.no_cid = lab.params.cid == 0 && tcl_lab_random(&lab, 2) == 0;
}

static size_t random_size(void)
{
    uint32_t kind = tcl_lab_random(&lab, 20);
    return kind == 0 ? 8 + tcl_lab_random(&lab, TCL_LAB_DATA - 8)
                     : 8 + tcl_lab_random(&lab, kind < 5 ? 300 : 40);
}

static void random_run(const char *what, uint64_t seed, uint64_t exchanges, bool numbers_too)
{
    memset(&lab, 0, sizeof lab);
    printf("%s: seed %" PRIu64 " (CARDWIRE_SEED)\n", what, seed);
    begin(&scenarios[0], seed);
    lab.drop = numbers_too;
    while (lab.counts.exchanges < exchanges) {
        if (!lab.active || tcl_lab_random(&lab, 50) == 0) {
            static const unsigned rates[] = {0, 5, 20, 60, 150, 300};
            lab.rate = rates[tcl_lab_random(&lab, 6)];
            if (lab.active)
                tcl_lab_deselect(&lab);
            if (tcl_lab_random(&lab, 4) == 0)
                random_ats();
            lab.card.power = 0;
            if (!tcl_lab_activate(&lab))
                fail_msg("%s, seed %" PRIu64 ": no activation", what, seed);
            lab.card.power = (uint8_t)tcl_lab_random(&lab, 4);
        }
        size_t nc = tcl_lab_random(&lab, 30) == 0 ? 0 : random_size();
        lab.waits = nc > 0 && tcl_lab_random(&lab, 6) == 0 ? 1 + tcl_lab_random(&lab, 3) : 0;
        lab.busy = tcl_lab_random(&lab, 30) == 0 ? 1 + tcl_lab_random(&lab, 3) : 0;
        unsigned rate = lab.rate;
        if (numbers_too && tcl_lab_random(&lab, 2) == 0) { /* one, and nothing else */
            lab.rate = 0;
            lab.late_to_card.n = 0;
            lab.fault_at[0] = lab.frame_no + tcl_lab_random(&lab, 12);
            lab.fault_kind[0] = FAULT_NUMBER;
        }
        tcl_lab_exchange(&lab, nc, random_size());
        lab.rate = rate;
        lab.fault_at[0] = UINT64_MAX;
        if (lab.wrong != NULL)
            fail_msg("%s, seed %" PRIu64 ", exchange %" PRIu64 ": %s", what, seed,
                     lab.counts.exchanges, lab.wrong);
    }
    sums(what);
    assert_true(lab.counts.recovered > 0 && lab.counts.resets > 0);
    for (int i = 1; i < FAULT_KINDS; i++)
        assert_true(lab.counts.faults[i] > 0 || (i == FAULT_NUMBER && !numbers_too));
}

static uint64_t seed_of(void)
{
    const char *given = getenv("CARDWIRE_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : 14443;
}

static void test_random_million(void **state)
{
    (void)state;
    random_run("a million", seed_of(), 1000000, false);
}

static void test_random_numbers(void **state)
{
    (void)state;
    random_run("with wrong numbers", seed_of() + 1, 200000, true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_frame),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_random_million),
        cmocka_unit_test(test_random_numbers),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
