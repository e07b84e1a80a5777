/* test_bank_limits.c - who comes to the bank's server and says nothing, or says it slowly, shuts
 * nobody else out. */
#include "tests/unit/bank_server_lab.h"

#include "bank/lobby.h"

#include <poll.h>

#define SILENT_MAX 600

static int dial_silent(const struct server *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Whether the server ends it within so many milliseconds. */
static bool is_ended(int fd, int ms)
{
    uint8_t byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, ms) != 1)
        return false;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static size_t count_ended(const int *fds, size_t n, int ms)
{
    size_t ended = 0;
    usleep((useconds_t)ms * 1000);
    for (size_t i = 0; i < n; i++)
        ended += is_ended(fds[i], 0) ? 1 : 0;
    return ended;
}

static void restart(struct server *s)
{
    int status;
    kill(s->pid, SIGTERM);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    start(s);
}

/* More silent sockets than the server has descriptors: a card still gets in, at once. */
static void test_silent_crowd(void **state)
{
    struct server *s = *state;
    static int fds[SILENT_MAX];
    struct client c;
    s->files = 200;
    restart(s);
    for (size_t i = 0; i < SILENT_MAX; i++)
        fds[i] = dial_silent(s);
    const time_t before = time(NULL);
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    assert_true(time(NULL) - before < TLSD_BYTE_SECONDS - 1); /* not by waiting for deadlines */
    /* and a line that is open is not what makes room */
    int more[SILENT_MAX];
    for (size_t i = 0; i < 300; i++)
        more[i] = dial_silent(s);
    assert_int_equal(get(&c, "/v1/accounts"), 200);
    hang_up(&c);
    for (size_t i = 0; i < SILENT_MAX; i++)
        close(fds[i]);
    for (size_t i = 0; i < 300; i++)
        close(more[i]);
}

/* One address has so many unfinished handshakes, and no more: its oldest go. */
static void test_one_source(void **state)
{
    struct server *s = *state;
    int fds[40];
    struct client c;
    s->waiting_per_source = 8;
    restart(s);
    for (size_t i = 0; i < 40; i++) {
        fds[i] = dial_silent(s);
        usleep(3000); /* two that come at once may be accepted in either order */
    }
    assert_int_equal(count_ended(fds, 40, 1000), 32);
    for (size_t i = 32; i < 40; i++)
        assert_false(is_ended(fds[i], 0));
    struct want w = as_card(s, tls13);
    assert_int_equal(dial(s, &w, &c), 0);
    log_in(&c);
    hang_up(&c);
    for (size_t i = 0; i < 40; i++)
        close(fds[i]);
}

/* Silence ends early, a ClientHello in drops a little later; after a whole one there is time. */
static void test_deadlines(void **state)
{
    struct server *s = *state;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    char *hello;
    SSL_set_bio(ssl, in, out);
    assert_int_equal(SSL_connect(ssl), -1);
    long len = BIO_get_mem_data(out, &hello);
    assert_true(len > 40);
    int silent = dial_silent(s), drops = dial_silent(s), slow = dial_silent(s);
    const time_t before = time(NULL);
    assert_int_equal(send(drops, hello, 20, 0), 20);
    assert_int_equal(send(slow, hello, (size_t)len, 0), len);
    assert_false(is_ended(silent, (TLSD_BYTE_SECONDS - 2) * 1000));
    assert_true(is_ended(silent, 4000));
    assert_false(is_ended(drops, 2000));
    assert_true(is_ended(drops, (TLSD_HELLO_SECONDS - TLSD_BYTE_SECONDS) * 1000 + 2000));
    assert_true(time(NULL) - before >= TLSD_HELLO_SECONDS - 1);
    /* its answer is there, and no end after it */
    static uint8_t bytes[8192];
    assert_true(recv(slow, bytes, sizeof bytes, MSG_DONTWAIT) > 0);
    assert_false(is_ended(slow, 1000));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(silent);
    close(drops);
    close(slow);
}

/* ---- who goes first ---- */

static void test_lobby(void **state)
{
    struct lobby l = {0};
    struct lobby_guest g[4] = {{.stage = LOBBY_TALKING},
                               {.stage = LOBBY_SILENT},
                               {.stage = LOBBY_TALKING},
                               {.stage = LOBBY_SILENT}};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    (void)state;
    assert_null(lobby_least(&l, NULL, NULL));
    four.sin_addr.s_addr = htonl(0x0A000001);
    memset(&six.sin6_addr, 0x20, sizeof six.sin6_addr);
    lobby_source_set(&g[0].source, (struct sockaddr *)&four);
    lobby_source_set(&g[2].source, (struct sockaddr *)&six);
    six.sin6_addr.s6_addr[15] = 9; /* the same /64 */
    lobby_source_set(&g[1].source, (struct sockaddr *)&six);
    memset(&six.sin6_addr, 0, sizeof six.sin6_addr);
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xFF; /* ::ffff:10.0.0.1 */
    six.sin6_addr.s6_addr[12] = 10;
    six.sin6_addr.s6_addr[15] = 1;
    lobby_source_set(&g[3].source, (struct sockaddr *)&six);
    for (size_t i = 0; i < 4; i++)
        lobby_enter(&l, &g[i]);
    assert_int_equal(lobby_count(&l, &g[0].source), 2);
    assert_int_equal(lobby_count(&l, &g[1].source), 2);
    assert_ptr_equal(lobby_least(&l, NULL, NULL), &g[1]);
    assert_ptr_equal(lobby_least(&l, NULL, &g[1]), &g[3]);
    assert_ptr_equal(lobby_least(&l, &g[0].source, NULL), &g[3]);
    assert_ptr_equal(lobby_least(&l, &g[0].source, &g[3]), &g[0]);
    lobby_leave(&l, &g[1]);
    lobby_leave(&l, &g[1]);
    lobby_leave(&l, &g[3]);
    assert_ptr_equal(lobby_least(&l, NULL, NULL), &g[0]);
    lobby_leave(&l, &g[0]);
    assert_ptr_equal(lobby_least(&l, NULL, NULL), &g[2]);
    lobby_leave(&l, &g[2]);
    assert_null(l.oldest);
    assert_null(l.newest);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lobby),
        TEST(test_silent_crowd),
        TEST(test_one_source),
        TEST(test_deadlines),
    };
    signal(SIGPIPE, SIG_IGN);
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
