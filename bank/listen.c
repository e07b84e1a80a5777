#include "bank/listen.h"

#include "bank/manager.h"
#include "host/file.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum cw_err split_address(const char *text, char host[256], char port[8], struct say *why)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    const char *start = text;
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        start++;
        len -= 2;
    }
    bool digits = colon != NULL && colon[1] != '\0' && strlen(colon + 1) <= 5;
    for (const char *p = digits ? colon + 1 : ""; *p != '\0'; p++)
        digits = digits && *p >= '0' && *p <= '9';
    if (!digits || len == 0 || len > 255 || strtoul(colon + 1, NULL, 10) > 65535)
        return say_fail(why, CW_ERR_ARG,
                        "'%.80s' is no address to listen on; write HOST:PORT, as 127.0.0.1:8443",
                        text);
    memcpy(host, start, len);
    host[len] = '\0';
    snprintf(port, 8, "%s", colon + 1);
    return CW_OK;
}

static int bind_one(const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 128) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6);
    }
    return a->sa_family == AF_INET &&
           ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

static enum cw_err port_of(int fd, unsigned *port, struct say *why)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        return say_fail(why, CW_ERR_IO, "cannot tell the port: %s", strerror(errno));
    *port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)&bound)->sin_port);
    return CW_OK;
}

enum cw_err listen_inherited(int *out, unsigned *port, struct say *why)
{
    int listens = 0, fd = manager_socket();
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof listens, at_len = sizeof at;
    if (fd < 0)
        return CW_ERR_NOT_FOUND;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens == 1 &&
        getsockname(fd, (struct sockaddr *)&at, &at_len) == 0 &&
        (at.ss_family == AF_INET || at.ss_family == AF_INET6)) {
        *out = fd;
        return port_of(fd, port, why);
    }
    close(fd);
    return say_fail(why, CW_ERR_ARG,
                    "the service manager's socket is none for TCP that listens; it wants "
                    "ListenStream=PORT");
}

enum cw_err listen_on(const struct listen_at *at, int *out, unsigned *port, struct say *why)
{
    char host[256], service[8];
    struct addrinfo *list = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    enum cw_err err = split_address(at->address, host, service, why);
    if (err != CW_OK)
        return err;
    int rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0)
        return say_fail(why, CW_ERR_NOT_FOUND, "cannot listen on %.80s: %s", at->address,
                        gai_strerror(rc));
    if (at->loopback_only && !is_loopback(list->ai_addr)) {
        freeaddrinfo(list);
        return say_fail(why, CW_ERR_DENIED,
                        "--%s %.80s: whoever reaches that address would see into the bank; choose "
                        "one of this machine alone, as 127.0.0.1:9443",
                        at->option, at->address);
    }
    int fd = bind_one(list);
    freeaddrinfo(list);
    if (fd < 0 && errno == EADDRINUSE)
        return say_fail(why, CW_ERR_BUSY,
                        "%.80s is taken by another program; choose another port with --%s",
                        at->address, at->option);
    if (fd < 0)
        return say_fail(why, CW_ERR_IO, "cannot listen on %.80s: %s", at->address, strerror(errno));
    err = port_of(fd, port, why);
    if (err != CW_OK) {
        close(fd);
        return err;
    }
    *out = fd;
    return CW_OK;
}

enum cw_err listen_port_tell(const char *path, unsigned port, struct say *why)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u\n", port);
    return path != NULL ? file_write(path, text, (size_t)n, 0644, why) : CW_OK;
}
