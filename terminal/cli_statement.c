/* cli_statement.c - cardwire statement: what happened on an account, for people, or as a document
 * to take away. */
#include "terminal/cli.h"

#include "host/file.h"
#include "proto/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cli_text(const json_t *o, const char *key)
{
    const char *t = json_string_value(json_object_get(o, key));
    return t != NULL ? t : "";
}

static void print_rows(const json_t *reply)
{
    size_t i;
    json_t *t;
    json_array_foreach(json_object_get(reply, "transactions"), i, t)
    {
        const json_t *other = json_object_get(t, "counterparty");
        printf("%-20s %14s %14s  ", cli_text(t, "time"), cli_text(t, "amount"),
               cli_text(t, "balance"));
        fputs(cli_text(other, "name"), stdout);
        printf("  ");
        fputs(cli_text(t, "reference"), stdout);
        putchar('\n');
    }
}

static void print_latest(const json_t *reply)
{
    printf("%s  %s %s\n", cli_text(reply, "account"), cli_text(reply, "balance"),
           cli_text(reply, "currency"));
    print_rows(reply);
}

static void print_period(const json_t *reply)
{
    printf("%s  %s, %s to %s\n", cli_text(reply, "account"), cli_text(reply, "currency"),
           cli_text(reply, "from"), cli_text(reply, "to"));
    printf("%-20s %14s %14s\n", "before", "", cli_text(reply, "opening"));
    print_rows(reply);
    printf("%-20s %14s %14s\n", "after", "", cli_text(reply, "closing"));
}

/* Lines of clean text: nothing in a document that is shown may command the screen. */
static bool is_clean(const char *data, size_t len)
{
    for (size_t at = 0, n; at < len; at += n + 1) {
        const char *end = memchr(data + at, '\n', len - at);
        n = end != NULL ? (size_t)(end - data) - at : len - at;
        size_t text = n > 0 && data[at + n - 1] == '\r' ? n - 1 : n;
        if (!text_is_clean(data + at, text))
            return false;
    }
    return true;
}

static enum cli_exit give_document(struct cli *c, const char *data, size_t len)
{
    enum cw_err err;
    if (!is_clean(data, len))
        return cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_FORMAT,
                            "the server's statement has characters in it that no text has");
    if (c->opt.out == NULL) {
        fwrite(data, 1, len, stdout); /* what fails of it, main says */
        return CLI_OK;
    }
    err = file_write(c->opt.out, data, len, 0600, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_FAILED, err);
    if (c->opt.json)
        return cli_emit(c, json_pack("{s:s, s:s, s:I}", "statement", c->opt.out, "format",
                                     c->opt.format, "bytes", (json_int_t)len));
    printf("Statement in %s (%zu bytes)\n", c->opt.out, len);
    return CLI_OK;
}

static enum cli_exit document(struct cli *c, struct cli_session *s, const char *account)
{
    uint8_t *memory = NULL;
    const uint8_t *data;
    size_t len = 0;
    enum cw_err err = bank_document(&s->bank, account, c->opt.format, c->opt.from, c->opt.to,
                                    &memory, &data, &len, &c->why);
    cli_progress_end(c);
    enum cli_exit code =
        err == CW_OK ? give_document(c, (const char *)data, len) : cli_fail_line(c, s, err);
    free(memory);
    return code;
}

static enum cli_exit show(struct cli *c, struct cli_session *s, const char *account)
{
    json_t *reply = NULL;
    bool period = c->opt.from != NULL || c->opt.to != NULL;
    enum cli_exit code = CLI_OK;
    enum cw_err err = period
                          ? bank_period(&s->bank, account, c->opt.from, c->opt.to, &reply, &c->why)
                          : bank_statement(&s->bank, account, c->opt.limit, &reply, &c->why);
    cli_progress_end(c);
    if (err != CW_OK)
        return cli_fail_line(c, s, err);
    if (c->opt.json)
        code = cli_emit(c, json_incref(reply));
    else if (period)
        print_period(reply);
    else
        print_latest(reply);
    json_decref(reply);
    return code;
}

/* What can be known to be wrong before there is a line. */
static enum cli_exit check(struct cli *c)
{
    static const char *const formats[] = {"json", "csv", "camt053"};
    const char *const times[] = {c->opt.from, c->opt.to};
    bool known = c->opt.format == NULL;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        known |= c->opt.format != NULL && strcmp(c->opt.format, formats[i]) == 0;
    if (!known)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "--format is json, csv or camt053, not %s",
                            c->opt.format);
    if (c->opt.out != NULL && c->opt.format == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "statement --out wants --format json, csv or camt053");
    for (size_t i = 0; i < 2; i++)
        if (times[i] != NULL && !bank_time_good(times[i]))
            return cli_fail_say(c, CLI_USAGE, CW_ERR_FORMAT,
                                "'%s' is no time; write 2026-11-24, which is the first second of "
                                "that day (UTC), or 2026-11-24T10:00:00Z",
                                times[i]);
    return CLI_OK;
}

enum cli_exit cli_statement(struct cli *c)
{
    struct cli_session s = {0};
    char account[ORDER_ACCOUNT_MAX + 1], currency[4];
    enum cli_exit code = check(c);
    if (code == CLI_OK)
        code = cli_session_begin(c, &s);
    if (code == CLI_OK)
        code = cli_account_choose(c, &s, c->opt.account, account, currency);
    if (code == CLI_OK)
        code = c->opt.format != NULL ? document(c, &s, account) : show(c, &s, account);
    cli_session_close(&s);
    return code;
}
