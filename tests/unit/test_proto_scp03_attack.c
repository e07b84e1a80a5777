/* The secure channel (proto/scp03.h) against whoever is in between, and against its own failures:
 * whatever is wrong ends the session, and nothing of its keys is left. */
#include "tests/unit/unit.h"

#include "tests/unit/scp03_lab.h"

#define CAP 128u

/* What crosses the reader in one direction. */
struct wire {
    struct apdu_command cmd; /* data in bytes, for a command */
    uint16_t sw;             /* for an answer */
    uint8_t bytes[CAP];
    size_t len;
};

static const uint8_t secret[40] = "what the issuer has to say to the card";

static void assert_dead(const struct scp03 *s)
{
    static const struct scp03 none;
    assert_memory_equal(s, &none, sizeof none);
    assert_false(scp03_is_open(s));
}

/* A command with `n` bytes of the secret, protected. */
static struct wire command_of(struct scp03 *host, uint8_t ins, size_t n)
{
    struct wire w = {.cmd = {.cla = 0x80, .ins = ins, .p1 = 1, .p2 = 2, .nc = n}};
    w.cmd.data = n > 0 ? secret : NULL;
    assert_int_equal(scp03_command_wrap(host, &w.cmd, w.bytes, sizeof w.bytes), CW_OK);
    w.len = w.cmd.nc;
    if (w.cmd.data != w.bytes && n > 0) /* level 00 */
        memcpy(w.bytes, secret, n);
    return w;
}

static enum cw_err command_take(struct scp03 *card, const struct wire *w)
{
    uint8_t buffer[CAP];
    struct apdu_command cmd = w->cmd;
    cmd.data = w->len > 0 ? w->bytes : NULL;
    cmd.nc = w->len;
    return scp03_command_unwrap(card, &cmd, buffer, sizeof buffer);
}

static struct wire answer_of(struct scp03 *card, uint16_t sw, size_t n)
{
    struct wire w = {.sw = sw};
    struct buf_writer b;
    buf_writer_init(&b, w.bytes, sizeof w.bytes);
    buf_put_bytes(&b, secret, n);
    assert_int_equal(scp03_response_wrap(card, sw, &b), CW_OK);
    w.len = b.len;
    return w;
}

static enum cw_err answer_take(struct scp03 *host, const struct wire *w)
{
    uint8_t bytes[CAP];
    size_t len = w->len;
    memcpy(bytes, w->bytes, sizeof bytes);
    return scp03_response_unwrap(host, w->sw, bytes, &len);
}

static struct pair open_at_level(uint8_t level)
{
    return pair_open(&scp03_openssl, &scp03_mbedtls, level, NULL);
}

/* Every bit of the command's header and data field. */
static void test_every_bit_of_a_command(void **state)
{
    static const size_t lengths[] = {0, 5, 16};
    (void)state;
    for (size_t l = 1; l < LEVELS; l++) {
        for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
            struct pair p = open_at_level(levels[l]);
            struct wire good = command_of(&p.host, 0xE2, lengths[n]);
            for (size_t bit = 0; bit < 8 * (4 + good.len); bit++) {
                struct wire bad = good;
                struct scp03 card = p.card;
                uint8_t *header[] = {&bad.cmd.cla, &bad.cmd.ins, &bad.cmd.p1, &bad.cmd.p2};
                *(bit < 32 ? header[bit / 8] : &bad.bytes[bit / 8 - 4]) ^= (uint8_t)(1 << bit % 8);
                assert_int_equal(command_take(&card, &bad), CW_ERR_DENIED);
                assert_dead(&card);
            }
            assert_int_equal(command_take(&p.card, &good), CW_OK);
        }
    }
}

/* Every bit of an answer's data field and status word. */
static void test_every_bit_of_an_answer(void **state)
{
    static const size_t lengths[] = {0, 5, 16};
    static const uint16_t status[] = {0x9000, 0x6283, 0x63C2};
    (void)state;
    for (size_t l = 3; l < LEVELS; l++) {
        for (size_t n = 0; n < 9; n++) {
            struct pair p = open_at_level(levels[l]);
            struct wire cmd = command_of(&p.host, 0xE2, 3);
            assert_int_equal(command_take(&p.card, &cmd), CW_OK);
            struct wire good = answer_of(&p.card, status[n / 3], lengths[n % 3]);
            for (size_t bit = 0; bit < 8 * (2 + good.len); bit++) {
                struct wire bad = good;
                struct scp03 host = p.host;
                if (bit < 16)
                    bad.sw ^= (uint16_t)(1u << bit);
                else
                    bad.bytes[bit / 8 - 2] ^= (uint8_t)(1 << bit % 8);
                assert_int_equal(answer_take(&host, &bad), CW_ERR_DENIED);
                assert_dead(&host);
            }
            assert_int_equal(answer_take(&p.host, &good), CW_OK);
        }
    }
}

/* Cut at any length, and longer by a byte. */
static void test_cut_and_stretched(void **state)
{
    (void)state;
    for (size_t l = 1; l < LEVELS; l++) {
        struct pair p = open_at_level(levels[l]);
        struct wire cmd = command_of(&p.host, 0xE2, sizeof secret);
        for (size_t len = 0; len <= cmd.len + 1; len++) {
            struct scp03 card = p.card;
            struct wire bad = cmd;
            bad.len = len;
            if (len != cmd.len) {
                assert_int_equal(command_take(&card, &bad), CW_ERR_DENIED);
                assert_dead(&card);
            }
        }
        assert_int_equal(command_take(&p.card, &cmd), CW_OK);
        struct wire answer = answer_of(&p.card, SW_OK, sizeof secret);
        for (size_t len = 0; len <= answer.len + 1 && (levels[l] & SCP03_R_MAC); len++) {
            struct scp03 host = p.host;
            struct wire bad = answer;
            bad.len = len;
            if (len != answer.len) {
                assert_int_equal(answer_take(&host, &bad), CW_ERR_DENIED);
                assert_dead(&host);
            }
        }
    }
}

/* The same command twice, two in the wrong order, one left out, and one of another session. */
static void test_replayed_and_reordered_commands(void **state)
{
    (void)state;
    for (size_t l = 1; l < LEVELS; l++) {
        for (size_t n = 0; n <= 5; n += 5) {
            struct pair p = open_at_level(levels[l]);
            struct wire first = command_of(&p.host, 0xE2, n);
            struct wire none = {.sw = SW_CONDITIONS};
            assert_int_equal(answer_take(&p.host, &none), CW_OK);
            struct wire second = command_of(&p.host, 0xE2, n);
            assert_memory_not_equal(first.bytes, second.bytes, first.len);

            struct scp03 card = p.card;
            assert_int_equal(command_take(&card, &second), CW_ERR_DENIED);
            assert_dead(&card);
            assert_int_equal(command_take(&p.card, &first), CW_OK);
            (void)answer_of(&p.card, SW_CONDITIONS, 0);
            card = p.card;
            assert_int_equal(command_take(&card, &first), CW_ERR_DENIED);
            assert_dead(&card);
            assert_int_equal(command_take(&p.card, &second), CW_OK);
        }
    }
}

/* An answer belongs to its command: that of another one, or the command itself, is none. */
static void test_replayed_answers(void **state)
{
    (void)state;
    for (size_t l = 3; l < LEVELS; l++) {
        struct pair p = open_at_level(levels[l]);
        struct wire cmd = command_of(&p.host, 0xE2, 5);
        assert_int_equal(command_take(&p.card, &cmd), CW_OK);
        struct wire answer = answer_of(&p.card, SW_OK, 5);
        struct scp03 host = p.host;
        struct wire reflected = cmd;
        reflected.sw = SW_OK;
        assert_int_equal(answer_take(&host, &reflected), CW_ERR_DENIED);
        assert_dead(&host);
        assert_int_equal(answer_take(&p.host, &answer), CW_OK);
        (void)command_of(&p.host, 0xE2, 5);
        assert_int_equal(answer_take(&p.host, &answer), CW_ERR_DENIED);
        assert_dead(&p.host);
    }
}

/* §6.2.5: an error is a status word alone; data beside it is refused, and the card sends none. */
static void test_errors_carry_no_data(void **state)
{
    (void)state;
    for (size_t l = 3; l < LEVELS; l++) {
        struct pair p = open_at_level(levels[l]);
        struct wire cmd = command_of(&p.host, 0xE2, 5);
        assert_int_equal(command_take(&p.card, &cmd), CW_OK);
        struct wire answer = answer_of(&p.card, SW_WRONG_DATA, 5);
        assert_int_equal(answer.len, 0);
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(answer.bytes[i], 0);
        struct scp03 host = p.host;
        answer.len = 8;
        assert_int_equal(answer_take(&host, &answer), CW_ERR_DENIED);
        assert_dead(&host);
        answer.len = 0;
        assert_int_equal(answer_take(&p.host, &answer), CW_OK);
        assert_true(scp03_is_open(&p.host)); /* and the session goes on */
        cmd = command_of(&p.host, 0xE2, 5);
        assert_int_equal(command_take(&p.card, &cmd), CW_OK);
    }
}

/* A command in clear where protection was agreed on, and the other way round. */
static void test_protection_is_as_agreed(void **state)
{
    (void)state;
    for (size_t l = 0; l < LEVELS; l++) {
        struct pair p = open_at_level(levels[l]);
        struct wire w = {.cmd = {.cla = levels[l] == 0 ? 0x84 : 0x80, .ins = 0xE2}, .len = 16};
        assert_int_equal(command_take(&p.card, &w), CW_ERR_DENIED);
        assert_dead(&p.card);
    }
    /* Nor a class byte that is neither, with a MAC that fits. */
    static const uint8_t classes[] = {0x85, 0x8C, 0x94, 0xA4, 0xC4, 0xE4};
    for (size_t i = 0; i < sizeof classes; i++) {
        struct pair p = open_at_level(0x01);
        struct apdu_command cmd = {.cla = classes[i] & 0xFB, .ins = 0xE2};
        uint8_t buffer[CAP];
        assert_int_equal(scp03_command_wrap(&p.host, &cmd, buffer, CAP), CW_ERR_ARG);
        assert_dead(&p.host);
        p = open_at_level(0x01);
        uint8_t head[5] = {classes[i], 0xE2, 0, 0, 8};
        struct scp03_part parts[] = {{p.card.chaining, 16}, {head, 5}};
        uint8_t mac[16];
        assert_int_equal(scp03_openssl.cmac(NULL, p.card.mac, parts, 2, mac), CW_OK);
        cmd = (struct apdu_command){.cla = classes[i], .ins = 0xE2, .data = mac, .nc = 8};
        assert_int_equal(scp03_command_unwrap(&p.card, &cmd, buffer, CAP), CW_ERR_DENIED);
        assert_dead(&p.card);
    }
}

/* Encrypts and authenticates `len` bytes as they are, without padding: what only a broken other end
 * would send. */
static struct wire forged_command(const struct scp03 *s, const uint8_t *data, size_t len)
{
    struct wire w = {.cmd = {.cla = 0x84, .ins = 0xE2}, .len = len + 8};
    uint8_t iv[16] = {[15] = (uint8_t)(s->counter + 1)};
    uint8_t head[5] = {0x84, 0xE2, 0, 0, (uint8_t)(len + 8)};
    uint8_t zero[16] = {0}, mac[16];
    struct scp03_part parts[] = {{s->chaining, 16}, {head, 5}, {w.bytes, len}};
    memcpy(w.bytes, data, len);
    assert_int_equal(scp03_openssl.cbc(NULL, true, s->enc, zero, iv, 16), CW_OK);
    assert_int_equal(scp03_openssl.cbc(NULL, true, s->enc, iv, w.bytes, len / 16 * 16), CW_OK);
    assert_int_equal(scp03_openssl.cmac(NULL, s->mac, parts, 3, mac), CW_OK);
    memcpy(w.bytes + len, mac, 8);
    return w;
}

static struct wire forged_answer(const struct scp03 *s, const uint8_t *data, size_t len)
{
    struct wire w = {.sw = SW_OK, .len = len + 8};
    uint8_t iv[16] = {[0] = 0x80, [15] = (uint8_t)s->counter};
    uint8_t zero[16] = {0}, mac[16], status[2] = {0x90, 0x00};
    struct scp03_part parts[] = {{s->chaining, 16}, {w.bytes, len}, {status, 2}};
    memcpy(w.bytes, data, len);
    assert_int_equal(scp03_openssl.cbc(NULL, true, s->enc, zero, iv, 16), CW_OK);
    assert_int_equal(scp03_openssl.cbc(NULL, true, s->enc, iv, w.bytes, len / 16 * 16), CW_OK);
    assert_int_equal(scp03_openssl.cmac(NULL, s->rmac, parts, 3, mac), CW_OK);
    memcpy(w.bytes + len, mac, 8);
    return w;
}

static void test_padding(void **state)
{
    static const struct {
        const char *plain;
        enum cw_err err;
    } cases[] = {
        {"11223344556677889900112233445580", CW_OK},
        {"11800000000000000000000000000000", CW_OK},
        {"1122334455667788990011223344556680000000000000000000000000000000", CW_OK},
        {"00000000000000000000000000000000", CW_ERR_DENIED}, /* no end */
        {"11223344556677889900112233445566", CW_ERR_DENIED},
        {"11800000000000000000000000000001", CW_ERR_DENIED},
        {"11223344556677889900112233445540", CW_ERR_DENIED},
        {"80000000000000000000000000000000", CW_ERR_DENIED}, /* no data is not encrypted */
        /* more padding than a block */
        {"1122334455667788990011223344558000000000000000000000000000000000", CW_ERR_DENIED},
        {"112233445566778899001122334455808000", CW_ERR_DENIED}, /* no whole blocks */
    };
    uint8_t plain[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p = open_at_level(SCP03_LEVEL_FULL);
        size_t len = bytes_of(cases[i].plain, plain);
        struct wire w = forged_command(&p.card, plain, len);
        assert_int_equal(command_take(&p.card, &w), cases[i].err);
        (void)command_of(&p.host, 0xE2, 0);
        w = forged_answer(&p.host, plain, len);
        assert_int_equal(answer_take(&p.host, &w), cases[i].err);
        if (cases[i].err != CW_OK) {
            assert_dead(&p.card);
            assert_dead(&p.host);
        }
    }
}

/* ---- opening ---- */

struct opening {
    struct scp03_update update;
    uint8_t challenge[SCP03_CHALLENGE_LEN];
    struct scp03 card;
};

static struct opening opening_of(uint8_t i)
{
    struct opening o = {.update = {.version = 0x30, .i = i, .challenge = {7}}, .challenge = {9}};
    struct scp03_keys keys = test_keys();
    assert_int_equal(scp03_card_begin(&o.card, &scp03_mbedtls, &keys, o.challenge, &o.update),
                     CW_OK);
    return o;
}

/* Whatever is changed in the challenges or the card's cryptogram, or a card without the key. */
static void test_every_bit_of_the_card_s_proof(void **state)
{
    struct scp03_keys keys = test_keys();
    struct scp03 host = {0};
    (void)state;
    struct opening o = opening_of(SCP03_I_FULL);
    for (size_t bit = 0; bit < 3 * 64; bit++) {
        struct opening bad = o;
        uint8_t *field = bit < 64    ? bad.challenge
                         : bit < 128 ? bad.update.challenge
                                     : bad.update.cryptogram;
        field[bit % 64 / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(scp03_host_begin(&host, &scp03_openssl, &keys, bad.challenge, &bad.update),
                         CW_ERR_DENIED);
        assert_dead(&host);
    }
    for (size_t bit = 0; bit < 128; bit++) {
        keys = test_keys();
        keys.mac[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(scp03_host_begin(&host, &scp03_openssl, &keys, o.challenge, &o.update),
                         CW_ERR_DENIED);
        assert_dead(&host);
    }
}

/* Gives EXTERNAL AUTHENTICATE a MAC that fits, whatever its header and its data before the MAC are.
 * `len`: of the data, without the MAC. */
static void authenticate_mac(const struct scp03 *card, struct apdu_command *cmd, uint8_t *data,
                             size_t len)
{
    uint8_t head[5] = {cmd->cla, cmd->ins, cmd->p1, cmd->p2, (uint8_t)(len + 8)}, mac[16];
    struct scp03_part parts[] = {{card->chaining, 16}, {head, 5}, {data, len}};
    assert_int_equal(scp03_openssl.cmac(NULL, card->mac, parts, 3, mac), CW_OK);
    memcpy(data + len, mac, 8);
    cmd->data = data;
    cmd->nc = len + 8;
}

/* EXTERNAL AUTHENTICATE at `level`, whatever the host code thinks of it. */
static struct apdu_command authenticate(const struct opening *o, uint8_t level, uint8_t data[16])
{
    struct apdu_command cmd = {.cla = 0x84, .ins = 0x82, .p1 = level};
    memcpy(data, o->card.cryptogram, 8);
    authenticate_mac(&o->card, &cmd, data, 8);
    return cmd;
}

/* A host that is none, but has got hold of the session's MAC key: it still has to know the
 * cryptogram, and to keep to the form. */
static void test_forged_authentication(void **state)
{
    uint8_t data[32];
    struct apdu_command cmd;
    (void)state;
    struct opening o = opening_of(SCP03_I_FULL);
    for (size_t bit = 0; bit < 64; bit++) {
        struct scp03 card = o.card;
        cmd = authenticate(&o, SCP03_LEVEL_FULL, data);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        authenticate_mac(&o.card, &cmd, data, 8);
        assert_int_equal(scp03_card_authenticate(&card, &cmd, 0), CW_ERR_DENIED);
        assert_dead(&card);
    }
    static const struct apdu_command forms[] = {{.cla = 0x04, .ins = 0x82},
                                                {.cla = 0x85, .ins = 0x82},
                                                {.cla = 0x94, .ins = 0x82},
                                                {.cla = 0x84, .ins = 0x83},
                                                {.cla = 0x84, .ins = 0x82, .p2 = 1}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct scp03 card = o.card;
        cmd = forms[i];
        memcpy(data, o.card.cryptogram, 8);
        authenticate_mac(&o.card, &cmd, data, 8);
        assert_int_equal(scp03_card_authenticate(&card, &cmd, 0), CW_ERR_DENIED);
        assert_dead(&card);
    }
    for (size_t len = 0; len <= 16; len++) {
        struct scp03 card = o.card;
        cmd = authenticate(&o, SCP03_LEVEL_FULL, data);
        authenticate_mac(&o.card, &cmd, data, len);
        assert_int_equal(scp03_card_authenticate(&card, &cmd, 0), len == 8 ? CW_OK : CW_ERR_DENIED);
    }
}

static void test_every_bit_of_the_host_s_proof(void **state)
{
    uint8_t data[16];
    (void)state;
    struct opening o = opening_of(SCP03_I_FULL);
    struct apdu_command good = authenticate(&o, SCP03_LEVEL_FULL, data);
    for (size_t bit = 0; bit < 8 * (4 + 16); bit++) {
        struct apdu_command bad = good;
        struct scp03 card = o.card;
        uint8_t changed[16];
        uint8_t *header[] = {&bad.cla, &bad.ins, &bad.p1, &bad.p2};
        memcpy(changed, data, sizeof changed);
        bad.data = changed;
        *(bit < 32 ? header[bit / 8] : &changed[bit / 8 - 4]) ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(scp03_card_authenticate(&card, &bad, 0), CW_ERR_DENIED);
        assert_dead(&card);
    }
    for (size_t len = 0; len < 16; len++) {
        struct scp03 card = o.card;
        struct apdu_command bad = good;
        bad.nc = len;
        assert_int_equal(scp03_card_authenticate(&card, &bad, 0), CW_ERR_DENIED);
        assert_dead(&card);
    }
    assert_int_equal(scp03_card_authenticate(&o.card, &good, SCP03_LEVEL_FULL), CW_OK);
    /* What was proved is forgotten; only once: the same proof again ends it. */
    static const uint8_t none[SCP03_CRYPTOGRAM_LEN];
    assert_memory_equal(o.card.cryptogram, none, sizeof none);
    assert_int_equal(scp03_card_authenticate(&o.card, &good, 0), CW_ERR_STATE);
    assert_dead(&o.card);
}

/* All 256 levels: those of §7.1.2.1, of which the card's policy and its parameter i leave some. */
static void test_levels(void **state)
{
    static const uint8_t can[] = {0x00, SCP03_I_R_MAC, SCP03_I_FULL};
    static const uint8_t never[] = {SCP03_R_MAC | SCP03_R_ENCRYPTION, SCP03_R_ENCRYPTION, 0};
    struct scp03_keys keys = test_keys();
    uint8_t data[16];
    (void)state;
    for (size_t c = 0; c < sizeof can; c++) {
        for (unsigned level = 0; level < 256; level++) {
            bool valid = memchr(levels, (int)level, sizeof levels) != NULL && !(level & never[c]);
            struct opening o = opening_of(can[c]);
            struct scp03 host = {0}, card = o.card;
            struct apdu_command cmd = authenticate(&o, (uint8_t)level, data);
            assert_int_equal(scp03_card_authenticate(&card, &cmd, 0),
                             valid ? CW_OK : CW_ERR_DENIED);
            assert_int_equal(scp03_card_authenticate(&o.card, &cmd, SCP03_LEVEL_FULL),
                             valid && level == SCP03_LEVEL_FULL ? CW_OK : CW_ERR_DENIED);
            assert_int_equal(scp03_host_begin(&host, &scp03_openssl, &keys, o.challenge, &o.update),
                             CW_OK);
            assert_int_equal(scp03_host_authenticate(&host, (uint8_t)level, data, &cmd),
                             valid ? CW_OK : CW_ERR_UNSUPPORTED);
            assert_true(scp03_is_open(&card) == valid && scp03_is_open(&host) == valid);
        }
    }
}

static void test_update_must_be_whole(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum cw_err err;
    } cases[] = {{11, 0x02, CW_ERR_UNSUPPORTED}, /* SCP02 */
                 {12, 0x61, CW_ERR_UNSUPPORTED}, /* S16 */
                 {12, 0x62, CW_ERR_FORMAT},      {12, 0x40, CW_ERR_FORMAT},
                 {12, 0x50, CW_ERR_FORMAT},      {12, 0x70, CW_ERR_FORMAT}, /* no counter */
                 {12, 0xE0, CW_ERR_FORMAT}};
    struct scp03_update u = {.version = 0x30, .i = 0x60}, out;
    uint8_t bytes[40] = {0};
    struct buf_writer w;
    (void)state;
    for (u.i = 0x60; u.i <= 0x70; u.i += 0x10) {
        buf_writer_init(&w, bytes, sizeof bytes);
        scp03_update_write(&u, &w);
        for (size_t len = 0; len <= sizeof bytes; len++)
            assert_int_equal(scp03_update_parse(bytes, len, &out),
                             len == w.len ? CW_OK : CW_ERR_FORMAT);
    }
    u.i = 0x60;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_writer_init(&w, bytes, sizeof bytes);
        scp03_update_write(&u, &w);
        bytes[cases[i].at] = cases[i].value;
        assert_int_equal(scp03_update_parse(bytes, w.len, &out), cases[i].err);
    }
}

/* ---- the wrong moment, too little room, and primitives that fail ---- */

static void test_wrong_moment(void **state)
{
    uint8_t bytes[CAP];
    struct apdu_command cmd = {.cla = 0x80, .ins = 0xE2};
    struct buf_writer w;
    size_t len = 0;
    (void)state;
    for (enum scp03_state at = SCP03_NONE; at <= SCP03_ANSWER; at++) {
        struct pair p = open_at_level(SCP03_LEVEL_FULL);
        struct scp03 s = p.host;
        if (at != SCP03_READY) {
            s.state = at;
            assert_int_equal(scp03_command_wrap(&s, &cmd, bytes, CAP), CW_ERR_STATE);
            assert_dead(&s);
            s = p.card;
            s.state = at;
            assert_int_equal(scp03_command_unwrap(&s, &cmd, bytes, CAP), CW_ERR_STATE);
            assert_dead(&s);
        }
        if (at != SCP03_ANSWER) {
            s = p.host;
            s.state = at;
            assert_int_equal(scp03_response_unwrap(&s, SW_OK, bytes, &len), CW_ERR_STATE);
            assert_dead(&s);
            s = p.card;
            s.state = at;
            buf_writer_init(&w, bytes, CAP);
            buf_put_bytes(&w, secret, sizeof secret);
            assert_int_equal(scp03_response_wrap(&s, SW_OK, &w), CW_ERR_STATE);
            assert_dead(&s);
            assert_int_equal(w.len, 0);
        }
        if (at != SCP03_BEGUN) {
            s = p.host;
            s.state = at;
            assert_int_equal(scp03_host_authenticate(&s, 0x33, bytes, &cmd), CW_ERR_STATE);
            assert_dead(&s);
            s = p.card;
            s.state = at;
            assert_int_equal(scp03_card_authenticate(&s, &cmd, 0), CW_ERR_STATE);
            assert_dead(&s);
        }
    }
}

/* Exactly as much room as is needed, and a byte less. */
static void test_room(void **state)
{
    uint8_t bytes[CAP];
    struct buf_writer w;
    (void)state;
    for (size_t l = 1; l < LEVELS; l++) {
        for (size_t n = 0; n <= sizeof secret; n++) {
            struct pair p = open_at_level(levels[l]);
            struct pair q = p;
            struct apdu_command plain = {.cla = 0x80, .ins = 0xE2, .data = secret, .nc = n};
            bool encrypted = n > 0 && (levels[l] & SCP03_C_DECRYPTION);
            size_t need = (encrypted ? (n / 16 + 1) * 16 : n) + 8;
            struct apdu_command cmd = plain;
            assert_int_equal(scp03_command_wrap(&q.host, &cmd, bytes, need - 1), CW_ERR_SPACE);
            assert_dead(&q.host);
            assert_int_equal(cmd.nc, n); /* untouched */
            assert_int_equal(scp03_command_wrap(&p.host, &cmd, bytes, need), CW_OK);
            assert_int_equal(cmd.nc, need);
            if (encrypted) {
                uint8_t room[CAP];
                struct apdu_command again = cmd;
                assert_int_equal(scp03_command_unwrap(&q.card, &again, room, need - 9),
                                 CW_ERR_SPACE);
                assert_dead(&q.card);
            }
            assert_int_equal(scp03_command_unwrap(&p.card, &cmd, bytes, need - 8), CW_OK);
            if (!(levels[l] & SCP03_R_MAC))
                continue;
            q = p;
            encrypted = n > 0 && (levels[l] & SCP03_R_ENCRYPTION);
            need = (encrypted ? (n / 16 + 1) * 16 : n) + 8;
            for (size_t cap = need - 1; cap <= need; cap++) {
                struct scp03 *card = cap < need ? &q.card : &p.card;
                buf_writer_init(&w, bytes, cap);
                buf_put_bytes(&w, secret, n);
                assert_int_equal(scp03_response_wrap(card, SW_OK, &w),
                                 cap < need ? CW_ERR_SPACE : CW_OK);
                assert_int_equal(w.len, cap < need ? 0 : need);
            }
            assert_dead(&q.card);
        }
    }
}

/* The encryption counter never comes round. */
static void test_counter_ends(void **state)
{
    (void)state;
    struct pair p = open_at_level(SCP03_LEVEL_FULL);
    p.host.counter = p.card.counter = UINT32_MAX - 1;
    struct wire w = command_of(&p.host, 0xE2, 5);
    assert_int_equal(command_take(&p.card, &w), CW_OK);
    struct wire answer = answer_of(&p.card, SW_OK, 5);
    assert_int_equal(answer_take(&p.host, &answer), CW_OK);
    struct apdu_command cmd = {.cla = 0x80, .ins = 0xE2};
    assert_int_equal(scp03_command_wrap(&p.host, &cmd, w.bytes, CAP), CW_ERR_STATE);
    assert_dead(&p.host);
    assert_int_equal(command_take(&p.card, &w), CW_ERR_STATE);
    assert_dead(&p.card);
}

/* An engine whose n-th operation fails. */
static long budget;

static enum cw_err failing_cmac(void *ctx, const uint8_t key[16], const struct scp03_part *parts,
                                size_t count, uint8_t out[16])
{
    return budget-- == 0 ? CW_ERR_CRYPTO : scp03_openssl.cmac(ctx, key, parts, count, out);
}

static enum cw_err failing_cbc(void *ctx, bool encrypt, const uint8_t key[16], const uint8_t iv[16],
                               uint8_t *data, size_t len)
{
    return budget-- == 0 ? CW_ERR_CRYPTO : scp03_openssl.cbc(ctx, encrypt, key, iv, data, len);
}

static const struct scp03_crypto failing = {.cmac = failing_cmac, .cbc = failing_cbc};

/* One session with one command; false when something failed, which must have been that. */
static bool session_runs(void)
{
    struct scp03_keys keys = test_keys(), put = {0}, none = {0};
    struct scp03_update u = {.version = 0x30, .i = SCP03_I_FULL};
    struct scp03 card = {0}, host = {0};
    uint8_t challenge[8] = {1}, data[16], bytes[CAP], answer[CAP], version = 0;
    struct apdu_command cmd;
    struct buf_writer w;
    size_t len = 0;
    enum cw_err err = scp03_challenge_make(&failing, keys.enc, u.sequence, secret, 5, u.challenge);
    if (err == CW_OK)
        err = scp03_card_begin(&card, &failing, &keys, challenge, &u);
    if (err == CW_OK)
        err = scp03_host_begin(&host, &failing, &keys, challenge, &u);
    if (err == CW_OK)
        err = scp03_host_authenticate(&host, SCP03_LEVEL_FULL, data, &cmd);
    if (err == CW_OK)
        err = scp03_card_authenticate(&card, &cmd, SCP03_LEVEL_FULL);
    buf_writer_init(&w, answer, sizeof answer);
    if (err == CW_OK)
        err = scp03_keys_write(&failing, keys.dek, 0x31, &keys, &w);
    if (err == CW_OK) {
        cmd = (struct apdu_command){.cla = 0x80, .ins = 0xD8, .data = answer, .nc = w.len};
        err = scp03_command_wrap(&host, &cmd, bytes, sizeof bytes);
    }
    if (err == CW_OK)
        err = scp03_command_unwrap(&card, &cmd, bytes, sizeof bytes);
    if (err == CW_OK)
        err = scp03_keys_read(&failing, keys.dek, cmd.data, cmd.nc, &version, &put);
    buf_writer_init(&w, answer, sizeof answer);
    if (err == CW_OK)
        err = scp03_keys_confirm(&failing, version, &put, &w);
    if (err == CW_OK)
        err = scp03_response_wrap(&card, SW_OK, &w);
    len = w.len;
    if (err == CW_OK)
        err = scp03_response_unwrap(&host, SW_OK, answer, &len);
    if (err != CW_OK) {
        assert_int_equal(err, CW_ERR_CRYPTO);
        assert_true(version == 0x31 || memcmp(&put, &none, sizeof put) == 0); /* untouched */
        return false;
    }
    assert_int_equal(len, SCP03_CONFIRM_LEN);
    assert_memory_equal(&put, &keys, sizeof keys);
    return true;
}

static void test_every_operation_may_fail(void **state)
{
    long n = 0;
    (void)state;
    do {
        budget = n++;
    } while (!session_runs());
    assert_true(n > 40);
    /* Of a session, the end that met the failure is dead. */
    for (n = 0; n < 3; n++) {
        struct pair p = pair_open(&scp03_openssl, &scp03_openssl, SCP03_LEVEL_FULL, NULL);
        struct wire w = command_of(&p.host, 0xE2, 5);
        p.card.crypto = &failing;
        budget = n;
        assert_int_equal(command_take(&p.card, &w), CW_ERR_CRYPTO);
        assert_dead(&p.card);
        p = pair_open(&scp03_openssl, &scp03_openssl, SCP03_LEVEL_FULL, NULL);
        struct apdu_command cmd = {.cla = 0x80, .ins = 0xE2, .data = secret, .nc = 5};
        p.host.crypto = &failing;
        budget = n;
        assert_int_equal(scp03_command_wrap(&p.host, &cmd, w.bytes, CAP), CW_ERR_CRYPTO);
        assert_dead(&p.host);
        assert_int_equal(cmd.nc, 5);
        for (size_t i = 0; i < CAP; i++)
            assert_int_equal(w.bytes[i], 0);

        p = pair_open(&scp03_openssl, &scp03_openssl, SCP03_LEVEL_FULL, NULL);
        w = command_of(&p.host, 0xE2, 5);
        assert_int_equal(command_take(&p.card, &w), CW_OK);
        struct scp03 card = p.card;
        struct wire answer = answer_of(&p.card, SW_OK, 5);
        struct buf_writer b;
        buf_writer_init(&b, w.bytes, sizeof w.bytes);
        buf_put_bytes(&b, secret, 5);
        card.crypto = &failing;
        budget = n;
        assert_int_equal(scp03_response_wrap(&card, SW_OK, &b), CW_ERR_CRYPTO);
        assert_dead(&card);
        assert_int_equal(b.len, 0);
        p.host.crypto = &failing;
        budget = n;
        assert_int_equal(answer_take(&p.host, &answer), CW_ERR_CRYPTO);
        assert_dead(&p.host);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SCP03_TEST(test_every_bit_of_a_command),
        SCP03_TEST(test_every_bit_of_an_answer),
        SCP03_TEST(test_cut_and_stretched),
        SCP03_TEST(test_replayed_and_reordered_commands),
        SCP03_TEST(test_replayed_answers),
        SCP03_TEST(test_errors_carry_no_data),
        SCP03_TEST(test_protection_is_as_agreed),
        SCP03_TEST(test_padding),
        SCP03_TEST(test_every_bit_of_the_card_s_proof),
        SCP03_TEST(test_every_bit_of_the_host_s_proof),
        SCP03_TEST(test_forged_authentication),
        SCP03_TEST(test_levels),
        SCP03_TEST(test_update_must_be_whole),
        SCP03_TEST(test_wrong_moment),
        SCP03_TEST(test_room),
        SCP03_TEST(test_counter_ends),
        SCP03_TEST(test_every_operation_may_fail),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
