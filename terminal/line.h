/* line.h - the pump: moves TLS records between the card, which is the TLS client, and a socket. It
 * sees only records; keys and plaintext of the handshake never leave the card. Not a TLS library.
 *
 * Two halves: the engine (line.c) has the card on one side and plain buffers on the other, and does
 * no network I/O; the loop (line_io.c) joins it to a non-blocking socket with poll(2). Whoever has
 * a loop of their own uses the engine. */
#ifndef CARDWIRE_TERMINAL_LINE_H
#define CARDWIRE_TERMINAL_LINE_H

#include "terminal/applet.h"

struct line;

/* A whole TLS record went by. */
struct line_record {
    bool from_server;
    uint8_t type;    /* 20 ChangeCipherSpec, 21 alert, 22 handshake, 23 application data */
    uint16_t length; /* of the fragment, without the 5 bytes of header */
    uint64_t ns;     /* CLOCK_MONOTONIC */
};

struct line_hooks {
    void (*record)(void *ctx, const struct line_record *record); /* may be NULL */
    void (*turned)(void *ctx, const struct line *line); /* after each exchange; may be NULL */
    void *ctx;
};

struct line_config {
    struct reader *reader; /* Cardwire application selected, PIN given */
    int fd;           /* connected, non-blocking; stays the caller's. -1 for the engine alone */
    const char *name; /* server name to open; NULL: the card's first */
    enum link_profile profile;
    enum link_key key;
    int timeout_ms; /* longest silence of the net that is borne */
    int cancel_fd;  /* the loop stops with CW_ERR_TIMEOUT when it becomes readable; -1: none */
    bool extended;  /* extended-length APDUs; only for readers known to carry them */
    struct line_hooks hooks;
};

struct line_stats {
    uint64_t apdus, bytes_to_card, bytes_from_card; /* since line_new, through the reader */
    uint64_t tls_sent, tls_received;                /* bytes on the net */
};

/* Why a line died. */
struct line_failure {
    enum link_reason reason;
    int alert_in, alert_out; /* -1: none */
};

/* The engine. */

/* Nothing is sent yet. `config` is copied, what it points to is not. */
CW_MUST_USE enum cw_err line_new(const struct line_config *config, struct line **out,
                                 struct say *why);
void line_free(struct line **line);
/* OPEN: the card makes its ClientHello. CW_ERR_DENIED without PIN, CW_ERR_NOT_FOUND for a name or
 * profile that issuance does not permit. */
CW_MUST_USE enum cw_err line_start(struct line *line, struct say *why);
/* One exchange with the card, if one is worth doing now; *did tells. When not, the line waits for
 * the net, or is over. CW_ERR_FORMAT when the card breaks the protocol or makes no progress. */
CW_MUST_USE enum cw_err line_turn(struct line *line, bool *did, struct say *why);
/* Where bytes from the net go (*room may be 0: turn first), and how many were put there. */
uint8_t *line_net_space(struct line *line, size_t *room);
void line_net_received(struct line *line, size_t len);
/* The net has ended: no more bytes will come. */
void line_net_ended(struct line *line);
/* Bytes for the net, and how many of them were sent. */
const uint8_t *line_net_output(const struct line *line, size_t *len);
void line_net_sent(struct line *line, size_t len);
/* One WRITE of at most `len` bytes; *taken tells how many. CW_ERR_STATE before the line is open. */
CW_MUST_USE enum cw_err line_put(struct line *line, const uint8_t *data, size_t len, size_t *taken,
                                 struct say *why);
/* Plaintext that has come; copies at most `cap` bytes, which may be none. */
size_t line_take(struct line *line, uint8_t *out, size_t cap);
bool line_has_plaintext(const struct line *line);
/* CLOSE: the card makes its close_notify. */
CW_MUST_USE enum cw_err line_shut(struct line *line, struct say *why);
bool line_is_open(const struct line *line);  /* handshake finished, takes data */
bool line_is_over(const struct line *line);  /* closed or dead, nothing more will come */
bool line_is_dead(const struct line *line);  /* over, and not in good order */
uint8_t line_state(const struct line *line); /* the card's last state byte */
const struct line_config *line_config(const struct line *line);
struct line_stats line_stats(const struct line *line);
/* Asks the card why the line is dead and says it: always fails, CW_ERR_IO when the net ended,
 * CW_ERR_REFUSED otherwise. */
CW_MUST_USE enum cw_err line_fail(struct line *line, struct say *why);
/* What line_fail found. Zeros and -1 before that. */
struct line_failure line_failure(const struct line *line);

/* The loop. Errors besides the above: CW_ERR_TIMEOUT. */

/* line_new, line_start, and the handshake. On failure *out is set if the card got as far as a line,
 * so that line_failure can be asked; line_free takes it in any case. */
CW_MUST_USE enum cw_err line_open(const struct line_config *config, struct line **out,
                                  struct say *why);
CW_MUST_USE enum cw_err line_write(struct line *line, const uint8_t *data, size_t len,
                                   struct say *why);
/* At least one byte, or *len = 0 when the server has closed the line in good order. */
CW_MUST_USE enum cw_err line_read(struct line *line, uint8_t *out, size_t cap, size_t *len,
                                  struct say *why);
/* Moves what can be moved until there is plaintext to take, the line is over, `fd` (-1: none) can
 * be read, or `wait_ms` (-1: no limit) passed without anything happening. */
CW_MUST_USE enum cw_err line_wait(struct line *line, int fd, int wait_ms, struct say *why);
/* close_notify and everything before it to the net; does not wait for the server's. */
CW_MUST_USE enum cw_err line_close(struct line *line, struct say *why);

#endif
