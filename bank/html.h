/* html.h - HTML that grows, in which only what stands in our source is markup: html_put takes
 * literals, and everything that goes into them is escaped. Knows no pages: dashboard*.c has those.
 *
 *     html_put(&h, "<td><a href='/x/%'>%</a></td>", number, name);
 *
 * Each '%' is one argument, a string; html_text and html_url make strings of other things. Running
 * out of memory turns the page bad, and it stays bad; html_take says so, once, at the end. */
#ifndef CARDWIRE_BANK_HTML_H
#define CARDWIRE_BANK_HTML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct html {
    char *text; /* not terminated */
    size_t len, cap;
    bool bad;
};

/* "" around it: anything but a literal does not compile. */
#define html_put(h, literal, ...)                                                                  \
    html_fill((h), "" literal "", (const char *const[]){__VA_ARGS__},                              \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
/* Without arguments. */
#define html_raw(h, literal) html_fill((h), "" literal "", NULL, 0)

void html_fill(struct html *h, const char *literal, const char *const *values, size_t count);
/* Escaped; what is no clean text (proto/text.h) but for line ends is shown as U+FFFD. */
void html_text(struct html *h, const char *text, size_t len);
/* For the value of a query: percent-encoded (RFC 3986 §2.1). */
void html_url(struct html *h, const char *text);

/* The memory, which is then the caller's to free; *h is empty again. CW_ERR_SPACE when it ran out.
 */
CW_MUST_USE enum cw_err html_take(struct html *h, uint8_t **out, size_t *len);
void html_clear(struct html *h);

#endif
