/* test_bank_sync.c - a card that missed updates, in the bank's own reader: it takes them there, and
 * how the bank counts those that have not learnt its next root. The real card, in this process. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/manage.h"
#include "bank/reach.h"
#include "bank/update.h"

struct fixture {
    struct bank_lab *lab;
    char reader[600];
    uint8_t serial[ORDER_SERIAL_LEN];
};

static void issue(struct fixture *f, unsigned card)
{
    struct say why = {""};
    struct issue_result result;
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card%u", f->lab->dir, card);
    struct issue_options o = {
        .customer = f->lab->ada, .reader = f->reader, .p256 = true, .days = 30, .time = -1};
    terms_default(&o.policy);
    lab_ok(issue_card(f->lab->bank, &o, &result, &why), &why);
    memcpy(f->serial, result.serial, sizeof f->serial);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    issue(f, 1);
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

static struct ledger_management management(struct fixture *f)
{
    struct say why = {""};
    struct ledger_management m;
    lab_ok(ledger_management_read(f->lab->bank->ledger, f->serial, &m, &why), &why);
    return m;
}

/* What the card says of itself. */
static struct applet_info info(struct fixture *f)
{
    struct say why = {""};
    struct desk *d = NULL;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    struct applet_info i = d->info;
    desk_free(&d);
    return i;
}

static struct policy card_policy(struct fixture *f)
{
    struct say why = {""};
    struct desk *d = NULL;
    struct policy policy;
    uint8_t value[POLICY_LEN_MAX];
    size_t len = 0;
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_channel_open(d, &why), &why);
    lab_ok(desk_object_get(d, LINK_DO_POLICY, value, sizeof value, &len, &why), &why);
    assert_int_equal(policy_decode(value, len, &policy), CW_OK);
    desk_free(&d);
    return policy;
}

static void make(struct fixture *f, struct update_plan plan)
{
    struct say why = {""};
    struct update_made made;
    memcpy(plan.card, f->serial, sizeof plan.card);
    lab_ok(update_make(f->lab->bank, &plan, &made, &why), &why);
}

/* An update that sets the fewest digits of a PIN. */
static void make_policy(struct fixture *f, uint8_t min)
{
    const struct ledger_management m = management(f);
    struct policy policy = m.policy;
    policy.pin.min = min;
    make(f, (struct update_plan){.policy = &policy, .policy_of = m.made});
}

static struct manage_result sync_card(struct fixture *f)
{
    struct say why = {""};
    struct manage_result r;
    lab_ok(manage_sync(f->lab->bank, f->reader, &r, &why), &why);
    assert_memory_equal(r.serial, f->serial, sizeof r.serial);
    return r;
}

static void test_takes_what_it_missed(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct ledger_update u;
    size_t count = 0;
    struct manage_result r = sync_card(f);
    assert_int_equal(r.first, 0);
    assert_int_equal(r.last, 0);
    for (uint8_t min = 5; min <= 7; min++)
        make_policy(f, min);
    r = sync_card(f);
    assert_int_equal(r.first, 1);
    assert_int_equal(r.last, 3);
    assert_int_equal(r.life, LINK_LIFE_ACTIVE);
    assert_int_equal(info(f).sequence, 3);
    assert_int_equal(card_policy(f).pin.min, 7);
    assert_int_equal(management(f).applied, 3);
    assert_int_equal(management(f).pending, 0);
    lab_ok(ledger_updates_get(f->lab->bank->ledger, f->serial, 2, &u, 1, &count, &why), &why);
    assert_true(count == 1 && u.fetched != 0);
    make_policy(f, 8);
    r = sync_card(f);
    assert_int_equal(r.first, 4);
    assert_int_equal(r.last, 4);
    assert_int_equal(sync_card(f).first, 0);
}

/* The terminal reported what the card never took: the card's own word counts. */
static void test_terminal_lied(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    make_policy(f, 5);
    make_policy(f, 6);
    lab_ok(ledger_update_applied(f->lab->bank->ledger, f->serial, 2, &why), &why);
    assert_int_equal(management(f).pending, 0);
    const struct manage_result r = sync_card(f);
    assert_int_equal(r.first, 1);
    assert_int_equal(r.last, 2);
    assert_int_equal(card_policy(f).pin.min, 6);
}

/* Cut between card and ledger: the ledger learns it the next time. */
static void test_ledger_missed_it(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct desk *d = NULL;
    struct ledger_update u;
    size_t count = 0;
    make_policy(f, 5);
    lab_ok(ledger_updates_get(f->lab->bank->ledger, f->serial, 0, &u, 1, &count, &why), &why);
    lab_ok(desk_open(f->lab->bank, f->reader, &d, &why), &why);
    lab_ok(desk_channel_open(d, &why), &why);
    lab_ok(desk_command(d, APDU_CLA_PROPRIETARY, INS_APPLY, 0, u.message, u.len, u.message, 4, NULL,
                        "take an update", &why),
           &why);
    desk_free(&d);
    assert_int_equal(management(f).applied, 0);
    assert_int_equal(sync_card(f).first, 0);
    assert_int_equal(management(f).applied, 1);
}

static void test_time_goes_forward_only(void **state)
{
    struct fixture *f = *state;
    const int64_t before = info(f).time_floor;
    f->lab->now += 100000000; /* further than a signed time may go at once */
    sync_card(f);
    assert_int_equal(info(f).time_floor, f->lab->now);
    assert_true(f->lab->now > before);
    f->lab->now -= 500;
    sync_card(f);
    assert_int_equal(info(f).time_floor, f->lab->now + 500);
}

/* It is locked where the update says so; what comes after waits until it is unlocked, and the lock
 * does not come again. */
static void test_lock_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct manage_result r;
    make(f, (struct update_plan){.life = LINK_LIFE_LOCKED});
    make_policy(f, 6);
    r = sync_card(f);
    assert_int_equal(r.last, 1);
    assert_int_equal(r.life, LINK_LIFE_LOCKED);
    assert_int_equal(info(f).life, LINK_LIFE_LOCKED);
    assert_int_equal(management(f).applied, 1);
    assert_int_equal(manage_sync(f->lab->bank, f->reader, &r, &why), CW_ERR_STATE);
    lab_ok(manage_life_set(f->lab->bank, f->reader, MANAGE_UNLOCK, NULL, &r, &why), &why);
    r = sync_card(f);
    assert_int_equal(r.first, 2);
    assert_int_equal(r.life, LINK_LIFE_ACTIVE);
    assert_int_equal(card_policy(f).pin.min, 6);
}

/* The card proves itself to the end: this time the ledger follows it. What was done stays to be
 * seen, and cannot be changed. */
static void test_termination_on_the_way(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct ledger_management m;
    make_policy(f, 6);
    make(f, (struct update_plan){.life = LINK_LIFE_TERMINATED});
    const struct manage_result r = sync_card(f);
    assert_int_equal(r.last, 2);
    assert_int_equal(r.life, LINK_LIFE_TERMINATED);
    assert_int_equal(r.status, LEDGER_CARD_TERMINATED);
    assert_int_equal(info(f).life, LINK_LIFE_TERMINATED);
    assert_int_equal(management(f).applied, 2);
    assert_int_equal(ledger_management_get(f->lab->bank->ledger, f->serial, &m, &why),
                     CW_ERR_STATE);
}

static void test_only_our_own(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct manage_result r;
    const struct ledger_terms terms = {.keyset = 1, .policy = management(f).policy};
    struct bank_lab *other = lab_new();
    assert_int_equal(manage_sync(other->bank, f->reader, &r, &why), CW_ERR_NOT_FOUND);
    lab_ok(ledger_card_begin(other->bank->ledger, f->serial, other->ada, NULL, 0, &terms, &why),
           &why);
    lab_ok(ledger_card_activate(other->bank->ledger, f->serial, &why), &why);
    assert_int_equal(manage_sync(other->bank, f->reader, &r, &why), CW_ERR_DENIED);
    lab_free(&other);
}

static size_t without(struct fixture *f)
{
    struct say why = {""};
    size_t n = 99;
    lab_ok(reach_count(f->lab->bank, &n, &why), &why);
    return n;
}

static void load_root(struct fixture *f, const char *stem, struct objects_root *out)
{
    struct say why = {""};
    char path[BANK_PATH_MAX];
    lab_ok(bank_path(f->lab->dir, stem, ".pem", path, &why), &why);
    lab_ok(objects_root_load(path, out, &why), &why);
}

static void test_who_knows_the_next_root(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    static struct objects_root roots[2];
    f->lab->now += 10;
    lab_ok(bank_server_roll(f->lab->bank, 90, NULL, &why), &why);
    load_root(f, f->lab->bank->server.root, &roots[0]);
    load_root(f, f->lab->bank->server_next.root, &roots[1]);
    assert_int_equal(without(f), 1);
    make_policy(f, 5); /* says nothing of roots */
    make(f, (struct update_plan){.roots = roots, .root_count = 2});
    sync_card(f);
    assert_int_equal(without(f), 0);
    make(f, (struct update_plan){.roots = roots, .root_count = 1}); /* and forgets it again */
    assert_int_equal(without(f), 0);
    sync_card(f);
    assert_int_equal(without(f), 1);
    make(f, (struct update_plan){.roots = roots, .root_count = 2});
    assert_int_equal(without(f), 1); /* made, and not taken */
    lab_ok(ledger_card_block(f->lab->bank->ledger, f->serial, true, &why), &why);
    assert_int_equal(without(f), 0);
    lab_ok(ledger_card_block(f->lab->bank->ledger, f->serial, false, &why), &why);
    f->lab->now += 10;
    issue(f, 2); /* with both */
    assert_int_equal(without(f), 1);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_takes_what_it_missed), TEST(test_terminal_lied),
        TEST(test_ledger_missed_it),     TEST(test_time_goes_forward_only),
        TEST(test_lock_on_the_way),      TEST(test_termination_on_the_way),
        TEST(test_only_our_own),         TEST(test_who_knows_the_next_root),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
