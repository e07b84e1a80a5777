/* piv_data.c - GET DATA and PUT DATA of the PIV application (SP 800-73-4 part 2 §3.1.2, §3.3.1). An
 * object is kept as it was written, and read by whoever the standard lets read it. Those that
 * software wants to find in any card are there from the start: made here, until the issuer writes
 * better ones. */
#include "card/state.h"

/* Objects by the last byte of their tags */
#define OBJECT_MAX PIV_OBJECT_KEY_HISTORY
#define OBJECTS                                                                                    \
    (1u << PIV_OBJECT_CARD | 1u << PIV_OBJECT_CHUID | 1u << PIV_OBJECT_AUTH |                      \
     1u << PIV_OBJECT_SECURITY | 1u << PIV_OBJECT_CCC | 1u << PIV_OBJECT_PRINTED |                 \
     1u << PIV_OBJECT_SIGNATURE | 1u << PIV_OBJECT_MANAGEMENT | 1u << PIV_OBJECT_KEY_HISTORY)

/* What an object is as long as it was not written. */
static enum cw_err put_default(struct card_call *call, uint8_t object)
{
    switch (object) {
    case PIV_OBJECT_CHUID:
        piv_chuid_put(call->out, call->card->port->unique_id, "20991231"); /* no end is set */
        return CW_OK;
    case PIV_OBJECT_CCC:
        piv_ccc_put(call->out, call->card->port->unique_id);
        return CW_OK;
    case PIV_OBJECT_KEY_HISTORY:
        piv_key_history_put(call->out);
        return CW_OK;
    default:
        return CW_ERR_NOT_FOUND;
    }
}

/* The tag that the command names first. `object` is the last byte of 5FC1xx, or
 * PIV_TAG_DISCOVERY. */
static enum cw_err take_tag(const struct apdu_command *cmd, struct buf_reader *rest,
                            uint8_t *object)
{
    struct ber_object list;
    if (cmd->p1 != 0x3F || cmd->p2 != 0xFF)
        return CW_ERR_ARG;
    buf_reader_init(rest, cmd->data, cmd->nc);
    if (!ber_next(rest, &list) || list.tag != PIV_TAG_LIST || list.len == 0)
        return CW_ERR_FORMAT;
    *object = list.value[list.len - 1];
    if (list.len == 1)
        return *object == PIV_TAG_DISCOVERY ? CW_OK : CW_ERR_NOT_FOUND;
    if (list.len != 3 || list.value[0] != 0x5F || list.value[1] != 0xC1 || *object > OBJECT_MAX ||
        !(OBJECTS >> *object & 1u))
        return CW_ERR_NOT_FOUND;
    return CW_OK;
}

enum cw_err piv_do_get_data(struct card_call *call)
{
    struct card *card = call->card;
    struct buf_reader rest;
    uint8_t object = 0;
    size_t len = 0;
    enum cw_err err = take_tag(call->cmd, &rest, &object);
    if (err == CW_OK && rest.left > 0)
        err = CW_ERR_FORMAT;
    if (err != CW_OK)
        return err;
    if (object == PIV_TAG_DISCOVERY) {
        piv_discovery_put(call->out);
        return CW_OK;
    }
    if (object == PIV_OBJECT_PRINTED && card->piv.pin != HARD_YES)
        return CW_ERR_DENIED;
    err = nvm_size(&card->nvm, NVM_PIV_OBJECT | object, &len);
    if (err == CW_OK)
        call->object = NVM_PIV_OBJECT | object;
    return err == CW_ERR_NOT_FOUND ? put_default(call, object) : err;
}

/* Room that objects leave: for the largest message of the issuer, which is written beside what it
 * replaces, and the reserve below it. Whoever fills PIV cannot keep a new root out of the card. */
#define LEFT_FREE (ISSUER_MESSAGE_MAX + NVM_RESERVE + 256u)

bool piv_leaves_room(const struct nvm *nvm, uint16_t key, size_t len)
{
    const struct nvm_usage usage = nvm_usage(nvm);
    size_t old = 0;
    if (nvm_size(nvm, key, &old) == CW_OK && len <= old)
        return true; /* takes no more than it has */
    return usage.capacity - usage.live >= len + LEFT_FREE;
}

/* The whole object at once; one that is empty is taken away. */
enum cw_err piv_do_put_data(struct card_call *call)
{
    struct card *card = call->card;
    struct buf_reader rest;
    struct ber_object data;
    uint8_t object = 0;
    enum cw_err err = take_tag(call->cmd, &rest, &object);
    if (err != CW_OK)
        return err;
    const uint8_t *value = rest.at;
    size_t len = rest.left;
    if (object == PIV_TAG_DISCOVERY)
        return CW_ERR_UNSUPPORTED;
    if (!ber_next(&rest, &data) || data.tag != PIV_TAG_DATA || rest.left > 0)
        return CW_ERR_FORMAT;
    const uint16_t key = NVM_PIV_OBJECT | object;
    if (data.len == 0)
        return nvm_remove(&card->nvm, key);
    return piv_leaves_room(&card->nvm, key, len) ? nvm_write(&card->nvm, key, value, len)
                                                 : CW_ERR_SPACE;
}
