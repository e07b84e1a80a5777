/* renew.h - the server's certificates, made anew before they end: the same key, the same names, by
 * the same root, as long as the one before. Cards need no word of it: they hold the root. */
#ifndef CARDWIRE_BANK_RENEW_H
#define CARDWIRE_BANK_RENEW_H

#include "bank/bank.h"

/* Renews what has a third of its time left, or less, of the server that is and of the next one, and
 * says how many that were; also when it fails, by the first that failed. Each file is replaced as a
 * whole, by a certificate that the root verifies. Leaves alone what is not by the bank's root.
 * Fails as loading the root's key does (bank_key_load); CW_ERR_STATE when the root itself ends too
 * soon. */
CW_MUST_USE enum cw_err renew_server(struct bank *b, unsigned *count, struct say *why);

/* The same of the OCSP responder's, by the CA that issues cards: key and certificate are made when
 * there are none. */
#define RENEW_OCSP_DAYS 30
CW_MUST_USE enum cw_err renew_ocsp(struct bank *b, bool *renewed, struct say *why);

#endif
