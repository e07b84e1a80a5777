#include "bank/issue.h"

#include "bank/certify.h"
#include "bank/ledger_revoke.h"
#include "bank/mailer.h"
#include "bank/objects.h"
#include "bank/piv.h"
#include "bank/terms.h"
#include "bank/update.h"
#include "base/ct.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct issue {
    struct bank *bank;
    const struct issue_options *o;
    struct desk *desk;
    struct applet_name names[LINK_NAME_MAX];
    size_t name_count;
    struct ledger_certificate certs[LEDGER_CERTS_PER_CARD];
    size_t cert_count;
    struct objects_root roots[LINK_ROOT_MAX];
    struct policy_payee payees[POLICY_PAYEES_MAX];
    uint8_t update_key[ISSUER_POINT_LEN];
    int64_t time;
    struct mailer mailer;
    struct piv_options piv;
    struct mailer piv_mailer;
};

static void progress_percent(const struct issue *s, const char *step, int percent)
{
    if (s->o->progress != NULL)
        s->o->progress(s->o->progress_ctx, step, percent);
}

static void progress(const struct issue *s, const char *step)
{
    progress_percent(s, step, ISSUE_NO_PERCENT);
}

static bool has_key(const struct issue *s, const struct certify_slot *slot)
{
    return (s->desk->info.keys >> (slot->key - 1) & 1) != 0;
}

/* A key that an earlier try left in the card is used: slots are never overwritten, and a card with
 * a key but no certificate for it would be incomplete. */
static bool wanted(const struct issue *s, const struct certify_slot *slot)
{
    return has_key(s, slot) || (slot->rsa ? s->o->rsa : s->o->p256);
}

static void piv_step(void *ctx, const char *what)
{
    progress(ctx, what);
}

/* ---- before anything is written ---- */

static enum cw_err prepare_names(struct issue *s, struct say *why)
{
    enum cw_err err = CW_OK;
    s->name_count = s->o->name_count;
    memcpy(s->names, s->o->names, sizeof s->names);
    if (s->name_count == 0) {
        s->name_count = 1;
        s->names[0] = (struct applet_name){.profiles = (1u << LINK_PROFILE_COUNT) - 1};
        memcpy(s->names[0].host, s->bank->server_name, sizeof s->names[0].host);
    }
    for (size_t i = 0; i < s->name_count && err == CW_OK; i++) {
        uint8_t value[OBJECTS_NAME_MAX];
        struct buf_writer w;
        buf_writer_init(&w, value, sizeof value);
        err = objects_name_put(&s->names[i], &w, why);
    }
    return err;
}

static enum cw_err prepare_payees(struct issue *s, struct say *why)
{
    uint8_t value[POLICY_PAYEES_LENMAX];
    struct buf_writer w;
    buf_writer_init(&w, value, sizeof value);
    enum cw_err err =
        objects_payees_find(s->bank->ledger, s->o->payees, s->o->payee_count, s->payees, why);
    return err == CW_OK ? objects_payees_put(s->payees, s->o->payee_count, &w, why) : err;
}

/* The bank's own, and beside it the one that it will have, or another one. */
static enum cw_err prepare_roots(struct issue *s, struct say *why)
{
    char path[BANK_PATH_MAX];
    bool next = s->bank->server_next.root[0] != '\0';
    if (next && s->o->root_file != NULL)
        return say_fail(why, CW_ERR_STATE,
                        "a card holds two roots, and the bank's next one is the second until "
                        "'cardwired root switch': no --root now");
    enum cw_err err = bank_path(s->bank->dir, s->bank->server.root, ".pem", path, why);
    if (err == CW_OK)
        err = objects_root_load(path, &s->roots[0], why);
    if (err == CW_OK && next)
        err = bank_path(s->bank->dir, s->bank->server_next.root, ".pem", path, why);
    if (err == CW_OK && (next || s->o->root_file != NULL))
        err = objects_root_load(next ? path : s->o->root_file, &s->roots[1], why);
    return err;
}

static enum cw_err prepare(struct issue *s, struct say *why)
{
    struct ledger_customer customer;
    struct ledger *l = s->bank->ledger;
    enum cw_err err = ledger_customer_get(l, s->o->customer, &customer, why);
    if (err == CW_OK)
        err = terms_check(&s->o->policy, why);
    if (err == CW_OK)
        err = bank_issuer_keys_make(s->bank, why);
    if (err == CW_OK)
        err = update_point_get(s->bank, s->update_key, why);
    if (err == CW_OK)
        err = prepare_roots(s, why);
    if (err == CW_OK)
        err = prepare_payees(s, why);
    s->mailer.pin_file = s->o->pin_file;
    s->mailer.puk_file = s->o->puk_file;
    if (err == CW_OK)
        err = mailer_read(&s->mailer, &s->o->policy.pin, why);
    s->piv = (struct piv_options){.rsa = s->o->piv_rsa,
                                  .pin_file = s->o->piv_pin_file,
                                  .puk_file = s->o->piv_puk_file,
                                  .days = s->o->days,
                                  .step = piv_step,
                                  .step_ctx = s};
    if (err == CW_OK && s->o->piv)
        err = piv_prepare(s->bank, &s->piv, &s->piv_mailer, why);
    s->time = s->o->time >= 0 ? s->o->time : ledger_now(l);
    return err == CW_OK ? prepare_names(s, why) : err;
}

/* ---- keys and certificates ---- */

struct making {
    const struct issue *issue;
    char step[64];
};

static void key_goes_on(void *ctx, unsigned permille)
{
    const struct making *m = ctx;
    progress_percent(m->issue, m->step, (int)(permille / 10));
}

static enum cw_err make_key(struct issue *s, const struct certify_slot *slot, struct say *why)
{
    struct making m = {.issue = s};
    if (has_key(s, slot))
        return CW_OK;
    snprintf(m.step, sizeof m.step, "the card makes its key %s", link_key_name(slot->key));
    progress(s, m.step);
    return desk_key_generate(s->desk, slot->key, key_goes_on, &m, why);
}

static enum cw_err make_certificates(struct issue *s, struct say *why)
{
    struct certify_ca ca;
    enum cw_err err = certify_open(s->bank, s->o->days, &ca, why);
    for (size_t i = 0; i < CERTIFY_SLOTS && err == CW_OK; i++) {
        const struct certify_slot *slot = &certify_slots[i];
        if (!wanted(s, slot))
            continue;
        err = make_key(s, slot, why);
        if (err == CW_OK)
            err = certify_key(s->desk, slot, &ca, s->o->days, NULL, &s->certs[s->cert_count], why);
        if (err == CW_OK)
            s->cert_count++;
    }
    certify_close(&ca);
    return err;
}

/* ---- writing ---- */

static enum cw_err put_names(struct issue *s, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < s->name_count && err == CW_OK; i++) {
        uint8_t value[OBJECTS_NAME_MAX];
        struct buf_writer w;
        buf_writer_init(&w, value, sizeof value);
        err = objects_name_put(&s->names[i], &w, why);
        if (err == CW_OK)
            err = desk_object_put(s->desk, (uint16_t)(LINK_DO_NAME | i), value, w.len, why);
    }
    return err;
}

/* What the issuer permits, and how its word reaches the card from now on. */
static enum cw_err put_terms(struct issue *s, struct say *why)
{
    uint8_t value[POLICY_PAYEES_LENMAX];
    struct buf_writer w;
    buf_writer_init(&w, value, sizeof value);
    buf_put_u64(&w, (uint64_t)s->time);
    enum cw_err err = desk_object_put(s->desk, LINK_DO_TIME, value, w.len, why);
    buf_writer_init(&w, value, sizeof value);
    if (err == CW_OK)
        err = policy_encode(&s->o->policy, &w);
    if (err == CW_OK)
        err = desk_object_put(s->desk, LINK_DO_POLICY, value, w.len, why);
    if (err == CW_OK)
        err = desk_object_put(s->desk, LINK_DO_ISSUER, s->update_key, sizeof s->update_key, why);
    buf_writer_init(&w, value, sizeof value);
    if (err == CW_OK)
        err = objects_payees_put(s->payees, s->o->payee_count, &w, why);
    if (err == CW_OK && s->o->payee_count > 0)
        err = desk_object_put(s->desk, LINK_DO_PAYEES, value, w.len, why);
    return err;
}

static enum cw_err put_pins(struct issue *s, struct say *why)
{
    enum cw_err err =
        desk_pin_put(s->desk, LINK_PIN_HOLDER, s->o->policy.pin.tries,
                     s->o->transport_pin ? LINK_PIN_TRANSPORT : 0, &s->mailer.pin, why);
    if (err == CW_OK)
        err = desk_pin_put(s->desk, LINK_PIN_PUK, MAILER_PUK_TRIES, 0, &s->mailer.puk, why);
    return err;
}

static enum cw_err personalise(struct issue *s, struct say *why)
{
    enum cw_err err = CW_OK;
    progress(s, "writing certificates, roots, names and terms");
    for (size_t i = 0; i < s->cert_count && err == CW_OK; i++)
        err = desk_object_put(s->desk, (uint16_t)(LINK_DO_CERT | s->certs[i].slot), s->certs[i].der,
                              s->certs[i].der_len, why);
    for (size_t i = 0; i < LINK_ROOT_MAX && err == CW_OK; i++)
        if (s->roots[i].len > 0)
            err = desk_object_put(s->desk, (uint16_t)(LINK_DO_ROOT | i), s->roots[i].der,
                                  s->roots[i].len, why);
    if (err == CW_OK)
        err = put_names(s, why);
    if (err == CW_OK)
        err = put_terms(s, why);
    return err == CW_OK ? put_pins(s, why) : err;
}

/* ---- the whole ---- */

/* A card whose issuance was cut short may hold what this one does not write. What somebody else
 * wrote under the maker's keys went with those (docs/card.md, PUT KEY); nothing is taken for
 * granted. */
static enum cw_err remove_rest(struct issue *s, struct say *why)
{
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < LINK_ROOT_MAX && err == CW_OK; i++)
        if (s->roots[i].len == 0)
            err = desk_object_remove(s->desk, (uint16_t)(LINK_DO_ROOT | i), why);
    for (size_t i = s->name_count; i < LINK_NAME_MAX && err == CW_OK; i++)
        err = desk_object_remove(s->desk, (uint16_t)(LINK_DO_NAME | i), why);
    if (err == CW_OK && s->o->payee_count == 0)
        err = desk_object_remove(s->desk, LINK_DO_PAYEES, why);
    return err == CW_OK && !s->o->piv ? piv_take_away(s->desk, why) : err;
}

/* The channel to a card that is not complete yet: under the maker's key, or already the bank's.
 * Nothing is written before the card has the bank's keys. */
static enum cw_err open_channel(struct issue *s, struct say *why)
{
    enum cw_err err = desk_channel_open(s->desk, why);
    if (err != CW_ERR_NOT_FOUND)
        return err;
    progress(s, "the card takes the bank's keys");
    if (s->o->initial_key == NULL && s->o->warn != NULL)
        s->o->warn(s->o->progress_ctx,
                   "without --initial-key the card gets its keys under one that everybody knows: "
                   "whoever records the reader's wire has them");
    return desk_take_over(s->desk, s->o->initial_key, s->o->give_keys_again, why);
}

/* From the complete card on: its life first, then the ledger's word for it. */
static enum cw_err finish(struct issue *s, struct say *why)
{
    struct ledger *l = s->bank->ledger;
    const uint8_t *serial = s->desk->info.serial;
    enum cw_err err = CW_OK;
    if (s->desk->info.life != LINK_LIFE_ACTIVE && s->o->personalise_only)
        return s->o->replaces != NULL ? ledger_card_replace(l, serial, s->o->replaces, false, why)
                                      : ledger_card_personalise(l, serial, why);
    if (s->desk->info.life != LINK_LIFE_ACTIVE) {
        progress(s, "activating");
        err = desk_life_set(s->desk, LINK_LIFE_ACTIVE, why);
    }
    if (err != CW_OK)
        return err;
    return s->o->replaces != NULL ? ledger_card_replace(l, serial, s->o->replaces, true, why)
                                  : ledger_card_activate(l, serial, why);
}

/* The ledger knows the card and its certificates, as `issuing`, before the card can be active; it
 * calls it active only after the card is. */
static enum cw_err issue_blank(struct issue *s, struct say *why)
{
    const struct ledger_terms terms = {.keyset = DESK_KEYSET,
                                       .policy = s->o->policy,
                                       .payees = s->payees,
                                       .payee_count = s->o->payee_count,
                                       .confirmed = s->o->confirmed};
    enum cw_err err = open_channel(s, why);
    if (err == CW_OK)
        err = remove_rest(s, why);
    if (err == CW_OK)
        err = make_certificates(s, why);
    if (err == CW_OK)
        err = ledger_card_begin(s->bank->ledger, s->desk->info.serial, s->o->customer, s->certs,
                                s->cert_count, &terms, why);
    if (err == CW_OK)
        err = mailer_write(&s->mailer, s->bank, s->desk->serial, &s->o->policy.pin, why);
    if (err == CW_OK)
        err = personalise(s, why);
    if (err == CW_OK && s->o->piv)
        err = piv_give(s->desk, &s->piv, &s->piv_mailer, why);
    if (err == CW_OK)
        err = desk_life_set(s->desk, LINK_LIFE_PERSONALISED, why);
    return err == CW_OK ? finish(s, why) : err;
}

static enum cw_err compare_certificates(struct issue *s, enum ledger_cert_kind kind,
                                        struct say *why)
{
    uint8_t back[APPLET_CERT_MAX];
    size_t count = 0, len = 0;
    enum cw_err err =
        ledger_certificates_get(s->bank->ledger, s->desk->info.serial, kind, s->certs, &count, why);
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        err = desk_object_get(s->desk, (uint16_t)(LINK_DO_CERT | s->certs[i].slot), back,
                              sizeof back, &len, why);
        if (err == CW_OK && (len != s->certs[i].der_len || memcmp(back, s->certs[i].der, len) != 0))
            err = say_fail(why, CW_ERR_STATE,
                           "the card %s holds another certificate than this bank made for it; "
                           "use a new card",
                           s->desk->serial);
    }
    return err;
}

static enum cw_err other_terms(const struct issue *s, const char *what, struct say *why)
{
    return say_fail(why, CW_ERR_STATE,
                    "the card %s is complete, and was issued with other %s than are asked for now; "
                    "give the same options as then, or use a new card",
                    s->desk->serial, what);
}

/* Whether the card holds what `w` has: nothing, when that is empty. */
static enum cw_err compare_object(struct issue *s, uint16_t object, const struct buf_writer *w,
                                  const char *what, struct say *why)
{
    uint8_t back[OBJECTS_VALUE_MAX];
    size_t len = 0;
    enum cw_err err = desk_object_get(s->desk, object, back, sizeof back, &len, why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    return len == w->len && memcmp(back, w->start, len) == 0 ? CW_OK : other_terms(s, what, why);
}

/* By the ledger, which had them first: no answer of the card can hold the longest list. */
static enum cw_err compare_payees(struct issue *s, struct say *why)
{
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    enum cw_err err = ledger_payees_get(s->bank->ledger, s->desk->info.serial, list, &count, why);
    bool same = count == s->o->payee_count;
    for (size_t i = 0; i < count && same; i++)
        same = strcmp(list[i].account, s->payees[i].account) == 0 &&
               strcmp(list[i].name, s->payees[i].name) == 0;
    return err == CW_OK && !same ? other_terms(s, "payees", why) : err;
}

/* The card is complete: what this command asks for is either what it has, or would be ignored. */
static enum cw_err compare_terms(struct issue *s, struct say *why)
{
    uint8_t value[POLICY_LEN_MAX];
    struct buf_writer w;
    buf_writer_init(&w, value, sizeof value);
    enum cw_err err = policy_encode(&s->o->policy, &w);
    if (err == CW_OK)
        err = compare_object(s, LINK_DO_POLICY, &w, "limits or rules", why);
    for (size_t i = 0; i < LINK_NAME_MAX && err == CW_OK; i++) {
        buf_writer_init(&w, value, sizeof value);
        if (i < s->name_count)
            err = objects_name_put(&s->names[i], &w, why);
        if (err == CW_OK)
            err = compare_object(s, (uint16_t)(LINK_DO_NAME | i), &w, "server names", why);
    }
    if (err == CW_OK)
        err = compare_payees(s, why);
    if (err == CW_OK && s->desk->info.transport != s->o->transport_pin)
        err = other_terms(s, "rules for the first PIN (--transport-pin)", why);
    return err;
}

/* What the try before gave, or gives it now, when that had no --piv. */
static enum cw_err resume_piv(struct issue *s, struct say *why)
{
    bool held = false;
    enum cw_err err = piv_is_held(s->desk, &held, why);
    if (err == CW_OK && !held)
        err = piv_give(s->desk, &s->piv, &s->piv_mailer, why);
    return err == CW_OK && held
               ? mailer_find(s->bank, s->desk->serial, true, s->piv_mailer.path, why)
               : err;
}

/* An issuance that was cut short after the card was complete: the card must prove that it is the
 * one, hold exactly the certificates that the ledger has for it, and be what is asked for. */
static enum cw_err resume(struct issue *s, struct say *why)
{
    struct ledger_card card;
    struct say ignored;
    enum cw_err err = ledger_card_get(s->bank->ledger, s->desk->info.serial, &card, &ignored);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return say_fail(why, err, "%s", ignored.text);
    if (err == CW_ERR_NOT_FOUND || card.status != LEDGER_CARD_ISSUING)
        return say_fail(why, CW_ERR_STATE,
                        "the card %s is not blank: it was issued already%s; use a new card",
                        s->desk->serial, err == CW_OK ? " by this bank" : " by another bank");
    if (card.customer != s->o->customer)
        return say_fail(why, CW_ERR_STATE,
                        "the card %s was being issued to customer %lld; name that one",
                        s->desk->serial, (long long)card.customer);
    err = desk_channel_open(s->desk, why);
    for (int kind = LEDGER_CERT_TLS; kind <= LEDGER_CERT_ORDER && err == CW_OK; kind++)
        err = compare_certificates(s, (enum ledger_cert_kind)kind, why);
    if (err == CW_OK)
        err = compare_terms(s, why);
    if (err == CW_OK && s->o->piv)
        err = resume_piv(s, why);
    if (err == CW_OK)
        err = mailer_find(s->bank, s->desk->serial, false, s->mailer.path, why);
    return err == CW_OK ? finish(s, why) : err;
}

enum cw_err issue_card(struct bank *bank, const struct issue_options *options,
                       struct issue_result *out, struct say *why)
{
    struct issue *s = calloc(1, sizeof *s);
    struct ledger_card card = {0};
    bool blank = true;
    if (s == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    s->bank = bank;
    s->o = options;
    enum cw_err err = prepare(s, why);
    if (err == CW_OK)
        err = desk_open(bank, options->reader, &s->desk, why);
    if (err == CW_OK) {
        blank = s->desk->info.life == LINK_LIFE_BLANK;
        err = blank ? issue_blank(s, why) : resume(s, why);
    }
    if (err == CW_OK)
        err = ledger_card_get(bank->ledger, s->desk->info.serial, &card, why);
    if (err == CW_OK) {
        *out = (struct issue_result){.keys = s->desk->info.keys,
                                     .resumed = !blank,
                                     .status = card.status,
                                     .spent = reader_stats(s->desk->reader)};
        for (size_t i = 0; i < s->cert_count; i++)
            out->keys |= (uint8_t)(1u << (s->certs[i].slot - 1));
        memcpy(out->serial, s->desk->info.serial, sizeof out->serial);
        memcpy(out->mailer, s->mailer.path, sizeof out->mailer);
        memcpy(out->piv_mailer, s->piv_mailer.path, sizeof out->piv_mailer);
    }
    desk_free(&s->desk);
    mailer_wipe(&s->mailer);
    mailer_wipe(&s->piv_mailer);
    ct_wipe(s, sizeof *s);
    free(s);
    return err;
}
