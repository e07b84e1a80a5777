#include "bank/migrate.h"

#include <string.h>

struct migration {
    struct bank *bank;
    const char *address;
    const struct audit_options *options;
    struct audit_result *out;
    struct ledger *to;
};

static enum cw_err audit(const struct migration *m, struct ledger *l, struct audit_result *out,
                         struct say *why)
{
    struct bank b = *m->bank;
    b.ledger = l;
    return audit_run(&b, m->options, out, why);
}

static enum cw_err compare(const struct audit_result *a, const struct audit_result *b,
                           struct say *why)
{
    if (a->entries != b->entries || a->payments != b->payments || a->accounts != b->accounts ||
        a->certificates != b->certificates || a->heads != b->heads ||
        a->head.entry != b->head.entry ||
        memcmp(a->head.hash, b->head.hash, sizeof a->head.hash) != 0)
        return say_fail(why, CW_ERR_FORMAT,
                        "the books in the database are not those of the bank; the bank goes on "
                        "with its own");
    return CW_OK;
}

/* By a connection of its own: this one holds the lock, so that nobody books meanwhile. */
static enum cw_err copy(const struct migration *m, struct say *why)
{
    char where[BANK_PATH_MAX];
    struct ledger *from = NULL;
    struct audit_result before;
    enum cw_err err = bank_store_find(m->bank->dir, where, why);
    if (err == CW_OK)
        err = ledger_open(where, &ledger_clock_system, &from, why);
    if (err == CW_OK)
        err = audit(m, from, &before, why);
    if (err == CW_OK)
        err = ledger_transfer(from, m->to, m->options->progress, m->options->ctx, why);
    ledger_free(&from);
    if (err == CW_OK)
        err = audit(m, m->to, m->out, why);
    return err == CW_OK ? compare(&before, m->out, why) : err;
}

static enum cw_err move_books(void *ctx, struct say *why)
{
    const struct migration *m = ctx;
    enum cw_err err = copy(m, why);
    return err == CW_OK ? ledger_close_books(m->bank->ledger, why) : err;
}

/* The database that an earlier run had filled before it was cut short. */
static enum cw_err resume(const struct migration *m, struct say *why)
{
    struct audit_head head;
    enum cw_err err = audit(m, m->to, m->out, why);
    if (err == CW_OK)
        err = ledger_head_get(m->bank->ledger, &head.entry, head.hash, why);
    if (err == CW_OK && (head.entry != m->out->head.entry ||
                         memcmp(head.hash, m->out->head.hash, sizeof head.hash) != 0))
        err = say_fail(why, CW_ERR_EXISTS, "the database holds other books than this bank's");
    return err;
}

/* From here on the folder's file is history. It stays where it is: a server may have it open. */
static enum cw_err point_there(const struct migration *m, struct say *why)
{
    char path[BANK_PATH_MAX];
    enum cw_err err = bank_path(m->bank->dir, BANK_FILE_STORE, "", path, why);
    return err == CW_OK ? bank_file_make(path, m->address, strlen(m->address), 0600, why) : err;
}

enum cw_err migrate_run(struct bank *b, const char *address, const struct audit_options *options,
                        struct audit_result *out, struct say *why)
{
    char where[BANK_PATH_MAX];
    bool closed = false;
    struct migration m = {.bank = b, .address = address, .options = options, .out = out};
    if (!ledger_is_address(address))
        return say_fail(why, CW_ERR_ARG,
                        "--store wants the address of a database, such as "
                        "postgresql://cardwire@localhost/bank");
    enum cw_err err = bank_store_find(b->dir, where, why);
    if (err == CW_OK && ledger_is_address(where))
        err = say_fail(why, CW_ERR_STATE, "the books of this bank are in a database already");
    if (err == CW_OK)
        err = ledger_books_closed(b->ledger, &closed, why);
    if (err == CW_OK)
        err = closed ? ledger_open(address, &ledger_clock_system, &m.to, why)
                     : ledger_create(address, &ledger_clock_system, &m.to, why);
    if (err == CW_OK)
        err = closed ? resume(&m, why) : ledger_together(b->ledger, move_books, &m, why);
    ledger_free(&m.to);
    return err == CW_OK ? point_there(&m, why) : err;
}
