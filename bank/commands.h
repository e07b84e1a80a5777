/* commands.h - what the commands of cardwired share: opening the bank, and printing for people and
 * programs. Not for anybody outside commands*.c. */
#ifndef CARDWIRE_BANK_COMMANDS_H
#define CARDWIRE_BANK_COMMANDS_H

#include "bank/cli.h"
#include "terminal/applet.h"

CW_MUST_USE enum cw_err commands_bank_open(const struct cli_args *args, struct bank **out,
                                           struct say *why);

/* A card's serial as it was given. CW_ERR_ARG. */
CW_MUST_USE enum cw_err commands_serial_take(const char *text, uint8_t serial[ORDER_SERIAL_LEN],
                                             struct say *why);
/* The options that say a card's policy, into one that is there. CW_ERR_ARG. */
CW_MUST_USE enum cw_err commands_policy_take(const struct cli_args *args, struct policy *policy,
                                             struct say *why);
/* --server-name and --profiles as a card holds them. CW_ERR_ARG. */
CW_MUST_USE enum cw_err commands_names_take(const struct cli_args *args,
                                            struct applet_name names[LINK_NAME_MAX], size_t *count,
                                            struct say *why);

/* --signing-key NAME=URI of these names, and no others. CW_ERR_ARG. */
struct commands_signing_key {
    const char *name;
    const char **to;
};
CW_MUST_USE enum cw_err commands_signing_keys_take(const struct cli_args *args,
                                                   const struct commands_signing_key *keys,
                                                   size_t count, struct say *why);

/* Prints the object, whose reference is taken (NULL: out of memory), with "ok": true. */
CW_MUST_USE enum cw_err commands_print_json(json_t *value, struct say *why);
/* Money and times as text; what does not fit is a defect, and shows as "?". */
const char *commands_money_text(int64_t amount, const char currency[4], char out[32]);
const char *commands_time_text(int64_t seconds, char out[32]);

/* A list for people (lines) or for programs (an array). */
struct commands_list {
    json_t *items; /* NULL: print lines */
};
void commands_list_add(struct commands_list *list, json_t *item);
/* Prints the array under `name`, unless `err` says that it is not whole. */
CW_MUST_USE enum cw_err commands_list_print(struct commands_list *list, const char *name,
                                            enum cw_err err, struct say *why);

/* commands_books.c */
enum cw_err commands_audit(const struct cli_args *args, struct say *why);
enum cw_err commands_backup(const struct cli_args *args, struct say *why);
enum cw_err commands_migrate(const struct cli_args *args, struct say *why);
/* commands_serve.c; commands_card.c: rows of the table in commands.c */
enum cw_err commands_serve(const struct cli_args *args, struct say *why);
enum cw_err commands_card_issue(const struct cli_args *args, struct say *why);
enum cw_err commands_card_list(const struct cli_args *args, struct say *why);
enum cw_err commands_card_block(const struct cli_args *args, struct say *why);
enum cw_err commands_card_unblock(const struct cli_args *args, struct say *why);
enum cw_err commands_card_activate(const struct cli_args *args, struct say *why);
enum cw_err commands_card_lock(const struct cli_args *args, struct say *why);
enum cw_err commands_card_unlock(const struct cli_args *args, struct say *why);
enum cw_err commands_card_terminate(const struct cli_args *args, struct say *why);
enum cw_err commands_card_reset_pin(const struct cli_args *args, struct say *why);
enum cw_err commands_card_sync(const struct cli_args *args, struct say *why);
enum cw_err commands_card_piv(const struct cli_args *args, struct say *why);
enum cw_err commands_card_replace(const struct cli_args *args, struct say *why);
/* commands_ca.c */
enum cw_err commands_card_renew(const struct cli_args *args, struct say *why);
enum cw_err commands_card_revoke(const struct cli_args *args, struct say *why);
enum cw_err commands_crl(const struct cli_args *args, struct say *why);
/* commands_work.c */
enum cw_err commands_hold_place(const struct cli_args *args, struct say *why);
enum cw_err commands_hold_capture(const struct cli_args *args, struct say *why);
enum cw_err commands_hold_void(const struct cli_args *args, struct say *why);
enum cw_err commands_hold_list(const struct cli_args *args, struct say *why);
enum cw_err commands_hold_expire(const struct cli_args *args, struct say *why);
enum cw_err commands_posting_propose(const struct cli_args *args, struct say *why);
enum cw_err commands_posting_reverse(const struct cli_args *args, struct say *why);
enum cw_err commands_posting_approve(const struct cli_args *args, struct say *why);
enum cw_err commands_posting_reject(const struct cli_args *args, struct say *why);
enum cw_err commands_posting_list(const struct cli_args *args, struct say *why);
enum cw_err commands_log(const struct cli_args *args, struct say *why);
enum cw_err commands_account_freeze(const struct cli_args *args, struct say *why);
enum cw_err commands_account_unfreeze(const struct cli_args *args, struct say *why);
/* commands_update.c */
enum cw_err commands_card_update(const struct cli_args *args, struct say *why);
enum cw_err commands_card_updates(const struct cli_args *args, struct say *why);
enum cw_err commands_payee_add(const struct cli_args *args, struct say *why);
enum cw_err commands_payee_remove(const struct cli_args *args, struct say *why);
enum cw_err commands_payee_list(const struct cli_args *args, struct say *why);
/* commands_payee.c */
enum cw_err commands_payee_requests(const struct cli_args *args, struct say *why);
enum cw_err commands_payee_confirm(const struct cli_args *args, struct say *why);
enum cw_err commands_payee_refuse(const struct cli_args *args, struct say *why);
enum cw_err commands_root_roll(const struct cli_args *args, struct say *why);
enum cw_err commands_root_switch(const struct cli_args *args, struct say *why);

#endif
