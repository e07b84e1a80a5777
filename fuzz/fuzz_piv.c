/* fuzz_piv.c - a hostile PC at the PIV application: sequences of commands to a whole card, with
 * right and wrong numbers, power cuts, and randomness that fails. What is held against the card:
 * no key works without what its row in docs/piv.md asks for, nothing is written without the
 * administration key, tries come back by a right number only, and the link application notices
 * nothing. */
#include "../tests/unit/unit.h"

#include "../tests/unit/piv_lab.h"

#include <stdlib.h>
#include <string.h>

#define GET_DATA     0xCB
#define PUT_DATA     0xDB
#define AUTHENTICATE 0x87
#define SET_ADMIN    0xFF

static struct lab lab;
static struct lab_flash issued;

/* What the card may believe, from what it was told. */
struct model {
    bool pin;   /* given, and not taken back */
    bool fresh; /* by the very last command */
    bool admin;
    unsigned tries; /* at most so many are left */
};

static void broken(const char *what)
{
    fprintf(stderr, "the card broke its promise: %s\n", what);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint8_t refs[] = {PIV_REF_AUTH, PIV_REF_SIGNATURE, PIV_REF_MANAGEMENT,
                                   PIV_REF_CARD};
    (void)argc;
    (void)argv;
    piv_lab_init(&lab, PIV_ALG_AES128);
    if (piv_lab_admin(&lab, PIV_ALG_AES128) != SW_OK)
        broken("no administration");
    for (size_t i = 0; i < sizeof refs; i++)
        if (piv_lab_generate(&lab, refs[i], PIV_ALG_P256, NULL) != SW_OK)
            broken("no key");
    if (piv_lab_put(&lab, PIV_LAB_PRINTED, "Ada", 3) != SW_OK)
        broken("no object");
    issued = lab.flash;
    return 0;
}

/* May the command succeed with an answer or an effect? */
static void held(const struct model *m, const struct apdu_command *cmd, size_t answer)
{
    if (cmd->ins == AUTHENTICATE && cmd->p2 != PIV_REF_ADMIN && answer > 0) {
        bool may = cmd->p2 == PIV_REF_CARD || (cmd->p2 == PIV_REF_SIGNATURE ? m->fresh : m->pin);
        if (!may)
            broken("a key worked without the PIN");
    }
    if ((cmd->ins == PUT_DATA || cmd->ins == INS_GENERATE_KEY || cmd->ins == SET_ADMIN) &&
        !m->admin)
        broken("something was written without the administration key");
    if (cmd->ins == GET_DATA && !m->pin && cmd->nc == 5 && cmd->data[4] == PIV_LAB_PRINTED)
        broken("printed information without the PIN");
}

/* What the model could not follow: right numbers come from right() alone, and a SELECT is one
 * piece.
 */
static bool left_out(const struct apdu_command *cmd)
{
    bool numbers =
        cmd->ins == INS_VERIFY || cmd->ins == INS_CHANGE_PIN || cmd->ins == INS_RESET_PIN;
    if (cmd->cla == APDU_CLA_CHAIN)
        return numbers || cmd->ins == INS_SELECT;
    return numbers && cmd->nc > 0 &&
           (memmem(cmd->data, cmd->nc, PIV_LAB_PIN, 6) != NULL ||
            memmem(cmd->data, cmd->nc, PIV_LAB_PUK, 8) != NULL);
}

/* One command from the input: an instruction by index, so that bytes are not spent on finding it.
 */
static void command(struct buf_reader *in, struct model *m)
{
    static const uint8_t ops[] = {INS_SELECT,       INS_VERIFY, INS_CHANGE_PIN, INS_RESET_PIN,
                                  GET_DATA,         PUT_DATA,   AUTHENTICATE,   INS_GENERATE_KEY,
                                  INS_GET_RESPONSE, SET_ADMIN,  0xF7,           0xFE};
    uint8_t bytes[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint8_t op = buf_get_u8(in);
    struct apdu_command cmd = {.p1 = buf_get_u8(in), .p2 = buf_get_u8(in)};
    bool chained = op & 0x80;
    cmd.cla = chained ? APDU_CLA_CHAIN : 0;
    cmd.ins = ops[op % sizeof ops];
    cmd.nc = buf_get_u8(in);
    cmd.ne = buf_get_u8(in);
    if (cmd.nc > in->left)
        cmd.nc = in->left;
    cmd.data = cmd.nc > 0 ? buf_get_bytes(in, cmd.nc) : NULL;
    if (cmd.ins == INS_GENERATE_KEY && cmd.nc == 5 && cmd.data[4] == PIV_ALG_RSA2048)
        return; /* takes its time, and adds nothing here */
    if (left_out(&cmd))
        return;
    if (apdu_write(&cmd, bytes, sizeof bytes, &n) != CW_OK)
        return;
    n = card_process(lab.card, bytes, n, response, sizeof response);
    if (n < 2)
        broken("an answer without a status word");
    uint16_t sw = (uint16_t)(response[n - 2] << 8 | response[n - 1]);
    if (!chained && (sw == SW_OK || (sw & 0xFF00) == SW_MORE))
        held(m, &cmd, n - 2);
    if (!chained || sw != SW_OK) /* a chain is one command */
        m->fresh = false;
    /* Whatever the input gives can only take away. */
    if (cmd.ins == INS_SELECT && sw == SW_OK && cmd.nc > 0 && cmd.data[0] != piv_aid[0])
        m->pin = m->admin = false;
    if (cmd.ins == AUTHENTICATE && cmd.p2 == PIV_REF_ADMIN && !chained &&
        (sw == SW_OK || sw == SW_SECURITY_STATUS)) /* asked again, or answered wrongly */
        m->admin = false;
}

/* The right PIN, the right key. A chain that was begun takes the first command with it. */
static void right(struct model *m, bool admin)
{
    uint16_t sw = 0;
    for (int i = 0; i < 2 && sw != SW_OK; i++)
        sw = admin ? piv_lab_admin(&lab, PIV_ALG_AES128) : piv_lab_verify(&lab, PIV_LAB_PIN);
    m->fresh = sw == SW_OK && !admin;
    if (sw != SW_OK)
        return;
    if (admin) {
        m->admin = true;
        return;
    }
    if (m->tries == 0)
        broken("a blocked PIN opened");
    m->pin = true;
    m->tries = LINK_PIN_TRIES;
}

static void power(struct model *m)
{
    if (!lab_power_cycle(&lab) || piv_lab_select(&lab) != SW_OK)
        broken("it does not start");
    m->pin = m->fresh = m->admin = false;
    uint16_t sw = piv_lab_status(&lab);
    unsigned left = sw == SW_PIN_BLOCKED ? 0 : sw & 0xFu;
    if (left > m->tries)
        broken("a reset gave tries back");
    m->tries = left;
}

static unsigned link_tries(void)
{
    uint8_t out[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    if (lab_select(&lab) != SW_OK ||
        lab_apdu(&lab, 0x80, INS_INFO, 0, 0, NULL, 0, 256, out, &n) != SW_OK ||
        ber_find(out, n, LINK_TAG_TRIES, &o) != CW_OK)
        broken("link does not answer");
    return o.value[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf_reader in;
    struct model m = {.tries = LINK_PIN_TRIES};
    buf_reader_init(&in, data, size);
    lab.flash = issued;
    power(&m);
    for (unsigned i = 0; i < 40 && in.left > 5; i++) {
        switch (buf_get_u8(&in)) {
        case 0xF0:
            right(&m, false);
            break;
        case 0xF1:
            right(&m, true);
            break;
        case 0xF2: /* power fails after so many bytes of flash work */
            lab.flash.budget = buf_get_u8(&in);
            break;
        case 0xF3:
            lab.random_fails = !lab.random_fails;
            break;
        case 0xF4:
            power(&m);
            break;
        default:
            command(&in, &m);
        }
    }
    lab.random_fails = false;
    power(&m);
    if (link_tries() != LINK_PIN_TRIES)
        broken("PIV took tries from link");
    return 0;
}
