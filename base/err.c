#include "base/err.h"

const char *cw_err_name(enum cw_err err)
{
    switch (err) {
    case CW_OK:
        return "ok";
    case CW_ERR_ARG:
        return "argument";
    case CW_ERR_LENGTH:
        return "length";
    case CW_ERR_FORMAT:
        return "format";
    case CW_ERR_STATE:
        return "state";
    case CW_ERR_AUTH:
        return "wrong-pin";
    case CW_ERR_BLOCKED:
        return "blocked";
    case CW_ERR_DENIED:
        return "denied";
    case CW_ERR_NOT_FOUND:
        return "not-found";
    case CW_ERR_EXISTS:
        return "exists";
    case CW_ERR_SPACE:
        return "space";
    case CW_ERR_IO:
        return "io";
    case CW_ERR_CRYPTO:
        return "crypto";
    case CW_ERR_UNSUPPORTED:
        return "unsupported";
    case CW_ERR_TIMEOUT:
        return "timeout";
    case CW_ERR_GONE:
        return "gone";
    case CW_ERR_REFUSED:
        return "refused";
    case CW_ERR_BUSY:
        return "busy";
    case CW_ERR_NEWER:
        return "newer";
    case CW_ERR_INTERNAL:
        return "internal";
    }
    return "unknown";
}
