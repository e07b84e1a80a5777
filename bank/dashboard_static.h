/* dashboard_static.h - the files that the dashboard's pages load, as bytes in the program:
 * static/embed.py makes dashboard_static.c of them when it is built. */
#ifndef CARDWIRE_BANK_DASHBOARD_STATIC_H
#define CARDWIRE_BANK_DASHBOARD_STATIC_H

#include <stddef.h>
#include <stdint.h>

struct dashboard_file {
    const char *path; /* "/style.css"; NULL: the end of the list */
    const char *type;
    const uint8_t *data;
    size_t len;
};
extern const struct dashboard_file dashboard_files[];

#endif
