/* test_bank_server.c - the bank's server as stock OpenSSL meets it over TCP: who gets in by which
 * profile, and the API from login to receipt. The card here is software (bank_lab.h). */
#include "tests/unit/bank_server_lab.h"

#include "host/base64.h"

#include <jansson.h>
#include <openssl/cms.h>
#include <openssl/pem.h>

/* ---- who gets in ---- */

static void test_profiles(void **state)
{
    struct server *s = *state;
    static const struct {
        const struct want *want;
        const char *says;
    } lines[] = {{&tls13, "\"profile\":\"tls13\",\"tls\":\"1.3\""},
                 {&ecdhe, "\"profile\":\"ecdhe\",\"tls\":\"1.2\""},
                 {&rsa, "\"profile\":\"rsa\",\"tls\":\"1.2\""}};
    struct lab_card *other = lab_card_new(s->lab, s->lab->bob, 2, true);
    for (size_t i = 0; i < 6; i++) { /* with a P-256 card, then with an RSA card */
        struct client c;
        struct lab_card *card = i < 3 ? s->card : other;
        struct want w = as(*lines[i % 3].want, card->tls_cert, card->tls_key);
        w.welcome = true;
        assert_int_equal(dial(s, &w, &c), 0);
        log_in(&c);
        if (strstr(answer, lines[i % 3].says) == NULL)
            fail_msg("%s", answer);
        /* the leaf alone, and keys kept apart */
        assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(c.ssl)), 1);
        assert_int_equal(EVP_PKEY_is_a(X509_get0_pubkey(SSL_get0_peer_certificate(c.ssl)), "RSA"),
                         i % 3 == 2);
        assert_true(sk_X509_NAME_num(SSL_get0_peer_CA_list(c.ssl)) <= 0);
        hang_up(&c);
    }
    lab_card_free(&other);
}

static void test_rsa_key_never_signs(void **state)
{
    struct server *s = *state;
    struct client c;
    struct want w = as_card(
        s, (struct want){.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"});
    assert_int_equal(dial(s, &w, &c), SSL_AD_HANDSHAKE_FAILURE);
    hang_up(&c);
}

static void test_strangers_stay_out(void **state)
{
    struct server *s = *state;
    struct say why = {""};
    struct client c;
    struct lab_card *issuing = lab_card_new(s->lab, s->lab->ada, 3, false);
    X509 *forged = lab_certify(s->lab, CA_CARD_TLS, "0000000000000000", issuing->tls_key);
    const struct want *lines[] = {&tls13, &ecdhe, &rsa};
    for (size_t i = 0; i < 3; i++) {
        struct want w = *lines[i];
        int none = dial(s, &w, &c);
        assert_true(none == SSL_AD_CERTIFICATE_REQUIRED || none == SSL_AD_HANDSHAKE_FAILURE);
        hang_up(&c);
        /* an order key is not a key for lines, whoever holds it */
        w = as(*lines[i], s->card->order_cert, s->card->order_key);
        assert_int_equal(dial(s, &w, &c), SSL_AD_UNSUPPORTED_CERTIFICATE);
        hang_up(&c);
        /* under the cards' root, but never issued to a card */
        w = as(*lines[i], forged, issuing->tls_key);
        assert_int_equal(dial(s, &w, &c), SSL_AD_UNKNOWN_CA);
        hang_up(&c);
    }
    X509_free(forged);
    lab_ok(ledger_card_block(s->lab->bank->ledger, issuing->serial, true, &why), &why);
    struct want w = as(tls13, issuing->tls_cert, issuing->tls_key);
    assert_int_equal(dial(s, &w, &c), SSL_AD_CERTIFICATE_REVOKED);
    hang_up(&c);
    lab_card_free(&issuing);
}

static void test_block_in_open_line(void **state)
{
    struct server *s = *state;
    struct say why = {""};
    struct client c;
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, true, &why), &why);
    assert_int_equal(get(&c, "/v1/accounts"), 403);
    assert_problem("card-blocked");
    lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, false, &why), &why);
    assert_int_equal(get(&c, "/v1/accounts"), 200);
    hang_up(&c);
}

/* Connects again with `session`; whether it was taken up, *alive whether a request is answered. */
static bool dial_again(struct server *s, struct client *first, SSL_SESSION *session, bool *alive)
{
    struct client again = {.ctx = first->ctx};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    again.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(again.fd, (struct sockaddr *)&to, sizeof to), 0);
    again.ssl = SSL_new(again.ctx);
    SSL_set_fd(again.ssl, again.fd);
    SSL_set_session(again.ssl, session);
    uint8_t byte;
    *alive = SSL_connect(again.ssl) == 1 &&
             SSL_write(again.ssl, "GET / HTTP/1.1\r\n\r\n", 18) == 18 &&
             SSL_read(again.ssl, &byte, 1) == 1;
    bool reused = SSL_session_reused(again.ssl) == 1;
    SSL_free(again.ssl);
    close(again.fd);
    ERR_clear_error();
    return reused;
}

/* A session may be resumed, but not by a card that was blocked in between. */
static void test_resumption(void **state)
{
    struct server *s = *state;
    struct say why = {""};
    bool alive = false;
    const struct want *lines[] = {&tls13, &ecdhe};
    for (size_t i = 0; i < 2; i++) {
        struct client first;
        struct want w = as_card(s, *lines[i]);
        assert_int_equal(dial(s, &w, &first), 0);
        log_in(&first); /* in TLS 1.3 the ticket comes with the first answer */
        SSL_SESSION *session = SSL_get1_session(first.ssl);
        shutdown(first.fd, SHUT_RDWR); /* torn out: no close_notify */
        assert_true(dial_again(s, &first, session, &alive));
        assert_true(alive);
        lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, true, &why), &why);
        assert_false(dial_again(s, &first, session, &alive));
        assert_false(alive);
        lab_ok(ledger_card_block(s->lab->bank->ledger, s->card->serial, false, &why), &why);
        SSL_SESSION_free(session);
        hang_up(&first);
    }
}

/* ---- the API ---- */

static void test_login_comes_first(void **state)
{
    struct server *s = *state;
    struct client c;
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    assert_int_equal(get(&c, "/v1/session"), 403);
    assert_problem("not-logged-in");
    assert_int_equal(get(&c, "/v1/accounts"), 403);
    assert_int_equal(post(&c, "/v1/session", "{\"key_agreement\":\"failed\"}"), 400);
    assert_problem("malformed");
    assert_int_equal(get(&c, "/v1/accounts"), 403);
    log_in(&c);
    assert_non_null(strstr(answer, "Ada Lovelace"));
    assert_int_equal(get(&c, "/v1/session"), 200);
    hang_up(&c);
}

static void test_queries(void **state)
{
    struct server *s = *state;
    struct client c;
    char path[128];
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(get(&c, "/v1/accounts"), 200);
    assert_non_null(strstr(answer, "\"100.00\""));
    snprintf(path, sizeof path, "/v1/accounts/%s/balance", s->lab->payer.number);
    assert_int_equal(get(&c, path), 200);
    snprintf(path, sizeof path, "/v1/accounts/%s/balance", s->lab->payee.number);
    assert_int_equal(get(&c, path), 404); /* Bob's is none of Ada's business */
    assert_problem("account-unknown");
    snprintf(path, sizeof path, "/v1/accounts/%s/transactions?limit=1", s->lab->payer.number);
    assert_int_equal(get(&c, path), 200);
    static const char *const bad[] = {"0", "101", "-1", "", "1x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(path, sizeof path, "/v1/accounts/%s/transactions?limit=%s", s->lab->payer.number,
                 bad[i]);
        assert_int_equal(get(&c, path), 400);
    }
    snprintf(path, sizeof path, "/v1/payees/%s", s->lab->payee.number);
    assert_int_equal(get(&c, path), 200);
    assert_non_null(strstr(answer, "Bob B\xc3\xa4"
                                   "cker"));
    assert_int_equal(get(&c, "/v1/payees/ZZ00000000000000"), 404);
    assert_int_equal(get(&c, "/v1/nothing"), 404);
    assert_problem("not-found");
    assert_int_equal(post(&c, "/v1/accounts", "{}"), 405);
    assert_problem("method");
    hang_up(&c);
}

static void put_payment(const struct lab_signed *p, char *out, size_t cap)
{
    char text[BASE64_LEN(ORDER_TEXT_MAX) + 1], signature[BASE64_LEN(LEDGER_SIGNATURE_MAX) + 1];
    assert_int_equal(base64_encode(p->text, p->text_len, text, sizeof text), CW_OK);
    assert_int_equal(base64_encode(p->signature, p->signature_len, signature, sizeof signature),
                     CW_OK);
    assert_true(snprintf(out, cap, "{\"order\":\"%s\",\"signature\":\"%s\"}", text, signature) <
                (int)cap);
}

static void export_binding(struct client *c, uint8_t binding[ORDER_BINDING_LEN])
{
    assert_int_equal(SSL_export_keying_material(c->ssl, binding, ORDER_BINDING_LEN,
                                                LINK_EXPORTER_LABEL, strlen(LINK_EXPORTER_LABEL),
                                                NULL, 0, 0),
                     1);
}

static int64_t paid(struct server *s)
{
    struct say why = {""};
    struct ledger_account a;
    lab_ok(ledger_account_get(s->lab->bank->ledger, s->lab->payee.number, &a, &why), &why);
    return a.balance;
}

static void check_receipt(struct server *s, const uint8_t *der, size_t len, const uint8_t *text,
                          size_t text_len, bool genuine)
{
    struct say why = {""};
    X509 *root = NULL;
    char *content;
    X509_STORE *store = X509_STORE_new();
    BIO *out = BIO_new(BIO_s_mem());
    lab_ok(bank_certificate_load(s->lab->bank, BANK_FILE_CARD_ROOT, &root, &why), &why);
    X509_STORE_add_cert(store, root);
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &der, (long)len);
    assert_non_null(cms);
    assert_int_equal(CMS_verify(cms, NULL, store, NULL, out, 0), genuine);
    if (genuine) {
        assert_int_equal(BIO_get_mem_data(out, &content), text_len);
        assert_memory_equal(content, text, text_len);
    }
    CMS_ContentInfo_free(cms);
    BIO_free(out);
    X509_free(root);
    X509_STORE_free(store);
    ERR_clear_error();
}

static void pay_by(struct server *s, struct lab_card *card, struct want w, uint8_t id)
{
    struct client c;
    char body[2048], path[128];
    uint8_t binding[ORDER_BINDING_LEN];
    size_t len = 0;
    const int64_t before = paid(s);
    const struct order_fields f = lab_order(s->lab, id, 1234);
    w = as(w, card->tls_cert, card->tls_key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    const struct lab_signed p = lab_sign(card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 201);
    assert_non_null(strstr(answer, "\"amount\":\"12.34\""));
    assert_non_null(strstr(answer, "\"replayed\":false"));
    assert_int_equal(post(&c, "/v1/payments", body), 200);
    assert_non_null(strstr(answer, "\"replayed\":true"));
    assert_int_equal(paid(s), before + 1234);
    snprintf(path, sizeof path, "/v1/payments/%02x111111111111111111111111111111", id);
    assert_int_equal(get(&c, path), 200);
    assert_non_null(strstr(answer, "\"payee_name\":\"Bob"));
    strcat(path, "/receipt");
    assert_int_equal(ask(&c, "GET", path, "", answer, sizeof answer, &len), 200);
    check_receipt(s, (const uint8_t *)answer, len, p.text, p.text_len, true);
    /* One digit of the amount in the receipt changed: it must fall. */
    char *amount = memmem(answer, len, "12.34", 5);
    assert_non_null(amount);
    amount[0] = '9';
    check_receipt(s, (const uint8_t *)answer, len, NULL, 0, false);
    hang_up(&c);
    /* A new line, the answer to which got lost: not paid twice. */
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(post(&c, "/v1/payments", body), 200);
    assert_non_null(strstr(answer, "\"replayed\":true"));
    assert_int_equal(paid(s), before + 1234);
    hang_up(&c);
}

static void test_payment_tls13(void **state)
{
    struct server *s = *state;
    pay_by(s, s->card, tls13, 0x20);
}

static void test_payment_ecdhe(void **state)
{
    struct server *s = *state;
    pay_by(s, s->card, ecdhe, 0x21);
}

static void test_payment_rsa(void **state)
{
    struct server *s = *state;
    struct lab_card *card = lab_card_new(s->lab, s->lab->ada, 7, true);
    pay_by(s, card, rsa, 0x22);
    lab_card_free(&card);
}

/* What was answered was on disk: the server is killed in the moment after its answer. */
static void test_kill_after_answer(void **state)
{
    struct server *s = *state;
    struct client c;
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN];
    int status = 0;
    struct want w = as_card(s, tls13);
    const struct order_fields f = lab_order(s->lab, 0x30, 700);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    const struct lab_signed p = lab_sign(s->card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 201);
    assert_int_equal(kill(s->pid, SIGKILL), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    hang_up(&c);
    start(s);
    assert_int_equal(paid(s), 700);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(post(&c, "/v1/payments", body), 200);
    assert_non_null(strstr(answer, "\"replayed\":true"));
    assert_int_equal(paid(s), 700);
    hang_up(&c);
}

/* Each is one thing wrong with an order that is otherwise good. Nothing of it may be booked. */
static void test_bad_orders(void **state)
{
    struct server *s = *state;
    struct client c;
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN], other[ORDER_BINDING_LEN] = {0};
    struct lab_card *thief = lab_card_new(s->lab, s->lab->bob, 4, false);
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    struct order_fields f = lab_order(s->lab, 0x40, 100);

    struct lab_signed p = lab_sign(s->card, &f, other);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-other-line");

    p = lab_sign(thief, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-other-card");

    p = lab_sign(s->card, &f, binding);
    p.signature[p.signature_len - 1] ^= 1;
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-signature");

    EVP_PKEY *order_key = s->card->order_key;
    s->card->order_key = s->card->tls_key; /* one key, one use */
    p = lab_sign(s->card, &f, binding);
    s->card->order_key = order_key;
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-signature");

    f.expiry = s->lab->now - 1;
    p = lab_sign(s->card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-expired");
    f.expiry = s->lab->now + 600;

    f.amount = 10001;
    p = lab_sign(s->card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("funds");
    assert_int_equal(paid(s), 0);
    hang_up(&c);
    lab_card_free(&thief);
}

/* Without extended master secret nothing binds an order to its line. */
static void test_no_ems_no_orders(void **state)
{
    struct server *s = *state;
    struct client c;
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN];
    struct want w = as_card(s, ecdhe);
    w.no_ems = true;
    const struct order_fields f = lab_order(s->lab, 0x50, 100);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    const struct lab_signed p = lab_sign(s->card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-other-line");
    /* nor is the value that stands for none a binding */
    const struct order_fields g = lab_order(s->lab, 0x51, 100);
    const uint8_t none[ORDER_BINDING_LEN] = {0};
    const struct lab_signed q = lab_sign(s->card, &g, none);
    put_payment(&q, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-other-line");
    assert_int_equal(paid(s), 0);
    hang_up(&c);
}

/* The text and signature of an order are no secret; they help nobody but the card that made them.
 */
static void test_payment_is_its_customers(void **state)
{
    struct server *s = *state;
    struct client c;
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN];
    struct lab_card *bobs = lab_card_new(s->lab, s->lab->bob, 5, false);
    struct want w = as_card(s, tls13);
    const struct order_fields f = lab_order(s->lab, 0x60, 100);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    const struct lab_signed p = lab_sign(s->card, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 201);
    assert_int_equal(get(&c, "/v1/payments/60111111111111111111111111111111"), 200);
    const struct order_fields g = lab_order(s->lab, 0x60, 200); /* the same number for another */
    const struct lab_signed q = lab_sign(s->card, &g, binding);
    char other[2048];
    put_payment(&q, other, sizeof other);
    assert_int_equal(post(&c, "/v1/payments", other), 409);
    assert_problem("order-conflict");
    hang_up(&c);
    w = as(tls13, bobs->tls_cert, bobs->tls_key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(get(&c, "/v1/payments/60111111111111111111111111111111"), 404);
    assert_int_equal(get(&c, "/v1/payments/60111111111111111111111111111111/receipt"), 404);
    assert_problem("not-found");
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-other-card");
    assert_int_equal(paid(s), 100);
    hang_up(&c);
    lab_card_free(&bobs);
}

static void test_card_out_of_date(void **state)
{
    struct server *s = *state;
    struct client c;
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN];
    s->lab->card_days = -1;
    struct lab_card *old = lab_card_new(s->lab, s->lab->ada, 6, false);
    struct want w = as(tls13, old->tls_cert, old->tls_key);
    assert_int_equal(dial(s, &w, &c), SSL_AD_CERTIFICATE_EXPIRED);
    hang_up(&c);
    /* its order certificate alone out of date: the line opens, the order is refused */
    s->lab->card_days = 30;
    char text[2 * ORDER_SERIAL_LEN + 1];
    struct say why = {""};
    struct ledger_certificate *certs = calloc(2, sizeof *certs);
    const uint8_t serial[ORDER_SERIAL_LEN] = {7};
    assert_non_null(certs);
    memcpy(old->serial, serial, sizeof serial);
    bank_serial_text(serial, text);
    X509_free(old->tls_cert);
    old->tls_cert = lab_certify(s->lab, CA_CARD_TLS, text, old->tls_key);
    lab_record(&certs[0], LEDGER_CERT_TLS, false, old->tls_cert);
    lab_record(&certs[1], LEDGER_CERT_ORDER, false, old->order_cert);
    certs[1].der[certs[1].der_len - 1] ^= 1; /* another certificate than that of card 6 */
    lab_ok(ledger_card_begin(s->lab->bank->ledger, serial, s->lab->ada, certs, 2, NULL, &why),
           &why);
    lab_ok(ledger_card_activate(s->lab->bank->ledger, serial, &why), &why);
    free(certs);
    const struct order_fields f = lab_order(s->lab, 0x70, 100);
    w = as(tls13, old->tls_cert, old->tls_key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    export_binding(&c, binding);
    const struct lab_signed p = lab_sign(old, &f, binding);
    put_payment(&p, body, sizeof body);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-signature");
    assert_int_equal(paid(s), 0);
    hang_up(&c);
    lab_card_free(&old);
}

static void test_malformed_bodies(void **state)
{
    struct server *s = *state;
    struct client c;
    static char deep[3000], huge[3900];
    memset(deep, '[', sizeof deep - 1);
    memset(huge, 'A', sizeof huge - 1);
    const char *const bodies[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"order\":1,\"signature\":2}",
        "{\"order\":\"\"}",
        "{\"order\":\"QQ==\",\"signature\":\"QQ==\",\"more\":1}",
        "{\"order\":\"QQ==\",\"order\":\"QQ==\",\"signature\":\"QQ==\"}",
        "{\"order\":\"Q Q=\",\"signature\":\"QQ==\"}",
        "{\"order\":\"\xff\xfe\",\"signature\":\"QQ==\"}",
        "{\"order\":\"QQ==\",\"signature\":\"QQ==\"} x",
        deep,
        huge,
    };
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        assert_int_equal(post(&c, "/v1/payments", bodies[i]), 400);
        assert_problem("malformed");
        assert_int_equal(post(&c, "/v1/session", bodies[i]), 400);
    }
    assert_int_equal(post(&c, "/v1/payments", "{\"order\":\"QQ==\",\"signature\":\"QQ==\"}"), 400);
    assert_problem("order-malformed");
    assert_int_equal(paid(s), 0);
    hang_up(&c);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_profiles),
        TEST(test_rsa_key_never_signs),
        TEST(test_strangers_stay_out),
        TEST(test_block_in_open_line),
        TEST(test_resumption),
        TEST(test_login_comes_first),
        TEST(test_queries),
        TEST(test_payment_tls13),
        TEST(test_payment_ecdhe),
        TEST(test_payment_rsa),
        TEST(test_kill_after_answer),
        TEST(test_bad_orders),
        TEST(test_no_ems_no_orders),
        TEST(test_payment_is_its_customers),
        TEST(test_card_out_of_date),
        TEST(test_malformed_bodies),
    };
    signal(SIGPIPE, SIG_IGN);
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
