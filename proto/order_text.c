/* order_text.c - the canonical text of an order: written by card and terminal, read by the bank.
 * Parsing takes the fields apart, writes them again and demands the same bytes: there is no second
 * idea of the format that could differ from the first. */
#include "proto/lines.h"
#include "proto/order.h"

#include <string.h>

#define FIRST_LINE "CARDWIRE ORDER 1\n"

static void put_line(struct buf_writer *w, const char *label, const char *value)
{
    buf_put_str(w, label);
    buf_put_str(w, value);
    buf_put_u8(w, '\n');
}

enum cw_err order_text_write(const struct order_fields *f, const struct order_seal *seal,
                             struct buf_writer *w)
{
    enum cw_err err = order_check(f);
    if (err != CW_OK)
        return err;
    buf_put_str(w, FIRST_LINE);
    buf_put_str(w, "Pay: ");
    order_amount_put(w, f->amount, f->currency);
    buf_put_u8(w, ' ');
    put_line(w, f->currency, "");
    put_line(w, "To: ", f->payee);
    put_line(w, "Name: ", f->payee_name);
    put_line(w, "From: ", f->payer);
    put_line(w, f->reference[0] != '\0' ? "Reference: " : "Reference:", f->reference);
    buf_put_str(w, "Order: ");
    buf_put_hex(w, f->id, ORDER_ID_LEN);
    buf_put_str(w, "\nExpires: ");
    cal_put(w, f->expiry);
    buf_put_u8(w, '\n');
    if (seal != NULL) {
        buf_put_str(w, "Card: ");
        buf_put_hex(w, seal->serial, ORDER_SERIAL_LEN);
        buf_put_str(w, "\nCounter: ");
        buf_put_dec(w, seal->counter);
        buf_put_str(w, "\nLine: ");
        buf_put_hex(w, seal->binding, ORDER_BINDING_LEN);
        buf_put_u8(w, '\n');
    }
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

static void get_amount_line(struct buf_reader *r, struct order_fields *f)
{
    char text[32];
    lines_get(r, "Pay: ", text, sizeof text - 1);
    size_t n = strlen(text);
    if (n < 5 || text[n - 4] != ' ') {
        r->bad = true;
        return;
    }
    memcpy(f->currency, text + n - 3, 4);
    text[n - 4] = '\0';
    if (order_amount_parse(text, f->currency, &f->amount) != CW_OK)
        r->bad = true;
}

enum cw_err order_text_parse(const uint8_t *text, size_t len, struct order_fields *f,
                             struct order_seal *seal)
{
    struct order_fields fields;
    struct order_seal found;
    struct buf_reader r;
    char line[ORDER_REFERENCE_MAX + 2];
    uint64_t counter = 0;
    memset(&fields, 0, sizeof fields);
    memset(&found, 0, sizeof found);
    buf_reader_init(&r, text, len);
    lines_get(&r, "CARDWIRE ORDER 1", line, 0);
    get_amount_line(&r, &fields);
    lines_get(&r, "To: ", fields.payee, ORDER_ACCOUNT_MAX);
    lines_get(&r, "Name: ", fields.payee_name, ORDER_NAME_MAX);
    lines_get(&r, "From: ", fields.payer, ORDER_ACCOUNT_MAX);
    lines_get(&r, "Reference:", line, sizeof line - 1);
    if (line[0] == ' ')
        memcpy(fields.reference, line + 1, strlen(line));
    lines_get_hex(&r, "Order: ", fields.id, ORDER_ID_LEN);
    lines_get(&r, "Expires: ", line, 20);
    if (!r.bad && cal_parse(line, strlen(line), &fields.expiry) != CW_OK)
        r.bad = true;
    lines_get_hex(&r, "Card: ", found.serial, ORDER_SERIAL_LEN);
    lines_get_dec(&r, "Counter: ", UINT32_MAX, &counter);
    lines_get_hex(&r, "Line: ", found.binding, ORDER_BINDING_LEN);
    if (r.bad || r.left != 0)
        return CW_ERR_FORMAT;
    found.counter = (uint32_t)counter;

    uint8_t again[ORDER_TEXT_MAX];
    struct buf_writer w;
    buf_writer_init(&w, again, sizeof again);
    enum cw_err err = order_text_write(&fields, &found, &w);
    if (err != CW_OK)
        return err;
    if (w.len != len || memcmp(again, text, len) != 0)
        return CW_ERR_FORMAT;
    *f = fields;
    *seal = found;
    return CW_OK;
}
