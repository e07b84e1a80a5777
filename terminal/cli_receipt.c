/* cli_receipt.c - cardwire receipt: fetches one from the bank; checks one off line, by the bank's
 * root. The only part of the terminal that has OpenSSL: no line stands on it. */
#include "terminal/cli.h"

#include "host/file.h"
#include "receipt/verify.h"
#include "terminal/receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_MAX 65536u /* bytes of a file with the root */

/* Under that name, and nothing else than a receipt of that order. */
static enum cli_exit keep(struct cli *c, const uint8_t *der, size_t len,
                          const uint8_t order[ORDER_ID_LEN])
{
    enum cw_err err = receipt_check_order(der, len, order, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_SERVER_REFUSED, err);
    err = file_write(c->opt.out, der, len, 0644, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_FAILED, err);
    if (c->opt.json)
        return cli_emit(c, json_pack("{s:s, s:s, s:I}", "order", c->opt.order, "receipt",
                                     c->opt.out, "bytes", (json_int_t)len));
    printf("Receipt in %s (%zu bytes); check it with: cardwire receipt verify %s "
           "--root CARD-ROOT.pem\n",
           c->opt.out, len, c->opt.out);
    return CLI_OK;
}

static enum cli_exit fetch(struct cli *c)
{
    struct cli_session s = {0};
    uint8_t order[ORDER_ID_LEN];
    uint8_t *memory = NULL;
    const uint8_t *der;
    size_t len;
    if (c->opt.server == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "receipt wants --server HOST:PORT");
    if (c->opt.order == NULL || c->opt.out == NULL ||
        !cli_hex_parse(c->opt.order, order, sizeof order))
        return cli_fail_say(
            c, CLI_USAGE, CW_ERR_ARG,
            "receipt wants --order with the 32 hexadecimal digits of the order, and "
            "--out FILE");
    enum cli_exit code = cli_session_begin(c, &s);
    if (code == CLI_OK) {
        enum cw_err err = bank_receipt(&s.bank, order, &memory, &der, &len, &c->why);
        cli_progress_end(c);
        code = err != CW_OK ? cli_fail_line(c, &s, err) : keep(c, der, len, order);
    }
    free(memory);
    cli_session_close(&s);
    return code;
}

/* ---- verify ---- */

/* What was found true, as texts. */
struct shown {
    char amount[32], order[2 * ORDER_ID_LEN + 1], card[2 * ORDER_SERIAL_LEN + 1];
    char head[24 + 2 * HEAD_HASH_LEN + 1]; /* as cardwired audit --head takes it */
    char booked[CLI_TIME_MAX], signed_at[CLI_TIME_MAX];
};

static void show(const struct receipt_facts *f, struct shown *s)
{
    struct buf_writer w;
    memset(s, 0, sizeof *s);
    buf_writer_init(&w, (uint8_t *)s->amount, sizeof s->amount - 1);
    order_amount_put(&w, f->order.amount, f->order.currency);
    cli_hex_write(f->order.id, sizeof f->order.id, s->order);
    cli_hex_write(f->seal.serial, sizeof f->seal.serial, s->card);
    buf_writer_init(&w, (uint8_t *)s->head, sizeof s->head - 1);
    buf_put_dec(&w, (uint64_t)f->head.entry);
    buf_put_u8(&w, ':');
    buf_put_hex(&w, f->head.hash, sizeof f->head.hash);
    (void)cli_time_text(f->time, s->booked);
    (void)cli_time_text(f->head.time, s->signed_at);
}

static json_t *facts_json(const struct receipt_facts *f, const struct shown *s)
{
    const struct order_fields *o = &f->order;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:s, s:s}",
                     "order", s->order, "amount", s->amount, "currency", o->currency, "payer",
                     o->payer, "payee", o->payee, "payee_name", o->payee_name, "reference",
                     o->reference, "card", s->card, "counter", (json_int_t)f->seal.counter, "bank",
                     f->head.bank, "entry", (json_int_t)f->entry, "booked", s->booked, "head",
                     s->head, "head_signed", s->signed_at);
}

static void facts_print(const struct receipt_facts *f, const struct shown *s)
{
    const struct order_fields *o = &f->order;
    printf("Paid       %s %s to %s, account %s\n", s->amount, o->currency, o->payee_name, o->payee);
    printf("From       account %s\n", o->payer);
    if (o->reference[0] != '\0')
        printf("Reference  %s\n", o->reference);
    printf("Order      %s, signed by card %s\n", s->order, s->card);
    printf("Booked     %s, as entry %lld of the journal of %s\n", s->booked, (long long)f->entry,
           f->head.bank);
    printf("Proved by  the journal up to entry %lld, which the bank signed at %s\n",
           (long long)f->head.entry, s->signed_at);
}

static enum cli_exit verify(struct cli *c, const char *file)
{
    struct receipt_facts facts;
    struct shown shown;
    uint8_t *der = NULL, *root = NULL;
    size_t der_len = 0, root_len = 0;
    if (file == NULL || c->opt.root == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "receipt verify wants FILE, and --root with the bank's card-root.pem");
    enum cw_err err = file_read(file, RECEIPT_MAX, &der, &der_len, &c->why);
    if (err == CW_OK)
        err = file_read(c->opt.root, ROOT_MAX, &root, &root_len, &c->why);
    if (err == CW_OK)
        err = receipt_verify_file(der, der_len, root, root_len, &facts, &c->why);
    free(der);
    free(root);
    if (err != CW_OK)
        return cli_fail(c, CLI_FAILED, err);
    show(&facts, &shown);
    if (c->opt.json)
        return cli_emit(c, facts_json(&facts, &shown));
    facts_print(&facts, &shown);
    return CLI_OK;
}

enum cli_exit cli_receipt(struct cli *c, int argc, char **argv)
{
    if (argc == 0)
        return fetch(c);
    if (strcmp(argv[0], "verify") != 0 || argc > 2)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG,
                            "one word too many: %.80s; see cardwire "
                            "--help",
                            argv[argc > 2 ? 2 : 0]);
    return verify(c, argc == 2 ? argv[1] : NULL);
}
