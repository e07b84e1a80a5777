/* order.c - what cards sign in a simulation: good orders, and every kind of bad one. */
#include "bank/account.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    GOOD,
    TOO_MUCH,
    FOREIGN_ACCOUNT,
    NO_PAYEE,
    OTHER_NAME,
    OTHER_CURRENCY,
    SAME_ACCOUNT,
    OLD_COUNTER,
    OLD_NUMBER,
    OTHER_SIGNER,
    CHANGED,
    UNREADABLE,
    EXPIRED,
    KINDS,
};

static void fill(struct world *w, struct model_sheet *s, enum kind kind)
{
    struct dice *d = &w->dice;
    const struct model *m = &w->model;
    unsigned holder = m->holder[s->card], payer = holder + MODEL_CUSTOMERS * dice_below(d, 2);
    unsigned payee = (payer + 1 + dice_below(d, MODEL_ACCOUNTS - 1)) % MODEL_ACCOUNTS;
    const struct model_sheet *old =
        m->count > 0 ? &m->sheets[dice_below(d, (uint32_t)m->count)] : NULL;
    if (kind == FOREIGN_ACCOUNT)
        payer = (holder + 1) % MODEL_CUSTOMERS;
    if (kind == SAME_ACCOUNT || payer == payee)
        payee = kind == SAME_ACCOUNT ? payer : (payer + 1) % MODEL_ACCOUNTS;
    strcpy(s->f.payer, m->accounts[payer].number);
    strcpy(s->f.payee, m->accounts[payee].number);
    strcpy(s->f.payee_name, m->names[m->accounts[payee].customer]);
    if (kind == NO_PAYEE)
        account_number_make(dice_below(d, 1000), s->f.payee);
    if (kind == OTHER_NAME)
        strcpy(s->f.payee_name, "Mallory");
    s->f.amount = kind == TOO_MUCH ? 10000000 : 1 + dice_below(d, 2500);
    strcpy(s->f.currency, kind == OTHER_CURRENCY ? "USD" : "EUR");
    snprintf(s->f.reference, sizeof s->f.reference, "Order %zu", m->count + 1);
    s->f.expiry = w->now + (kind == EXPIRED ? 0 : 20 + dice_below(d, 600));
    dice_fill(d, s->f.id, sizeof s->f.id);
    if (kind == OLD_NUMBER && old != NULL)
        memcpy(s->f.id, old->f.id, sizeof s->f.id);
    s->counter = ++w->cards[s->card].counter;
    if (kind == OLD_COUNTER && old != NULL) { /* as a copy of the card would sign */
        s->card = old->card;
        s->counter = old->counter;
    }
}

static enum cw_err write_text(const struct world *w, struct model_sheet *s, struct say *why)
{
    struct buf_writer b;
    struct order_seal seal = {.counter = s->counter};
    memcpy(seal.serial, w->cards[s->card].serial, sizeof seal.serial);
    memcpy(seal.binding, s->binding, sizeof seal.binding);
    buf_writer_init(&b, s->text, sizeof s->text);
    enum cw_err err = order_text_write(&s->f, &seal, &b);
    s->text_len = b.len;
    return err == CW_OK ? CW_OK : say_fail(why, err, "an order of the simulation is none");
}

static enum cw_err sign(EVP_PKEY *key, const struct model_sheet *s, uint8_t *out, size_t *len,
                        struct say *why)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestSign(ctx, out, len, s->text, s->text_len) == 1;
    EVP_MD_CTX_free(ctx);
    return good ? CW_OK : say_fail(why, CW_ERR_CRYPTO, "a card of the simulation cannot sign");
}

/* As a terminal sends it. */
static enum cw_err write_body(struct model_sheet *s, const uint8_t *signature, size_t len,
                              struct say *why)
{
    unsigned char text[2 * ORDER_TEXT_MAX], sig[2 * LEDGER_SIGNATURE_MAX];
    int a = EVP_EncodeBlock(text, s->text, (int)s->text_len);
    int b = EVP_EncodeBlock(sig, signature, (int)len);
    if (asprintf(&s->body, "{\"order\":\"%.*s\",\"signature\":\"%.*s\"}", a, text, b, sig) < 0) {
        s->body = NULL;
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    }
    return CW_OK;
}

static enum cw_err make(struct world *w, struct model_sheet *s, enum kind kind, struct say *why)
{
    uint8_t signature[LEDGER_SIGNATURE_MAX];
    size_t len = sizeof signature;
    unsigned signer = s->card;
    enum cw_err err = write_text(w, s, why);
    if (kind == OTHER_SIGNER)
        signer = (s->card + 1) % MODEL_CARDS;
    if (err == CW_OK)
        err = sign(w->cards[signer].key, s, signature, &len, why);
    s->signed_by = kind != OTHER_SIGNER && kind != CHANGED;
    s->readable = kind != UNREADABLE;
    if (kind == CHANGED && err == CW_OK) { /* between the card and the bank */
        s->f.amount++;
        err = write_text(w, s, why);
    }
    if (kind == UNREADABLE)
        s->text_len--;
    return err == CW_OK ? write_body(s, signature, len, why) : err;
}

enum cw_err world_order(struct world *w, size_t *sheet, struct say *why)
{
    struct model *m = &w->model;
    if ((m->count & (m->count - 1)) == 0) { /* full: 0, 1, 2, 4... */
        size_t room = m->count == 0 ? 1 : 2 * m->count;
        struct model_sheet *more = realloc(m->sheets, room * sizeof *more);
        if (more == NULL)
            return say_fail(why, CW_ERR_SPACE, "out of memory");
        m->sheets = more;
    }
    struct model_sheet *s = &m->sheets[m->count];
    *s = (struct model_sheet){.card = dice_below(&w->dice, MODEL_CARDS)};
    enum kind kind = dice_once_in(&w->dice, 3) ? dice_below(&w->dice, KINDS) : GOOD;
    fill(w, s, kind);
    const struct api_line *line = &w->cards[s->card].lines[dice_below(&w->dice, WORLD_LINES)];
    memcpy(s->binding, line->binding, sizeof s->binding);
    enum cw_err err = make(w, s, kind, why);
    if (err == CW_OK) {
        *sheet = m->count++;
        world_trace(w, "order %zu kind %d card %u counter %u", *sheet, (int)kind, s->card,
                    s->counter);
    }
    return err;
}
