#include "bank/mailer.h"

#include "bank/ca.h"
#include "base/ct.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIN_DIGITS 6u /* of a random PIN, where the rules permit it */
#define PUK_DIGITS MAILER_PUK_MIN
#define PIV_MAX    8u

const struct policy_pin mailer_piv_rules = {.min = 6,
                                            .max = PIV_MAX,
                                            .rules = PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE,
                                            .tries = LINK_PIN_TRIES};

enum cw_err mailer_read(struct mailer *m, const struct policy_pin *rules, struct say *why)
{
    const unsigned puk_max = m->piv ? PIV_MAX : LINK_PIN_MAX;
    enum cw_err err = m->pin_file != NULL ? pin_read(m->pin_file, &m->pin, why) : CW_OK;
    if (err == CW_OK && m->pin_file != NULL &&
        policy_pin_check(rules, m->pin.digits, m->pin.len) != CW_OK)
        err = say_fail(
            why, CW_ERR_FORMAT, "the PIN in %s is none by the card's rules: %u to %u digits%s%s",
            m->pin_file, rules->min, rules->max,
            (rules->rules & PIN_RULE_NO_REPEAT) != 0 ? ", not all the same" : "",
            (rules->rules & PIN_RULE_NO_SEQUENCE) != 0 ? ", not counting up or down" : "");
    if (err == CW_OK && m->puk_file != NULL)
        err = pin_read(m->puk_file, &m->puk, why);
    if (err == CW_OK && m->puk_file != NULL &&
        (m->puk.len < MAILER_PUK_MIN || m->puk.len > puk_max))
        err = say_fail(why, CW_ERR_FORMAT, "the PUK in %s must have %u to %u digits", m->puk_file,
                       MAILER_PUK_MIN, puk_max);
    return err;
}

/* Uniform digits: bytes of 250 and above are thrown away. */
static enum cw_err make_digits(size_t count, struct pin *out, struct say *why)
{
    uint8_t random = 0;
    out->len = 0;
    while (out->len < count) {
        if (RAND_priv_bytes(&random, 1) != 1)
            return ca_fail(why, "this machine gives no random numbers");
        if (random < 250)
            out->digits[out->len++] = (uint8_t)('0' + random % 10);
    }
    ct_wipe(&random, sizeof random);
    return CW_OK;
}

/* A PIN that the rules forbid is thrown away: all that they permit are equally likely. */
static enum cw_err make_pin(const struct policy_pin *rules, struct pin *out, struct say *why)
{
    size_t count = PIN_DIGITS < rules->min ? rules->min : PIN_DIGITS;
    enum cw_err err;
    if (count > rules->max)
        count = rules->max;
    do {
        err = make_digits(count, out, why);
    } while (err == CW_OK && policy_pin_check(rules, out->digits, out->len) != CW_OK);
    return err;
}

static enum cw_err path_of(const struct bank *bank, const char *serial, bool piv,
                           char out[BANK_PATH_MAX], struct say *why)
{
    char stem[64];
    snprintf(stem, sizeof stem, "%s/%s%s", BANK_DIR_MAILERS, serial, piv ? "-piv" : "");
    return bank_path(bank->dir, stem, ".txt", out, why);
}

enum cw_err mailer_find(const struct bank *bank, const char *serial, bool piv,
                        char out[BANK_PATH_MAX], struct say *why)
{
    enum cw_err err = path_of(bank, serial, piv, out, why);
    if (err == CW_OK && access(out, F_OK) != 0)
        out[0] = '\0';
    return err;
}

enum cw_err mailer_write(struct mailer *m, const struct bank *bank, const char *serial,
                         const struct policy_pin *rules, struct say *why)
{
    uint8_t text[128];
    struct buf_writer w;
    char path[BANK_PATH_MAX];
    enum cw_err err = path_of(bank, serial, m->piv, path, why);
    buf_writer_init(&w, text, sizeof text);
    buf_put_str(&w, "card ");
    buf_put_str(&w, serial);
    buf_put_str(&w, "\n");
    if (err == CW_OK && m->pin_file == NULL && (err = make_pin(rules, &m->pin, why)) == CW_OK) {
        buf_put_str(&w, m->piv ? "PIV PIN " : "PIN ");
        buf_put_bytes(&w, m->pin.digits, m->pin.len);
        buf_put_str(&w, "\n");
    }
    if (err == CW_OK && m->puk_file == NULL &&
        (err = make_digits(PUK_DIGITS, &m->puk, why)) == CW_OK) {
        buf_put_str(&w, m->piv ? "PIV PUK " : "PUK ");
        buf_put_bytes(&w, m->puk.digits, m->puk.len);
        buf_put_str(&w, "\n");
    }
    if (err == CW_OK)
        unlink(path);
    if (err == CW_OK && (m->pin_file == NULL || m->puk_file == NULL)) {
        err = bank_file_make(path, text, w.len, 0600, why);
        if (err == CW_OK)
            memcpy(m->path, path, sizeof m->path);
    }
    ct_wipe(text, sizeof text);
    return err;
}

void mailer_wipe(struct mailer *m)
{
    pin_wipe(&m->pin);
    pin_wipe(&m->puk);
}
