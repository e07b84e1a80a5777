/* nvm_log.h - the log in flash under card/nvm.c: records, banks, moves. Internal to the store; it
 * also implements nvm_mount, nvm_look and nvm_usage. It does not ask whether a write is wise:
 * nvm.c keeps the limits. */
#ifndef CARDWIRE_CARD_NVM_LOG_H
#define CARDWIRE_CARD_NVM_LOG_H

#include "card/nvm.h"

enum nvm_kind { NVM_KIND_VALUE = 1, NVM_KIND_REMOVED = 2, NVM_KIND_GROUP = 3 };

#define NVM_MEMBER_LEN 6u /* bytes that a member of a group takes besides its value */

/* A piece of the value of a record. */
struct nvm_part {
    const void *data; /* may be NULL when len is 0 */
    size_t len;
};

/* Where the value lies; NULL when there is none. */
struct nvm_entry *nvm_log_find(const struct nvm *nvm, uint16_t key);
/* What a record with a value of `len` bytes takes. */
uint32_t nvm_log_record_bytes(size_t len);

/* Moves the live values to the other bank. */
CW_MUST_USE enum cw_err nvm_log_move(struct nvm *nvm);
/* Appends one record, after a move if need be; the caller has seen that it fits then. When it fails
 * on the way, the live bank has a tail that is not blank. */
CW_MUST_USE enum cw_err nvm_log_append(struct nvm *nvm, enum nvm_kind kind, uint16_t key,
                                       const struct nvm_part *parts, size_t count);
/* The changes as one record; at most NVM_GROUP_MAX. */
CW_MUST_USE enum cw_err nvm_log_append_group(struct nvm *nvm, const struct nvm_change *changes,
                                             size_t count);

#endif
