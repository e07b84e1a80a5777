/* pty.h - a pseudo terminal that stands for the wire, or the field, between a reader and a chip:
 * it carries bytes as they are, and who has it open powers the card.
 *
 * Each time that power goes, the line is another pseudo terminal, and the symbolic link is changed
 * to it. What the last reader left unread is then nobody's, and who opened the old one meanwhile
 * finds it hung up before its ATR: it opens the link again. */
#ifndef CARDWIRE_CARD_PORTS_LINUX_PTY_H
#define CARDWIRE_CARD_PORTS_LINUX_PTY_H

#include "host/say.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pty {
    const char *path;       /* of the symbolic link */
    int fd, watch, signals; /* signals is the caller's */
    unsigned openings;      /* how many have it open */
    bool on, told, off;     /* has been opened; PTY_ON was said; has been closed again */
    bool linked;
};

enum pty_event {
    PTY_BYTES,
    PTY_SILENCE, /* nothing for as long as was asked for */
    PTY_ON,      /* the line was opened: said once */
    PTY_OFF,     /* and closed: said until pty_renew */
    PTY_SIGNAL,
    PTY_FAILED, /* errno says why */
};

/* A line at `path`, which must not be there, and outlives it. `signals` is a signalfd. To be closed
 * whatever it returns. CW_ERR_EXISTS, CW_ERR_IO. */
CW_MUST_USE enum cw_err pty_open(struct pty *p, const char *path, int signals, struct say *why);
/* After PTY_OFF: a line for the next reader. CW_ERR_IO. */
CW_MUST_USE enum cw_err pty_renew(struct pty *p, struct say *why);
void pty_close(struct pty *p);

/* What comes next; at most `cap` bytes in data when it is PTY_BYTES. timeout_ms -1: for ever. */
enum pty_event pty_wait(struct pty *p, int timeout_ms, uint8_t *data, size_t cap, size_t *len);
/* Bytes that nobody takes are lost, as on a wire. */
void pty_write(struct pty *p, const uint8_t *data, size_t len);

#endif
