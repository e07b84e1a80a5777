/* test_bank_card_api.c - what the bank's server tells a terminal about the card of its line: time,
 * updates, payees; and that certificates of other uses open no line and sign no order. The card
 * here is software (bank_lab.h). */
#include "tests/unit/bank_server_lab.h"

#include "bank/update.h"
#include "host/base64.h"

#include <jansson.h>

static void add_payee(struct server *s, const char *number)
{
    struct say why = {""};
    struct update_made made;
    struct policy_payee payee;
    struct update_plan plan = {.payee = &payee, .confirmed = "test"};
    memcpy(plan.card, s->card->serial, sizeof plan.card);
    lab_ok(objects_payees_find(s->lab->bank->ledger, &number, 1, &payee, &why), &why);
    lab_ok(update_make(s->lab->bank, &plan, &made, &why), &why);
}

static void enter(struct server *s, struct client *c)
{
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, c), 0);
    log_in(c);
}

/* The message of an answer (of the update at `index` of its list; -1: its own), decoded. */
static size_t take_message(int index, uint8_t out[ISSUER_MESSAGE_MAX])
{
    size_t len = 0;
    json_t *all = json_loads(answer, 0, NULL);
    const json_t *o = index < 0 ? all : json_array_get(json_object_get(all, "updates"), index);
    const char *text = json_string_value(json_object_get(o, "message"));
    assert_non_null(text);
    assert_int_equal(base64_decode(text, strlen(text), out, ISSUER_MESSAGE_MAX, &len), CW_OK);
    json_decref(all);
    return len;
}

static void test_nothing_before_login(void **state)
{
    struct server *s = *state;
    struct client c;
    static const char *const paths[] = {"/v1/card", "/v1/card/updates", "/v1/payees"};
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(get(&c, paths[i]), 403);
        assert_problem("not-logged-in");
    }
    assert_int_equal(post(&c, "/v1/card/time", "{\"challenge\":\"0011223344556677\"}"), 403);
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":0}"), 403);
    hang_up(&c);
}

static void test_time(void **state)
{
    struct server *s = *state;
    struct client c;
    uint8_t message[ISSUER_MESSAGE_MAX];
    struct issuer_message m;
    size_t signed_len = 0;
    const uint8_t *signature = NULL;
    static const uint8_t challenge[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xFF};
    enter(s, &c);
    assert_int_equal(post(&c, "/v1/card/time", "{\"challenge\":\"00112233445566fF\"}"), 200);
    size_t len = take_message(-1, message);
    assert_int_equal(issuer_decode(message, len, &m, &signed_len, &signature), CW_OK);
    assert_int_equal(m.kind, ISSUER_TIME);
    assert_memory_equal(m.serial, s->card->serial, sizeof m.serial); /* of the line's card */
    assert_memory_equal(m.challenge, challenge, sizeof challenge);
    assert_true(m.time >= s->lab->now && m.time <= time(NULL));
    static const char *const bad[] = {
        "{\"challenge\":\"001122334455667\"}",
        "{\"challenge\":\"001122334455667g\"}",
        "{\"challenge\":\"00112233445566778\"}",
        "{\"challenge\":\"\"}",
        "{\"challenge\":1}",
        "{\"challenge\":\"0011223344556677\",\"serial\":\"0011223344556677\"}",
        "{}",
        "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(post(&c, "/v1/card/time", bad[i]), 400);
        assert_problem("malformed");
    }
    assert_int_equal(get(&c, "/v1/card/time"), 405);
    hang_up(&c);
}

static void test_updates(void **state)
{
    struct server *s = *state;
    struct client c;
    struct say why = {""};
    uint8_t message[ISSUER_MESSAGE_MAX];
    struct ledger_update u;
    size_t count = 0;
    enter(s, &c);
    assert_int_equal(get(&c, "/v1/card"), 200);
    assert_non_null(strstr(answer, "\"status\":\"active\",\"sequence\":0,\"pending\":0"));
    assert_int_equal(get(&c, "/v1/card/updates?after=0"), 200);
    assert_string_equal(answer, "{\"updates\":[]}");
    add_payee(s, s->lab->payee.number);
    add_payee(s, s->lab->payer.number);
    assert_int_equal(get(&c, "/v1/card"), 200);
    assert_non_null(strstr(answer, "\"sequence\":2,\"pending\":2"));
    assert_int_equal(get(&c, "/v1/card/updates?after=1"), 200);
    assert_non_null(strstr(answer, "{\"updates\":[{\"sequence\":2,"));
    size_t len = take_message(0, message);
    lab_ok(ledger_updates_get(s->lab->bank->ledger, s->card->serial, 1, &u, 1, &count, &why), &why);
    assert_int_equal(len, u.len);
    assert_memory_equal(message, u.message, len);
    assert_true(u.fetched != 0);
    /* what was not asked for was not given; once it is, it was */
    lab_ok(ledger_updates_get(s->lab->bank->ledger, s->card->serial, 0, &u, 1, &count, &why), &why);
    assert_int_equal(u.fetched, 0);
    assert_int_equal(get(&c, "/v1/card/updates"), 200);
    lab_ok(ledger_updates_get(s->lab->bank->ledger, s->card->serial, 0, &u, 1, &count, &why), &why);
    assert_true(u.fetched != 0);
    assert_non_null(strstr(answer, "\"sequence\":1,"));
    assert_true(strstr(answer, "\"sequence\":1,") < strstr(answer, "\"sequence\":2,"));
    /* what was taken counts up, and only to what there is */
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":1}"), 200);
    assert_non_null(strstr(answer, "\"sequence\":2,\"pending\":1"));
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":0}"), 200);
    assert_non_null(strstr(answer, "\"sequence\":2,\"pending\":1"));
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":3}"), 404);
    assert_problem("not-found");
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":2}"), 200);
    assert_non_null(strstr(answer, "\"sequence\":2,\"pending\":0"));
    hang_up(&c);
}

static void test_bad_updates(void **state)
{
    struct server *s = *state;
    struct client c;
    char path[80];
    static const char *const queries[] = {
        "after=", "after=-1", "after=1x", "after=4294967296", "before=1", "after=1&after=2", "1"};
    static const char *const bodies[] = {"{\"sequence\":-1}",
                                         "{\"sequence\":4294967296}",
                                         "{\"sequence\":\"1\"}",
                                         "{\"sequence\":1.0}",
                                         "{\"sequence\":1,\"more\":1}",
                                         "{}",
                                         "[]"};
    enter(s, &c);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        snprintf(path, sizeof path, "/v1/card/updates?%s", queries[i]);
        assert_int_equal(get(&c, path), 400);
        assert_problem("parameter");
    }
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        assert_int_equal(post(&c, "/v1/card/updates", bodies[i]), 400);
        assert_problem("malformed");
    }
    assert_int_equal(get(&c, "/v1/card?after=1"), 400);
    hang_up(&c);
}

/* So many at once; the terminal asks for the rest. */
static void test_many_updates(void **state)
{
    struct server *s = *state;
    struct client c;
    struct say why = {""};
    struct update_made made;
    struct policy policy;
    struct update_plan plan = {.policy = &policy};
    terms_default(&policy);
    memcpy(plan.card, s->card->serial, sizeof plan.card);
    for (; plan.policy_of < 17; plan.policy_of++)
        lab_ok(update_make(s->lab->bank, &plan, &made, &why), &why);
    enter(s, &c);
    assert_int_equal(get(&c, "/v1/card/updates?after=0"), 200);
    assert_non_null(strstr(answer, "\"sequence\":16,"));
    assert_null(strstr(answer, "\"sequence\":17,"));
    assert_int_equal(get(&c, "/v1/card/updates?after=16"), 200);
    assert_non_null(strstr(answer, "\"sequence\":17,"));
    hang_up(&c);
}

static void test_payees(void **state)
{
    struct server *s = *state;
    struct client c;
    char expected[200];
    enter(s, &c);
    assert_int_equal(get(&c, "/v1/payees"), 200);
    assert_string_equal(answer, "{\"payees\":[],\"listed\":true}");
    add_payee(s, s->lab->payee.number);
    assert_int_equal(get(&c, "/v1/payees"), 200);
    snprintf(expected, sizeof expected,
             "{\"payees\":[{\"account\":\"%s\",\"name\":\"%s\"}],\"listed\":true}",
             s->lab->payee.number, s->lab->payee.name);
    assert_string_equal(answer, expected);
    hang_up(&c);
}

/* Another card's line sees nothing of it, and reports nothing for it. */
static void test_each_card_has_its_own(void **state)
{
    struct server *s = *state;
    struct client c;
    struct lab_card *other = lab_card_new(s->lab, s->lab->ada, 2, false); /* the same holder */
    add_payee(s, s->lab->payee.number);
    struct want w = as(tls13, other->tls_cert, other->tls_key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(get(&c, "/v1/card"), 200);
    assert_non_null(strstr(answer, "\"pending\":0"));
    assert_int_equal(get(&c, "/v1/card/updates"), 200);
    assert_string_equal(answer, "{\"updates\":[]}");
    assert_int_equal(get(&c, "/v1/payees"), 200);
    assert_non_null(strstr(answer, "\"payees\":[]"));
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":1}"), 404);
    hang_up(&c);
    enter(s, &c);
    assert_int_equal(get(&c, "/v1/card"), 200);
    assert_non_null(strstr(answer, "\"sequence\":1,\"pending\":1"));
    hang_up(&c);
    lab_card_free(&other);
}

/* Writes a card with the given certificates. */
static void record_card(struct server *s, const uint8_t serial[ORDER_SERIAL_LEN],
                        struct ledger_certificate *certs, size_t count)
{
    struct say why = {""};
    lab_ok(ledger_card_begin(s->lab->bank->ledger, serial, s->lab->ada, certs, count, NULL, &why),
           &why);
    lab_ok(ledger_card_activate(s->lab->bank->ledger, serial, &why), &why);
}

/* A card of a time when the bank managed none: it is served, and there is nothing for it. */
static void test_card_of_an_older_time(void **state)
{
    struct server *s = *state;
    struct client c;
    struct ledger_certificate *cert = calloc(1, sizeof *cert);
    const uint8_t serial[ORDER_SERIAL_LEN] = {7};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = lab_certify(s->lab, CA_CARD_TLS, "0700000000000000", key);
    assert_non_null(cert);
    lab_record(cert, LEDGER_CERT_TLS, false, x);
    record_card(s, serial, cert, 1);
    struct want w = as(tls13, x, key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(get(&c, "/v1/card"), 200);
    assert_non_null(strstr(answer, "\"sequence\":0,\"pending\":0"));
    assert_int_equal(get(&c, "/v1/card/updates"), 200);
    assert_int_equal(get(&c, "/v1/payees"), 200);
    assert_string_equal(answer, "{\"payees\":[],\"listed\":false}");
    assert_int_equal(post(&c, "/v1/card/time", "{\"challenge\":\"0011223344556677\"}"), 404);
    assert_problem("not-found");
    assert_int_equal(post(&c, "/v1/card/updates", "{\"sequence\":0}"), 404);
    hang_up(&c);
    X509_free(x);
    EVP_PKEY_free(key);
    free(cert);
}

/* A certificate of the PIV application, under the cards' root and with clientAuth: GENERAL
 * AUTHENTICATE signs with its key whatever the terminal wants, so it opens no line and signs no
 * order, whether it is in the ledger or not. */
static void test_piv_certificate_is_for_nothing_here(void **state)
{
    struct server *s = *state;
    struct client c;
    struct ledger_certificate *certs = calloc(2, sizeof *certs);
    const uint8_t serial[ORDER_SERIAL_LEN] = {8};
    const struct want *lines[] = {&tls13, &ecdhe, &rsa};
    assert_non_null(certs);
    EVP_PKEY *piv_key = EVP_EC_gen("P-256"), *tls_key = EVP_EC_gen("P-256");
    X509 *piv = lab_certify(s->lab, CA_CARD_TLS, "0800000000000000", piv_key);
    X509 *tls = lab_certify(s->lab, CA_CARD_TLS, "0800000000000000", tls_key);
    for (size_t i = 0; i < 3; i++) { /* not in the ledger */
        struct want w = as(*lines[i], piv, piv_key);
        assert_int_equal(dial(s, &w, &c), SSL_AD_UNKNOWN_CA);
        hang_up(&c);
    }
    lab_record(&certs[0], LEDGER_CERT_TLS, false, tls);
    lab_record(&certs[1], LEDGER_CERT_PIV, false, piv);
    certs[1].slot = 0x9A;
    record_card(s, serial, certs, 2);
    for (size_t i = 0; i < 3; i++) { /* in it, for what it is */
        struct want w = as(*lines[i], piv, piv_key);
        assert_int_equal(dial(s, &w, &c), SSL_AD_UNSUPPORTED_CERTIFICATE);
        hang_up(&c);
    }
    /* an order that it signed, in the card's own line */
    char text[BASE64_LEN(ORDER_TEXT_MAX) + 1], signature[BASE64_LEN(LEDGER_SIGNATURE_MAX) + 1];
    char body[2048];
    uint8_t binding[ORDER_BINDING_LEN];
    struct lab_card card = {.order_key = piv_key};
    memcpy(card.serial, serial, sizeof serial);
    struct want w = as(tls13, tls, tls_key);
    w.welcome = true;
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_int_equal(SSL_export_keying_material(c.ssl, binding, sizeof binding, LINK_EXPORTER_LABEL,
                                                strlen(LINK_EXPORTER_LABEL), NULL, 0, 0),
                     1);
    const struct order_fields f = lab_order(s->lab, 0x80, 100);
    const struct lab_signed p = lab_sign(&card, &f, binding);
    assert_int_equal(base64_encode(p.text, p.text_len, text, sizeof text), CW_OK);
    assert_int_equal(base64_encode(p.signature, p.signature_len, signature, sizeof signature),
                     CW_OK);
    snprintf(body, sizeof body, "{\"order\":\"%s\",\"signature\":\"%s\"}", text, signature);
    assert_int_equal(post(&c, "/v1/payments", body), 422);
    assert_problem("order-signature");
    hang_up(&c);
    X509_free(piv);
    X509_free(tls);
    EVP_PKEY_free(piv_key);
    EVP_PKEY_free(tls_key);
    free(certs);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_before_login),
        TEST(test_time),
        TEST(test_updates),
        TEST(test_bad_updates),
        TEST(test_many_updates),
        TEST(test_payees),
        TEST(test_each_card_has_its_own),
        TEST(test_card_of_an_older_time),
        TEST(test_piv_certificate_is_for_nothing_here),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
