/* card_rows.c - prints the commands that the card has, so that the replay corpus can be held
 * against them: for each row of each application a line of AID, CLA and INS. What belongs to no
 * application, because the dispatcher does it before any is asked, has "*" for the AID. */
#include "card/state.h"

#include <stdio.h>

static void put_app(const struct card_app *app)
{
    for (size_t i = 0; i < app->row_count; i++) {
        for (size_t j = 0; j < app->aid_len; j++)
            printf("%02X", app->aid[j]);
        printf(" %02X %02X\n", app->rows[i].cla, app->rows[i].ins);
    }
}

int main(void)
{
    printf("* %02X %02X\n", APDU_CLA_ISO, INS_SELECT);
    printf("* %02X %02X\n", APDU_CLA_ISO, INS_GET_RESPONSE);
    for (size_t i = 0; i < CARD_APP_COUNT; i++)
        put_app(card_apps[i]);
    return 0;
}
