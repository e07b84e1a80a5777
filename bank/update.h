/* update.h - signed messages of the bank to its cards (proto/issuer.h): the one place where they
 * are made. */
#ifndef CARDWIRE_BANK_UPDATE_H
#define CARDWIRE_BANK_UPDATE_H

#include "bank/bank.h"
#include "proto/issuer.h"

/* The public point of the update key, as cards hold it. */
CW_MUST_USE enum cw_err update_point_get(const struct bank *bank, uint8_t out[ISSUER_POINT_LEN],
                                         struct say *why);
/* Signs the message. CW_ERR_LENGTH when it is longer than a card takes. */
CW_MUST_USE enum cw_err update_sign(EVP_PKEY *key, const struct issuer_message *m,
                                    uint8_t out[ISSUER_MESSAGE_MAX], size_t *len, struct say *why);

#endif
