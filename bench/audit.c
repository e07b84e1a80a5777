/* audit.c - what an audit of the books costs: payments a second, beside what the same processor
 * verifies of the cards' signatures alone, and the memory that it takes. Makes a bank in a
 * temporary folder (TMPDIR) with a card in software that pays so many times, one after the other,
 * through the ledger as the server does.
 *
 * Fails when the memory is beyond the budget, so that it can stand in a test. */
#include "bank/audit.h"
#include "bench/books.h"
#include "host/clock.h"
#include "receipt/signature.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RSS_MAX_KB (256L * 1024)
#define VERIFIES   2000

struct scene {
    struct books books;
    struct books_order last; /* for the bound */
};

static enum cw_err pay(struct scene *s, uint32_t n, struct say *why)
{
    enum ledger_verdict verdict;
    const struct books *b = &s->books;
    enum cw_err err = books_order_make(b, n, &b->from, &b->to, &s->last, why);
    if (err == CW_OK)
        err = books_order_sign(b, &s->last, why);
    if (err == CW_OK)
        err =
            ledger_payment_book(b->bank->ledger, &s->last.order, books_reply, NULL, &verdict, why);
    return err == CW_OK && verdict != LEDGER_BOOKED
               ? say_fail(why, CW_ERR_STATE, "payment %u was refused (%d)", n, verdict)
               : err;
}

static double seconds_since(uint64_t begun)
{
    return (double)(clock_ns() - begun) / 1e9;
}

/* Signatures a second that this processor verifies, and does nothing else. */
static double bound(const struct scene *s)
{
    uint64_t begun = clock_ns();
    for (int i = 0; i < VERIFIES; i++)
        if (!signature_good(s->books.key, s->last.text, s->last.order.text_len, s->last.signature,
                            s->last.order.signature_len))
            return 0;
    return VERIFIES / seconds_since(begun);
}

/* In a process of its own, whose memory is the audit's. The value is its exit code. */
static int audit_alone(const struct scene *s, long payments)
{
    struct bank *bank = NULL;
    struct audit_result r = {0};
    struct say why = {""};
    const struct audit_options options = {0};
    enum cw_err err = bank_open(s->books.bank_dir, &ledger_clock_system, &bank, &why);
    if (err == CW_OK)
        err = audit_run(bank, &options, &r, &why);
    bank_free(&bank);
    if (err == CW_OK && r.payments != payments)
        err = say_fail(&why, CW_ERR_STATE, "it saw %lld payments", (long long)r.payments);
    if (err != CW_OK)
        fprintf(stderr, "audit: %s\n", why.text);
    return err == CW_OK ? 0 : 1;
}

static enum cw_err measure(struct scene *s, long payments, bool json, bool *good, struct say *why)
{
    struct rusage use;
    int status = 1;
    double verify = bound(s);
    fflush(NULL);
    uint64_t begun = clock_ns();
    pid_t child = fork();
    if (child == 0)
        _exit(audit_alone(s, payments));
    if (child < 0 || wait4(child, &status, 0, &use) != child || status != 0)
        return say_fail(why, CW_ERR_STATE, "the audit failed");
    double took = seconds_since(begun);
    printf(
        json ? "{\"payments\":%ld,\"seconds\":%.2f,\"per_s\":%.0f,\"verify_per_s\":%.0f,"
               "\"ratio\":%.2f,\"rss_kb\":%ld}\n"
             : "%ld payments in %.2f s: %.0f/s, of %.0f/s that one core verifies (%.2f); %ld KB\n",
        payments, took, (double)payments / took, verify,
        verify > 0 ? (double)payments / took / verify : 0, use.ru_maxrss);
    *good = use.ru_maxrss <= RSS_MAX_KB;
    return CW_OK;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct scene s = {0};
    struct say why = {""};
    bool json = false, good = true;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'j') {
            fprintf(c == 'h' ? stdout : stderr,
                    "Usage: audit [--json] [PAYMENTS]\nMakes books of so many payments (10000) and "
                    "audits them. Exit 1 above 256 MB.\n");
            return c == 'h' ? 0 : 2;
        }
        json = true;
    }
    long payments = optind < argc ? strtol(argv[optind], NULL, 10) : 10000;
    if (payments < 1 || payments > 100000000) {
        fputs("audit: PAYMENTS is a number from 1 to 100000000\n", stderr);
        return 2;
    }
    enum cw_err err = books_make(&s.books, NULL, false, &why);
    for (long n = 1; n <= payments && err == CW_OK; n++)
        err = pay(&s, (uint32_t)n, &why);
    if (err == CW_OK)
        err = measure(&s, payments, json, &good, &why);
    books_strike(&s.books);
    if (err != CW_OK)
        fprintf(stderr, "audit: %s\n", why.text);
    return err == CW_OK && good ? 0 : 1;
}
