/* test_bank_revoke.c - what the books know of cards' certificates after they were issued: held,
 * revoked, renewed, replaced. CRL and OCSP of it with foreign software: tests/system/test_ca.py. */
#include "tests/unit/bank_lab.h"

#include "bank/ledger_revoke.h"

struct fixture {
    struct bank_lab *lab;
    struct ledger *l;
    struct lab_card *card;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->lab = lab_new();
    f->l = f->lab->bank->ledger;
    f->card = lab_card_new(f->lab, f->lab->ada, 1, false);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_card_free(&f->card);
    lab_free(&f->lab);
    free(f);
    return 0;
}

static void number_of(X509 *cert, uint8_t out[LEDGER_NUMBER_LEN])
{
    const ASN1_INTEGER *n = X509_get0_serialNumber(cert);
    assert_int_equal(ASN1_STRING_length(n), LEDGER_NUMBER_LEN);
    memcpy(out, ASN1_STRING_get0_data(n), LEDGER_NUMBER_LEN);
}

/* -1: good; else the reason. */
static int reason_of(struct fixture *f, X509 *cert)
{
    struct say why = {""};
    uint8_t number[LEDGER_NUMBER_LEN];
    bool revoked = false;
    struct ledger_revocation r;
    struct ledger_certificate *c = calloc(1, sizeof *c);
    number_of(cert, number);
    lab_ok(ledger_certificate_numbered(f->l, number, c, &revoked, &r, &why), &why);
    assert_int_equal(i2d_X509(cert, NULL), c->der_len);
    free(c);
    return revoked ? (int)r.reason : -1;
}

static enum ledger_card_status status_of(struct fixture *f, const struct lab_card *card)
{
    struct say why = {""};
    struct ledger_card c;
    lab_ok(ledger_card_get(f->l, card->serial, &c, &why), &why);
    return c.status;
}

static void test_held_while_blocked(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    assert_int_equal(reason_of(f, f->card->tls_cert), -1);
    for (int i = 0; i < 2; i++) {
        lab_ok(ledger_card_block(f->l, f->card->serial, true, &why), &why);
        lab_ok(ledger_card_block(f->l, f->card->serial, true, &why), &why);
        assert_int_equal(reason_of(f, f->card->tls_cert), LEDGER_REASON_HOLD);
        assert_int_equal(reason_of(f, f->card->order_cert), LEDGER_REASON_HOLD);
        lab_ok(ledger_card_block(f->l, f->card->serial, false, &why), &why);
        assert_int_equal(reason_of(f, f->card->tls_cert), -1);
    }
}

static void test_revoked_for_ever(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    lab_ok(ledger_card_block(f->l, f->card->serial, true, &why), &why);
    assert_int_equal(ledger_card_revoke(f->l, f->card->serial, LEDGER_REASON_HOLD, &why),
                     CW_ERR_ARG);
    lab_ok(ledger_card_revoke(f->l, f->card->serial, LEDGER_REASON_KEY_COMPROMISE, &why), &why);
    assert_int_equal(status_of(f, f->card), LEDGER_CARD_TERMINATED);
    assert_int_equal(reason_of(f, f->card->order_cert), LEDGER_REASON_KEY_COMPROMISE);
    assert_int_equal(ledger_card_revoke(f->l, f->card->serial, LEDGER_REASON_CESSATION, &why),
                     CW_ERR_STATE);
    assert_int_equal(ledger_card_block(f->l, f->card->serial, false, &why), CW_ERR_STATE);
    /* the card itself is ended later, at the reader: the reason stays */
    lab_ok(ledger_card_terminate(f->l, f->card->serial, &why), &why);
    assert_int_equal(reason_of(f, f->card->tls_cert), LEDGER_REASON_KEY_COMPROMISE);
}

static void test_terminated_is_revoked(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct lab_card *other = lab_card_new(f->lab, f->lab->bob, 2, true);
    lab_ok(ledger_card_terminate(f->l, f->card->serial, &why), &why);
    assert_int_equal(reason_of(f, f->card->tls_cert), LEDGER_REASON_CESSATION);
    assert_int_equal(reason_of(f, other->tls_cert), -1);
    lab_card_free(&other);
}

static void test_unknown(void **state)
{
    static const uint8_t number[LEDGER_NUMBER_LEN] = {0x40};
    struct fixture *f = *state;
    struct say why = {""};
    bool revoked;
    struct ledger_revocation r;
    struct ledger_certificate *c = calloc(1, sizeof *c);
    uint8_t unknown[ORDER_SERIAL_LEN] = {0};
    assert_int_equal(ledger_certificate_numbered(f->l, number, c, &revoked, &r, &why),
                     CW_ERR_NOT_FOUND);
    assert_int_equal(ledger_card_revoke(f->l, unknown, LEDGER_REASON_CESSATION, &why),
                     CW_ERR_NOT_FOUND);
    free(c);
}

/* New certificates for the same keys: those before stay good, and stay in the books. */
static void test_renewed(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    char serial[2 * ORDER_SERIAL_LEN + 1];
    size_t count = 0;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    struct ledger_certificate *one = calloc(1, sizeof *one);
    bank_serial_text(f->card->serial, serial);
    X509 *next = lab_certify(f->lab, CA_CARD_TLS, serial, f->card->tls_key);
    lab_record(one, LEDGER_CERT_TLS, false, next);
    lab_ok(ledger_certificates_renew(f->l, f->card->serial, one, 1, &why), &why);
    lab_ok(ledger_certificates_get(f->l, f->card->serial, LEDGER_CERT_TLS, certs, &count, &why),
           &why);
    assert_int_equal(count, 1);
    assert_memory_equal(certs[0].sha256, one->sha256, 32);
    lab_ok(ledger_certificates_get(f->l, f->card->serial, LEDGER_CERT_ORDER, certs, &count, &why),
           &why);
    assert_int_equal(count, 1);
    assert_int_equal(reason_of(f, f->card->tls_cert), -1);
    /* with the card all of them end, the old one as well */
    lab_ok(ledger_card_revoke(f->l, f->card->serial, LEDGER_REASON_WITHDRAWN, &why), &why);
    assert_int_equal(reason_of(f, f->card->tls_cert), LEDGER_REASON_WITHDRAWN);
    assert_int_equal(reason_of(f, next), LEDGER_REASON_WITHDRAWN);
    assert_int_equal(ledger_certificates_renew(f->l, f->card->serial, one, 1, &why), CW_ERR_STATE);
    X509_free(next);
    free(one);
    free(certs);
}

static enum cw_err count_one(void *ctx, const struct ledger_certificate *c,
                             const struct ledger_revocation *r, struct say *why)
{
    unsigned *counts = ctx;
    assert_int_equal(c->kind == LEDGER_CERT_PIV, 0);
    counts[r->reason]++;
    return counts[r->reason] > 2 ? say_fail(why, CW_ERR_LENGTH, "enough") : CW_OK;
}

static void test_list(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    unsigned counts[10] = {0};
    struct lab_card *good = lab_card_new(f->lab, f->lab->ada, 2, false);
    struct lab_card *held = lab_card_new(f->lab, f->lab->bob, 3, false);
    lab_ok(ledger_card_revoke(f->l, f->card->serial, LEDGER_REASON_UNSPECIFIED, &why), &why);
    lab_ok(ledger_card_block(f->l, held->serial, true, &why), &why);
    lab_ok(ledger_revoked_each(f->l, false, count_one, counts, &why), &why);
    assert_int_equal(counts[LEDGER_REASON_UNSPECIFIED], 2);
    assert_int_equal(counts[LEDGER_REASON_HOLD], 2);
    lab_ok(ledger_revoked_each(f->l, true, count_one, counts, &why), &why); /* of PIV: none */
    assert_int_equal(ledger_revoked_each(f->l, false, count_one, counts, &why), CW_ERR_LENGTH);
    lab_card_free(&good);
    lab_card_free(&held);
}

/* The new card and the end of the old one are one step. */
static void test_replaced(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct ledger_terms terms = {.keyset = 1};
    uint8_t next[ORDER_SERIAL_LEN] = {9};
    struct ledger_card c;
    terms_default(&terms.policy);
    lab_ok(ledger_card_begin(f->l, next, f->lab->bob, NULL, 0, &terms, &why), &why);
    assert_int_equal(ledger_card_replace(f->l, next, f->card->serial, true, &why), CW_ERR_STATE);
    assert_int_equal(status_of(f, f->card), LEDGER_CARD_ACTIVE);
    lab_ok(ledger_card_begin(f->l, next, f->lab->ada, NULL, 0, &terms, &why), &why);
    lab_ok(ledger_card_replace(f->l, next, f->card->serial, true, &why), &why);
    lab_ok(ledger_card_get(f->l, next, &c, &why), &why);
    assert_int_equal(c.status, LEDGER_CARD_ACTIVE);
    assert_int_equal(status_of(f, f->card), LEDGER_CARD_TERMINATED);
    assert_int_equal(reason_of(f, f->card->tls_cert), LEDGER_REASON_SUPERSEDED);
    assert_int_equal(ledger_card_replace(f->l, next, f->card->serial, true, &why), CW_ERR_STATE);
    /* one that was revoked before keeps its reason */
    uint8_t third[ORDER_SERIAL_LEN] = {10};
    lab_ok(ledger_card_revoke(f->l, next, LEDGER_REASON_KEY_COMPROMISE, &why), &why);
    lab_ok(ledger_card_begin(f->l, third, f->lab->ada, NULL, 0, &terms, &why), &why);
    lab_ok(ledger_card_replace(f->l, third, next, false, &why), &why);
    lab_ok(ledger_card_get(f->l, third, &c, &why), &why);
    assert_int_equal(c.status, LEDGER_CARD_PERSONALISED);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_held_while_blocked),
        TEST(test_revoked_for_ever),
        TEST(test_terminated_is_revoked),
        TEST(test_unknown),
        TEST(test_renewed),
        TEST(test_list),
        TEST(test_replaced),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
