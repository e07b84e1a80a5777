/* The issuer's secure channel (proto/scp03.h), both ends, by both engines: against published
 * vectors, against the trace of a real card, against an implementation in Python
 * (tests/lib/scp03.py), and against everything that an attacker in between can do. */
#include "tests/unit/unit.h"

#include "tests/unit/scp03_lab.h"

#include <openssl/sha.h>

/* ---- the primitives ---- */

/* NIST SP 800-38B, appendix D.1 (AES-128), each cut into pieces in many ways. */
static void test_cmac_vectors(void **state)
{
    static const struct {
        size_t len;
        const char *mac;
    } cases[] = {{0, "bb1d6929e95937287fa37d129b756746"},
                 {16, "070a16b46b4d4144f79bdd9dd04a287c"},
                 {40, "dfa66747de9ae63030ca32611497c827"},
                 {64, "51f0bebf7e3b9d92fc49741779363cfe"}};
    uint8_t key[64], message[64], mac[16];
    (void)state;
    bytes_of("2b7e151628aed2a6abf7158809cf4f3c", key);
    bytes_of("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
             "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
             message);
    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            for (size_t cut = 0; cut <= cases[c].len; cut++) {
                struct scp03_part parts[3] = {
                    {message, cut}, {NULL, 0}, {message + cut, cases[c].len - cut}};
                memset(mac, 0, sizeof mac);
                assert_int_equal(engines[e]->cmac(engines[e]->ctx, key, parts, 3, mac), CW_OK);
                assert_hex(mac, sizeof mac, cases[c].mac);
            }
        }
    }
}

/* NIST CAVP, SP 800-108 counter mode, CMAC_AES128, RLEN=8_BITS, L=128: the counter before the fixed
 * input, and in the middle of it, which is where SCP03 has it. */
static void test_kdf_vectors(void **state)
{
    static const struct {
        const char *key, *before, *after, *out;
    } cases[] = {{"dff1e50ac0b69dc40f1051d46c2b069c", "",
                  "c16e6e02c5a3dcc8d78b9ac1306877761310455b4e41469951d9e6c2245a064b33fd8c3b01203a"
                  "7824485bf0a64060c4648b707d2607935699316ea5",
                  "8be8f0869b3c0ba97b71863d1b9f7813"},
                 {"b6e04abd1651f8794d4326f4c684e631",
                  "93612f7256c46a3d856d3e951e32dbf15fe11159d0b389ad38d603850fee6d18d22031435ed36e"
                  "e20da76745fbea4b10fe1e",
                  "99322aae605a5f01e32b", "dcb1db87a68762c6b3354779fa590bef"}};
    static const uint8_t counter = 1;
    uint8_t key[16], before[64], after[64], out[16];
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            bytes_of(cases[c].key, key);
            struct scp03_part parts[3] = {{before, bytes_of(cases[c].before, before)},
                                          {&counter, 1},
                                          {after, bytes_of(cases[c].after, after)}};
            assert_int_equal(engines[e]->cmac(engines[e]->ctx, key, parts, 3, out), CW_OK);
            assert_hex(out, sizeof out, cases[c].out);
        }
    }
}

/* NIST SP 800-38A, F.2.1 and F.2.2 (CBC-AES128). */
static void test_cbc_vectors(void **state)
{
    static const char plain[] = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                                "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
    static const char secret[] = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                                 "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7";
    uint8_t key[16], iv[16], data[64];
    (void)state;
    bytes_of("2b7e151628aed2a6abf7158809cf4f3c", key);
    bytes_of("000102030405060708090a0b0c0d0e0f", iv);
    for (size_t e = 0; e < ENGINES; e++) {
        bytes_of(plain, data);
        assert_int_equal(engines[e]->cbc(engines[e]->ctx, true, key, iv, data, 64), CW_OK);
        assert_hex(data, 64, secret);
        assert_int_equal(engines[e]->cbc(engines[e]->ctx, false, key, iv, data, 64), CW_OK);
        assert_hex(data, 64, plain);
    }
}

/* ---- the trace of a real card ---- */

/* Three sessions with the ISD-R of an eUICC (key set 30, AES-128, i=70), published with pySim in
 * tests/unittests/test_globalplatform.py (osmocom/pysim, SCP03_Test_AES128_*): what crossed the
 * reader. */
struct trace {
    const char *sequence, *host_challenge, *update, *authenticate;
    uint8_t level;
    const char *get, *got; /* the command in the trace, and its answer */
    const char *more[4];   /* four further commands, cases 1 to 4 */
};

static const struct trace traces[] = {
    {"000002",
     "b13e5f938fc108c4",
     "000000000000000000003003703eb51047495b249f66c484c1d2ef1948000002",
     "7d5f5826a993ebc89eea24957fa0b3ce",
     0x11,
     "bf3e035c015a558d036518a28297",
     "bf3e125a1089882119900000000000000000000005971be68992dbbdfa",
     {"63a63f8959827fb2", "a0c6a4a74166f7ce", "4f0212345c054f9f70c52249b50272656536",
      "4f00e91443f6dce6b8ed"}},
    {"000001",
     "8e1552d0513c60f3",
     "0000000000000000000030037030760cd2c47c1dd395065fe5ead8a9d7000001",
     "fd4721a14d9b07003c451d2f8ae6bb21",
     0x03,
     "ca9c00f6713d79bc8baa642bdff51c3f6a4082d3bd9ad26c",
     "bf3e125a1089882119900000000000000000000005",
     {"c9811b11f1264cf1", "e10ab60b30547988", "4e2908bdb48b2315a55482e9e936ca122d6ecfae7d17416e",
      "0dd10a6b6193e5340b9e77d32d5a179cd710ac2773aefb28"}},
    {"000003",
     "fdf38259a1e0de44",
     "000000000000000000003003703b1aca81e821f219081cdc01c26b372d000003",
     "8c36f96bcc00724a4e13ad591d7da3f0",
     0x33,
     "267a85dfe4a98fca6fb0527e0dfecce4914e40401433c87f",
     "f3ba2b1013aa6224f5e1c138d71805c569e5439b47576260b75fc021b25097cb2e68f8a0144975b9",
     {"ac6a59024bed84cc", "409912ad8fb7aed0", "5f3dafc3ac14c381536a488bf44e06d056df9d74dbd21e5a",
      "65165105be3373347d0424d4400af2ac393f569ec779389e"}},
};

/* The commands in clear: GET EID, then cases 1 to 4. */
static const struct {
    uint8_t ins, p1, p2;
    const char *data;
} clear[] = {{0xE2, 0x91, 0x00, "bf3e035c015a"},
             {0xF2, 0x20, 0x02, ""},
             {0xCA, 0x00, 0x66, ""},
             {0xF2, 0x20, 0x02, "4f0212345c054f9f70c5"},
             {0xF2, 0x80, 0x02, "4f00"}};

static struct apdu_command clear_command(size_t i, uint8_t *data)
{
    struct apdu_command c = {
        .cla = 0x80, .ins = clear[i].ins, .p1 = clear[i].p1, .p2 = clear[i].p2, .data = data};
    c.nc = bytes_of(clear[i].data, data);
    return c;
}

static void host_plays(const struct scp03_crypto *crypto, const struct trace *t)
{
    struct scp03_keys keys = test_keys();
    struct scp03_update update;
    struct scp03 s = {0};
    struct apdu_command cmd;
    uint8_t challenge[8], bytes[64], data[64], wrapped[64];
    bytes_of(t->host_challenge, challenge);
    size_t n = bytes_of(t->update, bytes);
    assert_int_equal(scp03_update_parse(bytes, n, &update), CW_OK);
    assert_int_equal(update.version, 0x30);
    assert_int_equal(update.i, 0x70);
    assert_hex(update.sequence, sizeof update.sequence, t->sequence);
    assert_int_equal(scp03_host_begin(&s, crypto, &keys, challenge, &update), CW_OK);
    assert_false(scp03_is_open(&s));
    assert_int_equal(scp03_host_authenticate(&s, t->level, data, &cmd), CW_OK);
    assert_true(scp03_is_open(&s));
    assert_int_equal(cmd.p1, t->level);
    assert_hex(cmd.data, cmd.nc, t->authenticate);
    for (size_t i = 0; i < 5; i++) {
        cmd = clear_command(i, data);
        assert_int_equal(scp03_command_wrap(&s, &cmd, wrapped, sizeof wrapped), CW_OK);
        assert_int_equal(cmd.cla, 0x84);
        assert_hex(cmd.data, cmd.nc, i == 0 ? t->get : t->more[i - 1]);
        n = i == 0 ? bytes_of(t->got, bytes) : 0;
        uint16_t sw = i == 0 ? SW_OK : SW_CONDITIONS;
        assert_int_equal(scp03_response_unwrap(&s, sw, bytes, &n), CW_OK);
        if (i == 0)
            assert_hex(bytes, n, traces[1].got); /* which is in clear */
    }
}

static void card_plays(const struct scp03_crypto *crypto, const struct trace *t)
{
    static const char isd_r[] = "A0000005591010FFFFFFFF8900000100"; /* GSMA SGP.02 */
    struct scp03_keys keys = test_keys();
    struct scp03_update update = {.version = 0x30, .i = 0x70};
    struct scp03 s = {0};
    struct buf_writer w;
    uint8_t challenge[8], aid[16], bytes[64], data[64];
    bytes_of(t->host_challenge, challenge);
    bytes_of(t->sequence, update.sequence);
    bytes_of(isd_r, aid);
    assert_int_equal(
        scp03_challenge_make(crypto, keys.enc, update.sequence, aid, sizeof aid, update.challenge),
        CW_OK);
    assert_int_equal(scp03_card_begin(&s, crypto, &keys, challenge, &update), CW_OK);
    buf_writer_init(&w, bytes, sizeof bytes);
    scp03_update_write(&update, &w);
    assert_hex(bytes, w.len, t->update);
    struct apdu_command cmd = {.cla = 0x84, .ins = 0x82, .p1 = t->level, .data = data};
    cmd.nc = bytes_of(t->authenticate, data);
    assert_int_equal(scp03_card_authenticate(&s, &cmd, 0), CW_OK);
    for (size_t i = 0; i < 5; i++) {
        cmd = clear_command(i, bytes);
        cmd.cla = 0x84;
        cmd.data = data;
        cmd.nc = bytes_of(i == 0 ? t->get : t->more[i - 1], data);
        assert_int_equal(scp03_command_unwrap(&s, &cmd, data, sizeof data), CW_OK);
        assert_int_equal(cmd.cla, 0x80);
        assert_hex(cmd.data, cmd.nc, clear[i].data);
        buf_writer_init(&w, bytes, sizeof bytes);
        w.len = i == 0 ? bytes_of(traces[1].got, bytes) : 0;
        assert_int_equal(scp03_response_wrap(&s, i == 0 ? SW_OK : SW_CONDITIONS, &w), CW_OK);
        assert_hex(bytes, w.len, i == 0 ? t->got : "");
    }
}

static void test_trace_of_a_card(void **state)
{
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t t = 0; t < sizeof traces / sizeof *traces; t++) {
            host_plays(engines[e], &traces[t]);
            card_plays(engines[e], &traces[t]);
        }
    }
}

/* ---- against the Python implementation ---- */

static void note_field(struct buf_writer *note, const uint8_t *data, size_t len)
{
    buf_put_u16(note, (uint16_t)len);
    buf_put_bytes(note, data, len);
}

/* One command of `n` bytes and its answer, through both ends. */
static void transcript_exchange(struct buf_writer *note, struct pair *p, size_t n)
{
    static const uint16_t status[] = {0x9000, 0x6283, 0x63C1, 0x6985};
    static uint8_t plain[MOST], wrapped[MOST + SCP03_OVERHEAD], out[MOST + SCP03_OVERHEAD];
    struct buf_writer w;
    for (size_t i = 0; i < n; i++)
        plain[i] = (uint8_t)(n + 7 * i);
    struct apdu_command cmd = {.cla = 0x80,
                               .ins = 0xE2,
                               .p1 = (uint8_t)(n >> 8),
                               .p2 = (uint8_t)n,
                               .data = n > 0 ? plain : NULL,
                               .nc = n};
    assert_int_equal(scp03_command_wrap(&p->host, &cmd, wrapped, n + SCP03_OVERHEAD), CW_OK);
    buf_put_u8(note, cmd.cla);
    buf_put_u8(note, cmd.ins);
    buf_put_u8(note, cmd.p1);
    buf_put_u8(note, cmd.p2);
    note_field(note, cmd.data, cmd.nc);
    assert_int_equal(scp03_command_unwrap(&p->card, &cmd, wrapped, sizeof wrapped), CW_OK);
    assert_int_equal(cmd.cla, 0x80);
    assert_int_equal(cmd.nc, n);
    if (n > 0)
        assert_memory_equal(cmd.data, plain, n);

    uint16_t sw = status[n % 4];
    size_t len = sw == 0x6985 ? 0 : n;
    buf_writer_init(&w, out, len + SCP03_OVERHEAD);
    for (size_t i = 0; i < len; i++)
        buf_put_u8(&w, plain[i] = (uint8_t)(3 * n + i));
    assert_int_equal(scp03_response_wrap(&p->card, sw, &w), CW_OK);
    buf_put_u16(note, sw);
    note_field(note, out, w.len);
    size_t got = w.len;
    assert_int_equal(scp03_response_unwrap(&p->host, sw, out, &got), CW_OK);
    assert_int_equal(got, len);
    if (len > 0)
        assert_memory_equal(out, plain, len);
}

/* What `python3 tests/lib/scp03.py` prints; tests/checks/test_scp03.py holds the two together. */
static const char *const digests[] = {
    "7b7a23ec43ec567394f01ebe14b536b9faad2562ba1287b2ad37bd0087c82e64",
    "f9d3ab500bcb2ff801d329060fb8d3c46483ad7be520d88b857909974d2f2d54",
    "d6eb85b32d88d1a35fd1c39698542a4a60b6858afa0947840a8654a8c54c6252",
    "af4a3eb67f1944ce41bec2ac684197731e5f12595484a1a9259d9cf602a5f4d4",
    "6f95e934c0aeb851168f71e2aff06ab908edace1de0c79bd4fc2c610670aadbd",
    "e6b3503b433cb23a36dd1fd19851a7f70fb1f328d1beb0caa60fd55608941967",
};

/* All levels, all lengths from 0 to 300 and some long ones, chained in one session; the engines in
 * both roles. */
static void test_same_bytes_as_python(void **state)
{
    static const size_t more[] = {511, 512, 1023, 1024, 2039, 2040, 2047, 2048};
    static uint8_t bytes[1 << 18];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct buf_writer note;
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        for (size_t l = 0; l < LEVELS; l++) {
            buf_writer_init(&note, bytes, sizeof bytes);
            struct pair p = pair_open(engines[e], engines[(e + 1) % ENGINES], levels[l], &note);
            for (size_t n = 0; n <= 300; n++)
                transcript_exchange(&note, &p, n);
            for (size_t i = 0; i < sizeof more / sizeof *more; i++)
                transcript_exchange(&note, &p, more[i]);
            assert_false(note.bad);
            SHA256(bytes, note.len, hash);
            assert_hex(hash, sizeof hash, digests[l]);
        }
    }
}

/* ---- PUT KEY ---- */

/* The default keys of GlobalPlatform's test cards: their AES check value is well known. */
static void test_key_check_value(void **state)
{
    uint8_t key[16], check[SCP03_CHECK_LEN];
    (void)state;
    bytes_of("404142434445464748494a4b4c4d4e4f", key);
    for (size_t e = 0; e < ENGINES; e++) {
        assert_int_equal(scp03_key_check(engines[e], key, check), CW_OK);
        assert_hex(check, sizeof check, "504a77");
    }
}

/* By tests/lib/scp03.py, as above. */
static const char put_key_data[] =
    "3188111002429116cc2b043dd240b34d979704840380458d881110d8e969394bb62c4d"
    "5446d7fb5e351829035d299f8811106204ff383d9c699c1612176bccfc9da603bac79f";
static const char put_key_answer[] = "3180458d5d299fbac79f";

static void test_put_key(void **state)
{
    struct scp03_keys old = test_keys(), new = {{1}, {2}, {3}}, got;
    uint8_t bytes[SCP03_KEYS_LEN + 1], answer[SCP03_CONFIRM_LEN], version = 0;
    struct buf_writer w;
    (void)state;
    for (size_t e = 0; e < ENGINES; e++) {
        buf_writer_init(&w, bytes, SCP03_KEYS_LEN - 1);
        assert_int_equal(scp03_keys_write(engines[e], old.dek, 0x31, &new, &w), CW_ERR_SPACE);
        buf_writer_init(&w, bytes, SCP03_KEYS_LEN);
        assert_int_equal(scp03_keys_write(engines[e], old.dek, 0x31, &new, &w), CW_OK);
        assert_hex(bytes, w.len, put_key_data);
        assert_int_equal(scp03_keys_read(engines[e], old.dek, bytes, w.len, &version, &got), CW_OK);
        assert_int_equal(version, 0x31);
        assert_memory_equal(&got, &new, sizeof got);
        buf_writer_init(&w, answer, sizeof answer);
        assert_int_equal(scp03_keys_confirm(engines[e], version, &got, &w), CW_OK);
        assert_hex(answer, w.len, put_key_answer);
        buf_writer_init(&w, answer, sizeof answer - 1);
        assert_int_equal(scp03_keys_confirm(engines[e], version, &got, &w), CW_ERR_SPACE);
        /* Every bit but those of the version, which nothing but the C-MAC covers. */
        for (size_t bit = 8; bit < 8 * SCP03_KEYS_LEN; bit++) {
            memset(&got, 0xEE, sizeof got);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            enum cw_err err =
                scp03_keys_read(engines[e], old.dek, bytes, SCP03_KEYS_LEN, &version, &got);
            assert_true(err == CW_ERR_DENIED || err == CW_ERR_FORMAT);
            assert_int_equal(got.enc[0], 0xEE);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t len = 0; len <= sizeof bytes; len++)
            if (len != SCP03_KEYS_LEN)
                assert_int_equal(scp03_keys_read(engines[e], old.dek, bytes, len, &version, &got),
                                 CW_ERR_FORMAT);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        SCP03_TEST(test_cmac_vectors),
        SCP03_TEST(test_kdf_vectors),
        SCP03_TEST(test_cbc_vectors),
        SCP03_TEST(test_trace_of_a_card),
        SCP03_TEST(test_same_bytes_as_python),
        SCP03_TEST(test_key_check_value),
        SCP03_TEST(test_put_key),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
