/* order_text.c - the canonical text of an order: written by card and terminal, read by the bank.
 * Parsing takes the fields apart, writes them again and demands the same bytes: there is no second
 * idea of the format that could differ from the first. */
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

/* The value of the next line, which must start with `label`; NULL-terminated into out[0..max]. */
static void get_line(struct buf_reader *r, const char *label, char *out, size_t max)
{
    size_t skip = strlen(label);
    const uint8_t *end = r->bad || r->left == 0 ? NULL : memchr(r->at, '\n', r->left);
    size_t line = end != NULL ? (size_t)(end - r->at) : 0;
    out[0] = '\0';
    if (end == NULL || line < skip || line - skip > max || memcmp(r->at, label, skip) != 0 ||
        memchr(r->at, '\0', line) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(out, r->at + skip, line - skip);
    out[line - skip] = '\0';
    (void)buf_get_bytes(r, line + 1);
}

static void get_hex_line(struct buf_reader *r, const char *label, uint8_t *out, size_t len)
{
    char text[2 * ORDER_ID_LEN + 1];
    get_line(r, label, text, sizeof text - 1);
    if (strlen(text) != 2 * len)
        r->bad = true;
    for (size_t i = 0; !r->bad && i < len; i++) {
        uint8_t byte = 0;
        for (size_t k = 0; k < 2; k++) {
            char c = text[2 * i + k];
            uint8_t nibble = (uint8_t)(c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10);
            if (nibble > 15)
                r->bad = true;
            byte = (uint8_t)(byte << 4 | nibble);
        }
        out[i] = byte;
    }
}

static void get_amount_line(struct buf_reader *r, struct order_fields *f)
{
    char text[32];
    get_line(r, "Pay: ", text, sizeof text - 1);
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

static void get_counter_line(struct buf_reader *r, uint32_t *out)
{
    char text[11];
    get_line(r, "Counter: ", text, sizeof text - 1);
    uint64_t v = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9')
            r->bad = true;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v == 0 || v > UINT32_MAX)
        r->bad = true;
    *out = (uint32_t)v;
}

enum cw_err order_text_parse(const uint8_t *text, size_t len, struct order_fields *f,
                             struct order_seal *seal)
{
    struct order_fields fields;
    struct order_seal found;
    struct buf_reader r;
    char line[ORDER_REFERENCE_MAX + 2];
    memset(&fields, 0, sizeof fields);
    memset(&found, 0, sizeof found);
    buf_reader_init(&r, text, len);
    get_line(&r, "CARDWIRE ORDER 1", line, 0);
    get_amount_line(&r, &fields);
    get_line(&r, "To: ", fields.payee, ORDER_ACCOUNT_MAX);
    get_line(&r, "Name: ", fields.payee_name, ORDER_NAME_MAX);
    get_line(&r, "From: ", fields.payer, ORDER_ACCOUNT_MAX);
    get_line(&r, "Reference:", line, sizeof line - 1);
    if (line[0] == ' ')
        memcpy(fields.reference, line + 1, strlen(line));
    get_hex_line(&r, "Order: ", fields.id, ORDER_ID_LEN);
    get_line(&r, "Expires: ", line, 20);
    if (!r.bad && cal_parse(line, strlen(line), &fields.expiry) != CW_OK)
        r.bad = true;
    get_hex_line(&r, "Card: ", found.serial, ORDER_SERIAL_LEN);
    get_counter_line(&r, &found.counter);
    get_hex_line(&r, "Line: ", found.binding, ORDER_BINDING_LEN);
    if (r.bad || r.left != 0)
        return CW_ERR_FORMAT;

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
