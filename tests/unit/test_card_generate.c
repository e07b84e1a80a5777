/* test_card_generate.c - GENERATE KEY: in slices between which the card answers others, or at one
 * go; what ends a key that is being made; nothing, or the whole key, after a power cut at any byte.
 * The making itself is in test_card_keygen.c. */
#include "unit.h"

#include "card/pool.h"
#include "card/state.h"
#include "card_lab.h"
#include "proto/ber.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <mbedtls/platform.h>
#include <openssl/x509.h>
#include <string.h>

#define SLOT         LINK_KEY_TLS_RSA
#define CHANNEL_HEAP 1024u

static struct lab lab;

static int setup(void **state)
{
    (void)state;
    lab_init(&lab);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_free(&lab);
    return 0;
}

/* A command through the issuer's channel, which any other command has closed. */
static uint16_t issuer(uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2, const void *data,
                       size_t nc, uint8_t *out, size_t *len)
{
    if (!scp03_is_open(&lab.card->channel))
        assert_true(lab_channel_open(&lab));
    return lab_secure(&lab, cla, ins, p1, p2, data, nc, 0, out, len);
}

static uint16_t generate(uint8_t p1, uint8_t slot)
{
    return issuer(0x00, INS_GENERATE_KEY, p1, slot, NULL, 0, NULL, NULL);
}

/* One slice; whether the key is there. */
static bool slice(uint8_t slot, unsigned *permille)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    assert_int_equal(issuer(0x00, INS_GENERATE_KEY, LINK_GENERATE_SLICE, slot, NULL, 0, out, &n),
                     SW_OK);
    assert_int_equal(n, LINK_GENERATE_LEN);
    assert_true(out[0] == LINK_GENERATE_DONE || out[0] == LINK_GENERATE_WORKING);
    *permille = (unsigned)(out[1] << 8 | out[2]);
    return out[0] == LINK_GENERATE_DONE;
}

/* Slots that hold a key, as INFO has them. */
static uint8_t keys(void)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_KEYS, &o), CW_OK);
    return o.value[0];
}

/* The key in the slot is an RSA key of 2,048 bits that signs. */
static void assert_key_works(uint8_t slot)
{
    uint8_t der[CARD_RESPONSE_MAX];
    const uint8_t *p = der;
    size_t len = 0;
    assert_int_equal(issuer(0x80, INS_REQUEST, 0, slot, NULL, 0, der, &len), SW_OK);
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);
    assert_non_null(req);
    EVP_PKEY *key = X509_REQ_get0_pubkey(req);
    assert_int_equal(X509_REQ_verify(req, key), 1);
    assert_int_equal(EVP_PKEY_get_base_id(key), EVP_PKEY_RSA);
    assert_int_equal(EVP_PKEY_get_bits(key), 2048);
    X509_REQ_free(req);
}

static void assert_nothing_unfinished(void)
{
    const struct keygen none = {0};
    assert_memory_equal(&lab.card->keygen, &none, sizeof none);
    assert_int_equal(lab.card->keygen_slot, 0);
}

/* A slice and a few more, so that there is something to lose. */
static void begin(void)
{
    unsigned permille = 0;
    for (int i = 0; i < 3; i++)
        assert_false(slice(SLOT, &permille));
    assert_int_equal(lab.card->keygen_slot, SLOT);
    assert_int_equal(lab.card->keygen.phase, KEYGEN_FIRST);
}

/* Between the slices the card does what it always does, and what fails changes nothing. */
static void test_slices(void **state)
{
    unsigned permille = 0, before = 0, polls = 0;
    (void)state;
    assert_int_equal(generate(LINK_GENERATE_WHOLE, LINK_KEY_ORDER_P256), SW_OK);
    while (!slice(SLOT, &permille)) {
        assert_true(permille >= before && permille < LINK_PERMILLE_MAX);
        before = permille;
        struct keygen kg = lab.card->keygen;
        assert_int_equal(keys(), 1 << (LINK_KEY_ORDER_P256 - 1));
        if (polls++ == 5) {
            assert_int_equal(generate(LINK_GENERATE_SLICE, 0), SW_REFERENCE_NOT_FOUND);
            assert_int_equal(generate(LINK_GENERATE_SLICE, LINK_KEY_ORDER_P256), SW_EXISTS);
            assert_int_equal(generate(2, LINK_KEY_ORDER_RSA), SW_WRONG_P1P2);
            assert_int_equal(
                lab_apdu(&lab, 0x00, INS_SELECT, 4, 0, "\xA0\x00\x00\x03\x09", 5, 256, NULL, NULL),
                SW_NOT_FOUND);
            assert_int_equal(issuer(0x00, INS_PUT_DATA, 5, 0, "\0\0\0\0\x6A\0\0\0", 8, NULL, NULL),
                             SW_OK);
            assert_int_equal(issuer(0x80, INS_REQUEST, 0, LINK_KEY_ORDER_P256, NULL, 0, NULL, NULL),
                             SW_OK);
            assert_int_equal(issuer(0x80, INS_REQUEST, 0, SLOT, NULL, 0, NULL, NULL),
                             SW_REFERENCE_NOT_FOUND);
        }
        assert_memory_equal(&kg, &lab.card->keygen, sizeof kg);
    }
    assert_int_equal(permille, LINK_PERMILLE_MAX);
    assert_true(polls > 12); /* the rounds alone */
    assert_nothing_unfinished();
    assert_int_equal(keys(), 1 << (LINK_KEY_ORDER_P256 - 1) | 1 << (SLOT - 1));
    assert_key_works(SLOT);
    assert_int_equal(generate(LINK_GENERATE_SLICE, SLOT), SW_EXISTS);
    assert_int_equal(generate(LINK_GENERATE_WHOLE, SLOT), SW_EXISTS);
    /* and it outlives power */
    assert_true(lab_power_cycle(&lab));
    assert_key_works(SLOT);
}

static void test_p256_needs_no_second_slice(void **state)
{
    unsigned permille = 0;
    (void)state;
    assert_true(slice(LINK_KEY_TLS_P256, &permille));
    assert_int_equal(permille, LINK_PERMILLE_MAX);
    assert_int_equal(keys(), 1 << (LINK_KEY_TLS_P256 - 1));
}

static unsigned calls;

static void working(void *ctx)
{
    assert_ptr_equal(ctx, &lab);
    calls++;
}

/* At one go: the transport is told that the card works; a key begun in slices is finished. */
static void test_whole(void **state)
{
    (void)state;
    calls = 0;
    lab.port.working = working;
    assert_int_equal(generate(LINK_GENERATE_WHOLE, LINK_KEY_ORDER_P256), SW_OK);
    assert_int_equal(calls, 0);
    assert_int_equal(generate(LINK_GENERATE_WHOLE, LINK_KEY_ORDER_RSA), SW_OK);
    assert_true(calls >= 12);
    assert_key_works(LINK_KEY_ORDER_RSA);
    unsigned permille = 0;
    while (permille < 500)
        assert_false(slice(SLOT, &permille));
    uint8_t p[KEYGEN_PRIME_LEN];
    memcpy(p, lab.card->keygen.prime[0], sizeof p);
    lab.port.working = NULL;
    assert_int_equal(generate(LINK_GENERATE_WHOLE, SLOT), SW_OK);
    assert_nothing_unfinished();
    assert_key_works(SLOT);
    /* The prime that was found is in it: in the memory of this card, which has no other key of it.
     */
    size_t at = 0;
    while (at < sizeof lab.flash.bytes - sizeof p && memcmp(lab.flash.bytes + at, p, sizeof p) != 0)
        at++;
    assert_true(at < sizeof lab.flash.bytes - sizeof p);
}

static void test_what_drops_it(void **state)
{
    unsigned permille = 0;
    (void)state;
    begin();
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_nothing_unfinished();
    begin();
    assert_int_equal(card_reset(lab.card), CW_OK);
    assert_nothing_unfinished();
    assert_int_equal(lab_select(&lab), SW_OK);
    begin();
    struct keygen was = lab.card->keygen;
    assert_false(slice(LINK_KEY_ORDER_RSA, &permille));
    assert_int_equal(lab.card->keygen_slot, LINK_KEY_ORDER_RSA);
    assert_memory_not_equal(was.prime[0], lab.card->keygen.prime[0], KEYGEN_PRIME_LEN);
    assert_int_equal(generate(LINK_GENERATE_WHOLE, LINK_KEY_TLS_P256), SW_OK);
    assert_nothing_unfinished();
    begin();
    assert_true(lab_power_cycle(&lab));
    assert_nothing_unfinished();
    assert_int_equal(keys(), 1 << (LINK_KEY_TLS_P256 - 1));
}

/* A step of the card's life ends what was begun before it. */
static void test_activation_drops_it(void **state)
{
    const uint8_t life = LINK_LIFE_BLANK;
    struct lab_identity root = lab_ca_new("R"), card_ca = lab_ca_new("C");
    (void)state;
    lab_personalise(&lab, 1 << (LINK_KEY_TLS_P256 - 1), &card_ca, &root, 7);
    assert_int_equal(nvm_write(&lab.card->nvm, NVM_LIFE, &life, 1),
                     CW_OK); /* complete, and blank */
    begin();
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_PERSONALISED), SW_OK);
    assert_nothing_unfinished();
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
}

/* Nothing is kept of a key whose making failed; the next try makes one. */
static void test_failures(void **state)
{
    (void)state;
    for (uint8_t p1 = LINK_GENERATE_WHOLE; p1 <= LINK_GENERATE_SLICE; p1++) {
        begin();
        lab.random_fails = true;
        assert_int_equal(generate(p1, SLOT), SW_MEMORY_FAILURE);
        lab.random_fails = false;
        assert_nothing_unfinished();
        /* A pool of which another part of the card holds nearly all. */
        begin();
        size_t used = 0, blocks = 0;
        mbedtls_memory_buffer_alloc_cur_get(&used, &blocks);
        size_t most = CARD_POOL_SIZE - used;
        void *held = NULL;
        while (held == NULL && most > 64)
            held = mbedtls_calloc(1, most -= 64);
        assert_non_null(held);
        /* The channel itself wants a little. */
        mbedtls_free(held);
        held = mbedtls_calloc(1, most - CHANNEL_HEAP);
        assert_non_null(held);
        uint16_t sw = SW_OK; /* a slice that only draws numbers needs less than it has */
        for (int i = 0; i < 1000 && sw == SW_OK; i++)
            sw = generate(p1, SLOT);
        assert_int_equal(sw, SW_NOT_ENOUGH_MEMORY);
        mbedtls_free(held);
        assert_nothing_unfinished();
    }
    assert_int_equal(keys(), 0);
    assert_int_equal(generate(LINK_GENERATE_WHOLE, SLOT), SW_OK);
    assert_key_works(SLOT);
}

/* The power fails at each byte that the finished key takes to store: the slot is empty, or holds
 * the whole key. */
static void test_store_torn(void **state)
{
    static struct lab_flash flash;
    struct keygen ready;
    unsigned permille = 0, without = 0, with = 0;
    (void)state;
    while (permille < KEYGEN_PERMILLE_READY)
        assert_false(slice(SLOT, &permille));
    ready = lab.card->keygen;
    flash = lab.flash;
    for (long budget = 0;; budget++) {
        lab.flash = flash;
        assert_true(lab_power_cycle(&lab));
        lab.card->keygen = ready;
        lab.card->keygen_slot = SLOT;
        assert_true(lab_channel_open(&lab));
        lab.flash.budget = budget;
        bool done = generate(LINK_GENERATE_SLICE, SLOT) == SW_OK;
        assert_nothing_unfinished();
        assert_true(lab_power_cycle(&lab));
        bool have = keys() == 1 << (SLOT - 1);
        assert_true(have || keys() == 0);
        assert_true(have || !done);
        if (have)
            assert_key_works(SLOT);
        *(have ? &with : &without) += 1;
        if (done)
            break;
    }
    print_message("%u power cuts: %u left no key, %u the whole\n", without + with, without, with);
    assert_true(without > 1000);
    /* A cut in the commit word, behind a record that checks, leaves the key; so does one before the
     * last bytes of the key if those are FF, as blank memory is. */
    assert_in_range(with, 9, 9 + 8);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_slices),
        TEST(test_whole),
        TEST(test_p256_needs_no_second_slice),
        TEST(test_failures),
        TEST(test_what_drops_it),
        TEST(test_store_torn),
        TEST(test_activation_drops_it),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
