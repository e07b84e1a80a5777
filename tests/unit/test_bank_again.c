/* test_bank_again.c - what is not as it should be when a card is issued: payees that no card pays,
 * a card with a past, a card that is not the one it says it is, a second try that asks for
 * something else. The real card, in this process; the straight way is in test_bank_issue.c. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/issuer_channel.h"
#include "bank/objects.h"

#include <sqlite3.h>

struct fixture {
    struct bank_lab *lab;
    struct issue_options o;
    struct issue_result result;
    char reader[600];
    struct say why;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
    f->o = (struct issue_options){.customer = f->lab->ada,
                                  .reader = f->reader,
                                  .p256 = true,
                                  .days = BANK_CARD_DAYS,
                                  .time = -1};
    terms_default(&f->o.policy);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lab_free(&f->lab);
    free(f);
    return 0;
}

static enum cw_err issue(struct fixture *f)
{
    return issue_card(f->lab->bank, &f->o, &f->result, &f->why);
}

static struct applet_info look(struct fixture *f)
{
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    const struct applet_info info = d->info;
    desk_free(&d);
    return info;
}

static void run_sql(struct fixture *f, const char *sql)
{
    char path[BANK_PATH_MAX];
    sqlite3 *db = NULL;
    lab_ok(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", path, &f->why), &f->why);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Nothing happened to the card, and the ledger knows nothing of it. */
static void assert_untouched(struct fixture *f)
{
    struct ledger_card card;
    struct say why;
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    assert_int_equal(d->info.life, LINK_LIFE_BLANK);
    assert_int_equal(d->info.keys, 0);
    assert_int_equal(desk_channel_open(d, &why), CW_ERR_NOT_FOUND);
    assert_int_equal(ledger_card_get(f->lab->bank->ledger, d->info.serial, &card, &why),
                     CW_ERR_NOT_FOUND);
    desk_free(&d);
}

/* ---- payees ---- */

/* Nobody's account: no order could name it. The same sentence as for `payee add`. */
static void test_the_banks_own_account_is_no_payee(void **state)
{
    struct fixture *f = *state;
    struct policy_payee payee;
    f->o.payees[0] = "CASH-EUR";
    f->o.payee_count = 1;
    assert_int_equal(issue(f), CW_ERR_ARG);
    assert_non_null(strstr(f->why.text, "the bank's own account"));
    assert_untouched(f);
    assert_int_equal(objects_payees_find(f->lab->bank->ledger, f->o.payees, 1, &payee, &f->why),
                     CW_ERR_ARG);
}

/* More than a card's list can hold: said before the card is touched. */
static void test_payees_that_are_too_many(void **state)
{
    struct fixture *f = *state;
    struct ledger *l = f->lab->bank->ledger;
    struct ledger_account accounts[POLICY_PAYEES_MAX];
    char name[ORDER_NAME_MAX + 1] = "";
    int64_t customer = 0;
    memset(name, 'N', ORDER_NAME_MAX);
    lab_ok(ledger_customer_add(l, name, &customer, &f->why), &f->why);
    for (size_t i = 0; i < POLICY_PAYEES_MAX; i++) {
        lab_ok(ledger_account_open(l, customer, "EUR", 0, &accounts[i], &f->why), &f->why);
        f->o.payees[i] = accounts[i].number;
    }
    f->o.payee_count = POLICY_PAYEES_MAX;
    assert_int_equal(issue(f), CW_ERR_SPACE);
    assert_non_null(strstr(f->why.text, "name fewer"));
    assert_untouched(f);
    f->o.payee_count = 4;
    lab_ok(issue(f), &f->why);
}

/* ---- a card with a past ---- */

/* A channel under the maker's key, as whoever had the card before could open one. */
static struct desk *open_as_maker(struct fixture *f)
{
    struct scp03_keys keys;
    struct desk *d = NULL;
    for (uint8_t i = 0; i < sizeof keys.enc; i++)
        keys.enc[i] = keys.mac[i] = keys.dek[i] = (uint8_t)(0x40 + i);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    lab_ok(
        channel_open(d->reader, &keys, DESK_MAKER_KEYSET, SCP03_LEVEL_FULL, &d->channel, &f->why),
        &f->why);
    return d;
}

/* A key that was made before the bank had the card goes with the maker's keys; the bank looks again
 * and has another made, at the first try. */
static void test_key_of_before(void **state)
{
    struct fixture *f = *state;
    struct desk *d = open_as_maker(f);
    lab_ok(desk_key_generate(d, LINK_KEY_TLS_P256, NULL, NULL, &f->why), &f->why);
    desk_free(&d);
    assert_int_equal(look(f).keys, 1u << (LINK_KEY_TLS_P256 - 1));
    lab_ok(issue(f), &f->why);
    assert_int_equal(f->result.keys,
                     1u << (LINK_KEY_TLS_P256 - 1) | 1u << (LINK_KEY_ORDER_P256 - 1));
    assert_int_equal(look(f).keys, f->result.keys);
}

/* ---- a card that is not the one ---- */

/* A blank card that says the serial of the first one. */
static void take_fake(struct fixture *f)
{
    char command[600];
    snprintf(f->reader, sizeof f->reader, "inproc:%s/fake", f->lab->dir);
    look(f); /* makes it */
    snprintf(command, sizeof command, "cd '%s' && cp card/id fake/id", f->lab->dir);
    assert_int_equal(system(command), 0);
}

static void assert_no_keys_given(struct fixture *f)
{
    struct say why;
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    assert_int_equal(desk_channel_open(d, &why), CW_ERR_NOT_FOUND);
    desk_free(&d);
}

/* A fake that says the serial of a card that is out learns none of its keys, whatever is asked for.
 */
static void test_fake_of_an_issued_card(void **state)
{
    struct fixture *f = *state;
    struct ledger_card card;
    lab_ok(issue(f), &f->why);
    take_fake(f);
    assert_memory_equal(look(f).serial, f->result.serial, sizeof f->result.serial);
    for (int again = 0; again < 2; again++) {
        f->o.give_keys_again = again;
        assert_int_equal(issue(f), CW_ERR_EXISTS);
        assert_non_null(strstr(f->why.text, "fake"));
        assert_no_keys_given(f);
    }
    lab_ok(ledger_card_get(f->lab->bank->ledger, f->result.serial, &card, &f->why), &f->why);
    assert_int_equal(card.status, LEDGER_CARD_ACTIVE);
}

/* Nor of one whose issuance was begun. */
static void test_fake_of_a_card_that_is_being_issued(void **state)
{
    struct fixture *f = *state;
    lab_ok(issue(f), &f->why);
    run_sql(f, "UPDATE card SET status = 'issuing'");
    take_fake(f);
    assert_int_equal(issue(f), CW_ERR_STATE);
    assert_non_null(strstr(f->why.text, "--give-keys-again"));
    assert_no_keys_given(f);
}

/* A fake that came first has the keys of a card that is still to come: that card is not issued
 * under them unless somebody says so. */
static void test_fake_before_the_card(void **state)
{
    struct fixture *f = *state;
    struct desk *d = NULL;
    look(f);
    take_fake(f);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    lab_ok(desk_take_over(d, NULL, false, &f->why), &f->why);
    desk_free(&d);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
    assert_int_equal(issue(f), CW_ERR_STATE);
    assert_non_null(strstr(f->why.text, "--give-keys-again"));
    assert_untouched(f);
    f->o.give_keys_again = true;
    lab_ok(issue(f), &f->why);
    assert_int_equal(f->result.status, LEDGER_CARD_ACTIVE);
}

/* The ledger's word comes first: without it no key leaves the bank. And it is never taken back. */
static void test_keys_are_written_down_first(void **state)
{
    struct fixture *f = *state;
    char path[BANK_PATH_MAX];
    sqlite3 *db = NULL;
    run_sql(f, "CREATE TRIGGER full BEFORE INSERT ON card_keys"
               "  BEGIN SELECT RAISE (ABORT, 'no room'); END");
    assert_int_not_equal(issue(f), CW_OK);
    assert_untouched(f);
    run_sql(f, "DROP TRIGGER full");
    lab_ok(issue(f), &f->why);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", path, &f->why), &f->why);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "DELETE FROM card_keys", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(db, "UPDATE card_keys SET given = 0", NULL, NULL, NULL),
                         SQLITE_OK);
    sqlite3_close(db);
}

static void count_warning(void *ctx, const char *sentence)
{
    assert_non_null(strstr(sentence, "--initial-key"));
    ++*(unsigned *)ctx;
}

/* Said when keys go out under the well-known key, and only then. */
static void test_well_known_key_is_warned_of(void **state)
{
    struct fixture *f = *state;
    struct desk *d = NULL;
    unsigned warnings = 0;
    char key[600];
    f->o.warn = count_warning;
    f->o.progress_ctx = &warnings;
    lab_ok(issue(f), &f->why);
    assert_int_equal(warnings, 1);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/taken", f->lab->dir);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &f->why), &f->why);
    lab_ok(desk_take_over(d, NULL, false, &f->why), &f->why);
    desk_free(&d);
    lab_ok(issue(f), &f->why); /* has the bank's keys */
    assert_int_equal(warnings, 1);
    snprintf(key, sizeof key, "umask 077; echo 404142434445464748494a4b4c4d4e4f > '%s/maker'",
             f->lab->dir);
    assert_int_equal(system(key), 0);
    snprintf(key, sizeof key, "%s/maker", f->lab->dir);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/other", f->lab->dir);
    f->o.initial_key = key;
    lab_ok(issue(f), &f->why);
    assert_int_equal(warnings, 1);
}

/* ---- a second try ---- */

/* The card is complete and the ledger says `issuing`: another command than the first is refused and
 * says why, and the first one completes it. */
static void test_second_try_on_other_terms(void **state)
{
    static const char *const words[] = {"limits or rules", "limits or rules", "server names",
                                        "server names",    "payees",          "payees",
                                        "--transport-pin"};
    struct fixture *f = *state;
    struct ledger_card card;
    f->o.payees[0] = f->lab->payee.number;
    f->o.payee_count = 1;
    lab_ok(issue(f), &f->why);
    run_sql(f, "UPDATE card SET status = 'issuing'");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const struct issue_options first = f->o;
        f->o.policy.limits[0].day += i == 0;
        if (i == 1)
            f->o.policy.pin.tries++;
        f->o.name_count = i == 2 ? 1 : i == 3 ? 2 : 0;
        strcpy(f->o.names[0].host, i == 2 ? "shop.test" : "bank.cardwire.test");
        strcpy(f->o.names[1].host, "shop.test");
        f->o.names[0].profiles = f->o.names[1].profiles = 7;
        f->o.payees[0] = i == 4 ? f->lab->payer.number : f->lab->payee.number;
        f->o.payee_count -= i == 5;
        f->o.transport_pin = i == 6;
        assert_int_equal(issue(f), CW_ERR_STATE);
        if (strstr(f->why.text, words[i]) == NULL)
            fail_msg("case %zu: %s", i, f->why.text);
        lab_ok(ledger_card_get(f->lab->bank->ledger, f->result.serial, &card, &f->why), &f->why);
        assert_int_equal(card.status, LEDGER_CARD_ISSUING);
        f->o = first;
    }
    lab_ok(issue(f), &f->why);
    assert_true(f->result.resumed);
    assert_int_equal(f->result.status, LEDGER_CARD_ACTIVE);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_banks_own_account_is_no_payee),
        TEST(test_payees_that_are_too_many),
        TEST(test_key_of_before),
        TEST(test_fake_of_an_issued_card),
        TEST(test_fake_of_a_card_that_is_being_issued),
        TEST(test_fake_before_the_card),
        TEST(test_keys_are_written_down_first),
        TEST(test_well_known_key_is_warned_of),
        TEST(test_second_try_on_other_terms),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
