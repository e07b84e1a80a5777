/* ledger_manage.c - what the bank knows of the cards that it manages: key set, policy, signed
 * updates, lists of payees. */
#include "bank/ledger_db.h"

#include <string.h>

/* ---- key set and policy ---- */

/* Encodes it; the caller binds and runs. */
static enum cw_err encode_policy(const struct policy *policy, uint8_t out[POLICY_LEN_MAX],
                                 size_t *len, struct say *why)
{
    struct buf_writer w;
    buf_writer_init(&w, out, POLICY_LEN_MAX);
    enum cw_err err = policy_encode(policy, &w);
    *len = w.len;
    return err == CW_OK ? CW_OK : say_fail(why, err, "that is no policy for a card");
}

static enum cw_err insert_payee(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                const struct policy_payee *payee, const char *confirmed,
                                struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why,
                                 "INSERT INTO payee (id, card, account, name, added, confirmed) "
                                 "SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ?, ? FROM payee",
                                 "bttit", serial, (size_t)ORDER_SERIAL_LEN, payee->account,
                                 payee->name, ledger_now(l), confirmed);
    return db_run(l, err, st, why);
}

enum cw_err db_management_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              const struct ledger_terms *terms, struct say *why)
{
    struct db_stmt *st;
    uint8_t policy[POLICY_LEN_MAX];
    size_t len = 0;
    enum cw_err err = encode_policy(&terms->policy, policy, &len, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "INSERT INTO management (card, keyset, policy) VALUES (?, ?, ?)",
                     "bib", serial, (size_t)ORDER_SERIAL_LEN, (int64_t)terms->keyset, policy, len);
    err = db_run(l, err, st, why);
    for (size_t i = 0; i < terms->payee_count && err == CW_OK; i++)
        err = insert_payee(l, serial, &terms->payees[i],
                           terms->confirmed != NULL ? terms->confirmed : "when the card was issued",
                           why);
    return err;
}

static enum cw_err read_management(struct db_stmt *st, struct ledger_management *out,
                                   struct say *why)
{
    uint8_t policy[POLICY_LEN_MAX];
    size_t len = 0;
    enum cw_err err = db_blob(st, 1, policy, sizeof policy, &len, why);
    if (err != CW_OK)
        return err;
    struct ledger_management m = {.keyset = (unsigned)db_int(st, 0),
                                  .applied = (uint32_t)db_int(st, 2),
                                  .made = (uint32_t)db_int(st, 3),
                                  .pending = (size_t)db_int(st, 4)};
    if (policy_decode(policy, len, &m.policy) != CW_OK)
        return say_fail(why, CW_ERR_FORMAT,
                        "the ledger holds a card's policy that is none; restore it from a copy");
    *out = m;
    return CW_OK;
}

enum cw_err ledger_management_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  struct ledger_management *out, struct say *why)
{
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err == CW_OK && card.status == LEDGER_CARD_TERMINATED)
        err = say_fail(why, CW_ERR_STATE, "that card is %s", ledger_card_status_name(card.status));
    return err == CW_OK ? ledger_management_read(l, serial, out, why) : err;
}

enum cw_err ledger_management_read(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                   struct ledger_management *out, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    struct ledger_card card;
    enum cw_err err = ledger_card_get(l, serial, &card, why);
    if (err != CW_OK)
        return err;
    if (card.status == LEDGER_CARD_ISSUING)
        return say_fail(why, CW_ERR_STATE, "that card is %s", ledger_card_status_name(card.status));
    err = db_prepare(l, &st, why,
                     "SELECT m.keyset, m.policy, m.applied, coalesce(max(u.sequence), 0), "
                     "count(u.sequence) FILTER (WHERE u.sequence > m.applied) "
                     "FROM management m LEFT JOIN card_update u ON u.card = m.card "
                     "WHERE m.card = ? GROUP BY m.card",
                     "b", serial, (size_t)ORDER_SERIAL_LEN);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_STATE,
                       "that card was issued by an older cardwired: it has no key of this bank and "
                       "takes no updates; issue a new one");
    if (err == CW_OK)
        err = read_management(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_management_any(struct ledger *l, bool *out, struct say *why)
{
    struct db_stmt *st;
    int64_t any = 0;
    enum cw_err err = db_prepare(l, &st, why, "SELECT EXISTS (SELECT 1 FROM management)", "");
    err = db_number(l, err, st, &any, why);
    if (err == CW_OK)
        *out = any != 0;
    return err;
}

/* Runs a statement that must change something. */
static enum cw_err run_one(struct ledger *l, enum cw_err prepared, struct db_stmt *st,
                           bool *changed, struct say *why)
{
    enum cw_err err = db_run(l, prepared, st, why);
    if (err == CW_OK)
        *changed = db_changed(l) > 0;
    return err;
}

enum cw_err ledger_policy_put(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              const struct policy *policy, struct say *why)
{
    struct db_stmt *st;
    uint8_t value[POLICY_LEN_MAX];
    size_t len = 0;
    bool changed = false;
    enum cw_err err = encode_policy(policy, value, &len, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "UPDATE management SET policy = ? WHERE card = ?", "bb", value,
                     len, serial, (size_t)ORDER_SERIAL_LEN);
    err = run_one(l, err, st, &changed, why);
    return err == CW_OK && !changed
               ? say_fail(why, CW_ERR_NOT_FOUND, "this bank does not manage that card")
               : err;
}

/* ---- updates ---- */

enum cw_err ledger_update_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              uint32_t sequence, const uint8_t *message, size_t len,
                              struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(
        l, &st, why, "INSERT INTO card_update (card, sequence, message, made) VALUES (?, ?, ?, ?)",
        "bibi", serial, (size_t)ORDER_SERIAL_LEN, (int64_t)sequence, message, len, ledger_now(l));
    err = db_run(l, err, st, why);
    return err == CW_OK ? db_admin_card(l, "card update", serial, "", why) : err;
}

static enum cw_err read_update(struct db_stmt *st, struct ledger_update *out, struct say *why)
{
    out->sequence = (uint32_t)db_int(st, 0);
    out->made = db_int(st, 2);
    out->fetched = db_int(st, 3); /* 0 for NULL */
    return db_blob(st, 1, out->message, sizeof out->message, &out->len, why);
}

enum cw_err ledger_updates_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                               uint32_t after, struct ledger_update *out, size_t cap, size_t *count,
                               struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT sequence, message, made, fetched FROM card_update "
                                 "WHERE card = ? AND sequence > ? ORDER BY sequence",
                                 "bi", serial, (size_t)ORDER_SERIAL_LEN, (int64_t)after);
    if (err != CW_OK)
        return err;
    while (n < cap && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        if ((err = read_update(st, &out[n], why)) != CW_OK)
            break;
        n++;
    }
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_updates_fetched(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                   uint32_t after, uint32_t up_to, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(
        l, &st, why,
        "UPDATE card_update SET fetched = ? "
        "WHERE card = ? AND sequence > ? AND sequence <= ? AND fetched IS NULL",
        "ibii", ledger_now(l), serial, (size_t)ORDER_SERIAL_LEN, (int64_t)after, (int64_t)up_to);
    return db_run(l, err, st, why);
}

enum cw_err ledger_update_applied(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                  uint32_t sequence, struct say *why)
{
    struct db_stmt *st;
    bool changed = false;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "UPDATE management SET applied = CASE WHEN applied < ?1 THEN ?1 "
                   "ELSE applied END WHERE card = ?2 AND (?1 = 0 "
                   "OR EXISTS (SELECT 1 FROM card_update WHERE card = ?2 AND sequence = ?1))",
                   "ib", (int64_t)sequence, serial, (size_t)ORDER_SERIAL_LEN);
    err = run_one(l, err, st, &changed, why);
    return err == CW_OK && !changed
               ? say_fail(why, CW_ERR_NOT_FOUND, "this bank made no update of that sequence")
               : err;
}

/* ---- payees ---- */

enum cw_err ledger_payees_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              struct policy_payee *out, size_t *count, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT account, name FROM payee "
                                 "WHERE card = ? AND removed IS NULL ORDER BY id",
                                 "b", serial, (size_t)ORDER_SERIAL_LEN);
    if (err != CW_OK)
        return err;
    while (n < POLICY_PAYEES_MAX && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        err = db_text(st, 0, out[n].account, sizeof out[n].account, why);
        if (err == CW_OK)
            err = db_text(st, 1, out[n].name, sizeof out[n].name, why);
        if (err != CW_OK)
            break;
        n++;
    }
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_payee_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                             const struct policy_payee *payee, const char *confirmed,
                             struct say *why)
{
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    enum cw_err err = db_words_check(confirmed, "how the payee was confirmed", why);
    if (err == CW_OK)
        err = ledger_payees_get(l, serial, list, &count, why);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].account, payee->account) == 0)
            return say_fail(why, CW_ERR_EXISTS, "the account %s is on the card's list already",
                            payee->account);
    if (count == POLICY_PAYEES_MAX)
        return say_fail(why, CW_ERR_SPACE,
                        "a card's list holds at most %u payees; remove one with 'payee remove'",
                        POLICY_PAYEES_MAX);
    err = insert_payee(l, serial, payee, confirmed, why);
    if (err == CW_OK)
        err = db_event_add(l, LEDGER_EVENT_PAYEE_ADDED, serial, payee, NULL, why);
    return err == CW_OK ? db_admin_card(l, "payee add", serial, payee->account, why) : err;
}

enum cw_err ledger_payee_remove(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                const char *account, struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    struct policy_payee gone = {.name = ""};
    enum cw_err err = db_prepare(l, &st, why,
                                 "UPDATE payee SET removed = ? WHERE card = ? AND account = ? "
                                 "AND removed IS NULL RETURNING account, name",
                                 "ibt", ledger_now(l), serial, (size_t)ORDER_SERIAL_LEN, account);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err =
            say_fail(why, CW_ERR_NOT_FOUND, "the account %.40s is not on the card's list", account);
    if (err == CW_OK)
        err = db_text(st, 0, gone.account, sizeof gone.account, why);
    if (err == CW_OK)
        err = db_text(st, 1, gone.name, sizeof gone.name, why);
    db_done(&st);
    if (err == CW_OK)
        err = db_event_add(l, LEDGER_EVENT_PAYEE_REMOVED, serial, &gone, NULL, why);
    return err == CW_OK ? db_admin_card(l, "payee remove", serial, account, why) : err;
}

static enum cw_err read_payee(struct db_stmt *st, struct ledger_payee *out, struct say *why)
{
    struct ledger_payee p = {.added = db_int(st, 2), .removed = db_int(st, 4)};
    enum cw_err err = db_text(st, 0, p.payee.account, sizeof p.payee.account, why);
    if (err == CW_OK)
        err = db_text(st, 1, p.payee.name, sizeof p.payee.name, why);
    if (err == CW_OK)
        err = db_text(st, 3, p.confirmed, sizeof p.confirmed, why);
    if (err == CW_OK)
        *out = p;
    return err;
}

enum cw_err ledger_payee_each(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              void (*each)(void *ctx, const struct ledger_payee *p), void *ctx,
                              struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT account, name, added, confirmed, removed FROM payee "
                                 "WHERE card = ? ORDER BY id",
                                 "b", serial, (size_t)ORDER_SERIAL_LEN);
    if (err != CW_OK)
        return err;
    while ((err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_payee p;
        if ((err = read_payee(st, &p, why)) != CW_OK)
            break;
        each(ctx, &p);
    }
    db_done(&st);
    return err;
}
