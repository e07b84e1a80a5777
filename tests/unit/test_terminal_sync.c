/* test_terminal_sync.c - a card is brought up to date: a real card in a line, and a bank that is
 * played, honest at first. What the bank says wrong never reaches the card; what the card refuses
 * is said; and nothing goes on without an end. */
#include "card_lab.h"
#include "unit.h"

#include "host/base64.h"
#include "reader/backend.h"
#include "terminal/sync.h"

#include <stdio.h>
#include <string.h>

#define P256 (1u << (LINK_KEY_TLS_P256 - 1) | 1u << (LINK_KEY_ORDER_P256 - 1))
#define DAY  INT64_C(86400)
#define YEAR (365 * DAY)
#define JUMP (31 * DAY) /* card/issuer.c */

static struct lab lab;
static struct lab_identity card_ca, root, server;
static struct lab_line line;
static SSL_CTX *ctx;
static struct reader *reader;
static struct say why;

/* The bank's end. Texts are what it answers when they are set, in the place of the truth. */
static struct {
    int64_t time;
    uint32_t pending, last;        /* last: of an update that `updates` plays */
    struct issuer_message list[2]; /* sequence and writes */
    size_t count;
    const char *card, *updates, *message;
    unsigned asked_card, asked_time, asked_updates, told;
    uint32_t applied;
} bank;

static enum cw_err reply_with(const char *text, json_t **reply)
{
    *reply = json_loads(text, 0, NULL);
    assert_non_null(*reply);
    return CW_OK;
}

static enum cw_err bank_says_card(void *unused, json_t **reply, struct say *w)
{
    (void)unused;
    (void)w;
    bank.asked_card++;
    if (bank.card != NULL)
        return reply_with(bank.card, reply);
    uint32_t made = bank.count > 0 ? bank.list[bank.count - 1].sequence : bank.applied;
    uint32_t last = bank.last > 0 ? bank.last : made;
    *reply =
        json_pack("{s:I, s:I}", "sequence", (json_int_t)last, "pending", (json_int_t)bank.pending);
    return CW_OK;
}

static json_t *signed_text(struct issuer_message *m)
{
    uint8_t bytes[ISSUER_MESSAGE_MAX];
    char text[BASE64_LEN(ISSUER_MESSAGE_MAX) + 1];
    size_t n = lab_message(&lab, m, bytes);
    assert_int_equal(base64_encode(bytes, n, text, sizeof text), CW_OK);
    return json_string(text);
}

static enum cw_err bank_says_time(void *unused, const uint8_t challenge[ISSUER_CHALLENGE_LEN],
                                  json_t **reply, struct say *w)
{
    struct issuer_message m = {.kind = ISSUER_TIME, .time = bank.time};
    (void)unused;
    (void)w;
    bank.asked_time++;
    if (bank.message != NULL)
        return reply_with(bank.message, reply);
    memcpy(m.challenge, challenge, sizeof m.challenge);
    *reply = json_pack("{s:o}", "message", signed_text(&m));
    return CW_OK;
}

static enum cw_err bank_says_updates(void *unused, uint32_t after, json_t **reply, struct say *w)
{
    json_t *list = json_array();
    (void)unused;
    (void)w;
    bank.asked_updates++;
    if (bank.updates != NULL) {
        json_decref(list);
        return reply_with(bank.updates, reply);
    }
    for (size_t i = 0; i < bank.count; i++) {
        struct issuer_message *m = &bank.list[i];
        if (m->sequence > after)
            json_array_append_new(list, json_pack("{s:I, s:o}", "sequence", (json_int_t)m->sequence,
                                                  "message", signed_text(m)));
    }
    *reply = json_pack("{s:o}", "updates", list);
    return CW_OK;
}

static enum cw_err bank_hears(void *unused, uint32_t sequence, json_t **reply, struct say *w)
{
    (void)unused;
    (void)w;
    bank.told++;
    bank.applied = sequence;
    bank.pending = 0;
    return reply_with("{}", reply);
}

static const struct sync_bank played = {bank_says_card, bank_says_time, bank_says_updates,
                                        bank_hears, NULL};

static enum cw_err to_card(void *self, const uint8_t *command, size_t len, uint8_t *response,
                           size_t cap, size_t *response_len, struct say *w)
{
    struct lab *l = self;
    (void)w;
    *response_len = card_process(l->card, command, len, response, cap);
    return *response_len > 0 ? CW_OK : CW_ERR_IO;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {to_card, NULL, no_free};

/* A card in an open line, and a bank that has nothing for it. */
static int setup(void **state)
{
    const struct lab_server_spec good = {0};
    struct reader_backend backend = {.ops = &ops, .self = &lab};
    (void)state;
    card_ca = lab_ca_new("Card CA");
    root = lab_ca_new("Server Root");
    server = lab_server_new(&root, &good);
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, LINK_PROFILE_BIT(LINK_PROFILE_TLS13));
    assert_int_equal(reader_new(&backend, &reader), CW_OK);
    ctx = lab_server_context(&server, &card_ca);
    line = (struct lab_line){.chunk = 255, .flip = SIZE_MAX};
    lab_line_open(&lab, ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, &line);
    assert_true(line.state & LINK_STATE_OPEN);
    memset(&bank, 0, sizeof bank);
    bank.time = LAB_TIME + DAY;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lab_line_free(&line);
    SSL_CTX_free(ctx);
    reader_free(&reader);
    lab_free(&lab);
    lab_identity_free(&server);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

static struct applet_info info(void)
{
    struct applet_info i;
    assert_int_equal(applet_info_get(reader, &i, &why), CW_OK);
    return i;
}

static enum cw_err run(struct sync *out)
{
    const struct applet_info before = info();
    return sync_run(reader, &played, &before, bank.time, SYNC_AGE, out, &why);
}

/* An update that says which payees there are. */
static struct issuer_message update(uint32_t sequence, uint8_t *list, size_t cap, const char *name)
{
    struct policy_payee payee = {.account = "DE02500105170137075030"};
    struct buf_writer w;
    snprintf(payee.name, sizeof payee.name, "%s", name);
    buf_writer_init(&w, list, cap);
    assert_int_equal(policy_payee_put(&w, &payee), CW_OK);
    return (struct issuer_message){.kind = ISSUER_UPDATE,
                                   .sequence = sequence,
                                   .write_count = 1,
                                   .writes = {{LINK_DO_PAYEES, list, w.len}}};
}

static uint8_t lists[2][128];

static void two_updates(void)
{
    bank.list[0] = update(3, lists[0], sizeof lists[0], "Ben");
    bank.list[1] = update(7, lists[1], sizeof lists[1], "Bea");
    bank.count = bank.pending = 2;
}

static void test_updates_and_time(void **state)
{
    struct sync done;
    (void)state;
    two_updates();
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(done.updates, 2);
    assert_int_equal(done.sequence, 7);
    assert_true(done.timed);
    assert_int_equal(done.floor, bank.time);
    assert_int_equal(done.life, LINK_LIFE_ACTIVE);
    assert_int_equal(bank.applied, 7);
    assert_int_equal(bank.asked_updates, 1);
    assert_int_equal(info().sequence, 7);
    assert_int_equal(info().time_floor, bank.time);
}

static void test_nothing_to_do_asks_once(void **state)
{
    struct sync done;
    (void)state;
    bank.time = LAB_TIME + SYNC_AGE - 1;
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(bank.asked_card, 1);
    assert_int_equal(bank.asked_updates + bank.asked_time + bank.told, 0);
    assert_int_equal(done.updates, 0);
    assert_false(done.timed);
    bank.time = LAB_TIME + SYNC_AGE;
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(bank.asked_time, 1);
    assert_true(done.timed);
}

/* The card moves its floor by 31 days a message, and there is one in one go. */
static void test_many_years_in_a_drawer(void **state)
{
    struct sync done;
    (void)state;
    bank.time = LAB_TIME + 3 * YEAR + 1;
    for (int login = 1; login <= 3; login++) {
        assert_int_equal(run(&done), CW_OK);
        assert_int_equal(bank.asked_time, login);
        assert_true(done.timed);
        assert_int_equal(done.floor, LAB_TIME + login * JUMP);
        assert_int_equal(info().time_floor, done.floor);
    }
}

/* Another terminal told the bank that the card has everything: the card's own word counts. */
static void test_a_lie_about_the_card_stops_nothing(void **state)
{
    struct sync done;
    (void)state;
    two_updates();
    bank.pending = 0;
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(done.updates, 2);
    assert_int_equal(info().sequence, 7);
    assert_int_equal(bank.told, 0); /* it believes so already */
}

static void test_bank_that_did_not_hear_is_told_again(void **state)
{
    struct sync done;
    (void)state;
    two_updates();
    assert_int_equal(run(&done), CW_OK);
    bank.pending = 1;
    bank.applied = 0;
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(bank.told, 2);
    assert_int_equal(bank.applied, 7);
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(bank.told, 2);
}

/* What cannot be meant for this card is not given to it. */
static void test_bank_that_makes_no_sense(void **state)
{
    static const char *const words[] = {
        "{}",
        "{\"sequence\":0}",
        "{\"pending\":0}",
        "{\"pending\":0,\"sequence\":-1}",
        "{\"pending\":-1}",
        "{\"pending\":4294967296}",
        "{\"pending\":\"1\"}",
        "{\"pending\":0.5}",
        "{\"pending\":null}",
    };
    static const char *const updates[] = {
        "{}",
        "{\"updates\":{}}",
        "{\"updates\":[1]}",
        "{\"updates\":[{\"sequence\":1}]}",
        "{\"updates\":[{\"sequence\":1,\"message\":\"####\"}]}",
        "{\"updates\":[{\"sequence\":1,\"message\":\"gAEC\"}]}",
        "{\"updates\":[{\"sequence\":0,\"message\":\"\"}]}",
    };
    struct sync done;
    const unsigned written = lab.flash.operations;
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bank.card = words[i];
        bank.time = LAB_TIME; /* leaves the time alone */
        assert_int_equal(run(&done), CW_ERR_FORMAT);
        assert_non_null(strstr(why.text, "not in order"));
    }
    bank.card = NULL;
    bank.pending = bank.last = 1;
    for (size_t i = 0; i < sizeof updates / sizeof updates[0]; i++) {
        bank.updates = updates[i];
        assert_int_equal(run(&done), CW_ERR_FORMAT);
        assert_int_equal(done.updates, 0);
    }
    assert_int_equal(bank.told, 0);
    assert_int_equal(lab.flash.operations, written);
    assert_int_equal(info().sequence, 0);
}

static void give_update(const struct issuer_message *m, uint32_t announced, char *out, size_t cap)
{
    struct issuer_message copy = *m;
    json_t *text = signed_text(&copy);
    snprintf(out, cap, "{\"updates\":[{\"sequence\":%u,\"message\":\"%s\"}]}", (unsigned)announced,
             json_string_value(text));
    json_decref(text);
    bank.updates = out;
}

/* Well signed, and all the same not what was announced, or for another card, or no update. */
static void test_updates_that_are_others(void **state)
{
    static char text[4096];
    struct issuer_message m = update(3, lists[0], sizeof lists[0], "Ben");
    struct issuer_message time = {.kind = ISSUER_TIME, .time = LAB_TIME + DAY};
    struct sync done;
    (void)state;
    bank.time = LAB_TIME;
    bank.pending = 1;
    bank.last = 3;
    give_update(&m, 4, text, sizeof text);
    assert_int_equal(run(&done), CW_ERR_FORMAT);
    give_update(&time, 3, text, sizeof text);
    assert_int_equal(run(&done), CW_ERR_FORMAT);
    lab.port.unique_id[0] ^= 1; /* the message names another serial, and the card keeps its own */
    give_update(&m, 3, text, sizeof text);
    lab.port.unique_id[0] ^= 1;
    assert_int_equal(run(&done), CW_ERR_FORMAT);
    assert_int_equal(info().sequence, 0);
    give_update(&m, 3, text, sizeof text);
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(info().sequence, 3);
    bank.pending = 1;
    bank.last = 4;
    assert_int_equal(run(&done), CW_ERR_FORMAT); /* again: not above the last */
    assert_int_equal(info().sequence, 3);
}

/* A forged one is the card's to refuse; what came before it is reported, and the time still comes.
 */
static void test_forged_update(void **state)
{
    struct sync done;
    EVP_PKEY *honest = lab.update_key;
    static char text[8192];
    (void)state;
    two_updates();
    json_t *good = signed_text(&bank.list[0]);
    lab.update_key = EVP_EC_gen("P-256");
    json_t *forged = signed_text(&bank.list[1]);
    EVP_PKEY_free(lab.update_key);
    lab.update_key = honest;
    snprintf(text, sizeof text,
             "{\"updates\":[{\"sequence\":3,\"message\":\"%s\"},{\"sequence\":7,\"message\":"
             "\"%s\"}]}",
             json_string_value(good), json_string_value(forged));
    json_decref(good);
    json_decref(forged);
    bank.updates = text;
    assert_int_equal(run(&done), CW_ERR_DENIED);
    assert_non_null(strstr(why.text, "not signed by the bank"));
    assert_int_equal(done.updates, 1);
    assert_int_equal(bank.applied, 3);
    assert_true(done.timed);
}

static void test_time_that_is_anothers(void **state)
{
    struct sync done;
    static char text[1024];
    struct issuer_message m = {.kind = ISSUER_TIME, .time = LAB_TIME + DAY};
    (void)state;
    json_t *other = signed_text(&m); /* for another challenge */
    snprintf(text, sizeof text, "{\"message\":\"%s\"}", json_string_value(other));
    json_decref(other);
    const char *const answers[] = {text, "{}", "{\"message\":1}", "{\"message\":\"AAAA\"}"};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        bank.message = answers[i];
        assert_int_equal(run(&done), CW_ERR_FORMAT);
        assert_false(done.timed);
    }
    assert_int_equal(info().time_floor, LAB_TIME);
}

/* The line is gone with the card's life: nothing more is asked, and no failure is made of it. */
static void test_lock_ends_it(void **state)
{
    const uint8_t locked = LINK_LIFE_LOCKED;
    struct sync done;
    (void)state;
    two_updates();
    bank.list[0].writes[bank.list[0].write_count++] =
        (struct issuer_write){LINK_DO_LIFE, &locked, 1};
    assert_int_equal(run(&done), CW_OK);
    assert_int_equal(done.life, LINK_LIFE_LOCKED);
    assert_int_equal(done.updates, 1);
    assert_int_equal(bank.told + bank.asked_time, 0);
}

/* A card that means harm: its floor creeps, stands still, or goes back. */
static int64_t fake_floor, fake_step;
static unsigned fake_applied;

static enum cw_err fake_card(void *self, const uint8_t *command, size_t len, uint8_t *response,
                             size_t cap, size_t *response_len, struct say *w)
{
    struct buf_writer b;
    (void)self;
    (void)w;
    (void)len;
    buf_writer_init(&b, response, cap);
    fake_applied += command[1] == INS_APPLY;
    if (command[1] == INS_APPLY)
        fake_floor += fake_step;
    buf_put_u64(&b, (uint64_t)fake_floor);
    buf_put_u16(&b, SW_OK);
    *response_len = b.len;
    return CW_OK;
}

static const struct reader_ops fake_ops = {fake_card, NULL, no_free};

static void test_card_that_never_arrives(void **state)
{
    static const struct {
        int64_t step;
        enum cw_err err;
        unsigned applied;
    } cases[] = {{1, CW_OK, 1}, {0, CW_ERR_FORMAT, 1}, {-1, CW_ERR_FORMAT, 1}};
    struct reader_backend backend = {.ops = &fake_ops};
    struct applet_info before = info();
    struct reader *fake = NULL;
    struct sync done;
    (void)state;
    assert_int_equal(reader_new(&backend, &fake), CW_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_floor = LAB_TIME;
        fake_step = cases[i].step;
        fake_applied = 0;
        assert_int_equal(sync_run(fake, &played, &before, bank.time, SYNC_AGE, &done, &why),
                         cases[i].err);
        assert_int_equal(fake_applied, cases[i].applied);
    }
    reader_free(&fake);
}

#define CARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CARD(test_updates_and_time),
        CARD(test_nothing_to_do_asks_once),
        CARD(test_many_years_in_a_drawer),
        CARD(test_a_lie_about_the_card_stops_nothing),
        CARD(test_bank_that_did_not_hear_is_told_again),
        CARD(test_bank_that_makes_no_sense),
        CARD(test_updates_that_are_others),
        CARD(test_forged_update),
        CARD(test_time_that_is_anothers),
        CARD(test_lock_ends_it),
        CARD(test_card_that_never_arrives),
    };
    return unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
