/* pay.c - signed payments that the bank takes in a second of its processor, over lines that are
 * open: TLS, HTTP, JSON, the check of the card's signature, the booking. Beside it what `openssl
 * speed` verifies on the same processor in the same run: the bound of whoever checks signatures.
 * One order is under way on each line; a card in software at each, whose orders were signed before
 * the clock runs. The bank is the program itself, on processor 0; this one stays off it. */
#include "bank/ca.h"
#include "bench/books.h"
#include "bench/folder.h"
#include "host/base64.h"
#include "host/clock.h"
#include "receipt/entry.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_MAX 2048u
#define ANSWER_MAX  4096u

struct line {
    uint8_t serial[ORDER_SERIAL_LEN], certificate[32]; /* of the order key */
    X509 *tls_cert;
    SSL *ssl;
    char *requests; /* REQUEST_MAX each, with a NUL */
    long next;
    uint64_t sent;
};

struct pay {
    struct books books;
    bool rsa, json;
    long lines, each; /* orders of one line */
    struct line *line;
    EVP_PKEY *tls_key;
    X509 *issuer;
    EVP_PKEY *issuer_key;
    pid_t server;
    unsigned port;
    uint64_t *latencies;
    size_t answered;
};

/* ---- cards ---- */

static enum cw_err certify(const struct pay *p, enum ca_profile profile, const char *cn,
                           EVP_PKEY *key, X509 **out, struct say *why)
{
    const struct ca_order order = {.profile = profile,
                                   .cn = cn,
                                   .key = key,
                                   .days = 30,
                                   .issuer = p->issuer,
                                   .issuer_key = p->issuer_key};
    return ca_certificate_make(&order, ledger_now(p->books.bank->ledger), out, why);
}

/* All cards have the same keys, each in certificates of its own: keys of RSA take long to make. */
static enum cw_err make_card(struct pay *p, long n, struct say *why)
{
    char text[2 * ORDER_SERIAL_LEN + 1];
    X509 *order = NULL;
    struct line *l = &p->line[n];
    struct ledger_certificate *records = calloc(2, sizeof *records);
    if (records == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    memset(l->serial, 0xA0, sizeof l->serial);
    memcpy(l->serial, &n, 4);
    bank_serial_text(l->serial, text);
    enum cw_err err = certify(p, CA_CARD_TLS, text, p->tls_key, &l->tls_cert, why);
    if (err == CW_OK)
        err = certify(p, CA_CARD_ORDER, text, p->books.key, &order, why);
    if (err == CW_OK)
        err = bank_certificate_record(l->tls_cert, LEDGER_CERT_TLS, 1, &records[0], why);
    if (err == CW_OK)
        err = bank_certificate_record(order, LEDGER_CERT_ORDER, 3, &records[1], why);
    struct ledger *ledger = p->books.bank->ledger;
    if (err == CW_OK)
        err = ledger_card_begin(ledger, l->serial, p->books.customer, records, 2, NULL, why);
    if (err == CW_OK)
        err = ledger_card_activate(ledger, l->serial, why);
    if (err == CW_OK)
        memcpy(l->certificate, records[1].sha256, sizeof l->certificate);
    X509_free(order);
    free(records);
    return err;
}

static enum cw_err make_cards(struct pay *p, struct say *why)
{
    enum cw_err err = books_make(&p->books, NULL, p->rsa, why);
    if (err == CW_OK)
        err = ca_key_make(p->rsa, &p->tls_key, why);
    if (err == CW_OK)
        err = bank_pair_load(p->books.bank, p->books.bank->card_issuer, &p->issuer, &p->issuer_key,
                             why);
    for (long i = 0; i < p->lines && err == CW_OK; i++)
        err = make_card(p, i, why);
    return err;
}

/* ---- the bank ---- */

static void stay_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static enum cw_err start_server(struct pay *p, const char *program, struct say *why)
{
    char port_file[300], line[16] = "";
    snprintf(port_file, sizeof port_file, "%s/port", p->books.dir);
    p->server = fork();
    if (p->server == 0) {
        int log = open("/dev/null", O_WRONLY);
        stay_on(0);
        dup2(log, 2);
        execl(program, program, "--dir", p->books.bank_dir, "serve", "--listen", "127.0.0.1:0",
              "--port-file", port_file, "--payments-per-minute", "0", "--requests-per-minute", "0",
              (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && p->server > 0 && p->port == 0; i++) {
        FILE *f = fopen(port_file, "r");
        if (f != NULL && fgets(line, sizeof line, f) != NULL)
            p->port = (unsigned)strtoul(line, NULL, 10);
        if (f != NULL)
            fclose(f);
        usleep(20000);
    }
    return p->port != 0 ? CW_OK : say_fail(why, CW_ERR_IO, "the bank does not start: %s", program);
}

/* Seconds of the processor that the bank has had. */
static double server_seconds(const struct pay *p)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)p->server);
    FILE *f = fopen(path, "r");
    const char *after =
        f != NULL && fgets(text, sizeof text, f) != NULL ? strrchr(text, ')') : NULL;
    if (f != NULL)
        fclose(f);
    if (after == NULL ||
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- lines ---- */

static int dial(unsigned port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Reads one whole answer; the value is its status, 0 when there is none. */
static int answer(SSL *ssl)
{
    char text[ANSWER_MAX + 1];
    int len = 0, status = 0;
    for (;;) {
        int n = SSL_read(ssl, text + len, (int)ANSWER_MAX - len);
        if (n <= 0)
            return 0;
        len += n;
        text[len] = '\0';
        const char *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (body == NULL || length == NULL || sscanf(text, "HTTP/1.1 %d", &status) != 1)
            continue;
        if (text + len >= body + 4 + strtol(length + 16, NULL, 10))
            return status;
    }
}

static int request_write(char *out, const char *path, const char *body)
{
    return snprintf(out, REQUEST_MAX,
                    "POST %s HTTP/1.1\r\nHost: bank.cardwire.test\r\n"
                    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                    path, strlen(body), body);
}

static enum cw_err open_line(struct pay *p, struct line *l, SSL_CTX *ctx, struct say *why)
{
    char text[REQUEST_MAX];
    int fd = dial(p->port);
    l->ssl = SSL_new(ctx);
    int len = request_write(text, "/v1/session", "{\"key_agreement\":\"succeeded\"}");
    if (fd < 0 || l->ssl == NULL || SSL_set_fd(l->ssl, fd) != 1 ||
        SSL_use_certificate(l->ssl, l->tls_cert) != 1 ||
        SSL_use_PrivateKey(l->ssl, p->tls_key) != 1 || SSL_connect(l->ssl) != 1 ||
        SSL_write(l->ssl, text, len) != len || answer(l->ssl) != 200)
        return say_fail(why, CW_ERR_IO, "a card cannot log in");
    return CW_OK;
}

static enum cw_err sign_one(struct pay *p, struct line *l, long n, struct say *why)
{
    struct books_order o;
    char order[BASE64_LEN(ORDER_TEXT_MAX) + 1], signature[BASE64_LEN(LEDGER_SIGNATURE_MAX) + 1];
    char body[REQUEST_MAX - 200];
    struct buf_writer w;
    enum cw_err err =
        books_order_make(&p->books, (uint32_t)n + 1, &p->books.from, &p->books.to, &o, why);
    if (err != CW_OK)
        return err;
    memcpy(o.order.fields.id, &n, sizeof n);
    memcpy(o.order.fields.id + 8, l->serial, sizeof l->serial);
    memcpy(o.order.seal.serial, l->serial, sizeof l->serial);
    if (SSL_export_keying_material(l->ssl, o.order.seal.binding, ORDER_BINDING_LEN,
                                   LINK_EXPORTER_LABEL, strlen(LINK_EXPORTER_LABEL), NULL, 0,
                                   0) != 1)
        return say_fail(why, CW_ERR_CRYPTO, "no binding");
    buf_writer_init(&w, o.text, sizeof o.text);
    err = order_text_write(&o.order.fields, &o.order.seal, &w);
    o.order.text_len = w.len;
    if (err == CW_OK)
        err = books_order_sign(&p->books, &o, why);
    if (err == CW_OK)
        err = base64_encode(o.text, o.order.text_len, order, sizeof order);
    if (err == CW_OK)
        err = base64_encode(o.signature, o.order.signature_len, signature, sizeof signature);
    if (err != CW_OK)
        return err;
    snprintf(body, sizeof body, "{\"order\":\"%s\",\"signature\":\"%s\"}", order, signature);
    request_write(l->requests + (size_t)n * REQUEST_MAX, "/v1/payments", body);
    return CW_OK;
}

static enum cw_err open_lines(struct pay *p, struct say *why)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    enum cw_err err = ctx != NULL ? CW_OK : say_fail(why, CW_ERR_SPACE, "out of memory");
    for (long i = 0; i < p->lines && err == CW_OK; i++) {
        struct line *l = &p->line[i];
        l->requests = malloc((size_t)p->each * REQUEST_MAX);
        err = l->requests != NULL ? open_line(p, l, ctx, why)
                                  : say_fail(why, CW_ERR_SPACE, "out of memory");
        for (long n = 0; n < p->each && err == CW_OK; n++)
            err = sign_one(p, l, n, why);
    }
    SSL_CTX_free(ctx);
    return err;
}

/* ---- paying ---- */

static bool send_next(struct line *l)
{
    const char *text = l->requests + (size_t)l->next++ * REQUEST_MAX;
    int len = (int)strlen(text);
    l->sent = clock_ns();
    return SSL_write(l->ssl, text, len) == len;
}

static enum cw_err pay_all(struct pay *p, int poll, struct say *why)
{
    struct epoll_event events[256];
    for (long i = 0; i < p->lines; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &p->line[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, SSL_get_fd(p->line[i].ssl), &e) != 0 ||
            !send_next(&p->line[i]))
            return say_fail(why, CW_ERR_IO, "cannot send");
    }
    const size_t all = (size_t)(p->lines * p->each);
    while (p->answered < all) {
        int n = epoll_wait(poll, events, 256, 30000);
        if (n <= 0)
            return say_fail(why, CW_ERR_TIMEOUT, "the bank does not answer");
        for (int i = 0; i < n; i++) {
            struct line *l = events[i].data.ptr;
            int status = answer(l->ssl);
            if (status != 201)
                return say_fail(why, CW_ERR_STATE, "a payment was answered by %d", status);
            p->latencies[p->answered++] = clock_ns() - l->sent;
            if (l->next < p->each && !send_next(l))
                return say_fail(why, CW_ERR_IO, "cannot send");
        }
    }
    return CW_OK;
}

static int by_length(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

/* What `openssl speed` says of verifying, on the bank's processor. */
static double verify_bound(bool rsa)
{
    char text[256];
    double sign_s, verify_s, sign_n, verify_n = 0;
    FILE *f = popen(rsa ? "taskset -c 0 openssl speed -seconds 2 rsa2048 2>/dev/null"
                        : "taskset -c 0 openssl speed -seconds 2 ecdsap256 2>/dev/null",
                    "r");
    while (f != NULL && fgets(text, sizeof text, f) != NULL) {
        const char *at = strstr(text, rsa ? "rsa 2048 bits" : "ecdsa (nistp256)");
        at = at != NULL ? at + strlen(rsa ? "rsa 2048 bits" : "ecdsa (nistp256)") : NULL;
        if (at != NULL &&
            sscanf(at, "%lfs %lfs %lf %lf", &sign_s, &verify_s, &sign_n, &verify_n) != 4)
            verify_n = 0;
    }
    if (f != NULL)
        pclose(f);
    return verify_n;
}

static enum cw_err measure(struct pay *p, struct say *why)
{
    int poll = epoll_create1(EPOLL_CLOEXEC);
    p->latencies = calloc((size_t)(p->lines * p->each), sizeof *p->latencies);
    if (poll < 0 || p->latencies == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    double before = server_seconds(p);
    uint64_t begun = clock_ns();
    enum cw_err err = pay_all(p, poll, why);
    double took = (double)(clock_ns() - begun) / 1e9, busy = server_seconds(p) - before;
    close(poll);
    if (err != CW_OK)
        return err;
    double verify = verify_bound(p->rsa);
    if (busy <= 0 || verify <= 0)
        return say_fail(why, CW_ERR_STATE, "no time was measured");
    qsort(p->latencies, p->answered, sizeof *p->latencies, by_length);
    double rate = (double)p->answered / busy;
    printf(p->json
               ? "{\"key\":\"%s\",\"lines\":%ld,\"per_core_s\":%.0f,\"verify_per_core_s\":%.0f,"
                 "\"ratio\":%.3f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"per_s\":%.0f}\n"
               : "%-8s %4ld lines: %6.0f payments a second of a core, of %6.0f that it verifies "
                 "(%.2f); p50 %.0f us, p99 %.0f us; %.0f/s\n",
           p->rsa ? "rsa2048" : "p256", p->lines, rate, verify, rate / verify,
           (double)p->latencies[p->answered / 2] / 1e3,
           (double)p->latencies[p->answered * 99 / 100] / 1e3, (double)p->answered / took);
    fflush(stdout);
    return CW_OK;
}

static void strike(struct pay *p)
{
    int status;
    for (long i = 0; p->line != NULL && i < p->lines; i++) {
        if (p->line[i].ssl != NULL)
            close(SSL_get_fd(p->line[i].ssl));
        SSL_free(p->line[i].ssl);
        X509_free(p->line[i].tls_cert);
        free(p->line[i].requests);
    }
    if (p->server > 0) {
        kill(p->server, SIGKILL);
        waitpid(p->server, &status, 0);
    }
    free(p->line);
    free(p->latencies);
    EVP_PKEY_free(p->tls_key);
    EVP_PKEY_free(p->issuer_key);
    X509_free(p->issuer);
    books_strike(&p->books);
}

static enum cw_err run(const char *program, bool rsa, long lines, long each, bool json,
                       struct say *why)
{
    struct pay p = {.rsa = rsa, .lines = lines, .each = each, .json = json};
    p.line = calloc((size_t)lines, sizeof *p.line);
    enum cw_err err =
        p.line != NULL ? make_cards(&p, why) : say_fail(why, CW_ERR_SPACE, "out of memory");
    if (err == CW_OK)
        err = start_server(&p, program, why);
    if (err == CW_OK)
        err = open_lines(&p, why);
    if (err == CW_OK)
        err = measure(&p, why);
    strike(&p);
    return err;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    static const struct {
        bool rsa;
        long lines, each;
    } runs[] = {{false, 1, 500}, {false, 64, 400}, {false, 2000, 15},
                {true, 1, 300},  {true, 64, 100},  {true, 2000, 4}};
    struct say why = {""};
    bool json = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'j') {
            fputs("Usage: pay [--json] CARDWIRED\n", c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
        json = true;
    }
    if (optind + 1 != argc) {
        fputs("pay: name the program of the bank, build/bin/cardwired\n", stderr);
        return 2;
    }
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    stay_on(1);
    enum cw_err err = CW_OK;
    for (size_t i = 0; i < sizeof runs / sizeof *runs && err == CW_OK; i++)
        err = run(argv[optind], runs[i].rsa, runs[i].lines, runs[i].each, json, &why);
    if (err != CW_OK)
        fprintf(stderr, "pay: %s\n", why.text);
    return err == CW_OK ? 0 : 1;
}
