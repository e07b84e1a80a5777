/* issuer_keys.h - the keys with which the bank manages its cards (docs/scp03.md): one master key in
 * a file, and each card's key set derived from it and the card's serial number, so that what is
 * taken out of one card opens no other. */
#ifndef CARDWIRE_BANK_ISSUER_KEYS_H
#define CARDWIRE_BANK_ISSUER_KEYS_H

#include "host/say.h"
#include "proto/order.h"
#include "proto/scp03.h"

/* The caller wipes it with ct_wipe. */
struct issuer_master {
    uint8_t key[SCP03_KEY_LEN];
};

/* Makes a new master key in a new file, 0600: 32 hexadecimal digits and a line feed.
 * CW_ERR_EXISTS when there is one. */
CW_MUST_USE enum cw_err issuer_master_make(const char *path, struct say *why);
/* CW_ERR_NOT_FOUND, CW_ERR_FORMAT; CW_ERR_DENIED when others than its owner may read or write it.
 */
CW_MUST_USE enum cw_err issuer_master_load(const char *path, struct issuer_master *out,
                                           struct say *why);

/* The key set of one card: NIST SP 800-108 in counter mode with CMAC-AES-128 (r = 32, L = 128),
 * with "ENC", "MAC" and "DEK" as label and the serial as context. The caller wipes *out. */
CW_MUST_USE enum cw_err issuer_keys_derive(const struct issuer_master *master,
                                           const uint8_t serial[ORDER_SERIAL_LEN],
                                           struct scp03_keys *out, struct say *why);
/* The administration key of the card's PIV application, AES-128: the same with "PIV" as label. The
 * caller wipes it. */
CW_MUST_USE enum cw_err issuer_piv_key_derive(const struct issuer_master *master,
                                              const uint8_t serial[ORDER_SERIAL_LEN],
                                              uint8_t out[SCP03_KEY_LEN], struct say *why);

#endif
