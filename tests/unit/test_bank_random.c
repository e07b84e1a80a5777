/* test_bank_random.c - random orders, holds, captures, reversals and frozen accounts against a
 * model of a few lines: what is refused, and every balance, are the same; the audit passes at the
 * end. CARDWIRE_SEED repeats a run. */
#include "tests/unit/bank_lab.h"

#include "bank/audit.h"
#include "bank/ledger_work.h"

#define ACCOUNTS 4
#define STEPS    150
#define MANY     (STEPS + 1)

struct model_hold {
    int from, to;
    int64_t left, expiry;
    bool open;
};

struct moved {
    int from, to;
    int64_t entry, left;
};

struct world {
    struct bank_lab *lab;
    struct lab_card *cards[2];                /* Ada's, Bob's */
    struct ledger_account accounts[ACCOUNTS]; /* of the two in turn */
    int64_t balance[ACCOUNTS], held[ACCOUNTS];
    bool frozen[ACCOUNTS];
    struct model_hold holds[MANY];
    struct moved moves[2 * MANY];
    int hold_count, move_count, order_count;
    unsigned long long seed;
};

static int random_below(struct world *w, int n)
{
    w->seed = w->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (int)((w->seed >> 33) % (unsigned)n);
}

static struct ledger *books(struct world *w)
{
    return w->lab->bank->ledger;
}

static bool can_move(const struct world *w, int from, int to, int64_t amount)
{
    return from != to && !w->frozen[from] && !w->frozen[to] &&
           w->balance[from] - w->held[from] >= amount;
}

static void model_move(struct world *w, int from, int to, int64_t amount, bool keep)
{
    int64_t entry = 0;
    uint8_t hash[LEDGER_HASH_LEN];
    struct say why = {""};
    w->balance[from] -= amount;
    w->balance[to] += amount;
    lab_ok(ledger_head_get(books(w), &entry, hash, &why), &why);
    if (keep)
        w->moves[w->move_count++] = (struct moved){from, to, entry, amount};
}

static void same(struct world *w, bool expected, bool done, const char *what, const struct say *why)
{
    if (expected != done)
        fail_msg("%s: the model says %s, the ledger %s (%s); seed at %llu", what,
                 expected ? "yes" : "no", done ? "yes" : "no", why->text, w->seed);
}

/* ---- orders, one or two that are linked, the same once more ---- */

static void step_orders(struct world *w)
{
    static const uint8_t binding[ORDER_BINDING_LEN];
    struct lab_signed s[2];
    struct ledger_order o[2];
    struct ledger_request r[2] = {{0}};
    int count = 1 + random_below(w, 2), from = random_below(w, ACCOUNTS), to[2];
    int64_t amount[2];
    struct say why = {""};
    for (int i = 0; i < count; i++) {
        to[i] = random_below(w, ACCOUNTS);
        amount[i] = 1 + random_below(w, 6000);
        struct order_fields f = lab_order(w->lab, 1, amount[i]);
        w->order_count++;
        memcpy(f.id, &w->order_count, sizeof w->order_count);
        strcpy(f.payer, w->accounts[from].number);
        strcpy(f.payee, w->accounts[to[i]].number);
        strcpy(f.payee_name, w->accounts[to[i]].name);
        s[i] = lab_sign(w->cards[from % 2], &f, binding);
        o[i] = lab_signed_order(w->cards[from % 2], &f, &s[i]);
        entry_request_hash(s[i].text, s[i].text_len, s[i].signature, s[i].signature_len,
                           o[i].request);
        r[i] = (struct ledger_request){.order = &o[i], .linked = i + 1 < count};
    }
    bool good = can_move(w, from, to[0], amount[0]) &&
                (count == 1 || can_move(w, from, to[1], amount[0] + amount[1]));
    for (int again = 0; again < 2; again++) {
        lab_ok(ledger_payments_book(books(w), r, (size_t)count, lab_reply, &why), &why);
        bool booked = true;
        for (int i = 0; i < count; i++) {
            booked = booked && r[i].verdict == (again ? LEDGER_REPEATED : LEDGER_BOOKED);
            free(r[i].reply);
        }
        same(w, good, booked, again ? "orders again" : "orders", &why);
        if (!good)
            return;
        for (int i = 0; i < count && !again; i++) {
            model_move(w, from, to[i], amount[i], true);
            w->moves[w->move_count - 1].entry -= count - 1 - i;
        }
    }
}

/* ---- holds ---- */

static void step_place(struct world *w)
{
    char id[24];
    struct say why = {""};
    struct ledger_hold h;
    int from = random_below(w, ACCOUNTS), to = random_below(w, ACCOUNTS);
    snprintf(id, sizeof id, "h%d", w->hold_count);
    const struct ledger_hold_order o = {.id = id,
                                        .account = w->accounts[from].number,
                                        .payee = w->accounts[to].number,
                                        .amount = 1 + random_below(w, 5000),
                                        .expiry = w->lab->now + 1 + random_below(w, 4000),
                                        .reference = "",
                                        .who = "clara"};
    bool good = can_move(w, from, to, o.amount);
    same(w, good, ledger_hold_place(books(w), &o, &h, &why) == CW_OK, "place", &why);
    if (!good)
        return;
    w->held[from] += o.amount;
    w->holds[w->hold_count++] = (struct model_hold){from, to, o.amount, o.expiry, true};
}

static void step_capture(struct world *w)
{
    char id[24], key[24];
    struct say why = {""};
    struct ledger_hold h;
    if (w->hold_count == 0)
        return;
    int n = random_below(w, w->hold_count);
    struct model_hold *m = &w->holds[n];
    snprintf(id, sizeof id, "h%d", n);
    snprintf(key, sizeof key, "c%d", ++w->order_count);
    const struct ledger_capture c = {id, key, 1 + random_below(w, 3000), random_below(w, 2) == 0,
                                     "dirk"};
    bool good = m->open && m->expiry > w->lab->now && c.amount <= m->left && !w->frozen[m->from] &&
                !w->frozen[m->to];
    same(w, good, ledger_hold_capture(books(w), &c, &h, &why) == CW_OK, "capture", &why);
    if (!good)
        return;
    w->held[m->from] -= c.final ? m->left : c.amount;
    m->left -= c.amount;
    m->open = !c.final && m->left > 0;
    model_move(w, m->from, m->to, c.amount, true);
}

static void step_void(struct world *w)
{
    char id[24];
    struct say why = {""};
    struct ledger_hold h;
    if (w->hold_count == 0)
        return;
    int n = random_below(w, w->hold_count);
    struct model_hold *m = &w->holds[n];
    snprintf(id, sizeof id, "h%d", n);
    bool good = ledger_hold_void(books(w), id, "clara", &h, &why) == CW_OK;
    if (!m->open)
        return; /* voided before, or not: both are right */
    same(w, true, good, "void", &why);
    w->held[m->from] -= m->left;
    m->open = false;
}

static void step_time(struct world *w)
{
    struct say why = {""};
    int64_t holds = 0, proposals = 0, expected = 0;
    w->lab->now += random_below(w, 1500);
    lab_ok(ledger_work_expire(books(w), &holds, &proposals, &why), &why);
    for (int i = 0; i < w->hold_count; i++) {
        struct model_hold *m = &w->holds[i];
        if (!m->open || m->expiry > w->lab->now)
            continue;
        w->held[m->from] -= m->left;
        m->open = false;
        expected++;
    }
    assert_int_equal(holds, expected);
}

/* ---- reversals, frozen accounts ---- */

static void step_reverse(struct world *w)
{
    struct say why = {""};
    struct ledger_proposal p;
    int64_t entry, amount = 1 + random_below(w, 4000);
    if (w->move_count == 0)
        return;
    struct moved *m = &w->moves[random_below(w, w->move_count)];
    bool good = amount <= m->left && w->balance[m->to] - w->held[m->to] >= amount;
    enum cw_err err = ledger_reversal_propose(books(w), m->entry, amount, "", "clara", &p, &why);
    if (err == CW_OK)
        err = ledger_proposal_approve(books(w), p.id, "dirk", &entry, &why);
    same(w, good, err == CW_OK, "reverse", &why);
    if (!good)
        return;
    m->left -= amount;
    model_move(w, m->to, m->from, amount, false);
}

static void step_freeze(struct world *w)
{
    struct say why = {""};
    int n = random_below(w, ACCOUNTS);
    w->frozen[n] = !w->frozen[n] && random_below(w, 3) == 0;
    lab_ok(ledger_account_freeze(books(w), w->accounts[n].number, w->frozen[n], &why), &why);
}

static void in_order(struct world *w)
{
    struct say why = {""};
    struct audit_result r;
    struct ledger_account a;
    const struct audit_options o = {0};
    for (int i = 0; i < ACCOUNTS; i++) {
        lab_ok(ledger_account_get(books(w), w->accounts[i].number, &a, &why), &why);
        assert_int_equal(a.balance, w->balance[i]);
    }
    lab_ok(audit_run(w->lab->bank, &o, &r, &why),
           &why); /* held is what open holds make, sums are 0 */
}

static void test_random(void **state)
{
    static void (*const steps[])(struct world *) = {
        step_orders,  step_orders, step_orders, step_place,   step_place, step_capture,
        step_capture, step_void,   step_time,   step_reverse, step_freeze};
    struct say why = {""};
    const char *seed = getenv("CARDWIRE_SEED");
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->lab = *state;
    w->seed = seed != NULL ? strtoull(seed, NULL, 10) : (unsigned long long)time(NULL);
    print_message("CARDWIRE_SEED=%llu\n", w->seed);
    w->cards[0] = lab_card_new(w->lab, w->lab->ada, 1, false);
    w->cards[1] = lab_card_new(w->lab, w->lab->bob, 2, false);
    for (int i = 0; i < ACCOUNTS; i++) {
        w->balance[i] = 10000;
        lab_ok(ledger_account_open(books(w), i % 2 == 0 ? w->lab->ada : w->lab->bob, "EUR", 10000,
                                   &w->accounts[i], &why),
               &why);
    }
    for (int i = 0; i < STEPS; i++)
        steps[random_below(w, (int)(sizeof steps / sizeof *steps))](w);
    in_order(w);
    lab_card_free(&w->cards[0]);
    lab_card_free(&w->cards[1]);
    free(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random, lab_setup, lab_teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
