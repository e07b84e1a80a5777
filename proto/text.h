/* text.h - which texts may be signed, stored and shown. UTF-8 in which nothing lets a text look
 * like another one, or take over the terminal that shows it. Used by the card, the terminal and the
 * bank. */
#ifndef CARDWIRE_PROTO_TEXT_H
#define CARDWIRE_PROTO_TEXT_H

#include "base/buf.h"

/* Well-formed UTF-8 (RFC 3629) without control, line-separator, zero-width, direction-changing,
 * private-use and tag characters (Unicode TR #36 §2). An empty text is clean. */
bool text_is_clean(const char *text, size_t len);

/* Writes `text` with U+FFFD (3 bytes) in the place of everything that is not clean: at most 3 * len
 * bytes. For showing what somebody else sent. */
void text_put_clean(struct buf_writer *w, const char *text, size_t len);

#endif
