#include "bank/ledger_revoke.h"

#include "bank/ledger_db.h"

#include <stdlib.h>
#include <string.h>

/* ---- cards ---- */

enum cw_err db_revoke(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                      enum ledger_reason reason, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "INSERT INTO revocation (card, reason, time) VALUES (?, ?, ?) "
                   "ON CONFLICT (card) DO UPDATE SET reason = excluded.reason, "
                   "time = excluded.time WHERE revocation.reason = 6 AND excluded.reason <> 6",
                   "bii", serial, (size_t)ORDER_SERIAL_LEN, (int64_t)reason, ledger_now(l));
    return db_run(l, err, st, why);
}

enum cw_err db_unhold(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why, "DELETE FROM revocation WHERE card = ? AND reason = 6", "b", serial,
                   (size_t)ORDER_SERIAL_LEN);
    return db_run(l, err, st, why);
}

static enum cw_err set_status(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              enum ledger_card_status status, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, "UPDATE card SET status = ? WHERE serial = ?", "tb",
                                 ledger_card_status_name(status), serial, (size_t)ORDER_SERIAL_LEN);
    return db_run(l, err, st, why);
}

static enum cw_err end_card(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                            enum ledger_reason reason, struct say *why)
{
    enum cw_err err = set_status(l, serial, LEDGER_CARD_TERMINATED, why);
    return err == CW_OK ? db_revoke(l, serial, reason, why) : err;
}

static enum cw_err revoke(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                          enum ledger_reason reason, struct say *why)
{
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK && card.status == LEDGER_CARD_ISSUING)
        err = say_fail(why, CW_ERR_STATE, "that card was never issued");
    if (err == CW_OK && card.status == LEDGER_CARD_TERMINATED)
        err = say_fail(why, CW_ERR_STATE,
                       "that card is terminated, and its certificates were revoked with it");
    if (err == CW_OK)
        err = end_card(l, serial, reason, why);
    return err == CW_OK ? db_admin_card(l, "card revoke", serial, "", why) : err;
}

enum cw_err ledger_card_revoke(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                               enum ledger_reason reason, struct say *why)
{
    if (reason == LEDGER_REASON_HOLD)
        return say_fail(why, CW_ERR_ARG, "a card is held by blocking it");
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, revoke(l, serial, reason, why), why) : err;
}

static enum cw_err replace(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                           const uint8_t old[ORDER_SERIAL_LEN], bool active, struct say *why)
{
    struct ledger_card card, before;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK)
        err = ledger_card_get(l, old, &before, why);
    if (err == CW_OK && (card.status != LEDGER_CARD_ISSUING || card.customer != before.customer ||
                         memcmp(serial, old, ORDER_SERIAL_LEN) == 0))
        err =
            say_fail(why, CW_ERR_STATE, "that card is not being issued in the place of the other");
    if (err == CW_OK)
        err = set_status(l, serial, active ? LEDGER_CARD_ACTIVE : LEDGER_CARD_PERSONALISED, why);
    if (err == CW_OK && before.status != LEDGER_CARD_TERMINATED)
        err = end_card(l, old, LEDGER_REASON_SUPERSEDED, why);
    return err == CW_OK ? db_admin_card(l, "card replace", old, "", why) : err;
}

enum cw_err ledger_card_replace(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                const uint8_t old[ORDER_SERIAL_LEN], bool active, struct say *why)
{
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, replace(l, serial, old, active, why), why) : err;
}

/* ---- certificates ---- */

static enum cw_err follow(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], unsigned slot,
                          struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(
        l, &st, why,
        "UPDATE certificate SET replaced = ? WHERE card = ? AND slot = ? AND replaced IS NULL",
        "ibi", ledger_now(l), serial, (size_t)ORDER_SERIAL_LEN, (int64_t)slot);
    return db_run(l, err, st, why);
}

static enum cw_err renew(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                         struct ledger_certificate *certs, size_t count, struct say *why)
{
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK &&
        (card.status == LEDGER_CARD_ISSUING || card.status == LEDGER_CARD_TERMINATED))
        err = say_fail(why, CW_ERR_STATE, "that card is %s, and gets no new certificates",
                       ledger_card_status_name(card.status));
    for (size_t i = 0; i < count && err == CW_OK; i++) {
        memcpy(certs[i].card, serial, ORDER_SERIAL_LEN);
        err = follow(l, serial, certs[i].slot, why);
        if (err == CW_OK)
            err = db_certificate_add(l, &certs[i], why);
    }
    return err == CW_OK ? db_admin_card(l, "card renew", serial, "", why) : err;
}

enum cw_err ledger_certificates_renew(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                      struct ledger_certificate *certs, size_t count,
                                      struct say *why)
{
    enum cw_err err = db_begin(l, why);
    return err == CW_OK ? db_end(l, renew(l, serial, certs, count, why), why) : err;
}

/* The columns behind those of a certificate. */
static void read_revocation(struct db_stmt *st, bool *revoked, struct ledger_revocation *out)
{
    *revoked = !db_null(st, DB_CERTIFICATE_COLUMN_COUNT + 1);
    *out = (struct ledger_revocation){
        .reason = (enum ledger_reason)db_int(st, DB_CERTIFICATE_COLUMN_COUNT),
        .time = db_int(st, DB_CERTIFICATE_COLUMN_COUNT + 1)};
}

/* The number stands at the same place in every certificate that the bank makes: the schema has an
 * index of it (ledger_schema.c). */
enum cw_err ledger_certificate_numbered(struct ledger *l, const uint8_t number[LEDGER_NUMBER_LEN],
                                        struct ledger_certificate *out, bool *revoked,
                                        struct ledger_revocation *revocation, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT " DB_CERTIFICATE_COLUMNS ", r.reason, r.time "
                                 "FROM certificate c LEFT JOIN revocation r ON r.card = c.card "
                                 "WHERE substr(c.der, 16, 9) = ?",
                                 "b", number, (size_t)LEDGER_NUMBER_LEN);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "this bank issued no certificate of that number");
    if (err == CW_OK)
        err = db_certificate_read(st, out, why);
    if (err == CW_OK)
        read_revocation(st, revoked, revocation);
    db_done(&st);
    return err;
}

enum cw_err ledger_revoked_each(struct ledger *l, bool piv,
                                enum cw_err (*each)(void *ctx, const struct ledger_certificate *c,
                                                    const struct ledger_revocation *r,
                                                    struct say *why),
                                void *ctx, struct say *why)
{
    struct db_stmt *st;
    bool row = true, revoked;
    struct ledger_revocation r;
    struct ledger_certificate *c = calloc(1, sizeof *c);
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT " DB_CERTIFICATE_COLUMNS ", r.reason, r.time "
                                 "FROM revocation r JOIN certificate c ON c.card = r.card "
                                 "ORDER BY r.time, c.card, c.slot, c.sha256",
                                 "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        if ((err = db_certificate_read(st, c, why)) != CW_OK)
            break;
        read_revocation(st, &revoked, &r);
        if ((c->kind == LEDGER_CERT_PIV) == piv)
            err = each(ctx, c, &r, why);
    }
    db_done(&st);
    free(c);
    return err;
}
