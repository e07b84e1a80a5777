#include "bank/commands.h"

#include "bank/terms.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum cw_err commands_bank_open(const struct cli_args *args, struct bank **out, struct say *why)
{
    char who[LEDGER_WHO_MAX + 1];
    const struct passwd *user = getpwuid(geteuid());
    if (user != NULL)
        snprintf(who, sizeof who, "%s", user->pw_name);
    else
        snprintf(who, sizeof who, "%lu", (unsigned long)geteuid());
    enum cw_err err = bank_open(args->dir, &ledger_clock_system, out, why);
    if (err == CW_OK)
        err = ledger_operator_set((*out)->ledger, args->who != NULL ? args->who : who, why);
    return err;
}

enum cw_err commands_serial_take(const char *text, uint8_t serial[ORDER_SERIAL_LEN],
                                 struct say *why)
{
    return bank_serial_parse(text, serial) == CW_OK
               ? CW_OK
               : say_fail(why, CW_ERR_ARG, "'%.40s' is no card serial: it has 16 hex digits", text);
}

enum cw_err commands_policy_take(const struct cli_args *args, struct policy *policy,
                                 struct say *why)
{
    struct policy p = *policy;
    enum cw_err err = CW_OK;
    if (args->limit_count > 0)
        err = terms_limits_take(&p, args->limits, args->limit_count, why);
    if (err == CW_OK && args->pin_rules != NULL)
        err = terms_pin_rules_take(&p, args->pin_rules, why);
    if (err == CW_OK && args->contactless != NULL)
        err = terms_contactless_take(&p, args->contactless, why);
    if (err == CW_OK && args->payees_rule != NULL)
        err = terms_payees_take(&p, args->payees_rule, why);
    if (err == CW_OK && args->sessions != NULL)
        err = terms_sessions_take(&p, args->sessions, why);
    if (args->pin_min > 0)
        p.pin.min = (uint8_t)args->pin_min;
    if (args->pin_max > 0)
        p.pin.max = (uint8_t)args->pin_max;
    if (args->pin_tries > 0)
        p.pin.tries = (uint8_t)args->pin_tries;
    if (err == CW_OK)
        err = terms_check(&p, why);
    if (err == CW_OK)
        *policy = p;
    return err;
}

enum cw_err commands_names_take(const struct cli_args *args,
                                struct applet_name names[LINK_NAME_MAX], size_t *count,
                                struct say *why)
{
    if (args->host_count > LINK_NAME_MAX)
        return say_fail(why, CW_ERR_ARG, "a card takes at most %u server names", LINK_NAME_MAX);
    for (size_t i = 0; i < args->host_count; i++) {
        if (strlen(args->hosts[i]) > LINK_HOST_MAX)
            return say_fail(why, CW_ERR_ARG, "--server-name %.20s...: at most %u bytes",
                            args->hosts[i], LINK_HOST_MAX);
        memset(&names[i], 0, sizeof names[i]);
        strcpy(names[i].host, args->hosts[i]);
        names[i].profiles =
            args->profiles[i] != 0 ? args->profiles[i] : (1u << LINK_PROFILE_COUNT) - 1;
    }
    *count = args->host_count;
    return CW_OK;
}

enum cw_err commands_signing_keys_take(const struct cli_args *args,
                                       const struct commands_signing_key *keys, size_t count,
                                       struct say *why)
{
    for (size_t i = 0; i < args->signing_key_count; i++) {
        const char *text = args->signing_keys[i];
        size_t len = strcspn(text, "="), k = 0;
        while (k < count && (strncmp(keys[k].name, text, len) != 0 || keys[k].name[len] != '\0'))
            k++;
        if (k == count || text[len] == '\0')
            return say_fail(why, CW_ERR_ARG,
                            "--signing-key %.*s: wants NAME=URI, and here NAME is %s%s",
                            (int)(len < 40 ? len : 40), text, keys[0].name,
                            count > 1 ? ", card-issuer or server-root" : "");
        if (*keys[k].to != NULL)
            return say_fail(why, CW_ERR_ARG, "--signing-key %s is given twice", keys[k].name);
        *keys[k].to = text + len + 1;
    }
    return CW_OK;
}
