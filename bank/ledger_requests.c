/* ledger_requests.c - what holders ask of their cards' lists of payees, and what became of it. */
#include "bank/ledger_db.h"

#include <string.h>

static const char *const status_names[] = {
    [LEDGER_REQUEST_OPEN] = "open",
    [LEDGER_REQUEST_CONFIRMED] = "confirmed",
    [LEDGER_REQUEST_REFUSED] = "refused",
};

const char *ledger_payee_request_status_name(enum ledger_payee_request_status status)
{
    return status_names[status];
}

#define COLUMNS                                                                                    \
    "SELECT id, card, action, account, name, asked, status, decided, words FROM payee_request "

static enum cw_err read_request(struct db_stmt *st, struct ledger_payee_request *r, struct say *why)
{
    char action[8], status[16];
    *r = (struct ledger_payee_request){
        .id = db_int(st, 0), .asked = db_int(st, 5), .decided = db_int(st, 7)};
    enum cw_err err = db_blob_exact(st, 1, r->card, sizeof r->card, why);
    if (err == CW_OK)
        err = db_text(st, 2, action, sizeof action, why);
    if (err == CW_OK)
        err = db_text(st, 3, r->payee.account, sizeof r->payee.account, why);
    if (err == CW_OK)
        err = db_text(st, 4, r->payee.name, sizeof r->payee.name, why);
    if (err == CW_OK)
        err = db_text(st, 6, status, sizeof status, why);
    if (err == CW_OK)
        err = db_text(st, 8, r->words, sizeof r->words, why);
    if (err != CW_OK)
        return err;
    r->remove = strcmp(action, "remove") == 0;
    for (int s = LEDGER_REQUEST_OPEN; s <= LEDGER_REQUEST_REFUSED; s++)
        if (strcmp(status, status_names[s]) == 0)
            r->status = (enum ledger_payee_request_status)s;
    return r->status != 0
               ? CW_OK
               : say_fail(why, CW_ERR_FORMAT, "the ledger holds a request that is '%s'", status);
}

/* Takes the one row of a query; CW_ERR_NOT_FOUND, without a sentence, when there is none. */
static enum cw_err take_one(struct ledger *l, enum cw_err prepared, struct db_stmt *st,
                            struct ledger_payee_request *out, struct say *why)
{
    bool row = false;
    if (prepared != CW_OK)
        return prepared;
    enum cw_err err = db_step(l, st, &row, why);
    if (err == CW_OK)
        err = row ? read_request(st, out, why) : CW_ERR_NOT_FOUND;
    db_done(&st);
    return err;
}

enum cw_err ledger_payee_request_get(struct ledger *l, int64_t id, struct ledger_payee_request *out,
                                     struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_prepare(l, &st, why, COLUMNS "WHERE id = ?", "i", id);
    err = take_one(l, err, st, out, why);
    return err == CW_ERR_NOT_FOUND
               ? say_fail(why, err,
                          "there is no request %lld; 'cardwired payee requests' lists them",
                          (long long)id)
               : err;
}

/* ---- asking ---- */

/* Whether the list of the card lets the request be asked at all. */
static enum cw_err check_list(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], bool remove,
                              const char *account, struct say *why)
{
    struct policy_payee list[POLICY_PAYEES_MAX];
    size_t count = 0;
    bool listed = false;
    enum cw_err err = ledger_payees_get(l, serial, list, &count, why);
    if (err != CW_OK)
        return err;
    for (size_t i = 0; i < count; i++)
        listed |= strcmp(list[i].account, account) == 0;
    if (remove && !listed)
        return say_fail(why, CW_ERR_NOT_FOUND, "that account is not on the card's list");
    if (!remove && listed)
        return say_fail(why, CW_ERR_EXISTS, "that account is on the card's list already");
    if (!remove && count == POLICY_PAYEES_MAX)
        return say_fail(why, CW_ERR_SPACE, "the card's list is full");
    return CW_OK;
}

static enum cw_err check_open(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                              struct say *why)
{
    struct db_stmt *st;
    int64_t open = 0;
    enum cw_err err = db_prepare(
        l, &st, why, "SELECT count(*) FROM payee_request WHERE card = ? AND status = 'open'", "b",
        serial, (size_t)ORDER_SERIAL_LEN);
    err = db_number(l, err, st, &open, why);
    return err == CW_OK && open >= POLICY_PAYEES_MAX
               ? say_fail(why, CW_ERR_SPACE, "too many requests of the card are open")
               : err;
}

static enum cw_err insert(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], bool remove,
                          const struct policy_payee *payee, int64_t *id, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "INSERT INTO payee_request "
                   "(id, card, action, account, name, asked, status, decided, words) "
                   "SELECT coalesce(max(id), 0) + 1, ?, ?, ?, ?, ?, 'open', 0, '' "
                   "FROM payee_request RETURNING id",
                   "bttti", serial, (size_t)ORDER_SERIAL_LEN, remove ? "remove" : "add",
                   payee->account, payee->name, ledger_now(l));
    err = db_number(l, err, st, id, why);
    return err == CW_OK && !remove
               ? db_event_add(l, LEDGER_EVENT_PAYEE_ASKED, serial, payee, NULL, why)
               : err;
}

static enum cw_err ask(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN], bool remove,
                       const struct policy_payee *payee, struct ledger_payee_request *out,
                       bool *fresh, struct say *why)
{
    struct db_stmt *st;
    int64_t id = 0;
    enum cw_err err = check_list(l, serial, remove, payee->account, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(
        l, &st, why, COLUMNS "WHERE card = ? AND action = ? AND account = ? AND status = 'open'",
        "btt", serial, (size_t)ORDER_SERIAL_LEN, remove ? "remove" : "add", payee->account);
    err = take_one(l, err, st, out, why);
    *fresh = err == CW_ERR_NOT_FOUND;
    if (!*fresh)
        return err;
    err = check_open(l, serial, why);
    if (err == CW_OK)
        err = insert(l, serial, remove, payee, &id, why);
    return err == CW_OK ? ledger_payee_request_get(l, id, out, why) : err;
}

enum cw_err ledger_payee_request_add(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                     bool remove, const struct policy_payee *payee,
                                     struct ledger_payee_request *out, bool *fresh, struct say *why)
{
    struct ledger_payee_request r;
    bool is_fresh = false;
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    err = db_end(l, ask(l, serial, remove, payee, &r, &is_fresh, why), why);
    if (err == CW_OK) {
        *out = r;
        *fresh = is_fresh;
    }
    return err;
}

/* ---- looking ---- */

enum cw_err ledger_payee_requests_get(struct ledger *l, const uint8_t serial[ORDER_SERIAL_LEN],
                                      int64_t before, size_t limit,
                                      struct ledger_payee_request *out, size_t *count,
                                      struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    size_t n = 0;
    enum cw_err err =
        db_prepare(l, &st, why, COLUMNS "WHERE card = ? AND id < ? ORDER BY id DESC LIMIT ?", "bii",
                   serial, (size_t)ORDER_SERIAL_LEN, before, (int64_t)limit);
    if (err != CW_OK)
        return err;
    while (n < limit && (err = db_step(l, st, &row, why)) == CW_OK && row)
        if ((err = read_request(st, &out[n++], why)) != CW_OK)
            break;
    db_done(&st);
    if (err == CW_OK)
        *count = n;
    return err;
}

enum cw_err ledger_payee_request_each(struct ledger *l,
                                      void (*each)(void *ctx, const struct ledger_payee_request *r),
                                      void *ctx, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why, COLUMNS "WHERE status = 'open' ORDER BY id", "");
    if (err != CW_OK)
        return err;
    while ((err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_payee_request r;
        if ((err = read_request(st, &r, why)) != CW_OK)
            break;
        each(ctx, &r);
    }
    db_done(&st);
    return err;
}

/* ---- deciding ---- */

static enum cw_err decide(struct ledger *l, int64_t id, enum ledger_payee_request_status status,
                          const char *words, struct say *why)
{
    struct db_stmt *st;
    struct ledger_payee_request r;
    enum cw_err err = ledger_payee_request_get(l, id, &r, why);
    if (err == CW_OK && r.status != LEDGER_REQUEST_OPEN)
        err = say_fail(why, CW_ERR_STATE, "the request %lld is %s already", (long long)id,
                       status_names[r.status]);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "UPDATE payee_request SET status = ?, decided = ?, words = ? WHERE id = ?",
                     "titi", status_names[status], ledger_now(l), words, id);
    err = db_run(l, err, st, why);
    if (err != CW_OK || status != LEDGER_REQUEST_REFUSED) /* the list's change has its own line */
        return err;
    err = db_event_add(l, LEDGER_EVENT_PAYEE_REFUSED, r.card, &r.payee, words, why);
    return err == CW_OK ? db_admin_card(l, "payee refuse", r.card, r.payee.account, why) : err;
}

enum cw_err ledger_payee_request_confirm(struct ledger *l, int64_t id, const char *words,
                                         struct say *why)
{
    enum cw_err err = db_words_check(words, "how the request was confirmed", why);
    return err == CW_OK ? decide(l, id, LEDGER_REQUEST_CONFIRMED, words, why) : err;
}

enum cw_err ledger_payee_request_refuse(struct ledger *l, int64_t id, const char *words,
                                        struct say *why)
{
    enum cw_err err = db_words_check(words, "why the request is refused", why);
    if (err == CW_OK)
        err = db_begin(l, why);
    return err == CW_OK ? db_end(l, decide(l, id, LEDGER_REQUEST_REFUSED, words, why), why) : err;
}
