/* dispatch.c - from a command's bytes to its handler: chains are joined, the command's row is
 * checked, errors become status words (here and nowhere else), and long answers are handed out in
 * parts. */
#include "card/state.h"

#include "base/ct.h"

#include <string.h>

static uint16_t sw_of(const struct card *card, enum cw_err err)
{
    switch (err) {
    case CW_OK:
        return SW_OK;
    case CW_ERR_ARG:
        return SW_WRONG_P1P2;
    case CW_ERR_LENGTH:
        return SW_WRONG_LENGTH;
    case CW_ERR_FORMAT:
        return SW_WRONG_DATA;
    case CW_ERR_STATE:
        return SW_CONDITIONS;
    case CW_ERR_AUTH:
        return (uint16_t)(SW_PIN_TRIES | pin_tries(&card->nvm));
    case CW_ERR_BLOCKED:
        return SW_PIN_BLOCKED;
    case CW_ERR_DENIED:
        return SW_SECURITY_STATUS;
    case CW_ERR_NOT_FOUND:
        return SW_REFERENCE_NOT_FOUND;
    case CW_ERR_EXISTS:
        return SW_EXISTS;
    case CW_ERR_SPACE:
        return SW_NOT_ENOUGH_MEMORY;
    case CW_ERR_IO:
        return SW_MEMORY_FAILURE;
    case CW_ERR_UNSUPPORTED:
        return SW_FUNCTION;
    default:
        return SW_UNKNOWN;
    }
}

/* The class tells more than the row's: chaining, secure messaging, channels (ISO/IEC 7816-4:2020
 * §5.4.1). Only chaining is ours. */
static uint16_t class_check(uint8_t cla)
{
    uint8_t base = cla & (uint8_t)~APDU_CLA_CHAIN;
    if (base == APDU_CLA_ISO || base == APDU_CLA_PROPRIETARY)
        return SW_OK;
    if (cla == 0xFF || (cla & 0x60) == 0x20)
        return SW_CLA;
    if ((cla & 0x43) != 0)
        return SW_LOGICAL_CHANNEL;
    return SW_SECURE_MESSAGING;
}

static uint16_t find_row(const struct apdu_command *cmd, const struct card_row **out)
{
    size_t count = 0;
    const struct card_row *rows = card_rows(&count);
    uint8_t cla = cmd->cla & (uint8_t)~APDU_CLA_CHAIN;
    for (size_t i = 0; i < count; i++) {
        if (rows[i].ins == cmd->ins && rows[i].cla == cla) {
            *out = &rows[i];
            return SW_OK;
        }
    }
    return SW_INS;
}

/* Everything that the row declares, before the handler runs. */
static uint16_t row_check(const struct card *card, const struct card_row *row,
                          const struct apdu_command *cmd)
{
    if ((row->needs & CARD_NEEDS_SELECTED) && !card->selected)
        return SW_CONDITIONS;
    if (cmd->p1 > row->p1_max || cmd->p2 > row->p2_max)
        return SW_WRONG_P1P2;
    if (cmd->nc < row->nc_min || cmd->nc > row->nc_max || cmd->ne < row->ne_min)
        return SW_WRONG_LENGTH;
    if (!(row->life & 1u << card_life(card)))
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_CONTACT) && card->port->contactless)
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_LINE) && card->line.phase == LINE_NONE)
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_OPEN) && card->line.phase != LINE_OPEN)
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_PIN_LINE) && !card->pin_line)
        return pin_tries(&card->nvm) > 0 ? SW_SECURITY_STATUS : SW_PIN_BLOCKED;
    if ((row->needs & CARD_NEEDS_PIN_ORDER) && !card->pin_order)
        return pin_tries(&card->nvm) > 0 ? SW_SECURITY_STATUS : SW_PIN_BLOCKED;
    return SW_OK;
}

static void chain_drop(struct card *card)
{
    ct_wipe(card->command, card->chain_len);
    card->chaining = false;
    card->chain_len = 0;
}

/* Does the command go on with the chain that was begun? Anything else breaks it, even what is no
 * command at all. */
static bool chain_goes_on(const struct card *card, const struct apdu_command *cmd, bool parsed)
{
    uint8_t header[4] = {cmd->cla & (uint8_t)~APDU_CLA_CHAIN, cmd->ins, cmd->p1, cmd->p2};
    return parsed && memcmp(header, card->chain, sizeof header) == 0;
}

/* Joins chained commands (ISO/IEC 7816-4:2020 §5.3.4). Sets *whole when `cmd` (changed to the
 * joined one) is to be carried out now. */
static uint16_t chain_take(struct card *card, struct apdu_command *cmd, bool *whole)
{
    bool more = cmd->cla & APDU_CLA_CHAIN;
    uint8_t header[4] = {cmd->cla & (uint8_t)~APDU_CLA_CHAIN, cmd->ins, cmd->p1, cmd->p2};
    *whole = false;
    if (!card->chaining && !more) {
        *whole = true;
        return SW_OK;
    }
    if (cmd->nc > sizeof card->command - card->chain_len) {
        chain_drop(card);
        return SW_WRONG_LENGTH;
    }
    if (cmd->nc > 0)
        memcpy(card->command + card->chain_len, cmd->data, cmd->nc);
    card->chain_len += cmd->nc;
    memcpy(card->chain, header, sizeof header);
    card->chaining = more;
    if (more)
        return SW_OK;
    cmd->cla = header[0];
    cmd->nc = card->chain_len;
    cmd->data = cmd->nc > 0 ? card->command : NULL;
    *whole = true;
    return SW_OK;
}

uint16_t card_dispatch(struct card *card, const struct apdu_command *received,
                       struct buf_writer *out)
{
    struct apdu_command cmd = *received;
    const struct card_row *row = NULL;
    bool whole = false;
    uint16_t sw = class_check(cmd.cla);
    if (sw == SW_OK)
        sw = find_row(&cmd, &row);
    if (sw == SW_OK)
        sw = chain_take(card, &cmd, &whole);
    if (sw != SW_OK || !whole)
        return sw;
    sw = row_check(card, row, &cmd);
    if (sw == SW_OK) {
        /* What flows through the line is limited by Le, so that nothing waits in the card. */
        if ((row->needs & CARD_FLOW) && cmd.ne < out->cap)
            out->cap = cmd.ne;
        struct card_call call = {.card = card, .cmd = &cmd, .out = out};
        enum cw_err err = row->handler(&call);
        if (err == CW_OK && out->bad)
            err = CW_ERR_SPACE;
        if (err != CW_OK) {
            ct_wipe(out->start, out->len);
            out->len = 0;
        }
        sw = sw_of(card, err);
        if (cmd.ins == INS_SELECT && err == CW_ERR_NOT_FOUND)
            sw = SW_NOT_FOUND;
    }
    chain_drop(card);
    return sw;
}

/* Hands out at most Le bytes of the answer, and says what is left (§5.3.4). */
static size_t give(struct card *card, size_t ne, uint16_t sw, uint8_t *response)
{
    size_t n = card->response_len - card->response_at;
    size_t now = n < ne ? n : ne;
    struct buf_writer w;
    buf_writer_init(&w, response, now + 2);
    buf_put_bytes(&w, card->response + card->response_at, now);
    card->response_at += now;
    n -= now;
    if (n == 0) {
        ct_wipe(card->response, card->response_len);
        card->response_len = 0;
        card->response_at = 0;
    } else {
        sw = (uint16_t)(SW_MORE | (n > 0xFF ? 0 : n));
    }
    buf_put_u16(&w, sw);
    return w.len;
}

/* May the rest of the last answer be given? */
static uint16_t rest_check(const struct card *card, const struct apdu_command *cmd)
{
    if (cmd->cla != APDU_CLA_ISO)
        return SW_CLA;
    if (cmd->p1 != 0 || cmd->p2 != 0)
        return SW_WRONG_P1P2;
    if (cmd->nc != 0 || cmd->ne == 0)
        return SW_WRONG_LENGTH;
    return card->response_len > 0 ? SW_OK : SW_CONDITIONS;
}

/* An answer of a status word alone. */
static size_t answer(uint8_t *response, uint16_t sw)
{
    response[0] = (uint8_t)(sw >> 8);
    response[1] = (uint8_t)sw;
    return 2;
}

size_t card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                    size_t cap)
{
    struct apdu_command cmd = {0};
    struct buf_writer out;
    if (cap < CARD_RESPONSE_MAX)
        return 0;
    bool parsed = apdu_parse(command, len, &cmd) == CW_OK;
    if (card->chaining && !chain_goes_on(card, &cmd, parsed)) {
        chain_drop(card);
        return answer(response, SW_LAST_OF_CHAIN);
    }
    if (!parsed)
        return answer(response, SW_WRONG_LENGTH);
    if (cmd.ins == INS_GET_RESPONSE) {
        uint16_t sw = rest_check(card, &cmd);
        return sw == SW_OK ? give(card, cmd.ne, SW_OK, response) : answer(response, sw);
    }
    /* Any other command: what was left of the last answer is gone. */
    ct_wipe(card->response, sizeof card->response);
    card->response_at = 0;
    buf_writer_init(&out, card->response, sizeof card->response);
    uint16_t sw = card_dispatch(card, &cmd, &out);
    ct_wipe_stack(); /* p256-m leaves the scalar that it worked with */
    card->response_len = out.len;
    return give(card, cmd.ne, sw, response);
}
