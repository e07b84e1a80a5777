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

/* What a command does with all books. */
typedef enum cw_err over_books(struct bank *bank, const struct cli_args *args,
                               const struct audit_options *options, struct audit_result *out,
                               struct say *why);

/* Opens the bank, shows progress to people, and prints what the audit found at the end of it. */
static enum cw_err run(const struct cli_args *args, over_books *act, const struct audit_head *noted,
                       const char *folder, struct say *why)
{
    struct bank *bank = NULL;
    struct audit_result r;
    int shown = -1;
    const struct audit_options o = {
        .noted = noted, .progress = isatty(STDERR_FILENO) ? show_progress : NULL, .ctx = &shown};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = act(bank, args, &o, &r, why);
    bank_free(&bank);
    end_progress(shown);
    return err == CW_OK ? print_audit(args, &r, folder, why) : err;
}

static enum cw_err audit(struct bank *bank, const struct cli_args *args,
                         const struct audit_options *options, struct audit_result *out,
                         struct say *why)
{
    (void)args;
    return audit_run(bank, options, out, why);
}

enum cw_err commands_audit(const struct cli_args *args, struct say *why)
{
    struct audit_head noted;
    enum cw_err err = args->head != NULL ? audit_head_parse(args->head, &noted, why) : CW_OK;
    return err == CW_OK ? run(args, audit, args->head != NULL ? &noted : NULL, NULL, why) : err;
}

static enum cw_err backup(struct bank *bank, const struct cli_args *args,
                          const struct audit_options *options, struct audit_result *out,
                          struct say *why)
{
    return backup_run(bank, args->word, options, out, why);
}

enum cw_err commands_backup(const struct cli_args *args, struct say *why)
{
    return run(args, backup, NULL, args->word, why);
}

static enum cw_err migrate(struct bank *bank, const struct cli_args *args,
                           const struct audit_options *options, struct audit_result *out,
                           struct say *why)
{
    return migrate_run(bank, args->store, options, out, why);
}

enum cw_err commands_migrate(const struct cli_args *args, struct say *why)
{
    return run(args, migrate, NULL, NULL, why);
}
