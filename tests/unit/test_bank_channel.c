/* The bank's secure channel over a reader (bank/issuer_channel.h) and its keys
 * (bank/issuer_keys.h). The card here is a small one, made of the card's half of proto/scp03.h and
 * the transport of docs/card.md; it can be told to misbehave. */
#include "tests/unit/unit.h"

#include "bank/issuer_channel.h"
#include "bank/issuer_keys.h"
#include "reader/backend.h"
#include "tests/unit/scp03_lab.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INS_ECHO 0xE2 /* answers with the data backwards */
#define INS_GIVE 0xCA /* answers with P1 P2 bytes */
#define INS_FAIL 0xEE /* answers 6985 */

struct peer {
    struct scp03_keys keys;
    uint8_t version, least;
    struct scp03 scp;
    uint8_t chain[MOST + SCP03_OVERHEAD];
    size_t chain_len;
    uint8_t answer[MOST + SCP03_OVERHEAD];
    size_t answer_len, answer_at;
    uint8_t challenge[SCP03_CHALLENGE_LEN]; /* the host's last */
    unsigned exchanges;
    /* Faults: at the exchange of that number (from 1), flip a bit of the command or of the answer,
     * or be torn out. */
    unsigned flip_command, flip_answer, gone;
    size_t flip_at;
};

static struct say why;

/* Runs a command in clear; writes the answer into `w`. */
static uint16_t run(struct peer *p, const struct apdu_command *cmd, struct buf_writer *w)
{
    uint8_t version = 0;
    struct scp03_keys keys;
    switch (cmd->ins) {
    case INS_ECHO:
        for (size_t i = cmd->nc; i > 0; i--)
            buf_put_u8(w, cmd->data[i - 1]);
        return SW_OK;
    case INS_GIVE:
        for (size_t i = 0; i < (size_t)(cmd->p1 << 8 | cmd->p2); i++)
            buf_put_u8(w, (uint8_t)i);
        return SW_OK;
    case SCP03_INS_PUT_KEY:
        if (cmd->p1 != p->version || cmd->p2 != SCP03_PUT_KEY_P2 ||
            scp03_keys_read(&scp03_mbedtls, p->keys.dek, cmd->data, cmd->nc, &version, &keys) !=
                CW_OK)
            return SW_WRONG_DATA;
        if (cmd->data[0] == 0x3E) /* a card that takes something else */
            keys.enc[0] ^= 1;
        p->keys = keys;
        p->version = version;
        return scp03_keys_confirm(&scp03_mbedtls, version, &keys, w) == CW_OK ? SW_OK : SW_UNKNOWN;
    default:
        return SW_CONDITIONS;
    }
}

static uint16_t update(struct peer *p, const struct apdu_command *cmd, struct buf_writer *w)
{
    struct scp03_update u = {.version = p->version, .i = SCP03_I_FULL, .challenge = {1, 2, 3}};
    if (cmd->p1 != 0 && cmd->p1 != p->version && cmd->p1 != 0x3F)
        return SW_REFERENCE_NOT_FOUND;
    assert_int_equal(cmd->nc, SCP03_CHALLENGE_LEN);
    memcpy(p->challenge, cmd->data, SCP03_CHALLENGE_LEN);
    assert_int_equal(scp03_card_begin(&p->scp, &scp03_mbedtls, &p->keys, cmd->data, &u), CW_OK);
    scp03_update_write(&u, w);
    return SW_OK;
}

/* A whole command, joined. */
static uint16_t dispatch(struct peer *p, struct apdu_command *cmd, struct buf_writer *w)
{
    if (cmd->cla == 0x80 && cmd->ins == SCP03_INS_INITIALIZE_UPDATE)
        return update(p, cmd, w);
    if (cmd->ins == SCP03_INS_EXTERNAL_AUTHENTICATE)
        return scp03_card_authenticate(&p->scp, cmd, p->least) == CW_OK ? SW_OK
                                                                        : SW_SECURITY_STATUS;
    if (scp03_command_unwrap(&p->scp, cmd, p->chain, sizeof p->chain) != CW_OK)
        return SW_SECURITY_STATUS;
    uint16_t sw = run(p, cmd, w);
    assert_int_equal(scp03_response_wrap(&p->scp, sw, w), CW_OK);
    return sw;
}

static size_t give(struct peer *p, size_t ne, uint16_t sw, uint8_t *response)
{
    size_t left = p->answer_len - p->answer_at;
    size_t n = left < ne ? left : ne;
    memcpy(response, p->answer + p->answer_at, n);
    p->answer_at += n;
    left -= n;
    if (left > 0)
        sw = (uint16_t)(SW_MORE | (left > 0xFF ? 0 : left));
    response[n] = (uint8_t)(sw >> 8);
    response[n + 1] = (uint8_t)sw;
    return n + 2;
}

static enum cw_err transceive(void *self, const uint8_t *bytes, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *say)
{
    struct peer *p = self;
    struct apdu_command cmd;
    uint8_t command[300];
    struct buf_writer w;
    assert_true(len <= sizeof command && cap >= 258);
    memcpy(command, bytes, len);
    if (++p->exchanges == p->gone)
        return say_fail(say, CW_ERR_GONE, "the card was removed");
    if (p->exchanges == p->flip_command)
        command[p->flip_at] ^= 0x10;
    assert_int_equal(apdu_parse(command, len, &cmd), CW_OK);
    if (cmd.ins == 0xC0) {
        *response_len = give(p, cmd.ne, SW_OK, response);
        goto out;
    }
    bool more = cmd.cla & APDU_CLA_CHAIN;
    p->answer_len = p->answer_at = 0;
    uint16_t sw = SW_OK;
    assert_true(cmd.nc <= sizeof p->chain - p->chain_len);
    if (cmd.nc > 0)
        memcpy(p->chain + p->chain_len, cmd.data, cmd.nc);
    p->chain_len += cmd.nc;
    if (!more) {
        cmd.data = p->chain_len > 0 ? p->chain : NULL;
        cmd.nc = p->chain_len;
        buf_writer_init(&w, p->answer, sizeof p->answer);
        sw = dispatch(p, &cmd, &w);
        p->answer_len = w.len;
        p->chain_len = 0;
    }
    *response_len = give(p, cmd.ne, sw, response);
out:
    if (p->exchanges == p->flip_answer)
        response[p->flip_at] ^= 0x10;
    return CW_OK;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {transceive, NULL, no_free};

static struct reader *insert(struct peer *p)
{
    struct reader_backend backend = {.ops = &ops, .self = p};
    struct reader *r = NULL;
    assert_int_equal(reader_new(&backend, &r), CW_OK);
    return r;
}

static struct peer peer_new(void)
{
    return (struct peer){.keys = test_keys(), .version = 0x30};
}

static struct channel *opened(struct reader *r, uint8_t level)
{
    struct scp03_keys keys = test_keys();
    struct channel *c = NULL;
    assert_int_equal(channel_open(r, &keys, 0x30, level, &c, &why), CW_OK);
    return c;
}

static enum cw_err echo(struct channel *c, const uint8_t *data, size_t nc, uint16_t *sw)
{
    static uint8_t out[MOST];
    size_t len = 0;
    enum cw_err err =
        channel_command(c, 0x80, INS_ECHO, 0, 0, data, nc, out, sizeof out, &len, sw, &why);
    if (err == CW_OK && *sw == SW_OK) {
        assert_int_equal(len, nc);
        for (size_t i = 0; i < nc; i++)
            assert_int_equal(out[i], data[nc - 1 - i]);
    }
    return err;
}

/* All levels, and lengths about every edge: of a block, of a short command, of a chain, of an
 * answer; a refused command in between. */
static void test_carries_commands(void **state)
{
    static const size_t lengths[] = {0,   1,   15,  16,  17,  230, 231, 232,  239,  240, 247,
                                     248, 255, 256, 257, 264, 510, 511, 1024, 2047, 2048};
    static uint8_t data[MOST];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 5 + 1);
    for (size_t l = 0; l < LEVELS; l++) {
        struct peer p = peer_new();
        struct reader *r = insert(&p);
        struct channel *c = opened(r, levels[l]);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            uint8_t out[8];
            size_t len = 99;
            uint16_t sw = 0;
            assert_int_equal(echo(c, data, lengths[i], &sw), CW_OK);
            assert_int_equal(sw, SW_OK);
            assert_int_equal(
                channel_command(c, 0x80, INS_FAIL, 0, 0, data, 3, out, sizeof out, &len, &sw, &why),
                CW_OK);
            assert_int_equal(sw, SW_CONDITIONS);
            assert_int_equal(len, 0);
        }
        channel_free(&c);
        assert_null(c);
        reader_free(&r);
    }
}

static void test_answer_must_fit(void **state)
{
    (void)state;
    struct peer p = peer_new();
    struct reader *r = insert(&p);
    struct channel *c = opened(r, SCP03_LEVEL_FULL);
    uint8_t out[16];
    size_t len = 99;
    uint16_t sw = 7;
    assert_int_equal(channel_command(c, 0x80, INS_GIVE, 0, 16, NULL, 0, out, 16, &len, &sw, &why),
                     CW_OK);
    assert_int_equal(len, 16);
    len = 99;
    sw = 7;
    assert_int_equal(channel_command(c, 0x80, INS_GIVE, 0, 17, NULL, 0, out, 16, &len, &sw, &why),
                     CW_ERR_SPACE);
    assert_int_equal(len, 99);
    assert_int_equal(sw, 7);
    assert_int_equal(echo(c, out, 1, &sw), CW_ERR_STATE);
    channel_free(&c);
    reader_free(&r);
}

static void test_too_long_is_not_sent(void **state)
{
    static uint8_t data[MOST + 1];
    (void)state;
    struct peer p = peer_new();
    struct reader *r = insert(&p);
    struct channel *c = opened(r, SCP03_LEVEL_FULL);
    unsigned before = p.exchanges;
    uint16_t sw = 0;
    assert_int_equal(echo(c, data, sizeof data, &sw), CW_ERR_LENGTH);
    assert_int_equal(p.exchanges, before);
    assert_int_equal(echo(c, data, 3, &sw), CW_OK); /* it lives */
    channel_free(&c);
    reader_free(&r);
}

static void test_who_is_who(void **state)
{
    struct scp03_keys keys = test_keys(), wrong = test_keys();
    struct channel *c = NULL;
    (void)state;
    struct peer p = peer_new();
    struct reader *r = insert(&p);
    wrong.mac[3] ^= 1;
    assert_int_equal(channel_open(r, &wrong, 0x30, 0x33, &c, &why), CW_ERR_DENIED);
    assert_non_null(strstr(why.text, "could not prove"));
    assert_int_equal(channel_open(r, &keys, 0x31, 0x33, &c, &why), CW_ERR_NOT_FOUND);
    assert_non_null(strstr(why.text, "key set 31"));
    assert_int_equal(channel_open(r, &keys, 0x3F, 0x33, &c, &why), CW_ERR_FORMAT); /* other set */
    assert_int_equal(channel_open(r, &keys, 0x30, 0x22, &c, &why), CW_ERR_UNSUPPORTED);
    p.least = SCP03_LEVEL_FULL; /* the card insists */
    assert_int_equal(channel_open(r, &keys, 0x30, 0x11, &c, &why), CW_ERR_DENIED);
    assert_non_null(strstr(why.text, "6982"));
    assert_null(c);
    /* The card's first set, and never the same challenge. */
    uint8_t before[SCP03_CHALLENGE_LEN];
    memcpy(before, p.challenge, sizeof before);
    assert_int_equal(channel_open(r, &keys, 0, 0x33, &c, &why), CW_OK);
    assert_memory_not_equal(before, p.challenge, sizeof before);
    channel_free(&c);
    channel_free(&c); /* of none */
    reader_free(&r);
}

/* A bit flipped in any exchange, in either direction: opening fails, or the command does, and after
 * that nothing goes through any more at either end. */
static void test_changed_on_the_way(void **state)
{
    static uint8_t data[300];
    struct scp03_keys keys = test_keys();
    (void)state;
    for (unsigned at = 1; at <= 5; at++) { /* update, authenticate, 2 of a chain, GET RESPONSE */
        for (unsigned direction = 0; direction < 2; direction++) {
            struct peer p = peer_new();
            struct channel *c = NULL;
            uint16_t sw = 0;
            p.flip_command = direction == 0 && at < 5 ? at : 0;
            p.flip_answer = direction == 1 && at != 3 && at != 2 ? at : 0;
            p.flip_at = direction == 0 ? 8 : 14;
            if (p.flip_command == 0 && p.flip_answer == 0)
                continue; /* nothing in it but a status word */
            struct reader *r = insert(&p);
            enum cw_err err = channel_open(r, &keys, 0x30, SCP03_LEVEL_FULL, &c, &why);
            assert_int_equal(err, at < 3 ? CW_ERR_DENIED : CW_OK);
            if (err == CW_OK) {
                err = echo(c, data, sizeof data, &sw);
                assert_true(err == CW_ERR_DENIED || (err == CW_OK && sw == SW_SECURITY_STATUS));
                if (err == CW_OK) /* the card's session is over */
                    assert_false(scp03_is_open(&p.scp));
                err = echo(c, data, 1, &sw);
                assert_true(err == CW_ERR_STATE || (err == CW_OK && sw == SW_SECURITY_STATUS));
            }
            channel_free(&c);
            reader_free(&r);
        }
    }
}

/* Torn out at any exchange. */
static void test_torn_out(void **state)
{
    static uint8_t data[300];
    struct scp03_keys keys = test_keys();
    (void)state;
    for (unsigned at = 1; at <= 5; at++) {
        struct peer p = peer_new();
        struct channel *c = NULL;
        uint16_t sw = 0;
        p.gone = at;
        struct reader *r = insert(&p);
        enum cw_err err = channel_open(r, &keys, 0x30, SCP03_LEVEL_FULL, &c, &why);
        assert_int_equal(err, at < 3 ? CW_ERR_GONE : CW_OK);
        if (err == CW_OK) {
            assert_int_equal(echo(c, data, sizeof data, &sw), CW_ERR_GONE);
            assert_int_equal(echo(c, data, 1, &sw), CW_ERR_STATE);
        }
        channel_free(&c);
        reader_free(&r);
    }
}

static void test_new_keys(void **state)
{
    struct scp03_keys old = test_keys(), new = {{1}, {2}, {3}}, wrong = test_keys();
    struct channel *c = NULL;
    uint16_t sw = 0;
    (void)state;
    struct peer p = peer_new();
    struct reader *r = insert(&p);
    c = opened(r, SCP03_LEVEL_FULL);
    wrong.dek[0] ^= 1;
    assert_int_equal(channel_keys_put(c, &wrong, 0x30, 0x31, &new, &why), CW_ERR_FORMAT);
    assert_int_equal(p.version, 0x30); /* check values told the card */
    assert_non_null(strstr(why.text, "refused to take its issuer's new keys"));
    assert_int_equal(channel_keys_put(c, &old, 0x30, 0x31, &new, &why), CW_OK);
    assert_int_equal(echo(c, old.enc, 1, &sw), CW_OK); /* the session goes on */
    channel_free(&c);
    assert_int_equal(channel_open(r, &old, 0, 0x33, &c, &why), CW_ERR_DENIED);
    assert_int_equal(channel_open(r, &new, 0x31, 0x33, &c, &why), CW_OK);
    assert_int_equal(channel_keys_put(c, &new, 0x31, 0x3E, &old, &why), CW_ERR_FORMAT);
    assert_non_null(strstr(why.text, "other keys"));
    channel_free(&c);
    reader_free(&r);
}

/* ---- the bank's master key ---- */

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int folder_make(void **state)
{
    const char *where = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/cardwire-keys-XXXXXX", where != NULL ? where : P_tmpdir);
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(in_folder("master.key"));
    return rmdir(folder);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void test_master_file(void **state)
{
    struct issuer_master a = {{0}}, b = {{0}};
    struct stat st;
    const char *path = in_folder("master.key");
    (void)state;
    assert_int_equal(issuer_master_load(path, &a, &why), CW_ERR_NOT_FOUND);
    assert_int_equal(issuer_master_make(path, &why), CW_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 33);
    assert_int_equal(issuer_master_make(path, &why), CW_ERR_EXISTS);
    assert_int_equal(issuer_master_load(path, &a, &why), CW_OK);
    assert_int_equal(issuer_master_load(path, &b, &why), CW_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(issuer_master_make(path, &why), CW_OK);
    assert_int_equal(issuer_master_load(path, &b, &why), CW_OK);
    assert_memory_not_equal(&a, &b, sizeof a); /* another one */
    static const mode_t open_to[] = {0640, 0620, 0604, 0602, 0610, 0601};
    for (size_t i = 0; i < sizeof open_to / sizeof *open_to; i++) {
        assert_int_equal(chmod(path, open_to[i]), 0);
        assert_int_equal(issuer_master_load(path, &b, &why), CW_ERR_DENIED);
        assert_non_null(strstr(why.text, "chmod 600"));
    }
}

static void test_master_file_that_is_none(void **state)
{
    static const struct {
        const char *text;
        enum cw_err err;
    } cases[] = {{"00112233445566778899aabbccddeeff\n", CW_OK},
                 {"00112233445566778899AABBCCDDEEFF\n", CW_OK},
                 {"00112233445566778899aabbccddeeff", CW_ERR_FORMAT},
                 {"00112233445566778899aabbccddee\n", CW_ERR_FORMAT},
                 {"00112233445566778899aabbccddeeff0", CW_ERR_FORMAT},
                 {"00112233445566778899aabbccddeefg\n", CW_ERR_FORMAT},
                 {"00112233445566778899aabbccddeeff\n\n", CW_ERR_LENGTH},
                 {"", CW_ERR_FORMAT}};
    const char *path = in_folder("master.key");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct issuer_master m = {{0xEE, 0xEE}};
        write_file(path, cases[i].text, 0600);
        assert_int_equal(issuer_master_load(path, &m, &why), cases[i].err);
        assert_int_equal(m.key[1], cases[i].err == CW_OK ? 0x11 : 0xEE);
        assert_null(strstr(why.text, "8899")); /* nothing of it is said */
    }
}

/* By a third implementation; tests/checks/test_scp03.py makes them again. */
static const char card_keys[] = "22e86f0c0ea8d9e90bc284a4af25bb87"
                                "db0239804d56b07e3e4234d0533df365"
                                "1247e9d19e58d8d973c902caceae1c10";

static void test_card_keys(void **state)
{
    struct issuer_master m;
    uint8_t serial[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct scp03_keys a, b;
    (void)state;
    bytes_of("404142434445464748494a4b4c4d4e4f", m.key);
    assert_int_equal(issuer_keys_derive(&m, serial, &a, &why), CW_OK);
    assert_hex((const uint8_t *)&a, sizeof a, card_keys);
    serial[7] ^= 1;
    assert_int_equal(issuer_keys_derive(&m, serial, &b, &why), CW_OK);
    assert_memory_not_equal(a.enc, b.enc, 16);
    assert_memory_not_equal(a.mac, b.mac, 16);
    assert_memory_not_equal(a.dek, b.dek, 16);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SCP03_TEST(test_carries_commands),
        SCP03_TEST(test_answer_must_fit),
        SCP03_TEST(test_too_long_is_not_sent),
        SCP03_TEST(test_who_is_who),
        SCP03_TEST(test_changed_on_the_way),
        SCP03_TEST(test_torn_out),
        SCP03_TEST(test_new_keys),
        cmocka_unit_test_setup_teardown(test_master_file, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_master_file_that_is_none, folder_make, folder_remove),
        cmocka_unit_test(test_card_keys),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
