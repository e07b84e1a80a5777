/* retry.c - clients that pay without a pause, and lose nothing by giving up: each books batches of
 * signed orders, comes again with the same orders while the books are gone or do not know, and
 * writes the number of an order, a line, when it was told that it is booked, and not before. For
 * tests that kill the database. Not a measurement.
 *
 *     retry --store ADDRESS [--clients N] [--batch N]
 *
 * The first line is the folder of the bank, which stays; the end of standard input is the end. */
#include "bench/books.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX      16
#define ORDERS_OF_CLIENT 100000000u

struct job {
    struct books books;
    struct books_order *orders;
    const char *store;
    size_t clients, batch;
};

static volatile sig_atomic_t stopping;

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static void a_moment(void)
{
    const struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
}

/* Orders [first, first + batch) of the card. */
static enum cw_err sign_batch(struct job *j, uint32_t first, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < j->batch && err == CW_OK; i++) {
        err = books_order_make(&j->books, first + (uint32_t)i, &j->books.from, &j->books.to,
                               &j->orders[i], why);
        if (err == CW_OK)
            err = books_order_sign(&j->books, &j->orders[i], why);
    }
    return err;
}

/* In one write, so that clients do not write into each other's lines. */
static enum cw_err acknowledge(const uint32_t *numbers, size_t count, struct say *why)
{
    char text[16 * LEDGER_BATCH_MAX];
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%u\n", numbers[i]);
    return write(STDOUT_FILENO, text, len) == (ssize_t)len
               ? CW_OK
               : say_fail(why, CW_ERR_IO, "cannot write");
}

/* Once more those that are left: `left` and *count become those of which nothing is known. */
static enum cw_err book_left(struct job *j, const struct books_order **left, size_t *count,
                             struct say *why)
{
    struct ledger_request requests[LEDGER_BATCH_MAX];
    uint32_t booked[LEDGER_BATCH_MAX];
    size_t kept = 0, known = 0;
    for (size_t i = 0; i < *count; i++)
        requests[i] = (struct ledger_request){.order = &left[i]->order};
    if (ledger_payments_book(j->books.bank->ledger, requests, *count, books_reply, why) != CW_OK) {
        fprintf(stderr, "retry: %s\n", why->text);
        return CW_OK; /* nothing was booked */
    }
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < *count; i++) {
        if (requests[i].verdict == LEDGER_UNKNOWN)
            left[kept++] = left[i];
        else if (requests[i].verdict == LEDGER_BOOKED || requests[i].verdict == LEDGER_REPEATED)
            booked[known++] = left[i]->order.seal.counter;
        else
            err = say_fail(why, CW_ERR_STATE, "an order was refused (%d)", requests[i].verdict);
        free(requests[i].reply);
    }
    *count = kept;
    return err == CW_OK ? acknowledge(booked, known, why) : err;
}

static enum cw_err pay_on(struct job *j, uint32_t next, struct say *why)
{
    enum cw_err err = CW_OK;
    for (; err == CW_OK && !stopping; next += (uint32_t)j->batch) {
        const struct books_order *left[LEDGER_BATCH_MAX];
        size_t count = j->batch;
        err = sign_batch(j, next, why);
        for (size_t i = 0; i < count; i++)
            left[i] = &j->orders[i];
        while (err == CW_OK && count > 0 && !stopping) {
            size_t before = count;
            err = book_left(j, left, &count, why);
            if (count == before)
                a_moment();
        }
    }
    return err;
}

/* A process of its own, with a connection of its own. */
static int client(struct job *j, uint32_t number)
{
    struct say why = {""};
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTERM, on_stop);
    enum cw_err err = bank_open(j->books.bank_dir, &ledger_clock_system, &j->books.bank, &why);
    if (err == CW_OK)
        err = pay_on(j, 1 + number * ORDERS_OF_CLIENT, &why);
    if (err != CW_OK)
        fprintf(stderr, "retry: %s\n", why.text);
    bank_free(&j->books.bank);
    return err == CW_OK ? 0 : 1;
}

static int run_clients(struct job *j)
{
    pid_t pids[CLIENTS_MAX];
    char byte;
    int bad = 0;
    for (size_t i = 0; i < j->clients; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(client(j, (uint32_t)i));
        bad |= pids[i] < 0;
    }
    while (!bad && read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (size_t i = 0; i < j->clients; i++) {
        int status = 0;
        if (pids[i] < 0)
            continue;
        kill(pids[i], SIGTERM);
        bad |= waitpid(pids[i], &status, 0) != pids[i] || status != 0;
    }
    return bad;
}

static bool read_arguments(int argc, char **argv, struct job *j)
{
    static const struct option options[] = {
        {"store", required_argument, NULL, 's'},
        {"clients", required_argument, NULL, 'c'},
        {"batch", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            j->store = optarg;
        else if (c == 'c')
            j->clients = strtoul(optarg, NULL, 10);
        else if (c == 'b')
            j->batch = strtoul(optarg, NULL, 10);
        else
            return false;
    }
    return j->store != NULL && optind == argc && j->clients >= 1 && j->clients <= CLIENTS_MAX &&
           j->batch >= 1 && j->batch <= LEDGER_BATCH_MAX;
}

int main(int argc, char **argv)
{
    struct job j = {.clients = 2, .batch = 16};
    struct say why = {""};
    int bad = 1;
    if (!read_arguments(argc, argv, &j)) {
        fprintf(stderr, "usage: retry --store ADDRESS [--clients N] [--batch N]\n");
        return 2;
    }
    j.orders = calloc(j.batch, sizeof *j.orders);
    enum cw_err err = j.orders == NULL ? say_fail(&why, CW_ERR_SPACE, "out of memory")
                                       : books_make(&j.books, j.store, false, &why);
    bank_free(&j.books.bank); /* no connection is shared over a fork */
    if (err == CW_OK) {
        printf("%s\n", j.books.bank_dir);
        fflush(stdout);
        bad = run_clients(&j);
    } else {
        fprintf(stderr, "retry: %s\n", why.text);
    }
    EVP_PKEY_free(j.books.key);
    free(j.orders);
    return bad;
}
