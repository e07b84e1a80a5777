/* pump.h - moves the TLS records of a line between the card, which is the TLS client, and a socket.
 * It sees only records; keys and plaintext of the handshake never leave the card. Not a TLS
 * library.
 *
 * Two halves: the engine (pump.c) has the card on one side and plain buffers on the other, and does
 * no network I/O; the loop (pump_io.c) joins it to a non-blocking socket with poll(2). Whoever has
 * a loop of their own uses the engine. */
#ifndef CARDWIRE_TERMINAL_PUMP_H
#define CARDWIRE_TERMINAL_PUMP_H

#include "terminal/applet.h"

struct pump;

/* A whole TLS record went by. */
struct pump_record {
    bool from_server;
    uint8_t type;    /* 20 ChangeCipherSpec, 21 alert, 22 handshake, 23 application data */
    uint16_t length; /* of the fragment, without the 5 bytes of header */
    uint64_t ns;     /* CLOCK_MONOTONIC */
};

struct pump_hooks {
    void (*record)(void *ctx, const struct pump_record *record); /* may be NULL */
    void (*turned)(void *ctx, const struct pump *line); /* after each exchange; may be NULL */
    void *ctx;
};

struct pump_config {
    struct reader *reader; /* Cardwire application selected, PIN given */
    int fd;           /* connected, non-blocking; stays the caller's. -1 for the engine alone */
    const char *name; /* server name to open; NULL: the card's first */
    enum link_profile profile;
    enum link_key key;
    int timeout_ms; /* longest silence of the net that is borne */
    int cancel_fd;  /* the loop stops with CW_ERR_TIMEOUT when it becomes readable; -1: none */
    bool extended;  /* extended-length APDUs; only for readers known to carry them */
    bool full;      /* a full handshake, even if the card has a session to go on from */
    struct pump_hooks hooks;
};

struct pump_stats {
    uint64_t apdus, bytes_to_card, bytes_from_card; /* since pump_new, through the reader */
    uint64_t tls_sent, tls_received;                /* bytes on the net */
};

/* Why a line died. */
struct pump_failure {
    enum link_reason reason;
    int alert_in, alert_out; /* -1: none */
    bool card;               /* the reader or the card failed, not the net and not the server */
    bool open;               /* the card did not even begin: OPEN was refused */
};

/* The engine. */

/* Nothing is sent yet. `config` is copied, what it points to is not. */
CW_MUST_USE enum cw_err pump_new(const struct pump_config *config, struct pump **out,
                                 struct say *why);
void pump_free(struct pump **line);
/* OPEN: the card makes its ClientHello. CW_ERR_DENIED without PIN, CW_ERR_NOT_FOUND for a name or
 * profile that issuance does not permit. */
CW_MUST_USE enum cw_err pump_start(struct pump *line, struct say *why);
/* One exchange with the card, if one is worth doing now; *did tells. When not, the line waits for
 * the net, or is over. CW_ERR_FORMAT when the card breaks the protocol or makes no progress. */
CW_MUST_USE enum cw_err pump_turn(struct pump *line, bool *did, struct say *why);
/* Where bytes from the net go (*room may be 0: turn first), and how many were put there. */
uint8_t *pump_net_space(struct pump *line, size_t *room);
void pump_net_received(struct pump *line, size_t len);
/* The net has ended: no more bytes will come. */
void pump_net_ended(struct pump *line);
/* Bytes for the net, and how many of them were sent. */
const uint8_t *pump_net_output(const struct pump *line, size_t *len);
void pump_net_sent(struct pump *line, size_t len);
/* One WRITE of at most `len` bytes; *taken tells how many. CW_ERR_STATE before the line is open. */
CW_MUST_USE enum cw_err pump_put(struct pump *line, const uint8_t *data, size_t len, size_t *taken,
                                 struct say *why);
/* Plaintext that has come; copies at most `cap` bytes, which may be none. */
size_t pump_take(struct pump *line, uint8_t *out, size_t cap);
bool pump_has_plaintext(const struct pump *line);
/* CLOSE: the card makes its close_notify. */
CW_MUST_USE enum cw_err pump_shut(struct pump *line, struct say *why);
bool pump_is_open(const struct pump *line);  /* handshake finished, takes data */
bool pump_is_over(const struct pump *line);  /* closed or dead, nothing more will come */
bool pump_is_dead(const struct pump *line);  /* over, and not in good order */
uint8_t pump_state(const struct pump *line); /* the card's last state byte */
const struct pump_config *pump_config(const struct pump *line);
struct pump_stats pump_stats(const struct pump *line);
/* Asks the card why the line is dead and says it: always fails, CW_ERR_IO when the net ended,
 * CW_ERR_REFUSED otherwise. */
CW_MUST_USE enum cw_err pump_fail(struct pump *line, struct say *why);
/* What pump_fail found. Zeros and -1 before that. */
struct pump_failure pump_failure(const struct pump *line);

/* The loop. Errors besides the above: CW_ERR_TIMEOUT. */

/* pump_new, pump_start, and the handshake. On failure *out is set if the card got as far as a line,
 * so that pump_failure can be asked; pump_free takes it in any case. */
CW_MUST_USE enum cw_err pump_open(const struct pump_config *config, struct pump **out,
                                  struct say *why);
CW_MUST_USE enum cw_err pump_write(struct pump *line, const uint8_t *data, size_t len,
                                   struct say *why);
/* At least one byte, or *len = 0 when the server has closed the line in good order. */
CW_MUST_USE enum cw_err pump_read(struct pump *line, uint8_t *out, size_t cap, size_t *len,
                                  struct say *why);
/* Moves what can be moved until there is plaintext to take, the line is over, `fd` (-1: none) can
 * be read, or `wait_ms` (-1: no limit) passed without anything happening. */
CW_MUST_USE enum cw_err pump_wait(struct pump *line, int fd, int wait_ms, struct say *why);
/* close_notify and everything before it to the net; does not wait for the server's. */
CW_MUST_USE enum cw_err pump_close(struct pump *line, struct say *why);

#endif
