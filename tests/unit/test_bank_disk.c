/* test_bank_disk.c - what an acknowledged payment is worth when the power is cut, and what is said
 * when a commit fails. Under SQLite lies a file system (a VFS shim) that knows what was synced. */
#include "tests/unit/bank_lab.h"

#include "bank/api.h"
#include "bank/ledger_db.h"
#include "bank/tls.h"
#include "host/base64.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>

#define PAYMENTS 5

static const uint8_t binding[ORDER_BINDING_LEN] = {0x42};

/* ---- a disk that loses what was not synced ---- */

/* Keeps, beside each file that was opened, what it was at its last xSync. */
struct disk_file {
    sqlite3_file base;
    bool wal;
    char path[512];
    sqlite3_file *real; /* behind this struct */
};

static struct {
    sqlite3_vfs vfs, *below;
    sqlite3_io_methods methods;
    size_t wal_syncs;
    bool fail_wal_sync;
} disk;

static sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct disk_file *)(void *)f)->real;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof command);
    assert_int_equal(system(command), 0);
}

/* Copies the file as it is now: this is what a power cut leaves of it. */
static void keep(const char *path)
{
    run("cp '%s' '%s.synced'", path, path);
}

static int disk_sync(sqlite3_file *f, int flags)
{
    struct disk_file *d = (struct disk_file *)(void *)f;
    if (d->wal && disk.fail_wal_sync)
        return SQLITE_IOERR_FSYNC;
    int rc = d->real->pMethods->xSync(d->real, flags);
    if (rc == SQLITE_OK && d->path[0] != '\0')
        keep(d->path);
    disk.wal_syncs += d->wal ? 1 : 0;
    return rc;
}

static int disk_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}

static int disk_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}
static int disk_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xWrite(real_of(f), from, n, at);
}
static int disk_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static int disk_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
static int disk_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int disk_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int disk_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static int disk_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int disk_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int disk_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int disk_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
static int disk_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}
static void disk_shm_barrier(sqlite3_file *f)
{
    real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int disk_shm_unmap(sqlite3_file *f, int remove)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    struct disk_file *d = (struct disk_file *)(void *)f;
    (void)vfs;
    memset(d, 0, sizeof *d);
    d->real = (sqlite3_file *)(void *)(d + 1);
    d->wal = (flags & SQLITE_OPEN_WAL) != 0;
    if (name != NULL && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB)) != 0)
        snprintf(d->path, sizeof d->path, "%s", name);
    int rc = disk.below->xOpen(disk.below, name, d->real, flags, out);
    if (d->real->pMethods != NULL)
        d->base.pMethods = &disk.methods;
    return rc;
}

static void disk_insert(void)
{
    disk.below = sqlite3_vfs_find(NULL);
    assert_non_null(disk.below);
    disk.vfs = *disk.below;
    disk.vfs.zName = "disk";
    disk.vfs.pNext = NULL;
    disk.vfs.szOsFile = (int)sizeof(struct disk_file) + disk.below->szOsFile;
    disk.vfs.xOpen = disk_open;
    disk.methods = (sqlite3_io_methods){
        2,           disk_close,   disk_read,     disk_write,       disk_truncate,  disk_sync,
        disk_size,   disk_lock,    disk_unlock,   disk_reserved,    disk_control,   disk_sector,
        disk_traits, disk_shm_map, disk_shm_lock, disk_shm_barrier, disk_shm_unmap, NULL,
        NULL};
    assert_int_equal(sqlite3_vfs_register(&disk.vfs, 1), SQLITE_OK);
}

/* Some builds of SQLite sync in full unasked, others do not: the ledger must ask. */
static int weaken(sqlite3 *db, char **error, const struct sqlite3_api_routines *api)
{
    (void)error, (void)api;
    return sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
}

static int setup(void **state)
{
    disk.wal_syncs = 0;
    disk.fail_wal_sync = false;
    *state = lab_new();
    return 0;
}

static int teardown(void **state)
{
    struct bank_lab *lab = *state;
    disk.fail_wal_sync = false;
    lab_free(&lab);
    return 0;
}

/* ---- payments, through the API but without a socket ---- */

struct desk {
    struct api api;
    struct api_line line;
    struct api_reply reply;
};

static void desk_open(struct desk *d, struct bank_lab *lab, const struct lab_card *card)
{
    *d = (struct desk){.line = {.logged_in = true, .bound = true}};
    api_init(&d->api, lab->bank);
    memcpy(d->line.card, card->serial, sizeof d->line.card);
    memcpy(d->line.binding, binding, sizeof d->line.binding);
}

static void desk_close(struct desk *d)
{
    api_reply_clear(&d->reply);
    api_clear(&d->api);
}

static int desk_pay(struct desk *d, const struct lab_signed *s)
{
    char text[BASE64_LEN(ORDER_TEXT_MAX) + 1], signature[BASE64_LEN(LEDGER_SIGNATURE_MAX) + 1];
    static char body[8192];
    assert_int_equal(base64_encode(s->text, s->text_len, text, sizeof text), CW_OK);
    assert_int_equal(base64_encode(s->signature, s->signature_len, signature, sizeof signature),
                     CW_OK);
    int n = snprintf(body, sizeof body, "{\"order\":\"%s\",\"signature\":\"%s\"}", text, signature);
    const struct api_request r = {.method = API_POST,
                                  .target = "/v1/payments",
                                  .body = (const uint8_t *)body,
                                  .body_len = (size_t)n};
    api_reply_clear(&d->reply);
    assert_int_equal(api_serve(&d->api, &d->line, &r, &d->reply), CW_OK);
    return d->reply.status;
}

static void assert_reply(const struct desk *d, const char *part)
{
    char text[2048];
    snprintf(text, sizeof text, "%.*s", (int)d->reply.body_len, (const char *)d->reply.body);
    if (strstr(text, part) == NULL)
        fail_msg("wanted %s in %s", part, text);
}

static int64_t number(struct bank_lab *lab, const char *sql)
{
    int64_t n = -1;
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(db_sqlite_handle(lab->bank->ledger), sql, -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* ---- durability ---- */

static void test_settings(void **state)
{
    struct bank_lab *lab = *state;
    sqlite3_stmt *st;
    assert_int_equal(number(lab, "PRAGMA synchronous"), 2); /* FULL */
    assert_int_equal(number(lab, "PRAGMA foreign_keys"), 1);
    assert_int_equal(number(lab, "PRAGMA trusted_schema"), 0);
    assert_int_equal(sqlite3_prepare_v2(db_sqlite_handle(lab->bank->ledger), "PRAGMA journal_mode",
                                        -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "wal");
    sqlite3_finalize(st);
}

/* Payments, then the power goes: how many of them are in the books that are found afterwards. */
static int64_t pay_and_cut(struct bank_lab *lab, size_t *least_syncs)
{
    struct say why = {""};
    char path[600], log[620];
    struct desk d;
    struct ledger *after = NULL;
    struct ledger_totals t;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    snprintf(path, sizeof path, "%s/bank.db", lab->dir);
    /* All that was before is safe: only the payments are in question. */
    keep(path);
    snprintf(log, sizeof log, "%s-wal", path);
    keep(log);
    desk_open(&d, lab, card);
    *least_syncs = SIZE_MAX;
    for (uint8_t i = 0; i < PAYMENTS; i++) {
        const struct order_fields f = lab_order(lab, i, 100);
        const struct lab_signed s = lab_sign(card, &f, binding);
        const size_t before = disk.wal_syncs;
        assert_int_equal(desk_pay(&d, &s), 201);
        const size_t syncs = disk.wal_syncs - before;
        *least_syncs = syncs < *least_syncs ? syncs : *least_syncs;
    }
    desk_close(&d);
    /* What the disk holds at this moment, in another folder; the bank itself dies without a word.
     */
    run("mkdir '%s/cut' && cp '%s.synced' '%s/cut/bank.db' && cp '%s.synced' "
        "'%s/cut/bank.db-wal'",
        lab->dir, path, lab->dir, log, lab->dir);
    snprintf(path, sizeof path, "%s/cut/bank.db", lab->dir);
    lab_ok(ledger_open(path, &ledger_clock_system, &after, &why), &why);
    lab_ok(ledger_totals_get(after, &t, &why), &why);
    assert_int_equal(t.unbalanced + t.wrong_balance + t.currencies_off, 0);
    ledger_free(&after);
    lab_card_free(&card);
    return t.payments;
}

static void test_power_cut(void **state)
{
    size_t syncs;
    assert_int_equal(pay_and_cut(*state, &syncs), PAYMENTS);
    assert_true(syncs >= 1);
}

/* The same without syncs loses payments: so the test above sees what it is there to see. */
static void test_power_cut_control(void **state)
{
    struct bank_lab *lab = *state;
    size_t syncs;
    assert_int_equal(sqlite3_exec(db_sqlite_handle(lab->bank->ledger), "PRAGMA synchronous = OFF",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(pay_and_cut(lab, &syncs) < PAYMENTS);
    assert_int_equal(syncs, 0);
}

/* ---- what is said ---- */

static int deny(void *ctx, int action, const char *a, const char *b, const char *c, const char *d)
{
    const char *const *words = ctx;
    (void)b, (void)c, (void)d;
    for (size_t i = 0; action == SQLITE_TRANSACTION && words[i] != NULL; i++)
        if (strcmp(a, words[i]) == 0)
            return SQLITE_DENY;
    return SQLITE_OK;
}

static int deny_select(void *ctx, int action, const char *a, const char *b, const char *c,
                       const char *d)
{
    (void)ctx, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_SELECT ? SQLITE_DENY : SQLITE_OK;
}

/* Every SELECT from here on is refused: also one that was prepared before, which must be anew. */
static int commit_then_no_reads(void *ctx, sqlite3 *db, const char *name, int pages)
{
    (void)name, (void)pages;
    *(bool *)ctx = true;
    return sqlite3_set_authorizer(db, deny_select, NULL);
}

/* From the commit on no read stands between the booking and its answer. */
static void test_answer_needs_no_read(void **state)
{
    struct bank_lab *lab = *state;
    struct desk d;
    bool shut = false;
    sqlite3 *db = db_sqlite_handle(lab->bank->ledger);
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100);
    const struct lab_signed s = lab_sign(card, &f, binding);
    desk_open(&d, lab, card);
    sqlite3_wal_hook(db, commit_then_no_reads, &shut); /* called after the commit */
    assert_int_equal(desk_pay(&d, &s), 201);
    assert_true(shut);
    assert_reply(&d, "\"status\":\"booked\"");
    /* the same order while the books cannot be read: it may be booked, so nobody says it is not */
    assert_int_equal(desk_pay(&d, &s), 503);
    assert_reply(&d, "urn:cardwire:problem:outcome-unknown");
    sqlite3_wal_hook(db, NULL, NULL);
    sqlite3_set_authorizer(db, NULL, NULL);
    assert_int_equal(desk_pay(&d, &s), 200);
    assert_reply(&d, "\"replayed\":true");
    desk_close(&d);
    lab_card_free(&card);
}

/* A commit that is refused is rolled back, and "not booked" is true. */
static void test_commit_refused(void **state)
{
    struct bank_lab *lab = *state;
    struct desk d;
    const char *words[] = {"COMMIT", NULL};
    sqlite3 *db = db_sqlite_handle(lab->bank->ledger);
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100);
    const struct lab_signed s = lab_sign(card, &f, binding);
    desk_open(&d, lab, card);
    sqlite3_set_authorizer(db, deny, words);
    assert_int_equal(desk_pay(&d, &s), 503);
    assert_reply(&d, "was not booked");
    assert_int_equal(sqlite3_get_autocommit(db), 1);
    assert_int_equal(number(lab, "SELECT count(*) FROM payment"), 0);
    sqlite3_set_authorizer(db, NULL, NULL);
    assert_int_equal(desk_pay(&d, &s), 201);
    desk_close(&d);
    lab_card_free(&card);
}

/* Neither committed nor rolled back: the booking can be read in that transaction, and is none. */
static void test_rollback_refused(void **state)
{
    struct bank_lab *lab = *state;
    struct desk d;
    const char *words[] = {"COMMIT", "ROLLBACK", NULL};
    sqlite3 *db = db_sqlite_handle(lab->bank->ledger);
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100);
    const struct lab_signed s = lab_sign(card, &f, binding);
    desk_open(&d, lab, card);
    sqlite3_set_authorizer(db, deny, words);
    assert_int_equal(desk_pay(&d, &s), 503);
    assert_int_equal(sqlite3_get_autocommit(db), 0);
    assert_int_equal(number(lab, "SELECT count(*) FROM payment"), 1); /* the trap */
    assert_int_equal(desk_pay(&d, &s), 503);                          /* not 200 "booked" */
    sqlite3_set_authorizer(db, NULL, NULL);
    assert_int_equal(desk_pay(&d, &s), 201); /* booked now, not repeated */
    assert_int_equal(number(lab, "SELECT count(*) FROM payment"), 1);
    desk_close(&d);
    lab_card_free(&card);
}

/* The frame that commits is in the log, its fsync failed: a recovery might take it up. */
static void test_commit_unknown(void **state)
{
    struct bank_lab *lab = *state;
    struct desk d;
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    const struct order_fields f = lab_order(lab, 1, 100);
    const struct lab_signed s = lab_sign(card, &f, binding);
    desk_open(&d, lab, card);
    disk.fail_wal_sync = true;
    assert_int_equal(desk_pay(&d, &s), 503);
    assert_reply(&d, "urn:cardwire:problem:outcome-unknown");
    assert_int_equal(sqlite3_get_autocommit(db_sqlite_handle(lab->bank->ledger)), 1);
    disk.fail_wal_sync = false;
    const int status = desk_pay(&d, &s);
    assert_true(status == 200 || status == 201);
    assert_int_equal(number(lab, "SELECT count(*) FROM payment"), 1);
    desk_close(&d);
    lab_card_free(&card);
}

/* ---- who may speak ---- */

/* OpenSSL's check of purposes refuses an order certificate first; this is the ledger's own. */
static void test_order_certificate_finds_no_card(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    struct ledger_card found = {0};
    struct lab_card *card = lab_card_new(lab, lab->ada, 1, false);
    lab_ok(tls_card_find(lab->bank->ledger, card->tls_cert, &found, &why), &why);
    assert_memory_equal(found.serial, card->serial, sizeof found.serial);
    found = (struct ledger_card){0};
    assert_int_equal(tls_card_find(lab->bank->ledger, card->order_cert, &found, &why),
                     CW_ERR_DENIED);
    assert_int_equal(found.status, 0);
    lab_card_free(&card);
}

/* ---- the folder ---- */

static enum cw_err init_in(const char *dir, struct say *why)
{
    static const char *const hosts[] = {"bank.test"};
    const struct bank_options o = {
        .name = "Bank", .hosts = hosts, .host_count = 1, .server_days = 1};
    return bank_init(dir, &o, &ledger_clock_system, why);
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777u;
}

static void test_folder_of_others(void **state)
{
    struct bank_lab *lab = *state;
    struct say why = {""};
    char dir[600], path[700];
    static const mode_t modes[] = {0777, 01777, 0775, 01700};
    snprintf(dir, sizeof dir, "%s/folder", lab->dir);
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(dir, modes[i]), 0);
        assert_int_equal(init_in(dir, &why), CW_ERR_DENIED);
        assert_int_equal(mode_of(dir), modes[i]);
    }
    assert_int_equal(chmod(dir, 0755), 0);
    snprintf(path, sizeof path, "%s/letter", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(init_in(dir, &why), CW_ERR_EXISTS);
    assert_non_null(strstr(why.text, "not empty"));
    assert_int_equal(mode_of(dir), 0755);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing else was put into it */
    assert_int_equal(mkdir(dir, 0755), 0);
    lab_ok(init_in(dir, &why), &why); /* empty and ours alone */
    assert_int_equal(mode_of(dir), 0700);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_settings),          TEST(test_power_cut),
        TEST(test_power_cut_control), TEST(test_answer_needs_no_read),
        TEST(test_commit_refused),    TEST(test_rollback_refused),
        TEST(test_commit_unknown),    TEST(test_order_certificate_finds_no_card),
        TEST(test_folder_of_others),
    };
    disk_insert();
    if (sqlite3_auto_extension((void (*)(void))weaken) != SQLITE_OK)
        return 1;
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
