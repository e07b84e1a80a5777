/* T=1 over a line that does wrong: at every block of an exchange in turn, and at random in a
 * million of them. Each exchange has the right answer or ends in a reset; a command is never done
 * twice. */
#include "tests/unit/t1_lab.h"

#include <stdio.h>

static const char *const names[T1_FAULTS] = {"none",  "parity",    "EDC",     "burst",
                                             "lost",  "truncated", "doubled", "delayed",
                                             "noise", "sequence"};

/* One fault, at one block. */
struct one {
    enum t1_fault fault;
    uint64_t at;
};

static enum t1_fault one_fault(struct t1_lab *lab, uint64_t index)
{
    const struct one *one = lab->fault_ctx;
    return one != NULL && index == one->at ? one->fault : T1_FAULT_NONE;
}

/* Every kind of fault at every block of exchanges that chain both ways, ask for time and tell IFS;
 * then three exchanges more on the same line. */
static void test_each_block(void **state)
{
    static struct t1_lab lab;
    unsigned tried = 0, resets = 0;
    (void)state;
    for (unsigned crc = 0; crc < 2; crc++) {
        for (unsigned size = 0; size < 4; size++) {
            static const size_t commands[] = {5, 60, 130, 700}, responses[] = {2, 80, 200, 600};
            uint64_t blocks = 1;
            for (uint64_t at = 0; at < blocks; at++) {
                for (int fault = T1_FAULT_PARITY; fault < T1_FAULTS; fault++) {
                    struct one one = {(enum t1_fault)fault, at};
                    if (fault == T1_FAULT_BURST && crc == 0)
                        continue; /* an LRC does not find every one of them */
                    t1_lab_init(&lab, 1 + at * 16 + (unsigned)fault, 32, 32, crc != 0);
                    lab.fault = one_fault;
                    t1_lab_prepare(&lab, commands[size], responses[size], size % 3);
                    if (at == 0 && fault == T1_FAULT_PARITY) { /* how many blocks it has */
                        assert_true(t1_lab_exchange(&lab));
                        blocks = lab.blocks;
                        t1_lab_init(&lab, 1, 32, 32, crc != 0);
                        lab.fault = one_fault;
                        t1_lab_prepare(&lab, commands[size], responses[size], size % 3);
                    }
                    lab.fault_ctx = &one;
                    resets += t1_lab_exchange(&lab) ? 0 : 1;
                    lab.fault_ctx = NULL;
                    for (unsigned n = 0; n < 3; n++) {
                        t1_lab_prepare(&lab, commands[size], responses[size], 0);
                        assert_true(t1_lab_exchange(&lab));
                    }
                    tried++;
                }
            }
        }
    }
    printf("# %u single faults, each at its block; %u ended in a reset\n", tried, resets);
    assert_true(tried > 1000);
    assert_int_equal(resets, 0); /* one fault alone is always mended */
}

/* Faults at random: `fault_ctx` is how many blocks in 1,024 are hurt. */
static enum t1_fault random_fault(struct t1_lab *lab, uint64_t index)
{
    (void)index;
    const unsigned *rate = lab->fault_ctx;
    if (t1_lab_random(lab) % 1024 >= *rate)
        return T1_FAULT_NONE;
    enum t1_fault fault = (enum t1_fault)(1 + t1_lab_random(lab) % (T1_FAULT_SEQUENCE - 1));
    return fault == T1_FAULT_BURST && !lab->card_params.crc ? T1_FAULT_EDC : fault;
}

static size_t random_size(struct t1_lab *lab, size_t max)
{
    unsigned kind = t1_lab_random(lab) % 8;
    return kind < 5 ? t1_lab_random(lab) % 40 : t1_lab_random(lab) % (kind < 7 ? 300 : max);
}

#define EXCHANGES 1000000u

static void test_million(void **state)
{
    static struct t1_lab lab;
    static uint64_t faults[T1_FAULTS];
    static const unsigned rates[] = {0, 10, 50, 150, 400};
    uint64_t seed = 0x5DEECE66Dull, completed = 0, reset = 0, blocks = 0, resyncs = 0, waits = 0;
    (void)state;
    for (unsigned n = 0; n < EXCHANGES;) {
        unsigned rate = rates[n / 1000 % 5];
        bool sequence = n / 1000 % 7 == 6; /* of this kind only one, and alone: t1_lab.h */
        uint8_t ifsc = (uint8_t)(1 + (seed + n) % 254), ifsd = (uint8_t)(1 + (seed / 7 + n) % 254);
        t1_lab_init(&lab, seed + n, ifsc, ifsd, n / 1000 % 2 != 0);
        for (unsigned i = 0; i < 1000; i++, n++) {
            struct one one = {T1_FAULT_SEQUENCE, t1_lab_random(&lab) % 6};
            lab.fault = sequence ? one_fault : random_fault;
            lab.fault_ctx = sequence ? (void *)&one : (void *)&rate;
            size_t command_len = random_size(&lab, ifsc < 8 ? 60 : T1_LAB_COMMAND_MAX);
            size_t response_len = 2 + random_size(&lab, ifsd < 8 ? 60 : T1_LAB_RESPONSE_MAX - 2);
            t1_lab_prepare(&lab, command_len, response_len,
                           t1_lab_random(&lab) % 4 == 0 ? t1_lab_random(&lab) % 3 : 0);
            uint32_t before = lab.reader.counts.resyncs, waited = lab.reader.counts.waits;
            bool ok = t1_lab_exchange(&lab);
            completed += ok ? 1 : 0;
            reset += ok ? 0 : 1;
            if (ok) {
                resyncs += lab.reader.counts.resyncs - before;
                waits += lab.reader.counts.waits - waited;
            }
            assert_true(ok || rate > 0);
            blocks += lab.blocks;
        }
        for (unsigned f = 0; f < T1_FAULTS; f++)
            faults[f] += lab.faults[f];
    }
    printf("# %u exchanges, %llu blocks: %llu completed, %llu ended in a reset, %llu resyncs, %llu "
           "waits; wrong answers 0, done twice 0\n#",
           EXCHANGES, (unsigned long long)blocks, (unsigned long long)completed,
           (unsigned long long)reset, (unsigned long long)resyncs, (unsigned long long)waits);
    for (unsigned f = 1; f < T1_FAULTS; f++) {
        printf(" %s %llu", names[f], (unsigned long long)faults[f]);
        assert_true(faults[f] > 10000);
    }
    printf("\n");
    assert_true(reset > 1000 && completed > EXCHANGES / 2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_block),
        cmocka_unit_test(test_million),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
