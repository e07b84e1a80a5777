/* ledger_people.c - customers, their accounts, their cards and the cards' certificates. */
#include "bank/ledger_db.h"

#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

/* A name goes into orders as the payee's, so it must be what order_check accepts there. */
static enum cw_err check_name(const char *name)
{
    struct order_fields f = {.payer = "ZZ000000",
                             .payee = "ZZ000001",
                             .amount = 1,
                             .currency = "EUR",
                             .reference = "",
                             .expiry = 1};
    if (strlen(name) > ORDER_NAME_MAX || name[0] == '\0')
        return CW_ERR_LENGTH;
    snprintf(f.payee_name, sizeof f.payee_name, "%s", name);
    return order_check(&f);
}

enum cw_err ledger_customer_add(struct ledger *l, const char *name, int64_t *id, struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = check_name(name);
    if (err != CW_OK)
        return say_fail(why, err,
                        "that is no name for a customer: 1 to %u bytes of UTF-8 without control "
                        "characters and without spaces at its ends",
                        ORDER_NAME_MAX);
    if ((err = db_begin(l, why)) != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "INSERT INTO customer (id, name, since) "
                     "SELECT coalesce(max(id), 0) + 1, ?, ? FROM customer RETURNING id",
                     "ti", name, ledger_now(l));
    err = db_number(l, err, st, id, why);
    if (err == CW_OK)
        err = db_admin(l, "customer add", name, why);
    return db_end(l, err, why);
}

enum cw_err db_customer_read(struct db_stmt *st, struct ledger_customer *out, struct say *why)
{
    struct ledger_customer c = {.id = db_int(st, 0), .since = db_int(st, 2)};
    enum cw_err err = db_text(st, 1, c.name, sizeof c.name, why);
    if (err == CW_OK)
        *out = c;
    return err;
}

enum cw_err ledger_customer_get(struct ledger *l, int64_t id, struct ledger_customer *out,
                                struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT id, name, since FROM customer WHERE id = ?", "i", id);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND,
                       "there is no customer %lld; 'cardwired customer list' shows them",
                       (long long)id);
    if (err == CW_OK)
        err = db_customer_read(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_customer_each(struct ledger *l,
                                 void (*each)(void *ctx, const struct ledger_customer *c),
                                 void *ctx, struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err =
        db_prepare(l, &st, why, "SELECT id, name, since FROM customer ORDER BY id", "");
    if (err != CW_OK)
        return err;
    while ((err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_customer c;
        if ((err = db_customer_read(st, &c, why)) != CW_OK)
            break;
        each(ctx, &c);
    }
    db_done(&st);
    return err;
}

/* ---- accounts ---- */

static enum cw_err cash_account(struct ledger *l, const char currency[4], int64_t *id,
                                struct say *why)
{
    char number[16];
    struct db_stmt *st;
    snprintf(number, sizeof number, "CASH-%s", currency);
    enum cw_err err = db_prepare(l, &st, why,
                                 "INSERT INTO account (id, number, currency, balance, since) "
                                 "SELECT coalesce(max(id), 0) + 1, ?, ?, 0, ? FROM account "
                                 "WHERE true ON CONFLICT DO NOTHING",
                                 "tti", number, currency, ledger_now(l));
    if ((err = db_run(l, err, st, why)) != CW_OK)
        return err;
    err = db_prepare(l, &st, why, "SELECT id FROM account WHERE number = ?", "t", number);
    return db_number(l, err, st, id, why);
}

static enum cw_err insert_account(struct ledger *l, int64_t customer, const char currency[4],
                                  char number[ACCOUNT_NUMBER_LEN + 1], int64_t *id, struct say *why)
{
    uint64_t random;
    int64_t taken;
    struct db_stmt *st;
    enum cw_err err;
    do {
        if (RAND_bytes((unsigned char *)&random, sizeof random) != 1)
            return say_fail(why, CW_ERR_CRYPTO, "this machine gives no random numbers");
        account_number_make(random % (ACCOUNT_ORDINAL_MAX + 1), number);
        err = db_prepare(l, &st, why, "SELECT count(*) FROM account WHERE number = ?", "t", number);
        if ((err = db_number(l, err, st, &taken, why)) != CW_OK)
            return err;
    } while (taken != 0);
    err = db_prepare(l, &st, why,
                     "INSERT INTO account (id, number, customer, currency, balance, since) "
                     "SELECT coalesce(max(id), 0) + 1, ?, ?, ?, 0, ? FROM account RETURNING id",
                     "titi", number, customer, currency, ledger_now(l));
    return db_number(l, err, st, id, why);
}

static enum cw_err open_account(struct ledger *l, int64_t customer, const char currency[4],
                                int64_t deposit, char number[ACCOUNT_NUMBER_LEN + 1],
                                struct say *why)
{
    int64_t id = 0, cash = 0;
    enum cw_err err = insert_account(l, customer, currency, number, &id, why);
    if (err != CW_OK || deposit == 0)
        return err;
    if ((err = cash_account(l, currency, &cash, why)) != CW_OK)
        return err;
    const struct db_leg legs[2] = {{.account = cash, .amount = -deposit},
                                   {.account = id, .amount = deposit}};
    return db_post(l, "deposit", "Opening deposit", NULL, legs, 2, NULL, why);
}

enum cw_err ledger_account_open(struct ledger *l, int64_t customer, const char currency[4],
                                int64_t deposit, struct ledger_account *out, struct say *why)
{
    int digits;
    char number[ACCOUNT_NUMBER_LEN + 1];
    struct ledger_customer c;
    if (order_currency_digits(currency, &digits) != CW_OK)
        return say_fail(why, CW_ERR_UNSUPPORTED,
                        "the currency '%.3s' is not one of this bank; use an ISO 4217 code such as "
                        "EUR",
                        currency);
    if (deposit < 0 || deposit > ORDER_AMOUNT_MAX)
        return say_fail(why, CW_ERR_ARG, "a deposit is an amount from 0 up to 15 digits");
    enum cw_err err = ledger_customer_get(l, customer, &c, why);
    if (err != CW_OK || (err = db_begin(l, why)) != CW_OK)
        return err;
    err = open_account(l, customer, currency, deposit, number, why);
    if (err == CW_OK)
        err = db_admin(l, "account open", number, why);
    if ((err = db_end(l, err, why)) != CW_OK)
        return err;
    return ledger_account_get(l, number, out, why);
}

enum cw_err ledger_account_freeze(struct ledger *l, const char *number, bool frozen,
                                  struct say *why)
{
    struct db_stmt *st;
    enum cw_err err = db_begin(l, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "UPDATE account SET frozen = ? WHERE number = ? AND customer IS NOT NULL",
                     "it", (int64_t)frozen, number);
    err = db_run(l, err, st, why);
    if (err == CW_OK && db_changed(l) != 1)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no account %.34s of a customer", number);
    if (err == CW_OK)
        err = db_admin(l, frozen ? "account freeze" : "account unfreeze", number, why);
    return db_end(l, err, why);
}

enum cw_err db_account_read(struct db_stmt *st, struct ledger_account *out, struct say *why)
{
    struct ledger_account a = {
        .customer = db_int(st, 1), .balance = db_int(st, 4), .row = db_int(st, 5)};
    enum cw_err err = db_text(st, 0, a.number, sizeof a.number, why);
    if (err == CW_OK)
        err = db_text(st, 2, a.name, sizeof a.name, why);
    if (err == CW_OK)
        err = db_text(st, 3, a.currency, sizeof a.currency, why);
    if (err == CW_OK)
        *out = a;
    return err;
}

enum cw_err ledger_account_get(struct ledger *l, const char *number, struct ledger_account *out,
                               struct say *why)
{
    struct db_stmt *st;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why, DB_ACCOUNT_COLUMNS "WHERE a.number = ?", "t", number);
    if (err != CW_OK)
        return err;
    err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no account %.34s", number);
    if (err == CW_OK)
        err = db_account_read(st, out, why);
    db_done(&st);
    return err;
}

enum cw_err ledger_account_each(struct ledger *l, int64_t customer,
                                void (*each)(void *ctx, const struct ledger_account *a), void *ctx,
                                struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err =
        db_prepare(l, &st, why, DB_ACCOUNT_COLUMNS "WHERE ?1 = -1 OR a.customer = ?1 ORDER BY a.id",
                   "i", customer);
    if (err != CW_OK)
        return err;
    while ((err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_account a;
        if ((err = db_account_read(st, &a, why)) != CW_OK)
            break;
        each(ctx, &a);
    }
    db_done(&st);
    return err;
}
