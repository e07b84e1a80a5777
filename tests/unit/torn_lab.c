/* torn_lab.c - see torn_lab.h. */
#include "torn_lab.h"

#include "unit.h"

#include "card/state.h"
#include "proto/ber.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#define STATES      (TORN_BETWEEN + 2)
#define SECRETS_MAX 12
#define FILLER      0x7000u
#define LOG_FILLER  0x7FFFu
#define SMALL       32u /* bytes of log that a small value takes */

/* Instrumented code is slow: where values move, every third operation is enough for it, because the
 * plain build cuts each. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE_FULL 3
#else
#define STRIDE_FULL 1
#endif

/* --- what is given -------------------------------------------------------------------------------
 */

static uint64_t random_state;

/* splitmix64: any numbers will do, as long as they are the same when a step is done again. */
static enum cw_err fixed_random(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        uint64_t z = random_state += 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        buf[i] = (uint8_t)(z >> 24);
    }
    return CW_OK;
}

static struct {
    uint8_t bytes[64];
    size_t len;
} secrets[SECRETS_MAX];
static size_t secret_count;

void torn_init(struct lab *lab)
{
    random_state = 1;
    secret_count = 0;
    lab->port.random = fixed_random;
}

void torn_secret(const void *data, size_t len)
{
    assert_true(secret_count < SECRETS_MAX && len <= sizeof secrets[0].bytes);
    memcpy(secrets[secret_count].bytes, data, len);
    secrets[secret_count++].len = len;
}

void torn_secret_value(struct lab *lab, uint16_t key, size_t len)
{
    uint8_t value[NVM_VALUE_MAX];
    size_t n = 0;
    assert_int_equal(nvm_read(&lab->card->nvm, key, 0, value, sizeof value, &n), CW_OK);
    assert_true(n >= len);
    torn_secret(value + n - len, len);
}

uint16_t torn_two(struct lab *lab, uint8_t ins, const char *first, const char *pin)
{
    uint8_t data[64];
    struct buf_writer w;
    buf_writer_init(&w, data, sizeof data);
    buf_put_u8(&w, (uint8_t)strlen(first));
    buf_put_str(&w, first);
    buf_put_str(&w, pin);
    return lab_apdu(lab, 0x00, ins, 0, LINK_PIN_LINE, data, w.len, 0, NULL, NULL);
}

#define KEYSETS 3

static struct scp03_keys keyset(const struct lab *lab, unsigned number)
{
    static const uint8_t fill[KEYSETS][3] = {{0}, {0xE1, 0xA2, 0xD3}, {0xE4, 0xA5, 0xD6}};
    struct scp03_keys keys;
    memset(keys.enc, fill[number][0], sizeof keys.enc);
    memset(keys.mac, fill[number][1], sizeof keys.mac);
    memset(keys.dek, fill[number][2], sizeof keys.dek);
    if (number == 0) {
        memcpy(keys.enc, lab->port.initial_key, sizeof keys.enc);
        memcpy(keys.mac, lab->port.initial_key, sizeof keys.mac);
        memcpy(keys.dek, lab->port.initial_key, sizeof keys.dek);
    }
    return keys;
}

uint16_t torn_put_keys(struct lab *lab, unsigned number)
{
    uint8_t data[SCP03_KEYS_LEN];
    struct buf_writer w;
    struct scp03_keys keys = keyset(lab, number);
    buf_writer_init(&w, data, sizeof data);
    assert_int_equal(lab_keys_write(lab, (uint8_t)number, &keys, &w), CW_OK);
    uint16_t sw =
        lab_secure(lab, 0x80, SCP03_INS_PUT_KEY, 0, SCP03_PUT_KEY_P2, data, w.len, 256, NULL, NULL);
    if (sw == SW_OK)
        lab->keys = keys;
    return sw;
}

/* --- what is seen --------------------------------------------------------------------------------
 */

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *sha = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestInit_ex(sha, EVP_sha256(), NULL), 1);
    return sha;
}

static void digest_add(EVP_MD_CTX *sha, const void *data, size_t len)
{
    assert_int_equal(EVP_DigestUpdate(sha, data, len), 1);
}

static void digest_end(EVP_MD_CTX *sha, uint8_t out[32])
{
    assert_int_equal(EVP_DigestFinal_ex(sha, out, NULL), 1);
    EVP_MD_CTX_free(sha);
}

static struct lab_flash seen_flash; /* of the card that is looked at */

void torn_again(struct lab *lab)
{
    lab->flash = seen_flash;
    assert_true(lab_power_cycle(lab));
}

/* Every value of the memory as it lies in flash, by a reader that is not the card's. */
static void see_memory(const struct lab *lab, struct torn_seen *out)
{
    static struct lab_flash copy;
    struct card_flash ops = lab_flash_ops(&copy);
    struct nvm nvm;
    uint8_t value[NVM_VALUE_MAX];
    uint16_t key = 0;
    EVP_MD_CTX *sha = digest_new();
    copy = lab->flash;
    assert_int_equal(nvm_look(&nvm, &ops), CW_OK);
    while (nvm_next(&nvm, &key)) {
        size_t len = 0;
        assert_int_equal(nvm_read(&nvm, key, 0, value, sizeof value, &len), CW_OK);
        if ((key & 0xFF00) == NVM_SESSION)
            len = 3; /* version, profile and key slot; the rest is new in every login */
        if ((key & 0xFFF0) == NVM_TRIES)
            out->tries[key & 0xF] = value[0];
        digest_add(sha, &key, sizeof key);
        digest_add(sha, &len, sizeof len);
        digest_add(sha, value, len);
    }
    digest_end(sha, out->memory);
}

static void see_info(struct lab *lab, EVP_MD_CTX *sha, struct torn_seen *out)
{
    uint8_t data[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct buf_reader r;
    struct ber_object o;
    assert_int_equal(lab_apdu(lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, data, &n), SW_OK);
    buf_reader_init(&r, data, n);
    while (ber_next(&r, &o)) {
        uint64_t v = 0;
        for (size_t i = 0; i < o.len; i++)
            v = v << 8 | o.value[i];
        if (o.tag == LINK_TAG_HEAP) /* how much of the pool was ever used */
            continue;
        if (o.tag == LINK_TAG_LIFE)
            out->life = (uint8_t)v;
        if (o.tag == LINK_TAG_TIME)
            out->time = v;
        if (o.tag == LINK_TAG_COUNTER)
            out->counter = (uint32_t)v;
        if (o.tag == LINK_TAG_SEQUENCE)
            out->sequence = (uint32_t)v;
        if (o.tag == LINK_TAG_TRIES)
            assert_int_equal(o.value[0], out->tries[LINK_PIN_HOLDER]);
        if (o.tag == LINK_TAG_PUK)
            assert_int_equal(o.value[0], out->tries[LINK_PIN_PUK]);
        digest_add(sha, o.value, o.len);
    }
    assert_false(r.bad);
}

static void see_object(struct lab *lab, uint16_t object, bool secure, EVP_MD_CTX *sha)
{
    uint8_t data[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint8_t p1 = (uint8_t)(object >> 8), p2 = (uint8_t)object;
    uint16_t sw = secure ? lab_secure(lab, 0, INS_GET_DATA, p1, p2, NULL, 0, 256, data, &n)
                         : lab_apdu(lab, 0, INS_GET_DATA, p1, p2, NULL, 0, 1024, data, &n);
    assert_true(sw == SW_OK || sw == SW_REFERENCE_NOT_FOUND || sw == SW_CONDITIONS);
    digest_add(sha, &sw, sizeof sw);
    digest_add(sha, data, n);
}

/* A key that is there signs; whose it is, its public half says. */
static void see_key(struct lab *lab, uint8_t slot, EVP_MD_CTX *sha)
{
    uint8_t der[CARD_RESPONSE_MAX];
    uint8_t *spki = NULL;
    const uint8_t *p = der;
    size_t len = 0;
    uint16_t sw = lab_secure(lab, 0x80, INS_REQUEST, 0, slot, NULL, 0, 1024, der, &len);
    digest_add(sha, &sw, sizeof sw);
    if (sw != SW_OK) {
        assert_int_equal(sw, SW_REFERENCE_NOT_FOUND);
        return;
    }
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);
    assert_non_null(req);
    assert_int_equal(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
    int n = i2d_PUBKEY(X509_REQ_get0_pubkey(req), &spki);
    assert_true(n > 0);
    digest_add(sha, spki, (size_t)n);
    OPENSSL_free(spki);
    X509_REQ_free(req);
}

/* Which of the key sets opens the channel: one and no other. Through it, what others cannot see. */
static void see_channel(struct lab *lab, struct torn_seen *out)
{
    EVP_MD_CTX *sha = digest_new();
    const struct scp03_keys keys = lab->keys;
    for (unsigned i = 0; i < KEYSETS; i++) {
        lab->keys = keyset(lab, i);
        if (!lab_channel_open(lab))
            continue;
        out->tried.keysets |= (uint8_t)(1u << i);
        see_object(lab, LINK_DO_PAYEES, true, sha);
        for (uint8_t slot = 1; slot <= LINK_KEY_COUNT && out->life <= LINK_LIFE_ACTIVE; slot++)
            see_key(lab, slot, sha);
    }
    lab->keys = keys;
    digest_end(sha, out->tried.keys);
    const unsigned one = out->tried.keysets;
    if (out->life == LINK_LIFE_TERMINATED)
        assert_int_equal(one, 0);
    else
        assert_true(one != 0 && (one & (one - 1)) == 0);
}

/* Which PIN and which PUK is good, by giving them; each on the card as it is. */
static void see_pins(struct lab *lab, struct torn_seen *out)
{
    static const char *const pins[] = {LAB_PIN, TORN_PIN};
    static const char *const third = "808080"; /* a PIN by post is not changed to itself */
    if (out->life != LINK_LIFE_ACTIVE)
        return;
    for (unsigned i = 0; i < 2; i++) {
        torn_again(lab);
        if (torn_two(lab, INS_CHANGE_PIN, pins[i], third) == SW_OK)
            out->tried.pins |= (uint8_t)(1u << i);
    }
    torn_again(lab);
    out->tried.puks = torn_two(lab, INS_RESET_PIN, LAB_PUK, third) == SW_OK;
    /* One PIN or none, and none only when it is blocked. */
    assert_true(out->tries[LINK_PIN_HOLDER] == 0 ? out->tried.pins == 0
                                                 : out->tried.pins == 1 || out->tried.pins == 2);
    assert_int_equal(out->tried.puks, out->tries[LINK_PIN_PUK] > 0);
}

/* Of a terminated card: nothing is in its flash but the values that it has, and no secret. */
static void assert_no_secret(const struct lab *lab)
{
    struct nvm nvm;
    assert_int_equal(nvm_look(&nvm, &lab->port.flash), CW_OK);
    const struct nvm_usage usage = nvm_usage(&nvm);
    assert_int_equal(usage.log, usage.live);
    assert_false(nvm.tail_dirty);
    assert_false(nvm.other_dirty);
    for (size_t s = 0; s < secret_count; s++)
        for (size_t i = 0; i + secrets[s].len <= sizeof lab->flash.bytes; i++)
            if (memcmp(lab->flash.bytes + i, secrets[s].bytes, secrets[s].len) == 0)
                fail_msg("secret %zu is still in the flash of a terminated card, at %zu", s, i);
}

/* The card has just been given power, and is left as it was. `tried`: not only read. */
static void see(struct lab *lab, const struct torn_scenario *s, bool tried, struct torn_seen *out)
{
    static const uint16_t objects[] = {
        LINK_DO_CERT | 1, LINK_DO_CERT | 2, LINK_DO_CERT | 3, LINK_DO_CERT | 4, LINK_DO_ROOT,
        LINK_DO_ROOT | 1, LINK_DO_NAME,     LINK_DO_NAME | 1, LINK_DO_NAME | 2, LINK_DO_NAME | 3,
        LINK_DO_TIME,     LINK_DO_POLICY,   LINK_DO_ISSUER};
    EVP_MD_CTX *sha = digest_new();
    memset(out, 0, sizeof *out);
    see_memory(lab, out);
    see_info(lab, sha, out);
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++)
        see_object(lab, objects[i], false, sha);
    digest_end(sha, out->said);
    if (out->life == LINK_LIFE_TERMINATED)
        assert_no_secret(lab);
    if (!tried)
        return;
    seen_flash = lab->flash;
    see_channel(lab, out);
    see_pins(lab, out);
    torn_again(lab);
    if (s->probe != NULL) {
        s->probe(lab, out->tried.probes);
        torn_again(lab);
    }
}

/* --- the engine ----------------------------------------------------------------------------------
 */

struct states {
    struct torn_seen seen[STATES]; /* old, between in their order, new */
    size_t count;
};

static struct torn {
    struct lab *lab;
    const struct torn_scenario *s;
    enum torn_how how;
    size_t steps;
    struct lab_flash flash[TORN_STEPS_MAX + 1]; /* before each step */
    struct scp03_keys keys[TORN_STEPS_MAX + 1];
    struct states states[TORN_STEPS_MAX];
    struct torn_count count;
    bool between_seen[TORN_STEPS_MAX][TORN_BETWEEN];
    unsigned turn;
} torn;

/* Where the power was cut. */
struct cut {
    size_t step;
    long at;
    enum lab_cut how;
};

static const struct torn_step *step_of(size_t k)
{
    return &torn.s->steps[k];
}

static uint16_t sw_of(size_t k)
{
    return step_of(k)->sw != 0 ? step_of(k)->sw : SW_OK;
}

/* Fills the log of the live bank until `room` bytes are left, so that values move in the command.
 */
static void log_fill(uint32_t room)
{
    struct nvm *nvm = &torn.lab->card->nvm;
    while (nvm->bank_size - nvm->end >= SMALL + room)
        assert_int_equal(nvm_write(nvm, LOG_FILLER, "the log.", 8), CW_OK);
}

/* Everything of the step but its run; the card has power. */
static void ready(size_t k)
{
    random_state = 1000 + k;
    if (step_of(k)->prepare != NULL)
        step_of(k)->prepare(step_of(k)->arg);
    random_state = 2000 + k;
}

static void start(size_t k)
{
    torn.lab->flash = torn.flash[k];
    torn.lab->keys = torn.keys[k];
    assert_true(lab_power_cycle(torn.lab));
    ready(k);
}

static uint16_t run(size_t k)
{
    return step_of(k)->run(step_of(k)->arg);
}

/* What lies between, made from what was before. */
static void record_between(size_t k, size_t i)
{
    struct lab *lab = torn.lab;
    const struct torn_change *c = &step_of(k)->between[i].change;
    struct nvm nvm;
    start(k);
    card_power_down(&lab->card);
    assert_int_equal(nvm_mount(&nvm, &lab->port.flash), CW_OK);
    assert_int_equal(c->value != NULL ? nvm_write(&nvm, c->key, c->value, c->len)
                                      : nvm_remove(&nvm, c->key),
                     CW_OK);
    assert_true(lab_power_cycle(lab));
    see(lab, torn.s, true, &torn.states[k].seen[1 + i]);
}

/* The step without a cut: its states, and the card after it. */
static void record(size_t k)
{
    struct lab *lab = torn.lab;
    struct states *st = &torn.states[k];
    size_t n = 0;
    start(k);
    assert_true(lab_power_cycle(lab));
    see(lab, torn.s, true, &st->seen[0]);
    for (; n < TORN_BETWEEN && step_of(k)->between[n].what != NULL; n++)
        record_between(k, n);
    st->count = n + 2;
    start(k);
    uint16_t sw = run(k);
    if (sw != sw_of(k))
        fail_msg("%s, %s: answers %04X", torn.s->name, step_of(k)->name, sw);
    assert_true(lab_power_cycle(lab));
    torn.flash[k + 1] = lab->flash;
    torn.keys[k + 1] = lab->keys;
    see(lab, torn.s, true, &st->seen[n + 1]);
}

static const struct torn_seen *newest(size_t k)
{
    return &torn.states[k].seen[torn.states[k].count - 1];
}

static void wrong(const struct cut *c, const char *why)
{
    static const char *const in[] = {"before", "after the first byte of", "in the middle of"};
    torn.count.wrong++;
    if (torn.how != TORN_WRONG)
        fail_msg("%s, %s, power cut %s operation %ld: %s", torn.s->name, step_of(c->step)->name,
                 in[c->how], c->at, why);
}

/* Which of the step's states this is; `count` when it is none of them. */
static size_t match(size_t k, const struct torn_seen *seen, bool tried)
{
    for (size_t i = 0; i < torn.states[k].count; i++) {
        struct torn_seen state;
        memcpy(&state, &torn.states[k].seen[i], sizeof state); /* padding as well */
        if (!tried)
            memset(&state.tried, 0, sizeof state.tried);
        if (memcmp(&state, seen, sizeof state) == 0)
            return i;
    }
    return torn.states[k].count;
}

/* The power is cut again, in what the card repairs when it starts. */
static void cut_again(const struct cut *c, const struct lab_flash *dead, unsigned repairs,
                      const struct torn_seen *seen)
{
    struct lab *lab = torn.lab;
    const unsigned stride = torn.how == TORN_FULL ? repairs : repairs / 3 + 1;
    for (unsigned m = stride > 0 ? torn.turn++ % stride : 0; m < repairs; m += stride) {
        struct torn_seen again = {0};
        struct card *card = NULL;
        card_power_down(&lab->card);
        lab->flash = *dead;
        lab->flash.dead = false;
        lab->flash.cut_at = m;
        lab->flash.cut = (enum lab_cut)(m % LAB_CUTS);
        if (card_power_up(&lab->port, &card) == CW_OK)
            lab->card = card;
        assert_true(lab->flash.dead);
        if (!lab_power_cycle(lab)) {
            wrong(c, "the card does not start after a second cut");
            return;
        }
        see_memory(lab, &again);
        if (memcmp(again.memory, seen->memory, sizeof again.memory) != 0)
            wrong(c, "a second cut has changed what was there");
        if (seen->life == LINK_LIFE_TERMINATED)
            assert_no_secret(lab);
        torn.count.second++;
    }
}

/* Does the scenario again from the cut step on: to its end, or only that step. */
static void finish(const struct cut *c, size_t index, bool whole)
{
    struct lab *lab = torn.lab;
    const size_t k = c->step;
    const bool done = index == torn.states[k].count - 1;
    const size_t last = whole ? torn.steps - 1 : k;
    struct torn_seen seen = {0};
    lab->keys = torn.keys[done ? k + 1 : k];
    if (index > 0 && !done && step_of(k)->between[index - 1].recover != NULL)
        assert_int_equal(step_of(k)->between[index - 1].recover(), SW_OK);
    for (size_t j = done ? k + 1 : k; j <= last; j++) {
        assert_true(lab_power_cycle(lab));
        ready(j);
        uint16_t sw = run(j);
        if (sw != sw_of(j))
            fail_msg("%s, %s: %04X when done again after a cut in %s", torn.s->name,
                     step_of(j)->name, sw, step_of(k)->name);
    }
    assert_true(lab_power_cycle(lab));
    see_memory(lab, &seen);
    if (memcmp(seen.memory, newest(last)->memory, sizeof seen.memory) != 0)
        wrong(c, "the scenario does not come to its end");
}

/* The power is back. `sw` is what the card had answered when it failed. */
static void after_cut(const struct cut *c, uint16_t sw)
{
    static struct lab_flash dead;
    struct lab *lab = torn.lab;
    const size_t k = c->step;
    const struct torn_seen *old = &torn.states[k].seen[0];
    struct torn_seen seen;
    torn.count.cuts++;
    dead = lab->flash;
    if (!lab_power_cycle(lab)) {
        wrong(c, "the card does not start");
        return;
    }
    const unsigned repairs = lab->flash.operations - dead.operations;
    /* Where many operations are cut, what takes long is done after every fourth cut. */
    const bool tried = torn.how != TORN_FULL || torn.count.cuts % 4 == 0;
    see(lab, torn.s, tried, &seen);
    const size_t index = match(k, &seen, tried);
    if (index == torn.states[k].count) {
        wrong(c, "neither old nor new, nor what may lie between");
        return;
    }
    if (seen.counter < old->counter || seen.sequence < old->sequence || seen.time < old->time)
        wrong(c, "a counter went back");
    if (sw == sw_of(k) && !step_of(k)->loses &&
        memcmp(seen.memory, newest(k)->memory, sizeof seen.memory) != 0)
        wrong(c, "what was answered for is not there");
    if (index == 0)
        torn.count.old++;
    else if (index == torn.states[k].count - 1)
        torn.count.new ++;
    else
        torn.between_seen[k][index - 1] = true, torn.count.between++;
    static struct lab_flash now;
    now = lab->flash;
    cut_again(c, &dead, repairs, &seen);
    lab->flash = now;
    if (tried)
        finish(c, index, torn.how == TORN_PLAIN && c->how == LAB_CUT_HALF);
}

/* Cuts the power in every operation of a step: before it, after one byte, and in its middle; where
 * values move, which is many operations, in one of these ways each. After an operation is before
 * the next; after the last one, the answer is lost. */
static void cut_step(size_t k, uint32_t room)
{
    struct lab *lab = torn.lab;
    const long stride = torn.how == TORN_FULL ? STRIDE_FULL : 1;
    bool dead = true;
    for (long at = 0; dead; at += stride) {
        for (int how = 0; how < LAB_CUTS && dead; how++) {
            struct cut c = {k, at, (enum lab_cut)how};
            if (torn.how == TORN_FULL && how != (at + at / 3) % LAB_CUTS)
                continue;
            start(k);
            if (torn.how == TORN_FULL)
                log_fill(room);
            const uint32_t bank = lab->card->nvm.bank;
            lab->flash.cut_at = at;
            lab->flash.cut = c.how;
            uint16_t sw = run(k);
            dead = lab->flash.dead;
            if (!dead) {
                torn.count.operations += (unsigned)at;
                torn.count.moves += lab->card->nvm.bank != bank;
                c.how = LAB_CUT_BEFORE;
            }
            after_cut(&c, sw);
        }
    }
}

/* Leaves room for what the values of the scenario grow by, and not for much more. */
static void memory_fill(struct lab *lab, size_t growth)
{
    static const uint8_t filler[2000];
    static const size_t sizes[] = {2000, 500, 100};
    uint16_t key = FILLER;
    struct nvm nvm;
    card_power_down(&lab->card);
    assert_int_equal(nvm_mount(&nvm, &lab->port.flash), CW_OK);
    assert_int_equal(nvm_write(&nvm, LOG_FILLER, "the log.", 8), CW_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        while (nvm_usage(&nvm).live + sizes[i] + SMALL + NVM_RESERVE + growth <
               nvm_usage(&nvm).capacity)
            assert_int_equal(nvm_write(&nvm, key++, filler, sizes[i]), CW_OK);
    assert_true(lab_power_cycle(lab));
}

/* Every cut has been made: was the listing worth it? */
static void check_count(void)
{
    const struct torn_count *n = &torn.count;
    for (size_t k = 0; k < torn.steps; k++)
        for (size_t i = 0; i + 2 < torn.states[k].count; i++)
            if (!torn.between_seen[k][i])
                fail_msg("%s, %s: never seen: %s", torn.s->name, step_of(k)->name,
                         step_of(k)->between[i].what);
    assert_true(n->old > 0 && n->new > 0);
    assert_true(n->old + n->between + n->new == n->cuts);
    assert_true(torn.how != TORN_FULL || n->moves > 0);
    assert_true(torn.how != TORN_FULL || n->second > 0);
}

struct torn_count torn_run(struct lab *lab, const struct torn_scenario *scenario, enum torn_how how)
{
    memset(&torn, 0, sizeof torn);
    torn.lab = lab;
    torn.s = scenario;
    torn.how = how;
    while (torn.steps < TORN_STEPS_MAX && scenario->steps[torn.steps].name != NULL)
        torn.steps++;
    if (how == TORN_FULL)
        memory_fill(lab, scenario->growth);
    torn.flash[0] = lab->flash;
    torn.keys[0] = lab->keys;
    for (size_t k = 0; k < torn.steps; k++)
        record(k);
    for (size_t k = 0; k < torn.steps; k++) {
        const size_t writes = how == TORN_FULL ? torn.states[k].count - 1 : 1;
        for (uint32_t i = 0; i < writes; i++)
            cut_step(k, i * SMALL);
    }
    lab->flash = torn.flash[torn.steps];
    lab->keys = torn.keys[torn.steps];
    assert_true(lab_power_cycle(lab));
    torn.count.commands = (unsigned)torn.steps;
    if (how == TORN_WRONG)
        return torn.count;
    check_count();
    const struct torn_count *n = &torn.count;
    print_message("%s%s: %u commands, %u flash operations, %u moves; %u cuts: %u old, %u between, "
                  "%u new; %u second cuts\n",
                  scenario->name, how == TORN_FULL ? ", memory nearly full" : "", n->commands,
                  n->operations, n->moves, n->cuts, n->old, n->between, n->new, n->second);
    return torn.count;
}
