/* ocspd.h - the OCSP responder's listener: plain HTTP (RFC 6960 appendix A.1), on an address of
 * this machine alone; who asks from elsewhere comes through a proxy. No card comes here. */
#ifndef CARDWIRE_BANK_OCSPD_H
#define CARDWIRE_BANK_OCSPD_H

#include "bank/ocsp.h"

struct event_base;
struct ocspd;

struct ocspd_options {
    const char *listen;    /* HOST:PORT on loopback; NULL: none */
    const char *port_file; /* NULL, or where to write the port */
};

/* Listens, and answers while `base` runs. The bank stays the caller's, who calls ocspd_free before
 * the base goes. Fails as listen_on and ocsp_new do. */
CW_MUST_USE enum cw_err ocspd_new(struct event_base *base, struct bank *bank,
                                  const struct ocspd_options *options, struct ocspd **out,
                                  struct say *why);
void ocspd_free(struct ocspd **ocspd);
/* As ocsp_renew, and logs it. Nothing happens when it is NULL. */
void ocspd_renew(struct ocspd *ocspd);

#endif
