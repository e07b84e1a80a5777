#include "bank/reach.h"

#include "bank/ca.h"
#include "bank/objects.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* What is counted. */
struct count {
    struct bank *bank;
    X509 *cert; /* the root */
    struct objects_root root;
    size_t without;
    enum cw_err err;
    struct say *why;
};

/* A card that was issued when the next root was there got both. */
static enum cw_err issued_with(struct count *c, const struct ledger_card *card, bool *out)
{
    size_t count = 0;
    struct ledger_certificate *list = calloc(LEDGER_CERTS_PER_CARD, sizeof *list);
    if (list == NULL)
        return say_fail(c->why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = ledger_certificates_get(c->bank->ledger, card->serial, LEDGER_CERT_TLS, list,
                                              &count, c->why);
    bool with = false;
    if (err == CW_OK && count > 0) {
        const unsigned char *at = list[0].der;
        X509 *cert = d2i_X509(NULL, &at, (long)list[0].der_len);
        /* In the same second it may have been either: then it is none. */
        with = cert != NULL &&
               ASN1_TIME_compare(X509_get0_notBefore(cert), X509_get0_notBefore(c->cert)) == 1;
        X509_free(cert);
    }
    free(list);
    if (err == CW_OK)
        *out = with;
    return err;
}

/* What an update says of the roots: all of them are in one message. */
static void follow(const struct count *c, const struct ledger_update *u, bool *held)
{
    struct issuer_message m;
    size_t signed_len = 0;
    const uint8_t *signature = NULL;
    bool roots = false, with = false;
    if (issuer_decode(u->message, u->len, &m, &signed_len, &signature) != CW_OK)
        return;
    for (size_t i = 0; i < m.write_count; i++) {
        if ((m.writes[i].object & 0xFF00) != LINK_DO_ROOT)
            continue;
        roots = true;
        with |= m.writes[i].len == c->root.len &&
                memcmp(m.writes[i].value, c->root.der, c->root.len) == 0;
    }
    if (roots)
        *held = with;
}

static enum cw_err holds(struct count *c, const struct ledger_card *card, bool *out)
{
    struct ledger_management m;
    size_t count = 1;
    uint32_t after = 0;
    bool held = false;
    enum cw_err err = issued_with(c, card, &held);
    if (err != CW_OK)
        return err;
    err = ledger_management_get(c->bank->ledger, card->serial, &m, c->why);
    if (err == CW_ERR_STATE) { /* an older program's: it takes no updates */
        *out = held;
        return CW_OK;
    }
    struct ledger_update *u = malloc(sizeof *u);
    if (err == CW_OK && u == NULL)
        err = say_fail(c->why, CW_ERR_SPACE, "out of memory");
    while (err == CW_OK && count > 0) {
        err = ledger_updates_get(c->bank->ledger, card->serial, after, u, 1, &count, c->why);
        if (err != CW_OK || count == 0 || u->sequence > m.applied)
            break;
        follow(c, u, &held);
        after = u->sequence;
    }
    free(u);
    if (err == CW_OK)
        *out = held;
    return err;
}

static void count_card(void *ctx, const struct ledger_card *card)
{
    struct count *c = ctx;
    bool held = false;
    if (c->err != CW_OK ||
        (card->status != LEDGER_CARD_ACTIVE && card->status != LEDGER_CARD_PERSONALISED))
        return;
    c->err = holds(c, card, &held);
    c->without += c->err == CW_OK && !held;
}

enum cw_err reach_count(struct bank *bank, size_t *without, struct say *why)
{
    char path[BANK_PATH_MAX];
    struct count *c = calloc(1, sizeof *c);
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    c->bank = bank;
    c->why = why;
    enum cw_err err = bank_path(bank->dir, bank->server_next.root, ".pem", path, why);
    if (err == CW_OK)
        err = bank_certificate_load(bank, bank->server_next.root, &c->cert, why);
    if (err == CW_OK)
        err = objects_root_load(path, &c->root, why);
    if (err == CW_OK)
        err = ledger_card_each(bank->ledger, count_card, c, why);
    if (err == CW_OK)
        err = c->err;
    if (err == CW_OK)
        *without = c->without;
    X509_free(c->cert);
    free(c);
    return err;
}
