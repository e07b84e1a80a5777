/* pump.c - the engine of the pump: decides which command the card gets next, by the state byte of
 * its last answer (docs/card.md) and by what lies in the buffers. Every exchange costs a round trip
 * of the reader, so none is spent on a fragment of a record when the rest is on its way. */
#include "terminal/pump.h"

#include "base/buf.h"
#include "host/clock.h"
#include "proto/apdu.h"

#include <stdlib.h>
#include <string.h>

#define NET_MAX       8192u /* bytes kept in each direction */
#define PLAIN_MAX     8192u
#define ANSWER_MAX    1024u /* docs/card.md, Limits */
#define IDLE_MAX      8u    /* exchanges without progress that are borne */
#define RECORD_HEADER 5u
/* Plaintext in one WRITE: so much that its record, with at most 29 bytes of header, nonce and tag
 * (RFC 5288 §3), comes back whole in one short answer. */
#define WRITE_SHORT    224u
#define WRITE_EXTENDED 960u

/* Follows the records in a stream of bytes (RFC 8446 §5.1). */
struct records {
    uint8_t header[RECORD_HEADER];
    size_t have;  /* bytes of the header */
    size_t left;  /* bytes of the fragment still to come */
    bool foreign; /* this is not TLS; the card will say so */
};

struct pump {
    struct pump_config config;
    struct reader_stats before; /* the reader's, when the line began */
    uint8_t state;
    bool net_ended, end_told;
    unsigned idle;
    struct records in_records, out_records;
    uint8_t in[NET_MAX], out[NET_MAX], plain[PLAIN_MAX];
    size_t in_len, out_len, plain_len;
    uint64_t tls_sent, tls_received;
    struct pump_failure failure;
};

static void record_done(struct pump *l, const struct records *r, bool from_server)
{
    struct pump_record record = {
        .from_server = from_server,
        .type = r->header[0],
        .length = (uint16_t)(r->header[3] << 8 | r->header[4]),
        .ns = clock_ns(),
    };
    if (l->config.hooks.record != NULL)
        l->config.hooks.record(l->config.hooks.ctx, &record);
}

static void follow(struct pump *l, struct records *r, const uint8_t *data, size_t len,
                   bool from_server)
{
    while (len > 0 && !r->foreign) {
        if (r->have < RECORD_HEADER) {
            r->header[r->have++] = *data++;
            len--;
            if (r->have < RECORD_HEADER)
                continue;
            r->left = (size_t)(r->header[3] << 8 | r->header[4]);
            r->foreign = r->header[0] < 20 || r->header[0] > 24 || r->header[1] != 3;
        }
        size_t part = len < r->left ? len : r->left;
        data += part;
        len -= part;
        r->left -= part;
        if (r->left == 0 && !r->foreign) {
            record_done(l, r, from_server);
            r->have = 0;
        }
    }
}

/* Does the stream end with a whole record? */
static bool at_boundary(const struct records *r)
{
    return r->foreign || r->have == 0;
}

static void drop(uint8_t *buffer, size_t *len, size_t n)
{
    memmove(buffer, buffer + n, *len - n);
    *len -= n;
}

enum cw_err pump_new(const struct pump_config *config, struct pump **out, struct say *why)
{
    struct pump *l = calloc(1, sizeof *l);
    if (l == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    l->config = *config;
    l->before = reader_stats(config->reader);
    l->failure.alert_in = l->failure.alert_out = -1;
    *out = l;
    return CW_OK;
}

void pump_free(struct pump **line)
{
    free(*line);
    *line = NULL;
}

static enum cw_err nonsense(struct say *why, const char *what)
{
    return say_fail(why, CW_ERR_FORMAT, "the card broke the protocol of the line: %s", what);
}

/* Takes an answer apart: state byte, count of bytes taken, bytes for the net or plaintext. */
static enum cw_err absorb(struct pump *l, const uint8_t *answer, size_t len, size_t sent,
                          bool plaintext, size_t *taken, struct say *why)
{
    struct buf_reader r;
    buf_reader_init(&r, answer, len);
    uint8_t state = buf_get_u8(&r);
    size_t count = (state & LINK_STATE_PARTIAL) != 0 ? buf_get_u16(&r) : sent;
    if (r.bad)
        return nonsense(why, "its answer is too short");
    if (count > sent)
        return nonsense(why, "it took more bytes than it was sent");
    size_t n = r.left;
    uint8_t *to = plaintext ? l->plain : l->out;
    size_t *to_len = plaintext ? &l->plain_len : &l->out_len;
    if (n > (plaintext ? PLAIN_MAX : NET_MAX) - *to_len)
        return nonsense(why, "it answered more than was asked for");
    if (n > 0)
        memcpy(to + *to_len, r.at, n);
    *to_len += n;
    if (!plaintext)
        follow(l, &l->out_records, to + *to_len - n, n, false);
    /* Only bytes are progress: a card could change its state bits for ever. */
    l->idle = n > 0 || count > 0 ? 0 : l->idle + 1;
    if (l->idle > IDLE_MAX)
        return nonsense(why, "it makes no progress");
    l->state = state & (uint8_t)~LINK_STATE_PARTIAL;
    *taken = count;
    return CW_OK;
}

static enum cw_err command(struct pump *l, uint8_t ins, uint8_t p1, uint8_t p2, const uint8_t *data,
                           size_t len, size_t *taken, const char *what, struct say *why)
{
    uint8_t answer[ANSWER_MAX];
    struct apdu_command cmd = {.cla = APDU_CLA_PROPRIETARY, .ins = ins, .p1 = p1, .p2 = p2};
    size_t n = 0;
    uint16_t sw = 0;
    cmd.data = len > 0 ? data : NULL;
    cmd.nc = len;
    cmd.ne = l->config.extended ? ANSWER_MAX : APDU_SHORT_NE_MAX;
    enum cw_err err = applet_exchange(l->config.reader, &cmd, answer, sizeof answer, &n, &sw, why);
    if (err == CW_OK)
        err = applet_status(sw, what, why);
    if (err == CW_OK)
        err = absorb(l, answer, n, len, ins == INS_READ, taken, why);
    if (err != CW_OK)
        l->failure.card = true;
    if (err == CW_OK && l->config.hooks.turned != NULL)
        l->config.hooks.turned(l->config.hooks.ctx, l);
    return err;
}

enum cw_err pump_start(struct pump *l, struct say *why)
{
    size_t taken;
    size_t len = l->config.name != NULL ? strlen(l->config.name) : 0;
    if (len > LINK_HOST_MAX)
        return say_fail(why, CW_ERR_LENGTH, "the server name %s is too long for the card",
                        l->config.name);
    unsigned how = (unsigned)l->config.profile | (l->config.full ? LINK_OPEN_FULL : 0);
    enum cw_err err =
        command(l, INS_OPEN, (uint8_t)how, (uint8_t)l->config.key, (const uint8_t *)l->config.name,
                len, &taken, "open a line to this server", why);
    l->failure.open = err != CW_OK;
    return err;
}

static size_t chunk_max(const struct pump *l)
{
    return l->config.extended ? APPLET_COMMAND_MAX : APDU_SHORT_NC_MAX;
}

/* How many bytes from the net the card should get now: a full command, or whole records. */
static size_t ready(const struct pump *l)
{
    if (l->in_len >= chunk_max(l))
        return chunk_max(l);
    return at_boundary(&l->in_records) || l->net_ended ? l->in_len : 0;
}

enum cw_err pump_turn(struct pump *l, bool *did, struct say *why)
{
    size_t taken = 0;
    size_t bytes = ready(l);
    bool busy = (l->state & (LINK_STATE_OUT | LINK_STATE_AGAIN)) != 0;
    enum cw_err err = CW_OK;
    *did = false;
    if (NET_MAX - l->out_len < ANSWER_MAX)
        return CW_OK; /* the net must take some first */
    if ((l->state & LINK_STATE_DATA) != 0) {
        if (PLAIN_MAX - l->plain_len < ANSWER_MAX)
            return CW_OK; /* the reader of the plaintext must */
        *did = true;
        return command(l, INS_READ, 0, 0, NULL, 0, &taken, "give out what the server sent", why);
    }
    if (pump_is_over(l) && (l->state & LINK_STATE_OUT) == 0)
        return CW_OK;
    if (bytes > 0 || busy) {
        *did = true;
        err = command(l, INS_STEP, 0, 0, l->in, bytes, &taken, "go on with the line", why);
        if (err == CW_OK)
            drop(l->in, &l->in_len, taken);
    } else if (l->net_ended && !l->end_told) {
        *did = true;
        l->end_told = true;
        err = command(l, INS_STEP, 1, 0, NULL, 0, &taken, "end the line", why);
    } else if (l->net_ended) {
        err = nonsense(why, "the net has ended, and the line has not");
    }
    return err;
}

uint8_t *pump_net_space(struct pump *l, size_t *room)
{
    *room = NET_MAX - l->in_len;
    return l->in + l->in_len;
}

void pump_net_received(struct pump *l, size_t len)
{
    l->tls_received += len;
    l->in_len += len;
    follow(l, &l->in_records, l->in + l->in_len - len, len, true);
}

void pump_net_ended(struct pump *l)
{
    l->net_ended = true;
}

const uint8_t *pump_net_output(const struct pump *l, size_t *len)
{
    *len = l->out_len;
    return l->out;
}

void pump_net_sent(struct pump *l, size_t len)
{
    l->tls_sent += len;
    drop(l->out, &l->out_len, len);
}

enum cw_err pump_put(struct pump *l, const uint8_t *data, size_t len, size_t *taken,
                     struct say *why)
{
    size_t most = l->config.extended ? WRITE_EXTENDED : WRITE_SHORT;
    if (!pump_is_open(l))
        return say_fail(why, CW_ERR_STATE, "the line is not open");
    if (NET_MAX - l->out_len < ANSWER_MAX) {
        *taken = 0;
        return CW_OK;
    }
    return command(l, INS_WRITE, 0, 0, data, len < most ? len : most, taken, "send over the line",
                   why);
}

size_t pump_take(struct pump *l, uint8_t *out, size_t cap)
{
    size_t n = l->plain_len < cap ? l->plain_len : cap;
    if (n > 0)
        memcpy(out, l->plain, n);
    drop(l->plain, &l->plain_len, n);
    return n;
}

enum cw_err pump_shut(struct pump *l, struct say *why)
{
    size_t taken;
    if (pump_is_over(l) || NET_MAX - l->out_len < ANSWER_MAX)
        return CW_OK;
    return command(l, INS_CLOSE, 0, 0, NULL, 0, &taken, "close the line", why);
}

bool pump_is_open(const struct pump *l)
{
    return (l->state & LINK_STATE_OPEN) != 0 && !pump_is_over(l);
}

bool pump_is_over(const struct pump *l)
{
    return (l->state & (LINK_STATE_CLOSED | LINK_STATE_ERROR)) != 0;
}

bool pump_is_dead(const struct pump *l)
{
    return (l->state & LINK_STATE_ERROR) != 0;
}

uint8_t pump_state(const struct pump *l)
{
    return l->state;
}

bool pump_has_plaintext(const struct pump *l)
{
    return l->plain_len > 0;
}

const struct pump_config *pump_config(const struct pump *l)
{
    return &l->config;
}

struct pump_stats pump_stats(const struct pump *l)
{
    struct reader_stats now = reader_stats(l->config.reader);
    return (struct pump_stats){
        .apdus = now.apdus - l->before.apdus,
        .bytes_to_card = now.bytes_to_card - l->before.bytes_to_card,
        .bytes_from_card = now.bytes_from_card - l->before.bytes_from_card,
        .tls_sent = l->tls_sent,
        .tls_received = l->tls_received,
    };
}

enum cw_err pump_fail(struct pump *l, struct say *why)
{
    struct applet_session s;
    enum cw_err err = applet_session_get(l->config.reader, &s, why);
    if (err != CW_OK)
        return err;
    l->failure.reason = s.reason;
    l->failure.alert_in = s.alert_in;
    l->failure.alert_out = s.alert_out;
    if (s.reason == LINK_REASON_EOF)
        return say_fail(why, CW_ERR_IO,
                        "the server ended the connection in the middle of the "
                        "line; try again, and look into the server's log");
    if (s.reason == LINK_REASON_ALERT && s.alert_in >= 0)
        return say_fail(why, CW_ERR_REFUSED, "The server refused, by the TLS alert %s (%d).",
                        link_alert_name((uint8_t)s.alert_in), s.alert_in);
    return say_fail(why, CW_ERR_REFUSED, "%s", link_reason_sentence(s.reason));
}

struct pump_failure pump_failure(const struct pump *l)
{
    return l->failure;
}
