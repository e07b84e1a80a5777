/* order.c - SIGN ORDER: the card signs orders that it has taken apart itself, never hashes from
 * outside. What is signed is a text that a person can read (docs/order.md), with the card's counter
 * and a value of this line, so that it is good once, from this card, in this line. */
#include "card/state.h"

#include "base/ct.h"
#include "proto/ber.h"
#include "proto/order.h"

#include <string.h>

#define SIGNATURE_MAX 256u /* RSA-2048; P-256 in DER takes at most 72 */

static unsigned order_slot(const struct card *card, unsigned wanted)
{
    if (wanted == LINK_KEY_AUTO)
        wanted = key_present(card, LINK_KEY_ORDER_P256) ? LINK_KEY_ORDER_P256 : LINK_KEY_ORDER_RSA;
    if (wanted != LINK_KEY_ORDER_P256 && wanted != LINK_KEY_ORDER_RSA)
        return 0;
    return key_certified(card, wanted) ? wanted : 0;
}

/* Counter and limits, stored as one value, so that they move together: last counter (4), then for
 * each limit of the policy currency (3), day (4), spent of that day (8), signed without a PIN of
 * its own since the last that had one (8). */
struct spent {
    char currency[3];
    uint32_t day; /* days since 1970, UTC, by the card's floor of time */
    int64_t day_total, small_total;
};
struct ledger {
    uint32_t counter;
    struct spent spent[POLICY_LIMITS_MAX];
};

static enum cw_err ledger_read(const struct card *card, struct ledger *out)
{
    uint8_t stored[ORDER_LEDGER_LEN];
    struct buf_reader r;
    struct ledger l;
    memset(&l, 0, sizeof l); /* its padding too: two of them are compared as bytes */
    enum cw_err err = nvm_read_exact(&card->nvm, NVM_COUNTER, stored, sizeof stored);
    if (err == CW_ERR_NOT_FOUND && card_incomplete(card)) {
        memcpy(out, &l, sizeof l);
        return CW_OK;
    }
    if (err != CW_OK)
        return CW_ERR_IO;
    buf_reader_init(&r, stored, sizeof stored);
    l.counter = buf_get_u32(&r);
    for (size_t i = 0; i < POLICY_LIMITS_MAX; i++) {
        struct spent *s = &l.spent[i];
        memcpy(s->currency, buf_get_bytes(&r, 3), 3);
        s->day = buf_get_u32(&r);
        s->day_total = (int64_t)(buf_get_u64(&r) & (uint64_t)INT64_MAX);
        s->small_total = (int64_t)(buf_get_u64(&r) & (uint64_t)INT64_MAX);
    }
    memcpy(out, &l, sizeof l);
    return CW_OK;
}

static void ledger_put(const struct ledger *l, struct buf_writer *w)
{
    buf_put_u32(w, l->counter);
    for (size_t i = 0; i < POLICY_LIMITS_MAX; i++) {
        buf_put_bytes(w, l->spent[i].currency, 3);
        buf_put_u32(w, l->spent[i].day);
        buf_put_u64(w, (uint64_t)l->spent[i].day_total);
        buf_put_u64(w, (uint64_t)l->spent[i].small_total);
    }
}

static enum cw_err ledger_write(struct card *card, const struct ledger *l)
{
    uint8_t stored[ORDER_LEDGER_LEN];
    struct buf_writer w;
    buf_writer_init(&w, stored, sizeof stored);
    ledger_put(l, &w);
    return nvm_write(&card->nvm, NVM_COUNTER, stored, w.len);
}

enum cw_err order_counter(const struct card *card, uint32_t *out)
{
    struct ledger l;
    enum cw_err err = ledger_read(card, &l);
    if (err == CW_OK)
        *out = l.counter;
    return err;
}

void order_begin(uint8_t out[ORDER_LEDGER_LEN])
{
    const struct ledger none = {0};
    struct buf_writer w;
    buf_writer_init(&w, out, ORDER_LEDGER_LEN);
    ledger_put(&none, &w);
}

/* Where the currency's sums are kept; a place that no limit of the policy uses any more is taken
 * over. There are as many places as limits. */
static struct spent *spent_find(struct ledger *l, const struct policy *policy, const char *currency)
{
    struct spent *free = NULL;
    for (size_t i = 0; i < POLICY_LIMITS_MAX; i++) {
        struct spent *s = &l->spent[i];
        const char name[4] = {s->currency[0], s->currency[1], s->currency[2], '\0'};
        if (memcmp(s->currency, currency, 3) == 0)
            return s;
        if (policy_limit_find(policy, name) == NULL)
            free = s;
    }
    if (free != NULL) {
        memset(free, 0, sizeof *free);
        memcpy(free->currency, currency, 3);
    }
    return free;
}

/* Is the payee on the list, under this very name? */
static enum cw_err payee_listed(const struct card *card, const struct order_fields *f, bool *listed)
{
    uint8_t list[POLICY_PAYEES_LENMAX];
    struct policy_payee p;
    struct buf_reader r;
    size_t len = 0;
    *listed = false;
    enum cw_err err = nvm_read(&card->nvm, NVM_PAYEES, 0, list, sizeof list, &len);
    if (err == CW_ERR_NOT_FOUND)
        return CW_OK;
    if (err != CW_OK)
        return CW_ERR_IO;
    buf_reader_init(&r, list, len);
    while (policy_payee_next(&r, &p))
        if (strcmp(p.account, f->payee) == 0 && strcmp(p.name, f->payee_name) == 0)
            *listed = true;
    return CW_OK;
}

static enum cw_err refuse(struct card *card, enum link_refusal why)
{
    card->refused = (uint8_t)why;
    return CW_ERR_STATE;
}

/* Takes the amount out of what the limits leave, in `l`. `small`: may it go without a PIN of its
 * own? */
static enum cw_err limits_take(struct card *card, const struct policy *policy,
                               const struct order_fields *f, int64_t time, struct ledger *l,
                               bool *small)
{
    const struct policy_limit *limit = policy_limit_find(policy, f->currency);
    *small = false;
    if (policy->limit_count == 0)
        return CW_OK;
    struct spent *s = limit != NULL ? spent_find(l, policy, f->currency) : NULL;
    if (s == NULL)
        return refuse(card, LINK_REFUSAL_CURRENCY);
    uint32_t day = (uint32_t)(time / 86400);
    if (s->day != day) {
        s->day = day;
        s->day_total = 0;
    }
    if (f->amount > limit->order)
        return refuse(card, LINK_REFUSAL_ORDER);
    if (s->day_total > limit->day || f->amount > limit->day - s->day_total)
        return refuse(card, LINK_REFUSAL_DAY);
    s->day_total += f->amount;
    *small = card->pin_order != HARD_YES && f->amount <= limit->small &&
             s->small_total <= limit->small_total &&
             f->amount <= limit->small_total - s->small_total;
    s->small_total = *small ? s->small_total + f->amount : 0;
    return CW_OK;
}

/* Everything that can be said against the order, before anything moves. On success `l` is what is
 * to be written. */
HARD_DECIDES static enum cw_err permit(struct card *card, const struct order_fields *f,
                                       struct ledger *l, uint8_t binding[LINK_BINDING_LEN])
{
    struct policy policy;
    int64_t time = 0;
    bool listed = true;
    bool small = false;
    enum cw_err err = card_time(card, &time);
    if (err == CW_OK)
        err = card_policy(card, &policy);
    if (err == CW_OK)
        err = ledger_read(card, l);
    if (err == CW_OK && (policy.flags & POLICY_LISTED_PAYEES) != 0)
        err = payee_listed(card, f, &listed);
    if (err != CW_OK)
        return err;
    if (f->expiry <= time)
        return refuse(card, LINK_REFUSAL_EXPIRED);
    if (!line_binding(&card->line, binding))
        return refuse(card, LINK_REFUSAL_LINE);
    if (!listed)
        return refuse(card, LINK_REFUSAL_PAYEE);
    err = limits_take(card, &policy, f, time, l, &small);
    if (err != CW_OK)
        return err;
    if (card->pin_order != HARD_YES && !small)
        return pin_tries(card, LINK_PIN_HOLDER) > 0 ? CW_ERR_DENIED : CW_ERR_BLOCKED;
    if (pin_tries(card, LINK_PIN_HOLDER) == 0) /* not even a small one */
        return CW_ERR_BLOCKED;
    return l->counter < UINT32_MAX ? CW_OK : CW_ERR_SPACE;
}

/* A frame of its own: the text and the decision need not be on the stack together. */
__attribute__((noinline)) static enum cw_err sign(struct card_call *call, unsigned slot,
                                                  const struct order_fields *fields,
                                                  const struct order_seal *seal)
{
    uint8_t text[ORDER_TEXT_MAX];
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = 0;
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    enum cw_err err = order_text_write(fields, seal, &w);
    if (err == CW_OK)
        err = key_sign(slot, text, w.len, signature, sizeof signature, &signature_len);
    if (err != CW_OK)
        return err;
    ber_put(call->out, LINK_TAG_ORDER_TEXT, text, w.len);
    ber_put(call->out, LINK_TAG_SIGNATURE, signature, signature_len);
    return CW_OK;
}

enum cw_err card_do_sign_order(struct card_call *call)
{
    struct card *card = call->card;
    struct order_fields fields;
    struct order_seal seal;
    struct ledger ledger, again;

    card->refused = LINK_REFUSAL_NONE;
    unsigned slot = order_slot(card, call->cmd->p2);
    if (slot == 0)
        return CW_ERR_NOT_FOUND;
    enum cw_err err = order_tlv_decode(call->cmd->data, call->cmd->nc, &fields);
    if (err != CW_OK)
        return CW_ERR_FORMAT;
    err = permit(card, &fields, &again, seal.binding);
    if (err != CW_OK)
        return err;
    err = permit(card, &fields, &ledger, seal.binding);
    if (err != CW_OK)
        return err;
    if (memcmp(&ledger, &again, sizeof ledger) != 0)
        return CW_ERR_IO;
    hard_clear(&card->pin_order); /* one VERIFY, one order */
    memcpy(seal.serial, card->port->unique_id, sizeof seal.serial);
    /* In memory before the signature is made: a number, and what the limits leave, may be lost by a
     * power cut, and is never used twice. */
    seal.counter = ++ledger.counter;
    err = ledger_write(card, &ledger);
    return err == CW_OK ? sign(call, slot, &fields, &seal) : err;
}
