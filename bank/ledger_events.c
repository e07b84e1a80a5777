/* ledger_events.c - what happened to customers' cards and the lists of payees, and what holders
 * asked for. An event is written in the transaction in which it happens, and stays. */
#include "bank/ledger_db.h"

#include "proto/text.h"

#include <string.h>

static const char *const kind_names[] = {
    [LEDGER_EVENT_CARD_BLOCKED] = "card-blocked",
    [LEDGER_EVENT_CARD_UNBLOCKED] = "card-unblocked",
    [LEDGER_EVENT_CARD_TERMINATED] = "card-terminated",
    [LEDGER_EVENT_PAYEE_ASKED] = "payee-asked",
    [LEDGER_EVENT_PAYEE_REFUSED] = "payee-refused",
    [LEDGER_EVENT_PAYEE_ADDED] = "payee-added",
    [LEDGER_EVENT_PAYEE_REMOVED] = "payee-removed",
};

const char *ledger_event_kind_name(enum ledger_event_kind kind)
{
    return kind_names[kind];
}

enum cw_err db_words_check(const char *words, const char *what, struct say *why)
{
    size_t len = strlen(words);
    if (len == 0 || len > LEDGER_CONFIRMED_MAX || !text_is_clean(words, len))
        return say_fail(why, CW_ERR_FORMAT,
                        "%s must be said in 1 to %u bytes without control characters", what,
                        LEDGER_CONFIRMED_MAX);
    return CW_OK;
}

enum cw_err db_event_add(struct ledger *l, enum ledger_event_kind kind,
                         const uint8_t serial[ORDER_SERIAL_LEN], const struct policy_payee *payee,
                         const char *words, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(
        l, &st, why,
        "INSERT INTO event (id, customer, time, kind, card, account, name, words) "
        "SELECT (SELECT coalesce(max(id), 0) + 1 FROM event), c.customer, ?, ?, c.serial, ?, ?, ? "
        "FROM card c WHERE c.serial = ?",
        "ittttb", ledger_now(l), kind_names[kind], payee != NULL ? payee->account : "",
        payee != NULL ? payee->name : "", words != NULL ? words : "", serial,
        (size_t)ORDER_SERIAL_LEN);
    return db_run(l, err, st, why);
}

static enum cw_err read_event(struct db_stmt *st, struct ledger_event *e, struct say *why)
{
    char kind[24];
    *e = (struct ledger_event){.id = db_int(st, 0), .time = db_int(st, 1)};
    enum cw_err err = db_text(st, 2, kind, sizeof kind, why);
    if (err == CW_OK)
        err = db_blob_exact(st, 3, e->card, sizeof e->card, why);
    if (err == CW_OK)
        err = db_text(st, 4, e->payee.account, sizeof e->payee.account, why);
    if (err == CW_OK)
        err = db_text(st, 5, e->payee.name, sizeof e->payee.name, why);
    if (err == CW_OK)
        err = db_text(st, 6, e->words, sizeof e->words, why);
    for (int k = LEDGER_EVENT_CARD_BLOCKED; k <= LEDGER_EVENT_PAYEE_REMOVED && err == CW_OK; k++)
        if (strcmp(kind, kind_names[k]) == 0)
            e->kind = (enum ledger_event_kind)k;
    if (err == CW_OK && e->kind == 0)
        err = say_fail(why, CW_ERR_FORMAT, "the ledger holds an event of kind '%s'", kind);
    return err;
}

enum cw_err ledger_events_get(struct ledger *l, int64_t customer, int64_t after, size_t limit,
                              struct ledger_event *out, size_t *count, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT id, time, kind, card, account, name, words FROM event "
                                 "WHERE customer = ? AND id > ? ORDER BY id LIMIT ?",
                                 "iii", customer, after, (int64_t)limit);
    if (err != CW_OK)
        return err;
    while (n < limit && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = read_event(st, &out[n++], why)) != CW_OK)
            break;
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}
