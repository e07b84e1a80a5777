/* login.c - a bank, a card that it issued, and a login between the two. */
#include "bench/login.h"

#include "bank/issue.h"
#include "bank/terms.h"
#include "bench/folder.h"
#include "host/file.h"
#include "terminal/pump.h"

#include <getopt.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIN "7391"

enum cw_err login_scene(struct login_scene *s, const char *reader, struct say *why)
{
    static const char *const hosts[] = {"bank.cardwire.test"};
    struct bank_options options = {
        .name = "Bench", .hosts = hosts, .host_count = 1, .server_days = 90};
    struct issue_options issue = {
        .p256 = true, .rsa = true, .days = 1826, .time = -1, .pin_file = s->pin_file};
    struct issue_result issued;
    char bank_dir[240];
    (void)setenv("CARDWIRE_CARD_NOSYNC", "1", 1); /* nobody pulls this card's plug */
    enum cw_err err = folder_make(s->dir, sizeof s->dir, why);
    if (err != CW_OK)
        return err;
    snprintf(bank_dir, sizeof bank_dir, "%s/bank", s->dir);
    if (reader != NULL)
        snprintf(s->card, sizeof s->card, "%s", reader);
    else
        snprintf(s->card, sizeof s->card, "inproc:%s/card", s->dir);
    snprintf(s->pin_file, sizeof s->pin_file, "%s/pin", s->dir);
    issue.reader = s->card;
    terms_default(&issue.policy);
    err = file_write(s->pin_file, PIN "\n", strlen(PIN) + 1, 0600, why);
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

void login_strike(struct login_scene *s)
{
    if (s->tls != NULL)
        tls_free(&s->tls);
    if (s->bank != NULL)
        bank_free(&s->bank);
    folder_strike(s->dir);
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

enum cw_err login_measure(struct login_scene *s, struct reader *reader, bool again,
                          struct login_result *r, struct say *why)
{
    struct pump *line = NULL;
    SSL *ssl = NULL;
    enum cw_err err = applet_select(reader, why);
    if (err == CW_OK)
        err = applet_verify(reader, LINK_PIN_LINE, (const uint8_t *)PIN, strlen(PIN), NULL, why);
    if (err != CW_OK)
        return err;
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
    return err;
}

const char *login_key_name(enum link_key key)
{
    return key == LINK_KEY_TLS_P256 ? "p256" : "rsa2048";
}

int login_options(int argc, char **argv, const char *help, bool *json)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c != 'j') {
            fputs(help, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
        *json = true;
    }
    return -1;
}

enum cw_err login_each(struct login_scene *s, login_one *one, void *ctx, struct say *why)
{
    enum cw_err err = CW_OK;
    for (int p = 1; err == CW_OK && p <= LINK_PROFILE_COUNT; p++)
        for (int k = LINK_KEY_TLS_P256; err == CW_OK && k <= LINK_KEY_TLS_RSA; k++)
            for (int again = 0; err == CW_OK && again < 2; again++) {
                struct login_result r = {.profile = (enum link_profile)p, .key = (enum link_key)k};
                err = one(ctx, s, again == 1, &r, why);
            }
    return err;
}

int login_end(struct login_scene *s, const char *name, enum cw_err err, bool good,
              const struct say *why)
{
    login_strike(s);
    if (err != CW_OK)
        fprintf(stderr, "%s: %s\n", name, why->text);
    return err == CW_OK && good ? EXIT_SUCCESS : EXIT_FAILURE;
}
