#include "proto/policy.h"

#include "proto/ber.h"

#include <string.h>

#define TAG_FLAGS   0x80u
#define TAG_PIN     0x81u
#define TAG_LIMIT   0x82u
#define TAG_PAYEE   0x30u
#define TAG_ACCOUNT 0x81u
#define TAG_NAME    0x82u

#define PIN_LEN   4u
#define LIMIT_LEN 35u

static enum cw_err limit_check(const struct policy_limit *l)
{
    int digits = 0;
    if (memchr(l->currency, '\0', sizeof l->currency) != l->currency + 3 ||
        order_currency_digits(l->currency, &digits) != CW_OK)
        return CW_ERR_FORMAT;
    if (l->order < 1 || l->order > ORDER_AMOUNT_MAX || l->day < 1 || l->day > ORDER_AMOUNT_MAX)
        return CW_ERR_FORMAT;
    if (l->small < 0 || l->small > l->order || l->small_total < 0 ||
        l->small_total > ORDER_AMOUNT_MAX || (l->small == 0) != (l->small_total == 0))
        return CW_ERR_FORMAT;
    return CW_OK;
}

enum cw_err policy_check(const struct policy *p)
{
    const uint8_t rules = PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE;
    if ((p->flags & ~POLICY_FLAGS) != 0 || p->limit_count > POLICY_LIMITS_MAX)
        return CW_ERR_FORMAT;
    if (p->pin.min < POLICY_PIN_MIN || p->pin.max > POLICY_PIN_MAX || p->pin.min > p->pin.max ||
        p->pin.tries < 1 || p->pin.tries > 15 || (p->pin.rules & ~rules) != 0)
        return CW_ERR_FORMAT;
    for (size_t i = 0; i < p->limit_count; i++) {
        if (limit_check(&p->limits[i]) != CW_OK)
            return CW_ERR_FORMAT;
        if (policy_limit_find(p, p->limits[i].currency) != &p->limits[i])
            return CW_ERR_FORMAT;
    }
    return CW_OK;
}

enum cw_err policy_encode(const struct policy *p, struct buf_writer *w)
{
    enum cw_err err = policy_check(p);
    if (err != CW_OK)
        return err;
    ber_put_u8(w, TAG_FLAGS, p->flags);
    ber_put_header(w, TAG_PIN, PIN_LEN);
    buf_put_u8(w, p->pin.min);
    buf_put_u8(w, p->pin.max);
    buf_put_u8(w, p->pin.rules);
    buf_put_u8(w, p->pin.tries);
    for (size_t i = 0; i < p->limit_count; i++) {
        const struct policy_limit *l = &p->limits[i];
        ber_put_header(w, TAG_LIMIT, LIMIT_LEN);
        buf_put_bytes(w, l->currency, 3);
        buf_put_u64(w, (uint64_t)l->order);
        buf_put_u64(w, (uint64_t)l->day);
        buf_put_u64(w, (uint64_t)l->small);
        buf_put_u64(w, (uint64_t)l->small_total);
    }
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

/* An amount; what does not fit becomes one that no check lets through. */
static int64_t get_amount(struct buf_reader *r)
{
    uint64_t v = buf_get_u64(r);
    return v <= (uint64_t)ORDER_AMOUNT_MAX ? (int64_t)v : -1;
}

static void get_limit(const struct ber_object *o, struct policy *p, bool *bad)
{
    struct buf_reader r;
    if (o->len != LIMIT_LEN || p->limit_count == POLICY_LIMITS_MAX) {
        *bad = true;
        return;
    }
    struct policy_limit *l = &p->limits[p->limit_count++];
    buf_reader_init(&r, o->value, o->len);
    memcpy(l->currency, buf_get_bytes(&r, 3), 3);
    l->order = get_amount(&r);
    l->day = get_amount(&r);
    l->small = get_amount(&r);
    l->small_total = get_amount(&r);
}

enum cw_err policy_decode(const uint8_t *data, size_t len, struct policy *out)
{
    struct policy p = {0};
    struct ber_object o;
    struct buf_reader r;
    bool bad = false, flags = false, pin = false;
    buf_reader_init(&r, data, len);
    while (!bad && ber_next(&r, &o)) {
        if (o.tag == TAG_FLAGS && o.len == 1 && !flags) {
            p.flags = o.value[0];
            flags = true;
        } else if (o.tag == TAG_PIN && o.len == PIN_LEN && !pin) {
            p.pin = (struct policy_pin){o.value[0], o.value[1], o.value[2], o.value[3]};
            pin = true;
        } else if (o.tag == TAG_LIMIT) {
            get_limit(&o, &p, &bad);
        } else {
            bad = true;
        }
    }
    if (bad || r.bad || !flags || !pin || policy_check(&p) != CW_OK)
        return CW_ERR_FORMAT;
    *out = p;
    return CW_OK;
}

const struct policy_limit *policy_limit_find(const struct policy *p, const char currency[4])
{
    for (size_t i = 0; i < p->limit_count; i++)
        if (memcmp(p->limits[i].currency, currency, 3) == 0)
            return &p->limits[i];
    return NULL;
}

enum cw_err policy_pin_check(const struct policy_pin *rules, const uint8_t *digits, size_t len)
{
    bool same = true, up = true, down = true;
    if (len < rules->min || len > rules->max)
        return CW_ERR_LENGTH;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return CW_ERR_FORMAT;
        if (i == 0)
            continue;
        same = same && digits[i] == digits[i - 1];
        up = up && digits[i] == digits[i - 1] + 1;
        down = down && digits[i] + 1 == digits[i - 1];
    }
    if ((same && (rules->rules & PIN_RULE_NO_REPEAT) != 0) ||
        ((up || down) && (rules->rules & PIN_RULE_NO_SEQUENCE) != 0))
        return CW_ERR_FORMAT;
    return CW_OK;
}

/* Could an order name this payee? The order's own check says. */
static enum cw_err payee_check(const struct policy_payee *p)
{
    struct order_fields f = {.payer = "AAAAAAAA", .amount = 1, .currency = "EUR", .expiry = 1};
    memcpy(f.payee, p->account, sizeof f.payee);
    memcpy(f.payee_name, p->name, sizeof f.payee_name);
    return order_check(&f) == CW_OK ? CW_OK : CW_ERR_FORMAT;
}

enum cw_err policy_payee_put(struct buf_writer *w, const struct policy_payee *payee)
{
    enum cw_err err = payee_check(payee);
    if (err != CW_OK)
        return err;
    size_t account = strlen(payee->account);
    size_t name = strlen(payee->name);
    ber_put_header(w, TAG_PAYEE, account + name + 4);
    ber_put(w, TAG_ACCOUNT, payee->account, account);
    ber_put(w, TAG_NAME, payee->name, name);
    return w->bad ? CW_ERR_SPACE : CW_OK;
}

static bool take_text(struct buf_reader *r, uint16_t tag, char *out, size_t max)
{
    struct ber_object o;
    if (!ber_next(r, &o) || o.tag != tag || o.len > max ||
        (o.len > 0 && memchr(o.value, '\0', o.len) != NULL))
        return false;
    if (o.len > 0)
        memcpy(out, o.value, o.len);
    return true;
}

/* The next of a list that nobody has checked yet. False at the end, or with list->bad set. */
static bool payee_take(struct buf_reader *list, struct policy_payee *out)
{
    struct ber_object o;
    struct buf_reader r;
    struct policy_payee p = {{0}, {0}};
    if (!ber_next(list, &o))
        return false;
    buf_reader_init(&r, o.value, o.len);
    list->bad = o.tag != TAG_PAYEE || !take_text(&r, TAG_ACCOUNT, p.account, ORDER_ACCOUNT_MAX) ||
                !take_text(&r, TAG_NAME, p.name, ORDER_NAME_MAX) || r.left != 0 ||
                payee_check(&p) != CW_OK;
    if (list->bad)
        return false;
    *out = p;
    return true;
}

enum cw_err policy_payees_check(const uint8_t *data, size_t len)
{
    struct policy_payee p;
    struct buf_reader r;
    size_t count = 0;
    buf_reader_init(&r, data, len);
    while (payee_take(&r, &p))
        count++;
    return r.bad || count > POLICY_PAYEES_MAX || len > POLICY_PAYEES_LENMAX ? CW_ERR_FORMAT : CW_OK;
}

bool policy_payee_next(struct buf_reader *list, struct policy_payee *out)
{
    return payee_take(list, out);
}
