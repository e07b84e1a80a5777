/* line_commands.c - OPEN, STEP, WRITE, READ and CLOSE: from commands to the line and back. Each
 * answers with the state byte first (docs/card.md). */
#include "card/state.h"

#include <string.h>

#define PARTIAL_LEN 2u

static unsigned tls_slot(const struct card *card, unsigned wanted)
{
    if (wanted == LINK_KEY_AUTO)
        wanted = key_present(card, LINK_KEY_TLS_P256) ? LINK_KEY_TLS_P256 : LINK_KEY_TLS_RSA;
    if (wanted != LINK_KEY_TLS_P256 && wanted != LINK_KEY_TLS_RSA)
        return 0;
    return key_certified(card, wanted) ? wanted : 0;
}

static enum cw_err name_load(const struct card *card, uint16_t index, struct line_name *out)
{
    uint8_t stored[LINK_HOST_MAX + LINE_ALPN_MAX + 16];
    size_t len = 0;
    enum cw_err err =
        nvm_read(&card->nvm, (uint16_t)(NVM_NAME | index), 0, stored, sizeof stored, &len);
    return err == CW_OK ? line_name_parse(stored, len, out) : err;
}

/* The permitted server of that name and its index; the first one when the terminal names none. */
static enum cw_err name_find(const struct card *card, const uint8_t *host, size_t len,
                             struct line_name *out, uint16_t *index)
{
    for (uint16_t i = 0; i < LINK_NAME_MAX; i++) {
        struct line_name name;
        if (name_load(card, i, &name) != CW_OK)
            continue;
        if (len == 0 || (strlen(name.host) == len && memcmp(name.host, host, len) == 0)) {
            *out = name;
            *index = i;
            return CW_OK;
        }
    }
    return CW_ERR_NOT_FOUND;
}

/* The terminal may choose among the permitted profiles; it cannot bring in another. */
static enum link_profile profile_choose(uint8_t permitted, unsigned wanted)
{
    for (unsigned p = 1; p <= LINK_PROFILE_COUNT; p++)
        if ((permitted & LINK_PROFILE_BIT(p)) && (wanted == LINK_PROFILE_DEFAULT || wanted == p))
            return (enum link_profile)p;
    return LINK_PROFILE_DEFAULT;
}

/* State byte for the answer. A PIN that was given for an order does not outlive the line. */
static uint8_t settle(struct card *card)
{
    if (card->line.phase != LINE_OPEN)
        hard_clear(&card->pin_order);
    return line_state(&card->line);
}

/* Runs the line over the command's data. The answer: state, count of what was taken if not all, and
 * bytes for the net. The count's place is only known to be needed afterwards, so the bytes are
 * moved up for it; room is kept. */
static enum cw_err run_and_answer(struct card_call *call, const uint8_t *data, size_t len)
{
    struct line *line = &call->card->line;
    struct buf_writer net;
    struct buf_reader in;
    buf_put_u8(call->out, 0);
    uint8_t *start = call->out->start + 1;
    size_t keep = len > 0 ? PARTIAL_LEN : 0;
    buf_writer_init(&net, start, call->out->cap - 1 - keep);
    buf_reader_init(&in, data, len);
    line_run(line, &in, &net);
    uint8_t state = settle(call->card);
    size_t taken = len - in.left;
    /* A dead line takes the rest too: nobody will ever want it. */
    if (in.left > 0 && line->phase != LINE_OVER) {
        state |= LINK_STATE_PARTIAL;
        memmove(start + PARTIAL_LEN, start, net.len);
        start[0] = (uint8_t)(taken >> 8);
        start[1] = (uint8_t)taken;
        net.len += PARTIAL_LEN;
    }
    call->out->start[0] = state;
    call->out->len += net.len;
    return CW_OK;
}

enum cw_err card_do_open(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    struct line_name name;
    uint16_t index = 0;
    unsigned wanted = cmd->p1 & (unsigned)~LINK_OPEN_FULL;
    if (wanted > LINK_PROFILE_COUNT)
        return CW_ERR_ARG;
    enum cw_err err = name_find(card, cmd->data, cmd->nc, &name, &index);
    if (err != CW_OK)
        return err;
    enum link_profile profile = profile_choose(name.profiles, wanted);
    unsigned slot = tls_slot(card, cmd->p2);
    int64_t time = 0;
    if (profile == LINK_PROFILE_DEFAULT || slot == 0)
        return CW_ERR_NOT_FOUND;
    err = card_time(card, &time);
    if (err != CW_OK)
        return err;
    line_drop(&card->line);
    hard_clear(&card->pin_line); /* one VERIFY, one line */
    card->line.name = name;
    card->line.profile = profile;
    card->line.key = (enum link_key)slot;
    card->line.time = time;
    line_session_begin(card, index, (cmd->p1 & LINK_OPEN_FULL) != 0);
    err = line_start(&card->line, &card->nvm);
    return err == CW_OK ? run_and_answer(call, NULL, 0) : err;
}

enum cw_err card_do_step(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    if (cmd->p1 == 0)
        return run_and_answer(call, cmd->data, cmd->nc);
    if (cmd->nc != 0)
        return CW_ERR_LENGTH;
    line_net_ended(&card->line);
    buf_put_u8(call->out, settle(card));
    return CW_OK;
}

enum cw_err card_do_write(struct card_call *call)
{
    struct line *line = &call->card->line;
    struct buf_writer net;
    buf_put_u8(call->out, 0);
    buf_writer_init(&net, call->out->start + 1, call->out->cap - 1);
    enum cw_err err = line_write(line, call->cmd->data, call->cmd->nc, &net);
    if (err != CW_OK)
        return err;
    call->out->start[0] = settle(call->card);
    call->out->len += net.len;
    return CW_OK;
}

enum cw_err card_do_read(struct card_call *call)
{
    struct line *line = &call->card->line;
    buf_put_u8(call->out, 0);
    call->out->len += line_read(line, call->out->start + 1, call->out->cap - 1);
    call->out->start[0] = settle(call->card);
    return CW_OK;
}

enum cw_err card_do_close(struct card_call *call)
{
    struct line *line = &call->card->line;
    struct buf_writer net;
    buf_put_u8(call->out, 0);
    buf_writer_init(&net, call->out->start + 1, call->out->cap - 1);
    line_close(line, &net);
    call->out->start[0] = settle(call->card);
    call->out->len += net.len;
    return CW_OK;
}
