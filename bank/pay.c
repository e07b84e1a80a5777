#include "bank/pay.h"

#include "bank/api_json.h"
#include "bank/log.h"
#include "bank/metrics.h"
#include "base/ct.h"
#include "host/base64.h"
#include "host/clock.h"
#include "receipt/signature.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What came in, decoded. */
struct signed_order {
    uint8_t text[ORDER_TEXT_MAX];
    size_t text_len;
    uint8_t signature[LEDGER_SIGNATURE_MAX];
    size_t signature_len;
};

/* An order that was found good. */
struct pay_waiting {
    struct signed_order s;
    struct ledger_order o; /* of it */
    struct api_line line;
    void *owner; /* of the answer; NULL: nobody any more */
};

static enum cw_err decode(const struct api_request *request, struct signed_order *out)
{
    const char *order, *signature;
    size_t order_len, signature_len;
    enum cw_err err = CW_ERR_FORMAT;
    json_t *body = api_body_parse(request);
    /* "!": a name that we do not know might say something that we would ignore. */
    if (body != NULL && json_unpack_ex(body, NULL, 0, "{s:s%, s:s%!}", "order", &order, &order_len,
                                       "signature", &signature, &signature_len) == 0)
        err = base64_decode(order, order_len, out->text, sizeof out->text, &out->text_len);
    if (err == CW_OK)
        err = base64_decode(signature, signature_len, out->signature, sizeof out->signature,
                            &out->signature_len);
    json_decref(body);
    return err;
}

static bool in_date(X509 *cert, int64_t now)
{
    time_t t = (time_t)now;
    return X509_cmp_time(X509_get0_notBefore(cert), &t) < 0 &&
           X509_cmp_time(X509_get0_notAfter(cert), &t) > 0;
}

/* A certificate that verifies the signature: a card may have one of each kind of key, and the order
 * does not say which signed it. Those that the line has seen verify an order are tried first, and
 * are not read again; what became of the card meanwhile is seen when the order is booked. */
static bool verify_known(struct api *api, const struct api_line *line, struct pay_waiting *w)
{
    X509 *cert = keycache_find(&api->keys, line->signer);
    if (!line->signed_before || cert == NULL || !in_date(cert, ledger_now(api->bank->ledger)) ||
        !signature_good(X509_get0_pubkey(cert), w->s.text, w->s.text_len, w->s.signature,
                        w->s.signature_len))
        return false;
    memcpy(w->o.certificate, line->signer, sizeof line->signer);
    return true;
}

static enum cw_err find_signer(struct api *api, struct api_line *line, struct pay_waiting *w,
                               bool *good, struct say *why)
{
    size_t count = 0;
    *good = verify_known(api, line, w);
    if (*good)
        return CW_OK;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    if (certs == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_certificates_get(api->bank->ledger, line->card, LEDGER_CERT_ORDER,
                                              certs, &count, why);
    for (size_t i = 0; i < count && err == CW_OK && !*good; i++) {
        X509 *cert;
        if ((err = keycache_get(&api->keys, &certs[i], &cert)) != CW_OK) {
            say_fail(why, err, "an order certificate in the ledger is damaged");
            break;
        }
        memcpy(line->signer, certs[i].sha256, sizeof line->signer);
        line->signed_before = true;
        *good = verify_known(api, line, w);
    }
    line->signed_before = *good;
    free(certs);
    return err;
}

static json_t *payment_json(const struct ledger_order *o, const struct ledger_booking *b)
{
    const struct order_fields *f = &o->fields;
    return json_pack("{s:I, s:o, s:s, s:o, s:s, s:s, s:s, s:o, s:s, s:s}", "id", (json_int_t)b->id,
                     "order", api_hex(f->id, sizeof f->id), "status", "booked", "time",
                     api_time(b->time), "payer", f->payer, "payee", f->payee, "payee_name",
                     f->payee_name, "amount", api_money(f->amount, f->currency), "currency",
                     f->currency, "reference", f->reference);
}

/* The reply is stored with the booking. */
static char *make_reply(void *ctx, const struct ledger_order *o, const struct ledger_booking *b)
{
    (void)ctx;
    json_t *reply = json_pack("{s:o, s:o, s:b}", "payment", payment_json(o, b), "balance",
                              api_money(b->balance, o->fields.currency), "replayed", 0);
    char *text = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;
    json_decref(reply);
    return text;
}

static enum cw_err reply_stored(struct api_reply *reply, const struct ledger_payment *p,
                                bool replayed)
{
    json_t *body = json_loads(p->reply, 0, NULL);
    if (replayed && body != NULL && json_object_set_new(body, "replayed", json_true()) != 0) {
        json_decref(body);
        body = NULL;
    }
    return api_reply_json(reply, replayed ? 200 : 201, body);
}

/* The books failed, but this much is sure: the order is not in them. */
static enum cw_err reply_not_booked(struct api_reply *reply, const struct say *why)
{
    log_event(LOG_ERROR, "store", log_text("why", why->text)); /* names files: not for the holder */
    return api_reply_problem(reply, "store",
                             "The bank cannot reach its books now; this order was not booked. Try "
                             "the same order again later.");
}

/* The order id is looked up first of all, before the binding to the line: an order whose answer was
 * lost comes in again over a new line. But only to the card that signed it. CW_ERR_NOT_FOUND: new.
 */
static enum cw_err serve_repeat(struct api *api, const struct api_line *line,
                                const struct ledger_order *o, struct api_reply *reply)
{
    struct say why;
    struct ledger_payment *p = NULL;
    enum cw_err err = ledger_payment_find(api->bank->ledger, o->fields.id, &p, &why);
    if (err == CW_ERR_NOT_FOUND)
        return err;
    if (err != CW_OK) /* it may well be booked */
        return api_reply_unknown(reply, &why);
    if (!ct_equal(p->request, o->request, sizeof p->request))
        err = api_reply_problem(reply, "order-conflict",
                                "Another order was booked under this order's number; this one was "
                                "not.");
    else if (memcmp(p->card, line->card, sizeof p->card) != 0)
        err = api_reply_problem(reply, "order-other-card",
                                "This order was signed by another card than the one of this line.");
    else if (ledger_confirm(api->bank->ledger, &why) != CW_OK)
        err = api_reply_unknown(reply, &why);
    else
        err = reply_stored(reply, p, true);
    ledger_payment_free(&p);
    return err;
}

/* What the order says against the line it came in by. *name is the problem, NULL when none. */
static void check_line(const struct api_line *line, const struct ledger_order *o, int64_t now,
                       const char **name, const char **detail)
{
    *name = NULL;
    if (memcmp(o->seal.serial, line->card, sizeof line->card) != 0) {
        *name = "order-other-card";
        *detail = "This order was signed by another card than the one of this line.";
    } else if (!line->bound || !ct_equal(o->seal.binding, line->binding, sizeof line->binding)) {
        *name = "order-other-line";
        *detail = "This order was signed for another line; sign it again in this one.";
    } else if (o->fields.expiry <= now) {
        *name = "order-expired";
        *detail = "This order has expired and was not booked.";
    }
}

/* Why the order was not booked. */
static enum cw_err reply_refusal(enum ledger_verdict verdict, const struct ledger_order *o,
                                 struct api_reply *reply)
{
    static const struct {
        const char *name, *detail;
    } refusals[] = {
        [LEDGER_CONFLICT] = {"order-conflict",
                             "Another order was booked under this order's number; "
                             "this one was not."},
        [LEDGER_COUNTER_USED] = {"order-counter",
                                 "The card used this order's counter for another order."},
        [LEDGER_CARD_NOT_ACTIVE] = {"card-blocked", "This card is blocked; ask your bank."},
        [LEDGER_ACCOUNT_UNKNOWN] = {"account-unknown", "The account to pay from is not one of "
                                                       "yours."},
        [LEDGER_PAYEE_UNKNOWN] = {"payee-unknown", "The payee's account is not one of this bank."},
        [LEDGER_PAYEE_NAME] = {"payee-name", "The payee's account belongs to somebody of another "
                                             "name than the order says."},
        [LEDGER_CURRENCY] = {"currency", "Both accounts must be in the currency of the order."},
        [LEDGER_SAME_ACCOUNT] = {"same-account", "The order pays from an account to itself."},
        [LEDGER_FUNDS] = {"funds", "The account does not hold that much."},
        [LEDGER_FROZEN] = {"account-frozen", "One of the accounts is frozen; ask your bank."},
    };
    _Static_assert(sizeof refusals / sizeof refusals[0] == LEDGER_LINKED,
                   "no route books linked orders yet");
    if (verdict == LEDGER_PAYEE_UNKNOWN && account_number_check(o->fields.payee) != CW_OK)
        return api_reply_problem(reply, "payee-unknown",
                                 "The payee's account number is mistyped: its check digits do not "
                                 "fit.");
    return api_reply_problem(reply, refusals[verdict].name, "%s", refusals[verdict].detail);
}

/* What came of one order; `err` is that of all. After a booking nothing may fail: the answer was
 * made before. */
static enum cw_err reply_outcome(struct api *api, const struct pay_waiting *w,
                                 struct ledger_request *r, enum cw_err err, const struct say *why,
                                 struct api_reply *reply)
{
    if (err != CW_OK && !r->looked) /* it may have been booked before */
        return api_reply_unknown(reply, why);
    if (err != CW_OK)
        return reply_not_booked(reply, why);
    if (r->verdict == LEDGER_BOOKED) {
        api_reply_text(reply, 201, r->reply);
        r->reply = NULL;
        return CW_OK;
    }
    if (r->verdict == LEDGER_UNKNOWN)
        return api_reply_unknown(reply, why);
    if (r->verdict != LEDGER_REPEATED)
        return reply_refusal(r->verdict, &w->o, reply);
    /* It was booked between the first look and this one. */
    err = serve_repeat(api, &w->line, &w->o, reply);
    return err == CW_ERR_NOT_FOUND ? CW_ERR_STATE : err;
}

void pay_commit(struct api *api, api_answer *answer)
{
    struct say why = {""};
    struct ledger_request requests[LEDGER_BATCH_MAX];
    struct pay_queue q = api->queue;
    if (q.count == 0)
        return;
    api->queue.count = 0;
    uint64_t start = clock_ns();
    for (size_t i = 0; i < q.count; i++)
        requests[i] = (struct ledger_request){.order = &q.waiting[i]->o};
    enum cw_err err = ledger_payments_book(api->bank->ledger, requests, q.count, make_reply, &why);
    metrics_commit(api->metrics, q.count, clock_ns() - start);
    for (size_t i = 0; i < q.count; i++) {
        struct pay_waiting *w = q.waiting[i];
        struct api_reply reply = {.route = PAY_ROUTE};
        bool good = reply_outcome(api, w, &requests[i], err, &why, &reply) == CW_OK;
        free(requests[i].reply);
        if (w->owner != NULL)
            answer(w->owner, good ? &reply : NULL);
        api_reply_clear(&reply);
        free(w);
    }
}

void pay_leave(struct api *api, const void *owner)
{
    for (size_t i = 0; i < api->queue.count; i++)
        if (api->queue.waiting[i]->owner == owner)
            api->queue.waiting[i]->owner = NULL;
}

void pay_forget(struct api *api)
{
    while (api->queue.count > 0)
        free(api->queue.waiting[--api->queue.count]);
}

/* A new order, by its line: nothing about it has been believed yet. */
static enum cw_err take_new(struct api *api, struct api_line *line, struct pay_waiting **waiting,
                            struct api_reply *reply)
{
    struct say why;
    bool good = false;
    struct pay_waiting *w = *waiting;
    enum cw_err err = find_signer(api, line, w, &good, &why);
    if (err != CW_OK)
        return api_reply_unknown(reply, &why); /* it may have been booked before */
    /* Its certificate may have ended since it was booked. */
    if (!good && (err = serve_repeat(api, line, &w->o, reply)) != CW_ERR_NOT_FOUND)
        return err;
    if (!good)
        return api_reply_problem(reply, "order-signature",
                                 "The card's signature does not fit this order.");
    api->queue.waiting[api->queue.count++] = w;
    *waiting = NULL;
    reply->later = true;
    return CW_OK;
}

static enum cw_err take(struct api *api, struct api_line *line, const struct api_request *request,
                        struct pay_waiting **waiting, struct api_reply *reply)
{
    const char *name, *detail;
    struct signed_order *s = &(*waiting)->s;
    struct ledger_order *o = &(*waiting)->o;
    if (decode(request, s) != CW_OK)
        return api_reply_problem(reply, "malformed",
                                 "A payment is {\"order\":BASE64,\"signature\":BASE64}.");
    if (order_text_parse(s->text, s->text_len, &o->fields, &o->seal) != CW_OK)
        return api_reply_problem(reply, "order-malformed",
                                 "That is no order in the form that cards sign.");
    o->text = s->text;
    o->text_len = s->text_len;
    o->signature = s->signature;
    o->signature_len = s->signature_len;
    entry_request_hash(s->text, s->text_len, s->signature, s->signature_len, o->request);
    check_line(line, o, ledger_now(api->bank->ledger), &name, &detail);
    if (name == NULL)
        return take_new(api, line, waiting, reply);
    /* The order id comes first, before the binding to the line. */
    enum cw_err err = serve_repeat(api, line, o, reply);
    return err == CW_ERR_NOT_FOUND ? api_reply_problem(reply, name, "%s", detail) : err;
}

enum cw_err pay_take(struct api *api, struct api_line *line, const struct api_request *request,
                     void *owner, struct api_reply *reply)
{
    struct pay_waiting *w = malloc(sizeof *w);
    if (w == NULL)
        return CW_ERR_SPACE;
    w->line = *line;
    w->owner = owner;
    enum cw_err err = take(api, line, request, &w, reply);
    free(w);
    return err;
}
