/* pay.h - POST /v1/payments: from the bytes that the card signed to a booking. docs/bank.md lists
 * the checks in their order. */
#ifndef CARDWIRE_BANK_PAY_H
#define CARDWIRE_BANK_PAY_H

#include "bank/api.h"

/* Wants a line that is logged in, of a card that is active. */
CW_MUST_USE enum cw_err pay_serve(struct api *api, const struct api_line *line,
                                  const struct api_request *request, struct api_reply *reply);

#endif
