/* test_card_pin.c - CHANGE REFERENCE DATA, RESET RETRY COUNTER, the transport PIN, the issuer's
 * rules; and brute force: over whichever command, with resets and power cuts in between, never more
 * guesses than the counter allows. */
#include "unit.h"

#include "card/state.h"
#include "piv_lab.h"

#include <string.h>

#define P256    (1 << (LINK_KEY_TLS_P256 - 1))
#define NEW_PIN "160914"

static struct lab lab;
static struct lab_identity root, card_ca;

static int setup(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_free(&lab);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

static unsigned tries(void)
{
    return lab_info_first(&lab, LINK_TAG_TRIES);
}

static unsigned puk_tries(void)
{
    return lab_info_first(&lab, LINK_TAG_PUK);
}

/* CHANGE REFERENCE DATA or RESET RETRY COUNTER */
static uint16_t two(uint8_t ins, const char *first, const char *pin)
{
    uint8_t data[64];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_u8(&w, (uint8_t)strlen(first));
    buf_put_str(&w, first);
    buf_put_str(&w, pin);
    return lab_apdu(&lab, 0x00, ins, 0, LINK_PIN_LINE, data, w.len, 0, NULL, NULL);
}

static void test_change(void **state)
{
    (void)state;
    assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, NEW_PIN), SW_OK);
    assert_int_equal(tries(), 3);
    /* What was given before is gone with the old PIN, and the new one opens nothing by itself. */
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, NEW_PIN), SW_OK);
    assert_int_equal(two(INS_CHANGE_PIN, NEW_PIN, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_LINE, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_ORDER, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
    /* It outlives power. */
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
}

static void test_change_wants_the_old_one(void **state)
{
    (void)state;
    for (unsigned left = LINK_PIN_TRIES; left > 0; left--)
        assert_int_equal(two(INS_CHANGE_PIN, "000000", NEW_PIN), SW_PIN_TRIES | (left - 1));
    assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, NEW_PIN), SW_PIN_BLOCKED);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_PIN_BLOCKED);
}

static void test_malformed_changes_cost_nothing(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        uint16_t sw;
    } wrong[] = {
        {"\x06"
         "271828"
         "123",
         10, SW_WRONG_LENGTH}, /* new one too short */
        {"\x06"
         "271828"
         "1234567890123",
         20, SW_WRONG_LENGTH},
        {"\x06"
         "271828",
         7, SW_WRONG_LENGTH},
        {"\x03"
         "271"
         "999913",
         10, SW_WRONG_LENGTH},
        {"\x0D"
         "2718281828459"
         "999913",
         20, SW_WRONG_LENGTH},
        {"\xFF"
         "271828"
         "999913",
         13, SW_WRONG_LENGTH},
        {"\x06"
         "271828"
         "99a913",
         13, SW_WRONG_DATA},
        {"\x06"
         "271828"
         "99\0"
         "913",
         13, SW_WRONG_DATA},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (int k = 0; k < 2; k++) {
            uint16_t sw = lab_apdu(&lab, 0, k == 0 ? INS_CHANGE_PIN : INS_RESET_PIN, 0,
                                   LINK_PIN_LINE, wrong[i].data, wrong[i].len, 0, NULL, NULL);
            if (sw != wrong[i].sw)
                fail_msg("case %zu gave %04X, not %04X", i, sw, wrong[i].sw);
        }
    }
    assert_int_equal(lab_apdu(&lab, 0, INS_CHANGE_PIN, 0, LINK_PIN_ORDER, "\x04", 2, 0, NULL, NULL),
                     SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_apdu(&lab, 0, INS_RESET_PIN, 0, 0x83, "\x04", 2, 0, NULL, NULL),
                     SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_apdu(&lab, 0, INS_CHANGE_PIN, 1, LINK_PIN_LINE, "\x04", 2, 0, NULL, NULL),
                     SW_WRONG_P1P2);
    assert_int_equal(tries(), 3);
    assert_int_equal(puk_tries(), 3);
}

static void test_rules(void **state)
{
    static const char *const bad[] = {"111111", "123456", "987654", "012345", "1234", "0000"};
    static const char *const good[] = {"112233", "121212", "123457", "890123", "1243"};
    struct policy policy = lab_policy();
    (void)state;
    policy.pin.rules = PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, bad[i]), SW_WRONG_DATA);
        assert_int_equal(two(INS_RESET_PIN, LAB_PUK, bad[i]), SW_WRONG_DATA);
    }
    assert_int_equal(tries(), 3);
    const char *now = LAB_PIN;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(two(INS_CHANGE_PIN, now, good[i]), SW_OK);
        now = good[i];
    }
    /* Lengths of the issuer's, narrower than the card's. */
    policy.pin.min = 5;
    policy.pin.max = 6;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    assert_int_equal(two(INS_CHANGE_PIN, now, "1593"), SW_WRONG_LENGTH);
    assert_int_equal(two(INS_CHANGE_PIN, now, "1593746"), SW_WRONG_LENGTH);
    assert_int_equal(two(INS_CHANGE_PIN, now, "15937"), SW_OK);
}

static void block_pin(void)
{
    while (tries() > 0)
        (void)lab_verify(&lab, LINK_PIN_LINE, "000000");
}

static void test_unblock(void **state)
{
    (void)state;
    block_pin();
    assert_int_equal(two(INS_RESET_PIN, "00000000", NEW_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_PIN_BLOCKED);
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_OK);
    assert_int_equal(tries(), 3);
    assert_int_equal(puk_tries(), 3);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
    /* The PIN is no PUK, nor the other way round. */
    assert_int_equal(two(INS_RESET_PIN, NEW_PIN, LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PUK), SW_PIN_TRIES | 2);
}

/* Both are blocked: the issuer alone helps, through its channel. */
static void test_puk_blocks(void **state)
{
    (void)state;
    block_pin();
    for (unsigned left = LINK_PIN_TRIES; left > 0; left--)
        assert_int_equal(two(INS_RESET_PIN, "00000000", NEW_PIN), SW_PIN_TRIES | (left - 1));
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_PIN_BLOCKED);
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_PIN_BLOCKED);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_PIN_BLOCKED);
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, 0, NEW_PIN), SW_OK);
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_PUK, 0, LAB_PUK), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
}

/* A transport PIN opens nothing, right or wrong, and costs no try; changed, it is one like any. */
static void test_transport(void **state)
{
    (void)state;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, LAB_PIN), SW_OK);
    assert_int_equal(lab_info_first(&lab, LINK_TAG_FLAGS), LINK_FLAG_TRANSPORT);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, "000000"), SW_CONDITIONS);
    assert_int_equal(tries(), 3);
    assert_int_equal(two(INS_CHANGE_PIN, "000000", NEW_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, NEW_PIN), SW_OK);
    assert_int_equal(lab_info_first(&lab, LINK_TAG_FLAGS), 0);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
}

/* A transport PIN is not changed by giving it twice, with the PIN or with the PUK. */
static void test_transport_to_itself(void **state)
{
    (void)state;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, LAB_PIN), SW_OK);
    assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, LAB_PIN), SW_WRONG_DATA);
    assert_int_equal(two(INS_CHANGE_PIN, "000000", "000000"), SW_WRONG_DATA);
    assert_int_equal(tries(), 3); /* nothing was asked of the stored one */
    assert_int_equal(two(INS_RESET_PIN, "00000000", LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, LAB_PIN), SW_WRONG_DATA);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
    /* One that is the holder's own may stay what it is. */
    assert_int_equal(two(INS_CHANGE_PIN, NEW_PIN, NEW_PIN), SW_OK);
}

/* One read of the memory fails, whichever: a transport PIN opens nothing all the same. */
static void test_transport_when_memory_fails(void **state)
{
    bool failed = true;
    unsigned reads = 0;
    (void)state;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, LAB_PIN), SW_OK);
    for (long k = 0; failed; k++) {
        lab.flash.fail_read = k;
        uint16_t sw = lab_verify(&lab, LINK_PIN_LINE, LAB_PIN);
        failed = lab.flash.fail_read < 0;
        lab.flash.fail_read = -1;
        reads += failed;
        assert_int_not_equal(sw, SW_OK);
        assert_int_not_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
    }
    assert_true(reads >= 2);
}

/* A right PIN whose VERIFY ends in an error, because the tries could not be given back, opens
 * nothing. */
static void test_verify_when_memory_fails(void **state)
{
    unsigned failed = 0;
    uint16_t sw = 0;
    (void)state;
    for (long budget = 0; sw != SW_OK; budget++) {
        assert_true(lab_power_cycle(&lab));
        assert_int_equal(lab_select(&lab), SW_OK);
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
        lab.flash.budget = budget;
        sw = lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN);
        lab.flash.budget = -1;
        lab.flash.dead = false;
        failed += sw != SW_OK;
        if (sw != SW_OK)
            assert_int_not_equal(
                lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_ORDER, NULL, 0, 0, NULL, NULL), SW_OK);
    }
    assert_true(failed > 0);
}

/* What the old PIN had opened ends with it: replaced with the PUK, or by the issuer. */
static void test_what_was_given_ends_with_the_pin(void **state)
{
    (void)state;
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_ORDER, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
}

/* Over the air: what the policy permits, and no more. A refusal costs no try. */
static void test_contactless(void **state)
{
    struct policy policy = lab_policy();
    (void)state;
    lab.port.contactless = true;
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_CONDITIONS);
    policy.flags = POLICY_ORDER_CONTACTLESS;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, "000000"), SW_CONDITIONS);
    assert_int_equal(two(INS_CHANGE_PIN, LAB_PIN, NEW_PIN), SW_CONDITIONS);
    assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(tries(), 3);
    lab.port.contactless = false;
}

/* --- brute force ------------------------------------------------------------------------------ */

#define ADMIN PIV_ALG_AES128

/* One way to guess a number. Those of PIV select it first: a guess is what an attacker sends, and a
 * try is whatever the card says about it. */
struct attack {
    const char *name;
    uint16_t (*guess)(const char *digits);
    enum link_pin pin; /* what is guessed */
};

static uint16_t guess_line(const char *digits)
{
    return lab_verify(&lab, LINK_PIN_LINE, digits);
}

static uint16_t guess_order(const char *digits)
{
    return lab_verify(&lab, LINK_PIN_ORDER, digits);
}

static uint16_t guess_change(const char *digits)
{
    return two(INS_CHANGE_PIN, digits, NEW_PIN);
}

static uint16_t guess_unblock(const char *digits)
{
    return two(INS_RESET_PIN, digits, NEW_PIN);
}

static uint16_t guess_piv(const char *digits)
{
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    return piv_lab_verify(&lab, digits);
}

static uint16_t guess_piv_change(const char *digits)
{
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    return piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, digits, NEW_PIN);
}

static uint16_t guess_piv_puk(const char *digits)
{
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    return piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, digits, NEW_PIN);
}

static uint16_t guess_piv_unblock(const char *digits)
{
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    return piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, digits, NEW_PIN);
}

static const struct attack attacks[] = {
    {"VERIFY 81", guess_line, LINK_PIN_HOLDER},
    {"VERIFY 82", guess_order, LINK_PIN_HOLDER},
    {"CHANGE REFERENCE DATA", guess_change, LINK_PIN_HOLDER},
    {"RESET RETRY COUNTER", guess_unblock, LINK_PIN_PUK},
    {"PIV VERIFY 80", guess_piv, LINK_PIN_PIV},
    {"PIV CHANGE REFERENCE DATA 80", guess_piv_change, LINK_PIN_PIV},
    {"PIV CHANGE REFERENCE DATA 81", guess_piv_puk, LINK_PIN_PIV_PUK},
    {"PIV RESET RETRY COUNTER 80", guess_piv_unblock, LINK_PIN_PIV_PUK},
};
#define ATTACKS (sizeof attacks / sizeof attacks[0])

/* What no number of the lab is, and each of them. Whoever guesses with those of the other
 * application finds nothing either. */
static const char *const guesses[] = {"000000", LAB_PIN, LAB_PUK, PIV_LAB_PIN, PIV_LAB_PUK};
static const char *const numbers[LINK_PIN_COUNT] = {LAB_PIN, LAB_PUK, PIV_LAB_PIN, PIV_LAB_PUK};

static int setup_piv(void **state)
{
    (void)setup(state);
    piv_lab_issue(&lab, ADMIN);
    assert_int_equal(lab_select(&lab), SW_OK);
    return 0;
}

/* From the card's memory: PIV does not tell the tries of its PUK. */
static void all_tries(unsigned out[LINK_PIN_COUNT])
{
    for (unsigned pin = 0; pin < LINK_PIN_COUNT; pin++)
        out[pin] = pin_tries(lab.card, (enum link_pin)pin);
}

/* One guess with the power cut after `budget` bytes of flash work. Returns whether the card told
 * anything about the guess. */
static bool guess_told(const struct attack *a, const char *digits, long budget)
{
    lab.flash.budget = budget;
    uint16_t sw = a->guess(digits);
    lab.flash.budget = -1;
    return sw == SW_OK || (sw & 0xFFF0u) == SW_PIN_TRIES;
}

/* Every way to guess, every byte at which the power may fail during it, until the counter is used
 * up: what the card has told is never more than the counter allows, and no other counter moves. */
static void test_brute_force_with_power_cuts(void **state)
{
    static struct lab_flash start;
    unsigned cuts = 0;
    (void)state;
    start = lab.flash;
    for (size_t i = 0; i < ATTACKS; i++) {
        const struct attack *a = &attacks[i];
        unsigned most = 0;
        for (long budget = 0; budget < 140; budget++) {
            unsigned before[LINK_PIN_COUNT], after[LINK_PIN_COUNT];
            lab.flash = start;
            assert_true(lab_power_cycle(&lab));
            unsigned told = 0;
            all_tries(before);
            for (unsigned n = 0; n < 40 && before[a->pin] > 0; n++) {
                told += guess_told(a, "000000", budget);
                cuts++;
                assert_true(lab_power_cycle(&lab));
                all_tries(after);
                assert_true(after[a->pin] <= before[a->pin]); /* never goes back up */
                before[a->pin] = after[a->pin];
                assert_memory_equal(before, after, sizeof before);
            }
            if (told > LINK_PIN_TRIES)
                fail_msg("%s: %u guesses with a cut after %ld bytes", a->name, told, budget);
            most = told > most ? told : most;
        }
        assert_int_equal(most,
                         LINK_PIN_TRIES); /* the control: without a cut it tells three times */
    }
    print_message("%u guesses under power cuts\n", cuts);
}

/* Between two guesses: a reset, a selection, another reader, a command that never ends, or the
 * right number given to the other application. */
static void disturb(unsigned how, const struct attack *a)
{
    switch (how) {
    case 0:
        assert_int_equal(card_reset(lab.card), CW_OK);
        break;
    case 1: /* a VERIFY that never ends */
        assert_int_equal(lab_apdu(&lab, 0x10, INS_VERIFY, 0, LINK_PIN_LINE, "00", 2, 0, NULL, NULL),
                         SW_OK);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, NULL, NULL),
                         SW_LAST_OF_CHAIN);
        break;
    case 2: /* in the other reader, contact or contactless */
        lab.port.contactless = !lab.port.contactless;
        assert_true(lab_power_cycle(&lab));
        break;
    default: /* gives a counter back, but not this one */
        if (a->pin == LINK_PIN_HOLDER || a->pin == LINK_PIN_PUK)
            (void)guess_piv(PIV_LAB_PIN);
        else
            (void)guess_line(LAB_PIN);
    }
    assert_int_equal(lab_select(&lab), SW_OK);
}

/* The ways to one number mixed, with what an attacker may do in between: one counter for all of
 * them, whatever is guessed. */
static void test_brute_force_mixed(void **state)
{
    static struct lab_flash start;
    unsigned seed = 20261125;
    (void)state;
    start = lab.flash;
    for (unsigned pin = 0; pin < LINK_PIN_COUNT; pin++) {
        unsigned told = 0;
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        for (int n = 0; n < 600; n++) {
            const struct attack *a = &attacks[(unsigned)rand_r(&seed) % ATTACKS];
            const char *digits = guesses[(unsigned)rand_r(&seed) % 5];
            if (a->pin != pin || strcmp(digits, numbers[pin]) == 0)
                continue;
            uint16_t sw = a->guess(digits);
            assert_int_not_equal(sw, SW_OK);
            told += (sw & 0xFFF0u) == SW_PIN_TRIES;
            assert_int_equal(lab_select(&lab), SW_OK);
            disturb((unsigned)rand_r(&seed) % 4, a);
        }
        assert_int_equal(told, LINK_PIN_TRIES);
        lab.port.contactless = false;
        assert_true(lab_power_cycle(&lab));
        for (size_t i = 0; i < ATTACKS; i++)
            if (attacks[i].pin == pin)
                assert_int_equal(attacks[i].guess(numbers[pin]), SW_PIN_BLOCKED);
        assert_int_equal(lab_select(&lab), SW_OK);
        if (pin != LINK_PIN_HOLDER)
            continue;
        assert_int_equal(two(INS_RESET_PIN, LAB_PUK, NEW_PIN), SW_OK);
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, NEW_PIN), SW_OK);
    }
}

/* All of one application's tries are used up: the other one has all of its own, and its numbers are
 * good. */
static void test_brute_force_crosses_nothing(void **state)
{
    static struct lab_flash start;
    (void)state;
    start = lab.flash;
    for (int piv = 0; piv < 2; piv++) {
        unsigned left[LINK_PIN_COUNT];
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        for (size_t i = 0; i < ATTACKS; i++)
            for (unsigned n = 0; n < LINK_PIN_TRIES + 1; n++) {
                if ((attacks[i].pin >= LINK_PIN_PIV) != (piv == 1))
                    continue;
                assert_int_not_equal(attacks[i].guess("000000"), SW_OK);
                assert_int_equal(lab_select(&lab), SW_OK);
            }
        all_tries(left);
        for (unsigned pin = 0; pin < LINK_PIN_COUNT; pin++)
            assert_int_equal(left[pin], (pin >= LINK_PIN_PIV) == (piv == 1) ? 0 : LINK_PIN_TRIES);
        assert_int_equal(guess_line(LAB_PIN), piv ? SW_OK : SW_PIN_BLOCKED);
        assert_int_equal(guess_unblock(LAB_PUK), piv ? SW_OK : SW_PIN_BLOCKED);
        assert_int_equal(guess_piv(PIV_LAB_PIN), piv ? SW_PIN_BLOCKED : SW_OK);
        assert_int_equal(guess_piv_unblock(PIV_LAB_PUK), piv ? SW_PIN_BLOCKED : SW_OK);
    }
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_change),
        T(test_change_wants_the_old_one),
        T(test_malformed_changes_cost_nothing),
        T(test_rules),
        T(test_unblock),
        T(test_puk_blocks),
        T(test_transport),
        T(test_transport_to_itself),
        T(test_transport_when_memory_fails),
        T(test_verify_when_memory_fails),
        T(test_what_was_given_ends_with_the_pin),
        T(test_contactless),
        cmocka_unit_test_setup_teardown(test_brute_force_with_power_cuts, setup_piv, teardown),
        cmocka_unit_test_setup_teardown(test_brute_force_mixed, setup_piv, teardown),
        cmocka_unit_test_setup_teardown(test_brute_force_crosses_nothing, setup_piv, teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
