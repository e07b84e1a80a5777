/* test_terminal_holder.c - the holder's commands against the card itself: PIN by post, changed and
 * unblocked; limits; the issuer's messages; and what is said when the card is not as it should be.
 */
#include "card_lab.h"
#include "unit.h"

#include "reader/backend.h"
#include "terminal/applet.h"

#include <string.h>

#define P256 (1u << (LINK_KEY_TLS_P256 - 1) | 1u << (LINK_KEY_ORDER_P256 - 1))

static struct lab lab;
static struct lab_identity card_ca, root, server;
static struct reader *reader;
static struct say why;

static enum cw_err to_card(void *self, const uint8_t *command, size_t len, uint8_t *response,
                           size_t cap, size_t *response_len, struct say *unused)
{
    struct lab *l = self;
    (void)unused;
    *response_len = card_process(l->card, command, len, response, cap);
    return *response_len > 0 ? CW_OK : CW_ERR_IO;
}

static void no_free(void *self)
{
    (void)self;
}

static const struct reader_ops ops = {to_card, NULL, no_free};

static int group_setup(void **state)
{
    const struct lab_server_spec good = {0};
    (void)state;
    card_ca = lab_ca_new("Card CA");
    root = lab_ca_new("Server Root");
    server = lab_server_new(&root, &good);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    lab_identity_free(&server);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

/* An issued card behind a reader. */
static int setup(void **state)
{
    struct reader_backend backend = {.ops = &ops, .self = &lab};
    (void)state;
    lab_init(&lab);
    lab_personalise(&lab, P256, &card_ca, &root, LINK_PROFILE_BIT(LINK_PROFILE_TLS13));
    assert_int_equal(reader_new(&backend, &reader), CW_OK);
    assert_int_equal(applet_select(reader, &why), CW_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    reader_free(&reader);
    lab_free(&lab);
    return 0;
}

static struct applet_info info(void)
{
    struct applet_info i;
    assert_int_equal(applet_info_get(reader, &i, &why), CW_OK);
    return i;
}

static enum cw_err verify(const char *pin)
{
    return applet_verify(reader, LINK_PIN_LINE, (const uint8_t *)pin, strlen(pin), NULL, &why);
}

static enum cw_err change(const char *old, const char *pin)
{
    return applet_pin_change(reader, (const uint8_t *)old, strlen(old), (const uint8_t *)pin,
                             strlen(pin), NULL, &why);
}

static enum cw_err unblock(const char *puk, const char *pin)
{
    return applet_pin_unblock(reader, (const uint8_t *)puk, strlen(puk), (const uint8_t *)pin,
                              strlen(pin), NULL, &why);
}

static void assert_said(const char *what)
{
    if (strstr(why.text, what) == NULL)
        fail_msg("'%s' is not in: %s", what, why.text);
}

static void issuer(void)
{
    assert_int_equal(lab_select(&lab), SW_OK);
    assert_true(lab_channel_open(&lab));
}

static void test_pin_by_post(void **state)
{
    struct applet_info i;
    (void)state;
    issuer();
    assert_int_equal(lab_put_pin(&lab, LINK_PIN_HOLDER, LINK_PIN_TRANSPORT, "5050"), SW_OK);
    i = info();
    assert_true(i.transport);
    assert_int_equal(applet_alive(&i, &why), CW_OK);
    assert_int_equal(applet_usable(&i, &why), CW_ERR_STATE);
    assert_said("cardwire pin change");
    why.text[0] = '\0';
    assert_int_equal(verify("5050"), CW_ERR_STATE); /* the card says so as well */
    assert_said("came by post");
    assert_int_equal(info().pin_tries_left, LINK_PIN_TRIES);

    assert_int_equal(change("5051", "271829"), CW_ERR_AUTH);
    assert_said("2 more tries");
    assert_int_equal(change("5050", "271829"), CW_OK);
    i = info();
    assert_false(i.transport);
    assert_int_equal(i.pin_tries_left, LINK_PIN_TRIES);
    assert_int_equal(applet_usable(&i, &why), CW_OK);
    assert_int_equal(verify("5050"), CW_ERR_AUTH);
    assert_int_equal(verify("271829"), CW_OK);
}

static void test_rules_cost_no_try(void **state)
{
    struct policy policy = lab_policy(), got;
    policy.pin.min = 6;
    policy.pin.rules = PIN_RULE_NO_REPEAT;
    (void)state;
    issuer();
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    assert_int_equal(applet_policy_get(reader, &got, &why), CW_OK);
    assert_int_equal(got.pin.min, 6);
    assert_int_equal(change("0000", "12345"), CW_ERR_LENGTH);
    assert_said("no try was spent");
    assert_int_equal(change("0000", "777777"), CW_ERR_FORMAT);
    assert_said("no try was spent");
    assert_int_equal(info().pin_tries_left, LINK_PIN_TRIES);
    assert_int_equal(change(LAB_PIN, "777778"), CW_OK);
}

static void test_blocked_and_unblocked(void **state)
{
    struct applet_info i;
    (void)state;
    for (unsigned n = 0; n < LINK_PIN_TRIES; n++)
        assert_int_equal(verify("0000"), CW_ERR_AUTH);
    assert_said("the last try; unblock it with the PUK: cardwire pin unblock");
    assert_int_equal(verify(LAB_PIN), CW_ERR_BLOCKED);
    assert_said("cardwire pin unblock");
    i = info();
    assert_int_equal(applet_usable(&i, &why), CW_ERR_BLOCKED);
    assert_said("cardwire pin unblock");
    assert_int_equal(unblock("00000000", "3333"), CW_ERR_AUTH);
    assert_said("the PUK is wrong; 2 more tries");
    assert_int_equal(info().puk_tries_left, 2);
    assert_int_equal(unblock(LAB_PUK, "31337"), CW_OK);
    assert_int_equal(verify("31337"), CW_OK);
    i = info();
    assert_int_equal(i.puk_tries_left, LINK_PIN_TRIES);
    assert_int_equal(applet_usable(&i, &why), CW_OK);
}

static void test_puk_blocked(void **state)
{
    struct applet_info i;
    (void)state;
    for (unsigned n = 0; n < LINK_PIN_TRIES; n++) {
        assert_int_equal(verify("0000"), CW_ERR_AUTH);
        assert_int_equal(unblock("00000000", "3333"), CW_ERR_AUTH);
    }
    assert_int_equal(unblock(LAB_PUK, "3333"), CW_ERR_BLOCKED);
    assert_said("your bank");
    i = info();
    assert_int_equal(i.puk_tries_left, 0);
    assert_int_equal(applet_usable(&i, &why), CW_ERR_BLOCKED);
    assert_said("PIN and PUK");
}

/* Every life has its own sentence, and says whom to ask. */
static void test_lives(void **state)
{
    struct applet_info i = {.pin_tries_left = 3};
    char said[6][sizeof why.text];
    (void)state;
    for (unsigned life = 0; life < 6; life++) {
        i.life = (enum link_life)life;
        why.text[0] = '\0';
        assert_int_equal(applet_usable(&i, &why), life == LINK_LIFE_ACTIVE ? CW_OK : CW_ERR_STATE);
        strcpy(said[life], why.text);
        for (unsigned other = 0; other < life; other++)
            assert_string_not_equal(said[life], said[other]);
    }
}

static void line_open(SSL_CTX **ctx, struct lab_line *line)
{
    *ctx = lab_server_context(&server, &card_ca);
    *line = (struct lab_line){.chunk = 255, .flip = SIZE_MAX};
    lab_line_open(&lab, *ctx, LINK_PROFILE_TLS13, LINK_KEY_AUTO, line);
    assert_true(line->state & LINK_STATE_OPEN);
}

static void line_end(SSL_CTX *ctx, struct lab_line *line)
{
    lab_line_free(line);
    SSL_CTX_free(ctx);
}

static enum cw_err sign(int64_t amount, const char *currency, enum link_refusal *refusal)
{
    struct order_fields f = {.payer = "DE02120300000000202051",
                             .payee = "DE02500105170137075030",
                             .payee_name = "Ben",
                             .amount = amount,
                             .expiry = LAB_TIME + 600};
    uint8_t text[ORDER_TEXT_MAX], signature[80];
    size_t text_len = 0, signature_len = 0;
    memcpy(f.currency, currency, 3);
    return applet_sign_order(reader, LINK_KEY_AUTO, &f, text, sizeof text, &text_len, signature,
                             sizeof signature, &signature_len, refusal, &why);
}

/* Without the PIN of the order: what is small is signed, what the policy is against is named, and
 * everything else wants the PIN. */
static void test_orders(void **state)
{
    struct policy policy = lab_policy();
    SSL_CTX *ctx = NULL;
    struct lab_line line;
    enum link_refusal refusal = LINK_REFUSAL_NONE;
    (void)state;
    policy.limits[0] = (struct policy_limit){"EUR", 1000, 1500, 100, 150};
    policy.limit_count = 1;
    issuer();
    assert_int_equal(lab_put_policy(&lab, &policy), SW_OK);
    line_open(&ctx, &line);
    assert_int_equal(sign(1001, "EUR", &refusal), CW_ERR_REFUSED);
    assert_int_equal(refusal, LINK_REFUSAL_ORDER);
    assert_string_equal(why.text, link_refusal_sentence(LINK_REFUSAL_ORDER));
    assert_int_equal(sign(1, "USD", &refusal), CW_ERR_REFUSED);
    assert_int_equal(refusal, LINK_REFUSAL_CURRENCY);
    assert_int_equal(sign(101, "EUR", &refusal), CW_ERR_DENIED);
    assert_int_equal(sign(100, "EUR", &refusal), CW_OK);
    assert_int_equal(sign(100, "EUR", &refusal), CW_ERR_DENIED); /* above the small ones' total */
    assert_int_equal(applet_verify(reader, LINK_PIN_ORDER, (const uint8_t *)LAB_PIN,
                                   sizeof LAB_PIN - 1, NULL, &why),
                     CW_OK);
    assert_int_equal(sign(1000, "EUR", &refusal), CW_OK);
    assert_int_equal(sign(401, "EUR", &refusal), CW_ERR_REFUSED);
    assert_int_equal(refusal, LINK_REFUSAL_DAY);
    line_end(ctx, &line);
}

static void test_time(void **state)
{
    uint8_t message[ISSUER_MESSAGE_MAX];
    struct issuer_message m = {.kind = ISSUER_TIME, .time = LAB_TIME + 86400};
    int64_t floor = 0;
    (void)state;
    assert_int_equal(applet_challenge(reader, m.challenge, &why), CW_OK);
    size_t n = lab_message(&lab, &m, message);
    assert_int_equal(applet_apply_time(reader, message, n, &floor, &why), CW_OK);
    assert_int_equal(floor, LAB_TIME + 86400);
    assert_int_equal(info().time_floor, floor);
    /* the challenge is spent */
    assert_int_equal(applet_apply_time(reader, message, n, &floor, &why), CW_ERR_STATE);
    assert_int_equal(applet_challenge(reader, m.challenge, &why), CW_OK);
    n = lab_message(&lab, &m, message);
    message[n - 1] ^= 1;
    assert_int_equal(applet_apply_time(reader, message, n, &floor, &why), CW_ERR_DENIED);
    assert_said("not signed by the bank");
}

static void test_updates(void **state)
{
    static const struct policy_payee ben = {"DE02500105170137075030", "Ben"};
    const uint8_t locked = LINK_LIFE_LOCKED;
    uint8_t list[128], message[ISSUER_MESSAGE_MAX];
    struct policy_payee payees[POLICY_PAYEES_MAX];
    struct issuer_message m = {.kind = ISSUER_UPDATE, .sequence = 5, .write_count = 1};
    struct buf_writer w;
    struct lab_line line;
    SSL_CTX *ctx = NULL;
    size_t count = 99;
    uint32_t sequence = 0;
    (void)state;
    assert_int_equal(applet_payees_get(reader, payees, &count, &why), CW_ERR_DENIED);
    buf_writer_init(&w, list, sizeof list);
    assert_int_equal(policy_payee_put(&w, &ben), CW_OK);
    m.writes[0] = (struct issuer_write){LINK_DO_PAYEES, list, w.len};
    line_open(&ctx, &line);
    assert_int_equal(applet_payees_get(reader, payees, &count, &why), CW_OK);
    assert_int_equal(count, 0);
    size_t n = lab_message(&lab, &m, message);
    assert_int_equal(applet_apply_update(reader, message, n, &sequence, &why), CW_OK);
    assert_int_equal(sequence, 5);
    assert_int_equal(info().sequence, 5);
    assert_int_equal(applet_payees_get(reader, payees, &count, &why), CW_OK);
    assert_int_equal(count, 1);
    assert_string_equal(payees[0].name, "Ben");
    assert_int_equal(applet_apply_update(reader, message, n, &sequence, &why), CW_ERR_STATE);

    m.sequence = 6;
    m.writes[0] = (struct issuer_write){LINK_DO_LIFE, &locked, 1};
    n = lab_message(&lab, &m, message);
    assert_int_equal(applet_apply_update(reader, message, n, &sequence, &why), CW_OK);
    struct applet_info i = info();
    assert_int_equal(i.life, LINK_LIFE_LOCKED);
    assert_int_equal(applet_usable(&i, &why), CW_ERR_STATE);
    assert_said("locked");
    assert_int_equal(verify(LAB_PIN), CW_ERR_STATE);
    assert_said("your bank has locked this card");
    line_end(ctx, &line);
}

#define CARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CARD(test_pin_by_post), CARD(test_rules_cost_no_try), CARD(test_blocked_and_unblocked),
        CARD(test_puk_blocked), cmocka_unit_test(test_lives), CARD(test_orders),
        CARD(test_time),        CARD(test_updates),
    };
    (void)group_setup(NULL);
    int code = unit_main(argc, argv, tests, sizeof tests / sizeof *tests);
    (void)group_teardown(NULL);
    return code;
}
