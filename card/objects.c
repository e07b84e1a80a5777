/* objects.c - GET DATA and PUT DATA of the link application (ISO/IEC 7816-4:2020 §11.5): what the
 * issuer writes to a card, and what may be read back. A value is checked before it is stored, so
 * that what is in memory can be relied upon. */
#include "card/state.h"

#include "base/cal.h"
#include "base/ct.h"
#include "card/pool.h"

#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

/* Is there such an object? */
static bool object_exists(uint16_t object)
{
    unsigned index = object & 0xFF;
    switch (object & 0xFF00) {
    case LINK_DO_CERT:
        return key_slot_valid(index);
    case LINK_DO_ROOT:
        return index < LINK_ROOT_MAX;
    case LINK_DO_NAME:
        return index < LINK_NAME_MAX;
    case LINK_DO_PIN:
        return index < LINK_PIN_COUNT;
    default:
        return object == LINK_DO_TIME || object == LINK_DO_POLICY || object == LINK_DO_ISSUER ||
               object == LINK_DO_PAYEES || object == LINK_DO_ADMIN;
    }
}

bool object_secret(uint16_t object)
{
    unsigned kind = object & 0xFF00;
    return kind == 0 || kind == LINK_DO_PIN || kind == NVM_SESSION ||
           (kind >= LINK_DO_ADMIN && kind != NVM_PIV_OBJECT);
}

/* Whom the holder pays is nobody's business who has the card but not the PIN. */
HARD_DECIDES static enum cw_err may_read(const struct card *card, uint16_t object)
{
    return object != LINK_DO_PAYEES || secure_is_proved(card) || card->pin_line == HARD_YES ||
                   card->line.phase == LINE_OPEN
               ? CW_OK
               : CW_ERR_DENIED;
}

enum cw_err card_do_get_data(struct card_call *call)
{
    uint16_t object = (uint16_t)(call->cmd->p1 << 8 | call->cmd->p2);
    size_t len = 0;
    if (!object_exists(object) || object_secret(object))
        return CW_ERR_NOT_FOUND;
    enum cw_err err = CW_OK;
    if (HARD_SAYS_NO(err, may_read(call->card, object)))
        return err;
    err = nvm_size(&call->card->nvm, object, &len);
    if (err == CW_OK)
        call->object = object;
    return err;
}

/* What the library did not take: it is wrong, or there was no room to look at it, beside a line. */
static enum cw_err not_taken(void)
{
    return pool_was_short() ? CW_ERR_SPACE : CW_ERR_FORMAT;
}

static enum cw_err root_check(const uint8_t *der, size_t len)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    pool_watch();
    bool good =
        mbedtls_x509_crt_parse_der(&crt, der, len) == 0 && crt.raw.len == len && crt.ca_istrue != 0;
    mbedtls_x509_crt_free(&crt);
    return good ? CW_OK : not_taken();
}

/* The floor of time only grows, whoever says so. */
static enum cw_err time_check(const struct card *card, const uint8_t *data, size_t len)
{
    struct buf_reader r;
    int64_t floor = 0;
    if (len != 8)
        return CW_ERR_LENGTH;
    buf_reader_init(&r, data, len);
    uint64_t v = buf_get_u64(&r);
    if (v == 0 || v > (uint64_t)CAL_MAX)
        return CW_ERR_FORMAT;
    enum cw_err err = card_time(card, &floor);
    if (err == CW_OK && (int64_t)v < floor && card_life(card) != LINK_LIFE_BLANK)
        err = CW_ERR_STATE;
    return err;
}

/* A point of the curve, uncompressed (SEC 1 §2.3.3). The library says whether it is one; the byte
 * that says how it is written, it does not look at. */
static enum cw_err point_check(const uint8_t *data, size_t len)
{
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
    psa_key_id_t id = PSA_KEY_ID_NULL;
    if (len != ISSUER_POINT_LEN)
        return CW_ERR_LENGTH;
    if (data[0] != 0x04)
        return CW_ERR_FORMAT;
    psa_set_key_type(&a, PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    psa_set_key_bits(&a, 256);
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_VERIFY_MESSAGE);
    psa_set_key_algorithm(&a, PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    pool_watch();
    psa_status_t status = psa_import_key(&a, data, len, &id);
    psa_destroy_key(id);
    return status == PSA_SUCCESS ? CW_OK : not_taken();
}

enum cw_err object_check(struct card *card, uint16_t object, const uint8_t *value, size_t len)
{
    struct line_name name;
    struct policy policy;
    if (!object_exists(object) || object_secret(object))
        return CW_ERR_NOT_FOUND;
    /* What cannot be read back through the secure channel could not be proved. */
    if (len > SECURE_RESPONSE_MAX)
        return CW_ERR_LENGTH;
    switch (object & 0xFF00) {
    case LINK_DO_CERT:
        return key_present(card, object & 0xFF) ? key_matches(object & 0xFF, value, len)
                                                : CW_ERR_NOT_FOUND;
    case LINK_DO_ROOT:
        return root_check(value, len);
    case LINK_DO_NAME:
        return line_name_parse(value, len, &name);
    case LINK_DO_TIME:
        return time_check(card, value, len);
    case LINK_DO_POLICY:
        return policy_decode(value, len, &policy);
    case LINK_DO_ISSUER:
        return point_check(value, len);
    default:
        return policy_payees_check(value, len);
    }
}

/* Is the object there once these writes are done? */
static bool there_after(const struct card *card, uint16_t object, const struct issuer_write *writes,
                        size_t count)
{
    size_t len = 0;
    bool there = nvm_size(&card->nvm, object, &len) == CW_OK;
    for (size_t i = 0; i < count; i++)
        if (writes[i].object == object)
            there = writes[i].len > 0;
    return there;
}

enum cw_err objects_remain(const struct card *card, const struct issuer_write *writes, size_t count)
{
    bool root = false;
    bool name = false;
    for (uint16_t i = 0; i < LINK_ROOT_MAX; i++)
        root |= there_after(card, (uint16_t)(LINK_DO_ROOT | i), writes, count);
    for (uint16_t i = 0; i < LINK_NAME_MAX; i++)
        name |= there_after(card, (uint16_t)(LINK_DO_NAME | i), writes, count);
    return root && name ? CW_OK : CW_ERR_STATE;
}

bool object_is_trust(uint16_t object)
{
    unsigned kind = object & 0xFF00;
    return kind == LINK_DO_CERT || kind == LINK_DO_ROOT || kind == LINK_DO_NAME;
}

bool object_removable(uint16_t object)
{
    unsigned kind = object & 0xFF00;
    return object_exists(object) &&
           (kind == LINK_DO_ROOT || kind == LINK_DO_NAME || kind == LINK_DO_PAYEES);
}

static enum cw_err remove_object(struct card *card, uint16_t object)
{
    const struct issuer_write write = {.object = object};
    if (!object_removable(object))
        return CW_ERR_LENGTH;
    enum cw_err err = card_life(card) == LINK_LIFE_BLANK ? CW_OK : objects_remain(card, &write, 1);
    if (err != CW_OK)
        return err;
    if (object_is_trust(object))
        session_forget_all(card);
    return nvm_remove(&card->nvm, object);
}

/* Tries (1), flags (1), digits. */
static enum cw_err put_pin(struct card *card, enum link_pin pin, const uint8_t *data, size_t len)
{
    if (len < 2 + LINK_PIN_MIN || len > 2 + LINK_PIN_MAX)
        return CW_ERR_LENGTH;
    const uint8_t flags = pin == LINK_PIN_HOLDER ? LINK_PIN_TRANSPORT : 0;
    bool piv = pin == LINK_PIN_PIV || pin == LINK_PIN_PIV_PUK;
    if (data[0] < 1 || data[0] > 15 || (data[1] & ~flags) != 0)
        return CW_ERR_FORMAT;
    if (piv && (len < 2 + 6 || len > 2 + 8)) /* SP 800-73-4 part 2 §2.4.3 */
        return CW_ERR_LENGTH;
    for (size_t i = 2; i < len; i++)
        if (data[i] < '0' || data[i] > '9')
            return CW_ERR_FORMAT;
    if (pin == LINK_PIN_HOLDER) { /* what the old one had opened */
        hard_clear(&card->pin_line);
        hard_clear(&card->pin_order);
    }
    return pin_set(card, pin, data[0], data[1], data + 2, len - 2);
}

enum cw_err card_do_put_data(struct card_call *call)
{
    struct card *card = call->card;
    const struct apdu_command *cmd = call->cmd;
    uint16_t object = (uint16_t)(cmd->p1 << 8 | cmd->p2);
    if (!object_exists(object))
        return CW_ERR_NOT_FOUND;
    if (cmd->nc == 0)
        return remove_object(card, object);
    if ((object & 0xFF00) == LINK_DO_PIN)
        return put_pin(card, (enum link_pin)cmd->p2, cmd->data, cmd->nc);
    if (object == LINK_DO_ADMIN)
        return piv_admin_set(card, cmd->data[0], cmd->data + 1, cmd->nc - 1);
    enum cw_err err = object_check(card, object, cmd->data, cmd->nc);
    if (err != CW_OK)
        return err;
    if (object_is_trust(object))
        session_forget_all(card);
    return nvm_write(&card->nvm, object, cmd->data, cmd->nc);
}
