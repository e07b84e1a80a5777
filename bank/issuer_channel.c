#include "bank/issuer_channel.h"

#include "bank/ca.h"
#include "bank/scp03_openssl.h"
#include "base/ct.h"
#include "terminal/applet.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define WIRE_MAX (CHANNEL_DATA_MAX + SCP03_OVERHEAD)

struct channel {
    struct reader *reader;
    struct scp03 scp;
    uint8_t command[WIRE_MAX], answer[WIRE_MAX];
};

void channel_free(struct channel **channel)
{
    struct channel *c = *channel;
    if (c == NULL)
        return;
    ct_wipe(c, sizeof *c);
    free(c);
    *channel = NULL;
}

/* INITIALIZE UPDATE: the card proves itself. */
static enum cw_err card_verify(struct channel *c, const struct scp03_keys *keys, uint8_t version,
                               struct say *why)
{
    uint8_t challenge[SCP03_CHALLENGE_LEN];
    struct scp03_update update;
    size_t len = 0;
    uint16_t sw = 0;
    if (RAND_bytes(challenge, sizeof challenge) != 1)
        return ca_fail(why, "cannot make a challenge for the card");
    enum cw_err err = applet_command(c->reader, APDU_CLA_PROPRIETARY, SCP03_INS_INITIALIZE_UPDATE,
                                     version, 0, challenge, sizeof challenge, APDU_SHORT_NE_MAX,
                                     c->answer, sizeof c->answer, &len, &sw, why);
    if (err == CW_OK && sw == SW_REFERENCE_NOT_FOUND)
        return say_fail(why, CW_ERR_NOT_FOUND, "the card has no key set %02X of its issuer",
                        version);
    if (err == CW_OK)
        err = applet_status(sw, "open a secure channel", why);
    if (err != CW_OK)
        return err;
    err = scp03_update_parse(c->answer, len, &update);
    if (err == CW_OK && version != 0 && update.version != version)
        err = CW_ERR_FORMAT;
    if (err != CW_OK)
        return say_fail(why, err, "the card has no secure channel that this bank can use");
    err = scp03_host_begin(&c->scp, &scp03_openssl, keys, challenge, &update);
    if (err == CW_ERR_DENIED)
        return say_fail(why, err,
                        "the card could not prove that it has this bank's keys: it is another "
                        "bank's, or no card of ours");
    return err == CW_OK ? CW_OK : say_fail(why, err, "cannot compute with the card's keys");
}

/* EXTERNAL AUTHENTICATE: the bank proves itself. */
static enum cw_err bank_prove(struct channel *c, uint8_t level, struct say *why)
{
    uint8_t data[SCP03_AUTHENTICATE_LEN];
    struct apdu_command cmd;
    size_t len = 0;
    uint16_t sw = 0;
    enum cw_err err = scp03_host_authenticate(&c->scp, level, data, &cmd);
    if (err != CW_OK)
        return say_fail(why, err, "the card does not do security level %02X", level);
    err = applet_command(c->reader, cmd.cla, cmd.ins, cmd.p1, cmd.p2, cmd.data, cmd.nc, 0,
                         c->answer, sizeof c->answer, &len, &sw, why);
    if (err == CW_OK && sw != SW_OK)
        err = say_fail(why, CW_ERR_DENIED,
                       "the card did not take the bank's proof of its keys, or not security level "
                       "%02X: status %04X",
                       level, sw);
    return err;
}

enum cw_err channel_open(struct reader *r, const struct scp03_keys *keys, uint8_t version,
                         uint8_t level, struct channel **out, struct say *why)
{
    struct channel *c = calloc(1, sizeof *c);
    if (c == NULL)
        return say_fail(why, CW_ERR_SPACE, "out of memory");
    c->reader = r;
    enum cw_err err = card_verify(c, keys, version, why);
    if (err == CW_OK)
        err = bank_prove(c, level, why);
    if (err == CW_OK)
        *out = c;
    else
        channel_free(&c);
    return err;
}

/* Sends what is protected already, and takes the protection off the answer in c->answer. */
static enum cw_err exchange(struct channel *c, const struct apdu_command *cmd, size_t *len,
                            uint16_t *sw, struct say *why)
{
    /* Le: with a MAC every answer has data, and is longer than in clear; 61xx has the rest. */
    enum cw_err err =
        applet_command(c->reader, cmd->cla, cmd->ins, cmd->p1, cmd->p2, cmd->data, cmd->nc,
                       APDU_SHORT_NE_MAX, c->answer, sizeof c->answer, len, sw, why);
    if (err != CW_OK)
        return err;
    err = scp03_response_unwrap(&c->scp, *sw, c->answer, len);
    if (err == CW_ERR_DENIED)
        return say_fail(why, err,
                        "the card's answer was changed on the way; the secure channel is over");
    return err == CW_OK ? CW_OK : say_fail(why, err, "cannot decrypt the card's answer");
}

enum cw_err channel_command(struct channel *c, uint8_t cla, uint8_t ins, uint8_t p1, uint8_t p2,
                            const uint8_t *data, size_t nc, uint8_t *out, size_t cap, size_t *len,
                            uint16_t *sw, struct say *why)
{
    struct apdu_command cmd = {.cla = cla, .ins = ins, .p1 = p1, .p2 = p2, .data = data, .nc = nc};
    size_t n = 0;
    uint16_t status = 0;
    if (nc > CHANNEL_DATA_MAX)
        return say_fail(why, CW_ERR_LENGTH, "%zu bytes are more than a command to a card has", nc);
    if (!scp03_is_open(&c->scp))
        return say_fail(why, CW_ERR_STATE, "the secure channel to the card is over");
    enum cw_err err = scp03_command_wrap(&c->scp, &cmd, c->command, sizeof c->command);
    if (err != CW_OK)
        say_fail(why, err, "cannot protect a command to the card");
    else
        err = exchange(c, &cmd, &n, &status, why);
    if (err == CW_OK && n > cap)
        err = say_fail(why, CW_ERR_SPACE, "the card answered with more than was asked for");
    if (err == CW_OK) {
        if (n > 0)
            memcpy(out, c->answer, n);
        *len = n;
        *sw = status;
    } else {
        scp03_end(&c->scp);
    }
    ct_wipe(c->answer, sizeof c->answer);
    ct_wipe(c->command, sizeof c->command);
    return err;
}

enum cw_err channel_keys_put(struct channel *c, const struct scp03_keys *current,
                             uint8_t old_version, uint8_t version, const struct scp03_keys *keys,
                             struct say *why)
{
    uint8_t data[SCP03_KEYS_LEN], expected[SCP03_CONFIRM_LEN], answer[CHANNEL_DATA_MAX];
    struct buf_writer w, confirm;
    size_t len = 0;
    uint16_t sw = 0;
    buf_writer_init(&w, data, sizeof data);
    buf_writer_init(&confirm, expected, sizeof expected);
    enum cw_err err = scp03_keys_write(&scp03_openssl, current->dek, version, keys, &w);
    if (err == CW_OK)
        err = scp03_keys_confirm(&scp03_openssl, version, keys, &confirm);
    if (err != CW_OK)
        return say_fail(why, err, "cannot encrypt the new keys of the card");
    err = channel_command(c, APDU_CLA_PROPRIETARY, SCP03_INS_PUT_KEY, old_version, SCP03_PUT_KEY_P2,
                          data, w.len, answer, sizeof answer, &len, &sw, why);
    if (err == CW_OK)
        err = applet_status(sw, "take its issuer's new keys", why);
    if (err == CW_OK && (len != confirm.len || memcmp(answer, expected, len) != 0))
        err = say_fail(why, CW_ERR_FORMAT,
                       "the card says that it has taken other keys than it "
                       "was given");
    return err;
}
