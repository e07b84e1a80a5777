/* ledger_head.c - heads of the journal that the bank has signed, kept for the receipts that rest on
 * them. Who signs, and when, is journal.c's. */
#include "bank/ledger_db.h"

#include <string.h>

#define COLUMNS "h.journal, h.text, h.signature, h.signer, s.der "
#define TABLES  "FROM head h JOIN head_signer s ON s.sha256 = h.signer "

static enum cw_err read_head(struct db_stmt *st, struct ledger_head *out, struct say *why)
{
    out->entry = db_int(st, 0);
    enum cw_err err = db_blob(st, 1, out->text, sizeof out->text, &out->text_len, why);
    if (err == CW_OK)
        err = db_blob(st, 2, out->signature, sizeof out->signature, &out->signature_len, why);
    if (err == CW_OK)
        err = db_blob_exact(st, 3, out->signer, sizeof out->signer, why);
    if (err == CW_OK)
        err = db_blob(st, 4, out->certificate, sizeof out->certificate, &out->certificate_len, why);
    return err;
}

enum cw_err ledger_head_find(struct ledger *l, int64_t first, int64_t last, struct ledger_head *out,
                             struct say *why)
{
    struct db_stmt *st = NULL;
    struct ledger_head h;
    bool row = false;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT " COLUMNS TABLES
                                 "WHERE h.journal BETWEEN ? AND ? ORDER BY h.journal LIMIT 1",
                                 "ii", first, last);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "no head is signed between entries %lld and %lld",
                       (long long)first, (long long)last);
    if (err == CW_OK)
        err = read_head(st, &h, why);
    if (err == CW_OK)
        *out = h;
    db_done(&st);
    return err;
}

enum cw_err ledger_head_add(struct ledger *l, const struct ledger_head *h, struct say *why)
{
    struct db_stmt *st = NULL;
    enum cw_err err = db_prepare(
        l, &st, why,
        "INSERT INTO head_signer (sha256, der) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING", "bb",
        h->signer, sizeof h->signer, h->certificate, h->certificate_len);
    err = db_run(l, err, st, why);
    if (err != CW_OK)
        return err;
    err = db_prepare(l, &st, why,
                     "INSERT INTO head (journal, text, signature, signer) VALUES (?, ?, ?, ?) "
                     "ON CONFLICT (journal) DO NOTHING",
                     "ibbb", h->entry, h->text, h->text_len, h->signature, h->signature_len,
                     h->signer, sizeof h->signer);
    return db_run(l, err, st, why);
}

enum cw_err ledger_chain_get(struct ledger *l, int64_t last, int64_t *entry,
                             uint8_t hash[LEDGER_HASH_LEN], struct say *why)
{
    struct db_stmt *st = NULL;
    bool row = false;
    enum cw_err err = db_prepare(
        l, &st, why,
        "SELECT journal, hash FROM chain WHERE journal <= ? ORDER BY journal DESC LIMIT 1", "i",
        last);
    if (err == CW_OK)
        err = db_step(l, st, &row, why);
    if (err == CW_OK && !row)
        err = say_fail(why, CW_ERR_NOT_FOUND, "there is no entry up to %lld", (long long)last);
    if (err == CW_OK)
        err = db_blob_exact(st, 1, hash, LEDGER_HASH_LEN, why);
    if (err == CW_OK)
        *entry = db_int(st, 0);
    db_done(&st);
    return err;
}

enum cw_err ledger_head_each(struct ledger *l,
                             enum cw_err (*each)(void *ctx, const struct ledger_head *h,
                                                 const uint8_t *hash, struct say *why),
                             void *ctx, struct say *why)
{
    struct db_stmt *st = NULL;
    struct ledger_head h;
    uint8_t hash[LEDGER_HASH_LEN];
    bool row = true;
    enum cw_err err = db_prepare(l, &st, why,
                                 "SELECT " COLUMNS ", c.hash " TABLES
                                 "LEFT JOIN chain c ON c.journal = h.journal ORDER BY h.journal",
                                 "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        bool chained = !db_null(st, 5);
        err = read_head(st, &h, why);
        if (err == CW_OK && chained)
            err = db_blob_exact(st, 5, hash, sizeof hash, why);
        if (err == CW_OK)
            err = each(ctx, &h, chained ? hash : NULL, why);
    }
    db_done(&st);
    return err;
}
