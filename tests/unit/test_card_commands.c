/* test_card_commands.c - every command of wrong length, class, instruction, order or state gets its
 * ISO/IEC 7816-4 status word and changes nothing; the PIN; personalisation; power cuts in between.
 */
#include "unit.h"

#include "card_lab.h"
#include "proto/ber.h"

#include <string.h>
#include <sys/random.h>

#define P256 (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))

static struct lab lab;
static struct lab_identity root, card_ca;

static int blank(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    lab_init(&lab);
    return 0;
}

static int active(void **state)
{
    blank(state);
    lab_personalise(&lab, P256, &card_ca, &root, 7);
    return 0;
}

static int gone(void **state)
{
    (void)state;
    lab_free(&lab);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

/* Raw bytes in, status word out. */
static uint16_t raw(const void *bytes, size_t len)
{
    uint8_t response[CARD_RESPONSE_MAX];
    size_t n = card_process(lab.card, bytes, len, response, sizeof response);
    assert_true(n >= 2);
    return (uint16_t)(response[n - 2] << 8 | response[n - 1]);
}

static uint16_t send(uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2, const void *data, size_t nc,
                     size_t ne)
{
    return lab_apdu(&lab, cla, ins, p1, p2, data, nc, ne, NULL, NULL);
}

static unsigned tries(void)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_TRIES, &o), CW_OK);
    return o.value[0];
}

static void test_malformed_apdus(void **state)
{
    (void)state;
    assert_int_equal(raw("", 0), SW_WRONG_LENGTH);
    assert_int_equal(raw("\x00\xA4\x04", 3), SW_WRONG_LENGTH);
    assert_int_equal(raw("\x00\xA4\x04\x0C\x05\xF0", 6), SW_WRONG_LENGTH);
    assert_int_equal(raw("\x00\xA4\x04\x0C\x01\xF0\x00\x00", 8), SW_WRONG_LENGTH);
    assert_int_equal(raw("\x00\xA4\x04\x0C\x00\x00\x00\x01", 8), SW_WRONG_LENGTH);
    /* ISO/IEC 7816-4:2020 §5.4.1: classes that are not ours */
    assert_int_equal(raw("\xFF\xA4\x04\x0C", 4), SW_CLA);
    assert_int_equal(raw("\x01\xA4\x04\x0C", 4), SW_LOGICAL_CHANNEL);
    assert_int_equal(raw("\x0C\xA4\x04\x0C", 4), SW_SECURE_MESSAGING);
    assert_int_equal(raw("\x04\xA4\x04\x0C", 4), SW_SECURE_MESSAGING); /* no channel is open */
    assert_int_equal(raw("\x00\x02\x00\x00", 4), SW_INS);
    assert_int_equal(raw("\x80\xA4\x04\x00", 4), SW_INS);
    assert_int_equal(raw("\x00\xC0\x00\x00\x00", 5), SW_CONDITIONS);
}

static void test_select(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    assert_int_equal(send(0, INS_SELECT, 4, 0, "\xA0\x00\x00\x03\x09", 5, 256), SW_NOT_FOUND);
    assert_int_equal(send(0, INS_SELECT, 4, 0, LINK_AID, 4, 256), SW_NOT_FOUND);
    assert_int_equal(send(0, INS_SELECT, 0, 0, LINK_AID, LINK_AID_LEN, 256), SW_WRONG_P1P2);
    assert_int_equal(send(0, INS_SELECT, 4, 1, LINK_AID, LINK_AID_LEN, 256), SW_WRONG_P1P2);
    assert_int_equal(lab_apdu(&lab, 0, INS_SELECT, 4, 0, LINK_AID, LINK_AID_LEN, 256, out, &n),
                     SW_OK);
    assert_int_equal(n, 15);
    assert_int_equal(out[0], 0x6F);
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_int_equal(send(0x80, INS_INFO, 0, 0, NULL, 0, 256), SW_CONDITIONS);
}

struct attempt {
    uint8_t cla, ins, p1, p2;
    uint8_t nc;
    uint16_t ne, sw;
};

static void expect_all(const struct attempt *attempts, size_t count, bool secured)
{
    static const uint8_t data[256];
    static struct lab_flash before;
    before = lab.flash;
    for (size_t i = 0; i < count; i++) {
        const struct attempt *a = &attempts[i];
        const uint8_t *d = a->nc > 0 ? data : NULL;
        uint16_t sw = 0;
        if (secured) {
            assert_true(lab_channel_open(&lab));
            sw = lab_secure(&lab, a->cla, a->ins, a->p1, a->p2, d, a->nc, a->ne, NULL, NULL);
        } else {
            sw = send(a->cla, a->ins, a->p1, a->p2, d, a->nc, a->ne);
        }
        if (sw != a->sw)
            fail_msg("row %zu: INS %02X gave %04X, not %04X", i, a->ins, sw, a->sw);
    }
    assert_memory_equal(before.bytes, lab.flash.bytes, sizeof before.bytes);
}
#define EXPECT_ALL(attempts, secured)                                                              \
    expect_all(attempts, sizeof(attempts) / sizeof(attempts)[0], secured)

/* What each row declares is checked for each row. */
static void test_wrong_state_everywhere(void **state)
{
    static const struct attempt plain[] = {
        {0x00, INS_VERIFY, 0, 0x81, 4, 0, SW_CONDITIONS},
        {0x00, INS_CHANGE_PIN, 0, 0x81, 9, 0, SW_CONDITIONS},
        {0x00, INS_RESET_PIN, 0, 0x81, 9, 0, SW_CONDITIONS},
        {0x00, INS_GET_CHALLENGE, 0, 0, 0, 8, SW_CONDITIONS},
        {0x80, INS_APPLY, 0, 0, 10, 256, SW_CONDITIONS},
        {0x80, INS_OPEN, 0, 0, 0, 256, SW_CONDITIONS},
        {0x80, INS_STEP, 0, 0, 0, 256, SW_CONDITIONS},
        {0x80, INS_WRITE, 0, 0, 1, 256, SW_CONDITIONS},
        {0x80, INS_READ, 0, 0, 0, 256, SW_CONDITIONS},
        {0x80, INS_CLOSE, 0, 0, 0, 256, SW_CONDITIONS},
        {0x80, INS_SIGN_ORDER, 0, 0, 10, 256, SW_CONDITIONS},
        /* What is the issuer's wants its channel. */
        {0x80, INS_SET_STATUS, 0x80, 2, 0, 0, SW_SECURITY_STATUS},
        {0x80, SCP03_INS_PUT_KEY, 0, 0x81, 67, 256, SW_SECURITY_STATUS},
        {0x00, INS_GENERATE_KEY, 0, 1, 0, 0, SW_SECURITY_STATUS},
        {0x80, INS_REQUEST, 0, 1, 0, 256, SW_SECURITY_STATUS},
        {0x00, INS_PUT_DATA, 5, 0, 8, 0, SW_SECURITY_STATUS},
        {0x80, SCP03_INS_EXTERNAL_AUTHENTICATE, 0x33, 0, 16, 0, SW_CONDITIONS},
        {0x80, SCP03_INS_INITIALIZE_UPDATE, 1, 0, 8, 256, SW_REFERENCE_NOT_FOUND},
        {0x80, SCP03_INS_INITIALIZE_UPDATE, 0, 0, 7, 256, SW_WRONG_LENGTH},
        {0x00, INS_GET_DATA, 1, 1, 0, 256, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_GET_DATA, 4, 0, 0, 256, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_GET_DATA, 0x0A, 0, 0, 256, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_GET_DATA, 0x40, 1, 0, 256, SW_REFERENCE_NOT_FOUND},
        {0x80, INS_INFO, 3, 0, 0, 256, SW_WRONG_P1P2},
        {0x80, INS_INFO, 0, 1, 0, 256, SW_WRONG_P1P2},
        {0x80, INS_INFO, 0, 0, 0, 0, SW_WRONG_LENGTH},
    };
    static const struct attempt secured[] = {
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_PERSONALISED, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_ACTIVE, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_LOCKED, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_BLANK, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, 0, 0, 0, SW_WRONG_P1P2},
        {0x80, INS_SET_STATUS, 0x80, 6, 0, 0, SW_WRONG_P1P2},
        {0x80, INS_SET_STATUS, 0x40, 2, 0, 0, SW_WRONG_P1P2},
        {0x80, INS_SET_STATUS, 0x80, 2, 1, 0, SW_WRONG_LENGTH},
        {0x00, INS_GENERATE_KEY, 0, 0, 0, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_GENERATE_KEY, 0, 5, 0, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_GENERATE_KEY, 2, 1, 0, 0, SW_WRONG_P1P2},
        {0x80, INS_REQUEST, 0, 1, 0, 256, SW_REFERENCE_NOT_FOUND},
        {0x80, SCP03_INS_PUT_KEY, 0, 0x81, 67, 256, SW_WRONG_DATA},
        {0x80, SCP03_INS_PUT_KEY, 0, 0x01, 67, 256, SW_WRONG_P1P2},
        {0x80, SCP03_INS_PUT_KEY, 1, 0x81, 67, 256, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x40, 1, 8, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x01, 1, 8, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x02, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x02, 2, 8, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x03, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x03, 4, 8, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x04, 0, 5, 0, SW_WRONG_LENGTH},
        {0x00, INS_PUT_DATA, 0x04, 0, 15, 0, SW_WRONG_LENGTH},
        {0x00, INS_PUT_DATA, 0x04, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x04, 2, 7, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x04, 4, 8, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x05, 0, 7, 0, SW_WRONG_LENGTH},
        {0x00, INS_PUT_DATA, 0x05, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x06, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x07, 0, 64, 0, SW_WRONG_LENGTH},
        {0x00, INS_PUT_DATA, 0x07, 0, 65, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x09, 0, 8, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x0A, 0, 17, 0, SW_WRONG_DATA},
        {0x00, INS_PUT_DATA, 0x0B, 0, 1, 0, SW_REFERENCE_NOT_FOUND},
        {0x00, INS_PUT_DATA, 0x05, 0, 0, 0, SW_WRONG_LENGTH},
        /* What flows through the line does not come through the channel. */
        {0x80, INS_OPEN, 0, 0, 0, 256, SW_SECURE_MESSAGING},
    };
    (void)state;
    EXPECT_ALL(plain, false);
    EXPECT_ALL(secured, true);
}

static void test_active_card_is_changed_by_the_issuer_alone(void **state)
{
    static const struct attempt plain[] = {
        {0x00, INS_GENERATE_KEY, 0, 2, 0, 0, SW_SECURITY_STATUS},
        {0x00, INS_PUT_DATA, 4, 0, 8, 0, SW_SECURITY_STATUS},
        {0x00, INS_PUT_DATA, 5, 0, 8, 0, SW_SECURITY_STATUS},
        {0x80, INS_REQUEST, 0, 1, 0, 1024, SW_SECURITY_STATUS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_TERMINATED, 0, 0, SW_SECURITY_STATUS},
        {0x80, SCP03_INS_PUT_KEY, 0, 0x81, 67, 256, SW_SECURITY_STATUS},
    };
    static const struct attempt secured[] = {
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_BLANK, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_PERSONALISED, 0, 0, SW_CONDITIONS},
        {0x80, INS_SET_STATUS, 0x80, LINK_LIFE_ACTIVE, 0, 0, SW_CONDITIONS},
        /* The last root and the last name stay; so does everything else that it cannot do without.
         */
        {0x00, INS_PUT_DATA, 2, 0, 0, 0, SW_CONDITIONS},
        {0x00, INS_PUT_DATA, 3, 0, 0, 0, SW_CONDITIONS},
        {0x00, INS_PUT_DATA, 4, 0, 0, 0, SW_WRONG_LENGTH},
        {0x00, INS_PUT_DATA, 6, 0, 0, 0, SW_WRONG_LENGTH},
        /* 1970: the floor of time only grows. */
        {0x00, INS_PUT_DATA, 5, 0, 8, 0, SW_WRONG_DATA},
    };
    (void)state;
    EXPECT_ALL(plain, false);
    EXPECT_ALL(secured, true);
    const uint8_t earlier[8] = {0, 0, 0, 0, 0x6A, 0xB1, 0, 0};
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put(&lab, LINK_DO_TIME, earlier, 8), SW_CONDITIONS);
    /* The maker's keys are good no more. */
    struct scp03_keys keys = lab.keys;
    memcpy(lab.keys.enc, lab.port.initial_key, sizeof lab.keys.enc);
    memcpy(lab.keys.mac, lab.port.initial_key, sizeof lab.keys.mac);
    assert_false(lab_channel_open(&lab));
    lab.keys = keys;
    assert_true(lab_channel_open(&lab));
}

static void test_pin(void **state)
{
    (void)state;
    assert_int_equal(send(0, INS_VERIFY, 0, 0x80, LAB_PIN, 6, 0), SW_REFERENCE_NOT_FOUND);
    assert_int_equal(send(0, INS_VERIFY, 1, 0x81, LAB_PIN, 6, 0), SW_WRONG_P1P2);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, LAB_PIN, 3, 0), SW_WRONG_LENGTH);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, "2718281828459", 13, 0), SW_WRONG_LENGTH);
    assert_int_equal(tries(), 3);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, NULL, 0, 0), SW_PIN_TRIES | 3);
    assert_int_equal(lab_verify(&lab, 0x81, "000000"), SW_PIN_TRIES | 2);
    assert_int_equal(lab_verify(&lab, 0x82, "2718280"), SW_PIN_TRIES | 1); /* a longer one */
    assert_int_equal(lab_verify(&lab, 0x81, LAB_PIN), SW_OK);
    assert_int_equal(tries(), 3);
    /* The line's PIN is not the order's, nor the other way round. */
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, NULL, 0, 0), SW_OK);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x82, NULL, 0, 0), SW_PIN_TRIES | 3);
    /* A wrong PIN takes back both. */
    assert_int_equal(lab_verify(&lab, 0x82, "111111"), SW_PIN_TRIES | 2);
    assert_int_equal(send(0x80, INS_OPEN, 0, 0, NULL, 0, 256), SW_SECURITY_STATUS);
    /* A reset forgets what was given and gives no tries back. */
    assert_int_equal(lab_verify(&lab, 0x81, "111111"), SW_PIN_TRIES | 1);
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(tries(), 1);
    assert_int_equal(lab_verify(&lab, 0x81, "111111"), SW_PIN_TRIES | 0);
    assert_int_equal(lab_verify(&lab, 0x81, LAB_PIN), SW_PIN_BLOCKED);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, NULL, 0, 0), SW_PIN_BLOCKED);
    assert_int_equal(send(0x80, INS_OPEN, 0, 0, NULL, 0, 256), SW_PIN_BLOCKED);
    assert_true(lab_power_cycle(&lab));
    assert_int_equal(lab_verify(&lab, 0x81, LAB_PIN), SW_PIN_BLOCKED);
}

/* Power cut at every byte of the work of a wrong VERIFY: an attacker never gains a try. */
static void test_pin_tries_survive_power_cuts(void **state)
{
    static struct lab_flash start;
    unsigned cuts = 0;
    (void)state;
    start = lab.flash;
    for (long budget = 0;; budget++) {
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        lab.flash.budget = budget;
        uint16_t sw = lab_verify(&lab, 0x81, "000000");
        /* No answer about the PIN before the try is taken down for good. */
        assert_true(sw == SW_MEMORY_FAILURE || sw == (SW_PIN_TRIES | 2));
        assert_true(lab_power_cycle(&lab));
        if (sw != SW_MEMORY_FAILURE) {
            assert_int_equal(tries(), 2);
            break;
        }
        assert_in_range(tries(), 2, 3);
        cuts++;
    }
    print_message("%u power cuts\n", cuts);
    assert_true(cuts >= 17);
}

static void test_chaining_and_get_response(void **state)
{
    uint8_t out[CARD_RESPONSE_MAX];
    uint8_t more[CARD_RESPONSE_MAX];
    uint8_t whole[CARD_RESPONSE_MAX];
    size_t n = 0;
    size_t m = 0;
    size_t w = 0;
    (void)state;
    /* ISO/IEC 7816-4:2020 §5.3.4: a certificate in parts */
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 1, 1, NULL, 0, 1024, whole, &w), SW_OK);
    assert_true(w > 256);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_DATA, 1, 1, NULL, 0, 200, out, &n),
                     SW_MORE | (w - 200 > 255 ? 0 : w - 200));
    assert_int_equal(n, 200);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_RESPONSE, 0, 0, NULL, 0, 100, more, &m),
                     SW_MORE | (w - 300 > 255 ? 0 : w - 300));
    memcpy(out + n, more, m);
    assert_int_equal(lab_apdu(&lab, 0, INS_GET_RESPONSE, 0, 0, NULL, 0, 256, more, &m), SW_OK);
    assert_int_equal(m, w - 300);
    memcpy(out + 300, more, m);
    assert_memory_equal(out, whole, w);
    assert_int_equal(send(0, INS_GET_RESPONSE, 0, 0, NULL, 0, 256), SW_CONDITIONS);
    /* Another command takes the rest away. */
    assert_int_equal(send(0, INS_GET_DATA, 1, 1, NULL, 0, 10) & 0xFF00, SW_MORE);
    assert_int_equal(send(0x80, INS_INFO, 0, 0, NULL, 0, 256), SW_OK);
    assert_int_equal(send(0, INS_GET_RESPONSE, 0, 0, NULL, 0, 256), SW_CONDITIONS);

    /* VERIFY in a chain of three is VERIFY. */
    assert_int_equal(send(0x10, INS_VERIFY, 0, 0x81, "27", 2, 0), SW_OK);
    assert_int_equal(send(0x10, INS_VERIFY, 0, 0x81, "18", 2, 0), SW_OK);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, NULL, 0, 0), SW_PIN_TRIES | 2);
    assert_int_equal(send(0x10, INS_VERIFY, 0, 0x81, "2718", 4, 0), SW_OK);
    assert_int_equal(send(0, INS_VERIFY, 0, 0x81, "28", 2, 0), SW_OK);
    assert_int_equal(tries(), 3);
    /* Another command in the middle breaks the chain. */
    assert_int_equal(send(0x10, INS_VERIFY, 0, 0x82, "2718", 4, 0), SW_OK);
    assert_int_equal(send(0x80, INS_INFO, 0, 0, NULL, 0, 256), SW_LAST_OF_CHAIN);
    assert_int_equal(send(0x80, INS_INFO, 0, 0, NULL, 0, 256), SW_OK);
    /* So does what is no command at all, an unknown one, and GET RESPONSE. */
    static const uint8_t foreign[][5] = {{0x00, 0xC0, 0x00, 0x00, 0x00},
                                         {0x00, 0xFF, 0x00, 0x00, 0x00},
                                         {0xA0, 0xA4, 0x00, 0x00, 0x00},
                                         {0x00, 0xA4, 0x04, 0x0C, 0x07},
                                         {0x00, 0x20, 0x00, 0x82, 0x05}};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(send(0x10, INS_VERIFY, 0, 0x81, "2718", 4, 0), SW_OK);
        assert_int_equal(raw(foreign[i], 5), SW_LAST_OF_CHAIN);
        assert_int_equal(send(0, INS_VERIFY, 0, 0x81, "28", 2, 0), SW_WRONG_LENGTH);
    }
    assert_int_equal(tries(), 3);
    /* A wrong GET RESPONSE takes nothing away. */
    assert_int_equal(send(0, INS_GET_DATA, 1, 1, NULL, 0, 10) & 0xFF00, SW_MORE);
    assert_int_equal(send(0, INS_GET_RESPONSE, 1, 0, NULL, 0, 256), SW_WRONG_P1P2);
    assert_int_equal(send(0, INS_GET_RESPONSE, 0, 0, NULL, 0, 0), SW_WRONG_LENGTH);
    assert_int_equal(raw("\x00\xA4", 2), SW_WRONG_LENGTH);
    assert_int_equal(send(0, INS_GET_RESPONSE, 0, 0, NULL, 0, 10) & 0xFF00, SW_MORE);
    /* Too long a chain. */
    uint16_t sw = SW_OK;
    for (int i = 0; i < 9 && sw == SW_OK; i++)
        sw = send(0x90, INS_STEP, 0, 0, whole, 255, 0);
    assert_int_equal(sw, SW_WRONG_LENGTH);
}

static void test_certificate_must_fit_its_key(void **state)
{
    uint8_t *der = NULL;
    (void)state;
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_secure(&lab, 0, INS_GENERATE_KEY, 0, 1, NULL, 0, 0, NULL, NULL), SW_OK);
    assert_int_equal(lab_secure(&lab, 0, INS_GENERATE_KEY, 0, 1, NULL, 0, 0, NULL, NULL),
                     SW_EXISTS);
    int n = i2d_X509(root.certificate, &der);
    assert_int_equal(lab_put(&lab, LINK_DO_CERT | 1, der, (size_t)n), SW_WRONG_DATA);
    assert_int_equal(lab_put(&lab, LINK_DO_ROOT, der, (size_t)n - 1), SW_WRONG_DATA);
    assert_int_equal(lab_put(&lab, LINK_DO_ROOT, der, (size_t)n), SW_OK);
    OPENSSL_free(der);
    /* A root has to be one. */
    struct lab_identity leaf = lab_server_new(&root, &(struct lab_server_spec){0});
    der = NULL;
    n = i2d_X509(leaf.certificate, &der);
    assert_int_equal(lab_put(&lab, LINK_DO_ROOT | 1, der, (size_t)n), SW_WRONG_DATA);
    OPENSSL_free(der);
    lab_identity_free(&leaf);
}

static void test_no_randomness_no_line(void **state)
{
    (void)state;
    assert_int_equal(lab_verify(&lab, 0x81, LAB_PIN), SW_OK);
    lab.random_fails = true;
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint16_t sw = lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, out, &n);
    assert_true(sw != SW_OK || (out[0] & LINK_STATE_ERROR && n < 20));
    lab.random_fails = false;
}

/* Personalisation with the power cut after every `step` bytes of flash work: the card always
 * starts, and is never active with something missing. */
static void test_personalisation_torn(void **state)
{
    unsigned cuts = 0;
    (void)state;
    lab_free(&lab);
    /* Without keys, whose time would make thousands of rounds long: they are one write each, as the
     * others are. */
    static const struct {
        uint16_t object;
        const char *value;
        uint8_t len;
    } puts[] = {
        {LINK_DO_NAME, "\x80\x09" LAB_HOST "\x81\x01\x07", 14},
        {LINK_DO_TIME, "\0\0\0\0\x6A\0\0\0", 8},
        {LINK_DO_PIN, "\x03\0" LAB_PIN, 8},
    };
    for (long budget = 0;; budget += 1) {
        lab_flash_init(&lab.flash);
        lab.flash.budget = budget;
        bool whole = false;
        if (card_power_up(&lab.port, &lab.card) == CW_OK) {
            whole = lab_select(&lab) == SW_OK && lab_channel_open(&lab);
            for (size_t i = 0; i < 3 && whole; i++)
                whole = lab_put(&lab, puts[i].object, puts[i].value, puts[i].len) == SW_OK;
        }
        assert_true(lab_power_cycle(&lab));
        /* Blank, whatever happened, and the maker's key opens it. */
        assert_true(lab_channel_open(&lab));
        assert_int_equal(lab_set_status(&lab, LINK_LIFE_PERSONALISED), SW_CONDITIONS);
        assert_int_equal(send(0x80, INS_OPEN, 0, 0, NULL, 0, 256), SW_CONDITIONS);
        card_power_down(&lab.card);
        cuts++;
        if (whole)
            break;
    }
    print_message("%u power cuts\n", cuts);
    assert_true(cuts > 200);
    lab_flash_init(&lab.flash);
    assert_int_equal(card_power_up(&lab.port, &lab.card), CW_OK);
}

static void test_random_commands_change_nothing_they_should_not(void **state)
{
    (void)state;
    uint8_t rows[][2] = {{0x00, INS_SELECT},        {0x00, INS_VERIFY},
                         {0x00, INS_GET_DATA},      {0x80, INS_OPEN},
                         {0x80, INS_STEP},          {0x80, INS_WRITE},
                         {0x80, INS_READ},          {0x80, INS_SIGN_ORDER},
                         {0x80, INS_INFO},          {0x80, INS_CLOSE},
                         {0x00, INS_GENERATE_KEY},  {0x00, INS_PUT_DATA},
                         {0x80, INS_APPLY},         {0x80, INS_REQUEST},
                         {0x00, INS_GET_RESPONSE},  {0x00, INS_CHANGE_PIN},
                         {0x00, INS_RESET_PIN},     {0x80, INS_SET_STATUS},
                         {0x80, SCP03_INS_PUT_KEY}, {0x80, SCP03_INS_EXTERNAL_AUTHENTICATE}};
    unsigned seed = 20261124;
    uint8_t command[300];
    uint8_t response[CARD_RESPONSE_MAX];
    for (int round = 0; round < 20000; round++) {
        size_t len = 4 + (size_t)rand_r(&seed) % 290;
        for (size_t i = 0; i < len; i++)
            command[i] = (uint8_t)rand_r(&seed);
        size_t row = (size_t)rand_r(&seed) % (sizeof rows / 2);
        command[0] = (uint8_t)(rows[row][0] | (rand_r(&seed) % 8 == 0 ? 0x10 : 0));
        command[1] = rows[row][1];
        if (rand_r(&seed) % 2) {
            command[2] = 0;
            command[3] = (uint8_t)(rand_r(&seed) % 3);
        }
        if (len > 6)
            command[4] = (uint8_t)(len > 260 ? 0 : len - 5 - (size_t)rand_r(&seed) % 2);
        /* A right PIN cannot come out of noise; three wrong ones can, and block the card: start
         * over */
        if (command[1] == INS_VERIFY || command[1] == INS_CHANGE_PIN || command[1] == INS_RESET_PIN)
            command[4] = 3;
        size_t n = card_process(lab.card, command, len, response, sizeof response);
        assert_true(n >= 2);
        uint16_t sw = (uint16_t)(response[n - 2] << 8 | response[n - 1]);
        if (rows[row][1] == INS_OPEN || rows[row][1] == INS_SIGN_ORDER ||
            rows[row][1] == INS_GENERATE_KEY || rows[row][1] == INS_PUT_DATA ||
            rows[row][1] == INS_APPLY || rows[row][1] == INS_SET_STATUS)
            assert_true(sw != SW_OK || (command[0] & 0x10));
    }
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(tries(), 3);
}

int main(int argc, char **argv)
{
#define BLANK(f)  cmocka_unit_test_setup_teardown(f, blank, gone)
#define ACTIVE(f) cmocka_unit_test_setup_teardown(f, active, gone)
    const struct CMUnitTest tests[] = {
        BLANK(test_malformed_apdus),
        BLANK(test_select),
        BLANK(test_wrong_state_everywhere),
        ACTIVE(test_active_card_is_changed_by_the_issuer_alone),
        ACTIVE(test_pin),
        ACTIVE(test_pin_tries_survive_power_cuts),
        ACTIVE(test_chaining_and_get_response),
        BLANK(test_certificate_must_fit_its_key),
        ACTIVE(test_no_randomness_no_line),
        BLANK(test_personalisation_torn),
        ACTIVE(test_random_commands_change_nothing_they_should_not),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
