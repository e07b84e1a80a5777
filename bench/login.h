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

/* Strike the scene whatever came out. */
CW_MUST_USE enum cw_err login_scene(struct login_scene *s, struct say *why);
void login_strike(struct login_scene *s);
/* A login by a reader that was just opened; free it afterwards, which tears the card out without a
 * word to the server. `again`: the second one, which must resume. */
CW_MUST_USE enum cw_err login_measure(struct login_scene *s, struct reader *reader, bool again,
                                      struct login_result *r, struct say *why);

#endif
