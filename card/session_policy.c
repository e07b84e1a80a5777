/* session_policy.c - where this card keeps the sessions of its lines. */
#include "card/line_session.h"

enum session_keep session_policy(const struct card *card)
{
    (void)card;
    return SESSION_KEEP_NVM;
}
