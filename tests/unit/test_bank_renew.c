/* test_bank_renew.c - the server's certificates are renewed when a third of their time is left: by
 * the same root, for the same key and names. With cards and signals: tests/system/test_renew.py. */
#include "tests/unit/bank_lab.h"

#include "bank/renew.h"
#include "bank/tls.h"

#include <openssl/x509v3.h>

#define DAY  86400
#define DAYS 90 /* of the lab's server certificates */

/* Days from the lab's now to the end, rounded. */
static int days_left(struct bank_lab *lab, const char *stem)
{
    int days = 0, seconds = 0;
    X509 *cert = lab_certificate(lab, stem);
    ASN1_TIME *now = ASN1_TIME_set(NULL, (time_t)lab->now);
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, now, X509_get0_notAfter(cert)), 1);
    ASN1_TIME_free(now);
    X509_free(cert);
    return days + (seconds > DAY / 2);
}

static unsigned renew(struct bank_lab *lab)
{
    struct say why = {""};
    unsigned count = 99;
    lab_ok(renew_server(lab->bank, &count, &why), &why);
    return count;
}

static void move(struct bank_lab *lab, const char *from, const char *to)
{
    char a[600], b[600];
    snprintf(a, sizeof a, "%s/%s", lab->dir, from);
    snprintf(b, sizeof b, "%s/%s", lab->dir, to);
    assert_int_equal(rename(a, b), 0);
}

static void test_only_when_due(void **state)
{
    struct bank_lab *lab = *state;
    assert_int_equal(renew(lab), 0);
    lab->now += 59 * DAY;
    assert_int_equal(renew(lab), 0);
    lab->now += 2 * DAY;
    assert_int_equal(renew(lab), 2);
    assert_int_equal(renew(lab), 0);
    assert_int_equal(days_left(lab, BANK_FILE_SERVER_EC), DAYS);
    assert_int_equal(days_left(lab, BANK_FILE_SERVER_RSA), DAYS);
    /* For years. */
    for (int i = 0; i < 40; i++) {
        lab->now += 61 * DAY;
        assert_int_equal(renew(lab), 2);
        assert_int_equal(days_left(lab, BANK_FILE_SERVER_EC), DAYS);
    }
}

/* What cards and other clients see of it is the time alone. */
static void test_same_but_for_the_time(void **state)
{
    static const char *const stems[] = {BANK_FILE_SERVER_EC, BANK_FILE_SERVER_RSA};
    struct bank_lab *lab = *state;
    X509 *root = lab_certificate(lab, BANK_FILE_SERVER_ROOT);
    X509 *before[2], *after[2];
    for (size_t i = 0; i < 2; i++)
        before[i] = lab_certificate(lab, stems[i]);
    lab->now += 80 * DAY;
    assert_int_equal(renew(lab), 2);
    for (size_t i = 0; i < 2; i++) {
        after[i] = lab_certificate(lab, stems[i]);
        assert_int_equal(X509_verify(after[i], X509_get0_pubkey(root)), 1);
        assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(before[i]), X509_get0_pubkey(after[i])), 1);
        assert_int_equal(
            X509_NAME_cmp(X509_get_subject_name(before[i]), X509_get_subject_name(after[i])), 0);
        assert_int_equal(X509_check_host(after[i], "bank.cardwire.test", 0, 0, NULL), 1);
        assert_int_equal(X509_get_key_usage(before[i]), X509_get_key_usage(after[i]));
        assert_int_equal(X509_get_extended_key_usage(after[i]), XKU_SSL_SERVER);
        assert_int_not_equal(
            ASN1_INTEGER_cmp(X509_get0_serialNumber(before[i]), X509_get0_serialNumber(after[i])),
            0);
        X509_free(before[i]);
        X509_free(after[i]);
    }
    X509_free(root);
}

static void test_next_root_as_well(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    lab_ok(bank_server_roll(lab->bank, DAYS, NULL, &why), &why);
    lab->now += 61 * DAY;
    assert_int_equal(renew(lab), 4);
    assert_int_equal(days_left(lab, lab->bank->server_next.ec), DAYS);
}

/* The root's key may be kept elsewhere: the server starts while it can. */
static void test_without_the_roots_key(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct tls *tls = NULL;
    unsigned count;
    lab_ok(bank_server_roll(lab->bank, DAYS, NULL, &why), &why);
    move(lab, BANK_FILE_SERVER_ROOT ".key", "elsewhere");
    assert_int_equal(renew(lab), 0); /* nothing is due */
    lab->now += 61 * DAY;
    assert_int_not_equal(renew_server(lab->bank, &count, &why), CW_OK);
    assert_non_null(strstr(why.text, BANK_FILE_SERVER_ROOT ".key"));
    assert_int_equal(count, 2); /* the next root's key is there */
    lab_ok(tls_new(lab->bank, NULL, &tls, &why), &why);
    assert_int_not_equal(tls_renew(tls, &count, &why), CW_OK);
    tls_free(&tls);
    lab->now += 60 * DAY;
    assert_int_equal(tls_new(lab->bank, NULL, &tls, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "has expired"));
    move(lab, "elsewhere", BANK_FILE_SERVER_ROOT ".key");
    assert_int_equal(renew(lab), 4);
    lab_ok(tls_new(lab->bank, NULL, &tls, &why), &why);
    tls_free(&tls);
}

/* Another key in the place of the root's makes nothing that would take a good certificate's place.
 */
static void test_wrong_root_key(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    unsigned count;
    move(lab, BANK_FILE_SERVER_ROOT ".key", "elsewhere");
    move(lab, BANK_FILE_CARD_ROOT ".key", BANK_FILE_SERVER_ROOT ".key");
    lab->now += 61 * DAY;
    assert_int_equal(renew_server(lab->bank, &count, &why), CW_ERR_FORMAT);
    assert_non_null(strstr(why.text, "is not the key of"));
    assert_int_equal(count, 0);
    move(lab, "elsewhere", BANK_FILE_SERVER_ROOT ".key");
    assert_int_equal(renew(lab), 2);
}

/* A clock that ran ahead for a while: what it made is not good yet, and is made anew. */
static void test_clock_that_was_wrong(void **state)
{
    struct bank_lab *lab = *state;
    lab->now += 3000LL * DAY;
    assert_int_equal(renew(lab), 2);
    lab->now -= 3000LL * DAY;
    assert_int_equal(renew(lab), 2);
    assert_int_equal(days_left(lab, BANK_FILE_SERVER_EC), DAYS);
    assert_int_equal(renew(lab), 0);
}

/* What an operator put there by another authority is his to renew. */
static void test_foreign_certificate(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    lab_ok(bank_server_roll(lab->bank, DAYS, NULL, &why), &why);
    move(lab, "server-p256-2.pem", "server-p256.pem"); /* by the other root */
    lab->now += 61 * DAY;
    unsigned count = 0;
    assert_int_not_equal(renew_server(lab->bank, &count, &why), CW_OK); /* -2 has lost its file */
    assert_int_equal(count, 2);                                         /* both of RSA */
    assert_int_equal(days_left(lab, BANK_FILE_SERVER_EC), DAYS - 61);
}

static void test_root_that_ends(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    unsigned count;
    lab->now += (int64_t)(BANK_ROOT_DAYS - 30) * DAY;
    assert_int_equal(renew_server(lab->bank, &count, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "root roll"));
    assert_int_equal(count, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_only_when_due),         TEST(test_same_but_for_the_time),
        TEST(test_next_root_as_well),     TEST(test_wrong_root_key),
        TEST(test_clock_that_was_wrong),  TEST(test_foreign_certificate),
        TEST(test_without_the_roots_key), TEST(test_root_that_ends),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
