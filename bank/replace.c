#include "bank/replace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kinds that the old card has certificates of. */
static enum cw_err take_keys(struct bank *bank, const uint8_t serial[ORDER_SERIAL_LEN],
                             struct issue_options *o, struct say *why)
{
    size_t count = 0;
    struct ledger_certificate *certs = calloc(LEDGER_CERTS_PER_CARD, sizeof *certs);
    if (certs == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err =
        ledger_certificates_get(bank->ledger, serial, LEDGER_CERT_TLS, certs, &count, why);
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        o->p256 |= certs[i].slot == LINK_KEY_TLS_P256;
        o->rsa |= certs[i].slot == LINK_KEY_TLS_RSA;
    }
    free(certs);
    return err;
}

enum cw_err replace_prepare(struct bank *bank, const uint8_t old[ORDER_SERIAL_LEN],
                            struct replace_terms *terms, struct issue_options *options,
                            struct say *why)
{
    struct ledger_card card;
    struct ledger_management m;
    char serial[2 * ORDER_SERIAL_LEN + 1];
    enum cw_err err = ledger_card_get(bank->ledger, old, &card, why);
    if (err == CW_OK)
        err = ledger_management_read(bank->ledger, old, &m, why);
    if (err == CW_OK)
        err = ledger_payees_get(bank->ledger, old, terms->payees, &options->payee_count, why);
    if (err == CW_OK && !options->p256 && !options->rsa)
        err = take_keys(bank, old, options, why);
    if (err != CW_OK)
        return err;
    bank_serial_text(old, serial);
    snprintf(terms->confirmed, sizeof terms->confirmed, "was on the list of the card %s", serial);
    memcpy(terms->old, old, sizeof terms->old);
    for (size_t i = 0; i < options->payee_count; i++)
        options->payees[i] = terms->payees[i].account;
    options->customer = card.customer;
    options->policy = m.policy;
    options->confirmed = terms->confirmed;
    options->replaces = terms->old;
    return CW_OK;
}
