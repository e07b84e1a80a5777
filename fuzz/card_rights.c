/* card_rights.c - who may change what in the card's flash, and how it may change at all. */
#include "card_judge.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

static struct fuzz_model *const m = &fz.model;

/* --- numbers: PINs and tries ---------------------------------------------------------------------
 */

unsigned rights_tries(const struct fuzz_memory *mem, unsigned pin)
{
    size_t n = 0;
    const uint8_t *p = memory_find(mem, (uint16_t)(NVM_TRIES | pin), &n);
    return p != NULL && n == 2 ? p[0] : 0;
}

bool rights_transport(void)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.old, NVM_PIN | LINK_PIN_HOLDER, &n);
    return p != NULL && n > 0 && (p[0] & LINK_PIN_TRANSPORT);
}

/* Is it the right number, and one that is not blocked? */
bool rights_number(unsigned pin, const uint8_t *digits, size_t len)
{
    size_t n = 0;
    const uint8_t *p = memory_find(&fz.old, (uint16_t)(NVM_PIN | pin), &n);
    return p != NULL && n >= 2 && rights_tries(&fz.old, pin) > 0 && p[1] == len && 2 + len <= n &&
           memcmp(p + 2, digits, len) == 0;
}

bool rights_field(unsigned pin, const uint8_t *field)
{
    size_t len = 8;
    while (len > 0 && field[len - 1] == 0xFF)
        len--;
    return rights_number(pin, field, len);
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
        return rights_number(LINK_PIN_HOLDER, d, c->nc) ? 1u << LINK_PIN_HOLDER : 0;
    if (m->link && (c->ins == INS_CHANGE_PIN || c->ins == INS_RESET_PIN) && d[0] < c->nc) {
        unsigned by = c->ins == INS_CHANGE_PIN ? LINK_PIN_HOLDER : LINK_PIN_PUK;
        return rights_number(by, d + 1, d[0]) ? 1u << by | 1u << LINK_PIN_HOLDER : 0;
    }
    if (m->piv && c->ins == INS_VERIFY && c->nc == 8)
        return rights_field(LINK_PIN_PIV, d) ? 1u << LINK_PIN_PIV : 0;
    if (m->piv && c->ins == INS_CHANGE_PIN && c->nc == 16) {
        unsigned pin = c->p2 == PIV_REF_PUK ? LINK_PIN_PIV_PUK : LINK_PIN_PIV;
        return rights_field(pin, d) ? 1u << pin : 0;
    }
    if (m->piv && c->ins == INS_RESET_PIN && c->nc == 16)
        return rights_field(LINK_PIN_PIV_PUK, d) ? 1u << LINK_PIN_PIV_PUK | 1u << LINK_PIN_PIV : 0;
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

bool rights_update(const struct judged *j)
{
    return signed_for_card(j) && j->about->message->kind == ISSUER_UPDATE &&
           (m->line || j->genuine) &&
           j->about->message->sequence > memory_number(&fz.old, NVM_SEQUENCE, 4);
}

bool rights_time(const struct judged *j)
{
    return signed_for_card(j) && j->about->message->kind == ISSUER_TIME && m->challenged &&
           memcmp(m->challenge, j->about->message->challenge, sizeof m->challenge) == 0;
}

static bool update_writes(const struct judged *j, uint16_t object)
{
    if (!rights_update(j))
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

bool rights_line_command(const struct judged *j)
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
        return (sets_life(j) && j->cmd.p2 == LINK_LIFE_PERSONALISED) || rights_update(j);
    case NVM_KEYSET:
        return j->genuine && m->link && j->cmd.ins == SCP03_INS_PUT_KEY;
    case NVM_TIME:
        return puts_object(j, key) || rights_time(j);
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
        return rights_line_command(j);
    case NVM_PIV_KEY:
        return m->piv && m->piv_admin && j->cmd.ins == INS_GENERATE_KEY;
    case NVM_PIV_OBJECT:
        return m->piv && m->piv_admin &&
               (j->cmd.ins == PIV_INS_PUT || j->cmd.ins == INS_GENERATE_KEY);
    default:
        return false;
    }
}

/* The issuer's first keys of its own: nothing that was written under the maker's stays. */
bool rights_begins_anew(const struct judged *j)
{
    return j->genuine && m->link && j->cmd.ins == SCP03_INS_PUT_KEY &&
           memory_number(&fz.old, NVM_LIFE, 1) == LINK_LIFE_BLANK;
}

static bool removable(const struct judged *j, uint16_t key)
{
    return (key & 0xFF00) == NVM_SESSION || may_write(j, key) ||
           (rights_begins_anew(j) && key != NVM_LIFE && key != NVM_KEYSET);
}

static void check_number(const struct judged *j, uint16_t key, bool gone)
{
    unsigned pin = key & 0x0F;
    bool tries = (key & 0xFFF0) == NVM_TRIES;
    if (gone && rights_begins_anew(j))
        return;
    if (gone)
        fuzz_broken("a PIN went away");
    if (tries && !about_numbers(j))
        fuzz_broken("tries changed without a PIN command");
    if (grants(j) & 1u << pin)
        return;
    if (!tries)
        fuzz_broken("a PIN was set without the right number");
    if (rights_tries(&fz.now, pin) > rights_tries(&fz.old, pin))
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
void rights_check_memory(const struct judged *j)
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
