/* account.h - the bank's account numbers: "ZZ" (a user-assigned code, ISO 3166-1 §8.1.3), two check
 * digits (ISO/IEC 7064 MOD 97-10) and twelve digits, the shape of ISO 13616-1 §5. So a mistyped
 * number can be told from an unknown one. Not a store: ledger.h has the accounts. */
#ifndef CARDWIRE_BANK_ACCOUNT_H
#define CARDWIRE_BANK_ACCOUNT_H

#include "base/err.h"

#include <stdint.h>

#define ACCOUNT_NUMBER_LEN  16u
#define ACCOUNT_ORDINAL_MAX UINT64_C(999999999999)

/* Writes the number of `ordinal` (0..ACCOUNT_ORDINAL_MAX) with its check digits, NUL-terminated. */
void account_number_make(uint64_t ordinal, char out[ACCOUNT_NUMBER_LEN + 1]);

/* CW_ERR_LENGTH or CW_ERR_FORMAT when it cannot be a number of this bank: mistyped. */
CW_MUST_USE enum cw_err account_number_check(const char *number);

#endif
