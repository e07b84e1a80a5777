#include "bank/terms.h"

#include "proto/link.h"

#include <stdio.h>
#include <string.h>

void terms_default(struct policy *out)
{
    *out = (struct policy){
        .flags = POLICY_LINE_CONTACTLESS | POLICY_LISTED_PAYEES | POLICY_SESSIONS_NVM,
        .pin = {.min = POLICY_PIN_MIN,
                .max = POLICY_PIN_MAX,
                .rules = PIN_RULE_NO_REPEAT | PIN_RULE_NO_SEQUENCE,
                .tries = LINK_PIN_TRIES},
        .limits = {{.currency = "EUR", .order = 500000, .day = 1000000}},
        .limit_count = 1,
    };
}

/* A word and the flags it stands for, among those of `mask`. */
struct word {
    const char *text;
    uint8_t flags;
};

static enum cw_err take_word(uint8_t *flags, uint8_t mask, const struct word *words,
                             const char *option, const char *text, struct say *why)
{
    char list[64] = "";
    for (const struct word *w = words; w->text != NULL; w++) {
        if (strcmp(w->text, text) == 0) {
            *flags = (uint8_t)((*flags & ~mask) | w->flags);
            return CW_OK;
        }
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s%s", len > 0 ? ", " : "", w->text);
    }
    return say_fail(why, CW_ERR_ARG, "--%s %.40s: wants one of %s", option, text, list);
}

enum cw_err terms_contactless_take(struct policy *p, const char *text, struct say *why)
{
    static const struct word words[] = {
        {"none", 0},
        {"line", POLICY_LINE_CONTACTLESS},
        {"orders", POLICY_LINE_CONTACTLESS | POLICY_ORDER_CONTACTLESS},
        {NULL, 0}};
    return take_word(&p->flags, POLICY_LINE_CONTACTLESS | POLICY_ORDER_CONTACTLESS, words,
                     "contactless", text, why);
}

enum cw_err terms_payees_take(struct policy *p, const char *text, struct say *why)
{
    static const struct word words[] = {{"listed", POLICY_LISTED_PAYEES}, {"any", 0}, {NULL, 0}};
    return take_word(&p->flags, POLICY_LISTED_PAYEES, words, "payees", text, why);
}

enum cw_err terms_sessions_take(struct policy *p, const char *text, struct say *why)
{
    static const struct word words[] = {
        {"nvm", POLICY_SESSIONS_NVM}, {"ram", POLICY_SESSIONS_RAM}, {"none", 0}, {NULL, 0}};
    return take_word(&p->flags, POLICY_SESSIONS_NVM | POLICY_SESSIONS_RAM, words, "sessions", text,
                     why);
}

/* The next part of a text that `sep` divides; false at its end, or when a part is too long. */
static bool next_part(const char **text, char sep, char *out, size_t cap)
{
    const char end[] = {sep, '\0'};
    size_t len = *text != NULL ? strcspn(*text, end) : cap;
    if (len >= cap)
        return false;
    memcpy(out, *text, len);
    out[len] = '\0';
    *text = (*text)[len] != '\0' ? *text + len + 1 : NULL;
    return true;
}

enum cw_err terms_pin_rules_take(struct policy *p, const char *text, struct say *why)
{
    static const struct word words[] = {
        {"no-repeat", PIN_RULE_NO_REPEAT}, {"no-sequence", PIN_RULE_NO_SEQUENCE}, {NULL, 0}};
    uint8_t rules = 0;
    char part[16];
    const char *rest = text;
    bool none = strcmp(text, "none") == 0;
    while (!none && rest != NULL) {
        uint8_t rule = 0;
        if (!next_part(&rest, ',', part, sizeof part) ||
            take_word(&rule, 0, words, "pin-rules", part, NULL) != CW_OK)
            return say_fail(why, CW_ERR_ARG,
                            "--pin-rules %.40s: wants none, or one or both of "
                            "no-repeat,no-sequence",
                            text);
        rules |= rule;
    }
    p->pin.rules = rules;
    return CW_OK;
}

static enum cw_err parse_limit(const char *text, struct policy_limit *out)
{
    char part[32];
    const char *rest = text;
    struct policy_limit l = {0};
    int64_t *const amounts[] = {&l.order, &l.day, &l.small, &l.small_total};
    size_t count = 0;
    if (!next_part(&rest, ':', part, sizeof part) || strlen(part) != 3)
        return CW_ERR_FORMAT;
    memcpy(l.currency, part, 3);
    for (; rest != NULL; count++)
        if (count == 4 || !next_part(&rest, ':', part, sizeof part) ||
            order_amount_parse(part, l.currency, amounts[count]) != CW_OK)
            return CW_ERR_FORMAT;
    if (count != 2 && count != 4)
        return CW_ERR_FORMAT;
    *out = l;
    return CW_OK;
}

enum cw_err terms_limits_take(struct policy *p, const char *const *texts, size_t count,
                              struct say *why)
{
    struct policy next = *p;
    next.limit_count = 0;
    if (count == 1 && strcmp(texts[0], "none") == 0)
        count = 0;
    if (count > POLICY_LIMITS_MAX)
        return say_fail(why, CW_ERR_ARG, "a card takes limits of at most %u currencies",
                        POLICY_LIMITS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (parse_limit(texts[i], &next.limits[i]) != CW_OK)
            return say_fail(why, CW_ERR_ARG,
                            "--limit %.80s: wants CURRENCY:ORDER:DAY, or with amounts that go "
                            "without a PIN of their own CURRENCY:ORDER:DAY:SMALL:SMALLTOTAL, as "
                            "EUR:5000.00:10000.00; or none",
                            texts[i]);
        next.limit_count = i + 1;
        if (policy_check(&next) != CW_OK)
            return say_fail(why, CW_ERR_ARG,
                            "--limit %.80s: amounts are above zero, SMALL is at most ORDER, SMALL "
                            "and SMALLTOTAL are both zero or none is, and a currency comes once",
                            texts[i]);
    }
    *p = next;
    return CW_OK;
}

enum cw_err terms_check(const struct policy *p, struct say *why)
{
    if (policy_check(p) != CW_OK)
        return say_fail(why, CW_ERR_ARG,
                        "those are no rules for a PIN: %u to %u digits, the least not above the "
                        "most, and 1 to 15 tries",
                        POLICY_PIN_MIN, POLICY_PIN_MAX);
    return CW_OK;
}
