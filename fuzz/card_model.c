/* card_model.c - what the card may do, from what it was told: held against every answer, against
 * what has changed in its flash, and against what it believes of itself. Written from docs/card.md
 * and docs/piv.md, not from the card's code. */
#include "card_fuzz.h"

#include "base/cal.h"
#include "proto/ber.h"
#include "proto/order.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#define PIV_INS_GET      0xCB
#define PIV_INS_PUT      0xDB
#define PIV_INS_AUTH     0x87
#define PIV_INS_ADMIN    0xFF
#define PIV_INS_METADATA 0xF7

/* The command that is being judged, joined and with its protection taken off. */
struct judged {
    struct apdu_command cmd;
    bool genuine; /* through the issuer's channel, by who has its keys */
    const struct fuzz_about *about;
    uint16_t sw;
    bool ok;
    const uint8_t *data;
    size_t len;
};

static struct fuzz_model *const m = &fz.model;

/* --- numbers: PINs and tries ---------------------------------------------------------------------
 */

static unsigned tries_of(const struct fuzz_memory *mem, unsigned pin)
{
    size_t n = 0;
    const uint8_t *p = memory_find(mem, (uint16_t)(NVM_TRIES | pin), &n);
    return p != NULL && n == 2 ? p[0] : 0;
}

static bool transport(void)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.old, NVM_PIN | LINK_PIN_HOLDER, &n);
    return p != NULL && n > 0 && (p[0] & LINK_PIN_TRANSPORT);
}

/* Is it the right number, and one that is not blocked? */
static bool right(unsigned pin, const uint8_t *digits, size_t len)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.old, (uint16_t)(NVM_PIN | pin), &n);
    return p != NULL && n >= 2 && tries_of(&fz.old, pin) > 0 && p[1] == len && 2 + len <= n &&
           memcmp(p + 2, digits, len) == 0;
}

static bool right_field(unsigned pin, const uint8_t *field)
{
    size_t len = 8;
    while (len > 0 && field[len - 1] == 0xFF)
        len--;
    return right(pin, field, len);
}

/* Which numbers the command may set, or give tries back to. */
static unsigned grants(const struct judged *j)
{
    const struct apdu_command *c = &j->cmd;
    const uint8_t *d = c->data;
    if (j->genuine && c->ins == INS_PUT_DATA && c->p1 == LINK_DO_PIN >> 8)
        return 1u << (c->p2 % 8);
    if (c->nc == 0)
        return 0;
    if (m->link && c->ins == INS_VERIFY)
        return right(LINK_PIN_HOLDER, d, c->nc) ? 1u << LINK_PIN_HOLDER : 0;
    if (m->link && (c->ins == INS_CHANGE_PIN || c->ins == INS_RESET_PIN) && d[0] < c->nc) {
        unsigned by = c->ins == INS_CHANGE_PIN ? LINK_PIN_HOLDER : LINK_PIN_PUK;
        return right(by, d + 1, d[0]) ? 1u << by | 1u << LINK_PIN_HOLDER : 0;
    }
    if (m->piv && c->ins == INS_VERIFY && c->nc == 8)
        return right_field(LINK_PIN_PIV, d) ? 1u << LINK_PIN_PIV : 0;
    if (m->piv && c->ins == INS_CHANGE_PIN && c->nc == 16) {
        unsigned pin = c->p2 == PIV_REF_PUK ? LINK_PIN_PIV_PUK : LINK_PIN_PIV;
        return right_field(pin, d) ? 1u << pin : 0;
    }
    if (m->piv && c->ins == INS_RESET_PIN && c->nc == 16)
        return right_field(LINK_PIN_PIV_PUK, d) ? 1u << LINK_PIN_PIV_PUK | 1u << LINK_PIN_PIV : 0;
    return 0;
}

static bool about_numbers(const struct judged *j)
{
    return j->genuine || j->cmd.ins == INS_VERIFY || j->cmd.ins == INS_CHANGE_PIN ||
           j->cmd.ins == INS_RESET_PIN;
}

/* --- messages of the issuer ----------------------------------------------------------------------
 */

static bool signed_for_card(const struct judged *j)
{
    uint8_t point[ISSUER_POINT_LEN];
    size_t n = 0, have = 0;
    const uint8_t *key = memory_find(&fz.old, NVM_ISSUER, &have);
    return m->link && j->cmd.ins == INS_APPLY && j->about->message != NULL && key != NULL &&
           EVP_PKEY_get_octet_string_param(j->about->signer, OSSL_PKEY_PARAM_PUB_KEY, point,
                                           sizeof point, &n) == 1 &&
           n == have && memcmp(point, key, n) == 0;
}

static bool good_update(const struct judged *j)
{
    return signed_for_card(j) && j->about->message->kind == ISSUER_UPDATE && m->line &&
           j->about->message->sequence > memory_number(&fz.old, NVM_SEQUENCE, 4);
}

static bool good_time(const struct judged *j)
{
    return signed_for_card(j) && j->about->message->kind == ISSUER_TIME && m->challenged &&
           memcmp(m->challenge, j->about->message->challenge, sizeof m->challenge) == 0;
}

static bool update_writes(const struct judged *j, uint16_t object)
{
    if (!good_update(j))
        return false;
    for (size_t i = 0; i < j->about->message->write_count; i++)
        if (j->about->message->writes[i].object == object)
            return true;
    return false;
}

/* --- what has changed in the flash ---------------------------------------------------------------
 */

static bool puts_object(const struct judged *j, uint16_t object)
{
    return j->genuine && m->link && j->cmd.ins == INS_PUT_DATA &&
           (j->cmd.p1 << 8 | j->cmd.p2) == object;
}

static bool sets_life(const struct judged *j)
{
    return j->genuine && m->link && j->cmd.ins == INS_SET_STATUS;
}

static bool line_command(const struct judged *j)
{
    return m->link && j->cmd.ins >= INS_OPEN && j->cmd.ins <= INS_CLOSE && !j->genuine;
}

/* May this command write this value? */
static bool may_write(const struct judged *j, uint16_t key)
{
    switch (key) {
    case NVM_LIFE:
        return sets_life(j) || update_writes(j, LINK_DO_LIFE);
    case NVM_COUNTER:
        return (sets_life(j) && j->cmd.p2 == LINK_LIFE_PERSONALISED) ||
               (m->link && m->line && j->cmd.ins == INS_SIGN_ORDER);
    case NVM_SEQUENCE:
        return (sets_life(j) && j->cmd.p2 == LINK_LIFE_PERSONALISED) || good_update(j);
    case NVM_KEYSET:
        return j->genuine && m->link && j->cmd.ins == SCP03_INS_PUT_KEY;
    case NVM_TIME:
        return puts_object(j, key) || good_time(j);
    case NVM_ADMIN:
        return puts_object(j, key) || (m->piv && m->piv_admin && j->cmd.ins == PIV_INS_ADMIN);
    default:
        break;
    }
    switch (key & 0xFF00) {
    case NVM_CERT:
        return puts_object(j, key);
    case NVM_ROOT:
    case NVM_NAME:
    case NVM_POLICY:
    case NVM_ISSUER:
    case NVM_PAYEES:
        return puts_object(j, key) || update_writes(j, key);
    case NVM_PSA:
        return j->genuine && m->link && j->cmd.ins == INS_GENERATE_KEY;
    case NVM_SESSION:
        return line_command(j);
    case NVM_PIV_KEY:
        return m->piv && m->piv_admin && j->cmd.ins == INS_GENERATE_KEY;
    case NVM_PIV_OBJECT:
        return m->piv && m->piv_admin &&
               (j->cmd.ins == PIV_INS_PUT || j->cmd.ins == INS_GENERATE_KEY);
    default:
        return false;
    }
}

static bool removable(const struct judged *j, uint16_t key)
{
    return (key & 0xFF00) == NVM_SESSION || may_write(j, key);
}

static void check_number(const struct judged *j, uint16_t key, bool gone)
{
    unsigned pin = key & 0x0F;
    bool tries = (key & 0xFFF0) == NVM_TRIES;
    if (gone)
        fuzz_broken("a PIN went away");
    if (tries && !about_numbers(j))
        fuzz_broken("tries changed without a PIN command");
    if (grants(j) & 1u << pin)
        return;
    if (!tries)
        fuzz_broken("a PIN was set without the right number");
    if (tries_of(&fz.now, pin) > tries_of(&fz.old, pin))
        fuzz_broken("tries came back without the right number");
}

static void check_value(const struct judged *j, uint16_t key, bool gone)
{
    if ((key & 0xFF00) == NVM_PIN || (key & 0xFFF0) == NVM_TRIES)
        check_number(j, key, gone);
    else if (gone ? !removable(j, key) : !may_write(j, key)) {
        fprintf(stderr, "value %04X\n", key);
        fuzz_broken("the memory was written by who may not");
    }
}

static bool same_value(const struct fuzz_value *v)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.old, v->key, &n);
    return p != NULL && n == v->len && memcmp(p, fz.now.bytes + v->at, n) == 0;
}

static void check_life(unsigned from, unsigned to)
{
    static const unsigned edges[] = {1 << 0 | 1 << 1, 1 << 2 | 1 << 5, 1 << 3 | 1 << 4 | 1 << 5,
                                     1 << 4 | 1 << 5, 1 << 3 | 1 << 5, 0};
    if (from != to && (from > 5 || !(edges[from] & 1u << to)))
        fuzz_broken("a step of life that there is none");
}

/* What only grows. */
static void check_growth(void)
{
    unsigned from = (unsigned)memory_number(&fz.old, NVM_LIFE, 1);
    bool blank = from <= LINK_LIFE_BLANK;
    check_life(from, (unsigned)memory_number(&fz.now, NVM_LIFE, 1));
    if (!blank && memory_number(&fz.now, NVM_TIME, 8) < memory_number(&fz.old, NVM_TIME, 8))
        fuzz_broken("the floor of time fell");
    if (memory_number(&fz.now, NVM_SEQUENCE, 4) < memory_number(&fz.old, NVM_SEQUENCE, 4))
        fuzz_broken("the issuer's sequence fell");
    if (memory_number(&fz.now, NVM_COUNTER, 4) < memory_number(&fz.old, NVM_COUNTER, 4))
        fuzz_broken("the order counter fell");
}

/* Looks at the flash, if anything was done to it. */
static void check_memory(const struct judged *j)
{
    if (fz.flash_operations == fz.lab.flash.operations)
        return;
    fz.flash_operations = fz.lab.flash.operations;
    memory_take(&fz.now);
    bool over = memory_number(&fz.now, NVM_LIFE, 1) == LINK_LIFE_TERMINATED;
    for (size_t i = 0; i < fz.now.count; i++)
        if (!same_value(&fz.now.values[i]))
            check_value(j, fz.now.values[i].key, false);
    for (size_t i = 0; i < fz.old.count && !over; i++) {
        size_t n = 0;
        if (memory_find(&fz.now, fz.old.values[i].key, &n) == NULL)
            check_value(j, fz.old.values[i].key, true);
    }
    check_growth();
    memory_secrets();
}

/* --- answers -------------------------------------------------------------------------------------
 */

/* May it be done on this interface? */
static bool over_the_air(uint8_t flag)
{
    struct policy p;
    return !fz.lab.port.contactless || (memory_policy(&fz.old, &p) && (p.flags & flag));
}

static bool active(void)
{
    return memory_number(&fz.old, NVM_LIFE, 1) == LINK_LIFE_ACTIVE;
}

/* An answer that says how many tries are left says so truly. */
static void check_count(const struct judged *j, unsigned pin)
{
    if ((j->sw & 0xFFF0) == SW_PIN_TRIES && (j->sw & 0x0F) != tries_of(&fz.now, pin) && !m->faulty)
        fuzz_broken("another number of tries than there are");
}

static void given_lost(void)
{
    m->pin_line = m->pin_order = false;
}

static bool refused_wrong(const struct judged *j)
{
    return (j->sw & 0xFFF0) == SW_PIN_TRIES || j->sw == SW_PIN_BLOCKED;
}

static void link_verify(const struct judged *j)
{
    bool *given = j->cmd.p2 == LINK_PIN_LINE ? &m->pin_line : &m->pin_order;
    uint8_t flag = j->cmd.p2 == LINK_PIN_LINE ? POLICY_LINE_CONTACTLESS : POLICY_ORDER_CONTACTLESS;
    check_count(j, LINK_PIN_HOLDER);
    if (j->cmd.nc == 0) {
        if (j->ok && !*given)
            fuzz_broken("VERIFY says that a PIN was given that was not");
        return;
    }
    if (j->ok) {
        if (!right(LINK_PIN_HOLDER, j->cmd.data, j->cmd.nc) || transport() || !over_the_air(flag) ||
            !active())
            fuzz_broken("a PIN was taken that is not to be taken");
        *given = true;
    } else if (refused_wrong(j))
        given_lost();
}

static void link_new_pin(const struct judged *j)
{
    struct policy p;
    unsigned by = j->cmd.ins == INS_CHANGE_PIN ? LINK_PIN_HOLDER : LINK_PIN_PUK;
    check_count(j, by);
    if (j->ok) {
        size_t first = 1u + j->cmd.data[0];
        if (!right(by, j->cmd.data + 1, j->cmd.data[0]) || !over_the_air(POLICY_LINE_CONTACTLESS) ||
            !active())
            fuzz_broken("a new PIN without the right number");
        if (!memory_policy(&fz.old, &p) ||
            policy_pin_check(&p.pin, j->cmd.data + first, j->cmd.nc - first) != CW_OK)
            fuzz_broken("a new PIN against the issuer's rules");
    }
    if (j->ok || refused_wrong(j))
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
        if (!m->pin_line || !active())
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
    if (!active())
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
static void sums_settle(void)
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
    if (!m->line || !active() || !over_the_air(POLICY_ORDER_CONTACTLESS))
        fuzz_broken("an order without an open line");
    if (!memory_policy(&fz.old, &p) || tries_of(&fz.old, LINK_PIN_HOLDER) == 0)
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
    if (j->ok && !good_update(j) && !good_time(j))
        fuzz_broken("a message that the issuer did not sign, or not now");
    m->challenged = false;
}

static void link_answer(const struct judged *j)
{
    if (line_command(j) && j->cmd.ins != INS_SIGN_ORDER && j->cmd.ins != INS_INFO) {
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
        break;
    default:
        break;
    }
}

/* --- PIV -----------------------------------------------------------------------------------------
 */

static void piv_verify(const struct judged *j)
{
    check_count(j, LINK_PIN_PIV);
    if (j->cmd.p1 == 0xFF) {
        if (j->ok)
            m->piv_pin = false;
        return;
    }
    if (j->cmd.nc == 0) {
        if (j->ok && !m->piv_pin)
            fuzz_broken("VERIFY says that the PIV PIN was given");
        return;
    }
    if (j->ok) {
        if (j->cmd.nc != 8 || !right_field(LINK_PIN_PIV, j->cmd.data) ||
            !over_the_air(POLICY_PIV_CONTACTLESS) || !active())
            fuzz_broken("a PIV PIN was taken that is not to be taken");
        m->piv_pin = m->fresh = true;
    } else if (refused_wrong(j))
        m->piv_pin = false;
}

static void piv_new_pin(const struct judged *j)
{
    bool change = j->cmd.ins == INS_CHANGE_PIN;
    bool own = change && j->cmd.p2 == PIV_REF_PIN;
    unsigned by = own ? LINK_PIN_PIV : LINK_PIN_PIV_PUK;
    check_count(j, by);
    if (j->ok && (j->cmd.nc != 16 || !right_field(by, j->cmd.data) || !active() ||
                  (own ? !over_the_air(POLICY_PIV_CONTACTLESS) : fz.lab.port.contactless)))
        fuzz_broken("a new PIV PIN without the right number");
    if (own && j->ok)
        m->piv_pin = true;
    else if (refused_wrong(j) && (own || !change))
        m->piv_pin = false;
}

/* One block under the administration key that the card has. */
static bool admin_block(bool encrypt, const uint8_t *in, uint8_t out[32], size_t *block)
{
    size_t n = 0;
    int len = 0;
    const uint8_t *key = memory_find(&fz.old, NVM_ADMIN, &n);
    if (key == NULL || n < 17)
        return false;
    const EVP_CIPHER *c = key[0] == PIV_ALG_3DES     ? EVP_des_ede3_ecb()
                          : key[0] == PIV_ALG_AES128 ? EVP_aes_128_ecb()
                          : key[0] == PIV_ALG_AES192 ? EVP_aes_192_ecb()
                                                     : EVP_aes_256_ecb();
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    *block = key[0] == PIV_ALG_3DES ? 8 : 16;
    bool good = EVP_CipherInit_ex(ctx, c, NULL, key + 1, NULL, encrypt) == 1 &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
                EVP_CipherUpdate(ctx, out, &len, in, (int)*block) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return good;
}

/* Did the other side give the very block back, encrypted or decrypted, that the card asked for? */
static bool admin_proved(const struct judged *j)
{
    struct ber_object outer, proof;
    uint8_t want[32];
    size_t block = 0;
    uint16_t tag = m->witness ? PIV_TAG_WITNESS : PIV_TAG_RESPONSE;
    return m->asked && j->cmd.nc > 0 &&
           ber_find(j->cmd.data, j->cmd.nc, PIV_TAG_AUTH, &outer) == CW_OK &&
           ber_find(outer.value, outer.len, tag, &proof) == CW_OK &&
           admin_block(!m->witness, m->block, want, &block) && proof.len == block &&
           memcmp(proof.value, want, block) == 0;
}

static bool has_value(const struct judged *j, uint16_t tag)
{
    struct ber_object outer, o;
    return j->cmd.nc > 0 && ber_find(j->cmd.data, j->cmd.nc, PIV_TAG_AUTH, &outer) == CW_OK &&
           ber_find(outer.value, outer.len, tag, &o) == CW_OK && o.len > 0;
}

static void admin_answer(const struct judged *j)
{
    struct ber_object outer, o;
    bool proof = has_value(j, PIV_TAG_WITNESS) || has_value(j, PIV_TAG_RESPONSE);
    bool proved = admin_proved(j);
    if (j->ok && fz.lab.port.contactless)
        fuzz_broken("card management over the air");
    if (j->ok && proof && !proved)
        fuzz_broken("card management without its key");
    if (j->ok || j->sw == SW_SECURITY_STATUS) { /* else it was not looked at */
        m->piv_admin = j->ok && proof;
        m->asked = false;
    }
    if (!j->ok || proof || ber_find(j->data, j->len, PIV_TAG_AUTH, &outer) != CW_OK)
        return;
    m->witness = ber_find(outer.value, outer.len, PIV_TAG_WITNESS, &o) == CW_OK;
    if (!m->witness && ber_find(outer.value, outer.len, PIV_TAG_CHALLENGE, &o) != CW_OK)
        fuzz_broken("the administration key was used for whoever asked");
    m->asked = o.len <= sizeof m->block;
    if (m->asked)
        memcpy(m->block, o.value, o.len);
}

static void piv_authenticate(const struct judged *j, bool fresh)
{
    uint8_t ref = j->cmd.p2;
    if (ref == PIV_REF_ADMIN) {
        admin_answer(j);
        return;
    }
    if (!j->ok)
        return;
    if (!active())
        fuzz_broken("a PIV key was used in a card that is not active");
    if (ref == PIV_REF_CARD)
        return;
    if (!over_the_air(POLICY_PIV_CONTACTLESS))
        fuzz_broken("a PIV key was used over the air");
    if (ref == PIV_REF_SIGNATURE ? !fresh : !m->piv_pin)
        fuzz_broken("a PIV key was used without the PIN");
}

static void piv_answer(const struct judged *j, bool fresh)
{
    switch (j->cmd.ins) {
    case INS_VERIFY:
        piv_verify(j);
        break;
    case INS_CHANGE_PIN:
    case INS_RESET_PIN:
        piv_new_pin(j);
        break;
    case PIV_INS_AUTH:
        piv_authenticate(j, fresh);
        break;
    case PIV_INS_PUT:
    case INS_GENERATE_KEY:
    case PIV_INS_ADMIN:
        if (j->ok && (!m->piv_admin || fz.lab.port.contactless))
            fuzz_broken("card management without its key");
        break;
    case PIV_INS_GET:
        if (j->ok && j->cmd.nc == 5 && j->cmd.data[4] == 0x09 && !m->piv_pin)
            fuzz_broken("the printed information without the PIN");
        break;
    default:
        break;
    }
}

/* --- every command -------------------------------------------------------------------------------
 */

static void link_left(void)
{
    m->pin_line = m->pin_order = m->line = m->channel = m->challenged = false;
}

static void piv_left(void)
{
    m->piv_pin = m->piv_admin = m->fresh = m->asked = false;
}

static void selected(const struct judged *j)
{
    if (!j->ok)
        return;
    bool link = j->cmd.nc == LINK_AID_LEN && memcmp(j->cmd.data, LINK_AID, LINK_AID_LEN) == 0;
    if (link || m->link)
        link_left();
    if (link)
        piv_left();
    m->link = link;
    m->piv = !link;
}

/* The card's own idea of what was given may be less than the model's, never more. */
static void check_state(void)
{
    const struct card *c = fz.lab.card;
    if (c->pin_line && !m->pin_line)
        fuzz_broken("the card holds the PIN for given");
    if (c->pin_order && !m->pin_order)
        fuzz_broken("the card holds the order's PIN for given");
    if (c->piv.pin && !m->piv_pin)
        fuzz_broken("the card holds the PIV PIN for given");
    if (c->piv.admin && !m->piv_admin)
        fuzz_broken("the card holds the administration key for proved");
    if (c->line.phase == LINE_OPEN && !m->line)
        fuzz_broken("the card holds a line for open");
    if (secure_is_open(c) && !m->channel)
        fuzz_broken("the card holds the issuer's channel for open");
    if (mbedtls_memory_buffer_alloc_verify() != 0)
        fuzz_broken("the library's heap is damaged");
}

/* No session outlives a blocked PIN. */
static void check_sessions(void)
{
    if (m->faulty || fz.now.count == 0 || tries_of(&fz.now, LINK_PIN_HOLDER) > 0)
        return;
    for (uint16_t i = 0; i < LINK_NAME_MAX; i++) {
        size_t n = 0;
        if (memory_find(&fz.now, (uint16_t)(NVM_SESSION | i), &n) != NULL)
            fuzz_broken("a session of a card whose PIN is blocked");
    }
    if (fz.lab.card->sessions.ram_len > 0)
        fuzz_broken("a session in RAM of a card whose PIN is blocked");
}

/* After a life that does not permit it nothing goes on. */
static void life_settled(void)
{
    if (memory_number(&fz.now, NVM_LIFE, 1) != LINK_LIFE_ACTIVE) {
        m->pin_line = m->pin_order = m->line = false;
        if (memory_number(&fz.old, NVM_LIFE, 1) == LINK_LIFE_ACTIVE)
            piv_left();
    }
}

static void judge(const struct judged *j)
{
    bool fresh = m->fresh;
    m->fresh = false;
    if (j->genuine || (j->cmd.cla & SCP03_CLA_SECURE) == 0 ||
        j->cmd.ins == SCP03_INS_EXTERNAL_AUTHENTICATE) {
        if (j->cmd.ins == INS_SELECT)
            selected(j);
        else if (m->link)
            link_answer(j);
        else if (m->piv)
            piv_answer(j, fresh);
        else if (j->ok)
            fuzz_broken("an answer before anything was selected");
    } else if (j->ok && !m->poor)
        fuzz_broken("a command through the channel that the issuer did not send");
    if (!j->genuine && j->cmd.ins != SCP03_INS_EXTERNAL_AUTHENTICATE)
        m->channel = false;
    life_settled();
}

/* Puts the command together, as the card has to. False: it is not the last of a chain. */
static bool join(const struct apdu_command *cmd, uint16_t sw, struct apdu_command *out)
{
    uint8_t header[4] = {cmd->cla & (uint8_t)~APDU_CLA_CHAIN, cmd->ins, cmd->p1, cmd->p2};
    bool more = cmd->cla & APDU_CLA_CHAIN;
    if (m->chaining && memcmp(header, m->chain, sizeof header) != 0)
        m->chaining = false;
    if (!m->chaining)
        m->chained_len = 0;
    *out = *cmd;
    if (m->chained_len + cmd->nc > sizeof m->chained) {
        m->chaining = false;
        return false;
    }
    if (more || m->chaining) {
        if (cmd->nc > 0)
            memcpy(m->chained + m->chained_len, cmd->data, cmd->nc);
        m->chained_len += cmd->nc;
        out->data = m->chained;
        out->nc = m->chained_len;
        out->cla = header[0];
    }
    m->chaining = more && sw == SW_OK;
    memcpy(m->chain, header, sizeof header);
    return !more;
}

/* Status words that there are (docs/card.md). */
static bool sw_known(uint16_t sw)
{
    static const uint16_t known[] = {0x9000, 0x6581, 0x6700, 0x6881, 0x6882, 0x6883,
                                     0x6982, 0x6983, 0x6985, 0x6A80, 0x6A81, 0x6A82,
                                     0x6A84, 0x6A86, 0x6A88, 0x6A89, 0x6D00, 0x6E00};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (sw == known[i])
            return true;
    return sw >> 8 == SW_MORE >> 8 || (sw & 0xFFF0) == SW_PIN_TRIES || sw == SW_UNKNOWN;
}

void model_command(const uint8_t *bytes, size_t len, const struct fuzz_about *about,
                   const uint8_t *response, size_t n)
{
    static const struct fuzz_about nothing;
    struct judged j = {.about = about != NULL ? about : &nothing};
    struct apdu_command cmd;
    j.sw = (uint16_t)(response[n - 2] << 8 | response[n - 1]);
    j.ok = j.sw == SW_OK || j.sw >> 8 == SW_MORE >> 8;
    j.data = response;
    j.len = n - 2;
    if (j.ok && j.sw != SW_OK && fz.lab.card->response_object == 0) { /* all of the answer */
        j.data = fz.lab.card->response;
        j.len = fz.lab.card->response_len;
    }
    if (!sw_known(j.sw))
        fuzz_broken("a status word that there is none");
    if (memory_leaks(j.data, j.len))
        fuzz_broken("a secret in an answer");
    if (m->blind)
        return;
    m->faulty |= fz.lab.flash.dead;
    if (apdu_parse(bytes, len, &cmd) != CW_OK) {
        if (j.ok)
            fuzz_broken("an answer to what is no command");
        m->chaining = m->fresh = m->channel = false;
    } else if (cmd.ins == INS_GET_RESPONSE) {
        m->chaining = m->fresh = false;
    } else if (j.sw == SW_LAST_OF_CHAIN && m->chaining) {
        m->chaining = m->fresh = m->channel = false;
    } else if (join(&cmd, j.sw, &j.cmd)) {
        fz.old = fz.now;
        j.genuine = j.about->plain != NULL && m->channel;
        if (j.genuine)
            j.cmd = *j.about->plain;
        check_memory(&j);
        judge(&j);
        sums_settle();
        check_sessions();
    }
    check_state();
}

void model_power_up(void)
{
    struct judged j = {0};
    static const struct fuzz_about nothing;
    bool blind = m->blind;
    j.about = &nothing;
    link_left();
    piv_left();
    m->link = m->piv = m->chaining = m->faulty = false;
    if (blind)
        return;
    fz.old = fz.now;
    check_memory(&j); /* power up writes nothing that anybody could tell */
    check_sessions();
    check_state();
}

/* --- the library's heap --------------------------------------------------------------------------
 */

static size_t pool_used(void)
{
    size_t used = 0, blocks = 0;
    for (psa_key_id_t id = 1; id <= LINK_KEY_COUNT; id++)
        (void)psa_purge_key(id);
    mbedtls_memory_buffer_alloc_cur_get(&used, &blocks);
    return used;
}

void model_begin(void)
{
    memset(m, 0, sizeof *m);
    fz.flash_operations = fz.lab.flash.operations;
    memory_take(&fz.now);
    m->counter = (uint32_t)memory_number(&fz.now, NVM_COUNTER, 4);
    memory_secrets();
    m->pool = pool_used();
}

void model_end(void)
{
    static const uint8_t select[] = {0x00, INS_SELECT, 0x04, 0x0C, LINK_AID_LEN,
                                     0xF0, 0x43,       0x57, 0x4C, 0x01};
    uint16_t sw = fuzz_exchange(select, sizeof select, NULL, NULL, NULL);
    if (sw == SW_LAST_OF_CHAIN)
        sw = fuzz_exchange(select, sizeof select, NULL, NULL, NULL);
    if (sw == SW_OK && pool_used() != m->pool)
        fuzz_broken("the library's heap is not empty after SELECT");
}
