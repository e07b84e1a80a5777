/* pay.h - POST /v1/payments: from the bytes that the card signed to a booking. docs/bank.md lists
 * the checks in their order. */
#ifndef CARDWIRE_BANK_PAY_H
#define CARDWIRE_BANK_PAY_H

#include "bank/api.h"

#define PAY_ROUTE "/v1/payments"

/* Wants a line that is logged in, and a queue that is not full. Makes the
 * reply, or sets reply->later and has the order wait for pay_commit. */
CW_MUST_USE enum cw_err pay_take(struct api *api, struct api_line *line,
                                 const struct api_request *request, void *owner,
                                 struct api_reply *reply);
/* As api_commit and api_leave. */
void pay_commit(struct api *api, api_answer *answer);
void pay_leave(struct api *api, const void *owner);
/* Nothing waits any more, and nothing of it is booked. */
void pay_forget(struct api *api);

#endif
