/* wire.c - what a login costs on the wire between reader and card: exchanges and bytes, from SELECT
 * to a finished handshake, PIN and (tls13) one ticket included, without HTTP; the first login, and
 * the second, which goes on from the session that the first one left in the card. The card is the
 * real card, issued by the real bank into a temporary folder, and torn out after each line; the
 * server is the bank's own TLS context. Not a measure of time: the numbers are the same on every
 * machine.
 *
 * Fails when a bar is missed, so that it can stand in a test. */
#include "bank/bank.h"
#include "bank/issue.h"
#include "bank/terms.h"
#include "bank/tls.h"
#include "host/file.h"
#include "terminal/pump.h"

#include <getopt.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIN          "7391"
#define APDUS_MAX    14u   /* tls13 with P-256, in all */
#define BYTES_MAX    2400u /* the same, both ways, with headers and status words */
#define OVERHEAD_MAX 120u  /* thousandths of the bare TLS bytes: 12 % */

/* The second login, with either key; SELECT and PIN count as well. */
static const struct {
    unsigned apdus, bytes;
} resumed_max[LINK_PROFILE_COUNT + 1] = {
    [LINK_PROFILE_TLS13] = {8, 1000},
    [LINK_PROFILE_ECDHE] = {6, 800},
    [LINK_PROFILE_RSA] = {6, 800},
};

struct scene {
    char dir[200], card[240], pin_file[240];
    struct bank *bank;
    struct tls *tls;
};

struct result {
    enum link_profile profile;
    enum link_key key;
    bool resumed;
    struct reader_stats reader;
    uint64_t tls_bytes;
};

static enum cw_err set_scene(struct scene *s, struct say *why)
{
    static const char *const hosts[] = {"bank.cardwire.test"};
    struct bank_options options = {
        .name = "Bench", .hosts = hosts, .host_count = 1, .server_days = 90};
    struct issue_options issue = {
        .p256 = true, .rsa = true, .days = 1826, .time = -1, .pin_file = s->pin_file};
    struct issue_result issued;
    char bank_dir[240];
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(s->dir, sizeof s->dir, "%s/cardwire-wire.XXXXXX",
                     tmp != NULL && tmp[0] != '\0' ? tmp : P_tmpdir);
    if (n < 0 || (size_t)n >= sizeof s->dir || mkdtemp(s->dir) == NULL) {
        s->dir[0] = '\0';
        return say_fail(why, CW_ERR_IO, "cannot make a temporary folder; is TMPDIR right?");
    }
    snprintf(bank_dir, sizeof bank_dir, "%s/bank", s->dir);
    snprintf(s->card, sizeof s->card, "inproc:%s/card", s->dir);
    snprintf(s->pin_file, sizeof s->pin_file, "%s/pin", s->dir);
    issue.reader = s->card;
    terms_default(&issue.policy);
    enum cw_err err = file_write(s->pin_file, PIN "\n", strlen(PIN) + 1, 0600, why);
    if (err == CW_OK)
        err = bank_init(bank_dir, &options, &ledger_clock_system, why);
    if (err == CW_OK)
        err = bank_open(bank_dir, &ledger_clock_system, &s->bank, why);
    if (err == CW_OK)
        err = ledger_customer_add(s->bank->ledger, "Bench", &issue.customer, why);
    if (err == CW_OK)
        err = issue_card(s->bank, &issue, &issued, why);
    if (err == CW_OK)
        err = tls_new(s->bank, NULL, &s->tls, why);
    return err;
}

static void strike_scene(struct scene *s)
{
    if (s->tls != NULL)
        tls_free(&s->tls);
    if (s->bank != NULL)
        bank_free(&s->bank);
    pid_t child = s->dir[0] != '\0' ? fork() : -1;
    if (child == 0) {
        execlp("rm", "rm", "-rf", "--", s->dir, (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        (void)waitpid(child, NULL, 0);
}

/* Everything that the card has for the server, and the server's whole flight back: as on a net that
 * is faster than the reader. *moved tells whether there was anything. */
static enum cw_err exchange(struct pump *line, SSL *ssl, bool *moved, struct say *why)
{
    size_t len, room;
    const uint8_t *out = pump_net_output(line, &len);
    *moved = len > 0;
    if (len > 0 && BIO_write(SSL_get_rbio(ssl), out, (int)len) != (int)len)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    pump_net_sent(line, len);
    if (!SSL_is_init_finished(ssl) && SSL_accept(ssl) != 1 &&
        SSL_get_error(ssl, -1) != SSL_ERROR_WANT_READ)
        return say_fail(why, CW_ERR_CRYPTO, "the server refused: %s",
                        ERR_reason_error_string(ERR_peek_last_error()));
    uint8_t *in = pump_net_space(line, &room);
    int n = BIO_read(SSL_get_wbio(ssl), in, (int)room);
    if (n > 0) {
        pump_net_received(line, (size_t)n);
        *moved = true;
    }
    return CW_OK;
}

static enum cw_err handshake(struct pump *line, SSL *ssl, struct say *why)
{
    bool did = true, moved = true;
    enum cw_err err = pump_start(line, why);
    while (err == CW_OK && (did || moved)) {
        err = exchange(line, ssl, &moved, why);
        if (err == CW_OK)
            err = pump_turn(line, &did, why);
    }
    if (err == CW_OK && pump_is_dead(line))
        err = pump_fail(line, why);
    if (err == CW_OK && (!pump_is_open(line) || !SSL_is_init_finished(ssl)))
        err = say_fail(why, CW_ERR_STATE, "the handshake did not finish");
    return err;
}

/* A login; the card loses power after it, without a word to the server. `again`: the second one. */
static enum cw_err measure(struct scene *s, bool again, struct result *r, struct say *why)
{
    struct reader *reader = NULL;
    struct pump *line = NULL;
    SSL *ssl = NULL;
    enum cw_err err = reader_open(s->card, &reader, why);
    if (err == CW_OK)
        err = applet_select(reader, why);
    if (err == CW_OK)
        err = applet_verify(reader, LINK_PIN_LINE, (const uint8_t *)PIN, strlen(PIN), NULL, why);
    if (err != CW_OK)
        goto out;
    struct pump_config config = {
        .reader = reader, .fd = -1, .profile = r->profile, .key = r->key, .cancel_fd = -1};
    err = pump_new(&config, &line, why);
    if (err != CW_OK)
        goto out;
    ssl = SSL_new(s->tls->ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (ssl == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        err = say_fail(why, CW_ERR_SPACE, "out of memory");
        goto out;
    }
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    err = handshake(line, ssl, why);
    if (err != CW_OK)
        goto out;
    struct pump_stats st = pump_stats(line);
    r->resumed = SSL_session_reused(ssl) == 1;
    r->reader = reader_stats(reader);
    r->tls_bytes = st.tls_sent + st.tls_received;
    if (r->resumed != again)
        err = say_fail(why, CW_ERR_STATE, "%s: the %s login %s", link_profile_name(r->profile),
                       again ? "second" : "first", again ? "did not resume" : "resumed");
out:
    SSL_free(ssl);
    pump_free(&line);
    reader_free(&reader);
    return err;
}

/* Holds a result against the bars; says which one it misses. */
static bool holds(const struct result *r, const char *key, uint64_t bytes, uint64_t over)
{
    const char *profile = link_profile_name(r->profile);
    unsigned apdus_max = APDUS_MAX, bytes_max = BYTES_MAX;
    if (r->resumed) {
        apdus_max = resumed_max[r->profile].apdus;
        bytes_max = resumed_max[r->profile].bytes;
    } else if (over * 1000 > r->tls_bytes * OVERHEAD_MAX) {
        fprintf(stderr, "wire: %s with %s: more than 12 %% over bare TLS\n", profile, key);
        return false;
    } else if (r->profile != LINK_PROFILE_TLS13 || r->key != LINK_KEY_TLS_P256) {
        return true;
    }
    if (r->reader.apdus <= apdus_max && bytes <= bytes_max)
        return true;
    fprintf(stderr, "wire: %s with %s%s: more than %u APDUs or %u bytes\n", profile, key,
            r->resumed ? ", resumed" : "", apdus_max, bytes_max);
    return false;
}

/* Prints the line of a result; false when it misses a bar. */
static bool show(const struct result *r, bool json)
{
    uint64_t bytes = r->reader.bytes_to_card + r->reader.bytes_from_card;
    uint64_t over = bytes > r->tls_bytes ? bytes - r->tls_bytes : 0;
    const char *key = r->key == LINK_KEY_TLS_P256 ? "p256" : "rsa2048";
    if (json)
        printf("{\"profile\":\"%s\",\"key\":\"%s\",\"resumed\":%s,\"apdus\":%llu,"
               "\"bytes_to_card\":%llu,\"bytes_from_card\":%llu,\"tls_bytes\":%llu}\n",
               link_profile_name(r->profile), key, r->resumed ? "true" : "false",
               (unsigned long long)r->reader.apdus, (unsigned long long)r->reader.bytes_to_card,
               (unsigned long long)r->reader.bytes_from_card, (unsigned long long)r->tls_bytes);
    else
        printf("%-6s %-8s %-7s %5llu APDUs %6llu bytes through the reader, %6llu of TLS: %llu.%llu "
               "%% more\n",
               link_profile_name(r->profile), key, r->resumed ? "resumed" : "full",
               (unsigned long long)r->reader.apdus, (unsigned long long)bytes,
               (unsigned long long)r->tls_bytes,
               (unsigned long long)(over * 1000 / r->tls_bytes / 10),
               (unsigned long long)(over * 1000 / r->tls_bytes % 10));
    return holds(r, key, bytes, over);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct scene scene = {0};
    struct say why = {""};
    bool json = false, good = true;
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'j') {
            json = true;
        } else {
            fputs("Usage: wire [--json]\nBytes and exchanges of a login, for each profile and key. "
                  "Exit 1 when a bar is missed.\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    (void)setenv("CARDWIRE_CARD_NOSYNC", "1", 1); /* nobody pulls this card's plug */
    enum cw_err err = set_scene(&scene, &why);
    for (int p = 1; err == CW_OK && p <= LINK_PROFILE_COUNT; p++)
        for (int k = LINK_KEY_TLS_P256; err == CW_OK && k <= LINK_KEY_TLS_RSA; k++)
            for (int again = 0; err == CW_OK && again < 2; again++) {
                struct result r = {.profile = (enum link_profile)p, .key = (enum link_key)k};
                err = measure(&scene, again == 1, &r, &why);
                if (err == CW_OK && !show(&r, json))
                    good = false;
            }
    strike_scene(&scene);
    if (err != CW_OK)
        fprintf(stderr, "wire: %s\n", why.text);
    return err == CW_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}
