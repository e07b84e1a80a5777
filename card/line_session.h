/* line_session.h - sessions that the card keeps, so that the next line to the same server goes on
 * from them (RFC 5246 §7.3, RFC 8446 §2.2) and costs half. Internal to card/. Not a cache: one
 * session for each permitted name, the latest, good for one attempt. docs/card.md, Sessions. */
#ifndef CARDWIRE_CARD_LINE_SESSION_H
#define CARDWIRE_CARD_LINE_SESSION_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A server that keeps sessions itself gives out 32 bytes. Larger tickets are the session itself,
 * the card's certificate in it: sent twice, they cost more than they save. */
#define SESSION_TICKET_MAX 128u
#define SESSION_SECRET_MAX 48u
/* Version, profile, key, suite, end, peer, ticket and secret with their lengths, seal. */
#define SESSION_STORED_MAX                                                                         \
    (1u + 1 + 1 + 2 + 8 + 32 + 1 + SESSION_TICKET_MAX + 1 + SESSION_SECRET_MAX + 32)
#define SESSION_TICKETS_MAX 4u /* tickets of one line that are kept, one after the other */

struct card;
struct line;
struct nvm;

/* Where sessions are kept. */
enum session_keep {
    SESSION_KEEP_NONE,
    SESSION_KEEP_RAM, /* one, until the next reset */
    SESSION_KEEP_NVM, /* one for each permitted name */
};

/* The card's sessions. Those in RAM are here, the others in `nvm`. */
struct session_store {
    struct nvm *nvm;
    enum session_keep keep;
    uint16_t ram_name; /* index of the name that the one in RAM is for */
    size_t ram_len;    /* 0: none */
    uint8_t ram[SESSION_STORED_MAX];
};

/* What a line knows of sessions. No secrets. */
struct line_session {
    struct session_store *store; /* NULL: nothing is offered, nothing kept */
    uint16_t name;               /* index of the permitted name */
    bool full;                   /* the terminal wants a full handshake */
    bool offered, resumed;
    uint8_t tickets;   /* of this line that were kept */
    int64_t ends;      /* earliest notAfter of what was verified and of the card's certificate */
    uint8_t under[32]; /* hash over roots, name and certificate of the card */
    int64_t offered_ends;
    uint8_t offered_peer[32]; /* SHA-256 of the certificate that was verified then */
};

/* After power up. Sessions of a card whose PIN is blocked are dead, even if power failed before
 * they could be forgotten. */
void session_power_up(struct card *card);
/* To be called before roots, names and certificates of the card change, and when the PIN is
 * blocked. A line that is open stays open; nothing of it is kept any more. */
void session_forget_all(struct card *card);

/* Ties the card's line, just dropped, to its sessions. `name` is the index of the permitted name.
 */
void line_session_begin(struct card *card, uint16_t name, bool full);
/* Takes the session of this name, profile and key out of memory and gives it to the engine, which
 * will offer it. No session that is good: CW_OK, and the handshake will be a full one.
 * CW_ERR_SPACE. */
CW_MUST_USE enum cw_err line_session_offer(struct line *line);
/* The server's hello was read. False when it takes the session up in a way that ends the line. */
bool line_session_answered(struct line *line);
/* The line is open, or a ticket came: keeps the session. What cannot be kept costs a full handshake
 * next time, and nothing now. */
void line_session_keep(struct line *line);

#endif
