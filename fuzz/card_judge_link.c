/* card_judge_link.c - answers of the link application, held against docs/card.md: PINs, objects,
 * messages, lines, orders. */
#include "card_judge.h"

#include "proto/ber.h"
#include "proto/order.h"

#include <string.h>

static struct fuzz_model *const m = &fz.model;

/* --- answers -------------------------------------------------------------------------------------
 */

/* May it be done on this interface? */
bool judge_over_the_air(uint8_t flag)
{
    struct policy p;
    return !fz.lab.port.contactless || (memory_policy(&fz.old, &p) && (p.flags & flag));
}

bool judge_active(void)
{
    return memory_number(&fz.old, NVM_LIFE, 1) == LINK_LIFE_ACTIVE;
}

/* An answer that says how many tries are left says so truly. */
void judge_count(const struct judged *j, unsigned pin, bool tried)
{
    if ((j->sw & 0xFFF0) != SW_PIN_TRIES)
        return;
    if (tried && rights_tries(&fz.now, pin) + 1 != rights_tries(&fz.old, pin))
        fuzz_broken("a wrong number that cost no try");
    if ((j->sw & 0x0F) != rights_tries(&fz.now, pin) && !m->faulty)
        fuzz_broken("another number of tries than there are");
}

static void given_lost(void)
{
    m->pin_line = m->pin_order = false;
}

bool judge_refused_wrong(const struct judged *j)
{
    return (j->sw & 0xFFF0) == SW_PIN_TRIES || j->sw == SW_PIN_BLOCKED;
}

static void link_verify(const struct judged *j)
{
    bool *given = j->cmd.p2 == LINK_PIN_LINE ? &m->pin_line : &m->pin_order;
    uint8_t flag = j->cmd.p2 == LINK_PIN_LINE ? POLICY_LINE_CONTACTLESS : POLICY_ORDER_CONTACTLESS;
    judge_count(j, LINK_PIN_HOLDER, j->cmd.nc > 0);
    if (j->cmd.nc == 0) {
        if (j->ok && !*given)
            fuzz_broken("VERIFY says that a PIN was given that was not");
        return;
    }
    if (j->ok) {
        if (!rights_number(LINK_PIN_HOLDER, j->cmd.data, j->cmd.nc) || rights_transport() ||
            !judge_over_the_air(flag) || !judge_active())
            fuzz_broken("a PIN was taken that is not to be taken");
        *given = true;
    } else if (judge_refused_wrong(j))
        given_lost();
}

static void link_new_pin(const struct judged *j)
{
    struct policy p;
    unsigned by = j->cmd.ins == INS_CHANGE_PIN ? LINK_PIN_HOLDER : LINK_PIN_PUK;
    judge_count(j, by, true);
    if (j->ok) {
        size_t first = 1u + j->cmd.data[0];
        if (!rights_number(by, j->cmd.data + 1, j->cmd.data[0]) ||
            !judge_over_the_air(POLICY_LINE_CONTACTLESS) || !judge_active())
            fuzz_broken("a new PIN without the right number");
        if (!memory_policy(&fz.old, &p) ||
            policy_pin_check(&p.pin, j->cmd.data + first, j->cmd.nc - first) != CW_OK)
            fuzz_broken("a new PIN against the issuer's rules");
        if (rights_transport() &&
            rights_number(LINK_PIN_HOLDER, j->cmd.data + first, j->cmd.nc - first))
            fuzz_broken("a PIN that came by post was changed to itself");
    }
    if (j->ok || judge_refused_wrong(j))
        given_lost();
}

static void link_get_data(const struct judged *j)
{
    uint16_t object = (uint16_t)(j->cmd.p1 << 8 | j->cmd.p2);
    if (!j->ok)
        return;
    if ((object & 0xFF00) == LINK_DO_PIN || object == LINK_DO_ADMIN ||
        (object & 0xFF00) > LINK_DO_ADMIN)
        fuzz_broken("GET DATA gave what is never read");
    if (object == LINK_DO_PAYEES && !m->pin_line && !m->line && !j->genuine)
        fuzz_broken("the payees without the PIN");
}

static void line_answer(const struct judged *j)
{
    if (j->cmd.ins == INS_OPEN && j->ok) {
        if (!m->pin_line || !judge_active())
            fuzz_broken("a line without the PIN");
        m->pin_line = m->pin_order = m->line = false;
    }
    if (!j->ok || j->len < 1)
        return;
    if (!(j->data[0] & LINK_STATE_OPEN)) {
        m->line = m->pin_order = false;
        return;
    }
    if (!m->line && !line_is_ours())
        fuzz_broken("a line to somebody else than the bank");
    m->line = true;
    if (!judge_active())
        fuzz_broken("a line of a card that is not active");
}

/* --- orders --------------------------------------------------------------------------------------
 */

static struct fuzz_sum *sum_of(const char *currency)
{
    struct fuzz_sum *free = &m->sums[0];
    for (size_t i = 0; i < sizeof m->sums / sizeof m->sums[0]; i++) {
        if (strcmp(m->sums[i].currency, currency) == 0)
            return &m->sums[i];
        if (m->sums[i].currency[0] == '\0')
            free = &m->sums[i];
    }
    memset(free, 0, sizeof *free);
    memcpy(free->currency, currency, sizeof free->currency);
    return free;
}

/* A policy that has no limit for a currency forgets its sums. */
void judge_sums_settle(void)
{
    struct policy p;
    if (!memory_policy(&fz.now, &p))
        return;
    for (size_t i = 0; i < sizeof m->sums / sizeof m->sums[0]; i++)
        if (m->sums[i].currency[0] != '\0' && policy_limit_find(&p, m->sums[i].currency) == NULL)
            memset(&m->sums[i], 0, sizeof m->sums[i]);
}

static void order_limits(const struct policy *p, const struct order_fields *f, int64_t time)
{
    const struct policy_limit *limit = policy_limit_find(p, f->currency);
    if (p->limit_count == 0) {
        if (!m->pin_order)
            fuzz_broken("an order without the PIN");
        return;
    }
    if (limit == NULL)
        fuzz_broken("an order in a currency that is not permitted");
    struct fuzz_sum *s = sum_of(f->currency);
    if (s->day != time / 86400) {
        s->day = time / 86400;
        s->day_total = 0;
    }
    s->day_total += f->amount;
    s->small_total = m->pin_order ? 0 : s->small_total + f->amount;
    if (f->amount > limit->order || s->day_total > limit->day)
        fuzz_broken("an order above the limits");
    if (!m->pin_order && (f->amount > limit->small || s->small_total > limit->small_total))
        fuzz_broken("an order without the PIN");
}

static bool payee_listed(const struct order_fields *f)
{
    size_t n = 0;
    struct buf_reader r;
    struct policy_payee payee;
    const uint8_t *p = memory_find(&fz.old, NVM_PAYEES, &n);
    buf_reader_init(&r, p, n);
    while (p != NULL && policy_payee_next(&r, &payee))
        if (strcmp(payee.account, f->payee) == 0 && strcmp(payee.name, f->payee_name) == 0)
            return true;
    return false;
}

static bool same_order(const struct order_fields *a, const struct order_fields *b)
{
    uint8_t bytes[2][ORDER_TEXT_MAX];
    struct buf_writer w[2];
    buf_writer_init(&w[0], bytes[0], ORDER_TEXT_MAX);
    buf_writer_init(&w[1], bytes[1], ORDER_TEXT_MAX);
    return order_text_write(a, NULL, &w[0]) == CW_OK && order_text_write(b, NULL, &w[1]) == CW_OK &&
           w[0].len == w[1].len && memcmp(bytes[0], bytes[1], w[0].len) == 0;
}

/* What was signed is what was asked for, with a number that is new, in this line. */
static void order_text(const struct judged *j, struct order_fields *out)
{
    struct ber_object text, signature;
    struct order_fields asked;
    struct order_seal seal;
    uint8_t binding[LINK_BINDING_LEN];
    if (ber_find(j->data, j->len, LINK_TAG_ORDER_TEXT, &text) != CW_OK ||
        ber_find(j->data, j->len, LINK_TAG_SIGNATURE, &signature) != CW_OK ||
        order_text_parse(text.value, text.len, out, &seal) != CW_OK ||
        order_tlv_decode(j->cmd.data, j->cmd.nc, &asked) != CW_OK)
        fuzz_broken("an order that is none");
    if (!same_order(&asked, out) ||
        memcmp(seal.serial, fz.lab.port.unique_id, sizeof seal.serial) != 0)
        fuzz_broken("another order than was asked for");
    if (seal.counter <= m->counter || seal.counter != memory_number(&fz.now, NVM_COUNTER, 4) ||
        seal.counter <= memory_number(&fz.old, NVM_COUNTER, 4))
        fuzz_broken("an order without a new number");
    m->counter = seal.counter;
    if (!line_binding_of(binding) || memcmp(binding, seal.binding, sizeof binding) != 0)
        fuzz_broken("an order bound to another line");
}

static void sign_order(const struct judged *j)
{
    struct order_fields f;
    struct policy p;
    int64_t time = (int64_t)memory_number(&fz.old, NVM_TIME, 8);
    bool moved = memory_number(&fz.now, NVM_COUNTER, 4) != memory_number(&fz.old, NVM_COUNTER, 4);
    if (moved && !j->ok)
        m->pin_order = false;
    if (!j->ok)
        return;
    if (!m->line || !judge_active() || !judge_over_the_air(POLICY_ORDER_CONTACTLESS))
        fuzz_broken("an order without an open line");
    if (!memory_policy(&fz.old, &p) || rights_tries(&fz.old, LINK_PIN_HOLDER) == 0)
        fuzz_broken("an order of a card that must not sign");
    order_text(j, &f);
    if (f.expiry <= time)
        fuzz_broken("an order that has expired");
    if ((p.flags & POLICY_LISTED_PAYEES) && !payee_listed(&f))
        fuzz_broken("an order to who is not on the list");
    order_limits(&p, &f, time);
    m->pin_order = false;
}

/* --- link ----------------------------------------------------------------------------------------
 */

static void apply(const struct judged *j)
{
    if (j->ok && !rights_update(j) && !rights_time(j))
        fuzz_broken("a message that the issuer did not sign, or not now");
    m->challenged = false;
}

void judge_link(const struct judged *j)
{
    if (rights_line_command(j) && j->cmd.ins != INS_SIGN_ORDER && j->cmd.ins != INS_INFO) {
        line_answer(j);
        return;
    }
    switch (j->cmd.ins) {
    case INS_VERIFY:
        link_verify(j);
        break;
    case INS_CHANGE_PIN:
    case INS_RESET_PIN:
        link_new_pin(j);
        break;
    case INS_GET_DATA:
        link_get_data(j);
        break;
    case INS_GET_CHALLENGE:
        m->challenged = j->ok && j->len == sizeof m->challenge;
        if (m->challenged)
            memcpy(m->challenge, j->data, j->len);
        break;
    case INS_APPLY:
        apply(j);
        break;
    case INS_SIGN_ORDER:
        sign_order(j);
        break;
    case SCP03_INS_EXTERNAL_AUTHENTICATE:
        if (j->ok && !j->about->authentic && !m->poor)
            fuzz_broken("a channel to who has not the issuer's keys");
        m->channel = j->ok;
        break;
    case INS_GENERATE_KEY:
    case INS_REQUEST:
    case INS_PUT_DATA:
    case INS_SET_STATUS:
    case SCP03_INS_PUT_KEY:
        if (j->ok && !j->genuine)
            fuzz_broken("personalisation without the issuer's channel");
        if (j->ok && rights_begins_anew(j) && fz.now.count != 2)
            fuzz_broken("something of the maker's hands stayed");
        if (j->ok && j->cmd.ins == INS_PUT_DATA && j->cmd.p1 == LINK_DO_PIN >> 8 &&
            j->cmd.p2 == LINK_PIN_HOLDER)
            given_lost();
        break;
    default:
        break;
    }
}
