/* test_card_life.c - the card's life: every step from every life, asked for by the issuer and by
 * others; what a card must have before it takes one; what still works in each. */
#include "unit.h"

#include "card/state.h"
#include "card_lab.h"

#include <string.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))

static struct lab lab;
static struct lab_identity root, card_ca;
static struct lab_flash active; /* memory of an issued card */
static struct scp03_keys issuer_keys;

static int setup(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    active = lab.flash;
    issuer_keys = lab.keys;
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

static enum link_life life(void)
{
    return (enum link_life)lab_info(&lab, LINK_TAG_LIFE);
}

/* A card in that life: the shortest way there. */
static void bring_to(enum link_life to)
{
    if (to == LINK_LIFE_BLANK || to == LINK_LIFE_PERSONALISED) {
        lab_free(&lab);
        lab_init(&lab);
        if (to == LINK_LIFE_BLANK)
            return;
        lab_personalise_only(&lab, P256, &card_ca, &root, 7);
        assert_int_equal(lab_set_status(&lab, to), SW_OK);
        return;
    }
    lab.flash = active;
    lab.keys = issuer_keys;
    assert_true(lab_power_cycle(&lab));
    assert_true(lab_channel_open(&lab));
    if (to != LINK_LIFE_ACTIVE)
        assert_int_equal(lab_set_status(&lab, to), SW_OK);
}

static void test_every_step(void **state)
{
    /* from, to */
    static const bool permitted[6][6] = {
        [LINK_LIFE_PERSONALISED] =
            {[LINK_LIFE_ACTIVE] = true, [LINK_LIFE_LOCKED] = true, [LINK_LIFE_TERMINATED] = true},
        [LINK_LIFE_ACTIVE] = {[LINK_LIFE_LOCKED] = true, [LINK_LIFE_TERMINATED] = true},
        [LINK_LIFE_LOCKED] = {[LINK_LIFE_ACTIVE] = true, [LINK_LIFE_TERMINATED] = true},
        /* Blank is left when nothing is missing: test_nothing_may_be_missing. */
        [LINK_LIFE_BLANK] = {[LINK_LIFE_TERMINATED] = true},
    };
    (void)state;
    for (int from = LINK_LIFE_BLANK; from <= LINK_LIFE_TERMINATED; from++) {
        for (int to = LINK_LIFE_BLANK; to <= LINK_LIFE_TERMINATED; to++) {
            bring_to((enum link_life)from);
            assert_int_equal(life(), from);
            /* Without the channel, never. */
            assert_int_not_equal(
                lab_apdu(&lab, 0x80, INS_SET_STATUS, 0x80, (uint8_t)to, NULL, 0, 0, NULL, NULL),
                SW_OK);
            assert_int_equal(life(), from);
            if (from == LINK_LIFE_TERMINATED) {
                assert_false(lab_channel_open(&lab));
                continue;
            }
            assert_true(lab_channel_open(&lab));
            uint16_t sw = lab_set_status(&lab, (enum link_life)to);
            if (sw != (permitted[from][to] ? SW_OK : SW_CONDITIONS))
                fail_msg("%s to %s gave %04X", link_life_name((enum link_life)from),
                         link_life_name((enum link_life)to), sw);
            assert_int_equal(life(), permitted[from][to] ? to : from);
            assert_true(lab_power_cycle(&lab));
            assert_int_equal(life(), permitted[from][to] ? to : from);
        }
    }
}

/* Each thing that a complete card has is taken away once. */
static void test_nothing_may_be_missing(void **state)
{
    static const uint16_t needed[] = {
        LINK_DO_ROOT,
        LINK_DO_NAME,
        LINK_DO_TIME,
        LINK_DO_POLICY,
        LINK_DO_ISSUER,
        LINK_DO_PIN,
        LINK_DO_PIN | 1,
        LINK_DO_CERT | LINK_KEY_TLS_P256,
        0x4001 /* the TLS key */,
        0x0013 /* the key set */,
        LINK_DO_CERT | LINK_KEY_ORDER_P256,
    };
    (void)state;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        bring_to(LINK_LIFE_BLANK);
        lab_personalise_only(&lab, P256, &card_ca, &root, 7);
        lab_forget(&lab, needed[i]);
        if (needed[i] == 0x0013) {
            assert_false(lab_channel_open(&lab));
            continue;
        }
        assert_true(lab_channel_open(&lab));
        if (lab_set_status(&lab, LINK_LIFE_PERSONALISED) != SW_CONDITIONS)
            fail_msg("a card without %04X calls itself complete", needed[i]);
    }
    /* Everything but keys of its own: the maker could rewrite it in the post. */
    bring_to(LINK_LIFE_BLANK);
    lab.maker_keys = true;
    lab_personalise_only(&lab, P256, &card_ca, &root, 7);
    lab.maker_keys = false;
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_PERSONALISED), SW_CONDITIONS);
    /* and what was written under them goes with them. */
    assert_int_equal(lab_put_keys(&lab), SW_OK);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_PERSONALISED), SW_CONDITIONS);
}

/* A second key was begun in an active card, and never certified: locked, it can still be unlocked,
 * and the line takes the key that it always took. */
static void test_unlock_with_a_key_begun(void **state)
{
    (void)state;
    bring_to(LINK_LIFE_ACTIVE);
    assert_int_equal(
        lab_secure(&lab, 0, INS_GENERATE_KEY, 0, LINK_KEY_ORDER_RSA, NULL, 0, 0, NULL, NULL),
        SW_OK);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_LOCKED), SW_OK);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_ACTIVE), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
}

/* Locked and unlocked again, without a SELECT in between: what the PIN had opened is gone. */
static void test_lock_takes_back_the_pin(void **state)
{
    (void)state;
    bring_to(LINK_LIFE_ACTIVE);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_LOCKED), SW_OK);
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_ACTIVE), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0, LINK_PIN_ORDER, NULL, 0, 0, NULL, NULL),
                     SW_PIN_TRIES | 3);
}

/* Somebody who knew the maker's keys had the blank card before its issuer. Whatever he wrote goes
 * with those keys, keys of his own making included. */
static void test_nothing_stays_of_the_maker(void **state)
{
    static const uint8_t name[] = "\x80\x09"
                                  "evil.test\x81\x01\x07";
    const uint8_t admin[17] = {0x08, 1, 2, 3};
    const struct policy_payee thief = {"ZZ13000000000003", "Thief"};
    uint8_t list[128], out[CARD_RESPONSE_MAX];
    uint8_t *der = NULL;
    struct buf_writer w;
    struct nvm nvm;
    size_t n = 0;
    (void)state;
    int len = i2d_X509(card_ca.certificate, &der);
    bring_to(LINK_LIFE_BLANK);
    assert_true(lab_channel_open(&lab));
    buf_writer_init(&w, list, sizeof list);
    assert_int_equal(policy_payee_put(&w, &thief), CW_OK);
    assert_int_equal(lab_put(&lab, LINK_DO_ROOT | 1, der, (size_t)len), SW_OK);
    assert_int_equal(lab_put(&lab, LINK_DO_NAME | 3, name, sizeof name - 1), SW_OK);
    assert_int_equal(lab_put(&lab, LINK_DO_PAYEES, list, w.len), SW_OK);
    assert_int_equal(lab_put(&lab, LINK_DO_ADMIN, admin, sizeof admin), SW_OK);
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_PIV, 0, "123456"), SW_OK);
    assert_int_equal(
        lab_secure(&lab, 0, INS_GENERATE_KEY, 0, LINK_KEY_ORDER_P256, NULL, 0, 0, NULL, NULL),
        SW_OK);
    assert_int_equal(
        lab_secure(&lab, 0x80, INS_REQUEST, 0, LINK_KEY_ORDER_P256, NULL, 0, 1024, out, &n), SW_OK);
    /* Torn anywhere, the card is blank under the one key set or the other, under the issuer's with
     * nothing else in it. */
    static struct lab_flash before;
    const struct scp03_keys makers = lab.keys;
    unsigned old = 0, new = 0;
    before = lab.flash;
    for (long budget = 0; new == 0; budget += 3) {
        lab.flash = before;
        lab.keys = makers;
        assert_true(lab_power_cycle(&lab) && lab_channel_open(&lab));
        lab.flash.budget = budget;
        (void)lab_put_keys(&lab);
        assert_true(lab_power_cycle(&lab));
        assert_int_equal(life(), LINK_LIFE_BLANK);
        lab.keys = makers;
        if (lab_channel_open(&lab)) {
            old++;
            continue;
        }
        new ++;
        assert_int_equal(lab.card->nvm.count, 2); /* life and key set */
    }
    print_message("PUT KEY in a blank card: %u cuts left the maker's keys\n", old);
    assert_true(old > 50);
    lab.flash = before;
    lab.keys = makers;
    assert_true(lab_power_cycle(&lab) && lab_channel_open(&lab));
    /* The issuer takes over. */
    assert_int_equal(lab_put_keys(&lab), SW_OK);
    assert_true(lab_channel_open(&lab));
    static const uint16_t objects[] = {LINK_DO_ROOT | 1, LINK_DO_NAME | 3, LINK_DO_PAYEES};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(lab_secure(&lab, 0, INS_GET_DATA, (uint8_t)(objects[i] >> 8),
                                    (uint8_t)objects[i], NULL, 0, 256, NULL, NULL),
                         SW_REFERENCE_NOT_FOUND);
    assert_int_equal(
        lab_secure(&lab, 0x80, INS_REQUEST, 0, LINK_KEY_ORDER_P256, NULL, 0, 1024, out, &n),
        SW_REFERENCE_NOT_FOUND);
    card_power_down(&lab.card);
    assert_int_equal(nvm_mount(&nvm, &lab.port.flash), CW_OK);
    assert_int_equal(nvm.count, 2); /* life and key set */
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(life(), LINK_LIFE_BLANK);
    OPENSSL_free(der);
}

/* The card in the post: nothing of the holder's works, nobody but the issuer writes, and what was
 * written reads back through the channel. */
static void test_in_the_post(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    bring_to(LINK_LIFE_PERSONALISED);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_CONDITIONS);
    assert_int_equal(lab_apdu(&lab, 0, INS_PUT_DATA, 4, 0, "\x03\0" LAB_PIN, 8, 0, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_int_equal(
        lab_apdu(&lab, 0, INS_CHANGE_PIN, 0, 0x81, "\x06" LAB_PIN LAB_PIN, 13, 0, NULL, NULL),
        SW_CONDITIONS);
    struct scp03_keys keys = lab.keys;
    memcpy(lab.keys.enc, lab.port.initial_key, 16);
    memcpy(lab.keys.mac, lab.port.initial_key, 16);
    assert_false(lab_channel_open(&lab));
    lab.keys = keys;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_secure(&lab, 0, INS_GET_DATA, 5, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(n, 8);
    assert_int_equal(lab_secure(&lab, 0, INS_GET_DATA, 4, 0, NULL, 0, 256, out, &n),
                     SW_REFERENCE_NOT_FOUND);
}

/* What is no command of the application, none at all, or breaks a chain. */
static void interrupt(int how)
{
    const uint8_t half[] = {0x00, 0xCA};
    uint8_t out[CARD_RESPONSE_MAX];
    if (how == 5)
        assert_int_equal(lab_apdu(&lab, 0x00, 0xCB, 0x3F, 0xFF, NULL, 0, 256, NULL, NULL), SW_INS);
    if (how == 6)
        assert_int_equal(card_process(lab.card, half, sizeof half, out, sizeof out), 2);
    if (how == 8)
        assert_int_equal(
            lab_apdu(&lab, 0x84, SCP03_INS_EXTERNAL_AUTHENTICATE, 0x33, 1, half, 2, 0, NULL, NULL),
            SW_WRONG_P1P2);
    if (how == 7) {
        assert_int_equal(lab_apdu(&lab, 0x94, INS_APPLY, 0, 0, half, 2, 0, NULL, NULL), SW_OK);
        assert_int_equal(card_process(lab.card, half, sizeof half, out, sizeof out), 2);
    }
}

/* A wrong byte, a plain command or a replay ends the channel, and nothing of it goes on. */
static void test_channel_ends(void **state)
{
    uint8_t wrapped[64];
    const uint8_t time[8] = {0, 0, 0, 0, 0x7F, 0, 0, 0};
    (void)state;
    for (int how = 0; how < 9; how++) {
        bring_to(LINK_LIFE_ACTIVE);
        struct apdu_command cmd = {0x00, INS_PUT_DATA, 5, 0, time, 8, 0, false};
        assert_int_equal(scp03_command_wrap(&lab.channel, &cmd, wrapped, sizeof wrapped), CW_OK);
        if (how == 1)
            wrapped[3] ^= 1;
        if (how == 2)
            assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
        if (how == 3)
            assert_int_equal(lab_select(&lab), SW_OK);
        if (how == 4)
            assert_int_equal(card_reset(lab.card) == CW_OK ? lab_select(&lab) : 0, SW_OK);
        interrupt(how);
        uint16_t sw =
            lab_apdu(&lab, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 256, NULL, NULL);
        assert_int_equal(sw, how == 0   ? SW_OK
                             : how == 1 ? SW_SECURITY_STATUS
                                        : SW_SECURE_MESSAGING);
        /* The same again: a replay after the good one, the channel's end after the others. */
        sw = lab_apdu(&lab, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 256, NULL, NULL);
        assert_int_equal(sw, how == 0 ? SW_SECURITY_STATUS : SW_SECURE_MESSAGING);
    }
}

/* What the issuer's channel demands: everything protected, both ways. */
static void test_weaker_channels_are_refused(void **state)
{
    static const uint8_t levels[] = {0x00, 0x01, 0x03, 0x11, 0x13};
    const uint8_t challenge[8] = {1};
    (void)state;
    for (size_t i = 0; i < sizeof levels; i++) {
        uint8_t out[CARD_RESPONSE_MAX], data[SCP03_AUTHENTICATE_LEN];
        size_t n = 0;
        struct scp03_update update;
        struct apdu_command cmd;
        assert_int_equal(
            lab_apdu(&lab, 0x80, SCP03_INS_INITIALIZE_UPDATE, 0, 0, challenge, 8, 256, out, &n),
            SW_OK);
        assert_int_equal(scp03_update_parse(out, n, &update), CW_OK);
        assert_int_equal(lab_host_begin(&lab, challenge, &update), CW_OK);
        assert_int_equal(scp03_host_authenticate(&lab.channel, levels[i], data, &cmd), CW_OK);
        assert_int_equal(
            lab_apdu(&lab, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 0, NULL, NULL),
            SW_SECURITY_STATUS);
    }
    assert_true(lab_channel_open(&lab)); /* the control */
}

/* PUT KEY: from then on the new set opens the channel, and the old one does not. */
static void test_key_roll_over(void **state)
{
    (void)state;
    bring_to(LINK_LIFE_ACTIVE);
    struct scp03_keys old = lab.keys, next;
    uint8_t data[SCP03_KEYS_LEN];
    struct buf_writer w;
    memset(&next, 0x5A, sizeof next);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(lab_keys_write(&lab, 2, &next, &w), CW_OK);
    assert_int_equal(lab_secure(&lab, 0x80, SCP03_INS_PUT_KEY, 1, SCP03_PUT_KEY_P2, data, w.len,
                                256, NULL, NULL),
                     SW_OK);
    assert_false(lab_channel_open(&lab));
    lab.keys = next;
    assert_true(lab_channel_open(&lab));
    assert_true(lab_power_cycle(&lab));
    assert_true(lab_channel_open(&lab));
    /* A key whose check value is wrong is not taken. */
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(lab_keys_write(&lab, 3, &old, &w), CW_OK);
    data[w.len - 1] ^= 1;
    assert_int_equal(lab_secure(&lab, 0x80, SCP03_INS_PUT_KEY, 2, SCP03_PUT_KEY_P2, data, w.len,
                                256, NULL, NULL),
                     SW_SECURITY_STATUS);
    assert_true(lab_channel_open(&lab));
}

/* The power fails in each operation of the wiping: once the card has started, nothing is left. */
static void test_terminated_torn(void **state)
{
    unsigned terminated = 0;
    bool dead = true;
    (void)state;
    for (long at = 0; dead; at++) {
        bring_to(LINK_LIFE_ACTIVE);
        lab.flash.cut_at = at;
        (void)lab_set_status(&lab, LINK_LIFE_TERMINATED);
        dead = lab.flash.dead;
        assert_true(lab_power_cycle(&lab));
        if (life() != LINK_LIFE_TERMINATED)
            continue;
        terminated++;
        for (size_t i = 0; i + sizeof LAB_PIN <= sizeof lab.flash.bytes; i++)
            if (memcmp(lab.flash.bytes + i, LAB_PIN, sizeof LAB_PIN - 1) == 0)
                fail_msg("cut before operation %ld: the PIN is still in flash, at %zu", at, i);
    }
    assert_true(terminated > 40);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_every_step),
        T(test_nothing_may_be_missing),
        T(test_in_the_post),
        T(test_channel_ends),
        T(test_weaker_channels_are_refused),
        T(test_key_roll_over),
        T(test_terminated_torn),
        T(test_unlock_with_a_key_begun),
        T(test_lock_takes_back_the_pin),
        T(test_nothing_stays_of_the_maker),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
