/* ocsp.h - answers about the cards' certificates (RFC 6960): request in, response out, without a
 * network (ocspd.c has that). What is said is what the ledger says at that moment. The answers are
 * signed by a responder of its own, which the CA that issues cards has delegated to. */
#ifndef CARDWIRE_BANK_OCSP_H
#define CARDWIRE_BANK_OCSP_H

#include "bank/bank.h"

#define OCSP_REQUEST_MAX 4096u /* bytes */
#define OCSP_ASKED_MAX   16    /* certificates in one request */

struct ocsp;

/* Makes the responder's key and certificate when there are none, or renews that (renew.h). The
 * bank stays the caller's, who frees *out with ocsp_free before it. */
CW_MUST_USE enum cw_err ocsp_new(struct bank *b, struct ocsp **out, struct say *why);
void ocsp_free(struct ocsp **ocsp);
/* Renews it when that is due, says whether it was, and uses what there is then; what fails leaves
 * what there was. */
CW_MUST_USE enum cw_err ocsp_renew(struct ocsp *o, bool *renewed, struct say *why);

/* Always makes a response, DER, that the caller frees with free(3): malformedRequest for what is no
 * request, tryLater when the books cannot be read. *status is its OCSPResponseStatus. CW_ERR_SPACE
 * is the one failure. */
CW_MUST_USE enum cw_err ocsp_answer(struct ocsp *o, const uint8_t *request, size_t len,
                                    uint8_t **out, size_t *out_len, int *status);

#endif
