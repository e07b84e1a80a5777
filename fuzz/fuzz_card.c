/* fuzz_card.c - a hostile terminal: sequences of commands to a whole card, with power cuts, bytes
 * that claim to come from a server, and memory and randomness that fail. What is held against the
 * card is in check(): no line and no order without the PIN, tries that only a right PIN gives back,
 * and a counter that never goes back. */
#include "../tests/unit/unit.h"

#include "../tests/unit/card_lab.h"
#include "proto/ber.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS (1 << (LINK_KEY_TLS_P256 - 1) | 1 << (LINK_KEY_ORDER_P256 - 1))

static struct lab lab;
static struct lab_flash blank, active;

/* What the card may believe, from what it was told. */
struct model {
    bool line, order; /* right PIN given for it, not spent */
    unsigned tries;
    uint32_t counter;
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
    (void)argc;
    (void)argv;
    struct lab_identity root = lab_ca_new("R");
    struct lab_identity card_ca = lab_ca_new("C");
    lab_init(&lab);
    blank = lab.flash;
    lab_personalise(&lab, SLOTS, &card_ca, &root, 7);
    active = lab.flash;
    lab_identity_free(&root);
    lab_identity_free(&card_ca);
    return 0;
}

static uint16_t exchange(const uint8_t *command, size_t len, uint8_t *response, size_t *n)
{
    *n = card_process(lab.card, command, len, response, CARD_RESPONSE_MAX);
    if (*n < 2 || *n > CARD_RESPONSE_MAX)
        broken("an answer without a status word");
    return (uint16_t)(response[*n - 2] << 8 | response[*n - 1]);
}

static void read_back(unsigned *tries, uint32_t *counter)
{
    static const uint8_t info[] = {0x80, INS_INFO, LINK_INFO_CARD, 0, 0};
    uint8_t response[CARD_RESPONSE_MAX];
    size_t n = 0;
    struct ber_object o;
    /* May come in the middle of a chain, which it breaks. */
    uint16_t sw = exchange(info, sizeof info, response, &n);
    if (sw == SW_LAST_OF_CHAIN)
        sw = exchange(info, sizeof info, response, &n);
    if (sw == SW_CONDITIONS && lab_select(&lab) == SW_OK)
        sw = exchange(info, sizeof info, response, &n);
    if (sw != SW_OK || ber_find(response, n - 2, LINK_TAG_TRIES, &o) != CW_OK)
        broken("INFO does not answer");
    *tries = o.value[0];
    if (ber_find(response, n - 2, LINK_TAG_COUNTER, &o) != CW_OK)
        broken("INFO has no counter");
    struct buf_reader r;
    buf_reader_init(&r, o.value, o.len);
    *counter = buf_get_u32(&r);
}

/* One command from the input: an instruction by index, so that bytes are not spent on finding it.
 */
static void command(struct buf_reader *in, struct model *m, bool is_active)
{
    static const uint8_t ops[][2] = {
        {0x00, INS_SELECT},     {0x00, INS_VERIFY},       {0x00, INS_GET_DATA},
        {0x80, INS_OPEN},       {0x80, INS_STEP},         {0x80, INS_WRITE},
        {0x80, INS_READ},       {0x80, INS_SIGN_ORDER},   {0x80, INS_INFO},
        {0x80, INS_CLOSE},      {0x00, INS_GET_RESPONSE}, {0x00, INS_PUT_DATA},
        {0x80, INS_SET_STATUS}, {0x80, INS_REQUEST}};
    uint8_t bytes[CARD_COMMAND_MAX];
    uint8_t response[CARD_RESPONSE_MAX];
    size_t n = 0;
    uint8_t op = buf_get_u8(in);
    struct apdu_command cmd = {.p1 = buf_get_u8(in), .p2 = buf_get_u8(in)};
    cmd.cla = ops[op % 14][0] | (op & 0x80 ? APDU_CLA_CHAIN : 0);
    cmd.ins = ops[op % 14][1];
    cmd.nc = buf_get_u8(in) * (op & 0x40 ? 4u : 1u);
    cmd.ne = buf_get_u8(in);
    if (cmd.ne == 255)
        cmd.ne = 1024;
    if (cmd.nc > in->left)
        cmd.nc = in->left;
    cmd.data = buf_get_bytes(in, cmd.nc);
    if (cmd.nc == 0)
        cmd.data = NULL;
    if (apdu_write(&cmd, bytes, sizeof bytes, &n) != CW_OK)
        return;
    uint16_t sw = exchange(bytes, n, response, &n);
    if (cmd.ins == INS_SELECT && sw == SW_OK && !(op & 0x80))
        m->line = m->order = false;
    if (op & 0x80 || !is_active)
        return;
    if (cmd.ins == INS_OPEN && sw == SW_OK) {
        if (!m->line)
            broken("a line without the PIN");
        m->line = false;
    }
    if (cmd.ins == INS_SIGN_ORDER && sw == SW_OK)
        broken("an order without an open line");
    if ((cmd.ins == INS_PUT_DATA || cmd.ins == INS_SET_STATUS || cmd.ins == INS_REQUEST) &&
        sw == SW_OK)
        broken("personalisation of an active card");
}

static void right_pin(struct model *m, uint8_t use)
{
    uint16_t sw = lab_verify(&lab, use, LAB_PIN);
    if (sw == SW_LAST_OF_CHAIN)
        sw = lab_verify(&lab, use, LAB_PIN);
    if (sw != SW_OK)
        return;
    if (m->tries == 0)
        broken("a blocked PIN opened");
    if (use == LINK_PIN_LINE)
        m->line = true;
    else
        m->order = true;
    m->tries = LINK_PIN_TRIES;
}

/* After the sequence, and after power has come back: nothing was given back that was taken. */
static void check(const struct model *m)
{
    unsigned tries = 0;
    uint32_t counter = 0;
    read_back(&tries, &counter);
    if (tries > m->tries)
        broken("tries came back without the PIN");
    if (counter < m->counter)
        broken("the order counter went back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf_reader in;
    struct model m = {.tries = LINK_PIN_TRIES};
    buf_reader_init(&in, data, size);
    bool is_active = buf_get_u8(&in) % 4 != 0;
    lab.flash = is_active ? active : blank;
    if (!lab_power_cycle(&lab))
        broken("it does not start");
    for (unsigned i = 0; i < 40 && in.left > 5; i++) {
        unsigned before = 0;
        uint8_t what = buf_get_u8(&in);
        switch (what) {
        case 0xF0:
            right_pin(&m, LINK_PIN_LINE);
            break;
        case 0xF1:
            right_pin(&m, LINK_PIN_ORDER);
            break;
        case 0xF2: /* power fails after so many bytes of flash work */
            lab.flash.budget = buf_get_u8(&in);
            break;
        case 0xF3:
            lab.random_fails = !lab.random_fails;
            break;
        case 0xF4:
            if (!lab_power_cycle(&lab))
                broken("it does not start again");
            m.line = m.order = false;
            read_back(&before, &m.counter);
            if (is_active && before > m.tries)
                broken("a reset gave tries back");
            m.tries = is_active ? before : m.tries;
            break;
        default:
            command(&in, &m, is_active);
        }
    }
    lab.random_fails = false;
    if (!lab_power_cycle(&lab))
        broken("it does not start at the end");
    if (is_active)
        check(&m);
    return 0;
}
