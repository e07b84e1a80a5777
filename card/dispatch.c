/* dispatch.c - from a command's bytes to its handler: chains are joined, the issuer's secure
 * messaging is taken off, the command's row is checked, errors become status words (here and
 * nowhere else), and long answers are handed out in parts. */
#include "card/state.h"

#include "base/ct.h"

#include <string.h>

/* CW_ERR_AUTH is made a status word by who knows which PIN it was about: card_dispatch. */
static uint16_t sw_of(enum cw_err err)
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
 * §5.4.1). Chaining is ours, and proprietary secure messaging (GlobalPlatform 2.3.1 §11.1.4). */
static uint16_t class_check(uint8_t cla)
{
    uint8_t base = cla & (uint8_t) ~(APDU_CLA_CHAIN | SCP03_CLA_SECURE);
    if (base == APDU_CLA_ISO || base == APDU_CLA_PROPRIETARY)
        return SW_OK;
    if (cla == 0xFF || (cla & 0x60) == 0x20)
        return SW_CLA;
    if ((cla & 0x43) != 0)
        return SW_LOGICAL_CHANNEL;
    return SW_SECURE_MESSAGING;
}

const struct card_app *const card_apps[CARD_APP_COUNT] = {&link_app, &piv_app};

static bool app_is(const struct card_app *app, const struct apdu_command *cmd)
{
    return cmd->nc >= app->aid_min && cmd->nc <= app->aid_len &&
           memcmp(app->aid, cmd->data, cmd->nc) == 0;
}

/* By name only (ISO/IEC 7816-4:2020 §11.2.2). What is not found changes nothing. */
static enum cw_err do_select(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    if (cmd->p1 != 0x04 || (cmd->p2 != 0x00 && cmd->p2 != 0x0C))
        return CW_ERR_ARG;
    for (size_t i = 0; i < CARD_APP_COUNT; i++) {
        const struct card_app *app = card_apps[i];
        if (!app_is(app, cmd) || !(app->life & CARD_LIFE(card_life(card))))
            continue;
        if (card->app != NULL && card->app != app)
            card->app->leave(card);
        card->app = app;
        return app->select(call);
    }
    return CW_ERR_NOT_FOUND;
}

static const struct card_row select_row = {
    0x00, INS_SELECT, 0xFF, 0xFF, 1, 16, 0, 0xFF, CARD_OBJECTS | CARD_CLEAR, do_select};

static uint16_t find_row(const struct card *card, const struct apdu_command *cmd,
                         const struct card_row **out)
{
    uint8_t cla = cmd->cla & (uint8_t) ~(APDU_CLA_CHAIN | SCP03_CLA_SECURE);
    if (cmd->ins == select_row.ins && cla == select_row.cla) {
        *out = &select_row;
        return SW_OK;
    }
    if (card->app == NULL)
        return SW_CONDITIONS;
    for (size_t i = 0; i < card->app->row_count; i++) {
        const struct card_row *row = &card->app->rows[i];
        if (row->ins == cmd->ins && row->cla == cla) {
            *out = row;
            return SW_OK;
        }
    }
    return SW_INS;
}

static uint16_t pin_missing(const struct card *card)
{
    return pin_tries(card, LINK_PIN_HOLDER) > 0 ? SW_SECURITY_STATUS : SW_PIN_BLOCKED;
}

/* Everything that the row declares: asked before the handler runs, and once more by who calls it.
 */
HARD_DECIDES static uint16_t row_check(const struct card *card, const struct card_row *row,
                                       const struct apdu_command *cmd)
{
    if (cmd->p1 > row->p1_max || cmd->p2 > row->p2_max)
        return SW_WRONG_P1P2;
    if (cmd->nc < row->nc_min || cmd->nc > row->nc_max || cmd->ne < row->ne_min)
        return SW_WRONG_LENGTH;
    if (!(row->life & CARD_LIFE(card_life(card))))
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_ISSUER) && !secure_is_proved(card))
        return SW_SECURITY_STATUS;
    if ((row->needs & CARD_NEEDS_CONTACT) && card->port->contactless)
        return SW_SECURITY_STATUS;
    if ((row->needs & CARD_NEEDS_PIV_ADMIN) && card->piv.admin != HARD_YES)
        return SW_SECURITY_STATUS;
    if ((row->needs & CARD_NEEDS_ORDER_INTERFACE) &&
        !card_interface_permits(card, POLICY_ORDER_CONTACTLESS))
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_LINE) && card->line.phase == LINE_NONE)
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_OPEN) && card->line.phase != LINE_OPEN)
        return SW_CONDITIONS;
    if ((row->needs & CARD_NEEDS_PIN_LINE) && card->pin_line != HARD_YES)
        return pin_missing(card);
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

/* Joins chained commands (ISO/IEC 7816-4:2020 §5.3.3). Sets *whole when `cmd` (changed to the
 * joined one) is to be carried out now. Secure messaging, where it is used, is around the whole
 * command: it is always joined into the card's own memory, where it can be decrypted. */
static uint16_t chain_take(struct card *card, struct apdu_command *cmd, bool *whole)
{
    bool more = cmd->cla & APDU_CLA_CHAIN;
    uint8_t header[4] = {cmd->cla & (uint8_t)~APDU_CLA_CHAIN, cmd->ins, cmd->p1, cmd->p2};
    *whole = false;
    if (!card->chaining && !more && !(cmd->cla & SCP03_CLA_SECURE)) {
        *whole = true;
        return SW_OK;
    }
    if (cmd->nc > CARD_COMMAND_DATA_MAX + SCP03_OVERHEAD - card->chain_len) {
        chain_drop(card);
        return SW_WRONG_LENGTH;
    }
    if (cmd->nc > 0)
        memmove(card->command + card->chain_len, cmd->data, cmd->nc); /* it may lie there already */
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

/* Takes the secure messaging off, where there is any. A command without it ends the secure channel:
 * nothing may be mixed into what the issuer says (GlobalPlatform 2.3.1 §10.2.3). */
static uint16_t take_off(struct card *card, const struct card_row *row, struct apdu_command *cmd,
                         bool *secured)
{
    *secured = false;
    if (!(cmd->cla & SCP03_CLA_SECURE)) {
        secure_drop(card);
        return SW_OK;
    }
    if (row->needs & CARD_SECURE)
        return SW_OK;
    if (!secure_is_open(card) || (row->needs & (CARD_FLOW | CARD_CLEAR))) {
        secure_drop(card);
        return SW_SECURE_MESSAGING;
    }
    *secured = true;
    return secure_unwrap(card, cmd) == CW_OK ? SW_OK : SW_SECURITY_STATUS;
}

/* Lets the handler run, and makes its error a status word. */
static uint16_t run(const struct card_row *row, struct card_call *call)
{
    struct buf_writer *out = call->out;
    /* What flows through the line is limited by Le, so that nothing waits in the card. */
    if ((row->needs & CARD_FLOW) && call->cmd->ne < out->cap)
        out->cap = call->cmd->ne;
    uint16_t sw = row_check(call->card, row, call->cmd);
    if (sw != SW_OK)
        return sw;
    enum cw_err err = row->handler(call);
    if (err == CW_OK && out->bad)
        err = CW_ERR_SPACE;
    if (err != CW_OK) {
        ct_wipe(out->start, out->len);
        out->len = 0;
        call->object = 0;
    }
    if (err == CW_ERR_AUTH)
        return (uint16_t)(SW_PIN_TRIES | pin_tries(call->card, call->pin));
    if (err == CW_ERR_NOT_FOUND && (row->needs & CARD_OBJECTS))
        return SW_NOT_FOUND;
    return sw_of(err);
}

/* What the channel protects is put into `out` as a whole. */
static uint16_t put_on(struct card_call *call, uint16_t sw)
{
    struct buf_writer *out = call->out;
    size_t len = 0;
    enum cw_err err = CW_OK;
    if (call->object != 0) {
        /* object_check stores nothing longer. */
        err = nvm_read(&call->card->nvm, call->object, 0, out->start, SECURE_RESPONSE_MAX, &len);
        out->len = len;
        call->object = 0;
    }
    if (err == CW_OK)
        err = secure_wrap(call->card, sw, out);
    if (err == CW_OK)
        return sw;
    ct_wipe(out->start, out->cap);
    out->len = 0;
    return sw_of(err);
}

uint16_t card_dispatch(struct card *card, const struct apdu_command *received,
                       struct buf_writer *out, uint16_t *object)
{
    struct apdu_command cmd = *received;
    const struct card_row *row = NULL;
    bool whole = false;
    bool secured = false;
    uint16_t sw = class_check(cmd.cla);
    if (sw == SW_OK)
        sw = find_row(card, &cmd, &row);
    if (sw == SW_OK)
        sw = chain_take(card, &cmd, &whole);
    if (sw != SW_OK)
        secure_drop(card); /* nothing may be mixed in, not even what no application knows */
    if (sw != SW_OK || !whole)
        return sw;
    card->commands++; /* and once when it came: one skipped, and 9C of PIV counts no VERIFY */
    sw = take_off(card, row, &cmd, &secured);
    if (sw == SW_OK) {
        struct card_call call = {.card = card, .cmd = &cmd, .out = out};
        sw = row_check(card, row, &cmd);
        if (sw == SW_OK)
            sw = run(row, &call);
        else if (!secured)
            secure_drop(card); /* EXTERNAL AUTHENTICATE that does not even look like one */
        if (secured)
            sw = put_on(&call, sw);
        *object = call.object;
    }
    chain_drop(card);
    return sw;
}

/* Takes `len` bytes of the answer, from `at` on: from the card's RAM, or from a value in memory.
 * What is beside the answer never goes out: who asks has seen to that, and it is seen to once more.
 */
HARD_DECIDES static enum cw_err fetch(const struct card *card, size_t at, uint8_t *out, size_t len)
{
    size_t got = len;
    enum cw_err err = CW_OK;
    const uint16_t object = card->response_object;
    if (at > card->response_len || len > card->response_len - at ||
        (object != 0 && object_secret(object)))
        return CW_ERR_IO;
    if (object != 0)
        err = nvm_read(&card->nvm, object, at, out, len, &got);
    else if (len > 0)
        memcpy(out, card->response + at, len);
    return err == CW_OK && got != len ? CW_ERR_IO : err;
}

static void answer_forget(struct card *card)
{
    ct_wipe(card->response, sizeof card->response);
    card->response_len = 0;
    card->response_at = 0;
    card->response_object = 0;
}

/* An answer of a status word alone. */
static size_t answer(uint8_t *response, uint16_t sw)
{
    response[0] = (uint8_t)(sw >> 8);
    response[1] = (uint8_t)sw;
    return 2;
}

/* How much may go out at once: Le, and where it was left out what a short one could have asked for,
 * if the application has such clients. */
static size_t ne_of(const struct card *card, const struct apdu_command *cmd)
{
    bool assumed = cmd->ne == 0 && card->app != NULL && card->app->le_assumed;
    return assumed ? APDU_SHORT_NE_MAX : cmd->ne;
}

/* Hands out at most Le bytes of the answer, and says what is left (§5.3.4). */
static size_t give(struct card *card, size_t ne, uint16_t sw, uint8_t *response)
{
    size_t n = card->response_len - card->response_at;
    size_t now = n < ne ? n : ne;
    if (now > CARD_RESPONSE_DATA_MAX)
        now = CARD_RESPONSE_DATA_MAX;
    if (fetch(card, card->response_at, response, now) != CW_OK) {
        answer_forget(card);
        return answer(response, SW_MEMORY_FAILURE);
    }
    card->response_at += now;
    n -= now;
    if (n == 0)
        answer_forget(card);
    else
        sw = (uint16_t)(SW_MORE | (n > 0xFF ? 0 : n));
    return now + answer(response + now, sw);
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

/* How long the answer is. */
static enum cw_err measure(struct card *card, const struct buf_writer *out, uint16_t object)
{
    card->response_object = object;
    card->response_len = out->len;
    return object != 0 ? nvm_size(&card->nvm, object, &card->response_len) : CW_OK;
}

uint8_t *card_command_space(struct card *card, size_t *cap)
{
    *cap = sizeof card->command - card->chain_len;
    return card->command + card->chain_len;
}

/* What is left of the command itself; not the chain that it has become part of. */
static void space_wipe(struct card *card)
{
    size_t cap;
    uint8_t *space = card_command_space(card, &cap);
    ct_wipe(space, cap);
}

/* What became of a command: its status word, and whether data of the answer go with it. */
struct outcome {
    uint16_t sw;
    bool data;
    size_t ne; /* how much of it was asked for */
};

__attribute__((noinline)) static struct outcome work(struct card *card, const uint8_t *command,
                                                     size_t len)
{
    struct apdu_command cmd = {0};
    struct buf_writer out;
    uint16_t object = 0;
    if (!card->chaining)
        card->commands++;
    bool parsed = apdu_parse(command, len, &cmd) == CW_OK;
    if (card->chaining && !chain_goes_on(card, &cmd, parsed)) {
        chain_drop(card);
        secure_drop(card);
        return (struct outcome){.sw = SW_LAST_OF_CHAIN};
    }
    if (!parsed) {
        secure_drop(card);
        return (struct outcome){.sw = SW_WRONG_LENGTH};
    }
    if (cmd.ins == INS_GET_RESPONSE) {
        uint16_t sw = rest_check(card, &cmd);
        return (struct outcome){.sw = sw, .data = sw == SW_OK, .ne = cmd.ne};
    }
    /* Any other command: what was left of the last answer is gone. */
    answer_forget(card);
    buf_writer_init(&out, card->response, sizeof card->response);
    uint16_t sw = card_dispatch(card, &cmd, &out, &object);
    ct_wipe_stack(); /* p256-m leaves the scalar that it worked with */
    if (measure(card, &out, object) != CW_OK) {
        answer_forget(card);
        sw = SW_MEMORY_FAILURE;
    }
    return (struct outcome){.sw = sw, .data = true, .ne = ne_of(card, &cmd)};
}

/* A command that its space could not hold is refused by its length alone. */
static struct outcome take(struct card *card, const uint8_t *command, size_t len)
{
    struct outcome o = {.sw = SW_WRONG_LENGTH};
    size_t room;
    if (command == card_command_space(card, &room) && len > room) {
        chain_drop(card);
        secure_drop(card);
    } else {
        o = work(card, command, len);
    }
    space_wipe(card);
    return o;
}

static size_t put(struct card *card, const struct outcome *o, uint8_t *response)
{
    return o->data ? give(card, o->ne, o->sw, response) : answer(response, o->sw);
}

size_t card_process(struct card *card, const uint8_t *command, size_t len, uint8_t *response,
                    size_t cap)
{
    if (cap < CARD_RESPONSE_MAX)
        return 0;
    struct outcome o = take(card, command, len);
    return put(card, &o, response);
}

const uint8_t *card_process_here(struct card *card, size_t len, size_t *response_len)
{
    size_t room;
    struct outcome o = take(card, card_command_space(card, &room), len);
    uint8_t *response = card_command_space(card, &room); /* behind what has come of a chain */
    *response_len = put(card, &o, response);
    return response;
}
