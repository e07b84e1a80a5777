/* ledger_admin.c - who changes the books: the operator of this connection, and the log, whose lines
 * are entries of the journal. Written in the transaction that changes what they tell of. */
#include "bank/ledger_work_db.h"

#include <stdio.h>
#include <string.h>

enum cw_err ledger_operator_set(struct ledger *l, const char *who, struct say *why)
{
    struct ledger_ground g;
    enum cw_err err = work_ground(&g, who, "", "", "", why);
    if (err == CW_OK)
        memcpy(l->who, g.who, sizeof l->who);
    return err;
}

enum cw_err db_enter(struct ledger *l, bool *mine, struct say *why)
{
    *mine = !l->writing;
    return *mine ? db_begin(l, why) : CW_OK;
}

enum cw_err db_leave(struct ledger *l, bool mine, enum cw_err err, struct say *why)
{
    return mine ? db_end(l, err, why) : err;
}

enum cw_err db_admin(struct ledger *l, const char *what, const char *subject, struct say *why)
{
    struct ledger_ground g;
    if (l->who[0] == '\0')
        return CW_OK;
    enum cw_err err = work_ground(&g, l->who, "", what, "", why);
    if (err != CW_OK)
        return err;
    snprintf(g.subject, sizeof g.subject, "%s", subject);
    return db_post(l, "admin", "", &g, NULL, 0, NULL, why);
}

enum cw_err db_admin_card(struct ledger *l, const char *what,
                          const uint8_t serial[ORDER_SERIAL_LEN], const char *more, struct say *why)
{
    char subject[LEDGER_SUBJECT_MAX + 1];
    int n = 0;
    for (size_t i = 0; i < ORDER_SERIAL_LEN; i++)
        n += snprintf(subject + n, sizeof subject - (size_t)n, "%02X", serial[i]);
    snprintf(subject + n, sizeof subject - (size_t)n, "%s%.100s", more[0] != '\0' ? " " : "", more);
    return db_admin(l, what, subject, why);
}

enum cw_err ledger_log_each(struct ledger *l,
                            void (*each)(void *ctx, const struct ledger_log_line *line), void *ctx,
                            struct say *why)
{
    struct db_stmt *st;
    bool row = true;
    enum cw_err err =
        db_prepare(l, &st, why,
                   "SELECT j.id, j.time, j.kind, g.who, g.approver, g.what, "
                   "g.subject, coalesce(g.key, ''), coalesce(g.refers, 0) "
                   "FROM admin_log g JOIN journal j ON j.id = g.journal ORDER BY j.id",
                   "");
    while (err == CW_OK && (err = db_step(l, st, &row, why)) == CW_OK && row) {
        struct ledger_log_line line = {.entry = db_int(st, 0), .time = db_int(st, 1)};
        err = db_text(st, 2, line.kind, sizeof line.kind, why);
        if (err == CW_OK)
            err = db_ground_read(st, 3, &line.ground, why);
        if (err == CW_OK)
            each(ctx, &line);
    }
    db_done(&st);
    return err;
}
