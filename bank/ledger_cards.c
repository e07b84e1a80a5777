/* ledger_cards.c - cards and the certificates that were issued to them. */
#include "bank/ledger_db.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static const char *const status_names[] = {
    "unknown",
    [LEDGER_CARD_ISSUING] = "issuing",
    [LEDGER_CARD_PERSONALISED] = "personalised",
    [LEDGER_CARD_ACTIVE] = "active",
    [LEDGER_CARD_BLOCKED] = "blocked",
    [LEDGER_CARD_TERMINATED] = "terminated",
};
static const char *const kind_names[] = {
    [LEDGER_CERT_TLS] = "tls",
    [LEDGER_CERT_ORDER] = "order",
    [LEDGER_CERT_PIV] = "piv",
};

const char *ledger_card_status_name(enum ledger_card_status status)
{
    return status_names[status >= LEDGER_CARD_ISSUING && status <= LEDGER_CARD_TERMINATED ? status
                                                                                          : 0];
}

enum cw_err db_card_read(const struct db_stmt *st, struct ledger_card *out, struct say *why)
{
    char status[16];
    struct ledger_card c = {.customer = db_int(st, 1), .since = db_int(st, 3)};
    enum cw_err err = db_blob_exact(st, 0, c.serial, sizeof c.serial, why);
    if (err == CW_OK)
        err = db_text(st, 2, status, sizeof status, why);
    if (err != CW_OK)
        return err;
    for (c.status = LEDGER_CARD_TERMINATED; strcmp(status, status_names[c.status]) != 0; c.status--)
        if (c.status == LEDGER_CARD_ISSUING)
            return say_fail(why, CW_ERR_FORMAT, "the ledger holds a card of status '%s'", status);
    *out = c;
    return CW_OK;
}

enum cw_err ledger_card_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                            struct ledger_card *out, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, DB_CARD_COLUMNS "WHERE serial = ?", "b", serial,
                                 (size_t)ORDER_SERIAL_LEN);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND,
                       "this bank issued no card of that serial; 'cardwired card list' shows them");
    if (err == CW_OK)
        err = db_card_read(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_card_each(struct ledger *l, void (*each)(void *ctx, const struct ledger_card *c),
                             void *ctx, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why, DB_CARD_COLUMNS "ORDER BY since, serial", "");
    if (err != CW_OK)
        return err;
    while ((err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_card c;
        if ((err = db_card_read(st, &c, why)) != CW_OK)
            break;
        each(ctx, &c);
    }
    db_done(&st);
    return err;
}

enum cw_err db_certificate_add(struct ledger *l, struct ledger_certificate *c, struct say *why)
{
    struct db_stmt *st;
    SHA256(c->der, c->der_len, c->sha256);
    enum cw_err err =
        db_prepare(l, &st, why,
                   "INSERT INTO certificate (sha256, card, kind, slot, der) VALUES (?, ?, ?, ?, ?)",
                   "bbtib", c->sha256, sizeof c->sha256, c->card, sizeof c->card,
                   kind_names[c->kind], (int64_t)c->slot, c->der, c->der_len);
    return db_run(l, err, st, why);
}

/* What an issuance that was cut short has left. */
static enum cw_err forget_card(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                               struct say *why)
{
    static const char *const rows[] = {
        "DELETE FROM payee WHERE card = ?",
        "DELETE FROM management WHERE card = ?",
        "DELETE FROM certificate WHERE card = ?",
    };
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && err == CW_OK; i++) {
        struct db_stmt *st;
        err = db_prepare(l, &st, why, rows[i], "b", serial, (size_t)ORDER_SERIAL_LEN);
        err = db_run(l, err, st, why);
    }
    return err;
}

static enum cw_err begin_card(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              int64_t customer, struct ledger_certificate *certs, size_t count,
                              const struct ledger_terms *terms, struct say *why)
{
    struct db_stmt *st;
    struct ledger_card old;
    enum cw_err err = ledger_card_get(l, serial, &old, why);
    if (err == CW_OK && old.status != LEDGER_CARD_ISSUING)
        return say_fail(why, CW_ERR_EXISTS, "this bank has issued that card already (%s)",
                        ledger_card_status_name(old.status));
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    if ((err = forget_card(l, serial, why)) != CW_OK)
        return err;
    err =
        db_prepare(l, &st, why,
                   "INSERT INTO card (serial, customer, status, since) VALUES (?, ?, 'issuing', ?) "
                   "ON CONFLICT (serial) DO UPDATE SET customer = excluded.customer, "
                   "since = excluded.since",
                   "bii", serial, (size_t)ORDER_SERIAL_LEN, customer, ledger_now(l));
    err = db_run(l, err, st, why);
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        memcpy(certs[i].card, serial, ORDER_SERIAL_LEN);
        err = db_certificate_add(l, &certs[i], why);
    }
    if (err == CW_OK && terms != NULL)
        err = db_management_add(l, serial, terms, why);
    return err == CW_OK ? db_admin_card(l, "card issue", serial, "", why) : err;
}

enum cw_err ledger_card_begin(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              int64_t customer, struct ledger_certificate *certs, size_t count,
                              const struct ledger_terms *terms, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    return db_end(l, begin_card(l, serial, customer, certs, count, terms, why), why);
}

static enum cw_err keys_were_given(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                   bool *out, struct say *why)
{
    struct db_stmt *st;
    int64_t any = 0;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT EXISTS (SELECT 1 FROM card_keys WHERE serial = ?)", "b",
                   serial, (size_t)ORDER_SERIAL_LEN);
    err = db_number(l, err, st, &any, why);
    if (err == CW_OK)
        *out = any != 0;
    return err;
}

static enum cw_err give_keys(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], bool again,
                             struct say *why)
{
    struct db_stmt *st;
    struct ledger_card card;
    bool given = false;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err != CW_OK && err != CW_ERR_NOT_FOUND)
        return err;
    bool known = err == CW_OK;
    if (known && card.status != LEDGER_CARD_ISSUING)
        return say_fail(why, CW_ERR_EXISTS,
                        "this bank has issued the card of that serial (%s), and the one in the "
                        "reader has none of its keys: it is another one, or a fake; use a new card",
                        ledger_card_status_name(card.status));
    if ((err = keys_were_given(l, serial, &given, why)) != CW_OK)
        return err;
    if ((known || given) && !again)
        return say_fail(why, CW_ERR_STATE,
                        "keys were given before to a card of that serial, and the one in the "
                        "reader has none of them: whoever has those keys could manage it; use a "
                        "new card, or give --give-keys-again if you know that both are the same");
    err = db_prepare(l, &st, why,
                     "INSERT INTO card_keys (serial, given) VALUES (?, ?) "
                     "ON CONFLICT (serial) DO NOTHING",
                     "bi", serial, (size_t)ORDER_SERIAL_LEN, ledger_now(l));
    err = db_run(l, err, st, why);
    return err == CW_OK ? db_admin_card(l, "card keys", serial, again ? "again" : "", why) : err;
}

enum cw_err ledger_card_keys_give(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  bool again, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    return db_end(l, give_keys(l, serial, again, why), why);
}

/* Changes the status in one statement, so that two programs cannot both pass a check first. */
static enum cw_err change_status(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                 const char *what, const char *sql, bool *changed, struct say *why)
{
    struct db_stmt *st;
    bool mine;
    enum cw_err err = db_enter(l, &mine, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, sql, "b", serial, (size_t)ORDER_SERIAL_LEN);
    err = db_run(l, err, st, why);
    if (err == CW_OK)
        *changed = db_changed(l) == 1;
    if (err == CW_OK && *changed)
        err = db_admin_card(l, what, serial, "", why);
    return db_leave(l, mine, err, why);
}

enum cw_err ledger_card_personalise(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                    struct say *why)
{
    bool changed = false;
    enum cw_err err = change_status(
        l, serial, "card personalise",
        "UPDATE card SET status = 'personalised' WHERE serial = ? AND status = 'issuing'", &changed,
        why);
    if (err == CW_OK && !changed)
        err = say_fail(why, CW_ERR_STATE, "that card is not being issued");
    return err;
}

enum cw_err ledger_card_activate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                 struct say *why)
{
    bool changed = false;
    enum cw_err err = change_status(l, serial, "card activate",
                                    "UPDATE card SET status = 'active' WHERE serial = ? AND "
                                    "status IN ('issuing', 'personalised')",
                                    &changed, why);
    if (err == CW_OK && !changed)
        err = say_fail(why, CW_ERR_STATE, "that card is not being issued");
    return err;
}

static enum cw_err terminate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                             struct say *why)
{
    bool changed = false;
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK)
        err = change_status(
            l, serial, "card terminate",
            "UPDATE card SET status = 'terminated' WHERE serial = ? AND status <> 'issuing'",
            &changed, why);
    if (err == CW_OK && !changed)
        err = say_fail(why, CW_ERR_STATE, "that card was never issued");
    if (err == CW_OK && card.status != LEDGER_CARD_TERMINATED)
        err = db_event_add(l, LEDGER_EVENT_CARD_TERMINATED, serial, NULL, NULL, why);
    return err == CW_OK ? db_revoke(l, serial, LEDGER_REASON_CESSATION, why) : err;
}

enum cw_err ledger_card_terminate(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  struct say *why)
{
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, terminate(l, serial, why), why) : err;
}

static enum cw_err block(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], bool blocked,
                         struct say *why)
{
    bool changed = false;
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err != CW_OK)
        return err;
    err = change_status(l, serial, blocked ? "card block" : "card unblock",
                        blocked ? "UPDATE card SET status = 'blocked' WHERE serial = ? AND "
                                  "status IN ('active', 'blocked')"
                                : "UPDATE card SET status = 'active' WHERE serial = ? AND "
                                  "status IN ('active', 'blocked')",
                        &changed, why);
    if (err == CW_OK && !changed)
        err = say_fail(
            why, CW_ERR_STATE, "that card is %s, and opens no line anyway%s",
            ledger_card_status_name(card.status),
            card.status == LEDGER_CARD_ISSUING ? "; run 'cardwired card issue' for it again" : "");
    if (err == CW_OK && blocked != (card.status == LEDGER_CARD_BLOCKED))
        err = db_event_add(l, blocked ? LEDGER_EVENT_CARD_BLOCKED : LEDGER_EVENT_CARD_UNBLOCKED,
                           serial, NULL, NULL, why);
    if (err != CW_OK)
        return err;
    return blocked ? db_revoke(l, serial, LEDGER_REASON_HOLD, why) : db_unhold(l, serial, why);
}

enum cw_err ledger_card_block(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              bool blocked, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, block(l, serial, blocked, why), why) : err;
}

/* ---- certificates ---- */

#define CERT_COLUMNS "SELECT " DB_CERTIFICATE_COLUMNS " FROM certificate c "

enum cw_err db_certificate_read(struct db_stmt *st, struct ledger_certificate *out, struct say *why)
{
    char kind[8];
    out->slot = (unsigned)db_int(st, 3);
    enum cw_err err = db_blob_exact(st, 0, out->sha256, sizeof out->sha256, why);
    if (err == CW_OK)
        err = db_blob_exact(st, 1, out->card, sizeof out->card, why);
    if (err == CW_OK)
        err = db_text(st, 2, kind, sizeof kind, why);
    if (err == CW_OK)
        err = db_blob(st, 4, out->der, sizeof out->der, &out->der_len, why);
    if (err != CW_OK)
        return err;
    for (int k = LEDGER_CERT_TLS; k <= LEDGER_CERT_PIV; k++)
        if (strcmp(kind, kind_names[k]) == 0) {
            out->kind = (enum ledger_cert_kind)k;
            return CW_OK;
        }
    return say_fail(why, CW_ERR_FORMAT, "the ledger holds a certificate of kind '%s'", kind);
}

enum cw_err ledger_certificate_find(struct ledger *l, const uint8_t sha256[32],
                                    struct ledger_certificate *out, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err =
        db_prepare(l, &st, why, CERT_COLUMNS "WHERE sha256 = ?", "b", sha256, (size_t)32);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "this bank issued no such certificate");
    if (err == CW_OK)
        err = db_certificate_read(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_certificate_each(struct ledger *l,
                                    void (*each)(void *ctx, const struct ledger_certificate *c),
                                    void *ctx, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    struct ledger_certificate *c = calloc(1, sizeof *c);
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = db_prepare(l, &st, why, CERT_COLUMNS "ORDER BY card, slot", "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = db_certificate_read(st, c, why)) == CW_OK)
            each(ctx, c);
    db_done(&st);
    free(c);
    return err;
}

enum cw_err ledger_certificates_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                    enum ledger_cert_kind kind, struct ledger_certificate *out,
                                    size_t *count, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err = db_prepare(
        l, &st, why, CERT_COLUMNS "WHERE card = ? AND kind = ? AND replaced IS NULL ORDER BY slot",
        "bt", serial, (size_t)ORDER_SERIAL_LEN, kind_names[kind]);
    if (err != CW_OK)
        return err;
    while (n < LEDGER_CERTS_PER_CARD && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        if ((err = db_certificate_read(st, &out[n], why)) != CW_OK)
            break;
        n++;
    }
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_certificates_any(struct ledger *l, enum ledger_cert_kind kind, bool *out,
                                    struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, "SELECT 1 FROM certificate WHERE kind = ? LIMIT 1",
                                 "t", kind_names[kind]);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    db_done(&st);
    if (err == CW_OK)
        *out = row;
    return err;
}

static enum cw_err put_piv(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                           struct ledger_certificate *certs, size_t count, struct say *why)
{
    struct db_stmt *st;
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK && card.status == LEDGER_CARD_TERMINATED)
        err = say_fail(why, CW_ERR_STATE, "that card is terminated");
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "DELETE FROM certificate WHERE card = ? AND kind = 'piv'", "b",
                     serial, (size_t)ORDER_SERIAL_LEN);
    err = db_run(l, err, st, why);
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        certs[i].kind = LEDGER_CERT_PIV;
        memcpy(certs[i].card, serial, ORDER_SERIAL_LEN);
        err = db_certificate_add(l, &certs[i], why);
    }
    return err == CW_OK ? db_admin_card(l, "card piv", serial, "", why) : err;
}

enum cw_err ledger_piv_put(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                           struct ledger_certificate *certs, size_t count, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    return db_end(l, put_piv(l, serial, certs, count, why), why);
}
