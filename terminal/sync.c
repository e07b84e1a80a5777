#include "terminal/sync.h"

#include "host/base64.h"

#include <string.h>

struct state {
    struct reader *reader;
    const struct sync_bank *bank;
    const struct applet_info *card;
    struct sync *done;
};

static enum cw_err ask_card(void *ctx, json_t **reply, struct say *why)
{
    return bank_card(ctx, reply, why);
}

static enum cw_err ask_time(void *ctx, const uint8_t challenge[ISSUER_CHALLENGE_LEN],
                            json_t **reply, struct say *why)
{
    return bank_card_time(ctx, challenge, reply, why);
}

static enum cw_err ask_updates(void *ctx, uint32_t after, json_t **reply, struct say *why)
{
    return bank_card_updates(ctx, after, reply, why);
}

static enum cw_err ask_applied(void *ctx, uint32_t sequence, json_t **reply, struct say *why)
{
    return bank_card_applied(ctx, sequence, reply, why);
}

struct sync_bank sync_bank_of(struct bank *b)
{
    return (struct sync_bank){ask_card, ask_time, ask_updates, ask_applied, b};
}

static enum cw_err nonsense(struct say *why, const char *what)
{
    return say_fail(why, CW_ERR_FORMAT, "the bank's %s is not in order", what);
}

/* A whole number that fits 32 bits without a sign. */
static bool take_number(const json_t *o, const char *key, uint32_t *out)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < 0 || n > (json_int_t)UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

struct message {
    uint8_t bytes[ISSUER_MESSAGE_MAX];
    size_t len;
    struct issuer_message content; /* points into bytes */
};

/* The message of a reply, of this kind and for this card. */
static bool take_message(const json_t *o, enum issuer_kind kind, const struct applet_info *card,
                         struct message *out)
{
    const char *text = json_string_value(json_object_get(o, "message"));
    const uint8_t *signature;
    size_t signed_len;
    return text != NULL &&
           base64_decode(text, strlen(text), out->bytes, sizeof out->bytes, &out->len) == CW_OK &&
           issuer_decode(out->bytes, out->len, &out->content, &signed_len, &signature) == CW_OK &&
           out->content.kind == kind &&
           memcmp(out->content.serial, card->serial, sizeof card->serial) == 0;
}

static bool writes_life(const struct issuer_message *m)
{
    for (size_t i = 0; i < m->write_count; i++)
        if (m->writes[i].object == LINK_DO_LIFE)
            return true;
    return false;
}

/* One update of the bank's list. */
static enum cw_err apply_one(struct state *s, const json_t *item, struct say *why)
{
    struct message m;
    struct applet_info info;
    uint32_t announced = 0, reached = 0;
    if (!take_number(item, "sequence", &announced) ||
        !take_message(item, ISSUER_UPDATE, s->card, &m) || m.content.sequence != announced ||
        announced <= s->done->sequence)
        return nonsense(why, "list of updates");
    enum cw_err err = applet_apply_update(s->reader, m.bytes, m.len, &reached, why);
    if (err != CW_OK)
        return err;
    if (reached != announced)
        return say_fail(why, CW_ERR_FORMAT, "the card took update %u for number %u", announced,
                        reached);
    s->done->sequence = reached;
    s->done->updates++;
    if (!writes_life(&m.content))
        return CW_OK;
    err = applet_info_get(s->reader, &info, why);
    if (err == CW_OK)
        s->done->life = info.life;
    return err;
}

/* What the bank gives at once; *count tells how many the card took. */
static enum cw_err apply_list(struct state *s, unsigned *count, struct say *why)
{
    json_t *reply = NULL;
    json_t *item;
    size_t i;
    unsigned before = s->done->updates;
    enum cw_err err = s->bank->updates(s->bank->ctx, s->done->sequence, &reply, why);
    if (err != CW_OK)
        return err;
    const json_t *list = json_object_get(reply, "updates");
    if (!json_is_array(list))
        err = nonsense(why, "list of updates");
    json_array_foreach(list, i, item)
    {
        if (s->done->updates >= SYNC_STEPS_MAX || s->done->life != LINK_LIFE_ACTIVE)
            break;
        err = apply_one(s, item, why);
        if (err != CW_OK)
            break;
    }
    json_decref(reply);
    *count = s->done->updates - before;
    return err;
}

/* The bank tells the number of the last update that it made, which is held against the card's own
 * word, and of how many it has not heard that the card took them: what another terminal may have
 * told it is nothing to rely on. */
static enum cw_err run_updates(struct state *s, struct say *why)
{
    json_t *reply = NULL;
    uint32_t pending = 0, last = 0;
    unsigned count = 1;
    enum cw_err err = s->bank->card(s->bank->ctx, &reply, why);
    if (err != CW_OK)
        return err;
    if (!take_number(reply, "pending", &pending) || !take_number(reply, "sequence", &last))
        err = nonsense(why, "word on this card");
    json_decref(reply);
    while (err == CW_OK && count > 0 && s->done->sequence < last &&
           s->done->updates < SYNC_STEPS_MAX && s->done->life == LINK_LIFE_ACTIVE)
        err = apply_list(s, &count, why);
    /* The bank hears of what was applied also when the next one failed, or an earlier word of it
     * was lost. A card that is not active any more has no line to say it over. */
    if (pending == 0 || s->done->sequence == 0 || s->done->life != LINK_LIFE_ACTIVE)
        return err;
    struct say unheard;
    reply = NULL;
    enum cw_err told =
        s->bank->applied(s->bank->ctx, s->done->sequence, &reply, err == CW_OK ? why : &unheard);
    json_decref(reply);
    return err == CW_OK ? told : err;
}

/* One message of time, and no more in one go: the card moves its floor by one jump a message, and a
 * bank whose clock is wrong for a moment shall not have it repeated. A card that lay in a drawer
 * catches up from login to login. */
static enum cw_err run_time(struct state *s, struct say *why)
{
    uint8_t challenge[ISSUER_CHALLENGE_LEN];
    struct message m;
    json_t *reply = NULL;
    int64_t floor = 0;
    enum cw_err err = applet_challenge(s->reader, challenge, why);
    if (err == CW_OK)
        err = s->bank->time(s->bank->ctx, challenge, &reply, why);
    if (err == CW_OK && (!take_message(reply, ISSUER_TIME, s->card, &m) ||
                         memcmp(m.content.challenge, challenge, sizeof challenge) != 0))
        err = nonsense(why, "signed time");
    json_decref(reply);
    if (err == CW_OK)
        err = applet_apply_time(s->reader, m.bytes, m.len, &floor, why);
    if (err != CW_OK)
        return err;
    if (floor < s->done->floor || (floor == s->done->floor && floor < m.content.time))
        return say_fail(why, CW_ERR_FORMAT, "the card's time does not go on as it must");
    s->done->timed = s->done->timed || floor > s->done->floor;
    s->done->floor = floor;
    return CW_OK;
}

enum cw_err sync_run(struct reader *r, const struct sync_bank *bank, const struct applet_info *card,
                     int64_t now, int64_t age, struct sync *out, struct say *why)
{
    struct say unheard;
    *out = (struct sync){.sequence = card->sequence, .floor = card->time_floor, .life = card->life};
    struct state s = {r, bank, card, out};
    enum cw_err err = run_updates(&s, why);
    /* A bank that says no would say it again; a card that did may well take the time. */
    if (err == CW_ERR_REFUSED || out->life != LINK_LIFE_ACTIVE ||
        (now >= 0 && now - card->time_floor < age))
        return err;
    enum cw_err timed = run_time(&s, err == CW_OK ? why : &unheard);
    return err == CW_OK ? timed : err;
}
