/* test_card_resume_attacked.c - stored sessions against servers that are not what they were, a net
 * that alters bytes, memory that fails, and power that fails at every byte that is written. What
 * must hold: no line that both sides did not verify, and no card that cannot log in any more. */
#include "resume_lab.h"

#include <string.h>

static const enum link_profile profiles[] = {LINK_PROFILE_TLS13, LINK_PROFILE_ECDHE,
                                             LINK_PROFILE_RSA};
#define PROFILES (sizeof profiles / sizeof profiles[0])

/* Whatever was tried before: the next login works, with a full handshake, and the one after it
 * resumes again. */
static void next_login_is_full(struct lab *lab, enum link_profile p)
{
    assert_int_equal(login_to(lab, p), FULL);
    assert_int_equal(login_to(lab, p), RESUMED);
}

/* The server knows this session and no other, whatever happened in the meantime. */
static void server_knows(SSL_SESSION *session)
{
    forget_sessions();
    (void)keep_session(NULL, session);
}

/* --- a session is spent by its use
 * -------------------------------------------------------------- */

/* It is out of memory before the ClientHello is out of the card (RFC 8446 §C.4). */
static void test_offered_once(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        assert_int_equal(login_to(&lab, p), FULL);
        assert_true(has_session(&lab));
        assert_int_equal(lab_select(&lab), SW_OK);
        assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
        assert_true(has_session(&lab));
        assert_int_equal(lab_apdu(&lab, 0x80, INS_OPEN, (uint8_t)p, 0, NULL, 0, 256, NULL, NULL),
                         SW_OK);
        assert_false(has_session(&lab));
        /* The server never answers; the reader cuts the power. */
        assert_true(lab_power_cycle(&lab));
        next_login_is_full(&lab, p);
    }
    lab_free(&lab);
}

/* In TLS 1.3 each line leaves another ticket than the one that it was made with. */
static void test_each_line_has_a_new_ticket(void **state)
{
    uint8_t stored[3][SESSION_STORED_MAX];
    size_t len[3];
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(login_to(&lab, LINK_PROFILE_TLS13), i == 0 ? FULL : RESUMED);
        assert_int_equal(
            memory_read(&lab, SESSION_VALUE(0), stored[i], SESSION_STORED_MAX, &len[i]), CW_OK);
    }
    assert_true(len[0] == len[1] && len[1] == len[2]);
    assert_memory_not_equal(stored[0], stored[1], len[0]);
    assert_memory_not_equal(stored[1], stored[2], len[0]);
    assert_memory_not_equal(stored[0], stored[2], len[0]);
    lab_free(&lab);
}

/* --- servers that are not what they were
 * -------------------------------------------------------- */

static SSL_SESSION *find_with_other_secret(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    uint8_t secret[48];
    SSL_SESSION *s = find_session(ssl, id, len, copy);
    size_t n = s != NULL ? SSL_SESSION_get_master_key(s, secret, sizeof secret) : 0;
    if (s == NULL)
        return NULL;
    secret[n - 1] ^= 1;
    assert_true(SSL_SESSION_set1_master_key(s, secret, n));
    return s;
}

/* Knows the session's name and not its secret. */
static void test_server_without_the_secret_gets_no_line(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        SSL_CTX *ctx = server_for(profiles[i]);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), FULL);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), RESUMED);
        SSL_CTX_sess_set_get_cb(ctx, find_with_other_secret);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), DEAD);
        /* In TLS 1.3 the server is the first to notice. */
        assert_int_equal(lab_reason(&lab), profiles[i] == LINK_PROFILE_TLS13 ? LINK_REASON_ALERT
                                                                             : LINK_REASON_RECORD);
        next_login_is_full(&lab, profiles[i]);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

static SSL_SESSION *find_without_ems(SSL *ssl, const unsigned char *id, int len, int *copy)
{
    static const uint8_t flags[] = {0xAD, 0x03, 0x02, 0x01, 0x01}; /* [13] INTEGER 1: EXTMS */
    uint8_t *der = NULL;
    SSL_SESSION *s = find_session(ssl, id, len, copy), *edited = NULL;
    int n = s != NULL ? i2d_SSL_SESSION(s, &der) : 0;
    for (int i = 0; i + (int)sizeof flags <= n; i++)
        if (memcmp(der + i, flags, sizeof flags) == 0) {
            const uint8_t *p = der;
            der[i + 4] = 0;
            edited = d2i_SSL_SESSION(NULL, &p, n);
        }
    assert_non_null(edited);
    OPENSSL_free(der);
    SSL_SESSION_free(s);
    return edited;
}

/* RFC 7627 §5.3: what was made with an extended master secret is resumed with one. */
static void test_server_without_extended_master_secret_at_resumption(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 1; i < PROFILES; i++) {
        struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
        SSL_CTX *ctx = server_for(profiles[i]);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), FULL);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), RESUMED);
        SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
        SSL_CTX_sess_set_get_cb(ctx, find_without_ems);
        lab_line_open(&lab, ctx, profiles[i], LINK_KEY_AUTO, &line);
        assert_int_equal(outcome_of(&lab, &line), DEAD);
        assert_int_equal(lab_reason(&lab), LINK_REASON_PROTOCOL);
        assert_int_equal(info_u8(&lab, LINK_TAG_ALERT_OUT), SSL_AD_HANDSHAKE_FAILURE);
        assert_int_equal(SSL_session_reused(line.ssl), 1); /* the server would have gone on */
        assert_false(SSL_is_init_finished(line.ssl));
        lab_line_free(&line);
        next_login_is_full(&lab, profiles[i]);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* A line without it is open, as ever, and leaves no session. */
static void test_no_session_without_extended_master_secret(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 1; i < PROFILES; i++) {
        SSL_CTX *ctx = server_for(profiles[i]);
        SSL_CTX_set_options(ctx, SSL_OP_NO_EXTENDED_MASTER_SECRET);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), FULL);
        assert_false(has_session(&lab));
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* After a good line the server that does not take the session up is `identity`. */
static void declines(enum link_profile p, const struct lab_identity *identity, bool ask,
                     enum link_reason want)
{
    struct lab lab;
    card_new(&lab);
    assert_int_equal(login_to(&lab, p), FULL);
    assert_int_equal(login_to(&lab, p), RESUMED);
    forget_sessions();
    SSL_CTX *ctx = server_of(identity, ask);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), want == LINK_REASON_NONE ? FULL : DEAD);
    assert_int_equal(lab_reason(&lab), want);
    if (want != LINK_REASON_NONE) {
        assert_false(has_session(&lab));
        next_login_is_full(&lab, p);
    }
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* A session opens no door: who does not take it up is verified as always. */
static void test_a_full_handshake_in_its_place_is_checked_as_ever(void **state)
{
    struct lab_identity stranger = lab_ca_new("R");
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        bool rsa = profiles[i] == LINK_PROFILE_RSA;
        const struct lab_server_spec good = {.rsa = rsa}, late = {.rsa = rsa, .expired = true},
                                     other = {.rsa = rsa, .host = OTHER_HOST};
        struct lab_identity a = lab_server_new(&root, &good), b = lab_server_new(&root, &late),
                            c = lab_server_new(&root, &other), d = lab_server_new(&stranger, &good);
        declines(profiles[i], &a, true, LINK_REASON_NONE);
        declines(profiles[i], &a, false, LINK_REASON_NO_CLIENT_AUTH);
        declines(profiles[i], &b, true, LINK_REASON_EXPIRED);
        declines(profiles[i], &c, true, LINK_REASON_NAME);
        declines(profiles[i], &d, true, LINK_REASON_UNTRUSTED);
        lab_identity_free(&a);
        lab_identity_free(&b);
        lab_identity_free(&c);
        lab_identity_free(&d);
    }
    lab_identity_free(&stranger);
}

/* In TLS 1.3 another hash makes it a full handshake. In TLS 1.2 a session goes with its suite (RFC
 * 5246 §7.4.1.3): the low bit of the suite in ServerHello makes 009C 009D, which the card offers,
 * and C02B C02A, which it does not. */
static void test_server_that_changes_the_suite(void **state)
{
    const enum link_profile p = LINK_PROFILE_TLS13;
    struct lab lab;
    (void)state;
    card_new(&lab);
    SSL_CTX *ctx = server_for(p);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
    SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384");
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL); /* OpenSSL gives no ticket then */
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
    assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
    SSL_CTX_free(ctx);
    for (size_t i = 1; i < PROFILES; i++) {
        struct lab_line line = {.chunk = 255, .resume = true};
        line.flip = 5 + 4 + 2 + 32 + 1 + SSL_MAX_SSL_SESSION_ID_LENGTH + 1;
        ctx = server_for(profiles[i]);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), FULL);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), RESUMED);
        lab_line_open(&lab, ctx, profiles[i], LINK_KEY_AUTO, &line);
        assert_int_equal(outcome_of(&lab, &line), DEAD);
        assert_int_equal(info_u8(&lab, LINK_TAG_RESUMED), 0);
        assert_int_equal(SSL_session_reused(line.ssl), 1);
        lab_line_free(&line);
        next_login_is_full(&lab, profiles[i]);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

static void test_server_that_changes_the_version(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        int other = p == LINK_PROFILE_TLS13 ? TLS1_2_VERSION : TLS1_3_VERSION;
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        SSL_CTX_set_min_proto_version(ctx, other);
        SSL_CTX_set_max_proto_version(ctx, other);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), DEAD);
        SSL_CTX_free(ctx);
        next_login_is_full(&lab, p);
    }
    lab_free(&lab);
}

/* A ticket that is the whole session, the card's certificate in it, costs more than it saves. */
static void test_large_tickets_are_not_kept(void **state)
{
    struct lab lab;
    (void)state;
    card_new(&lab);
    SSL_CTX *ctx = server_for(LINK_PROFILE_TLS13);
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(login(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), FULL);
        assert_false(has_session(&lab));
    }
    SSL_CTX_free(ctx);
    lab_free(&lab);
}

/* Bytes of flash that a login takes when the server sends so many tickets. */
static uint64_t wear(struct lab *lab, size_t tickets)
{
    SSL_CTX *ctx = server_for(LINK_PROFILE_TLS13);
    SSL_CTX_set_num_tickets(ctx, tickets);
    card_new(lab);
    uint64_t before = lab->flash.programmed;
    assert_int_equal(login(lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), FULL);
    uint64_t worn = lab->flash.programmed - before;
    assert_int_equal(login(lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO), RESUMED);
    SSL_CTX_free(ctx);
    lab_free(lab);
    return worn;
}

/* A server that gives out tickets without end wears no card out. */
static void test_many_tickets(void **state)
{
    struct lab lab;
    (void)state;
    uint64_t one = wear(&lab, 1), two = wear(&lab, 2);
    assert_true(two > one);
    assert_int_equal(wear(&lab, SESSION_TICKETS_MAX),
                     one + (SESSION_TICKETS_MAX - 1) * (two - one));
    assert_int_equal(wear(&lab, 30), wear(&lab, SESSION_TICKETS_MAX));
}

/* --- a net that alters bytes
 * -------------------------------------------------------------------- */

static void test_flipped_bytes_on_the_wire(void **state)
{
    static struct lab_flash start;
    struct lab lab;
    unsigned dead = 0;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        SSL_CTX *ctx = server_for(profiles[i]);
        assert_int_equal(login(&lab, ctx, profiles[i], LINK_KEY_AUTO), FULL);
        SSL_SESSION *first = SSL_SESSION_dup(last_session());
        start = lab.flash;
        for (size_t at = 0;; at += 3) {
            struct lab_line line = {.chunk = 255, .flip = at, .resume = true};
            lab.flash = start;
            server_knows(first);
            assert_true(lab_power_cycle(&lab));
            lab_line_open(&lab, ctx, profiles[i], LINK_KEY_AUTO, &line);
            bool hit = line.sent > at;
            if (hit && !line.flip_harmless)
                assert_true(line.open_at_flip || !(line.state & LINK_STATE_OPEN));
            dead += (line.state & LINK_STATE_ERROR) != 0;
            assert_int_equal(SSL_session_reused(line.ssl), 1);
            lab_line_free(&line);
            enum outcome next = login(&lab, ctx, profiles[i], LINK_KEY_AUTO);
            assert_true(next == FULL || next == RESUMED);
            if (!hit) {
                assert_int_equal(next, RESUMED);
                break;
            }
        }
        SSL_SESSION_free(first);
        SSL_CTX_free(ctx);
    }
    print_message("%u lines died\n", dead);
    assert_true(dead > 60);
    lab_free(&lab);
}

/* --- memory
 * ------------------------------------------------------------------------------------- */

/* Bytes of a ClientHello with the stored session in it, and of one without. */
static size_t hello_len(struct lab *lab, enum link_profile p)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    assert_int_equal(lab_verify(lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
    assert_int_equal(lab_apdu(lab, 0x80, INS_OPEN, (uint8_t)p, 0, NULL, 0, 1000, out, &n), SW_OK);
    return n;
}

/* Every bit of a stored session: none that was changed is offered to anybody. */
static void test_flipped_bits_in_memory(void **state)
{
    static struct lab_flash start;
    struct lab lab;
    uint8_t stored[SESSION_STORED_MAX];
    size_t len = 0;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        start = lab.flash;
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), stored, sizeof stored, &len), CW_OK);
        size_t resuming = hello_len(&lab, p);
        size_t full = hello_len(&lab, p);
        assert_true(resuming > full);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            lab.flash = start;
            stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
            memory_write(&lab, SESSION_VALUE(0), stored, len);
            stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bit % 64 == bit / 64 % 8) /* now and then the whole login */
                assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
            else
                assert_int_equal(hello_len(&lab, p), full);
        }
        lab.flash = start;
        memory_write(&lab, SESSION_VALUE(0), stored, len); /* the control */
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* A value that is no session at all: dropped, and a full handshake runs. */
static void test_malformed_values_in_memory(void **state)
{
    static struct lab_flash start;
    static uint8_t value[NVM_VALUE_MAX];
    struct lab lab;
    size_t len = 0;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        assert_int_equal(login_to(&lab, p), FULL);
        start = lab.flash;
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), value, sizeof value, &len), CW_OK);
        assert_true(hello_len(&lab, p) > hello_len(&lab, p));
        size_t full = hello_len(&lab, p);
        for (size_t n = 0; n <= sizeof value; n = n < len + 40 ? n + 1 : n * 2) {
            if (n == len)
                continue;
            lab.flash = start;
            memory_write(&lab, SESSION_VALUE(0), value, n);
            assert_int_equal(hello_len(&lab, p), full);
            assert_false(has_session(&lab));
        }
    }
    lab_free(&lab);
}

/* The seal as the card makes it: the hash of name, profiles, ALPN, own certificate and roots, and
 * the session. */
static void seal(const struct lab *lab, const uint8_t *body, size_t len, uint8_t out[32])
{
    struct line_name name = {.host = LAB_HOST, .profiles = ALL_PROFILES};
    uint8_t der[CARD_RESPONSE_MAX];
    size_t n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_true(EVP_DigestInit_ex(md, EVP_sha256(), NULL) &&
                EVP_DigestUpdate(md, name.host, sizeof name.host) &&
                EVP_DigestUpdate(md, &name.profiles, 1) &&
                EVP_DigestUpdate(md, name.alpn, sizeof name.alpn));
    assert_int_equal(memory_read(lab, NVM_CERT | LINK_KEY_TLS_P256, der, sizeof der, &n), CW_OK);
    assert_true(EVP_DigestUpdate(md, der, n));
    assert_int_equal(memory_read(lab, NVM_ROOT, der, sizeof der, &n), CW_OK);
    assert_true(EVP_DigestUpdate(md, der, n) && EVP_DigestFinal_ex(md, out, NULL) &&
                EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, out, 32) &&
                EVP_DigestUpdate(md, body, len) && EVP_DigestFinal_ex(md, out, NULL));
    EVP_MD_CTX_free(md);
}

/* Writes a body under a seal that is right. */
static void write_sealed(struct lab *lab, const uint8_t *body, size_t len)
{
    static uint8_t value[NVM_VALUE_MAX];
    memcpy(value, body, len);
    seal(lab, body, len, value + len);
    memory_write(lab, SESSION_VALUE(0), value, len + 32);
}

#define MALFORMED 10
/* Copies the body `was` and makes one thing of it wrong; 0 makes none. Returns its length. */
static size_t malform(int what, const uint8_t *was, size_t len, size_t id_most, uint8_t *body)
{
    enum { SUITE = 3, ID_LEN = 45 }; /* where they stand in a stored session */
    const size_t id_len = was[ID_LEN], secret = ID_LEN + 1 + id_len;
    memcpy(body, was, len);
    switch (what) {
    case 1: /* another version */
        body[0] = 2;
        return len;
    case 2:
        body[0] = 0;
        return len;
    case 3: /* a suite that the profile does not have */
        body[SUITE + 1] ^= 0x40;
        return len;
    case 4: /* one byte too many */
        body[len] = 0;
        return len + 1;
    case 5: /* no session id, no ticket */
        body[ID_LEN] = 0;
        memcpy(body + ID_LEN + 1, was + secret, len - secret);
        return len - id_len;
    case 6: /* one that is too long; and the longest ticket, which no session id may be */
    case 9:
        id_most = what == 6 ? id_most + 1 : SESSION_TICKET_MAX;
        body[ID_LEN] = (uint8_t)id_most;
        memset(body + ID_LEN + 1, 1, id_most);
        memcpy(body + ID_LEN + 1 + id_most, was + secret, len - secret);
        return len - id_len + id_most;
    case 7: /* a secret that is too long */
        body[secret] = SESSION_SECRET_MAX + 1;
        memset(body + len, 1, SESSION_SECRET_MAX);
        return secret + 1 + SESSION_SECRET_MAX + 1;
    case 8: /* one that is short: no master secret; as a PSK it is one, that nobody has */
        body[secret]--;
        return len - 1;
    default:
        return len;
    }
}

/* The same where the seal holds: a session of another version of the card, or of a defect in it. */
static void test_sealed_but_malformed(void **state)
{
    static struct lab_flash start;
    uint8_t body[NVM_VALUE_MAX], was[SESSION_STORED_MAX];
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        bool tls13 = p == LINK_PROFILE_TLS13;
        size_t len = 0;
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        start = lab.flash;
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), was, sizeof was, &len), CW_OK);
        len -= 32;
        for (int what = 0; what < MALFORMED; what++) {
            size_t n = malform(what, was, len, tls13 ? SESSION_TICKET_MAX : 32, body);
            lab.flash = start;
            write_sealed(&lab, body, n);
            size_t first = hello_len(&lab, p);
            assert_false(has_session(&lab));
            assert_int_equal(first > hello_len(&lab, p), what == 0 || (what >= 8 && tls13));
        }
        lab.flash = start;
        write_sealed(&lab, was, len);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

/* One read of memory fails, at every read of a resumed login. */
static void test_failing_memory(void **state)
{
    static struct lab_flash start;
    struct lab lab;
    unsigned failures = 0;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        SSL_SESSION *first = SSL_SESSION_dup(last_session());
        start = lab.flash;
        for (long k = 0;; k++) {
            struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
            lab.flash = start;
            server_knows(first);
            assert_true(lab_power_cycle(&lab));
            assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
            lab.flash.fail_read = k;
            lab_line_begin(&lab, ctx, p, LINK_KEY_AUTO, &line);
            bool failed = lab.flash.fail_read < 0;
            lab.flash.fail_read = -1;
            enum outcome o = outcome_of(&lab, &line); /* card and server agree */
            lab_line_free(&line);
            assert_int_not_equal(login(&lab, ctx, p, LINK_KEY_AUTO), DEAD);
            if (!failed) {
                assert_int_equal(o, RESUMED);
                break;
            }
            failures++;
        }
        SSL_SESSION_free(first);
        SSL_CTX_free(ctx);
    }
    print_message("%u reads failed, one at a time\n", failures);
    assert_true(failures > 15);
    lab_free(&lab);
}

/* Fills the card's memory: a value larger than a small one finds no room, the PIN's counter does.
 */
static void fill_up(struct lab *lab)
{
    static const uint8_t filler[NVM_VALUE_MAX];
    static const size_t sizes[] = {1000, 200, NVM_SMALL_MAX + 1};
    struct card_flash ops = lab_flash_ops(&lab->flash);
    struct nvm nvm;
    uint16_t key = 0x7000;
    card_power_down(&lab->card);
    assert_int_equal(nvm_mount(&nvm, &ops), CW_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        enum cw_err err = CW_OK;
        while (err == CW_OK)
            err = nvm_write(&nvm, key++, filler, sizes[i]);
        assert_int_equal(err, CW_ERR_SPACE);
    }
    assert_true(nvm.count < NVM_VALUES_MAX); /* it is the bytes that are used up */
    assert_true(lab_power_cycle(lab));
}

static void test_full_memory(void **state)
{
    struct lab lab;
    (void)state;
    for (size_t i = 0; i < PROFILES; i++) {
        card_new(&lab);
        fill_up(&lab);
        assert_int_equal(login_to(&lab, profiles[i]), FULL);
        assert_false(has_session(&lab));
        assert_int_equal(login_to(&lab, profiles[i]), FULL);
        lab_free(&lab);
    }
}

/* Power fails at every byte that a resumed login writes: the session taken out, the next one kept.
 * Afterwards there is the old one, which then was not offered, or a new one, or none. */
static void test_power_cut_at_every_byte(void **state)
{
    static struct lab_flash start;
    struct lab lab;
    (void)state;
    card_new(&lab);
    for (size_t i = 0; i < PROFILES; i++) {
        enum link_profile p = profiles[i];
        uint8_t old[SESSION_STORED_MAX], now[SESSION_STORED_MAX];
        size_t old_len = 0, now_len = 0;
        unsigned left[3] = {0};
        SSL_CTX *ctx = server_for(p);
        assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), FULL);
        assert_int_equal(memory_read(&lab, SESSION_VALUE(0), old, sizeof old, &old_len), CW_OK);
        SSL_SESSION *first = SSL_SESSION_dup(last_session());
        start = lab.flash;
        size_t resuming = hello_len(&lab, p);
        bool dead = true;
        for (long budget = 0; dead; budget++) {
            struct lab_line line = {.chunk = 255, .flip = SIZE_MAX, .resume = true};
            lab.flash = start;
            server_knows(first);
            assert_true(lab_power_cycle(&lab));
            assert_int_equal(lab_verify(&lab, LINK_PIN_LINE, LAB_PIN), SW_OK);
            lab.flash.budget = budget;
            lab_line_begin(&lab, ctx, p, LINK_KEY_AUTO, &line);
            dead = lab.flash.dead;
            /* OPEN answers with the state byte and at most 255 bytes; the rest comes with STEP. */
            bool offered = line.sw == SW_OK && line.hello >= (resuming < 256 ? resuming - 1 : 255);
            assert_int_equal(SSL_session_reused(line.ssl), offered);
            lab_line_free(&line);
            assert_true(lab_power_cycle(&lab));
            enum cw_err err = memory_read(&lab, SESSION_VALUE(0), now, sizeof now, &now_len);
            bool same = err == CW_OK && now_len == old_len && memcmp(now, old, old_len) == 0;
            left[err != CW_OK ? 0 : same ? 1 : 2]++;
            if (same && p == LINK_PROFILE_TLS13)
                assert_false(offered);
            enum outcome next = login(&lab, ctx, p, LINK_KEY_AUTO);
            assert_int_equal(next, err == CW_OK ? RESUMED : FULL);
            assert_int_equal(login(&lab, ctx, p, LINK_KEY_AUTO), RESUMED);
        }
        print_message("%s: after a power cut %u times none, %u times the old one, %u times a new "
                      "one\n",
                      link_profile_name(p), left[0], left[1], left[2]);
        /* In TLS 1.2 it is the old one that is put back. */
        assert_true(left[0] > 0 && left[1] > 0 && (left[2] > 0) == (p == LINK_PROFILE_TLS13));
        SSL_SESSION_free(first);
        SSL_CTX_free(ctx);
    }
    lab_free(&lab);
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup(f, make_all)
    const struct CMUnitTest tests[] = {
        T(test_offered_once),
        T(test_each_line_has_a_new_ticket),
        T(test_server_without_the_secret_gets_no_line),
        T(test_server_without_extended_master_secret_at_resumption),
        T(test_no_session_without_extended_master_secret),
        T(test_a_full_handshake_in_its_place_is_checked_as_ever),
        T(test_server_that_changes_the_suite),
        T(test_server_that_changes_the_version),
        T(test_large_tickets_are_not_kept),
        T(test_many_tickets),
        T(test_flipped_bytes_on_the_wire),
        T(test_flipped_bits_in_memory),
        T(test_malformed_values_in_memory),
        T(test_sealed_but_malformed),
        T(test_failing_memory),
        T(test_full_memory),
        T(test_power_cut_at_every_byte),
    };
    int result = unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
    free_all();
    return result;
}
