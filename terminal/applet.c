#include "terminal/applet.h"

#include "base/buf.h"
#include "base/ct.h"
#include "proto/apdu.h"
#include "proto/ber.h"
#include "proto/text.h"

#include <stdbool.h>
#include <string.h>

#define ANSWER_MAX 2048u /* the largest object a card gives out, over GET RESPONSE */

/* One exchange: writes the command, sends it, takes the status word off. */
static enum cw_err exchange(struct reader *r, const struct apdu_command *cmd, uint8_t *out,
                            size_t cap, size_t *len, uint16_t *sw, struct say *why)
{
    uint8_t command[APPLET_COMMAND_MAX + 9]; /* may hold a PIN: wiped */
    uint8_t response[ANSWER_MAX + 2];
    size_t command_len = 0, response_len = 0;
    enum cw_err err = apdu_write(cmd, command, sizeof command, &command_len);
    if (err == CW_OK)
        err = reader_transceive(r, command, command_len, response, sizeof response, &response_len,
                                why);
    else
        err = say_fail(why, CW_ERR_INTERNAL, "the terminal made a command that is too long");
    ct_wipe(command, sizeof command); /* whatever was written, also when writing it failed */
    if (err != CW_OK)
        return err;
    size_t n = response_len - 2;
    if (n > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with more than was asked for");
    if (n > 0)
        memcpy(out, response, n);
    *len = n;
    *sw = (uint16_t)(response[n] << 8 | response[n + 1]);
    return CW_OK;
}

enum cw_err applet_exchange(struct reader *r, const struct apdu_command *cmd, uint8_t *out,
                            size_t cap, size_t *len, uint16_t *sw, struct say *why)
{
    size_t have = 0, n = 0;
    enum cw_err err = exchange(r, cmd, out, cap, &n, sw, why);
    if (err == CW_OK && (*sw & 0xFF00u) == SW_WRONG_LE) {
        struct apdu_command again = *cmd;
        again.ne = (*sw & 0xFFu) != 0 ? *sw & 0xFFu : APDU_SHORT_NE_MAX;
        err = exchange(r, &again, out, cap, &n, sw, why);
    }
    while (err == CW_OK && (*sw & 0xFF00u) == SW_MORE) {
        have += n;
        struct apdu_command more = {.cla = APDU_CLA_ISO, .ins = INS_GET_RESPONSE};
        more.ne = (*sw & 0xFFu) != 0 ? *sw & 0xFFu : APDU_SHORT_NE_MAX;
        if (have >= cap)
            return say_fail(why, CW_ERR_SPACE, "the card answered with more than was asked for");
        err = exchange(r, &more, out + have, cap - have, &n, sw, why);
        if (err == CW_OK && n == 0 && (*sw & 0xFF00u) == SW_MORE)
            return say_fail(why, CW_ERR_FORMAT, "the card promised more data and gave none");
    }
    if (err == CW_OK)
        *len = have + n;
    return err;
}

enum cw_err applet_command(struct reader *r, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                           const uint8_t *data, size_t nc, size_t ne, uint8_t *out, size_t cap,
                           size_t *len, uint16_t *sw, struct say *why)
{
    struct apdu_command cmd = {.cla = cla, .ins = ins, .p1 = p1, .p2 = p2};
    size_t got = 0;
    uint16_t status = 0;
    enum cw_err err;
    while (nc > APDU_SHORT_NC_MAX) { /* command chaining, ISO/IEC 7816-4:2020 §5.4.1 */
        cmd.cla = cla | APDU_CLA_CHAIN;
        cmd.data = data;
        cmd.nc = APDU_SHORT_NC_MAX;
        cmd.ne = 0;
        err = exchange(r, &cmd, out, cap, &got, &status, why);
        if (err != CW_OK)
            return err;
        if (status != SW_OK)
            goto out;
        data += APDU_SHORT_NC_MAX;
        nc -= APDU_SHORT_NC_MAX;
    }
    cmd.cla = cla;
    cmd.data = nc > 0 ? data : NULL;
    cmd.nc = nc;
    cmd.ne = ne;
    err = applet_exchange(r, &cmd, out, cap, &got, &status, why);
    if (err != CW_OK)
        return err;
out:
    *len = got;
    *sw = status;
    return CW_OK;
}

enum cw_err applet_status(uint16_t sw, const char *what, struct say *why)
{
    switch (sw) {
    case SW_OK:
        return CW_OK;
    case SW_PIN_BLOCKED:
        return say_fail(why, CW_ERR_BLOCKED,
                        "the PIN of this card is blocked; unblock it with the PUK: cardwire pin "
                        "unblock");
    case SW_MEMORY_FAILURE:
        return say_fail(why, CW_ERR_IO, "the card could not %s: its memory failed; try again",
                        what);
    case SW_WRONG_LENGTH:
        return say_fail(why, CW_ERR_LENGTH, "the card refused to %s: wrong length", what);
    case SW_SECURITY_STATUS:
        return say_fail(why, CW_ERR_DENIED, "the card refused to %s: it wants the PIN first", what);
    case SW_CONDITIONS:
        return say_fail(why, CW_ERR_STATE,
                        "the card refused to %s in its present state (card info shows it)", what);
    case SW_WRONG_DATA:
        return say_fail(why, CW_ERR_FORMAT, "the card refused to %s: the data is not in order",
                        what);
    case SW_NOT_FOUND:
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "the card in the reader is no Cardwire card; insert yours");
    case SW_NOT_ENOUGH_MEMORY:
        return say_fail(why, CW_ERR_SPACE, "the card could not %s: its memory is full", what);
    case SW_REFERENCE_NOT_FOUND:
        return say_fail(why, CW_ERR_NOT_FOUND,
                        "the card refused to %s: it holds no such key, object, server name or "
                        "profile",
                        what);
    case SW_EXISTS:
        return say_fail(why, CW_ERR_EXISTS, "the card refused to %s: that is there already", what);
    case SW_INS:
    case SW_CLA:
        return say_fail(why, CW_ERR_UNSUPPORTED, "the card does not know how to %s", what);
    default:
        break;
    }
    if ((sw & 0xFFF0u) == SW_PIN_TRIES && (sw & 15u) == 0)
        return say_fail(why, CW_ERR_AUTH,
                        "the PIN is wrong, and that was the last try; unblock it with the PUK: "
                        "cardwire pin unblock");
    if ((sw & 0xFFF0u) == SW_PIN_TRIES)
        return say_fail(why, CW_ERR_AUTH, "the PIN is wrong; %u more %s before the card blocks",
                        sw & 15u, (sw & 15u) == 1 ? "try" : "tries");
    return say_fail(why, CW_ERR_IO, "the card refused to %s: status %04X", what, sw);
}

/* A command of class 80 or 00 without anything special about it. */
static enum cw_err run(struct reader *r, uint8_t cla, uint8_t ins, uint16_t p1p2,
                       const uint8_t *data, size_t nc, uint8_t *out, size_t cap, size_t *len,
                       const char *what, struct say *why)
{
    uint8_t answer[ANSWER_MAX];
    size_t n = 0;
    uint16_t sw = 0;
    enum cw_err err =
        applet_command(r, cla, ins, (uint8_t)(p1p2 >> 8), (uint8_t)p1p2, data, nc,
                       out != NULL ? APDU_SHORT_NE_MAX : 0, answer, sizeof answer, &n, &sw, why);
    if (err == CW_OK)
        err = applet_status(sw, what, why);
    if (err != CW_OK || out == NULL)
        return err;
    if (n > cap)
        return say_fail(why, CW_ERR_SPACE, "the card answered with more than was asked for");
    memcpy(out, answer, n);
    *len = n;
    return CW_OK;
}

static enum cw_err nonsense(struct say *why)
{
    return say_fail(why, CW_ERR_FORMAT,
                    "the card answered something that this program does not understand; is this "
                    "program older than the card?");
}

enum cw_err applet_select(struct reader *r, struct say *why)
{
    /* P2=0C: no file control information wanted (ISO/IEC 7816-4:2020 §11.2.2) */
    return run(r, APDU_CLA_ISO, INS_SELECT, 0x040C, (const uint8_t *)LINK_AID, LINK_AID_LEN, NULL,
               0, NULL, "open its Cardwire application", why);
}

/* The value of an object that must have exactly `len` bytes; NULL with *bad set otherwise. */
static const uint8_t *fixed(const uint8_t *data, size_t data_len, uint16_t tag, size_t len,
                            bool *bad)
{
    struct ber_object o;
    if (ber_find(data, data_len, tag, &o) != CW_OK || o.len != len) {
        *bad = true;
        return NULL;
    }
    return o.value;
}

static uint64_t number(const uint8_t *data, size_t data_len, uint16_t tag, size_t len, bool *bad)
{
    const uint8_t *v = fixed(data, data_len, tag, len, bad);
    uint64_t n = 0;
    for (size_t i = 0; v != NULL && i < len; i++)
        n = n << 8 | v[i];
    return n;
}

enum cw_err applet_info_get(struct reader *r, struct applet_info *out, struct say *why)
{
    uint8_t d[ANSWER_MAX];
    size_t n = 0;
    enum cw_err err = run(r, APDU_CLA_PROPRIETARY, INS_INFO, LINK_INFO_CARD << 8, NULL, 0, d,
                          sizeof d, &n, "tell about itself", why);
    if (err != CW_OK)
        return err;
    struct applet_info i = {0};
    bool bad = false;
    const uint8_t *serial = fixed(d, n, LINK_TAG_SERIAL, ORDER_SERIAL_LEN, &bad);
    if (serial != NULL)
        memcpy(i.serial, serial, sizeof i.serial);
    i.life = (enum link_life)number(d, n, LINK_TAG_LIFE, 1, &bad);
    uint64_t v = number(d, n, LINK_TAG_TRIES, 2, &bad);
    i.pin_tries_left = (unsigned)(v >> 8);
    i.pin_tries_max = (unsigned)(v & 0xFF);
    i.time_floor = (int64_t)number(d, n, LINK_TAG_TIME, 8, &bad);
    v = number(d, n, LINK_TAG_KEYS, 2, &bad);
    i.keys = (uint8_t)(v >> 8);
    i.certificates = (uint8_t)v;
    v = number(d, n, LINK_TAG_LIMITS, 4, &bad);
    i.command_max = (size_t)(v >> 16);
    i.response_max = (size_t)(v & 0xFFFF);
    i.order_counter = (uint32_t)number(d, n, LINK_TAG_COUNTER, 4, &bad);
    i.contactless = number(d, n, LINK_TAG_INTERFACE, 1, &bad) == 1;
    v = number(d, n, LINK_TAG_HEAP, 8, &bad);
    i.heap_peak = (uint32_t)(v >> 32);
    i.heap_size = (uint32_t)v;
    v = number(d, n, LINK_TAG_PUK, 2, &bad);
    i.puk_tries_left = (unsigned)(v >> 8);
    i.puk_tries_max = (unsigned)(v & 0xFF);
    i.transport = (number(d, n, LINK_TAG_FLAGS, 1, &bad) & LINK_FLAG_TRANSPORT) != 0;
    i.sequence = (uint32_t)number(d, n, LINK_TAG_SEQUENCE, 4, &bad);
    i.refused = (enum link_refusal)number(d, n, LINK_TAG_REFUSED, 1, &bad);
    i.keyset = (uint8_t)number(d, n, LINK_TAG_KEYSET, 1, &bad);
    if (bad || i.time_floor < 0 || i.time_floor > CAL_MAX)
        return nonsense(why);
    *out = i;
    return CW_OK;
}

/* An alert number, -1 when the object is absent. */
static int alert(const uint8_t *d, size_t n, uint16_t tag)
{
    bool absent = false;
    int v = (int)number(d, n, tag, 1, &absent);
    return absent ? -1 : v;
}

enum cw_err applet_session_get(struct reader *r, struct applet_session *out, struct say *why)
{
    uint8_t d[ANSWER_MAX];
    size_t n = 0;
    enum cw_err err = run(r, APDU_CLA_PROPRIETARY, INS_INFO, LINK_INFO_SESSION << 8, NULL, 0, d,
                          sizeof d, &n, "tell about the line", why);
    if (err != CW_OK)
        return err;
    struct applet_session s = {0};
    bool bad = false, absent = false; /* what a line that never came to be cannot have is absent */
    s.state = (uint8_t)number(d, n, LINK_TAG_STATE, 1, &bad);
    s.reason = (enum link_reason)number(d, n, LINK_TAG_REASON, 1, &absent);
    s.profile = (enum link_profile)number(d, n, LINK_TAG_PROFILE, 1, &absent);
    s.suite = (uint16_t)number(d, n, LINK_TAG_SUITE, 2, &absent);
    s.tls = (uint16_t)number(d, n, LINK_TAG_TLS, 2, &absent);
    s.key = (enum link_key)number(d, n, LINK_TAG_KEY, 1, &absent);
    s.binding = number(d, n, LINK_TAG_BINDING, 1, &absent) == 1;
    s.resumed = number(d, n, LINK_TAG_RESUMED, 1, &absent) == 1;
    const uint8_t *hash = fixed(d, n, LINK_TAG_PEER_SHA256, sizeof s.peer_sha256, &absent);
    if (hash != NULL)
        memcpy(s.peer_sha256, hash, sizeof s.peer_sha256);
    struct ber_object peer;
    if (ber_find(d, n, LINK_TAG_PEER, &peer) == CW_OK) {
        if (peer.len > LINK_HOST_MAX || !text_is_clean((const char *)peer.value, peer.len))
            return nonsense(why);
        memcpy(s.peer, peer.value, peer.len);
    }
    s.alert_in = alert(d, n, LINK_TAG_ALERT_IN);
    s.alert_out = alert(d, n, LINK_TAG_ALERT_OUT);
    if (bad)
        return nonsense(why);
    *out = s;
    return CW_OK;
}

enum cw_err applet_events_get(struct reader *r, unsigned first, struct applet_event *events,
                              size_t cap, size_t *count, struct say *why)
{
    uint8_t d[ANSWER_MAX];
    size_t n = 0;
    if (first > 0xFF)
        return CW_ERR_ARG;
    enum cw_err err =
        run(r, APDU_CLA_PROPRIETARY, INS_INFO, (uint16_t)(LINK_INFO_TRACE << 8 | first), NULL, 0, d,
            sizeof d, &n, "tell about the handshake", why);
    if (err != CW_OK)
        return err;
    if (n % LINK_EVENT_LEN != 0)
        return nonsense(why);
    struct buf_reader b;
    buf_reader_init(&b, d, n);
    size_t i = 0;
    for (; i < cap && b.left > 0; i++) {
        events[i].kind = (enum link_event_kind)buf_get_u8(&b);
        events[i].code = buf_get_u8(&b);
        events[i].length = buf_get_u16(&b);
        events[i].result = buf_get_u8(&b);
        events[i].flags = buf_get_u8(&b);
    }
    *count = i;
    return CW_OK;
}

/* The card refused the PIN because of its state: it says itself which. `why` holds the sentence for
 * the case that it does not. */
static enum cw_err explain_state(struct reader *r, enum cw_err err, struct say *why)
{
    struct applet_info info;
    struct say unheard;
    if (applet_info_get(r, &info, &unheard) != CW_OK || applet_usable(&info, why) != CW_OK)
        return err;
    if (info.contactless)
        say_fail(why, err,
                 "the card takes no PIN for this over the air; put it into a reader with contacts");
    return err;
}

enum cw_err applet_verify(struct reader *r, uint8_t use, const uint8_t *pin, size_t len,
                          unsigned *tries_left, struct say *why)
{
    uint8_t none[APDU_SHORT_NE_MAX];
    size_t n = 0;
    uint16_t sw = 0;
    if (len < LINK_PIN_MIN || len > LINK_PIN_MAX)
        return say_fail(why, CW_ERR_LENGTH, "a PIN is %u to %u digits", LINK_PIN_MIN, LINK_PIN_MAX);
    enum cw_err err = applet_command(r, APDU_CLA_ISO, INS_VERIFY, 0, use, pin, len, 0, none,
                                     sizeof none, &n, &sw, why);
    if (err != CW_OK)
        return err;
    err = applet_status(sw, "check the PIN", why);
    if (tries_left != NULL && err == CW_ERR_AUTH)
        *tries_left = sw & 15u;
    return err == CW_ERR_STATE ? explain_state(r, err, why) : err;
}

enum cw_err applet_data_get(struct reader *r, uint16_t object, uint8_t *out, size_t cap,
                            size_t *len, struct say *why)
{
    return run(r, APDU_CLA_ISO, INS_GET_DATA, object, NULL, 0, out, cap, len, "give out an object",
               why);
}

enum cw_err applet_name_get(struct reader *r, unsigned index, struct applet_name *out,
                            struct say *why)
{
    uint8_t d[ANSWER_MAX];
    size_t n = 0;
    enum cw_err err = applet_data_get(r, (uint16_t)(LINK_DO_NAME | index), d, sizeof d, &n, why);
    if (err != CW_OK)
        return err;
    struct applet_name name = {0};
    struct ber_object o;
    bool bad = false;
    name.profiles = (uint8_t)number(d, n, LINK_TAG_NAME_PROFILES, 1, &bad);
    if (bad || ber_find(d, n, LINK_TAG_NAME, &o) != CW_OK || o.len > LINK_HOST_MAX ||
        !text_is_clean((const char *)o.value, o.len))
        return nonsense(why);
    memcpy(name.host, o.value, o.len);
    if (ber_find(d, n, LINK_TAG_NAME_ALPN, &o) == CW_OK) {
        if (o.len >= sizeof name.alpn || !text_is_clean((const char *)o.value, o.len))
            return nonsense(why);
        memcpy(name.alpn, o.value, o.len);
    }
    *out = name;
    return CW_OK;
}

/* Was it the card's policy? It keeps the reason until the next order. */
static enum cw_err explain_refusal(struct reader *r, enum link_refusal *refusal, struct say *why)
{
    struct applet_info info;
    struct say unheard;
    if (applet_info_get(r, &info, &unheard) != CW_OK || info.refused == LINK_REFUSAL_NONE)
        return CW_ERR_STATE;
    if (refusal != NULL)
        *refusal = info.refused;
    return say_fail(why, CW_ERR_REFUSED, "%s", link_refusal_sentence(info.refused));
}

enum cw_err applet_sign_order(struct reader *r, enum link_key key,
                              const struct order_fields *fields, uint8_t *text, size_t text_cap,
                              size_t *text_len, uint8_t *signature, size_t sig_cap, size_t *sig_len,
                              enum link_refusal *refusal, struct say *why)
{
    uint8_t data[ORDER_TLV_MAX], d[ANSWER_MAX];
    struct ber_object t, s;
    struct buf_writer w;
    size_t n = 0;
    buf_writer_init(&w, data, sizeof data);
    enum cw_err err = order_tlv_encode(fields, &w);
    if (err != CW_OK)
        return say_fail(why, err, "a field of the order is not in order; nothing was signed");
    err = run(r, APDU_CLA_PROPRIETARY, INS_SIGN_ORDER, (uint16_t)key, data, w.len, d, sizeof d, &n,
              "sign the order", why);
    if (err == CW_ERR_STATE)
        err = explain_refusal(r, refusal, why);
    if (err != CW_OK)
        return err;
    if (ber_find(d, n, LINK_TAG_ORDER_TEXT, &t) != CW_OK ||
        ber_find(d, n, LINK_TAG_SIGNATURE, &s) != CW_OK)
        return nonsense(why);
    if (t.len > text_cap || s.len > sig_cap)
        return say_fail(why, CW_ERR_SPACE, "the signed order is longer than expected");
    memcpy(text, t.value, t.len);
    *text_len = t.len;
    memcpy(signature, s.value, s.len);
    *sig_len = s.len;
    return CW_OK;
}
