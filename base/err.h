/* err.h - the one error enum of the project. Not for ISO 7816 status words: those are made from
 * errors in one place, card/dispatch.c. "Wants more bytes" is a state, never an error. */
#ifndef CARDWIRE_BASE_ERR_H
#define CARDWIRE_BASE_ERR_H

#define CW_MUST_USE __attribute__((warn_unused_result))

enum cw_err {
    CW_OK = 0,
    CW_ERR_ARG,         /* a caller broke the contract of a function */
    CW_ERR_LENGTH,      /* a length outside what is permitted */
    CW_ERR_FORMAT,      /* bytes that do not follow their format */
    CW_ERR_STATE,       /* right command, wrong moment */
    CW_ERR_AUTH,        /* PIN wrong */
    CW_ERR_BLOCKED,     /* PIN or card blocked */
    CW_ERR_DENIED,      /* security condition not satisfied (no PIN given for this use) */
    CW_ERR_NOT_FOUND,   /* no such object, account, reader, file */
    CW_ERR_EXISTS,      /* there already, and must not be overwritten */
    CW_ERR_SPACE,       /* a buffer, a pool or a memory is full */
    CW_ERR_IO,          /* reader, network, file or memory failed */
    CW_ERR_CRYPTO,      /* a signature, key or cipher operation failed */
    CW_ERR_UNSUPPORTED, /* well-formed, but not something this side does */
    CW_ERR_TIMEOUT,
    CW_ERR_GONE,     /* the card was removed, the peer closed the line */
    CW_ERR_REFUSED,  /* the other side (card, bank, server) answered no, with its reason */
    CW_ERR_BUSY,     /* locked by another program */
    CW_ERR_NEWER,    /* stored by a newer version of this program */
    CW_ERR_INTERNAL, /* a defect of this program */
};

/* Short lower-case name for logs and JSON, e.g. "not-found". Static storage, never NULL. */
const char *cw_err_name(enum cw_err err);

#endif
