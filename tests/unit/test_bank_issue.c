/* test_bank_issue.c - issuing a card: the real card, in this process, against the bank's books; and
 * what an issuance that is cut short leaves behind. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/mailer.h"
#include "bank/objects.h"
#include "bank/update.h"

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

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static void read_file(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(out, 1, cap - 1, file);
    out[len] = '\0';
    fclose(file);
}

static void read_mailer(const char *path, char pin[16], char puk[16])
{
    char text[200];
    read_file(path, text, sizeof text);
    assert_int_equal(sscanf(text, "card %*s PIN %15s PUK %15s", pin, puk), 2);
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
    char pin[16], puk[16];
    unsigned left = 0;
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    read_mailer(result.mailer, pin, puk);
    assert_int_equal(strlen(pin), 6);
    assert_int_equal(strlen(puk), 8);
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)pin, strlen(pin), &left, &why), &why);
    reader_free(&r);
}

/* PIN and PUK of files are in no mailer; one of them alone is. */
static void test_numbers_from_files(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    char pin[600], puk[600], text[200];
    struct issue_options o = options(f);
    snprintf(pin, sizeof pin, "%s/pin", f->lab->dir);
    snprintf(puk, sizeof puk, "%s/puk", f->lab->dir);
    write_file(pin, "739152\n");
    write_file(puk, "1357924\n");
    o.pin_file = pin;
    o.puk_file = puk;
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_FORMAT); /* too short */
    assert_int_equal(look(f).life, LINK_LIFE_BLANK);
    o.puk_file = NULL;
    o.personalise_only = true;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    read_file(result.mailer, text, sizeof text);
    assert_null(strstr(text, "PIN"));
    assert_non_null(strstr(text, "PUK "));
    write_file(puk, "13579246\n");
    o.puk_file = puk;
    snprintf(f->reader, sizeof f->reader, "inproc:%s/other", f->lab->dir);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_string_equal(result.mailer, "");
}

/* The bank's own rules for PINs hold for the one that it is given. */
static void test_pin_must_fit_the_rules(void **state)
{
    static const char *const bad[] = {"123\n", "1111\n", "4321\n", "12345\n"};
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    char pin[600];
    struct issue_options o = options(f);
    snprintf(pin, sizeof pin, "%s/pin", f->lab->dir);
    o.pin_file = pin;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(pin, bad[i]);
        assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_FORMAT);
    }
    assert_int_equal(look(f).life, LINK_LIFE_BLANK);
    o.policy.pin.rules = 0;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
}

/* A random PIN fits them too; of four digits 24 of 10,000 do not. */
static void test_random_pin_fits_the_rules(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct mailer m = {.pin_file = NULL};
    const struct policy_pin rules = {
        .min = 4, .max = 4, .rules = PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE, .tries = 3};
    const struct policy_pin longer = {.min = 8, .max = 12, .tries = 3};
    for (int i = 0; i < 200; i++) {
        lab_ok(mailer_write(&m, f->lab->bank, "0011223344556677", &rules, &why), &why);
        assert_int_equal(policy_pin_check(&rules, m.pin.digits, m.pin.len), CW_OK);
    }
    lab_ok(mailer_write(&m, f->lab->bank, "0011223344556677", &longer, &why), &why);
    assert_int_equal(m.pin.len, 8);
    mailer_wipe(&m);
}

/* What the bank permits is in the card, and the ledger has the same. */
static void test_terms_are_written(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct ledger_management m;
    struct policy_payee list[POLICY_PAYEES_MAX];
    struct policy policy;
    struct desk *d = NULL;
    uint8_t value[POLICY_PAYEES_LENMAX], point[ISSUER_POINT_LEN];
    size_t len = 0, count = 0;
    struct issue_options o = options(f);
    o.policy.limits[0].small = 2500;
    o.policy.limits[0].small_total = 5000;
    o.payees[0] = f->lab->payee.number;
    o.payee_count = 1;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_channel_open(d, &why), &why);
    lab_ok(desk_object_get(d, LINK_DO_POLICY, value, sizeof value, &len, &why), &why);
    assert_int_equal(policy_decode(value, len, &policy), CW_OK);
    assert_memory_equal(&policy, &o.policy, sizeof policy);
    lab_ok(desk_object_get(d, LINK_DO_PAYEES, value, sizeof value, &len, &why), &why);
    assert_non_null(memmem(value, len, f->lab->payee.number, strlen(f->lab->payee.number)));
    lab_ok(desk_object_get(d, LINK_DO_ISSUER, value, sizeof value, &len, &why), &why);
    lab_ok(update_point_get(f->lab->bank, point, &why), &why);
    assert_int_equal(len, sizeof point);
    assert_memory_equal(value, point, sizeof point);
    desk_free(&d);
    lab_ok(ledger_management_get(f->lab->bank->ledger, result.serial, &m, &why), &why);
    assert_int_equal(m.keyset, DESK_KEYSET);
    assert_memory_equal(&m.policy, &o.policy, sizeof m.policy);
    lab_ok(ledger_payees_get(f->lab->bank->ledger, result.serial, list, &count, &why), &why);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].name, f->lab->payee.name);
}

/* A card that was delivered under another key than its maker's wants that key. */
static void test_initial_key(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    char key[600];
    struct issue_options o = options(f);
    snprintf(key, sizeof key, "%s/maker", f->lab->dir);
    o.initial_key = key;
    write_file(key, "00112233445566778899aabbccddeeff\n");
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_DENIED);
    assert_non_null(strstr(why.text, "--initial-key"));
    assert_int_equal(look(f).life, LINK_LIFE_BLANK);
    write_file(key, "404142434445464748494a4b4c4d4e4f\n");
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
}

/* A blank card with another bank's keys is none for us, whatever its maker's key was. */
static void test_card_of_another_bank(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct desk *d = NULL;
    struct bank_lab *other = lab_new();
    struct issue_options o = options(f);
    lab_ok(desk_open(other->bank, f->reader, &d, &why), &why);
    lab_ok(desk_take_over(d, NULL, false, &why), &why);
    desk_free(&d);
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_DENIED);
    assert_int_equal(look(f).life, LINK_LIFE_BLANK);
    lab_free(&other);
}

/* What an issuance that was cut short has written, and this one does not, is gone. */
static void test_nothing_is_left_of_another_try(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct desk *d = NULL;
    struct objects_root root;
    const struct applet_name name = {.host = "shop.test", .profiles = 7};
    struct policy_payee payee;
    uint8_t value[300];
    size_t len = 0;
    char path[BANK_PATH_MAX];
    const char *number = f->lab->payee.number;
    struct buf_writer w;
    lab_ok(bank_path(f->lab->dir, BANK_FILE_CARD_ROOT, ".pem", path, &why), &why);
    lab_ok(objects_root_load(path, &root, &why), &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_take_over(d, NULL, false, &why), &why);
    lab_ok(desk_object_put(d, LINK_DO_ROOT | 1, root.der, root.len, &why), &why);
    buf_writer_init(&w, value, sizeof value);
    lab_ok(objects_name_put(&name, &w, &why), &why);
    lab_ok(desk_object_put(d, LINK_DO_NAME | 3, value, w.len, &why), &why);
    buf_writer_init(&w, value, sizeof value);
    lab_ok(objects_payees_find(f->lab->bank->ledger, &number, 1, &payee, &why), &why);
    lab_ok(objects_payees_put(&payee, 1, &w, &why), &why);
    lab_ok(desk_object_put(d, LINK_DO_PAYEES, value, w.len, &why), &why);
    desk_free(&d);
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    static const uint16_t gone[] = {LINK_DO_ROOT | 1, LINK_DO_NAME | 3, LINK_DO_PAYEES};
    lab_ok(desk_channel_open(d, &why), &why);
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        assert_int_equal(desk_object_get(d, gone[i], value, sizeof value, &len, &why),
                         CW_ERR_NOT_FOUND);
    desk_free(&d);
}

/* For the mail: complete, and good for nothing until it is activated. */
static void test_personalised_only(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct issue_options o = options(f);
    o.personalise_only = true;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_int_equal(result.status, LEDGER_CARD_PERSONALISED);
    assert_int_equal(look(f).life, LINK_LIFE_PERSONALISED);
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_int_equal(status(f, result.serial), LEDGER_CARD_PERSONALISED);
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
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_true(lab_raw(f->lab->dir, "UPDATE card SET status = 'issuing'"));
    o.customer = f->lab->bob;
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ISSUING);
    o.customer = f->lab->ada;
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_true(result.resumed);
    assert_true(result.mailer[0] != '\0'); /* and the PIN is where it was */
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ACTIVE);
}

/* A card that is complete, but is not the one that the ledger was told of, is not taken for it. */
static void test_resume_wants_the_same_card(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct issue_options o = options(f);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    assert_true(lab_raw(f->lab->dir, "UPDATE card SET status = 'issuing'"));
    assert_true(
        lab_raw(f->lab->dir, lab_on_sqlite()
                                 ? "UPDATE certificate SET der = x'30' WHERE kind = 'order'"
                                 : "UPDATE certificate SET der = '\\x30' WHERE kind = 'order'"));
    assert_int_equal(issue_card(f->lab->bank, &o, &result, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "another certificate"));
    assert_int_equal(status(f, result.serial), LEDGER_CARD_ISSUING);
}

/* Cut before: the card is blank, with keys in it that are never overwritten. */
static void test_cut_before_activation(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result result;
    struct desk *d = NULL;
    const struct applet_info blank = look(f);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_take_over(d, NULL, false, &why), &why);
    lab_ok(ledger_card_begin(f->lab->bank->ledger, blank.serial, f->lab->bob, NULL, 0, NULL, &why),
           &why);
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
        TEST(test_numbers_from_files),
        TEST(test_pin_must_fit_the_rules),
        TEST(test_random_pin_fits_the_rules),
        TEST(test_terms_are_written),
        TEST(test_initial_key),
        TEST(test_card_of_another_bank),
        TEST(test_nothing_is_left_of_another_try),
        TEST(test_personalised_only),
        TEST(test_names_and_second_root),
        TEST(test_cut_after_activation),
        TEST(test_resume_wants_the_same_card),
        TEST(test_cut_before_activation),
        TEST(test_bad_input_leaves_the_card_blank),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
