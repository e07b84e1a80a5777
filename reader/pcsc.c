/* pcsc.c - readers of the PC/SC daemon, through pcsc-lite. The card is taken for ourselves alone
 * (SCARD_SHARE_EXCLUSIVE): no other program may slip an APDU in between ours, and it is reset when
 * we leave, so that an open line and a given PIN never outlive this program. */
#include "reader/backend.h"

#include "proto/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winscard.h>

#define READERS_MAX 16u /* PCSCLITE_MAX_READERS_CONTEXTS */

struct pcsc {
    SCARDCONTEXT context;
    SCARDHANDLE card;
    DWORD protocol;
    char name[MAX_READERNAME];
};

/* A reader's name as it may be shown. It comes from the device: what plugs in could command the
 * screen with it. The daemon is still asked for it by the name it has. */
static void show_name(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s", name);
    if (text_is_clean(out, strlen(out)))
        return;
    for (char *at = out; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

static enum cw_err fail(struct say *why, LONG rc, const char *raw_name)
{
    char name[MAX_READERNAME];
    show_name(name, sizeof name, raw_name);
    switch (rc) {
    case SCARD_E_NO_SERVICE:
    case SCARD_E_SERVICE_STOPPED:
        return say_fail(why, CW_ERR_IO,
                        "the PC/SC daemon does not answer; start pcscd (package pcscd)");
    case SCARD_E_NO_READERS_AVAILABLE:
        return say_fail(why, CW_ERR_NOT_FOUND, "there is no card reader; plug one in");
    case SCARD_E_UNKNOWN_READER:
    case SCARD_E_READER_UNAVAILABLE:
        return say_fail(why, CW_ERR_GONE, "the reader %s was unplugged", name);
    case SCARD_E_NO_SMARTCARD:
        return say_fail(why, CW_ERR_NOT_FOUND, "there is no card in %s; insert one", name);
    case SCARD_W_REMOVED_CARD:
        return say_fail(why, CW_ERR_GONE, "the card was removed from %s", name);
    case SCARD_W_RESET_CARD:
        return say_fail(why, CW_ERR_GONE, "the card in %s was reset by another program", name);
    case SCARD_E_NOT_TRANSACTED:
    case SCARD_F_COMM_ERROR:
        return say_fail(why, CW_ERR_GONE,
                        "the card in %s stopped answering; was it taken out? Insert it and try "
                        "again",
                        name);
    case SCARD_E_SHARING_VIOLATION:
        return say_fail(why, CW_ERR_BUSY,
                        "another program uses the card in %s; close it and try again", name);
    case SCARD_W_UNRESPONSIVE_CARD:
    case SCARD_W_UNPOWERED_CARD:
        return say_fail(why, CW_ERR_IO,
                        "the card in %s does not answer; is it inserted the right way round?",
                        name);
    case SCARD_E_INSUFFICIENT_BUFFER:
        return say_fail(why, CW_ERR_SPACE, "the card in %s answered with too many bytes", name);
    default:
        return say_fail(why, CW_ERR_IO, "the reader %s failed: %s", name, pcsc_stringify_error(rc));
    }
}

static enum cw_err transceive(void *self, const uint8_t *command, size_t len, uint8_t *response,
                              size_t cap, size_t *response_len, struct say *why)
{
    struct pcsc *p = self;
    DWORD got = (DWORD)cap;
    LONG rc = SCardTransmit(p->card, p->protocol == SCARD_PROTOCOL_T1 ? SCARD_PCI_T1 : SCARD_PCI_T0,
                            command, (DWORD)len, NULL, response, &got);
    if (rc == SCARD_E_NO_SMARTCARD) /* here it means: not there any more */
        rc = SCARD_W_REMOVED_CARD;
    if (rc != SCARD_S_SUCCESS)
        return fail(why, rc, p->name);
    *response_len = got;
    return CW_OK;
}

static enum cw_err reset(void *self, struct say *why)
{
    struct pcsc *p = self;
    LONG rc = SCardReconnect(p->card, SCARD_SHARE_EXCLUSIVE, SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1,
                             SCARD_RESET_CARD, &p->protocol);
    return rc == SCARD_S_SUCCESS ? CW_OK : fail(why, rc, p->name);
}

static void release(void *self)
{
    struct pcsc *p = self;
    (void)SCardDisconnect(p->card, SCARD_RESET_CARD);
    (void)SCardReleaseContext(p->context);
    free(p);
}

static const struct reader_ops pcsc_ops = {transceive, reset, release};

/* Lists into states[0..READERS_MAX); *names owns the strings, by SCardFreeMemory. */
static LONG list(SCARDCONTEXT context, SCARD_READERSTATE *states, size_t *count, char **names)
{
    DWORD len = SCARD_AUTOALLOCATE;
    *names = NULL;
    *count = 0;
    LONG rc = SCardListReaders(context, NULL, (LPSTR)names, &len);
    if (rc != SCARD_S_SUCCESS)
        return rc;
    for (const char *n = *names; *n != '\0' && *count < READERS_MAX; n += strlen(n) + 1) {
        memset(&states[*count], 0, sizeof states[*count]);
        states[*count].szReader = n;
        states[*count].dwCurrentState = SCARD_STATE_UNAWARE;
        ++*count;
    }
    return SCardGetStatusChange(context, 0, states, (DWORD)*count);
}

static bool has_card(const SCARD_READERSTATE *s)
{
    return (s->dwEventState & SCARD_STATE_PRESENT) != 0;
}

/* The reader that `name` means; its index in *chosen. */
static enum cw_err choose(const SCARD_READERSTATE *states, size_t count, const char *name,
                          size_t *chosen, struct say *why)
{
    size_t found = 0, index = 0;
    for (size_t i = 0; i < count; i++) {
        if (name == NULL) {
            if (has_card(&states[i])) {
                *chosen = i;
                return CW_OK;
            }
        } else if (strcmp(states[i].szReader, name) == 0) {
            *chosen = i;
            return CW_OK;
        } else if (strstr(states[i].szReader, name) != NULL) {
            found++;
            index = i;
        }
    }
    if (name == NULL)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "there is no card in any of the %zu readers; insert "
                        "one",
                        count);
    if (found == 0)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "no reader is named '%s'; cardwire readers shows those there are", name);
    if (found > 1)
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "%zu readers have '%s' in their name; write more of it (cardwire readers "
                        "shows them)",
                        found, name);
    *chosen = index;
    return CW_OK;
}

static enum cw_err find(struct pcsc *p, const char *name, struct say *why)
{
    SCARD_READERSTATE states[READERS_MAX];
    size_t count, chosen = 0;
    char *names;
    enum cw_err err;
    LONG rc = list(p->context, states, &count, &names);
    if (rc != SCARD_S_SUCCESS) {
        err = fail(why, rc, name != NULL ? name : "PC/SC");
        goto out;
    }
    err = choose(states, count, name, &chosen, why);
    if (err != CW_OK)
        goto out;
    snprintf(p->name, sizeof p->name, "%s", states[chosen].szReader);
out:
    if (names != NULL)
        (void)SCardFreeMemory(p->context, names);
    return err;
}

enum cw_err reader_pcsc_open(const char *name, struct reader_backend *out, struct say *why)
{
    enum cw_err err;
    bool connected = false;
    struct pcsc *p = calloc(1, sizeof *p);
    if (p == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    LONG rc = SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &p->context);
    if (rc != SCARD_S_SUCCESS) {
        err = fail(why, rc, "PC/SC");
        free(p);
        return err;
    }
    err = find(p, name, why);
    if (err != CW_OK)
        goto out;
    rc = SCardConnect(p->context, p->name, SCARD_SHARE_EXCLUSIVE,
                      SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1, &p->card, &p->protocol);
    if (rc != SCARD_S_SUCCESS) {
        err = fail(why, rc, p->name);
        goto out;
    }
    connected = true;
    uint8_t atr[MAX_ATR_SIZE];
    DWORD atr_len = sizeof atr;
    rc = SCardStatus(p->card, NULL, NULL, NULL, NULL, atr, &atr_len);
    if (rc != SCARD_S_SUCCESS || atr_len > sizeof out->atr) {
        err = fail(why, rc, p->name);
        goto out;
    }
    out->ops = &pcsc_ops;
    out->self = p;
    show_name(out->name, sizeof out->name, p->name);
    memcpy(out->atr, atr, atr_len);
    out->atr_len = atr_len;
    return CW_OK;
out:
    if (connected)
        (void)SCardDisconnect(p->card, SCARD_RESET_CARD);
    (void)SCardReleaseContext(p->context);
    free(p);
    return err;
}

enum cw_err reader_list(struct reader_info *items, size_t cap, size_t *count, struct say *why)
{
    SCARDCONTEXT context;
    SCARD_READERSTATE states[READERS_MAX];
    size_t n = 0;
    char *names = NULL;
    LONG rc = SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context);
    if (rc != SCARD_S_SUCCESS)
        return fail(why, rc, "PC/SC");
    rc = list(context, states, &n, &names);
    if (rc == SCARD_E_NO_READERS_AVAILABLE) {
        n = 0;
        rc = SCARD_S_SUCCESS;
    }
    for (size_t i = 0; rc == SCARD_S_SUCCESS && i < n && i < cap; i++) {
        show_name(items[i].name, sizeof items[i].name, states[i].szReader);
        items[i].card_present = has_card(&states[i]);
        items[i].atr_len =
            states[i].cbAtr <= sizeof items[i].atr ? states[i].cbAtr : sizeof items[i].atr;
        memcpy(items[i].atr, states[i].rgbAtr, items[i].atr_len);
    }
    if (names != NULL)
        (void)SCardFreeMemory(context, names);
    (void)SCardReleaseContext(context);
    if (rc != SCARD_S_SUCCESS)
        return fail(why, rc, "PC/SC");
    *count = n;
    return CW_OK;
}
