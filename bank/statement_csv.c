/* statement_csv.c - a statement as a table: RFC 4180. */
#include "bank/statement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char header[] = "entry,time,kind,direction,amount,currency,balance,counterparty_"
                             "account,counterparty_name,reference,order\r\n";

/* A text in quotes (§2.5, §2.7). Spreadsheets take a cell that begins so for a formula, and run it;
 * with an apostrophe before it they show it. */
static void put_text(FILE *f, const char *text)
{
    putc('"', f);
    if (text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL)
        putc('\'', f);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putc('"', f);
        putc(*text, f);
    }
    putc('"', f);
}

static void put_row(FILE *f, const struct statement *s, const struct ledger_transaction *t)
{
    uint8_t bytes[128];
    struct buf_writer w;
    buf_writer_init(&w, bytes, sizeof bytes);
    cal_put(&w, t->time);
    fprintf(f, "%lld,%.*s,%s,%s,", (long long)t->place.entry, (int)w.len, (const char *)bytes,
            t->kind, t->amount < 0 ? "out" : "in");
    buf_writer_init(&w, bytes, sizeof bytes);
    order_amount_put(&w, t->amount < 0 ? -t->amount : t->amount, s->account.currency);
    buf_put_u8(&w, ',');
    buf_put_str(&w, s->account.currency);
    buf_put_u8(&w, ',');
    order_amount_put(&w, t->balance, s->account.currency);
    fprintf(f, "%.*s,", (int)w.len, (const char *)bytes);
    put_text(f, t->other_account);
    putc(',', f);
    put_text(f, t->other_name);
    putc(',', f);
    put_text(f, t->reference);
    buf_writer_init(&w, bytes, sizeof bytes);
    if (t->has_order)
        buf_put_hex(&w, t->order, sizeof t->order);
    fprintf(f, ",%.*s\r\n", (int)w.len, (const char *)bytes);
}

enum cw_err statement_csv(const struct statement *s, char **out, size_t *len)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (f == NULL)
        return CW_ERR_SPACE;
    fputs(header, f);
    for (size_t i = 0; i < s->count; i++)
        put_row(f, s, &s->list[i]);
    bool bad = ferror(f) != 0;
    bad |= fclose(f) != 0;
    if (bad) {
        free(text);
        return CW_ERR_SPACE;
    }
    *out = text;
    *len = n;
    return CW_OK;
}
