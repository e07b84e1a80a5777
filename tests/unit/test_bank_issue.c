/* test_bank_issue.c - issuing a card: the real card, in this process, against the bank's books; and
 * what an issuance that is cut short leaves behind. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/terms.h"

#include <sqlite3.h>
#include <sys/stat.h>

struct fixture {
    struct bank_lab *lab;
    char reader[600];
};

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

static struct issue_options options(const struct fixture *f)
{
    struct issue_options o = {.customer = f->lab->ada,
                              .reader = f->reader,
                              .p256 = true,
                              .days = BANK_CARD_DAYS,
                              .time = -1};
    terms_default(&o.policy);
    return o;
}

static enum ledger_card_status status(struct fixture *f, const uint8_t serial[ORDER_SERIAL_LEN])
{
    struct say why = {""};
    struct ledger_card c;
    lab_ok(ledger_card_get(f->lab->bank->ledger, serial, &c, &why), &why);
    return c.status;
}

static struct applet_info look(struct fixture *f)
{
    struct say why = {""};
    struct reader *r = NULL;
    struct applet_info info;
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_info_get(r, &info, &why), &why);
    reader_free(&r);
    return info;
}

static void test_issue(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct stat mailer;
    struct issue_options o = options(f);
    o.rsa = true;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    const struct applet_info info = look(f);
    assert_int_equal(info.life, LINK_LIFE_ACTIVE);
    assert_int_equal(info.keys, 0x0F);
    assert_int_equal(info.certificates, 0x0F);
    assert_int_equal(info.time_floor, f->lab->now);
    assert_memory_equal(info.serial, result.serial, sizeof info.serial);
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ACTIVE);
    assert_int_equal(stat(result.mailer, &mailer), 0);
    assert_int_equal(mailer.st_mode & 0777, 0600);
    /* once is enough */
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "not blank"));
    assert_int_equal(status(f, info.serial), LEDGER_CARD_ACTIVE);
}

struct heard {
    char step[64];
    int percent, moved;     /* of the step; how often it rose */
    unsigned steps, making; /* all; those that are about keys */
};

static void hear(void *ctx, const char *step, int percent)
{
    struct heard *h = ctx;
    if (percent == ISSUE_NO_PERCENT) {
        h->steps++;
        h->making += strncmp(step, "the card makes its key ", 23) == 0;
        snprintf(h->step, sizeof h->step, "%s", step);
        h->percent = 0;
        return;
    }
    assert_string_equal(step, h->step);
    assert_in_range(percent, h->percent, 100);
    h->moved += percent > h->percent && percent < 100 && strstr(step, "rsa") != NULL;
    h->percent = percent;
}

/* While the card makes a key the caller hears how far it is. */
static void test_progress(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct heard heard = {.steps = 0};
    struct issue_options o = options(f);
    o.rsa = true;
    o.progress = hear;
    o.progress_ctx = &heard;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_int_equal(heard.making, 4);
    assert_int_equal(heard.steps, 7);
    assert_true(heard.moved >= 4);
}

static void test_pin_of_mailer_opens(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct reader *r = NULL;
    char pin[16];
    unsigned left = 0;
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    FILE *file = fopen(result.mailer, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "card %*s PIN %15s", pin), 1);
    fclose(file);
    assert_int_equal(strlen(pin), 6);
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)pin, strlen(pin), &left, &why), &why);
    reader_free(&r);
}

static void test_names_and_second_root(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct reader *r = NULL;
    struct applet_name name;
    uint8_t root[APPLET_CERT_MAX];
    size_t len = 0;
    char path[BANK_PATH_MAX];
    struct issue_options o = options(f);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_CARD_ROOT, ".pem", path, &why), &why);
    o.root_file = path; /* any root will do */
    o.name_count = 2;
    o.names[0] = (struct applet_name){.host = "bank.cardwire.test", .profiles = 1};
    o.names[1] = (struct applet_name){.host = "shop.test", .profiles = 6};
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_name_get(r, 1, &name, &why), &why);
    assert_string_equal(name.host, "shop.test");
    assert_int_equal(name.profiles, 6);
    lab_ok(applet_data_get(r, LINK_DO_ROOT | 1, root, sizeof root, &len, &why), &why);
    assert_true(len > 100);
    reader_free(&r);
}

/* Cut between the card's ACTIVATE and the ledger: the same call completes it, for that customer. */
static void test_cut_after_activation(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    char path[BANK_PATH_MAX];
    sqlite3 *db = NULL;
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_LEDGER, "", path, &why), &why);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE card SET status = 'issuing'", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    o.customer = f->lab->bob;
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ISSUING);
    o.customer = f->lab->ada;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_true(result.resumed);
    assert_true(result.mailer[0] != '\0'); /* and the PIN is where it was */
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ACTIVE);
}

/* Cut before: the card is blank, with keys in it that are never overwritten. */
static void test_cut_before_activation(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct desk *d = NULL;
    const struct applet_info blank = look(f);
    lab_ok(ledger_card_begin(f->lab->bank->ledger, blank.serial, f->lab->bob, NULL, 0, NULL, &why),
           &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_take_over(d, NULL, &why), &why);
    lab_ok(desk_key_generate(d, LINK_KEY_TLS_P256, NULL, NULL, &why), &why);
    desk_free(&d);
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_false(result.resumed);
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ACTIVE);
    assert_int_equal(look(f).life, LINK_LIFE_ACTIVE);
}

/* A failure before anything was written leaves nothing behind. */
static void test_bad_input_leaves_the_card_blank(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct issue_options o = options(f);
    o.customer = 99;
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_NOT_FOUND);
    o = options(f);
    o.pin_file = "/nonexistent/pin";
    assert_int_not_equal(issue_card(f->lab->bank, &o, &result, &why), CW_OK);
    o = options(f);
    o.root_file = "/nonexistent/root";
    assert_int_not_equal(issue_card(f->lab->bank, &o, &result, &why), CW_OK);
    o = options(f);
    o.name_count = 1;
    strcpy(o.names[0].host, "UPPER.test");
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_FORMAT);
    const struct applet_info info = look(f);
    assert_int_equal(info.life, LINK_LIFE_BLANK);
    assert_int_equal(info.keys, 0);
    struct ledger_card c;
    assert_int_equal(ledger_card_get(f->lab->bank->ledger, info.serial, &c, &why),
                     CW_ERR_NOT_FOUND);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_issue),
        TEST(test_progress),
        TEST(test_pin_of_mailer_opens),
        TEST(test_names_and_second_root),
        TEST(test_cut_after_activation),
        TEST(test_cut_before_activation),
        TEST(test_bad_input_leaves_the_card_blank),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
