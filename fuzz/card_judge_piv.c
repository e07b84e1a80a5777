/* card_judge_piv.c - answers of the PIV application, held against docs/piv.md. */
#include "card_judge.h"

#include "proto/ber.h"

#include <string.h>

static struct fuzz_model *const m = &fz.model;

/* --- PIV -----------------------------------------------------------------------------------------
 */

static void piv_verify(const struct judged *j)
{
    judge_count(j, LINK_PIN_PIV, j->cmd.nc > 0);
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
        if (j->cmd.nc != 8 || !rights_field(LINK_PIN_PIV, j->cmd.data) ||
            !judge_over_the_air(POLICY_PIV_CONTACTLESS) || !judge_active())
            fuzz_broken("a PIV PIN was taken that is not to be taken");
        m->piv_pin = m->fresh = true;
    } else if (judge_refused_wrong(j))
        m->piv_pin = false;
}

static void piv_new_pin(const struct judged *j)
{
    bool change = j->cmd.ins == INS_CHANGE_PIN;
    bool own = change && j->cmd.p2 == PIV_REF_PIN;
    unsigned by = own ? LINK_PIN_PIV : LINK_PIN_PIV_PUK;
    judge_count(j, by, true);
    if (j->ok && (j->cmd.nc != 16 || !rights_field(by, j->cmd.data) || !judge_active() ||
                  (own ? !judge_over_the_air(POLICY_PIV_CONTACTLESS) : fz.lab.port.contactless)))
        fuzz_broken("a new PIV PIN without the right number");
    if (own && j->ok)
        m->piv_pin = true;
    else if (judge_refused_wrong(j) && (own || !change))
        m->piv_pin = false;
}

/* Did the other side give the very block back, encrypted or decrypted, that the card asked for? */
static bool admin_proved(const struct judged *j)
{
    struct ber_object outer, proof;
    uint8_t want[32];
    uint16_t tag = m->witness ? PIV_TAG_WITNESS : PIV_TAG_RESPONSE;
    return m->asked && j->cmd.nc > 0 &&
           ber_find(j->cmd.data, j->cmd.nc, PIV_TAG_AUTH, &outer) == CW_OK &&
           ber_find(outer.value, outer.len, tag, &proof) == CW_OK &&
           memory_admin_crypt(&fz.old, !m->witness, m->block, proof.len, want) &&
           memcmp(proof.value, want, proof.len) == 0;
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
    if (!judge_active())
        fuzz_broken("a PIV key was used in a card that is not active");
    if (ref == PIV_REF_CARD)
        return;
    if (!judge_over_the_air(POLICY_PIV_CONTACTLESS))
        fuzz_broken("a PIV key was used over the air");
    if (ref == PIV_REF_SIGNATURE ? !fresh : !m->piv_pin)
        fuzz_broken("a PIV key was used without the PIN");
}

void judge_piv(const struct judged *j, bool fresh)
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
