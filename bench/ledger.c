/* ledger.c - transfers a second: the ledger's own booking beside a bare loop of SQL that writes the
 * identical rows (SQLite), or alone for a while on PostgreSQL, where bench/ledger has pgbench run
 * the same payment as a stored function. Orders are made before the clock runs; their signatures
 * are random bytes, which the ledger keeps and does not look into. */
#include "bank/ledger_db.h"
#include "bench/books.h"
#include "bench/folder.h"
#include "host/clock.h"

#include <getopt.h>
#include <openssl/rand.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS_AT_ONCE 4096u /* made before the clock runs */
#define SLICES         6

struct bench {
    struct books books;
    sqlite3 *peer; /* the same books once more, in the hands of bare SQL */
    long accounts, batch, clients, seconds;
    const char *store;
    bool json;
    uint32_t next; /* order */
    struct books_order *orders;
};

/* ---- accounts ---- */

static void number_of(long n, char out[ACCOUNT_NUMBER_LEN + 1])
{
    snprintf(out, ACCOUNT_NUMBER_LEN + 1, "ZZ000000%08u", (unsigned)n % 100000000u);
}

static enum cw_err make_accounts(struct bench *b, struct say *why)
{
    struct db_stmt *st;
    struct ledger *l = b->books.bank->ledger;
    const char *sql = b->store == NULL
                          ? "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                            "WHERE i < ?1) INSERT INTO account (id, number, customer, currency, "
                            "balance, since) SELECT 1000 + i, printf ('ZZ%014d', i), ?2, 'EUR', "
                            "1000000000, 0 FROM n"
                          : "INSERT INTO account (id, number, customer, currency, balance, since) "
                            "SELECT 1000 + i, 'ZZ' || lpad(i::text, 14, '0'), ?2, 'EUR', "
                            "1000000000, 0 FROM generate_series(1, ?1) AS i";
    enum cw_err err = db_prepare(l, &st, why, sql, "ii", (int64_t)b->accounts, b->books.customer);
    err = db_run(l, err, st, why);
    return err == CW_OK && b->store != NULL ? db_exec(l, "ANALYZE", why) : err;
}

static enum cw_err make_orders(struct bench *b, size_t count, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        uint64_t dice[2];
        struct books_order *o = &b->orders[i];
        struct ledger_account from = {0}, to = {.name = "Ada"};
        if (RAND_bytes((unsigned char *)dice, sizeof dice) != 1)
            return say_fail(why, CW_ERR_CRYPTO, "no random numbers");
        long a = (long)(dice[0] % (uint64_t)b->accounts);
        long c = (a + 1 + (long)(dice[1] % (uint64_t)(b->accounts - 1))) % b->accounts;
        number_of(a + 1, from.number);
        number_of(c + 1, to.number);
        err = books_order_make(&b->books, b->next++, &from, &to, o, why);
        if (RAND_bytes(o->order.fields.id, ORDER_ID_LEN) != 1 ||
            RAND_bytes(o->order.request, sizeof o->order.request) != 1 ||
            RAND_bytes(o->signature, 71) != 1)
            return say_fail(why, CW_ERR_CRYPTO, "no random numbers");
        o->order.signature_len = 71;
    }
    return err;
}

/* ---- ours ---- */

static enum cw_err book(struct bench *b, size_t first, size_t count, struct say *why)
{
    struct ledger_request requests[LEDGER_BATCH_MAX];
    for (size_t i = 0; i < count; i++)
        requests[i] = (struct ledger_request){.order = &b->orders[first + i].order};
    enum cw_err err =
        ledger_payments_book(b->books.bank->ledger, requests, count, books_reply, why);
    for (size_t i = 0; i < count; i++) {
        if (err == CW_OK && requests[i].verdict != LEDGER_BOOKED)
            err = say_fail(why, CW_ERR_STATE, "an order was refused (%d)", requests[i].verdict);
        free(requests[i].reply);
    }
    return err;
}

/* ---- bare SQL ---- */

enum { BEGIN, FROM, TO, JOURNAL, POSTING, PAYMENT, CHAIN, COMMIT, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    "BEGIN IMMEDIATE",
    "UPDATE account SET balance = balance - ? WHERE number = ? RETURNING id, balance",
    "UPDATE account SET balance = balance + ? WHERE number = ? RETURNING id, balance",
    "INSERT INTO journal (id, time, kind, reference) VALUES (?, ?, 'payment', ?)",
    "INSERT INTO posting (journal, line, account, amount, balance) VALUES (?, ?, ?, ?, ?)",
    "INSERT INTO payment (journal, order_id, request, customer, card, counter, certificate, "
    "text, signature, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "INSERT INTO chain (journal, salt, hash) VALUES (?, ?, ?)",
    "COMMIT",
};

static bool step_done(sqlite3_stmt *st)
{
    bool good = sqlite3_step(st) == SQLITE_DONE;
    return sqlite3_reset(st) == SQLITE_OK && good;
}

static bool move(sqlite3_stmt *st, int64_t amount, const char *number, int64_t *id, int64_t *after)
{
    sqlite3_bind_int64(st, 1, amount);
    sqlite3_bind_text(st, 2, number, -1, SQLITE_STATIC);
    bool good = sqlite3_step(st) == SQLITE_ROW;
    *id = sqlite3_column_int64(st, 0);
    *after = sqlite3_column_int64(st, 1);
    return sqlite3_reset(st) == SQLITE_OK && good;
}

static bool leg(sqlite3_stmt *st, int64_t journal, int line, int64_t account, int64_t amount,
                int64_t after)
{
    sqlite3_bind_int64(st, 1, journal);
    sqlite3_bind_int64(st, 2, line);
    sqlite3_bind_int64(st, 3, account);
    sqlite3_bind_int64(st, 4, amount);
    sqlite3_bind_int64(st, 5, after);
    return step_done(st);
}

static void bind_bytes(sqlite3_stmt *st, int n, const void *data, size_t len)
{
    sqlite3_bind_blob64(st, n, data, len, SQLITE_STATIC);
}

static bool write_one(struct bench *b, sqlite3_stmt *st[STATEMENTS], const struct ledger_order *o,
                      int64_t journal)
{
    int64_t from = 0, to = 0, before = 0, after = 0;
    char reply[120];
    const struct ledger_booking booked = {.id = journal, .balance = 0};
    bool good = move(st[FROM], o->fields.amount, o->fields.payer, &from, &before) &&
                move(st[TO], o->fields.amount, o->fields.payee, &to, &after);
    snprintf(reply, sizeof reply, "{\"payment\":{\"id\":%lld},\"balance\":%lld}",
             (long long)booked.id, (long long)before);
    sqlite3_bind_int64(st[JOURNAL], 1, journal);
    sqlite3_bind_int64(st[JOURNAL], 2, 1);
    sqlite3_bind_text(st[JOURNAL], 3, o->fields.reference, -1, SQLITE_STATIC);
    good = good && step_done(st[JOURNAL]) &&
           leg(st[POSTING], journal, 0, from, -o->fields.amount, before) &&
           leg(st[POSTING], journal, 1, to, o->fields.amount, after);
    sqlite3_bind_int64(st[PAYMENT], 1, journal);
    bind_bytes(st[PAYMENT], 2, o->fields.id, sizeof o->fields.id);
    bind_bytes(st[PAYMENT], 3, o->request, sizeof o->request);
    sqlite3_bind_int64(st[PAYMENT], 4, b->books.customer);
    bind_bytes(st[PAYMENT], 5, o->seal.serial, sizeof o->seal.serial);
    sqlite3_bind_int64(st[PAYMENT], 6, (int64_t)o->seal.counter);
    bind_bytes(st[PAYMENT], 7, o->certificate, sizeof o->certificate);
    bind_bytes(st[PAYMENT], 8, o->text, o->text_len);
    bind_bytes(st[PAYMENT], 9, o->signature, o->signature_len);
    sqlite3_bind_text(st[PAYMENT], 10, reply, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st[CHAIN], 1, journal);
    bind_bytes(st[CHAIN], 2, o->request, LEDGER_SALT_LEN);
    bind_bytes(st[CHAIN], 3, o->request, LEDGER_HASH_LEN);
    return good && step_done(st[PAYMENT]) && step_done(st[CHAIN]);
}

static enum cw_err write_bare(struct bench *b, sqlite3_stmt *st[STATEMENTS], size_t first,
                              size_t count, int64_t *journal, struct say *why)
{
    bool good = step_done(st[BEGIN]);
    for (size_t i = 0; i < count && good; i++)
        good = write_one(b, st, &b->orders[first + i].order, ++*journal);
    if (!good || !step_done(st[COMMIT]))
        return say_fail(why, CW_ERR_IO, "bare SQL failed: %s", sqlite3_errmsg(b->peer));
    return CW_OK;
}

/* ---- side by side ---- */

struct clocked {
    uint64_t ns;
    size_t count;
};

static double rate(const struct clocked *c)
{
    return (double)c->count * 1e9 / (double)c->ns;
}

static enum cw_err run_ours(struct bench *b, size_t count, struct clocked *c, struct say *why)
{
    enum cw_err err = CW_OK;
    uint64_t begun = clock_ns();
    for (size_t i = 0; i < count && err == CW_OK; i += (size_t)b->batch)
        err = book(b, i, (size_t)b->batch, why);
    c->ns += clock_ns() - begun;
    c->count += count;
    return err;
}

static enum cw_err run_peer(struct bench *b, sqlite3_stmt *st[STATEMENTS], int64_t *journal,
                            size_t count, struct clocked *c, struct say *why)
{
    enum cw_err err = CW_OK;
    uint64_t begun = clock_ns();
    for (size_t i = 0; i < count && err == CW_OK; i += (size_t)b->batch)
        err = write_bare(b, st, i, (size_t)b->batch, journal, why);
    c->ns += clock_ns() - begun;
    c->count += count;
    return err;
}

/* The same orders by both; who goes first takes turns. */
static enum cw_err slice(struct bench *b, sqlite3_stmt *st[STATEMENTS], int64_t *journal,
                         size_t count, bool ours_first, struct clocked *ours, struct clocked *peer,
                         struct say *why)
{
    enum cw_err err = make_orders(b, count, why);
    if (err == CW_OK && ours_first)
        err = run_ours(b, count, ours, why);
    if (err == CW_OK)
        err = run_peer(b, st, journal, count, peer, why);
    if (err == CW_OK && !ours_first)
        err = run_ours(b, count, ours, why);
    return err;
}

static void print(const struct bench *b, const char *store, double ours, double peer)
{
    printf(b->json ? "{\"store\":\"%s\",\"batch\":%ld,\"accounts\":%ld,\"clients\":%ld,"
                     "\"ours\":%.0f,\"peer\":%.0f,\"ratio\":%.3f}\n"
                   : "%-10s batch %3ld, %7ld accounts, %ld client: %7.0f/s, bare SQL %7.0f/s, "
                     "ratio %.2f\n",
           store, b->batch, b->accounts, b->clients, ours, peer, peer > 0 ? ours / peer : 0);
    fflush(stdout);
}

static enum cw_err compare(struct bench *b, struct say *why)
{
    sqlite3_stmt *st[STATEMENTS] = {NULL};
    struct clocked ours = {0}, peer = {0}, warm = {0};
    struct db_count last = {"SELECT max(id) FROM journal", &(int64_t){0}};
    enum cw_err err = db_counts(b->books.bank->ledger, &last, 1, why);
    int64_t journal = *last.to;
    for (int i = 0; i < STATEMENTS && err == CW_OK; i++)
        if (sqlite3_prepare_v2(b->peer, texts[i], -1, &st[i], NULL) != SQLITE_OK)
            err = say_fail(why, CW_ERR_IO, "%s", sqlite3_errmsg(b->peer));
    size_t count = b->batch == 1 ? 128 : b->batch == 16 ? 1024 : ORDERS_AT_ONCE;
    if (err == CW_OK)
        err = slice(b, st, &journal, (size_t)b->batch * 2, true, &warm, &warm, why);
    for (int i = 0; i < SLICES && err == CW_OK; i++)
        err = slice(b, st, &journal, count, i % 2 == 0, &ours, &peer, why);
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(st[i]);
    if (err == CW_OK)
        print(b, "sqlite", rate(&ours), rate(&peer));
    return err;
}

static enum cw_err open_peer(struct bench *b, struct say *why)
{
    char path[300];
    snprintf(path, sizeof path, "%s/peer.db", b->books.dir);
    enum cw_err err = ledger_copy(b->books.bank->ledger, path, why);
    if (err == CW_OK && (sqlite3_open(path, &b->peer) != SQLITE_OK ||
                         sqlite3_exec(b->peer,
                                      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                      "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
                                      NULL, NULL, NULL) != SQLITE_OK))
        err = say_fail(why, CW_ERR_IO, "%s", sqlite3_errmsg(b->peer));
    return err;
}

static enum cw_err run_sqlite(struct bench *b, struct say *why)
{
    static const long batches[] = {1, 16, 256};
    enum cw_err err = books_make(&b->books, NULL, false, why);
    if (err == CW_OK)
        err = make_accounts(b, why);
    if (err == CW_OK)
        err = open_peer(b, why);
    for (size_t i = 0; i < sizeof batches / sizeof *batches && err == CW_OK; i++) {
        b->batch = batches[i];
        err = compare(b, why);
    }
    sqlite3_close(b->peer);
    books_strike(&b->books);
    return err;
}

/* ---- PostgreSQL ---- */

/* One client, for so many seconds; how many it booked goes to `out`. */
static int client(struct bench *b, int out)
{
    struct say why = {""};
    uint64_t done = 0, busy = 0;
    bank_free(&b->books.bank); /* its connection is the parent's */
    enum cw_err err = bank_open(b->books.bank_dir, &ledger_clock_system, &b->books.bank, &why);
    while (err == CW_OK && busy < (uint64_t)b->seconds * 1000000000u) {
        err = make_orders(b, LEDGER_BATCH_MAX, &why);
        uint64_t begun = clock_ns();
        for (size_t i = 0; i + (size_t)b->batch <= LEDGER_BATCH_MAX && err == CW_OK;
             i += (size_t)b->batch) {
            err = book(b, i, (size_t)b->batch, &why);
            done += (uint64_t)b->batch;
        }
        busy += clock_ns() - begun;
    }
    if (err != CW_OK)
        fprintf(stderr, "ledger: %s\n", why.text);
    return err == CW_OK && write(out, &done, sizeof done) == (ssize_t)sizeof done ? 0 : 1;
}

static enum cw_err run_clients(struct bench *b, struct say *why)
{
    int pipes[2], status = 0;
    uint64_t done = 0, all = 0;
    bool good = pipe(pipes) == 0;
    fflush(NULL);
    uint64_t begun = clock_ns();
    for (long i = 0; i < b->clients && good; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(client(b, pipes[1]));
        b->next += 1u << 20; /* counters that no other client has */
        good = pid > 0;
    }
    while (wait(&status) > 0)
        good = good && status == 0;
    double took = (double)(clock_ns() - begun) / 1e9;
    for (long i = 0; i < b->clients && good; i++) {
        good = read(pipes[0], &done, sizeof done) == (ssize_t)sizeof done;
        all += done;
    }
    if (!good)
        return say_fail(why, CW_ERR_IO, "a client failed");
    printf("%.1f\n", (double)all / took);
    return CW_OK;
}

static enum cw_err run_pg(struct bench *b, struct say *why)
{
    enum cw_err err = books_make(&b->books, b->store, false, why);
    if (err == CW_OK)
        err = make_accounts(b, why);
    /* One line for bench/ledger when it is ready; each line that it sends is "CLIENTS BATCH". */
    char line[64];
    printf("ready\n");
    fflush(stdout);
    while (err == CW_OK && fgets(line, sizeof line, stdin) != NULL &&
           sscanf(line, "%ld %ld", &b->clients, &b->batch) == 2) {
        err = run_clients(b, why);
        fflush(stdout);
    }
    books_strike(&b->books);
    return err;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},        {"accounts", required_argument, NULL, 'a'},
        {"store", required_argument, NULL, 's'}, {"seconds", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},        {0}};
    struct say why = {""};
    struct bench b = {.accounts = 1000, .clients = 1, .seconds = 4, .next = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'j')
            b.json = true;
        else if (c == 'a')
            b.accounts = strtol(optarg, NULL, 10);
        else if (c == 't')
            b.seconds = strtol(optarg, NULL, 10);
        else if (c == 's')
            b.store = optarg;
        else {
            fputs("Usage: ledger [--json] [--accounts N] [--store ADDRESS [--seconds N]]\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (b.accounts < 2 || b.accounts > 100000000 || b.seconds < 1) {
        fputs("ledger: --accounts is a number from 2 to 100000000, --seconds from 1\n", stderr);
        return 2;
    }
    b.orders = calloc(ORDERS_AT_ONCE, sizeof *b.orders);
    enum cw_err err = b.orders == NULL  ? say_fail(&why, CW_ERR_SPACE, "out of memory")
                      : b.store != NULL ? run_pg(&b, &why)
                                        : run_sqlite(&b, &why);
    free(b.orders);
    if (err != CW_OK)
        fprintf(stderr, "ledger: %s\n", why.text);
    return err == CW_OK ? 0 : 1;
}
