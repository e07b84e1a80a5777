/* config.h - what `cardwired serve` is told by a file: docs/operations.md, cardwired.conf(5). The
 * command line, which wins, is not known here. */
#ifndef CARDWIRE_BANK_CONFIG_H
#define CARDWIRE_BANK_CONFIG_H

#include "bank/log.h"

#define CONFIG_LISTEN        "127.0.0.1:8443"
#define CONFIG_DRAIN_SECONDS 10
#define CONFIG_REQUESTS      600 /* of one card in a minute */
#define CONFIG_PAYMENTS      120
#define CONFIG_TEXTS         8u

struct config {
    const char *dir;    /* NULL, as all texts: not said */
    const char *listen; /* CONFIG_LISTEN */
    const char *port_file, *ops, *ops_port_file, *ocsp, *ocsp_port_file, *insecure_keylog;
    bool ops_anywhere;
    unsigned lines, waiting_per_source; /* 0: tlsd.h's */
    unsigned drain_seconds;
    unsigned requests_per_minute, payments_per_minute; /* of a card; 0: no limit */
    enum log_form log_form;
    enum log_level log_level;
    char *texts[CONFIG_TEXTS]; /* what of the above the file said */
};

/* NULL gives what holds where nothing is said. A key that is not known or comes twice, and a value
 * that makes no sense, are CW_ERR_ARG, with the line. CW_ERR_NOT_FOUND, CW_ERR_IO. The caller frees
 * with config_clear, after success alone. */
CW_MUST_USE enum cw_err config_load(const char *path, struct config *out, struct say *why);
void config_clear(struct config *config);

#endif
