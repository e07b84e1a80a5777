/* piv_data.c - GET DATA and PUT DATA of the PIV application (SP 800-73-4 part 2 §3.1.2, §3.3.1). An
 * object is kept as it was written, and read by whoever the standard lets read it. Those that
 * software wants to find in any card are there from the start: made here, until the issuer writes
 * better ones. */
#include "card/state.h"

#include <string.h>

#define TAG_LIST      0x5C
#define TAG_DATA      0x53
#define TAG_DISCOVERY 0x7E
/* Last byte of the tags 5FC1xx (part 1 table 3) */
#define OBJECT_CHUID       0x02
#define OBJECT_CCC         0x07
#define OBJECT_PRINTED     0x09
#define OBJECT_KEY_HISTORY 0x0C
#define OBJECT_MAX         0x0C
/* 01, 05, 0A, 0B certificates, 06 security object */
#define OBJECTS                                                                                    \
    (1u << 0x01 | 1u << OBJECT_CHUID | 1u << 0x05 | 1u << 0x06 | 1u << OBJECT_CCC |                \
     1u << OBJECT_PRINTED | 1u << 0x0A | 1u << 0x0B | 1u << OBJECT_KEY_HISTORY)

const uint8_t piv_aid[PIV_AID_LEN] = {0xA0, 0x00, 0x00, 0x03, 0x08, 0x00,
                                      0x00, 0x10, 0x00, 0x01, 0x00};

/* Part 1 §3.3.2: the AID, and that this application's own PIN is the only one. */
static void put_discovery(struct buf_writer *out)
{
    ber_put_header(out, TAG_DISCOVERY, 2 + PIV_AID_LEN + 5);
    ber_put(out, 0x4F, piv_aid, PIV_AID_LEN);
    buf_put_u8(out, 0x5F);
    buf_put_u8(out, 0x2F);
    buf_put_u8(out, 2);
    buf_put_u16(out, 0x4000);
}

/* Card Holder Unique Identifier (part 1 §3.1.2) of a card that is no federal agency's: the FASC-N
 * says so, the GUID (RFC 9562 §5.8) is made of the card's serial number, nothing is signed. */
static void put_chuid(const struct card *card, struct buf_writer *out)
{
    static const uint8_t fasc_n[] = {0xD4, 0xE7, 0x39, 0xDA, 0x73, 0x9C, 0xED, 0x39, 0xCE,
                                     0x73, 0x9D, 0x83, 0x68, 0x58, 0x21, 0x08, 0x42, 0x10,
                                     0x84, 0x21, 0xC8, 0x42, 0x10, 0xC3, 0xEB};
    uint8_t guid[16] = {[6] = 0x80, [8] = 0x80};
    memcpy(guid, card->port->unique_id, 6);
    memcpy(guid + 14, card->port->unique_id + 6, 2);
    ber_put_header(out, TAG_DATA, 2 + sizeof fasc_n + 2 + sizeof guid + 2 + 8 + 2 + 2);
    ber_put(out, 0x30, fasc_n, sizeof fasc_n);
    ber_put(out, 0x34, guid, sizeof guid);
    ber_put(out, 0x35, "20991231", 8); /* the application sets no end */
    ber_put_header(out, 0x3E, 0);
    ber_put_header(out, 0xFE, 0);
}

/* Card Capability Container (part 1 §3.1.1). */
static void put_ccc(const struct card *card, struct buf_writer *out)
{
    static const uint8_t scheme[] = {0xA0, 0x00, 0x00, 0x01, 0x16, 0xFF, 0x02};
    static const uint8_t rest[] = {0xF1, 0x01, 0x21, 0xF2, 0x01, 0x21, 0xF3, 0x00, 0xF4, 0x01,
                                   0x00, 0xF5, 0x01, 0x10, 0xF6, 0x00, 0xF7, 0x00, 0xFA, 0x00,
                                   0xFB, 0x00, 0xFC, 0x00, 0xFD, 0x00, 0xFE, 0x00};
    uint8_t id[14] = {0};
    memcpy(id, card->port->unique_id, CARD_UNIQUE_ID_LEN);
    ber_put_header(out, TAG_DATA, 2 + sizeof scheme + sizeof id + sizeof rest);
    ber_put_header(out, 0xF0, sizeof scheme + sizeof id);
    buf_put_bytes(out, scheme, sizeof scheme);
    buf_put_bytes(out, id, sizeof id);
    buf_put_bytes(out, rest, sizeof rest);
}

/* Part 1 §3.3.3: there are no retired keys. */
static void put_key_history(struct buf_writer *out)
{
    static const uint8_t history[] = {TAG_DATA, 0x08, 0xC1, 0x01, 0x00,
                                      0xC2,     0x01, 0x00, 0xFE, 0x00};
    buf_put_bytes(out, history, sizeof history);
}

/* What an object is as long as it was not written. */
static enum cw_err put_default(struct card_call *call, uint8_t object)
{
    switch (object) {
    case OBJECT_CHUID:
        put_chuid(call->card, call->out);
        return CW_OK;
    case OBJECT_CCC:
        put_ccc(call->card, call->out);
        return CW_OK;
    case OBJECT_KEY_HISTORY:
        put_key_history(call->out);
        return CW_OK;
    default:
        return CW_ERR_NOT_FOUND;
    }
}

/* The tag that the command names first. `object` is the last byte of 5FC1xx, or TAG_DISCOVERY. */
static enum cw_err take_tag(const struct apdu_command *cmd, struct buf_reader *rest,
                            uint8_t *object)
{
    struct ber_object list;
    if (cmd->p1 != 0x3F || cmd->p2 != 0xFF)
        return CW_ERR_ARG;
    buf_reader_init(rest, cmd->data, cmd->nc);
    if (!ber_next(rest, &list) || list.tag != TAG_LIST || list.len == 0)
        return CW_ERR_FORMAT;
    *object = list.value[list.len - 1];
    if (list.len == 1)
        return *object == TAG_DISCOVERY ? CW_OK : CW_ERR_NOT_FOUND;
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
    if (object == TAG_DISCOVERY) {
        put_discovery(call->out);
        return CW_OK;
    }
    if (object == OBJECT_PRINTED && !card->piv.pin)
        return CW_ERR_DENIED;
    err = nvm_size(&card->nvm, NVM_PIV_OBJECT | object, &len);
    if (err == CW_OK)
        call->object = NVM_PIV_OBJECT | object;
    return err == CW_ERR_NOT_FOUND ? put_default(call, object) : err;
}

/* The whole object at once; one that is empty is taken away. */
/* Room that objects leave: for the largest message of the issuer, which is written beside what it
 * replaces, and the reserve below it. Whoever fills PIV cannot keep a new root out of the card. */
#define LEFT_FREE (ISSUER_MESSAGE_MAX + NVM_RESERVE + 256u)

static bool leaves_room(const struct nvm *nvm, uint16_t key, size_t len)
{
    const struct nvm_usage usage = nvm_usage(nvm);
    size_t old = 0;
    if (nvm_size(nvm, key, &old) == CW_OK && len <= old)
        return true; /* takes no more than it has */
    return usage.capacity - usage.live >= len + LEFT_FREE;
}

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
    if (object == TAG_DISCOVERY)
        return CW_ERR_UNSUPPORTED;
    if (!ber_next(&rest, &data) || data.tag != TAG_DATA || rest.left > 0)
        return CW_ERR_FORMAT;
    const uint16_t key = NVM_PIV_OBJECT | object;
    if (data.len == 0)
        return nvm_remove(&card->nvm, key);
    return leaves_room(&card->nvm, key, len) ? nvm_write(&card->nvm, key, value, len)
                                             : CW_ERR_SPACE;
}
