/* cli_pay.c - cardwire pay: shows the order, has the card sign it, sends it. A signed order whose
 * answer was lost is sent again as it is: the bank books it once (docs/api.md). */
#include "terminal/cli.h"

#include "base/ct.h"
#include "host/base64.h"
#include "host/file.h"
#include "terminal/receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define EXPIRY_S      600 /* an order is good for ten minutes */
#define SIGNATURE_MAX 512u
#define SAVED_MAX     4096u

struct signed_order {
    uint8_t text[ORDER_TEXT_MAX];
    size_t text_len;
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len;
    bool pin; /* the card wanted its PIN */
};

/* Copies an option into a field of the order. */
static enum cli_exit take(struct cli *c, const char *option, const char *value, char *out,
                          size_t size)
{
    if (value == NULL)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_ARG, "pay wants %s; see cardwire --help", option);
    if (strlen(value) >= size)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_LENGTH,
                            "the value of %s is too long (at most %zu "
                            "bytes)",
                            option, size - 1);
    strcpy(out, value);
    return CLI_OK;
}

/* What can be known of the order before there is a line. */
static enum cli_exit read_fields(struct cli *c, struct order_fields *f)
{
    enum cli_exit code = take(c, "--to", c->opt.to, f->payee, sizeof f->payee);
    if (code == CLI_OK)
        code = take(c, "--currency", c->opt.currency, f->currency, sizeof f->currency);
    if (code == CLI_OK)
        code = take(c, "--reference", c->opt.reference != NULL ? c->opt.reference : "",
                    f->reference, sizeof f->reference);
    if (code == CLI_OK && c->opt.amount == NULL)
        code = take(c, "--amount", NULL, NULL, 0);
    if (code != CLI_OK)
        return code;
    enum cw_err err = strlen(f->currency) == 3
                          ? order_amount_parse(c->opt.amount, f->currency, &f->amount)
                          : CW_ERR_UNSUPPORTED;
    if (err == CW_ERR_UNSUPPORTED)
        return cli_fail_say(c, CLI_USAGE, err,
                            "'%s' is no currency that this program knows; write "
                            "three letters, such as EUR",
                            f->currency);
    if (err != CW_OK || f->amount == 0)
        return cli_fail_say(c, CLI_USAGE, CW_ERR_FORMAT,
                            "'%s' is no amount in %s; write for example 12.34, with a point and "
                            "without signs or separators",
                            c->opt.amount, f->currency);
    if (c->opt.order_id != NULL) {
        if (!cli_hex_parse(c->opt.order_id, f->id, sizeof f->id))
            return cli_fail_say(c, CLI_USAGE, CW_ERR_FORMAT, "--order-id is 32 hexadecimal digits");
    } else if (getrandom(f->id, sizeof f->id, 0) != (ssize_t)sizeof f->id) {
        return cli_fail_say(c, CLI_FAILED, CW_ERR_IO, "the system gives no randomness");
    }
    return CLI_OK;
}

/* What the bank knows: the payer's account, the payee's name. */
static enum cli_exit complete_fields(struct cli *c, struct cli_session *s, struct order_fields *f)
{
    char currency[4];
    json_t *payee = NULL;
    enum cli_exit code = cli_account_choose(c, s, c->opt.from, f->payer, currency);
    if (code != CLI_OK)
        return code;
    enum cw_err err = bank_payee(&s->bank, f->payee, &payee, &c->why);
    cli_progress_end(c);
    if (err == CW_ERR_FORMAT && s->bank.problem[0] == '\0' && !pump_failure(s->line).card)
        return cli_fail(c, CLI_USAGE, err);
    if (err != CW_OK)
        return cli_fail_line(c, s, err);
    const char *name = json_string_value(json_object_get(payee, "name"));
    if (name == NULL || strlen(name) > ORDER_NAME_MAX)
        code = cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_FORMAT,
                            "the bank gives no usable name for %s", f->payee);
    else
        strcpy(f->payee_name, name);
    json_decref(payee);
    if (code != CLI_OK)
        return code;
    f->expiry = (int64_t)time(NULL) + EXPIRY_S;
    err = order_check(f);
    if (err != CW_OK)
        return cli_fail_say(
            c, CLI_USAGE, err,
            "the order cannot be signed: a text has control characters or spaces at "
            "its ends, or an account number is malformed");
    return CLI_OK;
}

/* y or yes, on the terminal. */
static bool confirmed(void)
{
    char answer[8];
    FILE *tty = fopen("/dev/tty", "r+");
    if (tty == NULL)
        return false;
    fputs("Sign and pay this order? (y/N) ", tty);
    fflush(tty);
    bool yes = fgets(answer, sizeof answer, tty) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
    fclose(tty);
    return yes;
}

static enum cli_exit show_and_ask(struct cli *c, const struct order_fields *f)
{
    uint8_t text[ORDER_TEXT_MAX];
    struct buf_writer w;
    buf_writer_init(&w, text, sizeof text);
    enum cw_err err = order_text_write(f, NULL, &w);
    if (err != CW_OK)
        return cli_fail_say(c, CLI_FAILED, err, "the order cannot be written");
    if (!c->opt.json)
        fprintf(stderr, "%.*s", (int)w.len, (const char *)text);
    if (c->opt.yes)
        return CLI_OK;
    if (c->opt.json)
        fprintf(stderr, "%.*s", (int)w.len, (const char *)text);
    if (!confirmed())
        return cli_fail_say(c, CLI_FAILED, CW_ERR_REFUSED,
                            "the order was not confirmed (answer y, or give --yes); nothing was "
                            "signed or paid");
    return CLI_OK;
}

static enum cw_err ask_card(struct cli *c, struct cli_session *s, const struct order_fields *f,
                            struct signed_order *out, enum link_refusal *refusal)
{
    enum link_key key = c->opt.key == LINK_KEY_TLS_RSA    ? LINK_KEY_ORDER_RSA
                        : c->opt.key == LINK_KEY_TLS_P256 ? LINK_KEY_ORDER_P256
                                                          : LINK_KEY_AUTO;
    return applet_sign_order(s->reader, key, f, out->text, sizeof out->text, &out->text_len,
                             out->signature, sizeof out->signature, &out->signature_len, refusal,
                             &c->why);
}

/* The card is asked without the PIN first: it says by itself whether its policy is against the
 * order, before a try of the PIN is risked on it; whether it is small enough to go without; or that
 * it wants the PIN. */
static enum cli_exit sign(struct cli *c, struct cli_session *s, const struct order_fields *f,
                          struct signed_order *out)
{
    enum link_refusal refusal = LINK_REFUSAL_NONE;
    enum cw_err err = ask_card(c, s, f, out, &refusal);
    out->pin = err == CW_ERR_DENIED;
    if (out->pin) {
        enum cli_exit code = cli_pin_verify(c, s, LINK_PIN_ORDER, "to sign this order");
        if (code != CLI_OK)
            return code;
        err = ask_card(c, s, f, out, &refusal);
    }
    if (err == CW_ERR_REFUSED) {
        c->refusal = link_refusal_name(refusal);
        return cli_fail(c, CLI_CARD_REFUSED, err);
    }
    if (err != CW_OK)
        return cli_fail_card(c, err);
    struct order_fields seen;
    struct order_seal seal;
    /* What is sent must be what was shown: the card adds three lines and changes nothing. */
    uint8_t again[ORDER_TEXT_MAX];
    struct buf_writer w;
    buf_writer_init(&w, again, sizeof again);
    if (order_text_parse(out->text, out->text_len, &seen, &seal) != CW_OK ||
        order_text_write(f, &seal, &w) != CW_OK || w.len != out->text_len ||
        memcmp(again, out->text, w.len) != 0)
        return cli_fail_say(c, CLI_CARD, CW_ERR_FORMAT,
                            "the card signed another order than the one shown; it was not sent");
    return CLI_OK;
}

static enum cli_exit save(struct cli *c, const struct signed_order *o)
{
    char order[BASE64_LEN(ORDER_TEXT_MAX) + 1], sig[BASE64_LEN(SIGNATURE_MAX) + 1];
    if (base64_encode(o->text, o->text_len, order, sizeof order) != CW_OK ||
        base64_encode(o->signature, o->signature_len, sig, sizeof sig) != CW_OK)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_LENGTH, "the signed order is too long");
    json_t *doc = json_pack("{s:s, s:s}", "order", order, "signature", sig);
    char *text = json_dumps(doc, JSON_COMPACT);
    json_decref(doc);
    if (text == NULL)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_SPACE, "out of memory");
    enum cw_err err = file_write(c->opt.save, text, strlen(text), 0600, &c->why);
    free(text);
    return err == CW_OK ? CLI_OK : cli_fail(c, CLI_FAILED, err);
}

static bool decode(const json_t *doc, const char *key, uint8_t *out, size_t cap, size_t *len)
{
    const char *t = json_string_value(json_object_get(doc, key));
    return t != NULL && base64_decode(t, strlen(t), out, cap, len) == CW_OK;
}

static enum cli_exit load(struct cli *c, struct signed_order *o, struct order_fields *f)
{
    struct order_seal seal;
    uint8_t *data = NULL;
    size_t len = 0;
    enum cw_err err = file_read(c->opt.resend, SAVED_MAX, &data, &len, &c->why);
    if (err != CW_OK)
        return cli_fail(c, CLI_FAILED, err);
    json_t *doc = json_loadb((const char *)data, len, 0, NULL);
    bool good = decode(doc, "order", o->text, sizeof o->text, &o->text_len) &&
                decode(doc, "signature", o->signature, sizeof o->signature, &o->signature_len) &&
                order_text_parse(o->text, o->text_len, f, &seal) == CW_OK;
    json_decref(doc);
    free(data);
    if (!good)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_FORMAT,
                            "%s holds no signed order; it must come from pay --save",
                            c->opt.resend);
    return CLI_OK;
}

static bool is_net_failure(const struct cli_session *s, enum cw_err err)
{
    struct pump_failure f = pump_failure(s->line);
    if (f.card)
        return false;
    return f.reason == LINK_REASON_EOF ||
           (f.reason == LINK_REASON_NONE &&
            (err == CW_ERR_IO || err == CW_ERR_GONE || err == CW_ERR_TIMEOUT));
}

/* From here on every failure names the order, and says what is known of it. */
static void name_order(struct cli *c, const struct order_fields *f, const char *booked)
{
    cli_hex_write(f->id, sizeof f->id, c->order);
    c->booked = booked;
}

/* The sentence so far, without its full stop. */
static void clip(const struct say *why, char out[200])
{
    size_t n;
    snprintf(out, 200, "%.199s", why->text);
    n = strlen(out);
    if (n > 0 && out[n - 1] == '.')
        out[n - 1] = '\0';
}

/* The bank knows nothing of the order, and cannot take it over this line: it is bound to the one
 * that broke (docs/api.md). The first copy may still be on its way, and that line still up at the
 * bank's end: until the order has expired, only its number keeps it from being booked besides
 * another. */
static enum cli_exit never_arrived(struct cli *c)
{
    c->booked = "unknown";
    c->reason = "order-other-line";
    return cli_fail_say(
        c, CLI_NET, CW_ERR_IO,
        "the bank has not booked this order so far, and it may still be on its way; "
        "pay again with --order-id %s, which never books it twice",
        c->order);
}

/* The order was sent, and what became of it was not heard: the holder has to know its number. */
static enum cli_exit not_known(struct cli *c, enum cli_exit code)
{
    char before[200];
    clip(&c->why, before);
    c->booked = "unknown";
    say_fail(&c->why, CW_ERR_IO,
             "%s. Whether the bank booked order %s is not known: ask for its receipt with "
             "receipt --order %s, or pay again with --order-id %s, which never books it twice",
             before, c->order, c->order, c->order);
    return code;
}

/* Does this problem say that no order of this number is booked? The bank looks the number up before
 * it looks at anything else in a well-formed order (docs/api.md); what it may say before that is
 * good for an order that it cannot have seen yet. Of the server errors `store` alone says so. */
static bool says_not_booked(const struct bank *b, bool fresh)
{
    static const char *const after[] = {"order-expired",   "order-signature", "order-counter",
                                        "account-unknown", "payee-unknown",   "payee-name",
                                        "currency",        "funds",           "same-account"};
    static const char *const before[] = {"malformed", "order-malformed", "not-logged-in",
                                         "too-large", "card-blocked",    "order-other-card",
                                         "rate-limit"};
    if (b->problem_status == 503 && strcmp(b->problem, "store") == 0)
        return true;
    if (b->problem_status < 400 || b->problem_status > 499)
        return false;
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
        if (strcmp(b->problem, after[i]) == 0)
            return true;
    for (size_t i = 0; fresh && i < sizeof before / sizeof before[0]; i++)
        if (strcmp(b->problem, before[i]) == 0)
            return true;
    return false;
}

/* The end of an order that was sent and not answered by a booking. `fresh`: the bank cannot have
 * had an order of this number before. */
static enum cli_exit not_paid(struct cli *c, const struct cli_session *s, enum cw_err err,
                              bool fresh)
{
    char before[200];
    enum cli_exit code = cli_fail_line(c, s, err);
    clip(&c->why, before);
    if (err == CW_ERR_REFUSED && strcmp(s->bank.problem, "order-conflict") == 0) {
        c->booked = "before";
        say_fail(&c->why, err,
                 "%s. If that was this payment, it is paid: ask for its receipt with receipt "
                 "--order %s, and do not pay again",
                 before, c->order);
        return code;
    }
    if (err != CW_ERR_REFUSED || !says_not_booked(&s->bank, fresh))
        return not_known(c, code);
    c->booked = "no";
    say_fail(&c->why, err, "%s. Order %s was not booked", before, c->order);
    return code;
}

/* Sends the order; once more over a new line when the answer is lost. */
static enum cli_exit post(struct cli *c, struct cli_session *s, const struct signed_order *o,
                          json_t **reply)
{
    char shown[CLI_SHOWN_MAX];
    bool fresh = c->opt.order_id == NULL && c->opt.resend == NULL;
    enum cw_err err =
        bank_pay(&s->bank, o->text, o->text_len, o->signature, o->signature_len, reply, &c->why);
    cli_progress_end(c);
    if (err == CW_OK)
        return CLI_OK;
    if (!is_net_failure(s, err))
        return not_paid(c, s, err, fresh);
    fprintf(stderr,
            "The answer was lost (%s). Asking for it over a new line, with the same signed order: "
            "it is never booked twice.\n",
            cli_shown(&c->why, shown));
    enum cli_exit code = cli_session_again(c, s);
    if (code != CLI_OK)
        return not_known(c, code);
    err = bank_pay(&s->bank, o->text, o->text_len, o->signature, o->signature_len, reply, &c->why);
    cli_progress_end(c);
    if (err == CW_ERR_REFUSED && strcmp(s->bank.problem, "order-other-line") == 0)
        return never_arrived(c);
    return err == CW_OK ? CLI_OK : not_paid(c, s, err, false);
}

static bool says(const json_t *payment, const char *member, const char *text)
{
    const char *t = json_string_value(json_object_get(payment, member));
    return t != NULL && strcmp(t, text) == 0;
}

/* Is what the bank says it booked what the card signed? */
static enum cli_exit check_reply(struct cli *c, const struct order_fields *f, const json_t *reply)
{
    const json_t *payment = json_object_get(reply, "payment");
    const char *amount = json_string_value(json_object_get(payment, "amount"));
    int64_t minor = 0;
    const char *wrong = NULL;
    if (!json_is_integer(json_object_get(payment, "id")))
        wrong = "number";
    else if (!says(payment, "order", c->order))
        wrong = "order";
    else if (!says(payment, "status", "booked"))
        wrong = "status";
    else if (amount == NULL || order_amount_parse(amount, f->currency, &minor) != CW_OK ||
             minor != f->amount)
        wrong = "amount";
    else if (!says(payment, "currency", f->currency))
        wrong = "currency";
    else if (!says(payment, "payer", f->payer))
        wrong = "payer";
    else if (!says(payment, "payee", f->payee) || !says(payment, "payee_name", f->payee_name))
        wrong = "payee";
    else if (!says(payment, "reference", f->reference))
        wrong = "reference";
    if (wrong == NULL)
        return CLI_OK;
    (void)cli_fail_say(c, CLI_SERVER_REFUSED, CW_ERR_FORMAT,
                       "the bank's answer does not fit the order that was sent: its %s is missing "
                       "or another",
                       wrong);
    return not_known(c, CLI_SERVER_REFUSED);
}

/* The order is booked, and something else failed after that. */
static enum cli_exit booked_but(struct cli *c, enum cli_exit code)
{
    char before[200];
    clip(&c->why, before);
    say_fail(&c->why, CW_ERR_IO,
             "%s. Order %s is booked all the same: do not pay it again; receipt --order %s fetches "
             "its receipt",
             before, c->order, c->order);
    return code;
}

/* Nothing is called the receipt of this order that does not hold the text that the card signed. */
static enum cli_exit fetch_receipt(struct cli *c, struct cli_session *s,
                                   const struct signed_order *o, const struct order_fields *f)
{
    uint8_t *memory = NULL;
    const uint8_t *der;
    size_t len;
    enum cli_exit code = CLI_OK;
    enum cw_err err = bank_receipt(&s->bank, f->id, &memory, &der, &len, &c->why);
    cli_progress_end(c);
    if (err != CW_OK)
        return cli_fail_line(c, s, err);
    err = receipt_check_text(der, len, o->text, o->text_len, &c->why);
    if (err != CW_OK) {
        code = cli_fail(c, CLI_SERVER_REFUSED, err);
        goto out;
    }
    err = file_write(c->opt.receipt, der, len, 0644, &c->why);
    if (err != CW_OK)
        code = cli_fail(c, CLI_FAILED, err);
out:
    free(memory);
    return code;
}

static enum cli_exit show_result(struct cli *c, const struct cli_session *s,
                                 const struct signed_order *o, json_t *reply)
{
    bool signed_now = c->opt.resend == NULL;
    if (c->opt.json) {
        json_t *all = json_copy(reply);
        if (signed_now)
            json_object_set_new(all, "pin", json_string(o->pin ? "given" : "none"));
        json_object_set_new(all, "signed", json_stringn((const char *)o->text, o->text_len));
        json_object_set_new(all, "line", cli_session_json(s));
        if (c->opt.receipt != NULL)
            json_object_set_new(all, "receipt", json_string(c->opt.receipt));
        return cli_emit(c, all);
    }
    const char *balance = json_string_value(json_object_get(reply, "balance"));
    json_int_t id = json_integer_value(json_object_get(json_object_get(reply, "payment"), "id"));
    bool replayed = json_is_true(json_object_get(reply, "replayed"));
    printf("The card signed%s:\n%.*s", signed_now && !o->pin ? ", without its PIN" : "",
           (int)o->text_len, (const char *)o->text);
    printf("%s: payment %lld, order %s", replayed ? "Was booked before, not again" : "Booked",
           (long long)id, c->order);
    if (balance != NULL)
        printf(", balance %s", balance);
    putchar('\n');
    if (c->opt.receipt != NULL)
        printf("Receipt in %s\n", c->opt.receipt);
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_IO, "cannot write to stdout");
    return CLI_OK;
}

/* The order on its way: from here on nothing ends without a word on what became of it. */
static enum cli_exit send_order(struct cli *c, struct cli_session *s, const struct signed_order *o,
                                const struct order_fields *f, json_t **reply)
{
    name_order(c, f, "unknown");
    enum cli_exit code = post(c, s, o, reply);
    if (code == CLI_OK)
        code = check_reply(c, f, *reply);
    if (code != CLI_OK)
        return code;
    c->booked = "yes";
    if (c->opt.receipt != NULL)
        code = fetch_receipt(c, s, o, f);
    if (code == CLI_OK)
        code = show_result(c, s, o, *reply);
    return code == CLI_OK ? CLI_OK : booked_but(c, code);
}

enum cli_exit cli_pay(struct cli *c)
{
    struct cli_session s = {0};
    static struct signed_order o;
    struct order_fields f;
    json_t *reply = NULL;
    memset(&f, 0, sizeof f);
    enum cli_exit code = c->opt.resend != NULL ? load(c, &o, &f) : read_fields(c, &f);
    /* An order that was sent before comes first: what the bank has for the card, a lock perhaps,
     * can wait until it is known what became of it. */
    if (code == CLI_OK)
        code = c->opt.resend != NULL ? cli_session_login(c, &s) : cli_session_begin(c, &s);
    if (code != CLI_OK)
        goto out;
    if (c->opt.resend == NULL) {
        code = cli_air_check(c, &s, POLICY_ORDER_CONTACTLESS, "signs no order");
        if (code == CLI_OK)
            code = complete_fields(c, &s, &f);
        if (code == CLI_OK)
            code = show_and_ask(c, &f);
        if (code == CLI_OK)
            code = sign(c, &s, &f, &o);
        if (code == CLI_OK && c->opt.save != NULL)
            code = save(c, &o);
    }
    if (code == CLI_OK)
        code = send_order(c, &s, &o, &f, &reply);
out:
    json_decref(reply);
    cli_session_close(&s);
    return code;
}
