/* test_bank_cut.c - the program that issues a card is killed at every write that it makes, to the
 * card's memory, the ledger and the mailer in turn: the same command then issues the card (with
 * --give-keys-again, when it was killed while it gave the keys), and card and ledger are at one.
 * The real card, in the process that is killed. */
#include "tests/unit/bank_lab.h"

#include "bank/desk.h"
#include "bank/issue.h"
#include "bank/issuer_keys.h"
#include "bank/manage.h"
#include "bank/replace.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct fixture {
    struct bank_lab *lab;
    char reader[600];
    bool piv;
    bool again;                       /* --give-keys-again */
    struct lab_card *old;             /* NULL, or the card that is replaced */
    uint8_t serial[ORDER_SERIAL_LEN]; /* of the card that is renewed */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->lab = lab_new();
    bank_free(&f->lab->bank); /* each process opens its own */
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

static enum cw_err issue(struct fixture *f, struct issue_result *out, struct say *why)
{
    struct bank *bank = NULL;
    struct issue_options o = {
        .customer = f->lab->ada, .reader = f->reader, .p256 = true, .days = 30, .time = -1};
    o.piv = f->piv;
    o.give_keys_again = f->again;
    terms_default(&o.policy);
    o.payees[0] = f->lab->payee.number;
    o.payee_count = 1;
    struct replace_terms terms;
    enum cw_err err = bank_open(f->lab->dir, &ledger_clock_system, &bank, why);
    if (err == CW_OK && f->old != NULL)
        err = replace_prepare(bank, f->old->serial, &terms, &o, why);
    if (err == CW_OK)
        err = issue_card(bank, &o, out, why);
    bank_free(&bank);
    return err;
}

static enum cw_err renew(struct fixture *f, struct say *why)
{
    struct bank *bank = NULL;
    struct manage_result result;
    enum cw_err err = bank_open(f->lab->dir, &ledger_clock_system, &bank, why);
    if (err == CW_OK)
        err = manage_renew(bank, f->reader, f->serial, 60, &result, why);
    bank_free(&bank);
    return err;
}

static enum cw_err issue_only(struct fixture *f, struct say *why)
{
    struct issue_result result;
    return issue(f, &result, why);
}

/* What changes something that outlives the process. */
static bool writes(uint64_t number)
{
    return number == SYS_pwrite64 || number == SYS_write || number == SYS_fsync ||
           number == SYS_fdatasync || number == SYS_ftruncate
#ifdef SYS_unlink
           || number == SYS_unlink || number == SYS_rename || number == SYS_link
#endif
           || number == SYS_linkat || number == SYS_unlinkat || number == SYS_renameat;
}

/* Runs it in a process of its own, and kills that before its `count`th write; false when it makes
 * fewer. */
static bool killed(struct fixture *f, enum cw_err (*act)(struct fixture *f, struct say *why),
                   unsigned count)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct say why = {""};
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
            _exit(99);
        _exit(act(f, &why) == CW_OK ? 0 : 98);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status)); /* otherwise tracing is not permitted here */
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
    for (;;) {
        struct __ptrace_syscall_info info = {.op = 0};
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
        assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80));
        assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0);
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !writes(info.entry.nr) || --count > 0)
            continue;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        return true;
    }
}

/* The PIN of the mailer opens the card. */
static void assert_pin(struct fixture *f, const struct issue_result *issued)
{
    struct say why = {""};
    struct reader *r = NULL;
    char pin[16];
    FILE *file = fopen(issued->mailer, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "card %*s PIN %15s", pin), 1);
    fclose(file);
    lab_ok(reader_open(f->reader, &r, &why), &why);
    lab_ok(applet_select(r, &why), &why);
    lab_ok(applet_verify(r, LINK_PIN_LINE, (const uint8_t *)pin, strlen(pin), NULL, &why), &why);
    reader_free(&r);
}

/* Card and ledger hold the same certificates, policy and payees. */
static void assert_at_one(struct fixture *f, const struct issue_result *issued)
{
    struct say why = {""};
    struct bank *bank = NULL;
    struct desk *d = NULL;
    struct ledger_management m;
    struct policy policy;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    uint8_t value[1024];
    size_t count = 0, len = 0;
    assert_non_null(certs);
    lab_ok(bank_open(f->lab->dir, &ledger_clock_system, &bank, &why), &why);
    lab_ok(desk_open(bank, f->reader, &d, &why), &why);
    assert_int_equal(d->info.life, LINK_LIFE_ACTIVE);
    lab_ok(desk_channel_open(d, &why), &why);
    for (int kind = LEDGER_CERT_TLS; kind <= LEDGER_CERT_ORDER; kind++) {
        lab_ok(ledger_certificates_get(bank->ledger, issued->serial, (enum ledger_cert_kind)kind,
                                       certs, &count, &why),
               &why);
        assert_int_equal(count, 1);
        lab_ok(desk_object_get(d, (uint16_t)(LINK_DO_CERT | certs->slot), value, sizeof value, &len,
                               &why),
               &why);
        assert_int_equal(len, certs->der_len);
        assert_memory_equal(value, certs->der, len);
    }
    lab_ok(ledger_management_get(bank->ledger, issued->serial, &m, &why), &why);
    lab_ok(desk_object_get(d, LINK_DO_POLICY, value, sizeof value, &len, &why), &why);
    assert_int_equal(policy_decode(value, len, &policy), CW_OK);
    assert_memory_equal(&policy, &m.policy, sizeof policy);
    lab_ok(desk_object_get(d, LINK_DO_PAYEES, value, sizeof value, &len, &why), &why);
    assert_non_null(memmem(value, len, f->lab->payee.number, strlen(f->lab->payee.number)));
    bool held = false;
    lab_ok(piv_is_held(d, &held, &why), &why);
    assert_true(held == f->piv);
    desk_free(&d);
    bank_free(&bank);
    free(certs);
}

/* Whether card and ledger both say that it is active. */
static bool is_issued(struct fixture *f)
{
    struct say why = {""};
    struct bank *bank = NULL;
    struct desk *d = NULL;
    struct ledger_card card;
    lab_ok(bank_open(f->lab->dir, &ledger_clock_system, &bank, &why), &why);
    lab_ok(desk_open(bank, f->reader, &d, &why), &why);
    lab_ok(ledger_card_get(bank->ledger, d->info.serial, &card, &why), &why);
    bool both = d->info.life == LINK_LIFE_ACTIVE && card.status == LEDGER_CARD_ACTIVE;
    desk_free(&d);
    bank_free(&bank);
    return both;
}

/* The next card to be replaced, with one payee. */
static void make_old(struct fixture *f)
{
    static uint8_t first;
    struct say why = {""};
    struct policy_payee payee;
    const struct ledger_clock clock = {lab_now, f->lab};
    memcpy(payee.account, f->lab->payee.number, sizeof payee.account);
    memcpy(payee.name, f->lab->payee.name, sizeof payee.name);
    lab_card_free(&f->old);
    lab_ok(bank_open(f->lab->dir, &clock, &f->lab->bank, &why), &why);
    f->old = lab_card_new(f->lab, f->lab->ada, ++first, false);
    lab_ok(ledger_payee_add(f->lab->bank->ledger, f->old->serial, &payee, "by phone", &why), &why);
    bank_free(&f->lab->bank);
}

/* The old card is good until the new one is, and no longer. */
static void assert_one_is_good(struct fixture *f)
{
    struct say why = {""};
    struct bank *bank = NULL;
    struct desk *d = NULL;
    struct ledger_card old, card = {.status = LEDGER_CARD_ISSUING};
    lab_ok(bank_open(f->lab->dir, &ledger_clock_system, &bank, &why), &why);
    lab_ok(ledger_card_get(bank->ledger, f->old->serial, &old, &why), &why);
    if (desk_open(bank, f->reader, &d, &why) == CW_OK)
        (void)!ledger_card_get(bank->ledger, d->info.serial, &card, &why);
    assert_int_equal(old.status, card.status == LEDGER_CARD_ACTIVE ? LEDGER_CARD_TERMINATED
                                                                   : LEDGER_CARD_ACTIVE);
    desk_free(&d);
    bank_free(&bank);
}

/* A write is some 0.2 s of work on a slow machine: quick runs take every seventh. */
static unsigned step_of_run(void)
{
    return getenv("CARDWIRE_QUICK") != NULL && getenv("CARDWIRE_QUICK")[0] ? 7 : 1;
}

static void kill_at_writes(struct fixture *f, unsigned step)
{
    unsigned count = 1, cuts = 0, resumed = 0, again = 0;
    setenv("CARDWIRE_CARD_NOSYNC", "1", 1);
    for (;; count += step, cuts++) {
        struct say why = {""};
        struct issue_result result;
        char command[700];
        snprintf(f->reader, sizeof f->reader, "inproc:%s/card%u", f->lab->dir, count);
        if (f->old != NULL)
            make_old(f);
        if (!killed(f, issue_only, count))
            break;
        if (f->old != NULL)
            assert_one_is_good(f);
        enum cw_err err = issue(f, &result, &why);
        f->again = err == CW_ERR_STATE && strstr(why.text, "--give-keys-again") != NULL;
        if (f->again) { /* the ledger has its row, and the card no key yet */
            err = issue(f, &result, &why);
            again++;
            f->again = false;
        }
        if (err == CW_ERR_STATE && is_issued(f))
            break; /* what was cut was only the end of the program */
        if (err != CW_OK)
            fail_msg("cut before write %u: %s: %s", count, cw_err_name(err), why.text);
        assert_int_equal(result.status, LEDGER_CARD_ACTIVE);
        resumed += result.resumed;
        assert_at_one(f, &result);
        assert_pin(f, &result);
        snprintf(command, sizeof command, "rm -r '%s/card%u'", f->lab->dir, count);
        assert_int_equal(system(command), 0);
    }
    assert_true(cuts > 60 / step);
    assert_in_range(again, step == 1, 12); /* from that commit to the card's */
    assert_true(resumed >= (step == 1));   /* the last steps, after the card was complete */
}

static void test_killed_at_every_write(void **state)
{
    kill_at_writes(*state, step_of_run());
}

/* The same with a PIV application, which makes twice as many. */
static void test_killed_with_piv(void **state)
{
    struct fixture *f = *state;
    f->piv = true;
    kill_at_writes(f, 3 * step_of_run());
}

static void test_killed_while_a_card_is_replaced(void **state)
{
    struct fixture *f = *state;
    f->old = calloc(1, sizeof *f->old);
    kill_at_writes(f, 3 * step_of_run());
    lab_card_free(&f->old);
}

/* What the card holds is known to the bank at every moment, and good. */
static void assert_known(struct fixture *f)
{
    struct say why = {""};
    struct bank *bank = NULL;
    struct desk *d = NULL;
    struct ledger_certificate *cert = calloc(1, sizeof *cert);
    uint8_t value[1024], sha256[32];
    size_t len = 0;
    lab_ok(bank_open(f->lab->dir, &ledger_clock_system, &bank, &why), &why);
    lab_ok(desk_open(bank, f->reader, &d, &why), &why);
    lab_ok(desk_channel_open(d, &why), &why);
    for (unsigned slot = LINK_KEY_TLS_P256; slot <= LINK_KEY_ORDER_P256; slot += 2) {
        lab_ok(desk_object_get(d, (uint16_t)(LINK_DO_CERT | slot), value, sizeof value, &len, &why),
               &why);
        SHA256(value, len, sha256);
        lab_ok(ledger_certificate_find(bank->ledger, sha256, cert, &why), &why);
        assert_memory_equal(cert->card, f->serial, sizeof f->serial);
    }
    desk_free(&d);
    bank_free(&bank);
    free(cert);
}

static void test_killed_while_a_card_is_renewed(void **state)
{
    struct fixture *f = *state;
    struct say why = {""};
    struct issue_result issued;
    unsigned count = 1;
    setenv("CARDWIRE_CARD_NOSYNC", "1", 1);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
    lab_ok(issue(f, &issued, &why), &why);
    memcpy(f->serial, issued.serial, sizeof f->serial);
    for (; killed(f, renew, count); count += step_of_run()) {
        assert_known(f);
        lab_ok(renew(f, &why), &why);
        assert_at_one(f, &issued);
    }
    assert_true(count > 10);
}

/* In a bank of an older program the first issuance makes the issuer's keys: none is ever there in
 * part, and what a cut leaves is in nobody's way. */
static void test_killed_while_keys_are_made(void **state)
{
    struct fixture *f = *state;
    char issuer[BANK_PATH_MAX], update[BANK_PATH_MAX];
    struct say why = {""};
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_ISSUER, "", issuer, NULL), CW_OK);
    assert_int_equal(bank_path(f->lab->dir, BANK_FILE_UPDATE, ".key", update, NULL), CW_OK);
    snprintf(f->reader, sizeof f->reader, "inproc:%s/card", f->lab->dir);
    for (unsigned count = 1; count <= 12; count++) { /* of which each key takes five */
        struct bank *bank = NULL;
        struct issuer_master master;
        EVP_PKEY *key = NULL;
        assert_true(unlink(issuer) == 0 || errno == ENOENT);
        assert_true(unlink(update) == 0 || errno == ENOENT);
        assert_true(killed(f, issue_only, count));
        lab_ok(bank_open(f->lab->dir, &ledger_clock_system, &bank, &why), &why);
        if (access(issuer, F_OK) == 0)
            lab_ok(issuer_master_load(issuer, &master, &why), &why);
        lab_ok(bank_issuer_keys_make(bank, &why), &why);
        lab_ok(issuer_master_load(issuer, &master, &why), &why);
        lab_ok(bank_key_load(bank, BANK_FILE_UPDATE, &key, &why), &why);
        EVP_PKEY_free(key);
        bank_free(&bank);
    }
    struct issue_result result;
    lab_ok(issue(f, &result, &why), &why);
    assert_at_one(f, &result);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_at_every_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_with_piv, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_keys_are_made, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_a_card_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_while_a_card_is_renewed, setup, teardown),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
