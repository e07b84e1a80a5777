/* its.c - what the TLS library asks of its platform, given by the card: PSA's storage (PSA
 * Certified Secure Storage API 1.0 §5.2) is the tear-proof memory, and random numbers come from the
 * port. */
#include "card/state.h"

#include <psa/crypto.h>
#include <psa/error.h>
#include <psa/internal_trusted_storage.h>

#define FLAGS_LEN 4u

static struct card *attached;

void its_attach(struct card *card)
{
    attached = card;
}

/* Only the key slots are stored; the library keeps nothing else. 0 is no key of the memory. */
static uint16_t key_of(psa_storage_uid_t uid)
{
    return attached != NULL && uid >= 1 && uid <= LINK_KEY_COUNT ? (uint16_t)(NVM_PSA | uid) : 0;
}

static psa_status_t status_of(enum cw_err err)
{
    switch (err) {
    case CW_OK:
        return PSA_SUCCESS;
    case CW_ERR_NOT_FOUND:
        return PSA_ERROR_DOES_NOT_EXIST;
    case CW_ERR_SPACE:
    case CW_ERR_LENGTH:
        return PSA_ERROR_INSUFFICIENT_STORAGE;
    case CW_ERR_ARG:
        return PSA_ERROR_INVALID_ARGUMENT;
    default:
        return PSA_ERROR_STORAGE_FAILURE;
    }
}

psa_status_t psa_its_set(psa_storage_uid_t uid, uint32_t data_length, const void *p_data,
                         psa_storage_create_flags_t create_flags)
{
    uint16_t key = key_of(uid);
    if (key == 0)
        return PSA_ERROR_NOT_SUPPORTED;
    uint8_t flags[FLAGS_LEN];
    struct buf_writer w;
    buf_writer_init(&w, flags, sizeof flags);
    buf_put_u32(&w, create_flags);
    return status_of(nvm_write2(&attached->nvm, key, flags, sizeof flags, p_data, data_length));
}

psa_status_t psa_its_get(psa_storage_uid_t uid, uint32_t data_offset, uint32_t data_length,
                         void *p_data, size_t *p_data_length)
{
    uint16_t key = key_of(uid);
    if (key == 0)
        return PSA_ERROR_DOES_NOT_EXIST;
    return status_of(nvm_read(&attached->nvm, key, (size_t)data_offset + FLAGS_LEN, p_data,
                              data_length, p_data_length));
}

psa_status_t psa_its_get_info(psa_storage_uid_t uid, struct psa_storage_info_t *p_info)
{
    uint16_t key = key_of(uid);
    size_t len = 0;
    uint8_t flags[FLAGS_LEN];
    size_t got = 0;
    if (key == 0)
        return PSA_ERROR_DOES_NOT_EXIST;
    enum cw_err err = nvm_size(&attached->nvm, key, &len);
    if (err == CW_OK)
        err = nvm_read(&attached->nvm, key, 0, flags, sizeof flags, &got);
    if (err != CW_OK)
        return status_of(err);
    if (got != FLAGS_LEN)
        return PSA_ERROR_DATA_CORRUPT;
    struct buf_reader r;
    buf_reader_init(&r, flags, sizeof flags);
    p_info->size = (uint32_t)(len - FLAGS_LEN);
    p_info->flags = buf_get_u32(&r);
    return PSA_SUCCESS;
}

psa_status_t psa_its_remove(psa_storage_uid_t uid)
{
    uint16_t key = key_of(uid);
    if (key == 0)
        return PSA_ERROR_DOES_NOT_EXIST;
    return status_of(nvm_remove(&attached->nvm, key));
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t output_size,
                                             size_t *output_length);

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *context,
                                             uint8_t *output, size_t output_size,
                                             size_t *output_length)
{
    (void)context;
    if (attached == NULL ||
        attached->port->random(attached->port->ctx, output, output_size) != CW_OK)
        return PSA_ERROR_INSUFFICIENT_ENTROPY;
    *output_length = output_size;
    return PSA_SUCCESS;
}
