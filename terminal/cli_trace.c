/* cli_trace.c - cardwire trace: the handshake step by step, as the card saw it, beside the steps
 * and claims of CN102768744A. The card tells types, sizes and results; there is no secret in any of
 * it. The table of steps is written for the `rsa` profile, which is the source's own; in the other
 * two the note says which property takes a step's place. A second table has what is otherwise in a
 * line that goes on from an earlier one, where steps 5 to 11 were done. */
#include "terminal/cli.h"

#include "host/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_MAX  96u
#define RECORDS_MAX 96u

struct seen_event {
    struct applet_event event;
    uint64_t ns;
};

struct trace {
    struct cli *cli;
    struct cli_session *session;
    struct seen_event events[EVENTS_MAX];
    size_t event_count, shown;
    struct pump_record records[RECORDS_MAX];
    size_t record_count;
    struct reader_stats polls; /* what our own questions to the card cost */
    enum cw_err err;
};

/* One row of the source's table. NULL notes: the row says it all in every profile. */
struct meaning {
    enum link_event_kind kind;
    uint8_t code;
    const char *step[LINK_PROFILE_COUNT]; /* tls13, ecdhe, rsa; NULL where it does not occur */
    const char *claims;
    const char *note[LINK_PROFILE_COUNT];
};

/* clang-format off */
static const struct meaning meanings[] = {
    {LINK_EVENT_CHECKED, LINK_CHECK_RANDOM, {"1", "1", "1"}, "1, 10",
     {"the card made its 32 random bytes", "the card made its 32 random bytes",
      "the card made its 32 random bytes"}},
    {LINK_EVENT_SENT, 1, {"2", "2", "2"}, "1, 10",
     {"with the card's ephemeral public key", "card's random to the server",
      "card's random to the server"}},
    {LINK_EVENT_RECEIVED, 2, {"3, 4", "3, 4", "3, 4"}, "1, 10",
     {"server's random and ephemeral public key", "server's random", "server's random"}},
    {LINK_EVENT_RECEIVED, 8, {"4", NULL, NULL}, "1, 10", {"under keys from here on", NULL, NULL}},
    {LINK_EVENT_RECEIVED, 11, {"4", "4", "4"}, "1, 10",
     {"server's certificate", "server's certificate", "server's certificate"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_CHAIN, {"5", "5", "5"}, "1, 10",
     {"ends at a root that the card holds", "ends at a root that the card holds",
      "ends at a root that the card holds"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_NAME, {"5", "5", "5"}, "1, 10",
     {"is the server that was asked for", "is the server that was asked for",
      "is the server that was asked for"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_DATES, {"5", "5", "5"}, "1, 10",
     {"not expired by the card's time", "not expired by the card's time",
      "not expired by the card's time"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_USAGE, {"5", "5", "5"}, "1, 10",
     {"a server's leaf, for this use", "a server's leaf, for this use",
      "a server's leaf, for key encipherment"}},
    {LINK_EVENT_RECEIVED, 12, {NULL, "4", NULL}, "1, 10",
     {NULL, "server's ephemeral key, signed", NULL}},
    {LINK_EVENT_CHECKED, LINK_CHECK_SERVER_SIGNATURE, {"5 (6b)", "5 (6b)", NULL}, "1, 10",
     {"server holds its key: proven by signature, not by decryption",
      "server holds its key: proven by signature, not by decryption", NULL}},
    {LINK_EVENT_RECEIVED, 13, {"4", "4", "4"}, "1, 10",
     {"server asks for the card's certificate", "server asks for the card's certificate",
      "server asks for the card's certificate"}},
    {LINK_EVENT_RECEIVED, 14, {NULL, "4", "4"}, "1, 10",
     {NULL, "end of the server's flight", "end of the server's flight"}},
    {LINK_EVENT_SENT, 11, {"7, 8", "7, 8", "7, 8"}, "9, 16",
     {"card's certificate", "card's certificate", "card's certificate"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_PREMASTER, {NULL, NULL, "6a"}, "1, 10",
     {NULL, NULL, "48-byte secret made in the card"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_KEY_SHARE, {"6a, 6b", "6a, 6b", NULL}, "1, 10",
     {"secret agreed by ephemeral keys instead of sent: forward secrecy",
      "secret agreed by ephemeral keys instead of sent: forward secrecy", NULL}},
    {LINK_EVENT_SENT, 16, {NULL, "7, 8", "6b, 7, 8"}, "1, 10",
     {NULL, "card's ephemeral public key", "secret under the server's public key"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_OWN_SIGNATURE, {"6c", "6c", "6c"}, "9, 16",
     {"the card signed the whole handshake", "the card signed the whole handshake",
      "the card signed the whole handshake"}},
    {LINK_EVENT_SENT, 15, {"7, 8", "7, 8", "7, 8"}, "9, 16",
     {"card's signature, with both randoms", "card's signature, with both randoms",
      "card's signature, with both randoms"}},
    {LINK_EVENT_RECEIVED, 15, {"4", NULL, NULL}, "1, 10", {"server's signature", NULL, NULL}},
    {LINK_EVENT_CHECKED, LINK_CHECK_KEYS, {"12", "12", "12"}, "1, 10",
     {"handshake keys; session keys follow Finished", "session keys derived",
      "session keys derived"}},
    {LINK_EVENT_SENT, LINK_MESSAGE_CCS, {NULL, "12", "12"}, "1, 10",
     {NULL, "session keys from here on", "session keys from here on"}},
    {LINK_EVENT_SENT, 20, {"12", "12", "12"}, "1, 10",
     {"what follows is encrypted by session keys", "first message under session keys",
      "first message under session keys"}},
    {LINK_EVENT_RECEIVED, LINK_MESSAGE_CCS, {NULL, "9, 10, 11", "9, 10, 11"}, "1, 10",
     {NULL, "server found certificate and signature good",
      "server found certificate and signature good, and has the secret"}},
    {LINK_EVENT_RECEIVED, 20, {"4", "12", "12"}, "1, 10",
     {"server's hash of the handshake so far", "server's hash of the whole handshake",
      "server's hash of the whole handshake"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_SERVER_FINISHED, {"5, 12", "12", "12"}, "1, 10",
     {"nobody altered the handshake", "nobody altered the handshake",
      "nobody altered the handshake"}},
};

static const struct meaning resumed_meanings[] = {
    {LINK_EVENT_RECEIVED, 2, {"3, 4", "3, 4", "3, 4"}, "1, 10",
     {"server's random and ephemeral public key; it goes on from the card's session",
      "server's random; it goes on from the card's session",
      "server's random; it goes on from the card's session"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_SESSION, {"5-11", "5-11", "5-11"}, "1, 10",
     {"carried over from an earlier line: certificates and signatures of both",
      "carried over from an earlier line: certificates and signatures of both, the secret",
      "carried over from an earlier line: certificates of both, the secret, the card's signature"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_KEYS, {"12", "12", "12"}, "1, 10",
     {"handshake keys, from that line's secret and the new one",
      "session keys, from that line's secret and both new randoms",
      "session keys, from that line's secret and both new randoms"}},
    {LINK_EVENT_RECEIVED, LINK_MESSAGE_CCS, {NULL, "12", "12"}, "1, 10",
     {NULL, "server's session keys from here on", "server's session keys from here on"}},
    {LINK_EVENT_RECEIVED, 20, {"12", "12", "12"}, "1, 10",
     {"server's hash of the handshake: it has that line's secret",
      "server's hash of the handshake: it has that line's secret",
      "server's hash of the handshake: it has that line's secret"}},
    {LINK_EVENT_CHECKED, LINK_CHECK_SERVER_FINISHED, {"12", "12", "12"}, "1, 10",
     {"it is the server of that line, and nobody altered the handshake",
      "it is the server of that line, and nobody altered the handshake",
      "it is the server of that line, and nobody altered the handshake"}},
};
/* clang-format on */

static const struct meaning *find_in(const struct meaning *table, size_t count,
                                     const struct applet_event *e)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].kind == e->kind && table[i].code == e->code)
            return &table[i];
    return NULL;
}

static bool is_resumed(const struct trace *t)
{
    for (size_t i = 0; i < t->event_count; i++)
        if (t->events[i].event.kind == LINK_EVENT_CHECKED &&
            t->events[i].event.code == LINK_CHECK_SESSION)
            return true;
    return false;
}

static const struct meaning *meaning_of(const struct trace *t, const struct applet_event *e)
{
    const struct meaning *m = NULL;
    if (is_resumed(t))
        m = find_in(resumed_meanings, sizeof resumed_meanings / sizeof resumed_meanings[0], e);
    return m != NULL ? m : find_in(meanings, sizeof meanings / sizeof meanings[0], e);
}

/* Asks the card what is new; the times of events are those of the exchange that brought them. */
static void poll_events(void *ctx, const struct pump *line)
{
    struct trace *t = ctx;
    struct applet_event fresh[EVENTS_MAX];
    size_t count = 0;
    (void)line;
    if (t->err != CW_OK || t->event_count >= EVENTS_MAX)
        return;
    struct reader *r = t->session->reader;
    struct reader_stats before = reader_stats(r);
    t->err = applet_events_get(r, (unsigned)t->event_count, fresh, EVENTS_MAX - t->event_count,
                               &count, &t->cli->why);
    struct reader_stats after = reader_stats(r);
    t->polls.apdus += after.apdus - before.apdus;
    t->polls.bytes_to_card += after.bytes_to_card - before.bytes_to_card;
    t->polls.bytes_from_card += after.bytes_from_card - before.bytes_from_card;
    if (t->err != CW_OK)
        return;
    uint64_t now = clock_ns();
    for (size_t i = 0; i < count; i++)
        t->events[t->event_count++] = (struct seen_event){fresh[i], now};
}

static void keep_record(void *ctx, const struct pump_record *record)
{
    struct trace *t = ctx;
    if (t->record_count < RECORDS_MAX)
        t->records[t->record_count++] = *record;
}

static const char *record_name(uint8_t type)
{
    static const char *const names[] = {"change_cipher_spec", "alert", "handshake",
                                        "application_data"};
    return type >= 20 && type <= 23 ? names[type - 20] : "unknown";
}

struct row {
    const char *who, *what, *step, *claims, *note, *result;
    double ms;
    unsigned bytes;
    bool encrypted, good;
};

static struct row row_of(const struct trace *t, const struct seen_event *s, enum link_profile p)
{
    const struct applet_event *e = &s->event;
    const struct meaning *m = meaning_of(t, e);
    size_t column = p >= 1 && p <= LINK_PROFILE_COUNT ? (size_t)p - 1 : 0;
    struct row r = {
        .who = e->kind == LINK_EVENT_CHECKED                                   ? "card checks"
               : e->kind == LINK_EVENT_SENT || e->kind == LINK_EVENT_ALERT_OUT ? "card -> server"
                                                                               : "server -> card",
        .what = e->kind == LINK_EVENT_CHECKED ? link_check_name((enum link_check)e->code)
                : e->kind == LINK_EVENT_ALERT_IN || e->kind == LINK_EVENT_ALERT_OUT
                    ? link_alert_name(e->code)
                    : link_message_name(e->code),
        .step = m != NULL ? m->step[column] : NULL,
        .claims = m != NULL ? m->claims : "",
        .note = m != NULL ? m->note[column] : NULL,
        .ms = (double)(s->ns - t->session->began_ns) / 1e6,
        .bytes = e->kind == LINK_EVENT_ALERT_IN || e->kind == LINK_EVENT_ALERT_OUT ? 2 : e->length,
        .encrypted = (e->flags & LINK_EVENT_FLAG_ENCRYPTED) != 0,
        .good = e->kind != LINK_EVENT_ALERT_IN && e->kind != LINK_EVENT_ALERT_OUT && e->result == 0,
    };
    r.result = e->kind != LINK_EVENT_CHECKED ? NULL
               : e->result == 0              ? "held"
                                             : link_reason_name((enum link_reason)e->result);
    if (r.step == NULL)
        r.step = "";
    if (r.note == NULL)
        r.note = e->kind == LINK_EVENT_ALERT_IN    ? "the server refuses"
                 : e->kind == LINK_EVENT_ALERT_OUT ? "the card refuses"
                                                   : "";
    if (e->kind == LINK_EVENT_CHECKED && e->result != 0)
        r.note = link_reason_sentence((enum link_reason)e->result);
    return r;
}

static void print_row(const struct row *r)
{
    bool colour = isatty(STDOUT_FILENO) == 1;
    const char *on = !colour ? "" : r->good ? "\033[32m" : "\033[31m";
    const char *mark = r->result == NULL && r->good ? " " : r->good ? "✓" : "✗";
    printf("%-9s %8.1f  %-14s  %s%s%s %-20s", r->step, r->ms, r->who, on, mark,
           colour ? "\033[0m" : "", r->what);
    if (r->bytes > 0)
        printf(" %6u %s", r->bytes, r->encrypted ? "🔒" : "  ");
    else
        printf("          ");
    printf("  %-6s %s\n", r->claims, r->note);
}

static int dump(json_t *o)
{
    int rc = o == NULL || json_dumpf(o, stdout, CLI_JSON) != 0 || putchar('\n') == EOF;
    json_decref(o);
    return rc;
}

static void emit_row(const struct row *r, size_t number)
{
    if (dump(json_pack("{s:s, s:I, s:f, s:s, s:s, s:i, s:b, s:s?, s:s, s:s, s:s}", "type", "step",
                       "number", (json_int_t)number, "ms", r->ms, "who", r->who, "what", r->what,
                       "bytes", (int)r->bytes, "encrypted", (int)r->encrypted, "result", r->result,
                       "step", r->step, "claims", r->claims, "note", r->note)) != 0)
        fprintf(stderr, "cardwire: cannot write to stdout\n");
}

/* The rows that were not shown yet. */
static void show_events(struct trace *t, enum link_profile profile)
{
    for (; t->shown < t->event_count; t->shown++) {
        struct row r = row_of(t, &t->events[t->shown], profile);
        if (t->cli->opt.json)
            emit_row(&r, t->shown + 1);
        else
            print_row(&r);
    }
}

static void show(struct trace *t, enum link_profile profile)
{
    if (!t->cli->opt.json)
        printf("%-9s %8s  %-14s    %-20s %6s     %-6s\n", "Step", "ms", "Who", "What", "Bytes",
               "Claims");
    show_events(t, profile);
    for (size_t i = 0; i < t->record_count && t->cli->opt.json; i++) {
        const struct pump_record *r = &t->records[i];
        if (dump(json_pack("{s:s, s:s, s:s, s:i, s:f}", "type", "record", "from",
                           r->from_server ? "server" : "card", "content", record_name(r->type),
                           "length", (int)r->length, "ms",
                           (double)(r->ns - t->session->began_ns) / 1e6)) != 0)
            return;
    }
}

static void print_end(const struct trace *t, const struct cli_session *s,
                      const struct pump_stats *st)
{
    const char *interface =
        s->card.contactless ? "8, 15: contactless, ISO/IEC 14443" : "7, 14: contact, ISO/IEC 7816";
    printf("Line open%s: %s, TLS %s, %s, card key %s. %llu exchanges, %llu bytes over the reader, "
           "%llu on the net in %zu records.\n",
           s->tls.resumed ? ", resumed" : "", s->tls.peer, cli_tls_name(s->tls.tls),
           cli_suite_name(s->tls.suite), link_key_name(s->tls.key), (unsigned long long)st->apdus,
           (unsigned long long)(st->bytes_to_card + st->bytes_from_card),
           (unsigned long long)(st->tls_sent + st->tls_received), t->record_count);
    printf("Claims %s.\n", interface);
}

/* The report to the bank: what claim 2 asks for, and what tells that the server's checks held. */
static enum cli_exit report(struct cli *c, struct cli_session *s)
{
    if (c->opt.handshake_only)
        return CLI_OK;
    s->bank = (struct bank){.line = s->line, .host = s->tls.peer};
    enum cw_err err = bank_login(&s->bank, &s->login, &c->why);
    double ms = (double)(clock_ns() - s->began_ns) / 1e6;
    if (err != CW_OK)
        return cli_fail_line(c, s, err);
    struct row r = {.who = "card -> server",
                    .what = "POST /v1/session",
                    .step = "9-12",
                    .claims = "2",
                    .note = "success reported back; the server has checked and logs in",
                    .ms = ms,
                    .encrypted = true,
                    .good = true};
    if (c->opt.json)
        emit_row(&r, 0);
    else
        print_row(&r);
    return CLI_OK;
}

static enum cli_exit finish(struct cli *c, const struct trace *t, const struct cli_session *s,
                            const struct pump_stats *st)
{
    if (!c->opt.json) {
        print_end(t, s, st);
        return CLI_OK;
    }
    json_t *line = cli_session_json(s);
    json_object_set_new(line, "handshake", cli_stats_json(st));
    json_object_del(line, "stats"); /* would count the trace's own questions */
    return cli_emit(c, json_pack("{s:s, s:o, s:s, s:O?}", "type", "result", "line", line,
                                 "interface", s->card.contactless ? "contactless" : "contact",
                                 "session", s->login));
}

enum cli_exit cli_trace(struct cli *c)
{
    struct cli_session s = {0};
    struct pump_config config;
    struct pump_stats st = {0};
    struct trace *t = calloc(1, sizeof *t);
    if (t == NULL)
        return cli_fail_say(c, CLI_FAILED, CW_ERR_SPACE, "out of memory");
    t->cli = c;
    t->session = &s;
    enum cli_exit code = cli_session_prepare(c, &s, &config);
    if (code != CLI_OK)
        goto out;
    config.hooks = (struct pump_hooks){.record = keep_record, .turned = poll_events, .ctx = t};
    s.began_ns = clock_ns();
    enum cw_err err = pump_open(&config, &s.line, &c->why);
    s.opened_ns = clock_ns();
    if (err == CW_OK)
        err = t->err;
    if (s.line != NULL) {
        st = pump_stats(s.line);
        st.apdus -= t->polls.apdus;
        st.bytes_to_card -= t->polls.bytes_to_card;
        st.bytes_from_card -= t->polls.bytes_from_card;
    }
    enum cli_exit refused = err == CW_OK ? CLI_OK : cli_fail_line(c, &s, err);
    struct say unheard; /* a failure has its sentence already */
    if (s.line != NULL && applet_session_get(s.reader, &s.tls, &unheard) != CW_OK)
        s.tls.profile = c->opt.profile;
    show(t, s.tls.profile);
    code = refused != CLI_OK ? refused : report(c, &s);
    show_events(t, s.tls.profile); /* a server that refuses the card in TLS 1.3 does so only now */
    if (code == CLI_OK)
        code = finish(c, t, &s, &st);
out:
    cli_session_close(&s);
    free(t);
    return code;
}
