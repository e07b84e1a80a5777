/* test_card_piv.c - the PIV application without its keys: selection, objects, PIN and PUK.
 * SP 800-73-4 part 2 says what is right. */
#include "unit.h"

#include "card/state.h"
#include "piv_lab.h"

#include <string.h>

#define GET_DATA 0xCB
#define PUT_DATA 0xDB

static struct lab lab;

static int setup(void **state)
{
    (void)state;
    piv_lab_init(&lab, PIV_ALG_3DES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_free(&lab);
    return 0;
}

static uint16_t select_aid(const uint8_t *aid, size_t len, uint8_t p2, uint8_t *out, size_t *n)
{
    return lab_apdu(&lab, 0x00, INS_SELECT, 0x04, p2, aid, len, 256, out, n);
}

/* --- SELECT and GET DATA ---
 */

static void test_select(void **state)
{
    static const uint8_t apt[] = {0x61, 0x11, 0x4F, 0x06, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
                                  0x79, 0x07, 0x4F, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08};
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t aid[PIV_AID_LEN + 1] = {0};
    size_t n = 0;
    (void)state;
    for (size_t len = 5; len <= PIV_AID_LEN; len++) {
        assert_int_equal(lab_select(&lab), SW_OK);
        assert_int_equal(select_aid(piv_aid, len, 0x00, out, &n), SW_OK);
        assert_int_equal(n, sizeof apt);
        assert_memory_equal(out, apt, n);
    }
    assert_int_equal(select_aid(piv_aid, PIV_AID_LEN, 0x0C, out, &n), SW_OK);
    assert_int_equal(n, 0);
    /* What is not found leaves PIV selected. */
    memcpy(aid, piv_aid, PIV_AID_LEN);
    assert_int_equal(select_aid(aid, 4, 0x00, out, &n), SW_NOT_FOUND);
    assert_int_equal(select_aid(aid, PIV_AID_LEN + 1, 0x00, out, &n), SW_NOT_FOUND);
    aid[PIV_AID_LEN - 2] ^= 1;
    assert_int_equal(select_aid(aid, PIV_AID_LEN, 0x00, out, &n), SW_NOT_FOUND);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
}

/* OpenSC takes a card that answers this for one where PIV is selected. */
static void test_no_discovery_before_selection(void **state)
{
    static const uint8_t list[] = {0x5C, 0x01, 0x7E};
    static const uint8_t discovery[] = {0x7E, 0x12, 0x4F, 0x0B, 0xA0, 0x00, 0x00, 0x03, 0x08, 0x00,
                                        0x00, 0x10, 0x00, 0x01, 0x00, 0x5F, 0x2F, 0x02, 0x40, 0x00};
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(piv_lab_apdu(&lab, GET_DATA, 0x3F, 0xFF, list, sizeof list, out, &n),
                     SW_CONDITIONS);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_apdu(&lab, GET_DATA, 0x3F, 0xFF, list, sizeof list, out, &n), SW_INS);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_apdu(&lab, GET_DATA, 0x3F, 0xFF, list, sizeof list, out, &n), SW_OK);
    assert_int_equal(n, sizeof discovery);
    assert_memory_equal(out, discovery, n);
}

/* There, before anybody has written them; and the right bytes at the right places. */
static void test_objects_from_the_start(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o, part;
    (void)state;
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, 0x53, &o), CW_OK);
    assert_int_equal(o.len + 2, n);
    assert_int_equal(ber_find(o.value, o.len, 0x30, &part), CW_OK);
    assert_int_equal(part.len, 25);
    assert_int_equal(ber_find(o.value, o.len, 0x34, &part), CW_OK);
    assert_int_equal(part.len, 16);
    assert_memory_equal(part.value, lab.port.unique_id, 6);
    assert_memory_equal(part.value + 14, lab.port.unique_id + 6, 2);
    assert_int_equal(part.value[6] >> 4, 8);
    assert_int_equal(part.value[8] >> 6, 2);
    assert_int_equal(ber_find(o.value, o.len, 0x35, &part), CW_OK);
    assert_int_equal(part.len, 8);
    assert_int_equal(ber_find(o.value, o.len, 0xFE, &part), CW_OK);
    assert_int_equal(piv_lab_get(&lab, 0x07, out, sizeof out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, 0x53, &o), CW_OK);
    assert_int_equal(o.len + 2, n);
    assert_int_equal(ber_find(o.value, o.len, 0xF0, &part), CW_OK);
    assert_int_equal(part.len, 21);
    assert_int_equal(ber_find(o.value, o.len, 0xFE, &part), CW_OK);
    assert_int_equal(piv_lab_get(&lab, 0x0C, out, sizeof out, &n), SW_OK);
    assert_int_equal(n, 10);
    /* Those that nobody can make up are missing. */
    static const uint8_t missing[] = {0x01, 0x05, 0x06, 0x0A, 0x0B};
    for (size_t i = 0; i < sizeof missing; i++)
        assert_int_equal(piv_lab_get(&lab, missing[i], out, sizeof out, &n), SW_NOT_FOUND);
    /* And no others are there: biometrics, retired keys, pairing code. */
    for (unsigned object = 0; object < 256; object++)
        if (object == 0 || object > 0x0C || object == 3 || object == 4 || object == 8)
            assert_int_equal(piv_lab_get(&lab, (uint8_t)object, out, sizeof out, &n), SW_NOT_FOUND);
}

static void test_malformed_get_data(void **state)
{
    static const struct {
        uint8_t p1, p2;
        const char *data;
        size_t len;
        uint16_t sw;
    } wrong[] = {
        {0x3F, 0x00, "\x5C\x03\x5F\xC1\x02", 5, SW_WRONG_P1P2},
        {0x00, 0xFF, "\x5C\x03\x5F\xC1\x02", 5, SW_WRONG_P1P2},
        {0x40, 0xFF, "\x5C\x03\x5F\xC1\x02", 5, SW_WRONG_P1P2},
        {0x3F, 0xFF, "\x5C\x03\x5F\xC1\x02\x00", 6, SW_WRONG_LENGTH},
        {0x3F, 0xFF, "\x5C\x02\x5F\xC1\x02", 5, SW_NOT_FOUND},
        {0x3F, 0xFF, "\x5C\x01\x7E\x00", 4, SW_WRONG_DATA},
        {0x3F, 0xFF, "\x5C\x04\x5F\xC1\x02", 5, SW_WRONG_DATA},
        {0x3F, 0xFF, "\x5C\x00\x7E", 3, SW_WRONG_DATA},
        {0x3F, 0xFF, "\x53\x03\x5F\xC1\x02", 5, SW_WRONG_DATA},
        {0x3F, 0xFF, "\x5C\x03\x5F\xC2\x02", 5, SW_NOT_FOUND},
        {0x3F, 0xFF, "\x5C\x03\x5E\xC1\x02", 5, SW_NOT_FOUND},
        {0x3F, 0xFF, "\x5C\x01\x02", 3, SW_NOT_FOUND},
        {0x3F, 0xFF, "\x5C\x02\x7F\x61", 4, SW_NOT_FOUND},
    };
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(piv_lab_apdu(&lab, GET_DATA, wrong[i].p1, wrong[i].p2, wrong[i].data,
                                      wrong[i].len, out, &n),
                         wrong[i].sw);
        assert_int_equal(n, 0);
    }
}

/* Tools ask for 8 bytes and expect 61xx; others leave out Le and expect the answer all the same. */
static void test_what_tools_call_le(void **state)
{
    static const uint8_t list[] = {0x5C, 0x03, 0x5F, 0xC1, 0x02};
    static const uint8_t without_le[] = {0x00, GET_DATA, 0x3F, 0xFF, 5,
                                         0x5C, 0x03,     0x5F, 0xC1, 0x02};
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t whole[CARD_RESPONSE_MAX];
    size_t n = 0;
    size_t all = 0;
    (void)state;
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, whole, sizeof whole, &all), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, GET_DATA, 0x3F, 0xFF, list, sizeof list, 8, out, &n),
                     SW_MORE | (all - 8));
    assert_int_equal(n, 8);
    assert_memory_equal(out, whole, 8);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_GET_RESPONSE, 0, 0, NULL, 0, all - 8, out, &n),
                     SW_OK);
    assert_int_equal(n, all - 8);
    assert_memory_equal(out, whole + 8, n);
    n = card_process(lab.card, without_le, sizeof without_le, out, sizeof out);
    assert_int_equal(n, all + 2);
    assert_memory_equal(out, whole, all);
    /* Not so the link application: there Le is what the other side said. */
    static const uint8_t select[] = {0x00, INS_SELECT, 0x04, 0x00, 5, 0xF0, 0x43, 0x57, 0x4C, 0x01};
    assert_int_equal(card_process(lab.card, select, sizeof select, out, sizeof out), 2);
    assert_int_equal(out[0], SW_MORE >> 8);
}

/* --- PUT DATA ---
 */

static void test_put_data_wants_the_key(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK); /* the PIN is not it */
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "x", 1), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n), SW_NOT_FOUND);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "x", 1), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n), SW_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(out, "\x53\x01x", 3);
    /* The status is of this application while it is selected, and of this power. */
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "y", 1), SW_OK);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "z", 1), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "z", 1), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n), SW_OK);
    assert_memory_equal(out, "\x53\x01y", 3);
}

static void test_objects_outlive_power(void **state)
{
    /* The longest that a command carries: 5C 03 5FC105 53 82 LLLL and it. */
    static uint8_t big[2048 - 9];
    static uint8_t out[2300];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7);
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, big, sizeof big), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CHUID, "own", 3), SW_OK);
    /* One byte more is refused, and changes nothing. */
    static uint8_t bigger[sizeof big + 1];
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, bigger, sizeof bigger), SW_WRONG_LENGTH);
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n), SW_OK);
    assert_int_equal(n, 4 + sizeof big);
    assert_memory_equal(out + 4, big, sizeof big);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
    assert_memory_equal(out, "\x53\x03own", 5);
    /* An empty one is taken away; then the card's own is there again. */
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "", 0), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CERT_9A, out, sizeof out, &n), SW_NOT_FOUND);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CERT_9A, "", 0), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_CHUID, "", 0), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_CHUID, out, sizeof out, &n), SW_OK);
    assert_int_equal(n, 61);
}

static void test_full_memory(void **state)
{
    static uint8_t big[2000];
    static const uint8_t objects[] = {0x01, 0x02, 0x05, 0x06, 0x07, 0x09, 0x0A, 0x0B, 0x0C};
    uint8_t out[2300];
    size_t n = 0;
    unsigned refused = 0;
    (void)state;
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    for (size_t i = 0; i < sizeof objects; i++) {
        memset(big, objects[i], sizeof big);
        uint16_t sw = piv_lab_put(&lab, objects[i], big, sizeof big);
        assert_true(sw == SW_OK || sw == SW_NOT_ENOUGH_MEMORY);
        if (sw == SW_OK) {
            assert_int_equal(refused, 0);
            if (objects[i] == PIV_LAB_PRINTED)
                continue;
            assert_int_equal(piv_lab_get(&lab, objects[i], out, sizeof out, &n), SW_OK);
            assert_memory_equal(out + 4, big, sizeof big);
        } else {
            refused++;
        }
    }
    assert_true(refused > 0); /* the lab's flash has 16 KB for values */
    /* So does what the issuer may send: two roots of 1,000 bytes, all or none. */
    const struct nvm_change roots[] = {{.key = NVM_ROOT, .data = big, .len = 1000},
                                       {.key = NVM_ROOT | 1, .data = big, .len = 1000}};
    assert_int_equal(nvm_change_all(&lab.card->nvm, roots, 2), CW_OK);
    /* And the tries of a PIN. */
    assert_int_equal(piv_lab_verify(&lab, "000000"), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
}

static void test_malformed_put_data(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        uint16_t sw;
    } wrong[] = {
        {"\x5C\x03\x5F\xC1\x05", 5, SW_WRONG_DATA},
        {"\x5C\x03\x5F\xC1\x05\x53", 6, SW_WRONG_DATA},
        {"\x5C\x03\x5F\xC1\x05\x53\x02x", 8, SW_WRONG_DATA},
        {"\x5C\x03\x5F\xC1\x05\x53\x01xy", 9, SW_WRONG_DATA},
        {"\x5C\x03\x5F\xC1\x05\x70\x01x", 8, SW_WRONG_DATA},
        {"\x5C\x03\x5F\xC1\x0D\x53\x01x", 8, SW_NOT_FOUND},
        {"\x5C\x03\x5F\xC1\x03\x53\x01x", 8, SW_NOT_FOUND},
        {"\x5C\x01\x7E\x53\x01x", 6, SW_FUNCTION},
        {"\x7E\x03\x5F\x2F\x00", 5, SW_WRONG_DATA},
    };
    (void)state;
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(
            piv_lab_apdu(&lab, PUT_DATA, 0x3F, 0xFF, wrong[i].data, wrong[i].len, NULL, NULL),
            wrong[i].sw);
    assert_int_equal(
        piv_lab_apdu(&lab, PUT_DATA, 0x3F, 0x00, "\x5C\x03\x5F\xC1\x05\x53\x01x", 8, NULL, NULL),
        SW_WRONG_P1P2);
}

static void test_printed_information_wants_the_pin(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(piv_lab_admin(&lab, PIV_ALG_3DES), SW_OK);
    assert_int_equal(piv_lab_put(&lab, PIV_LAB_PRINTED, "Ada", 3), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_PRINTED, out, sizeof out, &n), SW_SECURITY_STATUS);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(piv_lab_get(&lab, PIV_LAB_PRINTED, out, sizeof out, &n), SW_OK);
    assert_memory_equal(out,
                        "\x53\x03"
                        "Ada",
                        5);
}

/* --- PIN and PUK ---
 */

static void test_verify(void **state)
{
    (void)state;
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK); /* what is selected stays as it is */
    assert_int_equal(piv_lab_status(&lab), SW_OK);
    /* P1 FF: given back */
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0xFF, PIV_REF_PIN, NULL, 0, 0, NULL, NULL),
                     SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    /* a wrong one ends what a right one began */
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(piv_lab_verify(&lab, "577214"), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(piv_lab_select(&lab), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
}

static void test_blocked(void **state)
{
    (void)state;
    assert_int_equal(piv_lab_verify(&lab, "000000"), SW_PIN_TRIES | 2);
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_verify(&lab, "00000000"), SW_PIN_TRIES | 1);
    assert_int_equal(piv_lab_verify(&lab, "5772150"), SW_PIN_TRIES | 0);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, "111111"),
                     SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, "69314719", "161803"),
                     SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "161803"), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3); /* unblocked, not given */
    assert_int_equal(piv_lab_verify(&lab, "161803"), SW_OK);
}

static void test_malformed_numbers_cost_no_try(void **state)
{
    static const char *const wrong[] = {
        "12345",  /* five digits */
        "",       /* all padding */
        "12345a", /* no digit */
        "1234\xFF"
        "56", /* padding in between */
        "123456\n",
    };
    (void)state;
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(piv_lab_verify(&lab, wrong[i]), SW_WRONG_DATA);
        assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, wrong[i], "123456"),
                         SW_WRONG_DATA);
        assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, wrong[i]),
                         SW_WRONG_DATA);
        assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, wrong[i]),
                         SW_WRONG_DATA);
    }
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, PIV_LAB_PUK, "12345"),
                     SW_WRONG_DATA);
    assert_int_equal(
        lab_apdu(&lab, 0x00, INS_VERIFY, 0, PIV_REF_PIN, PIV_LAB_PIN, 6, 0, NULL, NULL),
        SW_WRONG_DATA);
    assert_int_equal(
        lab_apdu(&lab, 0x00, INS_VERIFY, 0, PIV_REF_PIN, "577215\xFF\xFF\xFF", 9, 0, NULL, NULL),
        SW_WRONG_DATA);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_CHANGE_PIN, 0, PIV_REF_PIN,
                              "577215\xFF\xFF"
                              "577215\xFF",
                              15, 0, NULL, NULL),
                     SW_WRONG_LENGTH);
    /* The status stays as well (part 2 §3.2.1). */
    assert_int_equal(piv_lab_status(&lab), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0xFF, PIV_REF_PIN, NULL, 0, 0, NULL, NULL),
                     SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3);
    /* No other references: the global PIN, the PUK, the pairing code, those of link. */
    static const uint8_t others[] = {0x00, 0x81, 0x82, 0x96, 0x97, 0x98};
    for (size_t i = 0; i < sizeof others; i++)
        assert_int_equal(
            lab_apdu(&lab, 0x00, INS_VERIFY, 0, others[i], "577215\xFF\xFF", 8, 0, NULL, NULL),
            SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_apdu(&lab, 0x00, INS_VERIFY, 0x01, PIV_REF_PIN, NULL, 0, 0, NULL, NULL),
                     SW_WRONG_P1P2);
    assert_int_equal(
        lab_apdu(&lab, 0x00, INS_VERIFY, 0xFF, PIV_REF_PIN, "577215\xFF\xFF", 8, 0, NULL, NULL),
        SW_WRONG_DATA);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, 0x00, PIV_LAB_PIN, "123456"),
                     SW_REFERENCE_NOT_FOUND);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PUK, PIV_LAB_PUK, "123456"),
                     SW_REFERENCE_NOT_FOUND);
}

static void test_change(void **state)
{
    (void)state;
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, "000000", "16180339"),
                     SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PIN, PIV_LAB_PIN, "16180339"),
                     SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_OK); /* part 2 §3.2.2 */
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_verify(&lab, "16180339"), SW_OK);
    /* A PUK may be any bytes. It says nothing of the PIN's status. */
    assert_int_equal(
        piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, PIV_LAB_PUK, "\x01\x80\xFEpuk!"), SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_OK);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "123456"),
                     SW_PIN_TRIES | 2);
    assert_int_equal(piv_lab_status(&lab), SW_PIN_TRIES | 3); /* §3.2.3 */
    assert_int_equal(piv_lab_verify(&lab, "16180339"), SW_OK);
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, "\x01\x80\xFEpuk!", "123456"),
                     SW_OK);
    assert_int_equal(piv_lab_status(&lab), SW_OK); /* §3.2.3: as it was */
    assert_int_equal(piv_lab_verify(&lab, "123456"), SW_OK);
}

static void test_puk_blocks_for_good(void **state)
{
    (void)state;
    for (unsigned left = 3; left > 0; left--)
        assert_int_equal(piv_lab_two(&lab, left == 2 ? INS_CHANGE_PIN : INS_RESET_PIN,
                                     left == 2 ? PIV_REF_PUK : PIV_REF_PIN, "00000000", "123456"),
                         SW_PIN_TRIES | (left - 1));
    assert_int_equal(piv_lab_two(&lab, INS_RESET_PIN, PIV_REF_PIN, PIV_LAB_PUK, "123456"),
                     SW_PIN_BLOCKED);
    piv_lab_power(&lab, false);
    assert_int_equal(piv_lab_two(&lab, INS_CHANGE_PIN, PIV_REF_PUK, PIV_LAB_PUK, "123456"),
                     SW_PIN_BLOCKED);
    assert_int_equal(piv_lab_verify(&lab, PIV_LAB_PIN), SW_OK); /* the PIN has its own tries */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_select, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_discovery_before_selection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_objects_from_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_get_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_tools_call_le, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_data_wants_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_objects_outlive_power, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_put_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_printed_information_wants_the_pin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_numbers_cost_no_try, setup, teardown),
        cmocka_unit_test_setup_teardown(test_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_puk_blocks_for_good, setup, teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
