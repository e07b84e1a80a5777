/* login.h - what the benches of the wire share: a bank in a temporary folder, a card that it
 * issued, and a login: SELECT, PIN and a whole handshake (tls13: one ticket included), without
 * HTTP. */
#ifndef CARDWIRE_BENCH_LOGIN_H
#define CARDWIRE_BENCH_LOGIN_H

#include "bank/bank.h"
#include "bank/tls.h"
#include "proto/link.h"
#include "reader/reader.h"

struct login_scene {
    char dir[200], card[240], pin_file[240]; /* card: the reader's URI */
    struct bank *bank;
    struct tls *tls;
};

struct login_result {
    enum link_profile profile; /* the caller's choice */
    enum link_key key;         /* likewise */
    bool resumed;
    struct reader_stats reader;
    uint64_t tls_bytes;
};

/* `reader`: where the blank card is that is issued; NULL for one in this process, in the scene's
 * folder. Strike the scene whatever came out. */
CW_MUST_USE enum cw_err login_scene(struct login_scene *s, const char *reader, struct say *why);
void login_strike(struct login_scene *s);
/* A login by a reader that was just opened; free it afterwards, which tears the card out without a
 * word to the server. `again`: the second one, which must resume. */
CW_MUST_USE enum cw_err login_measure(struct login_scene *s, struct reader *reader, bool again,
                                      struct login_result *r, struct say *why);

/* What --json and a table call the key: static storage. */
const char *login_key_name(enum link_key key);
/* The one option of such a bench. `help` is what --help prints. -1: go on; else the exit code. */
int login_options(int argc, char **argv, const char *help, bool *json);
/* Calls `one` for each profile and key, for the first login and for the second; stops at an error.
 */
typedef enum cw_err login_one(void *ctx, struct login_scene *s, bool again, struct login_result *r,
                              struct say *why);
CW_MUST_USE enum cw_err login_each(struct login_scene *s, login_one *one, void *ctx,
                                   struct say *why);
/* Strikes the scene; says what went wrong, if anything did. Returns the exit code. */
int login_end(struct login_scene *s, const char *name, enum cw_err err, bool good,
              const struct say *why);

#endif
