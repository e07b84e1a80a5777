/* test_bank_update.c - the bank's signed messages to its cards: what is signed and by which key,
 * how a plan becomes messages, and what the ledger keeps of it. The card that takes them is in
 * tests/system/test_bank_manage.py. */
#include "tests/unit/bank_lab.h"

#include "bank/update.h"

#include <openssl/ecdsa.h>
#include <sys/stat.h>

struct fixture {
    struct bank_lab *lab;
    struct lab_card *card;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
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

static struct update_plan plan_of(const struct fixture *f)
{
    struct update_plan plan = {.life = 0};
    memcpy(plan.card, f->card->serial, sizeof plan.card);
    return plan;
}

static struct ledger_management management(struct fixture *f)
{
    struct say why = {""};
    struct ledger_management m;
    lab_ok(ledger_management_get(f->lab->bank->ledger, f->card->serial, &m, &why), &why);
    return m;
}

/* Takes a message apart, and checks its signature as the card does: with the public point. */
static struct issuer_message open_message(struct fixture *f, const uint8_t *data, size_t len)
{
    struct say why = {""};
    struct issuer_message m;
    size_t signed_len = 0;
    const uint8_t *signature = NULL;
    EVP_PKEY *key = NULL;
    uint8_t whole[sizeof ISSUER_PREFIX + ISSUER_MESSAGE_MAX] = ISSUER_PREFIX, *der = NULL;
    const size_t prefix = sizeof ISSUER_PREFIX - 1;
    assert_int_equal(issuer_decode(data, len, &m, &signed_len, &signature), CW_OK);
    assert_memory_equal(m.serial, f->card->serial, sizeof m.serial);
    memcpy(whole + prefix, data, signed_len);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    assert_int_equal(
        ECDSA_SIG_set0(sig, BN_bin2bn(signature, 32, NULL), BN_bin2bn(signature + 32, 32, NULL)),
        1);
    int der_len = i2d_ECDSA_SIG(sig, &der);
    lab_ok(bank_key_load(f->lab->bank, BANK_FILE_UPDATE, &key, &why), &why);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(ctx, der, (size_t)der_len, whole, prefix + signed_len), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    return m;
}

/* The update of that sequence; `u` keeps the bytes. */
static struct issuer_message get_update(struct fixture *f, uint32_t sequence,
                                        struct ledger_update *u)
{
    struct say why = {""};
    size_t count = 0;
    lab_ok(
        ledger_updates_get(f->lab->bank->ledger, f->card->serial, sequence - 1, u, 1, &count, &why),
        &why);
    assert_int_equal(count, 1);
    assert_int_equal(u->sequence, sequence);
    struct issuer_message m = open_message(f, u->message, u->len);
    assert_int_equal(m.kind, ISSUER_UPDATE);
    assert_int_equal(m.sequence, sequence);
    return m;
}

static void own_root(struct fixture *f, struct objects_root *out)
{
    struct say why = {""};
    char path[BANK_PATH_MAX];
    lab_ok(bank_path(f->lab->dir, BANK_FILE_SERVER_ROOT, ".pem", path, &why), &why);
    lab_ok(objects_root_load(path, out, &why), &why);
}

static void test_point_is_the_keys(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    uint8_t point[ISSUER_POINT_LEN], coordinate[32];
    EVP_PKEY *key = NULL;
    BIGNUM *x = NULL;
    lab_ok(update_point_get(f->lab->bank, point, &why), &why);
    lab_ok(bank_key_load(f->lab->bank, BANK_FILE_UPDATE, &key, &why), &why);
    assert_int_equal(EVP_PKEY_get_bn_param(key, "qx", &x), 1);
    assert_int_equal(BN_bn2binpad(x, coordinate, sizeof coordinate), sizeof coordinate);
    assert_int_equal(point[0], 4);
    assert_memory_equal(point + 1, coordinate, sizeof coordinate);
    BN_free(x);
    EVP_PKEY_free(key);
}

static void test_time_message(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    EVP_PKEY *key = NULL;
    uint8_t message[ISSUER_MESSAGE_MAX];
    size_t len = 0;
    struct issuer_message m = {.kind = ISSUER_TIME, .challenge = {1, 2, 3}, .time = 1790000000};
    memcpy(m.serial, f->card->serial, sizeof m.serial);
    lab_ok(bank_key_load(f->lab->bank, BANK_FILE_UPDATE, &key, &why), &why);
    lab_ok(update_sign(key, &m, message, &len, &why), &why);
    EVP_PKEY_free(key);
    const struct issuer_message back = open_message(f, message, len);
    assert_int_equal(back.kind, ISSUER_TIME);
    assert_int_equal(back.time, 1790000000);
    assert_memory_equal(back.challenge, m.challenge, sizeof m.challenge);
}

/* What a plan leaves out stays; what it gives is the whole of it: the rest is removed. */
static void test_roots_and_names_are_whole(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct objects_root root;
    const struct applet_name name = {.host = "bank.cardwire.test", .profiles = 3};
    struct update_plan plan = plan_of(f);
    own_root(f, &root);
    plan.roots = &root;
    plan.root_count = 1;
    plan.names = &name;
    plan.name_count = 1;
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    assert_int_equal(made.first, 1);
    assert_int_equal(made.last, 1);
    const struct issuer_message m = get_update(f, 1, &u);
    assert_int_equal(m.write_count, LINK_ROOT_MAX + LINK_NAME_MAX);
    assert_int_equal(m.writes[0].object, LINK_DO_ROOT);
    assert_int_equal(m.writes[0].len, root.len);
    assert_memory_equal(m.writes[0].value, root.der, root.len);
    assert_int_equal(m.writes[1].object, LINK_DO_ROOT | 1);
    assert_int_equal(m.writes[1].len, 0);
    assert_int_equal(m.writes[2].object, LINK_DO_NAME);
    assert_true(m.writes[2].len > 0);
    for (size_t i = 3; i < 6; i++) {
        assert_int_equal(m.writes[i].object, LINK_DO_NAME | (i - 2));
        assert_int_equal(m.writes[i].len, 0);
    }
}

/* Seven writes and 2,048 bytes are what a card takes at once; what belongs together stays so. */
static void test_plan_is_split(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct objects_root roots[2];
    struct policy policy;
    const struct applet_name name = {.host = "bank.cardwire.test", .profiles = 3};
    struct update_plan plan = plan_of(f);
    own_root(f, &roots[0]);
    roots[1] = roots[0];
    terms_default(&policy);
    plan.roots = roots;
    plan.root_count = 2;
    plan.names = &name;
    plan.name_count = 1;
    plan.policy = &policy;
    plan.life = LINK_LIFE_LOCKED;
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    assert_int_equal(made.first, 1);
    assert_int_equal(made.last, 2);
    assert_int_equal(get_update(f, 1, &u).write_count, 7); /* roots, names, policy */
    const struct issuer_message life = get_update(f, 2, &u);
    assert_int_equal(life.write_count, 1);
    assert_int_equal(life.writes[0].object, LINK_DO_LIFE);
    assert_int_equal(life.writes[0].value[0], LINK_LIFE_LOCKED);
    /* by length: two roots of 900 bytes fill a message */
    roots[1].len = 900;
    memset(roots[1].der, 0x30, roots[1].len);
    struct objects_root own = roots[0];
    roots[0].len = 900; /* not the bank's any more, so it must come second */
    memset(roots[0].der, 0x30, roots[0].len);
    roots[1] = own;
    plan.policy_of = made.last;
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    assert_int_equal(made.first, 3);
    for (uint32_t s = made.first; s <= made.last; s++) {
        (void)get_update(f, s, &u);
        assert_true(u.len <= ISSUER_MESSAGE_MAX);
    }
}

/* The largest root that a card holds, beside the bank's own, in either place. */
static void test_largest_root(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct objects_root roots[2];
    struct update_plan plan = plan_of(f);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_ARG); /* nothing */
    plan.roots = roots;
    plan.root_count = 2;
    for (size_t own = 0; own < 2; own++) {
        own_root(f, &roots[own]);
        roots[1 - own] = (struct objects_root){.len = OBJECTS_VALUE_MAX};
        lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
        assert_int_equal(made.first, made.last);
        const struct issuer_message m = get_update(f, made.first, &u);
        assert_int_equal(m.write_count, 2);
        assert_int_equal(m.writes[1 - own].len, OBJECTS_VALUE_MAX);
    }
}

/* What no card takes as a root goes into no update: it would wait in the ledger for ever. */
static void test_only_roots_for_cards(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct objects_root root;
    char path[BANK_PATH_MAX], command[3 * BANK_PATH_MAX];
    static const struct {
        const char *key;
        bool takes;
    } kinds[] = {{"EC -pkeyopt ec_paramgen_curve:P-256", true},
                 {"EC -pkeyopt ec_paramgen_curve:P-384", false},
                 {"RSA -pkeyopt rsa_keygen_bits:2048", true},
                 {"RSA -pkeyopt rsa_keygen_bits:1024", false},
                 {"ED25519", false}};
    snprintf(path, sizeof path, "%s/some.pem", f->lab->dir);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        snprintf(command, sizeof command,
                 "cd '%s' && openssl genpkey -algorithm %s -out some.key 2>some.log && "
                 "openssl req -x509 -new -key some.key -subj /CN=Some -days 9 -out some.pem",
                 f->lab->dir, kinds[i].key);
        assert_int_equal(system(command), 0);
        assert_int_equal(objects_root_load(path, &root, &why),
                         kinds[i].takes ? CW_OK : CW_ERR_FORMAT);
    }
    /* a leaf, and what is no certificate */
    lab_ok(bank_path(f->lab->dir, BANK_FILE_SERVER_EC, ".pem", path, &why), &why);
    assert_int_equal(objects_root_load(path, &root, &why), CW_ERR_FORMAT);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_SERVER_EC, ".key", path, &why), &why);
    assert_int_equal(objects_root_load(path, &root, &why), CW_ERR_FORMAT);
}

/* A card must not be made one that never finds back to the bank. */
static void test_card_stays_in_reach(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct objects_root root;
    char path[BANK_PATH_MAX];
    const struct applet_name other = {.host = "shop.test", .profiles = 7};
    struct update_plan plan = plan_of(f);
    lab_ok(bank_path(f->lab->dir, BANK_FILE_CARD_ROOT, ".pem", path, &why), &why);
    lab_ok(objects_root_load(path, &root, &why), &why);
    plan.roots = &root;
    plan.root_count = 1;
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    plan = plan_of(f);
    plan.names = &other;
    plan.name_count = 1;
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    assert_int_equal(management(f).made, 0);
}

/* The list goes out whole, each time; who was on it and by whose word stays. */
static void test_payees(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct policy_payee payee, back;
    struct buf_reader r;
    const char *number = f->lab->payee.number;
    struct update_plan plan = plan_of(f);
    lab_ok(objects_payees_find(f->lab->bank->ledger, &number, 1, &payee, &why), &why);
    plan.payee = &payee;
    plan.confirmed = "phone, by Eve";
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    struct issuer_message m = get_update(f, 1, &u);
    assert_int_equal(m.write_count, 1);
    assert_int_equal(m.writes[0].object, LINK_DO_PAYEES);
    assert_int_equal(policy_payees_check(m.writes[0].value, m.writes[0].len), CW_OK);
    buf_reader_init(&r, m.writes[0].value, m.writes[0].len);
    assert_true(policy_payee_next(&r, &back));
    assert_string_equal(back.account, number);
    assert_string_equal(back.name, f->lab->payee.name);
    assert_false(policy_payee_next(&r, &back));
    /* twice is once, and without a word it is none */
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_EXISTS);
    plan.confirmed = "";
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_FORMAT);
    plan.confirmed = "a line\nand another";
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_FORMAT);
    assert_int_equal(management(f).made, 1);
    /* the last one goes: the object is removed */
    plan = plan_of(f);
    plan.payee_gone = number;
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    m = get_update(f, 2, &u);
    assert_int_equal(m.writes[0].object, LINK_DO_PAYEES);
    assert_int_equal(m.writes[0].len, 0);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_NOT_FOUND);
    /* and comes back, under a new word */
    plan = plan_of(f);
    plan.payee = &payee;
    plan.confirmed = "letter of today";
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    assert_int_equal(made.last, 3);
}

static void test_list_is_full(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct ledger_account a;
    struct ledger *l = f->lab->bank->ledger;
    for (size_t i = 0; i <= POLICY_PAYEES_MAX; i++) {
        struct policy_payee payee;
        struct update_plan plan = plan_of(f);
        lab_ok(ledger_account_open(l, f->lab->bob, "EUR", 0, &a, &why), &why);
        const char *number = a.number;
        lab_ok(objects_payees_find(l, &number, 1, &payee, &why), &why);
        plan.payee = &payee;
        plan.confirmed = "test";
        enum cw_err err = update_make(f->lab->bank, &plan, &made, &why);
        assert_int_equal(err, i < POLICY_PAYEES_MAX ? CW_OK : CW_ERR_SPACE);
    }
    const struct issuer_message m = get_update(f, POLICY_PAYEES_MAX, &u);
    assert_int_equal(policy_payees_check(m.writes[0].value, m.writes[0].len), CW_OK);
}

/* Long names fill the list's bytes first: then nothing is written down, and no update is made. */
static void test_list_is_full_of_long_names(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made = {0};
    struct ledger_account a;
    struct ledger *l = f->lab->bank->ledger;
    int64_t customer = 0;
    unsigned added = 0;
    enum cw_err err = CW_OK;
    lab_ok(ledger_customer_add(l,
                               "Her Excellency the Right Honourable Countess of a Very Long Name..",
                               &customer, &why),
           &why);
    while (err == CW_OK) {
        struct policy_payee payee;
        struct update_plan plan = plan_of(f);
        lab_ok(ledger_account_open(l, customer, "EUR", 0, &a, &why), &why);
        const char *number = a.number;
        lab_ok(objects_payees_find(l, &number, 1, &payee, &why), &why);
        plan.payee = &payee;
        plan.confirmed = "test";
        err = update_make(f->lab->bank, &plan, &made, &why);
        added += err == CW_OK;
    }
    assert_int_equal(err, CW_ERR_SPACE);
    assert_in_range(added, 8, POLICY_PAYEES_MAX - 1);
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    lab_ok(ledger_payees_get(l, f->card->serial, list, &count, &why), &why);
    assert_int_equal(count, added);
    assert_int_equal(management(f).made, added);
}

/* The policy in the ledger is the one of the last update; who read an older one must look again. */
static void test_policy(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    struct policy back;
    struct ledger_management m = management(f);
    struct update_plan plan = plan_of(f);
    m.policy.limits[0].order = 100;
    plan.policy = &m.policy;
    plan.policy_of = m.made;
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    const struct issuer_message message = get_update(f, 1, &u);
    assert_int_equal(message.writes[0].object, LINK_DO_POLICY);
    assert_int_equal(policy_decode(message.writes[0].value, message.writes[0].len, &back), CW_OK);
    assert_int_equal(back.limits[0].order, 100);
    assert_int_equal(management(f).policy.limits[0].order, 100);
    m.policy.limits[0].order = 200;
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_BUSY);
    assert_int_equal(management(f).policy.limits[0].order, 100);
    assert_int_equal(management(f).made, 1);
}

/* What a card is said to have taken counts up only, and only to what was made. */
static void test_applied_and_fetched(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct ledger_update u;
    size_t count = 0;
    struct ledger *l = f->lab->bank->ledger;
    struct policy policy;
    struct update_plan plan = plan_of(f);
    terms_default(&policy);
    plan.policy = &policy;
    for (plan.policy_of = 0; plan.policy_of < 3; plan.policy_of++)
        lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
    assert_int_equal(management(f).pending, 3);
    lab_ok(ledger_update_applied(l, f->card->serial, 2, &why), &why);
    assert_int_equal(management(f).pending, 1);
    lab_ok(ledger_update_applied(l, f->card->serial, 1, &why), &why);
    assert_int_equal(management(f).applied, 2);
    lab_ok(ledger_update_applied(l, f->card->serial, 0, &why), &why);
    assert_int_equal(ledger_update_applied(l, f->card->serial, 4, &why), CW_ERR_NOT_FOUND);
    assert_int_equal(management(f).applied, 2);
    lab_ok(ledger_updates_fetched(l, f->card->serial, 1, 2, &why), &why);
    const int64_t first = f->lab->now;
    f->lab->now += 100;
    lab_ok(ledger_updates_fetched(l, f->card->serial, 1, 3, &why), &why);
    for (uint32_t s = 1; s <= 3; s++) {
        lab_ok(ledger_updates_get(l, f->card->serial, s - 1, &u, 1, &count, &why), &why);
        assert_int_equal(u.fetched, s == 1 ? 0 : s == 2 ? first : f->lab->now);
    }
}

/* Everything of an update, or nothing: also of what it means. */
static void test_failure_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct policy_payee payee, list[POLICY_PAYEES_MAX];
    size_t count = 99;
    const char *number = f->lab->payee.number;
    struct update_plan plan = plan_of(f);
    assert_true(lab_raw(f->lab->dir, lab_on_sqlite()
                                         ? "CREATE TRIGGER no BEFORE INSERT ON card_update BEGIN "
                                           "SELECT RAISE (ABORT, 'no'); END"
                                         : "CREATE TRIGGER no BEFORE INSERT ON card_update "
                                           "EXECUTE FUNCTION stays()"));
    lab_ok(objects_payees_find(f->lab->bank->ledger, &number, 1, &payee, &why), &why);
    plan.payee = &payee;
    plan.confirmed = "test";
    assert_int_not_equal(update_make(f->lab->bank, &plan, &made, &why), CW_OK);
    lab_ok(ledger_payees_get(f->lab->bank->ledger, f->card->serial, list, &count, &why), &why);
    assert_int_equal(count, 0);
}

/* Cards that the bank cannot manage: of an older program, dead, not finished, not its own. */
static void test_cards_without_updates(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct update_made made;
    struct policy policy;
    struct ledger *l = f->lab->bank->ledger;
    struct update_plan plan = plan_of(f);
    terms_default(&policy);
    plan.policy = &policy;
    plan.card[0] = 9;
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_NOT_FOUND);
    lab_ok(ledger_card_begin(l, plan.card, f->lab->ada, NULL, 0, NULL, &why), &why);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    lab_ok(ledger_card_activate(l, plan.card, &why), &why);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "older"));
    plan = plan_of(f);
    plan.policy = &policy;
    lab_ok(ledger_card_terminate(l, f->card->serial, &why), &why);
    assert_int_equal(update_make(f->lab->bank, &plan, &made, &why), CW_ERR_STATE);
    assert_non_null(strstr(why.text, "terminated"));
}

/* A key that others can read is one that others have. */
static void test_keys_are_their_owners(void **state)
{
    static const char *const stems[] = {BANK_FILE_CARD_ROOT,   BANK_FILE_UPDATE,
                                        BANK_FILE_SERVER_EC,   BANK_FILE_SERVER_RSA,
                                        BANK_FILE_SERVER_ROOT, BANK_FILE_PIV_ROOT};
    struct fixture *f = *state;
    struct say why = {""};
    lab_ok(bank_piv_root_make(f->lab->bank, &why), &why);
    for (size_t i = 0; i < sizeof stems / sizeof stems[0]; i++) {
        static const mode_t open[] = {0640, 0604, 0620, 0602, 0644};
        char path[BANK_PATH_MAX];
        EVP_PKEY *key = NULL;
        lab_ok(bank_path(f->lab->dir, stems[i], ".key", path, &why), &why);
        for (size_t k = 0; k < sizeof open / sizeof open[0]; k++) {
            assert_int_equal(chmod(path, open[k]), 0);
            assert_int_equal(bank_key_load(f->lab->bank, stems[i], &key, &why), CW_ERR_DENIED);
            assert_null(key);
            assert_non_null(strstr(why.text, "chmod 600"));
        }
        assert_int_equal(chmod(path, 0600), 0);
        lab_ok(bank_key_load(f->lab->bank, stems[i], &key, &why), &why);
        EVP_PKEY_free(key);
    }
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_point_is_the_keys),
        TEST(test_time_message),
        TEST(test_roots_and_names_are_whole),
        TEST(test_plan_is_split),
        TEST(test_largest_root),
        TEST(test_only_roots_for_cards),
        TEST(test_card_stays_in_reach),
        TEST(test_payees),
        TEST(test_list_is_full),
        TEST(test_list_is_full_of_long_names),
        TEST(test_policy),
        TEST(test_applied_and_fetched),
        TEST(test_failure_changes_nothing),
        TEST(test_cards_without_updates),
        TEST(test_keys_are_their_owners),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
