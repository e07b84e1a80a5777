#include "bank/manage.h"

#include "bank/certify.h"
#include "bank/issuer_channel.h"
#include "bank/ledger_revoke.h"
#include "proto/ber.h"

#include <stdlib.h>
#include <string.h>

/* A card in the reader that the ledger knows, and what the ledger says of it. */
static enum cw_err find_card(struct bank *bank, const char *reader, struct desk **desk,
                             struct ledger_card *card, struct say *why)
{
    enum cw_err err = desk_open(bank, reader, desk, why);
    if (err == CW_OK)
        err = ledger_card_get(bank->ledger, (*desk)->info.serial, card, why);
    if (err == CW_OK && card->status == LEDGER_CARD_ISSUING)
        err = say_fail(why, CW_ERR_STATE,
                       "the issuance of the card %s was never finished; run 'cardwired card issue' "
                       "for it again",
                       (*desk)->serial);
    return err;
}

static const struct act {
    const char *verb;
    enum link_life to;
    unsigned from; /* mask of 1 << enum link_life */
} acts[] = {
    [MANAGE_ACTIVATE] = {"activated", LINK_LIFE_ACTIVE, 1u << LINK_LIFE_PERSONALISED},
    [MANAGE_LOCK] = {"locked", LINK_LIFE_LOCKED,
                     1u << LINK_LIFE_ACTIVE | 1u << LINK_LIFE_PERSONALISED},
    [MANAGE_UNLOCK] = {"unlocked", LINK_LIFE_ACTIVE, 1u << LINK_LIFE_LOCKED},
    [MANAGE_TERMINATE] = {"terminated", LINK_LIFE_TERMINATED,
                          1u << LINK_LIFE_ACTIVE | 1u << LINK_LIFE_PERSONALISED |
                              1u << LINK_LIFE_LOCKED},
};

/* Is it the card that is meant? One that is terminated already proves nothing, and could be any. */
static enum cw_err check_named(const struct desk *d, bool again, const uint8_t *named,
                               struct say *why)
{
    if (named != NULL && memcmp(named, d->info.serial, sizeof d->info.serial) != 0)
        return say_fail(why, CW_ERR_STATE, "the card in the reader is another one: %s", d->serial);
    if (again && named == NULL && d->info.life == LINK_LIFE_TERMINATED)
        return say_fail(why, CW_ERR_STATE,
                        "the card in the reader is terminated already and cannot prove that it is "
                        "%s; if you know it is, give the command with --card %s",
                        d->serial, d->serial);
    return CW_OK;
}

/* Has the card gone this step before, and only the ledger does not know? */
static bool half_done(const struct desk *d, const struct ledger_card *card, enum manage_act act)
{
    if (act == MANAGE_TERMINATE)
        return d->info.life == LINK_LIFE_TERMINATED && card->status != LEDGER_CARD_TERMINATED;
    return (act == MANAGE_ACTIVATE || act == MANAGE_UNLOCK) && d->info.life == LINK_LIFE_ACTIVE &&
           card->status == LEDGER_CARD_PERSONALISED;
}

static enum cw_err tell_ledger(struct bank *bank, const struct ledger_card *card,
                               enum manage_act act, struct say *why)
{
    if (act == MANAGE_TERMINATE)
        return ledger_card_terminate(bank->ledger, card->serial, why);
    if (acts[act].to == LINK_LIFE_ACTIVE && card->status == LEDGER_CARD_PERSONALISED)
        return ledger_card_activate(bank->ledger, card->serial, why);
    return CW_OK;
}

enum cw_err manage_life_set(struct bank *bank, const char *reader, enum manage_act act,
                            const uint8_t *named, struct manage_result *out, struct say *why)
{
    struct desk *d = NULL;
    struct ledger_card card;
    enum cw_err err = find_card(bank, reader, &d, &card, why);
    bool again = err == CW_OK && half_done(d, &card, act);
    if (err == CW_OK)
        err = check_named(d, again, named, why);
    if (err == CW_OK && !again && (acts[act].from >> d->info.life & 1) == 0)
        err = say_fail(why, CW_ERR_STATE, "the card %s is %s, and cannot be %s", d->serial,
                       link_life_name(d->info.life), acts[act].verb);
    /* A card that is terminated already has no keys left to prove itself with. */
    if (err == CW_OK && d->info.life != LINK_LIFE_TERMINATED)
        err = desk_channel_open(d, why);
    if (err == CW_OK && !again)
        err = desk_life_set(d, acts[act].to, why);
    if (err == CW_OK)
        err = tell_ledger(bank, &card, act, why);
    if (err == CW_OK)
        err = ledger_card_get(bank->ledger, card.serial, &card, why);
    if (err == CW_OK) {
        *out = (struct manage_result){
            .life = acts[act].to, .status = card.status, .unproved = d->channel == NULL};
        memcpy(out->serial, card.serial, sizeof out->serial);
    }
    desk_free(&d);
    return err;
}

static enum cw_err read_policy(struct desk *d, struct policy *out, struct say *why)
{
    uint8_t value[POLICY_LEN_MAX];
    size_t len = 0;
    enum cw_err err = desk_object_get(d, LINK_DO_POLICY, value, sizeof value, &len, why);
    if (err == CW_OK && policy_decode(value, len, out) != CW_OK)
        err = say_fail(why, CW_ERR_FORMAT, "the card holds a policy that is none");
    return err;
}

/* The mailer comes before the card: a PIN in the card that nobody knows would be worse than a
 * letter with one that is in no card, and the same command makes both anew. */
static enum cw_err reset(struct desk *d, const struct manage_pins *pins, struct mailer *m,
                         struct say *why)
{
    struct policy policy;
    enum cw_err err = read_policy(d, &policy, why);
    if (err == CW_OK)
        err = mailer_read(m, &policy.pin, why);
    if (err == CW_OK)
        err = mailer_write(m, d->bank, d->serial, &policy.pin, why);
    if (err == CW_OK)
        err = desk_pin_put(d, LINK_PIN_HOLDER, policy.pin.tries,
                           pins->transport_pin ? LINK_PIN_TRANSPORT : 0, &m->pin, why);
    if (err == CW_OK)
        err = desk_pin_put(d, LINK_PIN_PUK, MAILER_PUK_TRIES, 0, &m->puk, why);
    return err;
}

/* What came of a visit that gave the card new numbers. */
static struct manage_result result_of(const struct desk *d, const struct ledger_card *card,
                                      const struct mailer *m)
{
    struct manage_result r = {.life = d->info.life, .status = card->status};
    memcpy(r.serial, card->serial, sizeof r.serial);
    memcpy(r.mailer, m->path, sizeof r.mailer);
    return r;
}

enum cw_err manage_pin_reset(struct bank *bank, const char *reader, const struct manage_pins *pins,
                             struct manage_result *out, struct say *why)
{
    struct desk *d = NULL;
    struct ledger_card card;
    struct mailer m = {.pin_file = pins->pin_file, .puk_file = pins->puk_file};
    enum cw_err err = find_card(bank, reader, &d, &card, why);
    if (err == CW_OK && d->info.life != LINK_LIFE_ACTIVE && d->info.life != LINK_LIFE_PERSONALISED)
        err = say_fail(why, CW_ERR_STATE, "the card %s is %s, and takes no new PIN", d->serial,
                       link_life_name(d->info.life));
    if (err == CW_OK)
        err = desk_channel_open(d, why);
    if (err == CW_OK)
        err = reset(d, pins, &m, why);
    if (err == CW_OK)
        *out = result_of(d, &card, &m);
    mailer_wipe(&m);
    desk_free(&d);
    return err;
}

static enum cw_err give(struct desk *d, const struct piv_options *options, struct mailer *m,
                        struct say *why)
{
    bool held = false;
    if (d->info.life != LINK_LIFE_ACTIVE && d->info.life != LINK_LIFE_PERSONALISED)
        return say_fail(why, CW_ERR_STATE, "the card %s is %s, and takes no PIV application",
                        d->serial, link_life_name(d->info.life));
    enum cw_err err = desk_channel_open(d, why);
    if (err == CW_OK)
        err = piv_is_held(d, &held, why);
    if (err == CW_OK && held)
        err = say_fail(why, CW_ERR_STATE, "the card %s has its PIV keys and certificates already",
                       d->serial);
    return err == CW_OK ? piv_give(d, options, m, why) : err;
}

enum cw_err manage_piv_give(struct bank *bank, const char *reader,
                            const struct piv_options *options, struct manage_result *out,
                            struct say *why)
{
    struct desk *d = NULL;
    struct ledger_card card;
    struct mailer m;
    enum cw_err err = piv_prepare(bank, options, &m, why);
    if (err == CW_OK)
        err = find_card(bank, reader, &d, &card, why);
    if (err == CW_OK)
        err = give(d, options, &m, why);
    if (err == CW_OK)
        *out = result_of(d, &card, &m);
    mailer_wipe(&m);
    desk_free(&d);
    return err;
}

/* ---- new certificates ---- */

struct renewal {
    struct ledger_certificate now[LEDGER_CERTS_PER_CARD], next[CERTIFY_SLOTS];
    size_t count;
};

/* Those of one kind. */
static enum cw_err certify_anew(struct desk *d, enum ledger_cert_kind kind,
                                const struct certify_ca *ca, int days, struct renewal *r,
                                struct say *why)
{
    size_t count = 0;
    enum cw_err err =
        ledger_certificates_get(d->bank->ledger, d->info.serial, kind, r->now, &count, why);
    for (size_t i = 0; i < count && err == CW_OK; i++)
        for (size_t k = 0; k < CERTIFY_SLOTS && err == CW_OK; k++)
            if (certify_slots[k].key == r->now[i].slot)
                err = certify_key(d, &certify_slots[k], ca, days, &r->now[i], &r->next[r->count++],
                                  why);
    return err;
}

static enum cw_err renew(struct desk *d, int days, struct renewal *r, struct say *why)
{
    struct certify_ca ca;
    enum cw_err err = certify_open(d->bank, days, &ca, why);
    if (err == CW_OK)
        err = desk_channel_open(d, why);
    if (err == CW_OK)
        err = certify_anew(d, LEDGER_CERT_TLS, &ca, days, r, why);
    if (err == CW_OK)
        err = certify_anew(d, LEDGER_CERT_ORDER, &ca, days, r, why);
    certify_close(&ca);
    if (err == CW_OK)
        err = ledger_certificates_renew(d->bank->ledger, d->info.serial, r->next, r->count, why);
    for (size_t i = 0; i < r->count && err == CW_OK; i++)
        err = desk_object_put(d, (uint16_t)(LINK_DO_CERT | r->next[i].slot), r->next[i].der,
                              r->next[i].der_len, why);
    return err;
}

enum cw_err manage_renew(struct bank *bank, const char *reader, const uint8_t *named, int days,
                         struct manage_result *out, struct say *why)
{
    struct desk *d = NULL;
    struct ledger_card card;
    struct renewal *r = calloc(1, sizeof *r);
    if (r == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = find_card(bank, reader, &d, &card, why);
    if (err == CW_OK)
        err = check_named(d, false, named, why);
    if (err == CW_OK && card.status != LEDGER_CARD_ACTIVE &&
        card.status != LEDGER_CARD_PERSONALISED)
        err = say_fail(why, CW_ERR_STATE, "the card %s is %s, and gets no new certificates",
                       d->serial, ledger_card_status_name(card.status));
    if (err == CW_OK && d->info.life != LINK_LIFE_ACTIVE && d->info.life != LINK_LIFE_PERSONALISED)
        err = say_fail(why, CW_ERR_STATE, "the card %s is %s, and takes no new certificates",
                       d->serial, link_life_name(d->info.life));
    if (err == CW_OK)
        err = renew(d, days, r, why);
    if (err == CW_OK) {
        *out = (struct manage_result){
            .life = d->info.life, .status = card.status, .renewed = r->count};
        memcpy(out->serial, card.serial, sizeof out->serial);
    }
    desk_free(&d);
    free(r);
    return err;
}

/* ---- updates at the reader ---- */

/* What the card says of itself in the channel, where nobody between can say it. */
static enum cw_err ask(struct desk *d, uint16_t tag, size_t len, uint64_t *out, struct say *why)
{
    uint8_t info[CHANNEL_DATA_MAX];
    size_t n = 0;
    struct ber_object o;
    uint64_t v = 0;
    enum cw_err err = desk_command(d, APDU_CLA_PROPRIETARY, INS_INFO, LINK_INFO_CARD << 8, NULL, 0,
                                   info, sizeof info, &n, "tell about itself", why);
    if (err != CW_OK)
        return err;
    if (ber_find(info, n, tag, &o) != CW_OK || o.len != len)
        return say_fail(why, CW_ERR_FORMAT,
                        "the card says of itself what this program does not understand");
    for (size_t i = 0; i < len; i++)
        v = v << 8 | o.value[i];
    *out = v;
    return CW_OK;
}

/* Only forward: the card takes nothing else. */
static enum cw_err put_time(struct desk *d, struct say *why)
{
    uint8_t value[8];
    uint64_t floor = 0;
    struct buf_writer w;
    const uint64_t now = (uint64_t)ledger_now(d->bank->ledger);
    enum cw_err err = ask(d, LINK_TAG_TIME, sizeof value, &floor, why);
    if (err != CW_OK || now <= floor)
        return err;
    buf_writer_init(&w, value, sizeof value);
    buf_put_u64(&w, now);
    return desk_object_put(d, LINK_DO_TIME, value, w.len, why);
}

static enum cw_err apply(struct desk *d, const struct ledger_update *u, struct say *why)
{
    uint8_t answer[4];
    size_t n = 0;
    struct buf_reader r;
    enum cw_err err = desk_command(d, APDU_CLA_PROPRIETARY, INS_APPLY, 0, u->message, u->len,
                                   answer, sizeof answer, &n, "take an update", why);
    if (err != CW_OK)
        return err;
    buf_reader_init(&r, answer, n);
    if (n != sizeof answer || buf_get_u32(&r) != u->sequence)
        return say_fail(why, CW_ERR_FORMAT, "the card says that it has taken another update");
    return CW_OK;
}

/* One after the other, as long as the card is active: after one that locks or terminates it, it
 * takes no more. */
static enum cw_err apply_all(struct desk *d, struct manage_result *out, struct say *why)
{
    uint64_t after = 0, life = LINK_LIFE_ACTIVE;
    size_t count = 1;
    struct ledger *l = d->bank->ledger;
    struct ledger_update *u = malloc(sizeof *u);
    if (u == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ask(d, LINK_TAG_SEQUENCE, 4, &after, why);
    if (err == CW_OK && after > 0) /* what it took, and no terminal reported */
        err = ledger_update_applied(l, d->info.serial, (uint32_t)after, why);
    while (err == CW_OK && count > 0 && life == LINK_LIFE_ACTIVE) {
        err = ledger_updates_get(l, d->info.serial, (uint32_t)after, u, 1, &count, why);
        if (err != CW_OK || count == 0)
            break;
        err = apply(d, u, why);
        if (err == CW_OK)
            err = ledger_updates_fetched(l, d->info.serial, (uint32_t)after, u->sequence, why);
        if (err == CW_OK)
            err = ledger_update_applied(l, d->info.serial, u->sequence, why);
        if (err == CW_OK)
            err = ask(d, LINK_TAG_LIFE, 1, &life, why);
        after = u->sequence;
        out->first = out->first == 0 ? u->sequence : out->first;
        out->last = u->sequence;
    }
    out->life = (enum link_life)life;
    free(u);
    return err;
}

enum cw_err manage_sync(struct bank *bank, const char *reader, struct manage_result *out,
                        struct say *why)
{
    struct desk *d = NULL;
    struct ledger_card card;
    struct ledger_management m;
    struct manage_result result = {.first = 0};
    enum cw_err err = find_card(bank, reader, &d, &card, why);
    if (err == CW_OK)
        err = ledger_management_get(bank->ledger, card.serial, &m, why);
    if (err == CW_OK && d->info.life != LINK_LIFE_ACTIVE)
        err = say_fail(why, CW_ERR_STATE, "the card %s is %s, and takes no updates", d->serial,
                       link_life_name(d->info.life));
    if (err == CW_OK)
        err = desk_channel_open(d, why);
    if (err == CW_OK)
        err = put_time(d, why);
    if (err == CW_OK)
        err = apply_all(d, &result, why);
    if (err == CW_OK && result.life == LINK_LIFE_TERMINATED)
        err = ledger_card_terminate(bank->ledger, card.serial, why);
    if (err == CW_OK)
        err = ledger_card_get(bank->ledger, card.serial, &card, why);
    if (err == CW_OK) {
        result.status = card.status;
        memcpy(result.serial, card.serial, sizeof result.serial);
        *out = result;
    }
    desk_free(&d);
    return err;
}
