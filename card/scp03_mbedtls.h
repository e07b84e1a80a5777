/* scp03_mbedtls.h - the card's AES for the issuer's secure channel (proto/scp03.h). */
#ifndef CARDWIRE_CARD_SCP03_MBEDTLS_H
#define CARDWIRE_CARD_SCP03_MBEDTLS_H

#include "proto/scp03.h"

extern const struct scp03_crypto scp03_mbedtls;

#endif
