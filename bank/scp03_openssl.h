/* scp03_openssl.h - the bank's AES for the secure channel to a card (proto/scp03.h), by OpenSSL. */
#ifndef CARDWIRE_BANK_SCP03_OPENSSL_H
#define CARDWIRE_BANK_SCP03_OPENSSL_H

#include "proto/scp03.h"

extern const struct scp03_crypto scp03_openssl;

#endif
