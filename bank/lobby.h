/* lobby.h - connections whose handshake is not finished, by age and source: who has to go when
 * there are too many. Knows neither sockets nor TLS. */
#ifndef CARDWIRE_BANK_LOBBY_H
#define CARDWIRE_BANK_LOBBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An IPv4 address, or the network of an IPv6 one: who has one address of a /64 has all of them. */
struct lobby_source {
    uint8_t family; /* 0: not known */
    uint8_t bytes[8];
};

enum lobby_stage {
    LOBBY_NEW,     /* accepted */
    LOBBY_SILENT,  /* no byte yet, or none was looked for */
    LOBBY_HEARD,   /* a part of a ClientHello */
    LOBBY_TALKING, /* a whole one: the rest may be slow */
};

/* Lives inside its owner, which takes it out before it goes. */
struct lobby_guest {
    void *owner;
    struct lobby_source source;
    enum lobby_stage stage;
    bool inside;
    struct lobby_guest *older, *newer;
};

/* All zero is an empty one. */
struct lobby {
    struct lobby_guest *oldest, *newest;
};

void lobby_source_set(struct lobby_source *out, const struct sockaddr *peer);
void lobby_enter(struct lobby *l, struct lobby_guest *g);
/* Nothing happens when it is not inside. */
void lobby_leave(struct lobby *l, struct lobby_guest *g);
/* How many are inside from that source. */
size_t lobby_count(const struct lobby *l, const struct lobby_source *source);
/* Who goes first: the oldest without a ClientHello, else the oldest; of one source, or of all when
 * it is NULL. Never `spare` (may be NULL). NULL when there is none. */
struct lobby_guest *lobby_least(const struct lobby *l, const struct lobby_source *source,
                                const struct lobby_guest *spare);

#endif
