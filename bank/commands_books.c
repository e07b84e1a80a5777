/* commands_books.c - the commands of cardwired that go over all books: audit, backup, migrate. */
#include "bank/backup.h"
#include "bank/commands.h"
#include "bank/migrate.h"

#include <stdio.h>
#include <unistd.h>

/* For people who wait: a line that is written over, or nothing where nobody looks. */
static void show_progress(void *ctx, int64_t done, int64_t total)
{
    int *shown = ctx;
    int percent = total > 0 ? (int)(done * 100 / total) : 100;
    if (percent == *shown)
        return;
    *shown = percent;
    fprintf(stderr, "\raudit: %lld of %lld entries, %d %%", (long long)done, (long long)total,
            percent);
}

static void end_progress(int shown)
{
    if (shown >= 0)
        fputs("\r\033[K", stderr);
}

/* What an audit found; of the copy in `folder`, or of the bank itself. */
static enum cw_err print_audit(const struct cli_args *args, const struct audit_result *r,
                               const char *folder, struct say *why)
{
    char head[AUDIT_HEAD_TEXT_LEN];
    audit_head_text(&r->head, head);
    if (args->json)
        return commands_print_json(
            json_pack("{s:s*, s:I, s:I, s:I, s:I, s:I, s:s}", "folder", folder, "entries",
                      (json_int_t)r->entries, "payments", (json_int_t)r->payments, "accounts",
                      (json_int_t)r->accounts, "certificates", (json_int_t)r->certificates, "heads",
                      (json_int_t)r->heads, "head", head),
            why);
    printf("entries %lld\npayments %lld, each signed by its card\naccounts %lld\n"
           "certificates %lld\nsigned heads %lld\nhead %s\neverything is in order\n",
           (long long)r->entries, (long long)r->payments, (long long)r->accounts,
           (long long)r->certificates, (long long)r->heads, head);
    return CW_OK;
}

enum cw_err commands_audit(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct audit_head noted;
    struct audit_result r;
    int shown = -1;
    struct audit_options o = {.ctx = &shown};
    enum cw_err err = CW_OK;
    if (isatty(STDERR_FILENO))
        o.progress = show_progress;
    if (args->head != NULL) {
        err = audit_head_parse(args->head, &noted, why);
        o.noted = &noted;
    }
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = audit_run(bank, &o, &r, why);
    bank_free(&bank);
    end_progress(shown);
    if (err != CW_OK)
        return err;
    return print_audit(args, &r, NULL, why);
}

enum cw_err commands_backup(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct audit_result r;
    int shown = -1;
    const struct audit_options o = {.progress = isatty(STDERR_FILENO) ? show_progress : NULL,
                                    .ctx = &shown};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = backup_run(bank, args->word, &o, &r, why);
    bank_free(&bank);
    end_progress(shown);
    return err == CW_OK ? print_audit(args, &r, args->word, why) : err;
}

enum cw_err commands_migrate(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    struct audit_result r;
    int shown = -1;
    const struct audit_options o = {.progress = isatty(STDERR_FILENO) ? show_progress : NULL,
                                    .ctx = &shown};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = migrate_run(bank, args->store, &o, &r, why);
    bank_free(&bank);
    end_progress(shown);
    return err == CW_OK ? print_audit(args, &r, NULL, why) : err;
}
