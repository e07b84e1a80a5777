/* commands_ca.c - the commands of cardwired about certificates that were issued. */
#include "bank/commands.h"

#include "bank/ca.h"
#include "bank/crl.h"
#include "bank/ledger_revoke.h"
#include "bank/manage.h"
#include "host/file.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

enum cw_err commands_card_renew(const struct cli_args *args, struct say *why)
{
    uint8_t serial[ORDER_SERIAL_LEN];
    struct bank *bank = NULL;
    struct manage_result r;
    enum cw_err err = commands_serial_take(args->word, serial, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = manage_renew(bank, args->reader, serial, args->days > 0 ? args->days : BANK_CARD_DAYS,
                           &r, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(
            json_pack("{s:s, s:I}", "serial", args->word, "certificates", (json_int_t)r.renewed),
            why);
    printf("%s has %zu new certificates\n", args->word, r.renewed);
    return CW_OK;
}

/* ---- revocation ---- */

static const struct {
    const char *name;
    enum ledger_reason reason;
} reasons[] = {
    {"unspecified", LEDGER_REASON_UNSPECIFIED},
    {"key-compromise", LEDGER_REASON_KEY_COMPROMISE},
    {"affiliation-changed", LEDGER_REASON_AFFILIATION},
    {"superseded", LEDGER_REASON_SUPERSEDED},
    {"cessation", LEDGER_REASON_CESSATION},
    {"withdrawn", LEDGER_REASON_WITHDRAWN},
};
#define REASONS (sizeof reasons / sizeof reasons[0])

static enum cw_err take_reason(const char *text, enum ledger_reason *out, struct say *why)
{
    for (size_t i = 0; i < REASONS; i++)
        if (strcmp(text, reasons[i].name) == 0) {
            *out = reasons[i].reason;
            return CW_OK;
        }
    return say_fail(why, CW_ERR_ARG,
                    "--reason %.40s: wants unspecified, key-compromise, affiliation-changed, "
                    "superseded, cessation or withdrawn",
                    text);
}

enum cw_err commands_card_revoke(const struct cli_args *args, struct say *why)
{
    uint8_t serial[ORDER_SERIAL_LEN];
    struct bank *bank = NULL;
    enum ledger_reason reason = LEDGER_REASON_UNSPECIFIED;
    enum cw_err err = commands_serial_take(args->word, serial, why);
    if (err == CW_OK)
        err = take_reason(args->reason, &reason, why);
    if (err == CW_OK)
        err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = ledger_card_revoke(bank->ledger, serial, reason, why);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:s, s:s}", "serial", args->word, "status",
                                             ledger_card_status_name(LEDGER_CARD_TERMINATED),
                                             "reason", args->reason),
                                   why);
    printf("%s terminated, its certificates are revoked\n", args->word);
    return CW_OK;
}

/* ---- the list ---- */

static enum cw_err write_crl(const char *path, bool der, X509_CRL *crl, struct say *why)
{
    char *data = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL &&
                (der ? i2d_X509_CRL_bio(bio, crl) == 1 : PEM_write_bio_X509_CRL(bio, crl) == 1);
    long len = good ? BIO_get_mem_data(bio, &data) : 0;
    enum cw_err err = good ? file_write(path, data, (size_t)len, 0644, why)
                           : ca_fail(why, "cannot write the CRL");
    BIO_free(bio);
    return err;
}

enum cw_err commands_crl(const struct cli_args *args, struct say *why)
{
    struct bank *bank = NULL;
    X509_CRL *crl = NULL;
    struct crl_made made;
    char next[32], now[32];
    const struct crl_options o = {.piv = (args->given & CLI_PIV) != 0,
                                  .days = args->days > 0 ? args->days : CRL_DAYS};
    enum cw_err err = commands_bank_open(args, &bank, why);
    if (err == CW_OK)
        err = crl_make(bank, &o, &crl, &made, why);
    if (err == CW_OK)
        err = write_crl(args->word, (args->given & CLI_DER) != 0, crl, why);
    X509_CRL_free(crl);
    bank_free(&bank);
    if (err != CW_OK)
        return err;
    commands_time_text(made.time, now);
    commands_time_text(made.next, next);
    if (args->json)
        return commands_print_json(json_pack("{s:s, s:I, s:I, s:s, s:s}", "file", args->word,
                                             "number", (json_int_t)made.number, "certificates",
                                             (json_int_t)made.count, "this_update", now,
                                             "next_update", next),
                                   why);
    printf("CRL %lld with %zu certificates; the next is due at %s\n", (long long)made.number,
           made.count, next);
    return CW_OK;
}
