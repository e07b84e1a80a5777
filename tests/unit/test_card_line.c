/* test_card_line.c - the card's TLS line against OpenSSL in this process: the three profiles with
 * both kinds of key, what the card refuses and why, plaintext both ways, and the slow wire's bars.
 */
#include "unit.h"

#include "card/pool.h"
#include "card_lab.h"
#include "proto/ber.h"
#include "proto/order.h"

#include <mbedtls/platform.h>
#include <string.h>

#define ALL_PROFILES 7
#define P256_SLOTS   (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))
#define RSA_SLOTS    (1 << (LINK_KEY_TLS_RSA - 1) | 1 << (LINK_KEY_ORDER_RSA - 1))

static struct lab_identity root, card_ca, ec_server, rsa_server;

static int make_authorities(void **state)
{
    (void)state;
    root = lab_ca_new("R");
    card_ca = lab_ca_new("C");
    ec_server = lab_server_new(&root, &(struct lab_server_spec){0});
    rsa_server = lab_server_new(&root, &(struct lab_server_spec){.rsa = true});
    return 0;
}

static int free_authorities(void **state)
{
    (void)state;
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    lab_identity_free(&ec_server);
    lab_identity_free(&rsa_server);
    return 0;
}

static const struct lab_identity *server_for(enum link_profile profile)
{
    return profile == LINK_PROFILE_RSA ? &rsa_server : &ec_server;
}

static void print_heap(struct lab *lab, const char *what)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    struct buf_reader r;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_HEAP, &o), CW_OK);
    buf_reader_init(&r, o.value, o.len);
    uint32_t peak = buf_get_u32(&r);
    uint32_t size = buf_get_u32(&r);
    print_message("TLS pool after %s: peak %u of %u bytes\n", what, peak, size);
    assert_true(peak < size);
}

/* Handshake, a request and an answer, close: once. */
static void whole_line(struct lab *lab, enum link_profile profile, enum link_key key)
{
    struct lab_line line = {0};
    uint8_t out[CARD_RESPONSE_MAX];
    char got[64];
    size_t n = 0;
    SSL_CTX *ctx = lab_server_context(server_for(profile), &card_ca);
    lab_line_open(lab, ctx, profile, key, &line);
    assert_int_equal(lab_reason(lab), LINK_REASON_NONE);
    assert_true(SSL_is_init_finished(line.ssl));
    assert_true(line.state & LINK_STATE_OPEN);
    assert_int_equal(SSL_get_verify_result(line.ssl), X509_V_OK);
    X509 *peer = SSL_get1_peer_certificate(line.ssl);
    assert_non_null(peer);
    X509_free(peer);
    assert_int_equal(SSL_version(line.ssl),
                     profile == LINK_PROFILE_TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (profile != LINK_PROFILE_TLS13)
        assert_int_equal(SSL_get_extms_support(line.ssl), 1);

    assert_int_equal(lab_apdu(lab, 0x80, INS_WRITE, 0, 0, "ping", 4, 256, out, &n), SW_OK);
    BIO_write(SSL_get_rbio(line.ssl), out + 1, (int)(n - 1));
    assert_int_equal(SSL_read(line.ssl, got, sizeof got), 4);
    assert_memory_equal(got, "ping", 4);
    assert_int_equal(SSL_write(line.ssl, "pong!", 5), 5);
    line.state = out[0];
    lab_line_pump(lab, &line);
    assert_true(line.state & LINK_STATE_DATA);
    assert_int_equal(lab_apdu(lab, 0x80, INS_READ, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(n, 6);
    assert_memory_equal(out + 1, "pong!", 5);
    assert_int_equal(lab_apdu(lab, 0x80, INS_CLOSE, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_true(out[0] & LINK_STATE_CLOSED);
    BIO_write(SSL_get_rbio(line.ssl), out + 1, (int)(n - 1));
    assert_int_equal(SSL_read(line.ssl, got, sizeof got), 0);
    assert_true(SSL_get_shutdown(line.ssl) & SSL_RECEIVED_SHUTDOWN);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
}

static void test_all_profiles_p256(void **state)
{
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    whole_line(&lab, LINK_PROFILE_TLS13, LINK_KEY_AUTO);
    whole_line(&lab, LINK_PROFILE_ECDHE, LINK_KEY_AUTO);
    whole_line(&lab, LINK_PROFILE_RSA, LINK_KEY_AUTO);
    lab_free(&lab);
}

static void test_all_profiles_rsa(void **state)
{
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, RSA_SLOTS, &card_ca, &root, ALL_PROFILES);
    print_heap(&lab, "RSA key generation");
    assert_true(lab_power_cycle(&lab));
    whole_line(&lab, LINK_PROFILE_TLS13, LINK_KEY_AUTO);
    print_heap(&lab, "tls13 with an RSA key");
    whole_line(&lab, LINK_PROFILE_ECDHE, LINK_KEY_AUTO);
    whole_line(&lab, LINK_PROFILE_RSA, LINK_KEY_AUTO);
    print_heap(&lab, "rsa with an RSA key");
    lab_free(&lab);
}

static void test_both_keys_on_one_card(void **state)
{
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS | RSA_SLOTS, &card_ca, &root, ALL_PROFILES);
    whole_line(&lab, LINK_PROFILE_TLS13, LINK_KEY_TLS_P256);
    whole_line(&lab, LINK_PROFILE_RSA, LINK_KEY_TLS_RSA);
    assert_true(lab_power_cycle(&lab));
    whole_line(&lab, LINK_PROFILE_DEFAULT + LINK_PROFILE_TLS13, LINK_KEY_TLS_RSA);
    lab_free(&lab);
}

/* A bad server: the card must name the reason, and no session may be left. */
static void refused(const struct lab_server_spec *spec, const struct lab_identity *ca, bool ask,
                    enum link_reason want)
{
    static const enum link_profile profiles[] = {LINK_PROFILE_TLS13, LINK_PROFILE_ECDHE,
                                                 LINK_PROFILE_RSA};
    struct lab lab;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    for (size_t i = 0; i < 3; i++) {
        struct lab_line line = {0};
        struct lab_server_spec s = *spec;
        s.rsa = profiles[i] == LINK_PROFILE_RSA;
        struct lab_identity server = lab_server_new(ca, &s);
        SSL_CTX *ctx = lab_server_context(&server, ask ? &card_ca : NULL);
        lab_line_open(&lab, ctx, profiles[i], LINK_KEY_AUTO, &line);
        assert_true(line.state & LINK_STATE_ERROR);
        assert_false(line.state & LINK_STATE_OPEN);
        assert_int_equal(lab_reason(&lab), want);
        assert_false(SSL_is_init_finished(line.ssl));
        assert_int_equal(lab_apdu(&lab, 0x80, INS_WRITE, 0, 0, "x", 1, 256, NULL, NULL),
                         SW_CONDITIONS);
        lab_line_free(&line);
        SSL_CTX_free(ctx);
        lab_identity_free(&server);
    }
    lab_free(&lab);
}

static void test_refuses_wrong_root(void **state)
{
    (void)state;
    struct lab_identity other = lab_ca_new("R"); /* same name, other key */
    refused(&(struct lab_server_spec){0}, &other, true, LINK_REASON_UNTRUSTED);
    lab_identity_free(&other);
}

static void test_refuses_wrong_name(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.host = "other.test"}, &root, true, LINK_REASON_NAME);
}

static void test_refuses_expired(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.expired = true}, &root, true, LINK_REASON_EXPIRED);
}

static void test_refuses_ca_as_leaf(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.ca = true}, &root, true, LINK_REASON_CA_LEAF);
}

static void test_refuses_missing_server_auth(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.no_server_auth = true}, &root, true,
            LINK_REASON_NO_SERVER_AUTH);
    refused(&(struct lab_server_spec){.client_auth = true}, &root, true,
            LINK_REASON_NO_SERVER_AUTH);
}

static void test_refuses_wrong_key_usage(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.wrong_usage = true}, &root, true, LINK_REASON_KEY_USAGE);
}

/* RFC 8446 §4.2.3: a TLS 1.3 server with an RSA key signs with PSS. */
static void test_rsa_server_in_tls13(void **state)
{
    struct lab lab;
    struct lab_line line = {0};
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    struct lab_identity server =
        lab_server_new(&root, &(struct lab_server_spec){.rsa = true, .signing = true});
    SSL_CTX *ctx = lab_server_context(&server, &card_ca);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_int_equal(lab_reason(&lab), LINK_REASON_NONE);
    assert_true(line.state & LINK_STATE_OPEN);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    lab_identity_free(&server);
    lab_free(&lab);
}

static void test_what_is_no_tls_is_a_protocol_error(void **state)
{
    static const char *const says[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                       "SSH-2.0-OpenSSH_9.2\r\n"};
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
        assert_int_equal(
            lab_apdu(&lab, 0x80, INS_STEP, 0, 0, says[i], strlen(says[i]), 256, NULL, NULL), SW_OK);
        assert_int_equal(lab_reason(&lab), LINK_REASON_PROTOCOL);
    }
    /* A record that announces 16 KB is TLS, and too large. */
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
    assert_int_equal(
        lab_apdu(&lab, 0x80, INS_STEP, 0, 0, "\x16\x03\x03\x40\x00", 5, 256, NULL, NULL), SW_OK);
    assert_int_equal(lab_reason(&lab), LINK_REASON_OVERSIZE);
    lab_free(&lab);
}

/* What TLS engines let pass, and the card does not. */
static void test_refuses_loose_certificates(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){.name_in_cn = true}, &root, true, LINK_REASON_NAME);
    refused(&(struct lab_server_spec){.host = "*.test"}, &root, true, LINK_REASON_NAME);
    refused(&(struct lab_server_spec){.any_usage = true}, &root, true, LINK_REASON_NO_SERVER_AUTH);
    refused(&(struct lab_server_spec){.no_usage = true}, &root, true, LINK_REASON_KEY_USAGE);
    refused(&(struct lab_server_spec){.signs = true}, &root, true, LINK_REASON_CA_LEAF);
}

/* One read of memory fails, at every read of OPEN: an expired server never gets a line for it. */
static void test_failing_memory_opens_no_line(void **state)
{
    struct lab lab;
    unsigned failures = 0;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    struct lab_identity server = lab_server_new(&root, &(struct lab_server_spec){.expired = true});
    SSL_CTX *ctx = lab_server_context(&server, &card_ca);
    struct lab_flash start = lab.flash;
    for (long k = 0;; k++) {
        struct lab_line line = {0};
        lab.flash = start;
        assert_true(lab_power_cycle(&lab));
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        lab.flash.fail_read = k;
        lab_line_begin(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
        bool failed = lab.flash.fail_read < 0;
        assert_false(line.sw == SW_OK && line.state & LINK_STATE_OPEN);
        assert_false(SSL_is_init_finished(line.ssl));
        lab_line_free(&line);
        if (!failed)
            break;
        failures++;
    }
    print_message("%u reads failed, one at a time\n", failures);
    assert_true(failures > 5);
    SSL_CTX_free(ctx);
    lab_identity_free(&server);
    lab_free(&lab);
}

/* A pool of which another part of the card holds any share: a good server gets its line, or hears
 * that the card's memory is too small, and never that it is not trusted. */
static void any_pool(uint8_t slots, enum link_profile profile, const struct lab_identity *server)
{
    struct lab lab;
    unsigned opened = 0, refused_at_open = 0, refused_later = 0;
    lab_init(&lab);
    lab_personalise(&lab, slots, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(server, &card_ca);
    for (size_t held = CARD_POOL_SIZE - 4096; held > 0; held -= 256) {
        struct lab_line line = {0};
        assert_true(lab_power_cycle(&lab));
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        void *block = mbedtls_calloc(1, held);
        if (block == NULL)
            continue;
        lab_line_begin(&lab, ctx, profile, LINK_KEY_AUTO, &line);
        mbedtls_free(block);
        if (line.sw != SW_OK) {
            assert_int_equal(line.sw, SW_NOT_ENOUGH_MEMORY);
            refused_at_open++;
        } else if (line.state & LINK_STATE_OPEN) {
            opened++;
        } else {
            assert_int_equal(lab_reason(&lab), LINK_REASON_MEMORY);
            assert_true(line.state & LINK_STATE_ERROR);
            refused_later++;
        }
        lab_line_free(&line);
    }
    print_message("%u opened, %u refused at OPEN, %u in the handshake\n", opened, refused_at_open,
                  refused_later);
    assert_true(opened > 5 && refused_at_open > 5 && refused_later > 5);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

static void test_any_pool_p256(void **state)
{
    (void)state;
    any_pool(P256_SLOTS, LINK_PROFILE_TLS13, &ec_server);
    any_pool(P256_SLOTS, LINK_PROFILE_ECDHE, &ec_server);
    any_pool(P256_SLOTS, LINK_PROFILE_RSA, &rsa_server);
}

static void test_any_pool_rsa(void **state)
{
    (void)state;
    any_pool(RSA_SLOTS, LINK_PROFILE_TLS13, &ec_server);
    any_pool(RSA_SLOTS, LINK_PROFILE_RSA, &rsa_server);
}

static void test_refuses_server_that_does_not_ask(void **state)
{
    (void)state;
    refused(&(struct lab_server_spec){0}, &root, false, LINK_REASON_NO_CLIENT_AUTH);
}

/* Every bit position of the server's first flight is a byte a hostile net may change. */
static void test_survives_flipped_bytes(void **state)
{
    static const enum link_profile profiles[] = {LINK_PROFILE_TLS13, LINK_PROFILE_ECDHE,
                                                 LINK_PROFILE_RSA};
    struct lab lab;
    unsigned refusals = 0;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    for (size_t i = 0; i < 3; i++) {
        SSL_CTX *ctx = lab_server_context(server_for(profiles[i]), &card_ca);
        for (size_t at = 0; at < 1400; at += 23) {
            struct lab_line line = {.chunk = 255, .flip = at};
            lab_line_open(&lab, ctx, profiles[i], LINK_KEY_AUTO, &line);
            if (line.sent > at && !line.flip_harmless) {
                /* What was altered never opens a line. One that was open already dies, or waits for
                 * bytes that an altered length promises; plaintext never comes of it. */
                assert_true(line.open_at_flip || !(line.state & LINK_STATE_OPEN));
                assert_false(line.state & LINK_STATE_DATA);
                refusals += (line.state & LINK_STATE_ERROR) != 0;
            }
            lab_line_free(&line);
        }
        SSL_CTX_free(ctx);
    }
    assert_true(refusals > 60);
    lab_free(&lab);
}

/* TLS bytes in pieces of every awkward size give the same line. */
static void test_any_chunking(void **state)
{
    static const size_t chunks[] = {1, 2, 5, 6, 31, 100, 254, 255};
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
        struct lab_line line = {.chunk = chunks[i], .flip = SIZE_MAX};
        lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
        assert_true(line.state & LINK_STATE_OPEN);
        lab_line_free(&line);
    }
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* A terminal that takes a few bytes at a time: the line opens, or ends, and for the same reason. */
static void test_any_room(void **state)
{
    static const size_t rooms[] = {4, 5, 6, 7, 8, 9, 16, 31, 100};
    struct lab lab;
    unsigned short_of = 0;
    (void)state;
    struct lab_identity other = lab_ca_new("R"), wrong;
    wrong = lab_server_new(&other, &(struct lab_server_spec){0});
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *good = lab_server_context(&ec_server, &card_ca);
    SSL_CTX *bad = lab_server_context(&wrong, &card_ca);
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++)
        for (int profile = LINK_PROFILE_TLS13; profile <= LINK_PROFILE_ECDHE; profile++) {
            struct lab_line line = {.room = rooms[i]}, refused_line = {.room = rooms[i]},
                            short_line = {.room = rooms[i]};
            lab_line_open(&lab, good, (enum link_profile)profile, LINK_KEY_AUTO, &line);
            assert_true(line.state & LINK_STATE_OPEN);
            lab_line_free(&line);
            lab_line_open(&lab, bad, (enum link_profile)profile, LINK_KEY_AUTO, &refused_line);
            assert_int_equal(lab_reason(&lab), LINK_REASON_UNTRUSTED);
            assert_true(refused_line.state & LINK_STATE_ERROR);
            assert_false(refused_line.state & LINK_STATE_OUT);
            lab_line_free(&refused_line);
            /* What fails for want of memory keeps its reason until the alert is out. */
            assert_true(lab_power_cycle(&lab));
            void *held = mbedtls_calloc(1, CARD_POOL_SIZE - 11264);
            assert_non_null(held);
            lab_line_open(&lab, good, (enum link_profile)profile, LINK_KEY_AUTO, &short_line);
            mbedtls_free(held);
            if (short_line.sw == SW_OK && !(short_line.state & LINK_STATE_OPEN)) {
                assert_int_equal(lab_reason(&lab), LINK_REASON_MEMORY);
                short_of++;
            }
            lab_line_free(&short_line);
        }
    assert_true(short_of > 0);
    SSL_CTX_free(good);
    SSL_CTX_free(bad);
    lab_identity_free(&wrong);
    lab_identity_free(&other);
    lab_free(&lab);
}

/* A CA that changes its key has two roots of one name for a while: what either signed is taken, and
 * what a third of that name signed is not. */
static void test_two_roots_of_one_name(void **state)
{
    struct lab lab;
    uint8_t *der = NULL;
    (void)state;
    struct lab_identity next = lab_ca_new("R"), third = lab_ca_new("R");
    const struct lab_identity *const authorities[] = {&root, &next, &third};
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    int n = i2d_X509(next.certificate, &der);
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put(&lab, LINK_DO_ROOT | 1, der, (size_t)n), SW_OK);
    OPENSSL_free(der);
    for (size_t i = 0; i < 3; i++)
        for (int profile = LINK_PROFILE_TLS13; profile <= LINK_PROFILE_RSA; profile++) {
            struct lab_line line = {0};
            struct lab_identity server = lab_server_new(
                authorities[i], &(struct lab_server_spec){.rsa = profile == LINK_PROFILE_RSA});
            SSL_CTX *ctx = lab_server_context(&server, &card_ca);
            lab_line_open(&lab, ctx, (enum link_profile)profile, LINK_KEY_AUTO, &line);
            assert_int_equal(lab_reason(&lab), i < 2 ? LINK_REASON_NONE : LINK_REASON_UNTRUSTED);
            assert_int_equal((line.state & LINK_STATE_OPEN) != 0, i < 2);
            lab_line_free(&line);
            SSL_CTX_free(ctx);
            lab_identity_free(&server);
        }
    lab_identity_free(&next);
    lab_identity_free(&third);
    lab_free(&lab);
}

static void test_terminal_cannot_choose_what_issuance_forbids(void **state)
{
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, LINK_PROFILE_BIT(LINK_PROFILE_TLS13));
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    for (uint8_t p = LINK_PROFILE_ECDHE; p <= LINK_PROFILE_RSA; p++)
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, p, 0, NULL, 0, 256, NULL, NULL),
                         SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, "evil.test", 9, 256, NULL, NULL),
                     SW_REFERENCE_NOT_FOUND);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 4, 0, NULL, 0, 256, NULL, NULL), SW_WRONG_P1P2);
    /* None of this spent the PIN. */
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 0, 0, NULL, 0, 256, NULL, NULL),
                     SW_SECURITY_STATUS);
    lab_free(&lab);
}

static void test_a_replayed_session_is_dead(void **state)
{
    struct lab lab;
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    /* Record what the server said in a good line, and say it again to a new one. */
    static uint8_t flight[4096];
    struct lab_line line = {.chunk = 255, .flip = SIZE_MAX};
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    line.ssl = SSL_new(ctx);
    SSL_set_bio(line.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(line.ssl);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 1, 0, NULL, 0, 1000, out, &n), SW_OK);
    BIO_write(SSL_get_rbio(line.ssl), out + 1, (int)(n - 1));
    (void)SSL_do_handshake(line.ssl);
    int len = BIO_read(SSL_get_wbio(line.ssl), flight, sizeof flight);
    assert_true(len > 500);
    lab_line_free(&line);

    assert_int_equal(lab_select(&lab), SW_OK);
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, 1, 0, NULL, 0, 1000, out, &n), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_STEP, 0, 0, flight, (size_t)len, 1000, out, &n),
                     SW_OK);
    assert_true(out[0] & LINK_STATE_ERROR);
    assert_int_equal(lab_reason(&lab), LINK_REASON_RECORD);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* The bars of the slow wire, here without a reader: `bench/wire` measures them through one. */
static void test_wire_cost(void **state)
{
    struct lab lab;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        struct lab_line line = {0};
        SSL_CTX *ctx = lab_server_context(server_for(p), &card_ca);
        lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
        assert_true(line.state & LINK_STATE_OPEN);
        size_t whole = line.to_card + line.from_card;
        print_message("%s: %u APDUs, %zu bytes to the card, %zu from it, TLS %zu, %.1f %% over\n",
                      link_profile_name(p), line.apdus, line.to_card, line.from_card, line.tls,
                      100.0 * (double)(whole - line.tls) / (double)line.tls);
        assert_true(whole * 100 <= line.tls * 112);
        if (p == LINK_PROFILE_TLS13) {
            assert_true(line.apdus <= 14);
            assert_true(whole <= 2400);
        }
        print_heap(&lab, link_profile_name(p));
        lab_line_free(&line);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

static void sign_data(struct buf_writer *w, int64_t expiry)
{
    struct order_fields f = {.payer = "ZZ12000000000001",
                             .payee = "ZZ34000000000002",
                             .payee_name = "Grace Hopper",
                             .amount = 1234,
                             .currency = "EUR",
                             .reference = "Invoice 7",
                             .id = {1, 2, 3},
                             .expiry = expiry};
    assert_int_equal(order_tlv_encode(&f, w), CW_OK);
}

static void order_once(struct lab *lab, SSL *ssl, bool rsa, uint32_t counter)
{
    uint8_t data[ORDER_TLV_MAX];
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct buf_writer w;
    struct ber_object text, signature;
    struct order_fields f;
    struct order_seal seal;
    uint8_t binding[LINK_BINDING_LEN];
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME + 600);
    assert_int_equal(lab_apdu(lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n),
                     SW_SECURITY_STATUS);
    assert_int_equal(lab_verify(lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_ORDER_TEXT, &text), CW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_SIGNATURE, &signature), CW_OK);
    assert_int_equal(order_text_parse(text.value, text.len, &f, &seal), CW_OK);
    assert_int_equal(seal.counter, counter);
    assert_int_equal(SSL_export_keying_material(ssl, binding, sizeof binding, LINK_EXPORTER_LABEL,
                                                strlen(LINK_EXPORTER_LABEL), NULL, 0, 0),
                     1);
    assert_memory_equal(binding, seal.binding, sizeof binding);
    /* The certificate that the card gives out verifies the signature. */
    uint8_t der[CARD_RESPONSE_MAX];
    const uint8_t *p = der;
    size_t der_len = 0;
    assert_int_equal(lab_apdu(lab, 0x00, INS_GET_DATA, 0x01,
                              rsa ? LINK_KEY_ORDER_RSA : LINK_KEY_ORDER_P256, NULL, 0, 1024, der,
                              &der_len),
                     SW_OK);
    X509 *x = d2i_X509(NULL, &p, (long)der_len);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, X509_get0_pubkey(x)), 1);
    assert_int_equal(EVP_DigestVerify(md, signature.value, signature.len, text.value, text.len), 1);
    EVP_MD_CTX_free(md);
    X509_free(x);
    /* One VERIFY, one order. */
    assert_int_equal(lab_apdu(lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n),
                     SW_SECURITY_STATUS);
    /* An order that has expired already is not signed, and does not cost the PIN. */
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME);
    assert_int_equal(lab_verify(lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n),
                     SW_CONDITIONS);
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n), SW_OK);
    assert_int_equal(ber_find(out, n, LINK_TAG_REFUSED, &text), CW_OK);
    assert_int_equal(text.value[0], LINK_REFUSAL_EXPIRED);
}

static void test_orders(void **state)
{
    (void)state;
    for (int rsa = 0; rsa < 2; rsa++) {
        struct lab lab;
        uint32_t counter = 0;
        lab_init(&lab);
        lab_personalise(&lab, rsa ? RSA_SLOTS : P256_SLOTS, &card_ca, &root, ALL_PROFILES);
        for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
            struct lab_line line = {0};
            SSL_CTX *ctx = lab_server_context(server_for(p), &card_ca);
            lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
            assert_true(line.state & LINK_STATE_OPEN);
            order_once(&lab, line.ssl, rsa, ++counter);
            lab_line_free(&line);
            SSL_CTX_free(ctx);
        }
        lab_free(&lab);
    }
}

/* The same for SIGN ORDER: no counter is ever used twice. */
static void test_failing_memory_repeats_no_counter(void **state)
{
    struct lab lab;
    struct lab_line line = {0};
    uint8_t data[ORDER_TLV_MAX];
    uint8_t out[CARD_RESPONSE_MAX];
    struct buf_writer w;
    uint32_t last = 0;
    bool failed = true;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME + 600);
    for (long k = 0; failed; k++) {
        size_t n = 0;
        struct ber_object text;
        struct order_fields f;
        struct order_seal seal;
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
        lab.flash.fail_read = k;
        uint16_t sw = lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, out, &n);
        failed = lab.flash.fail_read < 0;
        lab.flash.fail_read = -1;
        if (sw != SW_OK)
            continue;
        assert_int_equal(ber_find(out, n, LINK_TAG_ORDER_TEXT, &text), CW_OK);
        assert_int_equal(order_text_parse(text.value, text.len, &f, &seal), CW_OK);
        assert_true(seal.counter > last);
        last = seal.counter;
    }
    assert_true(last > 0);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* A PIN given for an order is for an order in this line. */
static void test_order_pin_does_not_outlive_the_line(void **state)
{
    struct lab lab;
    struct lab_line line = {0};
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME + 600);
    for (int how = 0; how < 2; how++) {
        struct lab_line next = {0};
        lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
        assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        if (how == 0)
            assert_int_equal(lab_apdu(&lab, 0x80, INS_CLOSE, 0, 0, NULL, 0, 256, NULL, NULL),
                             SW_OK);
        lab_line_begin(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &next);
        assert_true(next.state & LINK_STATE_OPEN);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, NULL, NULL),
                         SW_SECURITY_STATUS);
        lab_line_free(&next);
        lab_line_free(&line);
    }
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* Over the air the PIN would travel in clear: the line opens, orders are not signed. */
static void test_contactless_signs_no_orders(void **state)
{
    struct lab lab;
    struct lab_line line = {0};
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    (void)state;
    lab_init_contactless(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME + 600);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_CONDITIONS);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, "000000"), SW_CONDITIONS); /* costs no try */
    assert_int_equal(lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, NULL, NULL),
                     SW_CONDITIONS);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* RFC 7627 §1: without an extended master secret two lines can share their exporter value. */
static void test_no_order_without_extended_master_secret(void **state)
{
    struct lab lab;
    struct lab_line line = {0};
    uint8_t data[ORDER_TLV_MAX];
    struct buf_writer w;
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256_SLOTS, &card_ca, &root, ALL_PROFILES);
    SSL_CTX *ctx = lab_server_context(&ec_server, &card_ca);
    SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    lab_line_open(&lab, ctx, LINK_PROFILE_ECDHE, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
    buf_writer_init(&w, data, sizeof data);
    sign_data(&w, LAB_TIME + 600);
    assert_int_equal(lab_verify(&lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(&lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, NULL, NULL),
                     SW_CONDITIONS);
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_authorities, free_authorities)
    const struct CMUnitTest tests[] = {
        T(test_all_profiles_p256),
        T(test_all_profiles_rsa),
        T(test_both_keys_on_one_card),
        T(test_refuses_wrong_root),
        T(test_refuses_wrong_name),
        T(test_refuses_expired),
        T(test_refuses_ca_as_leaf),
        T(test_refuses_missing_server_auth),
        T(test_refuses_wrong_key_usage),
        T(test_rsa_server_in_tls13),
        T(test_what_is_no_tls_is_a_protocol_error),
        T(test_refuses_loose_certificates),
        T(test_failing_memory_opens_no_line),
        T(test_any_pool_p256),
        T(test_any_pool_rsa),
        T(test_refuses_server_that_does_not_ask),
        T(test_survives_flipped_bytes),
        T(test_any_chunking),
        T(test_any_room),
        T(test_two_roots_of_one_name),
        T(test_terminal_cannot_choose_what_issuance_forbids),
        T(test_a_replayed_session_is_dead),
        T(test_wire_cost),
        T(test_orders),
        T(test_failing_memory_repeats_no_counter),
        T(test_order_pin_does_not_outlive_the_line),
        T(test_contactless_signs_no_orders),
        T(test_no_order_without_extended_master_secret),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
