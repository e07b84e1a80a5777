#include "receipt/head.h"

#include "proto/lines.h"
#include "proto/text.h"

#include <string.h>

#define FIRST_LINE "CARDWIRE HEAD 1"

enum cw_err head_write(const struct head *h, struct buf_writer *w)
{
    size_t len = strlen(h->bank);
    if (len == 0 || !text_is_clean(h->bank, len) || h->entry < 1 || h->time < 0 ||
        h->time > CAL_MAX)
        return CW_ERR_FORMAT;
    buf_put_str(w, FIRST_LINE "\nBank: ");
    buf_put_str(w, h->bank);
    buf_put_str(w, "\nEntry: ");
    buf_put_dec(w, (uint64_t)h->entry);
    buf_put_str(w, "\nHash: ");
    buf_put_hex(w, h->hash, sizeof h->hash);
    buf_put_str(w, "\nSigned: ");
    cal_put(w, h->time);
    buf_put_str(w, "\nCertificate: ");
    buf_put_hex(w, h->certificate, sizeof h->certificate);
    buf_put_u8(w, '\n');
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

enum cw_err head_parse(const uint8_t *text, size_t len, struct head *out)
{
    struct head h;
    struct buf_reader r;
    struct buf_writer w;
    char line[24];
    uint8_t again[HEAD_TEXT_MAX];
    uint64_t entry = 0;
    memset(&h, 0, sizeof h);
    buf_reader_init(&r, text, len);
    lines_get(&r, FIRST_LINE, line, 0);
    lines_get(&r, "Bank: ", h.bank, HEAD_BANK_MAX);
    lines_get_dec(&r, "Entry: ", INT64_MAX, &entry);
    lines_get_hex(&r, "Hash: ", h.hash, sizeof h.hash);
    lines_get(&r, "Signed: ", line, 20);
    if (!r.bad && cal_parse(line, strlen(line), &h.time) != CW_OK)
        r.bad = true;
    lines_get_hex(&r, "Certificate: ", h.certificate, sizeof h.certificate);
    if (r.bad || r.left != 0)
        return CW_ERR_FORMAT;
    h.entry = (int64_t)entry;
    buf_writer_init(&w, again, sizeof again);
    if (head_write(&h, &w) != CW_OK || w.len != len || memcmp(again, text, len) != 0)
        return CW_ERR_FORMAT;
    *out = h;
    return CW_OK;
}
