/* backup.h - a whole copy of the bank, made while it goes on. */
#ifndef CARDWIRE_BANK_BACKUP_H
#define CARDWIRE_BANK_BACKUP_H

#include "bank/audit.h"

/* Copies ledger, keys, certificates and mailers into `dir`, a new folder or an empty one of the
 * caller's own, which is a bank afterwards. The ledger gets its name last: a copy that was cut
 * short is none. Then audits the copy, and sees that it could serve;
 * `out` is what the audit said. CW_ERR_ARG for a folder inside the bank's. CW_ERR_EXISTS,
 * CW_ERR_DENIED for the folder; CW_ERR_IO; CW_ERR_FORMAT when the books are not in order, and the
 * copy is there all the same. */
CW_MUST_USE enum cw_err backup_run(struct bank *b, const char *dir,
                                   const struct audit_options *options, struct audit_result *out,
                                   struct say *why);

#endif
