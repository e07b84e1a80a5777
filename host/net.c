#include "host/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum cw_err net_address_parse(const char *text, struct net_address *out, struct say *why)
{
    struct net_address a;
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t host_len = colon != NULL ? (size_t)(colon - text) : 0;
    bool bracketed = host_len >= 2 && text[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        host++;
        host_len -= 2;
    }
    size_t port_len = colon != NULL ? strlen(colon + 1) : 0;
    if (host_len == 0 || host_len >= sizeof a.host || port_len == 0 || port_len >= sizeof a.port ||
        strspn(colon + 1, "0123456789") != port_len ||
        (!bracketed && memchr(host, ':', host_len) != NULL))
        goto bad;
    unsigned port = 0;
    for (const char *p = colon + 1; *p != '\0'; p++)
        port = port * 10 + (unsigned)(*p - '0');
    if (port == 0 || port > 65535)
        goto bad;
    memcpy(a.host, host, host_len);
    a.host[host_len] = '\0';
    memcpy(a.port, colon + 1, port_len + 1);
    *out = a;
    return CW_OK;
bad:
    return say_fail(why, CW_ERR_FORMAT,
                    "'%s' is no address; write HOST:PORT, for example bank.example:8443 or "
                    "[::1]:8443",
                    text);
}

/* 0 when connected, otherwise an errno. */
static int connect_one(int fd, const struct addrinfo *a, int timeout_ms)
{
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n;
    do {
        n = poll(&p, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno;
    if (n == 0)
        return ETIMEDOUT;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    return error;
}

enum cw_err net_connect(const struct net_address *to, int timeout_ms, int *fd, struct say *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(to->host, to->port, &hints, &list);
    if (rc == EAI_NONAME || rc == EAI_ADDRFAMILY) { /* a machine with loopback only */
        hints.ai_flags = 0;
        rc = getaddrinfo(to->host, to->port, &hints, &list);
    }
    if (rc != 0)
        return say_fail(why, CW_ERR_NOT_FOUND, "cannot find %s: %s; check the name of the server",
                        to->host, gai_strerror(rc));
    int last = 0;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        int s = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (s < 0) {
            last = errno;
            continue;
        }
        last = connect_one(s, a, timeout_ms);
        if (last == 0) {
            int one = 1;
            (void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            freeaddrinfo(list);
            *fd = s;
            return CW_OK;
        }
        close(s);
    }
    freeaddrinfo(list);
    return say_fail(why, last == ETIMEDOUT ? CW_ERR_TIMEOUT : CW_ERR_IO,
                    "cannot connect to %s port %s: %s; check that the server runs there", to->host,
                    to->port, strerror(last));
}
