/* link.c - the `link` application: its rows, and the commands that are about the card itself. The
 * line's commands are in line_commands.c, keys in keys.c, orders in order.c. */
#include "card/state.h"

#include "base/cal.h"
#include "base/ct.h"
#include "proto/ber.h"

#include <mbedtls/memory_buffer_alloc.h>
#include <mbedtls/x509_crt.h>
#include <string.h>

#define VERSION_MAJOR 0
#define VERSION_MINOR 1

#define BLANK    (1u << LINK_LIFE_BLANK)
#define ACTIVE   (1u << LINK_LIFE_ACTIVE)
#define SELECTED CARD_NEEDS_SELECTED
#define MAXC     CARD_COMMAND_DATA_MAX

/* clang-format off */
static const struct card_row rows[] = {
/*  CLA   INS               P1    P2    Nc        Ne  life            needs                      */
  { 0x00, INS_SELECT,       0xFF, 0xFF, 1,  16,   0,  BLANK | ACTIVE, 0, card_do_select },
  { 0x00, INS_VERIFY,       0x00, 0xFF, 0,  MAXC, 0,  ACTIVE,         SELECTED, card_do_verify },
  { 0x00, INS_GET_DATA,     0xFF, 0xFF, 0,  0,    1,  BLANK | ACTIVE, SELECTED, card_do_get_data },
  { 0x80, INS_INFO,         0x02, 0xFF, 0,  0,    1,  BLANK | ACTIVE, SELECTED, card_do_info },

  { 0x00, INS_GENERATE_KEY, 0x00, 0xFF, 0,  0,    0,  BLANK,          SELECTED, card_do_generate },
  { 0x80, INS_REQUEST,      0x00, 0xFF, 0,  0,    1,  BLANK,          SELECTED, card_do_request },
  { 0x00, INS_PUT_DATA,     0xFF, 0xFF, 1,  MAXC, 0,  BLANK,          SELECTED, card_do_put_data },
  { 0x00, INS_ACTIVATE,     0x00, 0x00, 0,  0,    0,  BLANK,          SELECTED, card_do_activate },

  { 0x80, INS_OPEN,         LINK_OPEN_FULL | LINK_PROFILE_COUNT, 0x02, 0,  LINK_HOST_MAX, 4, ACTIVE,
    SELECTED | CARD_NEEDS_PIN_LINE | CARD_FLOW, card_do_open },
  { 0x80, INS_STEP,         0x01, 0x00, 0,  MAXC, 4,  ACTIVE,
    SELECTED | CARD_NEEDS_LINE | CARD_FLOW, card_do_step },
  { 0x80, INS_WRITE,        0x00, 0x00, 1,  MAXC, 4,  ACTIVE,
    SELECTED | CARD_NEEDS_OPEN | CARD_FLOW, card_do_write },
  { 0x80, INS_READ,         0x00, 0x00, 0,  0,    4,  ACTIVE,
    SELECTED | CARD_NEEDS_LINE | CARD_FLOW, card_do_read },
  { 0x80, INS_CLOSE,        0x00, 0x00, 0,  0,    4,  ACTIVE,
    SELECTED | CARD_NEEDS_LINE | CARD_FLOW, card_do_close },
  { 0x80, INS_SIGN_ORDER,   0x00, 0x04, 1,  MAXC, 1,  ACTIVE,
    SELECTED | CARD_NEEDS_CONTACT | CARD_NEEDS_OPEN | CARD_NEEDS_PIN_ORDER, card_do_sign_order },
};
/* clang-format on */

const struct card_row *card_rows(size_t *count)
{
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

enum link_life card_life(const struct card *card)
{
    uint8_t life = 0;
    /* What is not there, or cannot be read, opens nothing: neither personalisation nor a line. */
    if (nvm_read_exact(&card->nvm, NVM_LIFE, &life, 1) != CW_OK)
        return 0;
    return life == LINK_LIFE_BLANK || life == LINK_LIFE_ACTIVE ? (enum link_life)life : 0;
}

/* Big-endian number of `len` bytes; 0 when it was never written, which on an active card cannot be.
 */
static enum cw_err number_read(const struct card *card, uint16_t key, size_t len, uint64_t *out)
{
    uint8_t b[8] = {0};
    uint64_t v = 0;
    enum cw_err err = nvm_read_exact(&card->nvm, key, b, len);
    if (err == CW_ERR_NOT_FOUND && card_life(card) == LINK_LIFE_BLANK)
        err = CW_OK;
    if (err != CW_OK)
        return CW_ERR_IO;
    for (size_t i = 0; i < len; i++)
        v = v << 8 | b[i];
    *out = v;
    return CW_OK;
}

enum cw_err card_time(const struct card *card, int64_t *out)
{
    uint64_t v = 0;
    enum cw_err err = number_read(card, NVM_TIME, 8, &v);
    if (err == CW_OK && v > (uint64_t)CAL_MAX)
        err = CW_ERR_IO;
    if (err == CW_OK)
        *out = (int64_t)v;
    return err;
}

enum cw_err card_counter(const struct card *card, uint32_t *out)
{
    uint64_t v = 0;
    enum cw_err err = number_read(card, NVM_COUNTER, 4, &v);
    if (err == CW_OK)
        *out = (uint32_t)v;
    return err;
}

enum cw_err card_do_select(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    if (cmd->p1 != 0x04 || (cmd->p2 != 0x00 && cmd->p2 != 0x0C))
        return CW_ERR_ARG;
    if (cmd->nc != LINK_AID_LEN || memcmp(cmd->data, LINK_AID, LINK_AID_LEN) != 0)
        return CW_ERR_NOT_FOUND;
    /* A new start: the line and every PIN given are gone. */
    line_drop(&card->line);
    card->pin_line = false;
    card->pin_order = false;
    card->selected = true;
    if (cmd->p2 == 0x0C)
        return CW_OK;
    const uint8_t fci[] = {0x6F, 0x0D, 0x84, LINK_AID_LEN, 0xF0, 0x43,          0x57,         0x4C,
                           0x01, 0xA5, 0x04, 0x88,         0x02, VERSION_MAJOR, VERSION_MINOR};
    buf_put_bytes(call->out, fci, sizeof fci);
    return CW_OK;
}

enum cw_err card_do_verify(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    if (cmd->p2 != LINK_PIN_LINE && cmd->p2 != LINK_PIN_ORDER)
        return CW_ERR_NOT_FOUND;
    /* Over the air the PIN travels in clear; for orders that is not permitted. */
    if (cmd->p2 == LINK_PIN_ORDER && card->port->contactless)
        return CW_ERR_STATE;
    bool *given = cmd->p2 == LINK_PIN_LINE ? &card->pin_line : &card->pin_order;
    if (cmd->nc == 0) {
        if (*given)
            return CW_OK;
        return pin_tries(&card->nvm) > 0 ? CW_ERR_AUTH : CW_ERR_BLOCKED;
    }
    *given = false;
    enum cw_err err = pin_verify(&card->nvm, cmd->data, cmd->nc);
    if (err == CW_OK)
        *given = true;
    if (err == CW_ERR_AUTH || err == CW_ERR_BLOCKED) {
        card->pin_line = false;
        card->pin_order = false;
    }
    if (pin_tries(&card->nvm) == 0)
        session_forget_all(card);
    return err;
}

/* Is this an object that may be read, and by what number is it in memory? */
static bool object_valid(uint16_t object)
{
    unsigned index = object & 0xFF;
    switch (object & 0xFF00) {
    case LINK_DO_CERT:
        return key_slot_valid(index);
    case LINK_DO_ROOT:
        return index < LINK_ROOT_MAX;
    case LINK_DO_NAME:
        return index < LINK_NAME_MAX;
    default:
        return object == LINK_DO_TIME || object == LINK_DO_PIN;
    }
}

enum cw_err card_do_get_data(struct card_call *call)
{
    struct card *card = call->card;
    uint16_t object = (uint16_t)(call->cmd->p1 << 8 | call->cmd->p2);
    if (!object_valid(object) || object == LINK_DO_PIN)
        return CW_ERR_NOT_FOUND;
    size_t len = 0;
    uint16_t key = object == LINK_DO_TIME ? NVM_TIME : object;
    enum cw_err err = nvm_size(&card->nvm, key, &len);
    if (err == CW_OK && len > buf_room(call->out))
        err = CW_ERR_SPACE;
    if (err == CW_OK)
        err = nvm_read(&card->nvm, key, 0, call->out->start, len, &len);
    if (err == CW_OK)
        call->out->len = len;
    return err;
}

static enum cw_err root_check(const uint8_t *der, size_t len)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    bool good =
        mbedtls_x509_crt_parse_der(&crt, der, len) == 0 && crt.raw.len == len && crt.ca_istrue != 0;
    mbedtls_x509_crt_free(&crt);
    return good ? CW_OK : CW_ERR_FORMAT;
}

static enum cw_err put_time(struct card *card, const uint8_t *data, size_t len)
{
    struct buf_reader r;
    if (len != 8)
        return CW_ERR_LENGTH;
    buf_reader_init(&r, data, len);
    uint64_t v = buf_get_u64(&r);
    if (v == 0 || v > (uint64_t)CAL_MAX)
        return CW_ERR_FORMAT;
    return nvm_write(&card->nvm, NVM_TIME, data, len);
}

enum cw_err card_do_put_data(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    uint16_t object = (uint16_t)(cmd->p1 << 8 | cmd->p2);
    enum cw_err err = CW_OK;
    struct line_name name;
    if (!object_valid(object))
        return CW_ERR_NOT_FOUND;
    switch (object & 0xFF00) {
    case LINK_DO_CERT:
        if (!key_present(card, cmd->p2))
            return CW_ERR_NOT_FOUND;
        if (cmd->nc > CARD_RESPONSE_DATA_MAX)
            return CW_ERR_LENGTH;
        err = key_matches(cmd->p2, cmd->data, cmd->nc);
        break;
    case LINK_DO_ROOT:
        if (cmd->nc > CARD_RESPONSE_DATA_MAX)
            return CW_ERR_LENGTH;
        err = root_check(cmd->data, cmd->nc);
        break;
    case LINK_DO_NAME:
        err = line_name_parse(cmd->data, cmd->nc, &name);
        break;
    case LINK_DO_PIN:
        return pin_set(&card->nvm, cmd->data, cmd->nc);
    default:
        return put_time(card, cmd->data, cmd->nc);
    }
    if (err != CW_OK)
        return err;
    session_forget_all(card);
    return nvm_write(&card->nvm, object, cmd->data, cmd->nc);
}

/* Nothing may be missing: a PIN, a floor of time, a root, a name, a TLS key, and for every key its
 * certificate. */
enum cw_err card_do_activate(struct card_call *call)
{
    struct card *card = call->card;
    size_t len = 0;
    const uint8_t life = LINK_LIFE_ACTIVE;
    const uint8_t none[4] = {0};
    bool roots = false;
    bool names = false;
    int64_t time = 0;
    enum cw_err err = card_time(card, &time);
    if (err != CW_OK)
        return err;
    if (pin_tries(&card->nvm) == 0 || nvm_size(&card->nvm, NVM_PIN, &len) != CW_OK || time == 0)
        return CW_ERR_STATE;
    for (uint16_t i = 0; i < LINK_ROOT_MAX; i++)
        roots |= nvm_size(&card->nvm, (uint16_t)(NVM_ROOT | i), &len) == CW_OK;
    for (uint16_t i = 0; i < LINK_NAME_MAX; i++)
        names |= nvm_size(&card->nvm, (uint16_t)(NVM_NAME | i), &len) == CW_OK;
    for (unsigned slot = 1; slot <= LINK_KEY_COUNT; slot++)
        if (key_present(card, slot) && !key_certified(card, slot))
            return CW_ERR_STATE;
    if (!roots || !names ||
        !(key_present(card, LINK_KEY_TLS_P256) || key_present(card, LINK_KEY_TLS_RSA)))
        return CW_ERR_STATE;
    /* From here on a missing counter is a fault, not a beginning. */
    err = nvm_write(&card->nvm, NVM_COUNTER, none, sizeof none);
    return err == CW_OK ? nvm_write(&card->nvm, NVM_LIFE, &life, 1) : err;
}

static enum cw_err info_card(struct card *card, struct buf_writer *out)
{
    int64_t time = 0;
    uint32_t counter = 0;
    enum cw_err err = card_time(card, &time);
    if (err == CW_OK)
        err = card_counter(card, &counter);
    if (err != CW_OK)
        return err;
    uint8_t keys = 0;
    uint8_t certificates = 0;
    size_t used = 0;
    size_t blocks = 0;
    for (unsigned slot = 1; slot <= LINK_KEY_COUNT; slot++) {
        if (key_present(card, slot))
            keys |= (uint8_t)(1u << (slot - 1));
        if (key_certified(card, slot))
            certificates |= (uint8_t)(1u << (slot - 1));
    }
    mbedtls_memory_buffer_alloc_max_get(&used, &blocks);
    ber_put(out, LINK_TAG_SERIAL, card->port->unique_id, CARD_UNIQUE_ID_LEN);
    ber_put_u8(out, LINK_TAG_LIFE, (uint8_t)card_life(card));
    ber_put_header(out, LINK_TAG_TRIES, 2);
    buf_put_u8(out, (uint8_t)pin_tries(&card->nvm));
    buf_put_u8(out, LINK_PIN_TRIES);
    ber_put_u64(out, LINK_TAG_TIME, (uint64_t)time);
    ber_put_header(out, LINK_TAG_KEYS, 2);
    buf_put_u8(out, keys);
    buf_put_u8(out, certificates);
    ber_put_header(out, LINK_TAG_LIMITS, 4);
    buf_put_u16(out, CARD_COMMAND_DATA_MAX);
    buf_put_u16(out, CARD_RESPONSE_DATA_MAX);
    ber_put_header(out, LINK_TAG_COUNTER, 4);
    buf_put_u32(out, counter);
    ber_put_header(out, LINK_TAG_VERSION, 2);
    buf_put_u8(out, VERSION_MAJOR);
    buf_put_u8(out, VERSION_MINOR);
    ber_put_u8(out, LINK_TAG_INTERFACE, card->port->contactless);
    ber_put_header(out, LINK_TAG_HEAP, 8);
    buf_put_u32(out, (uint32_t)used);
    buf_put_u32(out, CARD_POOL_SIZE);
    return CW_OK;
}

enum cw_err card_do_info(struct card_call *call)
{
    if (call->cmd->p1 != LINK_INFO_TRACE && call->cmd->p2 != 0)
        return CW_ERR_ARG;
    switch (call->cmd->p1) {
    case LINK_INFO_CARD:
        return info_card(call->card, call->out);
    case LINK_INFO_SESSION:
        line_info_put(&call->card->line, call->out);
        return CW_OK;
    default:
        line_events_put(&call->card->line, call->cmd->p2, call->out);
        return CW_OK;
    }
}
