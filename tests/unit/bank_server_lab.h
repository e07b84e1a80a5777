/* bank_server_lab.h - the bank's server in a process of its own, and a stock OpenSSL client for it.
 * Not for tests of the card itself. */
#ifndef CARDWIRE_TESTS_UNIT_BANK_SERVER_LAB_H
#define CARDWIRE_TESTS_UNIT_BANK_SERVER_LAB_H

#include "tests/unit/bank_lab.h"

#include "bank/tlsd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct server {
    struct bank_lab *lab;
    struct lab_card *card;
    pid_t pid;
    uint16_t port;
    rlim_t files;                         /* limit of open files of the server; 0: as it is */
    size_t lines_max, waiting_per_source; /* 0: the usual */
};

static inline void start(struct server *s)
{
    char path[600];
    snprintf(path, sizeof path, "%s/port", s->lab->dir);
    unlink(path); /* of a server before */
    s->port = 0;
    fflush(NULL);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        struct say why = {""};
        struct bank *bank = NULL;
        const struct tlsd_options o = {.listen = "127.0.0.1:0",
                                       .port_file = path,
                                       .lines_max = s->lines_max,
                                       .waiting_per_source = s->waiting_per_source};
        const struct rlimit files = {s->files, s->files};
        if (s->files > 0 && setrlimit(RLIMIT_NOFILE, &files) != 0)
            _exit(1);
        if (bank_open(s->lab->dir, &ledger_clock_system, &bank, &why) != CW_OK ||
            tlsd_run(bank, &o, &why) != CW_OK) {
            fprintf(stderr, "server: %s\n", why.text);
            _exit(1);
        }
        bank_free(&bank);
        _exit(0);
    }
    for (int i = 0; s->port == 0; i++) {
        unsigned port = 0;
        assert_true(i < 1000);
        usleep(10000);
        FILE *f = fopen(path, "r");
        if (f != NULL && fscanf(f, "%u", &port) == 1)
            s->port = (uint16_t)port;
        if (f != NULL)
            fclose(f);
    }
}

static inline int setup(void **state)
{
    struct server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->lab = lab_new();
    s->card = lab_card_new(s->lab, s->lab->ada, 1, false);
    start(s);
    *state = s;
    return 0;
}

static inline int teardown(void **state)
{
    struct server *s = *state;
    int status = 0;
    assert_int_equal(kill(s->pid, SIGTERM), 0);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    lab_card_free(&s->card);
    lab_free(&s->lab);
    free(s);
    return 0;
}

/* ---- a stock client ---- */

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

struct want {
    int version;         /* TLS1_2_VERSION, TLS1_3_VERSION */
    const char *ciphers; /* TLS 1.2, NULL: any */
    bool no_ems;         /* leave extended master secret out */
    bool welcome;        /* expected to succeed: do not wait for an alert */
    X509 *cert;          /* NULL: none */
    EVP_PKEY *key;
};

/* Returns the alert that the server sent (SSL_AD_...), 0 when the line is up. */
static inline int dial(struct server *s, const struct want *w, struct client *c)
{
    struct say why = {""};
    X509 *root = NULL;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    struct timeval limit = {10, 0};
    uint8_t byte;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->ctx = SSL_CTX_new(TLS_client_method());
    lab_ok(bank_certificate_load(s->lab->bank, BANK_FILE_SERVER_ROOT, &root, &why), &why);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(c->ctx), root);
    X509_free(root);
    SSL_CTX_set_min_proto_version(c->ctx, w->version);
    SSL_CTX_set_max_proto_version(c->ctx, w->version);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    if (w->ciphers != NULL)
        assert_int_equal(SSL_CTX_set_cipher_list(c->ctx, w->ciphers), 1);
    if (w->no_ems)
        SSL_CTX_set_options(c->ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
    if (w->cert != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(c->ctx, w->cert), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(c->ctx, w->key), 1);
    }
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->fd);
    assert_int_equal(SSL_set1_host(c->ssl, "bank.cardwire.test"), 1);
    SSL_set_tlsext_host_name(c->ssl, "bank.cardwire.test");
    ERR_clear_error();
    int rc = SSL_connect(c->ssl);
    /* In TLS 1.3 the client is done before the server has looked at its certificate: an alert comes
     * after. */
    if (rc == 1 && w->version == TLS1_3_VERSION && !w->welcome)
        rc = SSL_peek(c->ssl, &byte, 1);
    if (rc == 1)
        return 0;
    unsigned long code = ERR_peek_error();
    return ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET ? ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET
                                                       : -1;
}

static inline void hang_up(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

static const struct want tls13 __attribute__((unused)) = {.version = TLS1_3_VERSION};
static const struct want ecdhe __attribute__((unused)) = {
    .version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"};
static const struct want rsa
    __attribute__((unused)) = {.version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256"};

static inline struct want as(struct want w, X509 *cert, EVP_PKEY *key)
{
    w.cert = cert;
    w.key = key;
    return w;
}

static inline struct want as_card(struct server *s, struct want w)
{
    w.welcome = true;
    return as(w, s->card->tls_cert, s->card->tls_key);
}

/* One request; the status, and the body in out (NUL-terminated). */
static inline int ask(struct client *c, const char *method, const char *path, const char *body,
                      char *out, size_t cap, size_t *out_len)
{
    char text[4096], *end, *length;
    size_t have = 0, body_len = 0;
    int status = 0;
    int n =
        snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: bank\r\nContent-Length: %zu\r\n\r\n%s",
                 method, path, strlen(body), body);
    assert_true(n > 0 && (size_t)n < sizeof text);
    assert_int_equal(SSL_write(c->ssl, text, n), n);
    for (;;) {
        assert_true(have + 1 < cap);
        int got = SSL_read(c->ssl, out + have, (int)(cap - have - 1));
        assert_true(got > 0);
        have += (size_t)got;
        out[have] = '\0';
        if ((end = strstr(out, "\r\n\r\n")) == NULL)
            continue;
        assert_non_null(length = strstr(out, "Content-Length: "));
        body_len = strtoul(length + 16, NULL, 10);
        if (have == (size_t)(end + 4 - out) + body_len)
            break;
    }
    assert_int_equal(sscanf(out, "HTTP/1.1 %d", &status), 1);
    memmove(out, end + 4, body_len);
    out[body_len] = '\0';
    if (out_len != NULL)
        *out_len = body_len;
    return status;
}

static char answer[16384] __attribute__((unused));

static inline int get(struct client *c, const char *path)
{
    return ask(c, "GET", path, "", answer, sizeof answer, NULL);
}

static inline int post(struct client *c, const char *path, const char *body)
{
    return ask(c, "POST", path, body, answer, sizeof answer, NULL);
}

static inline void assert_problem(const char *name)
{
    char type[64];
    snprintf(type, sizeof type, "\"urn:cardwire:problem:%s\"", name);
    if (strstr(answer, type) == NULL)
        fail_msg("wanted the problem %s, got %s", name, answer);
}

static inline void log_in(struct client *c)
{
    assert_int_equal(post(c, "/v1/session", "{\"key_agreement\":\"succeeded\"}"), 200);
}

#endif
