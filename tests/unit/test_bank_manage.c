/* test_bank_manage.c - issued cards in the bank's own reader: their life, and new secret numbers;
 * the real card, in this process, against the bank's books. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/manage.h"

#include <sys/stat.h>

struct fixture {
    struct bank_lab *lab;
    char reader[600];
    uint8_t serial[ORDER_SERIAL_LEN];
    char mailer[BANK_PATH_MAX];
};

static void issue(struct fixture *f, bool personalise_only)
{
    struct say why = {""};
    struct issue_result result;
    struct issue_options o = {.customer = f->lab->ada,
                              .reader = f->reader,
                              .p256 = true,
                              .days = 30,
                              .time = -1,
                              .personalise_only = personalise_only};
    terms_default(&o.policy);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    memcpy(f->serial, result.serial, sizeof f->serial);
    memcpy(f->mailer, result.mailer, sizeof f->mailer);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
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

static enum ledger_card_status status(struct fixture *f)
{
    struct say why = {""};
    struct ledger_card c;
    lab_ok(ledger_card_get(f->lab->bank->ledger, f->serial, &c, &why), &why);
    return c.status;
}

static enum link_life life(struct fixture *f)
{
    struct say why = {""};
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    enum link_life l = d->info.life;
    desk_free(&d);
    return l;
}

static void set_status(struct fixture *f, const char *text)
{
    char sql[100];
    snprintf(sql, sizeof sql, "UPDATE card SET status = '%s'", text);
    assert_true(lab_raw(f->lab->dir, sql));
}

/* The first number after a word in the mailer. */
static void read_number(const struct fixture *f, const char *word, struct pin *out)
{
    char text[200] = "";
    FILE *file = fopen(f->mailer, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    const char *at = strstr(text, word);
    assert_non_null(at);
    at += strlen(word) + 1;
    out->len = strspn(at, "0123456789");
    memcpy(out->digits, at, out->len);
}

/* What VERIFY for the line says to this PIN. */
static enum cw_err verify(struct fixture *f, const struct pin *pin)
{
    struct say why = {""};
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    enum cw_err err = applet_verify(d->reader, LINK_PIN_LINE, pin->digits, pin->len, NULL, &why);
    desk_free(&d);
    return err;
}

static struct say why_of_act;

static enum cw_err act(struct fixture *f, enum manage_act what)
{
    struct manage_result result = {.unproved = true};
    enum cw_err err = manage_life_set(f->lab->bank, f->reader, what, NULL, &result, &why_of_act);
    if (err == CW_OK)
        assert_false(result.unproved);
    return err;
}

static void test_activate(void **state)
{
    struct fixture *f = *state;
    struct pin pin;
    issue(f, true);
    read_number(f, "PIN", &pin);
    assert_int_equal(verify(f, &pin), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_UNLOCK), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_ACTIVATE), CW_OK);
    assert_int_equal(life(f), LINK_LIFE_ACTIVE);
    assert_int_equal(status(f), LEDGER_CARD_ACTIVE);
    assert_int_equal(verify(f, &pin), CW_OK);
    assert_int_equal(act(f, MANAGE_ACTIVATE), CW_ERR_STATE); /* once */
}

/* Cut between the card and the ledger: the same command completes it. */
static void test_activate_cut_short(void **state)
{
    struct fixture *f = *state;
    issue(f, true);
    assert_int_equal(act(f, MANAGE_ACTIVATE), CW_OK);
    set_status(f, "personalised");
    assert_int_equal(act(f, MANAGE_ACTIVATE), CW_OK);
    assert_int_equal(status(f), LEDGER_CARD_ACTIVE);
}

static void test_lock_and_unlock(void **state)
{
    struct fixture *f = *state;
    struct pin pin;
    issue(f, false);
    read_number(f, "PIN", &pin);
    assert_int_equal(act(f, MANAGE_UNLOCK), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_LOCK), CW_OK);
    assert_int_equal(life(f), LINK_LIFE_LOCKED);
    assert_int_equal(verify(f, &pin), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_LOCK), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_ACTIVATE), CW_ERR_STATE);
    assert_int_equal(act(f, MANAGE_UNLOCK), CW_OK);
    assert_int_equal(life(f), LINK_LIFE_ACTIVE);
    assert_int_equal(verify(f, &pin), CW_OK);
    assert_int_equal(status(f), LEDGER_CARD_ACTIVE);
}

/* Locked on its way: when it is unlocked it is active, and the ledger says the same. */
static void test_unlock_of_one_in_the_mail(void **state)
{
    struct fixture *f = *state;
    issue(f, true);
    assert_int_equal(act(f, MANAGE_LOCK), CW_OK);
    assert_int_equal(status(f), LEDGER_CARD_PERSONALISED);
    assert_int_equal(act(f, MANAGE_UNLOCK), CW_OK);
    assert_int_equal(life(f), LINK_LIFE_ACTIVE);
    assert_int_equal(status(f), LEDGER_CARD_ACTIVE);
}

static void test_terminate(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    issue(f, false);
    assert_int_equal(act(f, MANAGE_TERMINATE), CW_OK);
    assert_int_equal(life(f), LINK_LIFE_TERMINATED);
    assert_int_equal(status(f), LEDGER_CARD_TERMINATED);
    for (int a = MANAGE_ACTIVATE; a <= MANAGE_TERMINATE; a++)
        assert_int_equal(act(f, (enum manage_act)a), CW_ERR_STATE);
    assert_int_equal(ledger_card_block(f->lab->bank->ledger, f->serial, false, &why), CW_ERR_STATE);
    assert_int_equal(status(f), LEDGER_CARD_TERMINATED);
    /* cut between the card and the ledger: any terminated card could say so, and is not believed */
    struct manage_result result = {.unproved = false};
    uint8_t other[ORDER_SERIAL_LEN];
    memcpy(other, f->serial, sizeof other);
    other[0] ^= 1;
    set_status(f, "active");
    assert_int_equal(act(f, MANAGE_TERMINATE), CW_ERR_STATE);
    assert_non_null(strstr(why_of_act.text, "--card"));
    assert_int_equal(
        manage_life_set(f->lab->bank, f->reader, MANAGE_TERMINATE, other, &result, &why),
        CW_ERR_STATE);
    assert_int_equal(status(f), LEDGER_CARD_ACTIVE);
    lab_ok(manage_life_set(f->lab->bank, f->reader, MANAGE_TERMINATE, f->serial, &result, &why),
           &why);
    assert_true(result.unproved);
    assert_int_equal(status(f), LEDGER_CARD_TERMINATED);
}

static void test_reset_pin(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct pin old, now, puk;
    struct manage_result result;
    const struct manage_pins random = {.pin_file = NULL};
    const struct manage_pins transport = {.transport_pin = true};
    issue(f, false);
    read_number(f, "PIN", &old);
    struct pin wrong = old;
    wrong.digits[0] = wrong.digits[0] == '0' ? '1' : '0';
    for (int i = 0; i < 3; i++)
        assert_int_equal(verify(f, &wrong), CW_ERR_AUTH);
    assert_int_equal(verify(f, &old), CW_ERR_BLOCKED);
    lab_ok(manage_pin_reset(f->lab->bank, f->reader, &random, &result, &why), &why);
    assert_string_equal(result.mailer, f->mailer);
    read_number(f, "PIN", &now);
    read_number(f, "PUK", &puk);
    assert_int_equal(puk.len, 8);
    assert_int_equal(verify(f, &now), CW_OK);
    if (now.len != old.len || memcmp(now.digits, old.digits, now.len) != 0)
        assert_int_equal(verify(f, &old), CW_ERR_AUTH);
    /* one that must be changed opens nothing */
    lab_ok(manage_pin_reset(f->lab->bank, f->reader, &transport, &result, &why), &why);
    read_number(f, "PIN", &now);
    assert_int_equal(verify(f, &now), CW_ERR_STATE);
    /* a locked card takes none, and its mailer stays */
    assert_int_equal(act(f, MANAGE_LOCK), CW_OK);
    assert_int_equal(manage_pin_reset(f->lab->bank, f->reader, &random, &result, &why),
                     CW_ERR_STATE);
    read_number(f, "PIN", &old);
    assert_memory_equal(old.digits, now.digits, now.len);
}

/* The rules for a new PIN are those that the card itself has. */
static void test_reset_pin_by_the_cards_rules(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    char path[600];
    struct manage_result result;
    const struct manage_pins pins = {.pin_file = path};
    issue(f, false);
    snprintf(path, sizeof path, "%s/pin", f->lab->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("2222\n", file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(manage_pin_reset(f->lab->bank, f->reader, &pins, &result, &why),
                     CW_ERR_FORMAT);
}

/* Not ours: known to no ledger, under another bank's keys, or not issued to its end. */
static void test_strange_cards(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct manage_result result;
    const struct manage_pins pins = {.pin_file = NULL};
    struct bank_lab *other = lab_new();
    assert_int_equal(act(f, MANAGE_LOCK), CW_ERR_NOT_FOUND); /* blank */
    issue(f, false);
    assert_int_equal(manage_life_set(other->bank, f->reader, MANAGE_LOCK, NULL, &result, &why),
                     CW_ERR_NOT_FOUND);
    /* even when its ledger says otherwise */
    lab_ok(ledger_card_begin(other->bank->ledger, f->serial, other->ada, NULL, 0, NULL, &why),
           &why);
    assert_int_equal(manage_life_set(other->bank, f->reader, MANAGE_LOCK, NULL, &result, &why),
                     CW_ERR_STATE);
    lab_ok(ledger_card_activate(other->bank->ledger, f->serial, &why), &why);
    for (int a = MANAGE_LOCK; a <= MANAGE_TERMINATE; a += MANAGE_TERMINATE - MANAGE_LOCK)
        assert_int_equal(
            manage_life_set(other->bank, f->reader, (enum manage_act)a, NULL, &result, &why),
            CW_ERR_DENIED);
    assert_int_equal(manage_pin_reset(other->bank, f->reader, &pins, &result, &why), CW_ERR_DENIED);
    assert_int_equal(life(f), LINK_LIFE_ACTIVE);
    lab_free(&other);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_activate),
        TEST(test_activate_cut_short),
        TEST(test_lock_and_unlock),
        TEST(test_unlock_of_one_in_the_mail),
        TEST(test_terminate),
        TEST(test_reset_pin),
        TEST(test_reset_pin_by_the_cards_rules),
        TEST(test_strange_cards),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
