/* line.h - the TLS line of the card: mbedTLS as the engine, fed by STEP and WRITE, drained by STEP
 * and READ. Internal to card/. No I/O: bytes come with a command and leave with its answer. */
#ifndef CARDWIRE_CARD_LINE_H
#define CARDWIRE_CARD_LINE_H

#include "base/buf.h"
#include "base/hard.h"
#include "card/line_session.h"
#include "card/nvm.h"
#include "proto/link.h"

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#define LINE_EVENTS_MAX 32u
#define LINE_ALPN_MAX   16u

/* Far from each other, from zeros and from ones: base/hard.h. */
enum line_phase {
    LINE_NONE = 0,         /* no line */
    LINE_HANDSHAKE = 0x33, /* OPEN was given */
    LINE_OPEN = 0xA5,      /* both sides authenticated */
    LINE_OVER = 0x5A,      /* ended; what is left to send and to read may still be fetched */
};

/* A server that the card may talk to, as stored at issuance. */
struct line_name {
    char host[LINK_HOST_MAX + 1];
    uint8_t profiles;
    char alpn[LINE_ALPN_MAX + 1];
};

struct line_event {
    uint8_t kind, code;
    uint16_t length;
    uint8_t result, flags;
};

struct line {
    enum line_phase phase;
    enum link_profile profile;
    enum link_key key;
    uint32_t trusted;        /* HARD_YES: the server's certificate held, or it took up a session */
    enum link_reason reason; /* why it is dead; NONE while it lives or was closed in good order */
    int alert_in, alert_out; /* -1: none */
    int64_t time;            /* floor at OPEN */
    struct line_name name;
    const char *alpn[2];
    uint8_t peer_sha256[32];
    uint8_t binding[LINK_BINDING_LEN];
    bool bound;
    struct line_session session;
    const struct nvm *nvm; /* roots and certificates are there */
    bool engine;           /* the mbedTLS objects below are in use */
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt own;
    mbedtls_pk_context pk;
    /* The command being carried out: net bytes in and out. */
    struct buf_reader *in;
    struct buf_writer *out;
    /* Records on their way out, to know what was sent without asking the engine. */
    uint8_t record[6]; /* header and first byte of the record that is being sent */
    uint8_t record_have;
    uint16_t record_left;
    uint8_t sent_under_keys; /* encrypted handshake messages sent so far */
    bool keys_on;            /* we have sent under keys: TLS 1.2 after ChangeCipherSpec */
    struct line_event events[LINE_EVENTS_MAX];
    uint8_t event_count;
};

/* Parses and checks the value of a LINK_DO_NAME object. CW_ERR_FORMAT. */
CW_MUST_USE enum cw_err line_name_parse(const uint8_t *data, size_t len, struct line_name *out);

/* Starts a handshake. `line->name`, profile, key, time and session are set by the caller; `nvm`
 * gives roots and the certificate of the key. On failure the line is NONE. */
CW_MUST_USE enum cw_err line_start(struct line *line, const struct nvm *nvm);
/* Moves as far as input, output space and unread plaintext permit. */
void line_run(struct line *line, struct buf_reader *in, struct buf_writer *out);
/* Takes plaintext: one record. CW_ERR_STATE while the last one has not left the card. */
CW_MUST_USE enum cw_err line_write(struct line *line, const uint8_t *data, size_t len,
                                   struct buf_writer *out);
/* Gives at most `cap` bytes of plaintext. */
size_t line_read(struct line *line, uint8_t *out, size_t cap);
/* Sends close_notify; the line is over. */
void line_close(struct line *line, struct buf_writer *out);
/* The net ended. */
void line_net_ended(struct line *line);
/* Forgets everything, keys included. */
void line_drop(struct line *line);

uint8_t line_state(const struct line *line);
/* The value that binds orders to this line; false when this line cannot bind. */
bool line_binding(const struct line *line, uint8_t out[LINK_BINDING_LEN]);
void line_info_put(const struct line *line, struct buf_writer *out);
void line_events_put(const struct line *line, unsigned first, struct buf_writer *out);

/* Between the files of the line. */
/* A value of the card's memory, in the pool: *der is the caller's to mbedtls_free.
 * CW_ERR_NOT_FOUND, CW_ERR_SPACE, CW_ERR_IO. */
CW_MUST_USE enum cw_err line_der(const struct line *line, uint16_t key, unsigned char **der,
                                 size_t *len);
void line_event(struct line *line, enum link_event_kind kind, uint8_t code, size_t length,
                uint8_t result, uint8_t flags);
/* line_verify.c: callback of the engine for each certificate of the chain, the leaf last. */
int line_verify(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags);
/* notAfter in seconds since 1970; INT64_MIN when it cannot be told. */
int64_t line_not_after(const mbedtls_x509_crt *crt);
/* Reason for a failure of the engine in the state it failed in. */
enum link_reason line_reason_of(const struct line *line, int ret, int state);
/* line_watch.c: what was sent and received, for the trace. */
void line_watch_sent(struct line *line, const uint8_t *data, size_t len);
void line_watch_step(struct line *line, int before, int after);

#endif
