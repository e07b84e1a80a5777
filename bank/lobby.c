#include "bank/lobby.h"

#include <netinet/in.h>
#include <string.h>

void lobby_source_set(struct lobby_source *out, const struct sockaddr *peer)
{
    memset(out, 0, sizeof *out);
    if (peer->sa_family == AF_INET) {
        out->family = 4;
        memcpy(out->bytes, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
        return;
    }
    if (peer->sa_family != AF_INET6)
        return;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    /* RFC 4291 section 2.5.5.2: behind a socket of both kinds IPv4 comes like this. */
    bool mapped = IN6_IS_ADDR_V4MAPPED(a);
    out->family = mapped ? 4 : 6;
    memcpy(out->bytes, a->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
}

static bool same(const struct lobby_source *a, const struct lobby_source *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void lobby_enter(struct lobby *l, struct lobby_guest *g)
{
    g->inside = true;
    g->newer = NULL;
    g->older = l->newest;
    if (l->newest != NULL)
        l->newest->newer = g;
    else
        l->oldest = g;
    l->newest = g;
}

void lobby_leave(struct lobby *l, struct lobby_guest *g)
{
    if (!g->inside)
        return;
    if (g->older != NULL)
        g->older->newer = g->newer;
    else
        l->oldest = g->newer;
    if (g->newer != NULL)
        g->newer->older = g->older;
    else
        l->newest = g->older;
    g->inside = false;
    g->older = g->newer = NULL;
}

size_t lobby_count(const struct lobby *l, const struct lobby_source *source)
{
    size_t n = 0;
    for (const struct lobby_guest *g = l->oldest; g != NULL; g = g->newer)
        n += same(&g->source, source) ? 1 : 0;
    return n;
}

struct lobby_guest *lobby_least(const struct lobby *l, const struct lobby_source *source,
                                const struct lobby_guest *spare)
{
    struct lobby_guest *oldest = NULL;
    for (struct lobby_guest *g = l->oldest; g != NULL; g = g->newer) {
        if (g == spare || (source != NULL && !same(&g->source, source)))
            continue;
        if (g->stage < LOBBY_TALKING)
            return g;
        if (oldest == NULL)
            oldest = g;
    }
    return oldest;
}
