/* card_model.c - what the card may do, from what it was told: held against every answer, against
 * what has changed in its flash, and against what it believes of itself. Written from docs/card.md
 * and docs/piv.md, not from the card's code. The parts are in card_judge.h. */
#include "card_judge.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <psa/crypto.h>
#include <string.h>

static struct fuzz_model *const m = &fz.model;

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
    if (m->faulty || fz.now.count == 0 || rights_tries(&fz.now, LINK_PIN_HOLDER) > 0)
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
            judge_link(j);
        else if (m->piv)
            judge_piv(j, fresh);
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
        rights_check_memory(&j);
        judge(&j);
        judge_sums_settle();
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
    rights_check_memory(&j); /* power up writes nothing that anybody could tell */
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
