/* api_card.h - what the bank answers to a terminal about the card of its line: time, updates, the
 * list of payees (docs/api.md). Everything is about that card; no request names another one. */
#ifndef CARDWIRE_BANK_API_CARD_H
#define CARDWIRE_BANK_API_CARD_H

#include "bank/api.h"

#define API_UPDATES_MAX 16u /* updates in one answer; the terminal asks again */

/* All: CW_ERR_SPACE is the one failure, as api_serve's. `query` is what stands after '?'. */
CW_MUST_USE enum cw_err api_card_get(struct api *api, const struct api_line *line,
                                     struct api_reply *reply);
CW_MUST_USE enum cw_err api_card_time(struct api *api, const struct api_line *line,
                                      const struct api_request *request, struct api_reply *reply);
CW_MUST_USE enum cw_err api_card_updates(struct api *api, const struct api_line *line,
                                         const char *query, struct api_reply *reply);
CW_MUST_USE enum cw_err api_card_applied(struct api *api, const struct api_line *line,
                                         const struct api_request *request,
                                         struct api_reply *reply);
CW_MUST_USE enum cw_err api_card_payees(struct api *api, const struct api_line *line,
                                        struct api_reply *reply);

#endif
