/* card_line.c - the net and the servers at its other end: a bank that the card was made for, and
 * others that only look like it. Bytes are flipped, lost and held back on the way. What comes out
 * at one end must have gone in at the other. */
#include "card_fuzz.h"

#include <string.h>

#define KEPT_MAX 16u

static SSL_CTX *contexts[SERVER_COUNT];
static SSL_SESSION *kept[KEPT_MAX];
static size_t kept_next, kept_first; /* the first ones are those of the snapshots */

/* --- servers -------------------------------------------------------------------------------------
 */

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    if (kept_next == KEPT_MAX)
        return 0;
    kept[kept_next++] = SSL_SESSION_dup(session);
    return 0;
}

static SSL_SESSION *find_session(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    (void)ssl;
    for (size_t i = 0; i < kept_next; i++) {
        unsigned n = 0;
        const unsigned char *have = SSL_SESSION_get_id(kept[i], &n);
        if ((int)n == len && memcmp(have, id, n) == 0) {
            *copy = 0;
            return SSL_SESSION_dup(kept[i]);
        }
    }
    return NULL;
}

/* A server of the bank keeps sessions; the others have never seen the card. */
static SSL_CTX *context(const struct lab_server_spec *spec, const struct lab_identity *root,
                        const struct lab_identity *card_ca, bool keeps)
{
    struct lab_identity id = lab_server_new(root, spec);
    SSL_CTX *ctx = lab_server_context(&id, card_ca);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_timeout(ctx, 1000000);
    if (keeps) {
        SSL_CTX_sess_set_new_cb(ctx, keep_session);
        SSL_CTX_sess_set_get_cb(ctx, find_session);
    }
    lab_identity_free(&id);
    return ctx;
}

void line_init(const struct lab_identity *root, const struct lab_identity *card_ca)
{
    struct lab_identity other = lab_ca_new("R"); /* of the same name */
    const struct lab_server_spec good = {0};
    contexts[SERVER_GOOD] = context(&good, root, card_ca, true);
    contexts[SERVER_RSA] = context(&(struct lab_server_spec){.rsa = true}, root, card_ca, true);
    contexts[SERVER_CA] = context(&good, &other, card_ca, false);
    contexts[SERVER_NAME] =
        context(&(struct lab_server_spec){.host = "other.test"}, root, card_ca, false);
    contexts[SERVER_EXPIRED] =
        context(&(struct lab_server_spec){.expired = true}, root, card_ca, false);
    contexts[SERVER_NO_ASK] = context(&good, root, NULL, false);
    contexts[SERVER_CLIENT] =
        context(&(struct lab_server_spec){.client_auth = true}, root, card_ca, false);
    lab_identity_free(&other);
}

void line_begin_run(void)
{
    while (kept_next > kept_first)
        SSL_SESSION_free(kept[--kept_next]);
    line_peer_free();
}

void line_peer_free(void)
{
    SSL_free(fz.peer.ssl);
    memset(&fz.peer, 0, sizeof fz.peer);
}

static void peer_new(enum fuzz_server kind)
{
    line_peer_free();
    fz.peer.kind = kind;
    fz.peer.ssl = SSL_new(contexts[kind]);
    SSL_set_bio(fz.peer.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(fz.peer.ssl);
}

bool line_binding_of(uint8_t out[LINK_BINDING_LEN])
{
    return fz.peer.ssl != NULL &&
           SSL_export_keying_material(fz.peer.ssl, out, LINK_BINDING_LEN, LINK_EXPORTER_LABEL,
                                      sizeof LINK_EXPORTER_LABEL - 1, NULL, 0, 0) == 1;
}

bool line_is_ours(void)
{
    uint8_t binding[LINK_BINDING_LEN];
    const struct line *line = &fz.lab.card->line;
    if (fz.peer.kind != SERVER_GOOD && fz.peer.kind != SERVER_RSA)
        return false;
    /* Keys that only the two have: whatever was changed on the way did not matter. */
    return line_binding_of(binding) && line->bound &&
           memcmp(binding, line->binding, sizeof binding) == 0;
}

/* --- bytes ---------------------------------------------------------------------------------------
 */

/* Plaintext at the server is what the card was given to WRITE. */
static void server_reads(void)
{
    uint8_t text[512];
    int n;
    while ((n = SSL_read(fz.peer.ssl, text, sizeof text)) > 0) {
        if (fz.peer.up_at + (size_t)n > fz.peer.up_len ||
            memcmp(fz.peer.up + fz.peer.up_at, text, (size_t)n) != 0)
            fuzz_broken("the bank reads what the terminal did not write");
        fz.peer.up_at += (size_t)n;
    }
}

/* What the card answered goes to the server. Returns how much of `given` was taken. */
static size_t answer_take(uint16_t sw, const uint8_t *out, size_t n, size_t given, uint8_t flip)
{
    static uint8_t net[CARD_RESPONSE_MAX];
    if (sw != SW_OK || n < 1) {
        fz.peer.state = LINK_STATE_ERROR;
        return given;
    }
    size_t skip = 1, taken = given;
    fz.peer.state = out[0];
    if (out[0] & LINK_STATE_PARTIAL) {
        if (n < 3)
            fuzz_broken("a part without its length");
        taken = (size_t)(out[1] << 8 | out[2]);
        skip = 3;
        if (taken >= given)
            fuzz_broken("a part that is the whole");
    }
    if (fz.peer.ssl == NULL || n == skip)
        return taken;
    memcpy(net, out + skip, n - skip);
    if (flip != 0)
        net[flip % (n - skip)] ^= (uint8_t)(1u << flip % 8);
    (void)BIO_write(SSL_get_rbio(fz.peer.ssl), net, (int)(n - skip));
    if (SSL_in_init(fz.peer.ssl))
        (void)SSL_do_handshake(fz.peer.ssl);
    if (!SSL_in_init(fz.peer.ssl))
        server_reads();
    return taken;
}

static void step(const uint8_t *data, size_t len, size_t ne, size_t *taken, uint8_t flip)
{
    static uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    const struct apdu_command cmd = {0x80, INS_STEP, 0, 0, len > 0 ? data : NULL, len, ne, false};
    uint16_t sw = fuzz_command(&cmd, NULL, out, &n);
    *taken = answer_take(sw, out, n, len, flip);
}

struct disturbance {
    size_t chunk, ne;
    unsigned rounds;
    uint8_t down_at, down_bit; /* round whose bytes to the card are changed */
    uint8_t up_at, up_flip;    /* the same, from the card */
    uint8_t lose_at;           /* round whose bytes to the card are lost */
};

/* Moves bytes until nothing moves any more, or the rounds are over. */
static void pump(const struct disturbance *d)
{
    static uint8_t net[1024];
    size_t have = 0;
    for (unsigned round = 1; round <= d->rounds && fz.peer.ssl != NULL; round++) {
        size_t taken = 0;
        uint8_t flip = round == d->up_at ? d->up_flip : 0;
        if (fz.peer.state & (LINK_STATE_ERROR | LINK_STATE_CLOSED | LINK_STATE_DATA))
            break;
        if (fz.peer.state & (LINK_STATE_OUT | LINK_STATE_AGAIN)) {
            step(NULL, 0, d->ne, &taken, flip);
            continue;
        }
        int n = BIO_read(SSL_get_wbio(fz.peer.ssl), net + have, (int)(d->chunk - have));
        if (n > 0) {
            if (round == d->down_at)
                net[have + d->down_bit % (size_t)n] ^= (uint8_t)(1u << d->down_bit % 8);
            if (round != d->lose_at)
                have += (size_t)n;
        }
        if (have == 0)
            break;
        step(net, have, d->ne, &taken, flip);
        if (fz.peer.ssl == NULL || taken > have)
            break;
        memmove(net, net + taken, have - taken);
        have -= taken;
    }
}

static struct disturbance take(struct buf_reader *in)
{
    static const size_t chunks[] = {255, 1024, 64, 5, 600, 1, 128, 17};
    static const size_t nes[] = {256, 1024, 64, 4, 5, 128, 512, 255};
    static const unsigned rounds[] = {200, 1, 2, 3, 5, 8, 13, 200};
    uint8_t how = buf_get_u8(in);
    uint8_t what = buf_get_u8(in);
    struct disturbance d = {
        .chunk = chunks[how & 7], .ne = nes[how >> 3 & 7], .rounds = rounds[what & 7]};
    if (what & 0x08) {
        d.down_at = (uint8_t)(buf_get_u8(in) % 16 + 1);
        d.down_bit = buf_get_u8(in);
    }
    if (what & 0x10) {
        d.up_at = (uint8_t)(buf_get_u8(in) % 16 + 1);
        d.up_flip = buf_get_u8(in);
    }
    if (what & 0x20)
        d.lose_at = (uint8_t)(buf_get_u8(in) % 16 + 1);
    return d;
}

/* --- operations ----------------------------------------------------------------------------------
 */

static void open_line(uint8_t p1, uint8_t p2, const char *host, size_t ne, enum fuzz_server kind)
{
    static uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    const struct apdu_command cmd = {
        0x80, INS_OPEN, p1, p2, (const uint8_t *)host, host != NULL ? strlen(host) : 0, ne, false};
    /* An OPEN that is refused leaves the line there was as it is. */
    struct fuzz_peer before = fz.peer;
    memset(&fz.peer, 0, sizeof fz.peer);
    peer_new(kind);
    uint16_t sw = fuzz_command(&cmd, NULL, out, &n);
    if (sw != SW_OK && fz.lab.card != NULL && fz.lab.card->line.phase != LINE_NONE &&
        before.ssl != NULL) {
        line_peer_free();
        fz.peer = before;
        return;
    }
    SSL_free(before.ssl);
    if (fz.peer.ssl != NULL)
        (void)answer_take(sw, out, n, 0, 0);
}

static void open_op(struct buf_reader *in)
{
    static const char *const hosts[] = {NULL, LAB_HOST, "other.test", "BANK.TEST", "x"};
    static const size_t nes[] = {256, 1024, 64, 4};
    uint8_t profile = buf_get_u8(in);
    uint8_t key = buf_get_u8(in);
    uint8_t how = buf_get_u8(in);
    open_line(profile & (LINK_OPEN_FULL | 3), key % 5, hosts[(how & 7) % 5], nes[how >> 3 & 3],
              (enum fuzz_server)((how >> 5) % SERVER_COUNT));
}

static void verify_pin(uint8_t use)
{
    const struct apdu_command cmd = {
        0x00, INS_VERIFY, 0, use, (const uint8_t *)LAB_PIN, sizeof LAB_PIN - 1, 0, false};
    (void)fuzz_command(&cmd, NULL, NULL, NULL);
}

static void select_link(void)
{
    const struct apdu_command cmd = {
        0x00, INS_SELECT, 0x04, 0x0C, (const uint8_t *)LINK_AID, LINK_AID_LEN, 0, false};
    if (fuzz_command(&cmd, NULL, NULL, NULL) == SW_LAST_OF_CHAIN)
        (void)fuzz_command(&cmd, NULL, NULL, NULL);
}

/* A whole login; the server is the one that the profile wants, unless the input says another. */
static void login_op(struct buf_reader *in)
{
    uint8_t profile = buf_get_u8(in) & (LINK_OPEN_FULL | 3);
    uint8_t kind = buf_get_u8(in);
    const struct disturbance d = take(in);
    bool rsa = (profile & 3) == LINK_PROFILE_RSA;
    select_link();
    verify_pin(LINK_PIN_LINE);
    open_line(profile, 0, NULL, d.ne,
              kind >= 240 ? (enum fuzz_server)(kind % SERVER_COUNT)
              : rsa       ? SERVER_RSA
                          : SERVER_GOOD);
    pump(&d);
}

static void line_command(uint8_t ins, const uint8_t *data, size_t len, size_t ne)
{
    static uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct fuzz_peer *p = &fz.peer;
    const struct apdu_command cmd = {0x80, ins, 0, 0, len > 0 ? data : NULL, len, ne, false};
    if (ins == INS_WRITE && p->up_len + len > FUZZ_STREAM)
        return;
    uint16_t sw = fuzz_command(&cmd, NULL, out, &n);
    if (p->ssl == NULL)
        return;
    if (ins == INS_READ) {
        if (sw != SW_OK || n < 1)
            return;
        p->state = out[0];
        if (p->down_at + n - 1 > p->down_len || memcmp(p->down + p->down_at, out + 1, n - 1) != 0)
            fuzz_broken("the terminal reads what the bank did not write");
        p->down_at += n - 1;
        return;
    }
    if (ins == INS_WRITE && sw == SW_OK) {
        memcpy(p->up + p->up_len, data, len);
        p->up_len += len;
    }
    if (sw == SW_OK)
        (void)answer_take(sw, out, n, 0, 0);
}

static void server_writes(const uint8_t *data, size_t len)
{
    struct fuzz_peer *p = &fz.peer;
    if (p->ssl == NULL || SSL_in_init(p->ssl) || len == 0 || p->down_len + len > FUZZ_STREAM)
        return;
    if (SSL_write(p->ssl, data, (int)len) == (int)len) {
        memcpy(p->down + p->down_len, data, len);
        p->down_len += len;
    }
}

static void line_op_various(struct buf_reader *in)
{
    static uint8_t big[3000];
    uint8_t what = buf_get_u8(in);
    uint8_t size = buf_get_u8(in);
    size_t len = in->left;
    const uint8_t *data = len > 0 ? buf_get_bytes(in, len) : NULL;
    if (size >= 128) { /* what does not fit an operation */
        len = (size - 127u) * 23u;
        memset(big, 'x', len);
        data = big;
    }
    switch (what % 8) {
    case 0:
    case 1:
        line_command(INS_WRITE, data, len, 1024);
        break;
    case 2:
        line_command(INS_READ, NULL, 0, size % 64u + 4);
        break;
    case 3:
        line_command(INS_CLOSE, NULL, 0, 256);
        break;
    case 4:
        server_writes(data, len);
        break;
    case 5:
        if (fz.peer.ssl != NULL)
            (void)SSL_shutdown(fz.peer.ssl);
        break;
    case 6:
        if (fz.peer.ssl != NULL && !SSL_in_init(fz.peer.ssl) &&
            SSL_version(fz.peer.ssl) == TLS1_3_VERSION)
            (void)SSL_key_update(fz.peer.ssl, size & 1 ? SSL_KEY_UPDATE_REQUESTED
                                                       : SSL_KEY_UPDATE_NOT_REQUESTED);
        break;
    default: {
        const struct apdu_command end = {0x80, INS_STEP, 1, 0, NULL, 0, 256, false};
        (void)fuzz_command(&end, NULL, NULL, NULL);
        break;
    }
    }
}

void line_op(enum fuzz_op op, struct buf_reader *in)
{
    if (op == OP_OPEN) {
        open_op(in);
    } else if (op == OP_LOGIN) {
        login_op(in);
    } else if (op == OP_PUMP) {
        const struct disturbance d = take(in);
        pump(&d);
    } else {
        line_op_various(in);
    }
}

void line_make_session(void)
{
    static const uint8_t login[] = {LINK_OPEN_FULL | LINK_PROFILE_ECDHE, 0, 0, 0};
    struct buf_reader in;
    buf_reader_init(&in, login, sizeof login);
    if (card_power_up(&fz.lab.port, &fz.lab.card) != CW_OK)
        fuzz_broken("it does not start");
    model_begin();
    login_op(&in);
    kept_first = kept_next;
    if (kept_first == 0 || fz.lab.card->line.phase != LINE_OPEN)
        fuzz_broken("no line to the bank");
    line_peer_free();
}
