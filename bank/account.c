#include "bank/account.h"

#include <stdio.h>
#include <string.h>

/* ISO/IEC 7064 MOD 97-10 over the rearranged number: letters count 10 to 35 (ISO 13616-1 §6). */
static unsigned mod97(const char *country, const char *digits, const char *check)
{
    unsigned rest = 0;
    for (const char *p = digits; *p != '\0'; p++)
        rest = (rest * 10 + (unsigned)(*p - '0')) % 97;
    for (const char *p = country; *p != '\0'; p++)
        rest = (rest * 100 + (unsigned)(*p - 'A' + 10)) % 97;
    for (const char *p = check; *p != '\0'; p++)
        rest = (rest * 10 + (unsigned)(*p - '0')) % 97;
    return rest;
}

void account_number_make(uint64_t ordinal, char out[ACCOUNT_NUMBER_LEN + 1])
{
    char digits[32];
    snprintf(digits, sizeof digits, "%012llu", (unsigned long long)(ordinal % 1000000000000u));
    unsigned check = 98 - mod97("ZZ", digits, "00");
    snprintf(out, ACCOUNT_NUMBER_LEN + 1, "ZZ%02u%.12s", check % 100, digits);
}

enum cw_err account_number_check(const char *number)
{
    if (strlen(number) != ACCOUNT_NUMBER_LEN)
        return CW_ERR_LENGTH;
    if (number[0] != 'Z' || number[1] != 'Z')
        return CW_ERR_FORMAT;
    for (unsigned i = 2; i < ACCOUNT_NUMBER_LEN; i++)
        if (number[i] < '0' || number[i] > '9')
            return CW_ERR_FORMAT;
    const char check[3] = {number[2], number[3], '\0'};
    return mod97("ZZ", number + 4, check) == 1 ? CW_OK : CW_ERR_FORMAT;
}
