/* fuzz_card.c - a hostile world around a whole card: sequences of commands, lines to real servers,
 * the issuer's channel and messages, power cuts, and memory and randomness that fail. What the card
 * promises is in card_model.c. Everything random comes from the input: a finding happens again. */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_METHOD: the servers' random numbers too */
#include "card_fuzz.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))

struct fuzz fz;
static struct lab_flash starts[START_COUNT];
static bool trace; /* CARDWIRE_FUZZ_TRACE is set: prints the commands */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void fuzz_broken(const char *what)
{
    fprintf(stderr, "the card broke its promise: %s\n", what);
    abort();
}

/* --- random numbers ------------------------------------------------------------------------------
 */

/* SplitMix64 (Steele, Lea, Flood 2014): not for keys, but the same every time. */
static uint64_t next(uint64_t *s)
{
    uint64_t z = *s += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void fill(uint64_t *s, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf[i] = (uint8_t)next(s);
}

enum cw_err fuzz_random_bytes(void *ctx, uint8_t *buf, size_t len)
{
    (void)ctx;
    switch (fz.random) {
    case RANDOM_FAILS:
        return CW_ERR_IO;
    case RANDOM_LATER:
        if (fz.random_left == 0)
            return CW_ERR_IO;
        fz.random_left--;
        break;
    case RANDOM_STUCK:
        memset(buf, fz.random_byte, len);
        return CW_OK;
    case RANDOM_SHORT: /* two bytes, again and again */
        for (size_t i = 0; i < len; i++)
            buf[i] = (uint8_t)(fz.random_byte + i % 2);
        return CW_OK;
    case RANDOM_GOOD:
        break;
    }
    fill(&fz.seed, buf, len);
    return CW_OK;
}

static uint64_t server_seed;

static int server_bytes(unsigned char *buf, int num)
{
    fill(&server_seed, buf, (size_t)num);
    return 1;
}

static int server_status(void)
{
    return 1;
}

static const RAND_METHOD server_random = {
    .bytes = server_bytes, .pseudorand = server_bytes, .status = server_status};

/* --- the card ------------------------------------------------------------------------------------
 */

uint16_t fuzz_exchange(const uint8_t *bytes, size_t len, const struct fuzz_about *about,
                       uint8_t *out, size_t *n)
{
    static uint8_t response[CARD_RESPONSE_MAX];
    if (fz.lab.flash.dead && !fz.cut_waits)
        fuzz_power(false, fz.lab.port.contactless, -1);
    /* In memory of its own length, so that a byte too many is seen. */
    uint8_t *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, bytes, len);
    size_t got =
        fz.lab.card == NULL ? 0 : card_process(fz.lab.card, exact, len, response, sizeof response);
    if (fz.lab.card == NULL) {
        free(exact);
        if (n != NULL)
            *n = 0;
        return SW_UNKNOWN;
    }
    if (got < 2 || got > CARD_RESPONSE_MAX)
        fuzz_broken("an answer without a status word");
    if (trace) /* header of the command, its length, the answer's length and status word */
        fprintf(stderr, "%02X %02X %02X %02X %4zu -> %4zu %02X%02X\n", bytes[0],
                len > 1 ? bytes[1] : 0, len > 2 ? bytes[2] : 0, len > 3 ? bytes[3] : 0, len,
                got - 2, response[got - 2], response[got - 1]);
    model_command(exact, len, about, response, got);
    free(exact);
    if (out != NULL)
        memcpy(out, response, got - 2);
    if (n != NULL)
        *n = got - 2;
    return (uint16_t)(response[got - 2] << 8 | response[got - 1]);
}

uint16_t fuzz_command(const struct apdu_command *cmd, const struct fuzz_about *about, uint8_t *out,
                      size_t *n)
{
    static uint8_t bytes[8192];
    size_t len = 0;
    if (apdu_write(cmd, bytes, sizeof bytes, &len) != CW_OK) {
        if (n != NULL)
            *n = 0;
        return SW_UNKNOWN;
    }
    return fuzz_exchange(bytes, len, about, out, n);
}

/* `budget`: bytes of flash work that power lasts for; -1: it stays. */
static enum cw_err power_up(long budget)
{
    struct lab_flash *flash = &fz.lab.flash;
    flash->dead = false;
    flash->budget = budget;
    flash->fail_read = -1;
    enum fuzz_random random = fz.random;
    fz.random = RANDOM_GOOD;
    enum cw_err err = card_power_up(&fz.lab.port, &fz.lab.card);
    fz.random = random;
    return err;
}

/* Power that fails before the card is up, and comes back. */
static enum cw_err power_up_torn(long budget)
{
    if (power_up(budget) == CW_OK)
        card_power_down(&fz.lab.card);
    return power_up(-1);
}

/* Reset, or power off and on again. A card whose flash nobody damaged starts. */
void fuzz_power(bool reset, bool contactless, long budget)
{
    struct lab_flash *flash = &fz.lab.flash;
    enum cw_err err = CW_OK;
    scp03_end(&fz.host);
    line_peer_free();
    if (reset && fz.lab.card != NULL) {
        flash->dead = false;
        flash->budget = flash->fail_read = -1;
        err = card_reset(fz.lab.card);
    } else {
        card_power_down(&fz.lab.card);
        fz.lab.port.contactless = contactless;
        err = power_up_torn(budget);
    }
    if (err != CW_OK && !fz.model.blind)
        fuzz_broken("it does not start again");
    if (err != CW_OK) {
        card_power_down(&fz.lab.card);
        return;
    }
    mbedtls_memory_buffer_set_verify(MBEDTLS_MEMORY_VERIFY_ALLOC | MBEDTLS_MEMORY_VERIFY_FREE);
    model_power_up();
}

/* --- starting states -----------------------------------------------------------------------------
 */

static void want(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "fuzz_card: cannot make a card: %s\n", what);
        exit(2);
    }
}

static void put(uint16_t object, const void *data, size_t len)
{
    want(lab_put(&fz.lab, object, data, len) == SW_OK, "PUT DATA");
}

static void put_payees(void)
{
    uint8_t bytes[POLICY_PAYEES_LENMAX];
    struct buf_writer w;
    const struct policy_payee one = {"DE02120300000000202051", "Max"};
    const struct policy_payee two = {"FR1420041010050500013M02606", "Eve"};
    buf_writer_init(&w, bytes, sizeof bytes);
    want(policy_payee_put(&w, &one) == CW_OK && policy_payee_put(&w, &two) == CW_OK, "payees");
    put(LINK_DO_PAYEES, bytes, w.len);
}

static void put_limits(uint8_t flags)
{
    struct policy p = lab_policy();
    p.flags = flags;
    p.limits[0] = (struct policy_limit){"EUR", 10000, 25000, 500, 1200};
    p.limits[1] = (struct policy_limit){"JPY", 9000, 9000, 0, 0};
    p.limit_count = 2;
    want(lab_put_policy(&fz.lab, &p) == SW_OK, "policy");
}

static void put_piv(void)
{
    static const uint8_t admin[] = {PIV_ALG_AES128, 0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                    0x10,           0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE};
    want(lab_put_pin(&fz.lab, LINK_PIN_PIV, 0, "161803") == SW_OK, "PIV PIN");
    want(lab_put_pin(&fz.lab, LINK_PIN_PIV_PUK, 0, "57721566") == SW_OK, "PIV PUK");
    put(LINK_DO_ADMIN, admin, sizeof admin);
}

static void card_new(void)
{
    EVP_PKEY *key = fz.lab.update_key;
    lab_init(&fz.lab);
    fz.lab.port.random = fuzz_random_bytes;
    fz.lab.update_key = key;
}

static void keep(enum fuzz_start start)
{
    starts[start] = fz.lab.flash;
    card_power_down(&fz.lab.card);
}

/* A complete card of the lab, with what the starting state wants besides. */
static void make(enum fuzz_start start, const struct lab_identity *card_ca,
                 const struct lab_identity *root)
{
    card_new();
    if (start == START_BLANK) {
        keep(start);
        return;
    }
    lab_personalise_only(&fz.lab, SLOTS, card_ca, root, 7);
    if (start == START_PLAIN)
        put_limits(POLICY_SESSIONS_RAM);
    if (start == START_ACTIVE || start == START_FULL || start == START_PERSONALISED) {
        put_piv();
        put_payees();
        put_limits(POLICY_LINE_CONTACTLESS | POLICY_SESSIONS_NVM);
    }
    if (start == START_PAYEES) {
        put_piv();
        put_payees();
        put_limits(POLICY_FLAGS);
    }
    if (start != START_COMPLETE)
        want(lab_set_status(&fz.lab, LINK_LIFE_PERSONALISED) == SW_OK, "personalised");
    if (start != START_COMPLETE && start != START_PERSONALISED)
        want(lab_set_status(&fz.lab, LINK_LIFE_ACTIVE) == SW_OK, "active");
    if (start == START_LOCKED || start == START_TERMINATED)
        want(lab_set_status(&fz.lab, start == START_LOCKED ? LINK_LIFE_LOCKED
                                                           : LINK_LIFE_TERMINATED) == SW_OK,
             "locked");
    keep(start);
}

/* An RSA key for PIV's 9D, made by OpenSSL. */
static void add_rsa(struct nvm *nvm)
{
    uint8_t bytes[NVM_VALUE_MAX] = {PIV_ALG_RSA2048};
    uint8_t *at = bytes + 1;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    int n = key != NULL ? i2d_PrivateKey(key, NULL) : 0;
    want(n > 0 && (size_t)n < sizeof bytes && i2d_PrivateKey(key, &at) == n, "RSA key");
    want(nvm_write(nvm, NVM_PIV_KEY | PIV_REF_MANAGEMENT, bytes, 1 + (size_t)n) == CW_OK, "9D");
    EVP_PKEY_free(key);
}

/* Values behind the card's back, so that making the snapshots takes no time: PIV's keys, and what
 * fills the memory up. */
static void add_values(enum fuzz_start start)
{
    static const uint8_t refs[] = {PIV_REF_AUTH, PIV_REF_SIGNATURE, PIV_REF_MANAGEMENT,
                                   PIV_REF_CARD};
    static uint8_t bytes[NVM_VALUE_MAX];
    static struct nvm nvm;
    struct card_flash ops = lab_flash_ops(&starts[start]);
    want(nvm_mount(&nvm, &ops) == CW_OK, "mount");
    for (size_t i = 0; i < sizeof refs; i++) {
        fill(&fz.seed, bytes, 33);
        bytes[0] = PIV_ALG_P256;
        bytes[1] &= 0x7F; /* below the order of the curve */
        want(nvm_write(&nvm, NVM_PIV_KEY | refs[i], bytes, 33) == CW_OK, "PIV key");
    }
    if (start == START_PAYEES)
        add_rsa(&nvm);
    if (start != START_FULL)
        return;
    static const uint8_t objects[] = {1, 2, 5, 6, 7, 9, 10, 11, 12};
    for (size_t len = 1900; len >= 64; len /= 2)
        for (size_t i = 0; i < sizeof objects; i++) {
            size_t have = 0;
            if (nvm_size(&nvm, NVM_PIV_OBJECT | objects[i], &have) == CW_OK)
                continue;
            memset(bytes, objects[i], len);
            if (nvm_write(&nvm, NVM_PIV_OBJECT | objects[i], bytes, len) != CW_OK)
                break;
        }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    trace = getenv("CARDWIRE_FUZZ_TRACE") != NULL;
    want(RAND_set_rand_method(&server_random) == 1, "random numbers");
    fz.seed = 1;
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    lab_flash_init(&starts[START_ERASED]);
    for (unsigned s = 0; s < START_ERASED; s++)
        make((enum fuzz_start)s, &card_ca, &root);
    add_values(START_ACTIVE);
    add_values(START_PAYEES);
    add_values(START_FULL);
    fz.issuer[0] = fz.lab.update_key;
    fz.issuer[1] = EVP_EC_gen("P-256");
    line_init(&root, &card_ca);
    fz.lab.flash = starts[START_ACTIVE];
    line_make_session();
    keep(START_ACTIVE);
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

/* --- one input -----------------------------------------------------------------------------------
 */

static void begin(struct buf_reader *in)
{
    enum fuzz_start start = (enum fuzz_start)(buf_get_u8(in) % START_COUNT);
    uint8_t how = buf_get_u8(in);
    fz.lab.port.contactless = how & 1;
    /* Far from each other, and from what made the cards. */
    fz.seed = UINT64_C(0x6361726477697265) ^ buf_get_u32(in);
    (void)next(&fz.seed);
    fz.seed = next(&fz.seed);
    server_seed = ~fz.seed;
    fz.random = RANDOM_GOOD;
    fz.cut_waits = false;
    fz.slices = 0;
    fz.last_len = fz.message_len = 0;
    fz.lab.flash = starts[start];
    fz.lab.flash.operations = 0;
    scp03_end(&fz.host);
    line_begin_run();
    if (power_up_torn(how & 2 ? how >> 2 : -1) != CW_OK)
        fuzz_broken("it does not start");
    mbedtls_memory_buffer_set_verify(MBEDTLS_MEMORY_VERIFY_ALLOC | MBEDTLS_MEMORY_VERIFY_FREE);
    model_begin();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf_reader in;
    buf_reader_init(&in, data, size);
    fz.input = data;
    fz.input_len = size;
    if (size < FUZZ_HEADER)
        return 0;
    begin(&in);
    for (unsigned i = 0; i < FUZZ_OPS_MAX && in.left >= 2; i++) {
        struct buf_reader payload;
        enum fuzz_op op = (enum fuzz_op)(buf_get_u8(&in) % OP_COUNT);
        size_t len = buf_get_u8(&in);
        if (len > in.left)
            len = in.left;
        buf_reader_init(&payload, buf_get_bytes(&in, len), len);
        ops_run(op, &payload);
    }
    fz.random = RANDOM_GOOD;
    fz.cut_waits = false;
    if (fz.lab.card != NULL && !fz.model.blind)
        model_end();
    fuzz_power(false, false, -1);
    line_peer_free();
    card_power_down(&fz.lab.card);
    return 0;
}
