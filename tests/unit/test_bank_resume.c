/* test_bank_resume.c - sessions that the bank keeps: resumed after a card was torn out, known by
 * their card's certificate, and not resumed for a card that may not speak any more. The bank's TLS
 * and a stock OpenSSL client, over memory. */
#include "tests/unit/bank_lab.h"

#include "bank/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

enum profile { TLS13, ECDHE, RSA_KX, PROFILES };

struct pair {
    SSL *server, *client;
};

struct scene {
    struct bank_lab *lab;
    struct lab_card *card;
    struct tls *tls;
    SSL_CTX *client[PROFILES];
};

/* In TLS 1.3 the session comes with a ticket, after the handshake. A copy: OpenSSL marks a
 * connection's own session as spent when the connection ends badly. */
static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = SSL_SESSION_dup(session);
    return 0;
}

static SSL_CTX *client_context(struct scene *s, enum profile p)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int version = p == TLS13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    assert_true(SSL_CTX_set_min_proto_version(ctx, version));
    assert_true(SSL_CTX_set_max_proto_version(ctx, version));
    assert_true(SSL_CTX_set_cipher_list(ctx, p == ECDHE ? "ECDHE-ECDSA-AES128-GCM-SHA256"
                                                        : "AES128-GCM-SHA256"));
    assert_true(SSL_CTX_use_certificate(ctx, s->card->tls_cert));
    assert_true(SSL_CTX_use_PrivateKey(ctx, s->card->tls_key));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    return ctx;
}

static int setup_scene(void **state)
{
    struct say why = {""};
    struct scene *s = calloc(1, sizeof *s);
    s->lab = lab_new();
    s->card = lab_card_new(s->lab, s->lab->ada, 1, false);
    lab_ok(tls_new(s->lab->bank, NULL, &s->tls, &why), &why);
    for (enum profile p = TLS13; p < PROFILES; p++)
        s->client[p] = client_context(s, p);
    *state = s;
    return 0;
}

static int teardown_scene(void **state)
{
    struct scene *s = *state;
    SSL_SESSION_free(ticket);
    ticket = NULL;
    for (enum profile p = TLS13; p < PROFILES; p++)
        SSL_CTX_free(s->client[p]);
    tls_free(&s->tls);
    lab_card_free(&s->card);
    lab_free(&s->lab);
    free(s);
    return 0;
}

/* Shakes hands, offering `session` if there is one. False when the server refuses. */
static bool meet(struct scene *s, enum profile p, SSL_SESSION *session, struct pair *out)
{
    BIO *a, *b;
    assert_true(BIO_new_bio_pair(&a, 0, &b, 0));
    out->server = SSL_new(s->tls->ctx);
    out->client = SSL_new(s->client[p]);
    SSL_set_bio(out->server, a, a);
    SSL_set_bio(out->client, b, b);
    if (session != NULL) {
        SSL_SESSION *copy = SSL_SESSION_dup(session);
        assert_true(SSL_set_session(out->client, copy));
        SSL_SESSION_free(copy);
    }
    SSL_set_accept_state(out->server);
    SSL_set_connect_state(out->client);
    uint8_t byte;
    for (int i = 0; i < 10; i++) {
        int c = SSL_do_handshake(out->client), e = SSL_do_handshake(out->server);
        if (c == 1 && e == 1) {
            (void)SSL_read(out->client, &byte, 1); /* the ticket */
            ERR_clear_error();
            return true;
        }
        if (e != 1 && SSL_get_error(out->server, e) == SSL_ERROR_SSL)
            break;
    }
    ERR_clear_error();
    return false;
}

/* The card is torn out: neither side says goodbye. */
static void tear(struct pair *p)
{
    SSL_free(p->client);
    SSL_free(p->server);
}

/* A first line, torn; what it leaves. */
static SSL_SESSION *first_session(struct scene *s, enum profile p)
{
    struct pair line;
    assert_true(meet(s, p, NULL, &line));
    assert_false(SSL_session_reused(line.server));
    tear(&line);
    assert_non_null(ticket);
    SSL_SESSION *session = ticket;
    ticket = NULL;
    return session;
}

/* Is a line resumed with that session? *up: whether there is a line at all. */
static bool resumes(struct scene *s, enum profile p, SSL_SESSION *session, bool *up)
{
    struct pair line;
    *up = meet(s, p, session, &line);
    bool reused = SSL_session_reused(line.server) == 1;
    tear(&line);
    return reused;
}

/* Through three torn lines: the same card, another binding; in TLS 1.3 another ticket each time. */
static void test_torn_lines_are_resumed_and_known(void **state)
{
    struct scene *s = *state;
    struct say why = {""};
    for (enum profile p = TLS13; p < PROFILES; p++) {
        SSL_SESSION *session = first_session(s, p);
        struct api_line seen[3];
        for (int i = 0; i < 3; i++) {
            struct pair line;
            unsigned n, m;
            assert_true(meet(s, p, session, &line));
            assert_int_equal(SSL_session_reused(line.server), 1);
            lab_ok(tls_line_get(line.server, s->lab->bank->ledger, &seen[i], &why), &why);
            assert_memory_equal(seen[i].card, s->card->serial, ORDER_SERIAL_LEN);
            assert_int_equal(seen[i].customer, s->lab->ada);
            assert_true(seen[i].bound);
            assert_string_equal(seen[i].profile, p == TLS13   ? "tls13"
                                                 : p == ECDHE ? "ecdhe"
                                                              : "rsa");
            for (int k = 0; k < i; k++)
                assert_memory_not_equal(seen[i].binding, seen[k].binding, ORDER_BINDING_LEN);
            tear(&line);
            if (p != TLS13)
                continue;
            assert_non_null(ticket);
            const unsigned char *was = SSL_SESSION_get_id(session, &n),
                                *now = SSL_SESSION_get_id(ticket, &m);
            assert_true(n != m || memcmp(was, now, n) != 0);
            const unsigned char *text;
            size_t len;
            SSL_SESSION_get0_ticket(ticket, &text, &len);
            assert_int_equal(len, 32); /* stateful: not the session itself */
            SSL_SESSION_free(session);
            session = ticket;
            ticket = NULL;
        }
        SSL_SESSION_free(session);
    }
}

static void test_blocked_card_is_not_resumed(void **state)
{
    struct scene *s = *state;
    struct say why = {""};
    bool up = false;
    for (enum profile p = TLS13; p < PROFILES; p++) {
        SSL_SESSION *session = first_session(s, p);
        assert_true(resumes(s, p, session, &up) && up);
        lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, true, &why), &why);
        assert_false(resumes(s, p, session, &up) || up);
        lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, false, &why), &why);
        assert_true(resumes(s, p, session, &up) && up);
        SSL_SESSION_free(session);
    }
}

/* Its certificate ends while the session is good. */
static void test_ended_certificate_is_not_resumed(void **state)
{
    struct scene *s = *state;
    bool up = false;
    for (enum profile p = TLS13; p < PROFILES; p++) {
        const int64_t begin = s->lab->now;
        SSL_SESSION *session = first_session(s, p);
        assert_true(resumes(s, p, session, &up) && up);
        s->lab->now = begin + INT64_C(86400) * s->lab->card_days + 1;
        assert_false(resumes(s, p, session, &up));
        s->lab->now = begin;
        assert_true(resumes(s, p, session, &up) && up);
        SSL_SESSION_free(session);
    }
}

/* The bank keeps so many: the oldest goes first, and its card shakes hands in full. */
static void test_oldest_session_makes_room(void **state)
{
    struct scene *s = *state;
    bool up = false;
    SSL_SESSION *first = first_session(s, ECDHE), *second = first_session(s, ECDHE);
    for (unsigned i = 0; i + 1 < TLS_SESSIONS; i++)
        SSL_SESSION_free(first_session(s, ECDHE));
    assert_true(resumes(s, ECDHE, second, &up) && up);
    assert_false(resumes(s, ECDHE, first, &up));
    assert_true(up);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_scene, teardown_scene)
    const struct CMUnitTest tests[] = {
        T(test_torn_lines_are_resumed_and_known),
        T(test_blocked_card_is_not_resumed),
        T(test_ended_certificate_is_not_resumed),
        T(test_oldest_session_makes_room),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
