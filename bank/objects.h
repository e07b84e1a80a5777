/* objects.h - values of a card's objects (docs/card.md) as the bank writes them, at issuance and in
 * updates: server names, roots, lists of payees. No I/O but the reading of a root's file. */
#ifndef CARDWIRE_BANK_OBJECTS_H
#define CARDWIRE_BANK_OBJECTS_H

#include "bank/ledger.h"
#include "proto/policy.h"
#include "terminal/applet.h"

/* A card's object answers through the secure channel with at most this: no longer one is taken. */
#define OBJECTS_VALUE_MAX 1000u
#define OBJECTS_NAME_MAX  96u /* bytes of the longest server name's value */

struct objects_root {
    uint8_t der[OBJECTS_VALUE_MAX];
    size_t len;
};

/* The first certificate in a PEM file, if it is a root that a card takes: of a CA, with a key on
 * P-256 or of RSA with 2,048 to 4,096 bits. A card that cannot take what stands in a
 * signed update would never take the update. CW_ERR_FORMAT, CW_ERR_LENGTH. */
CW_MUST_USE enum cw_err objects_root_load(const char *path, struct objects_root *out,
                                          struct say *why);

/* CW_ERR_FORMAT when the host is none that a card may hold. */
CW_MUST_USE enum cw_err objects_name_put(const struct applet_name *name, struct buf_writer *w,
                                         struct say *why);

/* Names of accounts of this bank, as orders will name them. CW_ERR_NOT_FOUND, CW_ERR_EXISTS when
 * one is named twice, CW_ERR_ARG when one is the bank's own. */
CW_MUST_USE enum cw_err objects_payees_find(struct ledger *l, const char *const *accounts,
                                            size_t count, struct policy_payee *out,
                                            struct say *why);
/* CW_ERR_SPACE when a card's list cannot hold them. */
CW_MUST_USE enum cw_err objects_payees_put(const struct policy_payee *payees, size_t count,
                                           struct buf_writer *w, struct say *why);

#endif
