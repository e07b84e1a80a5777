/* ledger_sqlite_look.c - whether SQLite would take a booking now. A look, not a promise. */
#include "bank/ledger_db.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/statvfs.h>

/* Less than this and a commit may find no room: bytes, enough for some hundred payments. */
#define ROOM_MIN (1u << 20)
/* The server answers nobody while it waits for another program that writes. */
#define WAIT_MS 100

/* SQLite goes on writing into a file that has lost its name, where nobody would find it again. */
static enum cw_err check_file(struct ledger *l, struct say *why)
{
    int moved = 0;
    struct statvfs fs;
    if (sqlite3_file_control(db_sqlite_handle(l), "main", SQLITE_FCNTL_HAS_MOVED, &moved) !=
            SQLITE_OK ||
        moved)
        return say_fail(why, CW_ERR_NOT_FOUND, "the ledger %.300s was moved or removed", l->where);
    if (statvfs(l->where, &fs) != 0)
        return say_fail(why, CW_ERR_IO, "the ledger %.300s: %s", l->where, strerror(errno));
    if ((fs.f_flag & ST_RDONLY) != 0)
        return say_fail(why, CW_ERR_IO, "the ledger %.300s is on a disk that cannot be written",
                        l->where);
    if (fs.f_bavail < ROOM_MIN / fs.f_frsize)
        return say_fail(why, CW_ERR_SPACE, "the disk with the ledger %.300s is full", l->where);
    return CW_OK;
}

enum cw_err db_sqlite_writable(struct ledger *l, struct say *why)
{
    enum db_fate fate;
    enum cw_err err = check_file(l, why);
    if (err != CW_OK)
        return err;
    sqlite3_busy_timeout(db_sqlite_handle(l), WAIT_MS);
    err = l->engine->begin(l, true, why);
    sqlite3_busy_timeout(db_sqlite_handle(l), DB_SQLITE_BUSY_MS);
    return err == CW_OK ? l->engine->end(l, false, &fate, why) : err;
}
