/* order.c - fields of an order: what may stand in them, amounts, and SIGN ORDER's data field. */
#include "proto/order.h"

#include "proto/ber.h"
#include "proto/link.h"
#include "proto/text.h"

#include <string.h>

/* Currencies whose minor unit is not 1/100, and the others that we take (ISO 4217 table A.1). */
static const char digits0[] = "CLP ISK JPY KRW PYG UGX VND XAF XOF XPF";
static const char digits2[] = "AED AUD BGN BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR MXN "
                              "MYR NOK NZD PHP PLN RON RSD SAR SEK SGD THB TRY TWD UAH USD ZAR";
static const char digits3[] = "BHD IQD JOD KWD LYD OMR TND";

static bool listed(const char *list, const char currency[4])
{
    for (; *list != '\0'; list += list[3] == ' ' ? 4 : 3)
        if (memcmp(list, currency, 3) == 0)
            return true;
    return false;
}

enum cw_err order_currency_digits(const char currency[4], int *digits)
{
    for (int i = 0; i < 3; i++)
        if (currency[i] < 'A' || currency[i] > 'Z')
            return CW_ERR_UNSUPPORTED;
    if (currency[3] != '\0')
        return CW_ERR_UNSUPPORTED;
    if (listed(digits2, currency))
        *digits = 2;
    else if (listed(digits0, currency))
        *digits = 0;
    else if (listed(digits3, currency))
        *digits = 3;
    else
        return CW_ERR_UNSUPPORTED;
    return CW_OK;
}

enum cw_err order_amount_parse(const char *text, const char currency[4], int64_t *out)
{
    int digits = 0;
    if (order_currency_digits(currency, &digits) != CW_OK)
        return CW_ERR_UNSUPPORTED;
    int64_t v = 0;
    int decimals = -1; /* -1: no point seen yet */
    bool any = false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '.' && any && decimals < 0) {
            decimals = 0;
            continue;
        }
        if (*p < '0' || *p > '9')
            return CW_ERR_FORMAT;
        any = true;
        if (decimals >= 0)
            decimals++;
        v = v * 10 + (*p - '0');
        if (v > ORDER_AMOUNT_MAX)
            return CW_ERR_LENGTH;
    }
    if (!any || (decimals >= 0 && (decimals != digits || digits == 0)))
        return CW_ERR_FORMAT;
    if (decimals < 0) {
        for (int i = 0; i < digits; i++)
            v *= 10;
    }
    if (v > ORDER_AMOUNT_MAX)
        return CW_ERR_LENGTH;
    *out = v;
    return CW_OK;
}

void order_amount_put(struct buf_writer *w, int64_t amount, const char currency[4])
{
    int digits = 0;
    if (order_currency_digits(currency, &digits) != CW_OK) {
        w->bad = true;
        return;
    }
    uint64_t v = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    uint64_t scale = 1;
    for (int i = 0; i < digits; i++)
        scale *= 10;
    if (amount < 0)
        buf_put_u8(w, '-');
    buf_put_dec(w, v / scale);
    if (digits == 0)
        return;
    buf_put_u8(w, '.');
    for (scale /= 10; scale > 0; scale /= 10)
        buf_put_u8(w, (uint8_t)('0' + v / scale % 10));
}

/* Length of a NUL-terminated text, or `cap` if there is no NUL before that. */
static size_t bounded_length(const char *text, size_t cap)
{
    const char *end = memchr(text, '\0', cap);
    return end != NULL ? (size_t)(end - text) : cap;
}

static enum cw_err check_account(const char *account)
{
    size_t n = bounded_length(account, ORDER_ACCOUNT_MAX + 1);
    if (n < ORDER_ACCOUNT_MIN || n > ORDER_ACCOUNT_MAX)
        return CW_ERR_LENGTH;
    for (size_t i = 0; i < n; i++)
        if (!((account[i] >= 'A' && account[i] <= 'Z') || (account[i] >= '0' && account[i] <= '9')))
            return CW_ERR_FORMAT;
    return CW_OK;
}

static enum cw_err check_text(const char *text, size_t min, size_t max)
{
    size_t n = bounded_length(text, max + 1);
    if (n < min || n > max)
        return CW_ERR_LENGTH;
    if (n > 0 && (text[0] == ' ' || text[n - 1] == ' ' || !text_is_clean(text, n)))
        return CW_ERR_FORMAT;
    return CW_OK;
}

enum cw_err order_check(const struct order_fields *f)
{
    int digits = 0;
    enum cw_err err = check_account(f->payer);
    if (err == CW_OK)
        err = check_account(f->payee);
    if (err == CW_OK)
        err = check_text(f->payee_name, 1, ORDER_NAME_MAX);
    if (err == CW_OK)
        err = check_text(f->reference, 0, ORDER_REFERENCE_MAX);
    if (err == CW_OK)
        err = order_currency_digits(f->currency, &digits);
    if (err == CW_OK && (f->amount < 1 || f->amount > ORDER_AMOUNT_MAX))
        err = CW_ERR_LENGTH;
    if (err == CW_OK && (f->expiry < 0 || f->expiry > CAL_MAX))
        err = CW_ERR_LENGTH;
    return err;
}

enum cw_err order_tlv_encode(const struct order_fields *f, struct buf_writer *w)
{
    enum cw_err err = order_check(f);
    if (err != CW_OK)
        return err;
    ber_put(w, LINK_TAG_PAYER, f->payer, strlen(f->payer));
    ber_put(w, LINK_TAG_PAYEE, f->payee, strlen(f->payee));
    ber_put(w, LINK_TAG_PAYEE_NAME, f->payee_name, strlen(f->payee_name));
    ber_put_u64(w, LINK_TAG_AMOUNT, (uint64_t)f->amount);
    ber_put(w, LINK_TAG_CURRENCY, f->currency, 3);
    if (f->reference[0] != '\0')
        ber_put(w, LINK_TAG_REFERENCE, f->reference, strlen(f->reference));
    ber_put(w, LINK_TAG_ORDER_ID, f->id, ORDER_ID_LEN);
    ber_put_u64(w, LINK_TAG_EXPIRY, (uint64_t)f->expiry);
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

/* Copies a text field; a NUL inside would hide what follows it. */
static bool take_text(const struct ber_object *o, char *out, size_t max)
{
    if (o->len > max || memchr(o->value, '\0', o->len) != NULL)
        return false;
    memcpy(out, o->value, o->len);
    out[o->len] = '\0';
    return true;
}

static bool take_i64(const struct ber_object *o, int64_t *out)
{
    struct buf_reader r;
    buf_reader_init(&r, o->value, o->len);
    uint64_t v = buf_get_u64(&r);
    if (r.bad || r.left != 0 || v > INT64_MAX)
        return false;
    *out = (int64_t)v;
    return true;
}

static bool take_field(const struct ber_object *o, struct order_fields *f)
{
    switch (o->tag) {
    case LINK_TAG_PAYER:
        return take_text(o, f->payer, ORDER_ACCOUNT_MAX);
    case LINK_TAG_PAYEE:
        return take_text(o, f->payee, ORDER_ACCOUNT_MAX);
    case LINK_TAG_PAYEE_NAME:
        return take_text(o, f->payee_name, ORDER_NAME_MAX);
    case LINK_TAG_AMOUNT:
        return take_i64(o, &f->amount);
    case LINK_TAG_CURRENCY:
        return o->len == 3 && take_text(o, f->currency, 3);
    case LINK_TAG_REFERENCE:
        return o->len > 0 && take_text(o, f->reference, ORDER_REFERENCE_MAX);
    case LINK_TAG_ORDER_ID:
        if (o->len != ORDER_ID_LEN)
            return false;
        memcpy(f->id, o->value, ORDER_ID_LEN);
        return true;
    case LINK_TAG_EXPIRY:
        return take_i64(o, &f->expiry);
    default:
        return false;
    }
}

enum cw_err order_tlv_decode(const uint8_t *data, size_t len, struct order_fields *out)
{
    struct order_fields f;
    struct buf_reader r;
    struct ber_object o;
    unsigned seen = 0;
    memset(&f, 0, sizeof f);
    buf_reader_init(&r, data, len);
    while (ber_next(&r, &o)) {
        unsigned bit = 1u << (o.tag & 7);
        if (o.tag < LINK_TAG_PAYER || o.tag > LINK_TAG_EXPIRY || (seen & bit) ||
            !take_field(&o, &f))
            return CW_ERR_FORMAT;
        seen |= bit;
    }
    /* Everything but the reference must be there. */
    if (r.bad || (seen | 1u << (LINK_TAG_REFERENCE & 7)) != 0xFF)
        return CW_ERR_FORMAT;
    enum cw_err err = order_check(&f);
    if (err == CW_OK)
        *out = f;
    return err;
}
