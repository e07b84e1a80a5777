/* net.h - TCP connections for host programs: parse HOST:PORT, connect with a limit on time. */
#ifndef CARDWIRE_HOST_NET_H
#define CARDWIRE_HOST_NET_H

#include "host/say.h"

struct net_address {
    char host[256]; /* without the brackets of an IPv6 address */
    char port[6];   /* decimal, 1..65535 */
};

/* "bank.example:8443", "127.0.0.1:443", "[::1]:443". CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err net_address_parse(const char *text, struct net_address *out,
                                          struct say *why);

/* Connects to the first address that answers within `timeout_ms` (for each address). *fd is
 * non-blocking, close-on-exec, with TCP_NODELAY. CW_ERR_NOT_FOUND (name does not resolve),
 * CW_ERR_TIMEOUT, CW_ERR_IO. */
CW_MUST_USE enum cw_err net_connect(const struct net_address *to, int timeout_ms, int *fd,
                                    struct say *why);

#endif
