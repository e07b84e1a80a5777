/* test_card_resume.c - lines that go on from a session in the card's memory: that they do, what
 * they are, and everything that a stored session dies of, each beside the like that does it no
 * harm. */
#include "resume_lab.h"

#include "proto/order.h"

#include <string.h>

/* --- it works
 * ----------------------------------------------------------------------------------- */

/* Torn out each time: no close_notify, no CLOSE, no power. */
static void test_resumes_after_the_card_was_torn_out(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        assert_int_equal(login_to(&lab, p), FULL);
        for (int i = 0; i < 3; i++) {
            assert_true(has_session(&lab));
            assert_true(lab_power_cycle(&lab));
            assert_int_equal(login_to(&lab, p), RESUMED);
        }
    }
    lab_free(&lab);
}

static void test_both_keys_and_the_larger_suites(void **state)
{
    struct lab lab;
    (void)state;
    card_new_both(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        SSL_CTX *ctx = server_for(p);
        assert_true(SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES256-GCM-SHA384:"
                                                 "AES256-GCM-SHA384"));
        assert_true(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384"));
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_RSA), FULL);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_RSA), RESUMED);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_RSA), RESUMED);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* A line that was closed in good order leaves the same session. */
static void test_resumes_after_close(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
        SSL_CTX *ctx = server_for(p);
        lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
        assert_int_equal(outcome_of(&lab, &line), FULL);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_CLOSE, 0, 0, NULL, 0, 256, NULL, NULL), SW_OK);
        lab_line_free(&line);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* Data goes both ways in a resumed line. */
static void test_a_resumed_line_carries_data(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
        uint8_t out[CARD_RESPONSE_MAX];
        char got[8];
        size_t n = 0;
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
        assert_int_equal(outcome_of(&lab, &line), RESUMED);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_WRITE, 0, 0, "ping", 4, 256, out, &n), SW_OK);
        BIO_write(SSL_get_rbio(line.ssl), out + 1, (int)(n - 1));
        assert_int_equal(SSL_read(line.ssl, got, sizeof got), 4);
        assert_int_equal(SSL_write(line.ssl, "pong!", 5), 5);
        lab_line_pump(&lab, &line);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_READ, 0, 0, NULL, 0, 256, out, &n), SW_OK);
        assert_int_equal(n, 6);
        assert_memory_equal(out + 1, "pong!", 5);
        lab_line_free(&line);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* --- what it is
 * --------------------------------------------------------------------------------- */

static void peer_hash(struct lab *lab, uint8_t out[32])
{
    uint8_t info[256];
    size_t n = 0;
    struct ber_object o;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, LINK_INFO_SESSION, 0, NULL, 0, 256, info, &n),
                     SW_OK);
    assert_int_equal(ber_find(info, n, LINK_TAG_PEER, &o), CW_OK);
    assert_int_equal(o.len, strlen(LAB_HOST));
    assert_memory_equal(o.value, LAB_HOST, o.len);
    assert_int_equal(ber_find(info, n, LINK_TAG_PEER_SHA256, &o), CW_OK);
    assert_int_equal(o.len, 32);
    memcpy(out, o.value, 32);
}

/* Signs an order; what binds it to the line must be what the server exports. */
static void order_binding(struct lab *lab, SSL *ssl, uint8_t out[LINK_BINDING_LEN])
{
    const struct order_fields f = {.payer = "ZZ12000000000001",
                                   .payee = "ZZ34000000000002",
                                   .payee_name = "Grace Hopper",
                                   .amount = 1234,
                                   .currency = "EUR",
                                   .reference = "Invoice 7",
                                   .id = {1},
                                   .expiry = LAB_TIME + 600};
    uint8_t data[ORDER_TLV_MAX], answer[CARD_RESPONSE_MAX];
    struct order_fields signed_fields;
    struct order_seal seal;
    struct ber_object text;
    struct buf_writer w;
    size_t n = 0;
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(order_tlv_encode(&f, &w), CW_OK);
    assert_int_equal(lab_verify(lab, LINK_PIN_ORDER, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(lab, 0x80, INS_SIGN_ORDER, 0, 0, data, w.len, 1024, answer, &n),
                     SW_OK);
    assert_int_equal(ber_find(answer, n, LINK_TAG_ORDER_TEXT, &text), CW_OK);
    assert_int_equal(order_text_parse(text.value, text.len, &signed_fields, &seal), CW_OK);
    assert_int_equal(SSL_export_keying_material(ssl, out, LINK_BINDING_LEN, LINK_EXPORTER_LABEL,
                                                strlen(LINK_EXPORTER_LABEL), NULL, 0, 0),
                     1);
    assert_memory_equal(out, seal.binding, LINK_BINDING_LEN);
}

/* Orders are bound to the resumed line, and to none before it (RFC 5705 §4, RFC 7627 §5.3). */
static void test_each_line_has_its_own_binding_and_the_same_peer(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        uint8_t binding[3][LINK_BINDING_LEN], peer[3][32];
        SSL_CTX *ctx = server_for(p);
        for (int i = 0; i < 3; i++) {
            struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
            lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
            assert_int_equal(outcome_of(&lab, &line), i == 0 ? FULL : RESUMED);
            assert_int_equal(info_u8(&lab, LINK_TAG_BINDING), 1);
            order_binding(&lab, line.ssl, binding[i]);
            peer_hash(&lab, peer[i]);
            lab_line_free(&line);
        }
        assert_memory_equal(peer[0], peer[1], 32);
        assert_memory_equal(peer[0], peer[2], 32);
        assert_memory_not_equal(binding[0], binding[1], LINK_BINDING_LEN);
        assert_memory_not_equal(binding[1], binding[2], LINK_BINDING_LEN);
        assert_memory_not_equal(binding[0], binding[2], LINK_BINDING_LEN);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

static void test_resumed_line_needs_its_pin(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        assert_int_equal(login_to(&lab, p), FULL);
        assert_int_equal(lab_select(&lab), SW_OK);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, (uint8_t)p, 0, NULL, 0, 256, NULL, NULL),
                         SW_SECURITY_STATUS);
        assert_true(has_session(&lab)); /* and it cost nothing */
        assert_int_equal(login_to(&lab, p), RESUMED);
        /* The PIN opened one line, not two. */
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, (uint8_t)p, 0, NULL, 0, 256, NULL, NULL),
                         SW_SECURITY_STATUS);
    }
    lab_free(&lab);
}

/* The bars of the slow wire; `bench/wire` measures them through a reader. */
static void test_wire_cost_of_a_resumed_line(void **state)
{
    static const struct {
        unsigned apdus;
        size_t bytes;
    } bars[] = {[LINK_PROFILE_TLS13] = {8, 1000},
                [LINK_PROFILE_ECDHE] = {6, 800},
                [LINK_PROFILE_RSA] = {6, 800}};
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &line);
        assert_int_equal(outcome_of(&lab, &line), RESUMED);
        print_message("%s: %u APDUs, %zu bytes to the card, %zu from it\n", link_profile_name(p),
                      line.apdus, line.to_card, line.from_card);
        assert_true(line.apdus <= bars[p].apdus);
        assert_true(line.to_card + line.from_card <= bars[p].bytes);
        lab_line_free(&line);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* Kind and code of every event, in order. */
static void test_events_of_a_resumed_line(void **state)
{
    enum { S = LINK_EVENT_SENT, R = LINK_EVENT_RECEIVED, C = LINK_EVENT_CHECKED };
    static const uint8_t tls13[] = {
        C, LINK_CHECK_RANDOM, S, 1, R, 2,  C, LINK_CHECK_SESSION,         C, LINK_CHECK_KEY_SHARE,
        C, LINK_CHECK_KEYS,   R, 8, R, 20, C, LINK_CHECK_SERVER_FINISHED, S, 20};
    static const uint8_t tls12[] = {C, LINK_CHECK_RANDOM,
                                    S, 1,
                                    R, 2,
                                    C, LINK_CHECK_SESSION,
                                    C, LINK_CHECK_KEYS,
                                    R, LINK_MESSAGE_CCS,
                                    R, 20,
                                    C, LINK_CHECK_SERVER_FINISHED,
                                    S, LINK_MESSAGE_CCS,
                                    S, 20};
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        const uint8_t *want = p == LINK_PROFILE_TLS13 ? tls13 : tls12;
        uint8_t out[CARD_RESPONSE_MAX];
        size_t n = 0;
        assert_int_equal(login_to(&lab, p), FULL);
        assert_int_equal(login_to(&lab, p), RESUMED);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_INFO, LINK_INFO_TRACE, 0, NULL, 0, 256, out, &n),
                         SW_OK);
        assert_int_equal(n / LINK_EVENT_LEN, sizeof tls13 / 2);
        for (size_t i = 0; i < n / LINK_EVENT_LEN; i++) {
            assert_int_equal(out[i * LINK_EVENT_LEN], want[2 * i]);
            assert_int_equal(out[i * LINK_EVENT_LEN + 1], want[2 * i + 1]);
            assert_int_equal(out[i * LINK_EVENT_LEN + 4], LINK_REASON_NONE);
        }
    }
    lab_free(&lab);
}

/* --- what it is for
 * ----------------------------------------------------------------------------- */

static void test_a_session_is_for_its_profile_and_key(void **state)
{
    struct lab lab;
    (void)state;
    card_new_both(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        enum link_profile q = p == LINK_PROFILE_RSA ? LINK_PROFILE_TLS13 : p + 1;
        SSL_CTX *ctx = server_for(p), *second = server_for(q);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), FULL);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), RESUMED);
        /* Another key: a full handshake, and the latest is the one that is kept. */
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_RSA), FULL);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_RSA), RESUMED);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), FULL);
        assert_int_equal(login(&lab, second, q, LINK_KEY_TLS_P256), FULL);
        assert_int_equal(login(&lab, second, q, LINK_KEY_TLS_P256), RESUMED);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), FULL);
        SSL_CTX_free(second);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* A line of another profile or key that comes to nothing leaves the session alone; one of its own
 * does not. */
static void test_a_dead_line_of_another_kind_costs_nothing(void **state)
{
    const enum link_profile p = LINK_PROFILE_TLS13;
    struct lab lab;
    (void)state;
    card_new_both(&lab);
    SSL_CTX *ctx = server_for(p), *old = server_for(p);
    SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), FULL);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_RSA, LINK_KEY_TLS_P256), DEAD);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), RESUMED);
    assert_int_equal(login(&lab, old, p, LINK_KEY_TLS_RSA), DEAD);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), RESUMED);
    assert_int_equal(login(&lab, old, p, LINK_KEY_TLS_P256), DEAD);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_TLS_P256), FULL);
    SSL_CTX_free(old);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

static enum outcome login_name(struct lab *lab, SSL_CTX *ctx, enum link_profile p, const char *name)
{
    uint8_t out[CARD_RESPONSE_MAX];
    struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
    size_t n = 0;
    line.ssl = SSL_new(ctx);
    SSL_set_bio(line.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(line.ssl);
    assert_int_equal(lab_select(lab), SW_OK);
    assert_int_equal(lab_verify(lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(
        lab_apdu(lab, 0x80, INS_OPEN, (uint8_t)p, 0, name, strlen(name), 1000, out, &n), SW_OK);
    BIO_write(SSL_get_rbio(line.ssl), out + 1, (int)(n - 1));
    line.state = out[0];
    lab_line_pump(lab, &line);
    enum outcome o = outcome_of(lab, &line);
    lab_line_free(&line);
    return o;
}

/* One for each name; never that of another, even if it stands in its place. */
static void test_a_session_is_for_its_name(void **state)
{
    uint8_t stored[SESSION_STORED_MAX];
    struct lab lab;
    size_t n = 0;
    (void)state;
    card_new(&lab);
    SSL_CTX *here = server_for(LINK_PROFILE_TLS13), *there = server_of(&other_server, true);
    const enum link_profile profiles[] = {LINK_PROFILE_TLS13, LINK_PROFILE_ECDHE};
    for (size_t i = 0; i < 2; i++) {
        enum link_profile p = profiles[i];
        assert_int_equal(login_name(&lab, here, p, LAB_HOST), FULL);
        assert_int_equal(login_name(&lab, there, p, OTHER_HOST), FULL);
        assert_int_equal(login_name(&lab, here, p, LAB_HOST), RESUMED);
        assert_int_equal(login_name(&lab, there, p, OTHER_HOST), RESUMED);
        /* A session that stands in another name's place */
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), stored, sizeof stored, &n), CW_OK);
        memory_write(&lab, SESSION_VALUE(1), stored, n);
        assert_int_equal(login_name(&lab, there, p, OTHER_HOST), FULL);
        /* The control: the same written to its own place is good. */
        memory_write(&lab, SESSION_VALUE(0), stored, n);
        assert_int_equal(login_name(&lab, here, p, LAB_HOST), RESUMED);
    }
    SSL_CTX_free(here);
    SSL_CTX_free(there);
    lab_free(&lab);
}

/* OPEN with the bit for a full handshake: the session is not offered, and not spent either. */
static void test_terminal_may_ask_for_a_full_handshake(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        struct lab_line full = {.chunk = 255, .flip = SIZE_MAX};
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        lab_line_open(&lab, ctx, p, LINK_KEY_AUTO, &full);
        assert_int_equal(outcome_of(&lab, &full), FULL);
        lab_line_free(&full);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, (uint8_t)(p | LINK_OPEN_FULL), 0, NULL, 0,
                                  256, NULL, NULL),
                         SW_OK);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        SSL_CTX_free(ctx);
    }
    assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    for (unsigned p1 = LINK_PROFILE_COUNT + 1; p1 <= 0xFF; p1++)
        if ((p1 & ~(unsigned)LINK_OPEN_FULL) > LINK_PROFILE_COUNT)
            assert_int_equal(
                lab_apdu(&lab, 0x80, INS_OPEN, (uint8_t)p1, 0, NULL, 0, 256, NULL, NULL),
                SW_WRONG_P1P2);
    lab_free(&lab);
}

/* --- what it dies of
 * ---------------------------------------------------------------------------- */

/* Gives a certificate another end. */
static void ends_at(struct lab_identity *id, const struct lab_identity *ca, int64_t end)
{
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(id->certificate), end));
    assert_true(X509_sign(id->certificate, ca->key, EVP_sha256()) > 0);
}

/* The floor of time reaches the server's end and passes it. */
static void test_dies_at_the_servers_not_after(void **state)
{
    struct lab lab;
    (void)state;
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        card_new(&lab);
        assert_int_equal(login_to(&lab, p), FULL);
        floor_set(&lab, SERVER_ENDS);
        assert_int_equal(login_to(&lab, p), RESUMED);
        assert_int_equal(login_to(&lab, p), RESUMED);
        floor_set(&lab, SERVER_ENDS + 1);
        assert_int_equal(login_to(&lab, p), DEAD);
        assert_int_equal(lab_reason(&lab), LINK_REASON_EXPIRED);
        assert_false(has_session(&lab));
        lab_free(&lab);
    }
}

/* The same for an end that is not the server's: of the card's certificate, and of the root. */
static void test_dies_at_any_other_not_after(void **state)
{
    struct lab lab;
    struct lab_identity old = lab_ca_new("Old"), young = lab_ca_new("Young");
    uint8_t *der = NULL;
    (void)state;
    struct lab_identity server = lab_server_new(&root, &(struct lab_server_spec){0});
    ends_at(&server, &root, CARD_ENDS + 86400 * 100);
    SSL_CTX *ctx = server_of(&server, true);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_ECDHE; p++) {
        card_new(&lab);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        floor_set(&lab, CARD_ENDS);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        floor_set(&lab, CARD_ENDS + 1);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL); /* the server's to refuse */
        assert_false(has_session(&lab));                            /* and nothing is kept of it */
        lab_free(&lab);
    }
    SSL_CTX_free(ctx);

    ends_at(&young, &young, LAB_TIME + 1000);
    struct lab_identity below = lab_server_new(&young, &(struct lab_server_spec){0});
    ctx = server_of(&below, true);
    int len = i2d_X509(young.certificate, &der);
    card_new(&lab);
    memory_write(&lab, NVM_ROOT, der, (size_t)len);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), FULL);
    floor_set(&lab, LAB_TIME + 1000);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), RESUMED);
    floor_set(&lab, LAB_TIME + 1001);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), DEAD);
    OPENSSL_free(der);
    SSL_CTX_free(ctx);
    lab_identity_free(&server);
    lab_identity_free(&below);
    lab_identity_free(&old);
    lab_identity_free(&young);
    lab_free(&lab);
}

/* A value of the card that a session was made under is written again, as it was and changed. */
static void dies_of_a_change(uint16_t key, const void *changed, size_t len, enum outcome after)
{
    uint8_t same[CARD_RESPONSE_MAX];
    struct lab lab;
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        size_t n = 0;
        card_new(&lab);
        assert_int_equal(login_to(&lab, p), FULL);
        if (memory_read(&lab, key, same, sizeof same, &n) == CW_OK) {
            memory_write(&lab, key, same, n);
            assert_int_equal(login_to(&lab, p), RESUMED);
        }
        memory_write(&lab, key, changed, len);
        assert_int_equal(login_to(&lab, p), after);
        lab_free(&lab);
    }
}

static void test_dies_at_a_change_of_root(void **state)
{
    struct lab_identity other = lab_ca_new("Other");
    uint8_t *der = NULL;
    (void)state;
    int len = i2d_X509(other.certificate, &der);
    assert_true(len > 0);
    /* One more root; and another in the place of the one, under which the server is nobody. */
    dies_of_a_change(NVM_ROOT | 1, der, (size_t)len, FULL);
    dies_of_a_change(NVM_ROOT, der, (size_t)len, DEAD);
    OPENSSL_free(der);
    lab_identity_free(&other);
}

static void test_dies_at_a_change_of_name(void **state)
{
    static const uint8_t other[] = "\x80\x0Aother.test\x81\x01\x07";
    static const uint8_t alpn[] = "\x80\x09" LAB_HOST "\x81\x01\x07\x82\x08http/1.1";
    (void)state;
    dies_of_a_change(NVM_NAME, other, sizeof other - 1, DEAD);
    dies_of_a_change(NVM_NAME, alpn, sizeof alpn - 1, FULL);
    /* The same name for fewer profiles; the session's is still among them. */
    static const uint8_t fewer[] = "\x80\x09" LAB_HOST "\x81\x01\x01";
    struct lab lab;
    card_new(&lab);
    assert_int_equal(login_to(&lab, LINK_PROFILE_TLS13), FULL);
    memory_write(&lab, NVM_NAME, fewer, sizeof fewer - 1);
    assert_int_equal(login_to(&lab, LINK_PROFILE_TLS13), FULL);
    lab_free(&lab);
    /* Another name's object is none of its business. */
    dies_of_a_change(NVM_NAME | 2, other, sizeof other - 1, RESUMED);
}

static void test_dies_at_a_change_of_the_cards_certificate(void **state)
{
    uint8_t der[CARD_RESPONSE_MAX], *changed = NULL;
    const uint8_t *p = der;
    struct lab lab;
    size_t n = 0;
    (void)state;
    card_new(&lab);
    assert_int_equal(memory_read(&lab, NVM_CERT | LINK_KEY_TLS_P256, der, sizeof der, &n), CW_OK);
    lab_free(&lab);
    X509 *x = d2i_X509(NULL, &p, (long)n);
    assert_true(ASN1_INTEGER_set(X509_get_serialNumber(x), 77));
    assert_true(X509_sign(x, card_ca.key, EVP_sha256()) > 0);
    int len = i2d_X509(x, &changed);
    dies_of_a_change(NVM_CERT | LINK_KEY_TLS_P256, changed, (size_t)len, FULL);
    OPENSSL_free(changed);
    X509_free(x);
}

/* What PUT DATA calls before it writes: the session goes at once, not only out of use. */
static void test_forgotten_when_told_to(void **state)
{
    struct lab lab;
    struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
    (void)state;
    card_new(&lab);
    SSL_CTX *ctx = server_for(LINK_PROFILE_TLS13);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(has_session(&lab));
    session_forget_all(lab.card);
    assert_false(has_session(&lab));
    /* The line lives on, but what was verified before is not kept after it. */
    assert_true(SSL_new_session_ticket(line.ssl) && SSL_write(line.ssl, "x", 1) == 1);
    lab_line_pump(&lab, &line);
    assert_true(line.state & LINK_STATE_DATA);
    assert_false(has_session(&lab));
    lab_line_free(&line);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), FULL);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), RESUMED);
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* A root or name that the issuer writes, over the air or through its channel, ends sessions; what
 * no session rests on does not. */
static void test_forgotten_when_the_issuer_writes(void **state)
{
    static const uint8_t other[] = "\x80\x0Athird.test\x81\x01\x07";
    const struct issuer_write name = {LINK_DO_NAME | 2, other, sizeof other - 1};
    const struct issuer_write payees = {LINK_DO_PAYEES, NULL, 0};
    struct lab lab;
    struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
    (void)state;
    card_new(&lab);
    SSL_CTX *ctx = server_for(LINK_PROFILE_TLS13);
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_int_equal(lab_update(&lab, &payees, 1), SW_OK);
    assert_true(has_session(&lab));
    assert_int_equal(lab_update(&lab, &name, 1), SW_OK);
    assert_false(has_session(&lab));
    lab_line_free(&line);
    assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), FULL);
    assert_true(has_session(&lab));
    memset(lab.keys.enc, 0xE1, sizeof lab.keys.enc); /* as lab_personalise left them */
    memset(lab.keys.mac, 0xA2, sizeof lab.keys.mac);
    memset(lab.keys.dek, 0xD3, sizeof lab.keys.dek);
    assert_true(lab_channel_open(&lab));
    assert_int_equal(lab_put(&lab, LINK_DO_NAME | 3, other, sizeof other - 1), SW_OK);
    assert_false(has_session(&lab));
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

static void wrong_pin(struct lab *lab, uint8_t use, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_int_not_equal(lab_verify(lab, use, "000000"), SW_OK);
}

static void tries_set(struct lab *lab, uint8_t tries)
{
    const uint8_t value[2] = {tries, LINK_PIN_TRIES};
    memory_write(lab, NVM_TRIES, value, sizeof value);
}

/* Blocked, and unblocked by some means: the session of before is gone. */
static void test_dies_when_the_pin_is_blocked(void **state)
{
    static const uint8_t uses[] = {LINK_PIN_LINE, LINK_PIN_ORDER};
    struct lab lab;
    (void)state;
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        for (size_t i = 0; i < 2; i++) {
            card_new(&lab);
            assert_int_equal(login_to(&lab, p), FULL);
            wrong_pin(&lab, uses[i], LINK_PIN_TRIES - 1);
            assert_int_equal(login_to(&lab, p), RESUMED); /* two wrong ones are no harm */
            wrong_pin(&lab, uses[i], LINK_PIN_TRIES);
            assert_false(has_session(&lab));
            tries_set(&lab, LINK_PIN_TRIES);
            assert_int_equal(login_to(&lab, p), FULL);
            lab_free(&lab);
        }
    }
}

/* Power fails between the counter's last step and the forgetting. */
static void test_dies_when_power_fails_as_the_pin_is_blocked(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    assert_int_equal(login_to(&lab, LINK_PROFILE_RSA), FULL);
    tries_set(&lab, 1);
    assert_true(has_session(&lab));
    assert_int_equal(login_to(&lab, LINK_PROFILE_RSA), RESUMED);
    tries_set(&lab, 0);
    assert_false(has_session(&lab));
    tries_set(&lab, LINK_PIN_TRIES);
    assert_int_equal(login_to(&lab, LINK_PROFILE_RSA), FULL);
    lab_free(&lab);
}

/* Blocked while a line is open: a ticket that comes then is not kept. */
static void test_no_session_of_a_line_whose_pin_was_blocked(void **state)
{
    struct lab lab;
    (void)state;
    SSL_CTX *ctx = server_for(LINK_PROFILE_TLS13);
    for (int blocked = 0; blocked < 2; blocked++) {
        uint8_t before[SESSION_STORED_MAX], after[SESSION_STORED_MAX];
        struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
        size_t n = 0, m = 0;
        card_new(&lab);
        lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), before, sizeof before, &n), CW_OK);
        wrong_pin(&lab, LINK_PIN_ORDER, blocked ? LINK_PIN_TRIES : LINK_PIN_TRIES - 1);
        assert_true(SSL_new_session_ticket(line.ssl) && SSL_write(line.ssl, "x", 1) == 1);
        lab_line_pump(&lab, &line);
        assert_true(line.state & LINK_STATE_DATA);
        if (blocked) {
            assert_false(has_session(&lab));
        } else {
            assert_int_equal(memory_read(&lab, SESSION_VALUE(0), after, sizeof after, &m), CW_OK);
            assert_true(m == n && memcmp(before, after, n) != 0);
        }
        lab_line_free(&line);
        lab_free(&lab);
    }
    SSL_CTX_free(ctx);
}

/* --- where it is kept
 * --------------------------------------------------------------------------- */

static bool in_memory(const struct lab *lab, const uint8_t *secret, size_t len)
{
    const uint8_t *p = (const uint8_t *)lab->card;
    for (size_t i = 0; i + len <= sizeof(struct card); i++)
        if (memcmp(p + i, secret, len) == 0)
            return true;
    return false;
}

/* In RAM: through SELECT, not through a reset; and never in flash. */
static void test_policy_ram(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    keep_set(&lab, POLICY_SESSIONS_RAM);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        uint8_t secret[48];
        size_t n;
        assert_int_equal(login_to(&lab, p), FULL);
        n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
        assert_true(in_memory(&lab, secret, n));
        assert_int_equal(login_to(&lab, p), RESUMED); /* SELECT is part of it */
        assert_false(has_session(&lab));
        assert_int_equal(card_reset(lab.card), CW_OK);
        assert_false(in_memory(&lab, secret, n));
        assert_int_equal(login_to(&lab, p), FULL);
        wrong_pin(&lab, LINK_PIN_LINE, LINK_PIN_TRIES);
        n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
        assert_false(in_memory(&lab, secret, n));
        tries_set(&lab, LINK_PIN_TRIES);
    }
    SSL_CTX *here = server_for(LINK_PROFILE_TLS13), *there = server_of(&other_server, true);
    assert_int_equal(login_name(&lab, here, LINK_PROFILE_TLS13, LAB_HOST), FULL);
    assert_int_equal(login_name(&lab, here, LINK_PROFILE_TLS13, LAB_HOST), RESUMED);
    assert_int_equal(login_name(&lab, here, LINK_PROFILE_TLS13, OTHER_HOST), DEAD);
    assert_int_equal(login_name(&lab, here, LINK_PROFILE_TLS13, LAB_HOST), RESUMED);
    assert_int_equal(login_name(&lab, there, LINK_PROFILE_TLS13, OTHER_HOST), FULL);
    assert_int_equal(login_name(&lab, here, LINK_PROFILE_TLS13, LAB_HOST), FULL); /* there is one */
    SSL_CTX_free(here);
    SSL_CTX_free(there);
    lab_free(&lab);
}

/* A card that is terminated forgets the session in RAM with all else, at once. */
static void test_terminated_forgets_ram(void **state)
{
    struct lab lab;
    uint8_t secret[48];
    (void)state;
    card_new(&lab);
    keep_set(&lab, POLICY_SESSIONS_RAM);
    assert_int_equal(login_to(&lab, LINK_PROFILE_ECDHE), FULL);
    size_t n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
    memset(lab.keys.enc, 0xE1, sizeof lab.keys.enc); /* lab_put_keys */
    memset(lab.keys.mac, 0xA2, sizeof lab.keys.mac);
    memset(lab.keys.dek, 0xD3, sizeof lab.keys.dek);
    assert_true(lab_channel_open(&lab));
    assert_true(in_memory(&lab, secret, n));
    assert_int_equal(lab_set_status(&lab, LINK_LIFE_TERMINATED), SW_OK);
    assert_false(in_memory(&lab, secret, n));
    lab_free(&lab);
}

/* In flash: the secret is nowhere in RAM between two lines. */
static void test_policy_nvm_leaves_nothing_in_ram(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        uint8_t secret[48];
        assert_int_equal(login_to(&lab, p), FULL);
        size_t n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
        assert_true(n >= 32);
        assert_int_equal(lab_select(&lab), SW_OK);
        assert_false(in_memory(&lab, secret, n));
    }
    lab_free(&lab);
}

static void test_policy_none(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    keep_set(&lab, 0);
    for (enum link_profile p = LINK_PROFILE_TLS13; p <= LINK_PROFILE_RSA; p++) {
        uint8_t secret[48];
        assert_int_equal(login_to(&lab, p), FULL);
        size_t n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
        assert_false(has_session(&lab) || in_memory(&lab, secret, n));
        assert_int_equal(login_to(&lab, p), FULL);
    }
    lab_free(&lab);
}

/* The policy changes: what the old one kept is not used, and not left behind. */
static void test_policy_changes(void **state)
{
    static const uint8_t policies[] = {POLICY_SESSIONS_NVM, POLICY_SESSIONS_RAM, 0};
    struct lab lab;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t secret[48];
        card_new(&lab);
        assert_int_equal(login_to(&lab, LINK_PROFILE_ECDHE), FULL);
        size_t n = SSL_SESSION_get_master_key(last_session(), secret, sizeof secret);
        assert_true(has_session(&lab));
        keep_set(&lab, policies[i]);
        assert_int_equal(login_to(&lab, LINK_PROFILE_ECDHE), i == 0 ? RESUMED : FULL);
        assert_int_equal(has_session(&lab), i == 0);
        assert_false(in_memory(&lab, secret, n));
        lab_free(&lab);
    }
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup(f, make_all)
    const struct CMUnitTest tests[] = {
        T(test_resumes_after_the_card_was_torn_out),
        T(test_both_keys_and_the_larger_suites),
        T(test_resumes_after_close),
        T(test_a_resumed_line_carries_data),
        T(test_each_line_has_its_own_binding_and_the_same_peer),
        T(test_resumed_line_needs_its_pin),
        T(test_wire_cost_of_a_resumed_line),
        T(test_events_of_a_resumed_line),
        T(test_a_session_is_for_its_profile_and_key),
        T(test_a_dead_line_of_another_kind_costs_nothing),
        T(test_a_session_is_for_its_name),
        T(test_terminal_may_ask_for_a_full_handshake),
        T(test_dies_at_the_servers_not_after),
        T(test_dies_at_any_other_not_after),
        T(test_dies_at_a_change_of_root),
        T(test_dies_at_a_change_of_name),
        T(test_dies_at_a_change_of_the_cards_certificate),
        T(test_forgotten_when_told_to),
        T(test_forgotten_when_the_issuer_writes),
        T(test_dies_when_the_pin_is_blocked),
        T(test_dies_when_power_fails_as_the_pin_is_blocked),
        T(test_no_session_of_a_line_whose_pin_was_blocked),
        T(test_policy_ram),
        T(test_terminated_forgets_ram),
        T(test_policy_nvm_leaves_nothing_in_ram),
        T(test_policy_none),
        T(test_policy_changes),
    };
    int result = unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
    free_all();
    return result;
}
